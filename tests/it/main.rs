//! The crates from outside: what they promise, one module per part, in one binary.
#![cfg(not(umbel_loom))]

mod nursery;
mod reason;
mod set;
mod time;
