//! Operations on waits, and on futures that are run until cancelled.

use crate::model::foreign::{Done, Work, waker};
use crate::model::forest::Polled;
use crate::model::op::{Mood, Op};
use crate::model::state::{Frame, Handle, MOST, Polling, Waiter};
use crate::model::world::{Outcome, World};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use umbel_core::CancellationToken;

/// What a future inside another one came to, or the panic that its poll ended in.
type Said = Arc<Mutex<Option<thread::Result<Poll<Polled>>>>>;

/// Polls `future` for ever and says what comes of it.
///
/// So a future that borrows its token lies in a table, together with the token: in an `async` block
/// that has both. The block must not see a panic, since it would drop both.
async fn say<F: Future>(future: F, polled: fn(F::Output) -> Polled, said: Said) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        *said.lock().expect("not held during a panic") = Some(poll.map(|poll| poll.map(polled)));
        Poll::Pending
    })
    .await
}

/// Polls what [`say`]s.
fn hear(mut block: Pin<Box<dyn Future<Output = ()> + Send>>, said: Said) -> Polling {
    Box::new(move |cx| {
        let _: Poll<()> = block.as_mut().poll(cx);
        let said = said.lock().expect("not held during a panic").take();
        match said.expect("it says something at every poll") {
            Ok(poll) => poll,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Polls a future that owns its token.
fn owned<F>(future: F, polled: fn(F::Output) -> Polled) -> Polling
where
    F: Future + Send + 'static,
{
    let mut future = Box::pin(future);
    Box::new(move |cx| future.as_mut().poll(cx).map(polled))
}

impl World {
    /// A new waker of `wait`.
    pub(super) fn waker(self: &Arc<Self>, wait: usize, mood: Mood) -> (Waker, usize) {
        let id = {
            let mut state = self.state();
            state.wakers.push((wait, 1));
            state.wakers.len() - 1
        };
        (waker(self, id, mood), id)
    }

    /// The script's own drop of a waker.
    pub(super) fn drop_waker(&self, waker: Option<(Waker, usize)>) {
        self.state().quiet = true;
        drop(waker);
        self.state().quiet = false;
    }

    pub(super) fn wait(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        self.add_waiter(handle, op, None, |token| {
            let polled = |()| Polled::Cancelled;
            if op.with.is_multiple_of(2) {
                return owned(token.cancelled_owned(), polled);
            }
            let said = Said::default();
            let told = Arc::clone(&said);
            let block = async move { say(token.cancelled(), polled, told).await };
            hear(Box::pin(block), said)
        })
    }

    pub(super) fn run_until(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let done = Arc::new(Done::default());
        let work = Work {
            world: Arc::clone(self),
            mood: op.mood,
            pending: op.with >> 4,
            done: Arc::clone(&done),
        };
        self.add_waiter(handle, op, Some(done), |token| {
            let polled = |output: Option<()>| output.map_or(Polled::Cancelled, |()| Polled::Over);
            if op.with.is_multiple_of(2) {
                return owned(token.run_until_cancelled_owned(work), polled);
            }
            let said = Said::default();
            let told = Arc::clone(&said);
            let block = async move { say(token.run_until_cancelled(work), polled, told).await };
            hear(Box::pin(block), said)
        })
    }

    /// Makes a waiter and mostly polls it at once.
    pub(super) fn add_waiter(
        self: &Arc<Self>,
        handle: &Handle,
        op: Op,
        work: Option<Arc<Done>>,
        polling: impl FnOnce(CancellationToken) -> Polling,
    ) -> Outcome {
        let node = handle.node;
        let wait = {
            let mut state = self.state();
            state.forest.trees.open_handle(node);
            state.forest.wait(node)
        };
        let waiter = Waiter {
            node,
            wait,
            polling: polling(handle.token.clone()),
            kept: None,
            work,
            begun: false,
            finished: false,
        };
        if self.state().waiters.len() >= MOST {
            self.drop_waiter(waiter)
        } else if op.with >= 0xc0 {
            self.state().waiters.push(waiter);
            Ok(())
        } else {
            let with = op.with >> 1;
            self.poll(waiter, Op { with, ..op })
        }
    }

    pub(super) fn poll(self: &Arc<Self>, mut waiter: Waiter, op: Op) -> Outcome {
        if waiter.finished {
            self.state().waiters.push(waiter);
            return Ok(());
        }
        // The waker shown before, or a new one to be shown again, or a new one that only the tree keeps.
        let (same, keep) = (op.with.is_multiple_of(4), op.with % 4 < 2);
        let kept = if keep { waiter.kept.take() } else { None };
        let shown = match kept {
            Some(kept) if same => kept,
            other => {
                self.drop_waker(other);
                self.waker(waiter.wait, op.mood)
            }
        };
        let (cancelled, perhaps) = {
            let forest = &mut self.state().forest;
            forest.begin_poll(waiter.wait, shown.1);
            let node = waiter.node;
            (
                forest.trees.is_cancelled(node),
                forest.trees.may_be_cancelled(node),
            )
        };
        let count = |work: &Option<Arc<Done>>| {
            let load = |done: &Arc<Done>| (done.polls.load(SeqCst), done.ends.load(SeqCst));
            work.as_ref().map(load).unwrap_or_default()
        };
        let before = count(&waiter.work);
        let result = self.call(Frame::default(), || {
            (waiter.polling)(&mut Context::from_waker(&shown.0))
        });
        let after = count(&waiter.work);
        let polled = match result {
            Ok(Poll::Pending) => Polled::Pending,
            Ok(Poll::Ready(polled)) => polled,
            Err(_) => Polled::Panicked,
        };
        let mut state = self.state();
        let verdict = state.forest.end_poll(waiter.wait, shown.1, polled);
        state.note(verdict);
        if waiter.work.is_some() {
            // The ties: at the first poll the token comes first, later the future does.
            let (polls, ends) = (after.0 - before.0, after.1 - before.1);
            let never_begins = !waiter.begun && (cancelled || perhaps && polls == 0);
            let right = match polled {
                _ if never_begins => polls == 0 && polled == Polled::Cancelled,
                Polled::Over => polls == 1 && ends == 1,
                Polled::Panicked => polls == 1,
                Polled::Pending | Polled::Cancelled => polls == 1 && ends == 0,
            };
            if !right {
                state.note(Err(format!("{polls} polls, {ends} ends, {polled:?}")));
            }
            waiter.finished = polled != Polled::Pending;
        }
        waiter.begun = true;
        drop(state);
        if keep {
            waiter.kept = Some(shown);
        } else {
            self.drop_waker(Some(shown));
        }
        self.state().waiters.push(waiter);
        result.map(drop)
    }

    pub(super) fn drop_waiter(&self, mut waiter: Waiter) -> Outcome {
        self.drop_waker(waiter.kept.take());
        if waiter.work.is_none() {
            self.state().forest.drop_wait(waiter.wait);
            return self.close(waiter.node, || drop(waiter.polling));
        }
        // What is run until cancelled is dropped before its wait, and may cancel meanwhile.
        self.state().forest.dropping_wait(waiter.wait);
        let outcome = self.close(waiter.node, || drop(waiter.polling));
        self.state().forest.drop_wait(waiter.wait);
        outcome
    }
}
