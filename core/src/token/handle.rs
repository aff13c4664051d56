//! The public type, its birth and its death; the methods are in `token`.
//!
//! # Invariants
//!
//! - **H1** Every `CancellationToken` stands for one count in its node's `handles`, so the node
//!   (I1) and all its ancestors (I2) live as long as it does.

use crate::reason::Reason;
use crate::sync::{Ordering, count_overflow};
use crate::time::Instant;
use crate::token::death::{Special, clear_left, close, special};
use crate::token::join::Joined;
use crate::token::node::{Node, claim_child, new_child, node_in};
use crate::token::walk::{ChildWakes, Wakes, mark_all, mark_children};
use crate::wake::batch::wake_all;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::NonNull;

/// A handle to one node of a tree of cancellation flags.
///
/// Cancelling a token cancels it and all tokens made from it by [`child_token`], at any depth, and
/// wakes every task that waits on one of them. A child's cancellation does not reach its parent.
/// Clones are handles to the same node. Names and behaviour follow tokio-util's type, so that moving
/// is a change of `use`.
///
/// `Send + Sync`, one pointer in size. Everything is lock-free: no method ever waits for another
/// thread, task or interrupted context.
///
/// | | allocates or frees | in an interrupt |
/// |---|---|---|
/// | [`is_cancelled`], [`check`], [`deadline`] | no | yes |
/// | [`cancel`]; [`cancel_with`], [`cancel_children`] and [`reason`] unless the reason is a boxed error | no, but foreign wakers and callbacks may | yes |
/// | `clone` | no | yes |
/// | [`new`], [`any_of`], [`detached`], [`child_token`], [`on_cancel`], [`flag`], the first poll of a wait | may allocate | no |
/// | dropping a token, a guard, a wait, a registration or a flag | may free | no |
///
/// A child keeps its ancestors' memory alive. Memory of children and waiters is reused: it is
/// bounded by the most that were alive at once, and goes when the token goes. Dropping a token never
/// cancels anything; for that there are [`drop_guard`] and [`drop_guard_ref`].
///
/// `Eq` and `Hash` tell nodes apart: clones are equal, a parent and its child are not.
///
/// ```
/// use umbel_core::CancellationToken;
///
/// let server = CancellationToken::new();
/// let request = server.child_token();
/// server.cancel();
/// assert!(request.is_cancelled());
/// ```
///
/// The tree's design – children in their parent's append-only arena – is this crate's own; the API
/// is that of tokio-util's `CancellationToken`, which took the idea from .NET.
///
/// [`child_token`]: Self::child_token
/// [`is_cancelled`]: Self::is_cancelled
/// [`check`]: Self::check
/// [`deadline`]: Self::deadline
/// [`cancel`]: Self::cancel
/// [`cancel_with`]: Self::cancel_with
/// [`reason`]: Self::reason
/// [`cancel_children`]: Self::cancel_children
/// [`any_of`]: Self::any_of
/// [`detached`]: Self::detached
/// [`new`]: Self::new
/// [`on_cancel`]: Self::on_cancel
/// [`flag`]: Self::flag
/// [`drop_guard`]: Self::drop_guard
/// [`drop_guard_ref`]: Self::drop_guard_ref
#[repr(transparent)]
pub struct CancellationToken(NonNull<Node>);

// SAFETY: H1 – the node is reached through atomics and under the rules of `token::node`; what moves
// between threads with it, `Waker` and `Reason`, is `Send + Sync`.
unsafe impl Send for CancellationToken {}
// SAFETY: H1 – as above; every method takes `&self` in this sense.
unsafe impl Sync for CancellationToken {}
// Foreign code never runs while the tree is half-made, so an unwind leaves nothing broken.
impl UnwindSafe for CancellationToken {}
impl RefUnwindSafe for CancellationToken {}

impl CancellationToken {
    /// Takes over the one handle of a new root.
    pub(crate) fn of_root(root: NonNull<Node>) -> Self {
        CancellationToken(root)
    }

    /// A new root that is cancelled with the first of `sources`.
    pub(crate) fn joined(sources: &[&CancellationToken]) -> Self {
        let earliest = sources
            .iter()
            .map(|source| source.effective_deadline())
            .min();
        let cancelled = sources.iter().find_map(|source| source.reason_now());
        let links = if cancelled.is_some() {
            0
        } else {
            sources.len()
        };
        let block = Joined::new(links, earliest.unwrap_or(Instant::NEVER));
        let token = CancellationToken(block.cast());
        if let Some(reason) = cancelled {
            token.cancel_tree(reason);
            return token;
        }
        for source in sources {
            // SAFETY: H1 – `source` and `token` are handles. There is room for one link each; a link
            // has a share to give to its waker.
            unsafe {
                let waker = |link| special(Special::Link(link));
                Joined::link_to(block.as_ptr(), source.as_ptr(), waker);
            }
            if source.node().is_cancelled_after_arming() {
                if let Some(reason) = source.reason_now() {
                    token.cancel_tree(reason);
                }
                break;
            }
        }
        token
    }

    /// A new child; its effective deadline is given.
    #[inline]
    pub(crate) fn new_child(&self, deadline: Instant) -> Self {
        // SAFETY: H1 – `self` is a handle of the parent; the slot and the child's handle become ours.
        let (child, parked) = unsafe {
            let place = claim_child(self.as_ptr());
            if (*node_in(place)).has_left() {
                clear_left(place);
            }
            new_child(self.as_ptr(), place, deadline)
        };
        let child = CancellationToken(child);
        drop(parked);
        child
    }

    /// Cancels this token and all below it, and wakes who waits there. True: it was the first.
    pub(crate) fn cancel_tree(&self, reason: Reason) -> bool {
        let node = self.node();
        if node.is_never() {
            return false;
        }
        match node.cancel(reason) {
            Ok(()) => {
                // SAFETY: H1 – `self` is a handle during the whole call.
                let wakes = unsafe { mark_all(self.as_ptr()).then(|| Wakes::new(self.as_ptr())) };
                if let Some(wakes) = wakes {
                    wake_all(wakes);
                }
                true
            }
            Err(unused) => {
                if !node.is_done() {
                    // SAFETY: H1 – as above. Whoever won wakes.
                    unsafe { mark_all(self.as_ptr()) };
                }
                drop(unused);
                false
            }
        }
    }

    /// Cancels the children that there are and all below them, and wakes who waits there.
    pub(crate) fn cancel_all_children(&self, reason: Reason) {
        let node = self.as_ptr();
        // SAFETY: H1 – `self` is a handle during the whole call.
        unsafe {
            if self.node().is_cancelled() {
                // They are cancelled already, or are being: whoever does that wakes them.
                if !self.node().is_done() {
                    mark_all(node);
                }
            } else if mark_children(node, &reason) {
                wake_all(ChildWakes::new(node, &reason));
            }
        }
        drop(reason);
    }

    #[inline]
    pub(crate) fn reason_now(&self) -> Option<Reason> {
        // SAFETY: H1.
        unsafe { self.node().reason() }
    }

    #[inline]
    pub(crate) fn effective_deadline(&self) -> Instant {
        // SAFETY: H1.
        unsafe { self.node().deadline() }
    }

    #[inline(always)]
    pub(crate) fn node(&self) -> &Node {
        // SAFETY: H1, I1.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const Node {
        self.0.as_ptr()
    }
}

/// One atomic addition.
impl Clone for CancellationToken {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: the caller's handle keeps the node. The check is that of `Arc`: far below the
        // wrap, since other threads may count on before this one stops the program.
        if self.node().handles().fetch_add(1, Ordering::Relaxed) > i32::MAX as u32 {
            count_overflow();
        }
        CancellationToken(self.0)
    }
}

/// Cancels nothing.
impl Drop for CancellationToken {
    #[inline]
    fn drop(&mut self) {
        let handles = self.node().handles();
        // Only who has a handle makes another, so 1 cannot grow: no read-modify-write for the last.
        if handles.load(Ordering::Acquire) == 1 || handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: H1 – this was the last handle.
            unsafe { close(self.as_ptr()) };
        }
    }
}

impl PartialEq for CancellationToken {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for CancellationToken {}

impl Hash for CancellationToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// The token's own state only: no ancestors, no children.
impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One look, so that both fields agree.
        let reason = self.reason_now();
        f.debug_struct("CancellationToken")
            .field("is_cancelled", &reason.is_some())
            .field("reason", &reason)
            .finish()
    }
}
