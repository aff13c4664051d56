//! Firing a token's deadline.

use crate::reason::Reason;
use crate::time::{Instant, Timer};
use crate::token::fire::{Expiring, Fire};
use crate::token::handle::CancellationToken;
use crate::token::wait::WaitForCancellationFuture;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

pin_project! {
    /// Fires a token's deadline: made by [`CancellationToken::drive`].
    ///
    /// **Cancel safety:** Strict. Dropping it gives up the sleep and the wait and cancels nothing; a
    /// new one takes over. Polling it after its end gives `Ready` again. It allocates what the
    /// timer's sleep and [`CancellationToken::cancelled`] do. `Send` and `Sync` if the timer and its
    /// sleep are.
    ///
    /// # Panics
    /// As [`CancellationToken::cancel_with`], when a foreign waker panics; and what the timer does.
    #[must_use = "futures do nothing unless polled"]
    pub struct Drive<'a, T: Timer> {
        #[pin]
        fire: Fire<'a, CancellationToken, T>,
    }
}

impl<'a, T: Timer> Drive<'a, T> {
    pub(crate) fn new(token: &'a CancellationToken, timer: T) -> Self {
        Drive {
            fire: Fire::new(token, timer),
        }
    }
}

impl Expiring for CancellationToken {
    type Wait<'a> = WaitForCancellationFuture<'a>;

    fn wait(&self) -> Self::Wait<'_> {
        WaitForCancellationFuture::new(self)
    }

    fn expires(&self) -> Instant {
        self.effective_deadline()
    }

    fn is_over_at(&self, now: Instant) -> bool {
        self.check_at(now).is_err()
    }

    fn expire(&self) {
        self.cancel_tree(Reason::deadline_exceeded());
    }
}

impl<T: Timer> Future for Drive<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().fire.poll(cx)
    }
}

impl<T: Timer> fmt::Debug for Drive<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("deadline", &self.fire.signal().deadline())
            .finish_non_exhaustive()
    }
}
