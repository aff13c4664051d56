//! [embassy](https://embassy.dev)'s time, as a timer for [umbel-core](https://docs.rs/umbel-core).
//!
//! A nursery is a future like any other, so under embassy it needs nothing but this for deadlines:
//!
//! ```no_run
//! use core::{future::pending, time::Duration};
//! use umbel_core::{Clock, FixedFailure, FixedNursery, Full, StaticToken, Timer, WakePool};
//! use umbel_embassy::EmbassyTimer;
//!
//! static STOP: StaticToken<1> = StaticToken::new(); // an interrupt cancels its children
//! static POOL: WakePool<2> = WakePool::new();
//!
//! async fn blink(mut toggle: impl FnMut()) -> Result<(), Full> {
//!     let timer = EmbassyTimer::new();
//!     loop {
//!         toggle();
//!         timer.sleep_until(timer.now() + Duration::from_millis(500)).await;
//!     }
//! }
//!
//! // #[embassy_executor::task]
//! async fn lights() -> Result<(), FixedFailure<Full>> {
//!     let timer = EmbassyTimer::new();
//!     let an_hour = timer.now() + Duration::from_secs(3600);
//!     let stop = STOP.child_with_deadline(an_hour).map_err(FixedFailure::Error)?;
//!     let n = FixedNursery::<Full, 2>::new(&POOL).map_err(|_| FixedFailure::Error(Full))?;
//!     n.run_until_cancelled(&stop, async {
//!         n.try_spawn(blink(|| { /* one LED */ })).map_err(|_| Full)?;
//!         n.try_spawn(blink(|| { /* another */ })).map_err(|_| Full)?;
//!         stop.drive(timer).await; // cancels `stop` when its hour has come
//!         pending().await
//!     })
//!     .await
//! }
//! ```
//!
//! # Choose a generic queue
//!
//! Children of a nursery have wakers of their own. embassy's default timer queue takes only wakers of
//! embassy's executor, and panics if it is given another one. So the program must choose a queue that
//! takes any waker: a feature `generic-queue-8` (or `-16` … `-128`) of `embassy-time` or
//! `embassy-time-queue-utils`. That goes for embassy's own `Timer` in a nursery, too.
//!
//! The number is of wakers that sleep at a time. If there are more, embassy wakes some early; they
//! sleep again, so nothing ends early, but the processor gets no rest.
//!
//! # Ticks
//!
//! The clock counts from embassy's epoch, in nanoseconds, as exactly as its ticks are (the features
//! `tick-hz-…`). A sleep is rounded up to the next tick: it never ends early.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use embassy_time_driver::{TICK_HZ, now, schedule_wake};
use umbel_core::{Clock, Instant, Timer};

const NANOS: u64 = 1_000_000_000;

/// Clock and timer on embassy's time driver.
///
/// The type is empty; it is `Copy`, `Send` and `Sync`. It takes no memory but the driver's, allocates
/// nothing, and works under every executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyTimer(());

impl EmbassyTimer {
    /// The timer. There is only one driver in a program, so all are the same.
    pub const fn new() -> Self {
        EmbassyTimer(())
    }
}

/// May be called in an interrupt, as far as the driver allows that.
impl Clock for EmbassyTimer {
    fn now(&self) -> Instant {
        instant(now(), TICK_HZ)
    }
}

impl Timer for EmbassyTimer {
    type Sleep = EmbassySleep;

    fn sleep_until(&self, at: Instant) -> EmbassySleep {
        EmbassySleep {
            tick: ticks(at, TICK_HZ),
        }
    }
}

/// The wait of [`EmbassyTimer`] for one instant: `Send`, `Sync` and `Unpin`.
///
/// It ends at the first poll if it is due then (embassy's own `Timer` yields once), and never early.
/// One for [`Instant::NEVER`] never ends and never reaches the queue. Polled again after its end it is
/// ready again.
///
/// **Cancel safety:** Strict. But embassy's queue keeps the waker of a dropped sleep until its time has
/// come: it keeps its place in the queue until then, and causes a needless poll.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct EmbassySleep {
    /// `None`: never.
    tick: Option<u64>,
}

impl Future for EmbassySleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(tick) = self.tick else {
            return Poll::Pending;
        };
        if tick <= now() {
            return Poll::Ready(());
        }
        schedule_wake(tick, cx.waker());
        Poll::Pending
    }
}

/// The first tick at or after `at`.
fn ticks(at: Instant, hz: u64) -> Option<u64> {
    if at == Instant::NEVER {
        return None;
    }
    let nanos = at.as_nanos();
    let parts = (nanos % NANOS).saturating_mul(hz).div_ceil(NANOS);
    Some((nanos / NANOS).saturating_mul(hz).saturating_add(parts))
}

/// When `tick` begins, in whole nanoseconds: not after that.
fn instant(tick: u64, hz: u64) -> Instant {
    let parts = (tick % hz).saturating_mul(NANOS) / hz;
    Instant::from_nanos((tick / hz).saturating_mul(NANOS).saturating_add(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 6] = [1, 1_000, 32_768, 1_000_000, 133_000_000, NANOS];

    /// A sleep until an instant ends when the clock shows that instant, or a later one, and there is no
    /// tick in between.
    #[test]
    fn a_tick_is_the_first_that_is_not_early() {
        for hz in RATES {
            for nanos in [
                0,
                1,
                999,
                30_517,
                30_518,
                NANOS - 1,
                NANOS,
                86_400 * NANOS + 1,
            ] {
                let at = Instant::from_nanos(nanos);
                let tick = ticks(at, hz).unwrap();
                assert!(at <= instant(tick, hz), "{hz} Hz, {at:?}");
                assert!(tick == 0 || instant(tick - 1, hz) < at, "{hz} Hz, {at:?}");
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_far_away() {
        for hz in RATES {
            assert_eq!(ticks(Instant::NEVER, hz), None);
            let last = Instant::from_nanos(u64::MAX - 1);
            assert!(ticks(last, hz).is_some_and(|tick| tick >= u64::MAX / NANOS * hz));
            assert!(instant(u64::MAX, hz) >= Instant::from_nanos(u64::MAX / NANOS));
        }
        assert_eq!(instant(u64::MAX, 1), Instant::NEVER);
    }
}
