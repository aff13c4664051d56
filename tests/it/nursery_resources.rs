//! N7: what is to be done when all children have ended.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Poll, Waker};
use std::time::Duration;
use umbel_core::{
    Cause, CleanupStats, Clock, Failure, FirstSuccess, Handle, JoinError, JoinErrorKind, KeepGoing,
    LocalNursery, ManualClock, Nursery, Reason, ReasonKind, Stats, TrySpawnError,
};
use umbel_tests::exec::{Gate, Log, Parked, Task, yields};
use umbel_tests::scaled;

/// Whose error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bad(u32);

impl From<JoinError> for Bad {
    fn from(_: JoinError) -> Self {
        Bad(0)
    }
}

impl From<Failure<Bad>> for Bad {
    fn from(_: Failure<Bad>) -> Self {
        Bad(0)
    }
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bad {}", self.0)
    }
}

type N<'env> = Nursery<'env, Bad>;
type H<'env> = Handle<'env, Bad>;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// All errors, that of the cause first.
fn errors(failure: &Failure<Bad>) -> Vec<u32> {
    failure.errors().map(|e| e.error.0).collect()
}

/// Says that it began, passes the gate, says that it ended. If it is dropped before, it says so.
fn step(
    log: &Log,
    gate: &Gate,
    name: &'static str,
) -> impl Future<Output = Result<(), Bad>> + use<> {
    let (log, gate) = (log.clone(), gate.clone());
    let dropped = log.on_drop(format!("{name}:dropped"));
    async move {
        log.add(format!("{name}:begun"));
        gate.pass().await;
        log.add(format!("{name}:done"));
        dropped.disarm();
        Ok(())
    }
}

/// Ends in its first poll.
fn at_once(log: &Log, name: &'static str) -> impl Future<Output = Result<(), Bad>> + use<> {
    let gate = Gate::new();
    gate.open();
    step(log, &gate, name)
}

// ------------------------------------------------------------------ order

#[test]
fn n7_cleanups_run_youngest_first_when_the_last_child_has_ended() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "before")).unwrap();
    let mut task = Task::new(n.run(async {
        h.defer(at_once(&log, "body")).unwrap();
        let (h_, log, gate) = (h.clone(), &log, &gate);
        drop(h.spawn(async move {
            h_.defer(at_once(log, "child")).unwrap();
            gate.pass().await;
            log.add("child");
            Ok(())
        }));
        log.add("body");
        Ok(6)
    }));
    task.stall();
    assert_eq!(log.take(), "body");
    gate.open();
    assert_eq!(task.finish().unwrap(), 6);
    assert_eq!(
        log.take(),
        "child child:begun child:done body:begun body:done before:begun before:done"
    );
    let report = h.report().unwrap();
    let CleanupStats {
        begun,
        done,
        failed,
        panicked,
        forced,
        ..
    } = report.cleanups;
    assert_eq!((begun, done, failed, panicked, forced), (3, 3, 0, 0, 0));
    // They are no children.
    assert_eq!((report.stats.started, report.stats.done), (1, 1));
}

#[test]
fn n7_each_cleanup_ends_before_the_next_begins_and_is_polled_only_when_woken() {
    let (log, gates) = (Log::new(), [Gate::new(), Gate::new()]);
    let polls = Arc::new(AtomicUsize::new(0));
    let n = N::new();
    let h = n.handle();
    h.defer(step(&log, &gates[0], "old")).unwrap();
    let mut young = Box::pin(step(&log, &gates[1], "young"));
    let count = Arc::clone(&polls);
    h.defer(poll_fn(move |cx| {
        count.fetch_add(1, SeqCst);
        young.as_mut().poll(cx)
    }))
    .unwrap();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    assert_eq!(log.take(), "young:begun");
    // It is no child's or token's business what this one waits for.
    h.cancel();
    task.stall();
    assert_eq!(polls.load(SeqCst), 1);
    gates[1].open();
    task.stall();
    assert_eq!(polls.load(SeqCst), 2);
    assert_eq!(log.take(), "young:done old:begun");
    gates[0].open();
    task.finish().unwrap();
    assert_eq!(log.take(), "old:done");
}

#[test]
fn n7_a_value_is_dropped_at_its_turn() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "first")).unwrap();
    h.child()
        .name("value")
        .release(log.on_drop("value"))
        .unwrap();
    h.defer(at_once(&log, "last")).unwrap();
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(
        log.take(),
        "last:begun last:done value first:begun first:done"
    );
    assert_eq!(h.report().unwrap().cleanups.done, 3);
}

#[test]
fn n7_a_resource_that_a_child_opens_is_the_scopes() {
    /// A pool of connections, of which nobody may use one when it is closed.
    struct Pool(AtomicUsize);
    impl Pool {
        fn use_it(&self) -> Result<(), Bad> {
            match self.0.load(SeqCst) {
                0 => Err(Bad(1)),
                _ => Ok(()),
            }
        }
    }
    async fn open(h: &H<'_>, log: &Log) -> Result<Arc<Pool>, Bad> {
        let pool = Arc::new(Pool(AtomicUsize::new(1)));
        let (closed, log) = (Arc::clone(&pool), log.clone());
        let close = async move {
            yields(2).await;
            closed.0.store(0, SeqCst);
            log.add("closed");
            Ok(())
        };
        h.child().name("pool").defer(close).unwrap();
        Ok(pool)
    }
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        // The child that opens it ends; it stays open for whoever has it.
        let pool = h.spawn(open(&h, &log)).await?;
        let (other, gate, log) = (Arc::clone(&pool), &gate, &log);
        drop(h.spawn_graceful(move |_| async move {
            gate.pass().await;
            other.use_it()?;
            log.add("used");
            Ok(())
        }));
        pool.use_it()?;
        yields(1).await;
        h.cancel();
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    assert_eq!(log.take(), "");
    gate.open();
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "used closed");
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
    assert!(failure.rest.is_empty());
}

// ------------------------------------------------------------------ what does not touch them

#[test]
fn n7_a_cancellation_does_not_touch_a_cleanup() {
    let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
    let n = N::new()
        .timer(clock.clone())
        .deadline(clock.now() + secs(5))
        .grace(secs(1));
    let h = n.handle();
    let (deferred, log_, gate_) = (h.clone(), log.clone(), gate.clone());
    h.defer(async move {
        log_.add(format!("begun:{}", deferred.token().is_cancelled()));
        gate_.pass().await;
        log_.add("done");
        Ok(())
    })
    .unwrap();
    let mut task = Task::new(n.run(async { Ok(3) }));
    task.stall();
    assert_eq!(log.take(), "begun:false");
    // The deadline, and the end of the grace after it.
    clock.advance(secs(10));
    task.stall();
    assert!(
        !h.token().is_cancelled(),
        "the deadline was for the children"
    );
    h.cancel();
    clock.advance(secs(10));
    task.stall();
    gate.open();
    // Everything came to its own good end.
    assert_eq!(task.finish().unwrap(), 3);
    assert_eq!(log.take(), "done");
}

#[test]
fn n7_cleanups_run_in_a_cancelled_nursery_also_those_deferred_in_it() {
    let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
    let n = N::new().timer(clock.clone()).grace(secs(1)).limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        h.defer(step(&log, &gate, "body")).unwrap();
        let (h_, log_) = (h.clone(), &log);
        drop(h.spawn_graceful(move |cx| async move {
            cx.token().cancelled().await;
            h_.defer(at_once(log_, "drain")).unwrap();
            pending::<Result<(), _>>().await
        }));
        // Over the limit, and refused: it comes between two that are not.
        drop(h.spawn(at_once(&log, "queued")));
        h.defer(at_once(&log, "behind")).unwrap();
        yields(1).await;
        // In the inbox when the drain begins.
        drop(h.spawn(at_once(&log, "late")));
        h.defer(at_once(&log, "late")).unwrap();
        h.cancel();
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    assert_eq!(log.take(), "late:dropped queued:dropped");
    clock.advance(secs(1));
    task.stall();
    assert_eq!(
        log.take(),
        "drain:begun drain:done late:begun late:done behind:begun behind:done body:begun"
    );
    clock.advance(secs(100));
    task.stall();
    gate.open();
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "body:done");
    assert_eq!(failure.report.cleanups.done, 4);
    assert_eq!(failure.report.stats.forced, 1);
    assert_eq!(failure.report.drained.len(), 1);
}

// ------------------------------------------------------------------ failures

#[test]
fn n7_a_failed_cleanup_is_the_cause_if_nothing_else_was() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "other")).unwrap();
    h.defer(ready(Err(Bad(2)))).unwrap();
    let line = line!() + 1;
    h.child().name("pool").defer(ready(Err(Bad(1)))).unwrap();
    let failure = Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    assert_eq!(errors(&failure), [1, 2]);
    assert!(matches!(failure.cause, Cause::Error(Bad(1))));
    assert_eq!(log.take(), "other:begun other:done");
    assert_eq!(failure.report.cleanups.failed, 2);
    assert!(!h.token().is_cancelled(), "no policy was asked");
    let [named, unnamed] = failure.errors().map(|e| e.who).collect::<Vec<_>>()[..] else {
        panic!()
    };
    assert!(named.is_cleanup() && !named.is_body());
    assert_eq!((named.name(), named.id()), (Some("pool"), None));
    assert_eq!((named.site().file(), named.site().line()), (file!(), line));
    assert_eq!(named.to_string(), "cleanup \"pool\"");
    assert_eq!(unnamed.to_string(), "a cleanup");
    assert_eq!(
        failure.to_string(),
        format!(
            "cleanup \"pool\" (deferred at {}) failed: bad 1, and 1 more error",
            named.site()
        )
    );
}

#[test]
fn n7_the_failures_of_child_and_cleanup_are_both_kept() {
    let fails = |n: N<'_>| {
        let h = n.handle();
        h.defer(ready(Err(Bad(2)))).unwrap();
        drop(h.spawn(ready(Err::<(), _>(Bad(1)))));
        Task::new(n.run(async { Ok(()) })).finish().unwrap_err()
    };
    for failure in [fails(N::new()), fails(N::new().policy(KeepGoing))] {
        assert!(matches!(failure.cause, Cause::Error(Bad(1))));
        assert_eq!(errors(&failure), [1, 2]);
        let cleanups: Vec<_> = failure.errors().map(|e| e.who.is_cleanup()).collect();
        assert_eq!(cleanups, [false, true]);
        assert_eq!(failure.report.stats.failed, 1);
        assert_eq!(failure.report.cleanups.failed, 1);
    }
}

#[test]
fn n7_a_cleanup_that_fails_after_a_cancellation_is_among_the_rest() {
    let n = N::new();
    let h = n.handle();
    h.defer(ready(Err(Bad(2)))).unwrap();
    drop(h.spawn(pending::<Result<(), _>>()));
    h.cancel();
    let failure = Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
    assert_eq!(failure.rest, [Bad(2)]);
    assert!(failure.errors().all(|e| e.who.is_cleanup()));
}

#[test]
fn n7_a_success_forgives_children_and_not_cleanups() {
    let run = |fails: bool| {
        let n = N::new().policy(FirstSuccess);
        let h = n.handle();
        h.defer(ready(if fails { Err(Bad(2)) } else { Ok(()) }))
            .unwrap();
        drop(h.spawn(ready(Err::<(), _>(Bad(1)))));
        drop(h.spawn(ready(Ok(()))));
        drop(h.spawn(pending::<Result<(), _>>()));
        Task::new(n.run(async { Ok(6) })).finish()
    };
    assert_eq!(run(false).unwrap(), 6);
    let failure = run(true).unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(Bad(2))), "{failure:?}");
    assert!(failure.rest.is_empty());
    assert!(failure.errors().all(|e| e.who.is_cleanup()));
}

// ------------------------------------------------------------------ their time

#[test]
fn n7_when_their_time_is_over_each_that_is_left_has_one_poll() {
    let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
    let n = N::new().timer(clock.clone()).cleanup(secs(3));
    let h = n.handle();
    h.child()
        .name("last")
        .defer(step(&log, &gate, "last"))
        .unwrap();
    h.defer(at_once(&log, "quick")).unwrap();
    h.defer(ready(Err(Bad(1)))).unwrap();
    h.child()
        .name("slow")
        .defer(step(&log, &gate, "slow"))
        .unwrap();
    let first = Gate::new();
    h.defer(step(&log, &first, "first")).unwrap();
    let work = Gate::new();
    let mut task = Task::new(n.run(async {
        work.pass().await;
        Ok(())
    }));
    // It is not the children's time.
    task.stall();
    clock.advance(secs(30));
    work.open();
    task.stall();
    assert_eq!(log.take(), "first:begun");
    clock.advance(secs(2));
    first.open();
    task.stall();
    assert_eq!(log.take(), "first:done slow:begun");
    // All together have three seconds, not each.
    clock.advance(secs(1));
    let failure = task.finish().unwrap_err();
    assert_eq!(
        log.take(),
        "slow:dropped quick:begun quick:done last:begun last:dropped"
    );
    assert_eq!(errors(&failure), [1]);
    let stats = failure.report.cleanups;
    assert_eq!((stats.begun, stats.done), (5, 2));
    assert_eq!((stats.failed, stats.forced), (1, 2));
    let forced: Vec<_> = failure.report.forced().collect();
    assert_eq!(forced[0].name.as_deref(), Some("slow"));
    assert_eq!(forced[1].name.as_deref(), Some("last"));
    assert!(
        forced
            .iter()
            .all(|one| one.who().is_cleanup() && one.id.is_none())
    );
    assert_eq!(
        forced[0].to_string(),
        format!(
            "cleanup \"slow\" (deferred at {}) was forced",
            forced[0].site
        )
    );
    let text = failure.to_string();
    assert!(
        text.ends_with("; 2 children and cleanups were forced"),
        "{text}"
    );
}

#[test]
fn n7_a_forced_cleanup_does_not_touch_the_outcome() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone()).cleanup(secs(0));
    let h = n.handle();
    let log = Log::new();
    h.defer(step(&log, &Gate::new(), "slow")).unwrap();
    h.defer(at_once(&log, "quick")).unwrap();
    assert_eq!(Task::new(n.run(async { Ok(6) })).finish().unwrap(), 6);
    assert_eq!(log.take(), "quick:begun quick:done slow:begun slow:dropped");
    let report = h.report().unwrap();
    assert_eq!(report.forced().count(), 1);
    assert_eq!(report.cleanups.forced, 1);
    assert_eq!(report.stats.forced, 0, "it is no child");
}

#[test]
fn n7_who_ends_as_the_time_does_has_not_been_forced() {
    let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
    let n = N::new().timer(clock.clone()).cleanup(secs(1));
    n.handle().defer(step(&log, &gate, "one")).unwrap();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    gate.open();
    clock.advance(secs(1));
    task.finish().unwrap();
    assert_eq!(log.take(), "one:begun one:done");
}

#[test]
fn n7_force_hurries_cleanups_whenever_it_comes() {
    for early in [true, false] {
        let (log, gate) = (Log::new(), Gate::new());
        let n = N::new();
        let h = n.handle();
        h.defer(step(&log, &gate, "old")).unwrap();
        h.defer(at_once(&log, "quick")).unwrap();
        h.defer(step(&log, &gate, "young")).unwrap();
        let mut task = Task::new(n.run(async {
            if early {
                h.force();
            }
            Ok(6)
        }));
        if !early {
            task.stall();
            assert_eq!(log.take(), "young:begun");
            h.force();
            log.add("force");
        }
        assert_eq!(task.finish().unwrap(), 6);
        let expected = match early {
            true => "young:begun young:dropped quick:begun quick:done old:begun old:dropped",
            false => "force young:dropped quick:begun quick:done old:begun old:dropped",
        };
        assert_eq!(log.take(), expected);
        assert_eq!(h.report().unwrap().cleanups.forced, 2);
    }
}

#[test]
#[should_panic(expected = "need `.timer(..)`")]
fn n7_time_for_cleanups_needs_a_timer() {
    drop(N::new().cleanup(secs(1)).run(async { Ok(()) }));
}

// ------------------------------------------------------------------ what they may do

#[test]
fn n7_a_cleanup_may_defer_another_which_comes_next() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "old")).unwrap();
    let (inner, log_) = (h.clone(), log.clone());
    h.defer(async move {
        inner.defer(at_once(&log_, "inner")).unwrap();
        yields(1).await;
        inner.defer(at_once(&log_, "innermost")).unwrap();
        log_.add("outer");
        Ok(())
    })
    .unwrap();
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(
        log.take(),
        "outer innermost:begun innermost:done inner:begun inner:done old:begun old:done"
    );
}

#[test]
fn n7_what_a_refused_child_defers_when_it_is_dropped_comes_next() {
    struct Defers<'a>(H<'a>, &'a Log);
    impl Drop for Defers<'_> {
        fn drop(&mut self) {
            self.0.defer(at_once(self.1, "its")).unwrap();
        }
    }
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "last")).unwrap();
    let child = Defers(h.clone(), &log);
    let spawns = h.clone();
    h.defer(async move {
        drop(spawns.spawn(async move {
            let _defers = child;
            Ok(())
        }));
        Ok(())
    })
    .unwrap();
    assert!(Task::new(n.run(ready(Ok(())))).finish().is_ok());
    assert_eq!(log.take(), "its:begun its:done last:begun last:done");
}

#[test]
fn n7_children_are_refused_while_cleanups_run_and_the_outcome_does_not_suffer() {
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let (inner, log_) = (h.clone(), log.clone());
    h.defer(async move {
        let h = inner;
        let join = h.spawn(at_once(&log_, "spawned"));
        assert_eq!(join.await.unwrap_err().kind(), JoinErrorKind::Closed);
        let graceful = h.spawn_graceful(|_| at_once(&log_, "graceful"));
        assert_eq!(graceful.await.unwrap_err().kind(), JoinErrorKind::Closed);
        let tried = h.try_spawn(at_once(&log_, "tried"));
        let Err(TrySpawnError::Closed(back)) = tried else {
            panic!("{tried:?}")
        };
        back.await.unwrap();
        let waited = h.spawn_wait(at_once(&log_, "waited")).await;
        let kind = match waited {
            Err(error) => error.kind(),
            Ok(join) => join.await.unwrap_err().kind(),
        };
        assert_eq!(kind, JoinErrorKind::Closed);
        log_.add("end");
        Ok(())
    })
    .unwrap();
    let mut task = Task::new(n.run(async { Ok(6) }));
    assert_eq!(task.finish().unwrap(), 6);
    assert_eq!(
        log.take(),
        "spawned:dropped graceful:dropped tried:begun tried:done waited:dropped end"
    );
    assert_eq!(h.stats(), Stats::default());
}

/// Who is spawned by the drop of the last child comes before the cleanups.
#[test]
fn n7_no_cleanup_begins_before_who_came_with_the_last_drop() {
    struct Spawns(H<'static>, Log);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let log = self.1.clone();
            drop(self.0.child().name("late").spawn(async move {
                log.add("late");
                Ok(())
            }));
        }
    }
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "cleanup")).unwrap();
    let spawns = Spawns(h.clone(), log.clone());
    drop(h.child().name("last").spawn(async move {
        let _spawns = spawns;
        pending::<Result<(), Bad>>().await
    }));
    let own = h.clone();
    drop(h.spawn(async move {
        own.cancel_named("last", Reason::explicit());
        Ok(())
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.finish().unwrap();
    assert_eq!(log.take(), "late cleanup:begun cleanup:done");
}

#[test]
fn n7_a_cleanup_may_have_children_of_its_own() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let log_ = log.clone();
    h.defer(async move {
        let n = N::new();
        let h = n.handle();
        // They borrow from the cleanup.
        let name = String::from("own");
        n.run(async {
            let one = h.spawn(ready(Ok(name.as_str())));
            let two = h.spawn(async { Ok(name.len()) });
            log_.add(one.await?);
            log_.add(two.await?.to_string());
            Ok(())
        })
        .await?;
        Ok(())
    })
    .unwrap();
    h.cancel();
    drop(Task::new(n.run(async { Ok(()) })).finish());
    assert_eq!(log.take(), "own 3");
}

#[test]
fn n7_a_cleanup_may_be_deferred_from_anywhere_at_any_time() {
    struct Defers<'env>(H<'env>, Log);
    impl Drop for Defers<'_> {
        fn drop(&mut self) {
            self.0.defer(at_once(&self.1, "drop")).unwrap();
        }
    }
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let (inner, log_, gate_) = (h.clone(), log.clone(), gate.clone());
    drop(h.spawn(async move {
        let _defers = Defers(inner, log_);
        gate_.pass().await;
        Ok(())
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    let other = Gate::new();
    std::thread::scope(|s| {
        s.spawn(|| h.defer(step(&log, &other, "thread")).unwrap());
    });
    task.stall();
    gate.open();
    task.stall();
    assert_eq!(log.take(), "drop:begun drop:done thread:begun");
    // Also while the last one runs.
    std::thread::scope(|s| {
        s.spawn(|| h.defer(at_once(&log, "late")).unwrap());
    });
    task.stall();
    assert_eq!(log.take(), "", "one after another");
    other.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "thread:done late:begun late:done");
}

#[test]
fn n7_cleanups_without_end_let_the_outer_task_go_on() {
    type Again = std::pin::Pin<Box<dyn Future<Output = Result<(), Bad>> + Send>>;

    /// Defers itself anew.
    fn again(h: H<'static>, left: usize) -> Again {
        Box::pin(async move {
            if left > 0 {
                h.defer(again(h.clone(), left - 1)).unwrap();
            }
            Ok(())
        })
    }
    let n = Nursery::<'static, Bad>::new();
    let h = n.handle();
    let count = scaled(1000, 100);
    h.defer(again(h.clone(), count)).unwrap();
    // What nobody rings for any more goes on all the same.
    for _ in 0..count {
        h.defer(ready(Ok(()))).unwrap();
    }
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.finish().unwrap();
    assert!(task.polls() > count / 100, "{} polls", task.polls());
    assert!(task.polls() < count, "more than one in a turn");
    assert_eq!(h.report().unwrap().cleanups.done, 2 * count + 1);
}

// ------------------------------------------------------------------ the end

#[test]
fn n7_after_the_end_what_is_deferred_comes_back() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    let refused = h.defer(at_once(&log, "late")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the nursery has ended and takes no more cleanups"
    );
    Task::new(refused.into_inner()).finish().unwrap();
    let refused = h.release(log.on_drop("value")).unwrap_err();
    assert_eq!(log.take(), "late:begun late:done");
    drop(refused);
    assert_eq!(log.take(), "value");
    // Also when it was dropped.
    let n = N::new();
    let h = n.handle();
    drop(n);
    assert_eq!(h.release(6).unwrap_err().into_inner(), 6);
}

#[test]
fn n9_a_nursery_that_is_dropped_polls_no_cleanup_and_drops_them_youngest_first() {
    // In the inbox, or in the list.
    for polled in [false, true] {
        let (log, gate) = (Log::new(), Gate::new());
        let n = N::new();
        let h = n.handle();
        h.defer(step(&log, &gate, "old")).unwrap();
        h.release(log.on_drop("value")).unwrap();
        drop(h.spawn(step(&log, &gate, "child")));
        h.defer(step(&log, &gate, "young")).unwrap();
        let mut task = Task::new(n.run(async { Ok(()) }));
        if polled {
            task.stall();
            assert_eq!(log.take(), "child:begun");
        }
        drop(task);
        assert_eq!(log.take(), "child:dropped young:dropped value old:dropped");
        assert!(h.report().is_none());
    }
}

#[test]
fn n9_a_cleanup_that_has_begun_is_dropped_first() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "old")).unwrap();
    h.release(log.on_drop("value")).unwrap();
    h.defer(step(&log, &gate, "young")).unwrap();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    drop(task);
    assert_eq!(log.take(), "young:begun young:dropped value old:dropped");
}

#[test]
fn n9_what_is_deferred_by_who_is_dropped_comes_back() {
    struct Defers<'env>(H<'env>, Log);
    impl Drop for Defers<'_> {
        fn drop(&mut self) {
            match self.0.defer(at_once(&self.1, "drop")) {
                Ok(()) => self.1.add("in"),
                Err(_) => self.1.add("back"),
            }
        }
    }
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.release(Defers(h.clone(), log.clone())).unwrap();
    drop(n.run(async { Ok(()) }));
    assert_eq!(log.take(), "back drop:dropped");
}

#[test]
fn n9_no_cycle_stays_with_cleanups_that_hold_handles() {
    let alive = Rc::new(());
    let n = LocalNursery::<'_, Bad>::new();
    let h = n.handle();
    for _ in 0..2 {
        let (held, own) = (Rc::clone(&alive), h.clone());
        h.defer(async move {
            let _held = (held, own);
            pending().await
        })
        .unwrap();
        h.release((Rc::clone(&alive), h.clone())).unwrap();
    }
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    h.release((Rc::clone(&alive), h.clone())).unwrap();
    drop(h);
    drop(task);
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn n9_forgetting_a_nursery_with_cleanups_is_sound() {
    let value = String::from("borrowed");
    let polls = Cell::new(0);
    let waker = RefCell::new(None::<Waker>);
    let n = LocalNursery::<'_, Bad>::new();
    let h = n.handle();
    h.defer(async {
        pending::<()>().await;
        drop(value.clone());
        Ok(())
    })
    .unwrap();
    h.defer(poll_fn(|cx| {
        polls.set(polls.get() + 1);
        *waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }))
    .unwrap();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    // As `mem::forget`, but that leak checkers get it back in the end.
    let task = ManuallyDrop::new(task);
    drop(h);
    if let Some(waker) = waker.take() {
        waker.wake();
    }
    assert_eq!(polls.get(), 1);
    drop(ManuallyDrop::into_inner(task));
}

// ------------------------------------------------------------------ panics

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().unwrap_or("?")
}

#[test]
fn n8_a_cleanup_that_panics_keeps_no_other_from_running() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("value");
        }
    }
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "old")).unwrap();
    h.release(Bomb).unwrap();
    h.defer(ready(Err(Bad(1)))).unwrap();
    h.defer(async { panic!("cleanup") }).unwrap();
    h.defer(at_once(&log, "young")).unwrap();
    let mut task = Task::new(n.run(async { Ok(()) }));
    let panic = catch_unwind(AssertUnwindSafe(|| task.run())).unwrap_err();
    assert_eq!(message(&*panic), "cleanup", "the first one");
    assert_eq!(log.take(), "young:begun young:done old:begun old:done");
    let stats = h.report().unwrap().cleanups;
    assert_eq!((stats.begun, stats.done), (5, 2));
    assert_eq!((stats.failed, stats.panicked), (1, 2));
    assert_eq!(h.stats().panicked, 0, "no child did");
}

#[test]
fn n8_cleanups_run_when_a_child_has_panicked() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "cleanup")).unwrap();
    drop(h.spawn(async { if true { panic!("child") } else { Ok(()) } }));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    let panic = catch_unwind(AssertUnwindSafe(|| task.run())).unwrap_err();
    assert_eq!(message(&*panic), "child");
    assert_eq!(log.take(), "cleanup:begun cleanup:done");
}

#[test]
fn n8_cleanups_that_panic_as_they_are_dropped_lose_no_other() {
    struct Bomb(Log, &'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.add(self.1);
            std::panic::panic_any(self.1);
        }
    }
    // Forced by the nursery, or dropped with it.
    for forced in [true, false] {
        let log = Log::new();
        let n = N::new();
        let h = n.handle();
        for name in ["old", "young"] {
            let bomb = Bomb(log.clone(), name);
            h.defer(async move {
                let _bomb = bomb;
                pending().await
            })
            .unwrap();
        }
        let mut task = Task::new(n.run(async { Ok(()) }));
        task.stall();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            if forced {
                h.force();
                drop(task.run());
            }
            drop(task);
        }))
        .unwrap_err();
        assert_eq!(h.report().is_some(), forced, "it came to its end");
        assert_eq!(message(&*panic), "young");
        assert_eq!(log.take(), "young old");
    }
}

// ------------------------------------------------------------------ critical sections

/// As [`step`], of any error.
fn section(
    log: &Log,
    gate: &Gate,
    name: &'static str,
) -> impl Future<Output = Result<u32, Bad>> + use<> {
    let step = step(log, gate, name);
    async { step.await.map(|()| 7) }
}

#[test]
fn n7_a_section_runs_on_in_a_cancelled_nursery_without_who_awaited_it() {
    let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
    let n = N::new().timer(clock.clone()).grace(secs(1)).limit(1);
    let h = n.handle();
    h.defer(at_once(&log, "cleanup")).unwrap();
    let (inner, log_, gate_) = (h.clone(), log.clone(), gate.clone());
    drop(h.spawn(async move {
        let _dropped = log_.on_drop("child");
        // The place is this child's: the section takes none.
        let commit = inner.shield(secs(10), section(&log_, &gate_, "commit"));
        let seven = commit.await?;
        log_.add(format!("{seven}"));
        pending::<Result<(), Bad>>().await
    }));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    assert_eq!(log.take(), "commit:begun");
    h.cancel();
    task.stall();
    assert_eq!(log.take(), "child");
    // The grace is not its own.
    clock.advance(secs(9));
    task.stall();
    gate.open();
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "commit:done cleanup:begun cleanup:done");
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
    assert_eq!(
        (failure.report.stats.done, failure.report.stats.forced),
        (1, 0)
    );
    assert_eq!(failure.report.drained.len(), 0, "it was not told");
    assert_eq!(clock.next_due(), None);
}

#[test]
fn n7_a_section_gives_its_output_to_who_awaits_it() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let gate = Gate::new();
        gate.open();
        Ok(h.shield(Duration::MAX, section(&log, &gate, "commit"))
            .await?)
    }));
    assert_eq!(task.finish().unwrap(), 7);
    assert_eq!(log.take(), "commit:begun commit:done");
}

#[test]
fn n7_a_section_is_cut_when_its_own_time_is_over() {
    for cancelled in [false, true] {
        let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
        let n = N::new().timer(clock.clone());
        let h = n.handle();
        let wait = Gate::new();
        let mut task = Task::new(n.run(async {
            wait.pass().await;
            Ok(h.child()
                .name("commit")
                .shield(secs(2), section(&log, &gate, "one")))
        }));
        task.stall();
        // From its begin.
        clock.advance(secs(30));
        wait.open();
        task.stall();
        if cancelled {
            h.cancel();
        }
        clock.advance(secs(1));
        task.stall();
        assert_eq!(log.take(), "one:begun");
        clock.advance(secs(1));
        let outcome = task.finish();
        assert_eq!(log.take(), "one:dropped");
        let report = h.report().unwrap();
        assert_eq!(report.stats.forced, 1);
        let forced: Vec<_> = report.forced().collect();
        assert_eq!(forced[0].name.as_deref(), Some("commit"));
        assert_eq!((forced[0].notice, forced[0].drain), (None, None));
        assert!(!forced[0].who().is_cleanup());
        if cancelled {
            assert_eq!(
                outcome.unwrap_err().cancelled().unwrap().kind(),
                ReasonKind::Explicit
            );
        } else {
            // Who awaits it is told; the nursery's outcome is his to decide.
            let error = outcome.unwrap().now_or_never().unwrap().unwrap_err();
            assert_eq!(error.kind(), JoinErrorKind::Forced);
            assert_eq!(error.reason().unwrap().kind(), ReasonKind::DeadlineExceeded);
        }
        assert_eq!(clock.next_due(), None);
    }
}

#[test]
fn n7_force_cuts_sections_running_and_to_come() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let first = h.shield(Duration::MAX, section(&log, &gate, "first"));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    h.cancel();
    task.stall();
    assert_eq!(log.take(), "first:begun");
    h.force();
    let late = h.shield(Duration::MAX, section(&log, &gate, "late"));
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "first:dropped late:dropped");
    assert_eq!(failure.report.stats.forced, 2);
    for join in [first, late] {
        let error = join.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Forced);
        assert_eq!(error.reason().unwrap().kind(), ReasonKind::Explicit);
    }
}

#[test]
fn n7_a_section_may_begin_whenever_the_nursery_has_not_ended() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    h.defer(at_once(&log, "old")).unwrap();
    let (inner, log_, gate_) = (h.clone(), log.clone(), gate.clone());
    h.defer(async move {
        // In a cleanup: those after it wait for the section, also if nobody else does.
        drop(inner.shield(Duration::MAX, section(&log_, &gate_, "cleanup")));
        Ok(())
    })
    .unwrap();
    let (inner, log_) = (h.clone(), log.clone());
    drop(h.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        let open = Gate::new();
        open.open();
        let commit = inner.shield(Duration::MAX, section(&log_, &open, "drain"));
        commit.await.map(drop).map_err(Bad::from)
    }));
    let mut task = Task::new(n.run(async {
        yields(1).await;
        h.cancel();
        // In the inbox when the drain begins.
        drop(h.shield(Duration::MAX, at_once(&log, "body")));
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    assert_eq!(
        log.take(),
        "body:begun body:done drain:begun drain:done cleanup:begun"
    );
    gate.open();
    assert!(task.finish().is_err());
    assert_eq!(log.take(), "cleanup:done old:begun old:done");
    let late = h.shield(Duration::MAX, section(&log, &gate, "late"));
    assert_eq!(log.take(), "late:dropped");
    let error = late.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Closed);
}

#[test]
fn n7_a_cleanup_may_await_a_section() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let (inner, log_, gate_) = (h.clone(), log.clone(), gate.clone());
    h.defer(async move {
        let flush = inner.shield(Duration::MAX, section(&log_, &gate_, "flush"));
        flush.await?;
        log_.add("awaited");
        Ok(())
    })
    .unwrap();
    let mut task = Task::new(n.run(async { Ok(6) }));
    task.stall();
    gate.open();
    assert_eq!(task.finish().unwrap(), 6);
    assert_eq!(log.take(), "flush:begun flush:done awaited");
    // Forced, both are cut, and the outcome is what it was.
    let n = N::new();
    let h = n.handle();
    let (inner, log_) = (h.clone(), log.clone());
    h.defer(async move {
        let never = Gate::new();
        drop(
            inner
                .shield(Duration::MAX, section(&log_, &never, "flush"))
                .await,
        );
        pending().await
    })
    .unwrap();
    let mut task = Task::new(n.run(async { Ok(6) }));
    task.stall();
    h.force();
    assert_eq!(task.finish().unwrap(), 6);
    assert_eq!(log.take(), "flush:begun flush:dropped");
    assert_eq!(h.report().unwrap().forced().count(), 2);
}

#[test]
fn n7_a_section_that_fails_has_failed_the_nursery() {
    let n = N::new();
    let h = n.handle();
    let (inner, gate) = (h.clone(), Gate::new());
    let gate_ = gate.clone();
    drop(h.spawn(async move {
        // He who would tell of it is dropped meanwhile.
        drop(
            inner
                .child()
                .name("commit")
                .shield(Duration::MAX, async move {
                    gate_.pass().await;
                    Err::<(), _>(Bad(1))
                })
                .await,
        );
        Ok(())
    }));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    h.cancel();
    task.stall();
    gate.open();
    let failure = task.finish().unwrap_err();
    assert_eq!(failure.rest, [Bad(1)]);
    let who = failure.errors().next().unwrap().who;
    assert_eq!(who.to_string(), "child \"commit\"");
    // In a live nursery it is the policy's to answer.
    let n = N::new();
    let h = n.handle();
    drop(h.shield(Duration::MAX, ready(Err::<(), _>(Bad(2)))));
    let failure = Task::new(n.run(pending::<Result<(), Bad>>())).finish();
    assert!(matches!(failure.unwrap_err().cause, Cause::Error(Bad(2))));
}

#[test]
fn n7_the_end_of_a_section_is_no_success() {
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    let inner = h.clone();
    drop(h.spawn(async move {
        inner.shield(Duration::MAX, ready(Ok(()))).await?;
        pending::<Result<(), Bad>>().await
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    assert!(!h.token().is_cancelled());
    drop(h.spawn(ready(Ok(()))));
    task.finish().unwrap();
}

#[test]
#[should_panic(expected = "a shield's budget needs the nursery's `.timer(..)`")]
fn n7_a_sections_time_needs_a_timer() {
    let n = N::new();
    drop(n.handle().shield(secs(1), ready(Ok(()))));
}

#[test]
fn n9_a_nursery_that_is_dropped_drops_its_sections() {
    let (log, gate, clock) = (Log::new(), Gate::new(), ManualClock::new());
    let n = N::new().timer(clock.clone());
    let h = n.handle();
    h.release(log.on_drop("value")).unwrap();
    drop(h.shield(secs(1), at_once(&log, "done")));
    drop(h.shield(secs(1), section(&log, &gate, "running")));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    drop(h.shield(secs(1), section(&log, &gate, "new")));
    assert_eq!(log.take_sorted(), "done:begun done:done running:begun");
    drop(task);
    assert_eq!(log.take(), "new:dropped running:dropped value");
    assert_eq!(clock.next_due(), None);
}

// ------------------------------------------------------------------ local

#[test]
fn n7_local_cleanups_may_stay_on_their_thread() {
    let (parked, log) = (Parked::default(), Rc::new(RefCell::new(vec![])));
    let n = LocalNursery::<'_, Bad>::new();
    let h = n.handle();
    let mut first = true;
    let (parked_, log_) = (parked.clone(), Rc::clone(&log));
    h.defer(poll_fn(move |cx| {
        log_.borrow_mut().push("polled");
        if std::mem::take(&mut first) {
            parked_.park(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }))
    .unwrap();
    h.child().name("rc").release(Rc::clone(&log)).unwrap();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    assert_eq!(Rc::strong_count(&log), 2, "released");
    // Its waker may go anywhere, and wakes it alone.
    for waker in parked.take() {
        std::thread::spawn(move || waker.wake()).join().unwrap();
    }
    task.finish().unwrap();
    assert_eq!(*log.borrow(), ["polled", "polled"]);
}

#[test]
fn n7_a_cleanups_error_is_kept_though_a_success_forgives_the_others() {
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    let inner = h.clone();
    let failure = Task::new(n.run(async {
        h.defer(async move {
            // Fails after the cleanup.
            drop(inner.shield::<(), _>(Duration::MAX, async {
                yields(1).await;
                Err(Bad(2))
            }));
            Err(Bad(1))
        })
        .unwrap();
        drop(h.spawn::<(), _>(async { Err(Bad(3)) }));
        drop(h.spawn(async {
            yields(1).await;
            Ok(())
        }));
        Ok(())
    }))
    .finish()
    .unwrap_err();
    assert_eq!(errors(&failure), [1, 2], "the child's is forgiven");
}

#[test]
fn n9_what_the_body_uses_is_released_after_the_body() {
    for cancelled in [false, true] {
        let log = Log::new();
        let n = LocalNursery::<Bad>::new();
        let h = n.handle();
        let token = h.token().clone();
        let mut task = Task::new(n.run(async {
            h.release(log.on_drop("pool")).unwrap();
            let _user = log.on_drop("body");
            drop(h.spawn(async {
                let _user = log.on_drop("child");
                pending::<Result<(), Bad>>().await
            }));
            pending::<Result<(), Bad>>().await
        }));
        task.stall();
        if cancelled {
            token.cancel();
            task.finish().unwrap_err();
        } else {
            drop(task);
        }
        assert_eq!(log.take(), "child body pool", "cancelled: {cancelled}");
    }
}
