//! Ending children before their end: with their nursery, or alone.
//!
//! | | running | waiting for room or for others |
//! |---|---|---|
//! | with the nursery | [`cut_all`] of one role | [`cancel`], or [`refuse`] if it just came |
//! | alone, by name or key | [`cancel_where`]: plain ones are cut, graceful ones told | [`cancel`] |
//! | alone, by their own token or time | they see it when they are polled: [`cut`] | [`purge`] |
//!
//! A child whose work is done elsewhere is not dropped here, but told to end, and counts when it has: see
//! `Remote`.
//!
//! A child that is cut alone does not make the nursery's outcome a failure: it was asked for.
//!
//! # Foreign code
//!
//! Children are dropped, joiners and watchers of tokens woken, through [`Shared::guard`]: none of it
//! reaches the list or the queue, which stay as they are meanwhile (L2), or have been left by the child.

use crate::nursery::ended::{Number, Record, Span};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::NurserySide;
use crate::nursery::options::{Meta, Role};
use crate::nursery::order::Turn;
use crate::nursery::report::Drained;
use crate::nursery::shared::Shared;
use crate::nursery::skip::Skip;
use crate::nursery::tell;
use crate::observe::Id;
use crate::reason::Reason;
use crate::wake::batch::each;
use alloc::boxed::Box;

/// Drops a running child before its end, and counts it; or tells it to end, if its work is done elsewhere.
/// False: it was told, and is polled on.
pub(crate) fn cut(
    shared: &Shared,
    child: &NurserySide,
    kind: JoinErrorKind,
    reason: Option<Reason>,
) -> bool {
    if child.is_remote() && stop(shared, child, kind) {
        return false;
    }
    has_ended(shared, child, kind, reason);
    true
}

/// Tells a child whose work is done elsewhere to end. False: nothing has begun there.
pub(crate) fn stop(shared: &Shared, child: &NurserySide, kind: JoinErrorKind) -> bool {
    // What panics is the waker of one who was told.
    shared.guard(|| child.stop(kind)).unwrap_or(true)
}

/// Ends a child before its end, and counts it; if its work is done elsewhere, that has ended.
pub(crate) fn has_ended(
    shared: &Shared,
    child: &NurserySide,
    kind: JoinErrorKind,
    reason: Option<Reason>,
) {
    note_cut(shared, child);
    if kind == JoinErrorKind::Forced {
        shared.counts.forced();
    } else {
        shared.counts.cancelled();
    }
    if child.head().number.get() == Number::NONE {
        shared.counts.unbegun();
    }
    match child.role() {
        Role::Graceful => drop(shared.note_drained(child, kind == JoinErrorKind::Forced)),
        Role::Shielded => {
            let forced = Drained::new(child.name(), child.who(), Span::default(), true);
            shared.keep_drained(forced, !shared.token.is_cancelled());
        }
        _ => {}
    }
    fell(shared, child);
    shared.guard(|| tell::end(shared, child, kind, reason));
}

/// The nursery's outcome is that something was cut short, unless it was a service or one alone.
pub(crate) fn note_cut(shared: &Shared, child: &NurserySide) {
    if shared.token.is_cancelled() && !child.is_service() {
        shared.poller.cut.set(true);
    }
}

/// Why a child is cut: its own token's reason, if that was cancelled first, else the nursery's.
pub(crate) fn reason(shared: &Shared, child: &NurserySide) -> Option<Reason> {
    own_reason(child).or_else(|| shared.token.reason())
}

/// Why it was cancelled alone: the first reason, whatever came later.
fn own_reason(child: &NurserySide) -> Option<Reason> {
    child.own().and_then(|own| own.reason())
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

/// A child that has left inbox or queue never starts, and counts as cancelled; or as skipped, if that is
/// so already.
pub(crate) fn refuse(shared: &Shared, child: NurserySide) {
    match shared.poller.order.turn(child.after()) {
        Turn::Never(because) => skip(shared, child, because),
        _ => cancel(shared, child, None),
    }
}

/// It never starts, and counts as cancelled: for this reason, or for its own or the nursery's.
pub(crate) fn cancel(shared: &Shared, child: NurserySide, why: Option<Reason>) {
    never_starts(shared, child, |child| {
        note_cut(shared, child);
        shared.counts.cancelled();
        let why = why.or_else(|| reason(shared, child));
        shared.guard(|| tell::end(shared, child, JoinErrorKind::Cancelled, why));
    });
}

/// It never starts, because of one for whom it waited.
pub(crate) fn skip(shared: &Shared, child: NurserySide, because: Skip) {
    never_starts(shared, child, |child| {
        shared.counts.skipped();
        if let Some(more) = child.meta().and_then(Meta::more) {
            more.skip.set(Some(Box::new(because)));
        }
        shared.guard(|| tell::end(shared, child, JoinErrorKind::Skipped, None));
    });
}

fn never_starts(shared: &Shared, child: NurserySide, end: impl FnOnce(&NurserySide)) {
    leave(shared, &child);
    if child.claim(0) {
        fell(shared, &child);
        shared.counts.unbegun();
        end(&child);
    } else {
        tell::given_up(shared, &child);
        shared.swept(1);
    }
    part(shared, child);
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
    part(shared, child);
}

/// It is about to end without output: who waits for it is to be skipped.
pub(crate) fn fell(shared: &Shared, child: &NurserySide) {
    if let Some(id) = child.asked() {
        let who = Record::new(child.name(), child.who(), Span::default());
        shared.poller.order.fell(id, who);
    }
}

/// Lets go of a child that has ended, with foreign code.
pub(crate) fn part(shared: &Shared, child: NurserySide) {
    let joiner = child.tell();
    // Who asks from here on is told the end with the id.
    if let Some(id) = child.asked() {
        tell_order(shared, &child, id);
    }
    if let Some(joiner) = joiner {
        shared.guard(|| joiner.wake());
    }
    shared.guard(|| drop(child));
}

#[cold]
fn tell_order(shared: &Shared, child: &NurserySide, id: Id) {
    let poller = &shared.poller;
    if !child.is_done() {
        // Asked since `fell`; the name is the join side's by now.
        let who = Record::new(None, child.who(), Span::default());
        return poller.order.fell(id, who);
    }
    poller.order.done(id);
    // The policy is to be told the same.
    let who = poller.done.take();
    poller.done.set(who.map(|_| child.who()));
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
    extract(
        shared,
        |child| is_over(shared, child),
        |child| {
            cancel(shared, child, None);
        },
    );
}

/// Children whose spawners gave up leave the queue.
pub(crate) fn sweep(shared: &Shared) {
    extract(shared, NurserySide::is_abandoned, |child| {
        leave(shared, &child);
        tell::given_up(shared, &child);
        shared.swept(1);
        shared.guard(|| drop(child));
    });
}

/// Those that have not started, and for which `pick` is true.
fn extract(shared: &Shared, pick: impl Fn(&NurserySide) -> bool, end: impl Fn(NurserySide) + Copy) {
    shared.poller.queue.extract(&pick).for_each(end);
    shared.poller.services.extract(&pick).for_each(end);
    shared.poller.order.extract(&pick).for_each(end);
}

/// Cancels children alone, among those that are running or wait for room: the youngest first, and of the
/// waiting ones the oldest.
#[cold]
pub(crate) fn cancel_where(shared: &Shared, reason: &Reason, pick: impl Fn(&Meta) -> bool) {
    let poller = &shared.poller;
    let is_meant =
        |child: &NurserySide| child.role() != Role::Shielded && child.meta().is_some_and(&pick);
    let why = |child: &NurserySide| own_reason(child).or_else(|| Some(reason.clone()));
    // SAFETY: L2 – as in `cut_all`.
    for child in unsafe { poller.running.iter() } {
        if !child.is_alive() || !is_meant(&child) {
            continue;
        }
        if let Some(own) = child.own() {
            shared.guard(|| own.token.cancel_with(reason.clone()));
            shared.guard(|| own.nudge());
        }
        let is_plain = child.role() == Role::Plain;
        if is_plain && cut(shared, &child, JoinErrorKind::Cancelled, why(&child)) {
            poller.thinned.set(true);
        }
    }
    extract(shared, is_meant, |child| {
        if let Some(own) = child.own() {
            shared.guard(|| own.token.cancel_with(reason.clone()));
        }
        let why = why(&child);
        cancel(shared, child, why);
    });
}

/// The others have ended: the services are told, or dropped at their next poll.
#[cold]
pub(crate) fn dismiss(shared: &Shared) {
    // SAFETY: L2 – as in `cut_all`.
    for child in unsafe { shared.poller.running.iter() } {
        if child.is_alive() && child.is_service() {
            if let Some(own) = child.own() {
                // It may have cancelled itself, of which nobody was told.
                if !own.dismissed.replace(true) {
                    shared.guard(|| own.token.cancel_with(Reason::explicit()));
                    shared.guard(|| own.nudge());
                }
            }
        }
    }
}
