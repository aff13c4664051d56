//! Going through a series of steps to its end, whichever of them panics.

/// Calls `step` until it returns false. A step that panics counts as done: the next call goes on
/// behind it.
///
/// With `std` each panic is caught and the first is resumed at the end (if the thread is unwinding
/// already, that panic is the first, and those from here are dropped). Without, one panic unwinds
/// while the rest is still done, and a second one aborts.
#[cfg(feature = "std")]
pub(crate) fn sweep(mut step: impl FnMut() -> bool) {
    use core::panic::AssertUnwindSafe;
    use std::panic::{catch_unwind, resume_unwind};

    let mut first = None;
    // The caller's steps leave their state whole when they panic: that is what they are for.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| while step() {})) {
        match first {
            None => first = Some(panic),
            // A payload may panic when it is dropped, and its payload again: leak the third.
            Some(_) => core::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(panic)))),
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
pub(crate) fn sweep(step: impl FnMut() -> bool) {
    struct Rest<S: FnMut() -> bool>(S);
    impl<S: FnMut() -> bool> Drop for Rest<S> {
        fn drop(&mut self) {
            while (self.0)() {}
        }
    }
    // On the ordinary path the guard finds nothing left to do.
    let mut rest = Rest(step);
    while (rest.0)() {}
}
