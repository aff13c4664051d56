//! The public types in [`defmt`]'s logs: the words stay on the host, the target sends numbers.
//!
//! Reasons and errors read as their `Display` does. Tokens, pools, sets and nurseries show their own
//! state. What a type parameter stands for is shown if it is an error, and not if it is a future.
//!
//! Formatting allocates nothing, and may be done in an interrupt, as far as the program's logger may.

use crate::fixed_nursery::FixedNursery;
use crate::fixed_nursery::run::{FixedFailure, NoSignal};
#[cfg(feature = "alloc")]
use crate::nursery::failure::Cause;
#[cfg(feature = "alloc")]
use crate::nursery::join_error::{JoinError, JoinErrorKind};
#[cfg(feature = "alloc")]
use crate::observe::Name;
use crate::reason::{Cancelled, Reason, ReasonKind};
use crate::set::fixed::FixedSet;
use crate::spawn::{SpawnError, TrySpawnError};
use crate::time::Instant;
#[cfg(feature = "alloc")]
use crate::token::CancellationToken;
use crate::token::{Full, StaticChild, StaticToken};
use crate::wake::fixed::{InUse, WakePool};
use defmt::{Display2Format, Format, Formatter, write};

impl Format for ReasonKind {
    fn format(&self, f: Formatter<'_>) {
        match self {
            ReasonKind::Explicit => write!(f, "Explicit"),
            ReasonKind::DeadlineExceeded => write!(f, "DeadlineExceeded"),
            ReasonKind::SiblingFailed => write!(f, "SiblingFailed"),
            ReasonKind::SiblingSucceeded => write!(f, "SiblingSucceeded"),
            ReasonKind::Shutdown => write!(f, "Shutdown"),
            ReasonKind::Dropped => write!(f, "Dropped"),
            ReasonKind::Custom => write!(f, "Custom"),
        }
    }
}

impl Format for Reason {
    fn format(&self, f: Formatter<'_>) {
        if let Some(source) = self.source() {
            return write!(f, "{}", Display2Format(source));
        }
        match self.kind() {
            ReasonKind::Explicit => write!(f, "cancelled"),
            ReasonKind::DeadlineExceeded => write!(f, "deadline exceeded"),
            ReasonKind::SiblingFailed => write!(f, "a sibling failed"),
            ReasonKind::SiblingSucceeded => write!(f, "a sibling succeeded"),
            ReasonKind::Shutdown => write!(f, "shutting down"),
            ReasonKind::Dropped => write!(f, "its scope was dropped"),
            ReasonKind::Custom => match self.code() {
                Some(code) => write!(f, "custom reason {=u16}", code),
                None => write!(f, "an error that was not kept"),
            },
        }
    }
}

impl Format for Cancelled {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "cancelled ({})", self.reason());
    }
}

impl Format for Instant {
    fn format(&self, f: Formatter<'_>) {
        if *self == Instant::NEVER {
            write!(f, "Instant(NEVER)");
        } else {
            write!(f, "Instant({=u64} ns)", self.as_nanos());
        }
    }
}

impl<F> Format for SpawnError<F> {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "the executor refused the future: it is shut down or full"
        );
    }
}

impl<F> Format for TrySpawnError<F> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            TrySpawnError::Full(_) => write!(f, "the nursery has no room for another child"),
            TrySpawnError::Closed(_) => write!(f, "the nursery is closed"),
            TrySpawnError::Refused(_) => write!(f, "the nursery's executor refused the child"),
        }
    }
}

impl Format for Full {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "all slots of the token are taken");
    }
}

impl Format for InUse {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "the wake pool serves another set");
    }
}

impl<const N: usize> Format for StaticToken<N> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "StaticToken({}, {=usize} slots)", self.reason(), N);
    }
}

impl Format for StaticChild {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "StaticChild({})", self.reason());
    }
}

impl<const N: usize> Format for WakePool<N> {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "WakePool({=usize}, in use: {=bool})",
            N,
            self.is_in_use()
        );
    }
}

impl<F, const N: usize> Format for FixedSet<F, N> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "FixedSet({=usize} of {=usize})", self.len(), N);
    }
}

impl<E, const N: usize, const SIZE: usize> Format for FixedNursery<'_, E, N, SIZE> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "FixedNursery({=usize} slots)", N);
    }
}

impl<E: Format> Format for FixedFailure<E> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            FixedFailure::Error(error) => write!(f, "{}", error),
            FixedFailure::Cancelled(reason) => write!(f, "cancelled ({})", reason),
        }
    }
}

impl Format for NoSignal {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "NoSignal");
    }
}

#[cfg(feature = "alloc")]
impl Format for CancellationToken {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "CancellationToken({})", self.reason());
    }
}

#[cfg(feature = "alloc")]
impl Format for Name {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=str}", self);
    }
}

#[cfg(feature = "alloc")]
impl Format for JoinErrorKind {
    fn format(&self, f: Formatter<'_>) {
        match self {
            JoinErrorKind::Failed => write!(f, "Failed"),
            JoinErrorKind::Panicked => write!(f, "Panicked"),
            JoinErrorKind::Cancelled => write!(f, "Cancelled"),
            JoinErrorKind::Forced => write!(f, "Forced"),
            JoinErrorKind::Skipped => write!(f, "Skipped"),
            JoinErrorKind::Unstarted => write!(f, "Unstarted"),
            JoinErrorKind::Lost => write!(f, "Lost"),
            JoinErrorKind::Closed => write!(f, "Closed"),
        }
    }
}

#[cfg(feature = "alloc")]
impl Format for JoinError {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", Display2Format(self));
    }
}

#[cfg(feature = "alloc")]
impl<E: Format> Format for Cause<E> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Cause::Error(error) => write!(f, "{}", error),
            Cause::Cancelled(reason) => write!(f, "cancelled ({})", reason),
            Cause::Lost(child) => write!(f, "{}", child),
        }
    }
}
