//! Running a future until a token is cancelled.

use crate::token::tie::poll_until;
use crate::token::wait::{WaitForCancellationFuture, WaitForCancellationFutureOwned};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

pin_project! {
    /// A future that ends early when a token is cancelled: made by
    /// [`CancellationToken::run_until_cancelled`](crate::CancellationToken::run_until_cancelled).
    ///
    /// The output is `Some` with the future's output, or `None` if the token was cancelled first.
    /// At the first poll the token comes first: a token that is cancelled already gives `None`
    /// without a poll of the future. At later polls the future comes first.
    ///
    /// **Cancel safety:** that of the inner future, which is dropped with this one (not when the
    /// token is cancelled). `Send` and `Sync` if the inner future is.
    #[must_use = "futures do nothing unless polled"]
    pub struct RunUntilCancelled<'a, F> {
        #[pin]
        future: F,
        wait: WaitForCancellationFuture<'a>,
    }
}

impl<'a, F: Future> RunUntilCancelled<'a, F> {
    #[inline(always)]
    pub(crate) fn new(wait: WaitForCancellationFuture<'a>, future: F) -> Self {
        RunUntilCancelled { future, wait }
    }
}

impl<F: Future> Future for RunUntilCancelled<'_, F> {
    type Output = Option<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        poll_until(this.wait, this.future, cx)
    }
}

impl<F> fmt::Debug for RunUntilCancelled<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunUntilCancelled").finish_non_exhaustive()
    }
}

pin_project! {
    /// As [`RunUntilCancelled`], but it owns the token: made by
    /// [`CancellationToken::run_until_cancelled_owned`](crate::CancellationToken::run_until_cancelled_owned).
    ///
    /// `'static` if the inner future is. The future is dropped before the token.
    #[must_use = "futures do nothing unless polled"]
    pub struct RunUntilCancelledOwned<F> {
        #[pin]
        future: F,
        wait: WaitForCancellationFutureOwned,
    }
}

impl<F: Future> RunUntilCancelledOwned<F> {
    #[inline(always)]
    pub(crate) fn new(wait: WaitForCancellationFutureOwned, future: F) -> Self {
        RunUntilCancelledOwned { future, wait }
    }
}

impl<F: Future> Future for RunUntilCancelledOwned<F> {
    type Output = Option<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        poll_until(this.wait, this.future, cx)
    }
}

impl<F> fmt::Debug for RunUntilCancelledOwned<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunUntilCancelledOwned")
            .finish_non_exhaustive()
    }
}
