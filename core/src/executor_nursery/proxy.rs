//! What the nursery has of a child whose future an executor polls.
//!
//! A proxy is ready when the task has ended. The engine does not drop it in its place when the child is to
//! end before that, but has it [stopped](Remote::stop) and polls it on: only when the executor has dropped
//! the future, the child has ended.

use crate::executor_nursery::link::{Decider, End, Late, Link, ProxySide, TaskSide};
use crate::executor_nursery::task::ChildTask;
use crate::nursery::ended::Site;
use crate::nursery::node::{self, JoinSide, NurserySide, Remote, Stopped};
use crate::nursery::options::Aside;
use crate::nursery::panics::resume;
use crate::spawn::Spawn;
use crate::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

/// The proxy of a task that the executor has, or is about to be given by who spawns it.
struct Proxy<O> {
    side: ProxySide<O>,
    /// What the future's drop panicked with: as if it were this one's.
    panic: Option<Late>,
}

impl<O> Proxy<O> {
    fn new(side: ProxySide<O>) -> Self {
        Proxy { side, panic: None }
    }
}

/// A child, and its task for an executor.
pub(super) struct Made<F: Future, T> {
    pub(super) child: NurserySide,
    pub(super) join: JoinSide<T>,
    pub(super) task: ChildTask<F>,
    /// For a task that was not made `decided`.
    pub(super) decider: Decider<F::Output>,
}

/// A child with its task, which is for the caller to give to an executor. `decided`: nobody needs to know
/// whether that accepts it.
pub(super) fn with_task<F, T, E, M>(site: Site, future: F, aside: M, decided: bool) -> Made<F, T>
where
    F: Future<Output = Result<T, E>>,
    M: Aside,
{
    let make = |claim, link| {
        // SAFETY: K2 – the one; K3 – it goes into the payload.
        let side = unsafe { ProxySide::new(link) };
        let rest = (ChildTask::new(future, TaskSide::new(claim)), side.decider());
        (Proxy::new(side), rest)
    };
    let (child, join, (task, decider)) = node::new_linked(site, aside, Link::new(decided), make);
    Made {
        child,
        join,
        task,
        decider,
    }
}

/// A child whose task the executor is given when the nursery starts it.
pub(super) fn queued<F, T, E, M, S>(
    site: Site,
    future: F,
    aside: M,
    executor: Arc<S>,
) -> (NurserySide, JoinSide<T>)
where
    F: Future<Output = Result<T, E>>,
    M: Aside,
    S: Spawn<ChildTask<F>>,
{
    let make = |claim, link| {
        let queued = Queued {
            waiting: Some((ChildTask::new(future, TaskSide::new(claim)), executor)),
            // SAFETY: K2 – the one; K3 – it goes into the payload.
            proxy: Proxy::new(unsafe { ProxySide::new(link) }),
        };
        (queued, ())
    };
    let (child, join, ()) = node::new_linked(site, aside, Link::new(true), make);
    (child, join)
}

/// Nothing in it is pinned by its place.
impl<O> Unpin for Proxy<O> {}

impl<O> Future for Proxy<O> {
    /// `None`: the task's future was dropped before its end.
    type Output = Option<O>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O>> {
        let (output, panic) = match ready!(self.side.poll(cx)) {
            End::Returned(output, panic) => (Some(output), panic),
            End::Panicked(panic) => resume(panic),
            End::Dropped(panic) => (None, panic),
        };
        self.panic = panic;
        Poll::Ready(output)
    }
}

impl<O> Remote for Proxy<O> {
    const MAY_BE_LOST: bool = true;

    fn has_begun(&self) -> bool {
        true
    }

    fn stop(self: Pin<&mut Self>) -> Stopped {
        match self.side.stop() {
            true => Stopped::Told,
            false => Stopped::Ended,
        }
    }

    fn poll_decided(mut self: Pin<&mut Self>, cx: &Context<'_>) -> Poll<bool> {
        self.side.poll_decided(cx)
    }
}

impl<O> Drop for Proxy<O> {
    /// The engine drops it right after it was ready, and catches panics there.
    fn drop(&mut self) {
        if let Some(panic) = self.panic.take() {
            resume(*panic);
        }
    }
}

/// The proxy of a task that the executor is given when the nursery starts the child.
struct Queued<F: Future, S> {
    /// `None`: the executor was asked.
    waiting: Option<(ChildTask<F>, Arc<S>)>,
    proxy: Proxy<F::Output>,
}

/// The task is pinned by the executor, not here.
impl<F: Future, S> Unpin for Queued<F, S> {}

impl<F: Future, S: Spawn<ChildTask<F>>> Future for Queued<F, S> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some((task, executor)) = self.waiting.take() {
            // A task that is refused is dropped here, and lost.
            drop(executor.spawn(task));
        }
        Pin::new(&mut self.proxy).poll(cx)
    }
}

impl<F: Future, S> Remote for Queued<F, S> {
    const MAY_BE_LOST: bool = true;

    fn has_begun(&self) -> bool {
        self.waiting.is_none()
    }

    fn stop(mut self: Pin<&mut Self>) -> Stopped {
        match self.waiting {
            Some(_) => Stopped::Here,
            None => Pin::new(&mut self.proxy).stop(),
        }
    }
}
