//! The owner of a set that grows: puts headers of the process's pools into service and out of it.
//!
//! States, invariants R1..R7 and orderings are those of [`ready`](super::ready), which the
//! `SAFETY` comments here cite.

use super::batch::drop_all;
use super::immortal::Immortal;
use super::ready::{
    ALL, CLOSED, DESK, Desk, Header, POLLING, Returning, Shared, get_header, get_shared, give_back,
    release,
};
use super::taker::Taker;
use crate::sync::Ordering;
use core::marker::PhantomData;
use core::ptr;
use core::task::{Context, Waker};

/// The one who polls: has the children, registers the outer waker, takes what was woken.
pub(crate) struct Owner {
    taker: Taker,
    desk: Option<Immortal<Header>>,
    /// Bits of the desk that were taken and not yet told.
    rung: usize,
}

impl Owner {
    /// May allocate.
    pub(crate) fn new() -> Self {
        let shared = get_shared();
        // Nobody else pushes to the block yet (R3); `header` publishes this with the first header.
        shared.outstanding.store(1, Ordering::Relaxed);
        shared.head.store(POLLING, Ordering::Relaxed);
        Owner {
            // SAFETY: R3 – it came from the pool, and its head was made ready above.
            taker: unsafe { Taker::new(shared) },
            desk: None,
            rung: 0,
        }
    }

    /// Puts a header into service: `chunk` is what `begin` will name it by; not null, not 1. May
    /// allocate.
    pub(crate) fn header(&mut self, chunk: *mut ()) -> Immortal<Header> {
        debug_assert!(!chunk.is_null());
        let header = get_header();
        let home = self.taker.shared;
        home.outstanding.fetch_add(1, Ordering::Relaxed);
        // SAFETY: R5 – it came from the pool: `ready` is ALL, it is not queued, it is ours.
        header
            .shared
            .with_mut(|shared| unsafe { *shared = home.as_ptr() });
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
        // SAFETY: (caller) as here.
        unsafe { self.retiring().retire(header) };
    }

    /// For many headers at once.
    #[inline]
    pub(crate) fn retiring(&mut self) -> Retiring<'_> {
        Retiring {
            back: Returning::new(self.taker.shared),
            _owner: PhantomData,
        }
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
        self.rung == 0 && self.taker.is_idle(waker)
    }

    /// Start of a poll: registers `cx`'s waker and takes all that was woken; `woken(chunk, bits)`
    /// must not panic. False: the owner must wake his task himself. See [`Taker::begin`].
    #[inline(always)]
    pub(crate) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        mut woken: impl FnMut(*mut (), usize),
    ) -> bool {
        let Owner { taker, rung, .. } = self;
        // Not by `Taker::begin`: what `each` captures need lie in memory only for the rare one of the two.
        if !taker.will_wake(cx.waker()) {
            return self.begin_anew(cx, woken);
        }
        let shared = taker.shared;
        // SAFETY: what `begin_again` gives is queued here, and its queue right is ours.
        taker.begin_again(|header| unsafe { take(header, shared, rung, &mut woken) });
        true
    }

    #[cold]
    fn begin_anew(&mut self, cx: &mut Context<'_>, mut woken: impl FnMut(*mut (), usize)) -> bool {
        let Owner { taker, rung, .. } = self;
        let shared = taker.shared;
        // SAFETY: as in `begin`.
        taker.begin_anew(cx, |header| unsafe {
            take(header, shared, rung, &mut woken);
        })
    }
}

/// What a header of an owner says was woken.
///
/// # Safety
/// R2, R5: it was queued with `shared`, which is the owner's, and its queue right is the caller's.
#[inline(always)]
unsafe fn take(
    header: Immortal<Header>,
    shared: Immortal<Shared>,
    rung: &mut usize,
    woken: &mut impl FnMut(*mut (), usize),
) {
    // SAFETY: R5 – (caller) it is the owner's.
    let chunk = header.chunk.with(|chunk| unsafe { *chunk });
    if chunk.is_null() {
        // SAFETY: R2 – retired, and the queue right is ours.
        return unsafe { give_back(header, shared) };
    }
    // Release as well as Acquire: it hands `next`, which has been read, to the next pusher.
    let bits = header.ready.swap(0, Ordering::AcqRel);
    if chunk == DESK {
        *rung |= bits;
    } else {
        woken(chunk, bits);
    }
}

/// Takes headers out of service; the last of them are back in the pool when this is dropped.
pub(crate) struct Retiring<'a> {
    back: Returning,
    _owner: PhantomData<&'a mut Owner>,
}

impl Retiring<'_> {
    /// # Safety
    /// As for [`Owner::retire`].
    #[inline]
    pub(crate) unsafe fn retire(&mut self, header: Immortal<Header>) {
        // SAFETY: R5 – (caller) the header is the owner's.
        header
            .chunk
            .with_mut(|chunk| unsafe { *chunk = ptr::null_mut() });
        if header.ready.swap(ALL, Ordering::AcqRel) == 0 {
            // SAFETY: R2 – we changed `ready` from 0, and just retired it.
            unsafe { self.back.give_back(header) }
        }
        // Otherwise somebody has the queue right: `begin` finds the header dead, or a pusher finds
        // CLOSED.
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
        let shared = self.taker.shared;
        let wakers = self.taker.close(CLOSED, |header| {
            // SAFETY: R2 – all are retired, and the queue right is ours.
            unsafe { give_back(header, shared) }
        });
        // SAFETY: R3 – the owner's unit.
        unsafe { release(shared, 1) };
        // Also if a child's drop is unwinding.
        drop_all(wakers.into_iter().flatten());
    }
}
