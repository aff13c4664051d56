//! A position among the children of a node, for walks that need no stack.
//!
//! A walk goes down by [`Cursor::first`] of a child and up by [`Cursor::after`] that child: where a
//! node lies tells how to go on behind it, so a walk keeps nothing per level.
//!
//! # Invariants
//!
//! - **C1** Whoever uses a cursor keeps the node alive whose children it passes (I1 of
//!   `token::node`), or is alone with it.
//!
//! # Orderings
//!
//! Codes and links are loaded `SeqCst`; see `token::node`, "publish a child".

use crate::token::node::{ChildSlot, Node, node_in};
use crate::wake::slab::{Place, Segment, SlotSet};
use core::ptr::null;

/// Which slots a walk visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// Those that have an occupant, perhaps a half-made or dying one.
    Used,
    /// All, in an arena that nobody else reaches: empty ones may keep memory.
    All,
}

#[derive(Debug)]
pub(crate) struct Cursor {
    /// Null: at the end.
    segment: *const Segment<ChildSlot>,
    word: usize,
    /// Slots of the word that are still to be visited.
    left: SlotSet,
    visit: Visit,
}

impl Cursor {
    /// Before the first child of `node`.
    ///
    /// # Safety
    /// C1 holds for `node`.
    #[inline(always)]
    pub(crate) unsafe fn first(node: *const Node, visit: Visit) -> Cursor {
        // SAFETY: C1.
        unsafe { Self::at((*node).kids.first(), 0, visit) }
    }

    /// At the end.
    pub(crate) const fn end() -> Cursor {
        Cursor {
            segment: null(),
            word: 0,
            left: SlotSet::EMPTY,
            visit: Visit::Used,
        }
    }

    /// Behind `place`, which is the place of a child.
    ///
    /// # Safety
    /// C1 holds for the parent.
    #[inline(always)]
    pub(crate) unsafe fn after(place: Place<ChildSlot>, visit: Visit) -> Cursor {
        let (word, slot) = place.word();
        // SAFETY: C1.
        let mut cursor = unsafe { Self::at(place.segment, word, visit) };
        cursor.left = cursor.left.above(slot);
        cursor
    }

    /// Before the first slot of a word, or at the end.
    ///
    /// # Safety
    /// C1 holds for the segment's owner; `word` is one of its words.
    #[inline(always)]
    unsafe fn at(segment: *const Segment<ChildSlot>, word: usize, visit: Visit) -> Cursor {
        let left = if segment.is_null() {
            SlotSet::EMPTY
        } else if visit == Visit::All {
            SlotSet::ALL
        } else {
            // SAFETY: C1; callers give a word of the segment.
            unsafe { Segment::used(segment, word) }
        };
        Cursor {
            segment,
            word,
            left,
            visit,
        }
    }

    /// The next child.
    ///
    /// # Safety
    /// C1 holds.
    #[inline(always)]
    pub(crate) unsafe fn next(&mut self) -> Option<*const Node> {
        // SAFETY: C1 – segments and slots stay.
        unsafe {
            loop {
                if let Some(slot) = self.left.pop() {
                    let place = Place::in_word(self.segment, self.word, slot);
                    if place.index < Segment::slots(self.segment) {
                        return Some(node_in(place));
                    }
                    // The rest of the word lies beyond the segment's end.
                }
                if self.segment.is_null() {
                    return None;
                }
                *self = if self.word + 1 < Segment::words(self.segment) {
                    Self::at(self.segment, self.word + 1, self.visit)
                } else {
                    let owner = Segment::owner(self.segment);
                    match (*owner).kids.after(self.segment) {
                        end if end.is_null() => Self::at(null(), 0, self.visit),
                        next => Self::at(next, 0, self.visit),
                    }
                };
            }
        }
    }
}
