//! Scripts of operations on nurseries and sets against the reference models of the tests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umbel_tests::{counting::CountingAlloc, nursery_model::run_bytes};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

fuzz_target!(|script: &[u8]| run_bytes(script));
