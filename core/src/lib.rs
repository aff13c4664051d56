//! Structured concurrency without a runtime: cancellation tokens and nurseries for `no_std`, on any
//! executor and on none.
//!
//! A **nursery** is a future that polls its children inside itself and is ready when all of them have
//! ended, so they may borrow from the stack of whoever awaits it. A **token** is how cancellation
//! travels down: from a signal, a deadline or a failed sibling to everything below. Both use only
//! atomics and wakers.
//!
//! # A tour, by rank
//!
//! A module uses only what stands above it.
//!
//! | rank | module | holds | for you |
//! |---|---|---|---|
//! | 0 | `sync` | the facade over atomics | – |
//! | 1 | `wake` | slots, cells and bitsets that wakers wait in | [`pool_stats`], [`WakePool`] |
//! | 2 | `reason` | why something was cancelled | [`Reason`], [`Cancelled`] |
//! | 2 | `time` | instants, budgets, clocks, virtual time | [`Instant`], [`Timer`], [`Budget`], [`ManualClock`] |
//! | 3 | `observe` | names and numbers | [`Name`], [`Id`] |
//! | 3 | `spawn` | executors, seen from here | [`Spawn`] |
//! | 4 | `boxed_task` | executors of a type that is not known | [`Boxed`] |
//! | 4 | `token` | the tree of tokens, a token in a `static`, and what libraries take | [`CancellationToken`], [`StaticToken`], [`CancelSignal`] |
//! | 5 | `set` | polling only what was woken | [`FutureSet`], [`FixedSet`] |
//! | 6 | `nursery` | scopes of children, and who watches them | [`Nursery`], [`LocalNursery`], [`Handle`], [`Join`], [`Observer`], [`Snapshot`] |
//! | 6 | `fixed_nursery` | scopes of children without an allocator | [`FixedNursery`] |
//! | 6 | `ext` | combinators | [`FutureExt`], [`StreamExt`] |
//! | 7 | `executor_nursery` | scopes of tasks that an executor runs in parallel | [`ExecutorNursery`], [`ExecutorHandle`], [`Spawn`] |
//! | 8 | `log` | the types above in defmt's logs | feature `defmt` |
//!
//! # What a library takes
//!
//! A library that can be told to stop takes a [`CancelSignal`] and names no runtime:
//!
//! ```
//! use std::io;
//! use umbel_core::{CancelSignal, FutureExt};
//!
//! async fn fetch(stop: &impl CancelSignal) -> io::Result<Vec<u8>> {
//!     // Ends with an error of kind `Other` as soon as `stop` is cancelled.
//!     download().or_cancelled(stop).await.map_err(io::Error::other)?
//! }
//! # async fn download() -> io::Result<Vec<u8>> { Ok(vec![]) }
//! ```
//!
//! # Features
//!
//! | feature | gives |
//! |---|---|
//! | `alloc` (default) | the token tree, the set, the nursery, the virtual clock |
//! | `std` | panics of children are caught and resumed when all have ended, those of foreign wakers when all are woken; `Cancelled` becomes an `io::Error`; threads wait for tokens |
//! | `portable-atomic` | targets without compare-and-swap; the program chooses portable-atomic's backend |
//! | `defmt` | tokens, reasons, errors and instants in defmt's logs |
//!
//! Without `alloc` there are reasons, clocks, budgets (also for the wire), `Spawn`, `StaticToken`, `CancelSignal`, `or_cancelled`,
//! `take_until_cancelled`, `FixedSet` and `FixedNursery`.
//!
//! # Wakers that outlive
//!
//! Wakers of a set's children, and so of a nursery's, point to blocks of 64 bytes that are never given
//! back to the allocator but pooled ([`pool_stats`] counts them), or lie in a `static` of yours, a
//! [`WakePool`]. So waking, cloning and dropping one
//! never allocates, frees or locks, from whatever context; and a waker kept after its child has ended
//! may cause one needless poll of another child, perhaps of another set.
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
#[cfg(feature = "alloc")]
mod observe;
mod spawn;
#[cfg(feature = "alloc")]
mod boxed_task;
mod token;
mod set;
#[cfg(feature = "alloc")]
mod nursery;
mod fixed_nursery;
mod ext;
#[cfg(feature = "alloc")]
mod executor_nursery;
#[cfg(feature = "defmt")]
mod log;

#[cfg(feature = "alloc")]
pub use boxed_task::{BoxTask, Boxed, LocalBoxTask, LocalBoxed};
#[cfg(feature = "alloc")]
pub use executor_nursery::{
    ExecutorNursery, LocalExecutorNursery,
    handle::{ExecutorChild, ExecutorHandle, LocalExecutorChild, LocalExecutorHandle},
    task::ChildTask,
};
pub use ext::{FutureExt, OrCancelled, StreamExt, TakeUntilCancelled};
pub use fixed_nursery::{
    FixedNursery,
    run::{FixedFailure, FixedRun, NoSignal},
    wait::FixedSpawnWait,
};
#[cfg(feature = "alloc")]
pub use nursery::{
    LocalNursery, LocalRun, Nursery, Run,
    child::{Child, LocalChild},
    cleanup::DeferError,
    ended::Ended,
    failure::{Cause, ChildError, Failure},
    handle::{Handle, LocalHandle},
    histogram::Histogram,
    join::{Join, LocalSpawnWait, SpawnWait},
    join_error::{JoinError, JoinErrorKind},
    observer::{Ending, Mark, ObservedChild, ObservedScope, Observer},
    options::Priority,
    policy::{FailFast, FirstSuccess, KeepGoing, Policy, Verdict},
    report::{CleanupStats, Drained, Report, Stats},
    snapshot::tree::{ChildKind, ChildSnapshot, ChildState, ScopeState, Snapshot},
    spawner::ChildContext,
    start::{Start, Started},
};
#[cfg(feature = "alloc")]
pub use observe::{Id, Key, Name};
pub use reason::{Cancelled, Reason, ReasonKind};
pub use set::fixed::FixedSet;
#[cfg(feature = "alloc")]
pub use set::growing::FutureSet;
pub use spawn::{Spawn, SpawnError, TrySpawnError};
#[cfg(all(
    feature = "alloc",
    any(target_has_atomic = "64", feature = "portable-atomic")
))]
pub use time::manual::{ManualClock, ManualSleep};
pub use time::{Budget, Clock, Instant, Shares, Timer, WireError, WireTimeout};
pub use token::{CancelSignal, Full, StaticChild, StaticDrive, StaticRun, StaticToken, StaticWait};
#[cfg(feature = "alloc")]
pub use token::{
    CancellationToken, Drive, DropGuard, DropGuardRef, DynCancelSignal, Flag, Registration,
    RunUntilCancelled, RunUntilCancelledOwned, WaitForCancellationFuture,
    WaitForCancellationFutureOwned, Wedge,
};
pub use wake::fixed::{InUse, WakePool};
#[cfg(feature = "alloc")]
pub use wake::ready::{PoolStats, pool_stats};

/// Interrupts at every step, for tests: see [`step::with_hook`].
#[cfg(all(umbel_step, not(umbel_loom)))]
pub use sync::step;
