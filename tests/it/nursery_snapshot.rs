//! N12: what a nursery looks like, from anywhere, and in four languages.

use serde_json::Value;
use std::cell::RefCell;
use std::future::pending;
use std::time::Duration;
use umbel_core::{
    ChildKind, ChildState, Clock, Failure, JoinError, LocalNursery, ManualClock, Nursery, Reason,
    ScopeState, Snapshot, Timer,
};
use umbel_tests::exec::{Gate, Task};

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

type N<'env> = Nursery<'env, E>;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A server with two requests; one is stuck: its deadline has come, and its commit does not look at its
/// token.
fn server() -> Snapshot {
    let clock = ManualClock::new();
    let n = N::new().name("server").timer(clock.clone()).ages();
    let h = n.handle();
    let at = clock.now() + secs(2);
    let mut task = Task::new(n.run::<(), _>(async {
        drop(h.child().name("listener").spawn(pending::<Result<(), E>>()));
        drop(h.child().name("request 7").scope::<(), E, _>(|n| {
            let n = n
                .name("transfer")
                .timer(clock.clone())
                .deadline(at)
                .grace(secs(30));
            let h = n.handle();
            n.run(async move {
                drop(h.child().name("audit").spawn(pending::<Result<(), E>>()));
                drop(h.child().name("notify").spawn_graceful(|cx| async move {
                    cx.token().cancelled().await;
                    Ok(())
                }));
                h.child()
                    .name("commit")
                    .spawn_graceful(|_| pending::<Result<(), E>>())
                    .await?;
                Ok(())
            })
        }));
        clock.sleep_until(clock.now() + secs(4)).await;
        drop(h.child().name("request 8").scope::<(), E, _>(|n| {
            let n = n.name("thumbnails").timer(clock.clone()).limit(1);
            let h = n.handle();
            n.run(async move {
                let thumbnail = |i| {
                    let name = format!("thumbnail {i}");
                    h.child().name(name).spawn(pending::<Result<(), E>>())
                };
                let all = [thumbnail(1), thumbnail(2)];
                for one in all {
                    one.await?;
                }
                Ok(())
            })
        }));
        pending().await
    }));
    task.stall();
    for _ in 0..5 {
        clock.advance(secs(1));
        task.stall();
    }
    let mut asked = Task::new(h.snapshot());
    asked.stall();
    assert!(task.is_woken());
    task.stall();
    asked.finish()
}

/// The page shows what the code prints.
#[test]
fn the_page_on_comforts_shows_a_real_snapshot() {
    let page = include_str!("../../docs/comforts.md");
    let seen = server();
    for (language, text) in [("text", seen.to_string()), ("mermaid", seen.to_mermaid())] {
        let block = format!("```{language}\n{text}```\n");
        assert!(
            page.contains(&block),
            "docs/comforts.md should have\n{block}"
        );
    }
}

#[test]
fn a_snapshot_says_who_does_what_for_how_long() {
    let seen = server();
    assert_eq!(seen.name.as_deref(), Some("server"));
    assert_eq!(seen.state, ScopeState::Running);
    assert!(!seen.body_ended);
    assert_eq!(seen.stats.active, 3);
    let [listener, seven, eight] = &seen.children[..] else {
        panic!("{seen}")
    };
    assert_eq!(
        (listener.state, listener.kind),
        (ChildState::Running, ChildKind::Plain)
    );
    assert_eq!(
        (listener.age, listener.running),
        (Some(secs(5)), Some(secs(5)))
    );
    assert!(listener.site.file().ends_with("nursery_snapshot.rs"));
    assert_eq!(listener.id.unwrap().to_string(), "#1");

    let transfer = seven.scope.as_deref().unwrap();
    let draining = Some(secs(3));
    let (reason, drain) = match &transfer.state {
        ScopeState::Draining { reason, drain } => (reason.clone(), *drain),
        other => panic!("{other:?}"),
    };
    assert_eq!((reason, drain), (Reason::deadline_exceeded(), draining));
    assert!(transfer.body_ended);
    let [commit] = &transfer.children[..] else {
        panic!("{seen}")
    };
    assert_eq!(
        commit.state,
        ChildState::Draining {
            notice: None,
            drain: draining
        }
    );
    assert_eq!(
        (commit.kind, commit.age),
        (ChildKind::Graceful, Some(secs(5)))
    );

    let thumbnails = eight.scope.as_deref().unwrap();
    assert_eq!(eight.age, Some(secs(1)));
    let [one, two] = &thumbnails.children[..] else {
        panic!("{seen}")
    };
    assert_eq!(
        (one.state, two.state),
        (ChildState::Running, ChildState::Queued)
    );
    assert_eq!((two.id, two.running, two.age), (None, None, Some(secs(1))));
    assert_eq!(thumbnails.stats.queued, 1);
    // With the places in the program.
    let text = format!("{seen:#}");
    assert_eq!(
        text.matches("nursery_snapshot.rs:").count(),
        3 + 6,
        "{text}"
    );
}

#[test]
fn a_nursery_without_ages_has_none_to_show() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone());
    let h = n.handle();
    drop(h.spawn(pending::<Result<(), E>>()));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    clock.advance(secs(1));
    let mut asked = Task::new(h.snapshot());
    asked.stall();
    task.stall();
    let seen = asked.finish();
    let [child] = &seen.children[..] else {
        panic!("{seen}")
    };
    assert_eq!((child.age, child.running), (None, None));
    assert_eq!(seen.to_string(), "scope: running\n└─ #1: running\n");
}

#[test]
fn it_is_asked_from_anywhere_in_order_with_the_spawns() {
    let seen = RefCell::new(Vec::new());
    let n = LocalNursery::<E>::new().limit(1).name("local");
    let h = n.handle();
    let early = h.snapshot();
    let (all, asked) = (&seen, h.clone());
    drop(h.child().name("a").spawn(async move {
        // In a child; the nursery is being polled.
        let seen = asked.snapshot().await;
        all.borrow_mut().push(seen);
        asked.cancel();
        let seen = asked.snapshot().await;
        all.borrow_mut().push(seen);
        Ok(())
    }));
    drop(h.child().name("b").spawn_graceful(|_| async { Ok(()) }));
    let late = h.snapshot();
    drop(h.child().name("c").spawn(async { Ok(()) }));
    let mut task = Task::new(n.run::<(), _>(pending()));
    task.finish().unwrap_err();
    let (early, late) = (Task::new(early).finish(), Task::new(late).finish());
    assert_eq!(
        early.to_string(),
        "scope \"local\": running\n└─ the body: running\n"
    );
    assert_eq!(
        late.to_string(),
        "scope \"local\": running\n├─ the body: running\n├─ \"a\": starting\n└─ \"b\", graceful: queued\n"
    );
    let [ref of_child] = seen.borrow()[..] else {
        panic!("a plain child is not polled after the cancellation")
    };
    assert_eq!(
        of_child.to_string(),
        "scope \"local\": running\n├─ the body: running\n├─ \"a\" #1: running\n\
         ├─ \"b\", graceful: queued\n└─ \"c\": queued\n"
    );
}

#[test]
fn who_has_gone_is_not_shown() {
    let n = N::new().limit(2);
    let h = n.handle();
    drop(h.child().name("gone").spawn(pending::<Result<(), E>>()));
    drop(h.child().name("here").spawn(pending::<Result<(), E>>()));
    let mut given_up = Task::new(h.child().name("given up").spawn_wait(async { Ok(()) }));
    given_up.stall();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    drop(given_up);
    // In one turn: the first has been dropped and is still in its place.
    h.cancel_named("gone", Reason::explicit());
    let mut asked = Task::new(h.snapshot());
    asked.stall();
    task.stall();
    assert_eq!(
        asked.finish().to_string(),
        "scope: running, 1 cancelled\n└─ \"here\" #2: running\n"
    );
}

#[test]
fn an_ended_nursery_shows_its_counts() {
    let n = N::new().name("short");
    let h = n.handle();
    drop(h.spawn(async { Ok(()) }));
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    let seen = Task::new(h.snapshot()).finish();
    assert_eq!(seen.state, ScopeState::Ended);
    assert_eq!(seen.to_string(), "scope \"short\": ended, 1 done\n");

    // One that is dropped before it has answered.
    let n = N::new();
    let h = n.handle();
    let mut asked = Task::new(h.snapshot());
    asked.stall();
    drop(n);
    assert_eq!(asked.finish().to_string(), "scope: ended\n");
}

#[test]
fn a_snapshot_that_nobody_awaits_costs_nobody_anything() {
    let (n, gate) = (N::new().limit(1), Gate::new());
    let h = n.handle();
    drop(h.spawn({
        let pass = gate.pass();
        async {
            pass.await;
            Ok(())
        }
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    drop(h.snapshot());
    task.stall();
    drop(h.snapshot());
    gate.open();
    task.finish().unwrap();
    let stats = h.stats();
    assert_eq!((stats.started, stats.done, stats.cancelled), (1, 1, 0));
}

#[test]
fn a_drain_is_seen_while_it_lasts() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone());
    let (h, gate) = (n.handle(), Gate::new());
    drop(h.spawn_graceful(|cx| {
        let (pass, token) = (gate.pass(), cx.token().clone());
        async move {
            token.cancelled().await;
            pass.await;
            Ok(())
        }
    }));
    drop(h.spawn(pending::<Result<(), E>>()));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    let look = |task: &mut Task<_>| {
        let mut asked = Task::new(h.snapshot());
        asked.stall();
        task.stall();
        asked.finish().to_string()
    };
    assert_eq!(
        look(&mut task),
        "scope: running\n├─ #1, graceful: running\n└─ #2: running\n"
    );
    h.cancel_with(Reason::shutdown());
    task.stall();
    clock.advance(secs(2));
    assert_eq!(
        look(&mut task),
        "scope: draining for 2s: shutting down, 1 cancelled\n\
         └─ #1, graceful: draining for 2s (noticed at once)\n"
    );
    gate.open();
    task.finish().unwrap_err();
}

/// Names that would break out of a string, a label or a line.
const NAMES: [&str; 4] = [
    "say \"hi\\\"",
    "two\nlines\u{7}\u{2028}",
    "<b>&lt;#34; `x` [y](z) {a}",
    "ümläut ⚘",
];

fn awkward() -> Snapshot {
    let n = N::new().name(NAMES[0]);
    let h = n.handle();
    for name in NAMES {
        drop(h.child().name(name).spawn(pending::<Result<(), E>>()));
    }
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    let mut asked = Task::new(h.snapshot());
    asked.stall();
    task.stall();
    asked.finish()
}

#[test]
fn json_is_well_formed_and_says_it_all() {
    let seen: Value = serde_json::from_str(&awkward().to_json()).unwrap();
    let names: Vec<_> = seen["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, NAMES);
    assert_eq!(seen["name"], NAMES[0]);

    let seen: Value = serde_json::from_str(&server().to_json()).unwrap();
    let transfer = &seen["children"][1]["scope"];
    assert_eq!(transfer["state"], "draining");
    assert_eq!(transfer["reason"], "deadline exceeded");
    assert_eq!(transfer["drain_ns"], 3_000_000_000_u64);
    assert_eq!(transfer["stats"]["drain"], serde_json::json!([[1000, 1]]));
    let commit = &transfer["children"][0];
    assert_eq!(commit["name"], "commit");
    assert_eq!(commit["id"], "#3");
    assert_eq!(commit["kind"], "graceful");
    assert_eq!(commit["state"], "draining");
    assert_eq!(commit["age_ns"], 5_000_000_000_u64);
    assert_eq!(commit["notice_ns"], Value::Null);
    assert_eq!(commit["scope"], Value::Null);
    assert!(
        commit["site"]
            .as_str()
            .unwrap()
            .contains("nursery_snapshot.rs:")
    );
}

#[test]
fn graphs_are_well_formed() {
    let dot = awkward().to_dot();
    let lines: Vec<_> = dot.lines().collect();
    assert_eq!(lines[0], "digraph scopes {");
    assert_eq!(*lines.last().unwrap(), "}");
    for line in lines.iter().filter(|line| line.contains("label=")) {
        let label = line.split_once("label=\"").unwrap().1;
        // The label's end is the first quote that is not escaped.
        let mut escaped = false;
        let end = label
            .find(|c| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            })
            .unwrap();
        let rest = &label[end + 1..];
        assert!(matches!(rest, "];" | ", style=rounded];"), "{line}");
    }
    let mermaid = awkward().to_mermaid();
    assert!(mermaid.starts_with("flowchart TD\n"));
    for line in mermaid.lines().filter(|line| line.contains('"')) {
        assert_eq!(line.matches('"').count(), 2, "{line}");
        let label = line.split('"').nth(1).unwrap().replace("<br/>", "");
        assert!(
            !label.contains(['<', '>', '&', '`', '[', '{', '\\', ':']),
            "{line}"
        );
        // Each `#` begins a number.
        for code in label.split('#').skip(1) {
            let (number, _) = code.split_once(';').unwrap();
            assert!(number.parse::<u32>().is_ok(), "{line}");
        }
    }
    assert_eq!(mermaid.matches(" --> ").count(), NAMES.len());
    assert_eq!(dot.matches(" -> ").count(), NAMES.len());
    let server = server();
    assert_eq!(server.to_mermaid().matches(":::draining").count(), 2);
    assert_eq!(server.to_dot().matches("orange").count(), 2);
}

#[test]
fn a_service_that_has_just_come_is_starting_and_not_queued() {
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for child in [h.child(), h.child(), h.child().service()] {
            drop(child.spawn(pending::<Result<(), E>>()));
        }
        let seen = h.snapshot().await;
        let states: Vec<_> = seen.children.iter().map(|child| child.state).collect();
        // The body and the first child, and the second, for which there is no room.
        let queued = states.iter().filter(|s| **s == ChildState::Queued);
        assert_eq!(queued.count(), 1, "{states:?}");
        assert_eq!(states.last(), Some(&ChildState::Starting));
        pending::<Result<(), E>>().await
    }));
    let _ = task.run();
    h.cancel();
    task.finish().unwrap_err();
}
