//! The crates from outside: what they promise, one module per part, in one binary.
#![cfg(not(umbel_loom))]

mod nursery;
mod nursery_attack;
mod reason;
mod set;
mod time;
