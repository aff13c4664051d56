//! What a block holds for who does its work elsewhere, and his claim to it.
//!
//! Behind the head of such a block lies a *link*: what the worker and the child's future, which stands for
//! the work, tell one another by. The worker may be the last to look at it. So the block's memory, link and
//! head belong to both: the two sides of the child, who count as one here, and the worker.
//!
//! Invariants are told in the [face](super).
//!
//! # State
//!
//! Two bits of a word that is the link's own, which has the bits above them:
//!
//! | bit | meaning | set by |
//! |---|---|---|
//! | `SIDES_GONE` | the two sides have let go | the second of them |
//! | `WORKER_GONE` | the worker has let go | worker, perhaps as he tells something |
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | let go | load, and see [`second`](super::second) | Acquire | the other's: the freer sees every access of the other |
//! | tell, and let go | CAS | Release / Acquire | as above; and what the link says of its own bits |

use crate::nursery::node::head::{Node, free_memory};
use crate::nursery::node::second::is_second;
use crate::sync::{AtomicUsize, Ordering};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

const SIDES_GONE: usize = 1;
const WORKER_GONE: usize = 1 << 1;
/// The lowest bit of the word that is the link's own.
pub(crate) const LOWEST: usize = 1 << 2;

/// A link: it has a word for its state, of which the bits below [`LOWEST`] say who has let go of it.
///
/// # Safety
/// It is always the same word. The bits below are 0 at first, and never changed by the link.
pub(crate) unsafe trait Word {
    fn word(&self) -> &AtomicUsize;
}

/// A head with a link.
#[repr(C)]
pub(super) struct Linked<L> {
    node: Node,
    link: L,
}

impl<L> Linked<L> {
    pub(super) fn new(node: Node, link: L) -> Self {
        Linked { node, link }
    }

    /// Drops the link and frees the memory.
    ///
    /// # Safety
    /// C6: the block's head is of this type. C7: both have let go.
    unsafe fn free(node: NonNull<Node>) {
        struct Rest(NonNull<Node>);
        impl Drop for Rest {
            fn drop(&mut self) {
                // SAFETY: C7 – both have let go: the block is ours alone.
                unsafe { free_memory(self.0) };
            }
        }
        // Also if the drop unwinds.
        let _rest = Rest(node);
        // SAFETY: C6, C7 – (caller); dropped once, here.
        unsafe { ptr::drop_in_place(&raw mut (*node.cast::<Self>().as_ptr()).link) };
    }
}

impl<L: Word> Linked<L> {
    /// # Safety
    /// C6: the block's head is of this type. C7: whoever uses the result has not let go before.
    unsafe fn word<'a>(node: NonNull<Node>) -> &'a AtomicUsize
    where
        L: 'a,
    {
        // SAFETY: (caller).
        unsafe { (*node.cast::<Self>().as_ptr()).link.word() }
    }

    /// Lets go of a block on behalf of one of the two, whose bit is `ours`: who is second frees it.
    ///
    /// # Safety
    /// C6: the block's head is of this type. C7: whoever lets go has not before.
    unsafe fn let_go_of(node: NonNull<Node>, ours: usize) {
        // SAFETY: (caller).
        let word = unsafe { Self::word(node) };
        let seen = word.load(Ordering::Acquire);
        if is_second(word, ours, SIDES_GONE | WORKER_GONE, seen).is_some() {
            // SAFETY: C6; C7 – the other's bit was set: ours is the second.
            unsafe { Self::free(node) };
        }
    }

    /// The sides let go.
    ///
    /// # Safety
    /// C6: the block's head is of this type. C7: this is the sides' end.
    pub(super) unsafe fn let_go(node: NonNull<Node>) {
        // SAFETY: (caller).
        unsafe { Self::let_go_of(node, SIDES_GONE) };
    }
}

/// The link of a block to which whoever uses this has a claim.
pub(crate) struct Beside<L>(NonNull<Linked<L>>);

// SAFETY: it gives `&L` and nothing more.
unsafe impl<L: Sync> Send for Beside<L> {}
// SAFETY: as above.
unsafe impl<L: Sync> Sync for Beside<L> {}

impl<L> Clone for Beside<L> {
    fn clone(&self) -> Self {
        Beside(self.0)
    }
}

impl<L> Beside<L> {
    /// # Safety
    /// C6.
    pub(super) unsafe fn new(node: NonNull<Node>) -> Self {
        Beside(node.cast())
    }

    pub(super) fn is_of(&self, node: NonNull<Node>) -> bool {
        self.0.cast() == node
    }

    /// # Safety
    /// C1, C7: somebody's claim to the block outlives the result.
    pub(crate) unsafe fn get(&self) -> &L {
        // SAFETY: (caller) the block lives; the link is never borrowed mutably before that ends.
        unsafe { &(*self.0.as_ptr()).link }
    }
}

/// The worker's claim to a block.
pub(crate) struct Elsewhere<L: Word> {
    beside: Beside<L>,
    _link: PhantomData<L>,
}

// SAFETY: C7 – it shares the link, and may be the one who drops it. What else is in the block has been
// dropped by then.
unsafe impl<L: Word + Send + Sync> Send for Elsewhere<L> {}
// SAFETY: it gives `&L` and nothing more.
unsafe impl<L: Word + Sync> Sync for Elsewhere<L> {}

impl<L: Word> Elsewhere<L> {
    /// # Safety
    /// C6; C7: it is made once.
    pub(super) unsafe fn new(node: NonNull<Node>) -> Self {
        Elsewhere {
            // SAFETY: (caller).
            beside: unsafe { Beside::new(node) },
            _link: PhantomData,
        }
    }

    pub(crate) fn link(&self) -> &L {
        // SAFETY: C7 – we have not let go.
        unsafe { self.beside.get() }
    }

    /// Tells `bits`, which are the link's own, and lets go in the same step, if the link's word is still as it
    /// was `seen`: when the sides had not let go.
    ///
    /// # Errors
    /// It is another one: that, and the claim.
    pub(crate) fn try_tell(self, seen: usize, bits: usize) -> Result<(), (Self, usize)> {
        // Who sees it is alone, and drops the claim.
        assert!(seen & SIDES_GONE == 0 && bits % LOWEST == 0);
        let this = ManuallyDrop::new(self);
        let node = this.beside.0.cast();
        // SAFETY: C6 – as it was made; C7 – we have not let go.
        let word = unsafe { Linked::<L>::word(node) };
        let told = seen | bits | WORKER_GONE;
        match word.compare_exchange(seen, told, Ordering::Release, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(now) => Err((ManuallyDrop::into_inner(this), now)),
        }
    }
}

impl<L: Word> Drop for Elsewhere<L> {
    fn drop(&mut self) {
        // SAFETY: C6 – as it was made; C7 – we let go only here, or have in `try_tell`.
        unsafe { Linked::<L>::let_go_of(self.beside.0.cast(), WORKER_GONE) };
    }
}
