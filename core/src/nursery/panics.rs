//! Panics of foreign code, kept until the nursery has ended.
//!
//! | | with `std` | without |
//! |---|---|---|
//! | a panic | is caught where the foreign code was called | unwinds out of the nursery's poll |
//! | the rest | comes to its end: the nursery is cancelled | is dropped with the nursery |
//! | who sees it | who polls the nursery, when all have ended | the same, at once |
//! | a later one | is dropped | aborts, if it comes while the first unwinds |
//!
//! `AssertUnwindSafe`: what foreign code leaves broken is its own, and it is not called again after a
//! panic, only dropped; nothing of ours is half-made while it runs.

#[cfg(feature = "std")]
pub(crate) type Panic = alloc::boxed::Box<dyn core::any::Any + Send>;

/// There are none.
#[cfg(not(feature = "std"))]
pub(crate) type Panic = core::convert::Infallible;

/// Runs foreign code.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn attempt<R>(act: impl FnOnce() -> R) -> Result<R, Panic> {
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(act))
}

/// Runs foreign code.
#[cfg(not(feature = "std"))]
#[inline(always)]
pub(crate) fn attempt<R>(act: impl FnOnce() -> R) -> Result<R, Panic> {
    Ok(act())
}

/// Goes on with it.
#[cfg(feature = "std")]
pub(crate) fn resume(panic: Panic) -> ! {
    std::panic::resume_unwind(panic)
}

/// Goes on with it.
#[cfg(not(feature = "std"))]
pub(crate) fn resume(panic: Panic) -> ! {
    match panic {}
}

#[cfg(feature = "std")]
pub(crate) use crate::wake::batch::swallow;

/// Drops a panic that nobody is to see.
#[cfg(not(feature = "std"))]
pub(crate) fn swallow(panic: Panic) {
    match panic {}
}

use core::cell::{Cell, RefCell};

/// The first panic. Not shared: the nursery's own future keeps it.
#[derive(Default)]
pub(crate) struct Panics {
    first: RefCell<Option<Panic>>,
    /// There is one.
    caught: Cell<bool>,
}

impl Panics {
    /// Runs foreign code. `None`: it has panicked.
    #[inline(always)]
    pub(crate) fn catch<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        match attempt(act) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.keep(panic);
                None
            }
        }
    }

    /// Keeps the first, drops a later one.
    #[cold]
    pub(crate) fn keep(&self, panic: Panic) {
        self.caught.set(true);
        let mut first = self.first.borrow_mut();
        match *first {
            None => *first = Some(panic),
            Some(_) => {
                // Its drop is foreign code.
                drop(first);
                swallow(panic);
            }
        }
    }

    /// Whether there was one.
    #[inline]
    pub(crate) fn caught(&self) -> bool {
        self.caught.get()
    }

    /// Goes on with the first one, if there was one.
    pub(crate) fn resume(&self) {
        self.caught.set(false);
        let first = self.first.take();
        if let Some(panic) = first {
            resume(panic);
        }
    }

    /// Nobody is left to see it.
    pub(crate) fn forget(&self) {
        self.caught.set(false);
        let first = self.first.take();
        if let Some(panic) = first {
            swallow(panic);
        }
    }
}
