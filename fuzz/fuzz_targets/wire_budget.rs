//! Headers and budgets beside a plain model of both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umbel_tests::wire::run_bytes;

fuzz_target!(|bytes: &[u8]| run_bytes(bytes));
