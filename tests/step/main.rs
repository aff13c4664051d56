//! Interrupts at every step: `cancel`, or a wake, runs before each atomic access of every other
//! operation, on one thread, repeatably.
//!
//! `RUSTFLAGS="--cfg umbel_step" cargo test -p umbel-tests --test step`
#![cfg(umbel_step)]

#[global_allocator]
static ALLOCATOR: umbel_tests::counting::CountingAlloc = umbel_tests::counting::CountingAlloc;

mod callback;
mod child;
mod fixed_nursery;
mod groups;
mod nursery;
mod set;
mod static_token;
mod token;

use std::cell::Cell;
use umbel_tests::counting::allocator_calls;

/// Runs `operation` once for each of its steps, on a fresh `setup`, with `interrupt` before that
/// step; then `check`. The interrupt may not call the allocator. Returns the number of steps.
fn at_every_step<S, R>(
    setup: impl Fn() -> S,
    operation: impl Fn(&S) -> R,
    interrupt: impl Fn(&S),
    check: impl Fn(S, R),
) -> usize {
    for at in 0.. {
        let state = setup();
        let step = Cell::new(0);
        let hook = || {
            if step.get() == at {
                let before = allocator_calls();
                interrupt(&state);
                assert_eq!(
                    allocator_calls(),
                    before,
                    "the interrupt called the allocator"
                );
            }
            step.set(step.get() + 1);
        };
        let result = umbel_core::step::with_hook(&hook, || operation(&state));
        let steps = step.get();
        check(state, result);
        if steps <= at {
            return steps;
        }
    }
    unreachable!("an operation without end")
}
