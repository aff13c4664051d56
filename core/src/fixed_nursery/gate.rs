//! What a fixed nursery shares with its run and with those who spawn: the way to the slots.
//!
//! # Invariants
//!
//! - **G1** `slots` is null, or points to the pinned slots of the run that is being polled: `open` sets
//!   it, and what that returns takes it back before the poll is over, also on unwind. Slots are used
//!   by shared reference only.

use crate::fixed_nursery::erased::Erased;
use crate::fixed_nursery::waiters::Waiters;
use crate::set::slots::Slots;
use crate::spawn::TrySpawnError;
use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::ptr;

pub(crate) struct Gate<'env, E, const N: usize, const SIZE: usize> {
    slots: Cell<*const Slots<Erased<'env, E, SIZE>, N>>,
    pub(crate) waiters: Waiters,
    /// Children ever spawned.
    born: Cell<usize>,
}

impl<'env, E, const N: usize, const SIZE: usize> Gate<'env, E, N, SIZE> {
    pub(crate) const fn new() -> Self {
        Gate {
            slots: Cell::new(ptr::null()),
            waiters: Waiters::new(),
            born: Cell::new(0),
        }
    }

    /// Lets children in, until the result is dropped.
    ///
    /// # Safety
    /// The result is dropped before `slots` are.
    pub(crate) unsafe fn open(
        &self,
        slots: Pin<&Slots<Erased<'env, E, SIZE>, N>>,
    ) -> impl Drop + use<'_, 'env, E, N, SIZE> {
        struct Shut<'a, T>(&'a Cell<*const T>);
        impl<T> Drop for Shut<'_, T> {
            fn drop(&mut self) {
                self.0.set(ptr::null());
            }
        }
        self.slots.set(slots.get_ref());
        Shut(&self.slots)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.slots.get().is_null()
    }

    pub(crate) fn has_room(&self) -> bool {
        // SAFETY: G1 – there, and shared; no foreign code runs while the reference is used.
        unsafe { self.slots.get().as_ref() }.is_some_and(|slots| !slots.is_full())
    }

    /// Puts a child into a free slot.
    pub(crate) fn spawn<F>(&self, child: F) -> Result<(), TrySpawnError<F>>
    where
        F: Future<Output = Result<(), E>> + 'env,
    {
        // SAFETY: G1 – there, and shared; no foreign code runs while the reference is used.
        let Some(slots) = (unsafe { self.slots.get().as_ref() }) else {
            return Err(TrySpawnError::Closed(child));
        };
        if slots.is_full() {
            return Err(TrySpawnError::Full(child));
        }
        let born = self.born.get();
        self.born.set(born.wrapping_add(1));
        // SAFETY: G1 – pinned.
        let slots = unsafe { Pin::new_unchecked(slots) };
        let pushed = slots.push(Erased::new(child, born));
        debug_assert!(pushed.is_ok(), "there was room");
        Ok(())
    }
}
