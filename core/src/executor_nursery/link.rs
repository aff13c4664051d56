//! What a task of an executor and its proxy in the nursery share.
//!
//! A child of an [`ExecutorNursery`](crate::ExecutorNursery) is in two places: its future lies in a
//! *task* that an executor polls, perhaps on another thread; the nursery has a *proxy* of it, which is
//! an ordinary child and ends when the task has. Between them there is this one allocation.
//!
//! # State
//!
//! | bit | meaning | set by |
//! |---|---|---|
//! | `STOP` | the nursery wants the task's end | proxy |
//! | `ENDED` | the future is gone, and `end` says how | task |
//! | `DECIDED` | the executor has accepted the task, or may refuse it without anybody having to know | whoever offers it |
//! | `WITHDRAWN` | the executor refused the task, and its future went back to who spawned it: there never was a child | whoever offers it |
//!
//! ```text
//!                        executor accepts                poll → Ready, panic; drop
//!  OFFERED (0) ─────────▶ DECIDED ───────────────────────────────▶ ENDED
//!     │ refuses              │ proxy: stop, or it is dropped          ▲
//!     ▼                      ▼                                        │
//!  WITHDRAWN               STOP ────── the task's next poll, or its drop
//! ```
//!
//! Most are made `DECIDED`: should the executor refuse them, they are lost. `STOP` may be set at any time,
//! also before `DECIDED`, and has no effect after `ENDED`.
//!
//! | # | bits set | who, and how | against | model |
//! |---|---|---|---|---|
//! | 1 | `ENDED` | the future has returned; `fetch_or` | the proxy waits | `finish_against_the_proxy` |
//! | 2 | | | `STOP` | `finish_against_stop` |
//! | 3 | | the executor drops the task | `STOP` | `dropped_task_against_stop` |
//! | 4 | | any of the above | the proxy is dropped | `finish_against_the_drop_of_the_nursery` |
//! | 5 | `STOP` | the proxy is told; `fetch_or` | the task's first poll, and its wait | `stop_against_a_pending_task` |
//! | 6 | `DECIDED` | the executor has accepted; `fetch_or` | the proxy looks whether there is a child | `acceptance_against_the_proxy` |
//! | 7 | `WITHDRAWN` | it refused; `fetch_or` | the same | `refusal_against_the_proxy` |
//!
//! # Invariants
//!
//! - **K1** `end` belongs to the task's side until `ENDED` is set, and from then on to the proxy's; to who
//!   drops the link when both are gone.
//! - **K2** There is one [`TaskSide`] and one [`ProxySide`] to a link. Each waits by `&mut` of itself, so that
//!   each cell has one registrant.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | publish `ENDED` | `fetch_or` | Release | the look: publishes `end` |
//! | publish `STOP` | `fetch_or` | Release | the look: what was written before the stop is seen by the future's drop |
//! | `DECIDED`, `WITHDRAWN` | `fetch_or` | Relaxed | nothing: they publish no more than themselves |
//! | look | load | Acquire | the first two |
//!
//! Who waits registers its waker, then looks again; who publishes takes the waker after that: see
//! [`WakeCell`].
//!
//! # Foreign code
//!
//! Wakers are woken and dropped after the state has changed. The future's output is dropped here only if
//! nobody takes it: with the link.

use crate::nursery::panics::Panic;
use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use crate::wake::cell::WakeCell;
use core::task::{Context, Poll, Waker};

const STOP: usize = 1;
const ENDED: usize = 1 << 1;
const DECIDED: usize = 1 << 2;
const WITHDRAWN: usize = 1 << 3;

/// How a task ended.
pub(super) enum End<O> {
    /// Its future returned; perhaps it panicked when it was dropped after that.
    Returned(O, Option<Panic>),
    /// Its future panicked in a poll.
    Panicked(Panic),
    /// Its future was dropped before its end, as the nursery or the executor wanted; perhaps it panicked.
    Dropped(Option<Panic>),
}

struct Link<O> {
    state: AtomicUsize,
    /// The proxy, waiting for the end.
    proxy: WakeCell,
    /// The task, to be told to stop.
    task: WakeCell,
    end: UnsafeCell<Option<End<O>>>,
}

// SAFETY: K1 – `end` has one owner at a time, and goes from one to the other by `state`.
unsafe impl<O: Send> Send for Link<O> {}
// SAFETY: as above.
unsafe impl<O: Send> Sync for Link<O> {}

/// Loom sees no plain drop: it is told that who drops the link has it to himself.
#[cfg(umbel_loom)]
impl<O> Drop for Link<O> {
    fn drop(&mut self) {
        self.end.with_mut(|_| ());
    }
}

/// `decided`: nobody needs to know whether the executor accepts it.
pub(super) fn new<O>(decided: bool) -> (TaskSide<O>, ProxySide<O>) {
    let link = Arc::new(Link {
        state: AtomicUsize::new(if decided { DECIDED } else { 0 }),
        proxy: WakeCell::new(),
        task: WakeCell::new(),
        end: UnsafeCell::new(None),
    });
    let task = TaskSide {
        link: Some(Arc::clone(&link)),
        waits: false,
    };
    (task, ProxySide { link })
}

impl<O> Link<O> {
    fn look(&self) -> usize {
        self.state.load(Ordering::Acquire)
    }

    /// Who waits for what was published is told.
    fn wake_proxy(&self) {
        if let Some(waker) = self.proxy.take() {
            waker.wake();
        }
    }
}

// ------------------------------------------------------------------ the task

/// The task's side. Who has it tells the end.
pub(super) struct TaskSide<O> {
    /// `None`: it has told how it ended.
    link: Option<Arc<Link<O>>>,
    /// A waker of its own was left in the link.
    waits: bool,
}

impl<O> TaskSide<O> {
    /// Whether the nursery wants its end.
    pub(super) fn is_stopped(&self) -> bool {
        let link = self.link.as_ref();
        link.is_some_and(|link| link.look() & STOP != 0)
    }

    /// The task is to be woken when the nursery wants its end. True: it wants it already.
    pub(super) fn wait(&mut self, waker: &Waker) -> bool {
        if let Some(link) = &self.link {
            self.waits = true;
            link.task.register(waker);
        }
        self.is_stopped()
    }

    /// The future is gone. No effect a second time.
    pub(super) fn end(&mut self, end: End<O>) {
        let Some(link) = self.link.take() else {
            return;
        };
        // SAFETY: K1 – the one task side has not ended until now.
        link.end.with_mut(|slot| unsafe { *slot = Some(end) });
        link.state.fetch_or(ENDED, Ordering::Release);
        link.wake_proxy();
        if self.waits {
            drop(link.task.take());
        }
    }

    /// The executor refused it, and the future goes back to who spawned it.
    pub(super) fn withdraw(&mut self) {
        if let Some(link) = self.link.take() {
            link.state.fetch_or(WITHDRAWN, Ordering::Relaxed);
            link.wake_proxy();
        }
    }

    /// Tells that the executor has accepted it.
    pub(super) fn decider(&self) -> Decider<O> {
        Decider(self.link.clone())
    }
}

/// Tells that the executor has accepted a task which it might have refused.
pub(super) struct Decider<O>(Option<Arc<Link<O>>>);

impl<O> Decider<O> {
    pub(super) fn accepted(self) {
        if let Some(link) = self.0 {
            link.state.fetch_or(DECIDED, Ordering::Relaxed);
            link.wake_proxy();
        }
    }
}

// ------------------------------------------------------------------ the proxy

/// The proxy's side. Dropped, it tells the task to stop.
pub(super) struct ProxySide<O> {
    link: Arc<Link<O>>,
}

impl<O> ProxySide<O> {
    /// Tells the task to stop: its future is dropped when it is polled next. False: it has ended before.
    pub(super) fn stop(&self) -> bool {
        let before = self.link.state.fetch_or(STOP, Ordering::Release);
        if before & (STOP | ENDED) == 0 {
            if let Some(task) = self.link.task.take() {
                task.wake();
            }
        }
        before & ENDED == 0
    }

    /// Waits until it is decided whether there is a child.
    pub(super) fn poll_decided(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let look = |state: usize| match state {
            _ if state & WITHDRAWN != 0 => Poll::Ready(false),
            _ if state & (DECIDED | ENDED) != 0 => Poll::Ready(true),
            _ => Poll::Pending,
        };
        let looked = look(self.link.look());
        if looked.is_ready() {
            return looked;
        }
        self.link.proxy.register(cx.waker());
        look(self.link.look())
    }

    /// Waits for the task's end. Not to be called again after `Ready`.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<End<O>> {
        if self.link.look() & ENDED == 0 {
            self.link.proxy.register(cx.waker());
            if self.link.look() & ENDED == 0 {
                return Poll::Pending;
            }
        }
        // SAFETY: K1 – `ENDED` was seen, and this is the one proxy side, borrowed mutably.
        match self.link.end.with_mut(|end| unsafe { (*end).take() }) {
            Some(end) => Poll::Ready(end),
            None => panic!("a proxy was polled after it was ready"),
        }
    }
}

impl<O> Drop for ProxySide<O> {
    fn drop(&mut self) {
        self.stop();
        drop(self.link.proxy.take());
    }
}
