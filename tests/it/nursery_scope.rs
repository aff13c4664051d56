//! N4: a nursery as a graceful child of another.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use umbel_core::{
    Cause, Clock, Failure, JoinError, JoinErrorKind, KeepGoing, LocalNursery, ManualClock, Nursery,
    Reason, ReasonKind,
};
use umbel_tests::exec::{Gate, Log, Task, yields};

/// The inner nursery's error.
#[derive(Debug, PartialEq)]
struct Inner(u32);

impl From<JoinError> for Inner {
    fn from(_: JoinError) -> Self {
        Inner(0)
    }
}

/// The outer nursery's error.
#[derive(Debug)]
enum Outer {
    Scope(Failure<Inner>),
    Join,
}

impl From<Failure<Inner>> for Outer {
    fn from(failure: Failure<Inner>) -> Self {
        assert!(failure.errors().all(|e| e.error.0 != 666), "conversion");
        Outer::Scope(failure)
    }
}

impl From<JoinError> for Outer {
    fn from(_: JoinError) -> Self {
        Outer::Join
    }
}

type N<'env> = Nursery<'env, Outer>;

fn errors(failure: Failure<Outer>) -> Vec<u32> {
    match failure.cause {
        Cause::Error(Outer::Scope(inner)) => inner.errors().map(|e| e.error.0).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_scope_gives_the_value_of_its_body_when_all_in_it_have_ended() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let join = h.scope(|n: Nursery<'_, Inner>| {
            let h = n.handle();
            let (log, gate) = (&log, &gate);
            n.run(async move {
                drop(h.spawn(async move {
                    gate.pass().await;
                    log.add("inner");
                    Ok(())
                }));
                Ok(6)
            })
        });
        let value = join.await?;
        log.add("body");
        Ok(value)
    }));
    task.stall();
    assert_eq!(log.take(), "");
    gate.open();
    assert_eq!(task.finish().unwrap(), 6);
    assert_eq!(log.take(), "inner body");
}

#[test]
fn children_wait_for_room_in_a_scope_of_their_own() {
    // In one nursery they would wait for one another: each holds a place and asks for a second.
    let ran = AtomicUsize::new(0);
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for _ in 0..5 {
            let ran = &ran;
            drop(h.scope(move |n| {
                let n = n.limit(2);
                let h = n.handle();
                n.run(async move {
                    for _ in 0..5 {
                        let leaf = async move {
                            yields(1).await;
                            ran.fetch_add(1, SeqCst);
                            Ok::<_, Inner>(())
                        };
                        drop(h.spawn_wait(leaf).await?);
                    }
                    Ok(())
                })
            }));
        }
        Ok(())
    }));
    task.finish().unwrap();
    assert_eq!(ran.load(SeqCst), 25);
}

#[test]
fn a_scopes_failure_is_an_error_of_the_outer_nursery() {
    let n = N::new();
    let h = n.handle();
    let mut sibling = h.spawn(pending::<Result<(), Outer>>());
    let mut task = Task::new(n.run(async {
        drop(h.scope(|n| {
            let n = n.policy(KeepGoing);
            let h = n.handle();
            n.run(async move {
                for i in 1..=3 {
                    drop(h.spawn(async move { Err::<(), _>(Inner(i)) }));
                }
                Ok(())
            })
        }));
        Ok(())
    }));
    let mut all = errors(task.finish().unwrap_err());
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
    let error = Task::new(&mut sibling).finish().unwrap_err();
    assert_eq!(error.reason().unwrap().kind(), ReasonKind::SiblingFailed);

    // Its own cancellation, too.
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.scope(|n| {
            n.handle().cancel_with(Reason::custom(5));
            n.run(pending::<Result<(), Inner>>())
        }));
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    let Cause::Error(Outer::Scope(inner)) = failure.cause else {
        panic!("not the scope's")
    };
    assert_eq!(inner.cancelled().unwrap().code(), Some(5));
}

#[test]
fn n_18_a_cancelled_scope_drains_and_is_no_error() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let (l, g) = (log.clone(), gate.clone());
    let scope = h.child().name("inner").scope(move |n: Nursery<'_, Inner>| {
        let h = n.handle();
        let (note, l2) = (l.on_drop("plain"), l.clone());
        drop(h.spawn(async move {
            let _note = note;
            pending::<Result<(), Inner>>().await
        }));
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            l2.add("told");
            g.pass().await;
            l2.add("drained");
            Ok(())
        }));
        n.run(async { Ok(()) })
    });
    let mut task = Task::new(n.run(async { Ok(1) }));
    task.stall();
    h.cancel_with(Reason::shutdown());
    task.stall();
    assert_eq!(log.take(), "plain told");
    gate.open();
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "drained");
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Shutdown);
    assert!(failure.rest.is_empty(), "{:?}", failure.rest);
    let stats = failure.report.stats;
    assert_eq!((stats.cancelled, stats.failed, stats.done), (1, 0, 0));
    assert_eq!(failure.report.drained[0].name.as_deref(), Some("inner"));
    assert!(!failure.report.drained[0].forced);
    let error = Task::new(scope).finish().unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Cancelled);
    assert_eq!(error.reason().unwrap().kind(), ReasonKind::Shutdown);
}

#[test]
fn an_error_in_a_scope_that_drains_is_kept_and_a_good_end_is_good() {
    for fails in [true, false] {
        let n = N::new();
        let h = n.handle();
        let scope = h.scope(|n: Nursery<'_, Inner>| {
            let h = n.handle();
            drop(h.spawn_graceful(move |cx| async move {
                cx.token().cancelled().await;
                if fails { Err(Inner(4)) } else { Ok(()) }
            }));
            if fails {
                // Cut: the inner nursery's cause is the cancellation, the error is beside it.
                drop(h.spawn(pending::<Result<(), Inner>>()));
            }
            n.run(async { Ok(2) })
        });
        let mut task = Task::new(n.run(async { Ok(1) }));
        task.stall();
        h.cancel();
        let result = task.finish();
        if fails {
            assert_eq!(errors(result.unwrap_err()), [4]);
        } else {
            assert_eq!(result.unwrap(), 1, "all came to a good end");
            assert_eq!(Task::new(scope).finish().unwrap(), 2);
        }
    }
}

#[test]
fn the_outer_grace_ends_a_scope() {
    let clock = ManualClock::new();
    let log = Log::new();
    let n = N::new().timer(clock.clone()).grace(Duration::from_secs(3));
    let h = n.handle();
    let l = log.clone();
    let scope = h.scope(move |n: Nursery<'_, Inner>| {
        let h = n.handle();
        for name in ["a", "b"] {
            let note = l.on_drop(name);
            drop(h.spawn_graceful(move |_| async move {
                let _note = note;
                pending::<Result<(), Inner>>().await
            }));
        }
        n.run(async { Ok(()) })
    });
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    h.cancel();
    task.stall();
    clock.advance(Duration::from_secs(3));
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "b a");
    assert_eq!(failure.report.forced().count(), 3, "the two, and the scope");
    let error = Task::new(scope).finish().unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Forced);
}

/// A scope that has cancelled itself by its own deadline, and drains, when the outer one is cancelled.
#[test]
fn n7_what_a_scope_has_opened_is_closed_when_its_time_is_over() {
    for how in ["grace", "force", "timeout"] {
        let (clock, log) = (ManualClock::new(), Log::new());
        let n = N::new()
            .policy(KeepGoing)
            .timer(&clock)
            .grace(Duration::from_secs(1));
        let h = n.handle();
        let steer = h.clone();
        let mut task = Task::new(n.run(async {
            let mut child = h.child().name("inner");
            if how == "timeout" {
                child = child.timeout(Duration::from_secs(5));
            }
            let scope = child.scope(|n: Nursery<'_, Inner>| {
                let (h, log) = (n.handle(), &log);
                n.run(async move {
                    h.defer(async {
                        log.add("closed");
                        Ok(())
                    })
                    .unwrap();
                    let stuck = h.child().name("stuck");
                    drop(stuck.spawn_graceful(|_| async {
                        let _drop = log.on_drop("stuck");
                        pending::<Result<(), Inner>>().await
                    }));
                    pending::<Result<(), Inner>>().await
                })
            });
            let error = scope.await.unwrap_err();
            log.add(format!("{:?}", error.kind()));
            Ok(())
        }));
        task.stall();
        let second = || clock.advance(Duration::from_secs(1));
        match how {
            "grace" => {
                steer.cancel();
                task.stall();
                assert_eq!(log.take(), "");
                second();
            }
            "force" => steer.force(),
            _ => {
                clock.advance(Duration::from_secs(5));
                task.stall();
                assert_eq!(log.take(), "");
                second();
            }
        }
        assert!(task.run().is_ready(), "{how}");
        // (The body awaits the scope only if it alone was cancelled.)
        let rest = if how == "timeout" { " Forced" } else { "" };
        assert_eq!(log.take(), format!("stuck closed{rest}"), "{how}");
        let report = steer.report().unwrap();
        assert_eq!((report.stats.forced, report.stats.lost), (1, 0), "{how}");
        let forced: Vec<_> = report.forced().map(|f| f.name.as_deref()).collect();
        assert_eq!(forced, [Some("stuck"), Some("inner")], "{how}");
    }
}

#[test]
fn a_scope_whose_time_is_over_before_it_began_never_begins() {
    let log = Log::new();
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(pending::<Result<(), Outer>>()));
        let log = &log;
        drop(h.scope(|n: Nursery<'_, Inner>| {
            n.run(async move {
                log.add("began");
                Ok(())
            })
        }));
        yields(1).await;
        h.force();
        pending::<Result<(), Outer>>().await
    }));
    assert!(task.run().is_ready());
    assert_eq!(log.take(), "");
}

#[test]
fn a_scopes_own_end_stays_its_own_when_the_outer_nursery_is_cancelled_later() {
    let (clock, gate) = (ManualClock::new(), Gate::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.scope(|n: Nursery<'_, Inner>| {
            let deadline = clock.now() + Duration::from_secs(1);
            let n = n.timer(clock.clone()).deadline(deadline);
            let h = n.handle();
            let gate = &gate;
            n.run(async move {
                drop(h.spawn_graceful(async move |_| {
                    gate.pass().await;
                    Ok(())
                }));
                pending::<Result<(), _>>().await
            })
        }));
        Ok(())
    }));
    task.stall();
    clock.advance(Duration::from_secs(1));
    task.stall();
    h.cancel();
    task.stall();
    gate.open();
    let failure = task.finish().unwrap_err();
    let Cause::Error(Outer::Scope(inner)) = failure.cause else {
        panic!("{failure:?}");
    };
    let reason = inner.cancelled().map(Reason::kind);
    assert_eq!(reason, Some(ReasonKind::DeadlineExceeded));
}

/// Equal reasons do not tell the two cancellations apart; what the scope saw does.
#[test]
fn a_scope_that_was_cancelled_by_itself_has_failed_though_the_outer_reason_is_the_same() {
    for apart in [true, false] {
        let gate = Gate::new();
        let n = N::new();
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            drop(h.scope(|n: Nursery<'_, Inner>| {
                let h = n.handle();
                let gate = &gate;
                n.run::<(), _>(async move {
                    drop(h.spawn_graceful(async move |_| {
                        gate.pass().await;
                        Ok(())
                    }));
                    yields(1).await;
                    if apart {
                        h.cancel();
                    }
                    pending().await
                })
            }));
            Ok(())
        }));
        task.stall();
        h.cancel();
        task.stall();
        gate.open();
        let failure = task.finish().unwrap_err();
        let own = match &failure.cause {
            Cause::Error(Outer::Scope(inner)) => inner.cancelled().is_some(),
            _ => false,
        };
        assert_eq!(own, apart, "{failure:?}");
        assert!(own || failure.cancelled().is_some());
    }
}

#[test]
fn n8_a_panic_in_a_scope_goes_through_both_nurseries() {
    for converts in [false, true] {
        let log = Log::new();
        let n = N::new();
        let h = n.handle();
        for outer in [true, false] {
            let l = log.clone();
            let drains = move |cx: umbel_core::ChildContext, name: &'static str| async move {
                cx.token().cancelled().await;
                yields(1).await;
                l.add(name);
            };
            if outer {
                drop(h.spawn_graceful(|cx| async move {
                    drains(cx, "outer").await;
                    Ok(())
                }));
                continue;
            }
            drop(h.scope(move |n| {
                let h = n.handle();
                drop(h.spawn_graceful(|cx| async move {
                    drains(cx, "inner").await;
                    Ok(())
                }));
                drop(h.spawn(async move {
                    yields(1).await;
                    assert!(converts, "a child");
                    Err::<(), _>(Inner(666))
                }));
                n.run(async { Ok(()) })
            }));
        }
        let mut task = Task::new(n.run(async { Ok(()) }));
        assert!(catch_unwind(AssertUnwindSafe(|| task.finish().is_ok())).is_err());
        assert_eq!(log.take(), "inner outer");
        assert_eq!(h.stats().panicked, 1);
    }
}

#[test]
fn a_local_scope() {
    let n = LocalNursery::<Outer>::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let here = Rc::new(3);
        let value = h.scope(|n: LocalNursery<'_, Inner>| {
            let h = n.handle();
            let here = Rc::clone(&here);
            n.run(async move { Ok(h.spawn(async move { Ok(here) }).await?) })
        });
        Ok(*value.await? + *here)
    }));
    assert_eq!(task.finish().unwrap(), 6);
}
