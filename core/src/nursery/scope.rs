//! A nursery as a child of another.
//!
//! It is a graceful child, but never dropped in its place while it runs: when its time is over it is
//! forced, as its own handle does it, and polled on. That takes a few polls: its children are dropped,
//! and each of its cleanups has one poll. So what it has opened is closed, whoever runs out of time.

use crate::nursery::failure::Failure;
use crate::nursery::node::{Outcome, Remote, Stopped};
use crate::nursery::shared::Shared;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::token::CancellationToken;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use pin_project_lite::pin_project;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Never polled.
    Fresh,
    Begun,
    Forced,
}

pin_project! {
    /// Runs a nested nursery.
    pub(crate) struct Scope<R> {
        // By which the outer nursery tells it.
        told: CancellationToken,
        outer: Arc<Shared>,
        inner: Arc<Shared>,
        stage: Stage,
        // The inner nursery was seen cancelled while the outer one was not.
        apart: bool,
        #[pin]
        run: R,
    }
}

impl<R> Scope<R> {
    pub(crate) fn new(
        told: CancellationToken,
        outer: Arc<Shared>,
        inner: Arc<Shared>,
        run: R,
    ) -> Self {
        Scope {
            told,
            outer,
            inner,
            stage: Stage::Fresh,
            apart: false,
            run,
        }
    }
}

/// How it ended, and if the outer nursery's cancellation may have reached it: its reason.
pub(crate) struct Scoped<T, E> {
    result: Result<T, Failure<E>>,
    from_outside: Option<Reason>,
}

impl<T, E> Scoped<T, E> {
    /// Whether it has no error of its own: it was only cut.
    fn is_cut(&self) -> bool {
        self.result.as_ref().is_err_and(|failure| {
            // Cancelled by its own deadline or handle it has another reason, or was seen to have it before
            // the outer one was. (If both were cancelled apart between two polls, and for equal reasons, it
            // counts as cut: the outcome tells the same.)
            let why = failure.cancelled();
            why.is_some() && why == self.from_outside.as_ref() && failure.rest.is_empty()
        })
    }
}

impl<R, T, E> Future for Scope<R>
where
    R: Future<Output = Result<T, Failure<E>>>,
{
    type Output = Scoped<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Scoped<T, E>> {
        let this = self.project();
        let mut look = || {
            // In this order: what comes from outside cancels the outer token first.
            *this.apart |= this.inner.token.is_cancelled() && !this.told.is_cancelled();
            *this.apart
        };
        look();
        if *this.stage == Stage::Fresh {
            *this.stage = Stage::Begun;
        }
        let result = ready!(this.run.poll(cx));
        let from_outside = if look() { None } else { this.told.reason() };
        let ended = Scoped {
            result,
            from_outside,
        };
        if let (true, Err(failure)) = (ended.is_cut(), &ended.result) {
            // Nobody else will tell of those. (In the outer nursery's own poll: H2.)
            let alone = !this.outer.token.is_cancelled();
            for forced in failure.report.forced() {
                this.outer.keep_drained(forced.clone(), alone);
            }
        }
        Poll::Ready(ended)
    }
}

impl<R> Remote for Scope<R> {
    const MAY_BE_LOST: bool = false;

    fn has_begun(&self) -> bool {
        self.stage != Stage::Fresh
    }

    fn stop(self: Pin<&mut Self>) -> Stopped {
        let this = self.project();
        match *this.stage {
            Stage::Fresh => return Stopped::Here,
            Stage::Begun => {
                *this.stage = Stage::Forced;
                let why = this.told.reason().unwrap_or(Reason::explicit());
                this.inner.force(why);
            }
            Stage::Forced => {}
        }
        Stopped::Told
    }
}

/// What was cut because the outer nursery was cancelled is no error of its own.
impl<T, E, O: From<Failure<E>>> Outcome<T, O> for Scoped<T, E> {
    fn split(self) -> Result<T, Option<O>> {
        let cut = self.is_cut();
        self.result
            .map_err(|failure| (!cut).then(|| failure.into()))
    }
}
