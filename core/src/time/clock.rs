//! What tells the time, and what waits for it.

use crate::time::instant::Instant;
use core::future::Future;

/// Tells the time. It never goes backwards.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock",
    label = "not a clock",
    note = "a runtime's timer is one; `std::time::Instant` becomes an instant of it by `umbel::time::from_std`"
)]
pub trait Clock {
    /// The present.
    fn now(&self) -> Instant;
}

/// A clock that can also wait.
///
/// A `Sleep` ends at the first poll at which its instant is due, and wakes its task by then. One
/// for [`Instant::NEVER`] never ends. Dropping a `Sleep` gives up the wait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no timer",
    label = "not a timer",
    note = "a timer comes from a runtime's adapter, as `umbel::smol::SmolTimer` and `umbel::tokio::TokioTimer` do; in tests it is a `ManualClock`"
)]
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
