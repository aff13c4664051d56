//! The nursery's side of a child.
//!
//! States, invariants and orderings are told in the [face](super).

use crate::nursery::failure::{JoinError, JoinErrorKind};
use crate::nursery::node::head::{
    ABANDONED, CLAIMED, Claim, DONE, ENDED, Exit, JOIN_GONE, LetGo, META, NURSERY_GONE, Node,
    STARTED, WAITED, drop_future, free,
};
use crate::nursery::options::Meta;
use crate::nursery::panics::Panics;
use crate::reason::Reason;
use crate::sync::Ordering;
use crate::wake::batch::each;
use core::mem::{self, ManuallyDrop};
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

/// The nursery's claim on a child. Dropping it ends the child, if it has not ended, and lets go.
pub(crate) struct NurserySide(pub(super) NonNull<Node>);

impl NurserySide {
    /// Gives up the claim for a pointer, to be kept in a list; [`from_raw`](Self::from_raw) restores it.
    pub(crate) fn into_raw(self) -> *mut Node {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// `raw` came from [`into_raw`](Self::into_raw) and has not been restored since.
    pub(crate) unsafe fn from_raw(raw: *mut Node) -> Self {
        // SAFETY: (caller) never null.
        NurserySide(unsafe { NonNull::new_unchecked(raw) })
    }

    /// A look at a child whose claim is kept elsewhere.
    ///
    /// # Safety
    /// `raw` is the node of a claim that lives for as long as the result is used.
    pub(crate) unsafe fn peek(raw: *mut Node) -> ManuallyDrop<Self> {
        // SAFETY: (caller) never null.
        ManuallyDrop::new(NurserySide(unsafe { NonNull::new_unchecked(raw) }))
    }

    pub(crate) fn as_ptr(&self) -> *mut Node {
        self.0.as_ptr()
    }

    /// The head. Its plain fields are ours (C5).
    pub(crate) fn head(&self) -> &Node {
        // SAFETY: C1 – our side has not let go.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn meta(&self) -> Option<&Meta> {
        if !self.head().vtable.has_meta {
            return None;
        }
        // SAFETY: C6 – there is one; C1 – the block lives; it is never borrowed mutably before it is
        // freed.
        Some(unsafe { self.0.byte_add(META).cast::<Meta>().as_ref() })
    }

    pub(crate) fn is_graceful(&self) -> bool {
        self.meta().is_some_and(|meta| meta.graceful)
    }

    /// Whether its spawner gave up waiting for room, so that it must not be started.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.head().state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Takes the payload for good, and sets the bits `told`. False: the spawner gave up first.
    pub(crate) fn claim(&self, told: usize) -> bool {
        let head = self.head();
        if head.claim.get() == Claim::Open {
            // Only a spawner that waits can give up.
            let lost = head.awaited.get()
                && head.state.fetch_or(CLAIMED | told, Ordering::AcqRel) & ABANDONED != 0;
            head.claim.set(if lost { Claim::Lost } else { Claim::Ours });
        }
        head.claim.get() == Claim::Ours
    }

    /// Takes the payload for good: the child is in. False: the spawner gave up first.
    pub(crate) fn start(&self) -> bool {
        self.claim(STARTED)
    }

    /// Whoever waits for the child's start, to be woken after [`start`](Self::start).
    pub(crate) fn take_waiting(&self) -> Option<Waker> {
        self.head().joiner.take()
    }

    /// Whether the future is still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.head().has_future.get()
    }

    /// Polls the child. When it has ended, that is published as the nursery lets go; but for `Cut`, which
    /// is for [`end`](Self::end). `Failed`: the error is in `error`. What panics goes to `panics`.
    ///
    /// # Safety
    /// [`start`](Self::start) gave true, [`is_alive`](Self::is_alive), and `E` is the type with which the
    /// child was made.
    #[inline]
    pub(crate) unsafe fn poll<E>(
        &self,
        cx: &mut Context<'_>,
        error: &mut Option<E>,
        panics: &Panics,
    ) -> Poll<Exit> {
        let error: *mut Option<E> = error;
        // SAFETY: C6; C2 – claimed and alive (caller).
        let polled = unsafe { (self.head().vtable.poll)(self.0, cx, error.cast(), panics) };
        let Poll::Ready(exit) = polled else {
            return Poll::Pending;
        };
        if exit == Exit::Done {
            self.head().ended.set(true);
            self.head().untold.set(DONE as u8);
        } else {
            self.failed(exit);
        }
        polled
    }

    /// It has come to an end without output.
    #[cold]
    fn failed(&self, exit: Exit) {
        let kind = match exit {
            Exit::Done | Exit::Cut => return,
            Exit::Failed => JoinErrorKind::Failed,
            Exit::Panicked => JoinErrorKind::Panicked,
        };
        // SAFETY: C4 – the payload is ours and `ENDED` is not published yet.
        unsafe { self.set_end(JoinError::new(kind, None)) };
        self.head().ended.set(true);
        self.head().untold.set(ENDED as u8);
    }

    /// Drops the future, if it is there and ours, and tells the joiner why, whichever of the two
    /// panics. No effect on a child that has ended.
    pub(crate) fn end(&self, kind: JoinErrorKind, reason: Option<Reason>) {
        // A lost claim: the spawner is dropping the future, perhaps now, and what lies beside it is his
        // too. (No tool shows what ignoring it does: the clash is on plain fields, in a window of a
        // few instructions that miri did not hit and loom does not see.)
        if self.head().ended.get() || !self.claim(0) {
            return;
        }
        // SAFETY: C4 – the payload is ours and `ENDED` is not published yet.
        unsafe { self.set_end(JoinError::new(kind, reason)) };
        each([false, true].into_iter(), |told| {
            if told {
                if let Some(joiner) = self.publish(ENDED) {
                    joiner.wake();
                }
            } else if self.is_alive() {
                // SAFETY: C2 – claimed, and alive.
                unsafe { drop_future(self.0) };
            }
        });
    }

    /// # Safety
    /// The payload is ours and `ENDED` has not been published.
    unsafe fn set_end(&self, error: JoinError) {
        // SAFETY: C4 – (caller).
        let old = self
            .head()
            .end
            .with_mut(|end| unsafe { (*end).replace(error) });
        drop(old);
    }

    /// Whoever waits for the child's end is to be woken.
    #[must_use]
    fn publish(&self, bit: usize) -> Option<Waker> {
        self.head().ended.set(true);
        let old = self.head().state.fetch_or(bit, Ordering::AcqRel);
        if old & WAITED != 0 {
            self.head().joiner.take()
        } else {
            None
        }
    }

    /// Drops this side of a child that has ended, if no foreign code is called by that. Most often it is
    /// one step: the end is published as the nursery lets go.
    ///
    /// # Errors
    /// Somebody waits for the end, or the output is to be dropped: the drop does it.
    #[inline]
    pub(crate) fn try_let_go(self) -> Result<(), Self> {
        let head = self.head();
        if !head.ended.get() || head.vtable.drop_output.is_some() {
            return Err(self);
        }
        let told = usize::from(head.untold.get()) | NURSERY_GONE;
        let mut state = head.state.load(Ordering::Acquire);
        loop {
            if state & JOIN_GONE != 0 {
                // SAFETY: C1 – the join side is gone and we have not let go: the block is ours.
                unsafe { free(self.0, false) };
                break;
            }
            if state & WAITED != 0 {
                return Err(self);
            }
            match head.state.compare_exchange_weak(
                state,
                state | told,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        mem::forget(self);
        Ok(())
    }
}

impl Drop for NurserySide {
    fn drop(&mut self) {
        let _let_go = LetGo {
            node: self.0,
            ours: NURSERY_GONE,
        };
        match self.head().untold.take() {
            0 => self.end(JoinErrorKind::Closed, None),
            untold => {
                if let Some(joiner) = self.publish(usize::from(untold)) {
                    joiner.wake();
                }
            }
        }
    }
}
