//! Room under the nursery's limit.
//!
//! A child that runs has a *place*. A spawner takes one if there is one; else its child queues, and
//! the nursery hands places on as children end. Places return to the common store only while nobody
//! queues, so a newcomer overtakes nobody whom the nursery has seen.
//!
//! | transition | against | model |
//! |---|---|---|
//! | `free` − 1 | itself | `two_spawners_for_one_place` |
//! | `free` + 1 | `free` − 1 | `a_place_goes_back_against_try_spawn` |
//! | `free` − 1 for a child that comes too late | the end | `spawn_wait_against_the_end` |
//!
//! Ordering: the count guards no memory (a child is published by the inbox), so `Relaxed` is enough;
//! read-modify-writes alone make it exact.

use crate::sync::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Room {
    /// `usize::MAX`: no limit, and `free` is not used.
    limit: usize,
    free: AtomicUsize,
}

impl Room {
    pub(crate) fn unlimited() -> Self {
        Room::limited(usize::MAX)
    }

    pub(crate) fn limited(limit: usize) -> Self {
        Room {
            limit,
            free: AtomicUsize::new(limit),
        }
    }

    /// How many places there are in all.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a place if there is one.
    #[inline]
    pub(crate) fn try_take(&self) -> bool {
        if self.limit == usize::MAX {
            return true;
        }
        let mut free = self.free.load(Ordering::Relaxed);
        while free != 0 {
            match self.free.compare_exchange_weak(
                free,
                free - 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => free = now,
            }
        }
        false
    }

    /// Gives a place back to the common store.
    #[inline]
    pub(crate) fn give(&self) {
        if self.limit != usize::MAX {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }
}
