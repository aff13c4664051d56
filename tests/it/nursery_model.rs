//! Nurseries and sets beside their reference models.

use crate::scripts;
use umbel_tests::nursery_model::run_bytes;
use umbel_tests::scaled;

#[test]
fn random_scripts_agree_with_the_models() {
    scripts::run(scaled(20_000, 6), run_bytes);
}

#[test]
fn the_empty_script_of_every_sort() {
    run_bytes(&[]);
    for sort in (0..=u8::MAX).step_by(scaled(1, 32)) {
        run_bytes(&[sort, 0, 0, 0]);
    }
}

/// A wait for room whose waker panics when it is cloned is not in line, and keeps nobody out.
#[test]
fn a_wait_that_panics_before_it_waits() {
    run_bytes(
        [
            [122, 0, 0, 0],
            [0, 0, 0, 0],
            [94, 0, 128, 0],
            [74, 0, 32, 0],
            [122, 0, 0, 176],
            [0, 0, 0, 0],
            [172, 0, 0, 0],
            [0, 0, 0, 0],
            [44, 0, 0, 0],
        ]
        .as_flattened(),
    );
}

/// One whose old waker panics when it is dropped for the new one waits with that.
#[test]
fn a_wait_that_panics_when_it_waits() {
    run_bytes(
        [
            [230, 0, 0, 0],
            [0, 0, 0, 0],
            [94, 0, 128, 0],
            [74, 0, 3, 0],
            [122, 0, 0, 228],
            [122, 0, 0, 0],
        ]
        .as_flattened(),
    );
}

/// All have ended; the body's value, which is not the outcome, panics. Nothing is left to be cancelled.
#[test]
fn a_panic_after_the_end() {
    run_bytes(
        [
            [162, 0, 4, 197],
            [44, 0, 56, 0],
            [94, 0, 128, 224],
            [0, 0, 0, 0],
            [197, 2, 0, 0],
            [0, 0, 0, 0],
            [122, 0, 0, 0],
        ]
        .as_flattened(),
    );
}
