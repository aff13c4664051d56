//! Time, which an interrupt moves on by a tick, and the sleeps of tasks.

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use cortex_m::interrupt::{self, Mutex};
use portable_atomic::{AtomicU32, Ordering::Relaxed};
use umbel_core::{Clock, Instant, Timer};

const NANOS: u64 = 1_000_000;

static NOW: AtomicU32 = AtomicU32::new(0);

/// Until which tick somebody sleeps, and whom to wake then. No waker: he was woken.
type Sleeper = (u32, Option<Waker>);

static SLEEPERS: Mutex<RefCell<[Option<Sleeper>; 8]>> =
    Mutex::new(RefCell::new([const { None }; 8]));

pub(crate) fn ticks() -> u32 {
    NOW.load(Relaxed)
}

pub(crate) fn instant(tick: u32) -> Instant {
    Instant::from_nanos(u64::from(tick) * NANOS)
}

/// For the interrupt: the next tick.
pub(crate) fn go_on() {
    let now = ticks() + 1;
    NOW.store(now, Relaxed);
    let next = || {
        interrupt::free(|cs| {
            let mut sleepers = SLEEPERS.borrow(cs).borrow_mut();
            let due = sleepers.iter_mut().flatten().filter(|(at, _)| *at <= now);
            due.filter_map(|(_, waker)| waker.take()).next()
        })
    };
    core::iter::from_fn(next).for_each(Waker::wake);
}

/// Whether nobody sleeps.
pub(crate) fn is_unused() -> bool {
    interrupt::free(|cs| SLEEPERS.borrow(cs).borrow().iter().all(Option::is_none))
}

/// Ticks as a timer.
#[derive(Clone, Copy)]
pub(crate) struct Ticks;

impl Clock for Ticks {
    fn now(&self) -> Instant {
        instant(ticks())
    }
}

impl Timer for Ticks {
    type Sleep = Sleep;

    fn sleep_until(&self, at: Instant) -> Sleep {
        let tick = at.as_nanos().div_ceil(NANOS);
        Sleep {
            at: u32::try_from(tick).unwrap_or(u32::MAX),
            place: None,
        }
    }
}

pub(crate) struct Sleep {
    at: u32,
    place: Option<usize>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        interrupt::free(|cs| {
            if self.at <= ticks() {
                return Poll::Ready(());
            }
            let mut sleepers = SLEEPERS.borrow(cs).borrow_mut();
            let free = || sleepers.iter().position(Option::is_none);
            let place = self.place.or_else(free).expect("a place for each sleep");
            self.place = Some(place);
            sleepers[place] = Some((self.at, Some(cx.waker().clone())));
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            interrupt::free(|cs| SLEEPERS.borrow(cs).borrow_mut()[place] = None);
        }
    }
}
