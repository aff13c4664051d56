//! Blocks that live for ever, and references to them that need no lifetime and no count.
//!
//! What a waker points to may be reached long after its owner is gone. An immortal block stays a
//! valid block of its type until the program ends: a late access finds an atomic that means nothing
//! to it any more. Such blocks come from a [`Pool`](super::pool) that never frees one, or lie in a
//! `static` of the user's.
//!
//! # Invariants
//!
//! - **B1** An `Immortal` points to a block that is never freed or moved, and to which nobody makes
//!   a `&mut`.

use core::ops::Deref;
use core::ptr::NonNull;

/// What an immortal block is made of.
///
/// # Safety
/// A shared reference to a block may be used on any thread, at any time, whatever is done to the
/// block (given back, taken again) meanwhile: all access to what can change is atomic or under a
/// right that the type's own rules hand out.
#[allow(
    dead_code,
    reason = "Rust 1.85 does not see its use in the bounds below"
)]
pub(crate) unsafe trait Block: Sized + 'static {
    /// A block as it is when it lies in a pool.
    #[cfg(feature = "alloc")]
    fn fresh() -> Self;
}

/// A block that is valid for ever (B1), so following it is always allowed. What may be done to it is
/// up to the rules of `T`.
pub(crate) struct Immortal<T>(NonNull<T>);

impl<T> Clone for Immortal<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Immortal<T> {}

impl<T> PartialEq for Immortal<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Immortal<T> {
    /// The address; it may be turned back by [`from_ptr`](Self::from_ptr).
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }

    /// # Safety
    /// `ptr` points to a block as B1 wants it, with provenance for it; one that came from
    /// [`as_ptr`](Self::as_ptr) does.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(ptr: *mut T) -> Self {
        // SAFETY: B1 – by contract this is a block, and blocks are not at null.
        Immortal(unsafe { NonNull::new_unchecked(ptr) })
    }
}

impl<T> Deref for Immortal<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: B1 – the block is there for ever, and nobody ever makes a `&mut` to it.
        unsafe { self.0.as_ref() }
    }
}

// SAFETY: `Block` promises that shared use is right from any thread; an `Immortal` gives no other.
unsafe impl<T: Block> Send for Immortal<T> {}
// SAFETY: as above.
unsafe impl<T: Block> Sync for Immortal<T> {}
