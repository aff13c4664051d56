//! Work that blocks its thread, on the pool of the [`blocking`](https://docs.rs/blocking) crate
//! (the pool of `smol::unblock`), with a token to poll.
//!
//! The pool has a limit of threads (500, or the environment's `BLOCKING_MAX_THREADS`); work beyond
//! it queues. A thread cannot be stopped from outside, so cancellation is an agreement: what has
//! not begun never begins, what has begun is told by its token and decides for itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ::blocking::{Task, unblock};
use umbel_core::{CancellationToken, Cancelled, Reason, WaitForCancellationFutureOwned};

/// Runs `f` on the pool, with a child of `token` to poll.
///
/// Nothing happens before the first poll of the future; that puts `f` into the pool's queue. So a
/// `Blocking` that waits for its turn in a nursery's limit holds no thread.
///
/// - Cancelled before `f` has begun (also by that first poll): `f` is dropped unrun, at once even if
///   every thread of the pool is busy, and the output is the error.
/// - Cancelled later: `f` sees it by its token, and whatever it returns is delivered as `Ok`.
///
/// **Cancel safety:** Weak. Dropping the future cancels the token of `f` with
/// [`Reason::dropped`] and waits for nothing. An `f` that has not begun never will. One that has
/// begun goes on without us, until it looks at its token and returns; its result is dropped on its
/// thread. Where that must not outlive a scope, spawn the future as a graceful child of a
/// nursery, and give `f` that child's token.
///
/// **Panics:** a panic of `f` resumes in the task that awaits; if the future was dropped, it ends
/// there. Polling again after the end panics. On wasm there are no threads and the first poll panics.
///
/// **Allocation:** when called, at the first poll, and in the pool. After a cancellation a few
/// empty words wait in the pool's queue until a thread comes by.
///
/// The future is `Send`. It needs no particular runtime, and keeps no locks while `f` runs.
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
    Blocking {
        cancelled: token.clone().cancelled_owned(),
        token,
        state: State::New(Box::new(f)),
    }
}

type Work<T> = Box<dyn FnOnce(&CancellationToken) -> T + Send>;

/// Whoever takes the work out decides its fate: the pool runs it, the future drops it.
type Slot<T> = Arc<Mutex<Option<Work<T>>>>;

enum State<T> {
    /// Not polled yet.
    New(Work<T>),
    /// In the pool's hands. `slot` is gone when it is known that the work has begun.
    Given {
        task: Task<Result<T, Cancelled>>,
        slot: Option<Slot<T>>,
    },
    /// The output was given.
    Done,
}

pin_project_lite::pin_project! {
    /// The future of [`run`], which says all about it.
    #[must_use = "the work does not begin unless this is polled"]
    pub struct Blocking<T> {
        #[pin]
        cancelled: WaitForCancellationFutureOwned,
        // The one that the work polls.
        token: CancellationToken,
        state: State<T>,
    }

    impl<T> PinnedDrop for Blocking<T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !matches!(this.state, State::Done) {
                this.token.cancel_with(Reason::dropped());
                drop(this.state.take_unbegun());
            }
        }
    }
}

/// The work, unless somebody took it before. The lock is open again when this returns.
fn take<T>(slot: &Slot<T>) -> Option<Work<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<T> State<T> {
    /// The work, if it has not begun; then it never will.
    fn take_unbegun(&mut self) -> Option<Work<T>> {
        match std::mem::replace(self, State::Done) {
            State::New(work) => Some(work),
            State::Given { task, slot } => {
                let work = slot.as_ref().and_then(take);
                *self = State::Given { task, slot: None };
                work
            }
            State::Done => None,
        }
    }
}

impl<T: Send + 'static> State<T> {
    /// Puts new work into the pool's queue.
    fn submit(&mut self, token: &CancellationToken) {
        *self = match std::mem::replace(self, State::Done) {
            State::New(work) => {
                let slot: Slot<T> = Arc::new(Mutex::new(Some(work)));
                let (theirs, token) = (slot.clone(), token.clone());
                let task = unblock(move || match take(&theirs) {
                    Some(work) => token.check().map(|()| work(&token)),
                    // The future took it and is gone: nobody reads this.
                    None => Err(Cancelled::new(Reason::dropped())),
                });
                let slot = Some(slot);
                State::Given { task, slot }
            }
            other => other,
        };
    }
}

impl<T: Send + 'static> Future for Blocking<T> {
    type Output = Result<T, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let State::New(_) = this.state {
            // First poll: the token first. Later ones: the result first.
            if let Err(cancelled) = this.token.check() {
                *this.state = State::Done;
                return Poll::Ready(Err(cancelled));
            }
            this.state.submit(this.token);
        }
        let State::Given { task, slot } = this.state else {
            panic!("`Blocking` polled after it gave its output");
        };
        if let Poll::Ready(output) = Pin::new(task).poll(cx) {
            *this.state = State::Done;
            return Poll::Ready(output);
        }
        if slot.is_none() {
            return Poll::Pending;
        }
        ready!(this.cancelled.poll(cx));
        let Some(unbegun) = this.state.take_unbegun() else {
            return Poll::Pending; // it runs, and decides
        };
        *this.state = State::Done;
        drop(unbegun);
        let reason = this.token.reason();
        let reason = reason.expect("nothing is cancelled without a reason");
        Poll::Ready(Err(Cancelled::new(reason)))
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(_) => "new",
            State::Given { .. } => "given to the pool",
            State::Done => "done",
        };
        f.debug_struct("Blocking").field("state", &state).finish()
    }
}
