//! What tells the time, and what waits for it.

use crate::time::instant::Instant;
use core::future::Future;

/// Tells the time. It never goes backwards.
pub trait Clock {
    /// The present.
    fn now(&self) -> Instant;
}

/// A clock that can also wait.
///
/// A `Sleep` ends at the first poll at which its instant is due, and wakes its task by then. One
/// for [`Instant::NEVER`] never ends. Dropping a `Sleep` gives up the wait.
pub trait Timer: Clock {
    /// The wait for one instant.
    type Sleep: Future<Output = ()>;

    /// Waits until `at`; an instant that is already due ends at the first poll.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }
}

impl<T: Timer + ?Sized> Timer for &T {
    type Sleep = T::Sleep;
    fn sleep_until(&self, at: Instant) -> T::Sleep {
        (**self).sleep_until(at)
    }
}
