//! A future of any type, in `SIZE` bytes of memory.
//!
//! # Invariants
//!
//! - **E1** `memory` holds the future that `poll` and `drop` were made for, from `new` to `drop`.
//! - **E2** From the first poll on it does not move: who polls has it pinned.

use core::future::Future;
use core::marker::{PhantomData, PhantomPinned};
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Aligned as the largest primitive types are.
#[cfg_attr(target_pointer_width = "64", repr(C, align(16)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(C, align(8)))]
struct Memory<const SIZE: usize>(MaybeUninit<[u8; SIZE]>);

/// A child.
pub(crate) struct Erased<'env, E, const SIZE: usize> {
    poll: unsafe fn(*mut (), &mut Context<'_>) -> Poll<Result<(), E>>,
    drop: unsafe fn(*mut ()),
    /// Numbered by age, for who drops it.
    born: usize,
    memory: Memory<SIZE>,
    /// It may hold whatever lives for `'env`: it is invariant, not `Send`, and pinned.
    _of: PhantomData<(&'env mut &'env (), *mut ())>,
    _pinned: PhantomPinned,
}

impl<'env, E, const SIZE: usize> Erased<'env, E, SIZE> {
    #[inline]
    pub(crate) fn new<F>(future: F, born: usize) -> Self
    where
        F: Future<Output = Result<(), E>> + 'env,
    {
        const {
            assert!(
                size_of::<F>() <= SIZE,
                "this child is larger than the slots of its nursery"
            );
            assert!(
                align_of::<F>() <= align_of::<Memory<SIZE>>(),
                "this child is aligned to more than the slots of its nursery"
            );
        }
        let mut memory = Memory(MaybeUninit::uninit());
        // SAFETY: E1 – large and aligned enough, as asserted.
        unsafe { (&raw mut memory).cast::<F>().write(future) };
        Erased {
            // SAFETY: (caller) `at` points to a pinned `F`.
            poll: |at, cx| unsafe { Pin::new_unchecked(&mut *at.cast::<F>()) }.poll(cx),
            // SAFETY: (caller) `at` points to an `F` that is not used again.
            drop: |at| unsafe { at.cast::<F>().drop_in_place() },
            born,
            memory,
            _of: PhantomData,
            _pinned: PhantomPinned,
        }
    }

    /// (Not by a shared reference, which would cover a future that may borrow from itself.)
    pub(crate) fn born(self: Pin<&mut Self>) -> usize {
        // SAFETY: E2 – nothing is moved out of here.
        unsafe { self.get_unchecked_mut() }.born
    }
}

impl<E, const SIZE: usize> Future for Erased<'_, E, SIZE> {
    type Output = Result<(), E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: E2 – nothing is moved out of here.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: E1, E2 – the future is there, and pinned as we are.
        unsafe { (this.poll)((&raw mut this.memory).cast(), cx) }
    }
}

impl<E, const SIZE: usize> Drop for Erased<'_, E, SIZE> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: E1 – the future is there, and nobody comes after us.
        unsafe { (self.drop)((&raw mut self.memory).cast()) }
    }
}
