//! What is said about one child before it is spawned, and the spawns that end it.
//!
//! Written once for both sorts, as in `handle`.

use crate::nursery::join::{Join, LocalSpawnWait, SpawnWait};
use crate::nursery::mode::{Local, Mode, Threads};
use crate::nursery::options::{Options, Priority};
use crate::nursery::own::Own;
use crate::nursery::spawner::{ChildContext, Spawner};
use crate::nursery::start::{Start, Started, Starting};
use crate::observe::{Id, Key, Name};
use crate::spawn::TrySpawnError;
use crate::time::Instant;
use crate::token::CancellationToken;
use core::convert::identity;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::time::Duration;

macro_rules! children {
    (
        $mode:ty, $Nursery:ident, $Handle:ident, $Wait:ident by $waits:path;
        E: [$($error:tt)*];
        T: [$($output:tt)*];
        F: [$($child:tt)*];
        $Child:ident;
    ) => {
        #[doc = concat!("Options for one child; made by [`", stringify!($Handle), "::child`](crate::", stringify!($Handle), "::child).")]
        #[must_use = "no child is spawned until one of the spawns is called"]
        pub struct $Child<'h, 'env, E> {
            spawner: &'h Spawner<'env, E>,
            options: Options,
            _mode: PhantomData<<$mode as Mode>::Marker>,
        }

        impl<'h, 'env, E> $Child<'h, 'env, E> {
            pub(crate) fn new(spawner: &'h Spawner<'env, E>, options: Options) -> Self {
                $Child {
                    spawner,
                    options,
                    _mode: PhantomData,
                }
            }

            pub(crate) fn into_parts(self) -> (&'h Spawner<'env, E>, Options) {
                (self.spawner, self.options)
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
                let nursery = &self.spawner.shared.token;
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
            /// both. Ids of other nurseries' children never come, unless the child had ended when it was
            /// asked: who waits for one is skipped when nothing else is left in the nursery and the body
            /// has ended.
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
            /// Allocates. Of children that wait, one that ends alone, by its time or by its handle, costs a look
            /// at all that wait.
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
            /// Asked for before [`deadline`](Self::deadline), it cancels the child all the same, but tells
            /// nothing of that deadline and is not cancelled when it comes.
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
                let own = self.options.own(&self.spawner.shared.token);
                own.watched = true;
                own.token.clone()
            }

            #[track_caller]
            fn own_with_timer(&mut self) -> &mut Own {
                let shared = &self.spawner.shared;
                assert!(
                    shared.is_timed(),
                    "a child's deadline and timeout need the nursery's `.timer(..)`, set before"
                );
                self.options.own(&shared.token)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn`](crate::", stringify!($Handle), "::spawn).")]
            pub fn spawn<T, F>(self, future: F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.spawner.spawn(future, self.options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_graceful`](crate::", stringify!($Handle), "::spawn_graceful).")]
            pub fn spawn_graceful<T, F>(self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
            where
                T: $($output)*,
                F: $($child)*,
            {
                let (options, cx) = self.spawner.graceful(self.options);
                self.spawner.spawn(make(cx), options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::try_spawn`](crate::", stringify!($Handle), "::try_spawn).")]
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_spawn<T, F>(self, future: F) -> Result<Join<T>, TrySpawnError<F>>
            where
                T: $($output)*,
                F: $($child)*,
            {
                self.spawner.try_spawn(future, self.options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::try_spawn_graceful`](crate::", stringify!($Handle), "::try_spawn_graceful).")]
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
                let (options, cx) = self.spawner.graceful(self.options);
                self.spawner.try_spawn(make(cx), options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_wait`](crate::", stringify!($Handle), "::spawn_wait).")]
            pub fn spawn_wait<T, F>(self, future: F) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
            {
                $waits(self.spawner.spawn_wait(future, self.options))
            }

            #[doc = concat!("As [`", stringify!($Handle), "::spawn_wait_graceful`](crate::", stringify!($Handle), "::spawn_wait_graceful).")]
            pub fn spawn_wait_graceful<T, F>(
                self,
                make: impl FnOnce(ChildContext) -> F,
            ) -> $Wait<'env, T, E>
            where
                T: $($output)*,
                F: $($child)*,
            {
                let (options, cx) = self.spawner.graceful(self.options);
                $waits(self.spawner.spawn_wait(make(cx), options))
            }

            #[doc = concat!("As [`", stringify!($Handle), "::start`](crate::", stringify!($Handle), "::start).")]
            /// A name that is a `String` is copied, for the error.
            pub fn start<V, T, F>(mut self, make: impl FnOnce(Started<V>) -> F) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
            {
                let starting = self.starting();
                let join = self.spawn(make(starting.started()));
                starting.wait(join)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::start`](crate::", stringify!($Handle), "::start), of a graceful child.")]
            pub fn start_graceful<V, T, F>(
                mut self,
                make: impl FnOnce(ChildContext, Started<V>) -> F,
            ) -> Start<V, T>
            where
                V: $($output)*,
                T: $($output)*,
                F: $($child)*,
            {
                let starting = self.starting();
                let join = self.spawn_graceful(|cx| make(cx, starting.started()));
                starting.wait(join)
            }

            /// To be called when the child has its name.
            pub(crate) fn starting<V>(&mut self) -> Starting<V> {
                Starting::new(self.cancel_handle(), self.options.name.clone())
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

children! {
    Threads, Nursery, Handle, SpawnWait by identity;
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
    Child;
}

children! {
    Local, LocalNursery, LocalHandle, LocalSpawnWait by LocalSpawnWait::new;
    E: ['env];
    T: ['env]; // outlives the nursery
    F: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + 'env // borrows only from what outlives the nursery
    ];
    LocalChild;
}
