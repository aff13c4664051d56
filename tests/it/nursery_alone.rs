//! N5: children that end alone: by their own time or handle, by name, by key.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;
use umbel_core::{
    Cause, ChildContext, Clock, Failure, Handle, Instant, Join, JoinError, JoinErrorKind,
    LocalNursery, ManualClock, Nursery, Reason, ReasonKind,
};
use umbel_tests::exec::{Gate, Log, Task, yields};
use umbel_tests::scaled;

type N<'env> = Nursery<'env, JoinError>;
type H<'env> = Handle<'env, JoinError>;

const SEC: Duration = Duration::from_secs(1);

fn ended<T>(join: Join<T>) -> (JoinErrorKind, ReasonKind) {
    let error = join.now_or_never().expect("it has ended").err().unwrap();
    (error.kind(), error.reason().unwrap().kind())
}

const LATE: (JoinErrorKind, ReasonKind) = (JoinErrorKind::Cancelled, ReasonKind::DeadlineExceeded);
const STOPPED: (JoinErrorKind, ReasonKind) = (JoinErrorKind::Cancelled, ReasonKind::Explicit);

/// Runs until it is dropped, which the log tells.
async fn idle(log: &Log, name: &str) -> Result<(), JoinError> {
    let _drop = log.on_drop(name);
    pending().await
}

/// Ends so long after it was told.
async fn slow(cx: ChildContext, clock: &ManualClock, d: Duration) -> Result<u32, JoinError> {
    use umbel_core::Timer;
    cx.token().cancelled().await;
    clock.sleep_until(clock.now() + d).await;
    Ok(7)
}

// ------------------------------------------------------------------ by time

#[test]
fn a_child_whose_time_is_over_is_dropped_alone() {
    let (clock, log, gate) = (ManualClock::new(), Log::new(), Gate::new());
    let n = N::new().timer(&clock);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let at = h
            .child()
            .deadline(clock.now() + SEC)
            .spawn(idle(&log, "at"));
        let after = h.child().timeout(2 * SEC).spawn(idle(&log, "after"));
        let never = h.child().timeout(Duration::MAX).spawn(async {
            gate.pass().await;
            Ok(())
        });
        Ok((at, after, never))
    }));
    task.stall();
    assert_eq!(clock.next_due(), Some(clock.now() + SEC));
    clock.advance(SEC - Duration::from_nanos(1));
    task.stall();
    assert_eq!(log.take(), "");
    clock.advance(Duration::from_nanos(1));
    task.stall();
    assert_eq!(log.take(), "at");
    clock.advance(SEC);
    task.stall();
    assert_eq!(log.take(), "after");
    assert_eq!(clock.next_due(), None, "nothing is left to wait for");
    gate.open();
    let (at, after, never) = task.finish().unwrap();
    assert_eq!((ended(at), ended(after)), (LATE, LATE));
    assert!(never.now_or_never().unwrap().is_ok());
    let stats = h.stats();
    assert_eq!((stats.started, stats.done, stats.cancelled), (3, 1, 2));
    assert!(!h.token().is_cancelled());
}

#[test]
fn of_several_times_the_earliest_holds() {
    for order in 0..2 {
        let (clock, log) = (ManualClock::new(), Log::new());
        let n = N::new().timer(&clock);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            let (early, late) = (clock.now() + SEC, clock.now() + 9 * SEC);
            let child = match order {
                0 => h.child().deadline(late).deadline(early).timeout(5 * SEC),
                _ => h.child().timeout(9 * SEC).timeout(SEC).deadline(late),
            };
            drop(child.spawn(idle(&log, "dropped")));
            Ok(())
        }));
        task.stall();
        clock.advance(SEC);
        task.finish().unwrap();
        assert_eq!(log.take(), "dropped");
    }
}

#[test]
fn a_time_that_is_over_at_once_lets_nothing_be_polled() {
    let (clock, log) = (ManualClock::starting_at(Instant::from_nanos(9)), Log::new());
    let n = N::new().timer(&clock);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let polled = || async {
            log.add("polled");
            Ok(())
        };
        let past = h.child().deadline(Instant::from_nanos(9)).spawn(polled());
        let none = h.child().timeout(Duration::ZERO).spawn(polled());
        let told = h
            .child()
            .timeout(Duration::ZERO)
            .spawn_graceful(|cx| async move {
                assert!(cx.token().is_cancelled());
                Ok(7)
            });
        Ok((past, none, told))
    }));
    let (past, none, told) = task.finish().unwrap();
    assert_eq!(log.take(), "");
    let error = past.now_or_never().unwrap().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("was cancelled before it began: "), "{text}");
    assert_eq!(ended(none), LATE);
    assert_eq!(told.now_or_never().unwrap().unwrap(), 7);
    assert_eq!((h.stats().started, h.stats().cancelled), (1, 2));
}

#[test]
fn who_waits_for_room_past_his_time_never_starts() {
    let (clock, log, gate) = (ManualClock::new(), Log::new(), Gate::new());
    let n = N::new().timer(&clock).limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(async {
            gate.pass().await;
            Ok(())
        }));
        let polled = || async {
            log.add("polled");
            Ok(())
        };
        let late = h.child().timeout(SEC).spawn(polled());
        let told = h.child().timeout(SEC).spawn_graceful(|_| polled());
        let wait = h.child().timeout(SEC).spawn_wait(polled()).await;
        assert_eq!(wait.unwrap_err().kind(), JoinErrorKind::Cancelled);
        log.add("refused");
        Ok((late, told, h.child().timeout(3 * SEC).spawn(polled())))
    }));
    task.stall();
    clock.advance(SEC);
    task.stall();
    assert_eq!(log.take(), "refused");
    gate.open();
    let (late, told, on_time) = task.finish().unwrap();
    assert_eq!((ended(late), ended(told)), (LATE, LATE));
    assert!(on_time.now_or_never().unwrap().is_ok());
    assert_eq!(log.take(), "polled");
    assert_eq!(clock.next_due(), None);
}

#[test]
fn a_child_that_ends_in_time_takes_its_time_along() {
    let clock = ManualClock::new();
    let n = N::new().timer(&clock).limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..3 {
            h.child()
                .timeout(SEC)
                .spawn(async {
                    yields(2).await;
                    Ok(())
                })
                .await?;
        }
        pending::<()>().await;
        Ok(())
    }));
    task.stall();
    assert_eq!(clock.next_due(), None);
    assert_eq!(clock.next_due(), None);
    drop(task);
    assert_eq!(clock.next_due(), None);
}

#[test]
fn the_nurserys_time_and_the_childrens_share_an_alarm() {
    let (clock, log) = (ManualClock::new(), Log::new());
    let n = N::new()
        .timer(&clock)
        .deadline(clock.now() + 2 * SEC)
        .grace(5 * SEC);
    let h = n.handle();
    let mut task = Task::new(n.run::<(), _>(async {
        drop(h.child().timeout(SEC).spawn(idle(&log, "1s")));
        drop(h.child().timeout(3 * SEC).spawn(idle(&log, "3s")));
        // Its deadline comes while the nursery drains, and changes nothing: it has been told.
        let told = h
            .child()
            .timeout(4 * SEC)
            .spawn_graceful(|_| idle(&log, "told"));
        let _told = told;
        pending::<Result<(), _>>().await
    }));
    task.stall();
    assert_eq!(clock.next_due(), Some(clock.now() + SEC));
    clock.advance(SEC);
    task.stall();
    assert_eq!(log.take(), "1s");
    assert_eq!(clock.next_due(), Some(clock.now() + SEC));
    clock.advance(SEC);
    task.stall();
    assert_eq!(log.take(), "3s");
    clock.advance(4 * SEC);
    task.stall();
    assert_eq!(log.take(), "");
    clock.advance(SEC);
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "told");
    let why = failure.cancelled().unwrap().kind();
    assert_eq!(why, ReasonKind::DeadlineExceeded);
    assert_eq!(failure.report.stats.forced, 1);
    assert_eq!(failure.report.drained[0].drain, Some(5 * SEC));
}

#[test]
fn a_graceful_child_is_told_and_has_the_grace() {
    let (clock, log) = (ManualClock::new(), Log::new());
    let n = N::new().timer(&clock).grace(2 * SEC);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let good = h
            .child()
            .timeout(SEC)
            .spawn_graceful(|cx| slow(cx, &clock, SEC));
        let bad = h
            .child()
            .name("bad")
            .timeout(2 * SEC)
            .spawn_graceful(|_| idle(&log, "forced"));
        Ok((good, bad))
    }));
    task.stall();
    for _ in 0..3 {
        clock.advance(SEC);
        task.stall();
    }
    assert_eq!(log.take(), "");
    clock.advance(SEC);
    let (good, bad) = task.finish().unwrap();
    assert_eq!(log.take(), "forced");
    assert_eq!(good.now_or_never().unwrap().unwrap(), 7);
    assert_eq!(
        ended(bad),
        (JoinErrorKind::Forced, ReasonKind::DeadlineExceeded)
    );
    let report = h.report().unwrap();
    assert_eq!((report.stats.done, report.stats.forced), (1, 1));
    let [good, bad] = &report.drained[..] else {
        panic!()
    };
    assert_eq!(
        (good.forced, good.notice, good.drain),
        (false, Some(Duration::ZERO), Some(SEC))
    );
    assert_eq!(
        (bad.forced, bad.notice, bad.drain),
        (true, Some(Duration::ZERO), Some(2 * SEC))
    );
    assert_eq!(clock.next_due(), None);
}

#[test]
fn a_child_knows_its_deadline_by_its_token() {
    let clock = ManualClock::new();
    let n = N::new().timer(&clock);
    let h = n.handle();
    let at = clock.now() + SEC;
    let mut child = h.child();
    let outer = child.cancel_handle();
    let join = child
        .deadline(at)
        .spawn_graceful(|cx| async move { Ok(cx.token().deadline()) });
    let mut task = Task::new(n.run(join));
    assert_eq!(task.finish().unwrap(), Some(at));
    assert_eq!(outer.deadline(), None);
}

#[test]
fn times_need_a_timer() {
    let n = N::new();
    let h = n.handle();
    let panics = |f: &dyn Fn()| catch_unwind(AssertUnwindSafe(f)).is_err();
    assert!(panics(&|| drop(h.child().timeout(SEC))));
    assert!(panics(&|| drop(h.child().deadline(Instant::EPOCH))));
    let n = n.timer(ManualClock::new());
    drop(h.child().timeout(SEC));
    drop(n);
}

// ------------------------------------------------------------------ by handle

#[test]
fn a_handle_ends_a_child_before_and_after_it_began() {
    for stage in ["unspawned", "unseen", "running", "queued", "ended"] {
        for graceful in [false, true] {
            let (log, gate) = (Log::new(), Gate::new());
            let n = N::new().limit(if stage == "queued" { 1 } else { 9 });
            let h = n.handle();
            let mut child = h.child();
            let stop = child.cancel_handle();
            let mut task = Task::new(n.run(async {
                drop(h.spawn(async {
                    gate.pass().await;
                    Ok(())
                }));
                if stage == "unspawned" {
                    stop.cancel();
                }
                let work = async {
                    log.add("polled");
                    match stage {
                        "ended" => Ok(()),
                        _ => idle(&log, "dropped").await,
                    }
                };
                let join = match graceful {
                    true => child.spawn_graceful(|cx| async move {
                        cx.token().run_until_cancelled(work).await.unwrap_or(Ok(()))
                    }),
                    false => child.spawn(work),
                };
                if stage == "unseen" {
                    stop.cancel();
                }
                Ok(join)
            }));
            task.stall();
            stop.cancel();
            task.stall();
            gate.open();
            let join = task.finish().unwrap();
            let begun = stage == "running" || stage == "ended";
            let dropped = match stage {
                "running" => "polled dropped",
                "ended" => "polled",
                _ => "",
            };
            let case = format!("{stage} {graceful}");
            assert_eq!(log.take(), dropped, "{case}");
            let stats = h.stats();
            // A graceful one that never waited is told, and runs.
            let runs = stage == "ended" || graceful && stage != "queued";
            assert_eq!(stats.cancelled, usize::from(!runs), "{case}");
            assert_eq!(stats.started, 1 + usize::from(begun || runs), "{case}");
            match runs {
                true => join.now_or_never().unwrap().unwrap(),
                false => assert_eq!(ended(join), STOPPED, "{case}"),
            }
            assert!(!h.token().is_cancelled());
        }
    }
}

#[test]
fn a_handle_is_cancelled_with_the_nursery() {
    let n = N::new();
    let h = n.handle();
    let mut child = h.child();
    let stop = child.cancel_handle();
    let join = child.spawn::<(), _>(pending());
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    h.cancel_with(Reason::shutdown());
    assert!(stop.is_cancelled());
    let failure = task.finish().unwrap_err();
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Shutdown);
    assert_eq!(
        ended(join),
        (JoinErrorKind::Cancelled, ReasonKind::Shutdown)
    );
}

#[test]
fn a_child_told_alone_is_still_told_by_the_nursery() {
    let clock = ManualClock::new();
    let n = N::new().timer(&clock).grace(4 * SEC);
    let h = n.handle();
    let mut child = h.child();
    let stop = child.cancel_handle();
    let join = child.spawn_graceful(|_| pending::<Result<(), JoinError>>());
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    stop.cancel();
    task.stall();
    clock.advance(SEC);
    task.stall();
    h.cancel_with(Reason::shutdown());
    task.stall();
    // The end of its own grace, a second before that of the nursery's.
    clock.advance(3 * SEC);
    assert!(task.finish().is_err());
    assert_eq!(ended(join), (JoinErrorKind::Forced, ReasonKind::Explicit));
}

#[test]
fn without_a_timer_a_child_told_alone_takes_its_time() {
    let gate = Gate::new();
    let n = N::new();
    let h = n.handle();
    let mut child = h.child();
    let stop = child.cancel_handle();
    let join = child.spawn_graceful(|cx| {
        let gate = gate.clone();
        async move {
            cx.token().cancelled().await;
            gate.pass().await;
            Ok(7)
        }
    });
    let mut task = Task::new(n.run(join));
    task.stall();
    stop.cancel();
    task.stall();
    gate.open();
    assert_eq!(task.finish().unwrap(), 7);
    let drained = h.report().unwrap().drained;
    assert_eq!((drained.len(), drained[0].drain), (1, None));
}

#[test]
fn a_childs_error_after_it_was_told_alone_is_an_error() {
    let n = Nursery::<u32>::new();
    let h = n.handle();
    let mut child = h.child();
    let stop = child.cancel_handle();
    drop(child.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        Err::<(), _>(666)
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    stop.cancel();
    let failure = task.finish().unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(666)));
}

#[test]
fn a_scope_that_is_cancelled_alone_is_no_failure() {
    #[derive(Debug)]
    enum Outer {
        Scope,
        Join,
    }
    impl From<umbel_core::Failure<JoinError>> for Outer {
        fn from(_: umbel_core::Failure<JoinError>) -> Self {
            Outer::Scope
        }
    }
    impl From<JoinError> for Outer {
        fn from(_: JoinError) -> Self {
            Outer::Join
        }
    }
    let (clock, log) = (ManualClock::new(), Log::new());
    let n = Nursery::<Outer>::new().timer(&clock);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let scope = h.child().timeout(SEC).scope(|n: N<'_>| {
            let (h, log) = (n.handle(), &log);
            n.run(async move {
                drop(h.spawn(idle(log, "inner")));
                pending::<Result<(), _>>().await
            })
        });
        let error = scope.await.unwrap_err();
        Ok((error.kind(), error.reason().unwrap().kind()))
    }));
    task.stall();
    clock.advance(SEC);
    assert_eq!(task.finish().unwrap(), LATE);
    assert_eq!(log.take(), "inner");
}

// ------------------------------------------------------------------ by name and key

#[test]
fn children_are_cancelled_by_name() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let a = [(); 2].map(|()| h.child().name("a").spawn(idle(&log, "a")));
        let b = h.child().name("b").spawn(async {
            gate.pass().await;
            Ok(1)
        });
        let told = h.child().name("a").spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Ok(2)
        });
        let unnamed = h.spawn_graceful(|cx| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                assert!(!cx.token().is_cancelled());
                Ok(3)
            }
        });
        Ok((a, b, told, unnamed))
    }));
    task.stall();
    h.cancel_named("a", Reason::custom(5));
    assert_eq!(log.take(), "", "the nursery does it");
    task.stall();
    assert_eq!(log.take(), "a a");
    gate.open();
    let (a, b, told, unnamed) = task.finish().unwrap();
    for join in a {
        assert_eq!(ended(join), (JoinErrorKind::Cancelled, ReasonKind::Custom));
    }
    assert_eq!(b.now_or_never().unwrap().unwrap(), 1);
    assert_eq!(told.now_or_never().unwrap().unwrap(), 2);
    assert_eq!(unnamed.now_or_never().unwrap().unwrap(), 3);
    let stats = h.stats();
    assert_eq!((stats.started, stats.done, stats.cancelled), (5, 3, 2));
}

#[test]
fn a_key_names_a_group() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().limit(3);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let spawn = |h: &H<'_>, key: u32, name: &'static str| {
            let (log, gate) = (log.clone(), gate.clone());
            h.child().key(key).spawn(async move {
                log.add(name);
                let _drop = log.on_drop("end");
                gate.pass().await;
                Ok(())
            })
        };
        let running = [spawn(&h, 1, "1"), spawn(&h, 2, "2"), spawn(&h, 1, "1")];
        let waiting = [spawn(&h, 1, "1 waited"), spawn(&h, 2, "2 waited")];
        Ok((running, waiting))
    }));
    task.stall();
    assert_eq!(log.take_sorted(), "1 1 2");
    h.cancel_keyed(1, Reason::explicit());
    h.cancel_keyed("1", Reason::shutdown());
    task.stall();
    assert_eq!(log.take_sorted(), "2 waited end end");
    gate.open();
    let ([a, b, c], [d, e]) = task.finish().unwrap();
    assert_eq!([ended(a), ended(c), ended(d)], [STOPPED; 3]);
    assert!(b.now_or_never().unwrap().is_ok() && e.now_or_never().unwrap().is_ok());
}

#[test]
fn children_spawned_after_the_call_are_not_meant() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let child = |name: &'static str| {
        let log = &log;
        async move {
            log.add(name);
            Ok(())
        }
    };
    // All of it before the nursery's first poll.
    let before = h.child().name("a").spawn(child("before"));
    let told = h
        .child()
        .name("a")
        .spawn_graceful(|cx| async move { Ok(cx.token().is_cancelled()) });
    h.cancel_named("a", Reason::explicit());
    let after = h.child().name("a").spawn(child("after"));
    let kept = h
        .child()
        .name("a")
        .spawn_graceful(|cx| async move { Ok(cx.token().is_cancelled()) });
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(log.take(), "after");
    assert_eq!(ended(before), STOPPED);
    assert!(after.now_or_never().unwrap().is_ok());
    assert!(told.now_or_never().unwrap().unwrap());
    assert!(!kept.now_or_never().unwrap().unwrap());
}

#[test]
fn what_a_child_cancels_makes_room_at_once() {
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.child().name("idle").spawn(idle(&log, "idle")));
        drop(h.spawn(async {
            h.cancel_named("idle", Reason::explicit());
            pending::<Result<(), _>>().await
        }));
        drop(h.spawn(async {
            log.add("has room");
            h.cancel();
            Ok(())
        }));
        Ok(())
    }));
    assert!(task.finish().is_err());
    assert_eq!(log.take(), "idle has room");
}

#[test]
fn the_last_child_cancelled_by_name_ends_the_nursery() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    drop(h.child().name("last").spawn(idle(&log, "last")));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    h.cancel_named("last", Reason::explicit());
    task.finish().unwrap();
    // Nothing is left to be asked.
    h.cancel_named("last", Reason::explicit());
    assert_eq!(log.take(), "last");
}

#[test]
fn in_a_nursery_that_drains_the_graceful_are_told_by_name_too() {
    let n = N::new();
    let h = n.handle();
    let told = h.child().name("a").spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        yields(3).await;
        Ok(7)
    });
    let mut task = Task::new(n.run::<(), _>(pending()));
    task.stall();
    h.cancel_with(Reason::shutdown());
    h.cancel_named("a", Reason::explicit());
    assert!(task.finish().is_err());
    assert_eq!(told.now_or_never().unwrap().unwrap(), 7);
}

#[test]
fn a_drop_that_panics_stops_no_other() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("drop");
        }
    }
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    for _ in 0..2 {
        drop(h.child().name("a").spawn(async {
            let _bomb = Bomb;
            idle(&log, "a").await
        }));
    }
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    h.cancel_named("a", Reason::explicit());
    assert!(catch_unwind(AssertUnwindSafe(|| task.run())).is_err());
    assert_eq!(log.take(), "a a");
}

/// The drop of a child that never starts cancels all: the body, woken too, is not polled any more.
#[test]
fn what_is_dropped_alone_may_cancel_the_nursery() {
    struct Cancels(H<'static>);
    impl Drop for Cancels {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().limit(1);
    let h = n.handle();
    drop(h.spawn(pending::<Result<(), _>>()));
    let mut child = h.child();
    let stop = child.cancel_handle();
    let cancels = Cancels(h.clone());
    drop(child.spawn(async move {
        let _cancels = cancels;
        Ok(())
    }));
    let (said, passed) = (log.clone(), gate.clone());
    let mut task = Task::new(n.run(async move {
        said.add("waits");
        passed.pass().await;
        said.add("polled");
        Ok(())
    }));
    task.stall();
    assert_eq!(log.take(), "waits");
    gate.open();
    stop.cancel();
    task.finish().unwrap_err();
    assert_eq!(log.take(), "");
}

/// It is nobody's to cancel.
#[test]
fn a_section_is_not_polled_because_it_is_called_by_name() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let section = h.child().name("commit").shield(Duration::MAX, async {
            poll_fn(|cx| {
                log.add("polled");
                pin!(gate.pass()).poll(cx)
            })
            .await;
            Ok(())
        });
        section.await
    }));
    task.stall();
    assert_eq!(log.take(), "polled");
    h.cancel_named("commit", Reason::explicit());
    task.stall();
    assert_eq!(log.take(), "");
    gate.open();
    task.finish().unwrap();
}

#[test]
fn requests_of_a_nursery_that_is_dropped_keep_nothing_alive() {
    let n = N::new();
    let h = n.handle();
    let weak = {
        let held = std::sync::Arc::new(());
        let weak = std::sync::Arc::downgrade(&held);
        drop(h.child().name("a").spawn(async move {
            let _held = held;
            pending::<Result<(), _>>().await
        }));
        weak
    };
    h.cancel_named(String::from("a"), Reason::explicit());
    drop(n);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_local_nursery_has_the_same() {
    let (clock, log) = (ManualClock::new(), Log::new());
    let n = LocalNursery::<JoinError>::new().timer(&clock);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let mut child = h.child();
        let stop = child.cancel_handle();
        let by_handle = child.spawn(idle(&log, "handle"));
        let late = h.child().timeout(SEC).spawn(idle(&log, "late"));
        let named = h.child().name("a").spawn(idle(&log, "named"));
        let keyed = h.child().key("k").spawn(idle(&log, "keyed"));
        yields(2).await;
        stop.cancel();
        h.cancel_named("a", Reason::explicit());
        h.cancel_keyed("k", Reason::explicit());
        Ok(([by_handle, named, keyed], late))
    }));
    task.stall();
    assert_eq!(log.take_sorted(), "handle keyed named");
    clock.advance(SEC);
    let (stopped, late) = task.finish().unwrap();
    assert_eq!(stopped.map(ended), [STOPPED; 3]);
    assert_eq!(ended(late), LATE);
}

#[test]
fn the_report_tells_of_a_thousand_children_that_were_cancelled_alone() {
    if cfg!(miri) {
        return; // It has no unsafe code of its own, and takes long.
    }
    const ALL: usize = 1100;
    let n = N::new();
    let h = n.handle();
    let run = n.run(async {
        for _ in 0..ALL {
            let mut child = h.child();
            let stop = child.cancel_handle();
            let ends = child.spawn_graceful(|cx| async move {
                cx.token().cancelled().await;
                Ok(())
            });
            yields(1).await;
            stop.cancel();
            ends.await?;
        }
        Ok(())
    });
    Task::new(run).finish().unwrap();
    let report = h.report().unwrap();
    assert_eq!(report.drained.len(), 1000);
    assert_eq!(report.stats.done, ALL);
}

// ------------------------------------------------------------------ what is told

#[test]
fn the_first_reason_is_told_whatever_comes_later() {
    for limit in [1, 2] {
        let n = N::new().limit(limit);
        let h = n.handle();
        let mut task = Task::new(n.run(pending::<Result<(), JoinError>>()));
        drop(h.spawn(pending::<Result<(), _>>()));
        let mut child = h.child().name("a");
        let stop = child.cancel_handle();
        let join = child.spawn(pending::<Result<(), _>>());
        task.stall();
        assert!(stop.cancel_with(Reason::custom(1)));
        h.cancel_named("a", Reason::custom(2));
        task.stall();
        let error = join.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.reason(), stop.reason().as_ref(), "limit {limit}");
        assert_eq!(error.reason().unwrap().code(), Some(1));
    }
}

/// A name is for errors and reports: it does not change what the token in the context is to a child.
#[test]
fn who_cancels_the_token_in_its_context_does_not_cancel_itself() {
    let clock = ManualClock::new();
    let n = N::new().timer(&clock).grace(SEC);
    let h = n.handle();
    let mut task = Task::new(n.run(pending::<Result<(), JoinError>>()));
    let work = |cx: ChildContext| {
        let clock = clock.clone();
        async move {
            use umbel_core::Timer;
            let helper = cx.token().child_token();
            cx.token().cancel();
            assert!(helper.is_cancelled());
            for _ in 0..5 {
                clock.sleep_until(clock.now() + SEC).await;
            }
            Ok(7)
        }
    };
    let joins = [
        h.spawn_graceful(work),
        h.child().name("named").spawn_graceful(work),
        h.child().timeout(9 * SEC).spawn_graceful(work),
    ];
    task.stall();
    for _ in 0..5 {
        clock.advance(SEC);
        task.stall();
    }
    for join in joins {
        assert_eq!(join.now_or_never().unwrap(), Ok(7));
    }
    // One that is told is told there.
    let mut child = h.child();
    let stop = child.cancel_handle();
    let told = child.spawn_graceful(|cx| slow(cx, &clock, Duration::ZERO));
    task.stall();
    stop.cancel();
    task.stall();
    assert_eq!(told.now_or_never().unwrap(), Ok(7));
}

/// In a nursery that lives on, what is told in the end of those that were cut alone is bounded.
#[test]
fn who_is_forced_alone_does_not_pile_up() {
    #[derive(Debug)]
    struct Inner;
    impl From<Failure<Inner>> for Inner {
        fn from(_: Failure<Inner>) -> Inner {
            Inner
        }
    }
    for scopes in [false, true] {
        let clock = ManualClock::new();
        let n = Nursery::<Inner>::new().timer(&clock).grace(SEC);
        let h = n.handle();
        let mut task = Task::new(n.run(pending::<Result<(), Inner>>()));
        let rounds = scaled(1_100, 20);
        for _ in 0..rounds {
            if scopes {
                drop(h.child().name("s").scope::<(), Inner, _>(|n| {
                    let h = n.handle();
                    n.run(async move {
                        drop(h.spawn_graceful(|_| pending::<Result<(), _>>()));
                        pending().await
                    })
                }));
                task.stall();
                h.cancel_named("s", Reason::shutdown());
            } else {
                drop(h.shield::<(), _>(SEC, pending()));
            }
            task.stall();
            clock.advance(SEC);
            task.stall();
        }
        h.cancel();
        let failure = task.finish().unwrap_err();
        let told = failure.report.drained.len();
        // Of a scope itself, and of the child in it.
        let lines = rounds * if scopes { 2 } else { 1 };
        assert_eq!(told, lines.min(1_000), "scopes: {scopes}");
    }
}
