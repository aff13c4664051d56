//! Running a future until a static child is cancelled, and firing its deadline.

use crate::reason::Reason;
use crate::time::{Instant, Timer};
use crate::token::fire::{Expiring, Fire};
use crate::token::fixed::child::StaticChild;
use crate::token::fixed::wait::StaticWait;
use crate::token::tie::poll_until;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

pin_project! {
    /// A future that ends early when a child is cancelled: made by
    /// [`StaticChild::run_until_cancelled`].
    ///
    /// The output is `Some` with the future's output, or `None` if the child was cancelled first.
    ///
    /// **Cancel safety:** that of the inner future, which is dropped with this one (not when the
    /// child is cancelled). `Send` and `Sync` if the inner future is.
    #[must_use = "futures do nothing unless polled"]
    pub struct StaticRun<'a, F> {
        #[pin]
        future: F,
        wait: StaticWait<'a>,
    }
}

impl<'a, F: Future> StaticRun<'a, F> {
    #[inline(always)]
    pub(crate) fn new(child: &'a StaticChild, future: F) -> Self {
        StaticRun {
            future,
            wait: StaticWait::new(child),
        }
    }
}

impl<F: Future> Future for StaticRun<'_, F> {
    type Output = Option<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        poll_until(this.wait, this.future, cx)
    }
}

impl<F> fmt::Debug for StaticRun<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticRun").finish_non_exhaustive()
    }
}

pin_project! {
    /// Fires a child's deadline: made by [`StaticChild::drive`].
    ///
    /// **Cancel safety:** Strict. Dropping it gives up the sleep and the wait and cancels nothing; a
    /// new one takes over. Polling it after its end gives `Ready` again. It allocates what the
    /// timer's sleep does. `Send` and `Sync` if the timer and its sleep are.
    ///
    /// # Panics
    /// What foreign wakers and the timer do.
    #[must_use = "futures do nothing unless polled"]
    pub struct StaticDrive<'a, T: Timer> {
        #[pin]
        fire: Fire<'a, StaticChild, T>,
    }
}

impl<'a, T: Timer> StaticDrive<'a, T> {
    pub(crate) fn new(child: &'a StaticChild, timer: T) -> Self {
        StaticDrive {
            fire: Fire::new(child, timer),
        }
    }
}

impl Expiring for StaticChild {
    type Wait<'a> = StaticWait<'a>;

    fn wait(&self) -> Self::Wait<'_> {
        StaticWait::new(self)
    }

    fn expires(&self) -> Instant {
        self.deadline
    }

    fn is_over_at(&self, now: Instant) -> bool {
        if self.deadline.is_due(now) {
            self.expire();
        }
        self.slot.word.is_cancelled()
    }

    fn expire(&self) {
        self.cancel_now(&Reason::deadline_exceeded());
    }
}

impl<T: Timer> Future for StaticDrive<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().fire.poll(cx)
    }
}

impl<T: Timer> fmt::Debug for StaticDrive<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticDrive")
            .field("deadline", &self.fire.signal().deadline)
            .finish_non_exhaustive()
    }
}
