//! The nursery, clause by clause (N1, N2, …) and bug by bug (`n_01_…`).

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use umbel_core::{
    CancellationToken, Cause, Clock, Failure, FutureExt as _, Handle, Instant, JoinError,
    JoinErrorKind, KeepGoing, ManualClock, ManualSleep, Nursery, Reason, ReasonKind, Timer,
    TrySpawnError,
};
use umbel_tests::counting::{self, allocator_calls};
use umbel_tests::exec::{Gate, Log, Task, yields};
use umbel_tests::scaled;

/// An error that says which child it came from, or that a join had nothing.
#[derive(Debug, Clone, PartialEq)]
enum Bad {
    Child(u32),
    Join(JoinErrorKind),
}

impl From<JoinError> for Bad {
    fn from(error: JoinError) -> Self {
        Bad::Join(error.kind())
    }
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

type N<'env> = Nursery<'env, Bad>;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn fail(n: u32) -> Result<(), Bad> {
    Err(Bad::Child(n))
}

#[track_caller]
fn error(failure: Failure<Bad>) -> (Bad, Vec<Bad>) {
    match failure.cause {
        Cause::Error(error) => (error, failure.rest),
        other => panic!("not an error: {other:?}"),
    }
}

#[track_caller]
fn reason(failure: &Failure<Bad>) -> ReasonKind {
    failure.cancelled().expect("not cancelled").kind()
}

fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

// ------------------------------------------------------------------ N1: nobody is left behind

#[test]
fn returns_the_bodys_value_when_every_child_has_ended() {
    let gate = Gate::new();
    let ended = Cell::new(0);
    // A plain cell cannot cross into `Send` children: the count is kept by drops of a log.
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..3 {
            let (gate, log) = (gate.clone(), log.clone());
            drop(h.spawn(async move {
                gate.pass().await;
                log.add("end");
                Ok(())
            }));
        }
        ended.set(7);
        Ok(ended.get())
    }));
    task.stall();
    assert_eq!(log.take(), "");
    gate.open();
    assert_eq!(task.finish().unwrap(), 7);
    assert_eq!(log.take(), "end end end");
}

#[test]
fn borrows_from_the_stack_without_static() {
    let words = vec![String::from("a"), String::from("bc"), String::from("def")];
    let total = AtomicUsize::new(0);
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for word in &words {
            let (h2, total) = (h.clone(), &total);
            drop(h.spawn(async move {
                yields(1).await;
                // A grandchild borrows too.
                drop(h2.spawn(async move {
                    total.fetch_add(word.len(), SeqCst);
                    Ok(())
                }));
                Ok(())
            }));
        }
        Ok(())
    }));
    task.finish().unwrap();
    assert_eq!(total.load(SeqCst), 6);
}

#[test]
fn an_error_waits_for_the_drops_of_all_children() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for name in ["a", "b"] {
            let drop_note = log.on_drop(name);
            drop(h.spawn(async move {
                let _note = drop_note;
                pending::<()>().await;
                Ok(())
            }));
        }
        yields(1).await;
        drop(h.spawn(fail(1)));
        pending::<Result<(), Bad>>().await
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "b a", "youngest first");
    assert_eq!(failure.report.stats.cancelled, 2);
    assert_eq!(failure.report.stats.failed, 1);
    assert_eq!(error(failure), (Bad::Child(1), vec![]));
}

#[test]
fn the_body_is_a_plain_child() {
    // Its error cancels the children …
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let note = log.on_drop("child");
        drop(h.spawn(async move {
            let _note = note;
            pending::<()>().await;
            Ok(())
        }));
        yields(2).await;
        Err::<(), _>(Bad::Child(9))
    }));
    assert_eq!(error(task.finish().unwrap_err()), (Bad::Child(9), vec![]));
    assert_eq!(log.take(), "child");

    // … and a child's error drops it at its await point.
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let _note = log.on_drop("body");
        drop(h.spawn(fail(3)));
        pending::<Result<(), Bad>>().await
    }));
    assert_eq!(error(task.finish().unwrap_err()), (Bad::Child(3), vec![]));
    assert_eq!(log.take(), "body");
}

// ------------------------------------------------------------------ N2: policies

#[test]
fn fail_fast_keeps_later_errors() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Err::<(), _>(Bad::Child(2))
        }));
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Ok(())
        }));
        yields(1).await;
        drop(h.spawn(fail(1)));
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(
        failure
            .errors()
            .map(|e| e.error.clone())
            .collect::<Vec<_>>(),
        [Bad::Child(1), Bad::Child(2)]
    );
    let (cause, rest) = error(failure);
    assert_eq!((cause, rest), (Bad::Child(1), vec![Bad::Child(2)]));
    assert_eq!(
        h.token().reason().unwrap().kind(),
        ReasonKind::SiblingFailed
    );
}

#[test]
fn n_23_fail_fast_holds_at_any_size() {
    let sizes = [1, 3, 63, 64, 65, 200, 1000];
    for &size in &sizes[..scaled(7, 5)] {
        let n = N::new();
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            for i in 0..size {
                drop(h.spawn(async move {
                    if i == size / 2 {
                        return Err(Bad::Child(i));
                    }
                    pending().await
                }) as umbel_core::Join<()>);
            }
            Ok(())
        }));
        let failure = task.finish().unwrap_err();
        let stats = failure.report.stats;
        assert_eq!((stats.failed, stats.cancelled), (1, size as usize - 1));
        assert_eq!(error(failure), (Bad::Child(size / 2), vec![]));
    }
}

#[test]
fn keep_going_collects_all_errors_and_lets_siblings_live() {
    let gate = Gate::new();
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let gate = gate.clone();
        drop(h.spawn(fail(1)));
        drop(h.spawn(async move {
            gate.pass().await;
            Err::<(), _>(Bad::Child(2))
        }));
        drop(h.spawn(async { Ok(()) }));
        Ok(5)
    }));
    task.stall();
    assert!(!h.token().is_cancelled());
    gate.open();
    let failure = task.finish().unwrap_err();
    let stats = failure.report.stats;
    assert_eq!((stats.started, stats.done, stats.failed), (3, 1, 2));
    assert_eq!(error(failure), (Bad::Child(1), vec![Bad::Child(2)]));
}

#[test]
fn who_is_told_the_end_of_a_child_finds_it_counted() {
    let gate = Gate::new();
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async { Ok(0) }));
    let (pass, h2) = (gate.pass(), h.clone());
    let mut good = h.spawn(async move {
        pass.await;
        Ok(())
    });
    let pass = gate.pass();
    let mut bad = h.spawn(async move {
        pass.await;
        Err::<(), _>(Bad::Child(1))
    });
    task.stall();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let joiner = counting::Task::with_hook(move || {
        let stats = h2.stats();
        note.lock()
            .unwrap()
            .push((stats.done, stats.failed, stats.active));
    });
    assert!(joiner.poll(Pin::new(&mut good)).is_pending());
    assert!(joiner.poll(Pin::new(&mut bad)).is_pending());
    gate.open();
    assert!(task.finish().is_err());
    assert_eq!(*seen.lock().unwrap(), [(1, 0, 1), (1, 1, 0)]);
}

#[test]
fn a_cancellation_after_errors_under_keep_going_is_the_cause() {
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(fail(1)));
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    h.cancel_with(Reason::shutdown());
    let failure = task.finish().unwrap_err();
    assert_eq!(reason(&failure), ReasonKind::Shutdown);
    assert_eq!(failure.rest, [Bad::Child(1)]);
}

#[test]
fn n_19_an_error_during_cancellation_is_recorded() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Err::<(), _>(Bad::Child(4))
        }));
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    h.cancel();
    let failure = task.finish().unwrap_err();
    assert_eq!(reason(&failure), ReasonKind::Explicit);
    assert_eq!(failure.rest, [Bad::Child(4)]);
}

// ------------------------------------------------------------------ N3: spawning and room

#[test]
fn over_the_limit_children_queue_in_order() {
    let log = Log::new();
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for (i, gate) in gates.iter().enumerate() {
            let (gate, log) = (gate.clone(), log.clone());
            drop(h.spawn(async move {
                log.add(format!("+{i}"));
                gate.pass().await;
                log.add(format!("-{i}"));
                Ok(())
            }));
        }
        Ok(())
    }));
    task.stall();
    assert_eq!(log.take_sorted(), "+0 +1");
    assert_eq!(h.stats().started, 2);
    gates[1].open();
    task.stall();
    assert_eq!(log.take(), "-1 +2");
    gates[0].open();
    gates[2].open();
    task.stall();
    // Both end in one turn, then two places go to the queue.
    let turn = log.take();
    let (ended, begun) = turn.split_at("-0 -2".len());
    assert!(matches!(ended, "-0 -2" | "-2 -0"), "{turn}");
    assert!(matches!(begun, " +3 +4" | " +4 +3"), "{turn}");
    gates[3].open();
    gates[4].open();
    task.finish().unwrap();
}

#[test]
fn the_limit_holds_whatever_spawns() {
    // Children that spawn children, through spawn and spawn_wait from outside.
    let running = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    let enter = || {
        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
    };
    let n = N::new().limit(3);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for i in 0..20 {
            let h2 = h.clone();
            let (enter, running) = (&enter, &running);
            let join = h.spawn_wait(async move {
                enter();
                yields(i % 4).await;
                for _ in 0..2 {
                    drop(h2.spawn(async move {
                        enter();
                        yields(1).await;
                        running.fetch_sub(1, SeqCst);
                        Ok(())
                    }));
                }
                running.fetch_sub(1, SeqCst);
                Ok(())
            });
            drop(join.await?);
        }
        Ok(())
    }));
    task.finish().unwrap();
    assert_eq!(most.load(SeqCst), 3);
    assert_eq!(h.stats().done, 60);
}

#[test]
#[should_panic(expected = "limit must be at least 1")]
fn a_limit_of_zero_is_refused() {
    let _ = N::new().limit(0);
}

#[test]
#[should_panic(expected = "before its first handle")]
fn options_after_a_handle_are_refused() {
    let n = N::new();
    let _h = n.handle();
    let _ = n.limit(3);
}

#[test]
fn an_ended_nursery_refuses() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.finish().unwrap();
    let note = log.on_drop("dropped");
    let mut join = h.spawn(async move {
        let _note = note;
        Ok(1)
    });
    assert_eq!(log.take(), "dropped", "at once");
    let Poll::Ready(Err(error)) = once(&mut join) else {
        panic!("not refused")
    };
    assert_eq!(error.kind(), JoinErrorKind::Closed);
    let mut wait = h.spawn_wait(async { Ok(1) });
    let Poll::Ready(Err(error)) = once(&mut wait) else {
        panic!("not refused")
    };
    assert_eq!(error.kind(), JoinErrorKind::Closed);
    assert_eq!(h.report().unwrap().stats, h.stats());
}

#[test]
fn n_16_a_child_spawned_during_the_abort_is_cancelled_too() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let (h2, log2) = (h.clone(), log.clone());
    let mut task = Task::new(n.run(async move {
        let h3 = h2.clone();
        drop(h2.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            let note = log2.on_drop("late child dropped");
            let late = h3.spawn(async move {
                let _note = note;
                pending::<Result<(), Bad>>().await
            });
            let error = late.await.unwrap_err();
            log2.add(format!("{:?}", error.kind()));
            Ok(())
        }));
        drop(h2.spawn(pending::<Result<(), Bad>>()));
        Ok(())
    }));
    task.stall();
    h.cancel_with(Reason::custom(3));
    assert_eq!(reason(&task.finish().unwrap_err()), ReasonKind::Custom);
    assert_eq!(log.take(), "late child dropped Cancelled");
}

#[test]
fn spawn_wait_waits_for_room_and_only_as_long_as_needed() {
    let gate = Gate::new();
    let log = Log::new();
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let g = gate.clone();
        let first = h
            .spawn_wait(async move {
                g.pass().await;
                Ok(1)
            })
            .await?;
        log.add("first in");
        let second = h.spawn_wait(async { Ok(2) }).await?;
        log.add("second in");
        Ok(first.await? + second.await?)
    }));
    task.stall();
    assert_eq!(log.take(), "first in");
    gate.open();
    assert_eq!(task.finish().unwrap(), 3);
    assert_eq!(log.take(), "second in");
}

#[test]
fn n_24_a_waiter_that_gives_up_leaves_its_room_to_others() {
    let gate = Gate::new();
    let log = Log::new();
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let g = gate.clone();
        drop(h.spawn(async move {
            g.pass().await;
            Ok(())
        }));
        yields(1).await;
        // A waiter is polled, queues, and is dropped.
        let note = log.on_drop("given up");
        let mut wait = h.spawn_wait(async move {
            let _note = note;
            Ok(())
        });
        assert!(once(&mut wait).is_pending());
        yields(2).await;
        drop(wait);
        assert_eq!(log.take(), "given up", "its future is dropped at once");
        // One that was never polled is dropped too.
        drop(h.spawn_wait(fail(1)));
        let l = log.clone();
        drop(h.spawn(async move {
            l.add("next");
            Ok(())
        }));
        Ok(())
    }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "next");
    assert_eq!(h.stats().done, 2);
}

#[test]
fn waiters_that_give_up_do_not_pile_up() {
    let n = N::new().limit(1);
    let h = n.handle();
    let alive = Arc::new(());
    let mut task = Task::new(n.run(async {
        drop(h.spawn(pending::<Result<(), Bad>>()));
        yields(1).await;
        for _ in 0..scaled(1000, 50) {
            let held = Arc::clone(&alive);
            let mut wait = h.spawn_wait(async move {
                drop(held);
                Ok(())
            });
            assert!(once(&mut wait).is_pending());
            drop(wait);
            yields(1).await;
        }
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    assert_eq!(Arc::strong_count(&alive), 1);
    h.cancel();
    let failure = task.finish().unwrap_err();
    assert_eq!(
        failure.report.stats.cancelled, 1,
        "given up is not cancelled"
    );
}

#[test]
fn cancellation_ends_waiting_for_room() {
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(pending::<Result<(), Bad>>()));
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    let log = Log::new();
    let note = log.on_drop("dropped");
    let mut waiter = Task::new(h.spawn_wait(async move {
        let _note = note;
        Ok(())
    }));
    waiter.stall();
    task.stall();
    h.cancel();
    assert!(task.finish().is_err());
    assert_eq!(log.take(), "dropped");
    let error = waiter.finish().unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Cancelled);
    assert_eq!(error.reason().unwrap().kind(), ReasonKind::Explicit);
}

#[test]
fn try_spawn_gives_the_future_back_when_there_is_no_room() {
    let gate = Gate::new();
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..2 {
            let g = gate.clone();
            let child = async move {
                g.pass().await;
                Ok(())
            };
            drop(h.try_spawn(child).expect("there is room"));
        }
        let note = log.on_drop("late");
        let late = async {
            let _note = note;
            Ok(7)
        };
        let calls = allocator_calls();
        let error = h.try_spawn(late).expect_err("it is full");
        assert_eq!(allocator_calls(), calls, "refusing allocates nothing");
        assert!(error.is_full());
        assert_eq!(
            error.to_string(),
            "the nursery has no room for another child"
        );
        assert_eq!(log.take(), "", "it is not dropped");
        gate.open();
        yields(2).await;
        // The same future, which was not polled, can move and be spawned now.
        let mut late = error.into_inner();
        loop {
            match h.try_spawn(late) {
                Ok(join) => return Ok(join.await?),
                Err(error) => late = error.into_inner(),
            }
            yields(1).await;
        }
    }));
    assert_eq!(task.finish().unwrap(), 7);
    assert_eq!(log.take(), "late");
    assert_eq!(h.stats().done, 3);
}

#[test]
fn try_spawn_overtakes_nobody_who_waits() {
    let (first, second) = (Gate::new(), Gate::new());
    let n = N::new().limit(1);
    let h = n.handle();
    let child = |gate: &Gate| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok(())
        }
    };
    drop(h.spawn(child(&first)));
    drop(h.spawn(child(&second)));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    first.open();
    task.stall();
    assert!(matches!(h.try_spawn(fail(1)), Err(TrySpawnError::Full(_))));
    second.open();
    task.finish().unwrap();
}

#[test]
fn try_spawn_gives_the_future_back_when_the_nursery_is_closed() {
    let alive = Arc::new(());
    let held = || {
        let held = Arc::clone(&alive);
        async move {
            drop(held);
            Ok(())
        }
    };
    // Cancelled, ended, dropped; plain and graceful, named and not.
    for way in 0..3 {
        let n = N::new().limit(1);
        let h = n.handle();
        match way {
            0 => {
                h.cancel();
                let refused = [
                    h.try_spawn(held()).map(drop),
                    h.child().name("x").try_spawn(held()).map(drop),
                ];
                assert!(
                    refused
                        .iter()
                        .all(|r| matches!(r, Err(TrySpawnError::Closed(_))))
                );
                assert_eq!(Arc::strong_count(&alive), 3);
                drop(n);
            }
            1 => Task::new(n.run(async { Ok(()) })).finish().unwrap(),
            _ => drop(n),
        }
        let error = h.try_spawn_graceful(|_| held()).unwrap_err();
        assert!(!error.is_full());
        assert_eq!(error.to_string(), "the nursery is closed");
        assert_eq!(format!("{error:?}"), "Closed(..)");
        assert_eq!(Arc::strong_count(&alive), 2, "it came back");
        drop(error);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

#[test]
fn every_end_of_the_childs_builder_keeps_its_options() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let told = |cx: umbel_core::ChildContext| async move {
            cx.token().cancelled().await;
            Ok(1)
        };
        drop(h.child().name("a").spawn_graceful(told));
        drop(h.child().name("b").try_spawn_graceful(told).unwrap());
        drop(h.child().name("c").spawn_wait_graceful(told).await?);
        drop(h.child().name("d").spawn(async { Ok(()) }));
        drop(h.child().name("e").try_spawn(async { Ok(()) }).unwrap());
        drop(h.child().name("f").spawn_wait(async { Ok(()) }).await?);
        drop(h.try_spawn_graceful(told).unwrap());
        drop(h.spawn_wait_graceful(told).await?);
        Ok(())
    }));
    task.stall();
    h.cancel();
    task.finish().unwrap();
    let report = h.report().unwrap();
    let mut names: Vec<_> = report.drained.iter().map(|d| d.name.as_deref()).collect();
    names.sort_unstable();
    let named = [None, None, Some("a"), Some("b"), Some("c")];
    assert_eq!(names, named);
    assert_eq!(report.stats.done, 8);
}

// ------------------------------------------------------------------ N4: cancellation and grace

#[test]
fn in_a_cancelled_nursery_no_plain_child_is_polled_again() {
    let polls = AtomicUsize::new(0);
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let (h2, polls) = (h.clone(), &polls);
        for _ in 0..100 {
            let h = h.clone();
            drop(h2.spawn(poll_fn(move |cx| {
                assert!(!h.token().is_cancelled(), "polled after the cancellation");
                // One in the middle of a turn cancels, whatever the order.
                if polls.fetch_add(1, SeqCst) == 150 {
                    h.cancel();
                }
                cx.waker().wake_by_ref();
                Poll::<Result<(), Bad>>::Pending
            })));
        }
        pending::<Result<(), Bad>>().await
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(failure.report.stats.cancelled, 100);
    assert_eq!(polls.load(SeqCst), 151);
}

#[test]
fn a_graceful_child_is_told_and_polled_on() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone()).grace(secs(10));
    let h = n.handle();
    let log = Log::new();
    let mut task = Task::new(n.run(async {
        let (l, c) = (log.clone(), clock.clone());
        let join = h.child().name("saver").spawn_graceful(|cx| async move {
            assert_eq!(cx.grace(), Some(secs(10)));
            cx.token().cancelled().await;
            l.add("told");
            umbel_core::Timer::sleep_until(&c, Instant::EPOCH + secs(8)).await;
            l.add("saved");
            Ok(())
        });
        join.await?;
        Ok(())
    }));
    task.stall();
    clock.advance(secs(5));
    h.cancel();
    task.stall();
    assert_eq!(log.take(), "told");
    clock.advance(secs(3));
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "saved");
    assert_eq!(failure.report.stats.done, 1);
    let drained = &failure.report.drained;
    assert_eq!(drained.len(), 1);
    assert_eq!(drained[0].name.as_deref(), Some("saver"));
    assert_eq!(drained[0].notice, Some(secs(0)));
    assert_eq!(drained[0].drain, Some(secs(3)));
    assert!(!drained[0].forced);
}

/// In one task with other futures a nursery is polled whenever one of them was woken.
#[test]
fn a_poll_that_nobody_woke_it_for_is_over_at_once() {
    /// Counts how often it is asked for the time, as each turn does that drains.
    #[derive(Clone)]
    struct Asked(ManualClock, Arc<AtomicUsize>);
    impl Clock for Asked {
        fn now(&self) -> Instant {
            self.1.fetch_add(1, SeqCst);
            self.0.now()
        }
    }
    impl Timer for Asked {
        type Sleep = ManualSleep;
        fn sleep_until(&self, at: Instant) -> ManualSleep {
            self.0.sleep_until(at)
        }
    }
    let timer = Asked(ManualClock::new(), Arc::default());
    let n = N::new().timer(timer.clone()).grace(secs(10));
    let h = n.handle();
    drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    h.cancel();
    task.stall();
    let before = timer.1.load(SeqCst);
    for _ in 0..5 {
        assert!(task.poll().is_pending());
    }
    // (Under miri a waker and its clone are strangers, so the nursery must look.)
    assert!(timer.1.load(SeqCst) == before || cfg!(miri));
    // What comes is not missed.
    timer.0.advance(secs(10));
    assert!(task.finish().is_err());
    assert!(timer.1.load(SeqCst) > before);
}

#[test]
fn n_20_a_child_that_ignores_cancellation_is_forced_when_the_grace_is_over() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone()).grace(secs(10)).name("ship");
    let h = n.handle();
    let mut join = None;
    let mut task = Task::new(n.run(async {
        join = Some(
            h.child()
                .name("deaf")
                .spawn_graceful(|_| pending::<Result<(), Bad>>()),
        );
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    h.cancel();
    task.stall();
    let polls = task.polls();
    clock.advance(secs(9));
    assert!(!task.is_woken(), "no busy loop");
    assert_eq!(task.polls(), polls);
    clock.advance(secs(1));
    assert!(task.is_woken());
    let failure = task.finish().unwrap_err();
    let forced: Vec<_> = failure.report.forced().collect();
    assert_eq!(forced.len(), 1);
    assert_eq!(forced[0].name.as_deref(), Some("deaf"));
    assert_eq!(forced[0].drain, Some(secs(10)));
    assert_eq!(forced[0].notice, None);
    drop(task);
    let Poll::Ready(Err(error)) = once(&mut join.unwrap()) else {
        panic!()
    };
    assert_eq!(error.kind(), JoinErrorKind::Forced);
    assert_eq!(h.stats().forced, 1);
}

#[test]
fn force_ends_the_grace_at_once() {
    for early in [true, false] {
        let n = N::new();
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
            Ok(())
        }));
        task.stall();
        if !early {
            h.cancel();
            task.stall(); // Without a grace it waits as long as it takes.
        }
        h.force();
        let failure = task.finish().unwrap_err();
        assert_eq!(failure.report.stats.forced, 1);
        assert_eq!(failure.report.drained[0].drain, None, "no timer, no times");
    }
}

#[test]
fn force_on_forces_when_its_token_is_cancelled() {
    let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
    let n = N::new().token(&stop).force_on(&kill);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
        Ok(())
    }));
    task.stall();
    stop.cancel_with(Reason::shutdown());
    task.stall();
    kill.cancel();
    let failure = task.finish().unwrap_err();
    assert_eq!(reason(&failure), ReasonKind::Shutdown);
    assert_eq!(failure.report.stats.forced, 1);
}

#[test]
fn force_on_alone_cancels_for_its_tokens_reason() {
    let kill = CancellationToken::new();
    let n = N::new().force_on(&kill);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
        Ok(())
    }));
    task.stall();
    kill.cancel_with(Reason::shutdown());
    let failure = task.finish().unwrap_err();
    assert_eq!(reason(&failure), ReasonKind::Shutdown);
    assert_eq!(failure.report.stats.forced, 1);
}

#[test]
fn a_zero_grace_forces_in_the_turn_of_the_cancellation() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone()).grace(Duration::ZERO);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
        Ok(())
    }));
    task.stall();
    h.cancel();
    assert_eq!(task.finish().unwrap_err().report.stats.forced, 1);
}

#[test]
fn a_cancelled_nursery_in_which_all_came_to_a_good_end_succeeds() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Ok(())
        }));
        Ok(11)
    }));
    task.stall();
    h.cancel();
    assert_eq!(task.finish().unwrap(), 11);
}

#[test]
fn n_17_a_child_cancels_its_nursery_in_its_first_poll() {
    let n = N::new();
    let h = n.handle();
    let polled = AtomicUsize::new(0);
    let mut task = Task::new(n.run(async {
        let (h2, polled) = (h.clone(), &polled);
        drop(h.spawn(poll_fn(move |_| {
            polled.fetch_add(1, SeqCst);
            h2.cancel_with(Reason::custom(1));
            Poll::<Result<(), Bad>>::Pending
        })));
        pending::<Result<(), Bad>>().await
    }));
    assert_eq!(reason(&task.finish().unwrap_err()), ReasonKind::Custom);
    assert_eq!(polled.load(SeqCst), 1);
}

#[test]
fn n_18_an_outer_cancel_during_an_inner_abort_is_not_swallowed() {
    let outer = N::new();
    let oh = outer.handle();
    let log = Log::new();
    let gate = Gate::new();
    let mut task = Task::new(outer.run(async {
        let (l, g, oh2) = (log.clone(), gate.clone(), oh.clone());
        // The inner nursery is a graceful child of the outer one, by hand.
        let inner = oh.spawn_graceful(|cx| async move {
            let inner = N::new().token(cx.token());
            let ih = inner.handle();
            let result = inner
                .run(async {
                    let g = g.clone();
                    drop(ih.spawn_graceful(|_| async move {
                        g.pass().await;
                        Ok(())
                    }));
                    drop(ih.spawn(fail(1)));
                    Ok(())
                })
                .await;
            l.add(format!("{:?}", error(result.unwrap_err()).0));
            l.add(format!("{}", oh2.token().is_cancelled()));
            Ok(())
        });
        inner.await?;
        pending::<Result<(), Bad>>().await
    }));
    task.stall(); // The inner nursery drains after its own error.
    oh.cancel_with(Reason::shutdown());
    task.stall();
    gate.open();
    assert_eq!(reason(&task.finish().unwrap_err()), ReasonKind::Shutdown);
    assert_eq!(log.take(), "Child(1) true");
}

// ------------------------------------------------------------------ deadlines

#[test]
fn a_deadline_cancels_in_virtual_time() {
    let clock = ManualClock::new();
    let n = N::new()
        .timer(clock.clone())
        .deadline(clock.now() + secs(30));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(pending::<Result<(), Bad>>()));
        Ok(())
    }));
    task.stall();
    clock.advance(secs(29));
    assert!(!task.is_woken());
    clock.advance(secs(1));
    assert_eq!(
        reason(&task.finish().unwrap_err()),
        ReasonKind::DeadlineExceeded
    );
    assert_eq!(clock.next_due(), None, "no sleep is left behind");
}

/// A child that computes looks at the time itself; a budget that goes over the wire is taken from the token.
#[test]
fn a_deadline_is_told_by_the_tokens_of_nursery_and_children() {
    let clock = ManualClock::new();
    let (at, late) = (clock.now() + secs(2), clock.now() + secs(9));
    let parent = CancellationToken::new().child_with_deadline(late);
    for (n, expected) in [
        (N::new().deadline(at), at),
        (N::new().deadline(late).deadline(at), at),
        (N::new().deadline(at).deadline(late), late),
        (N::new().deadline(at).token(&parent), at),
        (N::new().token(&parent).deadline(at), at),
        (N::new().token(&parent), late),
    ] {
        let n = n.timer(&clock);
        let h = n.handle();
        let of_child = h.spawn_graceful(|cx| async move { Ok(cx.token().deadline()) });
        let of_child = Task::new(n.run(async { Ok(of_child.await) })).finish();
        assert_eq!(h.token().deadline(), Some(expected));
        assert_eq!(of_child.unwrap().unwrap(), Some(expected));
    }
    let n = N::new().timer(&clock).deadline(at);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        clock.advance(secs(3));
        assert!(h.token().check_at(clock.now()).is_err());
        pending::<Result<(), Bad>>().await
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(reason(&failure), ReasonKind::DeadlineExceeded);
    // Too late to be told by the token, but in time for the nursery.
    let n = N::new().timer(&clock);
    let h = n.handle();
    let n = n.deadline(clock.now() + secs(1));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    assert_eq!(h.token().deadline(), None);
    clock.advance(secs(1));
    task.finish().unwrap_err();
}

#[test]
fn a_deadline_in_the_past_cancels_before_the_first_poll() {
    let clock = ManualClock::starting_at(Instant::EPOCH + secs(100));
    for at in [Instant::EPOCH, clock.now()] {
        let n = N::new().timer(clock.clone()).deadline(at);
        let h = n.handle();
        drop(h.spawn(async { panic!("a child was polled") }) as umbel_core::Join<()>);
        let mut task = Task::new(n.run::<(), _>(async { panic!("the body was polled") }));
        let failure = task.finish().unwrap_err();
        assert_eq!(reason(&failure), ReasonKind::DeadlineExceeded);
        assert_eq!(failure.report.stats.started, 0);
        assert_eq!(failure.report.stats.cancelled, 1);
    }
}

#[test]
fn a_parents_deadline_is_inherited_and_only_shrinks() {
    let clock = ManualClock::new();
    for (own, expected) in [(5, 5), (50, 20)] {
        let start = clock.now();
        let parent = CancellationToken::new().child_with_deadline(start + secs(20));
        let n = N::new()
            .timer(clock.clone())
            .token(&parent)
            .deadline(start + secs(own));
        let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
        task.stall();
        clock.advance(secs(expected) - Duration::from_nanos(1));
        assert!(!task.is_woken());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(
            reason(&task.finish().unwrap_err()),
            ReasonKind::DeadlineExceeded
        );
    }
}

#[test]
fn a_clock_at_the_end_of_time_neither_panics_nor_fires_early() {
    let clock = ManualClock::starting_at(Instant::from_nanos(u64::MAX));
    let n = N::new()
        .timer(clock.clone())
        .deadline(clock.now() + secs(1))
        .grace(secs(1));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Ok(())
        }));
        Ok(())
    }));
    task.stall();
    h.cancel();
    task.finish().unwrap();

    let n = N::new().timer(clock.clone()).deadline(Instant::NEVER);
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
}

#[test]
#[should_panic(expected = "need `.timer")]
fn a_deadline_without_a_timer_is_refused() {
    drop(N::new().deadline(Instant::EPOCH).run(async { Ok(()) }));
}

#[test]
#[should_panic(expected = "need `.timer")]
fn a_grace_without_a_timer_is_refused() {
    drop(N::new().grace(secs(1)).run(async { Ok(()) }));
}

// ------------------------------------------------------------------ N6: spawning from anywhere

#[test]
fn n_01_a_woken_child_spawns_while_a_sibling_is_parked() {
    let (gate, log) = (Gate::new(), Log::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(pending::<Result<(), Bad>>()));
        let (h2, gate, log) = (h.clone(), gate.clone(), log.clone());
        drop(h.spawn(async move {
            gate.pass().await;
            drop(h2.spawn(async move {
                log.add("grandchild");
                Ok(())
            }));
            Ok(())
        }));
        Ok(())
    }));
    task.stall();
    gate.open();
    task.stall();
    assert_eq!(log.take(), "grandchild");
    assert!(task.polls() <= 5, "{} polls", task.polls());
}

#[test]
fn n_02_a_child_spawns_and_cancels_in_its_poll() {
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let (h2, l) = (h.clone(), log.clone());
    let mut polled = false;
    drop(h.spawn(poll_fn(move |_| {
        assert!(!std::mem::replace(&mut polled, true));
        // Of all that waits, nothing runs while this child is being polled.
        for name in ["queued", "placed"] {
            let (running, gone) = (l.clone(), l.on_drop(format!("{name} is gone")));
            let child = async move {
                let _gone = gone;
                running.add(name);
                pending::<Result<(), Bad>>().await
            };
            match name {
                "placed" => drop(h2.try_spawn(child).expect_err("no room is left")),
                _ => drop(h2.spawn(child)),
            }
        }
        let mut wait = h2.spawn_wait(fail(1));
        assert!(once(&mut wait).is_pending());
        drop(wait);
        l.add("cancels");
        assert!(h2.cancel());
        let mut late = h2.spawn(fail(2));
        assert!(once(&mut late).is_ready());
        Poll::<Result<(), Bad>>::Pending
    })));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    let failure = task.finish().unwrap_err();
    assert_eq!(reason(&failure), ReasonKind::Explicit);
    assert!(failure.rest.is_empty());
    assert_eq!(log.take(), "placed is gone cancels queued is gone");
}

#[test]
fn n_03_a_spawn_while_the_nursery_idles_wakes_it() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    let log = Log::new();
    let l = log.clone();
    let wakes = task.wakes();
    std::thread::scope(|s| {
        s.spawn(|| {
            drop(h.spawn(async move {
                l.add("ran");
                Ok(())
            }));
        });
    });
    assert_eq!(task.wakes(), wakes + 1);
    task.stall();
    assert_eq!(log.take(), "ran");
}

#[test]
fn n_04_a_spawn_in_a_childs_drop_during_teardown() {
    struct SpawnsInDrop<'env>(Handle<'env, Bad>, Log);
    impl Drop for SpawnsInDrop<'_> {
        fn drop(&mut self) {
            let note = self.1.on_drop("late");
            let mut join = self.0.spawn(async move {
                let _note = note;
                Ok(())
            });
            let Poll::Ready(Err(error)) = once(&mut join) else {
                panic!("taken in")
            };
            self.1.add(format!("{:?}", error.kind()));
        }
    }
    for cancel in [true, false] {
        let log = Log::new();
        let n = N::new();
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            let spawner = SpawnsInDrop(h.clone(), log.clone());
            drop(h.spawn(async move {
                let _spawner = spawner;
                pending::<Result<(), Bad>>().await
            }));
            Ok(())
        }));
        task.stall();
        if cancel {
            h.cancel();
            assert!(task.finish().is_err());
        } else {
            drop(task);
        }
        assert_eq!(log.take(), "late Cancelled");
    }
}

#[test]
fn spawning_from_threads_loses_nobody() {
    let (threads, each) = (scaled(3, 2), scaled(2000, 5));
    let ran = AtomicUsize::new(0);
    let left = AtomicUsize::new(threads);
    let done = Gate::new();
    let n = N::new().limit(7);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        done.pass().await;
        Ok(())
    }));
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                for _ in 0..each {
                    let ran = &ran;
                    drop(h.spawn(async move {
                        ran.fetch_add(1, SeqCst);
                        Ok(())
                    }));
                }
                if left.fetch_sub(1, SeqCst) == 1 {
                    done.open();
                }
            });
        }
        loop {
            if let Poll::Ready(result) = task.run() {
                break result.unwrap();
            }
            while !task.is_woken() {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(ran.load(SeqCst), threads * each);
}

// ------------------------------------------------------------------ joins

#[test]
fn joins_tell_what_became_of_the_child() {
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let log = Log::new();
    let mut task = Task::new(n.run(async {
        let (good, bad) = (h.spawn(async { Ok(String::from("x")) }), h.spawn(fail(1)));
        log.add(good.await?);
        log.add(format!("{:?}", bad.await.unwrap_err().kind()));
        Ok(())
    }));
    assert!(task.finish().is_err());
    assert_eq!(log.take(), "x Failed");
}

#[test]
fn a_dropped_join_detaches() {
    let gate = Gate::new();
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let (gate, log) = (gate.clone(), log.clone());
        drop(h.spawn(async move {
            gate.pass().await;
            Ok(log.on_drop("output dropped"))
        }));
        Ok(())
    }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "output dropped");
}

#[test]
fn an_output_outlives_the_nursery_in_its_join() {
    let n = N::new();
    let h = n.handle();
    let log = Log::new();
    let (mut read, mut unread) = (None, None);
    let mut task = Task::new(n.run(async {
        let (a, b) = (log.on_drop("a"), log.on_drop("b"));
        read = Some(h.spawn(async move { Ok(a) }));
        unread = Some(h.spawn(async move { Ok(b) }));
        Ok(())
    }));
    task.finish().unwrap();
    drop(task);
    assert_eq!(log.take(), "");
    let Poll::Ready(Ok(output)) = once(&mut read.unwrap()) else {
        panic!()
    };
    drop(unread);
    assert_eq!(log.take(), "b");
    drop(output);
    assert_eq!(log.take(), "a");
}

#[test]
fn a_join_wakes_whoever_polled_it_last() {
    let gate = Gate::new();
    let n = N::new();
    let h = n.handle();
    let g = gate.clone();
    let mut join = h.spawn(async move {
        g.pass().await;
        Ok(5)
    });
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    assert!(once(&mut join).is_pending());
    let mut other = Task::new(join);
    other.stall();
    gate.open();
    task.finish().unwrap();
    assert!(other.is_woken());
    assert_eq!(other.finish().unwrap(), 5);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn a_join_polled_again_panics() {
    let n = N::new();
    let mut join = n.handle().spawn(ready(Ok(())));
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    let _ = once(&mut join);
    let _ = once(&mut join);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn n_14_a_finished_nursery_polled_again_panics() {
    let mut task = Task::new(N::new().run(async { Ok(()) }));
    task.finish().unwrap();
    let _ = task.poll();
}

// ------------------------------------------------------------------ N9: dropping

#[test]
fn dropping_the_run_drops_children_youngest_first_then_the_body() {
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let _body = log.on_drop("body");
        for i in 0..4 {
            let note = log.on_drop(format!("{i}"));
            drop(h.spawn(async move {
                let _note = note;
                pending::<Result<(), Bad>>().await
            }));
        }
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    let note = log.on_drop("inbox");
    let mut join = h.spawn(async move {
        let _note = note;
        Ok(())
    });
    drop(task);
    assert_eq!(log.take(), "inbox 3 2 1 0 body");
    assert_eq!(h.token().reason().unwrap().kind(), ReasonKind::Dropped);
    let Poll::Ready(Err(error)) = once(&mut join) else {
        panic!()
    };
    assert_eq!(error.kind(), JoinErrorKind::Closed);
    assert!(h.report().is_none());
}

#[test]
fn a_nursery_dropped_unrun_drops_its_children() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let note = log.on_drop("child");
    // A handle inside a child is a cycle until the nursery goes.
    let h2 = h.clone();
    let _join = h.spawn(async move {
        let _keep = (note, h2);
        Ok(())
    });
    drop(h);
    drop(n);
    assert_eq!(log.take(), "child");
}

#[test]
fn no_cycle_stays_with_queued_children_that_hold_handles() {
    let alive = Arc::new(());
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..5 {
            let held = (Arc::clone(&alive), h.clone());
            drop(h.spawn(async move {
                let _held = held;
                pending::<Result<(), Bad>>().await
            }));
        }
        Ok(())
    }));
    task.stall();
    assert_eq!(Arc::strong_count(&alive), 6);
    drop(task);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn forgetting_a_run_is_sound() {
    let n = N::new();
    let h = n.handle();
    let kept = std::rc::Rc::new(std::cell::RefCell::new(None));
    let mut join;
    {
        let mut run = Box::pin(n.run(async { Ok::<(), Bad>(()) }));
        let slot = Arc::new(std::sync::Mutex::new(None::<Waker>));
        let s = Arc::clone(&slot);
        join = h.spawn(poll_fn(move |cx| {
            *s.lock().unwrap() = Some(cx.waker().clone());
            Poll::<Result<(), Bad>>::Pending
        }));
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        *kept.borrow_mut() = slot.lock().unwrap().take();
        // As `mem::forget`; kept in a static so that leak checkers find it reachable.
        static FORGOTTEN: std::sync::Mutex<Vec<Box<dyn Send>>> = std::sync::Mutex::new(Vec::new());
        FORGOTTEN.lock().unwrap().push(Box::new(run));
    }
    // A waker and a join of a leaked child still work, they just lead nowhere.
    kept.borrow().as_ref().unwrap().wake_by_ref();
    assert!(once(&mut join).is_pending());
    drop(join);
    // Spawned into a leaked nursery: leaked with it, never run.
    drop(h.spawn(fail(1)));
}

// ------------------------------------------------------------------ N10: fairness

#[test]
fn n_10_a_nursery_that_yields_wakes_its_task_once() {
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..100 {
            drop(h.spawn(async { Ok(()) }));
        }
        Ok(())
    }));
    assert!(task.poll().is_pending());
    assert_eq!(task.wakes(), 1, "it has yielded");
    drop(h.spawn(async { Ok(()) }));
    h.cancel();
    assert_eq!(task.wakes(), 1, "it was woken already");
    assert!(task.finish().is_err());
}

#[test]
fn n_10_an_always_ready_child_starves_nobody_and_the_outer_task_yields() {
    let (greedy, meek) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let (greedy, meek) = (&greedy, &meek);
        drop(h.spawn(poll_fn(move |cx| {
            greedy.fetch_add(1, SeqCst);
            cx.waker().wake_by_ref();
            Poll::<Result<(), Bad>>::Pending
        })));
        for _ in 0..3 {
            drop(h.spawn(async move {
                for _ in 0..10 {
                    yields(1).await;
                    meek.fetch_add(1, SeqCst);
                }
                Ok(())
            }));
        }
        Ok(())
    }));
    for turn in 1..=12 {
        assert!(task.poll().is_pending());
        assert!(task.is_woken(), "it is not done");
        assert!(greedy.load(SeqCst) <= turn, "once a turn");
    }
    assert_eq!(meek.load(SeqCst), 30);
}

#[test]
fn a_queue_of_ready_children_does_not_keep_the_outer_task() {
    let ran = AtomicUsize::new(0);
    let children = scaled(1000, 100);
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..children {
            let ran = &ran;
            drop(h.spawn(async move {
                ran.fetch_add(1, SeqCst);
                Ok(())
            }));
        }
        Ok(())
    }));
    assert!(task.poll().is_pending());
    assert!(ran.load(SeqCst) < 100, "{}", ran.load(SeqCst));
    assert!(task.is_woken());
    task.finish().unwrap();
    assert_eq!(ran.load(SeqCst), children);
}

/// Spawns one like itself and ends.
fn breeds<'env>(h: Handle<'env, Bad>, born: &'env AtomicUsize) -> Breed<'env> {
    Box::pin(async move {
        born.fetch_add(1, SeqCst);
        let next = breeds(h.clone(), born);
        drop(h.spawn(next));
        Ok(())
    })
}

type Breed<'env> = Pin<Box<dyn Future<Output = Result<(), Bad>> + Send + 'env>>;

#[test]
fn n10_children_that_spawn_without_end_let_the_outer_task_and_siblings_go_on() {
    let limits = [1, 2, 7, usize::MAX];
    for &limit in &limits[..scaled(4, 2)] {
        let born = AtomicUsize::new(0);
        let gate = Gate::new();
        let n = N::new().limit(limit);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            gate.pass().await;
            h.cancel();
            pending::<Result<(), Bad>>().await
        }));
        for _ in 0..3 {
            drop(h.spawn(breeds(h.clone(), &born)));
        }
        for _ in 0..scaled(10, 3) {
            let before = born.load(SeqCst);
            assert!(task.poll().is_pending());
            assert!(task.is_woken(), "there is more to do");
            let born = born.load(SeqCst) - before;
            assert!(
                (1..=100).contains(&born),
                "{born} in one turn, limit {limit}"
            );
        }
        gate.open();
        assert_eq!(reason(&task.finish().unwrap_err()), ReasonKind::Explicit);
    }
}

#[test]
fn n_11_many_wakes_are_one_wake_of_the_parent() {
    let wakers = std::sync::Mutex::new(Vec::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..scaled(1000, 50) {
            let wakers = &wakers;
            drop(h.spawn(poll_fn(move |cx| {
                wakers.lock().unwrap().push(cx.waker().clone());
                Poll::<Result<(), Bad>>::Pending
            })));
        }
        Ok(())
    }));
    task.stall();
    let wakes = task.wakes();
    for waker in std::mem::take(&mut *wakers.lock().unwrap()) {
        waker.wake_by_ref();
        waker.wake();
    }
    assert_eq!(task.wakes(), wakes + 1);
}

#[test]
fn only_woken_children_and_a_woken_body_are_polled() {
    let (a, b) = (Gate::new(), Gate::new());
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let l = log.clone();
    let mut body = Box::pin(pending::<Result<(), Bad>>());
    let body = poll_fn(move |cx| {
        l.add("body");
        body.as_mut().poll(cx)
    });
    for (name, gate) in [("a", &a), ("b", &b)] {
        let (l, mut pass) = (log.clone(), Box::pin(gate.pass()));
        drop(h.spawn(poll_fn(move |cx| {
            l.add(name);
            pass.as_mut().poll(cx).map(Ok)
        })));
    }
    let mut task = Task::new(n.run(body));
    task.stall();
    assert_eq!(log.take_sorted(), "a b body");
    b.open();
    task.stall();
    assert_eq!(log.take(), "b");
    let _ = task.poll();
    assert_eq!(log.take(), "", "a spurious poll polls nobody");
    a.open();
    task.stall();
    assert_eq!(log.take(), "a");
}

// ------------------------------------------------------------------ with the other parts

#[test]
fn a_child_can_be_cancelled_alone_with_its_own_token() {
    let own = CancellationToken::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let own = own.clone();
        let join = h.spawn(async move { Ok(pending::<()>().or_cancelled(&own).await.is_err()) });
        Ok(join.await?)
    }));
    task.stall();
    own.cancel();
    assert!(task.finish().unwrap());
}

#[test]
fn debug_of_everything() {
    let n = N::new().name("scope");
    let h = n.handle();
    let child = format!("{:?}", h.child().name("kid"));
    assert!(child.contains("kid"), "{child}");
    assert!(format!("{n:?} {h:?}").contains("scope"));
    let run = n.run(async { Ok(()) });
    assert!(format!("{run:?}").contains("scope"));
}

/// What a method refers to by `&self` goes while it runs. Miri sees who looks back.
#[test]
fn n_29_the_last_reference_goes_inside_a_method() {
    type Held = Arc<std::sync::Mutex<Option<Box<dyn Send>>>>;

    /// Drops what it holds when it is woken.
    struct Drops(Held);
    impl std::task::Wake for Drops {
        fn wake(self: Arc<Self>) {
            let held = self.0.lock().unwrap().take();
            drop(held);
        }
    }
    let drops = || {
        let held = Held::default();
        (held.clone(), Waker::from(Arc::new(Drops(held))))
    };
    let alive = Arc::new(());

    // `cancel` through a handle drops the nursery's future.
    let n = Nursery::<()>::new();
    let h = n.handle();
    let kept = alive.clone();
    let mut run = Box::pin(n.run(async move {
        let _kept = kept;
        pending::<Result<(), ()>>().await
    }));
    let (held, waker) = drops();
    let mut cx = Context::from_waker(&waker);
    assert!(run.as_mut().poll(&mut cx).is_pending());
    *held.lock().unwrap() = Some(Box::new(run));
    assert!(h.cancel());
    assert_eq!(Arc::strong_count(&alive), 1);

    // The end of a child wakes its joiner, who drops the join: the child's own end is then its last.
    let n = Nursery::<()>::new();
    let h = n.handle();
    let gate = Gate::new();
    let (pass, kept) = (gate.pass(), alive.clone());
    let mut join = Box::pin(h.spawn(async move {
        pass.await;
        Ok(kept)
    }));
    let (held, waker) = drops();
    assert!(
        join.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *held.lock().unwrap() = Some(Box::new(join));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(Arc::strong_count(&alive), 1);

    // A child drops the last handle and the join of its own.
    let n = Nursery::<()>::new();
    let h = n.handle();
    let own: Arc<std::sync::Mutex<Option<umbel_core::Join<Arc<()>>>>> = Arc::default();
    let (mine, last, kept) = (own.clone(), h.clone(), alive.clone());
    let join = h.spawn(async move {
        drop((mine.lock().unwrap().take(), last));
        Ok(kept)
    });
    *own.lock().unwrap() = Some(join);
    drop(h);
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(Arc::strong_count(&alive), 1);
}
