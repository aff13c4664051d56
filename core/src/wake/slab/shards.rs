//! The shards of a slab that several threads claim from, and which thread uses which. The rules
//! (S1 … S5) and the orderings: see `wake::slab`.
//!
//! A thread has no number here, only a hint, and two hints may lead to one shard. So each hint has a
//! count of moves, kept with the slab: whoever loses a race in a shard moves one further, and threads
//! that claim at the same time soon have a shard each. The idea is that of Java's `Striped64` (Doug
//! Lea), which keeps the like in the thread. A hint moves only so often: with more threads than shards
//! there is no rest to be found.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, thread_hint};
use crate::wake::slab::codes::{HINTS, SHARDS};
use core::ptr::null_mut;

const MOVES_BITS: usize = 4;
const MOVES_MOST: usize = (1 << MOVES_BITS) - 1;
const MOVES_PER_WORD: usize = usize::BITS as usize / MOVES_BITS;

/// Shard `k` is cell `k - 1`. Shard 0 is not here: claimers leave it, so that the line on which they
/// find this table is written by nobody any more but those who free what they claimed before.
#[derive(Debug)]
pub(crate) struct Shards<Segment> {
    /// Null until somebody comes.
    pub(crate) first: [AtomicPtr<Segment>; SHARDS],
    /// A few bits for each hint.
    moves: [AtomicUsize; HINTS / MOVES_PER_WORD],
}

impl<Segment> Shards<Segment> {
    pub(crate) fn new() -> Self {
        Shards {
            first: core::array::from_fn(|_| AtomicPtr::new(null_mut())),
            moves: core::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    /// The cell that the calling thread claims from, and its seat.
    #[inline(always)]
    pub(crate) fn mine(&self) -> (usize, Seat) {
        self.of(thread_hint() % HINTS)
    }

    #[inline(always)]
    fn of(&self, hint: usize) -> (usize, Seat) {
        let seat = Seat {
            word: hint / MOVES_PER_WORD,
            shift: hint % MOVES_PER_WORD * MOVES_BITS,
        };
        let moves = self.moves[seat.word].load(Ordering::Relaxed) >> seat.shift & MOVES_MOST;
        ((hint + moves) % SHARDS, seat)
    }

    /// The thread was not alone in its shard.
    #[cold]
    pub(crate) fn move_on(&self, seat: Seat) {
        let word = &self.moves[seat.word];
        let seen = word.load(Ordering::Relaxed);
        if seen >> seat.shift & MOVES_MOST < MOVES_MOST {
            // Once: if another hint moved meanwhile, this one may at the next race.
            let moved = seen + (1 << seat.shift);
            let _ = word.compare_exchange(seen, moved, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Where the moves of a hint are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    word: usize,
    shift: usize,
}

#[cfg(all(test, not(umbel_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_loses_a_race_moves_and_nobody_else() {
        let shards = Shards::<()>::new();
        let homes: [usize; HINTS] = core::array::from_fn(|hint| shards.of(hint).0);
        assert!((0..SHARDS).all(|shard| homes.contains(&shard)));
        for hint in [0, 1, MOVES_PER_WORD - 1, MOVES_PER_WORD, HINTS - 1] {
            let (home, seat) = shards.of(hint);
            shards.move_on(seat);
            assert_eq!(shards.of(hint).0, (home + 1) % SHARDS);
        }
        let moved = (0..HINTS).filter(|&hint| shards.of(hint).0 != homes[hint]);
        assert_eq!(moved.count(), 5);
    }

    #[test]
    fn a_hint_comes_to_rest() {
        let shards = Shards::<()>::new();
        let (home, seat) = shards.of(3);
        for _ in 0..1000 {
            shards.move_on(seat);
        }
        assert_eq!(shards.of(3).0, (home + MOVES_MOST) % SHARDS);
        assert_eq!(shards.of(4).0, Shards::<()>::new().of(4).0);
    }
}
