//! Scripts that drive the real tree of tokens beside a reference model, with hostile wakers,
//! callbacks, errors and futures. Property tests and fuzzing share them.
//!
//! | room | what it holds |
//! |---|---|
//! | `trees` | the reference model: the tokens |
//! | `forest` | what becomes of those who wait for them |
//! | `op` | what a script consists of |
//! | `foreign` | what the tree calls: it tells the interpreter, and misbehaves as the script says |
//! | `state` | what the interpreter keeps, and compares |
//! | `world` | the interpreter, which runs both |
//! | `tokens`, `waits`, `callbacks` | the operations |
//!
//! Compared is everything that can be seen: at every call of foreign code and after every operation
//! the state, reason and deadline of all tokens, and all flags; every wake and callback when it
//! happens; which panic comes out of a call; after every outermost operation which wakers and
//! closures the tree keeps; at the end all memory.

mod trees;
mod forest;
mod op;
mod foreign;
mod state;
mod world;
mod tokens;
mod waits;
mod callbacks;

pub use crate::script::OP_BYTES;
pub use op::Op;

use crate::counting::live_bytes;

/// Runs a script on the real tree and on the model.
///
/// Memory is counted only in a program whose allocator is [`CountingAlloc`].
///
/// # Panics
/// They differ, or something is left when all is dropped.
///
/// [`CountingAlloc`]: crate::counting::CountingAlloc
pub fn run_script(script: impl IntoIterator<Item = Op>) {
    let script: Vec<_> = script.into_iter().collect();
    let before = live_bytes();
    world::World::run(&script);
    assert_eq!(live_bytes(), before, "memory was leaked");
}

/// As [`run_script`], for a script of bytes.
///
/// # Panics
/// As there.
pub fn run_bytes(script: &[u8]) {
    let ops = script.chunks_exact(OP_BYTES);
    run_script(ops.map(|op| Op::from_bytes(op.try_into().expect("exact chunks"))));
}
