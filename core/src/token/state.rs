//! The word that says whether a node is cancelled, and why.
//!
//! It is a [`Reason`]'s word, or one of two things that no `Reason` is. What sets it is in `token::node`:
//!
//! | word | low bits | meaning | set by | model |
//! |---|---|---|---|---|
//! | null | `00` | LIVE | `Node::root`; `new_child` when it publishes | `child_against_cancel` |
//! | inline | `01` | cancelled; the reason is the word | all who cancel | `two_cancels_of_one_token` |
//! | pointer | `00` | cancelled; the reason belongs to an ancestor | `Node::mark`, `new_child` | `boxed_reasons_race` |
//! | pointer | `10` | cancelled; the reason belongs to this node | `Node::cancel`, `Node::cancel_as_child` | `boxed_reasons_race` |
//! | any | `11` | FREE: an empty slot; a pointer above the tag is a *parked* reason | burial | `parked_reason_is_dropped_once` |
//!
//! A parked reason belonged to a node that died inside a walk, where nothing may be freed: the next
//! occupant of the slot, or the burial of the slab, drops it.
//!
//! # Invariants
//!
//! - **V1** A word with OWNS has a reference to the boxed reason, which goes where the word goes: who
//!   takes such a word out of its node, and he alone, may make a [`Reason`] of it.

use crate::reason::Reason;
use core::ptr::null_mut;

const TAG: usize = 0b11;
/// With a pointer: this node owns the reference. Not on inline words.
const OWNS: usize = 0b10;
const FREE: usize = 0b11;

/// `state` as it was at one moment; its methods are pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) *mut ());

impl State {
    pub(crate) const LIVE: State = State(null_mut());
    pub(crate) const FREE: State = State(core::ptr::without_provenance_mut(FREE));

    /// The state of a node whose own reason this is; the reference goes with it.
    pub(crate) fn owning(reason: Reason) -> State {
        let word = reason.into_raw();
        if word.addr() & TAG == 0 {
            State(word.map_addr(|a| a | OWNS))
        } else {
            State(word)
        }
    }

    #[inline(always)]
    pub(crate) fn is_live(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    pub(crate) fn is_free(self) -> bool {
        self.0.addr() & TAG == FREE
    }

    /// What a child of a node in this (cancelled) state stores.
    #[inline(always)]
    pub(crate) fn for_child(self) -> State {
        State(self.0.map_addr(|a| a & !OWNS))
    }

    /// What burial inside a walk leaves: FREE, with the reason above the tag if the node owned one.
    pub(crate) fn parked(self) -> State {
        if self.0.addr() & TAG == OWNS {
            State(self.0.map_addr(|a| a | FREE))
        } else {
            State::FREE
        }
    }

    /// The word of the reason that a dead node owned or a free slot kept, to be dropped by the
    /// caller; null if there is none.
    fn owned_word(self) -> *mut () {
        if self.0.addr() & OWNS != 0 {
            self.0.map_addr(|a| a & !TAG)
        } else {
            null_mut()
        }
    }

    /// # Safety
    /// The reference goes to the caller: nobody takes it a second time.
    pub(crate) unsafe fn into_owned(self) -> Option<Reason> {
        let word = self.owned_word();
        // SAFETY: V1 – (caller) OWNS was set with the reference of an `into_raw`, and this takes it over.
        (!word.is_null()).then(|| unsafe { Reason::from_raw(word) })
    }
}
