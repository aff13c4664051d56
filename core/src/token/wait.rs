//! Waiting for a token.
//!
//! A wait takes no memory of its own: at its first pending poll it claims a slot of the node's slab
//! of waiters, and puts a waker there. It keeps a bitwise copy of that waker, so that a re-poll is
//! one load of the flag and a comparison, and so that it never reads the slot, which a canceller may
//! be reading.
//!
//! # State
//!
//! | `segment` | slot's code | the waker in the slot belongs to | model, against `cancel` |
//! |---|---|---|---|
//! | null | – | nobody: not registered | `cancel_against_first_poll` |
//! | set | OWNED | the wait (there is none: only inside a call) | `cancel_against_repoll` |
//! | set | ARMED | the wait, which gets it back by `disarm` | `cancel_against_drop_and_reuse` |
//! | set | TAKEN | the canceller; `waker` here must not be used but for comparing | `the_end_of_a_wait_publishes` |
//!
//! # Invariants
//!
//! - **F1** Whoever calls a method of a [`Waiter`] holds a handle of one and the same node until the
//!   waiter is dropped or has left.
//! - **F2** `waker` is written whenever `segment` is set, and owned exactly if the slot is ARMED.
//! - **F3** TAKEN happens only after the node's flag is set.
//!
//! # Orderings
//!
//! Arm, then look at the flag; against it: set the flag, then look at the codes. See `token::node`.
//!
//! # Foreign code
//!
//! A waker is cloned before a slot is claimed or disarmed, and an old one dropped after the new one
//! is armed. The comparison `will_wake` runs no foreign code.

use crate::token::handle::CancellationToken;
use crate::token::node::{Node, WaitSlot};
use crate::token::tie::Wait;
use crate::wake::slab::{Left, Place};
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// The place of one waiting future. Must have left before the node may go (F1); has no `Drop`.
struct Waiter {
    place: Place<WaitSlot>,
    /// F2.
    waker: MaybeUninit<ManuallyDrop<Waker>>,
}

/// # Safety
/// Of every function here: F1.
impl Waiter {
    const fn new() -> Waiter {
        Waiter {
            place: Place::NOWHERE,
            waker: MaybeUninit::uninit(),
        }
    }

    fn is_registered(&self) -> bool {
        !self.place.is_nowhere()
    }

    #[inline(always)]
    unsafe fn poll(&mut self, node: *const Node, cx: &Context<'_>) -> Poll<()> {
        // SAFETY: F1.
        unsafe {
            if (*node).is_cancelled() {
                return Poll::Ready(());
            }
            if !self.is_registered() {
                return self.register(node, cx.waker());
            }
            // Not taken a moment ago (F3). If it is taken now it is woken, and the comparison
            // looks at two pointers only.
            if self.waker.assume_init_ref().will_wake(cx.waker()) {
                return Poll::Pending;
            }
            self.register_another(node, cx.waker())
        }
    }

    #[inline(never)]
    unsafe fn register(&mut self, node: *const Node, waker: &Waker) -> Poll<()> {
        // SAFETY: F1.
        unsafe {
            if (*node).is_never() {
                return Poll::Pending;
            }
            let waker = waker.clone();
            self.place = (*node).waits.claim(node);
            self.arm(node, waker)
        }
    }

    #[cold]
    unsafe fn register_another(&mut self, node: *const Node, waker: &Waker) -> Poll<()> {
        // SAFETY: F1, F2 – a disarmed waker is ours to drop.
        unsafe {
            let waker = waker.clone();
            if !self.place.disarm(Left::Owned) {
                return Poll::Ready(()); // F3
            }
            let old = self.take_waker();
            let poll = self.arm(node, waker);
            drop(old);
            poll
        }
    }

    /// Writes the waker into the slot, which is OWNED, arms it and looks at the flag.
    #[inline(always)]
    unsafe fn arm(&mut self, node: *const Node, waker: Waker) -> Poll<()> {
        // SAFETY: F1; S2 – OWNED: the slot is ours until it is armed.
        unsafe {
            (*self.place.slot()).put(core::ptr::read(&waker));
            self.waker.write(ManuallyDrop::new(waker));
            self.place.arm();
            if !(*node).is_cancelled_after_arming() {
                return Poll::Pending;
            }
            self.leave();
            Poll::Ready(())
        }
    }

    /// Gives the slot back, if a canceller has not taken it.
    #[inline(always)]
    unsafe fn leave(&mut self) {
        if self.is_registered() {
            let place = mem::replace(&mut self.place, Place::NOWHERE);
            // SAFETY: F1, F2 – a disarmed waker is ours to drop.
            unsafe {
                if place.disarm(Left::Free) {
                    drop(self.take_waker());
                }
            }
        }
    }

    /// The waker that `disarm` has just given back.
    #[inline(always)]
    unsafe fn take_waker(&mut self) -> Waker {
        // SAFETY: F2 – (caller) it is ours, and not used again before it is overwritten.
        ManuallyDrop::into_inner(unsafe { self.waker.assume_init_read() })
    }
}

/// Ends when the token is cancelled: made by [`CancellationToken::cancelled`].
///
/// **Cancel safety:** Strict. Dropping it gives up the wait, cancels nothing and loses nothing.
/// Polling it after it has ended gives `Ready` again. `Send + Sync + Unpin`. The first poll may
/// allocate (a slot is reused afterwards), a later one and the drop do not, but cloning and dropping
/// wakers is foreign code.
#[must_use = "futures do nothing unless polled"]
pub struct WaitForCancellationFuture<'a> {
    // Not `&'a CancellationToken`: one dependent load less in every poll.
    node: *const Node,
    waiter: Waiter,
    token: PhantomData<&'a CancellationToken>,
}

// SAFETY: F1 – the borrowed token is `Sync`; the waker in our hands is `Send + Sync`.
unsafe impl Send for WaitForCancellationFuture<'_> {}
// SAFETY: `&self` gives access to atomics of the node only.
unsafe impl Sync for WaitForCancellationFuture<'_> {}
impl UnwindSafe for WaitForCancellationFuture<'_> {}
impl RefUnwindSafe for WaitForCancellationFuture<'_> {}

impl<'a> WaitForCancellationFuture<'a> {
    #[inline(always)]
    pub(crate) fn new(token: &'a CancellationToken) -> Self {
        WaitForCancellationFuture {
            node: token.as_ptr(),
            waiter: Waiter::new(),
            token: PhantomData,
        }
    }
}

impl Wait for WaitForCancellationFuture<'_> {
    #[inline(always)]
    fn is_over_at_first_poll(&self) -> bool {
        // SAFETY: F1 – the token is borrowed.
        !self.waiter.is_registered() && unsafe { (*self.node).is_cancelled() }
    }
}

impl Future for WaitForCancellationFuture<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let node = self.node;
        // SAFETY: F1 – the token is borrowed.
        unsafe { self.waiter.poll(node, cx) }
    }
}

impl Drop for WaitForCancellationFuture<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: F1 – the token is borrowed.
        unsafe { self.waiter.leave() }
    }
}

impl fmt::Debug for WaitForCancellationFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForCancellationFuture")
            .finish_non_exhaustive()
    }
}

/// Ends when its own token is cancelled: made by [`CancellationToken::cancelled_owned`].
///
/// As [`WaitForCancellationFuture`], but `'static`: it owns the token, so dropping it may free.
#[must_use = "futures do nothing unless polled"]
pub struct WaitForCancellationFutureOwned {
    waiter: Waiter,
    token: CancellationToken,
}

// SAFETY: F1 – the token is `Send + Sync`; the waker in our hands is too.
unsafe impl Send for WaitForCancellationFutureOwned {}
// SAFETY: `&self` gives access to the token only.
unsafe impl Sync for WaitForCancellationFutureOwned {}
impl UnwindSafe for WaitForCancellationFutureOwned {}
impl RefUnwindSafe for WaitForCancellationFutureOwned {}

impl WaitForCancellationFutureOwned {
    #[inline(always)]
    pub(crate) fn new(token: CancellationToken) -> Self {
        WaitForCancellationFutureOwned {
            waiter: Waiter::new(),
            token,
        }
    }
}

impl Wait for WaitForCancellationFutureOwned {
    #[inline(always)]
    fn is_over_at_first_poll(&self) -> bool {
        !self.waiter.is_registered() && self.token.node().is_cancelled()
    }
}

impl Future for WaitForCancellationFutureOwned {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let node = self.token.as_ptr();
        // SAFETY: F1 – the token is ours.
        unsafe { self.waiter.poll(node, cx) }
    }
}

impl Drop for WaitForCancellationFutureOwned {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: F1 – the token is ours, and dropped after this, also on unwind.
        unsafe { self.waiter.leave() }
    }
}

impl fmt::Debug for WaitForCancellationFutureOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitForCancellationFutureOwned")
            .finish_non_exhaustive()
    }
}
