//! What the tests share: counting wakers, and models that are obviously right.

#[cfg(not(umbel_loom))]
pub mod counting;
#[cfg(not(umbel_loom))]
pub mod model;
