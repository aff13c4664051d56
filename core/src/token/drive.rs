//! Firing a token's deadline.

use crate::reason::Reason;
use crate::time::Timer;
use crate::time::alarm::Alarm;
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
        token: &'a CancellationToken,
        wait: WaitForCancellationFuture<'a>,
        begun: bool,
        #[pin]
        alarm: Alarm<T>,
    }
}

impl<'a, T: Timer> Drive<'a, T> {
    pub(crate) fn new(token: &'a CancellationToken, timer: T) -> Self {
        Drive {
            token,
            wait: WaitForCancellationFuture::new(token),
            begun: false,
            alarm: Alarm::new(timer),
        }
    }
}

impl<T: Timer> Future for Drive<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.begun {
            if this.token.check_at(this.alarm.as_mut().now()).is_err() {
                return Poll::Ready(());
            }
            *this.begun = true;
            let at = this.token.effective_deadline();
            this.alarm.as_mut().set(at);
        }
        if Pin::new(&mut *this.wait).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.alarm.poll(cx).is_pending() {
            return Poll::Pending;
        }
        // This task has nothing to be woken for any more.
        *this.wait = WaitForCancellationFuture::new(this.token);
        this.token.cancel_tree(Reason::deadline_exceeded());
        Poll::Ready(())
    }
}

impl<T: Timer> fmt::Debug for Drive<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("deadline", &self.token.deadline())
            .finish_non_exhaustive()
    }
}
