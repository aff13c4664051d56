//! What the tests share.

pub mod bad;
pub mod calls;
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
#[cfg(not(umbel_loom))]
pub mod wire;

/// How much a test does: less under miri, which is a thousand times slower.
pub const fn scaled(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}
