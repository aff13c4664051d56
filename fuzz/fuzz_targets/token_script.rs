//! Scripts of token operations against the reference model of the tests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| umbel_tests::model::run_script(script));
