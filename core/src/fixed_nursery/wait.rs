//! Waiting for room in a fixed nursery.

use crate::fixed_nursery::gate::Gate;
use crate::fixed_nursery::waiters::Node;
use crate::spawn::TrySpawnError;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Spawns a child when there is room; made by [`FixedNursery::spawn_wait`](crate::FixedNursery::spawn_wait).
#[must_use = "futures do nothing unless polled"]
pub struct FixedSpawnWait<'n, 'env, E, F, const N: usize, const SIZE: usize> {
    gate: &'n Gate<'env, E, N, SIZE>,
    /// Not pinned: it moves into its slot.
    child: Option<F>,
    node: Node,
}

impl<'n, 'env, E, F, const N: usize, const SIZE: usize> FixedSpawnWait<'n, 'env, E, F, N, SIZE> {
    pub(crate) const fn new(gate: &'n Gate<'env, E, N, SIZE>, child: F) -> Self {
        FixedSpawnWait {
            gate,
            child: Some(child),
            node: Node::new(),
        }
    }
}

impl<'env, E, F, const N: usize, const SIZE: usize> Future
    for FixedSpawnWait<'_, 'env, E, F, N, SIZE>
where
    F: Future<Output = Result<(), E>> + 'env,
{
    /// The error gives the child back; it is never `Full`.
    type Output = Result<(), TrySpawnError<F>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `node` is not moved, and `child` is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let (gate, node) = (this.gate, &this.node);
        let must_wait = || gate.is_open() && !(gate.waiters.is_next(node) && gate.has_room());
        // Declared here: its drop, too, is foreign code, and comes when the child is in.
        let waker;
        if this.child.is_some() && must_wait() {
            waker = cx.waker().clone();
            // Foreign code: who was told of the room, and was before us, may have gone meanwhile.
            if must_wait() {
                // SAFETY: Q1 – pinned with us, in the one list of our gate, and unlinked by our drop.
                unsafe { gate.waiters.wait(node, waker) };
                return Poll::Pending;
            }
        }
        let Some(child) = this.child.take() else {
            panic!("a wait for room polled after it was ready");
        };
        let spawned = gate.spawn(child);
        gate.waiters.unlink(node);
        // There may be room for another one, also if there is none for us, whom a wake may have told
        // of it: if not, he looks and waits on.
        gate.waiters.wake_first();
        Poll::Ready(spawned)
    }
}

impl<E, F, const N: usize, const SIZE: usize> Drop for FixedSpawnWait<'_, '_, E, F, N, SIZE> {
    fn drop(&mut self) {
        if self.node.is_linked() {
            let waiters = &self.gate.waiters;
            let was_next = waiters.is_next(&self.node);
            waiters.unlink(&self.node);
            if was_next {
                // The wake that was for us, perhaps.
                waiters.wake_first();
            }
        }
    }
}

impl<E, F, const N: usize, const SIZE: usize> fmt::Debug for FixedSpawnWait<'_, '_, E, F, N, SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedSpawnWait")
            .field("waits", &self.node.is_linked())
            .finish_non_exhaustive()
    }
}
