//! The nursery's side of a child.
//!
//! States, invariants and orderings are told in the [face](super).

use crate::nursery::ended::Origin;
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::head::{
    ABANDONED, CLAIMED, Claim, DONE, ENDED, Exit, FLAGS, JOIN_GONE, LetGo, NURSERY_GONE, Node,
    Progress, STARTED, Stopped, WAITED, drop_future, free, free_emptied, meta, with_end,
};
use crate::nursery::options::{Aside, Meta, Priority, Role};
use crate::nursery::own::Own;
use crate::nursery::panics::Panics;
use crate::observe::{Id, Name};
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
        // SAFETY: C1 – our side has not let go.
        unsafe { meta(self.0) }
    }

    /// Whether there is more to it than its future.
    #[inline]
    pub(crate) fn has_meta(&self) -> bool {
        self.head().vtable.meta.is_some()
    }

    /// Whether there is nothing to it but its future, which is polled here.
    #[inline]
    pub(crate) fn is_bare(&self) -> bool {
        self.head().vtable.is_bare
    }

    /// Its own token and what goes with it.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.meta()?.own()
    }

    pub(crate) fn role(&self) -> Role {
        self.meta().map_or(Role::Plain, |meta| meta.role)
    }

    /// A copy of its name.
    pub(crate) fn name(&self) -> Option<Name> {
        let meta = self.meta()?;
        let name = meta.name.take();
        meta.name.set(name.clone());
        name
    }

    /// Its name, before its failure is told; the join side keeps one, too, if it is there to ask.
    pub(crate) fn last_name(&self) -> Option<Name> {
        if self.head().state.load(Ordering::Relaxed) & JOIN_GONE == 0 {
            return self.name();
        }
        self.meta()?.name.take()
    }

    /// Who it is, before anybody can have asked for its id, or to be told again by
    /// [`who`](Self::who) if somebody has.
    #[inline]
    pub(crate) fn origin(&self) -> Origin {
        self.head().origin()
    }

    /// Who it is, with the id that was asked.
    pub(crate) fn who(&self) -> Origin {
        self.head().who()
    }

    /// Its id, if it was asked.
    pub(crate) fn asked(&self) -> Option<Id> {
        self.head().asked()
    }

    pub(crate) fn priority(&self) -> Priority {
        self.meta().map_or(Priority::Normal, Meta::priority)
    }

    pub(crate) fn is_service(&self) -> bool {
        self.meta().is_some_and(Meta::is_service)
    }

    /// Those for whom it waits.
    pub(crate) fn after(&self) -> &[Id] {
        self.meta().map_or(&[], Meta::after)
    }

    /// Whether it takes a place, if there is one, when it is spawned.
    pub(crate) fn wants_place(&self) -> bool {
        self.meta().is_none_or(Aside::wants_place)
    }

    /// Whether it has ended well, and that is told.
    pub(crate) fn is_done(&self) -> bool {
        self.head().state.load(Ordering::Relaxed) & DONE != 0
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

    /// Polls the child. An end is to be told by [`done`](Self::done) or [`end`](Self::end). `Failed`: the
    /// error is in `error`. What panics goes to `panics`.
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
        unsafe { (self.head().vtable.poll)(self.0, cx, error.cast(), panics) }
    }

    /// Whether its work is done elsewhere: it may have to be told to [`stop`](Self::stop).
    #[inline]
    pub(crate) fn is_remote(&self) -> bool {
        self.head().vtable.remote.is_some()
    }

    /// Whether it may end without an outcome though nobody has told it to.
    pub(crate) fn may_be_lost(&self) -> bool {
        let remote = self.head().vtable.remote.as_ref();
        remote.is_some_and(|remote| remote.may_be_lost)
    }

    /// If its work is done elsewhere: waits until it is decided whether there is a child.
    ///
    /// # Safety
    /// As [`poll`](Self::poll).
    pub(crate) unsafe fn poll_decided(&self, cx: &Context<'_>) -> Poll<bool> {
        match &self.head().vtable.remote {
            // SAFETY: C6; C2 – claimed and alive (caller).
            Some(remote) => unsafe { (remote.poll_decided)(self.0, cx) },
            None => Poll::Ready(true),
        }
    }

    /// Whether it has begun elsewhere, whatever the nursery has done about it.
    pub(crate) fn has_begun_elsewhere(&self) -> bool {
        match &self.head().vtable.remote {
            // SAFETY: C6; C2 – claimed and alive.
            Some(remote) if self.claim(0) && self.is_alive() => unsafe {
                (remote.has_begun)(self.0)
            },
            _ => false,
        }
    }

    /// Tells a child whose work is done elsewhere that it is to end, as `kind` unless it was told before: its
    /// poll tells when it has. False: it can be ended here, or has ended.
    pub(crate) fn stop(&self, kind: JoinErrorKind) -> bool {
        let Some(remote) = &self.head().vtable.remote else {
            return false;
        };
        if !self.claim(0) || !self.is_alive() {
            return false;
        }
        let before = self.head().kind.get();
        if before == JoinErrorKind::Closed {
            // First: who is told may have a waker that panics.
            self.head().kind.set(kind);
        }
        // SAFETY: C6; C2 – claimed and alive.
        let stopped = unsafe { (remote.stop)(self.0) };
        if stopped == Stopped::Ended {
            self.head().kind.set(before);
        }
        stopped != Stopped::Here
    }

    /// As what it is to end, if it was told.
    pub(crate) fn stopping(&self) -> Option<JoinErrorKind> {
        let kind = self.head().kind.get();
        (kind != JoinErrorKind::Closed).then_some(kind)
    }

    /// The poll left an output in the payload: that is published when the nursery lets go.
    ///
    /// # Safety
    /// [`poll`](Self::poll) gave `Done`, and this was not called since.
    #[inline]
    pub(crate) unsafe fn done(&self) {
        self.head().progress.set(Progress::Untold);
    }

    /// Drops the future, if it is there and ours, and tells the joiner why, whichever of the two
    /// panics. No effect on a child that has ended.
    pub(crate) fn end(&self, kind: JoinErrorKind, reason: Option<Reason>) {
        self.end_and(kind, reason, || ());
    }

    /// As [`end`](Self::end); when the future is gone and before the joiner is told, calls `between`.
    pub(crate) fn end_and(
        &self,
        kind: JoinErrorKind,
        mut reason: Option<Reason>,
        between: impl FnOnce(),
    ) {
        // A lost claim: the spawner is dropping the future, perhaps now, and what lies beside it is his
        // too. (No tool shows what ignoring it does: the clash is on plain fields, in a window of a
        // few instructions that miri did not hit and loom does not see.)
        if self.head().progress.get() != Progress::Alive || !self.claim(0) {
            return;
        }
        self.head().kind.set(kind);
        let mut between = Some(between);
        each(0..3, |step| match step {
            // SAFETY: C2 – claimed, and alive.
            0 if self.is_alive() => unsafe { drop_future(self.0) },
            0 => {}
            1 => drop(between.take().map(|between| between())),
            _ => {
                // SAFETY: C4 – the payload is ours, `ENDED` is not published yet, and the future is gone:
                // the first step dropped it, or as much of it as can be.
                unsafe { with_end(self.0, |end| end.write(reason.take())) };
                if let Some(joiner) = self.publish(ENDED) {
                    joiner.wake();
                }
            }
        });
    }

    /// Tells the end of a child that has an output. Whoever waits for it is to be woken.
    #[must_use]
    pub(crate) fn tell(&self) -> Option<Waker> {
        let untold = self.head().progress.get() == Progress::Untold;
        untold.then(|| self.publish(DONE))?
    }

    /// Whoever waits for the child's end is to be woken.
    #[must_use]
    fn publish(&self, bit: usize) -> Option<Waker> {
        self.head().progress.set(Progress::Told);
        let old = self.head().state.fetch_or(bit, Ordering::AcqRel);
        if old & WAITED != 0 {
            self.head().joiner.take()
        } else {
            None
        }
    }

    /// Drops this side of a child that has ended, if no foreign code is called by that and there is no
    /// more to it than its future. Most often it is one step: the end is published as the nursery lets go.
    ///
    /// # Errors
    /// Somebody waits for the end or has asked for the id, or the output is to be dropped: see
    /// [`tell`](Self::tell).
    #[inline]
    pub(crate) fn try_let_go(self) -> Result<(), Self> {
        let head = self.head();
        let progress = head.progress.get();
        if progress == Progress::Alive || !head.plain.get() || head.vtable.drop_output.is_some() {
            return Err(self);
        }
        let told = match progress {
            Progress::Untold => NURSERY_GONE | DONE,
            _ => NURSERY_GONE,
        };
        let mut state = head.state.load(Ordering::Acquire);
        loop {
            // Waited for, or its id was asked: there is more to be done.
            if state & WAITED != 0 || state >> FLAGS != 0 {
                return Err(self);
            }
            if state & JOIN_GONE != 0 {
                // SAFETY: C1 – the join side is gone and we have not let go: the block is ours. A plain child
                // has no `Meta`; C3 – the output of one whose end is untold is there, and needs no drop.
                unsafe {
                    match progress {
                        Progress::Untold => free_emptied(self.0),
                        _ => free(self.0, state),
                    }
                }
                break;
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
    #[inline]
    fn drop(&mut self) {
        let _let_go = LetGo {
            node: self.0,
            ours: NURSERY_GONE,
        };
        match self.tell() {
            Some(joiner) => joiner.wake(),
            // No effect if it has ended.
            None => self.end(JoinErrorKind::Closed, None),
        }
    }
}
