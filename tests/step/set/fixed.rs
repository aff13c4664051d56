//! `FixedSet`: blocks in a static.

#[allow(clippy::duplicate_mod, reason = "the same tests for another type")]
#[path = "common.rs"]
mod common;

use crate::child::Child;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Context;
use umbel_core::{FixedSet, WakePool};

/// More children than a header has bits.
const MANY: usize = 70;

static POOL: WakePool<{ MANY + 1 }> = WakePool::new();

struct Set(Pin<Box<FixedSet<Child, { MANY + 1 }>>>);

impl Default for Set {
    fn default() -> Self {
        Set(Box::pin(FixedSet::new(&POOL).expect("the pool is free")))
    }
}

impl Set {
    fn push(&mut self, child: Child) {
        assert!(self.0.as_mut().push(child).is_ok());
    }

    fn clear(&mut self) {
        self.0.as_mut().clear();
    }

    fn is_pending(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.as_mut().poll_next(cx).is_pending()
    }
}

fn all_returned() -> bool {
    !POOL.is_in_use()
}

/// The tests share the pool.
fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
