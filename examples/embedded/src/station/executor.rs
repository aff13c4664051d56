//! The executor: polls its one future when it was woken, and otherwise sleeps until an interrupt.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use cortex_m::{asm, interrupt};
use portable_atomic::{AtomicBool, AtomicU32, Ordering};

static RUNG: AtomicBool = AtomicBool::new(false);

/// Polls, and times that there was nothing to do.
static POLLS: AtomicU32 = AtomicU32::new(0);
static SLEEPS: AtomicU32 = AtomicU32::new(0);

const VTABLE: RawWakerVTable = RawWakerVTable::new(|_| WAKER, |_| ring(), |_| ring(), |_| ());
const WAKER: RawWaker = RawWaker::new(core::ptr::null(), &VTABLE);

/// Whoever wakes children, and how many: their nursery tells its task once for each poll.
fn ring() {
    let twice = RUNG.swap(true, Ordering::Release);
    assert!(!twice, "woken twice for one poll");
}

/// `idle` is called with interrupts masked when there is nothing to do.
pub(crate) fn block_on<F: Future>(mut future: Pin<&mut F>, idle: impl Fn()) -> F::Output {
    RUNG.store(false, Ordering::Relaxed);
    // SAFETY: the table ignores its data.
    let waker = unsafe { Waker::from_raw(WAKER) };
    loop {
        POLLS.add(1, Ordering::Relaxed);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        loop {
            interrupt::disable();
            let rung = RUNG.swap(false, Ordering::Acquire);
            if !rung {
                idle();
                SLEEPS.add(1, Ordering::Relaxed);
                // Wakes by an interrupt, which comes when it is let in.
                asm::wfi();
            }
            // SAFETY: no critical section is open.
            unsafe { interrupt::enable() };
            if rung {
                break;
            }
        }
    }
}

/// How often it polled and slept.
pub(crate) struct Counts;

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [polls, sleeps] = [&POLLS, &SLEEPS].map(|count| count.load(Ordering::Relaxed));
        write!(f, "executor: {polls} polls, {sleeps} sleeps")
    }
}
