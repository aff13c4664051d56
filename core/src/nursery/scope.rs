//! A nursery as a child of another.

use crate::nursery::failure::Failure;
use crate::nursery::node::Outcome;
use crate::reason::Reason;
use crate::token::CancellationToken;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use pin_project_lite::pin_project;

pin_project! {
    /// Runs a nested nursery.
    pub(crate) struct Scope<R> {
        outer: CancellationToken,
        inner: CancellationToken,
        // The inner nursery was seen cancelled while the outer one was not.
        apart: bool,
        #[pin]
        run: R,
    }
}

impl<R> Scope<R> {
    pub(crate) fn new(outer: CancellationToken, inner: CancellationToken, run: R) -> Self {
        Scope {
            outer,
            inner,
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

impl<R, T, E> Future for Scope<R>
where
    R: Future<Output = Result<T, Failure<E>>>,
{
    type Output = Scoped<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Scoped<T, E>> {
        let this = self.project();
        let mut look = || {
            // In this order: what comes from outside cancels the outer token first.
            *this.apart |= this.inner.is_cancelled() && !this.outer.is_cancelled();
            *this.apart
        };
        look();
        let result = ready!(this.run.poll(cx));
        let from_outside = if look() { None } else { this.outer.reason() };
        Poll::Ready(Scoped {
            result,
            from_outside,
        })
    }
}

/// What was cut because the outer nursery was cancelled is no error of its own.
impl<T, E, O: From<Failure<E>>> Outcome<T, O> for Scoped<T, E> {
    fn split(self) -> Result<T, Option<O>> {
        self.result.map_err(|failure| {
            // Cancelled by its own deadline or handle it has another reason, or was seen to have it before
            // the outer one was. (If both were cancelled apart between two polls, and for equal reasons, it
            // counts as cut: the outcome tells the same.)
            let why = failure.cancelled();
            let cut = why.is_some() && why == self.from_outside.as_ref();
            if cut && failure.rest.is_empty() {
                None
            } else {
                Some(failure.into())
            }
        })
    }
}
