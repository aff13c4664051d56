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
//!             └──► table ──► segment ──► …            shards 1 … 8; see `shards`
//! ```
//!
//! One allocation a segment: header (64 bytes), slots, and words of slot codes; a single word lies in
//! the header instead. The slots' type says how it is aligned. `summary`, in the header of the others,
//! has a bit for every word that may have room; `hint`, in the first segment of a shard, points to the
//! segment in which a slot was freed or found last. Each shard keeps the memory of its own peak.
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
//! | from → to | who | operation | model |
//! |---|---|---|---|
//! | FREE → OWNED | claimer | [`Slab::claim`], CAS | `a_slot_goes_from_one_wait_to_another` |
//! | OWNED → ARMED | the slot's owner, its content being written | [`Place::arm`], `fetch_or` | `cancel_against_first_poll` |
//! | ARMED → OWNED | the slot's owner | [`Place::disarm`], CAS, only if still ARMED | `cancel_against_repoll` |
//! | ARMED → FREE | the slot's owner | [`Place::disarm`], CAS, only if still ARMED | `cancel_against_drop_and_reuse` |
//! | ARMED → TAKEN | a canceller, all armed slots of a word at once | [`Segment::take_armed`], CAS | `a_walker_reads_wakers_of_a_dying_child` |
//! | OWNED → FREE | the slot's owner (children only) | [`Place::vacate`], `fetch_and` | `child_reuse_against_cancel` |
//! | TAKEN → ARMED | the canceller, the content being written again | [`Place::put_back`], `fetch_or` | `two_cancels_at_two_levels_against_forgotten` |
//! | TAKEN → FREE | burial of the slab's owner, alone | [`Slab::reset_codes`] | `last_walker_buries` |
//!
//! TAKEN never becomes FREE while the slab's owner lives: given back so early, a registrant that was
//! stopped before it claims could write into a slot from which the canceller still reads. ARMED
//! nobody claims.
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
//! | site | op | order | pairs with, and what for | shown by model |
//! |---|---|---|---|---|
//! | link a segment or the table | CAS | SeqCst | loads of walkers (SeqCst) and claimers (Acquire): its fields; "linked before armed" in the total order | `growth_on_two_threads`, `shards_on_two_threads`, `child_against_cancel` |
//! | claim, vacate | CAS, `fetch_and` | SeqCst | each other: the slot's content goes from one owner to the next | `child_reuse_against_cancel` |
//! | disarm | CAS | SeqCst | the next claim | `a_slot_goes_from_one_wait_to_another` |
//! | disarm that comes too late | load, failed CAS | Acquire | `take_armed`: what was written before the cancellation | `the_end_of_a_wait_publishes` |
//! | arm, `put_back` | `fetch_or` | SeqCst | `take_armed`: the waker in the slot; and see `token::node` for the total order | `cancel_against_first_poll` |
//! | `take_armed` | load, CAS | SeqCst | arm, `put_back` | `cancel_against_repoll` |
//! | a full word's `summary` clear, then word load | `fetch_and`; load | SeqCst | word freed, then `summary` load (and set): one of both sees the other | `room_is_not_lost` |
//! | `hint` | load, store | Acquire, Release | each other: the fields of a segment that the claimer did not link | `a_hint_leads_to_an_unseen_segment` |
//! | moves | load, CAS | Relaxed | nothing: a hint | |
//! | `refs` up | `fetch_add`, `fetch_and` | Relaxed | the caller's handle keeps the owner alive meanwhile | |
//! | `refs` down | `fetch_sub` | AcqRel | each other, close: all that was done in the shard is seen by who releases the owner | `siblings_go_on_two_threads` |
//! | close | `fetch_or` | Acquire | `refs` down (the handles' reference, given up next, releases) | `parent_and_child_go_on_two_threads` |
//!
//! # Foreign code
//!
//! None is called here. Content of slots (wakers) is moved in and out by the callers.

mod codes;
mod shards;
mod segment;

pub(crate) use codes::{Left, SlotSet};
pub(crate) use segment::{Place, Segment, Slot, allocate};

use crate::sync::{AtomicPtr, Ordering, dealloc};
use crate::wake::slab::codes::SLOTS_PER_WORD;
use crate::wake::slab::shards::Shards;
use core::alloc::Layout;
use core::ptr::null_mut;

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
                return claim_in_shard(more, owner);
            }
            let mut contended = false;
            let place = claim_from(first, owner, &mut contended);
            if contended {
                spread(first);
            }
            place
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
    ///
    /// # Safety
    /// The slab is not empty, and S1 holds for its segments.
    unsafe fn shards_after(&self, shard: usize) -> *const Segment<S> {
        // SAFETY: S1 – (caller) the segments stay.
        unsafe {
            let more = (*self.first()).more.load(Ordering::SeqCst);
            if !more.is_null() {
                for cell in &(&(*more).first)[shard..] {
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

    /// Makes every TAKEN slot FREE, without touching what lies in it. ARMED ones stay; true: there
    /// are some.
    ///
    /// # Safety
    /// The caller is alone with the slab, and nobody owns a slot of it.
    pub(crate) unsafe fn reset_codes(&self) -> bool {
        let mut armed = false;
        let mut segment = self.first();
        while !segment.is_null() {
            // SAFETY: (caller) alone.
            unsafe {
                armed |= Segment::reset_codes(segment);
                segment = self.after(segment);
            }
        }
        armed
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
///
/// # Safety
/// The owner of the slab stays alive during the call.
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

/// Claims a slot in the calling thread's shard.
///
/// # Safety
/// The owner of the slab stays alive during the call; `table` is the slab's.
#[inline(never)]
unsafe fn claim_in_shard<S: Slot>(
    table: *const Shards<Segment<S>>,
    owner: *const S::Owner,
) -> Place<S> {
    // SAFETY: S1 – (caller) the owner lives, so the table and all segments do.
    unsafe {
        let (mine, seat) = (*table).mine();
        let cell = &(&(*table).first)[mine];
        let mut first = cell.load(Ordering::Acquire);
        if first.is_null() {
            first = first_segment(cell, SLOTS_PER_WORD, owner, mine as u16 + 1);
        }
        let mut contended = false;
        let place = claim_from(first, owner, &mut contended);
        if contended {
            (*table).move_on(seat);
        }
        place
    }
}

/// Claims a slot in the shard of `first`.
///
/// # Safety
/// The owner of the slab stays alive during the call; `first` is the first segment of a shard.
#[inline(always)]
unsafe fn claim_from<S: Slot>(
    first: *mut Segment<S>,
    owner: *const S::Owner,
    contended: &mut bool,
) -> Place<S> {
    // SAFETY: S1 – (caller) the owner lives.
    unsafe {
        let segment = (*first).hint.load(Ordering::Acquire);
        match Segment::claim(segment, contended) {
            Some(index) => Place { segment, index },
            None => claim_elsewhere(first, segment, owner, contended),
        }
    }
}

/// Looks through the whole shard, from `start` to its end and once from its beginning; adds a
/// segment if nothing is free.
///
/// # Safety
/// The owner of the slab stays alive during the call; both segments are of one of its shards.
#[cold]
unsafe fn claim_elsewhere<S: Slot>(
    first: *mut Segment<S>,
    start: *mut Segment<S>,
    owner: *const S::Owner,
    contended: &mut bool,
) -> Place<S> {
    // SAFETY: S1 – (caller) the owner lives.
    unsafe {
        let mut segment = start;
        let mut from_first = core::ptr::eq(start, first);
        let place = loop {
            if let Some(index) = Segment::claim(segment, contended) {
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
        place
    }
}

/// Two threads met in one word: gives the slab its table of shards.
///
/// # Safety
/// The owner of the slab stays alive during the call; `first` is its very first segment.
#[cold]
unsafe fn spread<S: Slot>(first: *mut Segment<S>) {
    // SAFETY: S1 – (caller) the owner lives; S3 – a table that could not be linked was seen by nobody.
    unsafe {
        if !(*first).more.load(Ordering::Relaxed).is_null() {
            return;
        }
        let layout = Layout::new::<Shards<Segment<S>>>();
        let table = allocate(layout).cast::<Shards<Segment<S>>>();
        table.write(Shards::new());
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
///
/// # Safety
/// The caller is alone with the slab, and nothing in a slot needs to be dropped.
unsafe fn free_behind<S: Slot>(first: *mut Segment<S>) {
    // SAFETY: (caller) alone with the slab.
    unsafe {
        let table = (*first).more.load(Ordering::Relaxed);
        if !table.is_null() {
            for cell in &(*table).first {
                free_list(cell.load(Ordering::Relaxed));
            }
            dealloc(table.cast(), Layout::new::<Shards<Segment<S>>>());
        }
        free_list((*first).next.load(Ordering::Relaxed));
    }
}

/// # Safety
/// As for [`free_behind`].
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
