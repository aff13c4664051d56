//! The tree of tokens beside its reference model.

use crate::scripts;
use umbel_tests::model::{OP_BYTES, run_bytes};
use umbel_tests::scaled;

#[test]
fn random_scripts_agree_with_the_model() {
    scripts::run(scaled(5_000, 3), run_bytes);
}

#[test]
fn the_empty_script() {
    run_bytes(&[]);
    run_bytes(&[0; OP_BYTES]);
}
