//! What is said about one child beside its future.

use crate::nursery::ended::Site;
use crate::nursery::observer::Inside;
use crate::nursery::own::Own;
use crate::nursery::skip::Skip;
use crate::observe::{Id, Key, Name};
use crate::time::Instant;
use crate::token::CancellationToken;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::panic::Location;
use core::time::Duration;

/// What a child is to its nursery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Dropped at its await point when it is cancelled.
    Plain,
    /// Told when it is cancelled, and polled on.
    Graceful,
    /// Cut only when its own time is over, or the nursery is forced; takes no place.
    Shielded,
    /// No child: what is to be done when all children have ended.
    Cleanup,
    /// No child: something that is asked of the nursery. See `request`.
    Request,
}

/// Which children come first; see [`Child::priority`](crate::Child::priority).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After the others.
    Low,
    /// As children are by themselves.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// What a spawn says about its child beside the future.
pub(crate) struct Options {
    pub(crate) site: Site,
    pub(crate) name: Option<Name>,
    pub(crate) role: Role,
    /// Of a nested scope: see [`Meta::scope`].
    pub(crate) scope: Option<Inside>,
    /// `None`: none of it. Boxed, so that other children do not carry it about.
    more: Option<Box<More>>,
}

/// What few children have.
#[derive(Default)]
pub(crate) struct More {
    /// It can be cancelled alone.
    pub(crate) own: Option<Own>,
    pub(crate) key: Option<Key>,
    pub(crate) priority: Priority,
    /// It is cancelled when all others have ended, and takes no place.
    pub(crate) service: bool,
    /// It waits for these.
    pub(crate) after: Vec<Id>,
    /// Because of whom it was skipped. Its owner's, as the other cells of [`Meta`].
    pub(crate) skip: Cell<Option<Box<Skip>>>,
}

impl Options {
    /// A plain child without a name, spawned by the caller.
    #[inline]
    #[track_caller]
    pub(crate) const fn here() -> Self {
        Options::at(Location::caller())
    }

    #[inline]
    pub(crate) const fn at(site: Site) -> Self {
        Options {
            site,
            name: None,
            role: Role::Plain,
            scope: None,
            more: None,
        }
    }

    /// `None`: nothing worth memory. `watched`: somebody wants to know more than that it is there.
    #[inline]
    pub(crate) fn aside(self, watched: bool) -> Option<Meta> {
        let is_more =
            watched || self.name.is_some() || self.role != Role::Plain || self.more.is_some();
        is_more.then(|| self.meta())
    }

    pub(crate) fn meta(self) -> Meta {
        Meta {
            name: Cell::new(self.name),
            role: self.role,
            scope: self.scope,
            admitted: Cell::new(Instant::NEVER),
            started: Cell::new(Instant::NEVER),
            notice: Cell::new(None),
            drain: Cell::new(None),
            more: self.more,
        }
    }

    /// A graceful child, of a nursery with this token. One that can be called by name or key is told by a
    /// token of its own.
    pub(crate) fn graceful(self, nursery: &CancellationToken) -> Self {
        self.called(nursery).with_role(Role::Graceful)
    }

    /// A child that is told when it is to end, in a nursery with this token. (A plain one that can be
    /// called keeps the reason in a token of its own until it has ended.)
    #[inline]
    pub(crate) fn called(mut self, nursery: &CancellationToken) -> Self {
        if self.name.is_some() || self.more.as_ref().is_some_and(|more| more.key.is_some()) {
            self.own(nursery);
        }
        self
    }

    /// A critical section. Of what was said before, it has the name.
    pub(crate) fn shielded(mut self, budget: Duration) -> Self {
        self.more = None;
        self.more().own = Some(Own::shielded(budget));
        self.with_role(Role::Shielded)
    }

    /// A cleanup. Of what was said before, it has the name.
    pub(crate) fn cleanup(mut self) -> Self {
        self.more = None;
        self.with_role(Role::Cleanup)
    }

    /// What few children have.
    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Its own token, in a nursery with this one.
    pub(crate) fn own(&mut self, nursery: &CancellationToken) -> &mut Own {
        self.more().own.get_or_insert_with(|| Own::new(nursery))
    }

    /// The token by which it is told, in a nursery with this one: below its own, if it has one, so that who
    /// cancels it does not cancel the child.
    pub(crate) fn token(&self, nursery: &CancellationToken) -> CancellationToken {
        let own = self.more.as_ref().and_then(|more| more.own.as_ref());
        own.map_or(nursery, |own| &own.token).child_token()
    }

    pub(crate) fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
}

/// What only some children have; lies aside so that the others do not pay for it. Its cells belong to
/// the nursery until the child ends without output, then to the join side.
pub(crate) struct Meta {
    pub(crate) name: Cell<Option<Name>>,
    pub(crate) role: Role,
    /// What the nursery shares that runs in this child: it is there for as long as the child's future is.
    pub(crate) scope: Option<Inside>,
    /// If ages are kept: when the nursery took it up, and when it was polled first; else `NEVER`.
    pub(crate) admitted: Cell<Instant>,
    pub(crate) started: Cell<Instant>,
    /// From the cancellation to its first poll after that.
    pub(crate) notice: Cell<Option<Duration>>,
    /// From the cancellation to its end.
    pub(crate) drain: Cell<Option<Duration>>,
    /// The nursery's alone, as the plain fields of the head.
    more: Option<Box<More>>,
}

impl Meta {
    pub(crate) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }

    pub(crate) fn own(&self) -> Option<&Own> {
        self.more()?.own.as_ref()
    }

    pub(crate) fn after(&self) -> &[Id] {
        self.more().map_or(&[], |more| &more.after)
    }

    pub(crate) fn priority(&self) -> Priority {
        self.more().map_or(Priority::Normal, |more| more.priority)
    }

    pub(crate) fn is_service(&self) -> bool {
        self.more().is_some_and(|more| more.service)
    }

    pub(crate) fn take_skip(&self) -> Option<Box<Skip>> {
        self.more()?.skip.take()
    }

    pub(crate) fn has_key(&self, key: &Key) -> bool {
        self.more()
            .is_some_and(|more| more.key.as_ref() == Some(key))
    }

    /// Whether it is called so. Before its end only: afterwards the name is the join side's.
    pub(crate) fn is_named(&self, name: &Name) -> bool {
        let own = self.name.take();
        let same = own.as_ref() == Some(name);
        self.name.set(own);
        same
    }
}

/// `()` or [`Meta`]: what lies between head and payload.
///
/// `IS_META` is true for `Meta` alone.
pub(crate) trait Aside {
    const IS_META: bool;

    /// The name of a child that is not even made.
    fn into_name(self) -> Option<Name>;

    /// Whether the child takes a place, if there is one, when it is spawned.
    fn wants_place(&self) -> bool;

    /// Whether it waits for others.
    fn waits(&self) -> bool;

    /// Whether nothing of its own may keep it from starting: no time, no handle.
    fn is_free(&self) -> bool;
}

impl Aside for () {
    const IS_META: bool = false;

    fn into_name(self) -> Option<Name> {
        None
    }

    #[inline]
    fn wants_place(&self) -> bool {
        true
    }

    #[inline]
    fn waits(&self) -> bool {
        false
    }

    #[inline]
    fn is_free(&self) -> bool {
        true
    }
}

impl Aside for Meta {
    const IS_META: bool = true;

    fn into_name(self) -> Option<Name> {
        self.name.into_inner()
    }

    /// Not if it waits for others: when they have ended. A service never.
    fn wants_place(&self) -> bool {
        !self.waits() && !self.is_service()
    }

    fn waits(&self) -> bool {
        !self.after().is_empty()
    }

    fn is_free(&self) -> bool {
        self.own().is_none_or(|own| !own.watched && !own.is_timed())
    }
}
