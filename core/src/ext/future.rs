//! Methods that every future gets.

use crate::reason::{Cancelled, Reason};
use crate::token::CancelSignal;
#[cfg(feature = "alloc")]
use crate::token::{CancellationToken, RunUntilCancelled, RunUntilCancelledOwned};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

/// Cancellation as methods of futures.
pub trait FutureExt: Future {
    /// Runs this future until it ends or `signal` is cancelled. Works with every [`CancelSignal`],
    /// and without `alloc`.
    ///
    /// At the first poll the signal comes first: one that is cancelled already gives
    /// `Err(Cancelled)` without a poll of the future. At later polls the future comes first.
    ///
    /// **Cancel safety:** that of this future.
    ///
    /// ```
    /// use umbel_core::{CancelSignal, Cancelled, FutureExt};
    ///
    /// async fn read(stop: &impl CancelSignal) -> Result<u8, Cancelled> {
    ///     async { 42 }.or_cancelled(stop).await
    /// }
    /// # drop(read(&umbel_core::CancellationToken::new()));
    /// ```
    fn or_cancelled<S>(self, signal: &S) -> OrCancelled<'_, Self, S>
    where
        Self: Sized,
        S: CancelSignal + ?Sized,
    {
        OrCancelled {
            future: self,
            wait: signal.cancelled(),
            signal,
            polled: false,
        }
    }

    /// [`CancellationToken::run_until_cancelled`], for call chains; named as in tokio-util.
    ///
    /// ```
    /// use umbel_core::{CancellationToken, FutureExt};
    ///
    /// async fn read(stop: &CancellationToken) -> Option<u8> {
    ///     async { 42 }.with_cancellation_token(stop).await
    /// }
    /// # drop(read(&CancellationToken::new()));
    /// ```
    #[cfg(feature = "alloc")]
    fn with_cancellation_token(
        self,
        cancellation_token: &CancellationToken,
    ) -> RunUntilCancelled<'_, Self>
    where
        Self: Sized,
    {
        cancellation_token.run_until_cancelled(self)
    }

    /// [`CancellationToken::run_until_cancelled_owned`], for call chains; named as in tokio-util.
    #[cfg(feature = "alloc")]
    fn with_cancellation_token_owned(
        self,
        cancellation_token: CancellationToken,
    ) -> RunUntilCancelledOwned<Self>
    where
        Self: Sized,
    {
        cancellation_token.run_until_cancelled_owned(self)
    }
}

impl<F: Future + ?Sized> FutureExt for F {}

pin_project! {
    /// A future that ends with an error when a signal is cancelled: made by
    /// [`FutureExt::or_cancelled`].
    ///
    /// **Cancel safety:** that of the inner future, which is dropped with this one (not when the
    /// signal is cancelled). `Send` if the inner future and the signal's wait `W` are, and the signal is
    /// `Sync`. (`W` is a parameter so that the compiler need not find it out anew where it proves that an
    /// `async` block is `Send`: it could not, for signals with a lifetime.)
    #[must_use = "futures do nothing unless polled"]
    pub struct OrCancelled<'s, F, S: ?Sized, W = <S as CancelSignal>::Wait<'s>> {
        #[pin]
        future: F,
        #[pin]
        wait: W,
        signal: &'s S,
        polled: bool,
    }
}

impl<F: Future, S: CancelSignal + ?Sized, W: Future> Future for OrCancelled<'_, F, S, W> {
    type Output = Result<F::Output, Cancelled>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let first = !core::mem::replace(this.polled, true);
        let over = first && this.signal.is_cancelled();
        if !over {
            if let Poll::Ready(output) = this.future.poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if this.wait.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        // A signal that is cancelled has a reason; one that breaks this is taken at its word.
        let reason = this.signal.reason().unwrap_or(Reason::explicit());
        Poll::Ready(Err(Cancelled::new(reason)))
    }
}

impl<F, S: ?Sized, W> fmt::Debug for OrCancelled<'_, F, S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrCancelled").finish_non_exhaustive()
    }
}
