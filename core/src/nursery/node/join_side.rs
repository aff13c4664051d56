//! The join's side of a child.
//!
//! States, invariants and orderings are told in the [face](super).

use crate::nursery::ended::Span;
use crate::nursery::join_error::{JoinError, JoinErrorKind};
use crate::nursery::node::head::{
    ABANDONED, CLAIMED, DONE, ENDED, FLAGS, JOIN_GONE, LetGo, Node, STARTED, WAITED, drop_future,
    let_go, meta, with_end,
};
use crate::nursery::node::lent::Beside;
use crate::nursery::options::Meta;
use crate::observe::{Id, Name};
use crate::sync::Ordering;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

/// The joiner's claim on a child. Dropping it lets go: the child runs on, its output is dropped.
pub(crate) struct JoinSide<T>(pub(super) NonNull<Node>, pub(super) PhantomData<T>);

// SAFETY: C1–C4 – the sides meet only through `state` and `joiner`; what crosses is the output.
unsafe impl<T: Send> Send for JoinSide<T> {}
// SAFETY: nothing is reachable through a shared reference.
unsafe impl<T: Send> Sync for JoinSide<T> {}

impl<T> JoinSide<T> {
    fn head(&self) -> &Node {
        // SAFETY: C1 – our side has not let go.
        unsafe { self.0.as_ref() }
    }

    /// Whether that is the link of this child's block.
    pub(crate) fn is_of<L>(&self, link: &Beside<L>) -> bool {
        link.is_of(self.0)
    }

    /// The state, once it has one of `bits`; else `waker` is registered.
    #[inline]
    fn poll_state(&self, bits: usize, waker: &Waker) -> Poll<usize> {
        let state = self.head().state.load(Ordering::Acquire);
        if state & bits != 0 {
            return Poll::Ready(state);
        }
        self.wait(state, bits, waker)
    }

    /// Aside, for it is not for the many that have ended: the `state` had none of `bits`.
    #[inline(never)]
    fn wait(&self, state: usize, bits: usize, waker: &Waker) -> Poll<usize> {
        let head = self.head();
        if state & WAITED == 0 {
            // From here on the nursery looks for a waker when it tells something. What it has told before
            // is seen below.
            head.state.fetch_or(WAITED, Ordering::Relaxed);
        }
        head.joiner.register(waker);
        let state = head.state.load(Ordering::Acquire);
        if state & bits != 0 {
            return Poll::Ready(state);
        }
        Poll::Pending
    }

    /// Who waits no more is not kept until the child ends. This side lets go also if that panics, which is
    /// foreign code.
    #[inline(never)]
    fn wait_no_more(&mut self) {
        let _let_go = LetGo {
            node: self.0,
            ours: JOIN_GONE,
        };
        drop(self.head().joiner.take());
    }

    /// Why there is no output. Asked a second time, it knows no name and no reason.
    ///
    /// # Safety
    /// The caller has seen `ENDED`.
    #[cold]
    unsafe fn end(&self) -> JoinError {
        let head = self.head();
        // SAFETY: C4 – (caller).
        let reason = unsafe { with_end(self.0, |end| (*end).take()) };
        // SAFETY: C1 – our side has not let go.
        let meta = unsafe { meta(self.0) };
        let name = meta.and_then(|meta| meta.name.take());
        let span = meta.map_or_else(Span::default, |meta| Span {
            notice: meta.notice.get(),
            drain: meta.drain.get(),
        });
        let skip = meta.and_then(Meta::take_skip);
        JoinError::new(head.kind.get(), reason, name, head.who(), span).with_skip(skip)
    }

    /// The child's id, given now if it was not before.
    pub(crate) fn id(&self) -> Id {
        let state = &self.head().state;
        let mut serial = 0;
        let mut now = state.load(Ordering::Relaxed);
        loop {
            if let Some(id) = Id::from_word(now >> FLAGS) {
                return id;
            }
            if serial == 0 {
                serial = Id::next_serial(FLAGS);
            }
            // The nursery enters the end of a child whose id was asked before. Who asks later is told it
            // with the id.
            let ended_well = (now & (DONE | ENDED) != 0).then_some(now & DONE != 0);
            let asked = now | Id::word(serial, ended_well) << FLAGS;
            // Relaxed: whether it was asked before the end is decided by this word alone.
            match state.compare_exchange_weak(now, asked, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => now = asked,
                Err(other) => now = other,
            }
        }
    }

    /// Why there is no output, if that is so already.
    pub(crate) fn ended(&self) -> Option<JoinError> {
        let ended = self.head().state.load(Ordering::Acquire) & ENDED != 0;
        // SAFETY: seen.
        ended.then(|| unsafe { self.end() })
    }

    /// Waits for the end.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll_state(DONE | ENDED, cx.waker()).map(|_| ())
    }

    /// It has ended well, but should have done something before. Its name is not ours to read, so the caller
    /// has it.
    pub(crate) fn unstarted(&self, name: Option<Name>) -> JoinError {
        let (kind, who) = (JoinErrorKind::Unstarted, self.head().who());
        JoinError::new(kind, None, name, who, Span::default())
    }

    /// The output, or why there is none. Not to be called again after `Ready`.
    pub(crate) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let Poll::Ready(state) = self.poll_state(DONE | ENDED, cx.waker()) else {
            return Poll::Pending;
        };
        if state & ENDED != 0 {
            // SAFETY: seen.
            return Poll::Ready(Err(unsafe { self.end() }));
        }
        assert!(!self.head().taken.get(), "joined twice");
        // SAFETY: C3 – `DONE`, not taken: the output is there and ours; C6 – `T` is its type, for
        // `new` tied this side to it.
        let output = unsafe {
            let payload = self.0.cast::<u8>().add(self.head().vtable.payload);
            payload.cast::<T>().read()
        };
        self.head().taken.set(true);
        Poll::Ready(Ok(output))
    }

    /// Ready when the child has its place (or has already ended well); the error if it never will.
    pub(crate) fn poll_start(&self, cx: &mut Context<'_>) -> Poll<Result<(), JoinError>> {
        let Poll::Ready(state) = self.poll_state(STARTED | DONE | ENDED, cx.waker()) else {
            return Poll::Pending;
        };
        if state & (STARTED | DONE) != 0 {
            return Poll::Ready(Ok(()));
        }
        // SAFETY: it was `ENDED` that was seen.
        Poll::Ready(Err(unsafe { self.end() }))
    }

    /// Gives up a child that waits for room: true if it will never start; its future is then dropped.
    pub(crate) fn abandon(&self) -> bool {
        let old = self.head().state.fetch_or(ABANDONED, Ordering::AcqRel);
        if old & CLAIMED != 0 {
            return false;
        }
        // SAFETY: C2 – `ABANDONED` came first: the payload is ours, and nobody else ends it.
        unsafe { drop_future(self.0) };
        true
    }
}

impl<T> Drop for JoinSide<T> {
    #[inline]
    fn drop(&mut self) {
        let state = self.head().state.load(Ordering::Acquire);
        // `WAITED` is set on this side.
        if state & WAITED != 0 {
            return self.wait_no_more();
        }
        // SAFETY: C1 – our side lets go only here or there.
        unsafe { let_go(self.0, JOIN_GONE, state) };
    }
}
