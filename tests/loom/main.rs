//! Models: every interleaving of a few threads, up to a bound of preemptions.
//!
//! `RUSTFLAGS="--cfg umbel_loom" cargo test -p umbel-tests --release --test loom`
#![cfg(umbel_loom)]

mod token;

/// Runs a model and prints what was explored; the bound is part of the claim.
fn model(name: &str, bound: usize, f: impl Fn() + Sync + Send + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    let iterations = Arc::new(AtomicUsize::new(0));
    let counter = iterations.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000;
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        f()
    });
    println!(
        "LOOM {name}: bound {bound}, {} iterations",
        iterations.load(Relaxed)
    );
}
