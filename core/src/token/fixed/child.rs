//! The handle of a child of a static token; its waits are in `wait`, its methods in `fixed`.
//!
//! # Invariants
//!
//! - **C1** A `StaticChild` is the only one for its slot, which is not FREE as long as it exists.
//! - **C2** `waits` counts the waits that may have put a waker into the cell and have not left. It is
//!   raised before a wait's first waker is put and lowered after its leave has emptied the cell.
//! - **C3** A waker is dropped unwoken only by a wait that finds itself alone after it took that waker
//!   out. By C2 and the cell's order it then is the wait's own.
//!
//! A wait that is forgotten stays counted. That costs needless wakes, and no more: the drop of the
//! child empties the cell. Soundness does not rest on the count, so it may wrap: who forgets as many
//! waits of one child as there are addresses may miss the wake of another.

use crate::reason::{Compact, Reason};
use crate::sync::{AtomicUsize, Ordering};
use crate::time::Instant;
use crate::token::fixed::slot::Slot;
use crate::wake::batch::wake_all;
use crate::wake::cell::Replaced;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::task::Waker;

/// A child of a [`StaticToken`](crate::StaticToken), which it holds a slot of.
///
/// It is cancelled with the token, by [`cancel_children`](crate::StaticToken::cancel_children), when
/// its deadline is due and somebody looks, or by itself; waiting for that takes no memory and cannot
/// fail. Not `Clone`. `Send + Sync + 'static`. Everything about it is lock-free and none of it
/// allocates or frees, foreign wakers aside.
///
/// **In an interrupt:** everything but dropping it, and starting, polling and dropping waits, which
/// clone and drop wakers.
///
/// **One wait at a time.** Its slot holds one waker. A second wait, by another task, that is polled
/// while a first one waits takes its place and wakes the first one's task; that polls again and takes
/// the place back. So nobody waits for ever, but both tasks keep running: give each task its own
/// child. (Two that run at different interrupt priorities must not share one: while the lower one is
/// interrupted in the slot, the higher one tries again and again.) Waits of one task (one waker) do
/// not disturb each other.
///
/// Dropping it cancels nothing and gives the slot back; what its owner did before is visible to the
/// slot's next owner. A cancellation that was interrupted at the very moment when it took the waker
/// out of this slot (a few instructions) gives it back when it goes on.
///
/// ```
/// use umbel_core::{Reason, StaticToken};
///
/// static STOP: StaticToken<1> = StaticToken::new();
///
/// let child = STOP.child()?;
/// STOP.cancel_children(Reason::custom(1));
/// assert_eq!(child.reason(), Some(Reason::custom(1)));
/// drop(child);
/// assert!(!STOP.child()?.is_cancelled());
/// # Ok::<(), umbel_core::Full>(())
/// ```
#[must_use = "a child that is dropped is not told"]
pub struct StaticChild {
    pub(crate) slot: &'static Slot,
    pub(crate) deadline: Instant,
    /// C2.
    waits: AtomicUsize,
}

// Foreign code never runs while anything is half-made.
impl UnwindSafe for StaticChild {}
impl RefUnwindSafe for StaticChild {}

impl StaticChild {
    /// Takes over the claim on `slot`.
    #[inline]
    pub(crate) fn new(slot: &'static Slot, deadline: Instant) -> StaticChild {
        StaticChild {
            slot,
            deadline,
            waits: AtomicUsize::new(0),
        }
    }

    /// True: this was the first.
    pub(crate) fn cancel_now(&self, reason: &Reason) -> bool {
        let first = self.slot.word.cancel(Compact::new(reason)).is_ok();
        if first {
            // No `INSIDE`: the slot is not given back while the child is borrowed (C1).
            if let Some(waker) = self.slot.cell.take() {
                waker.wake();
            }
        }
        first
    }

    /// To be called once by each wait, before its first [`put_waker`](Self::put_waker).
    #[inline]
    pub(crate) fn begin_wait(&self) {
        // Relaxed: whoever takes the waker that is put next learns of it through the cell (C3).
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores the waker of a wait. The caller must look at the flag afterwards.
    #[inline]
    pub(crate) fn put_waker(&self, waker: &Waker) {
        let Replaced { old, missed } = self.slot.cell.replace(waker);
        let others = self.waits.load(Ordering::Relaxed) > 1;
        // C3: an old waker of this task's is as good as the new one.
        let old = old.filter(|old| others && !old.will_wake(waker));
        if old.is_some() || missed.is_some() {
            wake_all([old, missed].into_iter().flatten());
        }
    }

    /// The end of a wait that has begun.
    #[inline]
    pub(crate) fn end_wait(&self) {
        let waker = self.slot.cell.take();
        let others = self.waits.fetch_sub(1, Ordering::Relaxed) > 1;
        match waker {
            Some(waker) if others => waker.wake(),
            other => drop(other),
        }
    }
}

/// Gives the slot back.
impl Drop for StaticChild {
    #[inline]
    fn drop(&mut self) {
        /// Also if a forgotten waker panics when it is dropped.
        struct Vacate(&'static Slot);
        impl Drop for Vacate {
            #[inline]
            fn drop(&mut self) {
                self.0.vacate();
            }
        }
        let vacate = Vacate(self.slot);
        // Only of waits that were forgotten.
        if self.waits.load(Ordering::Relaxed) != 0 {
            drop(vacate.0.cell.take());
        }
    }
}
