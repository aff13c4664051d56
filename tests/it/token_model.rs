//! Random scripts on the real tree beside the reference model; `fuzz/` runs the same interpreter.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use umbel_tests::model::{OP_BYTES, Op, run_bytes, run_script};
use umbel_tests::scaled;

/// Mostly calm foreign code, and mostly the first few of everything, so that much happens to them.
fn op() -> impl Strategy<Value = Op> {
    let at = prop_oneof![3 => 0..4_u8, 2 => any::<u8>()];
    let mood = prop_oneof![5 => Just(0), 3 => 0x80..=0xff_u8];
    (any::<u8>(), at, any::<u8>(), mood)
        .prop_map(|(what, at, with, mood)| Op::from_bytes([what, at, with, mood]))
}

/// The same scripts at every run; `PROPTEST_CASES` gives more of them, `PROPTEST_RNG_SEED` others.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let given = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: match given("PROPTEST_CASES") {
            true => default.cases,
            false if cfg!(miri) => 3,
            false => 5_000,
        },
        rng_seed: match given("PROPTEST_RNG_SEED") {
            true => default.rng_seed,
            false => RngSeed::Fixed(0),
        },
        // The seed is fixed: nothing to write down.
        failure_persistence: None,
        ..default
    }
}

#[test]
fn random_scripts_agree_with_the_model() {
    let most = scaled(300, 24);
    TestRunner::new(config())
        .run(&vec(op(), 0..most), |script| {
            run_script(script);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_empty_script() {
    run_bytes(&[]);
    run_bytes(&[0; OP_BYTES]);
}
