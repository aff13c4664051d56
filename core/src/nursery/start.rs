//! Waiting until a child says that it has started.
//!
//! The child has a token of its own, so that it can be cancelled with who waits for it; when it has said
//! that it has started, it is a child like others.
//!
//! | who comes first | the waiter | the child |
//! |---|---|---|
//! | the child says that it has started | has value and join | lives on |
//! | it ends, for whatever reason | has the error | – |
//! | the waiter goes | – | is cancelled alone; what it says comes back to it |

use crate::nursery::handoff::Handoff;
use crate::nursery::join::Join;
use crate::nursery::join_error::JoinError;
use crate::observe::Name;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::token::CancellationToken;
use crate::wake::batch::each;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// By which a child says that it has started; given by [`Handle::start`](crate::Handle::start).
///
/// Dropped without saying so, whoever waits for it waits until the child has ended. `Send` if `V` is.
#[must_use = "whoever called `start` waits for it"]
pub struct Started<V>(Arc<Handoff<V>>);

impl<V> Started<V> {
    /// The child has started: `value` (an address that it listens on, a handle to it) goes to whoever called
    /// [`start`](crate::Handle::start). Lock-free; one allocation.
    ///
    /// # Errors
    ///
    /// Nobody waits any more: the child is cancelled alone. (So a plain one does not get to see it, but for
    /// what it does before its next await.)
    pub fn send(self, value: V) -> Result<(), V> {
        self.0.send(value)
    }
}

impl<V> fmt::Debug for Started<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// Waits until a child has started; made by [`Handle::start`](crate::Handle::start).
///
/// **Cancel safety:** Weak. Dropped before the child has said that it has started, the child is cancelled
/// alone, with [`ReasonKind::Dropped`](crate::ReasonKind::Dropped); dropped after that, the child lives on,
/// detached, and its value is dropped. **Panics:** if polled after it was ready. Allocates only for an
/// error. `Send` if `V` and `T` are.
#[must_use = "dropping it cancels the child that is about to start"]
pub struct Start<V, T>(Option<Waiting<V, T>>);

struct Waiting<V, T> {
    starting: Starting<V>,
    join: Join<T>,
}

/// What there is before the child is spawned.
pub(crate) struct Starting<V> {
    handoff: Arc<Handoff<V>>,
    /// The child's own.
    token: CancellationToken,
    /// The child's, for the error: one that has ended well has its name no more.
    name: Option<Name>,
}

impl<V> Starting<V> {
    pub(crate) fn new(token: CancellationToken, name: Option<Name>) -> Self {
        Starting {
            handoff: Arc::new(Handoff::new()),
            token,
            name,
        }
    }

    /// For the child, which is given it once.
    pub(crate) fn started(&self) -> Started<V> {
        Started(Arc::clone(&self.handoff))
    }

    /// The child has been spawned.
    pub(crate) fn wait<T>(self, join: Join<T>) -> Start<V, T> {
        Start(Some(Waiting {
            starting: self,
            join,
        }))
    }
}

impl<V, T> Unpin for Start<V, T> {}

impl<V, T> Future for Start<V, T> {
    type Output = Result<(V, Join<T>), JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(waiting) = &mut self.0 else {
            panic!("`Start` polled after it was ready");
        };
        let handoff = &waiting.starting.handoff;
        let mut started = handoff.poll(cx);
        if started.is_pending() {
            if waiting.join.poll_end(cx).is_pending() {
                return Poll::Pending;
            }
            // What it said before its end.
            started = handoff.close().map_or(Poll::Pending, Poll::Ready);
        }
        let Some(Waiting { starting, join }) = self.0.take() else {
            unreachable!("looked at above");
        };
        starting.handoff.leave();
        Poll::Ready(match started {
            Poll::Ready(value) => Ok((value, join)),
            Poll::Pending => Err(join.into_unstarted(starting.name)),
        })
    }
}

impl<V, T> Drop for Start<V, T> {
    fn drop(&mut self) {
        let Some(Waiting { starting, join }) = self.0.take() else {
            return;
        };
        let (mut said, mut join) = (starting.handoff.close(), Some(join));
        // All of it, whoever panics.
        each(0..4, |step| match step {
            0 if said.is_some() => {}
            0 => {
                starting.token.cancel_with(Reason::dropped());
            }
            1 => starting.handoff.leave(),
            2 => drop(join.take()),
            _ => drop(said.take()),
        });
    }
}

impl<V, T> fmt::Debug for Start<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}
