//! N6, and priorities of N5: waiting for a start, services, who comes first.

use std::future::{Future, pending};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;
use umbel_core::{
    JoinError, JoinErrorKind, KeepGoing, LocalNursery, ManualClock, Nursery, Priority, Reason,
    ReasonKind, Started,
};
use umbel_tests::bad::Bad;
use umbel_tests::counting::{live_bytes, waker_with_drop};
use umbel_tests::exec::{Gate, Log, Task, yields};

type N<'env> = Nursery<'env, Bad>;

const SEC: Duration = Duration::from_secs(1);

fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn idle(log: &Log, name: &str) -> Result<(), Bad> {
    let _drop = log.on_drop(name);
    pending().await
}

// ------------------------------------------------------------------ start

#[test]
fn n_21_who_starts_a_child_waits_until_it_says_so() {
    let (log, bound, done) = (Log::new(), Gate::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let (port, server) = h
            .child()
            .name("server")
            .start(|started| {
                let (log, bound, done) = (&log, &bound, &done);
                async move {
                    bound.pass().await;
                    started.send(80).unwrap();
                    log.add("serves");
                    done.pass().await;
                    Ok("served")
                }
            })
            .await?;
        log.add("started");
        assert_eq!(server.await?, "served");
        Ok(port)
    }));
    task.stall();
    assert_eq!(log.take(), "");
    bound.open();
    task.stall();
    assert_eq!(log.take(), "serves started");
    done.open();
    assert_eq!(task.finish().unwrap(), 80);
}

#[test]
fn n_21_a_child_that_says_so_and_ends_has_started() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let start = h.start(|started| async move {
            started.send("value").unwrap();
            Ok(7)
        });
        // Ended before anybody waits.
        yields(3).await;
        let (value, join) = start.await?;
        assert_eq!((value, join.await?), ("value", 7));
        let failed = h.start(|started| async move {
            started.send("other").unwrap();
            Err::<(), _>(Bad)
        });
        let (value, join) = failed.await?;
        assert_eq!(value, "other");
        assert_eq!(join.await.unwrap_err().kind(), JoinErrorKind::Failed);
        Ok(())
    }));
    assert_eq!(task.finish().unwrap_err().report.stats.failed, 1);
}

#[test]
fn n_21_a_child_that_dies_early_is_told_to_who_starts_it() {
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let failed = h.start(|started: Started<()>| async move {
            yields(2).await;
            drop(started);
            Err::<(), _>(Bad)
        });
        let failed = failed.await.unwrap_err();
        let forgot = h.start(|started: Started<()>| async move {
            drop(started);
            yields(2).await;
            Ok(())
        });
        let forgot = forgot.await.unwrap_err();
        let text = forgot.to_string();
        assert!(
            text.ends_with("ended without saying that it had started"),
            "{text}"
        );
        // Its name is told, though it has ended well and its block is gone.
        let listener = h.child().name(format!("listener {}", 1));
        let listener = listener.start_graceful(|_, _: Started<()>| async { Ok(()) });
        let listener = listener.await.unwrap_err();
        assert_eq!(listener.kind(), JoinErrorKind::Unstarted);
        assert_eq!(listener.who().name(), Some("listener 1"));
        let text = listener.to_string();
        assert!(text.contains("\"listener 1\""), "{text}");
        let named = h
            .child()
            .name("a")
            .start(|_: Started<()>| pending::<Result<(), Bad>>());
        h.cancel_named("a", Reason::custom(3));
        let named = named.await.unwrap_err();
        assert_eq!(named.reason().unwrap().code(), Some(3));
        Ok([failed, forgot, named].map(|error| error.kind()))
    }));
    let failure = task.finish().map(|_| ()).unwrap_err();
    // Its own error is the nursery's.
    assert_eq!(failure.errors().count(), 1);

    let n = LocalNursery::<JoinError>::new();
    let h = n.handle();
    let kinds = Task::new(n.run(async {
        let forgot = h.start(|_: Started<std::rc::Rc<()>>| async { Ok(()) });
        Ok(forgot.await.unwrap_err().kind())
    }))
    .finish();
    assert_eq!(kinds.unwrap(), JoinErrorKind::Unstarted);
}

#[test]
fn n_21_a_panic_before_the_start_is_told() {
    let n = N::new();
    let h = n.handle();
    let start = h.start(|_: Started<()>| async { panic!("early") as Result<(), Bad> });
    let mut task = Task::new(n.run(async { Ok(()) }));
    assert!(catch_unwind(AssertUnwindSafe(|| task.run())).is_err());
    let Poll::Ready(Err(error)) = once(start) else {
        panic!()
    };
    assert_eq!(error.kind(), JoinErrorKind::Panicked);
}

#[test]
fn n_21_a_nursery_that_is_cancelled_tells_who_starts_a_child_in_it() {
    let (inner, outer) = (N::new(), N::new());
    let (target, h) = (inner.handle(), outer.handle());
    let mut task = Task::new(outer.run(async {
        // From another nursery, whose body goes on.
        let start = target.start(|_: Started<()>| pending::<Result<(), Bad>>());
        let error = start.await.unwrap_err();
        let late = target
            .start(|_: Started<()>| async { Ok(()) })
            .await
            .unwrap_err();
        Ok((error, late))
    }));
    let mut inner = Task::new(inner.run(pending::<Result<(), _>>()));
    task.stall();
    inner.stall();
    target.cancel_with(Reason::shutdown());
    assert!(inner.finish().is_err());
    let (error, late) = task.finish().unwrap();
    for error in [error, late] {
        let why = error.reason().unwrap().kind();
        assert_eq!(
            (error.kind(), why),
            (JoinErrorKind::Cancelled, ReasonKind::Shutdown)
        );
    }
    assert!(!h.token().is_cancelled());
    let gone = target.start(|_: Started<()>| async { Ok(()) });
    assert!(once(gone).is_ready());
}

#[test]
fn n_21_a_nursery_that_is_dropped_tells_who_starts_a_child_in_it() {
    let n = N::new();
    let h = n.handle();
    let start = h.start(|_: Started<()>| pending::<Result<(), Bad>>());
    drop(n);
    let Poll::Ready(Err(error)) = once(start) else {
        panic!()
    };
    assert_eq!(error.kind(), JoinErrorKind::Closed);
}

#[test]
fn n_21_who_goes_before_the_start_takes_the_child_along() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.start(|_: Started<()>| async {
            log.add("never polled");
            Ok(())
        }));
        let mut start = Box::pin(h.start(|started: Started<()>| {
            let log = &log;
            async move {
                idle(log, "plain").await?;
                drop(started);
                Ok(())
            }
        }));
        let mut told = Box::pin(h.child().start_graceful(|cx, started| {
            let (log, gate) = (&log, &gate);
            async move {
                cx.token().cancelled().await;
                assert_eq!(cx.token().reason().unwrap().kind(), ReasonKind::Dropped);
                assert_eq!(started.send(5), Err(5), "nobody waits for it");
                log.add("told");
                gate.pass().await;
                Ok(())
            }
        }));
        std::future::poll_fn(|cx| {
            assert!(start.as_mut().poll(cx).is_pending());
            assert!(told.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        yields(2).await;
        drop((start, told));
        Ok(())
    }));
    task.stall();
    assert_eq!(log.take_sorted(), "plain told");
    gate.open();
    task.finish().unwrap();
    assert_eq!((h.stats().cancelled, h.stats().done), (2, 1));
}

#[test]
fn n_21_who_goes_after_the_start_leaves_the_child_alone() {
    let (log, gate) = (Log::new(), Gate::new());
    let held = Arc::new(());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let start = h.start(|started| {
            let (value, log, gate) = (Arc::clone(&held), &log, &gate);
            async move {
                started.send(value).unwrap();
                gate.pass().await;
                log.add("lived");
                Ok(())
            }
        });
        yields(2).await;
        assert_eq!(Arc::strong_count(&held), 2);
        drop(start);
        assert_eq!(Arc::strong_count(&held), 1, "its value is dropped");
        Ok(())
    }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "lived");
}

/// The child goes along although the waker of who waited for it panics.
#[test]
fn n_21_who_goes_with_a_waker_that_panics_takes_the_child_along() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        pending::<()>().await;
        Ok(())
    }));
    let mut start = Box::pin(h.start(|started: Started<()>| {
        let log = log.clone();
        async move {
            let _started = started;
            idle(&log, "gone").await
        }
    }));
    let waker = waker_with_drop(|| panic!("hostile waker"));
    let polled = start.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop(waker);
    task.stall();
    catch_unwind(AssertUnwindSafe(|| drop(start))).unwrap_err();
    task.stall();
    assert_eq!(log.take(), "gone");
}

/// Nor is anything leaked if the output of a child that never said so panics when it is dropped.
#[test]
fn n_21_an_output_that_panics_takes_nothing_along() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            // Not `panic!`, whose message the test program would keep.
            resume_unwind(Box::new("hostile output"));
        }
    }
    let fail = || {
        let n = N::new();
        let h = n.handle();
        let mut start = Box::pin(h.start(|started: Started<()>| async move {
            drop(started);
            Ok(Bomb)
        }));
        Task::new(n.run(async { Ok(()) })).finish().unwrap();
        drop(catch_unwind(AssertUnwindSafe(|| once(start.as_mut()).is_ready())).unwrap_err());
    };
    // What the first time leaves behind in pools stays.
    fail();
    let before = live_bytes();
    fail();
    assert_eq!(live_bytes(), before);
}

#[test]
fn n_21_a_start_waits_for_room() {
    let gate = Gate::new();
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(async {
            gate.pass().await;
            Ok(())
        }));
        let start = h.start(|started| async move {
            started.send(1).unwrap();
            Ok(())
        });
        Ok(start.await?.0)
    }));
    task.stall();
    gate.open();
    assert_eq!(task.finish().unwrap(), 1);
}

// ------------------------------------------------------------------ services

#[test]
fn services_are_cancelled_when_the_others_have_ended() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let plain = h.child().name("plain").service().spawn(idle(&log, "plain"));
        let told = h.child().service().spawn_graceful(|cx| {
            let log = &log;
            async move {
                cx.token().cancelled().await;
                log.add("told");
                yields(3).await;
                log.add("drained");
                Ok(5)
            }
        });
        // They take no place.
        let tried = h.child().service().try_spawn(idle(&log, "tried")).unwrap();
        let waited = h.child().service().spawn_wait(idle(&log, "waited")).await?;
        for _ in 0..2 {
            drop(h.spawn(async {
                gate.pass().await;
                log.add("child");
                Ok(())
            }));
        }
        Ok((plain, told, tried, waited))
    }));
    task.stall();
    assert_eq!(h.stats().started, 5);
    assert_eq!(log.take(), "");
    gate.open();
    let (plain, told, tried, waited) = task.finish().unwrap();
    let log = log.take();
    let (children, services) = log.split_at("child child ".len());
    assert_eq!(children, "child child ");
    assert!(services.ends_with("drained"), "{services}");
    assert!(!h.token().is_cancelled());
    assert_eq!(told.now_or_never().unwrap().unwrap(), 5);
    for join in [plain, tried, waited] {
        let error = join.now_or_never().unwrap().unwrap_err();
        let why = error.reason().unwrap().kind();
        assert_eq!(
            (error.kind(), why),
            (JoinErrorKind::Cancelled, ReasonKind::Explicit)
        );
    }
    let stats = h.stats();
    assert_eq!((stats.done, stats.cancelled, stats.failed), (3, 3, 0));
}

#[test]
fn a_service_is_forced_when_the_grace_is_over() {
    let (clock, log) = (ManualClock::new(), Log::new());
    let n = N::new().timer(&clock).grace(SEC);
    let h = n.handle();
    drop(h.child().service().spawn_graceful(|_| idle(&log, "forced")));
    let mut task = Task::new(n.run(async { Ok(7) }));
    task.stall();
    clock.advance(SEC);
    assert_eq!(task.finish().unwrap(), 7);
    assert_eq!(log.take(), "forced");
    assert_eq!(h.stats().forced, 1);
}

#[test]
fn a_nursery_that_is_cancelled_while_it_serves_nobody_succeeds() {
    let n = N::new();
    let h = n.handle();
    let gate = Gate::new();
    drop(h.child().service().spawn_graceful(|cx| {
        let gate = gate.clone();
        async move {
            cx.token().cancelled().await;
            gate.pass().await;
            Ok(())
        }
    }));
    drop(h.child().service().spawn::<(), _>(pending()));
    let mut task = Task::new(n.run(async { Ok(7) }));
    task.stall();
    h.cancel();
    task.stall();
    gate.open();
    assert_eq!(task.finish().unwrap(), 7);
}

#[test]
fn a_services_own_error_is_an_error() {
    let n = N::new();
    let h = n.handle();
    drop(h.child().service().spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        Err::<(), _>(Bad)
    }));
    let failure = Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    assert_eq!(failure.report.stats.failed, 1);
}

#[test]
fn what_a_service_spawns_is_waited_for() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    drop(h.child().service().spawn_graceful(|cx| {
        let (h, log, gate) = (h.clone(), log.clone(), gate.clone());
        async move {
            cx.token().cancelled().await;
            drop(h.spawn(async move {
                gate.pass().await;
                log.add("flushed");
                Ok(())
            }));
            drop(h.child().service().spawn::<(), _>(pending()));
            Ok(())
        }
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "flushed");
}

#[test]
fn who_waits_for_a_service_waits_in_vain() {
    let n = N::new();
    let h = n.handle();
    let service = h.child().service().spawn::<(), _>(pending());
    let after = h.child().after(&[service.id()]).spawn(async { Ok(()) });
    let good = h.spawn(async { Ok(()) });
    // A service may wait itself.
    let second = h
        .child()
        .after(&[good.id()])
        .service()
        .spawn::<(), _>(pending());
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    let kind = |join: umbel_core::Join<()>| join.now_or_never().unwrap().unwrap_err().kind();
    assert_eq!(kind(after), JoinErrorKind::Skipped);
    assert_eq!(kind(second), JoinErrorKind::Cancelled);
    assert_eq!(h.stats().started, 3);
}

// ------------------------------------------------------------------ priorities

#[test]
fn of_the_woken_the_higher_come_first_and_each_once_a_turn() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        use Priority::{High, Low, Normal};
        for (priority, name) in [(Low, "low"), (Normal, "mid"), (High, "high"), (Low, "low")] {
            let log = &log;
            drop(h.child().priority(priority).spawn(async move {
                for _ in 0..3 {
                    log.add(name);
                    yields(1).await;
                }
                Ok(())
            }));
        }
        Ok(())
    }));
    for turn in 0..3 {
        assert!(task.poll().is_pending());
        assert!(task.is_woken());
        assert_eq!(log.take(), "high mid low low", "{turn}");
    }
    task.finish().unwrap();
    assert_eq!(log.take(), "");
}

#[test]
fn each_priority_wakes_the_nursery() {
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let gate = Gate::new();
        let n = N::new();
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            drop(h.child().priority(Priority::Low).spawn(async {
                gate.pass().await;
                Ok(())
            }));
            h.child()
                .priority(priority)
                .spawn(async {
                    gate.pass().await;
                    Ok(())
                })
                .await?;
            Ok(())
        }));
        task.stall();
        let polls = task.polls();
        task.stall();
        assert_eq!(
            task.polls(),
            polls + 1,
            "nothing to do, and it is not polled again"
        );
        gate.open();
        assert!(task.is_woken());
        task.finish().unwrap();
    }
}

#[test]
fn children_of_all_priorities_wake_the_outer_task_once() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for (gate, priority) in gates
            .iter()
            .zip([Priority::High, Priority::Normal, Priority::Low])
        {
            drop(h.child().priority(priority).spawn(async {
                gate.pass().await;
                Ok(())
            }));
        }
        Ok(())
    }));
    task.stall();
    let before = task.wakes();
    gates.iter().for_each(Gate::open);
    assert_eq!(task.wakes() - before, 1);
    task.finish().unwrap();
}

#[test]
fn of_those_who_wait_for_room_the_higher_start_first() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(async {
            gate.pass().await;
            Ok(())
        }));
        use Priority::{High, Low, Normal};
        let order = [
            (Low, "5"),
            (Normal, "3"),
            (High, "1"),
            (Low, "6"),
            (High, "2"),
            (Normal, "4"),
        ];
        for (priority, name) in order {
            let log = &log;
            drop(h.child().priority(priority).spawn(async move {
                log.add(name);
                yields(1).await;
                Ok(())
            }));
        }
        Ok(())
    }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "1 2 3 4 5 6");
}

#[test]
fn a_panic_among_the_high_ends_the_low() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    drop(h.child().priority(Priority::Low).spawn(idle(&log, "low")));
    drop(h.child().priority(Priority::High).spawn(idle(&log, "high")));
    let mut task = Task::new(n.run(pending::<Result<(), _>>()));
    task.stall();
    drop(
        h.child()
            .priority(Priority::High)
            .spawn::<(), _>(async { panic!("high") }),
    );
    assert!(catch_unwind(AssertUnwindSafe(|| task.run())).is_err());
    assert_eq!(log.take(), "high low", "youngest first");
}

#[test]
fn n6_a_service_that_has_cancelled_itself_is_dismissed_all_the_same() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone()).grace(SEC);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let service = h.child().service().spawn_graceful(|cx| async move {
            cx.token().cancel();
            pending::<Result<(), Bad>>().await
        });
        drop(service);
        yields(2).await;
        Ok(())
    }));
    task.stall();
    clock.advance(SEC);
    assert!(task.run().is_ready(), "its grace is over");
}

/// Runs code when dropped.
struct WhenDropped<F: FnMut()>(F);

impl<F: FnMut()> Drop for WhenDropped<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn n6_services_outlive_who_comes_when_the_last_one_gives_up() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let service = h.child().service().spawn(idle(&log, "service"));
        let (handle, log) = (h.clone(), &log);
        let spawns = WhenDropped(move || {
            drop(handle.spawn(async move {
                yields(1).await;
                log.add("late");
                Ok(())
            }));
        });
        // In vain: a service ends after the others.
        let waits = h.child().after(&[service.id()]).spawn(async move {
            let _spawns = spawns;
            Ok(())
        });
        drop(waits);
        Ok(())
    }));
    task.finish().unwrap();
    assert_eq!(log.take(), "late service");
}

#[test]
fn n4_a_graceful_child_that_cancels_its_token_cancels_nobody_else() {
    for named in [false, true] {
        let n = N::new();
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            let child = if named {
                h.child().name("x")
            } else {
                h.child()
            };
            let other = h.spawn(async {
                yields(3).await;
                Ok(5)
            });
            let alone = child.spawn_graceful(|cx| async move {
                cx.token().cancel();
                cx.token().cancelled().await;
                Ok(())
            });
            alone.await?;
            Ok(other.await?)
        }));
        assert_eq!(task.finish().unwrap(), 5, "named: {named}");
    }
}

/// The waker that was to hear of the start is kept twice, by the handing over and by the join.
#[test]
fn n_21_who_goes_with_a_waker_whose_drops_panic_takes_the_child_along() {
    static ARMED: AtomicBool = AtomicBool::new(false);
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |at| RawWaker::new(at, &TABLE),
        |_| (),
        |_| (),
        |_| assert!(!ARMED.load(SeqCst), "a waker's drop"),
    );
    // SAFETY: nothing is behind the pointer, and the functions read nothing.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
    let waker = ManuallyDrop::new(waker);
    let n = N::new();
    let h = n.handle();
    let log = Log::new();
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    let mut start = Box::pin(h.start(|started: Started<u8>| {
        let gone = log.on_drop("gone");
        async move {
            let _keeps = (started, gone);
            pending::<Result<(), Bad>>().await
        }
    }));
    assert!(
        start
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    ARMED.store(true, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(start))).is_err());
    ARMED.store(false, SeqCst);
    task.stall();
    assert_eq!(log.take(), "gone");
}
