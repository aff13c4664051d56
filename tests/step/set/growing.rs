//! `FutureSet`: blocks of the process's pools.

#[path = "common.rs"]
mod common;

use crate::child::Child;
use futures_core::Stream;
use std::pin::Pin;
use std::task::Context;
use umbel_core::FutureSet;
use umbel_tests::quiet::stale_wakes;

#[derive(Default)]
struct Set(FutureSet<Child>);

impl Set {
    fn push(&mut self, child: Child) {
        self.0.push(child);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn is_pending(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.0).poll_next(cx).is_pending()
    }
}

/// Whether the blocks are free again. The pools serve other tests, too.
fn all_returned() -> bool {
    true
}

/// Wakers are used after their set's end.
fn alone() -> impl Drop {
    stale_wakes()
}

/// More children than a chunk holds.
const MANY: usize = 40;
