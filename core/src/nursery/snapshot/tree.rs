//! The values of a snapshot, and the words for them that all writers share.

use crate::nursery::report::Stats;
use crate::observe::{Id, Name};
use crate::reason::{Reason, ReasonKind};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;
use core::time::Duration;

/// A nursery as it was between two polls of its children, with the [scopes](crate::Handle::scope) nested
/// in it; made by [`Handle::snapshot`](crate::Handle::snapshot).
///
/// `Display` is a tree of lines. [`to_dot`](Self::to_dot), [`to_mermaid`](Self::to_mermaid) and
/// [`to_json`](Self::to_json) write it for other readers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The nursery's name.
    pub name: Option<Name>,
    /// Where `run` was called; `None` before the first poll and after the end.
    pub site: Option<&'static Location<'static>>,
    /// What it was doing.
    pub state: ScopeState,
    /// Whether its body has ended.
    pub body_ended: bool,
    /// The counts.
    pub stats: Stats,
    /// The children that had not ended: those that run, oldest first, then those that wait; then the
    /// cleanups, in the order in which they are done.
    pub children: Vec<ChildSnapshot>,
}

/// What a nursery was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeState {
    /// It has not been polled yet.
    New,
    /// It was at work.
    Running,
    /// It was cancelled, and waited for its graceful children.
    Draining {
        /// Why it was cancelled.
        reason: Reason,
        /// Since when; `None` without a timer.
        drain: Option<Duration>,
    },
    /// All children had ended, and the [cleanups](crate::Handle::defer) had begun.
    Cleaning,
    /// It had ended, or was dropped.
    Ended,
}

/// A child that had not ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildSnapshot {
    /// Its name.
    pub name: Option<Name>,
    /// Its number, or the id that was [asked](crate::Join::id) for; `None` if there was none yet.
    pub id: Option<Id>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// What it is to its nursery.
    pub kind: ChildKind,
    /// What it was doing.
    pub state: ChildState,
    /// How long ago the nursery took it up, if that keeps [ages](crate::Nursery::ages).
    pub age: Option<Duration>,
    /// How long ago it was polled first, if the nursery keeps [ages](crate::Nursery::ages).
    pub running: Option<Duration>,
    /// If it is a nested scope that has begun: that.
    pub scope: Option<Box<Snapshot>>,
}

/// What a child is to its nursery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChildKind {
    /// Dropped when it is cancelled.
    Plain,
    /// Told when it is cancelled, and polled on.
    Graceful,
    /// A [critical section](crate::Handle::shield).
    Shielded,
    /// A [service](crate::Child::service), plain or graceful.
    Service,
    /// No child, but a [cleanup](crate::Handle::defer).
    Cleanup,
}

/// What a child was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It waited for room under the limit.
    Queued,
    /// It waited for [others](crate::Child::after) to end.
    Waiting,
    /// A cleanup that waited for its turn.
    Deferred,
    /// It had its place and was not polled yet.
    Starting,
    /// It was at work.
    Running,
    /// It can see that it is cancelled, and has not ended.
    Draining {
        /// From the cancellation to its next poll; `None` if there was none, and without a timer.
        notice: Option<Duration>,
        /// Since the cancellation; `None` without a timer.
        drain: Option<Duration>,
    },
}

impl ScopeState {
    /// One word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            ScopeState::New => "new",
            ScopeState::Running => "running",
            ScopeState::Draining { .. } => "draining",
            ScopeState::Cleaning => "cleaning up",
            ScopeState::Ended => "ended",
        }
    }
}

impl ChildKind {
    /// One word.
    pub(super) fn word(self) -> &'static str {
        match self {
            ChildKind::Plain => "plain",
            ChildKind::Graceful => "graceful",
            ChildKind::Shielded => "shielded",
            ChildKind::Service => "service",
            ChildKind::Cleanup => "cleanup",
        }
    }
}

impl ChildState {
    /// One word.
    pub(super) fn word(self) -> &'static str {
        match self {
            ChildState::Queued => "queued",
            ChildState::Waiting => "waiting",
            ChildState::Deferred => "deferred",
            ChildState::Starting => "starting",
            ChildState::Running => "running",
            ChildState::Draining { .. } => "draining",
        }
    }
}

/// `draining for 2s: shutting down`.
impl fmt::Display for ScopeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        if let ScopeState::Draining { reason, drain } = self {
            if let Some(drain) = drain {
                write!(f, " for {:?}", rounded(*drain))?;
            }
            // It says no more than that it was cancelled.
            if reason.kind() != ReasonKind::Explicit {
                write!(f, ": {reason}")?;
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// `scope "server"`.
    pub(super) fn title(&self) -> impl fmt::Display {
        fmt_with(|f| match &self.name {
            Some(name) => write!(f, "scope {name:?}"),
            None => f.write_str("scope"),
        })
    }
}

impl ChildSnapshot {
    /// `"audit" #3`.
    pub(super) fn title(&self) -> impl fmt::Display {
        fmt_with(|f| match (&self.name, self.id) {
            (Some(name), _) if self.kind == ChildKind::Cleanup => write!(f, "cleanup {name:?}"),
            (Some(name), Some(id)) => write!(f, "{name:?} {id}"),
            (Some(name), None) => write!(f, "{name:?}"),
            (None, Some(id)) => write!(f, "{id}"),
            (None, None) => match self.kind {
                ChildKind::Cleanup => f.write_str("a cleanup"),
                _ => f.write_str("a child"),
            },
        })
    }

    /// `running for 2s`, `draining for 2s (noticed at once)`.
    pub(super) fn doing(&self) -> impl fmt::Display {
        fmt_with(|f| {
            f.write_str(self.state.word())?;
            let since = match self.state {
                ChildState::Queued
                | ChildState::Waiting
                | ChildState::Starting
                | ChildState::Deferred => self.age,
                ChildState::Running => self.running,
                ChildState::Draining { drain, .. } => drain,
            };
            if let Some(since) = since {
                write!(f, " for {:?}", rounded(since))?;
            }
            match self.state {
                ChildState::Draining {
                    drain: Some(_),
                    notice,
                } => match notice {
                    Some(Duration::ZERO) => f.write_str(" (noticed at once)"),
                    Some(notice) => write!(f, " (noticed after {:?})", rounded(notice)),
                    None => f.write_str(" (not noticed yet)"),
                },
                _ => Ok(()),
            }
        })
    }
}

/// As many digits as somebody reads.
fn rounded(time: Duration) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let unit = match nanos {
        0..1_000_000 => 1,
        1_000_000..1_000_000_000 => 1_000,
        1_000_000_000.. => 1_000_000,
    };
    Duration::from_nanos(nanos - nanos % unit)
}

/// `Display` by a closure. (`core::fmt::from_fn` is newer than we may use.)
fn fmt_with(write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> impl fmt::Display {
    struct With<F>(F);
    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for With<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (self.0)(f)
        }
    }
    With(write)
}
