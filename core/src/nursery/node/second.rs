//! Who of two lets go second, and so has alone what both used.
//!
//! Each has a bit of one word, which may have other bits too. Who finds the other's bit set is alone: there is
//! nobody to be told, and he sets nothing.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | the look before (the caller's) | load | Acquire | the other's `fetch_add`: who is alone sees every access of the other |
//! | let go | `fetch_add` | AcqRel | the other's: likewise |

use crate::sync::{AtomicUsize, Ordering};

/// Lets go on behalf of who has the bit `ours` of the two in `both`. `seen` is the word, loaded to acquire,
/// after all that the caller has published. Returns the word as it was if the other has let go before.
///
/// Each calls this once.
#[inline(always)]
#[must_use]
pub(super) fn is_second(
    word: &AtomicUsize,
    ours: usize,
    both: usize,
    seen: usize,
) -> Option<usize> {
    let mut state = seen;
    if state & both == 0 {
        // It is not set, so adding sets it: on x86 in one instruction, where an `or` that gives the word
        // back is a loop.
        state = word.fetch_add(ours, Ordering::AcqRel);
    }
    debug_assert!(state & ours == 0, "each lets go once");
    (state & both != 0).then_some(state)
}
