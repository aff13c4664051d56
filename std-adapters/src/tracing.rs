//! Nurseries in [`tracing`]: a span for each scope and child, and events for what happens to
//! them.
//!
//! | span | level | fields | parent |
//! |---|---|---|---|
//! | `scope` | INFO | `name`, `site` | the child in which it is nested; else the span in which it is first polled |
//! | `child` | DEBUG | `name`, `id` (once it starts), `site`, `graceful` | its scope |
//!
//! | event | in | level | fields |
//! |---|---|---|---|
//! | `cancelled` | scope | INFO | `reason` |
//! | `body ended` | scope | DEBUG | `outcome` |
//! | `cleaned up` | scope | DEBUG; WARN if it was forced or panicked | `name`, `site`, `outcome` |
//! | `closed` | scope | INFO | the counts: `started`, `done`, `failed`, `panicked`, `cancelled`, `forced`, `skipped`, `lost` |
//! | `started` | child | DEBUG | |
//! | `told` | child | DEBUG | `reason` |
//! | `ended` | child | DEBUG; WARN if it was forced or panicked | `outcome`, `reason`, `notice`, `drain` |
//!
//! All have the target `umbel`. A child's span lasts from when the nursery takes it up to its end, so
//! waiting for room is a part of it. It is not entered while the child is polled: what the child itself
//! logs is in the spans that the child is [instrumented](::tracing::Instrument) with.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Empty, debug, display};
use tracing::{Level, Span, debug_span, event, info_span};
use umbel_core::{
    Ended, Ending, JoinErrorKind, Mark, ObservedChild, ObservedScope, Observer, Reason, Stats,
};

const TARGET: &str = "umbel";

/// An [`Observer`] that makes spans and events.
///
/// One may be given to any number of nurseries, and lives as long as the last of them: often in
/// a `static` or beside the root nursery.
///
/// ```
/// use umbel::tracing::TracingObserver;
/// use umbel::{JoinError, Nursery};
///
/// let tracing = TracingObserver::new();
/// let n = Nursery::<JoinError>::new().name("server").observer(&tracing);
/// let h = n.handle();
/// smol::block_on(n.run(async {
///     h.child().name("request").spawn(async { Ok(()) }).await
/// }))
/// .unwrap();
/// ```
#[derive(Default)]
pub struct TracingObserver(Mutex<HashMap<Mark, Arc<Span>>>);

impl TracingObserver {
    /// It knows of no scope yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn spans(&self) -> MutexGuard<'_, HashMap<Mark, Arc<Span>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subscriber is foreign code, and called without the lock: also where a span is cloned or dropped.
    fn span(&self, mark: Mark) -> Arc<Span> {
        let span = self.spans().get(&mark).cloned();
        span.unwrap_or_else(|| Arc::new(Span::none()))
    }

    fn keep(&self, mark: Mark, span: Arc<Span>) {
        let before = self.spans().insert(mark, span);
        drop(before);
    }

    fn forget(&self, mark: Mark) {
        let span = self.spans().remove(&mark);
        drop(span);
    }
}

impl fmt::Debug for TracingObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracingObserver")
            .field("spans", &self.spans().len())
            .finish()
    }
}

impl Observer for TracingObserver {
    fn opened(&self, scope: &ObservedScope<'_>) {
        let (name, site) = (scope.name(), display(scope.site()));
        // Of a nested one the child was seen when it came.
        let outer = self.spans().remove(&scope.mark());
        let span = match outer {
            Some(child) => {
                info_span!(target: TARGET, parent: &*child, "scope", name, site)
            }
            None => info_span!(target: TARGET, "scope", name, site),
        };
        self.keep(scope.mark(), Arc::new(span));
    }

    fn cancelled(&self, scope: &ObservedScope<'_>, reason: &Reason) {
        let span = self.span(scope.mark());
        event!(target: TARGET, parent: &*span, Level::INFO, %reason, "cancelled");
    }

    fn body_ended(&self, scope: &ObservedScope<'_>, how: &Ending<'_>) {
        let span = self.span(scope.mark());
        event!(target: TARGET, parent: &*span, Level::DEBUG, outcome = outcome(how), "body ended");
    }

    fn cleaned_up(&self, scope: &ObservedScope<'_>, who: &Ended<'_>, how: &Ending<'_>) {
        let span = self.span(scope.mark());
        let (name, site, outcome) = (who.name(), display(who.site()), outcome(how));
        if is_alarming(how) {
            event!(target: TARGET, parent: &*span, Level::WARN, name, site, outcome, "cleaned up");
        } else {
            event!(target: TARGET, parent: &*span, Level::DEBUG, name, site, outcome, "cleaned up");
        }
    }

    fn closed(&self, scope: &ObservedScope<'_>, stats: &Stats) {
        let span = self.span(scope.mark());
        event!(
            target: TARGET,
            parent: &*span,
            Level::INFO,
            started = stats.started,
            done = stats.done,
            failed = stats.failed,
            panicked = stats.panicked,
            cancelled = stats.cancelled,
            forced = stats.forced,
            skipped = stats.skipped,
            lost = stats.lost,
            "closed"
        );
        self.forget(scope.mark());
    }

    fn admitted(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        let outer = self.span(scope.mark());
        let who = child.who();
        let span = debug_span!(
            target: TARGET,
            parent: &*outer,
            "child",
            name = who.name(),
            id = Empty,
            site = display(who.site()),
            graceful = child.is_graceful(),
        );
        let span = Arc::new(span);
        if let Some(inner) = child.scope() {
            self.keep(inner, Arc::clone(&span));
        }
        self.keep(child.mark(), span);
    }

    fn started(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        let span = self.span(child.mark());
        span.record("id", child.who().id().map(display));
        event!(target: TARGET, parent: &*span, Level::DEBUG, "started");
    }

    fn told(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>, reason: &Reason) {
        let span = self.span(child.mark());
        event!(target: TARGET, parent: &*span, Level::DEBUG, %reason, "told");
    }

    fn ended(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>, how: &Ending<'_>) {
        let span = self.span(child.mark());
        let outcome = outcome(how);
        let reason = how.reason().map(display);
        let notice = child.who().notice().map(debug);
        let drain = child.who().drain().map(debug);
        if is_alarming(how) {
            event!(target: TARGET, parent: &*span, Level::WARN, outcome, reason, notice, drain, "ended");
        } else {
            event!(target: TARGET, parent: &*span, Level::DEBUG, outcome, reason, notice, drain, "ended");
        }
        self.forget(child.mark());
        // If it was a scope that never opened, its child's span stands for it still.
        if let Some(inner) = child.scope() {
            let mut spans = self.spans();
            let unopened = spans
                .get(&inner)
                .is_some_and(|kept| Arc::ptr_eq(kept, &span));
            let kept = unopened.then(|| spans.remove(&inner));
            drop((spans, kept));
        }
    }
}

fn is_alarming(how: &Ending<'_>) -> bool {
    matches!(
        how.kind(),
        Some(JoinErrorKind::Forced | JoinErrorKind::Panicked)
    )
}

/// One word.
fn outcome(how: &Ending<'_>) -> &'static str {
    match how.kind() {
        None if how.is_given_up() => "given up",
        None => "done",
        Some(JoinErrorKind::Failed) => "failed",
        Some(JoinErrorKind::Panicked) => "panicked",
        Some(JoinErrorKind::Cancelled) => "cancelled",
        Some(JoinErrorKind::Forced) => "forced",
        Some(JoinErrorKind::Closed) => "dropped",
        Some(JoinErrorKind::Skipped) => "skipped",
        Some(JoinErrorKind::Lost) => "lost",
        Some(_) => "ended otherwise",
    }
}
