//! What a nursery did: counts while it runs, a report when it has ended.

use crate::nursery::ended::{Ended, Number, Origin, Span};
use crate::nursery::histogram::Histogram;
use crate::observe::{Id, Name};
use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;
use core::time::Duration;

/// How many children came to which end, how many have not, and how long the graceful ones took after a
/// cancellation. The body is not counted. A plain value: reading it allocates nothing.
///
/// Of every child that was given to the nursery, exactly one of `done`, `failed`, `panicked`,
/// `cancelled`, `forced`, `skipped` and `lost` counts in the end. Those that count nowhere: a child that was given up
/// while it waited for room, one that came when the cleanups had begun, and what lived when a nursery was
/// dropped (or, without the feature `std`, when a panic came).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Children that were polled at least once.
    pub started: usize,
    /// Children that returned `Ok`.
    pub done: usize,
    /// Children that returned `Err`.
    pub failed: usize,
    /// Children that panicked while they were polled.
    pub panicked: usize,
    /// Children that were dropped at an await point, or before they started, by a cancellation.
    pub cancelled: usize,
    /// Graceful and shielded children that were dropped because their time was over or `force()` was
    /// called.
    pub forced: usize,
    /// Children that never started, because one for whom they waited had no output.
    pub skipped: usize,
    /// Children of an [`ExecutorNursery`](crate::ExecutorNursery) whose executor dropped or refused them.
    pub lost: usize,
    /// Children that have started and not ended.
    pub active: usize,
    /// Children that wait for room under the limit, as far as the nursery has seen them. (Those that gave
    /// up waiting count until it sweeps them out; those that wait [for others](crate::Child::after) do not
    /// count.)
    pub queued: usize,
    /// Of graceful children: the times from when the nursery saw the cancellation to the child's first
    /// poll after that. Empty without a timer.
    pub notice: Histogram,
    /// Of graceful children: the times from when the nursery saw the cancellation to the child's end.
    /// Empty without a timer.
    pub drain: Histogram,
}

/// The whole story of a nursery that has ended.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// The nursery's name.
    pub name: Option<Name>,
    /// How many children came to which end.
    pub stats: Stats,
    /// How many cleanups came to which end.
    pub cleanups: CleanupStats,
    /// The graceful children that were running when the nursery was cancelled, or they alone, in the order
    /// in which they ended; among them the shielded ones that were forced, and the cleanups that were, and
    /// those that were forced in [scopes](crate::Handle::scope) that were cut. Of
    /// those that were cancelled alone only the first thousand: the others are in the histograms of
    /// [`stats`](Self::stats), and are told to the observer.
    pub drained: Vec<Drained>,
}

/// How many [cleanups](crate::Handle::defer) came to which end.
///
/// Every one that was deferred counts in `begun`, and in exactly one of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupStats {
    /// Cleanups that were begun.
    pub begun: usize,
    /// Cleanups that returned `Ok`, and values that were released.
    pub done: usize,
    /// Cleanups that returned `Err`.
    pub failed: usize,
    /// Cleanups that panicked while they were polled, and values whose drop did.
    pub panicked: usize,
    /// Cleanups that were dropped because their time was over or `force()` was called.
    pub forced: usize,
}

impl Report {
    /// The graceful and shielded children and the cleanups that did not end in time and were dropped.
    pub fn forced(&self) -> impl Iterator<Item = &Drained> {
        self.drained.iter().filter(|child| child.forced)
    }
}

/// How a graceful child took a cancellation; or a shielded child or a cleanup that was forced.
///
/// `Display` is one line: `child "audit" (spawned at src/main.rs:12:5) was forced 2s after the
/// cancellation (noticed after 1s)`, or `ended` if it was not forced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// The child's name, if it was given one.
    pub name: Option<Name>,
    /// The child's number; `None` if it was never polled, and of a cleanup.
    pub id: Option<Id>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// From when the nursery saw the cancellation to the child's first poll after that. `None` without
    /// a timer, or if it was never polled again.
    pub notice: Option<Duration>,
    /// From when the nursery saw the cancellation to the child's end. `None` without a timer.
    pub drain: Option<Duration>,
    /// Whether it was dropped instead of coming to its own end.
    pub forced: bool,
    is_cleanup: bool,
}

impl Drained {
    pub(crate) fn new(name: Option<Name>, origin: Origin, span: Span, forced: bool) -> Self {
        let Origin { site, number } = origin;
        let Span { notice, drain } = span;
        Drained {
            name,
            id: number.id(),
            site,
            notice,
            drain,
            forced,
            is_cleanup: number == Number::CLEANUP,
        }
    }

    /// The same, as errors tell it.
    pub fn who(&self) -> Ended<'_> {
        let span = Span {
            notice: self.notice,
            drain: self.drain,
        };
        let origin = Origin {
            site: self.site,
            number: match self.is_cleanup {
                true => Number::CLEANUP,
                false => Number::of(self.id),
            },
        };
        Ended::new(self.name.as_ref(), origin, span)
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.forced { "was forced" } else { "ended" };
        self.who().tell(f, how)
    }
}
