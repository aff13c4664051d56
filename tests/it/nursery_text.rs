//! What the nursery's errors say: exact texts, who is told, and the chain of sources.

use crate::nursery_text::places::Places;
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::time::Duration;
use umbel_core::{
    Cause, Ended, Failure, FirstSuccess, Instant, Join, JoinError, JoinErrorKind, KeepGoing,
    ManualClock, Name, Nursery, Policy, Reason, ReasonKind, Verdict,
};
use umbel_tests::exec::{Gate, Task, yields};

/// An error of two levels, whose `{:#}` tells both.
#[derive(Debug, PartialEq)]
struct Disk(&'static str, Full);

#[derive(Debug, PartialEq)]
struct Full;

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            true => write!(f, "{}: {}", self.0, self.1),
            false => f.write_str(self.0),
        }
    }
}

impl Error for Disk {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no space left")
    }
}

impl Error for Full {}

impl From<JoinError> for Disk {
    fn from(_: JoinError) -> Self {
        Disk("join", Full)
    }
}

fn chain(error: &dyn Error) -> Vec<String> {
    let mut chain = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    chain
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The lines on which children are spawned are counted from here.
mod places {
    use std::panic::Location;

    /// Replaces what differs from machine to machine: `FILE:LINE:COLUMN` becomes `@` and the number of
    /// lines from where this was made.
    pub(super) struct Places(u32);

    impl Places {
        #[track_caller]
        pub(super) fn here() -> Self {
            Places(Location::caller().line())
        }

        pub(super) fn short(&self, text: impl ToString) -> String {
            let mut text = text.to_string();
            while let Some(from) = text.find(file!()) {
                let place = text[from..].split(')').next().unwrap().to_owned();
                let line: u32 = place.split(':').nth(1).unwrap().parse().unwrap();
                text = text.replace(&place, &format!("@{}", line - self.0));
            }
            text
        }
    }
}

#[test]
fn a_failure_says_who_failed_where_and_what_else_went_wrong() {
    let at = Places::here();
    let n = Nursery::new().policy(KeepGoing).name("backup");
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(
            h.child()
                .name("a\n\"b\"")
                .spawn(async { Err::<(), _>(Disk("home", Full)) }),
        );
        drop(h.spawn(async { Err::<(), _>(Disk("var", Full)) }));
        yields(2).await;
        Err::<(), _>(Disk("all", Full))
    }));
    let failure = task.finish().unwrap_err();

    let child = r#"child "a\n\"b\"" (spawned at @5)"#;
    assert_eq!(
        at.short(&failure),
        format!("backup: {child} failed: home, and 2 more errors")
    );
    assert_eq!(
        at.short(format!("{failure:#}")),
        format!(
            "backup: {child} failed: home: no space left\n\
            \x20 child #2 (spawned at @9) failed: var: no space left\n\
            \x20 the body (run at @3) failed: all: no space left"
        )
    );
    // What a `main` prints that returns it.
    assert_eq!(
        at.short(format!("{failure:?}")),
        format!(
            "backup: {child} failed: Disk(\"home\", Full)\n\
            \x20 child #2 (spawned at @9) failed: Disk(\"var\", Full)\n\
            \x20 the body (run at @3) failed: Disk(\"all\", Full)"
        )
    );
    let fields = format!("{failure:#?}");
    for field in [
        "Failure {",
        "cause: Error(",
        "rest: [",
        "report: Report {",
        "done: 0,",
    ] {
        assert!(fields.contains(field), "{fields}");
    }

    // All errors are reachable, each with who gave it.
    let told: Vec<_> = failure
        .errors()
        .map(|e| (e.error.0, e.who.name(), e.who.id().map(|id| id.to_string())))
        .collect();
    let (one, two) = (Some("#1".to_owned()), Some("#2".to_owned()));
    assert_eq!(
        told,
        [
            ("home", Some("a\n\"b\""), one),
            ("var", None, two),
            ("all", None, None)
        ]
    );
    let last = failure.errors().last().unwrap();
    assert!(last.who.is_body());
    assert_eq!((last.who.notice(), last.who.drain()), (None, None));
    assert_eq!(at.short(last), "the body (run at @3) failed: all");
    assert_eq!(last.source().unwrap().to_string(), "no space left");
    assert_eq!(last.who.to_string(), "the body");

    // The text holds that of the cause, so the chain goes on behind that.
    assert_eq!(chain(&failure), ["no space left"]);
}

#[test]
fn one_failure_is_one_line() {
    let at = Places::here();
    let n = Nursery::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(async { Err::<(), _>("two\nlines") }));
        pending::<Result<(), _>>().await
    }));
    let failure = task.finish().unwrap_err();
    let text = at.short(&failure);
    assert_eq!(text, "child #1 (spawned at @4) failed: two\n  lines");
    // Further lines are set in, so that a line at the margin is an error of its own.
    assert_eq!(
        at.short(format!("{failure:#}")),
        "child #1 (spawned at @4) failed: two\n  lines"
    );
}

/// The cause is the policy's, and comes first, whoever came before.
#[test]
fn errors_stay_with_those_who_gave_them() {
    struct OnThree;
    impl Policy<u32> for OnThree {
        fn failed(&mut self, who: &Ended<'_>, error: &u32) -> Verdict {
            assert_eq!(who.to_string(), format!("child \"{error}\""));
            assert!(who.site().line() > 0 && who.id().is_some());
            match error {
                2 => Verdict::Forgive,
                3 => Verdict::CancelRest,
                _ => Verdict::Continue,
            }
        }
        fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
            assert!(who.is_body() || who.to_string() == "child \"0\"");
            Verdict::Continue
        }
    }
    let n = Nursery::<u32>::new().policy(OnThree);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for i in 0..5 {
            let child = h.child().name(i.to_string());
            drop(
                child.spawn_graceful(move |_| async move { if i == 0 { Ok(()) } else { Err(i) } }),
            );
        }
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(3)));
    let told: Vec<_> = failure
        .errors()
        .map(|e| (e.who.name().unwrap().to_owned(), *e.error))
        .collect();
    assert_eq!(
        told,
        [
            ("3".to_owned(), 3),
            ("1".to_owned(), 1),
            ("4".to_owned(), 4)
        ]
    );
    assert_eq!(failure.rest, [1, 4]);
    assert_eq!(failure.to_string().matches("and 2 more errors").count(), 1);
}

#[test]
fn after_a_deadline_notice_and_drain_are_told() {
    let at = Places::here();
    let clock = ManualClock::new();
    let n = Nursery::<Disk>::new().name("ship").timer(clock.clone());
    let n = n.deadline(Instant::EPOCH + secs(5)).grace(secs(10));
    let h = n.handle();
    let (slow, gate) = (Gate::new(), Gate::new());
    let mut joins = Vec::new();
    let mut task = Task::new(n.run(async {
        let deaf = h
            .child()
            .name("deaf")
            .spawn_graceful(|_| pending::<Result<(), Disk>>());
        let slow = h.child().name("slow").spawn_graceful(|cx| {
            let pass = slow.pass();
            async move {
                cx.token().cancelled().await;
                pass.await;
                pending().await
            }
        });
        let saver = h.spawn_graceful(|cx| {
            let pass = gate.pass();
            async move {
                cx.token().cancelled().await;
                pass.await;
                Err::<(), _>(Disk("unsaved", Full))
            }
        });
        let plain = h.child().name("plain").spawn(pending::<Result<(), Disk>>());
        joins.extend([deaf, slow, saver, plain]);
        pending::<Result<(), Disk>>().await
    }));
    task.stall();
    clock.advance(secs(5));
    task.stall();
    clock.advance(secs(2));
    gate.open();
    task.stall();
    clock.advance(secs(8));
    let failure = task.finish().unwrap_err();

    assert_eq!(
        at.short(&failure),
        "ship: cancelled: deadline exceeded, and 1 error; 2 children were forced"
    );
    let saver = "child #3 (spawned at @20) failed 2s after the cancellation (noticed at once)";
    let deaf =
        "child \"deaf\" (spawned at @9) was forced 10s after the cancellation (never noticed)";
    let slow =
        "child \"slow\" (spawned at @12) was forced 10s after the cancellation (noticed at once)";
    assert_eq!(
        at.short(format!("{failure:#}")),
        format!(
            "ship: cancelled: deadline exceeded\n  {saver}: unsaved: no space left\n  {slow}\n  {deaf}"
        )
    );
    assert!(failure.source().is_none());
    let error = failure.errors().next().unwrap();
    assert_eq!(
        (error.who.notice(), error.who.drain()),
        (Some(secs(0)), Some(secs(2)))
    );
    let drained: Vec<_> = failure.report.drained.iter().map(|d| at.short(d)).collect();
    assert_eq!(drained[0], saver.replace("failed", "ended"));
    assert_eq!(drained[1..], [slow, deaf]);
    assert_eq!(failure.report.drained[0].id.unwrap().to_string(), "#3");
    assert_eq!(failure.report.drained[0].who(), error.who);

    drop(task);
    let why = "deadline exceeded";
    let told: Vec<_> = joins
        .into_iter()
        .map(|join| at.short(join.now_or_never().unwrap().unwrap_err()))
        .collect();
    assert_eq!(
        told,
        [
            format!("{deaf}: {why}"),
            format!("{slow}: {why}"),
            saver.to_owned(),
            format!("child \"plain\" (spawned at @28) was cancelled: {why}"),
        ]
    );
}

#[test]
fn without_a_timer_no_times_are_told() {
    let at = Places::here();
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let mut join = None;
    let mut task = Task::new(n.run(async {
        join = Some(h.spawn_graceful(|_| pending::<Result<(), Disk>>()));
        pending::<Result<(), Disk>>().await
    }));
    task.stall();
    h.cancel();
    task.stall();
    h.force();
    let failure = task.finish().unwrap_err();
    let child = "child #1 (spawned at @5) was forced";
    assert_eq!(at.short(&failure), format!("cancelled; {child}"));
    assert_eq!(
        at.short(format!("{failure:#}")),
        format!("cancelled\n  {child}")
    );
    drop(task);
    let error = join.unwrap().now_or_never().unwrap().unwrap_err();
    assert_eq!(
        at.short(&error),
        child,
        "an explicit cancellation has no more to say"
    );
    assert_eq!((error.who().notice(), error.who().drain()), (None, None));
}

#[test]
fn a_join_error_says_what_became_of_the_child() {
    let at = Places::here();
    let n = Nursery::<Disk>::new().limit(2);
    let h = n.handle();
    let failed = h.spawn(async {
        yields(1).await;
        Err::<(), _>(Disk("x", Full))
    });
    let cut = h.child().name("cut").spawn::<(), _>(pending());
    let queued = h.child().name("queued").spawn::<(), _>(pending());
    let mut task = Task::new(n.run::<(), _>(pending()));
    let failure = task.finish().unwrap_err();
    assert_eq!(at.short(&failure), "child #1 (spawned at @3) failed: x");
    let refused = h.child().name("refused").spawn::<(), _>(pending());
    let mut waits = Task::new(h.child().name("waits").spawn_wait::<(), _>(pending()));

    let told = |join: Join<()>| {
        let error = join.now_or_never().unwrap().unwrap_err();
        (error.kind(), at.short(error))
    };
    let (cancelled, why) = (JoinErrorKind::Cancelled, "a sibling failed");
    assert_eq!(
        told(failed),
        (
            JoinErrorKind::Failed,
            "child #1 (spawned at @3) failed".into()
        )
    );
    assert_eq!(
        told(cut),
        (
            cancelled,
            format!("child \"cut\" (spawned at @7) was cancelled: {why}")
        )
    );
    let unbegun = |name, line| {
        format!("child \"{name}\" (spawned at @{line}) was cancelled before it began: {why}")
    };
    assert_eq!(told(queued), (cancelled, unbegun("queued", 8)));
    assert_eq!(told(refused), (cancelled, unbegun("refused", 12)));
    assert_eq!(at.short(waits.finish().unwrap_err()), unbegun("waits", 13));
}

#[test]
fn children_of_a_nursery_that_is_gone_say_so() {
    let at = Places::here();
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let (ran, not) = (
        h.spawn::<(), _>(pending()),
        h.spawn_wait::<(), _>(pending()),
    );
    let mut task = Task::new(n.run::<(), _>(pending()));
    task.stall();
    let inbox = h.child().name("inbox").spawn::<(), _>(pending());
    drop(task);
    let told = |error: JoinError| {
        assert_eq!(error.kind(), JoinErrorKind::Closed);
        at.short(error)
    };
    let error = ran.now_or_never().unwrap().unwrap_err();
    assert_eq!(
        told(error),
        "child #1 (spawned at @4) was dropped with its nursery"
    );
    let error = inbox.now_or_never().unwrap().unwrap_err();
    assert_eq!(
        told(error),
        "child \"inbox\" (spawned at @9) never began: its nursery had ended"
    );
    // It is cancelled as well.
    let error = Task::new(not).finish().unwrap_err();
    assert_eq!(
        at.short(error),
        "a child (spawned at @5) was cancelled before it began: its scope was dropped"
    );

    // One that ended well is not cancelled.
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let early = h.spawn_wait::<(), _>(pending());
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    let ended = "(spawned at @35) never began: its nursery had ended";
    assert_eq!(
        told(Task::new(early).finish().unwrap_err()),
        format!("a child {ended}")
    );
    let late = h.child().name("late").spawn::<(), _>(pending());
    assert_eq!(
        told(late.now_or_never().unwrap().unwrap_err()),
        "child \"late\" (spawned at @42) never began: its nursery had ended"
    );
}

/// A boxed reason is told once, by the text, and the chain goes on behind it.
#[test]
fn a_reason_that_is_an_error_is_told_once() {
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let join = h.child().name("x").spawn::<(), _>(pending());
    let mut task = Task::new(n.run::<(), _>(async {
        h.token().cancel_with(Reason::error(Disk("broken", Full)));
        pending().await
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(failure.to_string(), "cancelled: broken");
    assert_eq!(failure.source().unwrap().to_string(), "no space left");
    let error = join.now_or_never().unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("was cancelled before it began: broken"),
        "{error}"
    );
    assert_eq!(error.source().unwrap().to_string(), "no space left");
    assert_eq!(error.clone(), error);
}

#[test]
fn the_winner_of_first_success_is_the_reason_of_the_others() {
    let n = Nursery::<Disk>::new().policy(FirstSuccess).name("race");
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(
            h.child()
                .name("bad")
                .spawn(async { Err::<(), _>(Disk("x", Full)) }),
        );
        drop(h.spawn(async { Ok(()) }));
        pending::<Result<(), _>>().await
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(
        failure.to_string(),
        "race: cancelled: a sibling succeeded, and 1 error"
    );
    assert_eq!(
        failure.cancelled().unwrap().kind(),
        ReasonKind::SiblingSucceeded
    );
}

/// The failure of a scope is a child's error like any other.
#[test]
fn a_scope_that_failed_is_told_inside_the_outer_failure() {
    let at = Places::here();
    let n = Nursery::<Failure<Disk>>::new()
        .policy(KeepGoing)
        .name("outer");
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.child().name("in").scope(|n: Nursery<'_, Disk>| {
            let n = n.name("inner").policy(KeepGoing);
            let h = n.handle();
            for part in ["a", "b"] {
                drop(
                    h.child()
                        .name(part)
                        .spawn(async move { Err::<(), _>(Disk(part, Full)) }),
                );
            }
            n.run(async { Ok(()) })
        }));
        drop(h.scope(|n: Nursery<'_, Disk>| n.run::<(), _>(async { Err(Disk("c", Full)) })));
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    let cause =
        "outer: child \"in\" (spawned at @6) failed: inner: child \"a\" (spawned at @11) failed: a";
    assert_eq!(
        at.short(&failure),
        format!("{cause}, and 1 more error, and 1 more error")
    );
    assert_eq!(
        at.short(format!("{failure:#}")),
        format!(
            "{cause}: no space left\n\
            \x20   child \"b\" (spawned at @11) failed: b: no space left\n\
            \x20 child #2 (spawned at @18) failed: the body (run at @18) failed: c: no space left"
        )
    );
    assert_eq!(chain(&failure), ["no space left"]);
}

/// Children of `map` and its kin were spawned where that was called.
#[test]
fn children_of_an_iterator_name_the_caller() {
    let at = Places::here();
    let n = Nursery::<Disk>::new().policy(KeepGoing);
    let h = n.handle();
    let fail = || async { Err::<(), _>(Disk("x", Full)) };
    let mut task = Task::new(n.run(async {
        drop(h.parallel([fail()]).await);
        drop(h.series([fail()]).await);
        drop(h.spawn_wait(fail()).await);
        drop(h.try_spawn(fail()));
        drop(h.try_spawn_graceful(|_| fail()));
        drop(h.spawn_wait_graceful(|_| fail()).await);
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    let told: Vec<_> = failure
        .errors()
        .map(|e| at.short(format!("{:#}", e.who)))
        .collect();
    let expected: Vec<_> = (1..7)
        .map(|i| format!("child #{i} (spawned at @{})", i + 4))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn a_panic_is_told_by_the_join() {
    let at = Places::here();
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let join = h
        .child()
        .name("bad")
        .spawn::<(), _>(async { panic!("boom") });
    let mut task = Task::new(n.run::<(), _>(pending()));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.finish()));
    assert!(panic.is_err());
    let error = join.now_or_never().unwrap().unwrap_err();
    assert_eq!(at.short(error), "child \"bad\" (spawned at @4) panicked");
}

#[test]
fn a_site_is_a_line_of_the_program() {
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let (join, line) = (h.spawn(async { Err::<(), _>(Disk("x", Full)) }), line!());
    assert!(Task::new(n.run(async { Ok(()) })).finish().is_err());
    let error = join.now_or_never().unwrap().unwrap_err();
    let site = error.who().site();
    assert_eq!((site.file(), site.line()), (file!(), line));
}

#[test]
fn names_and_numbers() {
    let name = Name::from("x");
    assert_eq!(format!("{name} {name:?}"), "x \"x\"");
    let n = Nursery::<Disk>::new();
    let h = n.handle();
    let joins = [0; 2].map(|_| h.spawn(async { Err::<(), _>(Disk("x", Full)) }));
    let mut task = Task::new(n.policy(KeepGoing).run(async { Ok(()) }));
    assert!(task.finish().is_err());
    let ids = joins.map(|join| {
        join.now_or_never()
            .unwrap()
            .unwrap_err()
            .who()
            .id()
            .unwrap()
    });
    assert!(ids[0] < ids[1] && ids[0] == ids[0]);
    assert_eq!(format!("{} {:?}", ids[0], ids[1]), "#1 Id(2)");
}

/// Size is what most children pay for all this.
#[test]
fn errors_are_small() {
    assert_eq!(size_of::<JoinError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<u32, JoinError>>(), 2 * size_of::<usize>());
}
