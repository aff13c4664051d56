//! What a nursery does when a child ends.

use crate::nursery::ended::Ended;
use alloc::boxed::Box;

/// What a nursery does with the others when its body or a child has ended: [`FailFast`],
/// [`KeepGoing`], [`FirstSuccess`], or your own.
///
/// # When it is asked
///
/// In the nursery's own poll, as soon as the child or body has returned and been dropped, one ending at
/// a time. Once the nursery is cancelled, by a policy or otherwise, it is asked no more: later errors
/// are kept, later successes count. Panics are not its business: they [cancel](crate::Nursery#panics).
///
/// # What it may do
///
/// It may use handles of this nursery, to spawn, to cancel or to look, and anything else that does not
/// block. If it panics, that is as if a child had panicked. `Send` for a
/// [`Nursery`](crate::Nursery), anything for a [`LocalNursery`](crate::LocalNursery).
///
/// # Example: restart with back-off
///
/// A failed child is gone, so a policy that restarts one needs to know how to make it anew:
///
/// ```
/// use core::time::Duration;
/// use umbel_core::{Ended, Handle, ManualClock, Nursery, Policy, Timer, Verdict};
/// use umbel_core::Clock;
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// /// Restarts a failed child, at most `left` times, after a delay that doubles.
/// struct Restart<'env, E, T, M> {
///     handle: Handle<'env, E>,
///     timer: T,
///     delay: Duration,
///     left: u32,
///     make: M,
/// }
///
/// impl<'env, E, T, M, F> Policy<E> for Restart<'env, E, T, M>
/// where
///     E: Send + 'env,
///     T: Timer + Clone + Send + 'env,
///     T::Sleep: Send,
///     M: FnMut() -> F,
///     F: Future<Output = Result<(), E>> + Send + 'env,
/// {
///     fn failed(&mut self, who: &Ended<'_>, _: &E) -> Verdict {
///         if who.is_body() || self.left == 0 {
///             return Verdict::CancelRest;
///         }
///         self.left -= 1;
///         let sleep = self.timer.sleep_until(self.timer.now() + self.delay);
///         self.delay *= 2;
///         let again = (self.make)();
///         drop(self.handle.spawn(async move {
///             sleep.await;
///             again.await
///         }));
///         Verdict::Forgive
///     }
/// }
///
/// let clock = ManualClock::new(); // a program takes its runtime's timer
/// let attempts = AtomicU32::new(0);
/// let make = || async {
///     // Fails twice.
///     if attempts.fetch_add(1, Relaxed) < 2 { Err("refused") } else { Ok(()) }
/// };
/// let n = Nursery::<&str>::new();
/// let h = n.handle();
/// let n = n.policy(Restart {
///     handle: h.clone(),
///     timer: clock.clone(),
///     delay: Duration::from_secs(1),
///     left: 5,
///     make: &make,
/// });
/// drop(h.spawn(make()));
/// let mut run = pin!(n.run(async { Ok(()) }));
/// # let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
/// # assert!(poll().is_pending());
/// # assert!(poll().is_pending());
/// # clock.advance(Duration::from_secs(1));
/// # assert!(poll().is_pending());
/// # assert!(poll().is_pending());
/// # clock.advance(Duration::from_secs(1));
/// # assert!(poll().is_pending());
/// # clock.advance(Duration::from_secs(1));
/// # let Poll::Ready(result) = poll() else { panic!() };
/// // … awaited, three seconds later:
/// assert!(result.is_ok());
/// assert_eq!(attempts.load(Relaxed), 3);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no policy for a nursery whose error is `{E}`",
    label = "not a policy here",
    note = "a policy of your own implements `Policy<{E}>`"
)]
pub trait Policy<E> {
    /// `who` has returned `Err(error)`.
    fn failed(&mut self, who: &Ended<'_>, error: &E) -> Verdict;

    /// `who` has returned `Ok`. [`Verdict::CancelRest`] says that this was enough: the others are
    /// cancelled with [`ReasonKind::SiblingSucceeded`](crate::ReasonKind::SiblingSucceeded), and
    /// neither that nor an error fails the nursery. The other verdicts mean the same.
    fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
        let _ = who;
        Verdict::Continue
    }
}

/// What a [`Policy`] decides about those who have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Cancel them. An error is the cause of the nursery's failure then, unless it was cancelled before.
    CancelRest,
    /// Let them run. An error is kept: the nursery will have failed.
    Continue,
    /// Let them run, and drop the error: it was dealt with. (That of the body is kept all the same: the
    /// nursery has no value without it.)
    Forgive,
}

/// The first error cancels the rest; further errors are kept. The default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailFast;

impl<E> Policy<E> for FailFast {
    fn failed(&mut self, _: &Ended<'_>, _: &E) -> Verdict {
        Verdict::CancelRest
    }
}

/// The siblings of a failed child live on; all errors are collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepGoing;

impl<E> Policy<E> for KeepGoing {
    fn failed(&mut self, _: &Ended<'_>, _: &E) -> Verdict {
        Verdict::Continue
    }
}

/// The first child that succeeds cancels the rest; errors matter only if all fail.
///
/// | | outcome of the nursery |
/// |---|---|
/// | a child has succeeded | the body's value; errors are dropped (the report counts them) |
/// | all children failed | all errors, the first one as the cause |
/// | the body failed | its error; the children are cancelled |
/// | no child was spawned | the body's value |
///
/// The body is to spawn the children and return, for example their joins. It is no contender; if it
/// still runs when a child succeeds, it is dropped like the rest, and the nursery, having no value, is
/// [cancelled](crate::Cause::Cancelled).
///
/// ```
/// use umbel_core::{FirstSuccess, JoinError, Nursery};
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = pin!(f);
/// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
/// # }
/// async fn fetch(mirror: &str) -> Result<String, &'static str> {
///     // …
/// #   match mirror { "dead" => Err("no answer"), "slow" => core::future::pending().await, _ => Ok(mirror.into()) }
/// }
///
/// let n = Nursery::new().policy(FirstSuccess);
/// let h = n.handle();
/// let joins = block_on(n.run(async {
///     Ok(["dead", "slow", "good"].map(|mirror| h.spawn(fetch(mirror))))
/// }));
/// let winner = joins.unwrap().into_iter().find_map(|join| join.now_or_never()?.ok());
/// assert_eq!(winner.unwrap(), "good");
/// ```
///
/// The same is found as `ShutdownOnSuccess` in Java's `StructuredTaskScope`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstSuccess;

impl<E> Policy<E> for FirstSuccess {
    fn failed(&mut self, who: &Ended<'_>, _: &E) -> Verdict {
        if who.is_body() {
            Verdict::CancelRest
        } else {
            Verdict::Continue
        }
    }

    fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
        if who.is_body() {
            Verdict::Continue
        } else {
            Verdict::CancelRest
        }
    }
}

/// For a policy that is chosen when the program runs.
impl<E, P: Policy<E> + ?Sized> Policy<E> for Box<P> {
    fn failed(&mut self, who: &Ended<'_>, error: &E) -> Verdict {
        (**self).failed(who, error)
    }

    fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
        (**self).succeeded(who)
    }
}
