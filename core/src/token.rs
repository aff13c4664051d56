//! Cancellation: a tree of flags that can be looked at, waited for and set from anywhere.
//!
//! | room | what it holds |
//! |---|---|
//! | `tie` | which comes first when a future and its cancellation are both ready |
//! | `fire` | a wait beside a sleep until the deadline |
//! | `fixed` | the token in a `static`, and its children; needs none of the rooms below |
//! | `state` | the word that says whether a node is cancelled |
//! | `node` | one node: its state, its life, the rules of the whole tree |
//! | `cursor` | a position among children |
//! | `join` | the memory of a root that waits for several tokens |
//! | `death` | what happens when the last reference to a node goes |
//! | `walk` | the two passes of a cancellation |
//! | `handle` | the public type, its birth and death |
//! | `wait` | waiting |
//! | `guard`, `run` | cancelling on drop; running until cancelled |
//! | `drive` | firing the deadline |
//! | `callback` | running a closure when cancelled |
//! | `flag`, `wedge` | a word for C and interrupts; closing what blocks |
//! | `block` | waiting without a task: threads |
//! | `signal` | the trait that libraries take |
//!
//! What the rooms of the tree share is told in `node`.

// Each uses only what stands above it.
mod tie;
mod fire;
mod fixed;
#[cfg(feature = "alloc")]
mod state;
#[cfg(feature = "alloc")]
mod node;
#[cfg(feature = "alloc")]
mod cursor;
#[cfg(feature = "alloc")]
mod join;
#[cfg(feature = "alloc")]
mod death;
#[cfg(feature = "alloc")]
mod walk;
#[cfg(feature = "alloc")]
mod handle;
#[cfg(feature = "alloc")]
mod wait;
#[cfg(feature = "alloc")]
mod guard;
#[cfg(feature = "alloc")]
mod run;
#[cfg(feature = "alloc")]
mod drive;
#[cfg(feature = "alloc")]
mod callback;
#[cfg(feature = "alloc")]
mod flag;
#[cfg(feature = "alloc")]
mod wedge;
#[cfg(feature = "std")]
mod block;
mod signal;

pub use fixed::{Full, StaticChild, StaticDrive, StaticRun, StaticToken, StaticWait};
pub use signal::CancelSignal;
#[cfg(feature = "alloc")]
pub use {
    callback::Registration,
    drive::Drive,
    flag::Flag,
    guard::{DropGuard, DropGuardRef},
    handle::CancellationToken,
    run::{RunUntilCancelled, RunUntilCancelledOwned},
    signal::DynCancelSignal,
    wait::{WaitForCancellationFuture, WaitForCancellationFutureOwned},
    wedge::Wedge,
};

#[cfg(feature = "alloc")]
mod methods {
    use crate::reason::{Cancelled, Reason};
    use crate::time::{Instant, Timer};
    use crate::token::callback::Registration;
    use crate::token::drive::Drive;
    use crate::token::flag::Flag;
    use crate::token::guard::{DropGuard, DropGuardRef};
    use crate::token::handle::CancellationToken;
    use crate::token::node::Node;
    use crate::token::run::{RunUntilCancelled, RunUntilCancelledOwned};
    use crate::token::wait::{WaitForCancellationFuture, WaitForCancellationFutureOwned};
    use crate::token::wedge::Wedge;
    use ::alloc::vec::Vec;
    use core::future::Future;

    impl Default for CancellationToken {
        fn default() -> Self {
            Self::new()
        }
    }

    /// Making tokens.
    impl CancellationToken {
        /// A new root, not cancelled. Allocates.
        #[inline]
        #[must_use]
        pub fn new() -> Self {
            Self::of_root(Node::root(None))
        }

        /// A root that is never cancelled: [`cancel`](Self::cancel) does nothing to it. Waiting for
        /// it takes no memory. Its children are ordinary tokens. Allocates.
        ///
        /// ```
        /// use umbel_core::CancellationToken;
        ///
        /// let never = CancellationToken::never();
        /// never.cancel();
        /// assert!(!never.is_cancelled() && !never.can_be_cancelled());
        /// ```
        #[must_use]
        pub fn never() -> Self {
            Self::of_root(Node::never())
        }

        /// A root that is cancelled from the beginning. Allocates.
        #[must_use]
        pub fn pre_cancelled(reason: Reason) -> Self {
            Self::of_root(Node::root(Some(reason)))
        }

        /// A root that is cancelled when the first of several tokens is, with that one's reason.
        ///
        /// If one is cancelled already, it is born cancelled. Of no token at all, or only such as
        /// [`never`](Self::never) are, it is [`never`](Self::never). Its
        /// [`deadline`](Self::deadline) is the earliest of theirs. Otherwise it is a token like any
        /// other: it may be cancelled by itself, which they do not notice, and have children.
        ///
        /// It waits for its sources like a task, and is not their descendant: a `cancel` of a source
        /// cancels it, and all below it, before it returns if it is the one that was first; but not
        /// necessarily before it wakes tasks that wait for the source or elsewhere below it. A later
        /// `cancel` of the source may return before. It keeps its sources' memory alive, as a child
        /// does, but none of their handles; they do not keep it. When its last handle and its last
        /// child are gone, nothing is left with the sources. If they go while a `cancel` of a source
        /// is at work there, which may not free memory, that stays with the source; and with it what
        /// only this token kept, callbacks and reasons of other sources included. One of those that
        /// holds a handle of the source it lies with keeps that one, and so itself, for ever.
        ///
        /// Allocates one block, for the time of the call a list, and what it takes to wait for each
        /// source.
        ///
        /// # Panics
        /// The iterator panicked.
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Reason};
        ///
        /// let (server, client) = (CancellationToken::new(), CancellationToken::new());
        /// let request = CancellationToken::any_of([&server, &client]);
        /// let query = request.child_token();
        /// client.cancel_with(Reason::custom(1));
        /// assert_eq!(query.reason(), Some(Reason::custom(1)));
        /// assert!(!server.is_cancelled());
        /// assert!(!CancellationToken::any_of([]).can_be_cancelled());
        /// ```
        ///
        /// .NET's `CreateLinkedTokenSource` and the browsers' `AbortSignal.any` are the models; unlike
        /// the former it needs no disposal.
        #[must_use]
        pub fn any_of<'a>(tokens: impl IntoIterator<Item = &'a CancellationToken>) -> Self {
            let tokens = tokens.into_iter().filter(|token| token.can_be_cancelled());
            let sources: Vec<&CancellationToken> = tokens.collect();
            if sources.is_empty() {
                return Self::never();
            }
            Self::joined(&sources)
        }

        /// A new root for work that outlives this token: not cancelled with it, and without its
        /// deadline, also if this token is cancelled or due already. Allocates.
        ///
        /// It differs from [`new`](Self::new) in what it says: a cache fill or a commit begun by a
        /// request is not stopped with it. It does not keep this token alive.
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Instant};
        ///
        /// let request = CancellationToken::new().child_with_deadline(Instant::from_nanos(5));
        /// let commit = request.detached();
        /// request.cancel();
        /// assert!(!commit.is_cancelled());
        /// assert_eq!(commit.deadline(), None);
        /// ```
        ///
        /// Go's `context.WithoutCancel` is the model.
        #[must_use]
        pub fn detached(&self) -> Self {
            Self::new()
        }

        /// A child: cancelled with this token, but not the other way round. It starts with this
        /// token's [`deadline`](Self::deadline), and is born cancelled if this token is. May allocate.
        ///
        /// Where an earlier child died while a `cancel` was at work there, this drops what that one
        /// left: a boxed reason, a callback, the waker of a forgotten wait.
        ///
        /// # Panics
        /// One of those panicked when it was dropped. No child was made, and the place is usable.
        ///
        /// ```
        /// use umbel_core::CancellationToken;
        ///
        /// let parent = CancellationToken::new();
        /// let child = parent.child_token();
        /// child.cancel();
        /// assert!(!parent.is_cancelled());
        /// ```
        #[inline]
        #[must_use]
        pub fn child_token(&self) -> Self {
            self.new_child(self.effective_deadline())
        }

        /// A child that records a deadline, if `at` is before this token's own: deadlines only
        /// shrink down the tree. Nothing fires by itself: that needs a nursery with a timer,
        /// [`drive`](Self::drive) or [`check_at`](Self::check_at). May allocate.
        ///
        /// # Panics
        /// As [`child_token`](Self::child_token).
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Instant};
        ///
        /// let parent = CancellationToken::new().child_with_deadline(Instant::from_nanos(5));
        /// let child = parent.child_with_deadline(Instant::from_nanos(9));
        /// assert_eq!(child.deadline(), Some(Instant::from_nanos(5)));
        /// ```
        #[must_use]
        pub fn child_with_deadline(&self, at: Instant) -> Self {
            self.new_child(self.effective_deadline().min(at))
        }
    }

    /// Looking.
    impl CancellationToken {
        /// Whether the token is cancelled: one load, at any depth and whatever else goes on. May be
        /// called in an interrupt.
        ///
        /// Who sees `true` also sees what was written before [`cancel`](Self::cancel) was called.
        #[inline(always)]
        #[must_use]
        pub fn is_cancelled(&self) -> bool {
            self.node().is_cancelled()
        }

        /// Why the token is cancelled; `None` if it is not. A descendant has the reason of the
        /// ancestor by which it was cancelled. Does not allocate. In an interrupt only if no reason
        /// is a boxed error: the last clone of one frees it.
        #[inline]
        #[must_use]
        pub fn reason(&self) -> Option<Reason> {
            self.reason_now()
        }

        /// For loops that poll nothing: `check()?` between two pieces of work. As fast as
        /// [`is_cancelled`](Self::is_cancelled).
        ///
        /// # Errors
        /// The token is cancelled.
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Cancelled};
        ///
        /// fn sum(numbers: &[u64], stop: &CancellationToken) -> Result<u64, Cancelled> {
        ///     let mut sum = 0;
        ///     for n in numbers {
        ///         stop.check()?;
        ///         sum += n;
        ///     }
        ///     Ok(sum)
        /// }
        /// # assert_eq!(sum(&[1, 2], &CancellationToken::new()), Ok(3));
        /// ```
        #[inline]
        pub fn check(&self) -> Result<(), Cancelled> {
            match self.reason_now() {
                None => Ok(()),
                Some(reason) => Err(Cancelled::new(reason)),
            }
        }

        /// As [`check`](Self::check), and if the [`deadline`](Self::deadline) is due at `now`,
        /// cancels this token with [`Reason::deadline_exceeded`] first.
        ///
        /// # Errors
        /// The token is cancelled.
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Instant, ReasonKind};
        ///
        /// let token = CancellationToken::new().child_with_deadline(Instant::from_nanos(5));
        /// assert!(token.check_at(Instant::from_nanos(4)).is_ok());
        /// let late = token.check_at(Instant::from_nanos(5)).unwrap_err();
        /// assert_eq!(late.reason().kind(), ReasonKind::DeadlineExceeded);
        /// ```
        #[inline]
        pub fn check_at(&self, now: Instant) -> Result<(), Cancelled> {
            if self.effective_deadline().is_due(now) && !self.is_cancelled() {
                self.cancel_tree(Reason::deadline_exceeded());
            }
            self.check()
        }

        /// The effective deadline: the earliest of this token's and its ancestors'. `None` if there
        /// is none. May be called in an interrupt.
        #[inline]
        #[must_use]
        pub fn deadline(&self) -> Option<Instant> {
            match self.effective_deadline() {
                Instant::NEVER => None,
                at => Some(at),
            }
        }

        /// Whether [`cancel`](Self::cancel) has an effect: false for [`never`](Self::never) and its
        /// clones only.
        #[inline]
        #[must_use]
        pub fn can_be_cancelled(&self) -> bool {
            !self.node().is_never()
        }
    }

    /// Cancelling.
    impl CancellationToken {
        /// Cancels this token and all below it with [`Reason::explicit`].
        ///
        /// See [`cancel_with`](Self::cancel_with).
        pub fn cancel(&self) {
            self.cancel_tree(Reason::explicit());
        }

        /// Cancels this token and all below it. True if this call was the one that cancelled the
        /// token; otherwise the earlier reason stays and `reason` is dropped.
        ///
        /// When this returns, first or not, every descendant that existed when it was called is
        /// cancelled; a descendant that was cancelled before keeps its reason. The first call sets
        /// all flags, then wakes every task that waits on one of them. A later one wakes nobody, and
        /// may return before the first has woken all.
        ///
        /// Takes time in proportion to the tokens below; recurses, allocates and frees nothing, and
        /// may be called in an interrupt that interrupted any other operation of any token, with a
        /// reason that is not a boxed error.
        ///
        /// # Panics
        /// A waker panicked; the others are woken all the same. With `std` the first panic is
        /// resumed at the end; without, a second one aborts.
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Reason};
        ///
        /// let token = CancellationToken::new();
        /// assert!(token.cancel_with(Reason::shutdown()));
        /// assert!(!token.cancel_with(Reason::custom(1)));
        /// assert_eq!(token.reason(), Some(Reason::shutdown()));
        /// ```
        pub fn cancel_with(&self, reason: Reason) -> bool {
            self.cancel_tree(reason)
        }

        /// Cancels the children that there are, and all below them; this token itself lives on, and
        /// children made afterwards are live.
        ///
        /// As if [`cancel_with`](Self::cancel_with) were called with a clone of `reason` on each
        /// child, but that all flags are set before the first task is woken. When this returns, every
        /// child that existed when it was called is cancelled, and every descendant of those; one
        /// that was cancelled before keeps its reason and hands it down. A child that is made
        /// meanwhile is cancelled or not. A child that another call cancels at the same time is woken
        /// by that one, which may come later. On a cancelled token it has no effect of its own:
        /// all children are cancelled, or are being, with the token's reason.
        ///
        /// Takes time in proportion to the tokens below; recurses, allocates and frees nothing, and
        /// may be called in an interrupt as `cancel_with` may, with a reason that is not a boxed
        /// error.
        ///
        /// # Panics
        /// As [`cancel_with`](Self::cancel_with), when a waker panics.
        ///
        /// ```
        /// use umbel_core::{CancellationToken, Reason};
        ///
        /// let button = CancellationToken::new();
        /// for press in 1..3 {
        ///     let job = button.child_token();
        ///     button.cancel_children(Reason::custom(press));
        ///     assert_eq!(job.reason(), Some(Reason::custom(press)));
        /// }
        /// assert!(!button.is_cancelled());
        /// ```
        ///
        /// Kotlin's `cancelChildren` of a `CoroutineContext` is the model.
        pub fn cancel_children(&self, reason: Reason) {
            self.cancel_all_children(reason);
        }

        /// Fires the [`deadline`](Self::deadline): when it is due, cancels this token with
        /// [`Reason::deadline_exceeded`]. Ends when the token is cancelled, by whomever. The timer
        /// may be lent, as `&timer`, or given.
        ///
        /// What is cancelled is this token and all below it, also if the deadline is an ancestor's;
        /// the ancestor is its own driver's to cancel. A deadline that is due at the first poll fires
        /// there and then. Without a deadline this is [`cancelled`](Self::cancelled), and the timer
        /// is never asked to sleep. A sleep that ends early fires nothing.
        ///
        /// **Cancel safety:** Strict. Dropping it cancels nothing.
        ///
        /// ```
        /// use core::pin::pin;
        /// use core::task::{Context, Waker};
        /// use core::time::Duration;
        /// use umbel_core::{CancellationToken, Clock, ManualClock, ReasonKind};
        ///
        /// let clock = ManualClock::new();
        /// let token = CancellationToken::new().child_with_deadline(clock.now() + Duration::from_secs(5));
        ///
        /// // To be awaited beside the work, or spawned with a clone of the token.
        /// let mut drive = pin!(token.drive(&clock));
        /// let mut cx = Context::from_waker(Waker::noop());
        /// assert!(drive.as_mut().poll(&mut cx).is_pending());
        /// clock.advance(Duration::from_secs(5));
        /// assert!(drive.poll(&mut cx).is_ready());
        /// assert_eq!(token.reason().unwrap().kind(), ReasonKind::DeadlineExceeded);
        /// ```
        pub fn drive<T: Timer>(&self, timer: T) -> Drive<'_, T> {
            Drive::new(self, timer)
        }

        /// A guard that cancels the token when it is dropped.
        pub fn drop_guard(self) -> DropGuard {
            DropGuard::new(self)
        }

        /// A guard that cancels the borrowed token when it is dropped.
        ///
        /// ```
        /// use umbel_core::CancellationToken;
        ///
        /// let token = CancellationToken::new();
        /// {
        ///     let _guard = token.drop_guard_ref();
        /// }
        /// assert!(token.is_cancelled());
        /// ```
        pub fn drop_guard_ref(&self) -> DropGuardRef<'_> {
            DropGuardRef::new(self)
        }
    }

    /// Waiting.
    impl CancellationToken {
        /// Waits until the token is cancelled; ends at the first poll if it is.
        ///
        /// **Cancel safety:** Strict. The first pending poll may allocate; afterwards the place is
        /// reused, so that a million waits, one after the other, take the memory of one.
        ///
        /// ```
        /// use umbel_core::CancellationToken;
        ///
        /// async fn closing(stop: &CancellationToken) {
        ///     stop.cancelled().await;
        ///     // say goodbye
        /// }
        /// # drop(closing(&CancellationToken::new()));
        /// ```
        #[inline(always)]
        pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
            WaitForCancellationFuture::new(self)
        }

        /// As [`cancelled`](Self::cancelled), but the wait owns the token and is `'static`.
        #[inline]
        pub fn cancelled_owned(self) -> WaitForCancellationFutureOwned {
            WaitForCancellationFutureOwned::new(self)
        }

        /// Runs a future until it ends or the token is cancelled: `Some` output, or `None`.
        ///
        /// A token that is cancelled already gives `None` without a poll of the future; if both are
        /// ready at a later poll, the future's output wins.
        ///
        /// **Cancel safety:** that of `future`.
        ///
        /// ```
        /// use umbel_core::CancellationToken;
        ///
        /// async fn serve(stop: &CancellationToken, work: impl Future<Output = u32>) -> Option<u32> {
        ///     stop.run_until_cancelled(work).await
        /// }
        /// # drop(serve(&CancellationToken::new(), async { 1 }));
        /// ```
        #[inline]
        pub fn run_until_cancelled<F: Future>(&self, future: F) -> RunUntilCancelled<'_, F> {
            RunUntilCancelled::new(self.cancelled(), future)
        }

        /// As [`run_until_cancelled`](Self::run_until_cancelled), but owns the token.
        #[inline]
        pub fn run_until_cancelled_owned<F: Future>(self, future: F) -> RunUntilCancelledOwned<F> {
            RunUntilCancelledOwned::new(self.cancelled_owned(), future)
        }
    }

    /// Being told.
    impl CancellationToken {
        /// Has `f` called when the token is cancelled, once, by the thread that cancels it. If it is
        /// cancelled already, `f` is called before this returns.
        ///
        /// The callback is one of those who wait: it is called after all flags are set, and if it
        /// panics the others are woken and called all the same; see [`cancel_with`](Self::cancel_with).
        /// It may call any method of any token, drop the last handle, drop its own [`Registration`].
        /// No order among callbacks is promised. In an interrupt that cancels it runs in the
        /// interrupt: what it does, and what its captures do when they are dropped, must be fit for
        /// that.
        ///
        /// Allocates once, or more often if many wait at the same time.
        ///
        /// # Panics
        /// The token was cancelled already, and `f` panicked.
        ///
        /// ```
        /// use std::sync::mpsc;
        /// use umbel_core::CancellationToken;
        ///
        /// let token = CancellationToken::new();
        /// let (tx, rx) = mpsc::channel();
        /// let _registration = token.on_cancel(move || tx.send("stop").unwrap());
        /// token.cancel();
        /// assert_eq!(rx.try_recv(), Ok("stop"));
        /// ```
        ///
        /// .NET's `CancellationToken.Register` is the model, but for the disposal that waits for a
        /// running callback: two that dispose of each other deadlock there (dotnet/runtime #43438).
        pub fn on_cancel<F: FnOnce() + Send + 'static>(&self, f: F) -> Registration {
            Registration::new(self, f)
        }

        /// Has `close(&resource)` called when the token is cancelled. See [`Wedge`].
        pub fn close_on_cancel<R, F>(&self, resource: R, close: F) -> Wedge<R>
        where
            R: Send + Sync + 'static,
            F: FnOnce(&R) + Send + 'static,
        {
            Wedge::new(self, resource, close)
        }

        /// A word in memory that becomes non-zero when the token is cancelled, for C code and
        /// interrupt handlers. Allocates.
        pub fn flag(&self) -> Flag {
            Flag::new(self)
        }
    }
}

#[cfg(all(test, feature = "alloc", not(umbel_loom)))]
mod tests;
