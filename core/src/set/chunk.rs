//! Where a set keeps its children: chunks that never move, and the queue of those to be polled.
//!
//! A chunk is one allocation: a head with bitmaps and links, then up to [`BITS`] slots for futures.
//! A future is written into a slot, polled there, dropped there. All of this is the owner's alone;
//! what wakers touch is the chunk's header in [`ready`], which outlives it.
//!
//! # State
//!
//! | word | meaning |
//! |---|---|
//! | `Chunk::full` | slots that exist |
//! | `Chunk::live` | slots that hold a future |
//! | `Chunk::pend` | slots to be polled, when the chunk's turn comes |
//! | `Chunks::now`, `bits` | the chunk whose turn it is, and its slots still to be polled in this turn |
//!
//! Three lists run through the chunks: all of them, newest first; those with a free slot; and the
//! queue, first in first out, of those with something pending. A turn is a snapshot of `pend`: what
//! is woken or pushed during a turn comes after every chunk queued before it, so a child that is
//! replaced as soon as it finishes starves nobody. A chunk that is woken while the queue is empty is not
//! queued: its turn begins. (Who is pushed then is queued all the same: without, a set whose children are
//! replaced one by one was seen to be slower.)
//!
//! # Invariants
//!
//! - **C1** A chunk in the list `all` is allocated with `layout(full.count_ones())`, and its head
//!   is valid. A chunk is freed only by `free`, which takes it off every list first.
//! - **C2** `live` bit set: the slot holds a future, which stays there until it is dropped there.
//!   Not set: it holds nothing.
//! - **C3** `live ⊆ full`. `pend ⊆ live` and `bits ⊆ now.live`: who drops a future clears all
//!   three. In a child that `next` has just given, only `live` is set.
//! - **C4** `pend ≠ 0` only in a queued chunk. A queued chunk is never freed before it leaves the
//!   queue.
//! - **C5** A chunk is in `room` exactly if `live ≠ full`.
//! - **C6** `pend` and `bits` of one chunk have no slot in common: a slot that is pushed was free (C3),
//!   `woken` masks those of `bits`, and `bits` is filled only with all of `pend` or when that is empty (C4).
//! - **C7** At most one chunk is empty, apart from those still queued or cleared away by the step
//!   at hand.
//!
//! # Foreign code
//!
//! Futures are polled and dropped here, and may panic. Before either, the slot is off the queue;
//! after it (by a guard), the slot is free. A child has no way to the set that polls it, which is
//! borrowed mutably; it may wake what it likes.

use crate::sync::{alloc, dealloc, take_one};
use crate::wake::batch::steps;
use crate::wake::immortal::Immortal;
use crate::wake::owner::{Owner, Retiring};
use crate::wake::ready::{self, BITS, Header};
use ::alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr;
use core::task::Waker;

/// Chunks above this size are not made, unless a single future is larger: fresh pages cost more
/// than chunks.
const MOST_BYTES: usize = 32 * 1024;
/// The size that the first chunk of a set aims at.
const FIRST_BYTES: usize = 1024;

/// The head of a chunk; its slots follow.
struct Chunk {
    header: Immortal<Header>,
    live: usize,
    full: usize,
    pend: usize,
    queued: bool,
    /// The next in the queue.
    behind: *mut Chunk,
    /// Before and after, in the list of all and in that of those with room.
    all: [*mut Chunk; 2],
    room: [*mut Chunk; 2],
}

/// Where a child lives.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    chunk: *mut Chunk,
    index: usize,
}

/// The children of a set.
///
/// It has no `Drop`: who drops it calls [`clear`](Self::clear) first.
pub(crate) struct Chunks<F> {
    len: usize,
    now: *mut Chunk,
    bits: usize,
    first: *mut Chunk,
    last: *mut Chunk,
    all: *mut Chunk,
    room: *mut Chunk,
    /// Chunks without a live child.
    empty: usize,
    /// A first chunk has been made.
    grown: bool,
    own: PhantomData<F>,
}

// SAFETY: C2 – the chunks are owned like a `Vec<F>` owns its buffer; headers are Send.
unsafe impl<F: Send> Send for Chunks<F> {}
// SAFETY: C2 – `&Chunks` gives out numbers only; with `F: Sync` it might give `&F`.
unsafe impl<F: Sync> Sync for Chunks<F> {}
/// A future is pinned by its chunk, not by the set's own place.
impl<F> Unpin for Chunks<F> {}

macro_rules! list {
    ($add:ident, $del:ident, $list:ident) => {
        /// # Safety
        /// `chunk` is valid (C1) and not in this list.
        unsafe fn $add(&mut self, chunk: *mut Chunk) {
            // SAFETY: C1 – everything on a list is valid, and so is `chunk`.
            unsafe {
                (*chunk).$list = [ptr::null_mut(), self.$list];
                if !self.$list.is_null() {
                    (*self.$list).$list[0] = chunk;
                }
            }
            self.$list = chunk;
        }

        /// # Safety
        /// `chunk` is in this list.
        unsafe fn $del(&mut self, chunk: *mut Chunk) {
            // SAFETY: C1 – everything on a list is valid.
            unsafe {
                let [before, after] = (*chunk).$list;
                if before.is_null() {
                    self.$list = after;
                } else {
                    (*before).$list[1] = after;
                }
                if !after.is_null() {
                    (*after).$list[0] = before;
                }
            }
        }
    };
}

impl<F> Chunks<F> {
    pub(crate) const fn new() -> Self {
        Chunks {
            len: 0,
            now: ptr::null_mut(),
            bits: 0,
            first: ptr::null_mut(),
            last: ptr::null_mut(),
            all: ptr::null_mut(),
            room: ptr::null_mut(),
            empty: 0,
            grown: false,
            own: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// No child waits for its poll.
    #[inline(always)]
    pub(crate) fn is_queue_empty(&self) -> bool {
        self.bits == 0 && self.first.is_null()
    }

    // -------------------------------------------------------------- memory

    list!(add_all, del_all, all);
    list!(add_room, del_room, room);

    /// From a chunk's start to its first slot.
    const SLOTS: usize = size_of::<Chunk>().next_multiple_of(align_of::<F>());

    fn layout(slots: usize) -> Layout {
        let align = if align_of::<F>() > align_of::<Chunk>() {
            align_of::<F>()
        } else {
            align_of::<Chunk>()
        };
        match Layout::from_size_align(Self::SLOTS + slots * size_of::<F>(), align) {
            Ok(layout) => layout,
            Err(_) => panic!("a future larger than the address space"),
        }
    }

    /// Slots for the next chunk: about 1 KiB at first, then as many as bits and 32 KiB allow.
    fn slots(&self) -> usize {
        if cfg!(umbel_loom) {
            return 2;
        }
        let size = size_of::<F>().max(1);
        let most = (MOST_BYTES / size).clamp(1, BITS);
        if self.grown {
            most
        } else {
            (FIRST_BYTES / size).clamp(4, 16).min(most)
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, owner: &mut Option<Owner>) {
        let slots = self.slots();
        let layout = Self::layout(slots);
        // SAFETY: the layout has at least the size of a `Chunk`.
        let chunk = unsafe { alloc(layout) }.cast::<Chunk>();
        if chunk.is_null() {
            handle_alloc_error(layout);
        }
        let header = owner.get_or_insert_with(Owner::new).header(chunk.cast());
        // SAFETY: C1 – room and alignment for the head, by the layout; it is on no list yet.
        unsafe {
            chunk.write(Chunk {
                header,
                live: 0,
                full: usize::MAX >> (BITS - slots),
                pend: 0,
                queued: false,
                behind: ptr::null_mut(),
                all: [ptr::null_mut(); 2],
                room: [ptr::null_mut(); 2],
            });
            self.add_all(chunk);
            self.add_room(chunk);
        }
        self.empty += 1;
        self.grown = true;
    }

    /// # Safety
    /// `chunk` is one of ours, empty, not queued; `owner` is the one that made its header.
    #[cold]
    unsafe fn free(&mut self, owner: &mut Option<Owner>, chunk: *mut Chunk) {
        self.empty -= 1;
        if self.now == chunk {
            self.now = ptr::null_mut();
            self.bits = 0;
        }
        // SAFETY: C1, C5 – it is on both lists, being empty.
        unsafe {
            self.del_all(chunk);
            self.del_room(chunk);
        }
        let mut retiring = owner.as_mut().map(Owner::retiring);
        // SAFETY: C1, C4 – nothing leads to the chunk any more.
        unsafe { Self::release(&mut retiring, chunk) };
    }

    /// # Safety
    /// `chunk` is empty and nothing of ours leads to it; `retiring` is of the owner that made its header.
    unsafe fn release(retiring: &mut Option<Retiring<'_>>, chunk: *mut Chunk) {
        // SAFETY: C1 – it is still allocated, with this layout.
        let (header, layout) = unsafe {
            (
                (*chunk).header,
                Self::layout((*chunk).full.count_ones() as usize),
            )
        };
        if let Some(retiring) = retiring {
            // SAFETY: `grow` got the header from this owner; it goes with the chunk.
            unsafe { retiring.retire(header) };
        }
        // SAFETY: C1 – as above.
        unsafe { dealloc(chunk.cast(), layout) };
    }

    // -------------------------------------------------------------- children

    /// # Safety
    /// `place.chunk` is valid.
    #[inline(always)]
    unsafe fn slot(place: Place) -> *mut F {
        // SAFETY: C1 – the layout has `full` slots there, and `index` is one of them.
        unsafe {
            place
                .chunk
                .cast::<u8>()
                .add(Self::SLOTS)
                .cast::<F>()
                .add(place.index)
        }
    }

    /// Adds a child, to be polled. May allocate.
    #[inline]
    pub(crate) fn push(&mut self, owner: &mut Option<Owner>, future: F) {
        if self.room.is_null() {
            self.grow(owner);
        }
        let chunk = self.room;
        // SAFETY: C1, C2, C5 – a chunk with room has a slot that holds nothing.
        unsafe {
            let index = (!(*chunk).live & (*chunk).full).trailing_zeros() as usize;
            Self::slot(Place { chunk, index }).write(future);
            if (*chunk).live == 0 {
                self.empty -= 1;
            }
            (*chunk).live |= 1 << index;
            if (*chunk).live == (*chunk).full {
                self.del_room(chunk);
            }
            self.enqueue(chunk, 1 << index);
        }
        self.len += 1;
    }

    /// # Safety
    /// `chunk` is one of ours, and `bits` are of live children.
    #[inline(always)]
    unsafe fn enqueue(&mut self, chunk: *mut Chunk, bits: usize) {
        // SAFETY: C1 – as for all on the queue.
        unsafe {
            (*chunk).pend |= bits;
            if !(*chunk).queued {
                (*chunk).queued = true;
                (*chunk).behind = ptr::null_mut();
                if self.first.is_null() {
                    self.first = chunk;
                } else {
                    (*self.last).behind = chunk;
                }
                self.last = chunk;
            }
        }
    }

    /// Queues what wakers have marked.
    ///
    /// # Safety
    /// `chunk` is what `grow` gave to the owner for a header that is still in service.
    #[inline(always)]
    pub(crate) unsafe fn woken(&mut self, chunk: *mut (), bits: usize) {
        let chunk = chunk.cast::<Chunk>();
        // SAFETY: C1 – a chunk lives as long as its header serves.
        unsafe {
            let mut bits = bits & (*chunk).live; // stale wakers set any bit
            if self.is_queue_empty() {
                // A lone wake-up needs no queue: it is this chunk's turn. (C4: nothing of it is
                // pending.)
                self.now = chunk;
                self.bits = bits;
                return;
            }
            if chunk == self.now {
                bits &= !self.bits; // C6: it is polled in this turn anyway
            }
            if bits != 0 {
                self.enqueue(chunk, bits);
            }
        }
    }

    /// The next child to be polled, taken off the queue.
    #[inline(always)]
    pub(crate) fn next(&mut self, owner: &mut Option<Owner>) -> Option<Place> {
        while self.bits == 0 {
            let chunk = self.first;
            if chunk.is_null() {
                return None;
            }
            // SAFETY: C1, C4 – what is queued is valid; after this it is not queued.
            unsafe {
                self.first = (*chunk).behind;
                (*chunk).queued = false;
                self.now = chunk;
                self.bits = core::mem::take(&mut (*chunk).pend);
                if (*chunk).live == 0 && self.empty > 1 {
                    self.free(owner, chunk); // its children were removed while it waited
                }
            }
        }
        let index = take_one(&mut self.bits);
        Some(Place {
            chunk: self.now,
            index,
        })
    }

    /// # Safety
    /// `place` came from [`next`](Self::next) or a walk, and has not been removed.
    #[inline(always)]
    pub(crate) unsafe fn child(&mut self, place: Place) -> Pin<&mut F> {
        // SAFETY: C2 – the slot holds a future, which stays there until it is dropped there.
        unsafe { Pin::new_unchecked(&mut *Self::slot(place)) }
    }

    /// The waker to poll a child with.
    ///
    /// # Safety
    /// As for [`child`](Self::child).
    #[inline(always)]
    pub(crate) unsafe fn waker(&self, place: Place) -> ManuallyDrop<Waker> {
        // SAFETY: C1 – the place's chunk is valid.
        ready::waker(unsafe { (*place.chunk).header }, place.index)
    }

    /// Drops a child; its slot is free afterwards, also if its Drop panics.
    ///
    /// # Safety
    /// As for [`child`](Self::child); after this, `place` is no more.
    pub(crate) unsafe fn remove(&mut self, owner: &mut Option<Owner>, place: Place) {
        let Place { chunk, index } = place;
        if chunk == self.now {
            self.bits &= !(1 << index);
        }
        // SAFETY: C1 – the place's chunk is valid; (caller) as for `remove_polled`, off the queue.
        unsafe {
            (*chunk).pend &= !(1 << index);
            self.remove_polled(owner, place);
        }
    }

    /// As [`remove`](Self::remove), for a child that is not to be polled (C3): `next` has just given it.
    ///
    /// # Safety
    /// As for [`child`](Self::child), and it is in neither `pend` nor `bits`; after this, `place` is no
    /// more.
    #[inline(always)]
    pub(crate) unsafe fn remove_polled(&mut self, owner: &mut Option<Owner>, place: Place) {
        struct Vacate<'a, F>(&'a mut Chunks<F>, &'a mut Option<Owner>, Place);
        impl<F> Drop for Vacate<'_, F> {
            // Inlined, so that the guard is nowhere in memory while all goes well.
            #[inline(always)]
            fn drop(&mut self) {
                // SAFETY: C2 – the future is dropped, or as much of it as can be.
                unsafe { self.0.vacate_panicked(self.1, self.2) };
            }
        }
        // SAFETY: C2 – by contract the slot holds a future; nobody sees it again: `vacate` clears its
        // bit.
        unsafe {
            let future = Self::slot(place);
            let vacate = Vacate(self, owner, place);
            future.drop_in_place();
            // No panic: the rest is done here, where it is fast.
            core::mem::forget(vacate);
            self.vacate(owner, place);
        }
    }

    /// # Safety
    /// `place` is a live child's, whose future has been dropped, and which is not to be polled.
    #[inline(always)]
    unsafe fn vacate(&mut self, owner: &mut Option<Owner>, place: Place) {
        let Place { chunk, index } = place;
        self.len -= 1;
        // SAFETY: C1, C5 – the place's chunk is valid, and has room exactly if it is not full.
        unsafe {
            if (*chunk).live == (*chunk).full {
                self.add_room(chunk);
            }
            (*chunk).live &= !(1 << index);
            if (*chunk).live == 0 {
                self.empty += 1;
                if self.empty > 1 && !(*chunk).queued {
                    self.free(owner, chunk);
                }
            }
        }
    }

    /// [`vacate`](Self::vacate) on the way out of a panic.
    ///
    /// # Safety
    /// As there.
    #[cold]
    #[inline(never)]
    unsafe fn vacate_panicked(&mut self, owner: &mut Option<Owner>, place: Place) {
        // SAFETY: (caller) as here.
        unsafe { self.vacate(owner, place) };
    }

    /// # Safety
    /// `chunk` is valid or null.
    unsafe fn live(chunk: *mut Chunk) -> usize {
        if chunk.is_null() {
            return 0;
        }
        // SAFETY: C1 – by contract.
        unsafe { (*chunk).live }
    }

    /// Drops the children for which `keep` says false, youngest chunk first. Past a panic (of a
    /// Drop, or of `keep`, whose child then stays) the walk goes on.
    pub(crate) fn retain(
        &mut self,
        owner: &mut Option<Owner>,
        mut keep: impl FnMut(Pin<&mut F>) -> bool,
    ) {
        let mut chunk = self.all;
        // SAFETY: C1 – on the list, or null.
        let mut left = unsafe { Self::live(chunk) };
        steps(|| {
            while left == 0 {
                if chunk.is_null() {
                    return false;
                }
                // SAFETY: C1 – on the list: the walk leaves a chunk before it can be freed (below).
                unsafe {
                    chunk = (*chunk).all[1];
                    left = Self::live(chunk);
                }
            }
            let place = Place {
                chunk,
                index: left.ilog2() as usize,
            };
            left &= !(1 << place.index);
            if left == 0 {
                // SAFETY: C1 – on the list. The chunk may be freed with this child: leave it now.
                unsafe {
                    chunk = (*chunk).all[1];
                    left = Self::live(chunk);
                }
            }
            // SAFETY: C2 – live when the walk came to its chunk, and since then only earlier ones
            // were removed.
            unsafe {
                if !keep(self.child(place)) {
                    self.remove(owner, place);
                }
            }
            true
        });
    }

    /// Drops all children and frees all chunks, past any panic.
    pub(crate) fn clear(&mut self, owner: &mut Option<Owner>) {
        /// Writes down who is left, should there be a panic.
        struct Left(*mut Chunk, usize);
        impl Drop for Left {
            fn drop(&mut self) {
                // SAFETY: C1 – `clear` has not released it yet.
                unsafe { (*self.0).live = self.1 };
            }
        }
        let mut chunk = self.all;
        *self = Self::new();
        let mut retiring = owner.as_mut().map(Owner::retiring);
        steps(|| {
            if chunk.is_null() {
                return false;
            }
            // SAFETY: C1, C2 – the chunks are ours alone since `self` forgot them. A bit is cleared
            // before its future is dropped.
            unsafe {
                if core::mem::needs_drop::<F>() {
                    let mut left = Left(chunk, (*chunk).live);
                    // Where there is no gap, the bits need not be looked for one by one.
                    if left.1 & left.1.wrapping_add(1) == 0 {
                        let index = left.1.count_ones() as usize;
                        let mut slot = Self::slot(Place { chunk, index });
                        while left.1 != 0 {
                            left.1 >>= 1;
                            slot = slot.sub(1);
                            slot.drop_in_place();
                        }
                    }
                    while left.1 != 0 {
                        let index = left.1.ilog2() as usize;
                        left.1 &= !(1 << index);
                        Self::slot(Place { chunk, index }).drop_in_place();
                    }
                }
                let empty = chunk;
                chunk = (*chunk).all[1];
                Self::release(&mut retiring, empty);
            }
            true
        });
    }
}
