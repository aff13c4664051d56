//! Work that blocks its thread, on the pool of the [`blocking`](https://docs.rs/blocking) crate
//! (the pool of `smol::unblock`), with a token to poll.
//!
//! The pool has a limit of threads (500, or the environment's `BLOCKING_MAX_THREADS`); work beyond
//! it queues. A thread cannot be stopped from outside, so cancellation is an agreement: what has
//! not begun never begins, what has begun is told by its token and decides for itself.
//!
//! | cancelled | what becomes of the work | the outcome |
//! |---|---|---|
//! | before it begins | never runs, is dropped | the error of [`run`] |
//! | while it runs | is told; may return what it likes | what it returns |
//! | while it runs, and it does not return | is left, with its thread, when its graceful child is forced; [`left_behind`] names it until it returns | [`Forced`](crate::JoinErrorKind::Forced), also in the nursery's report |
//!
//! In C, and wherever a token cannot go, its [`flag`](CancellationToken::flag) does: a word that the work
//! polls.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// never will. One that has begun goes on without us, until it looks at its token and returns; it is
/// among those [`left_behind`], and its result is dropped on its thread. Where that must not outlive a scope, await the future in a
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
///
/// Work that calls C gives it the flag's address; here the same in Rust:
///
/// ```
/// use umbel::{CancellationToken, blocking};
///
/// let token = CancellationToken::new();
/// let rounds = blocking::run(&token, |token| {
///     let stop = token.flag(); // `stop.as_ptr()` for C
///     (0..1000).take_while(|_| !stop.is_set()).count()
/// });
/// assert_eq!(smol::block_on(rounds), Ok(1000));
/// ```
#[track_caller]
pub fn run<T, F>(token: &CancellationToken, f: F) -> Blocking<T>
where
    T: Send + 'static,
    F: FnOnce(&CancellationToken) -> T + Send + 'static,
{
    let token = token.child_token();
    let state = match token.check() {
        Ok(()) => submit(&token, Box::new(f), Location::caller()),
        Err(cancelled) => State::Refused(cancelled),
    };
    Blocking { token, state }
}

/// Where the works were given to [`run`] that go on although nobody waits for them any more: one for
/// each, oldest first, so that its length counts the threads that they hold.
///
/// It is for the last words of a program, and for tests: a work that ignores its token is seen here
/// until it returns. It takes a lock and allocates.
///
/// ```
/// for at in umbel::blocking::left_behind() {
///     eprintln!("still running: the work of {at}");
/// }
/// ```
#[must_use]
pub fn left_behind() -> Vec<&'static Location<'static>> {
    left().clone()
}

static LEFT: Mutex<Vec<&'static Location<'static>>> = Mutex::new(Vec::new());

fn left() -> MutexGuard<'static, Vec<&'static Location<'static>>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

type Work<T> = Box<dyn FnOnce(&CancellationToken) -> T + Send>;

/// The work and how far it is. Whoever takes it out decides its fate: the pool runs it, the future
/// drops it.
struct Slot<T> {
    stage: Mutex<Stage<T>>,
    /// Where it was given to us.
    site: &'static Location<'static>,
}

/// Changed under the slot's lock, with `LEFT` where that changes too; no foreign code runs meanwhile.
enum Stage<T> {
    Queued(Work<T>),
    Running,
    /// Running, and its future is gone: it is in `LEFT`.
    Left,
    /// It has ended, or never began.
    Over,
}

impl<T> Slot<T> {
    fn stage(&self) -> MutexGuard<'_, Stage<T>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the work out, if nobody did before, and says what comes next.
    fn take(&self, next: Stage<T>) -> Option<Work<T>> {
        let mut stage = self.stage();
        if !matches!(*stage, Stage::Queued(_)) {
            return None;
        }
        match mem::replace(&mut *stage, next) {
            Stage::Queued(work) => Some(work),
            _ => None,
        }
    }

    /// The work has ended, by a panic or not.
    fn end(&self) {
        let mut stage = self.stage();
        if let Stage::Left = mem::replace(&mut *stage, Stage::Over) {
            let mut left = left();
            if let Some(at) = left.iter().position(|site| *site == self.site) {
                left.remove(at);
            }
        }
    }

    /// The future goes: gives the work to be dropped, or leaves it behind.
    fn leave(&self) -> Option<Work<T>> {
        let mut stage = self.stage();
        match mem::replace(&mut *stage, Stage::Over) {
            Stage::Queued(work) => return Some(work),
            Stage::Running => {
                *stage = Stage::Left;
                left().push(self.site);
            }
            Stage::Left | Stage::Over => {}
        }
        None
    }
}

/// Ends the work of a slot, also when it panics.
struct Ending<'s, T>(&'s Slot<T>);

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Puts `work` into the pool's queue.
fn submit<T: Send + 'static>(
    token: &CancellationToken,
    work: Work<T>,
    site: &'static Location<'static>,
) -> State<T> {
    let stage = Mutex::new(Stage::Queued(work));
    let slot = Arc::new(Slot { stage, site });
    let (theirs, theirs_token) = (slot.clone(), token.clone());
    let task = unblock(move || {
        if let Err(cancelled) = theirs_token.check() {
            drop(theirs.take(Stage::Over));
            return Err(cancelled);
        }
        match theirs.take(Stage::Running) {
            Some(work) => {
                let _ending = Ending(&theirs);
                Ok(work(&theirs_token))
            }
            // The future took it and has ended: nobody reads this.
            None => Err(Cancelled::new(Reason::dropped())),
        }
    });
    let cancelled = Some(Box::pin(token.clone().cancelled_owned()));
    State::Given {
        task,
        slot,
        cancelled,
    }
}

enum State<T> {
    /// Cancelled before the call.
    Refused(Cancelled),
    /// In the pool's hands.
    Given {
        task: Task<Result<T, Cancelled>>,
        slot: Arc<Slot<T>>,
        /// Until it is cancelled, or the work is known to have begun.
        cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    },
    /// The output was given.
    Done,
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
        if let State::Given {
            task,
            slot,
            cancelled,
        } = &mut this.state
        {
            // The result first: what has run is delivered.
            if let Poll::Ready(output) = Pin::new(task).poll(cx) {
                this.state = State::Done;
                return Poll::Ready(output);
            }
            let Some(wait) = cancelled else {
                return Poll::Pending;
            };
            ready!(wait.as_mut().poll(cx));
            *cancelled = None;
            let Some(unbegun) = slot.take(Stage::Over) else {
                return Poll::Pending; // it runs, and decides
            };
            drop(unbegun);
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
        if let State::Given { slot, .. } = &self.state {
            self.token.cancel_with(Reason::dropped());
            drop(slot.leave());
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
