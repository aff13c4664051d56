//! N11: children that an executor polls. On an executor of which the test says what is polled when.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use umbel_core::{
    BoxTask, Boxed, CancellationToken, Cause, Clock, ExecutorNursery, Failure, FirstSuccess, Join,
    JoinErrorKind, KeepGoing, LocalExecutorNursery, LocalNursery, ManualClock, Nursery, Reason,
    ReasonKind, Spawn, SpawnError, Started, Stats, TrySpawnError,
};
use umbel_tests::exec::{Gate, Log, Steps, Task, Wakes, yields};

type N<'env> = Nursery<'env, u32>;

const SECOND: Duration = Duration::from_secs(1);

fn kind<T>(join: Join<T>) -> JoinErrorKind {
    let ended = join.now_or_never().expect("it has not ended");
    ended.err().expect("it has a value").kind()
}

fn value<T>(join: Join<T>) -> T {
    join.now_or_never()
        .expect("it has not ended")
        .expect("it has no value")
}

/// A child that never ends by itself, and tells when it is dropped.
fn parks(log: &Log, name: &str) -> impl Future<Output = Result<u32, u32>> + Send + 'static + use<> {
    let note = log.on_drop(name);
    async move {
        let _note = note;
        pending().await
    }
}

async fn gives(turns: usize, value: u32) -> Result<u32, u32> {
    yields(turns).await;
    Ok(value)
}

async fn fails(turns: usize, error: u32) -> Result<u32, u32> {
    yields(turns).await;
    Err(error)
}

// ------------------------------------------------------------------ running

#[test]
fn children_are_polled_by_the_executor_alone() {
    let steps = Steps::new();
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let joins = [1, 2, 3].map(|i| h.spawn(gives(i as usize, i)));
        let mut sum = 0;
        for join in joins {
            sum += join.await.map_err(|_| 0u32)?;
        }
        Ok(sum)
    }));
    task.stall();
    assert_eq!((steps.accepted(), steps.alive()), (3, 3));
    assert_eq!(h.stats().active, 3);
    // Only the task's own polls bring it on.
    assert!(!steps.poll(0) && steps.poll(0));
    task.stall();
    assert_eq!((h.stats().active, h.stats().done), (2, 1));
    assert_eq!(task.finish_with(&steps).unwrap(), 6);
    assert_eq!(h.report().unwrap().stats.done, 3);
}

#[test]
fn n1_it_ends_when_the_last_task_has() {
    let (steps, gate) = (Steps::new(), Gate::new());
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let pass = gate.pass();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(async move {
            pass.await;
            Ok(())
        }));
        Ok(7)
    }));
    assert!(task.run_with(&steps).is_pending());
    gate.open();
    assert!(steps.run());
    assert_eq!(task.finish().unwrap(), 7);
}

#[test]
fn a_child_begins_at_once_if_nothing_can_keep_it_from_it() {
    let (steps, clock) = (Steps::new(), ManualClock::new());
    let n = N::new().limit(2).timer(clock.clone()).on(steps.clone());
    let h = n.handle();
    drop(h.spawn(gives(0, 1)));
    assert_eq!(steps.accepted(), 0, "the nursery does not run yet");
    let mut seen = vec![];
    let mut task = Task::new(n.run(async {
        drop(h.spawn(gives(0, 2)));
        seen.push(steps.accepted());
        drop(h.spawn(gives(0, 3)));
        seen.push(steps.accepted());
        drop(h.child().service().spawn(gives(0, 5)));
        seen.push(steps.accepted());
        Ok(())
    }));
    task.finish_with(&steps).unwrap();
    drop(task);
    assert_eq!(seen, [1, 1, 1], "the second place was the first child's");
    assert_eq!(steps.accepted(), 4);
    assert_eq!(h.stats().done, 4);
}

#[test]
fn over_the_limit_tasks_queue_in_the_nursery() {
    let steps = Steps::new();
    let n = N::new().limit(2).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop([1, 2, 3, 4].map(|i| h.spawn(gives(0, i))));
        h.spawn_wait(gives(0, 5))
            .await
            .map_err(|_| 0u32)?
            .await
            .map_err(|_| 0u32)
    }));
    task.stall();
    assert_eq!((steps.accepted(), h.stats().queued), (2, 3));
    assert!(steps.poll(1));
    task.stall();
    assert_eq!((steps.accepted(), h.stats().queued), (3, 2));
    assert_eq!(task.finish_with(&steps).unwrap(), 5);
}

#[test]
fn fan_out_services_starts_and_order_work() {
    let steps = Steps::new();
    let n = N::new().limit(3).on(steps.clone());
    let h = n.handle();
    let log = Log::new();
    let mut task = Task::new(n.run(async {
        drop(
            h.child()
                .name("service")
                .service()
                .spawn(parks(&log, "service")),
        );
        let all = h.parallel((1..=9).map(|i| gives(i % 3, i as u32))).await;
        assert_eq!(all.unwrap(), (1..=9).collect::<Vec<_>>());
        let one_by_one = h.series((1..=3).map(|i| gives(1, i))).await;
        assert_eq!(one_by_one.unwrap(), [1, 2, 3]);
        let (port, server) = h
            .start(|started| async move {
                let _ = started.send(80);
                gives(2, 1).await
            })
            .await
            .unwrap();
        assert_eq!(port, 80);
        let forgot = h.child().name("forgot");
        let forgot = forgot.start(|_: Started<()>| gives(1, 2)).await;
        assert_eq!(forgot.unwrap_err().who().name(), Some("forgot"));
        let next = h.child().after(&[server.id()]).spawn(gives(0, 2));
        let wrong = h
            .child()
            .after(&[next.id()])
            .try_spawn(gives(0, 3))
            .unwrap();
        Ok((server.await, next.await, wrong.await))
    }));
    assert_eq!(task.finish_with(&steps).unwrap(), (Ok(1), Ok(2), Ok(3)));
    assert_eq!(log.take(), "service");
    let stats = h.report().unwrap().stats;
    assert_eq!((stats.done, stats.cancelled), (9 + 3 + 4, 1));
}

#[test]
fn children_here_and_there_live_side_by_side() {
    let steps = Steps::new();
    let word = String::from("borrowed");
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let here = h.here().spawn(async { Ok(word.len() as u32) });
        let there = h.spawn(gives(1, 2));
        Ok(here.await.unwrap() + there.await.unwrap())
    }));
    assert_eq!(task.finish_with(&steps).unwrap(), 10);
    assert_eq!(steps.accepted(), 1);
}

// ------------------------------------------------------------------ stopping

#[test]
fn n1_a_plain_child_has_ended_when_its_executor_has_dropped_it() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut joins = vec![];
    let mut task = Task::new(n.run::<(), _>(async {
        joins.extend(["a", "b"].map(|name| h.spawn(parks(&log, name))));
        pending().await
    }));
    task.stall();
    steps.run();
    h.cancel_with(Reason::shutdown());
    task.stall();
    assert_eq!(log.take(), "");
    assert!(steps.is_woken(0) && steps.is_woken(1));
    assert!(steps.poll(1));
    assert_eq!(log.take(), "b");
    task.stall();
    assert_eq!((h.stats().cancelled, h.stats().active), (1, 1));
    assert!(steps.poll(0));
    assert_eq!(log.take(), "a");
    let failure = task.finish().unwrap_err();
    drop(task);
    assert_eq!(failure.cancelled(), Some(&Reason::shutdown()));
    assert_eq!(
        (failure.report.stats.started, failure.report.stats.cancelled),
        (2, 2)
    );
    for join in joins {
        let error = join.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Cancelled);
        assert_eq!(error.reason(), Some(&Reason::shutdown()));
    }
}

#[test]
fn a_child_that_ended_before_it_was_told_has_its_output() {
    let steps = Steps::new();
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut join = None;
    let mut task = Task::new(n.run(async {
        join = Some(h.spawn(gives(0, 7)));
        Ok(1)
    }));
    task.stall();
    assert!(steps.poll(0));
    h.cancel();
    // Everything came to its good end.
    assert_eq!(task.finish().unwrap(), 1);
    drop(task);
    assert_eq!(value(join.unwrap()), 7);
}

#[test]
fn a_child_that_began_in_a_turn_that_cancels_is_never_polled() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut join = None;
    let mut task = Task::new(n.run::<(), _>(async {
        let (note, polled) = (log.on_drop("dropped"), log.clone());
        join = Some(h.spawn(async move {
            let _note = note;
            polled.add("polled");
            Ok(())
        }));
        h.cancel();
        pending().await
    }));
    task.stall();
    assert_eq!((steps.accepted(), log.take().as_str()), (1, ""));
    assert!(steps.poll(0));
    assert_eq!(log.take(), "dropped");
    assert!(task.finish().unwrap_err().cancelled().is_some());
    drop(task);
    assert_eq!(kind(join.unwrap()), JoinErrorKind::Cancelled);
    let stats = h.report().unwrap().stats;
    assert_eq!((stats.cancelled, stats.active), (1, 0));
}

#[test]
fn a_graceful_child_that_began_in_that_turn_is_told_all_the_same() {
    for forced in [false, true] {
        let (steps, log) = (Steps::new(), Log::new());
        let n = N::new().on(steps.clone());
        let h = n.handle();
        let mut task = Task::new(n.run::<(), _>(async {
            let note = log.clone();
            drop(h.spawn_graceful(|cx| async move {
                note.add("begun");
                cx.token().cancelled().await;
                note.add("told");
                gives(1, 1).await
            }));
            steps.poll(0);
            h.cancel();
            if forced {
                h.force();
            }
            pending().await
        }));
        assert!(task.finish_with(&steps).unwrap_err().cancelled().is_some());
        let stats = h.report().unwrap().stats;
        let (entries, expected) = match forced {
            false => ("begun told", (1, 0)),
            true => ("begun", (0, 1)),
        };
        assert_eq!(
            (log.take().as_str(), stats.done, stats.forced),
            (entries, expected.0, expected.1)
        );
    }
}

#[test]
fn a_deadline_in_the_past_lets_no_child_begin() {
    let (steps, clock) = (Steps::new(), ManualClock::new());
    let past = clock.now();
    clock.advance(SECOND);
    let n = N::new()
        .timer(clock.clone())
        .deadline(past)
        .on(steps.clone());
    let h = n.handle();
    let join = h.spawn(gives(0, 1));
    let failure = Task::new(n.run::<(), _>(pending())).finish().unwrap_err();
    assert_eq!(
        failure.cancelled().unwrap().kind(),
        ReasonKind::DeadlineExceeded
    );
    assert_eq!(kind(join), JoinErrorKind::Cancelled);

    let n = N::new().timer(clock.clone()).on(steps.clone());
    let h = n.handle();
    let mut task =
        Task::new(n.run(async { Ok(h.child().deadline(past).spawn(gives(0, 1)).await) }));
    let late = task.finish().unwrap().unwrap_err();
    assert_eq!(late.reason().unwrap().kind(), ReasonKind::DeadlineExceeded);
    assert_eq!(steps.accepted(), 0);
}

#[test]
fn one_child_alone_is_stopped_by_handle_name_key_or_deadline() {
    let (steps, log, clock) = (Steps::new(), Log::new(), ManualClock::new());
    let n = N::new().timer(clock.clone()).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let mut child = h.child();
        let stop = child.cancel_handle();
        let joins = [
            child.spawn(parks(&log, "handle")),
            h.child().name("x").spawn(parks(&log, "name")),
            h.child().key(7u64).spawn(parks(&log, "key")),
            h.child().timeout(SECOND).spawn(parks(&log, "time")),
        ];
        let other = h.spawn(gives(9, 9));
        yields(1).await;
        stop.cancel_with(Reason::custom(1));
        h.cancel_named("x", Reason::custom(2));
        h.cancel_keyed(7u64, Reason::custom(3));
        let mut why = vec![];
        for join in joins {
            let error = join.await.unwrap_err();
            assert_eq!(error.kind(), JoinErrorKind::Cancelled);
            why.push(error.reason().cloned().unwrap());
        }
        Ok((why, other.await.unwrap()))
    }));
    assert!(task.run_with(&steps).is_pending());
    assert_eq!(log.take_sorted(), "handle key name");
    clock.advance(SECOND);
    assert!(task.run().is_pending());
    assert_eq!(log.take(), "", "the executor has not polled it");
    let (why, other) = task.finish_with(&steps).unwrap();
    assert_eq!((log.take().as_str(), other), ("time", 9));
    let own = [1, 2, 3].map(Reason::custom);
    assert_eq!(
        (&why[..3], why[3].kind()),
        (&own[..], ReasonKind::DeadlineExceeded)
    );
    assert_eq!(h.stats().cancelled, 4);
}

#[test]
fn a_graceful_child_is_told_and_ends_by_itself() {
    let (steps, clock) = (Steps::new(), ManualClock::new());
    let n = N::new()
        .timer(clock.clone())
        .grace(SECOND)
        .on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run::<(), _>(async {
        drop(h.spawn_graceful(|cx| async move {
            assert_eq!(cx.grace(), Some(SECOND));
            cx.token().cancelled().await;
            gives(3, 1).await
        }));
        pending().await
    }));
    assert!(task.run_with(&steps).is_pending());
    h.cancel();
    let failure = task.finish_with(&steps).unwrap_err();
    let report = failure.report;
    assert_eq!(
        (
            report.stats.done,
            report.forced().count(),
            report.drained.len()
        ),
        (1, 0, 1)
    );
}

#[test]
fn when_the_grace_is_over_or_it_is_forced_the_executor_drops_the_child() {
    for forced in [false, true] {
        let (steps, log, clock) = (Steps::new(), Log::new(), ManualClock::new());
        let n = N::new()
            .timer(clock.clone())
            .grace(SECOND)
            .on(steps.clone());
        let h = n.handle();
        let mut join = None;
        let mut task = Task::new(n.run::<(), _>(async {
            join = Some(
                h.child()
                    .name("deaf")
                    .spawn_graceful(|_| parks(&log, "dropped")),
            );
            pending().await
        }));
        assert!(task.run_with(&steps).is_pending());
        h.cancel();
        assert!(task.run_with(&steps).is_pending());
        if forced {
            h.force();
        } else {
            clock.advance(SECOND);
        }
        task.stall();
        assert_eq!((log.take().as_str(), h.stats().forced), ("", 0));
        let failure = task.finish_with(&steps).unwrap_err();
        drop(task);
        assert_eq!(log.take(), "dropped");
        assert_eq!(kind(join.unwrap()), JoinErrorKind::Forced);
        let deaf = failure.report.forced().next().unwrap();
        assert_eq!(deaf.name.as_deref(), Some("deaf"));
        assert_eq!(failure.report.stats.forced, 1);
    }
}

#[test]
fn n9_a_nursery_that_is_dropped_asks_its_tasks_to_stop() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().limit(2).on(steps.clone());
    let h = n.handle();
    let mut joins = vec![];
    let mut task = Task::new(n.run::<(), _>(async {
        joins.extend(["a", "b", "queued"].map(|name| h.spawn(parks(&log, name))));
        pending().await
    }));
    assert!(task.run_with(&steps).is_pending());
    drop(task);
    assert_eq!(log.take(), "queued");
    assert_eq!(steps.alive(), 2);
    assert!(steps.run());
    assert_eq!((steps.alive(), log.take_sorted().as_str()), (0, "a b"));
    for join in joins {
        assert_eq!(kind(join), JoinErrorKind::Closed);
    }
}

#[test]
fn children_may_hold_handles_and_spawn() {
    let steps = Steps::new();
    let n = N::new().limit(1).on(steps.clone());
    let h = n.handle();
    let sum = Arc::new(AtomicUsize::new(0));
    let (inner, total) = (h.clone(), sum.clone());
    let mut task = Task::new(n.run(async {
        drop(h.spawn(async move {
            for _ in 0..3 {
                let total = total.clone();
                drop(inner.spawn(async move {
                    total.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }));
            }
            Ok(())
        }));
        Ok(())
    }));
    task.finish_with(&steps).unwrap();
    assert_eq!((sum.load(Ordering::Relaxed), h.stats().done), (3, 4));
}

// ------------------------------------------------------------------ policies

#[test]
fn an_error_stops_the_others_and_is_the_cause() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(parks(&log, "sibling")));
        drop(h.spawn(fails(1, 5)));
        Ok(())
    }));
    task.stall();
    steps.poll(0);
    assert!(!steps.poll(1) && steps.poll(1));
    task.stall();
    assert_eq!(log.take(), "");
    let failure = task.finish_with(&steps).unwrap_err();
    assert_eq!(log.take(), "sibling");
    assert!(matches!(failure.cause, Cause::Error(5)));
    assert_eq!(
        (failure.report.stats.failed, failure.report.stats.cancelled),
        (1, 1)
    );
}

#[test]
fn under_keep_going_they_live_on() {
    let steps = Steps::new();
    let n = N::new().policy(KeepGoing).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop([
            h.spawn(fails(0, 1)),
            h.spawn(gives(5, 2)),
            h.spawn(fails(2, 3)),
        ]);
        Ok(())
    }));
    let failure = task.finish_with(&steps).unwrap_err();
    let Cause::Error(cause) = failure.cause else {
        panic!("{:?}", failure.cause)
    };
    let mut errors = [&[cause], failure.rest.as_slice()].concat();
    // Both are told in one turn.
    errors.sort_unstable();
    assert_eq!(
        (errors.as_slice(), failure.report.stats.done),
        (&[1, 3][..], 1)
    );
}

#[test]
fn the_first_success_stops_the_others() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().policy(FirstSuccess).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(fails(0, 1)));
        drop(h.spawn(parks(&log, "late")));
        Ok(h.spawn(gives(2, 7)))
    }));
    let won = task.finish_with(&steps).unwrap();
    assert_eq!((value(won), log.take().as_str()), (7, "late"));
    let stats = h.report().unwrap().stats;
    assert_eq!((stats.done, stats.failed, stats.cancelled), (1, 1, 1));
}

// ------------------------------------------------------------------ panics

fn panic_of<R>(act: impl FnOnce() -> R) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(act)).err()?;
    Some(panic.downcast_ref::<&str>()?.to_string())
}

#[test]
fn n8_a_panic_in_a_task_goes_on_in_who_awaits_the_nursery() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().policy(KeepGoing).on(steps.clone());
    let h = n.handle();
    let mut join = None;
    let mut task = Task::new(n.run(async {
        drop(h.spawn(parks(&log, "sibling")));
        let note = log.on_drop("own");
        join = Some(h.spawn::<(), _>(async move {
            let _note = note;
            panic!("in a task")
        }));
        Ok(())
    }));
    task.stall();
    steps.poll(0);
    assert!(steps.poll(1), "the executor sees no panic");
    assert_eq!(log.take(), "own");
    task.stall();
    assert!(steps.poll(0));
    assert_eq!(log.take(), "sibling");
    assert_eq!(panic_of(|| task.poll()).as_deref(), Some("in a task"));
    drop(task);
    assert_eq!(kind(join.unwrap()), JoinErrorKind::Panicked);
    let stats = h.stats();
    assert_eq!((stats.panicked, stats.cancelled), (1, 1));
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

#[test]
fn n8_so_does_one_in_a_drop() {
    for end in 0..3 {
        let steps = Steps::new();
        let n = N::new().on(steps.clone());
        let h = n.handle();
        let mut join = None;
        let mut task = Task::new(n.run(async {
            let bomb = PanicsOnDrop;
            join = Some(h.spawn(poll_fn(move |_| {
                let _bomb = &bomb;
                match end {
                    0 => Poll::Ready(Ok(7)),
                    _ => Poll::Pending,
                }
            })));
            Ok(())
        }));
        task.stall();
        let what = match end {
            0 => {
                assert!(steps.poll(0));
                Some(7)
            }
            1 => {
                steps.poll(0);
                h.cancel();
                task.stall();
                assert!(steps.poll(0));
                None
            }
            _ => {
                steps.poll(0);
                steps.drop_task(0);
                None
            }
        };
        assert_eq!(panic_of(|| task.finish()).as_deref(), Some("in a drop"));
        drop(task);
        let joined = join.unwrap().now_or_never().unwrap();
        match (what, joined) {
            (Some(7), Ok(7)) => {}
            (None, Err(error)) if end == 1 => assert_eq!(error.kind(), JoinErrorKind::Cancelled),
            (None, Err(error)) => assert_eq!(error.kind(), JoinErrorKind::Lost),
            (_, other) => panic!("{other:?}"),
        }
    }
}

// ------------------------------------------------------------------ lost

#[test]
fn a_task_that_the_executor_drops_is_lost_and_cancels_the_others() {
    for keep_going in [false, true] {
        let (steps, log) = (Steps::new(), Log::new());
        let n = match keep_going {
            true => N::new().policy(KeepGoing),
            false => N::new(),
        };
        let n = n.on(steps.clone());
        let h = n.handle();
        let mut join = None;
        let mut task = Task::new(n.run(async {
            drop(h.spawn(parks(&log, "sibling")));
            join = Some(h.child().name("gone").spawn(parks(&log, "gone")));
            Ok(())
        }));
        assert!(task.run_with(&steps).is_pending());
        steps.drop_task(1);
        assert_eq!(log.take(), "gone");
        task.stall();
        let failure = task.finish_with(&steps).unwrap_err();
        drop(task);
        assert_eq!(log.take(), "sibling");
        let error = join.unwrap().now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.reason()), (JoinErrorKind::Lost, None));
        assert_eq!(failure.lost(), Some(&error));
        assert!(matches!(failure.cause, Cause::Lost(_)) && failure.cancelled().is_none());
        assert_eq!(failure.errors().count(), 0);
        let text = format!(
            "child \"gone\" (spawned at {}) was lost: its executor dropped it before its end",
            error.who().site()
        );
        assert_eq!(
            (failure.to_string(), format!("{failure:#}")),
            (text.clone(), text)
        );
        let stats = failure.report.stats;
        assert_eq!(
            (stats.started, stats.lost, stats.cancelled, stats.active),
            (2, 1, 1, 0)
        );
    }
}

#[test]
fn an_executor_that_goes_leaves_nobody_waiting() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = N::new().limit(3).on(steps.clone());
    let h = n.handle();
    let mut joins = vec![];
    let mut task = Task::new(n.run::<(), _>(async {
        joins.extend((0..5).map(|_| h.spawn(parks(&log, "x"))));
        pending().await
    }));
    assert!(task.run_with(&steps).is_pending());
    steps.shut_down();
    let failure = task.finish().unwrap_err();
    drop(task);
    assert!(failure.lost().is_some());
    // Some were still to begin: the first that was lost cancels them.
    let stats = failure.report.stats;
    assert_eq!((stats.lost, stats.cancelled), (3, 2));
    let kinds: Vec<_> = joins.into_iter().map(kind).collect();
    assert_eq!(kinds[..3], [JoinErrorKind::Lost; 3]);
    assert_eq!(kinds[3..], [JoinErrorKind::Cancelled; 2]);
}

#[test]
fn what_came_before_a_loss_is_the_cause() {
    // An error.
    let steps = Steps::new();
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| parks(&Log::new(), "")));
        drop(h.spawn(fails(0, 5)));
        Ok(())
    }));
    assert!(task.run_with(&steps).is_pending());
    steps.shut_down();
    let failure = task.finish().unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(5)));
    assert_eq!(failure.report.stats.lost, 1);
    // A cancellation that cut the body.
    let steps = Steps::new();
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run::<(), _>(async {
        drop(h.spawn_graceful(|_| parks(&Log::new(), "")));
        pending().await
    }));
    assert!(task.run_with(&steps).is_pending());
    h.cancel();
    task.stall();
    steps.shut_down();
    assert!(task.finish().unwrap_err().cancelled().is_some());
    // A cancellation that cut nothing else: not success.
    let steps = Steps::new();
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| parks(&Log::new(), "")));
        Ok(())
    }));
    assert!(task.run_with(&steps).is_pending());
    h.cancel();
    task.stall();
    steps.shut_down();
    assert!(task.finish().unwrap_err().lost().is_some());
}

#[test]
fn a_loss_after_the_first_success_is_forgiven() {
    let steps = Steps::new();
    let n = N::new().policy(FirstSuccess).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| parks(&Log::new(), "")));
        Ok(h.spawn(gives(0, 7)))
    }));
    assert!(task.run_with(&steps).is_pending());
    steps.shut_down();
    assert_eq!(value(task.finish().unwrap()), 7);
    assert_eq!(h.report().unwrap().stats.lost, 1);
}

#[test]
fn errors_after_a_loss_are_the_rest() {
    let steps = Steps::new();
    let n = N::new().policy(KeepGoing).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(parks(&Log::new(), "")));
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            fails(0, 5).await
        }));
        Ok(())
    }));
    assert!(task.run_with(&steps).is_pending());
    steps.drop_task(0);
    let failure = task.finish_with(&steps).unwrap_err();
    assert!(failure.lost().is_some());
    let errors: Vec<_> = failure.errors().map(|error| *error.error).collect();
    assert_eq!(
        (failure.rest.as_slice(), errors.as_slice()),
        (&[5][..], &[5][..])
    );
    assert!(failure.to_string().ends_with("before its end, and 1 error"));
}

#[test]
fn a_task_that_is_dropped_after_it_was_told_to_stop_is_cancelled() {
    let steps = Steps::new();
    let n = N::new().on(steps.clone());
    let h = n.handle();
    let mut join = None;
    let mut task = Task::new(n.run::<(), _>(async {
        join = Some(h.spawn(parks(&Log::new(), "")));
        pending().await
    }));
    assert!(task.run_with(&steps).is_pending());
    h.cancel();
    task.stall();
    steps.shut_down();
    let failure = task.finish().unwrap_err();
    drop(task);
    assert_eq!(
        (failure.report.stats.cancelled, failure.report.stats.lost),
        (1, 0)
    );
    assert_eq!(kind(join.unwrap()), JoinErrorKind::Cancelled);
}

#[test]
fn a_child_that_the_executor_refuses_is_lost() {
    for limit in [1, 2] {
        let (steps, log) = (Steps::new(), Log::new());
        let n = N::new().limit(limit).on(steps.clone());
        let h = n.handle();
        let mut joins = vec![];
        let mut task = Task::new(n.run(async {
            joins.push(h.spawn(gives(1, 1)));
            steps.refuse(true);
            joins.push(h.spawn(parks(&log, "refused")));
            if limit == 2 {
                assert_eq!(log.take(), "refused");
            }
            Ok(())
        }));
        let failure = task.finish_with(&steps).unwrap_err();
        drop(task);
        assert_eq!(kind(joins.pop().unwrap()), JoinErrorKind::Lost);
        assert_eq!(failure.lost().unwrap().kind(), JoinErrorKind::Lost);
        assert_eq!(failure.report.stats.lost, 1);
    }
}

/// An executor that runs a task, and lets its nursery have two turns, before it says that it has accepted it.
#[derive(Clone, Default)]
struct Hasty(Rc<RefCell<Option<Turn>>>);

type Turn = Box<dyn FnMut()>;

impl<F: Future<Output = ()>> Spawn<F> for Hasty {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        let turn = || (self.0.borrow_mut().as_mut().expect("set before"))();
        turn();
        assert!(Task::new(future).poll().is_ready());
        turn();
        Ok(())
    }
}

#[test]
fn a_task_that_ended_before_it_was_accepted_wakes_nobody_again() {
    let hasty = Hasty::default();
    let n = LocalNursery::<u32>::new().on(hasty.clone());
    let h = n.handle();
    let (wakes, waker) = Wakes::new();
    let mut run = Box::pin(n.run(pending::<Result<(), _>>()));
    let mut turn = move || {
        let cx = &mut Context::from_waker(&waker);
        assert!(run.as_mut().poll(cx).is_pending());
    };
    turn();
    *hasty.0.borrow_mut() = Some(Box::new(turn));
    let join = h.try_spawn(gives(0, 7)).unwrap();
    // That it came, and that it ended.
    assert_eq!((value(join), wakes.count()), (7, 2));
    hasty.0.take();
}

#[test]
fn what_try_spawn_offers_in_vain_comes_back_without_a_trace() {
    let steps = Steps::new();
    let n = N::new().limit(1).on(steps.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        steps.refuse(true);
        for graceful in [false, true, true] {
            let log = Log::new();
            let tried = match graceful {
                false => h
                    .try_spawn(parks(&log, ""))
                    .map_err(TrySpawnError::into_inner)
                    .map_err(drop),
                true => h
                    .child()
                    .name("x")
                    .try_spawn_graceful(|_| parks(&log, ""))
                    .map_err(|error| {
                        assert!(matches!(error, TrySpawnError::Refused(_)), "{error:?}");
                        assert_eq!(log.take(), "", "it is unharmed");
                    }),
            };
            assert!(tried.is_err());
        }
        yields(2).await;
        let refused = h.try_spawn(gives(0, 1)).unwrap_err();
        assert!(!refused.is_full());
        assert_eq!(h.stats(), Stats::default());
        // There is as much room as there was.
        yields(2).await;
        steps.refuse(false);
        let first = h.try_spawn(gives(0, 2)).unwrap();
        assert!(h.try_spawn(gives(0, 3)).unwrap_err().is_full());
        Ok(first.await.unwrap() + refused.into_inner().await?)
    }));
    assert_eq!(task.finish_with(&steps).unwrap(), 3);
    let report = h.report().unwrap();
    let expected = (1, 1, 1);
    let stats = report.stats;
    assert_eq!((stats.started, stats.done, steps.accepted()), expected);
    assert!(report.drained.is_empty());
}

#[test]
fn try_spawn_asks_the_executor_at_once_and_knows_the_limit() {
    let steps = Steps::new();
    let n = N::new().limit(1).on(steps.clone());
    let h = n.handle();
    let first = h.try_spawn(gives(0, 1)).unwrap();
    assert_eq!(steps.accepted(), 1);
    assert!(h.try_spawn(gives(0, 2)).unwrap_err().is_full());
    steps.run();
    let mut task = Task::new(n.run(async { Ok(first.await.unwrap()) }));
    assert_eq!(task.finish().unwrap(), 1);
    assert_eq!(h.report().unwrap().stats.done, 1);
    let closed = h.try_spawn(gives(0, 3)).unwrap_err();
    assert!(matches!(closed, TrySpawnError::Closed(_)));
    assert_eq!(steps.accepted(), 1);
}

/// Runs `act` with the future in hand before it refuses it.
struct Meanwhile<A>(A);

impl<F, A: Fn()> Spawn<F> for Meanwhile<A> {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        (self.0)();
        Err(SpawnError::new(future))
    }
}

type Erased = Task<Pin<Box<dyn Future<Output = Result<u32, String>>>>>;

#[test]
fn a_nursery_waits_for_what_is_being_offered() {
    let slot = Rc::new(RefCell::new(None::<Erased>));
    let n = LocalNursery::<u32>::new().on(Meanwhile({
        let slot = slot.clone();
        // There is no child yet: nothing is counted, and the nursery does not end.
        move || slot.borrow_mut().as_mut().unwrap().stall()
    }));
    let h = n.handle();
    let run = n.run(async { Ok(3) });
    let run: Pin<Box<dyn Future<Output = _>>> =
        Box::pin(async move { run.await.map_err(|failure| failure.to_string()) });
    *slot.borrow_mut() = Some(Task::new(run));
    let refused = h.try_spawn(gives(0, 1)).unwrap_err();
    assert!(matches!(refused, TrySpawnError::Refused(_)));
    assert_eq!(h.stats(), Stats::default());
    let mut task = slot.take().unwrap();
    assert!(task.is_woken());
    assert_eq!((task.finish(), task.polls()), (Ok(3), 2));
    drop(task);
    assert_eq!(h.stats(), Stats::default());
}

/// Accepts a future when it has run `act`.
struct First<A>(Here, A);

impl<F: Future<Output = ()> + 'static, A: Fn()> Spawn<F> for First<A> {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        (self.1)();
        self.0.spawn(future)
    }
}

#[test]
fn and_is_told_when_it_was_accepted() {
    let slot = Rc::new(RefCell::new(None::<Erased>));
    let executor = Here::default();
    let n = LocalNursery::<u32>::new().on(First(executor.clone(), {
        let slot = slot.clone();
        move || slot.borrow_mut().as_mut().unwrap().stall()
    }));
    let h = n.handle();
    let run = n.run(async { Ok(3) });
    let run: Pin<Box<dyn Future<Output = _>>> =
        Box::pin(async move { run.await.map_err(|failure| failure.to_string()) });
    *slot.borrow_mut() = Some(Task::new(run));
    let join = h.try_spawn(gives(0, 1)).unwrap();
    let mut task = slot.take().unwrap();
    assert!(task.is_woken());
    assert_eq!(h.stats().started, 0);
    task.stall();
    assert_eq!(h.stats().started, 1);
    executor.poll_all();
    assert_eq!((task.finish(), value(join)), (Ok(3), 1));
}

// ------------------------------------------------------------------ nesting

#[derive(Debug, PartialEq)]
struct Inner(bool);

impl From<Failure<u32>> for Inner {
    fn from(failure: Failure<u32>) -> Self {
        Inner(failure.cancelled().is_some())
    }
}

#[test]
fn nested_nurseries_end_inside_out() {
    let (steps, log) = (Steps::new(), Log::new());
    let n = Nursery::<Inner>::new().on(steps.clone());
    let h = n.handle();
    let (inner_steps, inner_log) = (steps.clone(), log.clone());
    let mut task = Task::new(n.run::<(), _>(async {
        // A nursery that is polled here, whose children are there.
        drop(h.here().scope(|n: N<'_>| {
            let n = n.on(steps.clone());
            let h = n.handle();
            let child = parks(&log, "scope's");
            n.run(async move {
                drop(h.spawn(child));
                Ok(())
            })
        }));
        // A nursery that is a task itself.
        drop(h.spawn_graceful(move |cx| async move {
            let n = N::new().token(cx.token()).on(inner_steps);
            let h = n.handle();
            let run = n.run(async {
                drop(h.spawn(parks(&inner_log, "task's")));
                Ok(())
            });
            run.await.map_err(Inner::from)
        }));
        pending().await
    }));
    assert!(task.run_with(&steps).is_pending());
    assert_eq!(steps.alive(), 3);
    h.cancel();
    let failure = task.finish_with(&steps).unwrap_err();
    assert_eq!(
        (log.take_sorted().as_str(), steps.alive()),
        ("scope's task's", 0)
    );
    assert!(failure.cancelled().is_some());
    assert_eq!(failure.rest, [Inner(true)]);
}

// ------------------------------------------------------------------ executors

#[test]
fn an_executor_whose_type_is_not_known_boxes_its_tasks() {
    let steps = Steps::new();
    let executor: &dyn Spawn<BoxTask> = &steps;
    fn all<'env, E: Send + 'env>(
        n: Nursery<'env, E>,
        s: &'env (dyn Spawn<BoxTask> + Sync),
    ) -> ExecutorNursery<'env, E, Boxed<&'env (dyn Spawn<BoxTask> + Sync)>> {
        n.on(Boxed(s))
    }
    let n = all(N::new(), &steps);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let value = h.spawn(gives(1, 4)).await.unwrap();
        steps.refuse(true);
        let back = h.try_spawn(gives(0, 5)).unwrap_err();
        Ok(value + back.into_inner().await?)
    }));
    assert_eq!(task.finish_with(&steps).unwrap(), 9);
    drop(task);
    // One that was not refused is one like others.
    let back = Boxed(executor).spawn(yields(0)).unwrap_err().into_inner();
    assert!(Task::new(back).run().is_ready());
}

/// An executor of this thread.
#[derive(Clone, Default)]
struct Here(Rc<RefCell<Vec<LocalTask>>>);

type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

impl<F: Future<Output = ()> + 'static> Spawn<F> for Here {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        self.0.borrow_mut().push(Box::pin(future));
        Ok(())
    }
}

impl Here {
    fn poll_all(&self) {
        let tasks = std::mem::take(&mut *self.0.borrow_mut());
        for task in tasks {
            let mut task = Task::new(task);
            if task.poll().is_pending() {
                panic!("these end at once");
            }
        }
    }
}

#[test]
fn on_an_executor_of_this_thread_children_need_not_be_send() {
    let (executor, count) = (Here::default(), Rc::new(Cell::new(0)));
    let n = LocalExecutorNursery::<Rc<str>, _>::new(executor.clone());
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let joins = [1, 2].map(|i| {
            let count = count.clone();
            h.spawn(async move {
                count.set(count.get() + i);
                Ok(count)
            })
        });
        for join in joins {
            let _ = join.await.map_err(|error| Rc::from(error.to_string()))?;
        }
        Ok(())
    }));
    task.stall();
    executor.poll_all();
    task.finish().unwrap();
    assert_eq!(count.get(), 3);
}

/// What a task ended with is dropped by the second of nursery and task, not with the join: that may be in
/// another thread, where the error may not be dropped.
#[test]
fn n9_an_end_that_nobody_takes_does_not_wait_for_the_join() {
    for ends_first in [true, false] {
        let (executor, error) = (Here::default(), Rc::new(()));
        let n = LocalExecutorNursery::<Rc<()>, _>::new(executor.clone());
        let h = n.handle();
        let scope = Rc::new(RefCell::new(None::<Box<dyn Any>>));
        let join = Rc::new(Cell::new(None));
        let (within, spawned, ends_with) = (scope.clone(), join.clone(), error.clone());
        let mut task = Task::new(n.run::<(), _>(async move {
            spawned.set(Some(h.spawn(async move {
                if !ends_first {
                    drop(within.take());
                }
                Err::<(), _>(ends_with)
            })));
            pending().await
        }));
        task.stall();
        *scope.borrow_mut() = Some(Box::new(task));
        executor.poll_all();
        drop(scope.take());
        assert_eq!(Rc::strong_count(&error), 1, "ends first: {ends_first}");
        drop(join.take());
    }
}

#[test]
fn a_task_polled_after_its_end_is_ready() {
    let steps = Steps::new();
    let token = CancellationToken::new();
    let n = N::new().token(&token).on(Keeps(steps.clone()));
    let h = n.handle();
    let mut task = Task::new(n.run(async { Ok(h.spawn(gives(0, 1)).await.unwrap()) }));
    assert_eq!(task.finish_with(&steps).unwrap(), 1);
}

/// Polls each task once more than is needed.
struct Keeps(Steps);

impl<F: Future<Output = ()> + Send + 'static> Spawn<F> for Keeps {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        let again = async move {
            let mut future = pin!(future);
            future.as_mut().await;
            future.await;
        };
        self.0
            .spawn(again)
            .map_err(|_| unreachable!("it accepts all"))
    }
}

struct Throws;

impl<F> Spawn<F> for Throws {
    fn spawn(&self, _: F) -> Result<(), SpawnError<F>> {
        panic!("no executor");
    }
}

#[test]
fn an_executor_that_panics_has_lost_the_child() {
    let n = N::new().on(Throws);
    let h = n.handle();
    let join = h.spawn(gives(0, 1));
    let mut task = Task::new(n.run(async { Ok(()) }));
    // Given to it by the nursery: its panic is one of the child's.
    assert_eq!(panic_of(|| task.finish()).as_deref(), Some("no executor"));
    drop(task);
    assert_eq!(kind(join), JoinErrorKind::Panicked);

    let n = N::new().on(Throws);
    let h = n.handle();
    assert_eq!(
        panic_of(|| drop(h.try_spawn(gives(0, 1)))).as_deref(),
        Some("no executor")
    );
    let mut task = Task::new(n.run(async { Ok(()) }));
    assert!(task.finish().unwrap_err().lost().is_some());
}

// ------------------------------------------------------------------ services

/// A service has no place; its task may be at work before the nursery knows it.
#[test]
fn n1_a_service_that_is_cancelled_before_the_nursery_sees_it_is_waited_for() {
    for by_name in [false, true] {
        let (steps, log) = (Steps::new(), Log::new());
        let n = N::new().on(steps.clone());
        let h = n.handle();
        let mut task = Task::new(n.run(async { Ok(()) }));
        let mut child = h.child().name("s").service();
        let stop = child.cancel_handle();
        let join = child.try_spawn(parks(&log, "dropped")).unwrap();
        assert!(steps.run());
        match by_name {
            true => h.cancel_named("s", Reason::shutdown()),
            false => assert!(stop.cancel_with(Reason::shutdown())),
        }
        task.stall();
        assert_eq!(log.take(), "", "it is told, and not yet polled");
        assert!(steps.run());
        assert_eq!(log.take(), "dropped");
        task.finish().unwrap();
        let error = join.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Cancelled);
        assert_eq!(error.reason().unwrap().kind(), ReasonKind::Shutdown);
        let stats = h.stats();
        assert_eq!((stats.started, stats.cancelled, stats.active), (1, 1, 0));
    }
}
