//! Structured concurrency without a runtime.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, feature = "std", umbel_loom, umbel_step))]
extern crate std;

// The order is the rank: a module uses only what stands above it.
mod sync;
mod wake;
mod reason;
mod time;
mod spawn;
mod token;
#[cfg(feature = "alloc")]
mod set;
mod ext;

pub use ext::{FutureExt, OrCancelled};
pub use reason::{Cancelled, Reason, ReasonKind};
#[cfg(feature = "alloc")]
pub use set::FutureSet;
pub use spawn::{Spawn, SpawnError};
#[cfg(all(
    feature = "alloc",
    any(target_has_atomic = "64", feature = "portable-atomic")
))]
pub use time::manual::{ManualClock, ManualSleep};
pub use time::{Clock, Instant, Timer};
pub use token::CancelSignal;
#[cfg(feature = "alloc")]
pub use token::{
    CancellationToken, DropGuard, DropGuardRef, DynCancelSignal, RunUntilCancelled,
    RunUntilCancelledOwned, WaitForCancellationFuture, WaitForCancellationFutureOwned,
};
#[cfg(feature = "alloc")]
pub use wake::ready::{PoolStats, pool_stats};

/// Interrupts at every step, for tests: see [`step::with_hook`].
#[cfg(all(umbel_step, not(umbel_loom)))]
pub use sync::step;
