//! `set`: rows S1 to S7, starvation, and outer wakes.

mod contenders;
mod floors;
pub(crate) mod rows;
mod workloads;
