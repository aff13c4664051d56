//! Scripts that drive a real nursery, or a set, beside a reference model, with hostile children, values,
//! errors, policies and wakers. Property tests and fuzzing share them.
//!
//! | room | what it holds |
//! |---|---|
//! | `op` | what a script consists of |
//! | `turns` | the reference model of the set: who is polled, and who is woken for it |
//! | `nursery` | the reference model of `Nursery` and `LocalNursery` |
//! | `coming`, `judging`, `going` | what happens to its children |
//! | `alone` | what happens to one of them alone |
//! | `cleaning` | what happens to its cleanups |
//! | `fixed` | the reference model of `FixedNursery` |
//! | `real` | the real things |
//! | `looking` | what the nursery shows of itself, beside what its model says |
//! | `foreign` | what they call: it tells the interpreter, and misbehaves as the script says |
//! | `state` | what the interpreter keeps, and compares |
//! | `world` | the interpreter, which runs both |
//! | `came_out` | what came out of a call, shown to the model |
//! | `acts`, `waking`, `children`, `comforts`, `starting` | the operations |
//!
//! Compared is everything that can be seen: every poll, wake and drop when it happens, its order where
//! there is one, what a policy is told, why the nursery is cancelled; after every outermost operation
//! who would have to be woken, the counts, which outputs live; every result, outcome and report; which
//! panic comes out of a call; at the end all memory.

mod op;
mod turns;
mod nursery;
mod coming;
mod alone;
mod judging;
mod cleaning;
mod going;
mod fixed;
mod real;
mod looking;
mod foreign;
mod state;
mod world;
mod came_out;
mod acts;
mod waking;
mod children;
mod comforts;
mod starting;

pub use crate::script::Mood;
pub use op::{Kind, Op, Rule, Setup, What};

use crate::counting::live_bytes;
use crate::quiet;
use crate::script::OP_BYTES;
use std::sync::{Mutex, PoisonError};
use umbel_core::pool_stats;

/// One script at a time has the pool of wakers.
static ONE: Mutex<()> = Mutex::new(());

/// Runs a script of bytes, whatever they are, as [`run`] does.
///
/// # Panics
/// As there.
pub fn run_bytes(script: &[u8]) {
    let mut four = script.chunks_exact(OP_BYTES);
    let mut next = || {
        four.next()
            .map(|four| four.try_into().expect("exact chunks"))
    };
    let setup = op::Setup::from_bytes(next().unwrap_or_default());
    let ops: Vec<_> = std::iter::from_fn(next).map(Op::from_bytes).collect();
    run(&setup, &ops);
}

/// Runs a script on the real thing and on the model.
///
/// Memory is counted only in a program whose allocator is [`CountingAlloc`].
///
/// # Panics
/// They differ, or something is left when all is dropped.
///
/// [`CountingAlloc`]: crate::counting::CountingAlloc
pub fn run(setup: &Setup, ops: &[Op]) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // A script that wakes stale wakers disturbs the others, which are counted exactly.
    let (_alone, _peace);
    if ops.iter().any(Op::is_stale) {
        _alone = quiet::stale_wakes();
    } else {
        _peace = quiet::exact_polls();
    }
    drop(real::with_pool(
        umbel_core::FixedSet::<foreign::Job, _>::new,
    ));
    let (before, pools) = (live_bytes(), pool_stats());
    world::World::run(setup, ops);
    let (left, now) = (live_bytes() - before, pool_stats());
    // What the pools keep, of which any thread may have made a part.
    let slab = 1024;
    let grown = (now.headers - pools.headers) / 15 + (now.hubs - pools.hubs) / 15;
    assert!(
        left % slab == 0 && (0..=grown as isize).contains(&(left / slab)),
        "{left} bytes were leaked by {setup:?}, {ops:#?}"
    );
}
