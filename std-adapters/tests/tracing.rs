//! What a subscriber sees of nurseries.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use umbel::tracing::TracingObserver;
use umbel::{Clock, Failure, JoinError, ManualClock, Nursery, Reason, Timer};

/// Writes down what it is told: spans as paths of their names.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Path and number of references.
    spans: HashMap<u64, (String, usize)>,
    made: u64,
    entered: Vec<u64>,
}

/// Fields as ` key=value`, without those that differ from machine to machine.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!(" {value:?}")),
            "site" => assert!(format!("{value:?}").contains("tracing.rs:")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }

    fn open(&self) -> usize {
        self.0.lock().unwrap().spans.len()
    }
}

impl State {
    fn path(&self, parent: Option<&Id>, contextual: bool) -> String {
        let id = match parent {
            Some(id) => Some(id.into_u64()),
            None if contextual => self.entered.last().copied(),
            None => None,
        };
        id.map_or(String::new(), |id| self.spans[&id].0.clone())
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        assert!(matches!(metadata.target(), "umbel" | "test"));
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().unwrap();
        let mut fields = Fields(String::new());
        span.record(&mut fields);
        let outer = state.path(span.parent(), span.is_contextual());
        let name = span.metadata().name();
        state.lines.push(format!("{outer}/{name}{}", fields.0));
        state.made += 1;
        let id = state.made;
        state.spans.insert(id, (format!("{outer}/{name}"), 1));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut state = self.0.lock().unwrap();
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        let path = state.path(Some(span), false);
        state.lines.push(format!("{path} is{}", fields.0));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut state = self.0.lock().unwrap();
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let path = state.path(event.parent(), event.is_contextual());
        let level = event.metadata().level();
        state.lines.push(format!("{path}: {level}{}", fields.0));
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0
            .lock()
            .unwrap()
            .spans
            .get_mut(&id.into_u64())
            .unwrap()
            .1 += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut state = self.0.lock().unwrap();
        let span = state.spans.get_mut(&id.into_u64()).unwrap();
        span.1 -= 1;
        let last = span.1 == 0;
        if last {
            let (path, _) = state.spans.remove(&id.into_u64()).unwrap();
            state.lines.push(format!("{path} closed"));
        }
        last
    }
}

#[derive(Debug)]
struct E;

impl From<JoinError> for E {
    fn from(_: JoinError) -> E {
        E
    }
}

impl From<Failure<E>> for E {
    fn from(_: Failure<E>) -> E {
        E
    }
}

fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn scopes_and_children_are_spans_with_events() {
    let recorder = Recorder::default();
    let _default = tracing::subscriber::set_default(recorder.clone());
    let (tracing, clock) = (TracingObserver::new(), ManualClock::new());
    let n = Nursery::<E>::new()
        .name("server")
        .timer(clock.clone())
        .grace(Duration::from_secs(9))
        .observer(&tracing);
    let h = n.handle();
    drop(
        h.child()
            .name("stuck")
            .spawn_graceful(|_| pending::<Result<(), E>>()),
    );
    drop(h.spawn_graceful(|cx| {
        let (token, clock) = (cx.token().clone(), clock.clone());
        async move {
            token.cancelled().await;
            clock
                .sleep_until(clock.now() + Duration::from_secs(2))
                .await;
            Ok(())
        }
    }));
    let run = n.run::<(), _>(pending());
    let main = tracing::info_span!(target: "test", "main");
    let mut run = pin!(run);
    assert!(main.in_scope(|| poll(&mut run)).is_pending());
    assert_eq!(
        recorder.take(),
        [
            "/main",
            "/main/scope name=\"server\"",
            "/main/scope/child name=\"stuck\" graceful=true",
            "/main/scope/child graceful=true",
            "/main/scope/child is id=#1",
            "/main/scope/child: DEBUG started",
            "/main/scope/child is id=#2",
            "/main/scope/child: DEBUG started",
        ]
    );
    h.cancel_with(Reason::shutdown());
    assert!(poll(&mut run).is_pending());
    clock.advance(Duration::from_secs(2));
    assert!(poll(&mut run).is_pending());
    assert_eq!(
        recorder.take(),
        [
            "/main/scope: INFO cancelled reason=shutting down",
            "/main/scope: DEBUG body ended outcome=\"cancelled\"",
            "/main/scope/child: DEBUG told reason=shutting down",
            "/main/scope/child: DEBUG told reason=shutting down",
            "/main/scope/child: DEBUG ended outcome=\"done\" notice=0ns drain=2s",
            "/main/scope/child closed",
        ]
    );
    clock.advance(Duration::from_secs(7));
    assert!(poll(&mut run).is_ready());
    assert_eq!(
        recorder.take(),
        [
            "/main/scope/child: WARN ended outcome=\"forced\" reason=shutting down drain=9s",
            "/main/scope/child closed",
            "/main/scope: INFO closed started=2 done=1 failed=0 panicked=0 cancelled=0 forced=1 skipped=0 lost=0",
            "/main/scope closed",
        ]
    );
    drop(main);
    assert_eq!(recorder.open(), 0);
}

#[test]
fn a_nested_scope_is_in_the_span_of_its_child() {
    let recorder = Recorder::default();
    let _default = tracing::subscriber::set_default(recorder.clone());
    let tracing = TracingObserver::new();
    let n = Nursery::<E>::new().observer(&tracing);
    let h = n.handle();
    let mut run = pin!(n.run(async {
        h.scope::<_, E, _>(|n| {
            let n = n.name("inner");
            let h = n.handle();
            n.run(async move {
                h.spawn(async { Ok(()) }).await?;
                Ok(())
            })
        })
        .await?;
        // One that never opens leaves nothing.
        drop(h.scope::<(), E, _>(|n| n.run(pending())));
        h.cancel();
        Ok(())
    }));
    while poll(&mut run).is_pending() {}
    let lines = recorder.take();
    let inner = "/scope/child/scope name=\"inner\"".to_owned();
    assert!(lines.contains(&inner), "{lines:#?}");
    assert!(
        lines.contains(&"/scope/child/scope/child closed".to_owned()),
        "{lines:#?}"
    );
    assert_eq!(recorder.open(), 0, "{lines:#?}");
    assert!(format!("{tracing:?}").contains("spans: 0"));
}
