//! A value on its way from a child that has started to who waits for that.
//!
//! | word | meaning | set by |
//! |---|---|---|
//! | null | nothing yet | – |
//! | pointer | the value, in a box | the child, once |
//! | `CLOSED` | taken, or nobody waits for it | who waited |
//!
//! # Invariants
//!
//! - **V1** A pointer in the word owns its box; who swaps it out has it.
//! - **V2** One side sends, at most once; the other side alone waits, takes and closes.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | send | CAS null → pointer | Release / Relaxed | take, close: publishes the value |
//! | is it there | load | Relaxed | nothing: the take decides |
//! | take, close | swap | Acquire | send |
//!
//! Who waits registers its waker, then looks again: see [`WakeCell`]. If nobody waits any more, nothing is
//! published, and the failed CAS follows no pointer.
//!
//! Models: `start_against_its_drop`, `start_against_waiting`.
//!
//! # Foreign code
//!
//! The value's drop and the waker run while the word is as one of the above.

use crate::sync::{AtomicPtr, Ordering};
use crate::wake::cell::WakeCell;
use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ptr;
use core::task::{Context, Poll};

pub(crate) struct Handoff<V> {
    word: AtomicPtr<V>,
    waiter: WakeCell,
    _value: PhantomData<V>,
}

// SAFETY: V1 – the value crosses from one side to the other, once; no reference to it is given out.
unsafe impl<V: Send> Send for Handoff<V> {}
// SAFETY: as above.
unsafe impl<V: Send> Sync for Handoff<V> {}

impl<V> Handoff<V> {
    const CLOSED: *mut V = ptr::without_provenance_mut(usize::MAX);

    pub(crate) fn new() -> Self {
        Handoff {
            word: AtomicPtr::new(ptr::null_mut()),
            waiter: WakeCell::new(),
            _value: PhantomData,
        }
    }

    /// Sends the value. To be called once (V2).
    ///
    /// # Errors
    /// Nobody waits for it.
    pub(crate) fn send(&self, value: V) -> Result<(), V> {
        let value = Box::into_raw(Box::new(value));
        let sent = self.word.compare_exchange(
            ptr::null_mut(),
            value,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if sent.is_err() {
            // SAFETY: V1 – not published, so still ours.
            return Err(*unsafe { Box::from_raw(value) });
        }
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
        Ok(())
    }

    /// The value, if it is there. After it, or [`close`](Self::close), there is none.
    pub(crate) fn take(&self) -> Option<V> {
        if self.word.load(Ordering::Relaxed).is_null() {
            return None;
        }
        self.close()
    }

    /// Nobody waits any more. The value, if it was sent before.
    pub(crate) fn close(&self) -> Option<V> {
        let word = self.word.swap(Self::CLOSED, Ordering::Acquire);
        if word.is_null() || word == Self::CLOSED {
            return None;
        }
        // SAFETY: V1 – swapped out.
        Some(*unsafe { Box::from_raw(word) })
    }

    /// Waits for the value. Not to be called again after `Ready`.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<V> {
        if let Some(value) = self.take() {
            return Poll::Ready(value);
        }
        self.waiter.register(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Nobody is to be woken any more.
    pub(crate) fn leave(&self) {
        drop(self.waiter.take());
    }
}

impl<V> Drop for Handoff<V> {
    fn drop(&mut self) {
        drop(self.close());
    }
}
