//! A pool of [immortal](super::immortal) blocks: it hands them out, takes them back, and never frees
//! one.
//!
//! # State
//!
//! Blocks are cut from *slabs*; a slab is a line of bookkeeping and [`PER_SLAB`] blocks, aligned to
//! its size, so that masking a block's address gives its slab. Slabs form a list that only grows.
//!
//! | word | meaning | changed by |
//! |---|---|---|
//! | `Slab::free` | a set bit: this block is free | `get` clears it, `put` and `flush` set it |
//! | `Pool::permits` | free blocks that nobody has a claim to yet | `get` takes one *before* it looks for a bit, `put` and `flush` give one *after* they have set a bit |
//! | `Pool::hint` | the slab to look into first | anybody; only a hint |
//!
//! | transition | who, and how | model |
//! |---|---|---|
//! | `permits` − 1, then a bit of `free` → 0 | `get`; CAS, CAS | `who_has_a_permit_finds_a_block` |
//! | a bit of `free` → 1, then `permits` + 1 | `put`; `fetch_or`, `fetch_add` | `a_block_goes_from_thread_to_thread` |
//! | bits of one slab → 1, then `permits` + as many | `flush`, of a [`Batch`]; as above | as above |
//! | `slabs`: a slab more | `get` without a permit; CAS | `two_takers_of_an_empty_pool` |
//! | none: there is a permit | `get` | `takers_collide_and_the_pool_stays_small` |
//!
//! # Invariants
//!
//! - **P1** A slab is never freed, moved or unlinked. Only its atomics and its blocks' own cells
//!   change after it is published.
//! - **P2** Set bits ≥ permits + permits taken whose bit is not yet cleared. So who has a permit
//!   finds a bit, unless others make progress; nobody waits for anybody.
//! - **P3** A slab is made only if there is no permit: the pool never holds more blocks than were
//!   in use at one time (or on their way out, or in: at most a slab's for each batch), rounded up to a
//!   slab. A pool that is emptied by one taker while he keeps a single block (the usual cure for ABA)
//!   has no such bound.
//! - **P4** A bit is changed by who has the block (`flush`) or by who wins the CAS (`get`): bitmaps
//!   know no ABA.
//!
//! # Orderings
//!
//! | site | op | order | pairs with | publishes |
//! |---|---|---|---|---|
//! | take a permit | CAS `permits` | AcqRel | every earlier give (a chain of RMWs) | the bits set before |
//! | give a permit | `fetch_add` | AcqRel | take | the bit set before it |
//! | take a block | CAS `free` | Acquire | the flush with that block | what its last owner did to it |
//! | flush | `fetch_or` | Release | take | the same |
//! | link a slab | CAS `slabs` | Release | loads of `slabs`, Acquire | the slab |
//! | hint | store / load | Release / Acquire | each other | the slab |
//!
//! The order on `permits` is what lets `claim` see the bit at once. With Relaxed it would look again
//! until it does, which no model tells apart.
//!
//! `get` may allocate; `put` and `flush` are wait-free, never allocate, and may run in an interrupt. No
//! foreign code runs here.

#[cfg(all(test, not(umbel_loom)))]
mod tests;

use super::immortal::{Block, Immortal};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, const_fn};
use alloc::boxed::Box;
use core::ptr;

/// Blocks in a slab. Small under loom, so that slabs are linked.
pub(crate) const PER_SLAB: usize = if cfg!(umbel_loom) { 2 } else { 15 };

#[repr(C)]
#[cfg_attr(umbel_loom, repr(align(1024)))]
#[cfg_attr(all(not(umbel_loom), target_pointer_width = "64"), repr(align(1024)))]
#[cfg_attr(
    all(not(umbel_loom), not(target_pointer_width = "64")),
    repr(align(512))
)]
struct Slab<T> {
    free: AtomicUsize,
    /// Written before the slab is published, never after.
    next: *mut Slab<T>,
    blocks: [T; PER_SLAB],
}

/// Blocks of one slab that go back together. They are lost unless it is flushed.
pub(crate) struct Batch<T> {
    slab: *mut Slab<T>,
    bits: usize,
    count: usize,
}

impl<T> Batch<T> {
    pub(crate) const fn new() -> Self {
        Batch {
            slab: ptr::null_mut(),
            bits: 0,
            count: 0,
        }
    }
}

pub(crate) struct Pool<T> {
    slabs: AtomicPtr<Slab<T>>,
    permits: AtomicUsize,
    hint: AtomicPtr<Slab<T>>,
}

impl<T: Block> Pool<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Pool {
                slabs: AtomicPtr::new(ptr::null_mut()),
                permits: AtomicUsize::new(0),
                hint: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// A block that nobody else has. Allocates if none is free.
    pub(crate) fn get(&self) -> Immortal<T> {
        let mut permits = self.permits.load(Ordering::Relaxed);
        while permits != 0 {
            match self.permits.compare_exchange_weak(
                permits,
                permits - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return self.claim(),
                Err(now) => permits = now,
            }
        }
        self.grow()
    }

    /// Finds the block that a permit stands for.
    fn claim(&self) -> Immortal<T> {
        let first = self.hint.load(Ordering::Acquire);
        let mut slab = first;
        loop {
            // P2: whenever the list is through, start over; the bit is somewhere.
            while !slab.is_null() {
                // SAFETY: P1 – published slabs are there for ever; fields are atomic or constant.
                let (free, next) = unsafe { (&(*slab).free, (*slab).next) };
                let mut bits = free.load(Ordering::Relaxed);
                while bits != 0 {
                    match free.compare_exchange_weak(
                        bits,
                        bits & (bits - 1),
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => {
                            if slab != first {
                                self.hint.store(slab, Ordering::Release);
                            }
                            let index = bits.trailing_zeros() as usize;
                            // SAFETY: P1 – a bit of `free` is the index of a block of this slab.
                            return unsafe { Self::block(slab, index) };
                        }
                        Err(now) => bits = now,
                    }
                }
                slab = next;
            }
            slab = self.slabs.load(Ordering::Acquire);
        }
    }

    /// # Safety
    /// `slab` is a slab of ours and `index < PER_SLAB`.
    unsafe fn block(slab: *mut Slab<T>, index: usize) -> Immortal<T> {
        // SAFETY: P1 – in bounds by contract. The pointer keeps the provenance of the whole slab,
        // so that `put` may go back from it.
        unsafe { Immortal::from_ptr((&raw mut (*slab).blocks).cast::<T>().add(index)) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) -> Immortal<T> {
        const { assert!(size_of::<Slab<T>>() <= align_of::<Slab<T>>()) };
        const { assert!(PER_SLAB < usize::BITS as usize) };
        let slab = Box::into_raw(Box::new(Slab {
            // All but the first, which is the caller's.
            free: AtomicUsize::new((1 << PER_SLAB) - 2),
            next: ptr::null_mut(),
            blocks: core::array::from_fn(|_| T::fresh()),
        }));
        let mut head = self.slabs.load(Ordering::Relaxed);
        loop {
            // SAFETY: P1 – not yet published: ours alone.
            unsafe { (*slab).next = head };
            match self
                .slabs
                .compare_exchange_weak(head, slab, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.hint.store(slab, Ordering::Release);
        self.permits.fetch_add(PER_SLAB - 1, Ordering::AcqRel);
        // SAFETY: P1 – the first block; its bit was never set.
        unsafe { Self::block(slab, 0) }
    }

    /// Takes a block back. Wait-free, never allocates or frees.
    ///
    /// # Safety
    /// `block` came from `get` of this pool, and the caller alone may return it, once.
    pub(crate) unsafe fn put(&self, block: Immortal<T>) {
        let mut batch = Batch::new();
        // SAFETY: (caller) as here.
        unsafe { self.put_later(&mut batch, block) };
        self.flush(&mut batch);
    }

    /// Takes a block back with the next ones of the same slab, at the latest in [`flush`](Self::flush).
    /// How many were taken back now.
    ///
    /// # Safety
    /// As for [`put`](Self::put); all of a batch come from this pool.
    #[inline]
    pub(crate) unsafe fn put_later(&self, batch: &mut Batch<T>, block: Immortal<T>) -> usize {
        let slab = block
            .as_ptr()
            .map_addr(|addr| addr & !(align_of::<Slab<T>>() - 1))
            .cast::<Slab<T>>();
        let blocks = slab.addr() + core::mem::offset_of!(Slab<T>, blocks);
        let index = (block.as_ptr().addr() - blocks) / size_of::<T>();
        let mut back = 0;
        if slab != batch.slab {
            back = self.flush(batch);
            batch.slab = slab;
        }
        batch.bits |= 1 << index;
        batch.count += 1;
        back
    }

    /// Takes back what is in a batch; how many they were.
    #[inline]
    pub(crate) fn flush(&self, batch: &mut Batch<T>) -> usize {
        let Batch { slab, bits, count } = core::mem::replace(batch, Batch::new());
        if count != 0 {
            self.hint.store(slab, Ordering::Release);
            // SAFETY: P1 – a slab is aligned to at least its size, so the mask led to the blocks' own.
            unsafe { &(*slab).free }.fetch_or(bits, Ordering::Release);
            self.permits.fetch_add(count, Ordering::AcqRel);
        }
        count
    }

    /// Blocks made, and how many of them are in use. Exact while nobody gets or puts.
    pub(crate) fn count(&self) -> (usize, usize) {
        let free = self.permits.load(Ordering::Acquire);
        let mut made = 0;
        let mut slab = self.slabs.load(Ordering::Acquire);
        while !slab.is_null() {
            made += PER_SLAB;
            // SAFETY: P1 – as in `claim`.
            slab = unsafe { (*slab).next };
        }
        (made, made - free)
    }
}
