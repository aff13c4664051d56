//! A cell for one waker: one side registers, any side wakes.
//!
//! The algorithm is that of the `atomic-waker` crate (and of futures' `AtomicWaker`), arranged so
//! that foreign code – clone, wake and drop of a waker – never runs while the cell is claimed.
//!
//! # State
//!
//! | value | meaning | who may touch the slot | model of the way in and out |
//! |---|---|---|---|
//! | `IDLE` | nobody is inside | nobody | `a_start_beside_a_registration_leaves_the_cell_idle` |
//! | `REGISTERING` | the registrant is storing a waker | the registrant | `move_against_first_poll` |
//! | `WAKING` | somebody is taking the waker out | who set the bit from `IDLE` | `move_against_another_tasks_poll` |
//! | both | somebody came to wake during a registration | the registrant, who then wakes in his place | `start_against_waiting_for_room` |
//!
//! # Invariants
//!
//! - **W1** Only who moved the state away from `IDLE` touches the slot, until he moves it back.
//! - **W2** There is one registrant at a time (callers hold `&mut` of the waiting future, or the like).
//!   Where there may be two (a static child's waits), the cell stays sound (W1), and a registrant
//!   that meets another is handed its own waker, to try again.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | claim by the registrant | CAS `IDLE → REGISTERING` | Acquire | the last leave: the slot's content |
//! | leave | CAS `REGISTERING → IDLE` | AcqRel | the next claim; on failure sees what the wake published |
//! | leave after a wake came | swap `IDLE` | AcqRel | the next claim |
//! | wake | `fetch_or(WAKING)` | AcqRel | the registrant's leave: publishes the event, sees the slot |
//! | wake done | `fetch_and(!WAKING)` | Release | the next claim |
//!
//! Register, then look at the event again: an event published before `take` is either seen by that
//! look or finds the waker. Both sides are read-modify-writes of one word, so no fence is needed.
//! Models: `a_start_beside_a_registration_leaves_the_cell_idle`, `start_against_waiting_for_room` for
//! the orderings and both ways to leave; `move_against_another_tasks_poll` for a wake that comes
//! during a registration.
//!
//! Three orders no model can fail on. A registration that finds somebody inside need not acquire: it
//! wakes its own task, which looks again. The leave's success reads what this side wrote. And after
//! a wake came, the failed leave and the swap both acquire it: one would do.

use crate::sync::{AtomicUsize, Ordering, UnsafeCell, const_fn};
use core::task::Waker;

const IDLE: usize = 0;
const REGISTERING: usize = 1;
const WAKING: usize = 2;

#[derive(Debug)]
pub(crate) struct WakeCell {
    state: AtomicUsize,
    slot: UnsafeCell<Option<Waker>>,
}

/// What [`WakeCell::replace`] hands out.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// What was there before.
    pub(crate) old: Option<Waker>,
    /// The waker that was to be stored: somebody came for it meanwhile, so the caller is to wake it.
    pub(crate) missed: Option<Waker>,
}

// SAFETY: W1 – the slot is only touched under the claim that `state` hands out; `Waker: Send + Sync`.
unsafe impl Send for WakeCell {}
// SAFETY: W1 – as above.
unsafe impl Sync for WakeCell {}

/// Loom sees no plain drop: it is told that who drops the cell has it to himself.
#[cfg(umbel_loom)]
impl Drop for WakeCell {
    fn drop(&mut self) {
        self.slot.with_mut(|_| ());
    }
}

impl WakeCell {
    const_fn! {
        pub(crate) fn new() -> Self {
            WakeCell {
                state: AtomicUsize::new(IDLE),
                slot: UnsafeCell::new(None),
            }
        }
    }

    /// Stores a clone of `waker` in place of what was there. Afterwards the caller must look at the
    /// awaited event once more. If a wake comes meanwhile, `waker` is woken here.
    #[cfg(feature = "alloc")]
    pub(crate) fn register(&self, waker: &Waker) {
        let Replaced { old, missed } = self.replace(waker);
        drop(old);
        if let Some(mine) = missed {
            mine.wake();
        }
    }

    /// As [`register`](Self::register), but runs no foreign code beyond the clone: what is to be
    /// dropped and to be woken is handed out.
    pub(crate) fn replace(&self, waker: &Waker) -> Replaced {
        let new = waker.clone();
        if self
            .state
            .compare_exchange(IDLE, REGISTERING, Ordering::Acquire, Ordering::Acquire)
            .is_err()
        {
            // Somebody is taking the previous waker out: he may not see this one (W2: it is a wake).
            return Replaced {
                old: None,
                missed: Some(new),
            };
        }
        // SAFETY: W1 – we moved the state away from IDLE.
        let old = self.slot.with_mut(|slot| unsafe { (*slot).replace(new) });
        let left =
            self.state
                .compare_exchange(REGISTERING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        let mut missed = None;
        if left.is_err() {
            // SAFETY: W1 – a wake came and left the slot to us.
            missed = self.slot.with_mut(|slot| unsafe { (*slot).take() });
            self.state.swap(IDLE, Ordering::AcqRel);
        }
        Replaced { old, missed }
    }

    /// Takes the waker out, to be woken by the caller. `None` if there is none, or if the one who is
    /// inside will see to it. Never allocates, frees or waits.
    pub(crate) fn take(&self) -> Option<Waker> {
        if self.state.fetch_or(WAKING, Ordering::AcqRel) != IDLE {
            return None;
        }
        // SAFETY: W1 – we moved the state away from IDLE.
        let waker = self.slot.with_mut(|slot| unsafe { (*slot).take() });
        self.state.fetch_and(!WAKING, Ordering::Release);
        waker
    }
}
