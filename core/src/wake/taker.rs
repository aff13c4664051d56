//! What the owners of all sets do alike: register the outer waker, take what was woken, let go of
//! the wakers at the end.
//!
//! States, invariants R1..R7 and orderings are those of [`ready`](super::ready), which the
//! `SAFETY` comments here cite. Whose the headers are is the business of who calls this.

use super::batch::drop_all;
use super::immortal::Immortal;
use super::ready::{EMPTY, Header, IDLE, LAST, POLLING, Shared, TOKEN, is_mark, published};
use crate::sync::Ordering;
use core::task::{Context, Waker};

/// In `Taker::slot`: no waker has been registered in this life.
const NONE: usize = IDLE.len();

/// The owner's right to the head and the slots of a [`Shared`].
pub(super) struct Taker {
    pub(super) shared: Immortal<Shared>,
    /// The slot with the waker registered last.
    slot: usize,
    /// Tokens seen at the bottom of taken lists, as `Slot::done` counts; `EMPTY`: not yet used.
    issued: [usize; IDLE.len()],
}

impl Taker {
    /// # Safety
    /// The caller is the one owner of `shared`, until `close`; its head's mark is `POLLING`.
    pub(super) unsafe fn new(shared: Immortal<Shared>) -> Self {
        Taker {
            shared,
            slot: NONE,
            issued: [EMPTY; IDLE.len()],
        }
    }

    /// Nothing was woken since the last `begin`, and `waker` is the one registered.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub(super) fn is_idle(&self, waker: &Waker) -> bool {
        self.will_wake(waker) && self.shared.head.load(Ordering::Relaxed) == IDLE[self.slot]
    }

    #[inline(always)]
    pub(super) fn will_wake(&self, waker: &Waker) -> bool {
        let Some(slot) = self.shared.slots.get(self.slot) else {
            return false;
        };
        slot.waker.with(|slot| {
            // SAFETY: R4 – only the owner writes it, and this is the owner, who has written it:
            // reading beside notifiers is fine.
            unsafe { &*slot }
                .as_ref()
                .is_some_and(|slot| slot.will_wake(waker))
        })
    }

    /// Start of a poll: registers `cx`'s waker and takes the list of what was woken. `each` gets
    /// every header of it, with its queue right; it must not panic.
    ///
    /// From here on the first push wakes the outer waker, also if it comes from a child that is
    /// polled after this: so nothing is left to do at the end of a poll. False: the waker could not
    /// be registered, and the owner must wake it himself.
    #[inline(always)]
    pub(super) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        each: impl FnMut(Immortal<Header>),
    ) -> bool {
        if !self.will_wake(cx.waker()) {
            return self.begin_anew(cx, each);
        }
        self.begin_again(each);
        true
    }

    /// `begin` with the waker that is registered.
    #[inline(always)]
    pub(super) fn begin_again(&mut self, each: impl FnMut(Immortal<Header>)) {
        let idle = IDLE[self.slot];
        if self.shared.head.load(Ordering::Relaxed) != idle {
            self.take(idle, each);
        }
    }

    /// `begin` with a waker that is not the registered one.
    #[cold]
    pub(super) fn begin_anew(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(Immortal<Header>),
    ) -> bool {
        let old = self.slot;
        // Foreign code: before any change.
        let waker = cx.waker().clone();
        // The present slot may be published; another one never is, but it may still be in use.
        let mut unused = (0..IDLE.len()).find(|slot| *slot != old && self.is_unused(*slot));
        if unused.is_none() {
            // Withdrawn, the present one may serve again, unless it, too, has a notifier at work.
            self.take(POLLING, &mut each);
            unused = Some(old).filter(|slot| self.is_unused(*slot));
        }
        let Some(new) = unused else {
            return false;
        };
        let slot = &self.shared.slots[new];
        let stale = slot.waker.with_mut(|slot| {
            // SAFETY: R4 – not published and not in use.
            unsafe { (*slot).replace(waker) }
        });
        if self.issued[new] == EMPTY {
            slot.done.store(0, Ordering::Relaxed);
            self.issued[new] = 0;
        }
        self.slot = new;
        self.take(IDLE[new], each);
        let is_left = old != new && self.is_unused(old);
        let left = self.shared.slots.get(old).filter(|_| is_left);
        let last = left.and_then(|slot| {
            // SAFETY: R4 – no longer published since `take`, and not in use.
            slot.waker.with_mut(|slot| unsafe { (*slot).take() })
        });
        drop_all([stale, last].into_iter().flatten());
        true
    }

    /// All tokens issued for this slot are spent; in an earlier life's case, its waker is gone, too.
    fn is_unused(&self, slot: usize) -> bool {
        let slots = self.shared.slots.get(slot).zip(self.issued.get(slot));
        slots.is_some_and(|(slot, issued)| slot.done.load(Ordering::Acquire) == *issued)
    }

    /// Takes the list, leaving `mark` in its place.
    #[inline(always)]
    fn take(&mut self, mark: *mut Header, mut each: impl FnMut(Immortal<Header>)) {
        let first = self.shared.head.swap(mark, Ordering::AcqRel);
        let mut at = first;
        while !is_mark(at) {
            // SAFETY: R1 – what is not a mark is a header, pushed with its own pointer.
            let header = unsafe { Immortal::from_ptr(at) };
            // SAFETY: R2 – a taken header's queue right is ours, until `each` has it.
            at = header.next.with(|next| unsafe { *next });
            each(header);
        }
        // A list that stood on `IDLE_k` means that its first pusher got a token for slot `k`.
        if first != at {
            if let Some(slot) = published(at) {
                self.issued[slot] = self.issued[slot].wrapping_add(TOKEN);
            }
        }
    }

    /// The end of this life: takes the list, as `begin` does, leaving `mark` for good, and empties
    /// the slots. The wakers are the caller's to drop, as the last thing he does; a slot with a
    /// notifier at work is left to that one.
    pub(super) fn close(
        &mut self,
        mark: *mut Header,
        each: impl FnMut(Immortal<Header>),
    ) -> [Option<Waker>; IDLE.len()] {
        self.take(mark, each);
        core::array::from_fn(|k| {
            if self.issued[k] == EMPTY {
                return None;
            }
            let slot = &self.shared.slots[k];
            let close = LAST.wrapping_sub(self.issued[k]);
            let done = slot.done.fetch_add(close, Ordering::AcqRel);
            if done.wrapping_add(close) != LAST {
                return None;
            }
            // SAFETY: R4 – no longer published, and not in use.
            let waker = slot.waker.with_mut(|waker| unsafe { (*waker).take() });
            slot.done.store(EMPTY, Ordering::Release);
            waker
        })
    }
}
