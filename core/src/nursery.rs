//! The nursery: a scope that ends when all its children have ended.
//!
//! A nursery is a future that polls a *body* and its *children* inside itself. It needs no executor,
//! and children may borrow from the stack of whoever awaits it. Cancellation goes down to the
//! children, completion comes up.
//!
//! The idea is Nathaniel J. Smith's ("Notes on structured concurrency", 2018; the Trio library);
//! polling borrowed children inside the parent's future is that of the `moro` crate.
//!
//! | room | what it holds |
//! |---|---|
//! | `ended` | who ended, and how long it took |
//! | `histogram` | durations by order of magnitude |
//! | `report` | counts and the final report |
//! | `skip` | why a child that waited for others never started |
//! | `join_error` | the join's error |
//! | `failure` | the outcome's error |
//! | `policy` | what an error does to the siblings |
//! | `observer` | who watches |
//! | `snapshot` | what a nursery looks like, in words |
//! | `deadline` | the one alarm |
//! | `mode` | what crosses threads and what stays |
//! | `limit` | places for running children |
//! | `panics` | the first panic, until all have ended |
//! | `timetable` | what is to happen to single children when |
//! | `own` | the token that a child has for itself |
//! | `options` | what is said about one child |
//! | `node` | one child's memory |
//! | `list` | the queue for room, the list of running children |
//! | `ranks` | which children come first |
//! | `order` | who waits for whom |
//! | `shared` | what nursery and handles share: the inbox |
//! | `tell` | telling the observer |
//! | `cleanup` | what is done when all children have ended |
//! | `join` | awaiting a child |
//! | `request` | what is asked of the nursery's own poll |
//! | `look` | taking a snapshot |
//! | `cutting` | ending children before their end, with the nursery or alone |
//! | `waiting` | children that wait for others: their turn comes, or they are skipped |
//! | `watch` | the alarm, and what it is set to |
//! | `handoff` | a value on its way from a child that has started |
//! | `start` | waiting until a child says that it has started |
//! | `scope` | a nursery as a child |
//! | `map` | children made from an iterator |
//! | `spawner` | giving a child to the nursery |
//! | `child` | what is said about one child before its spawn |
//! | `handle` | the handles: spawning, steering |
//! | `resource` | the handles: cleanups, critical sections |
//! | `running` | what the set polls: a child at work |
//! | `engine` | the engine: what it is made of |
//! | `admission` | the engine: children in |
//! | `draining` | the engine: drain and cleanups |
//! | `finishing` | the engine: its end |
//! | `drive` | the engine: what one poll does |
//! | `setup` | what a nursery is before it runs |

// Each uses only what stands above it.
pub(crate) mod ended;
pub(crate) mod histogram;
pub(crate) mod report;
pub(crate) mod skip;
pub(crate) mod join_error;
pub(crate) mod failure;
pub(crate) mod policy;
pub(crate) mod observer;
pub(crate) mod snapshot;
pub(crate) mod deadline;
pub(crate) mod mode;
pub(crate) mod limit;
pub(crate) mod panics;
pub(crate) mod timetable;
pub(crate) mod own;
pub(crate) mod options;
pub(crate) mod node;
pub(crate) mod list;
pub(crate) mod ranks;
pub(crate) mod order;
pub(crate) mod shared;
pub(crate) mod tell;
pub(crate) mod cleanup;
pub(crate) mod join;
pub(crate) mod request;
pub(crate) mod look;
pub(crate) mod cutting;
pub(crate) mod waiting;
pub(crate) mod watch;
pub(crate) mod handoff;
pub(crate) mod start;
pub(crate) mod scope;
pub(crate) mod map;
pub(crate) mod spawner;
pub(crate) mod child;
pub(crate) mod handle;
pub(crate) mod resource;
pub(crate) mod running;
pub(crate) mod engine;
pub(crate) mod admission;
pub(crate) mod draining;
pub(crate) mod finishing;
pub(crate) mod drive;
mod setup;
#[cfg(all(test, not(feature = "std"), not(umbel_loom)))]
mod tests;

use crate::observe::Name;
use crate::sync::Arc;
use crate::time::alarm::Alarm;
use crate::time::{Instant, Timer};
use crate::token::CancellationToken;
use crate::wake::batch::each;
use alloc::boxed::Box;
use child::{Child, LocalChild};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};
use core::time::Duration;
use engine::Engine;
use failure::Failure;
use futures_core::FusedFuture;
use handle::{Handle, LocalHandle};
use join::Join;
use mode::{Local, Mode, Threads};
use observer::{Inside, Observer};
use pin_project_lite::pin_project;
use policy::Policy;
use scope::Scope;
use setup::Setup;

/// One poll of a nursery at work.
fn poll_run<E, T, M: Mode, B: Future<Output = Result<T, E>>>(
    engine: &mut Engine<'_, E, M>,
    body: Pin<&mut Option<B>>,
    value: &mut Option<T>,
    done: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<T, Failure<E>>> {
    assert!(!*done, "a nursery was polled after it was ready");
    if engine.poll(body, value, cx).is_pending() {
        return Poll::Pending;
    }
    *done = true;
    Poll::Ready(engine.finish(value.take()))
}

/// The public types, for children that cross threads and for those that do not: they differ in bounds
/// and in a marker.
macro_rules! nurseries {
    (
        $mode:ty, $Handle:ident, $Child:ident;
        E: [$($error:tt)*];
        name: [$($name:tt)*];
        policy: [$($policy:tt)*];
        observer: [$($observer:tt)*];
        timer: [$($timer:tt)*];
        sleep: [$($sleep:tt)*];
        body: [$($body:tt)*];
        scope: [$($scope:tt)*];
        outer: [$($from:tt)*];
        $(#[$nursery_doc:meta])*
        $Nursery:ident;
        $(#[$run_doc:meta])*
        $Run:ident;
    ) => {
        $(#[$nursery_doc])*
        #[must_use = "a nursery does nothing until it is run; dropped, it drops its children"]
        pub struct $Nursery<'env, E>(Setup<'env, E, $mode>);

        impl<'env, E> $Nursery<'env, E> {
            /// A nursery without limit, deadline and parent, that [fails fast](crate::FailFast).
            pub fn new() -> Self
            where
                E: $($error)*,
            {
                $Nursery(Setup::new())
            }

            /// A handle, for spawning and steering.
            pub fn handle(&self) -> $Handle<'env, E> {
                $Handle::new(self.0.spawner())
            }
        }

        /// Options.
        ///
        /// # Panics
        ///
        /// Those that handles know about (name, limit, token, grace, observer, ages) panic if a handle has been taken,
        /// even one that is gone.
        impl<'env, E: $($error)*> $Nursery<'env, E> {
            /// Names it, for errors and reports.
            #[track_caller]
            pub fn name(mut self, name: impl $($name)*) -> Self {
                self.0.shared().name = Some(name.into());
                self
            }

            /// What the end of a child or of the body does to the others:
            /// [`FailFast`](crate::FailFast) (the default), [`KeepGoing`](crate::KeepGoing), under
            /// which also the body's error cancels nobody, [`FirstSuccess`](crate::FirstSuccess), or a
            /// [`Policy`] of your own.
            pub fn policy(mut self, policy: impl $($policy)*) -> Self {
                self.0.engine.set_policy(Box::new(policy));
                self
            }

            /// At most `n` children run at once; further ones queue. The body takes no place.
            ///
            /// # Panics
            ///
            /// If `n` is zero: no child could ever run.
            #[track_caller]
            pub fn limit(mut self, n: usize) -> Self {
                self.0.limit(n);
                self
            }

            /// The timer for [`deadline`](Self::deadline), [`grace`](Self::grace),
            /// [`cleanup`](Self::cleanup), the deadlines that its parent token has, and those of children:
            /// set it before the first of these is spawned. One allocation.
            pub fn timer<T>(mut self, timer: T) -> Self
            where
                T: $($timer)*,
                T::Sleep: $($sleep)*,
            {
                self.0.engine.shared.set_timed();
                self.0.engine.watch.set_timer(Box::pin(Alarm::new(timer)));
                self
            }

            /// Cancels the nursery with
            /// [`ReasonKind::DeadlineExceeded`](crate::ReasonKind::DeadlineExceeded) at `at`, or at
            /// the parent token's deadline if that is earlier. One that has passed cancels before
            /// anything is polled. Needs a [`timer`](Self::timer), of whose clock `at` is.
            ///
            /// It is the [`deadline`](CancellationToken::deadline) of the nursery's token too, and so of those
            /// of its children, if it is set before the first handle is taken.
            pub fn deadline(mut self, at: Instant) -> Self {
                self.0.deadline(at);
                self
            }

            /// Tells `observer` what happens in this nursery and in the [scopes](Handle::scope) nested in it
            /// (unless these have one of their own).
            #[track_caller]
            pub fn observer(mut self, observer: &'env ($($observer)*)) -> Self {
                self.0.observer(observer);
                self
            }

            /// Keeps when each child came and when it started, for
            /// [snapshots](crate::Snapshot). The clock is read once a turn, and each child has
            /// a little more memory. Nested [scopes](Handle::scope) do the same, if they have a timer.
            /// Needs a [`timer`](Self::timer).
            #[track_caller]
            pub fn ages(mut self) -> Self {
                self.0.ages();
                self
            }

            /// How long graceful children may take to end after a cancellation. Without it: as long
            /// as they need. Needs a [`timer`](Self::timer).
            #[track_caller]
            pub fn grace(mut self, grace: Duration) -> Self {
                self.0.shared().grace = Some(grace);
                self
            }

            #[doc = concat!(
                "How long all [cleanups](", stringify!($Handle), "::defer) together may take, from when \
                the last child has ended. Without it: as long as they need."
            )]
            /// When it is over, each that is left still begins, and is dropped if its first poll is not
            /// its last. Needs a [`timer`](Self::timer).
            pub fn cleanup(mut self, budget: Duration) -> Self {
                self.0.engine.cleanup = Some(budget);
                self
            }

            /// Makes the nursery's own token a child of `parent`: cancelled with it.
            #[track_caller]
            pub fn token(mut self, parent: &CancellationToken) -> Self {
                self.0.token(parent);
                self
            }

            #[doc = concat!(
                "When `token` is cancelled, the nursery is forced, as by [`",
                stringify!($Handle),
                "::force`] and for the token's reason."
            )]
            pub fn force_on(mut self, token: &CancellationToken) -> Self {
                self.0.engine.force_on = Some((token.clone(), token.clone().cancelled_owned()));
                self
            }

            /// Runs `body` and the children to their ends.
            ///
            /// The body is polled with the children and treated as a plain child, except that it takes
            /// no place under the limit: its `Err` is answered by the policy, a cancellation drops it
            /// at its await point. `Ok` has its value, if no error came from body or children and
            /// nothing was cut short. A nursery that is cancelled while everything in it comes to its
            /// own good end succeeds.
            ///
            /// **Cancel safety:** dropping the future drops body and children where they are (see
            /// [dropping](Nursery#dropping)). To end them gracefully, cancel and await.
            ///
            /// # Panics
            ///
            /// If a deadline, a grace, a time for cleanups or ages were asked for without
            /// a [`timer`](Self::timer). The future panics if it is polled after it was ready or has panicked, and when all have ended if something in
            /// it has [panicked](Nursery#panics).
            #[track_caller]
            pub fn run<T, B>(self, body: B) -> $Run<'env, E, T, B>
            where
                B: $($body)*,
            {
                $Run {
                    engine: self.0.finish(),
                    value: None,
                    done: false,
                    body: Some(body),
                }
            }
        }

        /// Nesting.
        impl<'env, E: $($error)*> $Handle<'env, E> {
            /// Runs a nursery as a graceful child of this one: `make` is given it, to set its options,
            /// take its handles, and [run](Nursery::run) it.
            ///
            /// The inner nursery's token is a child of the outer's. When the outer one is cancelled,
            /// the inner one is, and drains as a graceful child does: until it ends, or the outer
            /// grace is over. Then it is [forced](Self::force): its children are dropped, each of its cleanups has one
            /// poll, and it counts as forced here; the report tells of those in it that were. (One that was never
            /// polled is dropped, as a nursery that is not run: no cleanup that `make` deferred begins.) What was
            /// only cut thereby is no error; every other failure is one of this nursery's, made `From` it: also that of an inner one that was cancelled by
            /// its own handle or deadline, if it saw that before the outer one was cancelled. (With a
            /// [`token`](Nursery::token) of its own, set in `make`, it would not be told.)
            ///
            /// Children may wait for room in it, since they take none of it.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{Failure, ", stringify!($Nursery), "};")]
            /// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            /// type Error = Box<dyn std::error::Error + Send + Sync>;
            ///
            #[doc = concat!("let n = ", stringify!($Nursery), "::<Error>::new();")]
            /// let h = n.handle();
            /// let sum = block_on(n.run(async {
            ///     let all = h.scope(|n| {
            ///         let n = n.limit(2).name("numbers");
            ///         let h = n.handle();
            ///         // Its own error type is `JoinError`.
            ///         n.run(async move { h.parallel((1..=4).map(|n| async move { Ok(n) })).await })
            ///     });
            ///     Ok(all.await?.iter().sum::<i32>())
            /// }));
            /// assert_eq!(sum.unwrap(), 10);
            /// ```
            #[track_caller]
            pub fn scope<T, X, B>(
                &self,
                make: impl FnOnce($Nursery<'env, X>) -> $Run<'env, X, T, B>,
            ) -> Join<T>
            where
                T: $($error)*,
                X: $($error)*,
                B: $($scope)*,
                E: $($from)*,
            {
                self.child().scope(make)
            }
        }

        impl<'env, E: $($error)*> $Child<'_, 'env, E> {
            #[doc = concat!("As [`", stringify!($Handle), "::scope`].")]
            pub fn scope<T, X, B>(
                self,
                make: impl FnOnce($Nursery<'env, X>) -> $Run<'env, X, T, B>,
            ) -> Join<T>
            where
                T: $($error)*,
                X: $($error)*,
                B: $($scope)*,
                E: $($from)*,
            {
                let (spawner, options) = self.into_parts();
                let mut options = options.graceful(&spawner.shared.token);
                let told = options.token(&spawner.shared.token);
                let mut nursery = $Nursery::new().token(&told);
                nursery.0.inherit(spawner);
                let run = make(nursery);
                // The run keeps it alive, and lies in the child until that ends.
                options.scope = Some(Inside(NonNull::from(&*run.engine.shared).cast()));
                let (outer, inner) = (Arc::clone(&spawner.shared), Arc::clone(&run.engine.shared));
                spawner.spawn_scope(Scope::new(told, outer, inner, run), options)
            }
        }

        impl<'env, E: $($error)*> Default for $Nursery<'env, E> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<E> fmt::Debug for $Nursery<'_, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Nursery))
                    .field("name", &self.0.engine.shared.name)
                    .field("token", &self.0.engine.shared.token)
                    .finish_non_exhaustive()
            }
        }

        pin_project! {
            $(#[$run_doc])*
            #[must_use = "a nursery runs only while it is awaited"]
            pub struct $Run<'env, E, T, B> {
                engine: Engine<'env, E, $mode>,
                value: Option<T>,
                done: bool,
                #[pin]
                body: Option<B>,
            }

            impl<E, T, B> PinnedDrop for $Run<'_, E, T, B> {
                /// The children go first, youngest first, then the body, then what was to be cleaned up,
                /// whoever panics.
                fn drop(this: Pin<&mut Self>) {
                    let mut this = this.project();
                    each(0..3, |step| match step {
                        0 => this.engine.close(|| this.body.set(None)),
                        1 => drop(this.value.take()),
                        _ => this.engine.closed(),
                    });
                }
            }
        }

        impl<'env, E, T, B> Future for $Run<'env, E, T, B>
        where
            E: 'env,
            B: Future<Output = Result<T, E>>,
        {
            type Output = Result<T, Failure<E>>;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                let this = self.project();
                poll_run(this.engine, this.body, this.value, this.done, cx)
            }
        }

        impl<'env, E, T, B> FusedFuture for $Run<'env, E, T, B>
        where
            E: 'env,
            B: Future<Output = Result<T, E>>,
        {
            fn is_terminated(&self) -> bool {
                self.done
            }
        }

        impl<E, T, B> fmt::Debug for $Run<'_, E, T, B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Run))
                    .field("name", &self.engine.shared.name)
                    .field("token", &self.engine.shared.token)
                    .field("done", &self.done)
                    .finish_non_exhaustive()
            }
        }
    };
}

nurseries! {
    Threads, Handle, Child;
    E: [
        Send // or else in a `LocalNursery`
        + 'env // outlives the nursery
    ];
    name: [Into<Name>];
    policy: [
        Policy<E> // `E` is the nursery's error
        + Send // or else in a `LocalNursery`
        + 'env // outlives the nursery
    ];
    observer: [
        dyn Observer
        + Sync // or else of a `LocalNursery`
        + 'env // outlives the nursery
    ];
    timer: [
        Timer
        + Send // or else in a `LocalNursery`
        + 'env // outlives the nursery
    ];
    sleep: [Send + 'env];
    body: [Future<Output = Result<T, E>>]; // `E` is the nursery's error
    scope: [
        Future<Output = Result<T, X>> // `X` is the inner nursery's error
        + Send // or else in a `LocalNursery`
        + 'env // borrows only from what outlives the outer nursery
    ];
    outer: [From<Failure<X>>]; // the outer nursery's error is made from the inner one's failure
    /// A scope for concurrent children that all end before it does.
    ///
    /// Set its options, take [handles](Self::handle), then [run](Self::run) it with a body:
    ///
    /// ```
    /// use umbel_core::{JoinError, Nursery};
    /// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// # fn block_on<F: Future>(f: F) -> F::Output {
    /// #     let mut f = pin!(f);
    /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
    /// # }
    ///
    /// async fn double(n: &u32) -> Result<u32, JoinError> {
    ///     Ok(n * 2)
    /// }
    ///
    /// let (a, b) = (20, 1); // children may borrow
    /// let n = Nursery::<JoinError>::new().limit(8).name("doubling");
    /// let h = n.handle();
    /// let sum = block_on(n.run(async {
    ///     let a = h.spawn(double(&a));
    ///     let b = h.spawn(double(&b));
    ///     Ok(a.await? + b.await?)
    /// }));
    /// assert_eq!(sum.unwrap(), 42);
    /// ```
    ///
    /// # Guarantees
    ///
    /// - Awaited, `run` returns only when every child has ended: on success, error, cancellation and
    ///   (with the feature `std`) panic.
    /// - In a cancelled nursery no plain child, and not the body, is polled again.
    /// - One child that is always ready starves nobody: each child is polled at most once a turn, and the
    ///   outer task gets to yield.
    ///
    /// # Panics
    ///
    /// With the feature `std`, a panic in a child or in the body is caught there and cancels the nursery,
    /// whatever its policy: the plain children are dropped, the graceful ones told. When all have ended,
    /// the panic goes on in whoever polls the nursery. The same holds for a panic in anything else that
    /// the nursery calls in its own poll: drops of children, outputs and errors, wakers of those who await
    /// a child, policy and timer. The first panic wins, later ones are dropped; a panic that was caught is
    /// lost if the nursery is dropped before all have ended. A timer that panics is dropped and the nursery
    /// forced.
    ///
    /// Without `std` a panic unwinds to whoever polls the nursery at once, and what lives is dropped with
    /// the nursery.
    ///
    /// # Borrowing
    ///
    /// Children, outputs, policy and timer may borrow whatever outlives the run, with or without a
    /// task of an executor around it; what the body makes does not. `docs/shapes.md` in the repository
    /// shows which shapes compile, which do not, and what to write instead.
    ///
    /// # Dropping
    ///
    /// A nursery that is dropped, run or not, drops its children, youngest first (those that wait for others
    /// before those that wait for room, of these those of a lower priority first, then services that have not
    /// started, then the running ones), then its cleanups,
    /// youngest first, cancels its token with [`ReasonKind::Dropped`](crate::ReasonKind::Dropped) and
    /// refuses new ones. Nothing graceful happens then: graceful children are dropped like the others, and
    /// no cleanup is polled (but what was to be released is dropped, in the same order). If drops panic, everything is dropped all the
    /// same and the first panic is resumed (without `std`, a second one aborts).
    ///
    /// # Memory
    ///
    /// A few allocations for the nursery, one a child, and chunks of slots for the running ones. A child's
    /// future is dropped when it ends; its block is freed then, or with its [`Join`] if that
    /// goes later.
    /// `Send` if `E` is.
    Nursery;
    /// A nursery at work; made by [`Nursery::run`]. `Send` if `E`, `T` and the body are.
    Run;
}

nurseries! {
    Local, LocalHandle, LocalChild;
    E: ['env];
    name: [Into<Name>];
    policy: [
        Policy<E> // `E` is the nursery's error
        + 'env // outlives the nursery
    ];
    observer: [
        dyn Observer
        + 'env // outlives the nursery
    ];
    timer: [Timer + 'env];
    sleep: ['env];
    body: [Future<Output = Result<T, E>>]; // `E` is the nursery's error
    scope: [
        Future<Output = Result<T, X>> // `X` is the inner nursery's error
        + 'env // borrows only from what outlives the outer nursery
    ];
    outer: [From<Failure<X>>]; // the outer nursery's error is made from the inner one's failure
    /// A [`Nursery`] for children that stay on their thread: they may hold an `Rc` or a `RefCell`, and
    /// so may errors, policy and timer.
    ///
    /// All else is as there. The nursery and its handles are neither `Send` nor `Sync`; wakers of its
    /// children and its token may be used anywhere.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use umbel_core::{JoinError, LocalNursery};
    /// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// # fn block_on<F: Future>(f: F) -> F::Output {
    /// #     let mut f = pin!(f);
    /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
    /// # }
    ///
    /// let count = Cell::new(0); // shared, without an atomic
    /// let n = LocalNursery::<JoinError>::new();
    /// let h = n.handle();
    /// block_on(n.run(async {
    ///     for _ in 0..3 {
    ///         drop(h.spawn(async {
    ///             count.set(count.get() + 1);
    ///             Ok(())
    ///         }));
    ///     }
    ///     Ok(())
    /// }))
    /// .unwrap();
    /// assert_eq!(count.get(), 3);
    /// ```
    LocalNursery;
    /// A nursery at work; made by [`LocalNursery::run`].
    LocalRun;
}
