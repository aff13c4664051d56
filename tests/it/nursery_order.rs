//! N5: children that wait for others.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use umbel_core::{
    Ended, Handle, Id, Join, JoinError, JoinErrorKind, KeepGoing, LocalNursery, ManualClock,
    Nursery, Policy, Reason, Verdict,
};
use umbel_tests::bad::Bad;
use umbel_tests::counting::live_bytes;
use umbel_tests::exec::{Gate, Log, Task, yields};
use umbel_tests::scaled;

type N<'env> = Nursery<'env, Bad>;
type H<'env> = Handle<'env, Bad>;

const SEC: Duration = Duration::from_secs(1);

fn error<T>(join: Join<T>) -> JoinError {
    join.now_or_never()
        .expect("it has ended")
        .err()
        .expect("it has no output")
}

fn kind<T>(join: Join<T>) -> JoinErrorKind {
    error(join).kind()
}

/// Logs its name as it begins.
async fn step(log: &Log, name: &str) -> Result<(), Bad> {
    log.add(name);
    yields(2).await;
    Ok(())
}

#[test]
fn a_child_starts_when_those_it_waits_for_have_ended_well() {
    for limit in [1, 2, 9] {
        let (log, gate) = (Log::new(), Gate::new());
        let n = N::new().limit(limit);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            let a = h.spawn(async {
                gate.pass().await;
                log.add("a");
                Ok(())
            });
            let b = h.child().after(&[a.id()]).spawn(step(&log, "b"));
            let c = h
                .child()
                .after(&[b.id(), a.id(), b.id()])
                .spawn(step(&log, "c"));
            // One that is detached counts as well, and so does an id of long ago.
            let d = h.child().after(&[c.id()]).spawn(step(&log, "d"));
            let d_id = d.id();
            drop((a, b, d));
            c.await?;
            let e = h
                .child()
                .name("e")
                .after(&[d_id])
                .spawn_graceful(|_| step(&log, "e"));
            e.await?;
            Ok(())
        }));
        task.stall();
        assert_eq!(log.take(), "", "{limit}");
        gate.open();
        task.finish().unwrap();
        assert_eq!(log.take(), "a b c d e", "{limit}");
        let stats = h.stats();
        assert_eq!((stats.started, stats.done, stats.skipped), (5, 5, 0));
    }
}

#[test]
fn nobody_takes_a_place_while_he_waits() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let first = h.spawn(async {
            gate.pass().await;
            Ok(())
        });
        let ids = [first.id()];
        // No room, and yet it is taken.
        let tried = h
            .child()
            .after(&ids)
            .try_spawn(step(&log, "tried"))
            .unwrap();
        assert!(h.try_spawn(step(&log, "full")).is_err());
        let queued = h.spawn(step(&log, "queued"));
        let waited = h
            .child()
            .after(&ids)
            .spawn_wait(step(&log, "waited"))
            .await?;
        log.add("has begun");
        Ok((tried, queued, waited))
    }));
    task.stall();
    gate.open();
    drop(task.finish().unwrap());
    let order = log.take();
    assert!(order.starts_with("queued tried "), "{order}");
    assert!(
        order.contains("waited") && order.contains("has begun"),
        "{order}"
    );
}

#[test]
fn one_end_that_is_not_good_skips_at_once() {
    let (log, gate) = (Log::new(), Gate::new());
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let slow = h.spawn(async {
            gate.pass().await;
            Ok(())
        });
        let bad = h.child().name("bad").spawn(async {
            yields(1).await;
            Err::<(), _>(Bad)
        });
        let after = h
            .child()
            .name("after")
            .after(&[slow.id(), bad.id()])
            .spawn(step(&log, "after"));
        let id = after.id();
        let last = h.child().after(&[id]).spawn(step(&log, "last"));
        let skipped = after.await.unwrap_err();
        log.add("skipped");
        Ok((skipped, last, bad))
    }));
    task.stall();
    assert_eq!(log.take(), "skipped", "while the slow one still runs");
    gate.open();
    let failure = task.finish().map(|_| ()).unwrap_err();
    assert_eq!((failure.rest.len(), failure.report.stats.skipped), (0, 2));
    assert_eq!(failure.report.stats.started, 2);
}

#[test]
fn a_skipped_child_says_because_of_whom() {
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let bad = h.child().name("bad").spawn(async { Err::<(), _>(Bad) });
    let mid = h.child().after(&[bad.id()]).spawn(async { Ok(()) });
    let mid_id = mid.id();
    let last = h
        .child()
        .name("last")
        .after(&[mid_id])
        .spawn(async { Ok(()) });
    assert!(Task::new(n.run(async { Ok(()) })).finish().is_err());
    let mid = error(mid);
    assert_eq!(mid.kind(), JoinErrorKind::Skipped);
    assert_eq!(mid.reason(), None);
    assert_eq!(mid.who().id(), Some(mid_id));
    let because = mid.waited_for().unwrap();
    assert_eq!(because.name(), Some("bad"));
    let (at, bad_at) = (mid.who().site(), because.site());
    assert_eq!(
        mid.to_string(),
        format!(
            "child {mid_id} (spawned at {at}) was skipped: \
             child \"bad\" (spawned at {bad_at}) did not succeed"
        )
    );
    let last = error(last);
    assert_eq!(last.waited_for().unwrap().id(), Some(mid_id));
    assert_eq!(
        last.to_string(),
        format!(
            "child \"last\" (spawned at {}) was skipped: \
             child {mid_id} (spawned at {at}) did not succeed",
            last.who().site()
        )
    );
}

#[test]
fn when_the_first_error_cancels_the_rest_who_waited_for_it_is_skipped() {
    let gate = Gate::new();
    let n = N::new();
    let h = n.handle();
    let bad = h.spawn(async {
        gate.pass().await;
        // Still in the inbox when the nursery is cancelled.
        Err::<(), _>(Bad)
    });
    let good = h.spawn(pending::<Result<(), Bad>>());
    let because = h
        .child()
        .after(&[good.id(), bad.id()])
        .spawn(async { Ok(()) });
    let other = h.child().after(&[good.id()]).spawn(async { Ok(()) });
    let chained = h.child().after(&[other.id()]).spawn(async { Ok(()) });
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    gate.open();
    let failure = task.finish().unwrap_err();
    assert_eq!(kind(because), JoinErrorKind::Skipped);
    assert_eq!(kind(other), JoinErrorKind::Cancelled);
    assert_eq!(kind(chained), JoinErrorKind::Cancelled);
    assert_eq!(kind(good), JoinErrorKind::Cancelled);
    let stats = failure.report.stats;
    assert_eq!((stats.failed, stats.skipped, stats.cancelled), (1, 1, 3));
}

#[test]
fn who_waited_for_one_that_fell_just_before_the_cancellation_is_skipped() {
    let n = N::new();
    let h = n.handle();
    let fell = h.child().name("a").spawn(pending::<Result<(), Bad>>());
    let after = h.child().after(&[fell.id()]).spawn(async { Ok(()) });
    let inside = h.clone();
    drop(h.spawn(async move {
        // Done at the end of this very turn.
        inside.cancel_named("a", Reason::explicit());
        pending::<Result<(), Bad>>().await
    }));
    let mut task = Task::new(n.run(pending::<Result<(), _>>()));
    assert!(task.poll().is_pending());
    h.cancel_with(Reason::shutdown());
    assert!(task.finish().is_err());
    assert_eq!(kind(after), JoinErrorKind::Skipped);
}

#[test]
fn who_comes_in_with_the_failure_is_skipped_too() {
    let n = N::new();
    let h = n.handle();
    let slot = Arc::new(Mutex::new(None));
    let mut task = Task::new(n.run(async {
        let bad = h.child().name("bad").spawn({
            let (h, slot) = (h.clone(), Arc::clone(&slot));
            async move {
                yields(1).await;
                let id: Id = slot.lock().unwrap().take().unwrap();
                *slot.lock().unwrap() = None;
                let join = h.child().after(&[id]).spawn(async { Ok(()) });
                drop(join);
                Err::<(), _>(Bad)
            }
        });
        *slot.lock().unwrap() = Some(bad.id());
        bad.await?;
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(failure.report.stats.skipped, 1);
}

#[test]
fn every_end_without_output_skips() {
    let (clock, gate) = (ManualClock::new(), Gate::new());
    let n = N::new().timer(&clock).grace(SEC).policy(KeepGoing).limit(4);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let idle = || pending::<Result<(), Bad>>();
        let late = h.child().timeout(SEC).spawn(idle());
        let named = h.child().name("a").spawn(idle());
        let mut forced = h.child();
        let stop = forced.cancel_handle();
        let forced = forced.spawn_graceful(|_| idle());
        let failed = h.spawn(async {
            gate.pass().await;
            Err(Bad)
        });
        let unstarted = h.child().timeout(SEC).spawn(idle());
        stop.cancel();
        h.cancel_named("a", Reason::explicit());
        Ok([late, named, forced, failed, unstarted].map(|join| {
            let after = h.child().after(&[join.id()]).spawn(async { Ok(()) });
            (join, after)
        }))
    }));
    task.stall();
    clock.advance(SEC);
    task.stall();
    gate.open();
    let joins = {
        // The values are lost with the failure, so that they are looked at by the counts.
        let failure = task.finish().map(|_| ()).unwrap_err();
        failure.report.stats
    };
    assert_eq!(joins.skipped, 5);
    assert_eq!((joins.cancelled, joins.forced, joins.failed), (3, 1, 1));
}

#[test]
fn a_panic_skips() {
    let n = N::new();
    let h = n.handle();
    let bad = h.spawn::<(), _>(async { panic!("bad") });
    let after = h.child().after(&[bad.id()]).spawn(async { Ok(()) });
    let mut task = Task::new(n.run(async { Ok(()) }));
    assert!(catch_unwind(AssertUnwindSafe(|| task.run())).is_err());
    assert_eq!(kind(after), JoinErrorKind::Skipped);
}

#[test]
fn an_end_that_was_before_the_question_is_known() {
    let log = Log::new();
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let good = h.spawn(async { Ok(()) });
        let bad = h.child().name("bad").spawn(async { Err::<(), _>(Bad) });
        yields(3).await;
        assert_eq!(h.stats().done + h.stats().failed, 2);
        let after_good = h.child().after(&[good.id()]).spawn(step(&log, "good"));
        let after_bad = h.child().after(&[bad.id()]).spawn(step(&log, "bad"));
        let error = after_bad.await.unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Skipped);
        assert!(error.waited_for().is_none(), "nobody knows any more");
        let text = error.to_string();
        let end = format!("was skipped: child {} did not succeed", bad.id());
        assert!(text.ends_with(&end), "{text}");
        after_good.await?;
        Ok(())
    }));
    assert!(task.finish().is_err());
    assert_eq!(log.take(), "good");
}

#[test]
fn the_refused_are_waited_for_in_vain() {
    let inner = N::new();
    let h = inner.handle();
    h.cancel();
    let (a, b) = (h.spawn(async { Ok(()) }), h.spawn(async { Ok(()) }));
    assert_eq!(a.id(), b.id());
    assert_eq!(a.id().to_string(), "@0");
    let n = N::new();
    let h = n.handle();
    let after = h.child().after(&[a.id()]).spawn(async { Ok(()) });
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(kind(after), JoinErrorKind::Skipped);
}

#[test]
fn who_waits_for_what_cannot_come_is_skipped_in_the_end() {
    let (gate, log) = (Gate::new(), Log::new());
    let other = N::new();
    let foreign = other.handle().spawn(async { Ok(()) });
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let running = h.spawn(async {
            gate.pass().await;
            Ok(())
        });
        let first = h
            .child()
            .after(&[running.id(), foreign.id()])
            .spawn(step(&log, "1"));
        let second = h.child().after(&[first.id()]).spawn(step(&log, "2"));
        Ok((first, second))
    }));
    task.stall();
    gate.open();
    let (first, second) = task.finish().unwrap();
    let (id, first_id) = (foreign.id(), first.id());
    let first = error(first);
    assert_eq!(
        (first.kind(), first.waited_for()),
        (JoinErrorKind::Skipped, None)
    );
    let text = first.to_string();
    assert!(
        text.ends_with(&format!(": {id} is no child that could come")),
        "{text}"
    );
    assert_eq!(error(second).waited_for().unwrap().id(), Some(first_id));
    assert_eq!(log.take(), "");
    assert_eq!(h.stats().skipped, 2);
}

#[test]
fn who_waits_can_be_cancelled_alone() {
    let (clock, gate, log) = (ManualClock::new(), Gate::new(), Log::new());
    let n = N::new().timer(&clock);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let first = h.spawn(async {
            gate.pass().await;
            Ok(())
        });
        let after = [first.id()];
        let named = h.child().after(&after).name("a").spawn(step(&log, "named"));
        let mut child = h.child().after(&after);
        let stop = child.cancel_handle();
        let handled = child.spawn(step(&log, "handled"));
        let late = h
            .child()
            .after(&after)
            .timeout(SEC)
            .spawn(step(&log, "late"));
        let kept = h
            .child()
            .after(&after)
            .timeout(3 * SEC)
            .spawn(step(&log, "kept"));
        yields(1).await;
        h.cancel_named("a", Reason::explicit());
        stop.cancel();
        Ok(([named, handled, late], kept))
    }));
    task.stall();
    clock.advance(SEC);
    task.stall();
    assert_eq!(h.stats().cancelled, 3);
    gate.open();
    let (cancelled, kept) = task.finish().unwrap();
    assert_eq!(cancelled.map(kind), [JoinErrorKind::Cancelled; 3]);
    kept.now_or_never().unwrap().unwrap();
    assert_eq!(log.take(), "kept");
    assert_eq!(clock.next_due(), None);
}

#[test]
fn who_gives_up_waiting_never_starts() {
    let (gate, log) = (Gate::new(), Log::new());
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let first = h.spawn(async {
            gate.pass().await;
            Ok(())
        });
        let mut waits: Vec<_> = (0..scaled(100, 40))
            .map(|_| {
                Box::pin(
                    h.child()
                        .after(&[first.id()])
                        .spawn_wait(step(&log, "never")),
                )
            })
            .collect();
        std::future::poll_fn(|cx| {
            assert!(
                waits
                    .iter_mut()
                    .all(|wait| wait.as_mut().poll(cx).is_pending())
            );
            std::task::Poll::Ready(())
        })
        .await;
        yields(1).await;
        drop(waits);
        Ok(())
    }));
    task.stall();
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "");
    assert_eq!(h.stats().started, 1);
}

#[test]
fn an_id_is_the_same_everywhere() {
    struct Told(Arc<Mutex<Vec<Option<Id>>>>);
    impl Policy<Bad> for Told {
        fn failed(&mut self, who: &Ended<'_>, _: &Bad) -> Verdict {
            self.0.lock().unwrap().push(who.id());
            Verdict::Continue
        }
        fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
            self.0.lock().unwrap().push(who.id());
            Verdict::Continue
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let n = N::new().policy(Told(Arc::clone(&told)));
    let h = n.handle();
    let good = h.spawn(async { Ok(()) });
    let unasked = h.spawn(async { Ok(()) });
    let bad = h.spawn(async { Err::<(), _>(Bad) });
    let (good_id, bad_id) = (good.id(), bad.id());
    assert_eq!((good.id(), bad.id()), (good_id, bad_id));
    assert_ne!(good_id, bad_id);
    assert!(good_id.to_string().starts_with('@') && format!("{good_id:?}").starts_with("Id(@"));
    let failure = Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    assert_eq!(failure.errors().next().unwrap().who.id(), Some(bad_id));
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.contains(&Some(good_id)) && told.contains(&Some(bad_id)));
    let number = told
        .iter()
        .flatten()
        .find(|id| id.to_string().starts_with('#'));
    assert!(
        number.is_some(),
        "the one of whom nobody asked has its number"
    );
    let error = error(bad);
    assert_eq!(error.who().id(), Some(bad_id));
    assert!(error.to_string().starts_with(&format!("child {bad_id} (")));
    drop((good, unasked));
}

#[test]
fn only_ids_that_were_asked_can_be_waited_for() {
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let bad = h.spawn(async { Err::<(), _>(Bad) });
    let failure = Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    let number = failure.errors().next().unwrap().who.id().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(h.child().after(&[number])))).is_err());
    let mut read = bad;
    assert!(Task::new(&mut read).finish().is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| read.id())).is_err());
}

#[test]
fn a_long_chain_is_walked_without_recursion() {
    for good in [true, false] {
        let n = N::new().policy(KeepGoing);
        let h = n.handle();
        let gate = Gate::new();
        let spawn = |h: &H<'_>, after: &[Id]| h.child().after(after).spawn(async { Ok(()) });
        let passed = gate.pass();
        let first = h.spawn(async move {
            passed.await;
            if good { Ok(()) } else { Err(Bad) }
        });
        let mut id = first.id();
        let length = scaled(20_000, 50);
        for _ in 0..length {
            id = spawn(&h, &[id]).id();
        }
        let mut task = Task::new(n.run(async { Ok(()) }));
        task.stall();
        gate.open();
        assert_eq!(task.finish().is_ok(), good);
        let stats = h.stats();
        let expected = if good { (length + 1, 0) } else { (0, length) };
        assert_eq!((stats.done, stats.skipped), expected);
    }
}

#[test]
fn a_nursery_that_goes_takes_those_who_wait_along() {
    let held = Arc::new(());
    let n = N::new();
    let h = n.handle();
    let first = h.spawn(pending::<Result<(), Bad>>());
    let (kept, h2) = (Arc::clone(&held), h.clone());
    let after = h.child().after(&[first.id()]).spawn(async move {
        let _kept = (kept, h2);
        Ok(())
    });
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    drop(task);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(kind(after), JoinErrorKind::Closed);
}

#[test]
fn in_a_local_nursery_too() {
    let log = Log::new();
    let n = LocalNursery::<Bad>::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let a = h.spawn(step(&log, "a"));
        let b = h.child().after(&[a.id()]).spawn(step(&log, "b"));
        h.child().after(&[b.id()]).spawn(step(&log, "c")).await?;
        Ok(())
    }));
    task.finish().unwrap();
    assert_eq!(log.take(), "a b c");
}

/// A service whose turn comes as the nursery is cancelled does not start, graceful or not.
#[test]
fn a_service_whose_turn_comes_too_late_never_starts() {
    let log = Log::new();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let last = h.spawn(async {
            h.cancel();
            Ok(())
        });
        let late = h.child().service().after(&[last.id()]);
        drop(late.spawn_graceful(|_| step(&log, "late")));
        let _first = log.on_drop("body");
        pending::<Result<(), Bad>>().await
    }));
    task.finish().unwrap_err();
    assert_eq!(log.take(), "body");
    assert_eq!((h.stats().started, h.stats().cancelled), (1, 1));
}

#[test]
fn those_who_wait_no_more_leave_nothing_with_who_they_waited_for() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let long = h.spawn(pending::<Result<(), Bad>>());
        let ids = [long.id()];
        let wait_in_vain = || {
            let mut child = h.child().after(&ids);
            let stop = child.cancel_handle();
            drop(child.spawn(async { Ok(()) }));
            stop.cancel();
        };
        // Until a list that has grown was swept.
        for _ in 0..100 {
            wait_in_vain();
            yields(1).await;
        }
        let before = live_bytes();
        for _ in 0..scaled(2000, 100) {
            wait_in_vain();
            yields(1).await;
        }
        assert_eq!(live_bytes(), before);
        Err::<(), _>(Bad)
    }));
    task.finish().unwrap_err();
}

/// Those whose ends never come, for they are another nursery's, are forgotten with who waited for them; and
/// all ends are when the nursery is gone.
#[test]
fn who_gives_up_waiting_for_children_of_others_leaves_nothing() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    let before = live_bytes();
    let mut most = 0;
    for _ in 0..scaled(2_000, 200) {
        let other = N::new();
        let foreign = other.handle().spawn(pending::<Result<(), Bad>>());
        let also = other.handle().spawn(pending::<Result<(), Bad>>());
        let mut child = h.child();
        let give_up = child.cancel_handle();
        // Twice the same, too.
        let after = [foreign.id(), also.id(), foreign.id()];
        let waits = child.after(&after).spawn(async { Ok(()) });
        task.stall();
        give_up.cancel();
        task.stall();
        drop((waits, give_up, other, foreign, also));
        most = most.max(live_bytes() - before);
    }
    assert!(most < 20_000, "{most} bytes");
    let asked = h.spawn(async { Ok(()) });
    let _ = asked.id();
    task.stall();
    drop((task, asked));
    assert!(live_bytes() <= before, "a handle keeps none of it");
    drop(h);
}

#[test]
fn a_child_that_is_mentioned_twice_is_let_go_once() {
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let (fails, runs) = (
            h.spawn::<(), _>(async { Err(Bad) }),
            h.spawn(async {
                yields(2).await;
                Ok(())
            }),
        );
        let after = [fails.id(), runs.id(), fails.id(), runs.id()];
        let waits: Vec<_> = (0..100)
            .map(|_| h.child().after(&after).spawn(async { Ok(()) }))
            .collect();
        let later = h.child().after(&[runs.id(), runs.id()]);
        let later = later.spawn(async { Ok(7) });
        yields(1).await;
        Ok((waits, later.await?))
    }));
    let failure = task.finish().map(|_| ()).unwrap_err();
    assert_eq!(failure.report.stats.skipped, 100);
    assert_eq!(failure.report.stats.done, 2);
}

#[test]
fn services_that_were_about_to_start_are_dropped_youngest_first() {
    // Those whose turn comes while children are polled are in their queue only then.
    for ready in scaled(1, 30)..scaled(80, 35) {
        let log = Log::new();
        let n = LocalNursery::<Bad>::new().limit(1);
        let h = n.handle();
        let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
        let joins: Vec<_> = (0..ready).map(|_| h.spawn(async { Ok(()) })).collect();
        let id = joins[ready - 1].id();
        for name in ["old", "young"] {
            let note = log.on_drop(name);
            drop(h.child().service().after(&[id]).spawn(async move {
                let _note = note;
                pending::<Result<(), Bad>>().await
            }));
        }
        let _ = task.poll();
        drop(task);
        assert_eq!(log.take(), "young old", "{ready} ready children before");
    }
}
