//! The tree of tokens beside its reference model.

use crate::scripts;
use umbel_tests::model::{OP_BYTES, run_bytes};

#[test]
fn random_scripts_agree_with_the_model() {
    scripts::run(run_bytes);
}

#[test]
fn the_empty_script() {
    run_bytes(&[]);
    run_bytes(&[0; OP_BYTES]);
}
