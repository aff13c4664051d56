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

/// Calls `step` until it returns false. A step that panics counts as done.
#[inline]
pub(crate) fn steps(mut step: impl FnMut() -> bool) {
    drop_all(core::iter::from_fn(|| step().then_some(())));
}

/// Calls `act` for every item. If the iterator itself panics, it is asked again.
///
/// With `std` each panic is caught, the first is resumed at the end and later ones are dropped (if the
/// thread is unwinding already, that panic is the first). Without, one panic unwinds while the rest
/// are still done, and a second one aborts.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn each<I: Iterator>(mut items: I, mut act: impl FnMut(I::Item)) {
    use core::panic::AssertUnwindSafe;
    use std::panic::{catch_unwind, resume_unwind};

    let mut first = None;
    // One catch for all that do not panic. Nothing of ours is half-made while foreign code runs, so
    // nothing can be seen broken, and the iterator goes on where it was.
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| items.by_ref().for_each(&mut act))) {
        match first {
            None => first = Some(panic),
            Some(_) => swallow(panic),
        }
    }
    if let Some(panic) = first {
        if std::thread::panicking() {
            swallow(panic);
        } else {
            resume_unwind(panic);
        }
    }
}

/// Drops a panic that nobody is to see.
///
/// Its payload may panic when it is dropped, and the payload of that again: so they go, one after
/// another. One that brings forth a new one for ever is leaked in the end.
#[cfg(feature = "std")]
pub(crate) fn swallow(panic: alloc::boxed::Box<dyn core::any::Any + Send>) {
    use core::panic::AssertUnwindSafe;

    const GENERATIONS: usize = 16;
    let mut next = Some(panic);
    for _ in 0..GENERATIONS {
        let Some(panic) = next else { return };
        next = std::panic::catch_unwind(AssertUnwindSafe(|| drop(panic))).err();
    }
    core::mem::forget(next);
}

/// See above.
#[cfg(not(feature = "std"))]
#[inline]
pub(crate) fn each<I: Iterator>(items: I, act: impl FnMut(I::Item)) {
    struct Rest<I: Iterator, A: FnMut(I::Item)>(I, A);
    impl<I: Iterator, A: FnMut(I::Item)> Rest<I, A> {
        fn run(&mut self) {
            self.0.by_ref().for_each(&mut self.1);
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
