//! Reusable slots with stable addresses: an append-only, sharded slab.
//!
//! A token keeps its waiters in one slab and its child nodes in another. A slot never moves, and no
//! segment is unlinked before the slab's owner is dead, so whoever keeps the owner alive may look at
//! any slot at any time: no pins, no hazard pointers.
//!
//! # Shape
//!
//! ```text
//! Slab ──► segment ──next──► segment ──next──► …      shard 0: 1 or 4 slots, one word, × 4 each
//!             │ more (made when a compare-and-swap failed: two threads are here)
//!             └──► table ──► segment ──► …            shards 1 … 7, chosen by the caller's thread
//! ```
//!
//! One allocation a segment: header (64 bytes, read-mostly), words of slot codes, slots. The slots'
//! type says how it is aligned.
//! `summary` has a bit for every word that may have room; `hint`, in the first segment of a shard,
//! points to the segment in which a slot was freed or found last.
//!
//! # State of a slot: two bits in a word of its segment
//!
//! | code | name | who may touch the slot |
//! |---|---|---|
//! | `00` | FREE | nobody |
//! | `01` | OWNED | who claimed it; also marks slots beyond the segment's end, for ever |
//! | `11` | ARMED | nobody (waiters only): the waker in it waits for its owner or a canceller |
//! | `10` | TAKEN | the canceller who took it, until the slab's owner is dead |
//!
//! | from → to | who | operation |
//! |---|---|---|
//! | FREE → OWNED | claimer | [`Slab::claim`], CAS |
//! | OWNED → ARMED | the slot's owner, its content being written | [`Place::arm`], `fetch_or` |
//! | ARMED → OWNED, FREE | the slot's owner | [`Place::disarm`], CAS, only if still ARMED |
//! | ARMED → TAKEN | a canceller, all armed slots of a word at once | [`Segment::take_armed`], CAS |
//! | OWNED → FREE | the slot's owner (children only) | [`Place::vacate`], `fetch_and` |
//! | TAKEN → FREE | burial of the slab's owner, alone | [`Slab::reset_codes`] |
//!
//! TAKEN is final while the slab's owner lives: given back earlier, a registrant that was stopped
//! before it claims could write into a slot from which the canceller still reads.
//!
//! # Shard references
//!
//! Children keep their parent alive, but counting them in one word would make all threads fight for
//! it. Each shard's first segment counts its own children in `refs`, and the shard as a whole holds
//! one reference to the owner: taken when its first child comes ([`Segment::enter`]), given back by
//! the last child after [`Segment::close`], or by `close` itself if there is none.
//!
//! # Invariants
//!
//! - **S1** A segment reached from a slab stays allocated until [`Slab::free`] or [`Slab::trim`].
//! - **S2** A slot is touched only by whom its code names, and every change of a code is a
//!   read-modify-write of its word (but for the exclusive `reset_codes`).
//! - **S3** A segment's fields other than atomics are written before it is linked, never after.
//! - **S4** What lies behind a header is reached by a pointer to the whole block, never by a
//!   reference to the header.
//! - **S5** `refs` has CLOSED set at most once in an owner's life, when no claim can come any more.
//!
//! # Orderings
//!
//! | site | op | order | pairs with, and what for |
//! |---|---|---|---|
//! | link a segment or the table | CAS | SeqCst | loads of walkers (SeqCst) and claimers (Acquire): its fields; "linked before armed" in the total order |
//! | claim, disarm, vacate | CAS, `fetch_and` | SeqCst | each other: the slot's content goes from one owner to the next |
//! | arm | `fetch_or` | SeqCst | `take_armed`: the waker in the slot; and see `token::node` for the total order |
//! | `take_armed` | load, CAS | SeqCst | arm |
//! | `summary` clear, then word load | `fetch_and`; load | SeqCst | word freed, then `summary` set: one of both sees the other |
//! | `hint` | load, store | Acquire, Release | each other: the fields of a segment that the claimer did not link |
//! | `refs` up | `fetch_add`, `fetch_and` | Relaxed | the caller's handle keeps the owner alive meanwhile |
//! | `refs` down, close | `fetch_sub`, `fetch_or` | AcqRel | each other: all that was done in the shard is seen by who releases the owner |
//!
//! # Foreign code
//!
//! None is called here. Content of slots (wakers) is moved in and out by the callers.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, alloc, dealloc, sc_fence, thread_hint};
use ::alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::ptr::null_mut;

#[cfg(not(umbel_loom))]
mod size {
    pub(super) const SLOTS_PER_WORD: usize = usize::BITS as usize / 2;
    pub(super) const MAX_WORDS: usize = usize::BITS as usize;
    pub(super) const SHARDS: usize = 8;
}
/// Small, so that models cross every boundary.
#[cfg(umbel_loom)]
mod size {
    pub(super) const SLOTS_PER_WORD: usize = 2;
    pub(super) const MAX_WORDS: usize = 2;
    pub(super) const SHARDS: usize = 2;
}
use size::{MAX_WORDS, SHARDS, SLOTS_PER_WORD};

// ------------------------------------------------------------------ codes

/// What `disarm` leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The slot is given back.
    Free,
    /// The slot stays with its owner, who may write to it again.
    Owned,
}

const OWNED: usize = 0b01;
const TAKEN: usize = 0b10;
const ARMED: usize = 0b11;

/// A set of slots of one word: the low bit of each pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotSet(usize);

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
        let upto = (1_usize << (2 * slot)) | ((1_usize << (2 * slot)) - 1);
        SlotSet(self.0 & !upto)
    }
}

/// A word of codes as it was at one moment; its methods are pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Codes(usize);

impl Codes {
    #[inline(always)]
    fn free(self) -> SlotSet {
        SlotSet(!(self.0 | self.0 >> 1) & SlotSet::ALL.0)
    }

    #[inline(always)]
    fn used(self) -> SlotSet {
        SlotSet((self.0 | self.0 >> 1) & SlotSet::ALL.0)
    }

    #[inline(always)]
    fn armed(self) -> SlotSet {
        SlotSet(self.0 & self.0 >> 1 & SlotSet::ALL.0)
    }

    /// FREE → OWNED for the lowest free slot, if there is one.
    #[inline(always)]
    fn claim(self) -> Option<(Codes, usize)> {
        let slot = self.free().pop()?;
        Some((Codes(self.0 | OWNED << (2 * slot)), slot))
    }

    /// ARMED → TAKEN for all armed slots; `None` if none is.
    #[inline(always)]
    fn take(self) -> Option<(Codes, SlotSet)> {
        let armed = self.armed();
        // ARMED and TAKEN differ in the low bit.
        const { assert!(ARMED == TAKEN | 1) };
        (armed != SlotSet::EMPTY).then_some((Codes(self.0 & !armed.0), armed))
    }

    /// ARMED → `left`; `None` if the slot is not armed (any more).
    #[inline(always)]
    fn disarm(self, slot: usize, left: Left) -> Option<Codes> {
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

    /// The codes of word number `word` in an unused segment of `slots` slots.
    fn unused(slots: usize, word: usize) -> Codes {
        let here = slots.saturating_sub(word * SLOTS_PER_WORD);
        if here >= SLOTS_PER_WORD {
            return Codes(0);
        }
        // The low bit of every pair from number `here` on: OWNED.
        const { assert!(OWNED == 1) };
        Codes(SlotSet::ALL.0 & usize::MAX << (2 * here))
    }
}

// ------------------------------------------------------------------ segments

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
    next: AtomicPtr<Segment<S>>,
    /// First of a shard only: where a free slot is likely.
    hint: AtomicPtr<Segment<S>>,
    /// First of shard 0 only: the other shards. Written once.
    more: AtomicPtr<Shards<S>>,
    /// Bit `w`: word `w` may have a free slot. Not kept if there is one word only.
    summary: AtomicUsize,
    owner: *const S::Owner,
    /// The first segment of this shard.
    first: *const Segment<S>,
    /// First of a shard of children only: how many there are, CLOSED, UNCHARGED.
    refs: AtomicUsize,
    slots: u16,
    words: u16,
    shard: u16,
}

/// The first segments of shards 1 and up; null until somebody comes.
#[derive(Debug)]
struct Shards<S: Slot>([AtomicPtr<Segment<S>>; SHARDS - 1]);

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

/// All functions take pointers to the whole block (S4) of a segment that stays allocated during the
/// call (S1): that is their common safety condition.
impl<S: Slot> Segment<S> {
    /// A new unlinked segment with slot 0 OWNED if `claimed`. `first` null: itself.
    unsafe fn new(
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
    fn growth(slots: usize) -> usize {
        if slots < SLOTS_PER_WORD {
            SLOTS_PER_WORD
        } else {
            (slots * 4).min(MAX_WORDS * SLOTS_PER_WORD)
        }
    }

    /// # Safety
    /// Nobody else reaches the segment any more, and nothing in it needs to be dropped.
    unsafe fn dealloc(segment: *mut Self) {
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
    unsafe fn codes<'a>(segment: *const Self, word: usize) -> &'a AtomicUsize {
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
    unsafe fn claim(segment: *const Self, contended: &mut bool) -> Option<usize> {
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
    unsafe fn claim_in(segment: *const Self, word: usize, contended: &mut bool) -> Option<usize> {
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
            // Clear, then look again: who frees a slot of a full word sets the bit after it.
            summary.fetch_and(!(1 << word), Ordering::SeqCst);
            sc_fence();
            if Codes(codes.load(Ordering::SeqCst)).free() != SlotSet::EMPTY {
                summary.fetch_or(1 << word, Ordering::SeqCst);
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
                sc_fence();
                (*segment).summary.fetch_or(1 << word, Ordering::SeqCst);
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
        unsafe { (*first).refs.fetch_or(CLOSED, Ordering::AcqRel) == 0 }
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

/// The common safety condition is that of [`Segment`]; `index` is below its number of slots.
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

    /// ARMED → `left`, by the slot's owner. True: the content is the owner's again. False: a
    /// canceller took it, and the slot is not the owner's any more.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn disarm(self, left: Left) -> bool {
        let (word, slot) = self.word();
        // SAFETY: (caller) see the head of the impl.
        unsafe {
            let codes = Segment::codes(self.segment, word);
            let mut seen = Codes(codes.load(Ordering::Relaxed));
            while let Some(after) = seen.disarm(slot, left) {
                let swapped =
                    codes.compare_exchange(seen.0, after.0, Ordering::SeqCst, Ordering::Relaxed);
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

// ------------------------------------------------------------------ the slab

/// A slab; empty and without memory until the first claim.
#[derive(Debug)]
pub(crate) struct Slab<S: Slot>(AtomicPtr<Segment<S>>);

impl<S: Slot> Slab<S> {
    #[inline]
    pub(crate) fn new() -> Self {
        Slab(AtomicPtr::new(null_mut()))
    }

    /// Whether nothing was ever claimed. In the total order, so that a walker which set a flag
    /// before it looks here, and finds nothing, is seen by whoever comes later.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst).is_null()
    }

    /// Claims a slot: FREE → OWNED. May allocate.
    ///
    /// # Safety
    /// `owner` is the owner of this slab and stays alive during the call; always the same.
    #[inline(always)]
    pub(crate) unsafe fn claim(&self, owner: *const S::Owner) -> Place<S> {
        // SAFETY: S1 – (caller) the owner lives, so all segments do.
        unsafe {
            let mut first = self.0.load(Ordering::Acquire);
            if first.is_null() {
                first = first_segment(&self.0, S::FIRST.min(SLOTS_PER_WORD), owner, 0);
            }
            let more = (*first).more.load(Ordering::Acquire);
            if !more.is_null() {
                let shard = thread_hint() % SHARDS;
                if shard != 0 {
                    let cell = &(&(*more).0)[shard - 1];
                    first = cell.load(Ordering::Acquire);
                    if first.is_null() {
                        first = first_segment(cell, SLOTS_PER_WORD, owner, shard as u16);
                    }
                }
            }
            let segment = (*first).hint.load(Ordering::Acquire);
            let mut contended = false;
            if let Some(index) = Segment::claim(segment, &mut contended) {
                if contended {
                    spread(first);
                }
                return Place { segment, index };
            }
            claim_elsewhere(first, segment, owner)
        }
    }

    /// The first segment, or null.
    #[inline(always)]
    pub(crate) fn first(&self) -> *const Segment<S> {
        self.0.load(Ordering::SeqCst)
    }

    /// The segment after `segment`, be it in the next shard, or null after the last one.
    ///
    /// # Safety
    /// `segment` is one of this slab, and S1 holds for it.
    #[inline(always)]
    pub(crate) unsafe fn after(&self, segment: *const Segment<S>) -> *const Segment<S> {
        // SAFETY: S1 – (caller) the segments stay.
        unsafe {
            let next = (*segment).next.load(Ordering::SeqCst);
            if !next.is_null() {
                return next;
            }
            self.shards_after((*segment).shard.into())
        }
    }

    /// The first segment of the first shard beyond number `shard` that has one, or null.
    unsafe fn shards_after(&self, shard: usize) -> *const Segment<S> {
        // SAFETY: S1 – (caller) the segments stay.
        unsafe {
            let more = (*self.first()).more.load(Ordering::SeqCst);
            if !more.is_null() {
                for cell in &(&(*more).0)[shard..] {
                    let first = cell.load(Ordering::SeqCst);
                    if !first.is_null() {
                        return first;
                    }
                }
            }
            core::ptr::null()
        }
    }

    /// Calls `f` with the first segment of every shard.
    ///
    /// # Safety
    /// S1 holds for all segments during the call.
    pub(crate) unsafe fn each_shard(&self, mut f: impl FnMut(*const Segment<S>)) {
        let mut first = self.first();
        while !first.is_null() {
            // SAFETY: (caller) the segments stay; `f` cannot free them.
            let next = unsafe { self.shards_after((*first).shard.into()) };
            f(first);
            first = next;
        }
    }

    /// Makes every slot FREE, whatever it was, without touching what lies in it.
    ///
    /// # Safety
    /// The caller is alone with the slab, and nobody owns a slot of it.
    pub(crate) unsafe fn reset_codes(&self) {
        let mut segment = self.first();
        while !segment.is_null() {
            // SAFETY: (caller) alone.
            unsafe {
                let slots = Segment::slots(segment);
                for word in 0..Segment::words(segment) {
                    let codes = Segment::codes(segment, word);
                    let unused = Codes::unused(slots, word);
                    if codes.load(Ordering::Relaxed) != unused.0 {
                        codes.store(unused.0, Ordering::Relaxed);
                        (*segment).summary.fetch_or(1 << word, Ordering::Relaxed);
                    }
                }
                segment = self.after(segment);
            }
        }
    }

    /// Frees all memory.
    ///
    /// # Safety
    /// The caller is alone with the slab, and nothing in a slot needs to be dropped.
    pub(crate) unsafe fn free(&self) {
        let first = self.0.load(Ordering::Relaxed);
        if !first.is_null() {
            self.0.store(null_mut(), Ordering::Relaxed);
            // SAFETY: (caller) alone.
            unsafe {
                free_behind(first);
                Segment::dealloc(first);
            }
        }
    }

    /// Frees all but the first segment, which the next owner of the slab will want.
    ///
    /// # Safety
    /// As for [`free`](Self::free).
    pub(crate) unsafe fn trim(&self) {
        let first = self.0.load(Ordering::Relaxed);
        if !first.is_null() {
            // SAFETY: (caller) alone.
            unsafe {
                free_behind(first);
                (*first).next.store(null_mut(), Ordering::Relaxed);
                (*first).more.store(null_mut(), Ordering::Relaxed);
                (*first).hint.store(first, Ordering::Relaxed);
            }
        }
    }
}

/// Links the first segment of a shard; somebody else may be faster.
#[cold]
unsafe fn first_segment<S: Slot>(
    cell: &AtomicPtr<Segment<S>>,
    slots: usize,
    owner: *const S::Owner,
    shard: u16,
) -> *mut Segment<S> {
    // SAFETY: S3 – a new segment; if it could not be linked nobody has seen it.
    unsafe {
        let new = Segment::new(slots, owner, core::ptr::null(), shard, false);
        match cell.compare_exchange(null_mut(), new, Ordering::SeqCst, Ordering::Acquire) {
            Ok(_) => new,
            Err(other) => {
                Segment::dealloc(new);
                other
            }
        }
    }
}

/// Looks through the whole shard, from `start` to its end and once from its beginning; adds a
/// segment if nothing is free.
#[cold]
unsafe fn claim_elsewhere<S: Slot>(
    first: *mut Segment<S>,
    start: *mut Segment<S>,
    owner: *const S::Owner,
) -> Place<S> {
    // SAFETY: S1 – (caller) the owner lives.
    unsafe {
        let mut segment = start;
        let mut from_first = core::ptr::eq(start, first);
        let mut contended = false;
        let place = loop {
            if let Some(index) = Segment::claim(segment, &mut contended) {
                break Place { segment, index };
            }
            let next = (*segment).next.load(Ordering::Acquire);
            if !next.is_null() {
                segment = next;
            } else if !from_first {
                from_first = true;
                segment = first;
            } else {
                let slots = Segment::<S>::growth((*segment).slots.into());
                let new = Segment::new(slots, owner, first, (*first).shard, true);
                let linked = (*segment).next.compare_exchange(
                    null_mut(),
                    new,
                    Ordering::SeqCst,
                    Ordering::Acquire,
                );
                match linked {
                    Ok(_) => {
                        segment = new;
                        break Place { segment, index: 0 };
                    }
                    Err(other) => {
                        Segment::dealloc(new);
                        segment = other;
                    }
                }
            }
        };
        if !core::ptr::eq(segment, start) {
            (*first).hint.store(segment, Ordering::Release);
        }
        if contended {
            spread(first);
        }
        place
    }
}

/// Two threads met in one word: gives the slab its table of shards.
#[cold]
unsafe fn spread<S: Slot>(first: *mut Segment<S>) {
    // SAFETY: S1 – (caller) the owner lives; S3 – a table that could not be linked was seen by nobody.
    unsafe {
        if (*first).shard != 0 || !(*first).more.load(Ordering::Relaxed).is_null() {
            return;
        }
        let layout = Layout::new::<Shards<S>>();
        let table = allocate(layout).cast::<Shards<S>>();
        table.write(Shards(core::array::from_fn(|_| AtomicPtr::new(null_mut()))));
        let linked =
            (*first)
                .more
                .compare_exchange(null_mut(), table, Ordering::SeqCst, Ordering::Relaxed);
        if linked.is_err() {
            dealloc(table.cast(), layout);
        }
    }
}

/// Frees all segments but `first`, the very first, and the table; leaves dangling links to them.
unsafe fn free_behind<S: Slot>(first: *mut Segment<S>) {
    // SAFETY: (caller) alone with the slab.
    unsafe {
        let table = (*first).more.load(Ordering::Relaxed);
        if !table.is_null() {
            for cell in &(*table).0 {
                free_list(cell.load(Ordering::Relaxed));
            }
            dealloc(table.cast(), Layout::new::<Shards<S>>());
        }
        free_list((*first).next.load(Ordering::Relaxed));
    }
}

unsafe fn free_list<S: Slot>(mut segment: *mut Segment<S>) {
    while !segment.is_null() {
        // SAFETY: (caller) alone with the slab; the link is read before the block goes.
        unsafe {
            let next = (*segment).next.load(Ordering::Relaxed);
            Segment::dealloc(segment);
            segment = next;
        }
    }
}

#[cfg(all(test, not(umbel_loom)))]
mod tests;
