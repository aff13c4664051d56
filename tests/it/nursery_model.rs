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
