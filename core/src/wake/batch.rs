//! Foreign code in numbers: every waker is woken and every value dropped, whichever of them panics.

use core::task::Waker;

/// Wakes all that `wakers` yields.
///
/// With `std` each panic is caught, the first is resumed at the end and later ones are dropped.
/// Without, one panic unwinds while the rest are still woken, and a second one aborts.
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    each(wakers, Waker::wake);
}

/// Drops all that `values` yields; panics as in [`wake_all`].
#[inline]
pub(crate) fn drop_all<T>(values: impl Iterator<Item = T>) {
    each(values, drop);
}

#[cfg(feature = "std")]
#[inline]
fn each<T>(values: impl Iterator<Item = T>, act: impl Fn(T)) {
    use core::panic::AssertUnwindSafe;
    use std::panic::{catch_unwind, resume_unwind};

    let mut values = values;
    let mut first = None;
    // One catch for all that do not panic. Nothing of ours is half-made while foreign code runs, so
    // nothing can be seen broken, and the iterator goes on where it was.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| (&mut values).for_each(&act))) {
        match first {
            None => first = Some(panic),
            // A payload may panic when it is dropped, and its payload again: leak the third.
            Some(_) => core::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(panic)))),
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}

#[cfg(not(feature = "std"))]
#[inline]
fn each<T>(values: impl Iterator<Item = T>, act: impl Fn(T)) {
    struct Rest<T, I: Iterator<Item = T>, A: Fn(T)>(I, A);
    impl<T, I: Iterator<Item = T>, A: Fn(T)> Drop for Rest<T, I, A> {
        fn drop(&mut self) {
            for value in &mut self.0 {
                (self.1)(value);
            }
        }
    }
    // Unwinding out of the loop would leave the rest undone, so the guard runs it a second time
    // while the first panic unwinds.
    let mut rest = Rest(values, act);
    for value in &mut rest.0 {
        (rest.1)(value);
    }
}
