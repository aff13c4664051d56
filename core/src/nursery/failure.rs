//! How a nursery and its children say that they did not succeed.

use crate::nursery::report::Report;
use crate::reason::Reason;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

/// The outcome of a nursery that did not succeed: why it ended, every further error, and the report.
///
/// `Display` names the cause and counts the rest; [`Error::source`] is the cause's error.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<E> {
    /// What ended the nursery.
    pub cause: Cause<E>,
    /// All further errors of the body and the children, in the order in which they came.
    pub rest: Vec<E>,
    /// Counts, and how graceful children took the cancellation. Boxed to keep the error small.
    pub report: Box<Report>,
}

/// What ended a nursery without success.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause<E> {
    /// An error of the body or a child: the first one that the policy answered with cancellation;
    /// if it answered none so, the first one.
    Error(E),
    /// The nursery was cancelled from outside (its parent token, its deadline, its handle) before
    /// an error did it, and something was cut short. (Under [`FirstSuccess`](crate::FirstSuccess) also:
    /// a child has succeeded, but the body was cut.)
    Cancelled(Reason),
}

impl<E> Failure<E> {
    /// Every error, the cause's first.
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        let first = match &self.cause {
            Cause::Error(error) => Some(error),
            Cause::Cancelled(_) => None,
        };
        first.into_iter().chain(&self.rest)
    }

    /// Why the nursery was cancelled, if that was the cause.
    pub fn cancelled(&self) -> Option<&Reason> {
        match &self.cause {
            Cause::Cancelled(reason) => Some(reason),
            Cause::Error(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.report.name {
            write!(f, "{name}: ")?;
        }
        match &self.cause {
            Cause::Error(error) => write!(f, "{error}")?,
            Cause::Cancelled(reason) => write!(f, "cancelled ({reason})")?,
        }
        match self.rest.len() {
            0 => {}
            1 => f.write_str(", and one more error")?,
            n => write!(f, ", and {n} more errors")?,
        }
        match self.report.stats.forced {
            0 => Ok(()),
            1 => f.write_str("; one child was forced"),
            n => write!(f, "; {n} children were forced"),
        }
    }
}

impl<E: Error + 'static> Error for Failure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Error(error) => Some(error),
            Cause::Cancelled(reason) => reason.source().map(|e| e as &(dyn Error + 'static)),
        }
    }
}

/// Why a [`Join`](crate::Join) has no value. The child's own error, if there was one, went to the
/// nursery's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinError {
    kind: JoinErrorKind,
    reason: Option<Reason>,
}

/// The kinds of [`JoinError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinErrorKind {
    /// The child returned `Err`.
    Failed,
    /// The child panicked while it was polled. The panic itself goes to whoever polls the nursery.
    /// Only with the feature `std`: without it nothing is caught, and the `Join` says `Closed`.
    Panicked,
    /// The nursery was cancelled: the child was dropped at its await point or never started.
    Cancelled,
    /// A graceful child that was dropped when the grace was over or `force()` was called.
    Forced,
    /// The nursery had ended, or was dropped.
    Closed,
}

impl JoinError {
    pub(crate) const fn new(kind: JoinErrorKind, reason: Option<Reason>) -> Self {
        JoinError { kind, reason }
    }

    /// What became of the child.
    pub const fn kind(&self) -> JoinErrorKind {
        self.kind
    }

    /// Why the nursery was cancelled, if the child was cancelled or forced.
    pub const fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            JoinErrorKind::Failed => "the child failed",
            JoinErrorKind::Panicked => "the child panicked",
            JoinErrorKind::Cancelled => "the child was cancelled",
            JoinErrorKind::Forced => "the child did not end within the grace and was dropped",
            JoinErrorKind::Closed => "the nursery had ended",
        })?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl Error for JoinError {}
