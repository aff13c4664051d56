//! The owner's side of the wake engine: registers the outer waker, takes what was woken, puts
//! headers into service and out of it.
//!
//! States, invariants R1..R7 and orderings are those of [`ready`](super::ready), which the
//! `SAFETY` comments here cite.

use super::pool::Immortal;
use super::ready::{
    ALL, CLOSED, DESK, Desk, Header, IDLE, LAST, POLLING, Shared, TOKEN, get_header, get_shared,
    give_back, is_mark, published, release,
};
use crate::sync::Ordering;
use core::ptr;
use core::task::{Context, Waker};

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
        let shared = get_shared();
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

    /// Puts a header into service: `chunk` is what `begin` will name it by; not null, not 1. May
    /// allocate.
    pub(crate) fn header(&mut self, chunk: *mut ()) -> Immortal<Header> {
        debug_assert!(!chunk.is_null());
        let header = get_header();
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

    /// Takes a header out of service; it goes back to the pool as soon as no waker is at work on
    /// it.
    ///
    /// # Safety
    /// `header` came from `header` of this owner, has not been retired, and is not used by the
    /// caller any more.
    pub(crate) unsafe fn retire(&mut self, header: Immortal<Header>) {
        // SAFETY: R5 – the header is ours.
        header
            .chunk
            .with_mut(|chunk| unsafe { *chunk = ptr::null_mut() });
        if header.ready.swap(ALL, Ordering::AcqRel) == 0 {
            // SAFETY: R2 – we changed `ready` from 0, and just retired it.
            unsafe { give_back(header, self.shared) }
        }
        // Otherwise somebody has the queue right: `take` finds the header dead, or a pusher finds
        // CLOSED.
    }

    /// The header of the owner's own bits. Made on first call; retired with the owner. May
    /// allocate.
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
            // SAFETY: R4 – only the owner writes it, and this is the owner: reading beside
            // notifiers is fine.
            unsafe { &*slot }
                .as_ref()
                .is_some_and(|slot| slot.will_wake(waker))
        })
    }

    /// Start of a poll: registers `cx`'s waker and takes all that was woken; `woken(chunk, bits)`
    /// must not panic.
    ///
    /// From here on the first push wakes the outer waker, also if it comes from a child that is
    /// polled after this: so nothing is left to do at the end of a poll. False: the waker could not
    /// be registered, and the owner must wake it himself.
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

// An owner is pointers to blocks and numbers; its rights (R2, R4, R5) are tied to it, not to a
// thread.
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
