//! Waking many: every waker is woken, whichever of them panics.

use core::task::Waker;

/// Wakes all that `wakers` yields.
///
/// With `std` each panic is caught, the first is resumed at the end and later ones are dropped.
/// Without, one panic unwinds while the rest are still woken, and a second one aborts.
#[cfg(feature = "std")]
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    let mut first = None;
    for waker in wakers {
        // Nothing of ours is half-made here, so nothing can be seen broken.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            match first {
                None => first = Some(panic),
                // A payload may panic when it is dropped, and its payload again: leak the third.
                Some(_) => core::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(panic)))),
            }
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}

/// See above.
#[cfg(not(feature = "std"))]
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    struct Rest<I: Iterator<Item = Waker>>(I);
    impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
        fn drop(&mut self) {
            for waker in &mut self.0 {
                waker.wake();
            }
        }
    }
    // All the work is done by the guard: unwinding out of its loop would leave the rest asleep, so
    // the loop runs twice at most, the second time while the first panic unwinds.
    let mut rest = Rest(wakers);
    for waker in &mut rest.0 {
        waker.wake();
    }
}
