//! What an executor is given: a child's future, and the link to its nursery.
//!
//! # Foreign code
//!
//! The future is polled and dropped through [`attempt`]: what it panics with goes to the nursery, not to
//! the executor. Its drop comes before its end is told, always.

use crate::executor_nursery::link::{End, Late, TaskSide};
use crate::nursery::panics::{attempt, swallow};
use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

pin_project! {
    /// A child of an [`ExecutorNursery`](crate::ExecutorNursery), as its executor has it: a future to be
    /// polled until it is ready, or dropped.
    ///
    /// Made by the nursery's handles, for `S: Spawn<ChildTask<F>>` to run. Its output is `()`: what the
    /// child gave is with the nursery by then. It is ready early, its future dropped, if the nursery wants
    /// its end. Dropped before that, the nursery knows it as [`Lost`](crate::JoinErrorKind::Lost) (unless
    /// it wanted the end). With the feature `std` a panic of `F` does not come out of it.
    ///
    /// `Send` if `F` and its output are.
    #[must_use = "a child runs only while it is polled; dropped, it is lost"]
    pub struct ChildTask<F: Future> {
        // `None`: it has ended.
        #[pin]
        future: Option<F>,
        side: TaskSide<F::Output>,
    }

    impl<F: Future> PinnedDrop for ChildTask<F> {
        fn drop(this: Pin<&mut Self>) {
            this.drop_future();
        }
    }
}

impl<F: Future> ChildTask<F> {
    pub(super) fn new(future: F, side: TaskSide<F::Output>) -> Self {
        let future = Some(future);
        ChildTask { future, side }
    }

    /// The executor refused it: there never was a child.
    pub(super) fn withdraw(mut self) -> Option<F> {
        let future = self.future.take();
        self.side.withdraw();
        future
    }

    /// Drops the future before its end, and tells that. No effect if it has ended.
    fn drop_future(self: Pin<&mut Self>) {
        let this = self.project();
        this.side.end(|| End::Dropped(drop_in_place(this.future)));
    }
}

/// Drops what there is in its place. What it panics with, if it does.
fn drop_in_place<F>(mut future: Pin<&mut Option<F>>) -> Option<Late> {
    attempt(|| future.set(None)).err().map(Box::new)
}

impl<F: Future> Future for ChildTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let Some(future) = this.future.as_pin_mut() else {
            return Poll::Ready(());
        };
        if this.side.is_stopped() {
            self.drop_future();
            return Poll::Ready(());
        }
        let polled = attempt(|| future.poll(cx));
        let this = self.as_mut().project();
        let end = match polled {
            Ok(Poll::Pending) => {
                if this.side.wait(cx.waker()) {
                    self.drop_future();
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) => End::Returned(output, drop_in_place(this.future)),
            Err(panic) => {
                if let Some(later) = drop_in_place(this.future) {
                    swallow(*later);
                }
                End::Panicked(panic)
            }
        };
        this.side.end(|| end);
        Poll::Ready(())
    }
}

impl<F: Future> fmt::Debug for ChildTask<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildTask").finish_non_exhaustive()
    }
}
