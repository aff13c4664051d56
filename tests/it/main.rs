//! The crates from outside: what they promise, one module per part, in one binary.
#![cfg(not(umbel_loom))]

mod auto_traits;
mod budget;
mod drive;
mod executor_nursery;
mod fixed_nursery;
mod nursery;
mod nursery_alone;
mod nursery_attack;
mod nursery_drops;
mod nursery_local;
mod nursery_map;
mod nursery_model;
mod nursery_observer;
mod nursery_order;
mod nursery_panic;
mod nursery_policy;
mod nursery_resources;
mod nursery_scope;
mod nursery_snapshot;
mod nursery_text;
mod reason;
mod nursery_start;
mod scripts;
mod set;
mod static_token;
mod stream;
mod time;
mod token;
mod token_callback;
mod token_groups;
mod token_model;
mod wire;

#[global_allocator]
static ALLOCATOR: umbel_tests::counting::CountingAlloc = umbel_tests::counting::CountingAlloc;
