//! The handles: spawning and steering from anywhere.
//!
//! The types for children that cross threads and for those that do not are written once: they differ
//! in the bounds of what is spawned and in a marker. What they do is the `spawner`'s; what is said about
//! one child is in `child`.

use crate::nursery::child::{Child, LocalChild};
use crate::nursery::join::{Join, LocalSpawnWait, SpawnWait};
use crate::nursery::join_error::JoinError;
use crate::nursery::look;
use crate::nursery::map::{Collect, InOrder, Map};
use crate::nursery::mode::{Local, Mode, Threads};
use crate::nursery::options::Options;
use crate::nursery::report::{Report, Stats};
use crate::nursery::request;
use crate::nursery::snapshot::tree::Snapshot;
use crate::nursery::spawner::{ChildContext, Spawner};
use crate::nursery::start::{Start, Started};
use crate::observe::{Key, Name};
use crate::reason::Reason;
use crate::set::growing::FutureSet;
use crate::spawn::TrySpawnError;
use crate::sync::Arc;
use crate::token::CancellationToken;
use alloc::vec::Vec;
use core::convert::identity;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::panic::Location;
use futures_core::FusedStream;

macro_rules! handles {
    (
        $mode:ty, $Nursery:ident, $Wait:ident by $waits:path;
        E: [$($error:tt)*];
        T: [$($output:tt)*];
        F: [$($child:tt)*];
        $(#[$handle_doc:meta])*
        $Handle:ident, $Child:ident;
    ) => {
        $(#[$handle_doc])*
        pub struct $Handle<'env, E>(
            Spawner<'env, E>,
            PhantomData<<$mode as Mode>::Marker>,
        );

        impl<E> Clone for $Handle<'_, E> {
            fn clone(&self) -> Self {
                $Handle::new(self.0.clone())
            }
        }

        impl<'env, E> $Handle<'env, E> {
            pub(crate) fn new(spawner: Spawner<'env, E>) -> Self {
                $Handle(spawner, PhantomData)
            }
        }

        /// Steering and looking.
        impl<'env, E> $Handle<'env, E> {
            /// The nursery's own token: cancelled with the nursery, whatever the cause.
            pub fn token(&self) -> &CancellationToken {
                &self.0.shared.token
            }

            /// Cancels the nursery: [`cancel_with`](Self::cancel_with) the reason `Explicit`.
            pub fn cancel(&self) -> bool {
                self.cancel_with(Reason::explicit())
            }

            /// Cancels the nursery: plain children are dropped at their await points, graceful ones
            /// are told. True if this was the first cancellation. Returns at once; lock-free.
            pub fn cancel_with(&self, reason: Reason) -> bool {
                self.0.shared.token.cancel_with(reason)
            }

            /// Cancels the nursery, and gives graceful children no more time: they are dropped at the
            /// nursery's next poll and count as forced. (A nested [scope](Self::scope) is forced, and ends a
            /// few polls later.)
            pub fn force(&self) {
                self.0.shared.force(Reason::explicit());
            }

            /// How many children came to which end so far, and how many have not. Allocates nothing.
            pub fn stats(&self) -> Stats {
                self.0.shared.stats()
            }

            /// Looks at the nursery and at the [scopes](Self::scope) nested in it: who is there, doing what
            /// for how long. One that has ended, or ends before it can answer, has its counts to show.
            ///
            /// It is asked at once, by a node among the spawns: of the nursery's children it shows those
            /// that were spawned before this was called. The answer is made in the nursery's next poll,
            /// between the polls of children, so nothing in it is half-done; it may be awaited in
            /// a child, in the body, in another task. (Not in a drop: a nursery that is not polled does
            /// not answer.)
            ///
            /// **Cancel safety:** Strict; the answer is lost. **Allocates** once here, and the answer.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{JoinError, ", stringify!($Nursery), "};")]
            /// # use core::{future::{Future, pending}, pin::pin, task::{Context, Poll, Waker}};
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            #[doc = concat!("let n = ", stringify!($Nursery), "::<JoinError>::new().name(\"server\").limit(1);")]
            /// let h = n.handle();
            /// let run = n.run::<(), _>(async {
            ///     drop(h.child().name("listener").spawn(pending::<Result<(), _>>()));
            ///     drop(h.child().name("request").spawn(async { Ok(()) }));
            ///     let seen = h.snapshot().await;
            ///     assert_eq!(
            ///         seen.to_string(),
            ///         "scope \"server\": running\n\
            ///          ├─ the body: running\n\
            ///          ├─ \"listener\": starting\n\
            ///          └─ \"request\": queued\n"
            ///     );
            ///     h.cancel();
            ///     pending().await
            /// });
            /// block_on(run).unwrap_err();
            /// ```
            #[must_use = "a snapshot is there when it is awaited"]
            pub fn snapshot(&self) -> impl Future<Output = Snapshot> + use<'env, E> {
                let shared = Arc::clone(&self.0.shared);
                let asked = request::ask(&shared, Options::here(), look::snapshot);
                async move { asked.await.unwrap_or_else(|_| look::at_ended(&shared)) }
            }

            /// The report, once the nursery has ended; `None` before, and if it was dropped.
            /// Allocates.
            pub fn report(&self) -> Option<Report> {
                self.0.shared.report()
            }
        }

        /// Cancelling some of the children: those that are called so, and were spawned before.
        ///
        /// Plain ones are dropped at their await points, or before they start; graceful ones are told by
        /// their contexts' tokens and have the nursery's grace from then on. Their joins say
        /// [`Cancelled`](crate::JoinErrorKind::Cancelled). The nursery goes on, and its outcome is not
        /// touched. Children that are spawned after the call are not meant, even if the nursery has
        /// not been polled in between: both are in one order, that of the calls, across threads too if
        /// something else orders these.
        ///
        /// These return at once; the nursery does it at its next poll, to which it is rung. One
        /// allocation. No effect in a nursery that has ended. For one child, see
        /// [`cancel_handle`](crate::Child::cancel_handle); for all of them,
        /// [`cancel_with`](Self::cancel_with).
        impl<E> $Handle<'_, E> {
            /// Cancels the children with this name.
            #[track_caller]
            pub fn cancel_named(&self, name: impl Into<Name>, reason: Reason) {
                let name = name.into();
                self.0.cancel_where(reason, move |meta| meta.is_named(&name));
            }

            /// Cancels the children with this key: a group.
            #[track_caller]
            pub fn cancel_keyed(&self, key: impl Into<Key>, reason: Reason) {
                let key = key.into();
                self.0.cancel_where(reason, move |meta| meta.has_key(&key));
            }
        }

        /// Spawning. A child is a future that gives `Result<T, E>`: its `T` goes to its [`Join`], its
        /// `E` to the nursery's outcome.
        ///
        /// | over the limit | plain child | graceful child |
        /// |---|---|---|
        /// | it queues | [`spawn`](Self::spawn) | [`spawn_graceful`](Self::spawn_graceful) |
        /// | it comes back | [`try_spawn`](Self::try_spawn) | [`try_spawn_graceful`](Self::try_spawn_graceful) |
        /// | the spawner waits | [`spawn_wait`](Self::spawn_wait) | [`spawn_wait_graceful`](Self::spawn_wait_graceful) |
        ///
        /// Errors name the place where these were called. One allocation a child. Queued children start
        /// in the order in which they came; the memory of a queue is the caller's to bound, by one of the
        /// other two ways.
        impl<'env, E: $($error)*> $Handle<'env, E> {
            /// Spawns a plain child: when the nursery is cancelled, it is dropped at its await point.
            ///
            /// Never fails: in a nursery that is cancelled or has ended, the future is dropped here
            /// and the `Join` says so.
            #[track_caller]
            pub fn spawn<T, F>(&self, future: F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.0.spawn(future, Options::here())
            }

            /// Spawns a graceful child: when the nursery is cancelled, it is told by its context's
            /// token and polled on until it ends, or the nursery's grace is over, or
            /// [`force`](Self::force) is called. In the latter cases it is dropped and counts as
            /// forced.
            ///
            /// `make` is called here, at once.
            #[track_caller]
            pub fn spawn_graceful<T, F>(&self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.child().spawn_graceful(make)
            }

            /// Spawns a plain child if there is room under the limit, at once; allocates nothing if
            /// there is none.
            ///
            /// It overtakes nobody who waits for room and was spawned before the nursery's poll in which
            /// the room came. (One who is spawned by another thread during that poll may be overtaken: his
            /// spawn and this one are not in any order.)
            ///
            /// # Errors
            ///
            /// The future comes back, unpolled, if the nursery is full, or if it is cancelled or has
            /// ended.
            #[track_caller]
            pub fn try_spawn<T, F>(&self, future: F) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.0.try_spawn(future, Options::here())
            }

            /// Spawns a graceful child if there is room under the limit. `make` is called here, at
            /// once.
            ///
            /// # Errors
            ///
            /// As [`try_spawn`](Self::try_spawn); what comes back is the future that `make` made.
            #[track_caller]
            pub fn try_spawn_graceful<T, F>(
                &self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.child().try_spawn_graceful(make)
            }

            /// Waits for room under the limit, then spawns a plain child.
            ///
            /// It is for the nursery's body and for tasks outside: children of the same nursery that
            /// all wait for room while they fill it would wait for one another.
            #[track_caller]
            pub fn spawn_wait<T, F>(&self, future: F) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
            {
                $waits(self.0.spawn_wait(future, Options::here()))
            }

            /// Waits for room under the limit, then spawns a graceful child. `make` is called here,
            /// at once.
            #[track_caller]
            pub fn spawn_wait_graceful<T, F>(
                &self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.child().spawn_wait_graceful(make)
            }

            /// Spawns a plain child and waits until it says that it has started: gives the value that
            /// it says it with, and its [`Join`]. `make` is called here, at once.
            ///
            /// If the child ends before that, or the nursery is cancelled, it gives the child's
            /// [`JoinError`]; a child that ended well all the same was
            /// [`Unstarted`](crate::JoinErrorKind::Unstarted). Its error goes to the nursery's outcome, as
            /// that of any child. If the future is dropped before that, the child is cancelled alone. A
            /// child that has said it is one like others.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{JoinError, ", stringify!($Nursery), "};")]
            /// # use core::{future::{Future, pending}, pin::pin, task::{Context, Poll, Waker}};
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            ///
            #[doc = concat!("let n = ", stringify!($Nursery), "::<JoinError>::new();")]
            /// let h = n.handle();
            /// let port = block_on(n.run(async {
            ///     let (port, server) = h
            ///         .start(|started| async move {
            ///             let port = 8080; // … bound, so that clients may come
            ///             let _ = started.send(port);
            ///             // … serves
            ///             Ok("done")
            ///         })
            ///         .await?;
            ///     assert_eq!(server.await?, "done");
            ///     Ok(port)
            /// }));
            /// assert_eq!(port.unwrap(), 8080);
            /// ```
            ///
            /// It is [`nursery.start`][1] of Trio; there the error of a child that has not started goes to
            /// who waits for it.
            ///
            /// [1]: https://trio.readthedocs.io/en/stable/reference-core.html#trio.Nursery.start
            #[track_caller]
            pub fn start<V, T, F>(&self, make: impl FnOnce(Started<V>) -> F) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
            {
                self.child().start(make)
            }

            /// Runs `make(item)` as a child for each item, and gives the outputs in the order of the
            /// items.
            ///
            /// At most as many as the nursery's limit are begun and not yet read; only then is the
            /// next item taken. (Without a limit all are begun at once.) Like
            /// [`spawn_wait`](Self::spawn_wait) it waits for room, with which it competes: it is for
            /// the body and for tasks outside.
            ///
            /// A child's error goes to the nursery's outcome; here its place is taken by the
            /// [`JoinError`]. When the nursery is cancelled, the child that is next is refused,
            /// as its output says, and no further item is taken.
            ///
            /// **Cancel safety:** Strict, for a `next` on it. If the stream is dropped, the children
            /// that have begun run on, detached; the others never begin.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{JoinError, ", stringify!($Nursery), "};")]
            /// # use core::{future::{Future, poll_fn}, pin::{Pin, pin}, task::{Context, Poll, Waker}};
            /// # use futures_core::Stream;
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            /// # trait Next: Stream + Unpin { async fn next(&mut self) -> Option<Self::Item> { poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await } }
            /// # impl<S: Stream + Unpin> Next for S {}
            /// async fn length(word: &str) -> Result<usize, JoinError> {
            ///     Ok(word.len())
            /// }
            ///
            #[doc = concat!("let n = ", stringify!($Nursery), "::new().limit(2);")]
            /// let h = n.handle();
            /// let total = block_on(n.run(async {
            ///     let mut lengths = h.map(["a", "bc", "def"], length);
            ///     let mut total = 0;
            ///     while let Some(length) = lengths.next().await {
            ///         total += length?;
            ///     }
            ///     Ok(total)
            /// }));
            /// assert_eq!(total.unwrap(), 6);
            /// ```
            // `It` has a name so that the stream keeps no `I::IntoIter`: where the compiler proves that a
            // future which holds the stream is `Send`, it knows no lifetimes and could not find out what
            // that is for an iterator with a closure over what is borrowed.
            #[track_caller]
            pub fn map<I, It, T, F, M>(
                &self,
                items: I,
                mut make: M,
            ) -> impl FusedStream<Item = Result<T, JoinError>> + Unpin + use<'env, E, I, It, T, F, M>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator,
                M: FnMut(It::Item) -> F,
                T: $($output)*,
                F: $($child)*,
            {
                let begin = self.begin();
                Map::new(items.into_iter(), self.0.limit(), InOrder::new(), move |item| {
                    begin(make(item))
                })
            }

            /// As [`map`](Self::map), but gives the outputs in the order in which the children end.
            #[track_caller]
            pub fn map_unordered<I, It, T, F, M>(
                &self,
                items: I,
                mut make: M,
            ) -> impl FusedStream<Item = Result<T, JoinError>> + Unpin + use<'env, E, I, It, T, F, M>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator,
                M: FnMut(It::Item) -> F,
                T: $($output)*,
                F: $($child)*,
            {
                let begin = self.begin();
                Map::new(items.into_iter(), self.0.limit(), FutureSet::new(), move |item| {
                    begin(make(item))
                })
            }

            /// Runs the futures as children, as many at once as there is room for, and gives their
            /// outputs in the order of the arguments.
            ///
            /// Waits for room like [`map`](Self::map). The error is that of the first child, in
            /// their order, that has no output; those that have begun run on, detached.
            #[track_caller]
            pub fn parallel<I, It, T, F>(
                &self,
                futures: I,
            ) -> impl Future<Output = Result<Vec<T>, JoinError>> + use<'env, E, I, It, T, F>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator<Item = F>,
                T: $($output)*,
                F: $($child)*,
            {
                // All will be read: only room bounds how many have begun.
                let width = usize::MAX;
                Collect::new(Map::new(futures.into_iter(), width, InOrder::new(), self.begin()))
            }

            /// Runs the futures as children, each when the one before it has ended, and gives their
            /// outputs in the order of the arguments.
            ///
            /// Waits for room like [`map`](Self::map). The error is that of the first child that has
            /// no output; those after it never begin.
            #[track_caller]
            pub fn series<I, It, T, F>(
                &self,
                futures: I,
            ) -> impl Future<Output = Result<Vec<T>, JoinError>> + use<'env, E, I, It, T, F>
            where
                I: IntoIterator<IntoIter = It>,
                It: Iterator<Item = F>,
                T: $($output)*,
                F: $($child)*,
            {
                Collect::new(Map::new(futures.into_iter(), 1, InOrder::new(), self.begin()))
            }

            /// Spawns children that wait for room, in the name of the caller.
            #[track_caller]
            fn begin<T, F>(&self) -> impl Fn(F) -> $Wait<'env, T, E> + use<'env, E, T, F>
            where
                T: $($output)*,
                F: $($child)*,
            {
                let (spawner, site) = (self.0.clone(), Location::caller());
                move |future| $waits(spawner.spawn_wait(future, Options::at(site)))
            }

            /// Options for one child, ending in one of the six spawns:
            /// `h.child().name("audit").spawn(audit(&db))`.
            #[track_caller]
            pub fn child(&self) -> $Child<'_, 'env, E> {
                $Child::new(&self.0, Options::here())
            }
        }

        impl<E> fmt::Debug for $Handle<'_, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Handle))
                    .field("name", &self.0.shared.name)
                    .field("token", self.token())
                    .field("stats", &self.stats())
                    .finish()
            }
        }
    };
}

handles! {
    Threads, Nursery, SpawnWait by identity;
    E: [Send + 'env];
    T: [
        Send // or else in a `LocalNursery`
        + 'env // outlives the nursery
    ];
    F: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + Send // or else in a `LocalNursery`
        + 'env // borrows only from what outlives the nursery
    ];
    /// Spawns children into a [`Nursery`](crate::Nursery), and steers it.
    ///
    /// Clones share one nursery. A handle may be used in the body, in children, in their drops, in
    /// other tasks and on other threads; it does not keep the nursery open. `Send + Sync`.
    Handle, Child;
}

handles! {
    Local, LocalNursery, LocalSpawnWait by LocalSpawnWait::new;
    E: ['env];
    T: ['env]; // outlives the nursery
    F: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + 'env // borrows only from what outlives the nursery
    ];
    /// Spawns children into a [`LocalNursery`](crate::LocalNursery), and steers it.
    ///
    /// Clones share one nursery. A handle may be used in the body, in children, in their drops and in
    /// other tasks of its thread; it does not keep the nursery open. Neither `Send` nor `Sync`: what
    /// other threads need is its [`token`](Self::token).
    LocalHandle, LocalChild;
}
