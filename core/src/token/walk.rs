//! The two passes of a cancellation.
//!
//! First all flags below the token are set ([`mark_all`]), then the waiters are woken ([`Wakes`]):
//! a task that runs finds every sibling cancelled. Only the winner wakes. A loser – somebody for
//! whom the token was cancelled already – sets flags all the same: the winner may be stopped half
//! way, and what the loser's `cancel()` promises must hold when it returns. It helps; it never waits.
//!
//! Both passes are depth-first walks that keep one position and no stack, allocate nothing and free
//! nothing, so they may run in an interrupt, any number at once.
//!
//! # Invariants
//!
//! - **W1** A walker holds a reference to every node from where it is up to below the walk's root;
//!   the root is kept by the caller's handle.
//! - **W2** A child is marked with its own parent's reason, not the canceller's: an earlier reason
//!   in between is inherited.
//! - **W3** A node is DONE only when all its children have been passed after it was cancelled.
//! - **W4** The place behind a node is computed before the node is released.
//! - **W5** Wakers of TAKEN slots are the walker's; each is read out once, and then belongs to who
//!   wakes it. Until the next item is asked for, or the walker is dropped, `at` is held: whoever is
//!   woken may put something back into its slot (`token::callback`), which this walker never reads.
//!
//! # Orderings
//!
//! See `token::node`: a node's flag is set (SeqCst) before its `waits`, `kids` and codes are looked
//! at (SeqCst). Between the passes nothing more is needed: each flag has its place in the total order
//! before the first code is loaded.
//!
//! # Foreign code
//!
//! [`Wakes`] yields wakers; nothing is half-made while the caller wakes them: the walker is one of
//! the references that keep a node, and any method of any token may run meanwhile.

use crate::sync::sc_fence;
use crate::token::cursor::{Cursor, Visit};
use crate::token::death::release_in_walk;
use crate::token::node::{Node, WaitSlot};
use crate::wake::slab::{Place, Segment, SlotSet};
use core::ptr::null;
use core::task::Waker;

/// Sets every flag below `root`, whose own flag is set. Returns whether anybody might be waiting.
///
/// # Safety
/// The caller holds a handle of `root`.
pub(crate) unsafe fn mark_all(root: *const Node) -> bool {
    // SAFETY: W1 – nodes that we hold stay; children of those are read through atomics only until
    // `upgrade` succeeds.
    unsafe {
        sc_fence();
        let mut at = root;
        let mut reason = (*at).reason_for_child();
        let mut waiters = !(*at).waits.is_empty();
        let mut cursor = Cursor::first(at, Visit::Used);
        loop {
            if let Some(child) = cursor.next() {
                if (*child).mark(reason).is_none() {
                    continue;
                }
                waiters |= !(*child).waits.is_empty();
                if (*child).kids.is_empty() {
                    continue;
                }
                if (*child).is_done() {
                    // Nobody looked for waiters there.
                    waiters = true;
                } else if (*child).upgrade() {
                    // I6: only now does the slot keep its occupant. W2: its reason may be its own.
                    match (*child).mark(reason) {
                        Some(own) => {
                            (at, reason) = (child, own);
                            cursor = Cursor::first(at, Visit::Used);
                        }
                        None => release_in_walk(child),
                    }
                }
                continue;
            }
            (*at).set_done(); // W3
            if core::ptr::eq(at, root) {
                return waiters;
            }
            let (parent, next) = behind(at);
            release_in_walk(at);
            (at, cursor) = (parent, next);
            reason = (*at).reason_for_child();
        }
    }
}

/// The parent of a node that is not the root of the walk, and the place behind the node (W4).
///
/// # Safety
/// The node and its parent are held.
#[inline(always)]
unsafe fn behind(node: *const Node) -> (*const Node, Cursor) {
    // SAFETY: W1 – (caller) the node and its parent are held.
    unsafe {
        let Some(place) = (*node).lies_in() else {
            unreachable!("a root is not entered by a walker");
        };
        let parent = Segment::owner(place.segment);
        (parent, Cursor::after(place, Visit::Used))
    }
}

/// Takes the wakers of all waiters at `root` and below; all flags there are set.
///
/// Must be run to its end, or wakers are lost. Dropped before, it leaks the few that it has taken
/// but not yielded, and releases what it holds.
#[derive(Debug)]
pub(crate) struct Wakes {
    root: *const Node,
    at: *const Node,
    /// The word of `at`'s waiters that was taken last; null: no more waiters here.
    segment: *const Segment<WaitSlot>,
    word: usize,
    /// TAKEN slots of that word which are still to be read (W5).
    taken: SlotSet,
    /// The word's first slot; meaningless if nothing is taken.
    slots: *const WaitSlot,
    cursor: Cursor,
}

impl Wakes {
    /// # Safety
    /// The caller holds a handle of `root` for as long as the walker exists.
    pub(crate) unsafe fn new(root: *const Node) -> Wakes {
        // SAFETY: W1 – (caller) the root is held.
        unsafe { Self::entering(root, root) }
    }

    /// The walker's state when it has come to `at`.
    ///
    /// # Safety
    /// W1 holds for `at`.
    #[inline(always)]
    unsafe fn entering(root: *const Node, at: *const Node) -> Wakes {
        // SAFETY: W1.
        unsafe {
            let mut wakes = Wakes {
                root,
                at,
                segment: (*at).waits.first(),
                word: 0,
                taken: SlotSet::EMPTY,
                slots: null(),
                cursor: Cursor::first(at, Visit::Used),
            };
            wakes.take_word();
            wakes
        }
    }

    /// Takes what is armed in the present word, if there is one.
    ///
    /// # Safety
    /// W1 holds, and what was taken before has been yielded.
    #[inline(always)]
    unsafe fn take_word(&mut self) {
        if !self.segment.is_null() {
            // SAFETY: W1 – `at` is held, so the segment stays; `word` is one of its words.
            unsafe {
                self.taken = Segment::take_armed(self.segment, self.word);
                self.slots = Place::in_word(self.segment, self.word, 0).slot();
            }
        }
    }
}

impl Iterator for Wakes {
    type Item = Waker;

    #[inline]
    fn next(&mut self) -> Option<Waker> {
        loop {
            if let Some(slot) = self.taken.pop() {
                // SAFETY: W1 – the segment stays. W5 – TAKEN: the waker was written before it was
                // ARMED, and nobody else reads it.
                return Some(unsafe {
                    let slot = &*self.slots.add(slot);
                    slot.0.with(|waker| (*waker).assume_init_read())
                });
            }
            // SAFETY: W1.
            if !unsafe { self.advance() } {
                return None;
            }
        }
    }
}

impl Wakes {
    /// Goes on to the next word of waiters, or the next node. False: the walk is over.
    ///
    /// # Safety
    /// As for [`take_word`](Self::take_word).
    unsafe fn advance(&mut self) -> bool {
        // SAFETY: W1 – `at` is held, so its waiters' segments stay and its children's slots too.
        unsafe {
            if !self.segment.is_null() {
                self.word += 1;
                if self.word == Segment::words(self.segment) {
                    self.segment = (*self.at).waits.after(self.segment);
                    self.word = 0;
                }
                self.take_word();
                return true;
            }
            if let Some(child) = self.cursor.next() {
                let something = !(*child).waits.is_empty() || !(*child).kids.is_empty();
                // A new or half-made occupant has no waiter (I7): entering it is harmless.
                if something && (*child).upgrade() {
                    // Not by assignment: that would drop, and by it release, the old walker.
                    core::ptr::write(self, Self::entering(self.root, child));
                }
                return true;
            }
            if core::ptr::eq(self.at, self.root) {
                return false;
            }
            self.ascend();
            true
        }
    }

    /// Goes up, and gives up the node below.
    ///
    /// # Safety
    /// W1 holds, and `at` is not the root of the walk.
    #[inline(always)]
    unsafe fn ascend(&mut self) {
        // SAFETY: W1 – `at` and its parent are held.
        unsafe {
            let (parent, next) = behind(self.at);
            release_in_walk(self.at);
            (self.at, self.cursor) = (parent, next);
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        while !core::ptr::eq(self.at, self.root) {
            // SAFETY: W1.
            unsafe { self.ascend() };
        }
    }
}
