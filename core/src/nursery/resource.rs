//! The handles: what is to be done when all children have ended, and what is to be done whatever happens.
//!
//! Written once for both sorts, as in `handle`.
//!
//! A stack of cleanups that outlive a cancellation is `AsyncExitStack` in Python and `defer` in Go; that
//! each needs a time of its own is Trio's lesson (shielded scopes with a deadline, in `finally`).

use crate::nursery::child::{Child, LocalChild};
use crate::nursery::cleanup::DeferError;
use crate::nursery::handle::{Handle, LocalHandle};
use crate::nursery::join::Join;
use core::future::Future;
use core::time::Duration;

macro_rules! resources {
    (
        $Handle:ident, $Child:ident, $Nursery:ident;
        E: [$($error:tt)*];
        F: [$($cleanup:tt)*];
        R: [$($value:tt)*];
        S: [$($section:tt)*];
    ) => {
        /// Cleanups: what is to be done when all children have ended.
        ///
        /// They are begun one after another, the youngest first, each exactly once, whatever became of
        /// the children: success, errors, a cancellation, a panic. Neither a cancellation nor a deadline
        /// touches them. What bounds them is the nursery's [time for
        /// cleanups](crate::Nursery::cleanup) and [`force`](Self::force): from then on each has one
        /// poll.
        ///
        /// | it ends | by | told by |
        /// |---|---|---|
        /// | done | `Ok` | [`Report::cleanups`](crate::Report::cleanups) |
        /// | failed | `Err` | the [`Failure`](crate::Failure): the cause if nothing else was, else among the others. No policy is asked, and none forgives it |
        /// | forced | being dropped, when its time was over | [`Report::forced`](crate::Report::forced); the outcome is not touched |
        /// | panicked | a panic (with `std`) | the panic, which goes on when all cleanups have ended |
        ///
        /// A cleanup takes no place under the limit, has no number and counts nowhere in
        /// [`Stats`](crate::Stats).
        ///
        /// Meanwhile the nursery takes no more children, also if all went well so far: what they would use
        /// is being taken away. [`spawn`](Self::spawn) drops its future and its `Join` says `Closed`, as
        /// after the end. A cleanup may defer another one, which comes next, and run children in a nursery
        /// of its own.
        ///
        /// If the nursery itself is dropped, no cleanup is polled: see [dropping](crate::Nursery#dropping).
        impl<'env, E: $($error)*> $Handle<'env, E> {
            /// Has `cleanup` run to its end when all children have ended.
            ///
            /// May be called from wherever the handle is, also in a cancelled nursery: whoever opens
            /// something says at once how it is closed. From within the nursery (body, children,
            /// cleanups) it never fails. One allocation. Not for interrupts.
            ///
            /// # Errors
            ///
            /// The future comes back, unpolled, if the nursery has ended or was dropped.
            ///
            /// ```
            /// use std::sync::Mutex;
            #[doc = concat!("use umbel_core::", stringify!($Nursery), ";")]
            /// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            /// let log = Mutex::new(vec![]);
            #[doc = concat!("let n = ", stringify!($Nursery), "::<&str>::new();")]
            /// let h = n.handle();
            /// let outcome = block_on(n.run::<(), _>(async {
            ///     for name in ["socket", "session"] {
            ///         log.lock().unwrap().push(format!("open {name}"));
            ///         let log = &log;
            ///         let close = async move {
            ///             log.lock().unwrap().push(format!("close {name}"));
            ///             Ok(())
            ///         };
            ///         h.child().name(name).defer(close).unwrap();
            ///     }
            ///     Err("the peer is gone")
            /// }));
            /// assert!(outcome.is_err());
            /// assert_eq!(
            ///     *log.lock().unwrap(),
            ///     ["open socket", "open session", "close session", "close socket"]
            /// );
            /// ```
            #[track_caller]
            pub fn defer<F>(&self, cleanup: F) -> Result<(), DeferError<F>>
            where
                F: $($cleanup)*,
            {
                self.child().defer(cleanup)
            }

            /// Has `value` dropped when all children have ended, at its turn among the cleanups.
            ///
            /// Also when the nursery itself is dropped, then unless it is leaked. All else is as for
            /// [`defer`](Self::defer).
            ///
            /// # Errors
            ///
            /// The value comes back if the nursery has ended or was dropped.
            #[track_caller]
            pub fn release<R>(&self, value: R) -> Result<(), DeferError<R>>
            where
                R: $($value)*,
            {
                self.child().release(value)
            }
        }

        /// Critical sections.
        impl<'env, E: $($error)*> $Handle<'env, E> {
            /// Runs `section` (a commit, a flush) to its end although the nursery is cancelled meanwhile,
            /// or the child that awaits it is dropped.
            ///
            /// It begins at once, as a child of the nursery that takes no place under its limit, and may
            /// begin in a cancelled nursery, too. No cancellation, deadline or grace touches it. It is cut
            /// only when `budget`, counted from its begin, is over, or [`force`](Self::force) is called:
            /// then its `Join` says [`Forced`](crate::JoinErrorKind::Forced), and
            /// [`Report::forced`](crate::Report::forced) tells of it. A budget of `Duration::MAX` has no
            /// end.
            ///
            /// Its `Err` goes to the nursery's outcome, as any child's, so that it is not lost when nobody
            /// awaits the section any more (a policy that forgives the errors of children, as
            /// [`FirstSuccess`](crate::FirstSuccess) does after a success, forgives it too); its `Ok` is for no
            /// policy a success.
            ///
            /// It may borrow what children may, not what is the caller's own: that goes before it.
            ///
            /// # Panics
            ///
            /// If the nursery has no [`timer`](crate::Nursery::timer), unless the budget has no end.
            ///
            /// ```
            #[doc = concat!("use umbel_core::{JoinError, ", stringify!($Nursery), ", ManualClock};")]
            /// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}, time::Duration};
            /// # fn block_on<F: Future>(f: F) -> F::Output {
            /// #     let mut f = pin!(f);
            /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
            /// # }
            /// # async fn commit() -> Result<u32, JoinError> { Ok(7) }
            #[doc = concat!("let n = ", stringify!($Nursery), "::<JoinError>::new().timer(ManualClock::new());")]
            /// let h = n.handle();
            /// let outcome = block_on(n.run(async {
            ///     let committed = h.shield(Duration::from_secs(5), commit());
            ///     h.cancel();
            ///     committed.await
            /// }));
            /// // The body was cut, the commit was not.
            /// assert!(outcome.unwrap_err().cancelled().is_some());
            /// assert_eq!(h.stats().done, 1);
            /// ```
            ///
            /// It is what a shielded `CancelScope` with a deadline is in Trio, and
            /// `withContext(NonCancellable)` in Kotlin.
            #[track_caller]
            pub fn shield<T, F>(&self, budget: Duration, section: F) -> Join<T>
            where
                T: $($value)*,
                F: $($section)*,
            {
                self.child().shield(budget, section)
            }
        }

        impl<'env, E: $($error)*> $Child<'_, 'env, E> {
            #[doc = concat!("As [`", stringify!($Handle), "::shield`]. Of the options a section has the name.")]
            ///
            /// # Panics
            ///
            /// As there.
            #[track_caller]
            pub fn shield<T, F>(self, budget: Duration, section: F) -> Join<T>
            where
                T: $($value)*,
                F: $($section)*,
            {
                let (spawner, options) = self.into_parts();
                spawner.shield(budget, section, options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::defer`]. Of the options a cleanup has the name.")]
            ///
            /// # Errors
            ///
            /// As there.
            pub fn defer<F>(self, cleanup: F) -> Result<(), DeferError<F>>
            where
                F: $($cleanup)*,
            {
                let (spawner, options) = self.into_parts();
                spawner.defer(cleanup, options)
            }

            #[doc = concat!("As [`", stringify!($Handle), "::release`]. Of the options a cleanup has the name.")]
            ///
            /// # Errors
            ///
            /// As there.
            pub fn release<R>(self, value: R) -> Result<(), DeferError<R>>
            where
                R: $($value)*,
            {
                let (spawner, options) = self.into_parts();
                spawner.release(value, options)
            }
        }
    };
}

resources! {
    Handle, Child, Nursery;
    E: [Send + 'env];
    F: [
        Future<Output = Result<(), E>> // `E` is the nursery's error: `map_err` makes another one it
        + Send // or else in a `LocalNursery`
        + 'env // borrows only from what outlives the nursery
    ];
    R: [
        Send // or else in a `LocalNursery`
        + 'env // outlives the nursery
    ];
    S: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + Send // or else in a `LocalNursery`
        + 'env // borrows only from what outlives the nursery
    ];
}

resources! {
    LocalHandle, LocalChild, LocalNursery;
    E: ['env];
    F: [
        Future<Output = Result<(), E>> // `E` is the nursery's error: `map_err` makes another one it
        + 'env // borrows only from what outlives the nursery
    ];
    R: ['env]; // outlives the nursery
    S: [
        Future<Output = Result<T, E>> // `E` is the nursery's error: `map_err` makes another one it
        + 'env // borrows only from what outlives the nursery
    ];
}
