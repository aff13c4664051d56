//! Work that blocks its thread, on the pool of the [`blocking`](https://docs.rs/blocking) crate
//! (the pool of `smol::unblock`), with a token to poll.
//!
//! The pool has a limit of threads (500, or the environment's `BLOCKING_MAX_THREADS`); work beyond
//! it queues. A thread cannot be stopped from outside, so cancellation is an agreement: what has
//! not begun never begins, what has begun is told by its token and decides for itself.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ::blocking::{Task, unblock};
use umbel_core::{CancellationToken, Cancelled, Reason, WaitForCancellationFutureOwned};

/// Runs `f` on the pool, with a child of `token` to poll.
///
/// The call itself puts `f` into the pool's queue, as `smol::unblock` does, so it may run while its
/// future waits to be polled. Under a nursery's limit call it inside the child,
/// `h.spawn(async move { blocking::run(…).await … })`, so that it waits for the child's turn.
///
/// - Cancelled before `f` has begun (also before the call): `f` is dropped unrun, and the output is
///   the error. The future drops it when it is polled, even if every thread of the pool is busy.
/// - Cancelled later: `f` sees it by its token, and whatever it returns is delivered as `Ok`.
///
/// **Cancel safety:** Weak. Dropping the future cancels the token of `f` with
/// [`Reason::dropped`] and waits for nothing. An `f` that has not begun is dropped at once and
/// never will. One that has begun goes on without us, until it looks at its token and returns; its
/// result is dropped on its thread. Where that must not outlive a scope, await the future in a
/// graceful child of a nursery, and give it that child's token.
///
/// **Panics:** a panic of `f` resumes in the task that awaits; if the future was dropped, it ends
/// there. Polling again after the end panics. On wasm there are no threads, and the call panics.
///
/// **Allocation:** here and in the pool, not when polled. After a cancellation a few empty words
/// wait in the pool's queue until a thread comes by.
///
/// The future is `Send` and `Unpin`. It needs no particular runtime, and no lock is held while `f`
/// runs or is dropped.
///
/// ```
/// use umbel::{CancellationToken, ReasonKind, blocking};
///
/// let token = CancellationToken::new();
/// let sum = blocking::run(&token, |token| {
///     let mut sum = 0;
///     for n in 1..=100_u32 {
///         token.check()?; // between the pieces of the work
///         sum += n;
///     }
///     Ok::<_, umbel::Cancelled>(sum)
/// });
/// assert_eq!(smol::block_on(sum).unwrap(), Ok(5050));
///
/// token.cancel();
/// let never = blocking::run(&token, |_| unreachable!());
/// let cancelled = smol::block_on(never).unwrap_err();
/// assert_eq!(cancelled.reason().kind(), ReasonKind::Explicit);
/// ```
pub fn run<T, F>(token: &CancellationToken, f: F) -> Blocking<T>
where
    T: Send + 'static,
    F: FnOnce(&CancellationToken) -> T + Send + 'static,
{
    let token = token.child_token();
    let state = match token.check() {
        Ok(()) => submit(&token, Box::new(f)),
        Err(cancelled) => State::Refused(cancelled),
    };
    Blocking { token, state }
}

type Work<T> = Box<dyn FnOnce(&CancellationToken) -> T + Send>;

/// Whoever takes the work out decides its fate: the pool runs it, the future drops it.
type Slot<T> = Arc<Mutex<Option<Work<T>>>>;

/// The work, unless somebody took it before. The lock is open again when this returns.
fn take<T>(slot: &Slot<T>) -> Option<Work<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Puts `work` into the pool's queue.
fn submit<T: Send + 'static>(token: &CancellationToken, work: Work<T>) -> State<T> {
    let slot: Slot<T> = Arc::new(Mutex::new(Some(work)));
    let (theirs, theirs_token) = (slot.clone(), token.clone());
    let task = unblock(move || match take(&theirs) {
        Some(work) => theirs_token.check().map(|()| work(&theirs_token)),
        // The future took it and has ended: nobody reads this.
        None => Err(Cancelled::new(Reason::dropped())),
    });
    let cancelled = Box::pin(token.clone().cancelled_owned());
    let queued = Some(Queued { slot, cancelled });
    State::Given { task, queued }
}

enum State<T> {
    /// Cancelled before the call.
    Refused(Cancelled),
    /// In the pool's hands. `queued` is gone when the work is known to have begun.
    Given {
        task: Task<Result<T, Cancelled>>,
        queued: Option<Queued<T>>,
    },
    /// The output was given.
    Done,
}

/// What it takes to get the work back.
struct Queued<T> {
    slot: Slot<T>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The future of [`run`], which says all about it.
#[must_use = "dropping it cancels the work"]
pub struct Blocking<T> {
    /// The one that the work polls.
    token: CancellationToken,
    state: State<T>,
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Given { task, queued } = &mut this.state {
            // The result first: what has run is delivered.
            if let Poll::Ready(output) = Pin::new(task).poll(cx) {
                this.state = State::Done;
                return Poll::Ready(output);
            }
            let Some(Queued { slot, cancelled }) = queued else {
                return Poll::Pending;
            };
            ready!(cancelled.as_mut().poll(cx));
            let unbegun = take(slot);
            *queued = None;
            if unbegun.is_none() {
                return Poll::Pending; // it runs, and decides
            }
            let reason = this.token.reason();
            let reason = reason.expect("nothing is cancelled without a reason");
            this.state = State::Refused(Cancelled::new(reason));
        }
        match mem::replace(&mut this.state, State::Done) {
            State::Refused(cancelled) => Poll::Ready(Err(cancelled)),
            _ => panic!("`Blocking` polled after it gave its output"),
        }
    }
}

impl<T> Drop for Blocking<T> {
    fn drop(&mut self) {
        if let State::Given { queued, .. } = &mut self.state {
            self.token.cancel_with(Reason::dropped());
            drop(queued.take().and_then(|queued| take(&queued.slot)));
        }
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Refused(_) => "refused",
            State::Given { .. } => "given to the pool",
            State::Done => "done",
        };
        f.debug_struct("Blocking").field("state", &state).finish()
    }
}
