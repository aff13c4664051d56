//! Taking a snapshot.
//!
//! # Invariants
//!
//! - **K1** The nursery that is looked at is polled by nobody meanwhile: either this is a part of its own
//!   poll, between the polls of its children (H2), or its run lies in a child of a nursery of which this
//!   is true.
//! - **K2** The `scope` of a `Meta` is the `Shared` of the run that lies in that child's future: it is there
//!   while the future is. (Made by `scope` of a handle, which gives the run away to the child at once.)
//!
//! Nothing here is foreign code, but for the clones of reasons' errors, which are reference counts.

use crate::nursery::node::NurserySide;
use crate::nursery::options::{Meta, Role};
use crate::nursery::own::Own;
use crate::nursery::shared::Shared;
use crate::nursery::snapshot::tree::{ChildKind, ChildSnapshot, ChildState, ScopeState, Snapshot};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// The nursery as it is now, and those in it. K1 is the caller's.
pub(crate) fn snapshot(shared: &Shared) -> Snapshot {
    look(shared, shared.poller.now.get())
}

/// The nursery has ended or was dropped: from anywhere.
pub(crate) fn at_ended(shared: &Shared) -> Snapshot {
    Snapshot {
        name: shared.name.clone(),
        site: None,
        state: ScopeState::Ended,
        body_ended: true,
        stats: shared.stats(),
        children: Vec::new(),
    }
}

/// `now`: by the clock of the outermost nursery, if that keeps ages.
fn look(shared: &Shared, now: Option<Instant>) -> Snapshot {
    let poller = &shared.poller;
    let mut children = Vec::new();
    // SAFETY: L2, K1 – no child comes or goes meanwhile.
    for running in unsafe { poller.running.iter() } {
        // One that has ended in this turn is still in the list.
        if running.is_alive() {
            children.push(child(shared, &running, None, now));
        }
    }
    children.reverse();
    // SAFETY: L1, K1 – as above.
    let queued = unsafe { poller.queue.iter() }.map(|child| (child, ChildState::Queued));
    // SAFETY: L1, K1 – as above.
    let services = unsafe { poller.services.iter() }.map(|child| (child, ChildState::Starting));
    for (queued, state) in queued.chain(services) {
        if !queued.is_abandoned() {
            children.push(child(shared, &queued, Some(state), now));
        }
    }
    poller.order.each(|waiting| {
        if !waiting.is_abandoned() {
            children.push(child(shared, waiting, Some(ChildState::Waiting), now));
        }
    });
    // SAFETY: L4, K1 – as above.
    let (at_work, deferred) = unsafe { (poller.cleanups.at_work(), poller.cleanups.iter()) };
    children.extend(at_work.map(|of| cleanup(&of, ChildState::Running)));
    children.extend(deferred.map(|of| cleanup(&of, ChildState::Deferred)));
    Snapshot {
        name: shared.name.clone(),
        site: poller.site.get(),
        state: state(shared, now),
        body_ended: poller.body_ended.get(),
        stats: shared.stats(),
        children,
    }
}

fn state(shared: &Shared, now: Option<Instant>) -> ScopeState {
    if shared.poller.site.get().is_none() {
        return ScopeState::New;
    }
    match shared.token.reason() {
        _ if shared.is_cleaning() => ScopeState::Cleaning,
        Some(reason) => ScopeState::Draining {
            reason,
            drain: drain_time(shared, now),
        },
        None => ScopeState::Running,
    }
}

/// A nested nursery's last turn may be long ago: with ages the outermost one's time is newer.
fn drain_time(shared: &Shared, now: Option<Instant>) -> Option<Duration> {
    match (shared.poller.drain.get(), now) {
        (Some((from, then)), Some(now)) => Some(now.max(then) - from),
        _ => shared.drain_time(),
    }
}

fn child(
    shared: &Shared,
    child: &NurserySide,
    waits: Option<ChildState>,
    now: Option<Instant>,
) -> ChildSnapshot {
    let meta = child.meta();
    let origin = child.origin();
    let role = child.role();
    let since = |at: &dyn Fn(&Meta) -> Instant| {
        let at = meta.map_or(Instant::NEVER, at);
        now.filter(|_| at != Instant::NEVER).map(|now| now - at)
    };
    let has_begun = origin.number.id().is_some();
    let at_work = || match role {
        Role::Graceful if child.own().is_some_and(Own::is_told) => ChildState::Draining {
            notice: shared.is_timed().then_some(Duration::ZERO),
            drain: child.own().and_then(|own| own.since_told(now)),
        },
        Role::Graceful if shared.token.is_cancelled() => ChildState::Draining {
            notice: meta.and_then(|meta| meta.notice.get()),
            drain: drain_time(shared, now),
        },
        _ if !has_begun => ChildState::Starting,
        _ => ChildState::Running,
    };
    let state = waits.unwrap_or_else(at_work);
    let begun = meta.filter(|_| has_begun);
    ChildSnapshot {
        name: child.name(),
        id: child.who().number.id(),
        site: origin.site,
        kind: match role {
            _ if child.is_service() => ChildKind::Service,
            Role::Graceful => ChildKind::Graceful,
            Role::Shielded => ChildKind::Shielded,
            Role::Plain | Role::Cleanup | Role::Request => ChildKind::Plain,
        },
        state,
        age: since(&|meta| meta.admitted.get()),
        running: since(&|meta| meta.started.get()),
        scope: begun.and_then(|meta| meta.scope).map(|inner| {
            // SAFETY: K2 – the child is alive; K1.
            let inner = unsafe { inner.0.cast::<Shared>().as_ref() };
            Box::new(look(inner, now))
        }),
    }
}

/// One that is at work, or waits for its turn.
fn cleanup(cleanup: &NurserySide, state: ChildState) -> ChildSnapshot {
    ChildSnapshot {
        name: cleanup.name(),
        id: None,
        site: cleanup.origin().site,
        kind: ChildKind::Cleanup,
        state,
        age: None,
        running: None,
        scope: None,
    }
}
