//! Where a fixed set keeps its children: `N` slots in its own memory, and the queue of those to be
//! polled.
//!
//! A future is written into a slot, polled there, dropped there; who has the slots is pinned. Children
//! may be added from within the poll or the drop of another one. No word here is shared between
//! threads.
//!
//! # State
//!
//! A slot's link says what it is:
//!
//! | link | slot holds | on list |
//! |---|---|---|
//! | a number, or `END` | nothing | free |
//! | a number, or `END` | a future to be polled | queue, first in first out |
//! | `PARKED` | a future that waits to be woken | none |
//! | `HELD` | a future that is being polled or dropped | none |
//!
//! # Invariants
//!
//! - **L1** A slot is in exactly one row of the table. The two lists are told apart by what the slot
//!   holds.
//! - **L2** The content of a slot that is not `HELD` is touched only for the time of one statement in
//!   which no foreign code runs; that of a `HELD` one, only by who set that link.
//! - **L3** A future stays in its slot until it is dropped there; the slots do not move meanwhile,
//!   being pinned.
//!
//! # Foreign code
//!
//! Futures are polled and dropped while their slot is `HELD`, and may add children, and panic: a guard
//! frees the slot.

use crate::sync::{UnsafeCell, const_fn};
use crate::wake::batch::{each, steps};
use core::cell::Cell;
use core::iter::once;
use core::pin::Pin;
use core::task::Poll;

type Link = u16;

/// Ends a list.
const END: Link = Link::MAX;
const PARKED: Link = Link::MAX - 1;
const HELD: Link = Link::MAX - 2;

/// See the module's head.
pub(crate) struct Slots<F, const N: usize> {
    futures: [UnsafeCell<Option<F>>; N],
    links: [Cell<Link>; N],
    free: Cell<Link>,
    /// Of the queue; `last` means something if `first` is not `END`.
    first: Cell<Link>,
    last: Cell<Link>,
    /// Slots not free.
    len: Cell<Link>,
}

impl<F, const N: usize> Slots<F, N> {
    const_fn! {
        pub(crate) fn new() -> Self {
            const { assert!(N <= HELD as usize, "a fixed set has at most 65533 children") };
            // Slot `i` leads to `i + 1`, the last one to the end.
            let mut links = [const { Cell::new(END) }; N];
            let mut i = 1;
            while i < N {
                links[i - 1] = Cell::new(i as Link);
                i += 1;
            }
            Slots {
                #[cfg(not(umbel_loom))]
                futures: [const { UnsafeCell::new(None) }; N],
                #[cfg(umbel_loom)]
                futures: core::array::from_fn(|_| UnsafeCell::new(None)),
                links,
                free: Cell::new(if N == 0 { END } else { 0 }),
                first: Cell::new(END),
                last: Cell::new(END),
                len: Cell::new(0),
            }
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len.get())
    }

    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.free.get() == END
    }

    /// No child waits for its poll.
    #[inline(always)]
    pub(crate) fn is_queue_empty(&self) -> bool {
        self.first.get() == END
    }

    /// The child that is polled next.
    pub(crate) fn first_queued(&self) -> Option<usize> {
        (!self.is_queue_empty()).then(|| usize::from(self.first.get()))
    }

    // -------------------------------------------------------------- lists

    /// Takes the first slot off a list.
    #[inline(always)]
    fn pop(&self, list: &Cell<Link>) -> Option<usize> {
        // Also when it is `END`, there is no such slot.
        let slot = usize::from(list.get());
        list.set(self.links.get(slot)?.replace(HELD));
        Some(slot)
    }

    #[inline(always)]
    fn enqueue(&self, slot: usize) {
        self.links[slot].set(END);
        if self.first.get() == END {
            self.first.set(slot as Link);
        } else if let Some(last) = self.links.get(usize::from(self.last.get())) {
            last.set(slot as Link);
        }
        self.last.set(slot as Link);
    }

    /// Queues a parked child. Any number may be given.
    #[inline(always)]
    pub(crate) fn wake(&self, slot: usize) {
        // Wakers out of date name free slots, and the queued are queued.
        if self
            .links
            .get(slot)
            .is_some_and(|link| link.get() == PARKED)
        {
            self.enqueue(slot);
        }
    }

    /// Queues all parked children.
    pub(crate) fn wake_all(&self) {
        (0..N).for_each(|slot| self.wake(slot));
    }

    // -------------------------------------------------------------- children

    /// Adds a child, to be polled. Gives it back if no slot is free.
    #[inline]
    pub(crate) fn push(self: Pin<&Self>, future: F) -> Result<(), F> {
        let Some(slot) = self.pop(&self.free) else {
            return Err(future);
        };
        // SAFETY: L1, L2 – it was free, so there is nothing in it to be dropped, and we hold it.
        self.futures[slot].with_mut(|at| unsafe { at.write(Some(future)) });
        self.len.set(self.len.get() + 1);
        self.enqueue(slot);
        Ok(())
    }

    /// Polls the first child in the queue with `poll`: what that said. `None`: the queue is empty. Only
    /// [`wake`](Self::wake) and [`push`](Self::push) queue children.
    ///
    /// A panic of `poll` comes out of here, after the child has been dropped; the queue keeps the
    /// rest.
    #[inline(always)]
    pub(crate) fn poll_one<T>(
        self: Pin<&Self>,
        poll: impl FnOnce(usize, Pin<&mut F>) -> Poll<T>,
    ) -> Option<Poll<T>> {
        let slot = self.pop(&self.first)?;
        /// Drops a child that panicked. With `std` it may panic in that, too: the first panic unwinds on.
        struct Panicked<'a, F, const N: usize>(&'a Slots<F, N>, usize);
        impl<F, const N: usize> Drop for Panicked<'_, F, N> {
            #[cold]
            fn drop(&mut self) {
                each(once(Held(self.0, self.1)), drop);
            }
        }
        let panicked = Panicked(&self, slot);
        let polled = self.futures[slot].with_mut(|future| {
            // SAFETY: L2 – we hold the slot.
            let future = unsafe { &mut *future };
            // SAFETY: L3 – it is dropped in its place.
            let future = unsafe { Pin::new_unchecked(future) };
            future.as_pin_mut().map(|future| poll(slot, future))
        });
        core::mem::forget(panicked);
        match polled {
            Some(Poll::Pending) => self.links[slot].set(PARKED),
            // Not left to the end of the scope: the compiler leaks a result if a local panics when it is
            // dropped after that was made (rust-lang/rust#47949).
            _ => drop(Held(&self, slot)),
        }
        polled
    }

    /// Drops all children, the one in the highest slot first, past any panic. Not those that are just
    /// being polled.
    pub(crate) fn clear(&self) {
        if self.len() == 0 {
            return;
        }
        self.first.set(END);
        let mut slots = (0..N).rev();
        steps(|| {
            let Some(slot) = slots.next() else {
                return false;
            };
            if self.look(slot, |_| ()).is_some() {
                self.evict(slot);
            }
            true
        });
    }

    /// Drops all children, the one with the greatest key first, past any panic. Not those that are
    /// just being polled. Takes `N * N` steps.
    pub(crate) fn clear_by(&self, key: impl Fn(Pin<&mut F>) -> usize) {
        self.first.set(END);
        steps(|| {
            let keys = (0..N).filter_map(|slot| Some((self.look(slot, &key)?, slot)));
            let Some((_, slot)) = keys.max() else {
                return false;
            };
            self.evict(slot);
            true
        });
    }

    /// Looks at a child, if there is one there that is not held. (Not by a shared reference, which would
    /// cover all of it: a future that borrows from itself forbids that.)
    #[inline(always)]
    fn look<T>(&self, slot: usize, look: impl FnOnce(Pin<&mut F>) -> T) -> Option<T> {
        if self.links[slot].get() == HELD {
            return None;
        }
        self.futures[slot].with_mut(|future| {
            // SAFETY: L2 – nobody holds the slot, and `look` is a matter of numbers.
            let future = unsafe { &mut *future };
            // SAFETY: L3 – it is dropped in its place.
            let future = unsafe { Pin::new_unchecked(future) };
            future.as_pin_mut().map(look)
        })
    }

    /// Drops a child that is not held.
    fn evict(&self, slot: usize) {
        self.links[slot].set(HELD);
        drop(Held(self, slot));
    }
}

/// A held slot. Its drop drops the future in it, and frees it, also if that panics.
struct Held<'a, F, const N: usize>(&'a Slots<F, N>, usize);

impl<F, const N: usize> Drop for Held<'_, F, N> {
    #[inline(always)]
    fn drop(&mut self) {
        struct Free<'a, F, const N: usize>(&'a Slots<F, N>, usize);
        impl<F, const N: usize> Drop for Free<'_, F, N> {
            #[inline(always)]
            fn drop(&mut self) {
                let Free(slots, slot) = *self;
                slots.links[slot].set(slots.free.replace(slot as Link));
                slots.len.set(slots.len.get() - 1);
            }
        }
        let Held(slots, slot) = *self;
        let _free = Free(slots, slot);
        // SAFETY: L2 – we hold the slot. An assignment leaves the new value behind if the drop of the
        // old one panics.
        slots.futures[slot].with_mut(|future| unsafe { *future = None });
    }
}
