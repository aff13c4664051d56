//! Which children of a set were woken, and who is to be told: the wakers' side of the engine.
//!
//! Wakers set a bit; the first bit of an idle set wakes the set's own ("outer") waker; the owner of
//! the set takes all that was woken with one swap. A child's waker is the address of its header
//! plus the number of its bit, and nothing is counted: headers are [immortal](super::immortal), so
//! cloning and dropping a waker is free, and a waker that outlives everything still only sets a
//! bit somewhere harmless.
//!
//! # State
//!
//! A [`Header`] stands for up to [`BITS`] children. `Header::ready`:
//!
//! | value | header is | queued |
//! |---|---|---|
//! | `0` | in service | no |
//! | some bits | in service | yes, or about to be |
//! | `ALL`, `chunk` set | in service, every child woken | yes, or about to be |
//! | `ALL`, `chunk` null | retired | yes, or about to be, if it was not 0 when it was retired |
//! | `ALL` | in the pool | no; wakes are absorbed |
//!
//! A [`Shared`] stands for a set. `Shared::head` is a stack of queued headers that ends in a mark:
//!
//! | mark | meaning |
//! |---|---|
//! | `IDLE_k` | who pushes first holds a *token*: he must wake the waker in outer slot `k`, once |
//! | `POLLING` | no waker is registered: before the first poll, or the owner will wake himself; a [`WakePool`](super::fixed) that nobody has taken |
//! | `CLOSED` | the set is gone; stays for the rest of this life |
//!
//! `Slot::done`:
//!
//! | value | meaning |
//! |---|---|
//! | even | tokens spent on that slot since it came into use, times 2; the owner counts tokens issued |
//! | odd, below `LAST` (wrapping) | the set has ended while tokens are out: reaches `LAST` with the last of them |
//! | `LAST` | the last notifier takes the waker out |
//! | `EMPTY` | not in use since the block's life began |
//!
//! # Transitions
//!
//! Each with a model of what may come between.
//!
//! | # | from → to | who, and how | model |
//! |---|---|---|---|
//! | 1 | `ready`: `ALL` → 0 | the owner puts a header in service; swap | `n_07_wake_against_drop_and_block_reuse` |
//! | 2 | 0 → bits | the first waker, who then has the queue right; `fetch_or` | `two_wakers_of_two_chunks_against_polls` |
//! | 3 | bits → bits | further wakers; `fetch_or` | `two_wakers_against_polls` |
//! | 4 | bits → 0 | the owner, when he has taken the list; swap | `two_wakers_against_polls` |
//! | 5 | 0 → `ALL` | the owner retires a header and returns it; swap | `stale_wake_against_retired_chunk` |
//! | 6 | bits → `ALL` | the same, of one that is queued: who takes the list returns it | `stale_wake_against_retired_chunk` |
//! | 7 | bits → `ALL` | the same, of one that a waker is about to queue: he finds `CLOSED` and returns it | `wake_against_the_end_of_a_set` |
//! | 8 | `head`: `IDLE_k` → header | a pusher, who gets a token; CAS | `two_wakers_against_polls` |
//! | 9 | header → header | a pusher; CAS | `two_wakers_of_two_chunks_against_polls` |
//! | 10 | `POLLING` → header | a pusher; CAS | `n_05_stale_wake_against_pool_reuse_and_own_wake` |
//! | 11 | header, `IDLE_k` → `IDLE_k` | a poll with the same waker; swap | `desk_ring_against_poll` |
//! | 12 | any → `IDLE_k` | a poll with another waker; swap | `wake_against_new_outer_waker` |
//! | 13 | any → `POLLING` | the same, the other slot being in use; then 12 with the present slot, if that is not; swap | `wake_against_two_new_outer_wakers` |
//! | 14 | any → `CLOSED` | the end of a set; swap | `n_07_wake_against_drop_and_block_reuse_by_the_waking_thread` |
//! | 15 | any → `POLLING` | the end of a set with a `WakePool`; swap | `n_07_wake_against_drop_and_pool_reuse` |
//! | 16 | `done`: `EMPTY` → 0 | the owner, who uses the slot for the first time; store | `wake_against_new_outer_waker` |
//! | 17 | even → even | a notifier; `fetch_add` | `wake_against_two_new_outer_wakers` |
//! | 18 | even → `LAST` → `EMPTY` | the end of a set, no token being out; `fetch_add`, store | `n_07_wake_against_drop_and_pool_reuse` |
//! | 19 | even → odd → `LAST` → `EMPTY` | the end of a set, tokens being out, then the last notifier | `n_07_wake_against_drop_and_block_reuse` |
//! | 20 | `outstanding`: n → 0 | who gives back the last n blocks, waker or owner; `fetch_sub` | `wake_against_the_end_of_a_set` |
//!
//! # Life
//!
//! ```text
//!             header()                 first wake                     begin
//!  ┌──────┐ ───────────▶ ┌─────────┐ ────────────▶ ┌──────────────┐ ───────────▶ (idle again)
//!  │ pool │              │ idle: 0 │               │ queued: bits │
//!  └──────┘ ◀─────────── └─────────┘               └──────────────┘
//!      ▲      retire                                      │ retire: chunk = null, ready = ALL
//!      └──────────────────────────────────────────────────┘ returned by who holds the queue right
//! ```
//!
//! A `Shared` returns to its pool when `outstanding` falls to 0: 1 for the owner, 1 for each header
//! not yet returned. A notifier of the set that is gone may still be at work on a slot; the next set
//! leaves that slot alone until it is `EMPTY`.
//!
//! The blocks of a [`WakePool`](super::fixed) go another way: its headers are in service for ever,
//! queued or not, and belong to its one `Shared`; a set takes them over as they are, and `outstanding`
//! says whether one has.
//!
//! # Invariants
//!
//! - **R1** Headers and shareds are immortal, so following a pointer to one is always sound. What
//!   may be done to a block is what the rest of this list says.
//! - **R2** *Queue right*: who changes `ready` from 0, or puts 0 back in (the owner, for that
//!   instant), has it. Who has it alone touches `next`, reads `shared`, pushes the header, and
//!   returns it to the pool if it is retired. It passes to the owner with the push, and is given up
//!   by `ready.swap(0)`.
//! - **R3** A header in service, or retired but not returned, is counted in `outstanding` of its
//!   `shared`, or belongs to it for ever (`WakePool`); so who has the queue right may push to that
//!   `Shared`.
//! - **R4** A token is counted as issued when the list that was pushed on `IDLE_k` is taken, and
//!   that list cannot vanish untaken. A slot is written only by the owner, while it is not
//!   published (no `IDLE_k` in `head`) and `done == issued`, where `issued` is `EMPTY` until this
//!   life first used the slot; or by the last notifier of a set that is gone, until it stores
//!   `EMPTY`. So whoever holds a token, and the owner if he has written the slot, may read it.
//! - **R5** `chunk` is touched only by the owner while the header is his (between `get` and
//!   return), `shared` is written only by the owner while `ready == ALL` and the header is not
//!   queued.
//! - **R6** Every change of `ready` is a read-modify-write: stale wakers may be at it at any time.
//! - **R7** A wake never skips its RMW because the bit seems to be set: the poll must see what was
//!   written before it.
//!
//! # Orderings
//!
//! | site | op | order | pairs with | publishes |
//! |---|---|---|---|---|
//! | wake | `ready.fetch_or` | AcqRel | take | Release: what the child is to see. Acquire: our write of `next` comes after the owner's read, our read of `shared` after `header()` |
//! | take | `ready.swap(0)` | AcqRel | wake | Acquire: what the wakers wrote. Release: gives up `next` |
//! | push | CAS `head` | AcqRel, fail Acquire | `head.swap` | Release: `next`. Acquire: the waker in the slot; what the set did before `CLOSED` |
//! | take the list; close | `head.swap` | AcqRel | push | Acquire: `next` of each. Release: the slot's waker |
//! | peek at `head` before a poll | load | Relaxed | – | nothing: if it is `IDLE_k` the poll has no work; a wake that came before this poll is seen by coherence |
//! | put in service | `ready.swap(0)` | AcqRel | wake | Release: `shared`, to the next who gets the queue right |
//! | retire | `ready.swap(ALL)` | AcqRel | – | nothing that `head.swap` and the pool do not publish: Relaxed would do, and no model tells the two apart |
//! | token spent; slot closed | `done.fetch_add` | AcqRel | each other; `done.load` | the notifier's last read of the slot |
//! | slot emptied | `done.store(EMPTY)` | Release | `done.load` | that the waker has been taken out |
//! | may the slot be written? | `done.load` | Acquire | token spent; slot emptied | the same |
//! | slot comes into use | `done.store(0)` | Relaxed | – | nothing; `head.swap` publishes it with the waker |
//! | `outstanding` down | `fetch_sub` | AcqRel | itself | all that was done with the `Shared` |
//! | `outstanding` up | `fetch_add` | Relaxed | – | the owner's own unit keeps it above 0 |
//!
//! `next` is a plain cell and not an atomic, so that loom sees the handing over of R2 as what it is:
//! with any of its edges weakened (the take's swap to Acquire only, say) models report a data race.
//! `CLOSED` needs its Acquire because who sees it may be the header's next owner: only the model
//! `n_07_wake_against_drop_and_block_reuse_by_the_waking_thread` shows it.
//!
//! # Foreign code
//!
//! The outer waker is woken by reference, by the holder of a token, holding nothing: it may poll
//! the set inline, drop it, wake children, or panic (the token is then spent on the way out). It is
//! cloned before and dropped after any change of the owner's state. One foreign *drop* may happen
//! in a wake: if the set ends during an outer wake, its notifier drops the outer waker.
//!
//! # Limits
//!
//! - A stale waker of a header's earlier life sets a bit in the present one: one spurious poll,
//!   perhaps of a child of another set.
//! - If the outer waker changes while both slots have notifiers at work (also those of earlier lives of
//!   the block), the poll is not registered: the owner wakes his task himself. Nobody waits; but two
//!   notifiers suspended for ever (strict priorities), or two in which the task is polled, would keep
//!   that task busy.
//! - The queue right is the header's: a waker suspended between its bit and its push holds up the wakes
//!   of the other children of that header. They set their bits, and are told when it goes on.
//!
//! # Not here
//!
//! What the owner of a set does: [`taker`](super::taker) for both kinds of blocks,
//! [`owner`](super::owner) and [`fixed`](super::fixed) for one each, under the same invariants.

use super::batch::drop_all;
use super::immortal::{Block, Immortal};
#[cfg(feature = "alloc")]
use super::pool::{Batch, Pool};
#[cfg(feature = "alloc")]
use crate::sync::global;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, UnsafeCell, const_fn};
use core::mem::ManuallyDrop;
use core::ptr;
use core::task::{RawWaker, RawWakerVTable, Waker};

/// Children per header.
pub(crate) const BITS: usize = usize::BITS as usize;
/// The part of a waker's data that is the child's number; the rest is the header's address.
const INDEX: usize = BITS - 1;

/// All bits of `ready`: every child woken, or the header is out of service (see the head's table).
#[cfg(feature = "alloc")]
pub(super) const ALL: usize = usize::MAX;

/// Marks at the end of `Shared::head`. Slot `k` is published by mark `k + 1`; 0 is no mark.
pub(super) const IDLE: [*mut Header; 2] = [
    ptr::without_provenance_mut(1),
    ptr::without_provenance_mut(2),
];
pub(super) const POLLING: *mut Header = ptr::without_provenance_mut(3);
pub(super) const CLOSED: *mut Header = ptr::without_provenance_mut(4);

/// In `Header::chunk`: this header is the desk.
#[cfg(feature = "alloc")]
pub(super) const DESK: *mut () = ptr::without_provenance_mut(1);

/// One token, as `done` and `issued` count.
pub(super) const TOKEN: usize = 2;
/// `done` of a slot whose set is gone: all tokens are spent, and who spent the last has the waker.
/// Never while the owner lives.
pub(super) const LAST: usize = 1;
/// `done` of a slot that nobody uses: there is no waker in it. No step of `TOKEN` from a number that
/// counts or closes leads here.
pub(super) const EMPTY: usize = 3;

#[inline(always)]
pub(super) fn is_mark(head: *mut Header) -> bool {
    head.addr() <= CLOSED.addr()
}

/// The outer slot that a mark publishes.
#[inline(always)]
pub(super) fn published(mark: *mut Header) -> Option<usize> {
    IDLE.iter().position(|idle| *idle == mark)
}

/// What the wakers of up to [`BITS`] children point to.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
pub(crate) struct Header {
    /// Anybody, by RMW (R6).
    pub(super) ready: AtomicUsize,
    /// The header below in `Shared::head`, or the mark. Who has the queue right (R2).
    pub(super) next: UnsafeCell<*mut Header>,
    /// The set in whose service it is. Read under the queue right, written by the owner (R5).
    pub(super) shared: UnsafeCell<*mut Shared>,
    /// The owner's; null: retired (R5).
    pub(super) chunk: UnsafeCell<*mut ()>,
}

// SAFETY: R2, R5 – each cell has one accessor at a time, whose right is handed over by AcqRel RMWs;
// the rest is atomic.
unsafe impl Sync for Header {}

impl Header {
    const_fn! {
        pub(super) fn new(ready: usize) -> Self {
            const { assert!(align_of::<Header>() >= BITS) };
            Header {
                ready: AtomicUsize::new(ready),
                next: UnsafeCell::new(ptr::null_mut()),
                shared: UnsafeCell::new(ptr::null_mut()),
                chunk: UnsafeCell::new(ptr::null_mut()),
            }
        }
    }
}

// SAFETY: R1 – as for `Sync`; a header is used by stale wakers at any time, who only touch `ready`.
unsafe impl Block for Header {
    #[cfg(feature = "alloc")]
    fn fresh() -> Self {
        Header::new(ALL)
    }
}

/// What the wakers' side knows of a set.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
pub(crate) struct Shared {
    pub(super) head: AtomicPtr<Header>,
    pub(super) outstanding: AtomicUsize,
    pub(super) slots: [Slot; 2],
}

/// Place for an outer waker.
pub(super) struct Slot {
    pub(super) done: AtomicUsize,
    /// R4 says who.
    pub(super) waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: R4 – the slots' cells are written by one, while nobody reads; wakers are Send + Sync; the
// rest is atomic.
unsafe impl Sync for Shared {}

impl Slot {
    const_fn! {
        fn new() -> Self {
            Slot {
                done: AtomicUsize::new(EMPTY),
                waker: UnsafeCell::new(None),
            }
        }
    }
}

impl Shared {
    const_fn! {
        pub(super) fn new(mark: *mut Header) -> Self {
            Shared {
                head: AtomicPtr::new(mark),
                outstanding: AtomicUsize::new(0),
                slots: [Slot::new(), Slot::new()],
            }
        }
    }
}

// SAFETY: R3, R4 – who reaches a shared that is in the pool is at work on a slot that is left to him;
// otherwise as for `Sync`.
unsafe impl Block for Shared {
    #[cfg(feature = "alloc")]
    fn fresh() -> Self {
        Shared::new(CLOSED)
    }
}

#[cfg(feature = "alloc")]
global! {
    /// One header per chunk of children and one per nursery, at the peak; 64 bytes each (32 on
    /// 32-bit targets).
    static HEADERS: Pool<Header> = Pool::new();
}
#[cfg(feature = "alloc")]
global! {
    /// One per set that was ever polled or pushed to, at the peak; 64 bytes each (32 on 32-bit
    /// targets).
    static SHAREDS: Pool<Shared> = Pool::new();
}

/// What the pools hold that never go back to the allocator: see [`pool_stats`].
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Headers made: what the wakers of up to 64 children (32 on 32-bit targets) of a set point to.
    pub headers: usize,
    /// Of these, how many serve a set, or have a waker at work on their way back.
    pub headers_in_use: usize,
    /// Hubs made: what a set's headers share.
    pub hubs: usize,
    /// Of these, how many serve a set, or have a waker at work on their way back.
    pub hubs_in_use: usize,
}

/// Counts the blocks that the sets' wakers point to.
///
/// They live for ever, so that wakers need no reference count and waking never frees memory; they
/// are reused, so their number is that of the peak, rounded up to a slab of 15 (and up to a slab more for
/// each set that is being cleared or dropped while others are made, in its children's drops). A block has 64
/// bytes (32 on 32-bit targets). The numbers are exact while no set is made, grown, shrunk, dropped
/// or woken.
///
/// Lock-free, takes time proportional to the number of blocks.
///
/// ```
/// use umbel_core::{FutureSet, pool_stats};
///
/// let mut set = FutureSet::new();
/// set.push(async {});
/// let stats = pool_stats();
/// assert!(stats.headers_in_use >= 1 && stats.headers >= stats.headers_in_use);
/// ```
#[cfg(feature = "alloc")]
#[must_use]
pub fn pool_stats() -> PoolStats {
    let (headers, headers_in_use) = HEADERS.count();
    let (hubs, hubs_in_use) = SHAREDS.count();
    PoolStats {
        headers,
        headers_in_use,
        hubs,
        hubs_in_use,
    }
}

/// A header out of the pool: `ready` is ALL, and it is the caller's alone. May allocate.
#[cfg(feature = "alloc")]
pub(super) fn get_header() -> Immortal<Header> {
    HEADERS.get()
}

/// A shared out of the pool, the caller's alone. May allocate.
#[cfg(feature = "alloc")]
pub(super) fn get_shared() -> Immortal<Shared> {
    SHAREDS.get()
}

// ------------------------------------------------------------------ waking

static CHILD: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &CHILD),
    |data| {
        // SAFETY: the vtable is only paired with data made by `waker`.
        unsafe { wake(data) }
    },
    |data| {
        // SAFETY: as above.
        unsafe { wake(data) }
    },
    |_| {},
);

/// The waker of child `index`: cloning and dropping it is free, so it is lent without being
/// dropped.
#[inline(always)]
pub(crate) fn waker(header: Immortal<Header>, index: usize) -> ManuallyDrop<Waker> {
    debug_assert!(index < BITS);
    let data = header
        .as_ptr()
        .map_addr(|addr| addr | (index & INDEX))
        .cast_const()
        .cast::<()>();
    // SAFETY: R1 – `data` is a header and a number below BITS, as `wake` wants; the vtable's
    // functions are thread-safe, and its clone and drop have nothing to keep.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(data, &CHILD)) })
}

/// # Safety
/// `data` was made by [`waker`].
#[inline(always)]
unsafe fn wake(data: *const ()) {
    let header = data
        .cast_mut()
        .cast::<Header>()
        .map_addr(|addr| addr & !INDEX);
    // SAFETY: R1 – headers are aligned to more than INDEX, so the mask restores what `waker` was
    // given.
    ring(unsafe { Immortal::from_ptr(header) }, data.addr() & INDEX);
}

/// Sets a child's bit, and queues the header if that was the first. Lock-free; neither allocates
/// nor frees.
#[inline(always)]
pub(crate) fn ring(header: Immortal<Header>, index: usize) {
    if header
        .ready
        .fetch_or(1 << (index & INDEX), Ordering::AcqRel)
        == 0
    {
        // SAFETY: R2 – we changed `ready` from 0.
        unsafe { push(header) }
    }
}

/// Queues a header, and wakes the set's owner if the set was idle.
///
/// # Safety
/// The caller has the queue right of `header`, and gives it away here.
unsafe fn push(header: Immortal<Header>) {
    // SAFETY: R1, R2, R5 – we have the queue right; `shared` was written before `ready` became 0.
    let shared = header
        .shared
        .with(|shared| unsafe { Immortal::from_ptr(*shared) });
    let mut head = shared.head.load(Ordering::Acquire);
    loop {
        #[cfg(feature = "alloc")]
        if head == CLOSED {
            // SAFETY: R2 – the set is gone, which retired all its headers first, and we have the
            // queue right.
            return unsafe { give_back(header, shared) };
        }
        // SAFETY: R2 – we have the queue right.
        header.next.with_mut(|next| unsafe { *next = head });
        match shared.head.compare_exchange_weak(
            head,
            header.as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    // From here on the header may be anybody's. If we hold a token, the slot waits for it.
    if let Some(slot) = published(head) {
        // SAFETY: R4 – we replaced IDLE_slot.
        unsafe { notify(shared, slot) }
    }
}

/// Spends a token.
///
/// # Safety
/// The caller holds a token for `slot` of `shared`, and gives it away here.
unsafe fn notify(shared: Immortal<Shared>, slot: usize) {
    /// Spends the token also when the waker panics.
    struct Spend(Immortal<Shared>, usize);
    impl Drop for Spend {
        fn drop(&mut self) {
            let slot = &self.0.slots[self.1];
            if slot
                .done
                .fetch_add(TOKEN, Ordering::AcqRel)
                .wrapping_add(TOKEN)
                == LAST
            {
                // SAFETY: R4 – the set is gone and left the slot to its last notifier: us.
                let waker = slot.waker.with_mut(|waker| unsafe { (*waker).take() });
                slot.done.store(EMPTY, Ordering::Release);
                // Also if its wake is unwinding.
                drop_all(waker.into_iter());
            }
        }
    }
    let spend = Spend(shared, slot);
    shared.slots[slot].waker.with(|waker| {
        // SAFETY: R4 – we hold a token, so the slot is not written.
        if let Some(waker) = unsafe { &*waker } {
            waker.wake_by_ref();
        }
    });
    drop(spend);
}

/// Returns a header to the pool. Its `ready` is ALL and stays so: wakes are absorbed until it
/// serves again.
///
/// # Safety
/// `header` is retired, the caller has its queue right, and `shared` is its set's.
#[cfg(feature = "alloc")]
#[inline(never)]
pub(super) unsafe fn give_back(header: Immortal<Header>, shared: Immortal<Shared>) {
    // SAFETY: R2 – who has the queue right of a retired header returns it, and there is one such.
    unsafe { HEADERS.put(header) };
    // SAFETY: R3 – the header's unit.
    unsafe { release(shared, 1) };
}

/// Retired headers of one set that return to the pool together, those of one slab of it at a time; the
/// last ones when this is dropped.
#[cfg(feature = "alloc")]
pub(super) struct Returning {
    shared: Immortal<Shared>,
    batch: Batch<Header>,
}

#[cfg(feature = "alloc")]
impl Returning {
    #[inline]
    pub(super) fn new(shared: Immortal<Shared>) -> Self {
        Returning {
            shared,
            batch: Batch::new(),
        }
    }

    /// # Safety
    /// As for [`give_back`].
    #[inline]
    pub(super) unsafe fn give_back(&mut self, header: Immortal<Header>) {
        // SAFETY: R2 – as in `give_back`.
        let back = unsafe { HEADERS.put_later(&mut self.batch, header) };
        if back != 0 {
            // SAFETY: R3 – the headers' units.
            unsafe { release(self.shared, back) };
        }
    }
}

#[cfg(feature = "alloc")]
impl Drop for Returning {
    #[inline]
    fn drop(&mut self) {
        let back = HEADERS.flush(&mut self.batch);
        if back != 0 {
            // SAFETY: R3 – as above.
            unsafe { release(self.shared, back) };
        }
    }
}

/// # Safety
/// The caller gives up so many units of `outstanding`, at least one.
#[cfg(feature = "alloc")]
pub(super) unsafe fn release(shared: Immortal<Shared>, units: usize) {
    if shared.outstanding.fetch_sub(units, Ordering::AcqRel) == units {
        // SAFETY: R3 – no unit is left, so nobody is to push to this shared any more.
        unsafe { SHAREDS.put(shared) };
    }
}

/// Bits of the owner's own, for what is not a child: an inbox, a token, a timer.
///
/// A ring is a wake. Rings may be spurious (a stale waker of the header's earlier life), never
/// lost; after the set's end they are harmless. `Send + Sync`; all of it may be called in an
/// interrupt, as far as the outer waker may.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy)]
pub(crate) struct Desk(pub(super) Immortal<Header>);

#[cfg(feature = "alloc")]
impl Desk {
    /// Sets `bit`, which is below [`BITS`], and wakes the owner.
    #[inline]
    pub(crate) fn ring(self, bit: usize) {
        debug_assert!(bit < BITS);
        ring(self.0, bit);
    }

    /// A waker that rings `bit`. Cloning and dropping it is free.
    #[inline]
    pub(crate) fn waker(self, bit: usize) -> ManuallyDrop<Waker> {
        waker(self.0, bit)
    }
}
