//! Points in time, clocks, timers, and a clock that stands still until it is told to move.
//!
//! | room | what it holds |
//! |---|---|
//! | `instant` | a point in time, as saturating nanoseconds |
//! | `clock` | the traits that a runtime's adapter implements |
//! | `manual` | virtual time |

mod instant;
mod clock;
#[cfg(all(
    feature = "alloc",
    any(target_has_atomic = "64", feature = "portable-atomic")
))]
pub(crate) mod manual;

pub use clock::{Clock, Timer};
pub use instant::Instant;
