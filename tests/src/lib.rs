//! What the tests share.

#[cfg(not(umbel_loom))]
pub mod counting;
pub mod quiet;
pub mod exec;
#[cfg(not(umbel_loom))]
pub mod model;
