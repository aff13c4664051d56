//! A timer and the sleep that it is in.

use crate::time::clock::Timer;
use crate::time::instant::Instant;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

pin_project! {
    /// A timer that holds at most one sleep. Setting it replaces the sleep.
    pub(crate) struct Alarm<T: Timer> {
        timer: T,
        at: Instant,
        #[pin]
        sleep: Option<T::Sleep>,
    }
}

impl<T: Timer> Alarm<T> {
    pub(crate) fn new(timer: T) -> Self {
        Alarm {
            timer,
            at: Instant::NEVER,
            sleep: None,
        }
    }

    /// (Not by a shared reference, which would cover a sleep that may borrow from itself.)
    pub(crate) fn now(self: Pin<&mut Self>) -> Instant {
        self.project().timer.now()
    }

    pub(crate) fn set(self: Pin<&mut Self>, at: Instant) {
        let mut this = self.project();
        *this.at = at;
        // A sleep that would never end is not begun.
        let sleep = (at != Instant::NEVER).then(|| this.timer.sleep_until(at));
        this.sleep.set(sleep);
    }

    /// `Ready` once the instant is due. Without an instant, or after `Ready`, it is pending.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(sleep) = this.sleep.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        if sleep.poll(cx).is_pending() {
            return Poll::Pending;
        }
        if this.at.is_due(this.timer.now()) {
            this.sleep.set(None);
            return Poll::Ready(());
        }
        // A timer that ends early breaks its contract; sleep again, one poll at a time.
        this.sleep.set(Some(this.timer.sleep_until(*this.at)));
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
