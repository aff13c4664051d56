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
        #[pin]
        run: R,
    }
}

impl<R> Scope<R> {
    pub(crate) fn new(outer: CancellationToken, run: R) -> Self {
        Scope { outer, run }
    }
}

/// How it ended, and why the outer nursery had been cancelled then, if it had.
pub(crate) struct Scoped<T, E> {
    result: Result<T, Failure<E>>,
    cancelled: Option<Reason>,
}

impl<R, T, E> Future for Scope<R>
where
    R: Future<Output = Result<T, Failure<E>>>,
{
    type Output = Scoped<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Scoped<T, E>> {
        let this = self.project();
        let result = ready!(this.run.poll(cx));
        let cancelled = this.outer.reason();
        Poll::Ready(Scoped { result, cancelled })
    }
}

/// What was cut because the outer nursery was cancelled is no error of its own.
impl<T, E, O: From<Failure<E>>> Outcome<T, O> for Scoped<T, E> {
    fn split(self) -> Result<T, Option<O>> {
        self.result.map_err(|failure| {
            // If it was cancelled by its own deadline or handle before, the reason is another one.
            let cut =
                failure.cancelled().is_some() && failure.cancelled() == self.cancelled.as_ref();
            if cut && failure.rest.is_empty() {
                None
            } else {
                Some(failure.into())
            }
        })
    }
}
