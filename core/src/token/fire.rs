//! Firing a deadline: a wait for a token beside a sleep until the token's deadline.

use crate::time::alarm::Alarm;
use crate::time::{Instant, Timer};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

/// A token of ours that has a deadline.
pub(crate) trait Expiring {
    type Wait<'a>: Future<Output = ()> + Unpin
    where
        Self: 'a;

    fn wait(&self) -> Self::Wait<'_>;

    /// [`Instant::NEVER`] if there is none.
    fn expires(&self) -> Instant;

    /// Whether it is cancelled; if it is due at `now` it is cancelled first.
    fn is_over_at(&self, now: Instant) -> bool;

    fn expire(&self);
}

pin_project! {
    /// Ready when the token is cancelled, by whomever; cancels it when its deadline is due.
    pub(crate) struct Fire<'a, S: Expiring, T: Timer> {
        signal: &'a S,
        wait: S::Wait<'a>,
        begun: bool,
        #[pin]
        alarm: Alarm<T>,
    }
}

impl<'a, S: Expiring, T: Timer> Fire<'a, S, T> {
    pub(crate) fn new(signal: &'a S, timer: T) -> Self {
        Fire {
            signal,
            wait: signal.wait(),
            begun: false,
            alarm: Alarm::new(timer),
        }
    }

    pub(crate) fn signal(&self) -> &'a S {
        self.signal
    }

    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.begun {
            if this.signal.is_over_at(this.alarm.as_mut().now()) {
                return Poll::Ready(());
            }
            *this.begun = true;
            this.alarm.as_mut().set(this.signal.expires());
        }
        if Pin::new(&mut *this.wait).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.alarm.poll(cx).is_pending() {
            return Poll::Pending;
        }
        // This task has nothing to be woken for any more.
        *this.wait = this.signal.wait();
        this.signal.expire();
        Poll::Ready(())
    }
}
