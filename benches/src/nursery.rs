//! `nursery`: spawning, joining, yielding; starvation and outer wakes; the nursery without an
//! allocator.

pub(crate) mod contenders;
mod fixed;
mod floors;
pub(crate) mod rows;
pub(crate) mod workloads;
