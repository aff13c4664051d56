//! What is said about one child beside its future.

use crate::nursery::ended::Site;
use crate::observe::Name;
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
    /// No child: what is to be done when all children have ended.
    Cleanup,
    /// No child: something that is asked of the nursery. See `request`.
    Request,
}

/// What a spawn says about its child beside the future.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) site: Site,
    pub(crate) name: Option<Name>,
    pub(crate) role: Role,
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
        }
    }

    /// `None`: nothing worth memory.
    #[inline]
    pub(crate) fn aside(self) -> Option<Meta> {
        (self.name.is_some() || self.role != Role::Plain).then(|| self.meta())
    }

    pub(crate) fn meta(self) -> Meta {
        Meta {
            name: Cell::new(self.name),
            role: self.role,
            notice: Cell::new(None),
            drain: Cell::new(None),
        }
    }

    pub(crate) fn graceful(self) -> Self {
        self.with_role(Role::Graceful)
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
    /// From the cancellation to its first poll after that.
    pub(crate) notice: Cell<Option<Duration>>,
    /// From the cancellation to its end.
    pub(crate) drain: Cell<Option<Duration>>,
}

/// `()` or [`Meta`]: what lies between head and payload.
///
/// `IS_META` is true for `Meta` alone.
pub(crate) trait Aside {
    const IS_META: bool;

    /// The name of a child that is not even made.
    fn into_name(self) -> Option<Name>;
}

impl Aside for () {
    const IS_META: bool = false;

    fn into_name(self) -> Option<Name> {
        None
    }
}

impl Aside for Meta {
    const IS_META: bool = true;

    fn into_name(self) -> Option<Name> {
        self.name.into_inner()
    }
}
