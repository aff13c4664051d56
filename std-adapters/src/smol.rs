//! [smol](https://docs.rs/smol): a timer on its reactor, and spawning on its executors.
//!
//! A nursery needs neither to run: it polls its children inside its own future, so
//! `smol::block_on(nursery.run(…))` is enough. It takes a [`SmolTimer`] for deadlines and grace,
//! and the executors below where children are to run in parallel, as tasks of their own:
//!
//! ```
//! use umbel::smol::SmolSpawn;
//! use umbel::{JoinError, Nursery};
//!
//! let n = Nursery::<JoinError>::new().on(SmolSpawn); // an `ExecutorNursery`
//! let h = n.handle();
//! let sum = smol::block_on(n.run(async {
//!     let (a, b) = (h.spawn(async { Ok(20) }), h.spawn(async { Ok(22) }));
//!     Ok(a.await? + b.await?)
//! }));
//! assert_eq!(sum.unwrap(), 42);
//! ```

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use umbel_core::{Clock, Instant, Spawn, SpawnError, Timer};

use crate::time;

/// Clock and timer on async-io, which is smol's reactor.
///
/// It works under every executor, not only under smol's. Its clock is the monotonic one of the
/// standard library, counted from the epoch that all adapters of this crate share
/// ([`crate::time`]).
///
/// The type is empty; it is `Copy`, `Send` and `Sync`.
///
/// ```
/// use std::time::Duration;
/// use umbel::smol::SmolTimer;
/// use umbel::{Clock, Timer};
///
/// smol::block_on(async {
///     let timer = SmolTimer::new();
///     let at = timer.now() + Duration::from_millis(1);
///     timer.sleep_until(at).await;
///     assert!(timer.now() >= at);
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolTimer(());

impl SmolTimer {
    /// The timer. There is only one reactor, so all are the same.
    pub const fn new() -> Self {
        SmolTimer(())
    }
}

impl Clock for SmolTimer {
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
impl Timer for SmolTimer {
    type Sleep = SmolSleep;

    fn sleep_until(&self, at: Instant) -> SmolSleep {
        SmolSleep(match time::to_std(at) {
            Some(at) => ::smol::Timer::at(at),
            None => ::smol::Timer::never(),
        })
    }
}

/// The wait of [`SmolTimer`] for one instant: `Send`, `Sync` and `Unpin`.
///
/// **Cancel safety:** Strict. Polled again after its end it stays pending.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct SmolSleep(::smol::Timer);

impl Future for SmolSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// smol's global executor: [`Spawn`] by [`smol::spawn`], for `Send` futures.
///
/// The task is detached: it runs to its end whoever keeps what. It never refuses a future.
/// The first spawn starts the executor's threads (one, or as many as the environment's
/// `SMOL_THREADS` says); each spawn allocates the task. A panic of the future ends its task only.
///
/// ```
/// use umbel::smol::SmolSpawn;
/// use umbel::{CancellationToken, Spawn};
///
/// let done = CancellationToken::new();
/// let guard = done.clone().drop_guard();
/// SmolSpawn.spawn(async move { drop(guard) }).unwrap();
/// smol::block_on(done.cancelled());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolSpawn;

impl<F> Spawn<F> for SmolSpawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        ::smol::spawn(future).detach();
        Ok(())
    }
}

/// A [`smol::Executor`] of one's own, behind a reference, an `Arc` or any other pointer `P`:
/// [`Spawn`] for `Send` futures.
///
/// The task is detached: it runs when the executor is run, and is dropped with the executor.
/// It never refuses a future. Each spawn allocates the task; no thread is started. A panic of the
/// future ends its task only (before async-executor 1.8 it came out of the call that runs the
/// executor). `Send` and `Sync` as `P` is.
///
/// ```
/// use umbel::smol::SmolExecutor;
/// use umbel::{CancellationToken, Spawn};
///
/// let done = CancellationToken::new();
/// let executor = smol::Executor::new();
/// SmolExecutor::new(&executor).spawn(async { done.cancel() }).unwrap(); // may borrow
/// smol::block_on(executor.run(done.cancelled()));
/// ```
#[derive(Clone, Copy)]
pub struct SmolExecutor<P>(P);

impl<'a, P: Deref<Target = ::smol::Executor<'a>>> SmolExecutor<P> {
    /// Spawns on `executor`.
    pub const fn new(executor: P) -> Self {
        SmolExecutor(executor)
    }
}

impl<'a, P, F> Spawn<F> for SmolExecutor<P>
where
    P: Deref<Target = ::smol::Executor<'a>>,
    F: Future<Output = ()> + Send + 'a,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        self.0.spawn(future).detach();
        Ok(())
    }
}

impl<P> fmt::Debug for SmolExecutor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmolExecutor").finish_non_exhaustive()
    }
}

/// A [`smol::LocalExecutor`], behind a reference, an `Rc` or any other pointer `P`: [`Spawn`] for
/// futures that need not be `Send`.
///
/// Otherwise as [`SmolExecutor`]; it stays on its thread, because `P` does.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use umbel::smol::SmolLocalExecutor;
/// use umbel::{CancellationToken, Spawn};
///
/// let executor = Rc::new(smol::LocalExecutor::new());
/// let (done, count) = (CancellationToken::new(), Rc::new(Cell::new(0)));
/// let (d, c) = (done.clone(), count.clone()); // an `Rc` is not `Send`
/// SmolLocalExecutor::new(executor.clone())
///     .spawn(async move {
///         c.set(1);
///         d.cancel();
///     })
///     .unwrap();
/// smol::block_on(executor.run(done.cancelled()));
/// assert_eq!(count.get(), 1);
/// ```
#[derive(Clone, Copy)]
pub struct SmolLocalExecutor<P>(P);

impl<'a, P: Deref<Target = ::smol::LocalExecutor<'a>>> SmolLocalExecutor<P> {
    /// Spawns on `executor`.
    pub const fn new(executor: P) -> Self {
        SmolLocalExecutor(executor)
    }
}

impl<'a, P, F> Spawn<F> for SmolLocalExecutor<P>
where
    P: Deref<Target = ::smol::LocalExecutor<'a>>,
    F: Future<Output = ()> + 'a,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        self.0.spawn(future).detach();
        Ok(())
    }
}

impl<P> fmt::Debug for SmolLocalExecutor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmolLocalExecutor").finish_non_exhaustive()
    }
}
