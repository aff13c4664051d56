//! The handles: spawning and steering from anywhere.
//!
//! The types for children that cross threads and for those that do not are written once: they differ
//! in the bounds of what is spawned and in a marker. What they do is the `spawner`'s.

use crate::nursery::handoff::Handoff;
use crate::nursery::join::{Join, LocalSpawnWait, SpawnWait};
use crate::nursery::join_error::JoinError;
use crate::nursery::look;
use crate::nursery::map::{Collect, InOrder, Map};
use crate::nursery::mode::{Local, Mode, Threads};
use crate::nursery::options::{Options, Priority};
use crate::nursery::own::Own;
use crate::nursery::report::{Report, Stats};
use crate::nursery::request;
use crate::nursery::snapshot::tree::Snapshot;
use crate::nursery::spawner::{ChildContext, Spawner};
use crate::nursery::start::{Start, Started};
use crate::observe::{Id, Key, Name};
use crate::reason::Reason;
use crate::set::growing::FutureSet;
use crate::spawn::TrySpawnError;
use crate::sync::Arc;
use crate::time::Instant;
use crate::token::CancellationToken;
use alloc::vec::Vec;
use core::convert::identity;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::panic::Location;
use core::time::Duration;
use futures_core::FusedStream;

macro_rules! handles {
    (
        $mode:ty, $Nursery:ident, $Wait:ident by $waits:path;
        E: [$($error:tt)*];
        T: [$($output:tt)*];
        F: [$($child:tt)*];
        $(#[$handle_doc:meta])*
        $Handle:ident;
        $(#[$child_doc:meta])*
        $Child:ident;
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
            /// nursery's next poll and count as forced.
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
                $Child {
                    handle: self,
                    options: Options::here(),
                }
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

        $(#[$child_doc])*
        #[must_use = "no child is spawned until one of the spawns is called"]
        pub struct $Child<'h, 'env, E> {
            handle: &'h $Handle<'env, E>,
            options: Options,
        }

        impl<'h, 'env, E> $Child<'h, 'env, E> {
            pub(crate) fn into_parts(self) -> (&'h Spawner<'env, E>, Options) {
                (&self.handle.0, self.options)
            }
        }

        impl<'env, E: $($error)*> $Child<'_, 'env, E> {
            /// Names the child, for reports and errors.
            pub fn name(mut self, name: impl Into<Name>) -> Self {
                self.options.name = Some(name.into());
                self
            }

            /// Gives the child a key, by which it is [cancelled](crate::Handle::cancel_keyed) with all
            /// others that have the same one. Allocates.
            pub fn key(mut self, key: impl Into<Key>) -> Self {
                self.options.more().key = Some(key.into());
                self
            }

            /// Puts the child before or behind others: of the children that were woken, those of a higher
            /// priority are polled first, and of those that wait for room they start first. Each is still
            /// polled at most once a turn of the nursery, so none is starved once it runs; one that
            /// waits for room waits until no higher one does. Allocates.
            pub fn priority(mut self, priority: Priority) -> Self {
                self.options.more().priority = priority;
                self
            }

            /// Makes it a service: a child for the others, that is cancelled (alone,
            /// [`Explicit`](crate::ReasonKind::Explicit)) when the body and all others have ended. A plain one is
            /// dropped then, a graceful one told, and has the nursery's grace. That it was cut is no
            /// failure of the nursery, but an error of its own is, as that of any child.
            ///
            /// It takes no place under the limit, for the others might wait for it: it starts at once,
            /// and `try_spawn` of it is never `Full`. Children that it spawns are others. Who
            /// [waits](Self::after) for a service waits in vain. Allocates.
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
            /// let sum = block_on(n.run(async {
            ///     drop(h.child().name("heartbeat").service().spawn::<(), _>(pending()));
            ///     let sums = h.parallel([1, 2].map(|n| async move { Ok(n) })).await?;
            ///     Ok(sums.iter().sum::<i32>())
            /// }));
            /// assert_eq!(sum.unwrap(), 3);
            /// ```
            pub fn service(mut self) -> Self {
                let nursery = &self.handle.0.shared.token;
                self.options.own(nursery);
                self.options.more().service = true;
                self
            }

            /// Starts the child only when the children with these [ids](crate::Join::id) have ended well.
            ///
            /// When one of them ends without output (it failed, panicked, was cancelled, forced,
            /// skipped or refused), the child is dropped without ever having started: its
            /// `Join` says [`Skipped`](crate::JoinErrorKind::Skipped), and
            /// [because of whom](crate::JoinError::waited_for); its own id may be waited for, too. That does not
            /// fail the nursery, nor does it hide why the other one ended. In a nursery that is cancelled
            /// while it waits, it is `Cancelled`.
            ///
            /// It takes its place under the limit when all of them have ended, behind those that
            /// queue by then; `try_spawn` of such a child is never `Full`, and `spawn_wait` waits for
            /// both. Ids of other nurseries' children never come: who waits for one is skipped when nothing
            /// else is left in the nursery and the body has ended.
            ///
            /// As an id exists only after its child was spawned, no children can wait for one another.
            /// Allocates.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{JoinError, ", stringify!($Nursery), "};")]
            /// # use core::{cell::RefCell, future::Future, pin::pin, task::{Context, Poll, Waker}};
            /// # use std::sync::Mutex;
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            ///
            /// let log = Mutex::new(vec![]);
            /// let step = |name: &'static str| {
            ///     let log = &log;
            ///     async move { Ok(log.lock().unwrap().push(name)) }
            /// };
            #[doc = concat!("let n = ", stringify!($Nursery), "::<JoinError>::new();")]
            /// let h = n.handle();
            /// block_on(n.run(async {
            ///     let schema = h.spawn(step("schema"));
            ///     let data = h.child().after(&[schema.id()]).spawn(step("data"));
            ///     h.child().after(&[schema.id(), data.id()]).spawn(step("index")).await
            /// }))
            /// .unwrap();
            /// assert_eq!(*log.lock().unwrap(), ["schema", "data", "index"]);
            /// ```
            ///
            /// # Panics
            ///
            /// If one of the ids was not got from a `Join`, but from what tells about a child of which it was
            /// not asked.
            #[track_caller]
            pub fn after(mut self, ids: &[Id]) -> Self {
                let asked = ids.iter().all(|id| id.is_asked());
                assert!(asked, "a child waits for ids that were got from `Join::id`");
                self.options.more().after.extend_from_slice(ids);
                self
            }

            /// Cancels the child alone, with
            /// [`ReasonKind::DeadlineExceeded`](crate::ReasonKind::DeadlineExceeded), at `at`: a plain one
            /// is dropped at its await point, or before it starts, if it still waits for room; a
            /// graceful one is told and has the nursery's grace from then on. The nursery goes on.
            /// One that has passed cancels it before it is polled. Of several, the earliest holds.
            /// Allocates.
            ///
            /// # Panics
            ///
            /// If the nursery has no [`timer`](crate::Nursery::timer), of whose clock `at` is.
            #[track_caller]
            pub fn deadline(mut self, at: Instant) -> Self {
                self.own_with_timer().set_deadline(at);
                self
            }

            /// As [`deadline`](Self::deadline), so long after the spawn: from when the nursery takes the
            /// child in, which is its next poll. The time in which it waits for room counts. Unlike a
            /// deadline, it is not told by the [`deadline`](CancellationToken::deadline) of
            /// the child's token, which is made before.
            ///
            /// # Panics
            ///
            /// If the nursery has no [`timer`](crate::Nursery::timer).
            #[track_caller]
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.own_with_timer().set_timeout(timeout);
                self
            }

            /// A token by which this child can be cancelled alone, before its spawn and after it: a plain
            /// one is dropped at its await point or never starts, a graceful one is told. The
            /// nursery goes on. It is a child of the nursery's token, so it is also cancelled with that;
            /// it is not when the child ends. Dropping it does nothing, unlike its
            /// [`drop_guard`](CancellationToken::drop_guard). Allocates.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{JoinError, JoinErrorKind, ", stringify!($Nursery), "};")]
            /// # use core::{future::{Future, pending}, pin::pin, task::{Context, Poll, Waker}};
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            ///
            #[doc = concat!("let n = ", stringify!($Nursery), "::<JoinError>::new();")]
            /// let h = n.handle();
            /// let done = block_on(n.run(async {
            ///     let mut child = h.child();
            ///     let stop = child.cancel_handle();
            ///     let idle = child.spawn::<(), _>(pending());
            ///     stop.cancel();
            ///     assert_eq!(idle.await.unwrap_err().kind(), JoinErrorKind::Cancelled);
            ///     Ok("the nursery goes on")
            /// }));
            /// assert_eq!(done.unwrap(), "the nursery goes on");
            /// ```
            ///
            /// It is what `abort_handle()` is in tokio and a `Job` in Kotlin.
            pub fn cancel_handle(&mut self) -> CancellationToken {
                let own = self.options.own(&self.handle.0.shared.token);
                own.watched = true;
                own.token.clone()
            }

            #[track_caller]
            fn own_with_timer(&mut self) -> &mut Own {
                let shared = &self.handle.0.shared;
                assert!(
                    shared.is_timed(),
                    "a child's deadline and timeout need the nursery's `.timer(..)`, set before"
                );
                self.options.own(&shared.token)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn`].")]
            pub fn spawn<T, F>(self, future: F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.handle.0.spawn(future, self.options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_graceful`].")]
            pub fn spawn_graceful<T, F>(self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
            {
                let (options, cx) = self.handle.0.graceful(self.options);
                self.handle.0.spawn(make(cx), options)
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
            {
                self.handle.0.try_spawn(future, self.options)
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
            {
                let (options, cx) = self.handle.0.graceful(self.options);
                self.handle.0.try_spawn(make(cx), options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_wait`].")]
            pub fn spawn_wait<T, F>(self, future: F) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
            {
                $waits(self.handle.0.spawn_wait(future, self.options))
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_wait_graceful`].")]
            pub fn spawn_wait_graceful<T, F>(
                self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
            {
                let (options, cx) = self.handle.0.graceful(self.options);
                $waits(self.handle.0.spawn_wait(make(cx), options))
            }

            #[doc = concat!("As [`", stringify!($Handle), "::start`].")]
            pub fn start<V, T, F>(mut self, make: impl FnOnce(Started<V>) -> F) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
            {
                let token = self.cancel_handle();
                let handoff = Arc::new(Handoff::new());
                let join = self.spawn(make(Started::new(&handoff)));
                Start::new(handoff, join, token)
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
            {
                let token = self.cancel_handle();
                let handoff = Arc::new(Handoff::new());
                let join = self.spawn_graceful(|cx| make(cx, Started::new(&handoff)));
                Start::new(handoff, join, token)
            }
        }

        impl<E> fmt::Debug for $Child<'_, '_, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Child))
                    .field("name", &self.options.name)
                    .finish_non_exhaustive()
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
    Handle;
    /// Options for one child; made by [`Handle::child`].
    Child;
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
    LocalHandle;
    /// Options for one child; made by [`LocalHandle::child`].
    LocalChild;
}
