//! Scripts of token operations against the reference model of the tests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umbel_tests::{counting::CountingAlloc, model::run_bytes};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

fuzz_target!(|script: &[u8]| run_bytes(script));
