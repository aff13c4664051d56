//! Integration tests of the public API.
#![cfg(not(any(umbel_loom, umbel_step)))]

#[global_allocator]
static ALLOCATOR: umbel_tests::counting::CountingAlloc = umbel_tests::counting::CountingAlloc;

mod token;
mod token_model;
