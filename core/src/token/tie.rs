//! Which comes first when a future and its cancellation are both ready.
//!
//! At the first poll the cancellation comes first, so that what was cancelled before it began is never
//! begun; later the future comes first, so that a value which is ready is not thrown away.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// A wait for a token of ours.
pub(crate) trait Wait: Future<Output = ()> + Unpin {
    /// Whether a poll would be the first one and end it.
    fn is_over_at_first_poll(&self) -> bool;
}

/// Polls `future` until `wait` is over: `Some` output, or `None`.
#[inline]
pub(crate) fn poll_until<F: Future>(
    wait: &mut impl Wait,
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    if wait.is_over_at_first_poll() {
        return Poll::Ready(None);
    }
    if let Poll::Ready(output) = future.poll(cx) {
        return Poll::Ready(Some(output));
    }
    Pin::new(wait).poll(cx).map(|()| None)
}
