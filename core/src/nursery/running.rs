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

use crate::nursery::cutting::{self, cut, fell, is_over, leave, note_cut, part, reason};
use crate::nursery::ended::{Number, Record, Span};
use crate::nursery::join_error::{JoinError, JoinErrorKind};
use crate::nursery::node::{Exit, NurserySide};
use crate::nursery::observer::Ending;
use crate::nursery::options::{Meta, Role};
use crate::nursery::own::Own;
use crate::nursery::shared::Shared;
use crate::nursery::tell;
use crate::reason::Reason;
use crate::sync::Arc;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

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
    /// It has succeeded, and the policy is to be told of `done`.
    Done,
    /// See `failed`.
    Failed(E),
    /// There is nothing more to be done about it: it has succeeded where no policy asks, or it panicked, or
    /// was dropped because the nursery is cancelled.
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

    // At both places that poll a set: a call costs a fifth of the poll.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End<E>> {
        let (shared, child) = (self.shared(), &*self.child);
        let head = child.head();
        let cancelled = shared.token.is_cancelled();
        if cancelled || !head.plain.get() {
            if cancelled || !child.is_bare() {
                if let Some(polled) = look(shared, child, cx) {
                    return polled;
                }
            } else {
                // Its first poll: from the second on it is plain. (Where children are watched, each has a
                // `Meta`.)
                debug_assert!(!shared.watched);
                head.number.set(Number::new(shared.counts.started()));
                head.plain.set(true);
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
            // SAFETY: `poll` gave `Done`, and the child leaves the set.
            unsafe { child.done() };
            let asks = match child.meta() {
                None => shared.poller.asks.get(),
                Some(meta) => done_aside(shared, child, meta),
            };
            if asks {
                shared.poller.done.set(Some(child.origin()));
            }
            shared.counts.done();
            return Poll::Ready(if asks { End::Done } else { End::Counted });
        }
        let error = ManuallyDrop::into_inner(error);
        Poll::Ready(failed(shared, child, exit, error))
    }
}

/// What keeps a child from its poll, if anything does. Asked for those with a `Meta` or a `Remote`; in a
/// cancelled nursery for all.
#[inline(never)]
fn look<E>(shared: &Shared, child: &NurserySide, cx: &Context<'_>) -> Option<Poll<End<E>>> {
    let head = child.head();
    if child.is_remote() {
        if let Some(polled) = look_there(shared, child, cx) {
            return Some(polled);
        }
    }
    let has_meta = child.has_meta();
    if (has_meta || shared.token.is_cancelled()) && !goes_on(shared, child, cx) {
        return Some(Poll::Ready(End::Counted));
    }
    if head.number.get() == Number::NONE {
        head.number.set(Number::new(shared.counts.started()));
        if shared.watched && !begin_watched(shared, child, cx) {
            return Some(Poll::Ready(End::Counted));
        }
    }
    head.plain.set(!has_meta);
    None
}

/// Of a child whose work is done elsewhere: what is to be said before it is known to be one, or if it is none.
fn look_there<E>(shared: &Shared, child: &NurserySide, cx: &Context<'_>) -> Option<Poll<End<E>>> {
    // SAFETY: `start` gave true; it is alive, for it left the set otherwise.
    match unsafe { child.poll_decided(cx) } {
        Poll::Ready(true) => None,
        Poll::Pending => Some(Poll::Pending),
        Poll::Ready(false) => {
            // Its executor refused it, and its spawner has the future again, and the place.
            child.head().placed.set(false);
            tell::given_up(shared, child);
            Some(Poll::Ready(End::Counted))
        }
    }
}

/// In a cancelled nursery no plain child is polled again, also not in this turn: false. A graceful one
/// has noticed. The same holds for a child that is cancelled alone. A critical section goes on until its
/// time is over.
#[inline(never)]
fn goes_on(shared: &Shared, child: &NurserySide, cx: &Context<'_>) -> bool {
    let meta = child.meta();
    let mut alone = false;
    if let Some(own) = meta.and_then(Meta::own) {
        let poller = &shared.poller;
        // Before the look at it.
        match child.head().number.get() {
            Number::NONE => own.watch(&poller.timetable, cx.waker()),
            _ => own.watch_token(cx.waker()),
        }
        let shielded = child.role() == Role::Shielded;
        if (shielded || own.is_told()) && own.is_due(poller.now.get()) {
            let reason = match shielded {
                true => Some(Reason::deadline_exceeded()),
                false => own.reason(),
            };
            return !cut(shared, child, JoinErrorKind::Forced, reason);
        }
        if shielded {
            return true;
        }
        alone = is_over(shared, child);
    }
    // After the look at its own token, which is cancelled by this one.
    let all = shared.token.is_cancelled();
    if !all && !alone {
        return true;
    }
    let Some(meta) = meta.filter(|meta| meta.role == Role::Graceful) else {
        let reason = reason(shared, child);
        return !cut(shared, child, JoinErrorKind::Cancelled, reason);
    };
    if all {
        if meta.notice.get().is_none() {
            meta.notice.set(shared.drain_time());
        }
    } else if let Some(own) = meta.own() {
        if !own.is_told() {
            tell_alone(shared, child, own, cx.waker());
        }
    }
    true
}

/// A graceful child is told alone: its grace begins. If the time was not read in this turn, in the next.
fn tell_alone(shared: &Shared, child: &NurserySide, own: &Own, waker: &Waker) {
    let poller = &shared.poller;
    let now = poller.now.get();
    if shared.is_timed() && now.is_none() {
        poller.wants_time.set(true);
        shared.guard(|| waker.wake_by_ref());
        return;
    }
    own.tell(now, shared.grace);
    poller.told.set(poller.told.get() + 1);
    own.schedule(&poller.timetable, waker);
    tell::told(shared, child, own.reason());
}

/// The observer may cancel the nursery or panic: as above.
#[cold]
fn begin_watched(shared: &Shared, child: &NurserySide, cx: &Context<'_>) -> bool {
    tell::started(shared, child);
    goes_on(shared, child, cx)
}

/// A child with more to it than a future has succeeded. Whether the policy is to be told, with its `name`.
#[inline(never)]
fn done_aside(shared: &Shared, child: &NurserySide, meta: &Meta) -> bool {
    note_if_drained(shared, child);
    tell::ended(shared, child, &Ending::DONE);
    // A critical section is a part of another child's work, and no success of its own.
    let asks = shared.poller.asks.get() && meta.role != Role::Shielded;
    if asks {
        shared.poller.name.set(meta.name.take());
    }
    asks
}

/// Looks at the token again: a graceful child may have ended in the turn of the cancellation, before the
/// drain.
fn note_if_drained(shared: &Shared, child: &NurserySide) -> Span {
    let alone = || child.own().is_some_and(|own| own.token.is_cancelled());
    let is_cancelled = || shared.token.is_cancelled() || alone();
    if child.role() == Role::Graceful && is_cancelled() {
        return shared.note_drained(child, false);
    }
    Span::default()
}

/// A child has ended by itself, without output.
#[cold]
fn failed<E>(shared: &Shared, child: &NurserySide, exit: Exit, error: Option<E>) -> End<E> {
    let panics = &shared.poller.panics;
    if let (Exit::Cut, Some(kind)) = (exit, child.stopping()) {
        // It was told to end, and has.
        cutting::has_ended(shared, child, kind, reason(shared, child));
        return End::Counted;
    }
    let span = note_if_drained(shared, child);
    let (kind, reason) = match exit {
        Exit::Failed => (JoinErrorKind::Failed, None),
        Exit::Cut if child.may_be_lost() => (JoinErrorKind::Lost, None),
        Exit::Cut => (JoinErrorKind::Cancelled, reason(shared, child)),
        _ => (JoinErrorKind::Panicked, None),
    };
    tell::ended(shared, child, &Ending::without(kind, reason.as_ref()));
    fell(shared, child);
    let end = match (exit, error) {
        (Exit::Failed, Some(error)) => {
            let record = Record::new(child.last_name(), child.who(), span);
            shared.poller.failed.set(Some(record));
            shared.counts.failed();
            panics.catch(|| child.end(kind, None));
            End::Failed(error)
        }
        (Exit::Cut, _) if kind == JoinErrorKind::Lost => {
            shared.counts.lost();
            shared.lose(JoinError::new(kind, None, child.name(), child.who(), span));
            panics.catch(|| child.end(kind, None));
            End::Counted
        }
        (Exit::Cut, _) => {
            note_cut(shared, child);
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
            leave_and_part(shared, child);
        }
    }
}

/// Lets go of a child that is no plain one, or with foreign code.
#[inline(never)]
fn leave_and_part(shared: &Shared, child: NurserySide) {
    if child.is_service() {
        let serving = &shared.poller.serving;
        serving.set(serving.get() - 1);
    }
    leave(shared, &child);
    part(shared, child);
}
