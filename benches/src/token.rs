//! `token`: rows C1 to C7, and the stall probe.

mod contenders;
mod floors;
pub(crate) mod rows;
mod workloads;
