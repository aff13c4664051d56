//! One slot of a static token: a child's flag, and the cell that its waker waits in.
//!
//! Slots lie in a `static`, so they may be looked at for ever; what is to be kept apart is one
//! occupant of a slot from the next.
//!
//! # State
//!
//! | word | meaning | set by |
//! |---|---|---|
//! | `FREE` | nobody's | `new`, [`Slot::vacate`], [`Slot::take_waker`] |
//! | 0 | LIVE: a child that is not cancelled | [`Slot::claim`] |
//! | reason | cancelled, and why | [`Slot::mark`], [`Slot::claim`] |
//! | reason, `INSIDE` | a canceller is in the cell to take the waker out | [`Slot::take_waker`] |
//! | reason, `INSIDE`, `LEFT` | and the child has been dropped meanwhile | [`Slot::vacate`] |
//! | reason, `LEFT` | on its way to FREE, by who saw the other's bit (or its absence) | either |
//!
//! # Life
//!
//! | # | from → to | who | op | model |
//! |---|---|---|---|---|
//! | 1 | FREE → LIVE, reason | `claim` | CAS | `two_claimers_of_the_last_slot` |
//! | 2 | LIVE → reason | `mark`: any canceller, or the birth itself | CAS | `child_against_cancel`, `cancel_against_cancel_children` |
//! | 3 | LIVE → FREE | `vacate`: the child's drop | CAS | `cancel_children_against_drop_and_reuse` |
//! | 4 | reason → reason, INSIDE | `take_waker` | CAS | `cancel_against_first_poll` |
//! | 5 | reason, INSIDE → reason | `take_waker`, leaving | `fetch_and` | `cancel_against_first_poll` |
//! | 6 | reason → reason, LEFT → FREE | `vacate`, nobody inside | `fetch_or`, store | `cancel_children_against_drop_and_reuse` |
//! | 7 | reason, INSIDE → … LEFT | `vacate`, somebody inside | `fetch_or` | `cancel_children_against_drop_and_reuse` |
//! | 8 | reason, INSIDE, LEFT → reason, LEFT → FREE | `take_waker`, leaving last | `fetch_and`, store | `cancel_children_against_drop_and_reuse` |
//!
//! # Invariants
//!
//! - **K1** A word leaves LIVE at most once in the life of an occupant, and only to FREE or to a
//!   reason; then the reason stays until FREE.
//! - **K2** The cell is used by the child's owner, while the child exists, and by who set `INSIDE`,
//!   until he clears it. There is one `INSIDE` at a time.
//! - **K3** A slot is not FREE while `INSIDE` is set, and becomes FREE with an empty cell. So nobody
//!   is in the cell of a new occupant, and a waker is taken from no one who is not cancelled.
//! - **K4** `INSIDE` and `LEFT` are never set on LIVE or FREE.
//!
//! A canceller that stalls before 2 or 4 may find a later occupant there (ABA). At 2 that is a child
//! born during the cancellation, which may be cancelled by it; at 4 it is one that is cancelled and
//! is to be woken anyway.
//!
//! # Orderings
//!
//! | site | op | order | pairs with, and what for |
//! |---|---|---|---|
//! | `claim` (1) | CAS | SeqCst | the root's word: see `fixed`; FREE: the cell as its last user left it |
//! | `mark` (2) | load | SeqCst | `claim`: see `fixed` |
//! | `cancel` (2) | CAS | SeqCst | `is_cancelled`: what was written before `cancel`; the root's: `claim` |
//! | `cancel`, failing | CAS | Acquire | the earlier one's: what was written before it, for whom the loser marks |
//! | `is_cancelled`, `reason` | load | Acquire | `cancel` |
//! | `vacate` (3, 6) | CAS, store | Release | `claim`: the owner's use of the cell |
//! | `vacate` (6, 7) | `fetch_or` | AcqRel | 5: the canceller's use of the cell, if he was first; 8: the owner's |
//! | `take_waker` (4) | CAS | Acquire | `cancel`, and through it `claim`: the cell as its former users left it |
//! | `take_waker` (5, 8) | `fetch_and` | AcqRel | 6: this use of the cell; 7: the owner's |
//! | `take_waker` (8) | store | Release | `claim`: both uses |
//!
//! "Mark, then take the waker" against "put a waker, then look at the mark" are ordered by the cell,
//! in which both do a read-modify-write of one word.
//!
//! `cargo xtask deep orderings` weakens each by one step and sees a model fail, but for what is there
//! for the total order, and what orders the uses of the cell only (4; 5 with the acquire of 6): that is
//! not seen, since under loom a read-modify-write, with which every use of the cell begins, reads the
//! latest value anyway. That only one canceller is inside is shown by
//! `t_21_tasks_come_and_go_at_every_step_of_a_cancel`.
//!
//! # Foreign code
//!
//! None: wakers are handed out.

use crate::reason::{Compact, Reason};
use crate::sync::{AtomicU32, Ordering, const_fn};
use crate::wake::cell::WakeCell;
use core::task::Waker;

const LIVE: u32 = 0;
/// Not set where there is no reason (K4).
const INSIDE: u32 = 1 << 24;
/// As above.
const LEFT: u32 = 1 << 25;
/// Alone.
const FREE: u32 = 1 << 31;

/// The flag of a token or a child.
#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

impl Word {
    const_fn! {
        /// Of a root, which is LIVE or cancelled and nothing else.
        pub(crate) fn live() -> Word {
            Word(AtomicU32::new(LIVE))
        }
    }

    const_fn! {
        fn free() -> Word {
            Word(AtomicU32::new(FREE))
        }
    }

    /// Only for a root and by the holder of a child: a FREE slot is not asked.
    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) != LIVE
    }

    /// As above.
    #[inline]
    pub(crate) fn reason(&self) -> Option<Reason> {
        let word = self.0.load(Ordering::Acquire);
        (word != LIVE).then(|| Compact::from_bits(word).reason())
    }

    /// LIVE → `why`. The loser gets the reason that is there; of a slot, what else may be there
    /// (FREE) is nobody's reason.
    #[inline]
    pub(crate) fn cancel(&self, why: Compact) -> Result<(), Compact> {
        self.0
            .compare_exchange(LIVE, why.bits(), Ordering::SeqCst, Ordering::Acquire)
            .map(|_| ())
            .map_err(Compact::from_bits)
    }

    /// The reason, as seen in the total order.
    #[inline]
    pub(crate) fn cancelled_in_order(&self) -> Option<Compact> {
        let word = self.0.load(Ordering::SeqCst);
        (word != LIVE).then(|| Compact::from_bits(word))
    }

    #[cfg(not(umbel_loom))]
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const u32 {
        self.0.as_ptr().cast_const()
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Anyone, by the rules above.
    pub(crate) word: Word,
    /// K2.
    pub(crate) cell: WakeCell,
}

#[cfg(all(target_pointer_width = "32", not(umbel_loom)))]
const _: () = assert!(size_of::<Slot>() <= 16);

impl Slot {
    const_fn! {
        pub(crate) fn new() -> Slot {
            Slot {
                word: Word::free(),
                cell: WakeCell::new(),
            }
        }
    }

    /// FREE → LIVE, or cancelled if there is a reason. True: there is a child now, and it is the
    /// caller's.
    #[inline]
    #[must_use]
    pub(crate) fn claim(&self, above: Option<Compact>) -> bool {
        let word = &self.word.0;
        let born = above.map_or(LIVE, Compact::bits);
        word.compare_exchange(FREE, born, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// LIVE → `why`; nothing, if it is anything else.
    #[inline]
    pub(crate) fn mark(&self, why: Compact) {
        if self.word.0.load(Ordering::SeqCst) == LIVE {
            let _ = self.word.cancel(why);
        }
    }

    /// The waker of a child that is cancelled, unless another canceller is about to take it.
    #[inline]
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        let word = self.word.0.load(Ordering::Relaxed);
        if word == LIVE || word & (FREE | INSIDE | LEFT) != 0 {
            return None;
        }
        // If it fails, the child has gone or the other canceller was faster.
        let entered =
            self.word
                .0
                .compare_exchange(word, word | INSIDE, Ordering::Acquire, Ordering::Relaxed);
        entered.ok()?;
        let waker = self.cell.take();
        if self.word.0.fetch_and(!INSIDE, Ordering::AcqRel) & LEFT != 0 {
            self.word.0.store(FREE, Ordering::Release);
        }
        waker
    }

    /// Gives the slot back: at once, or when the canceller who is inside leaves. The caller was the
    /// child's owner, and the cell is empty but for what that canceller takes.
    #[inline]
    pub(crate) fn vacate(&self) {
        let word = &self.word.0;
        let live = word.compare_exchange(LIVE, FREE, Ordering::Release, Ordering::Relaxed);
        if live.is_err() && word.fetch_or(LEFT, Ordering::AcqRel) & INSIDE == 0 {
            word.store(FREE, Ordering::Release);
        }
    }
}
