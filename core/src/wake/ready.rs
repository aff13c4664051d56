//! Which children of a set were woken, and who is to be told: the engine under the future set.
//!
//! Wakers set a bit; the first bit of an idle set wakes the set's own ("outer") waker; the owner of
//! the set takes all that was woken with one swap. A child's waker is the address of its header
//! plus the number of its bit, and nothing is counted: headers are [immortal](super::pool), so
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
//! | `POLLING` | no waker is registered: before the first poll, or the owner will wake himself |
//! | `CLOSED` | the set is gone; stays for the rest of this life |
//!
//! `Slot::done` counts tokens spent on that slot, in steps of 2; the owner counts tokens issued. Bit 0
//! is set by a set that ends while tokens are out: then `done` is made so that it reaches 1 with the
//! last of them.
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
//! A `Shared` returns to its pool when `outstanding` falls to 0: 1 for the owner, 1 for each header not
//! yet returned, 1 for each slot whose waker was left to its last notifier.
//!
//! # Invariants
//!
//! - **R1** Headers and shareds are blocks of a [`Pool`]: valid for ever, so following a pointer to one is
//!   always sound. What may be done to a block is what the rest of this list says.
//! - **R2** *Queue right*: who changes `ready` from 0, or puts 0 back in (the owner, for that instant), has it.
//!   Who has it alone touches `next`, reads `shared`, pushes the header, and returns it to the pool if it is retired. It
//!   passes to the owner with the push, and is given up by `ready.swap(0)`.
//! - **R3** A header in service, or retired but not returned, is counted in `outstanding` of its `shared`; so
//!   who has the queue right may use that `Shared`.
//! - **R4** A token is counted as issued when the list that was pushed on `IDLE_k` is taken, and that
//!   list cannot vanish untaken. A slot is written only by the owner, while it is not published (no `IDLE_k` in
//!   `head`) and `done == issued`; or by the last notifier of a set that is gone. So whoever holds a token, and the owner, may read it.
//! - **R5** `chunk` is touched only by the owner while the header is his (between `get` and return), `shared`
//!   is written only by the owner while `ready == ALL` and the header is not queued.
//! - **R6** Every change of `ready` is a read-modify-write: stale wakers may be at it at any time.
//! - **R7** A wake never skips its RMW because the bit seems to be set: the poll must see what was written before it.
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
//! | retire; put in service | `ready.swap` | AcqRel | wake | Release: `shared`, to the next who gets the queue right |
//! | token spent; slot closed | `done.fetch_add` | AcqRel | `done.load` | the notifier's last read of the slot |
//! | may the slot be written? | `done.load` | Acquire | token spent | the same |
//! | `outstanding` down | `fetch_sub` | AcqRel | itself | all that was done with the `Shared` |
//! | `outstanding` up | `fetch_add` | Relaxed | – | the owner's own unit keeps it above 0 |
//!
//! `next` is a plain cell and not an atomic, so that loom sees the handing over of R2 as what it is: with
//! any of its four edges weakened, the model `two_wakers_against_polls` reports a data race.
//!
//! # Foreign code
//!
//! The outer waker is woken by reference, by the holder of a token, holding nothing: it may poll the set inline,
//! drop it, wake children, or panic (the token is then spent on the way out). It is cloned before and
//! dropped after any change of the owner's state. One foreign *drop* may happen in a wake: if the set
//! ends during an outer wake, its notifier drops the outer waker.
//!
//! # Limits
//!
//! - A stale waker of a header's earlier life sets a bit in the present one: one spurious poll, perhaps of a
//!   child of another set.
//! - If the outer waker changes while both slots have notifiers at work, the poll is not registered: the owner wakes
//!   his task himself. Nobody waits; but two notifiers suspended for ever (strict priorities) would keep that task busy.

use super::pool::{Block, Immortal, Pool};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, UnsafeCell, global};
use core::mem::ManuallyDrop;
use core::ptr;
use core::task::{Context, RawWaker, RawWakerVTable, Waker};

/// Children per header.
pub(crate) const BITS: usize = usize::BITS as usize;
/// The part of a waker's data that is the child's number; the rest is the header's address.
const INDEX: usize = BITS - 1;

/// All bits of `ready`: every child woken, or the header is out of service (see the head's table).
const ALL: usize = usize::MAX;

/// Marks at the end of `Shared::head`. Slot `k` is published by mark `k + 1`; 0 is no mark.
const IDLE: [*mut Header; 2] = [
    ptr::without_provenance_mut(1),
    ptr::without_provenance_mut(2),
];
const POLLING: *mut Header = ptr::without_provenance_mut(3);
const CLOSED: *mut Header = ptr::without_provenance_mut(4);

/// In `Header::chunk`: this header is the desk.
const DESK: *mut () = ptr::without_provenance_mut(1);

/// One token, as `done` and `issued` count.
const TOKEN: usize = 2;
/// Bit 0 of `done`: the set is gone, and all tokens are spent. Never while the owner lives.
const LAST: usize = 1;

#[inline(always)]
fn is_mark(head: *mut Header) -> bool {
    head.addr() <= CLOSED.addr()
}

/// The outer slot that a mark publishes.
#[inline(always)]
fn published(mark: *mut Header) -> Option<usize> {
    IDLE.iter().position(|idle| *idle == mark)
}

/// What the wakers of up to [`BITS`] children point to.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
pub(crate) struct Header {
    /// Anybody, by RMW (R6).
    ready: AtomicUsize,
    /// The header below in `Shared::head`, or the mark. Who has the queue right (R2).
    next: UnsafeCell<*mut Header>,
    /// The set in whose service it is. Read under the queue right, written by the owner (R5).
    shared: UnsafeCell<*mut Shared>,
    /// The owner's; null: retired (R5).
    chunk: UnsafeCell<*mut ()>,
}

// SAFETY: R2, R5 – each cell has one accessor at a time, whose right is handed over by AcqRel RMWs; the rest is atomic.
unsafe impl Sync for Header {}

// SAFETY: R1 – as for `Sync`; a header is used by stale wakers at any time, who only touch `ready`.
unsafe impl Block for Header {
    fn fresh() -> Self {
        const { assert!(align_of::<Header>() >= BITS) };
        Header {
            ready: AtomicUsize::new(ALL),
            next: UnsafeCell::new(ptr::null_mut()),
            shared: UnsafeCell::new(ptr::null_mut()),
            chunk: UnsafeCell::new(ptr::null_mut()),
        }
    }
}

/// What the wakers' side knows of a set.
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
pub(crate) struct Shared {
    head: AtomicPtr<Header>,
    outstanding: AtomicUsize,
    slots: [Slot; 2],
}

/// Place for an outer waker.
struct Slot {
    done: AtomicUsize,
    /// R4 says who.
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: R4 – the slots' cells are written by one, while nobody reads; wakers are Send + Sync; the rest is atomic.
unsafe impl Sync for Shared {}

// SAFETY: R3, R4 – nobody reaches a shared that is in the pool; otherwise as for `Sync`.
unsafe impl Block for Shared {
    fn fresh() -> Self {
        let slot = || Slot {
            done: AtomicUsize::new(0),
            waker: UnsafeCell::new(None),
        };
        Shared {
            head: AtomicPtr::new(CLOSED),
            outstanding: AtomicUsize::new(0),
            slots: [slot(), slot()],
        }
    }
}

global! {
    /// One header per chunk of children and one per nursery, at the peak; 64 bytes each (32 on 32-bit targets).
    static HEADERS: Pool<Header> = Pool::new();
}
global! {
    /// One per set that was ever polled or pushed to, at the peak; 64 bytes each (32 on 32-bit targets).
    static SHAREDS: Pool<Shared> = Pool::new();
}

/// What the pools hold that never go back to the allocator: see [`pool_stats`].
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
/// They live for ever, so that wakers need no reference count and waking never frees memory; they are
/// reused, so their number is that of the peak, rounded up to a slab of 15. A block has 64 bytes (32 on 32-bit
/// targets). The numbers are exact while no set is made, grown, shrunk, dropped or woken.
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

/// The waker of child `index`: cloning and dropping it is free, so it is lent without being dropped.
#[inline(always)]
pub(crate) fn waker(header: Immortal<Header>, index: usize) -> ManuallyDrop<Waker> {
    debug_assert!(index < BITS);
    let data = header
        .as_ptr()
        .map_addr(|addr| addr | (index & INDEX))
        .cast_const()
        .cast::<()>();
    // SAFETY: R1 – `data` is a header and a number below BITS, as `wake` wants; the vtable's functions are
    // thread-safe, and its clone and drop have nothing to keep.
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
    // SAFETY: R1 – headers are aligned to more than INDEX, so the mask restores what `waker` was given.
    ring(unsafe { Immortal::from_ptr(header) }, data.addr() & INDEX);
}

/// Sets a child's bit, and queues the header if that was the first. Lock-free; neither allocates nor frees.
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
        if head == CLOSED {
            // SAFETY: R2 – the set is gone, which retired all its headers first, and we have the queue right.
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
    // From here on the header may be anybody's. If we hold a token, the shared waits for it.
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
                // SAFETY: R3 – the unit that the owner put there for this slot.
                unsafe { release(self.0) };
                drop(waker);
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

/// Returns a header to the pool. Its `ready` is ALL and stays so: wakes are absorbed until it serves again.
///
/// # Safety
/// `header` is retired, the caller has its queue right, and `shared` is its set's.
unsafe fn give_back(header: Immortal<Header>, shared: Immortal<Shared>) {
    // SAFETY: R2 – who has the queue right of a retired header returns it, and there is one such.
    unsafe { HEADERS.put(header) };
    // SAFETY: R3 – the header's unit.
    unsafe { release(shared) };
}

/// # Safety
/// The caller gives up one unit of `outstanding`.
unsafe fn release(shared: Immortal<Shared>) {
    if shared.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: R3, R4 – no unit is left: nobody else knows this shared, and both slots are empty.
        unsafe { SHAREDS.put(shared) };
    }
}

/// Bits of the owner's own, for what is not a child: an inbox, a token, a timer.
///
/// A ring is a wake. Rings may be spurious (a stale waker of the header's earlier life), never lost; after
/// the set's end they are harmless. `Send + Sync`; all of it may be called in an interrupt, as far as the outer waker may.
#[derive(Clone, Copy)]
pub(crate) struct Desk(Immortal<Header>);

#[allow(dead_code, reason = "for the nursery")]
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

// ------------------------------------------------------------------ the owner's side

/// The one who polls: has the children, registers the outer waker, takes what was woken.
pub(crate) struct Owner {
    shared: Immortal<Shared>,
    /// The slot with the waker registered last.
    slot: usize,
    /// Tokens seen at the bottom of taken lists, as `Slot::done` counts.
    issued: [usize; 2],
    desk: Option<Immortal<Header>>,
    /// Bits of the desk that were taken and not yet told.
    rung: usize,
}

impl Owner {
    /// May allocate.
    pub(crate) fn new() -> Self {
        let shared = SHAREDS.get();
        // Nobody else knows the block yet (R3); `header` publishes this with the first header.
        shared.outstanding.store(1, Ordering::Relaxed);
        for slot in &shared.slots {
            slot.done.store(0, Ordering::Relaxed);
        }
        shared.head.store(POLLING, Ordering::Relaxed);
        Owner {
            shared,
            slot: 0,
            issued: [0; 2],
            desk: None,
            rung: 0,
        }
    }

    /// Puts a header into service: `chunk` is what `begin` will name it by; not null, not 1. May allocate.
    pub(crate) fn header(&mut self, chunk: *mut ()) -> Immortal<Header> {
        debug_assert!(!chunk.is_null());
        let header = HEADERS.get();
        self.shared.outstanding.fetch_add(1, Ordering::Relaxed);
        // SAFETY: R5 – it came from the pool: `ready` is ALL, it is not queued, it is ours.
        header
            .shared
            .with_mut(|shared| unsafe { *shared = self.shared.as_ptr() });
        // SAFETY: R5 – as above.
        header.chunk.with_mut(|at| unsafe { *at = chunk });
        header.ready.swap(0, Ordering::AcqRel);
        header
    }

    /// Takes a header out of service; it goes back to the pool as soon as no waker is at work on it.
    ///
    /// # Safety
    /// `header` came from `header` of this owner, has not been retired, and is not used by the caller any more.
    pub(crate) unsafe fn retire(&mut self, header: Immortal<Header>) {
        // SAFETY: R5 – the header is ours.
        header
            .chunk
            .with_mut(|chunk| unsafe { *chunk = ptr::null_mut() });
        if header.ready.swap(ALL, Ordering::AcqRel) == 0 {
            // SAFETY: R2 – we changed `ready` from 0, and just retired it.
            unsafe { give_back(header, self.shared) }
        }
        // Otherwise somebody has the queue right: `take` finds the header dead, or a pusher finds CLOSED.
    }

    /// The header of the owner's own bits. Made on first call; retired with the owner. May allocate.
    #[allow(dead_code, reason = "for the nursery")]
    pub(crate) fn desk(&mut self) -> Desk {
        if let Some(desk) = self.desk {
            return Desk(desk);
        }
        let desk = self.header(DESK);
        self.desk = Some(desk);
        Desk(desk)
    }

    /// The desk's bits that rang and were not told before.
    #[inline(always)]
    pub(crate) fn take_rung(&mut self) -> usize {
        core::mem::take(&mut self.rung)
    }

    /// Nothing was woken since the last `begin`, and `waker` is the one registered.
    #[inline(always)]
    pub(crate) fn is_idle(&self, waker: &Waker) -> bool {
        self.rung == 0
            && self.shared.head.load(Ordering::Relaxed) == IDLE[self.slot]
            && self.will_wake(waker)
    }

    #[inline(always)]
    fn will_wake(&self, waker: &Waker) -> bool {
        self.shared.slots[self.slot].waker.with(|slot| {
            // SAFETY: R4 – only the owner writes it, and this is the owner: reading beside notifiers is fine.
            unsafe { &*slot }
                .as_ref()
                .is_some_and(|slot| slot.will_wake(waker))
        })
    }

    /// Start of a poll: registers `cx`'s waker and takes all that was woken; `woken(chunk, bits)` must not panic.
    ///
    /// From here on the first push wakes the outer waker, also if it comes from a child that is polled
    /// after this: so nothing is left to do at the end of a poll. False: the waker could not be registered, and the
    /// owner must wake it himself.
    #[inline(always)]
    pub(crate) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        woken: impl FnMut(*mut (), usize),
    ) -> bool {
        if !self.will_wake(cx.waker()) {
            return self.begin_anew(cx, woken);
        }
        let idle = IDLE[self.slot];
        if self.shared.head.load(Ordering::Relaxed) != idle {
            self.take(idle, woken);
        }
        true
    }

    /// `begin` with a waker that is not the registered one.
    #[cold]
    fn begin_anew(&mut self, cx: &mut Context<'_>, woken: impl FnMut(*mut (), usize)) -> bool {
        let (old, new) = (self.slot, 1 - self.slot);
        // The present slot may be published; the other one never is, but it may still be in use.
        if !self.is_unused(new) {
            self.take(POLLING, woken);
            return false;
        }
        let waker = cx.waker().clone();
        let stale = self.shared.slots[new].waker.with_mut(|slot| {
            // SAFETY: R4 – not published and not in use.
            unsafe { (*slot).replace(waker) }
        });
        self.slot = new;
        self.take(IDLE[new], woken);
        let mut last = None;
        if self.is_unused(old) {
            // SAFETY: R4 – no longer published since `take`, and not in use.
            last = self.shared.slots[old]
                .waker
                .with_mut(|slot| unsafe { (*slot).take() });
        }
        drop((stale, last));
        true
    }

    /// All tokens issued for this slot are spent.
    fn is_unused(&self, slot: usize) -> bool {
        self.shared.slots[slot].done.load(Ordering::Acquire) == self.issued[slot]
    }

    /// Takes the list, leaving `mark` in its place.
    #[inline(always)]
    fn take(&mut self, mark: *mut Header, mut woken: impl FnMut(*mut (), usize)) {
        let first = self.shared.head.swap(mark, Ordering::AcqRel);
        let mut at = first;
        while !is_mark(at) {
            // SAFETY: R1 – what is not a mark is a header, pushed with the pool's pointer.
            let header = unsafe { Immortal::from_ptr(at) };
            // SAFETY: R2 – a taken header's queue right is ours, until the swap below.
            at = header.next.with(|next| unsafe { *next });
            // SAFETY: R5 – the headers queued here are this owner's.
            let chunk = header.chunk.with(|chunk| unsafe { *chunk });
            if chunk.is_null() {
                // SAFETY: R2 – retired, and the queue right is ours.
                unsafe { give_back(header, self.shared) };
                continue;
            }
            // Release as well as Acquire: it hands `next`, which we have read, to the next pusher.
            let bits = header.ready.swap(0, Ordering::AcqRel);
            if chunk == DESK {
                self.rung |= bits;
            } else {
                woken(chunk, bits);
            }
        }
        self.count_token(first, at);
    }

    /// A list that stood on `IDLE_k` means that its first pusher got a token for slot `k`.
    #[inline(always)]
    fn count_token(&mut self, first: *mut Header, mark: *mut Header) {
        if first != mark {
            if let Some(slot) = published(mark) {
                self.issued[slot] = self.issued[slot].wrapping_add(TOKEN);
            }
        }
    }
}

// An owner is pointers to blocks and numbers; its rights (R2, R4, R5) are tied to it, not to a thread.
const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<Owner>();
    send_sync::<Desk>();
};

impl Drop for Owner {
    /// All headers but the desk have been retired.
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            // SAFETY: it is ours, and `Desk`s only ring it, which is sound for ever (R1).
            unsafe { self.retire(desk) };
        }
        let first = self.shared.head.swap(CLOSED, Ordering::AcqRel);
        let mut at = first;
        while !is_mark(at) {
            // SAFETY: R1 – as in `take`.
            let header = unsafe { Immortal::from_ptr(at) };
            // SAFETY: R2 – as in `take`.
            at = header.next.with(|next| unsafe { *next });
            // SAFETY: R2 – all are retired, and the queue right is ours.
            unsafe { give_back(header, self.shared) };
        }
        self.count_token(first, at);
        let shared = self.shared;
        let wakers = [0, 1].map(|k| {
            let slot = &shared.slots[k];
            if !self.is_unused(k) {
                // The last notifier at work takes the waker, unless all end before this is said.
                shared.outstanding.fetch_add(1, Ordering::Relaxed);
                let close = LAST.wrapping_sub(self.issued[k]);
                if slot
                    .done
                    .fetch_add(close, Ordering::AcqRel)
                    .wrapping_add(close)
                    != LAST
                {
                    return None;
                }
                // SAFETY: R3 – the unit added above; the owner's own is still there.
                unsafe { release(shared) };
            }
            // SAFETY: R4 – closed, so not published, and not in use.
            slot.waker.with_mut(|waker| unsafe { (*waker).take() })
        });
        // SAFETY: R3 – the owner's unit.
        unsafe { release(shared) };
        drop(wakers);
    }
}
