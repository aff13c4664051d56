//! `nursery`: spawning, joining, yielding; starvation and outer wakes; the nursery without an
//! allocator.

mod contenders;
mod fixed;
mod floors;
pub(crate) mod rows;
mod workloads;
