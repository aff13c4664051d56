//! Points in time, clocks, timers, and a clock that stands still until it is told to move.
//!
//! | room | what it holds |
//! |---|---|
//! | `instant` | a point in time, as saturating nanoseconds |
//! | `budget` | the time until a deadline, shared out |
//! | `wire` | the same, on its way to another machine |
//! | `clock` | the traits that a runtime's adapter implements |
//! | `alarm` | a timer and the sleep that it is in |
//! | `manual` | virtual time |

mod instant;
mod budget;
mod wire;
mod clock;
pub(crate) mod alarm;
#[cfg(all(
    feature = "alloc",
    any(target_has_atomic = "64", feature = "portable-atomic")
))]
pub(crate) mod manual;

pub use budget::{Budget, Shares};
pub use clock::{Clock, Timer};
pub use instant::Instant;
pub use wire::{WireError, WireTimeout};
