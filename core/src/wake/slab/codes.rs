//! The two bits of a slot, and pure functions on a word of them. What they mean, and who may change
//! them: see `wake::slab`.

#[cfg(not(umbel_loom))]
mod size {
    pub(crate) const SLOTS_PER_WORD: usize = usize::BITS as usize / 2;
    pub(crate) const MAX_WORDS: usize = usize::BITS as usize;
    pub(crate) const SHARDS: usize = 8;
    pub(crate) const HINTS: usize = 256;
}
/// Small, so that models cross every boundary.
#[cfg(umbel_loom)]
mod size {
    pub(crate) const SLOTS_PER_WORD: usize = 2;
    pub(crate) const MAX_WORDS: usize = 2;
    pub(crate) const SHARDS: usize = 2;
    pub(crate) const HINTS: usize = 16;
}
pub(crate) use size::{HINTS, MAX_WORDS, SHARDS, SLOTS_PER_WORD};

/// What `disarm` leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The slot is given back.
    Free,
    /// The slot stays with its owner, who may write to it again.
    Owned,
}

pub(crate) const OWNED: usize = 0b01;
pub(crate) const TAKEN: usize = 0b10;
pub(crate) const ARMED: usize = 0b11;

/// A set of slots of one word: the low bit of each pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotSet(pub(crate) usize);

impl SlotSet {
    pub(crate) const EMPTY: SlotSet = SlotSet(0);
    pub(crate) const ALL: SlotSet = {
        let mut set = 0;
        let mut slot = 0;
        while slot < SLOTS_PER_WORD {
            set |= 1 << (2 * slot);
            slot += 1;
        }
        SlotSet(set)
    };

    /// Takes the lowest slot out of the set; the number is the slot's within its word.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize / 2;
        self.0 &= self.0 - 1;
        Some(slot)
    }

    /// Those of the set above slot number `slot`.
    #[inline(always)]
    pub(crate) fn above(self, slot: usize) -> SlotSet {
        SlotSet(self.0 & !1 << (2 * slot))
    }
}

/// A word of codes as it was at one moment; its methods are pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Codes(pub(crate) usize);

impl Codes {
    #[inline(always)]
    pub(crate) fn free(self) -> SlotSet {
        SlotSet(!(self.0 | self.0 >> 1) & SlotSet::ALL.0)
    }

    #[inline(always)]
    pub(crate) fn used(self) -> SlotSet {
        SlotSet((self.0 | self.0 >> 1) & SlotSet::ALL.0)
    }

    #[inline(always)]
    pub(crate) fn armed(self) -> SlotSet {
        SlotSet(self.0 & self.0 >> 1 & SlotSet::ALL.0)
    }

    /// FREE → OWNED for the lowest free slot, if there is one.
    #[inline(always)]
    pub(crate) fn claim(self) -> Option<(Codes, usize)> {
        let slot = self.free().pop()?;
        Some((Codes(self.0 | OWNED << (2 * slot)), slot))
    }

    /// ARMED → TAKEN for all armed slots; `None` if none is.
    #[inline(always)]
    pub(crate) fn take(self) -> Option<(Codes, SlotSet)> {
        let armed = self.armed();
        // ARMED and TAKEN differ in the low bit.
        const { assert!(ARMED == TAKEN | 1) };
        (armed != SlotSet::EMPTY).then_some((Codes(self.0 & !armed.0), armed))
    }

    /// ARMED → `left`; `None` if the slot is not armed (any more).
    #[inline(always)]
    pub(crate) fn disarm(self, slot: usize, left: Left) -> Option<Codes> {
        let shift = 2 * slot;
        if self.0 >> shift & ARMED != ARMED {
            return None;
        }
        let code = match left {
            Left::Free => 0,
            Left::Owned => OWNED,
        };
        Some(Codes(self.0 & !(ARMED << shift) | code << shift))
    }

    /// All but the ARMED ones as [`unused`](Self::unused).
    pub(crate) fn reset(self, slots: usize, word: usize) -> Codes {
        let armed = self.armed().0;
        Codes(Self::unused(slots, word).0 | armed | armed << 1)
    }

    /// The codes of word number `word` in an unused segment of `slots` slots.
    pub(crate) fn unused(slots: usize, word: usize) -> Codes {
        let here = slots.saturating_sub(word * SLOTS_PER_WORD);
        if here >= SLOTS_PER_WORD {
            return Codes(0);
        }
        // The low bit of every pair from number `here` on: OWNED.
        const { assert!(OWNED == 1) };
        Codes(SlotSet::ALL.0 & usize::MAX << (2 * here))
    }
}
