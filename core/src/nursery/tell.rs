//! Telling the observer what happens, and ending children so that all who are to know of it do.
//!
//! All is called by the nursery's own future (H2), in its poll or its drop, so O1 holds. Without an observer
//! each of these is one test of a plain field, and none lies on the way of a plain child: children of
//! a nursery that is watched have a [`Meta`](crate::nursery::options::Meta), by which they are found.
//!
//! # Foreign code
//!
//! The observer is called through [`Shared::guard`]. A child's name is out of its `Meta` meanwhile; nobody
//! else looks for it there in that time.

use crate::nursery::ended::{Ended, Span};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::NurserySide;
use crate::nursery::observer::{Ending, Mark, ObservedChild, ObservedScope, Observer};
use crate::nursery::options::Role;
use crate::nursery::own::Own;
use crate::nursery::shared::Shared;
use crate::reason::Reason;
use crate::time::Instant;

/// Calls the observer.
#[cold]
fn observe(shared: &Shared, call: impl FnOnce(&dyn Observer, &ObservedScope<'_>)) {
    let (Some(eye), Some(site)) = (shared.observer, shared.poller.site.get()) else {
        return;
    };
    let scope = ObservedScope {
        mark: Mark::of(shared),
        name: shared.name.as_ref(),
        site,
    };
    // SAFETY: O1 – this is the nursery's own poll or drop (H2).
    shared.guard(|| call(unsafe { eye.observer() }, &scope));
}

/// Calls the observer about a child.
#[cold]
fn observe_child(
    shared: &Shared,
    child: &NurserySide,
    call: impl FnOnce(&dyn Observer, &ObservedScope<'_>, &ObservedChild<'_>),
) {
    let Some(meta) = child.meta() else { return };
    let name = meta.name.take();
    let span = Span {
        notice: meta.notice.get(),
        drain: meta.drain.get(),
    };
    let seen = ObservedChild {
        mark: Mark::of(child.as_ptr()),
        who: Ended::new(name.as_ref(), child.who(), span),
        graceful: meta.role == Role::Graceful,
        scope: meta.scope.map(|inner| Mark::of(inner.0.as_ptr())),
    };
    observe(shared, |observer, scope| call(observer, scope, &seen));
    meta.name.set(name);
}

// ------------------------------------------------------------------ the scope

/// It is polled for the first time.
#[inline]
pub(crate) fn opened(shared: &Shared) {
    if shared.observer.is_some() {
        observe(shared, |observer, scope| observer.opened(scope));
    }
}

/// It is about to drain.
#[inline]
pub(crate) fn cancelled(shared: &Shared) {
    if shared.observer.is_some() {
        let reason = shared.token.reason().unwrap_or(Reason::explicit());
        observe(shared, |observer, scope| observer.cancelled(scope, &reason));
    }
}

/// The body has returned or was dropped.
pub(crate) fn body_ended(shared: &Shared, kind: Option<JoinErrorKind>) {
    if shared.poller.body_ended.replace(true) || shared.observer.is_none() {
        return;
    }
    let reason = match kind {
        Some(JoinErrorKind::Cancelled) => shared.token.reason(),
        _ => None,
    };
    let how = match kind {
        Some(kind) => Ending::without(kind, reason.as_ref()),
        None => Ending::DONE,
    };
    observe(shared, |observer, scope| observer.body_ended(scope, &how));
}

/// A cleanup has ended; its block is still there.
pub(crate) fn cleaned_up(shared: &Shared, cleanup: &NurserySide, kind: Option<JoinErrorKind>) {
    let Some(meta) = cleanup.meta().filter(|_| shared.observer.is_some()) else {
        return;
    };
    let name = meta.name.take();
    let who = Ended::new(name.as_ref(), cleanup.who(), Span::default());
    let how = kind.map_or(Ending::DONE, |kind| Ending::without(kind, None));
    observe(shared, |observer, scope| {
        observer.cleaned_up(scope, &who, &how)
    });
    meta.name.set(name);
}

/// All have ended. No effect on a nursery that was never polled, or a second time.
pub(crate) fn closed(shared: &Shared) {
    if shared.observer.is_some() {
        observe(shared, |observer, scope| {
            observer.closed(scope, &shared.stats());
        });
    }
    shared.poller.site.set(None);
}

// ------------------------------------------------------------------ children

/// `NEVER`: ages are not kept.
fn now(shared: &Shared) -> Instant {
    let now = shared.poller.now.get().filter(|_| shared.aged);
    now.unwrap_or(Instant::NEVER)
}

/// The nursery has taken it up, if it is a child.
#[inline]
pub(crate) fn admitted(shared: &Shared, child: &NurserySide) {
    let is_child = || !matches!(child.role(), Role::Cleanup | Role::Request);
    if shared.watched && is_child() {
        note_admitted(shared, child);
    }
}

#[cold]
fn note_admitted(shared: &Shared, child: &NurserySide) {
    if let Some(meta) = child.meta() {
        meta.admitted.set(now(shared));
    }
    observe_child(shared, child, |observer, scope, child| {
        observer.admitted(scope, child);
    });
}

/// It has its number and is about to be polled.
#[cold]
pub(crate) fn started(shared: &Shared, child: &NurserySide) {
    if let Some(meta) = child.meta() {
        meta.started.set(now(shared));
    }
    observe_child(shared, child, |observer, scope, child| {
        observer.started(scope, child);
    });
}

/// The nursery is cancelled, and the graceful children that run know it.
#[inline]
pub(crate) fn told_all(shared: &Shared) {
    if shared.observer.is_none() {
        return;
    }
    let reason = shared.token.reason().unwrap_or(Reason::explicit());
    // SAFETY: L2 – foreign code cannot reach the list.
    for child in unsafe { shared.poller.running.iter() } {
        let alone = || child.own().is_some_and(Own::is_told);
        if child.is_alive() && child.role() == Role::Graceful && !alone() {
            observe_child(shared, &child, |observer, scope, child| {
                observer.told(scope, child, &reason);
            });
        }
    }
}

/// A graceful child knows that it is cancelled alone.
pub(crate) fn told(shared: &Shared, child: &NurserySide, reason: Option<Reason>) {
    if shared.observer.is_some() {
        let reason = reason.unwrap_or(Reason::explicit());
        observe_child(shared, child, |observer, scope, child| {
            observer.told(scope, child, &reason);
        });
    }
}

/// Its future is gone; who joins it does not know yet.
#[inline]
pub(crate) fn ended(shared: &Shared, child: &NurserySide, how: &Ending<'_>) {
    if shared.observer.is_some() {
        observe_child(shared, child, |observer, scope, child| {
            observer.ended(scope, child, how);
        });
    }
}

/// Its spawner has given it up.
pub(crate) fn given_up(shared: &Shared, child: &NurserySide) {
    ended(shared, child, &Ending::GIVEN_UP);
}

/// Drops the future of a child that has been admitted and has not ended, and tells all of it.
pub(crate) fn end(
    shared: &Shared,
    child: &NurserySide,
    kind: JoinErrorKind,
    reason: Option<Reason>,
) {
    if !child.claim(0) {
        return given_up(shared, child);
    }
    if shared.observer.is_none() {
        return child.end(kind, reason);
    }
    let why = reason.clone();
    child.end_and(kind, reason, || {
        ended(shared, child, &Ending::without(kind, why.as_ref()));
    });
}
