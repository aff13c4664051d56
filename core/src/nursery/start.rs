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
    pub(crate) fn new(handoff: &Arc<Handoff<V>>) -> Self {
        Started(Arc::clone(handoff))
    }

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
    handoff: Arc<Handoff<V>>,
    join: Join<T>,
    /// The child's own.
    token: CancellationToken,
}

impl<V, T> Start<V, T> {
    pub(crate) fn new(handoff: Arc<Handoff<V>>, join: Join<T>, token: CancellationToken) -> Self {
        Start(Some(Waiting {
            handoff,
            join,
            token,
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
        let mut started = waiting.handoff.poll(cx);
        if started.is_pending() {
            if waiting.join.poll_end(cx).is_pending() {
                return Poll::Pending;
            }
            // What it said before its end.
            started = waiting.handoff.close().map_or(Poll::Pending, Poll::Ready);
        }
        let Some(Waiting { handoff, join, .. }) = self.0.take() else {
            unreachable!("looked at above");
        };
        handoff.leave();
        Poll::Ready(match started {
            Poll::Ready(value) => Ok((value, join)),
            Poll::Pending => Err(join.into_unstarted()),
        })
    }
}

impl<V, T> Drop for Start<V, T> {
    fn drop(&mut self) {
        let Some(waiting) = &self.0 else {
            return;
        };
        let said = waiting.handoff.close();
        // All of it, whoever panics.
        each(0..2, |step| match step {
            0 if said.is_some() => {}
            0 => {
                waiting.token.cancel_with(Reason::dropped());
            }
            _ => waiting.handoff.leave(),
        });
    }
}

impl<V, T> fmt::Debug for Start<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}
