//! What is asked of the nursery's own poll, from anywhere.
//!
//! A request goes through the inbox, as a node among those of the children: so it is in one order with
//! the spawns, and no second lock-free structure is needed. The nursery answers it when it gets to it:
//! children that were spawned before are started or queued by then, those spawned after are not yet
//! known. It is answered in every phase, counts nowhere and takes no place. Who asks may await the answer
//! or drop it.
//!
//! | the nursery | the asker's join |
//! |---|---|
//! | has answered | has the answer |
//! | has ended, or is dropped before it got to it | `Closed` |
//!
//! # Invariants
//!
//! - **Q1** A node whose role is `Request` was made by [`ask`]: its error is `Infallible`.
//!
//! # Foreign code
//!
//! What is done is ours, but may drop children. It runs in the nursery's own poll (H2) between calls of
//! foreign code, and may look at all of [`Poller`](crate::nursery::shared::Poller). Until then it holds
//! the `Shared` in whose inbox it lies: a cycle, that the end or the drop of the nursery undoes.

use crate::nursery::join::Join;
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::{self, Exit, NurserySide};
use crate::nursery::options::{Options, Role};
use crate::nursery::shared::Shared;
use crate::sync::Arc;
use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

struct Request<A> {
    shared: Arc<Shared>,
    act: Option<A>,
}

/// Nothing in it is pinned by its place.
impl<A> Unpin for Request<A> {}

impl<A: FnOnce(&Shared) -> T, T> Future for Request<A> {
    type Output = Result<T, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.act.take() {
            Some(act) => Poll::Ready(Ok(act(&self.shared))),
            None => Poll::Pending,
        }
    }
}

/// Has `act` done in the nursery's own poll (H2). The nursery is rung. One allocation.
///
/// The caller sees to it that `act` and `T` may cross threads where the nursery may, and that they outlive
/// it.
pub(crate) fn ask<T>(
    shared: &Arc<Shared>,
    options: Options,
    act: impl FnOnce(&Shared) -> T,
) -> Join<T> {
    let request = Request {
        shared: Arc::clone(shared),
        act: Some(act),
    };
    let site = options.site;
    let (asked, answer) = node::new(site, request, options.with_role(Role::Request).meta());
    // What comes back is dropped: it ends as `Closed`, which its join tells.
    drop(shared.push(asked));
    Join::new(answer)
}

/// Answers, in the nursery's own poll.
#[cold]
pub(crate) fn answer(shared: &Shared, asked: NurserySide) {
    let panics = &shared.poller.panics;
    let mut cx = Context::from_waker(Waker::noop());
    let mut error: Option<Infallible> = None;
    // SAFETY: it was just claimed, so it is alive; Q1.
    let polled = unsafe {
        asked
            .start()
            .then(|| asked.poll(&mut cx, &mut error, panics))
    };
    match polled {
        // SAFETY: `poll` gave `Done`.
        Some(Poll::Ready(Exit::Done)) => unsafe { asked.done() },
        _ => {
            panics.catch(|| asked.end(JoinErrorKind::Panicked, None));
        }
    }
    // Wakes who awaits the answer.
    shared.guard(|| drop(asked));
    shared.cancel_if_panicked();
}
