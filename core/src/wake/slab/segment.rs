//! A segment of a slab, and the place of a slot in it. The rules (S1 … S5) and the orderings: see
//! `wake::slab`.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, alloc, dealloc, sc_fence};
use crate::wake::slab::codes::{
    ARMED, Codes, Left, MAX_WORDS, OWNED, SLOTS_PER_WORD, SlotSet, TAKEN,
};
use crate::wake::slab::shards::Shards;
use ::alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::ptr::{null, null_mut};

/// What lies in a slab.
pub(crate) trait Slot: Sized {
    /// Whoever the slab belongs to.
    type Owner;
    /// Slots in the very first segment: small, since most owners have few.
    const FIRST: usize;

    /// Writes an unused slot.
    ///
    /// # Safety
    /// `at` is slot number `index` of `segment`, allocated, unwritten and reachable by nobody else.
    unsafe fn init(at: *mut Self, segment: *const Segment<Self>, index: usize);

    /// Called before the slot's memory goes: loom sees no plain end of it, so it is told that the
    /// caller has what lies in the slot to himself.
    #[cfg(umbel_loom)]
    fn ends(&self);
}

/// The owner has no handle left: the shard's last child gives the shard's reference back. Set once.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// The shard holds no reference to its owner yet: no child has been here. Never comes back but by
/// [`Segment::reopen`].
const UNCHARGED: usize = 1 << (usize::BITS - 2);

/// The header of a segment; see the module's head for what lies behind it.
///
/// In this order, so that what a walk reads is next to the first slots: where slots are not aligned
/// to cache lines, it often shares one with them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Segment<S: Slot> {
    owner: *const S::Owner,
    /// The first segment of this shard.
    pub(crate) first: *const Segment<S>,
    /// First of a shard only: where a free slot is likely.
    pub(crate) hint: AtomicPtr<Segment<S>>,
    /// First of a shard of children only: how many there are, CLOSED, UNCHARGED.
    refs: AtomicUsize,
    /// First of shard 0 only: the other shards. Written once.
    pub(crate) more: AtomicPtr<Shards<Segment<S>>>,
    /// The next one of the same shard. Written once.
    pub(crate) next: AtomicPtr<Segment<S>>,
    /// The codes, if there is one word only. Otherwise the summary, bit `w`: word `w` may have a
    /// free slot.
    codes_or_summary: AtomicUsize,
    pub(crate) slots: u16,
    pub(crate) words: u16,
    pub(crate) shard: u16,
}

/// Where the slots of a segment begin: the same in all, so that nothing is read to find one.
const fn slots_at<S: Slot>() -> usize {
    size_of::<Segment<S>>().next_multiple_of(align_of::<S>())
}

/// The layout of a segment of `slots` slots: header, slots, and the words of codes if there are
/// several.
fn layout<S: Slot>(slots: usize) -> Layout {
    const {
        assert!(
            size_of::<S>() % align_of::<AtomicUsize>() == 0,
            "the words lie behind the slots"
        );
    }
    let words = match slots.div_ceil(SLOTS_PER_WORD) {
        1 => 0,
        words => words,
    };
    let size = slots_at::<S>() + slots * size_of::<S>() + words * size_of::<AtomicUsize>();
    match Layout::from_size_align(size, align_of::<S>().max(align_of::<Segment<S>>())) {
        Ok(layout) => layout,
        Err(_) => unreachable!("a segment is far smaller than the address space"),
    }
}

/// Raw memory for `layout`; like `Box`, ends the program if there is none.
///
/// # Safety
/// `layout` is not of size zero.
pub(crate) unsafe fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: (caller) not of size zero.
    let block = unsafe { alloc(layout) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

/// # Safety
/// Of every function here: `segment` is a pointer to the whole block (S4), which stays allocated
/// during the call (S1).
impl<S: Slot> Segment<S> {
    /// A new unlinked segment with slot 0 OWNED if `claimed`. `first` null: itself.
    pub(crate) unsafe fn new(
        slots: usize,
        owner: *const S::Owner,
        first: *const Self,
        shard: u16,
        claimed: bool,
    ) -> *mut Self {
        let words = slots.div_ceil(SLOTS_PER_WORD);
        let codes_of = |word| {
            let claimed = if claimed && word == 0 { OWNED } else { 0 };
            Codes::unused(slots, word).0 | claimed
        };
        // SAFETY: S3 – the block is ours alone, large enough by `layout`, and has a header at least.
        unsafe {
            let segment = allocate(layout::<S>(slots)).cast::<Self>();
            segment.write(Segment {
                next: AtomicPtr::new(null_mut()),
                hint: AtomicPtr::new(segment),
                more: AtomicPtr::new(null_mut()),
                codes_or_summary: AtomicUsize::new(match words {
                    1 => codes_of(0),
                    _ => usize::MAX >> (usize::BITS as usize - words),
                }),
                owner,
                first: if first.is_null() { segment } else { first },
                refs: AtomicUsize::new(UNCHARGED),
                slots: slots as u16,
                words: words as u16,
                shard,
            });
            if words > 1 {
                let codes = Self::behind_slots(segment).cast_mut();
                for word in 0..words {
                    codes.add(word).write(AtomicUsize::new(codes_of(word)));
                }
            }
            let first_slot = segment.byte_add(slots_at::<S>()).cast::<S>();
            for index in 0..slots {
                S::init(first_slot.add(index), segment, index);
            }
            segment
        }
    }

    /// How many slots the segment after one of `slots` gets.
    pub(crate) fn growth(slots: usize) -> usize {
        if slots < SLOTS_PER_WORD {
            SLOTS_PER_WORD
        } else {
            (slots * 4).min(MAX_WORDS * SLOTS_PER_WORD)
        }
    }

    /// # Safety
    /// Nobody else reaches the segment any more, and nothing in it needs to be dropped.
    pub(crate) unsafe fn dealloc(segment: *mut Self) {
        // SAFETY: (caller) exclusive, and every slot was written by `new`.
        #[cfg(umbel_loom)]
        unsafe {
            for index in 0..Self::slots(segment) {
                (*Place { segment, index }.slot()).ends();
            }
        }
        // SAFETY: (caller) exclusive; the layout is that of `new`.
        unsafe { dealloc(segment.cast(), layout::<S>((*segment).slots.into())) }
    }

    #[inline(always)]
    pub(crate) unsafe fn owner(segment: *const Self) -> *const S::Owner {
        // SAFETY: S1, S3.
        unsafe { (*segment).owner }
    }

    #[inline(always)]
    pub(crate) unsafe fn slots(segment: *const Self) -> usize {
        // SAFETY: S1, S3.
        unsafe { (*segment).slots.into() }
    }

    #[inline(always)]
    pub(crate) unsafe fn words(segment: *const Self) -> usize {
        // SAFETY: S1, S3.
        unsafe { (*segment).words.into() }
    }

    /// Where the words of codes lie if there are several.
    #[inline(always)]
    unsafe fn behind_slots(segment: *const Self) -> *const AtomicUsize {
        // SAFETY: S1, S3, S4 – the same arithmetic as in `layout`.
        unsafe {
            let slots = Self::slots(segment) * size_of::<S>();
            segment.byte_add(slots_at::<S>() + slots).cast()
        }
    }

    /// The codes of word `word`, which is below `words`.
    #[inline(always)]
    pub(crate) unsafe fn codes<'a>(segment: *const Self, word: usize) -> &'a AtomicUsize {
        // SAFETY: S1, S4 – behind the slots are as many as `words` says, unless that is one.
        unsafe {
            if Self::words(segment) == 1 {
                &(*segment).codes_or_summary
            } else {
                &*Self::behind_slots(segment).add(word)
            }
        }
    }

    /// The summary; `None` if the segment has one word only.
    #[inline(always)]
    unsafe fn summary<'a>(segment: *const Self) -> Option<&'a AtomicUsize> {
        // SAFETY: S1.
        unsafe { (Self::words(segment) > 1).then_some(&(*segment).codes_or_summary) }
    }

    #[cfg(test)]
    pub(crate) fn summary_now(&self) -> usize {
        self.codes_or_summary.load(Ordering::Relaxed)
    }

    /// Makes every TAKEN slot FREE, without touching what lies in it. ARMED ones stay; true: there
    /// are some.
    ///
    /// # Safety
    /// Besides: the caller is alone with the segment, and nobody owns a slot of it.
    pub(crate) unsafe fn reset_codes(segment: *const Self) -> bool {
        // SAFETY: (caller) as for `codes`.
        unsafe {
            let slots = Self::slots(segment);
            let mut armed = false;
            for word in 0..Self::words(segment) {
                let codes = Self::codes(segment, word);
                let before = Codes(codes.load(Ordering::Relaxed));
                let after = before.reset(slots, word);
                armed |= before.armed() != SlotSet::EMPTY;
                if before != after {
                    codes.store(after.0, Ordering::Relaxed);
                    if let Some(summary) = Self::summary(segment) {
                        summary.fetch_or(1 << word, Ordering::Relaxed);
                    }
                }
            }
            armed
        }
    }

    /// Slots of word `word` (below `words`) that are not FREE, among them those beyond the end.
    #[inline(always)]
    pub(crate) unsafe fn used(segment: *const Self, word: usize) -> SlotSet {
        // SAFETY: (caller) as for `codes`.
        Codes(unsafe { Self::codes(segment, word) }.load(Ordering::SeqCst)).used()
    }

    /// ARMED → TAKEN for all armed slots of word `word` (below `words`). They are the caller's.
    #[inline(always)]
    pub(crate) unsafe fn take_armed(segment: *const Self, word: usize) -> SlotSet {
        // SAFETY: (caller) as for `codes`.
        let codes = unsafe { Self::codes(segment, word) };
        let mut seen = Codes(codes.load(Ordering::SeqCst));
        while let Some((after, taken)) = seen.take() {
            let swapped =
                codes.compare_exchange(seen.0, after.0, Ordering::SeqCst, Ordering::SeqCst);
            match swapped {
                Ok(_) => return taken,
                Err(now) => seen = Codes(now),
            }
        }
        SlotSet::EMPTY
    }

    /// FREE → OWNED of any slot of the segment.
    #[inline(always)]
    pub(crate) unsafe fn claim(segment: *const Self, contended: &mut bool) -> Option<usize> {
        // SAFETY: (caller) as for `codes`; bits of the summary stand for words only.
        unsafe {
            let Some(summary) = Self::summary(segment) else {
                return Self::claim_in(segment, 0, contended);
            };
            let mut words = summary.load(Ordering::Relaxed);
            while words != 0 {
                let word = words.trailing_zeros() as usize;
                if let Some(index) = Self::claim_in(segment, word, contended) {
                    return Some(index);
                }
                // Clear, then look again: who frees a slot of a full word looks at the bit after it.
                summary.fetch_and(!(1 << word), Ordering::SeqCst);
                sc_fence();
                let codes = Codes(Self::codes(segment, word).load(Ordering::SeqCst));
                if codes.free() != SlotSet::EMPTY {
                    summary.fetch_or(1 << word, Ordering::SeqCst);
                }
                words &= words - 1;
            }
            None
        }
    }

    #[inline(always)]
    unsafe fn claim_in(segment: *const Self, word: usize, contended: &mut bool) -> Option<usize> {
        // SAFETY: (caller) as for `codes`.
        let codes = unsafe { Self::codes(segment, word) };
        let mut seen = Codes(codes.load(Ordering::Relaxed));
        loop {
            let (after, slot) = seen.claim()?;
            let swapped =
                codes.compare_exchange(seen.0, after.0, Ordering::SeqCst, Ordering::Relaxed);
            match swapped {
                Ok(_) => return Some(word * SLOTS_PER_WORD + slot),
                Err(now) => {
                    *contended = true;
                    seen = Codes(now);
                }
            }
        }
    }

    /// To be called after a slot of word `word` became FREE; `before` are the codes until then.
    #[inline(always)]
    unsafe fn freed(segment: *const Self, word: usize, before: Codes) {
        // SAFETY: S1.
        unsafe {
            if before.free() == SlotSet::EMPTY {
                if let Some(summary) = Self::summary(segment) {
                    sc_fence();
                    // Mostly set: it is cleared only when somebody has looked for room in vain.
                    if summary.load(Ordering::SeqCst) & 1 << word == 0 {
                        summary.fetch_or(1 << word, Ordering::SeqCst);
                    }
                }
            }
            let hint = &(*(*segment).first).hint;
            if !core::ptr::eq(hint.load(Ordering::Relaxed), segment) {
                hint.store(segment.cast_mut(), Ordering::Release);
            }
        }
    }

    /// Counts a child in the segment's shard. True: it is the first, and the caller must take a
    /// reference to the owner for the shard, before it lets go of the handle that keeps it alive.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn enter(segment: *const Self) -> bool {
        // SAFETY: S1.
        let refs = unsafe { &(*(*segment).first).refs };
        refs.fetch_add(1, Ordering::Relaxed) & UNCHARGED != 0
            && refs.fetch_and(!UNCHARGED, Ordering::Relaxed) & UNCHARGED != 0
    }

    /// Uncounts a child. True: it was the last of a closed shard, and the caller has the shard's
    /// reference to the owner to release. If false, the segment may be gone when this returns.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn leave(segment: *const Self) -> bool {
        // SAFETY: S1 – until the subtraction this child keeps the owner alive.
        let before = unsafe { (*(*segment).first).refs.fetch_sub(1, Ordering::AcqRel) };
        before == CLOSED | 1
    }

    /// No child will come any more. True: the shard is empty but holds a reference to the owner,
    /// which is now the caller's to release. `first` is the first segment of a shard.
    #[must_use]
    pub(crate) unsafe fn close(first: *const Self) -> bool {
        // SAFETY: S1.
        unsafe { (*first).refs.fetch_or(CLOSED, Ordering::Acquire) == 0 }
    }

    /// Takes back `close`, for the next owner of the same slab. The caller is alone.
    pub(crate) unsafe fn reopen(first: *const Self) {
        // SAFETY: S1.
        unsafe { (*first).refs.store(UNCHARGED, Ordering::Relaxed) }
    }
}

// ------------------------------------------------------------------ places

/// Where a slot lies.
#[derive(Debug)]
pub(crate) struct Place<S: Slot> {
    pub(crate) segment: *const Segment<S>,
    pub(crate) index: usize,
}

impl<S: Slot> Clone for Place<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Slot> Copy for Place<S> {}

impl<S: Slot> Place<S> {
    /// No slot's place.
    pub(crate) const NOWHERE: Self = Place {
        segment: null(),
        index: 0,
    };

    #[inline(always)]
    pub(crate) fn is_nowhere(self) -> bool {
        self.segment.is_null()
    }
}

/// # Safety
/// Of every function here: as for [`Segment`], and `index` is below its number of slots.
impl<S: Slot> Place<S> {
    #[inline(always)]
    pub(crate) fn in_word(segment: *const Segment<S>, word: usize, slot: usize) -> Self {
        Place {
            segment,
            index: word * SLOTS_PER_WORD + slot,
        }
    }

    /// The slot's word, and its number in that word.
    #[inline(always)]
    pub(crate) fn word(self) -> (usize, usize) {
        (self.index / SLOTS_PER_WORD, self.index % SLOTS_PER_WORD)
    }

    #[inline(always)]
    pub(crate) unsafe fn slot(self) -> *const S {
        // SAFETY: S1, S4 – the same arithmetic as in `layout`.
        unsafe {
            let slots = self.segment.byte_add(slots_at::<S>()).cast::<S>();
            slots.add(self.index)
        }
    }

    /// OWNED → ARMED, by the slot's owner after it wrote the content.
    #[inline(always)]
    pub(crate) unsafe fn arm(self) {
        let (word, slot) = self.word();
        // SAFETY: (caller) see the head of the impl.
        let codes = unsafe { Segment::codes(self.segment, word) };
        codes.fetch_or(TAKEN << (2 * slot), Ordering::SeqCst);
    }

    /// TAKEN → ARMED, by the canceller after it wrote the content again.
    pub(crate) unsafe fn put_back(self) {
        let (word, slot) = self.word();
        // SAFETY: (caller) see the head of the impl.
        let codes = unsafe { Segment::codes(self.segment, word) };
        codes.fetch_or(OWNED << (2 * slot), Ordering::SeqCst);
    }

    /// ARMED → `left`, by the slot's owner. True: the content is the owner's again. False: a
    /// canceller took it, the slot is not the owner's any more, and what was written before the
    /// cancellation is visible.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn disarm(self, left: Left) -> bool {
        let (word, slot) = self.word();
        // SAFETY: (caller) see the head of the impl.
        unsafe {
            let codes = Segment::codes(self.segment, word);
            let mut seen = Codes(codes.load(Ordering::Acquire));
            while let Some(after) = seen.disarm(slot, left) {
                let swapped =
                    codes.compare_exchange(seen.0, after.0, Ordering::SeqCst, Ordering::Acquire);
                match swapped {
                    Ok(_) => {
                        if left == Left::Free {
                            Segment::freed(self.segment, word, seen);
                        }
                        return true;
                    }
                    Err(now) => seen = Codes(now),
                }
            }
            false
        }
    }

    /// OWNED → FREE, by the slot's owner.
    #[inline(always)]
    pub(crate) unsafe fn vacate(self) {
        let (word, slot) = self.word();
        // SAFETY: (caller) see the head of the impl.
        unsafe {
            let codes = Segment::codes(self.segment, word);
            let before = codes.fetch_and(!(ARMED << (2 * slot)), Ordering::SeqCst);
            Segment::freed(self.segment, word, Codes(before));
        }
    }
}
