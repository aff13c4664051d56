//! A wait, and the least executor: it polls when its bell has rung, and otherwise not.

use crate::bell::Bell;
use crate::ops::aims;
use crate::room::Guest;
use crate::{ops, press};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Gives a wait up.
pub(crate) fn drop_wait<F>(wait: Pin<&mut Option<F>>) {
    press::into(&aims::DROP_WAIT, || ops::drop_wait(wait));
}

/// How a wait was left.
pub(crate) enum Left {
    Over,
    Asleep(Sleeper),
}

/// A task that is polled no more until its bell rings.
pub(crate) struct Sleeper {
    bell: &'static Bell,
    rung: u32,
}

impl Sleeper {
    pub(crate) fn was_woken(&self) -> bool {
        self.bell.rung() != self.rung
    }

    /// T5: it sleeps on only if its child lives.
    pub(crate) fn check(&self, guest: &Guest) {
        cortex_m::interrupt::free(|_| {
            if ops::is_cancelled(guest.child()) {
                assert!(
                    self.was_woken(),
                    "lost wake: cancelled, and asleep for ever"
                );
            }
        });
    }
}

/// One poll.
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, guest: &Guest, bell: &'static Bell) -> Left {
    let sleeper = Sleeper {
        bell,
        rung: bell.rung(),
    };
    let waker = bell.waker();
    let mut cx = Context::from_waker(&waker);
    match press::into(&aims::POLL, || ops::poll(future, &mut cx)) {
        Poll::Ready(_) => {
            assert!(
                ops::is_cancelled(guest.child()),
                "over, and its child lives"
            );
            Left::Over
        }
        Poll::Pending => {
            sleeper.check(guest);
            Left::Asleep(sleeper)
        }
    }
}

/// Polls until it is over or asleep.
pub(crate) fn run<F: Future>(mut future: Pin<&mut F>, guest: &Guest, bell: &'static Bell) -> Left {
    loop {
        match poll(future.as_mut(), guest, bell) {
            Left::Asleep(sleeper) if sleeper.was_woken() => {}
            left => return left,
        }
    }
}
