//! Foreign code in numbers: every waker is woken and every value dropped, whichever of them panics.

use core::task::Waker;

/// Wakes all that `wakers` yields.
#[inline]
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    each(wakers, Waker::wake);
}

/// Drops all that `values` yields.
#[inline]
pub(crate) fn drop_all<T>(values: impl Iterator<Item = T>) {
    each(values, drop);
}

/// Calls `act` for every item.
///
/// With `std` each panic is caught, the first is resumed at the end and later ones are dropped. (If
/// the thread is unwinding already, that panic is the first.) Without, one panic unwinds while the
/// rest are still done, and a second one aborts.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn each<I: Iterator>(items: I, mut act: impl FnMut(I::Item)) {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    let mut first = None;
    for item in items {
        // Nothing of ours is half-made here, so nothing can be seen broken.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| act(item))) {
            match first {
                None => first = Some(panic),
                // A payload may panic when it is dropped, and its payload again: leak the third.
                Some(_) => core::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(panic)))),
            }
        }
    }
    if let Some(panic) = first {
        if std::thread::panicking() {
            core::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(panic))));
        } else {
            resume_unwind(panic);
        }
    }
}

/// See above.
#[cfg(not(feature = "std"))]
#[inline]
pub(crate) fn each<I: Iterator>(items: I, act: impl FnMut(I::Item)) {
    struct Rest<I: Iterator, A: FnMut(I::Item)>(I, A);
    impl<I: Iterator, A: FnMut(I::Item)> Rest<I, A> {
        fn run(&mut self) {
            for item in &mut self.0 {
                (self.1)(item);
            }
        }
    }
    impl<I: Iterator, A: FnMut(I::Item)> Drop for Rest<I, A> {
        /// Finds nothing left to do, unless a panic is unwinding.
        fn drop(&mut self) {
            self.run();
        }
    }
    Rest(items, act).run();
}
