//! What a fixed nursery shares with its run and with those who spawn: the way to the slots.
//!
//! # Invariants
//!
//! - **G1** `way` is `None`, or has the pinned slots and the signal of the run that is being polled: `open`
//!   sets it, and what that returns takes it back before the poll is over, also on unwind. Both are used
//!   by shared reference only.
//!
//! # Foreign code
//!
//! The signal is asked here, before anything else is looked at.

use crate::fixed_nursery::erased::Erased;
use crate::fixed_nursery::waiters::Waiters;
use crate::set::slots::Slots;
use crate::spawn::TrySpawnError;
use crate::token::CancelSignal;
use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;

/// The way in, while the run is polled (G1).
struct Way<S> {
    slots: *const S,
    stop: *const (),
    is_cancelled: unsafe fn(*const ()) -> bool,
}

impl<S> Clone for Way<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Way<S> {}

pub(crate) struct Gate<'env, E, const N: usize, const SIZE: usize> {
    way: Cell<Option<Way<Slots<Erased<'env, E, SIZE>, N>>>>,
    pub(crate) waiters: Waiters,
    /// Children ever spawned.
    born: Cell<usize>,
}

impl<'env, E, const N: usize, const SIZE: usize> Gate<'env, E, N, SIZE> {
    pub(crate) const fn new() -> Self {
        Gate {
            way: Cell::new(None),
            waiters: Waiters::new(),
            born: Cell::new(0),
        }
    }

    /// Lets children in, until the result is dropped or `stop` is cancelled.
    ///
    /// # Safety
    /// The result is dropped before `slots` and `stop` are.
    pub(crate) unsafe fn open<S: CancelSignal>(
        &self,
        slots: Pin<&Slots<Erased<'env, E, SIZE>, N>>,
        stop: &S,
    ) -> impl Drop + use<'_, 'env, E, S, N, SIZE> {
        struct Shut<'a, T>(&'a Cell<Option<Way<T>>>);
        impl<T> Drop for Shut<'_, T> {
            fn drop(&mut self) {
                self.0.set(None);
            }
        }
        self.way.set(Some(Way {
            slots: slots.get_ref(),
            stop: (&raw const *stop).cast(),
            // SAFETY: (caller) it is given what stands above it, which is there.
            is_cancelled: |stop| unsafe { &*stop.cast::<S>() }.is_cancelled(),
        }));
        Shut(&self.way)
    }

    /// Whether children are let in: the nursery is being polled, and not cancelled.
    pub(crate) fn is_open(&self) -> bool {
        let way = self.way.get();
        // SAFETY: G1 – the signal is there, and of the type for which the function was made.
        way.is_some_and(|way| unsafe { !(way.is_cancelled)(way.stop) })
    }

    pub(crate) fn has_room(&self) -> bool {
        let way = self.way.get();
        // SAFETY: G1 – there, and shared; no foreign code runs while the reference is used.
        way.is_some_and(|way| unsafe { !(*way.slots).is_full() })
    }

    /// Puts a child into a free slot.
    pub(crate) fn spawn<F>(&self, child: F) -> Result<(), TrySpawnError<F>>
    where
        F: Future<Output = Result<(), E>> + 'env,
    {
        if !self.is_open() {
            return Err(TrySpawnError::Closed(child));
        }
        let Some(way) = self.way.get() else {
            return Err(TrySpawnError::Closed(child));
        };
        // SAFETY: G1 – there, and shared; no foreign code runs while the reference is used.
        let slots = unsafe { &*way.slots };
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
