//! Waiting for a static child.
//!
//! Put a waker, then look at the flag; against it: set the flag, then take the waker (`slot`).

use crate::token::fixed::child::StaticChild;
use crate::token::tie::Wait;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Ends when the child is cancelled: made by [`StaticChild::cancelled`].
///
/// **Cancel safety:** Strict. Dropping it gives up the wait, cancels nothing and loses nothing.
/// Polling it after it has ended gives `Ready` again. `Send + Sync + Unpin`. It neither allocates nor
/// frees, but cloning and dropping wakers is foreign code, so it is not for interrupts.
///
/// # Panics
/// What the waker does; a poll that displaces another wait's waker wakes it.
#[must_use = "futures do nothing unless polled"]
pub struct StaticWait<'a> {
    child: &'a StaticChild,
    begun: bool,
}

impl<'a> StaticWait<'a> {
    #[inline(always)]
    pub(crate) fn new(child: &'a StaticChild) -> Self {
        StaticWait {
            child,
            begun: false,
        }
    }
}

impl Wait for StaticWait<'_> {
    #[inline(always)]
    fn is_over_at_first_poll(&self) -> bool {
        !self.begun && self.child.slot.word.is_cancelled()
    }
}

impl Future for StaticWait<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let word = &self.child.slot.word;
        if word.is_cancelled() {
            return Poll::Ready(());
        }
        let child = self.child;
        if !self.begun {
            self.begun = true;
            child.begin_wait();
        }
        child.put_waker(cx.waker());
        if word.is_cancelled() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for StaticWait<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.begun {
            self.child.end_wait();
        }
    }
}

impl fmt::Debug for StaticWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticWait").finish_non_exhaustive()
    }
}
