//! The C function of `collatz.c`, safe to call. The only file with `unsafe`.
#![allow(unsafe_code, reason = "it calls C")]

use std::ops::Range;
use umbel::Flag;

/// A chain: where it starts, and how many steps it takes to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Chain {
    pub(crate) start: u64,
    pub(crate) steps: u64,
}

/// What a search has found, whether it came to its end or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many starts were tried.
    pub(crate) tried: u64,
    /// The first of the longest chains; none if no start was tried.
    pub(crate) longest: Option<Chain>,
}

unsafe extern "C" {
    fn collatz_longest(from: u64, to: u64, stop: *const u32, longest: *mut Chain) -> u64;
}

/// Looks for the longest chain among those that start in `starts` (from 1), until `stop` is set.
pub(crate) fn longest(starts: Range<u64>, stop: &Flag) -> Found {
    let mut longest = Chain::default();
    // SAFETY: the word stays where it is while `stop` is borrowed, which is as long as C runs, and C
    // reads it atomically. `longest` is ours alone, and laid out as C's struct.
    let tried =
        unsafe { collatz_longest(starts.start, starts.end, stop.as_ptr(), &raw mut longest) };
    Found {
        tried,
        longest: (tried > 0).then_some(longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umbel::CancellationToken;

    fn steps(start: u64) -> u64 {
        let next = |n: &u64| match n % 2 {
            0 => Some(n / 2),
            _ => Some(3 * n + 1),
        };
        let chain = std::iter::successors(Some(start), next);
        chain.take_while(|n| *n != 1).count() as u64
    }

    #[test]
    fn c_finds_what_rust_finds() {
        let stop = CancellationToken::new().flag();
        for starts in [1..2, 1..1000, 500..600, 7..7] {
            let chains = starts.clone().map(|start| Chain {
                start,
                steps: steps(start),
            });
            let best = chains.reduce(|a, b| if b.steps > a.steps { b } else { a });
            let found = longest(starts.clone(), &stop);
            assert_eq!(
                (found.tried, found.longest),
                (starts.end - starts.start, best)
            );
        }
    }

    #[test]
    fn a_set_flag_stops_it_before_the_next_start() {
        let token = CancellationToken::new();
        let stop = token.flag();
        token.cancel();
        let nothing = Found {
            tried: 0,
            longest: None,
        };
        assert_eq!(longest(1..u64::MAX, &stop), nothing);
    }
}
