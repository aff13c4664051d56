//! What the tests share.

pub mod calls;
#[cfg(not(umbel_loom))]
pub mod counting;
pub mod quiet;
pub mod exec;
#[cfg(not(umbel_loom))]
pub mod model;
