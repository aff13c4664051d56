//! Methods that every stream gets.
//!
//! The tie: the signal comes first at every item. A stream that always has an item ready would
//! otherwise never let the signal be seen.

use crate::token::CancelSignal;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::stream::{FusedStream, Stream};
use pin_project_lite::pin_project;

/// Cancellation as methods of streams.
///
/// Where another crate's `StreamExt` is in scope too, import this one as `_`.
pub trait StreamExt: Stream {
    /// The items of this stream until `signal` is cancelled. Works with every [`CancelSignal`], and
    /// without `alloc`.
    ///
    /// At every item the signal comes first: once it is cancelled this stream ends and the inner one
    /// is not polled again, although it may have an item ready. Whether a stream ended by itself or
    /// was cut off, [`CancelSignal::is_cancelled`] tells.
    ///
    /// **Cancel safety:** that of this stream: dropping the wait for an item loses what this stream
    /// would lose.
    ///
    /// ```
    /// use core::{future::poll_fn, pin::pin};
    /// use futures_core::Stream;
    /// use umbel_core::{CancelSignal, StreamExt as _};
    ///
    /// async fn sum(numbers: impl Stream<Item = u64>, stop: &impl CancelSignal) -> u64 {
    ///     let mut numbers = pin!(numbers.take_until_cancelled(stop));
    ///     let mut sum = 0;
    ///     // or `next()` of futures-util, futures-lite, …
    ///     while let Some(n) = poll_fn(|cx| numbers.as_mut().poll_next(cx)).await {
    ///         sum += n;
    ///     }
    ///     sum
    /// }
    /// ```
    fn take_until_cancelled<S>(self, signal: &S) -> TakeUntilCancelled<'_, Self, S>
    where
        Self: Sized,
        S: CancelSignal + ?Sized,
    {
        TakeUntilCancelled {
            stream: self,
            wait: signal.cancelled(),
            signal,
            over: false,
        }
    }
}

impl<St: Stream + ?Sized> StreamExt for St {}

pin_project! {
    /// A stream that ends when a signal is cancelled: made by [`StreamExt::take_until_cancelled`].
    ///
    /// It is fused, whether the inner stream is or not: after its end it stays ended, and polls
    /// neither the inner stream nor the signal.
    ///
    /// **Cancel safety:** that of the inner stream, which is dropped with this one (not when the
    /// signal is cancelled). Allocates what the signal's wait `W` does. `Send` if the inner stream and
    /// `W` are, and the signal is `Sync`.
    #[must_use = "streams do nothing unless polled"]
    pub struct TakeUntilCancelled<'s, St, S: ?Sized, W = <S as CancelSignal>::Wait<'s>> {
        #[pin]
        stream: St,
        #[pin]
        wait: W,
        signal: &'s S,
        over: bool,
    }
}

impl<St: Stream, S: CancelSignal + ?Sized, W: Future> Stream for TakeUntilCancelled<'_, St, S, W> {
    type Item = St::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if !*this.over && !this.signal.is_cancelled() {
            match this.stream.poll_next(cx) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                Poll::Ready(None) => {}
                // Waited for only now: an item that is ready needs no place among the waiters.
                Poll::Pending if this.wait.poll(cx).is_pending() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        *this.over = true;
        Poll::Ready(None)
    }

    /// At least nothing, because the signal may be cancelled; at most what the inner stream says.
    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.over {
            (0, Some(0))
        } else {
            (0, self.stream.size_hint().1)
        }
    }
}

impl<St: Stream, S: CancelSignal + ?Sized, W: Future> FusedStream
    for TakeUntilCancelled<'_, St, S, W>
{
    fn is_terminated(&self) -> bool {
        self.over
    }
}

impl<St, S: ?Sized, W> fmt::Debug for TakeUntilCancelled<'_, St, S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeUntilCancelled")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
