//! The epoch that every clock of this crate counts from, and the way to and from
//! [`std::time::Instant`].
//!
//! The epoch is an hour before the first use in the process (where the operating system's clock can
//! express that: otherwise the first use), so that what was measured shortly before it counts. All
//! adapters share it, so instants of one adapter may be compared with those of another, and a deadline
//! made here may be given to any timer of this crate. On targets where the standard library has no clock
//! (wasm32-unknown-unknown) everything here panics, as [`std::time::Instant::now`] does; there the
//! feature `wasm` has a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant as StdInstant};

use umbel_core::Instant;

static EPOCH: OnceLock<StdInstant> = OnceLock::new();

/// How long before the first use the epoch is. A clock that was stopped before it, such as tokio's
/// paused one, would otherwise show the epoch for a while.
const BEFORE_FIRST_USE: Duration = Duration::from_secs(3600);

fn epoch() -> StdInstant {
    *EPOCH.get_or_init(|| {
        let now = StdInstant::now();
        now.checked_sub(BEFORE_FIRST_USE).unwrap_or(now)
    })
}

/// The same point in time as an [`Instant`] of this crate's clocks.
///
/// Exact to the nanosecond. Points before the epoch become [`Instant::EPOCH`], and points too far
/// in the future (584 years) become [`Instant::NEVER`]. Never allocates.
///
/// A CPU-bound loop that polls a token with a deadline needs no runtime for its clock:
///
/// ```
/// use std::time::Instant;
/// use umbel::{CancellationToken, ReasonKind, time};
///
/// let request = CancellationToken::new().child_with_deadline(time::from_std(Instant::now()));
/// let late = request.check_at(time::from_std(Instant::now())).unwrap_err();
/// assert_eq!(late.reason().kind(), ReasonKind::DeadlineExceeded);
/// ```
pub fn from_std(at: StdInstant) -> Instant {
    let nanos = at.saturating_duration_since(epoch()).as_nanos();
    u64::try_from(nanos).map_or(Instant::NEVER, Instant::from_nanos)
}

/// The same point in time as a [`std::time::Instant`]; `None` for [`Instant::NEVER`] and for
/// points that the operating system's clock cannot express.
///
/// Exact to the nanosecond. Never allocates.
///
/// ```
/// use umbel::{Instant, time};
///
/// let now = std::time::Instant::now();
/// let at = time::from_std(now) + std::time::Duration::from_secs(1);
/// assert_eq!(time::from_std(time::to_std(at).unwrap()), at);
/// assert_eq!(time::to_std(Instant::NEVER), None);
/// ```
pub fn to_std(at: Instant) -> Option<StdInstant> {
    if at == Instant::NEVER {
        return None;
    }
    epoch().checked_add(Duration::from_nanos(at.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::{BEFORE_FIRST_USE, epoch, from_std, to_std};
    use std::time::Duration;
    use umbel_core::Instant;

    #[test]
    fn every_point_survives_the_way_there_and_back() {
        for nanos in [0, 1, 999_999_999, 1_000_000_000, u64::MAX / 2, u64::MAX - 1] {
            let at = Instant::from_nanos(nanos);
            if let Some(std) = to_std(at) {
                assert_eq!(from_std(std), at, "{nanos} ns");
            }
        }
        assert_eq!(to_std(Instant::EPOCH), Some(epoch()));
    }

    #[test]
    fn points_before_the_first_use_are_told_apart() {
        let first_use = epoch() + BEFORE_FIRST_USE;
        if first_use <= std::time::Instant::now() {
            for before in [Duration::from_nanos(1), Duration::from_secs(59 * 60)] {
                let at = first_use - before;
                assert_eq!(to_std(from_std(at)), Some(at));
            }
            assert!(from_std(first_use - Duration::from_nanos(1)) < from_std(first_use));
        }
    }

    #[test]
    fn what_cannot_be_expressed_saturates() {
        assert_eq!(to_std(Instant::NEVER), None);
        if let Some(before) = epoch().checked_sub(Duration::from_secs(1)) {
            assert_eq!(from_std(before), Instant::EPOCH);
        }
        if let Some(far) = epoch().checked_add(Duration::from_secs(u64::from(u32::MAX) * 100)) {
            assert_eq!(from_std(far), Instant::NEVER);
        }
    }
}
