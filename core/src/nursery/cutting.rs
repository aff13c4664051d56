//! Ending children before their end: with their nursery, or alone.
//!
//! | | running | waiting for room |
//! |---|---|---|
//! | with the nursery | [`cut_all`] of one role | [`refuse`] |
//! | alone, by name or key | [`cancel_where`]: plain ones are cut, graceful ones told | [`refuse`] |
//! | alone, by their own token or time | they see it when they are polled: [`cut`] | [`purge`] |
//!
//! A child that is cut alone does not make the nursery's outcome a failure: it was asked for.
//!
//! # Foreign code
//!
//! Children are dropped, joiners and watchers of tokens woken, through [`Shared::guard`]: none of it
//! reaches the list or the queue, which stay as they are meanwhile (L2), or have been left by the child.

use crate::nursery::ended::{Number, Span};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::NurserySide;
use crate::nursery::options::{Meta, Role};
use crate::nursery::report::Drained;
use crate::nursery::shared::Shared;
use crate::nursery::tell;
use crate::reason::Reason;
use crate::wake::batch::each;

/// Drops a running child before its end, and counts it.
pub(crate) fn cut(
    shared: &Shared,
    child: &NurserySide,
    kind: JoinErrorKind,
    reason: Option<Reason>,
) {
    if shared.token.is_cancelled() {
        shared.poller.cut.set(true);
    }
    if kind == JoinErrorKind::Forced {
        shared.counts.forced();
    } else {
        shared.counts.cancelled();
    }
    if child.head().number.get() == Number::NONE {
        shared.counts.unbegun();
    }
    match child.role() {
        Role::Graceful => drop(shared.note_drained(child, true)),
        Role::Shielded => {
            let forced = Drained::new(child.name(), child.origin(), Span::default(), true);
            shared.poller.drained.borrow_mut().push(forced);
        }
        _ => {}
    }
    shared.guard(|| tell::end(shared, child, kind, reason));
}

/// Why a child is cut: its own token's reason, if that was cancelled first, else the nursery's.
pub(crate) fn reason(shared: &Shared, child: &NurserySide) -> Option<Reason> {
    let own = child.own().and_then(|own| own.reason());
    own.or_else(|| shared.token.reason())
}

/// Cuts the running children of one sort, youngest first.
pub(crate) fn cut_all(shared: &Shared, role: Role, kind: JoinErrorKind) {
    // SAFETY: L2 – ending a child links and unlinks nothing; foreign code cannot reach the list.
    for child in unsafe { shared.poller.running.iter() } {
        if child.is_alive() && child.role() == role {
            cut(shared, &child, kind, reason(shared, &child));
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

/// A child that has left inbox or queue never starts, and counts as cancelled.
pub(crate) fn refuse(shared: &Shared, child: NurserySide) {
    let why = reason(shared, &child);
    refuse_with(shared, child, why);
}

fn refuse_with(shared: &Shared, child: NurserySide, why: Option<Reason>) {
    leave(shared, &child);
    if child.claim(0) {
        if shared.token.is_cancelled() {
            shared.poller.cut.set(true);
        }
        shared.counts.cancelled();
        shared.counts.unbegun();
        shared.guard(|| tell::end(shared, &child, JoinErrorKind::Cancelled, why));
    } else {
        tell::given_up(shared, &child);
        shared.swept(1);
    }
    shared.guard(|| drop(child));
}

/// A child that came when all had ended: as one that came after the end, it counts nowhere.
pub(crate) fn turn_away(shared: &Shared, child: NurserySide) {
    leave(shared, &child);
    if child.claim(0) {
        shared.guard(|| tell::end(shared, &child, JoinErrorKind::Closed, None));
    } else {
        tell::given_up(shared, &child);
        shared.swept(1);
    }
    shared.guard(|| drop(child));
}

/// Nobody is to be woken for it any more.
pub(crate) fn leave(shared: &Shared, child: &NurserySide) {
    if let Some(own) = child.own() {
        let poller = &shared.poller;
        if own.is_told() {
            poller.told.set(poller.told.get() - 1);
        }
        own.leave(&poller.timetable);
    }
}

/// Whether it is cancelled alone, or is to be, for its time is over; then it is now. (Wakes who watches
/// its token.)
pub(crate) fn is_over(shared: &Shared, child: &NurserySide) -> bool {
    let Some(own) = child.own() else {
        return false;
    };
    if own.is_due(shared.poller.now.get()) {
        shared.guard(|| own.token.cancel_with(Reason::deadline_exceeded()));
    }
    own.token.is_cancelled()
}

/// Children that wait for room and are cancelled alone never start.
pub(crate) fn purge(shared: &Shared) {
    for child in shared.poller.queue.extract(|child| is_over(shared, child)) {
        refuse(shared, child);
    }
}

/// Children whose spawners gave up leave the queue.
pub(crate) fn sweep(shared: &Shared) {
    for child in shared.poller.queue.extract(NurserySide::is_abandoned) {
        leave(shared, &child);
        tell::given_up(shared, &child);
        shared.swept(1);
        shared.guard(|| drop(child));
    }
}

/// Cancels children alone, among those that are running or wait for room: the youngest first, and of the
/// waiting ones the oldest.
#[cold]
pub(crate) fn cancel_where(shared: &Shared, reason: &Reason, pick: impl Fn(&Meta) -> bool) {
    let poller = &shared.poller;
    let is_meant = |child: &NurserySide| child.meta().is_some_and(&pick);
    // SAFETY: L2 – as in `cut_all`.
    for child in unsafe { poller.running.iter() } {
        if !child.is_alive() || !is_meant(&child) {
            continue;
        }
        if let Some(own) = child.own() {
            shared.guard(|| own.token.cancel_with(reason.clone()));
        }
        if child.role() == Role::Plain {
            cut(
                shared,
                &child,
                JoinErrorKind::Cancelled,
                Some(reason.clone()),
            );
            poller.thinned.set(true);
        }
    }
    for child in poller.queue.extract(is_meant) {
        if let Some(own) = child.own() {
            shared.guard(|| own.token.cancel_with(reason.clone()));
        }
        refuse_with(shared, child, Some(reason.clone()));
    }
}
