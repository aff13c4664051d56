//! A nursery as a child of another.

use crate::nursery::failure::{Cause, Failure};
use crate::nursery::node::Outcome;
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

/// How it ended, and whether the outer nursery was cancelled then.
pub(crate) struct Scoped<T, E> {
    result: Result<T, Failure<E>>,
    cancelled: bool,
}

impl<R, T, E> Future for Scope<R>
where
    R: Future<Output = Result<T, Failure<E>>>,
{
    type Output = Scoped<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Scoped<T, E>> {
        let this = self.project();
        let result = ready!(this.run.poll(cx));
        let cancelled = this.outer.is_cancelled();
        Poll::Ready(Scoped { result, cancelled })
    }
}

/// What was cut because the outer nursery was cancelled is no error of its own.
impl<T, E, O: From<Failure<E>>> Outcome<T, O> for Scoped<T, E> {
    fn split(self) -> Result<T, Option<O>> {
        self.result.map_err(|failure| {
            let cut = matches!(failure.cause, Cause::Cancelled(_)) && failure.rest.is_empty();
            if cut && self.cancelled {
                None
            } else {
                Some(failure.into())
            }
        })
    }
}
