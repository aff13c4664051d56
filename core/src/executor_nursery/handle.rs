//! The handles: spawning children whose futures an executor polls.
//!
//! What children are called, when they end and how they are cancelled is said through the nursery's own
//! [`Child`] and [`Handle`], which are inside.

use crate::executor_nursery::task::ChildTask;
use crate::nursery::child::{Child, LocalChild};
use crate::nursery::handle::{Handle, LocalHandle};
use crate::nursery::join::{Join, LocalSpawnWait, SpawnWait};
use crate::nursery::join_error::JoinError;
use crate::nursery::map::{Collect, InOrder, Map};
use crate::nursery::options::{Options, Priority};
use crate::nursery::report::{Report, Stats};
use crate::nursery::snapshot::tree::Snapshot;
use crate::nursery::spawner::ChildContext;
use crate::nursery::start::{Start, Started};
use crate::observe::{Id, Key, Name};
use crate::reason::Reason;
use crate::set::growing::FutureSet;
use crate::spawn::{Spawn, TrySpawnError};
use crate::sync::Arc;
use crate::time::Instant;
use crate::token::CancellationToken;
use alloc::vec::Vec;
use core::convert::identity;
use core::fmt;
use core::future::Future;
use core::panic::Location;
use core::time::Duration;
use futures_core::FusedStream;

macro_rules! handles {
    (
        $Here:ident, $HereChild:ident, $Wait:ident by $waits:path;
        E: [$($error:tt)*];
        S: [$($executor:tt)*];
        T: [$($output:tt)*];
        F: [$($child:tt)*];
        $(#[$handle_doc:meta])*
        $Handle:ident;
        $(#[$child_doc:meta])*
        $Child:ident;
    ) => {
        $(#[$handle_doc])*
        pub struct $Handle<'env, E, S> {
            here: $Here<'env, E>,
            executor: Arc<S>,
        }

        impl<E, S> Clone for $Handle<'_, E, S> {
            fn clone(&self) -> Self {
                $Handle::new(self.here.clone(), &self.executor)
            }
        }

        /// Steering and looking, as with the nursery's own handle.
        impl<'env, E, S> $Handle<'env, E, S> {
            pub(super) fn new(here: $Here<'env, E>, executor: &Arc<S>) -> Self {
                $Handle {
                    here,
                    executor: Arc::clone(executor),
                }
            }

            /// The nursery's own handle. Children that are spawned by it are polled in the nursery's own
            /// future, beside those of the executor: they may borrow. Cleanups, critical sections and nested
            /// scopes are there too, and run there.
            pub const fn here(&self) -> &$Here<'env, E> {
                &self.here
            }

            #[doc = concat!("As [`", stringify!($Here), "::token`].")]
            pub fn token(&self) -> &CancellationToken {
                self.here.token()
            }

            #[doc = concat!("As [`", stringify!($Here), "::cancel`].")]
            pub fn cancel(&self) -> bool {
                self.here.cancel()
            }

            #[doc = concat!("As [`", stringify!($Here), "::cancel_with`].")]
            /// Plain children are dropped by the executor, when it polls their tasks next.
            pub fn cancel_with(&self, reason: Reason) -> bool {
                self.here.cancel_with(reason)
            }

            #[doc = concat!("As [`", stringify!($Here), "::force`].")]
            /// Graceful children are dropped by the executor, when it polls their tasks next.
            pub fn force(&self) {
                self.here.force();
            }

            #[doc = concat!("As [`", stringify!($Here), "::cancel_named`].")]
            #[track_caller]
            pub fn cancel_named(&self, name: impl Into<Name>, reason: Reason) {
                self.here.cancel_named(name, reason);
            }

            #[doc = concat!("As [`", stringify!($Here), "::cancel_keyed`].")]
            #[track_caller]
            pub fn cancel_keyed(&self, key: impl Into<Key>, reason: Reason) {
                self.here.cancel_keyed(key, reason);
            }

            #[doc = concat!("As [`", stringify!($Here), "::stats`].")]
            pub fn stats(&self) -> Stats {
                self.here.stats()
            }

            #[doc = concat!("As [`", stringify!($Here), "::snapshot`].")]
            #[must_use = "a snapshot is there when it is awaited"]
            pub fn snapshot(&self) -> impl Future<Output = Snapshot> + use<'env, E, S> {
                self.here.snapshot()
            }

            #[doc = concat!("As [`", stringify!($Here), "::report`].")]
            pub fn report(&self) -> Option<Report> {
                self.here.report()
            }
        }

        #[doc = concat!("Spawning, with the methods that [`", stringify!($Here), "`] has; what differs is said")]
        /// here. Two allocations a child, of which one is the executor's.
        ///
        /// A child goes to the executor at once, by who spawns it, if it has its place under the limit, the
        /// nursery is being run, and the child has no deadline, timeout or cancel handle, waits for nobody
        /// and is no service. Otherwise, and with `spawn_wait`, the nursery's own poll gives it to the executor when
        /// it starts it.
        impl<'env, E: $($error)*, S: $($executor)*> $Handle<'env, E, S> {
            /// Spawns a plain child: when the nursery is cancelled, the executor drops it at its await
            /// point.
            ///
            /// Never fails: in a nursery that is cancelled or has ended, the future is dropped here and the
            /// `Join` says so; one that the executor refuses is [`Lost`](crate::JoinErrorKind::Lost).
            #[track_caller]
            pub fn spawn<T, F>(&self, future: F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.here.child().into_parts();
                spawner.spawn_on(&self.executor, future, options)
            }

            /// Spawns a graceful child: when the nursery is cancelled, it is told by its context's token, and
            /// polled on until it ends, or the nursery's grace is over, or [`force`](Self::force) is called.
            #[track_caller]
            pub fn spawn_graceful<T, F>(&self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                self.child().spawn_graceful(make)
            }

            /// Spawns a plain child if there is room under the limit and the executor takes it. The executor
            /// is asked here, also before the nursery is run, and whatever options the child has; but not for a
            /// child that waits for others.
            ///
            /// # Errors
            ///
            /// The future comes back, unpolled, if the nursery is full, cancelled or has ended, or if the
            /// executor refuses it; then nothing of it is counted. (An observer was told of it, and is told
            /// that it was given up.)
            #[track_caller]
            pub fn try_spawn<T, F>(&self, future: F) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                self.child().try_spawn(future)
            }

            /// As [`try_spawn`](Self::try_spawn), of a graceful child. `make` is called here, at once.
            ///
            /// # Errors
            ///
            /// As there.
            #[track_caller]
            pub fn try_spawn_graceful<T, F>(
                &self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                self.child().try_spawn_graceful(make)
            }

            /// Waits for room under the limit, then spawns a plain child.
            #[track_caller]
            pub fn spawn_wait<T, F>(&self, future: F) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                self.child().spawn_wait(future)
            }

            /// Waits for room under the limit, then spawns a graceful child.
            #[track_caller]
            pub fn spawn_wait_graceful<T, F>(
                &self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                self.child().spawn_wait_graceful(make)
            }

            /// Spawns a plain child and waits until it says that it has started.
            #[track_caller]
            pub fn start<V, T, F>(&self, make: impl FnOnce(Started<V>) -> F) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                self.child().start(make)
            }

            /// Runs `make(item)` as a child for each item, and gives the outputs in the order of the items.
            #[track_caller]
            pub fn map<I, It, T, F, M>(
                &self,
                items: I,
                mut make: M,
            ) -> impl FusedStream<Item = Result<T, JoinError>> + Unpin + use<'env, E, S, I, It, T, F, M>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator,
                M: FnMut(It::Item) -> F,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (begin, limit) = (self.begin(), self.limit());
                Map::new(items.into_iter(), limit, InOrder::new(), move |item| begin(make(item)))
            }

            /// As [`map`](Self::map), but gives the outputs in the order in which the children end.
            #[track_caller]
            pub fn map_unordered<I, It, T, F, M>(
                &self,
                items: I,
                mut make: M,
            ) -> impl FusedStream<Item = Result<T, JoinError>> + Unpin + use<'env, E, S, I, It, T, F, M>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator,
                M: FnMut(It::Item) -> F,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (begin, limit) = (self.begin(), self.limit());
                Map::new(items.into_iter(), limit, FutureSet::new(), move |item| begin(make(item)))
            }

            /// Runs the futures as children, as many at once as there is room for, and gives their outputs in
            /// the order of the arguments.
            #[track_caller]
            pub fn parallel<I, It, T, F>(
                &self,
                futures: I,
            ) -> impl Future<Output = Result<Vec<T>, JoinError>> + use<'env, E, S, I, It, T, F>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator<Item = F>,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                // All will be read: only room bounds how many have begun.
                let width = usize::MAX;
                Collect::new(Map::new(futures.into_iter(), width, InOrder::new(), self.begin()))
            }

            /// Runs the futures as children, each when the one before it has ended, and gives their outputs in
            /// the order of the arguments.
            #[track_caller]
            pub fn series<I, It, T, F>(
                &self,
                futures: I,
            ) -> impl Future<Output = Result<Vec<T>, JoinError>> + use<'env, E, S, I, It, T, F>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator<Item = F>,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                Collect::new(Map::new(futures.into_iter(), 1, InOrder::new(), self.begin()))
            }

            fn limit(&self) -> usize {
                self.here.child().into_parts().0.limit()
            }

            /// Spawns children that wait for room, in the name of the caller.
            #[track_caller]
            fn begin<T, F>(&self) -> impl Fn(F) -> $Wait<'env, T, E> + use<'env, E, S, T, F>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (h, site) = (self.clone(), Location::caller());
                move |future| {
                    let (spawner, _) = h.here.child().into_parts();
                    $waits(spawner.spawn_wait_on(&h.executor, future, Options::at(site)))
                }
            }

            /// Options for one child, ending in one of the spawns.
            #[track_caller]
            pub fn child(&self) -> $Child<'_, 'env, E, S> {
                $Child {
                    child: self.here.child(),
                    executor: &self.executor,
                }
            }
        }

        impl<E, S> fmt::Debug for $Handle<'_, E, S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Handle)).field(&self.here).finish()
            }
        }

        $(#[$child_doc])*
        #[must_use = "no child is spawned until one of the spawns is called"]
        pub struct $Child<'h, 'env, E, S> {
            child: $HereChild<'h, 'env, E>,
            executor: &'h Arc<S>,
        }

        impl<'h, 'env, E: $($error)*, S: $($executor)*> $Child<'h, 'env, E, S> {
            fn with(mut self, change: impl FnOnce($HereChild<'h, 'env, E>) -> $HereChild<'h, 'env, E>) -> Self {
                self.child = change(self.child);
                self
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::name`].")]
            pub fn name(self, name: impl Into<Name>) -> Self {
                self.with(|child| child.name(name))
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::key`].")]
            pub fn key(self, key: impl Into<Key>) -> Self {
                self.with(|child| child.key(key))
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::priority`]: among those that wait for room. In which")]
            /// order tasks are polled is the executor's.
            pub fn priority(self, priority: Priority) -> Self {
                self.with(|child| child.priority(priority))
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::service`].")]
            pub fn service(self) -> Self {
                self.with($HereChild::service)
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::after`].")]
            ///
            /// # Panics
            ///
            /// As there.
            #[track_caller]
            pub fn after(self, ids: &[Id]) -> Self {
                let $Child { child, executor } = self;
                $Child { child: child.after(ids), executor }
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::deadline`].")]
            ///
            /// # Panics
            ///
            /// As there.
            #[track_caller]
            pub fn deadline(self, at: Instant) -> Self {
                let $Child { child, executor } = self;
                $Child { child: child.deadline(at), executor }
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::timeout`].")]
            ///
            /// # Panics
            ///
            /// As there.
            #[track_caller]
            pub fn timeout(self, timeout: Duration) -> Self {
                let $Child { child, executor } = self;
                $Child { child: child.timeout(timeout), executor }
            }

            #[doc = concat!("As [`", stringify!($HereChild), "::cancel_handle`].")]
            pub fn cancel_handle(&mut self) -> CancellationToken {
                self.child.cancel_handle()
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn`].")]
            pub fn spawn<T, F>(self, future: F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.child.into_parts();
                spawner.spawn_on(self.executor, future, options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_graceful`].")]
            pub fn spawn_graceful<T, F>(self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.child.into_parts();
                let (options, cx) = spawner.graceful(options);
                spawner.spawn_on(self.executor, make(cx), options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::try_spawn`].")]
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_spawn<T, F>(self, future: F) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.child.into_parts();
                spawner.try_spawn_on(self.executor, future, options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::try_spawn_graceful`].")]
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_spawn_graceful<T, F>(
                self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.child.into_parts();
                let (options, cx) = spawner.graceful(options);
                spawner.try_spawn_on(self.executor, make(cx), options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_wait`].")]
            pub fn spawn_wait<T, F>(self, future: F) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.child.into_parts();
                $waits(spawner.spawn_wait_on(self.executor, future, options))
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_wait_graceful`].")]
            pub fn spawn_wait_graceful<T, F>(
                self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let (spawner, options) = self.child.into_parts();
                let (options, cx) = spawner.graceful(options);
                $waits(spawner.spawn_wait_on(self.executor, make(cx), options))
            }

            #[doc = concat!("As [`", stringify!($Handle), "::start`].")]
            /// A name that is a `String` is copied, for the error.
            pub fn start<V, T, F>(mut self, make: impl FnOnce(Started<V>) -> F) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let starting = self.child.starting();
                let join = self.spawn(make(starting.started()));
                starting.wait(join)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::start`], of a graceful child.")]
            pub fn start_graceful<V, T, F>(
                mut self,
                make: impl FnOnce(ChildContext, Started<V>) -> F,
            ) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
                S: Spawn<ChildTask<F>>,
            {
                let starting = self.child.starting();
                let join = self.spawn_graceful(|cx| make(cx, starting.started()));
                starting.wait(join)
            }
        }

        impl<E, S> fmt::Debug for $Child<'_, '_, E, S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Child)).field(&self.child).finish()
            }
        }
    };
}

handles! {
    Handle, Child, SpawnWait by identity;
    E: [Send + 'env];
    S: [Send + Sync + 'env];
    T: [
        Send // or else in a `LocalExecutorNursery`
        + 'env // outlives the nursery
    ];
    F: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + Send // or else in a `LocalExecutorNursery`
        + 'env // outlives the nursery, and whatever its executor demands
    ];
    /// Spawns children into an [`ExecutorNursery`](crate::ExecutorNursery), and steers it.
    ///
    /// Clones share one nursery. A handle may be used in the body, in children, in their drops, in other
    /// tasks and on other threads; it does not keep the nursery open. `Send + Sync` if `S` is.
    ExecutorHandle;
    /// Options for one child; made by [`ExecutorHandle::child`].
    ExecutorChild;
}

handles! {
    LocalHandle, LocalChild, LocalSpawnWait by LocalSpawnWait::new;
    E: ['env];
    S: ['env];
    T: ['env]; // outlives the nursery
    F: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + 'env // outlives the nursery, and whatever its executor demands
    ];
    /// Spawns children into a [`LocalExecutorNursery`](crate::LocalExecutorNursery), and steers it.
    ///
    /// Clones share one nursery. A handle may be used in the body, in children, in their drops and in other
    /// tasks of its thread; it does not keep the nursery open. Neither `Send` nor `Sync`.
    LocalExecutorHandle;
    /// Options for one child; made by [`LocalExecutorHandle::child`].
    LocalExecutorChild;
}
