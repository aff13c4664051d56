//! How nodes die.
//!
//! # Two burials
//!
//! | | ordinary: [`release`] | in a walk: [`release_in_walk`] |
//! |---|---|---|
//! | by | drop of a handle | `cancel`, perhaps in an interrupt |
//! | memory below the node | freed | stays with the slot |
//! | waiter segments | freed but for the first | stay with the slot |
//! | a reason that the node owned | dropped, when the structure is whole | parked in the slot |
//! | wakers that are still ARMED | likewise | stay ARMED in the slot |
//! | goes on with the parent | in a loop | never: the walker holds the parent |
//!
//! A slot's first waiter segment stays so that short-lived children that are waited on allocate
//! nothing. All that stays with slots goes with the next occupant or with the parent's arena.
//!
//! # Invariants
//!
//! - **D1** A node whose `strong` has reached 0 belongs to the one who brought it there: no handle,
//!   no child and no walker is left, and `upgrade` fails. Walkers at its parent still load its
//!   atomics, and mark it if it is LIVE, until the slot is FREE.
//! - **D2** A waiter's code in a dead node is TAKEN or ARMED, and nobody owns it. ARMED is what has no
//!   registrant any more: a callback that was forgotten, or that the canceller put back; the waker of
//!   a leaked future, which nobody can poll or drop once the node is dead.
//! - **D3** In the slab of a dead node all slots are empty, but may keep slabs, reasons and ARMED
//!   waiters of dead ones.
//!
//! # Foreign code
//!
//! The drop of a pointer reason or a waker, which may call anything and panic: [`Burial`] hands each
//! one out when what lies behind it is whole, and goes on afterwards.

use crate::reason::Reason;
use crate::sync::{Ordering, dealloc};
use crate::token::cursor::{Cursor, Visit};
use crate::token::node::{Node, WaitSlot};
use crate::wake::batch::drop_all;
use crate::wake::slab::{Place, Segment, SlotSet};
use core::iter::once;
use core::ptr::null;
use core::task::Waker;

/// The last handle is gone.
///
/// # Safety
/// The caller brought `handles` to 0, acquiring, and has the handles' reference.
#[inline]
pub(crate) unsafe fn close(node: *const Node) {
    // SAFETY: I1 – the handles' reference keeps the node.
    unsafe {
        if !(*node).kids.is_empty() {
            close_shards(node);
        }
        release(node);
    }
}

/// No handle, hence no more children: each shard's last child may now release the node.
///
/// # Safety
/// As for [`close`].
unsafe fn close_shards(node: *const Node) {
    // SAFETY: I1 – (caller) the handles' reference keeps the node.
    unsafe {
        (*node).kids.each_shard(|first| {
            if Segment::close(first) {
                // Relaxed: the reference that is left releases what was done here.
                let before = (*node).strong().fetch_sub(1, Ordering::Relaxed);
                debug_assert!(before > 1, "the handles' reference is left");
            }
        });
    }
}

/// Gives up a reference to a node; buries it, and ancestors that only it kept alive, if it was the
/// last. Frees memory.
///
/// # Safety
/// The caller has that reference, and no `&Node` of it.
#[inline]
pub(crate) unsafe fn release(node: *const Node) {
    // SAFETY: I1 – the reference keeps the node until it is given up.
    if unsafe { (*node).strong().fetch_sub(1, Ordering::AcqRel) } == 1 {
        let mut burial = Burial {
            node,
            arena: None,
            armed: None,
        };
        // Most of the dead leave nothing to drop; then no foreign code runs and nothing needs a guard.
        if let Some(first) = burial.next() {
            drop_all(once(first).chain(burial));
        }
    }
}

/// Gives up a walker's reference; buries the node if it was the last, without freeing anything.
///
/// # Safety
/// The caller has that reference and one to the parent, and no `&Node` of the node.
#[inline]
pub(crate) unsafe fn release_in_walk(node: *const Node) {
    // SAFETY: I1 – the reference keeps the node until it is given up; then D1.
    unsafe {
        if (*node).strong().fetch_sub(1, Ordering::AcqRel) == 1 {
            bury_in_walk(node);
        }
    }
}

/// # Safety
/// The caller brought `strong` to 0, acquiring, and holds the parent.
#[cold]
unsafe fn bury_in_walk(node: *const Node) {
    // SAFETY: D1; walkers do not enter the root of their walk, so there is a parent, and (caller)
    // it is held, so the shard's reference is not the last.
    unsafe {
        let Some(place) = (*node).lies_in() else {
            unreachable!("a root is not entered by a walker");
        };
        let parent = Segment::owner(place.segment);
        (*node).waits.reset_codes(); // D2: ARMED ones stay, a later burial hands them out.
        (*node).kids.each_shard(|first| Segment::reopen(first));
        (*node).set_free_parking();
        place.vacate();
        if Segment::leave(place.segment) {
            // Relaxed: the walker's own reference releases what was done here.
            let before = (*parent).strong().fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 1, "the walker holds the parent");
        }
    }
}

/// What a burial hands out.
#[allow(dead_code, reason = "made to be dropped")]
enum Remains {
    Reason(Reason),
    Waker(Waker),
}

/// An ordinary burial in progress. Yields what the dead owned; between two items the tree is whole.
struct Burial {
    /// The dead node that comes next (D1). Null: over.
    node: *const Node,
    /// Where we are in the arena below `node`; `None`: not begun.
    arena: Option<Arena>,
    /// Where we are among the waiters of `node`, or of the arena's `child`; `None`: not begun.
    armed: Option<Armed>,
}

/// A walk through a dead arena, depth first: slots may keep arenas of their own, as deep as the tree was.
struct Arena {
    at: *const Node,
    cursor: Cursor,
    /// The child of `at` whose waiters are being buried; null: none.
    child: *const Node,
}

/// A walk over the ARMED waiters of a dead node.
struct Armed {
    /// Null: over.
    segment: *const Segment<WaitSlot>,
    /// The next word; what was armed in the one before and is still to be yielded is in `taken`.
    word: usize,
    taken: SlotSet,
}

impl Armed {
    /// The next waker at `node` that nobody will wake any more. Begins, or goes on where it was; at
    /// the end, forgets where.
    ///
    /// # Safety
    /// D1 holds for the node, or D3 with us alone; it stays the same until `None`.
    unsafe fn next_at(this: &mut Option<Armed>, node: *const Node) -> Option<Waker> {
        // SAFETY: (caller) the segments are ours; D2 – nobody owns an ARMED slot, and a waker is in it.
        unsafe {
            let armed = this.get_or_insert_with(|| Armed {
                segment: (*node).waits.first(),
                word: 0,
                taken: SlotSet::EMPTY,
            });
            while !armed.segment.is_null() {
                if let Some(slot) = armed.taken.pop() {
                    let slot = &*Place::in_word(armed.segment, armed.word - 1, slot).slot();
                    return Some(slot.0.with(|waker| (*waker).assume_init_read()));
                }
                if armed.word < Segment::words(armed.segment) {
                    armed.taken = Segment::take_armed(armed.segment, armed.word);
                    armed.word += 1;
                } else {
                    armed.segment = (*node).waits.after(armed.segment);
                    armed.word = 0;
                }
            }
            *this = None;
            None
        }
    }
}

impl Iterator for Burial {
    type Item = Remains;

    #[inline]
    fn next(&mut self) -> Option<Remains> {
        while !self.node.is_null() {
            // SAFETY: D1 – the node is ours.
            unsafe {
                if !(*self.node).kids.is_empty() {
                    if let Some(remains) = self.bury_arena() {
                        return Some(remains);
                    }
                }
                if !(*self.node).waits.is_empty() {
                    if let Some(waker) = Armed::next_at(&mut self.armed, self.node) {
                        return Some(Remains::Waker(waker));
                    }
                }
                if let Some(reason) = self.bury_node() {
                    return Some(Remains::Reason(reason));
                }
            }
        }
        None
    }
}

impl Burial {
    /// Frees all memory below the node; after `None` it has no slab of children.
    ///
    /// # Safety
    /// D1 holds for `self.node`, and it has a slab of children.
    #[cold]
    unsafe fn bury_arena(&mut self) -> Option<Remains> {
        // SAFETY: D1, D3 – we are alone in the arena.
        unsafe {
            let node = self.node;
            self.arena.get_or_insert_with(|| Arena {
                at: node,
                cursor: Cursor::first(node, Visit::All),
                child: null(),
            });
            while let Some(arena) = &mut self.arena {
                if arena.child.is_null() {
                    arena.child = arena.cursor.next().unwrap_or(null());
                }
                let child = arena.child;
                if child.is_null() {
                    let done = arena.at;
                    (*done).kids.free();
                    if core::ptr::eq(done, self.node) {
                        self.arena = None;
                    } else if let Some(place) = (*done).lies_in() {
                        arena.at = Segment::owner(place.segment);
                        arena.cursor = Cursor::after(place, Visit::All);
                    }
                    continue;
                }
                debug_assert_eq!((*child).strong().load(Ordering::Relaxed), 0);
                if let Some(waker) = Armed::next_at(&mut self.armed, child) {
                    return Some(Remains::Waker(waker));
                }
                (*child).waits.free();
                let parked = (*child).set_free();
                arena.child = null();
                if !(*child).kids.is_empty() {
                    arena.at = child;
                    arena.cursor = Cursor::first(child, Visit::All);
                }
                if parked.is_some() {
                    return parked.map(Remains::Reason);
                }
            }
            None
        }
    }

    /// Buries the node itself and goes on to its parent, if that one dies by it.
    ///
    /// # Safety
    /// D1 holds for `self.node`, and it has no slab of children any more.
    #[inline]
    unsafe fn bury_node(&mut self) -> Option<Reason> {
        let node = self.node;
        // SAFETY: D1; its children's slab is gone.
        unsafe {
            let Some(place) = (*node).lies_in() else {
                (*node).waits.free();
                #[cfg(umbel_loom)]
                (*node).ends();
                let reason = (*node).take_reason_of_root();
                dealloc(node.cast_mut().cast(), Node::LAYOUT);
                self.node = null();
                return reason;
            };
            let parent = Segment::owner(place.segment);
            if !(*node).waits.is_empty() {
                tidy_waits(node);
            }
            let reason = (*node).set_free();
            place.vacate();
            self.node = null();
            if Segment::leave(place.segment)
                && (*parent).strong().fetch_sub(1, Ordering::AcqRel) == 1
            {
                self.node = parent;
            }
            reason
        }
    }
}

/// Leaves the slot's next occupant one empty segment for its waiters.
///
/// # Safety
/// D1 holds for the node.
#[inline(never)]
unsafe fn tidy_waits(node: *const Node) {
    // SAFETY: D1; D2 – nobody owns a slot, and nothing is ARMED any more.
    unsafe {
        (*node).waits.trim();
        (*node).waits.reset_codes();
    }
}
