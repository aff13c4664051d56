//! What a block holds for who does its work elsewhere, and his claim to it.
//!
//! Behind the head of such a block lies a *link*: what the worker and the child's future, which stands for
//! the work, tell one another by. The worker may be the last to look at it. So the block's memory, link and
//! head belong to both: the two sides of the child, who count as one here, and the worker.
//!
//! Invariants are told in the [face](super).
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | let go | load, `swap` | Acquire, AcqRel | the other's: the freer sees every access of the other |

use crate::nursery::node::head::{Node, free_memory};
use crate::sync::{AtomicUsize, Ordering};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

/// A head with a link.
#[repr(C)]
pub(super) struct Linked<L> {
    node: Node,
    /// 1: one of the two has let go.
    gone: AtomicUsize,
    link: L,
}

impl<L> Linked<L> {
    pub(super) fn new(node: Node, link: L) -> Self {
        Linked {
            node,
            gone: AtomicUsize::new(0),
            link,
        }
    }

    /// Lets go of a block on behalf of one of the two: who is second drops the link and frees the memory.
    ///
    /// # Safety
    /// C6: the block's head is of this type. C7: whoever lets go has not before.
    pub(super) unsafe fn let_go(node: NonNull<Node>) {
        // SAFETY: C7 – (caller) we have not let go; C6 – the head is of this type.
        let gone = unsafe { &(*node.cast::<Self>().as_ptr()).gone };
        // Who finds the other gone is alone: there is nobody to be told.
        if gone.load(Ordering::Acquire) == 0 && gone.swap(1, Ordering::AcqRel) == 0 {
            return;
        }
        struct Rest(NonNull<Node>);
        impl Drop for Rest {
            fn drop(&mut self) {
                // SAFETY: C7 – the other has let go: the block is ours alone.
                unsafe { free_memory(self.0) };
            }
        }
        // Also if the drop unwinds.
        let _rest = Rest(node);
        // SAFETY: C7 – as above; dropped once, here.
        unsafe { ptr::drop_in_place(&raw mut (*node.cast::<Self>().as_ptr()).link) };
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
pub(crate) struct Elsewhere<L> {
    beside: Beside<L>,
    _link: PhantomData<L>,
}

// SAFETY: C7 – it shares the link, and may be the one who drops it. What else is in the block has been
// dropped by then.
unsafe impl<L: Send + Sync> Send for Elsewhere<L> {}
// SAFETY: it gives `&L` and nothing more.
unsafe impl<L: Sync> Sync for Elsewhere<L> {}

impl<L> Elsewhere<L> {
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
}

impl<L> Drop for Elsewhere<L> {
    fn drop(&mut self) {
        // SAFETY: C6 – as it was made; C7 – we let go only here.
        unsafe { Linked::<L>::let_go(self.beside.0.cast()) };
    }
}
