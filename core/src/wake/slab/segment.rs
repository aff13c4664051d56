//! A segment of a slab, and the place of a slot in it. The rules (S1 … S5) and the orderings: see
//! `wake::slab`.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, alloc, dealloc};
use crate::wake::slab::codes::{
    ARMED, Codes, Left, MAX_WORDS, OWNED, SHARDS, SLOTS_PER_WORD, SlotSet, TAKEN,
};
use ::alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::ptr::null_mut;

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
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Segment<S: Slot> {
    /// The next one of the same shard. Written once.
    pub(crate) next: AtomicPtr<Segment<S>>,
    /// First of a shard only: where a free slot is likely.
    pub(crate) hint: AtomicPtr<Segment<S>>,
    /// First of shard 0 only: the other shards. Written once.
    pub(crate) more: AtomicPtr<Shards<S>>,
    /// Bit `w`: word `w` may have a free slot. Not kept if there is one word only.
    pub(crate) summary: AtomicUsize,
    owner: *const S::Owner,
    /// The first segment of this shard.
    pub(crate) first: *const Segment<S>,
    /// First of a shard of children only: how many there are, CLOSED, UNCHARGED.
    refs: AtomicUsize,
    pub(crate) slots: u16,
    pub(crate) words: u16,
    pub(crate) shard: u16,
}

/// The first segments of shards 1 and up; null until somebody comes.
#[derive(Debug)]
pub(crate) struct Shards<S: Slot>(pub(crate) [AtomicPtr<Segment<S>>; SHARDS - 1]);

/// The layout of a segment of `slots` slots, and where the slots begin.
fn layout<S: Slot>(slots: usize) -> (Layout, usize) {
    let words = Layout::array::<AtomicUsize>(slots.div_ceil(SLOTS_PER_WORD));
    let slots = Layout::array::<S>(slots);
    let whole = words
        .and_then(|words| Layout::new::<Segment<S>>().extend(words))
        .and_then(|(head, _)| head.extend(slots?));
    match whole {
        Ok(found) => found,
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
        let (layout, slots_at) = layout::<S>(slots);
        let words = slots.div_ceil(SLOTS_PER_WORD);
        // SAFETY: S3 – the block is ours alone, large enough by `layout`, and has a header at least.
        unsafe {
            let segment = allocate(layout).cast::<Self>();
            segment.write(Segment {
                next: AtomicPtr::new(null_mut()),
                hint: AtomicPtr::new(segment),
                more: AtomicPtr::new(null_mut()),
                summary: AtomicUsize::new(usize::MAX >> (usize::BITS as usize - words)),
                owner,
                first: if first.is_null() { segment } else { first },
                refs: AtomicUsize::new(UNCHARGED),
                slots: slots as u16,
                words: words as u16,
                shard,
            });
            let codes = segment.add(1).cast::<AtomicUsize>();
            for word in 0..words {
                let mut unused = Codes::unused(slots, word);
                if claimed && word == 0 {
                    unused.0 |= OWNED;
                }
                codes.add(word).write(AtomicUsize::new(unused.0));
            }
            let first_slot = segment.cast::<u8>().add(slots_at).cast::<S>();
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
        unsafe { dealloc(segment.cast(), layout::<S>((*segment).slots.into()).0) }
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

    /// The codes of word `word`, which is below `words`.
    #[inline(always)]
    pub(crate) unsafe fn codes<'a>(segment: *const Self, word: usize) -> &'a AtomicUsize {
        // SAFETY: S1, S4 – the words follow the header; its size is a multiple of their alignment.
        unsafe { &*segment.add(1).cast::<AtomicUsize>().add(word) }
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
        // SAFETY: (caller) as for `codes`; bits of `summary` stand for words only.
        unsafe {
            if (*segment).words == 1 {
                return Self::claim_in(segment, 0, contended);
            }
            let mut words = (*segment).summary.load(Ordering::Relaxed);
            while words != 0 {
                let word = words.trailing_zeros() as usize;
                if let Some(index) = Self::claim_in(segment, word, contended) {
                    return Some(index);
                }
                words &= words - 1;
            }
            None
        }
    }

    #[inline(always)]
    pub(crate) unsafe fn claim_in(
        segment: *const Self,
        word: usize,
        contended: &mut bool,
    ) -> Option<usize> {
        // SAFETY: (caller) as for `codes`.
        let (codes, summary, words) = unsafe {
            let summary = &(*segment).summary;
            (Self::codes(segment, word), summary, (*segment).words)
        };
        let mut seen = Codes(codes.load(Ordering::Relaxed));
        let claimed = loop {
            let Some((after, slot)) = seen.claim() else {
                break None;
            };
            let swapped =
                codes.compare_exchange(seen.0, after.0, Ordering::SeqCst, Ordering::Relaxed);
            match swapped {
                Ok(_) => {
                    seen = after;
                    break Some(word * SLOTS_PER_WORD + slot);
                }
                Err(now) => {
                    *contended = true;
                    seen = Codes(now);
                }
            }
        };
        if words > 1 && seen.free() == SlotSet::EMPTY {
            // Clear, then look again: who frees a slot of a full word sets the bit after it. Either
            // that comes later, or it is acquired here, and the free slot is seen. The last
            // `fetch_or` goes on with what it acquired.
            summary.fetch_and(!(1 << word), Ordering::Acquire);
            if Codes(codes.load(Ordering::Relaxed)).free() != SlotSet::EMPTY {
                summary.fetch_or(1 << word, Ordering::Relaxed);
            }
        }
        claimed
    }

    /// To be called after a slot of word `word` became FREE; `before` are the codes until then.
    #[inline(always)]
    unsafe fn freed(segment: *const Self, word: usize, before: Codes) {
        // SAFETY: S1.
        unsafe {
            if (*segment).words > 1 && before.free() == SlotSet::EMPTY {
                (*segment).summary.fetch_or(1 << word, Ordering::Release);
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
        // SAFETY: S1, S4 – the same arithmetic as in `layout`: header, words, padding, slots.
        unsafe {
            let words = usize::from((*self.segment).words);
            let words_end = size_of::<Segment<S>>() + size_of::<AtomicUsize>() * words;
            let at = words_end.next_multiple_of(align_of::<S>());
            self.segment
                .cast::<u8>()
                .add(at)
                .cast::<S>()
                .add(self.index)
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
