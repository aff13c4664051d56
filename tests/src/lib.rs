//! What the tests share.

pub mod compile_fail;
#[cfg(not(umbel_loom))]
pub mod counting;
pub mod quiet;
pub mod exec;
#[cfg(not(umbel_loom))]
mod script;
#[cfg(not(umbel_loom))]
pub mod model;
#[cfg(not(umbel_loom))]
pub mod nursery_model;
