//! The nursery's one alarm, with the type of its [`Timer`] erased.

use crate::time::alarm;
use crate::time::{Instant, Timer};
use core::pin::Pin;
use core::task::{Context, Poll};

/// [`alarm::Alarm`], of any timer.
pub(crate) trait Alarm {
    fn now(self: Pin<&mut Self>) -> Instant;
    fn set(self: Pin<&mut Self>, at: Instant);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}

impl<T: Timer> Alarm for alarm::Alarm<T> {
    fn now(self: Pin<&mut Self>) -> Instant {
        alarm::Alarm::now(self)
    }

    fn set(self: Pin<&mut Self>, at: Instant) {
        alarm::Alarm::set(self, at);
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        alarm::Alarm::poll(self, cx)
    }
}
