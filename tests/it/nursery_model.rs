//! Nurseries and sets beside their reference models.

use crate::scripts;
use umbel_tests::nursery_model::{Kind, Mood, Op, Rule, Setup, What, run, run_bytes};
use umbel_tests::scaled;

#[test]
fn random_scripts_agree_with_the_models() {
    scripts::run(scaled(12_000, 6), run_bytes);
}

#[test]
fn the_empty_script_of_every_sort() {
    run_bytes(&[]);
    for sort in (0..=u8::MAX).step_by(scaled(1, 32)) {
        run_bytes(&[sort, 0, 0, 0]);
    }
}

fn run_on(setup: Setup, script: &[(What, [u8; 3])]) {
    let script: Vec<_> = script
        .iter()
        .map(|(what, with)| Op::new(*what, *with))
        .collect();
    run(&setup, &script);
}

/// A wait for room whose waker panics when it is cloned is not in line, and keeps nobody out.
#[test]
fn a_wait_that_panics_before_it_waits() {
    run_on(
        Setup::new(Kind::FixedNursery, Rule::FailFast),
        &[
            (What::Poll, [0, 0, 0]),
            (What::SpawnWait, [0, 128, 0]),
            (What::SpawnMany, [0, 32, 0]),
            (What::PollWait, [0, 0, 176]),
            (What::Poll, [0, 0, 0]),
            (What::Wake, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Spawn, [0, 0, 0]),
        ],
    );
}

/// One whose old waker panics when it is dropped for the new one waits with that.
#[test]
fn a_wait_that_panics_when_it_waits() {
    run_on(
        Setup::new(Kind::FixedNursery, Rule::Custom),
        &[
            (What::Poll, [0, 0, 0]),
            (What::SpawnWait, [0, 128, 0]),
            (What::SpawnMany, [0, 3, 0]),
            (What::PollWait, [0, 0, 228]),
            (What::PollWait, [0, 0, 0]),
        ],
    );
}

/// All have ended; the body's value, which is not the outcome, panics. Nothing is left to be cancelled.
#[test]
fn a_panic_after_the_end() {
    let setup = Setup {
        deadline: Some(2),
        timed: true,
        mood: Mood(197),
        ..Setup::new(Kind::Nursery, Rule::KeepGoing)
    };
    run_on(
        setup,
        &[
            (What::Spawn, [0, 56, 0]),
            (What::SpawnWait, [0, 128, 224]),
            (What::Poll, [0, 0, 0]),
            (What::Finish, [2, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::PollWait, [0, 0, 0]),
        ],
    );
}

/// A turn inside of a call of the outer task's waker, that asks for another one and gets it, does not ask
/// again later.
#[test]
fn a_turn_inside_of_a_wake_asks_for_another_one_once() {
    run_on(
        Setup::new(Kind::LocalNursery, Rule::KeepGoing),
        &[
            // The next child is one of high priority.
            (What::Say, [0, 1, 0]),
            (What::Poll, [0, 2, 130]),
            (What::Defer, [0, 0, 0]),
            (What::Poll, [0, 2, 131]),
            (What::TrySpawn, [0, 0, 0]),
            (What::Spawn, [0, 0, 216]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
            (What::Poll, [0, 0, 0]),
        ],
    );
}
