//! A nursery whose children are tasks of an executor, and run in parallel.
//!
//! There is one engine: the nursery polls for each child a *proxy*, an ordinary child that ends when the task
//! has. So all that a nursery does for its children (names, deadlines, limits, policies, services,
//! snapshots) it does for these. What differs is how a child is ended: it is told, and waited for.
//!
//! | room | what it holds |
//! |---|---|
//! | `link` | what a task and its proxy share |
//! | `task` | what the executor polls |
//! | `proxy` | what the nursery polls |
//! | `spawning` | in which order a child goes to the nursery and to the executor |
//! | `handle` | the handles |

// Each uses only what stands above it.
mod link;
pub(crate) mod task;
mod proxy;
mod spawning;
pub(crate) mod handle;

use crate::nursery::{LocalNursery, LocalRun, Nursery, Run};
use crate::sync::Arc;
use core::fmt;
use core::future::Future;
use handle::{ExecutorHandle, LocalExecutorHandle};

macro_rules! executor_nurseries {
    (
        $Here:ident, $Run:ident, $Handle:ident;
        E: [$($error:tt)*];
        S: [$($executor:tt)*];
        $(#[$on_doc:meta])*
        on;
        $(#[$nursery_doc:meta])*
        $Nursery:ident;
    ) => {
        $(#[$nursery_doc])*
        #[must_use = "a nursery does nothing until it is run; dropped, it stops its children"]
        pub struct $Nursery<'env, E, S> {
            here: $Here<'env, E>,
            executor: Arc<S>,
        }

        impl<'env, E: $($error)*> $Here<'env, E> {
            $(#[$on_doc])*
            pub fn on<S: $($executor)*>(self, executor: S) -> $Nursery<'env, E, S> {
                $Nursery {
                    here: self,
                    executor: Arc::new(executor),
                }
            }
        }

        impl<'env, E: $($error)*, S: $($executor)*> $Nursery<'env, E, S> {
            #[doc = concat!("A nursery without options: [`", stringify!($Here), "::new`]`().`[`on`](", stringify!($Here), "::on)`(executor)`.")]
            pub fn new(executor: S) -> Self {
                $Here::new().on(executor)
            }

            /// A handle, for spawning and steering.
            pub fn handle(&self) -> $Handle<'env, E, S> {
                $Handle::new(self.here.handle(), &self.executor)
            }

            #[doc = concat!("Runs `body` and the children to their ends; all is as for [`", stringify!($Here), "::run`].")]
            /// The body is polled here, in the nursery's own future, and may borrow.
            ///
            /// **Cancel safety:** dropping the future drops the body, and asks the children's tasks to stop:
            /// they may go on for a while (see [dropping](ExecutorNursery#dropping)). To end them, cancel and await.
            ///
            /// # Panics
            ///
            /// As there.
            #[track_caller]
            pub fn run<T, B>(self, body: B) -> $Run<'env, E, T, B>
            where
                B: Future<Output = Result<T, E>>, // `E` is the nursery's error
            {
                self.here.run(body)
            }
        }

        impl<E, S> fmt::Debug for $Nursery<'_, E, S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Nursery)).field(&self.here).finish()
            }
        }
    };
}

executor_nurseries! {
    Nursery, Run, ExecutorHandle;
    E: [Send + 'env];
    S: [Send + Sync + 'env];
    /// From now on its children are tasks of `executor`, which run in parallel: see [`ExecutorNursery`].
    /// One allocation.
    on;
    /// A [`Nursery`] whose children are tasks of an executor, and run in parallel.
    ///
    /// It has the options of a [`Nursery`], which are set before [`on`](Nursery::on), and the same policies,
    /// outcome, joins and reports. Its children are whatever the executor `S` runs: those of
    /// `umbel::smol::SmolSpawn` and `umbel::tokio::TokioSpawn` are `Send` and `'static`. The body, cleanups
    /// and [critical sections](crate::Handle::shield) are polled in the nursery's own future, and may borrow.
    ///
    /// ```
    /// use umbel_core::{JoinError, Nursery};
    /// # use umbel_core::{Spawn, SpawnError};
    /// # use std::{future::Future, pin::{Pin, pin}, sync::{Arc, Mutex}, task::{Context, Poll, Waker}};
    /// # #[derive(Clone, Default)]
    /// # struct Threads(Arc<Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>>);
    /// # impl<F: Future<Output = ()> + Send + 'static> Spawn<F> for Threads {
    /// #     fn spawn(&self, f: F) -> Result<(), SpawnError<F>> { self.0.lock().unwrap().push(Box::pin(f)); Ok(()) }
    /// # }
    /// # fn block_on<F: Future>(threads: &Threads, f: F) -> F::Output {
    /// #     let mut f = pin!(f);
    /// #     let mut cx = Context::from_waker(Waker::noop());
    /// #     loop {
    /// #         if let Poll::Ready(v) = f.as_mut().poll(&mut cx) { return v }
    /// #         let mut tasks = std::mem::take(&mut *threads.0.lock().unwrap());
    /// #         tasks.retain_mut(|t| t.as_mut().poll(&mut cx).is_pending());
    /// #         threads.0.lock().unwrap().extend(tasks);
    /// #     }
    /// # }
    /// # let executor = Threads::default();
    /// # let threads = executor.clone();
    ///
    /// let n = Nursery::<JoinError>::new().limit(8).on(executor); // `SmolSpawn`, `TokioSpawn`, …
    /// let h = n.handle();
    /// let sum = block_on(&threads, n.run(async {
    ///     let parts = [(0..50), (50..101)].map(|part| h.spawn(async move { Ok(part.sum::<u32>()) }));
    ///     let mut sum = 0;
    ///     for part in parts {
    ///         sum += part.await?;
    ///     }
    ///     Ok(sum)
    /// }));
    /// assert_eq!(sum.unwrap(), 5050);
    /// ```
    ///
    /// # How children end
    ///
    /// Awaited, `run` returns only when each child has ended and its future was dropped, on every path.
    /// A child that is to end before its time cannot be dropped from here: its task is told and woken, and
    /// drops the child's future when the executor polls it next, at the await point where it is. So
    ///
    /// - a plain child that is cancelled, with the nursery or alone, is not polled again once its task has
    ///   seen that. One that is just being polled comes to its next await point first; if that was its end,
    ///   it has its output, and counts as done.
    /// - a graceful child is told by its context's token and has the nursery's grace; after that, or when the
    ///   nursery is forced, its task drops it, and it counts as forced.
    /// - the nursery waits for the executor to do so. If that never polls the task again and never drops it
    ///   (a `LocalExecutor` that nobody runs), it waits for ever.
    ///
    /// # Lost children
    ///
    /// An executor that is dropped or shut down drops its tasks. A child whose task was dropped before its end,
    /// without the nursery having asked for its end, is *lost*, as is one that the executor refused: its `Join`
    /// says [`Lost`](crate::JoinErrorKind::Lost), and [`Stats::lost`](crate::Stats::lost) counts it.
    ///
    /// It never looks like success. As a panic, it cancels the nursery whatever its policy, for an executor that
    /// drops one task is about to drop the others; and if no error and no cancellation came before it, the
    /// failure's cause is [`Cause::Lost`](crate::Cause::Lost). (If [`FirstSuccess`](crate::FirstSuccess) has what
    /// it wants and the body has its value, those that were lost are forgiven, as errors are.)
    ///
    /// # Panics
    ///
    /// With the feature `std` a panic in a child is caught in its task, cancels the nursery, and goes on in
    /// whoever polls the nursery when all have ended; the executor sees nothing of it. Without `std` it unwinds
    /// into the executor, and the child is lost.
    ///
    /// # Dropping
    ///
    /// When the nursery's future is dropped, children that have begun are only asked to stop: their tasks are
    /// woken, and drop them when they are polled next, which may be later than the drop, on another thread. Those
    /// that have not begun are dropped there and then. All else is as for a [`Nursery`](Nursery#dropping).
    ///
    /// # Executors whose type is not known
    ///
    /// `&dyn Spawn<BoxTask>` and the like are executors inside a [`Boxed`](crate::Boxed).
    ///
    /// # Source
    ///
    /// It is what `JoinSet` is in tokio, `errgroup` with goroutines in Go and a `TaskGroup` in Swift.
    ///
    /// `Send` if `E` is.
    ExecutorNursery;
}

executor_nurseries! {
    LocalNursery, LocalRun, LocalExecutorHandle;
    E: ['env];
    S: ['env];
    /// From now on its children are tasks of `executor`, which runs on this thread: see
    /// [`LocalExecutorNursery`]. One allocation.
    on;
    /// An [`ExecutorNursery`] for executors of this thread, such as `umbel::smol::SmolLocalExecutor`: children,
    /// errors, policy and timer need not be `Send`.
    ///
    /// All else is as there. The nursery and its handles are neither `Send` nor `Sync`.
    LocalExecutorNursery;
}
