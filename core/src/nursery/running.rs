//! A running child: what the set polls.
//!
//! # Invariants
//!
//! - **R1** A `Running` points to `shared`, which outlives it: the engine keeps it alive, and drops the
//!   set first.
//! - **R2** Every way out of the set passes through `Running::drop`: it unlinks the child, gives its
//!   place back, and lets go of the child.
//!
//! # Foreign code
//!
//! The child and all that goes with it is called and dropped through [`Shared::guard`] or with its
//! [`Panics`]. None of it reaches the list of running children, which `new` and `drop` alone change.
//!
//! [`Panics`]: crate::nursery::panics::Panics

use crate::nursery::ended::{Number, Record, Span};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::{Exit, NurserySide};
use crate::nursery::observer::Ending;
use crate::nursery::options::{Meta, Role};
use crate::nursery::shared::Shared;
use crate::nursery::tell;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::wake::batch::each;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

/// A child in the set.
pub(crate) struct Running<E> {
    /// Let go by `drop`.
    child: ManuallyDrop<NurserySide>,
    shared: NonNull<Shared>,
    _error: PhantomData<fn() -> E>,
}

/// How a running child left the set by itself. Small, for it is moved about for each child: who it was
/// lies in the [`Poller`](crate::nursery::shared::Poller).
pub(crate) enum End<E> {
    /// See `done`.
    Done,
    /// See `failed`.
    Failed(E),
    /// It panicked, or was dropped because the nursery is cancelled; it is counted already.
    Counted,
}

// SAFETY: where its engine may cross threads, spawning demands `Send` of future, output and error
// (`mode`); `Shared: Sync`, and its `poller` moves with the nursery's future (H2).
unsafe impl<E: Send> Send for Running<E> {}

impl<E> Running<E> {
    pub(crate) fn new(child: NurserySide, shared: &Arc<Shared>) -> Self {
        // SAFETY: L2 – it comes from inbox or queue; `drop` unlinks it.
        unsafe { shared.poller.running.link(&child) };
        Running {
            child: ManuallyDrop::new(child),
            shared: NonNull::from(&**shared),
            _error: PhantomData,
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.child.is_alive()
    }

    fn shared(&self) -> &Shared {
        // SAFETY: R1.
        unsafe { self.shared.as_ref() }
    }
}

impl<E> Future for Running<E> {
    type Output = End<E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<E>> {
        let (shared, child) = (self.shared(), &*self.child);
        if shared.token.is_cancelled() && !goes_on(shared, child) {
            return Poll::Ready(End::Counted);
        }
        let number = &child.head().number;
        if number.get() == Number::NONE {
            number.set(Number::new(shared.counts.started()));
            if shared.watched && !begin_watched(shared, child) {
                return Poll::Ready(End::Counted);
            }
        }
        // Most often there is none, and nothing to be dropped.
        let mut error = ManuallyDrop::new(None);
        let panics = &shared.poller.panics;
        // SAFETY: `start` gave true; it is alive, for it left the set otherwise; `E` is the nursery's.
        let Poll::Ready(exit) = (unsafe { child.poll(cx, &mut error, panics) }) else {
            return Poll::Pending;
        };
        shared.cancel_if_panicked();
        if exit == Exit::Done {
            shared.poller.done.set(Some(child.origin()));
            // SAFETY: `poll` gave `Done`, and the child leaves the set.
            unsafe { child.done() };
            if let Some(meta) = child.meta() {
                done_aside(shared, child, meta);
            }
            return Poll::Ready(End::Done);
        }
        let error = ManuallyDrop::into_inner(error);
        Poll::Ready(failed(shared, child, exit, error))
    }
}

/// In a cancelled nursery no plain child is polled again, also not in this turn: false. A graceful one
/// has noticed.
#[cold]
fn goes_on(shared: &Shared, child: &NurserySide) -> bool {
    let Some(meta) = child.meta().filter(|meta| meta.role == Role::Graceful) else {
        let reason = shared.token.reason();
        cut(shared, child, JoinErrorKind::Cancelled, reason);
        return false;
    };
    if meta.notice.get().is_none() {
        meta.notice.set(shared.poller.drain_time());
    }
    true
}

/// The observer may cancel the nursery or panic: as above.
#[cold]
fn begin_watched(shared: &Shared, child: &NurserySide) -> bool {
    tell::started(shared, child);
    !shared.token.is_cancelled() || goes_on(shared, child)
}

/// A child that has a `Meta` has succeeded.
#[inline(never)]
fn done_aside(shared: &Shared, child: &NurserySide, meta: &Meta) {
    note_if_drained(shared, child);
    tell::ended(shared, child, &Ending::DONE);
    shared.poller.name.set(meta.name.take());
}

/// Looks at the token again: a graceful child may have ended in the turn of the cancellation, before the
/// drain.
fn note_if_drained(shared: &Shared, child: &NurserySide) -> Span {
    if child.role() == Role::Graceful && shared.token.is_cancelled() {
        return note_drained(shared, child, false);
    }
    Span::default()
}

/// A graceful child ends after the cancellation.
fn note_drained(shared: &Shared, child: &NurserySide, forced: bool) -> Span {
    let span = shared.poller.note_drained(child, forced);
    shared.counts.times.note(span);
    span
}

/// A child has ended by itself, without output.
#[cold]
fn failed<E>(shared: &Shared, child: &NurserySide, exit: Exit, error: Option<E>) -> End<E> {
    let panics = &shared.poller.panics;
    let span = note_if_drained(shared, child);
    let (kind, reason) = match exit {
        Exit::Failed => (JoinErrorKind::Failed, None),
        Exit::Cut => (JoinErrorKind::Cancelled, shared.token.reason()),
        _ => (JoinErrorKind::Panicked, None),
    };
    tell::ended(shared, child, &Ending::without(kind, reason.as_ref()));
    let end = match (exit, error) {
        (Exit::Failed, Some(error)) => {
            let record = Record::new(child.last_name(), child.origin(), span);
            shared.poller.failed.set(Some(record));
            panics.catch(|| child.end(kind, None));
            End::Failed(error)
        }
        (Exit::Cut, _) => {
            shared.poller.cut.set(true);
            shared.counts.cancelled();
            panics.catch(|| child.end(kind, reason));
            End::Counted
        }
        _ => {
            shared.counts.panicked();
            panics.catch(|| child.end(kind, None));
            End::Counted
        }
    };
    // A joiner's waker may have panicked.
    shared.cancel_if_panicked();
    end
}

impl<E> Drop for Running<E> {
    /// R2. Letting go ends the child if it has not ended, and drops an output that nobody wants.
    #[inline]
    fn drop(&mut self) {
        // SAFETY: R1 – borrowed beside `child`.
        let shared = unsafe { self.shared.as_ref() };
        let poller = &shared.poller;
        // SAFETY: L2 – linked by `new`.
        unsafe { poller.running.unlink(&self.child) };
        let place = usize::from(self.child.head().placed.get());
        poller.freed.set(poller.freed.get() + place);
        // SAFETY: taken once, here.
        let child = unsafe { ManuallyDrop::take(&mut self.child) };
        if let Err(child) = child.try_let_go() {
            part(shared, child);
        }
    }
}

/// Lets go of a child, with foreign code.
#[inline(never)]
fn part(shared: &Shared, child: NurserySide) {
    shared.guard(|| drop(child));
}

/// Drops a running child before its end, and counts it.
fn cut(shared: &Shared, child: &NurserySide, kind: JoinErrorKind, reason: Option<Reason>) {
    shared.poller.cut.set(true);
    if kind == JoinErrorKind::Forced {
        shared.counts.forced();
    } else {
        shared.counts.cancelled();
    }
    if child.head().number.get() == Number::NONE {
        shared.counts.unbegun();
    }
    if child.role() == Role::Graceful {
        note_drained(shared, child, true);
    }
    shared.guard(|| tell::end(shared, child, kind, reason));
}

/// Cuts the running children of one sort, youngest first.
pub(crate) fn cut_all(shared: &Shared, role: Role, kind: JoinErrorKind) {
    let reason = shared.token.reason();
    // SAFETY: L2 – ending a child links and unlinks nothing; foreign code cannot reach the list.
    for child in unsafe { shared.poller.running.iter() } {
        if child.is_alive() && child.role() == role {
            cut(shared, &child, kind, reason.clone());
        }
    }
}

/// Ends the running children of a nursery that is dropped, youngest first, whoever panics.
pub(crate) fn close_all(shared: &Shared) {
    // SAFETY: L2 – as in `cut_all`.
    let running = unsafe { shared.poller.running.iter() };
    each(running, |child| {
        tell::end(shared, &child, JoinErrorKind::Closed, None);
    });
}
