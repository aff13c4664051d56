//! [async-std](https://docs.rs/async-std), for programs that are on their way from it: a timer on its
//! reactor, and spawning on its executors.
//!
//! async-std is discontinued; its authors point to [smol](https://docs.rs/smol), of whose crates it is
//! made. Its reactor and clock are smol's, so a program may move piece by piece, and use both modules
//! meanwhile: instants of one are instants of the other.
//!
//! | here | in `umbel::smol` |
//! |---|---|
//! | [`AsyncStdTimer`] | `SmolTimer` |
//! | [`AsyncStdSpawn`] | `SmolSpawn`; its threads are others, and as many as one says |
//! | [`AsyncStdLocalSpawn`] | `SmolLocalExecutor`, which one makes and runs |
//! | `async_std::task::block_on` | `smol::block_on` |
//!
//! A new program takes smol. This module stays as long as async-std compiles.
//!
//! A nursery needs nothing of it to run: it polls its children inside its own future, so
//! `async_std::task::block_on(nursery.run(…))` is enough. async-std has no token of its own to bridge
//! to.
//!
//! ```
//! use std::time::Duration;
//! use umbel::async_std::AsyncStdTimer;
//! use umbel::{Clock, JoinError, Nursery};
//!
//! let timer = AsyncStdTimer::new();
//! let n = Nursery::<JoinError>::new().timer(timer).deadline(timer.now() + Duration::from_secs(60));
//! let h = n.handle();
//! let sum = async_std::task::block_on(n.run(async {
//!     let (a, b) = (h.spawn(async { Ok(20) }), h.spawn(async { Ok(22) }));
//!     Ok(a.await? + b.await?)
//! }));
//! assert_eq!(sum.unwrap(), 42);
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use umbel_core::{Clock, Instant, Spawn, SpawnError, Timer};

use crate::time;

/// Clock and timer on async-io, which is async-std's reactor.
///
/// It works under every executor, not only under async-std's. Its clock is the monotonic one of the
/// standard library, counted from the epoch that all adapters of this crate share
/// ([`crate::time`]).
///
/// The type is empty; it is `Copy`, `Send` and `Sync`.
///
/// ```
/// use std::time::Duration;
/// use umbel::async_std::AsyncStdTimer;
/// use umbel::{Clock, Timer};
///
/// async_std::task::block_on(async {
///     let timer = AsyncStdTimer::new();
///     let at = timer.now() + Duration::from_millis(1);
///     timer.sleep_until(at).await;
///     assert!(timer.now() >= at);
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdTimer(());

impl AsyncStdTimer {
    /// The timer. There is only one reactor, so all are the same.
    pub const fn new() -> Self {
        AsyncStdTimer(())
    }
}

impl Clock for AsyncStdTimer {
    fn now(&self) -> Instant {
        time::from_std(StdInstant::now())
    }
}

/// **Cancel safety:** Strict. Dropping the sleep takes it out of the reactor.
///
/// A sleep never ends early. One for [`Instant::NEVER`], or for an instant beyond what the
/// operating system's clock can express, never ends and never reaches the reactor. A sleep that is
/// not due at its first poll allocates in the reactor, and the first of all in the process starts
/// the reactor's thread.
impl Timer for AsyncStdTimer {
    type Sleep = AsyncStdSleep;

    fn sleep_until(&self, at: Instant) -> AsyncStdSleep {
        AsyncStdSleep(match time::to_std(at) {
            Some(at) => async_io::Timer::at(at),
            None => async_io::Timer::never(),
        })
    }
}

/// The wait of [`AsyncStdTimer`] for one instant: `Send`, `Sync` and `Unpin`.
///
/// **Cancel safety:** Strict. Polled again after its end it stays pending.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct AsyncStdSleep(async_io::Timer);

impl Future for AsyncStdSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// async-std's threads: [`Spawn`] by `async_std::task::spawn`, for `Send` futures.
///
/// The task is detached: it runs to its end whoever keeps what. It never refuses a future. The first
/// spawn starts the threads (one for each core, or as many as the environment's
/// `ASYNC_STD_THREAD_COUNT` says); each spawn allocates the task. A panic of the future ends its task
/// only.
///
/// ```
/// use umbel::async_std::AsyncStdSpawn;
/// use umbel::{CancellationToken, Spawn};
///
/// let done = CancellationToken::new();
/// let guard = done.clone().drop_guard();
/// AsyncStdSpawn.spawn(async move { drop(guard) }).unwrap();
/// async_std::task::block_on(done.cancelled());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdSpawn;

impl<F> Spawn<F> for AsyncStdSpawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        drop(::async_std::task::spawn(future)); // detaches
        Ok(())
    }
}

/// The calling thread: [`Spawn`] by `async_std::task::spawn_local`, for futures that need not be
/// `Send`.
///
/// The task is detached. It runs while its thread is in `async_std::task::block_on`, and is dropped
/// when the thread ends. It never refuses a future. Each spawn allocates the task. A panic of the
/// future ends its task only (before async-executor 1.8 it came out of `block_on`).
///
/// `spawn_local` is an unstable feature of async-std's, which the feature `async-std` turns on.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use umbel::async_std::AsyncStdLocalSpawn;
/// use umbel::{CancellationToken, Spawn};
///
/// let (done, count) = (CancellationToken::new(), Rc::new(Cell::new(0)));
/// let (d, c) = (done.clone(), count.clone()); // an `Rc` is not `Send`
/// AsyncStdLocalSpawn
///     .spawn(async move {
///         c.set(1);
///         d.cancel();
///     })
///     .unwrap();
/// async_std::task::block_on(done.cancelled());
/// assert_eq!(count.get(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdLocalSpawn;

impl<F> Spawn<F> for AsyncStdLocalSpawn
where
    F: Future<Output = ()> + 'static,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        drop(::async_std::task::spawn_local(future)); // detaches
        Ok(())
    }
}
