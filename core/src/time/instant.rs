//! Points in time.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point in time: nanoseconds since the epoch of the [`Clock`](crate::Clock) that gave it.
///
/// Arithmetic saturates and never panics. [`Instant::NEVER`] is later than every clock and never
/// due, so a deadline too far away to be expressed never fires. Comparing instants of different
/// clocks is a mistake that no type prevents.
///
/// ```
/// use core::time::Duration;
/// use umbel_core::Instant;
///
/// let t = Instant::from_nanos(10) + Duration::from_nanos(5);
/// assert!(t.is_due(Instant::from_nanos(15)));
/// assert_eq!(t + Duration::MAX, Instant::NEVER);
/// assert!(!Instant::NEVER.is_due(Instant::from_nanos(u64::MAX)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's epoch.
    pub const EPOCH: Instant = Instant(0);
    /// Later than every point that a clock reaches: a deadline that never fires.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The point `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether a deadline at this point has passed when the clock shows `now`. `NEVER` never has.
    pub const fn is_due(self, now: Instant) -> bool {
        self.0 <= now.0 && self.0 != u64::MAX
    }

    /// The point `time` before this one; the epoch, if that is later.
    pub(crate) fn before(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_sub(nanos))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

/// Saturates at zero.
impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Instant::NEVER {
            f.write_str("Instant(NEVER)")
        } else {
            write!(f, "Instant({:?})", Duration::from_nanos(self.0))
        }
    }
}
