//! The operations under test. Each is one function of the program, so that the host can say of each
//! by name which of its instructions were interrupted.

#[cfg(feature = "broken")]
pub(crate) use crate::broken::{StaticChild, StaticToken};
#[cfg(not(feature = "broken"))]
pub(crate) use umbel_core::{StaticChild, StaticToken};

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use umbel_core::Reason;

/// Children that the token of this program can have at a time.
pub(crate) const SLOTS: usize = 3;

pub(crate) type Token = StaticToken<SLOTS>;

/// How long each takes.
pub(crate) mod aims {
    use crate::press::Aim;

    pub(crate) static CHILD: Aim = Aim::new();
    pub(crate) static DROP_CHILD: Aim = Aim::new();
    pub(crate) static POLL: Aim = Aim::new();
    pub(crate) static DROP_WAIT: Aim = Aim::new();
    pub(crate) static CANCEL_CHILD: Aim = Aim::new();
    pub(crate) static CANCEL: Aim = Aim::new();
    pub(crate) static CANCEL_CHILDREN: Aim = Aim::new();
    pub(crate) static IS_CANCELLED: Aim = Aim::new();
    pub(crate) static REASON: Aim = Aim::new();
}

#[inline(never)]
pub(crate) fn child(token: &'static Token) -> Option<StaticChild> {
    token.child().ok()
}

#[inline(never)]
pub(crate) fn drop_child(child: StaticChild) {
    drop(child);
}

#[inline(never)]
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(cx)
}

#[inline(never)]
pub(crate) fn drop_wait<F>(mut wait: Pin<&mut Option<F>>) {
    wait.set(None);
}

#[inline(never)]
pub(crate) fn cancel_child(child: &StaticChild, reason: Reason) -> bool {
    child.cancel_with(reason)
}

#[inline(never)]
pub(crate) fn is_cancelled(child: &StaticChild) -> bool {
    child.is_cancelled()
}

#[inline(never)]
pub(crate) fn reason(child: &StaticChild) -> Option<Reason> {
    child.reason()
}

#[inline(never)]
pub(crate) fn cancel(token: &Token, reason: Reason) -> bool {
    token.cancel_with(reason)
}

#[inline(never)]
pub(crate) fn cancel_children(token: &Token, reason: Reason) {
    token.cancel_children(reason);
}
