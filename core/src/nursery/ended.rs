//! Who has ended, and how long that took: what policies, errors and reports tell of a child.

use crate::observe::{Id, Name};
use alloc::boxed::Box;
use core::fmt;
use core::panic::Location;
use core::time::Duration;

/// Where in the program's text.
pub(crate) type Site = &'static Location<'static>;

/// Which child of its nursery, or the body, or a cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(usize);

impl Number {
    /// A child that was never polled.
    pub(crate) const NONE: Number = Number(0);
    const BODY: Number = Number(usize::MAX);
    /// A cleanup that has begun. Cleanups are not numbered.
    pub(crate) const CLEANUP: Number = Number(usize::MAX - 1);
    /// Of one whose id was asked: it was polled.
    const BEGUN: usize = 1 << (usize::BITS - 2);

    /// The child that was polled first as the `n`th.
    pub(crate) const fn new(n: usize) -> Self {
        Number(n)
    }

    /// The child whose id was asked, in place of the number it has.
    pub(crate) const fn asked(self, id: Id) -> Self {
        match self {
            Number::NONE => Number(id.get()),
            _ => Number(id.get() | Number::BEGUN),
        }
    }

    pub(crate) const fn of(id: Option<Id>) -> Self {
        match id {
            Some(id) => Number(id.get()),
            None => Number::NONE,
        }
    }

    pub(crate) const fn id(self) -> Option<Id> {
        match self {
            Number::BODY | Number::CLEANUP => None,
            Number(n) => Id::new(n & !Number::BEGUN),
        }
    }

    /// Whether it was ever polled.
    const fn has_begun(self) -> bool {
        match self.id() {
            Some(id) if id.is_asked() => self.0 & Number::BEGUN != 0,
            id => id.is_some(),
        }
    }
}

/// Which of a nursery's children, or the body, without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) site: Site,
    pub(crate) number: Number,
}

impl Origin {
    pub(crate) const fn body(site: Site) -> Self {
        Origin {
            site,
            number: Number::BODY,
        }
    }
}

/// How long a child took after a cancellation. `None` without a timer, and for whom it does not
/// concern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// To its next poll.
    pub(crate) notice: Option<Duration>,
    /// To its end.
    pub(crate) drain: Option<Duration>,
}

/// Who has ended: a child of a nursery, its body, or one of its [cleanups](crate::Handle::defer).
///
/// A [`Policy`](crate::Policy) is told it, and errors tell it: [`Failure::errors`], [`JoinError::who`],
/// [`Drained::who`].
///
/// `Display` is the name, or else the number: `child "audit"`, `child #7`, or `the body`; of cleanups,
/// which have no number, `cleanup "pool"` or `a cleanup`. With `{:#}` it says also where it came from:
/// `child "audit" (spawned at src/main.rs:12:5)`.
///
/// [`Failure::errors`]: crate::Failure::errors
/// [`JoinError::who`]: crate::JoinError::who
/// [`Drained::who`]: crate::Drained::who
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ended<'a> {
    name: Option<&'a Name>,
    origin: Origin,
    span: Span,
}

impl<'a> Ended<'a> {
    /// The child's name, if it was given one.
    pub fn name(&self) -> Option<&'a str> {
        self.name.map(|name| &**name)
    }

    /// The child's number. `None` for the body, for a cleanup, and for a child that was never polled,
    /// unless its id [was asked](crate::Join::id).
    pub fn id(&self) -> Option<Id> {
        self.origin.number.id()
    }

    /// Where in the program it was spawned; of the body: where `run` was called; of a cleanup: where it
    /// was deferred.
    pub const fn site(&self) -> &'static Location<'static> {
        self.origin.site
    }

    /// Whether it is the body, not a child.
    pub fn is_body(&self) -> bool {
        self.origin.number == Number::BODY
    }

    /// Whether it is a cleanup, not a child.
    pub fn is_cleanup(&self) -> bool {
        self.origin.number == Number::CLEANUP
    }

    /// Of a graceful child that ended after a cancellation: from when the nursery saw that to the child's
    /// next poll. `None` if there was none, and without a timer.
    pub const fn notice(&self) -> Option<Duration> {
        self.span.notice
    }

    /// Of a graceful child that ended after a cancellation: from when the nursery saw that to the child's
    /// end. `None` without a timer.
    pub const fn drain(&self) -> Option<Duration> {
        self.span.drain
    }

    pub(crate) const fn new(name: Option<&'a Name>, origin: Origin, span: Span) -> Self {
        Ended { name, origin, span }
    }

    /// Whether it was ever polled.
    pub(crate) fn has_begun(&self) -> bool {
        self.is_body() || self.is_cleanup() || self.origin.number.has_begun()
    }

    /// "child … (spawned at …) failed 2s after the cancellation (noticed after 1s)", with `how` for
    /// "failed".
    pub(crate) fn tell(&self, f: &mut fmt::Formatter<'_>, how: &str) -> fmt::Result {
        write!(f, "{self:#} {how}")?;
        // Of what took no time there is nothing to say.
        let Some(drain) = self.span.drain.filter(|drain| !drain.is_zero()) else {
            return Ok(());
        };
        write!(f, " {drain:?} after the cancellation")?;
        match self.span.notice {
            Some(notice) if notice.is_zero() => f.write_str(" (noticed at once)"),
            Some(notice) => write!(f, " (noticed after {notice:?})"),
            None => f.write_str(" (never noticed)"),
        }
    }
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted and escaped: a name may be any text, and this is a part of one line.
        match (self.name(), self.id()) {
            (Some(name), _) if self.is_cleanup() => write!(f, "cleanup {name:?}")?,
            (None, _) if self.is_cleanup() => f.write_str("a cleanup")?,
            (Some(name), _) => write!(f, "child {name:?}")?,
            (None, Some(id)) => write!(f, "child {id}")?,
            (None, None) if self.is_body() => f.write_str("the body")?,
            (None, None) => f.write_str("a child")?,
        }
        let verb = match self.origin.number {
            Number::BODY => "run",
            Number::CLEANUP => "deferred",
            _ => "spawned",
        };
        match f.alternate() {
            true => write!(f, " ({verb} at {})", self.origin.site),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("site", &format_args!("{}", self.origin.site))
            .field("is_body", &self.is_body())
            .field("is_cleanup", &self.is_cleanup())
            .field("notice", &self.span.notice)
            .field("drain", &self.span.drain)
            .finish()
    }
}

/// An [`Ended`] that is kept in an error: small, since most children have neither name nor span.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    origin: Origin,
    more: Option<Box<(Option<Name>, Span)>>,
}

impl Record {
    pub(crate) fn new(name: Option<Name>, origin: Origin, span: Span) -> Self {
        let more = name.is_some() || span != Span::default();
        Record {
            origin,
            more: more.then(|| Box::new((name, span))),
        }
    }

    pub(crate) fn ended(&self) -> Ended<'_> {
        let (name, span) = match self.more.as_deref() {
            Some((name, span)) => (name.as_ref(), *span),
            None => (None, Span::default()),
        };
        Ended::new(name, self.origin, span)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ended().fmt(f)
    }
}
