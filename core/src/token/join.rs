//! A root that is cancelled when the first of several tokens is: the memory of `any_of`.
//!
//! Such a root is a node with **links** behind it, one for each source. A link is a waiter of its
//! source: it has a slot in the source's slab of waiters, with a waker in it that walkers know by its
//! table ([`crate::token::death`]) and do not wake, but follow ([`crate::token::walk`]). Ordinary
//! nodes know nothing of all this.
//!
//! # Life
//!
//! ```text
//!   link: claim, hold the source ─► arm ─┬─► N dies: disarmed ─► source released
//!                                        └─► a canceller takes it ─► fired ─► N cancelled
//! ```
//!
//! A link keeps its source from dying by `strong`, not by a handle; the source does not keep N. So
//! what a source's slot points to is kept by **shares** in the block: one of N itself, one of each
//! armed link. Who gives up the last frees the block, but for a canceller, which must not: it buries
//! the block in the slot from which it took the link (`token::walk`, "Graves").
//!
//! # Invariants
//!
//! - **J1** The block stays while a share is left.
//! - **J2** A link's share belongs to who has its waker: the slot while ARMED, then the canceller who
//!   took it, or N's burial, which disarmed it.
//! - **J3** `fired` is set by a canceller that holds N, before its slot may be used for anything else;
//!   so N's burial, which comes after, disarms no slot that is not the link's any more.
//! - **J4** A link's source is held from before the link is armed until N's burial releases it.
//! - **J5** `linked` counts links that are written; it changes before N's token is returned, and in
//!   its burial.
//!
//! # Orderings
//!
//! Arm, then look at the source's flag; against it: set the flag, then look at the codes. See
//! `token::node`.
//!
//! | site | op | order | pairs with, and what for |
//! |---|---|---|---|
//! | `shares` down | `fetch_sub` | AcqRel | each other: all use of the block happens before it is freed |
//! | `shares` up, again 1 | `fetch_add`, store | Relaxed | – (not yet shared; alone) |
//! | `fired`, `linked` | store, load | Relaxed | – (`strong` reaches 0 between: Release, Acquire) |
//!
//! # Foreign code
//!
//! None is called here.

use crate::sync::{AtomicU32, AtomicUsize, Ordering, count_overflow, dealloc};
use crate::time::Instant;
use crate::token::node::{Node, WaitSlot};
use crate::wake::slab::{Left, Place, Segment, allocate};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::task::Waker;

/// See the module's head. The links lie behind it.
#[repr(C)]
pub(crate) struct Joined {
    /// First, so that a pointer to one is a pointer to the other.
    node: Node,
    /// J1.
    shares: AtomicUsize,
    /// J5.
    linked: AtomicUsize,
    /// For how many links there is room.
    capacity: usize,
}

/// A link of a root to one of its sources.
pub(crate) struct Link {
    joined: *const Joined,
    place: Place<WaitSlot>,
    /// J3.
    fired: AtomicU32,
}

/// The layout of a block with room for `capacity` links, and where they begin.
fn layout(capacity: usize) -> (Layout, usize) {
    let whole =
        Layout::array::<Link>(capacity).and_then(|links| Layout::new::<Joined>().extend(links));
    match whole {
        Ok(found) => found,
        // Whoever has that many tokens has less memory than this.
        Err(_) => panic!("too many tokens to join"),
    }
}

/// # Safety
/// Of every function here: `joined` is a pointer to the whole block, which stays during the call (J1).
impl Joined {
    /// A block without links; its node is live and has one handle, which is the caller's.
    pub(crate) fn new(capacity: usize, deadline: Instant) -> NonNull<Joined> {
        // SAFETY: not of size zero; the block is ours to write, and not null.
        unsafe {
            let joined = allocate(layout(capacity).0).cast::<Joined>();
            joined.write(Joined {
                node: Node::joined(deadline),
                shares: AtomicUsize::new(1),
                linked: AtomicUsize::new(0),
                capacity,
            });
            NonNull::new_unchecked(joined)
        }
    }

    /// The block of a node, if it is one of these.
    ///
    /// # Safety
    /// The node is held, or dead and the caller's; the pointer is one to all of it.
    pub(crate) unsafe fn of(node: *const Node) -> Option<*const Joined> {
        // SAFETY: (caller).
        unsafe { (*node).is_joined() }.then_some(node.cast())
    }

    /// Its node.
    pub(crate) fn node(joined: *const Joined) -> *const Node {
        joined.cast()
    }

    unsafe fn link(joined: *const Joined, number: usize) -> *mut Link {
        // SAFETY: (caller) `number` is below `capacity`; the same arithmetic as in `new`.
        unsafe {
            let at = layout((*joined).capacity).1;
            joined
                .cast_mut()
                .cast::<u8>()
                .add(at)
                .cast::<Link>()
                .add(number)
        }
    }

    /// Links the node to `source`; `waker` makes the waker of a link. May allocate.
    ///
    /// # Safety
    /// The caller makes the block and has room left in it; it has a handle of `source`.
    pub(crate) unsafe fn link_to(
        joined: *const Joined,
        source: *const Node,
        waker: impl FnOnce(*const Link) -> Waker,
    ) {
        // SAFETY: (caller) the handle keeps the source, until the link does (J4). S2 – OWNED: the slot
        // is ours until it is armed. J5 – the link is ours to write.
        unsafe {
            let number = (*joined).linked.load(Ordering::Relaxed);
            debug_assert!(number < (*joined).capacity);
            let place = (*source).waits.claim(source);
            if (*source).strong().fetch_add(1, Ordering::Relaxed) > i32::MAX as u32 {
                count_overflow();
            }
            let link = Self::link(joined, number);
            link.write(Link {
                joined,
                place,
                fired: AtomicU32::new(0),
            });
            (*joined).linked.store(number + 1, Ordering::Relaxed);
            (*joined).shares.fetch_add(1, Ordering::Relaxed);
            (*place.slot()).put(waker(link));
            place.arm();
        }
    }

    /// Ends all links; the references to the sources go to `sources`, one by one.
    ///
    /// # Safety
    /// The node is dead, and the caller is to bury it.
    pub(crate) unsafe fn unlink_all(joined: *const Joined, mut sources: impl FnMut(*const Node)) {
        // SAFETY: J5 – dead, so the links are ours; J4 – the source is held until it is given out.
        unsafe {
            for number in 0..(*joined).linked.swap(0, Ordering::Relaxed) {
                let link = &*Self::link(joined, number);
                let place = link.place;
                // J3. If it is TAKEN, a canceller has the share.
                if link.fired.load(Ordering::Relaxed) == 0 && place.disarm(Left::Free) {
                    let last = Self::leave(joined);
                    debug_assert!(!last, "the node's own is left");
                }
                sources(Segment::owner(place.segment));
            }
        }
    }

    /// Gives up a share. True: it was the last, and the block is the caller's.
    ///
    /// # Safety
    /// The share is the caller's.
    #[must_use]
    pub(crate) unsafe fn leave(joined: *const Joined) -> bool {
        // SAFETY: J1.
        unsafe { (*joined).shares.fetch_sub(1, Ordering::AcqRel) == 1 }
    }

    /// Takes back the last `leave`, for who may not free.
    ///
    /// # Safety
    /// The block is the caller's.
    pub(crate) unsafe fn stay(joined: *const Joined) {
        // SAFETY: (caller) alone.
        unsafe { (*joined).shares.store(1, Ordering::Relaxed) }
    }

    /// # Safety
    /// The block is the caller's, and nothing in its node needs to be dropped.
    pub(crate) unsafe fn free(joined: *const Joined) {
        // SAFETY: (caller) alone; the layout is that of `new`.
        unsafe {
            let layout = layout((*joined).capacity).0;
            dealloc(joined.cast_mut().cast(), layout);
        }
    }
}

impl Link {
    /// The block of which the link is part.
    ///
    /// # Safety
    /// The caller has the link's share (J2).
    pub(crate) unsafe fn joined(link: *const Link) -> *const Joined {
        // SAFETY: J1.
        unsafe { (*link).joined }
    }

    /// The caller has taken the link, and holds the node.
    ///
    /// # Safety
    /// As for [`joined`](Self::joined).
    pub(crate) unsafe fn set_fired(link: *const Link) {
        // SAFETY: J1.
        unsafe { (*link).fired.store(1, Ordering::Relaxed) }
    }
}
