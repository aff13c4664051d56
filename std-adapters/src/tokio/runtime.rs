//! tokio's timer and its runtimes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::tokio::runtime::Handle;
use ::tokio::time::{Instant as TokioInstant, Sleep, sleep_until};
use pin_project_lite::pin_project;
use umbel_core::{Clock, Instant, Spawn, SpawnError, Timer};

use crate::time;

/// Clock and timer of the tokio runtime in which it is used.
///
/// Its clock is tokio's: the monotonic one of the standard library, counted from the epoch that all
/// adapters of this crate share ([`crate::time`]); under `tokio::time::pause` it is virtual, and
/// then not to be compared with other clocks.
///
/// The type is empty; it is `Copy`, `Send` and `Sync`.
///
/// ```
/// use std::time::Duration;
/// use umbel::tokio::TokioTimer;
/// use umbel::{Clock, Timer};
///
/// # let rt = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
/// # rt.unwrap().block_on(async {
/// let timer = TokioTimer::new();
/// let at = timer.now() + Duration::from_secs(1);
/// timer.sleep_until(at).await;
/// assert!(timer.now() >= at);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTimer(());

impl TokioTimer {
    /// The timer of whatever runtime is current when it is used.
    pub const fn new() -> Self {
        TokioTimer(())
    }
}

impl Clock for TokioTimer {
    fn now(&self) -> Instant {
        time::from_std(TokioInstant::now().into_std())
    }
}

/// **Cancel safety:** Strict. Dropping the sleep takes it out of tokio's timer.
///
/// A sleep never ends early; it may be woken up to a millisecond late, because tokio's timer counts
/// milliseconds. One for [`Instant::NEVER`], or for an instant beyond what the operating system's
/// clock can express, never ends and never reaches tokio.
///
/// # Panics
/// `sleep_until` panics for an instant that can be expressed if there is no current runtime, or one
/// without `enable_time`.
impl Timer for TokioTimer {
    type Sleep = TokioSleep;

    fn sleep_until(&self, at: Instant) -> TokioSleep {
        TokioSleep {
            at,
            sleep: time::to_std(at).map(|at| sleep_until(TokioInstant::from_std(at))),
        }
    }
}

pin_project! {
    /// The wait of [`TokioTimer`] for one instant: `Send` and `Sync`.
    ///
    /// **Cancel safety:** Strict. Polled again after its end it ends again.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TokioSleep {
        at: Instant,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Future for TokioSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // tokio's own answer comes with its next millisecond, and not in a task that has used up its
        // budget.
        if this.at.is_due(TokioTimer::new().now()) {
            return Poll::Ready(());
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}

/// The current tokio runtime: [`Spawn`] by [`tokio::spawn`], for `Send` futures.
///
/// The task is detached: it runs to its end, or is dropped with the runtime. Outside of a runtime
/// the future is refused and comes back. Each spawn allocates the task; a panic of the future ends
/// its task only.
///
/// ```
/// use umbel::tokio::TokioSpawn;
/// use umbel::{CancellationToken, Spawn};
///
/// let done = CancellationToken::new();
/// assert!(TokioSpawn.spawn(async {}).is_err()); // no runtime here
/// # let rt = tokio::runtime::Builder::new_current_thread().build();
/// # rt.unwrap().block_on(async {
/// let theirs = done.clone();
/// TokioSpawn.spawn(async move { theirs.cancel() }).unwrap();
/// done.cancelled().await;
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioSpawn;

impl<F> Spawn<F> for TokioSpawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        match Handle::try_current() {
            Ok(handle) => TokioHandle(handle).spawn(future),
            Err(_) => Err(SpawnError::new(future)),
        }
    }
}

/// One tokio runtime, from wherever it is called: [`Spawn`] by [`Handle::spawn`], for `Send`
/// futures.
///
/// The task is detached: it runs to its end, or is dropped with the runtime. A runtime that is
/// shut down drops the future; it never refuses one. Each spawn allocates the task; a panic of the
/// future ends its task only. `Send` and `Sync`.
///
/// ```
/// use umbel::tokio::TokioHandle;
/// use umbel::{CancellationToken, Spawn};
///
/// let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let spawner = TokioHandle::new(rt.handle().clone());
/// let done = CancellationToken::new();
/// let theirs = done.clone();
/// spawner.spawn(async move { theirs.cancel() }).unwrap();
/// rt.block_on(done.cancelled());
/// ```
#[derive(Clone, Debug)]
pub struct TokioHandle(Handle);

impl TokioHandle {
    /// Spawns on the runtime of `handle`.
    pub const fn new(handle: Handle) -> Self {
        TokioHandle(handle)
    }
}

impl<F> Spawn<F> for TokioHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        drop(self.0.spawn(future));
        Ok(())
    }
}
