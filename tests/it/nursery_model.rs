//! Nurseries and sets beside their reference models.

use crate::scripts;
use umbel_tests::nursery_model::run_bytes;

#[test]
fn random_scripts_agree_with_the_model() {
    scripts::run(run_bytes);
}

#[test]
fn the_empty_script_of_every_sort() {
    run_bytes(&[]);
    for sort in 0..=u8::MAX {
        run_bytes(&[sort, 0, 0, 0]);
    }
}
