//! Random scripts for the interpreters beside the reference models; `fuzz/` runs the same interpreters.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use umbel_tests::scaled;

/// Mostly calm foreign code, and mostly the first few of everything, so that much happens to them.
fn op() -> impl Strategy<Value = [u8; 4]> {
    let at = prop_oneof![3 => 0..4_u8, 2 => any::<u8>()];
    let mood = prop_oneof![5 => Just(0), 3 => 0x80..=0xff_u8];
    (any::<u8>(), at, any::<u8>(), mood).prop_map(|(what, at, with, mood)| [what, at, with, mood])
}

/// The same scripts at every run; `PROPTEST_CASES` gives more of them, `PROPTEST_RNG_SEED` others.
fn config(cases: usize) -> ProptestConfig {
    let default = ProptestConfig::default();
    let given = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: match given("PROPTEST_CASES") {
            true => default.cases,
            false => cases as u32,
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

/// Runs an interpreter on so many.
pub(crate) fn run(cases: usize, interpreter: impl Fn(&[u8])) {
    let most = scaled(300, 24);
    TestRunner::new(config(cases))
        .run(&vec(op(), 0..most), |script| {
            interpreter(script.as_flattened());
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
