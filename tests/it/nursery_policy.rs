//! N2: policies, those of the crate and those of others.

use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use umbel_core::{
    CancellationToken, Cause, Ended, FailFast, FirstSuccess, Handle, Join, JoinErrorKind,
    KeepGoing, Nursery, Policy, Reason, ReasonKind, Verdict,
};
use umbel_tests::exec::{Gate, Log, Task, yields};

type N<'env> = Nursery<'env, u32>;

fn caught<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

async fn fails_after(turns: usize, error: u32) -> Result<u32, u32> {
    yields(turns).await;
    Err(error)
}

async fn ends_after(turns: usize, value: u32) -> Result<u32, u32> {
    yields(turns).await;
    Ok(value)
}

fn kind<T>(join: Join<T>) -> JoinErrorKind {
    let ended = join.now_or_never().expect("it has not ended");
    ended.err().expect("it has a value").kind()
}

// ------------------------------------------------------------------ first success

#[test]
fn first_success_cancels_the_rest_and_forgives_errors() {
    let log = Log::new();
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    let note = log.on_drop("slow dropped");
    let mut task = Task::new(n.run(async {
        Ok([
            h.spawn(fails_after(1, 1)),
            h.spawn(async move {
                let _note = note;
                pending().await
            }),
            h.spawn(ends_after(3, 7)),
            h.spawn(ends_after(3, 8)), // would be ready in the same turn
            h.spawn_graceful(|cx| async move {
                cx.token().cancelled().await;
                fails_after(1, 2).await
            }),
        ])
    }));
    let [failed, slow, one, other, graceful] = task.finish().unwrap();
    assert_eq!(log.take(), "slow dropped");
    let mut both = [one, other].map(|join| join.now_or_never().unwrap());
    both.sort_by_key(Result::is_err);
    let [won, late] = both;
    assert!(matches!(won, Ok(7 | 8)));
    assert_eq!(late.unwrap_err().kind(), JoinErrorKind::Cancelled);
    assert_eq!(kind(failed), JoinErrorKind::Failed);
    assert_eq!(kind(graceful), JoinErrorKind::Failed);
    let error = slow.now_or_never().unwrap().unwrap_err();
    let reason = error.reason().unwrap().kind();
    assert_eq!(reason, ReasonKind::SiblingSucceeded);
    let stats = h.report().unwrap().stats;
    assert_eq!((stats.done, stats.failed, stats.cancelled), (1, 2, 2));
}

#[test]
fn first_success_lists_all_errors_if_none_did() {
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for i in [3, 1, 2] {
            drop(h.spawn(fails_after(i as usize, i)));
        }
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(
        failure.errors().map(|e| *e.error).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(matches!(failure.cause, Cause::Error(1)));
}

#[test]
fn first_success_of_a_nursery_without_children_is_the_bodys() {
    let n = N::new().policy(FirstSuccess);
    assert_eq!(Task::new(n.run(async { Ok(5) })).finish().unwrap(), 5);
}

#[test]
fn first_success_does_not_take_the_body_for_a_contender() {
    // Its end is no success; the children run on.
    let gate = Gate::new();
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    let g = gate.clone();
    let mut task = Task::new(n.run(async {
        Ok(h.spawn(async move {
            g.pass().await;
            Ok(3)
        }))
    }));
    task.stall();
    assert!(!h.token().is_cancelled());
    gate.open();
    let join = task.finish().unwrap();
    assert_eq!(join.now_or_never().unwrap().unwrap(), 3);

    // Its error ends the nursery.
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    drop(h.spawn(pending::<Result<(), u32>>()));
    let failure = Task::new(n.run(async { Err::<(), _>(9) }))
        .finish()
        .unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(9)));

    // It is cut like the rest, and there is no value then.
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    drop(h.spawn(fails_after(0, 1)));
    drop(h.spawn(ends_after(1, 1)));
    let failure = Task::new(n.run(pending::<Result<(), u32>>()))
        .finish()
        .unwrap_err();
    let reason = failure.cancelled().unwrap().kind();
    assert_eq!(reason, ReasonKind::SiblingSucceeded);
    assert_eq!(failure.rest, [1]);
}

#[test]
fn first_success_holds_for_queues_and_any_size() {
    for (size, limit) in [(1, 1), (65, 3), (500, usize::MAX)] {
        let n = N::new().policy(FirstSuccess).limit(limit);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            for i in 0..size {
                let last = i == size.min(limit) - 1;
                drop(h.spawn(async move {
                    yields(2).await;
                    if last { Ok(()) } else { pending().await }
                }));
            }
            Ok(())
        }));
        task.finish().unwrap();
        assert_eq!((h.stats().done, h.stats().cancelled), (1, size - 1));
    }
}

#[test]
fn first_success_is_none_after_a_cancellation() {
    let stop = CancellationToken::new();
    let n = N::new().policy(FirstSuccess).token(&stop);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Ok(())
        }));
        drop(h.spawn(pending::<Result<(), u32>>()));
        Ok(())
    }));
    task.stall();
    stop.cancel_with(Reason::shutdown());
    let failure = task.finish().unwrap_err();
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Shutdown);
}

#[test]
fn first_success_and_a_panic_is_a_panic() {
    let n = N::new().policy(FirstSuccess);
    let h = n.handle();
    drop(h.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        panic!("in the drain")
    }) as Join<()>);
    drop(h.spawn(ends_after(1, 1)));
    assert!(caught(|| Task::new(n.run(async { Ok(()) })).finish()).is_none());
}

#[test]
fn n8_a_forgiven_error_whose_drop_panics() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("error");
        }
    }
    struct Value(Log);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.add("value");
            panic!("value");
        }
    }
    let log = Log::new();
    // At the end, because a child has succeeded.
    let n = Nursery::<Bad>::new().policy(FirstSuccess);
    let h = n.handle();
    drop(h.spawn::<(), _>(async { Err(Bad) }));
    drop(h.spawn(async { Ok(()) }));
    let value = Value(log.clone());
    assert!(caught(|| Task::new(n.run(async { Ok(value) })).finish().is_ok()).is_none());
    assert_eq!(log.take(), "value", "nobody will read it");

    // At once, because the policy forgives it: the graceful sibling ends first.
    struct Forgive;
    impl Policy<Bad> for Forgive {
        fn failed(&mut self, _: &Ended<'_>, _: &Bad) -> Verdict {
            Verdict::Forgive
        }
    }
    let n = Nursery::<Bad>::new().policy(Forgive);
    let h = n.handle();
    let l = log.clone();
    drop(h.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        yields(2).await;
        l.add("drained");
        Ok(())
    }));
    drop(h.spawn::<(), _>(async { Err(Bad) }));
    assert!(caught(|| Task::new(n.run(async { Ok(()) })).finish().is_ok()).is_none());
    assert_eq!(log.take(), "drained");
}

// ------------------------------------------------------------------ a policy of one's own

type Ask = Box<dyn FnMut(&Ended<'_>, Option<&u32>) -> Verdict + Send>;

/// Does what it is told.
struct Own(Ask);

impl Policy<u32> for Own {
    fn failed(&mut self, who: &Ended<'_>, error: &u32) -> Verdict {
        (self.0)(who, Some(error))
    }

    fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
        (self.0)(who, None)
    }
}

fn own(ask: impl FnMut(&Ended<'_>, Option<&u32>) -> Verdict + Send + 'static) -> Own {
    Own(Box::new(ask))
}

#[test]
fn a_policy_is_told_who_ended_once_each_after_their_drop() {
    let log = Log::new();
    let l = log.clone();
    let n = N::new().limit(1).policy(own(move |who, error| {
        let who = if who.is_body() {
            Some("body")
        } else {
            who.name()
        };
        l.add(format!("{}:{error:?}", who.unwrap_or("-")));
        Verdict::Continue
    }));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let note = log.on_drop("dropped");
        drop(h.child().name("a").spawn(async move {
            let _note = note;
            Err::<(), _>(1)
        }));
        drop(
            h.child()
                .name(String::from("b"))
                .spawn_graceful(|_| ends_after(0, 2)),
        );
        drop(h.spawn(ends_after(0, 3)));
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(log.take(), "body:None dropped a:Some(1) b:None -:None");
    assert!(matches!(failure.cause, Cause::Error(1)));
}

#[test]
fn a_policy_is_asked_no_more_in_a_cancelled_nursery() {
    let log = Log::new();
    let l = log.clone();
    let n = N::new().policy(own(move |_, error| {
        l.add(format!("{error:?}"));
        Verdict::Forgive
    }));
    let h = n.handle();
    let late = |error| {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Err::<(), u32>(error)
        }));
    };
    late(1);
    // One that cancels and fails in one poll, before the drain has begun.
    let h2 = h.clone();
    drop(h.spawn(async move {
        yields(1).await;
        h2.cancel();
        Err::<(), _>(2)
    }));
    late(3);
    let failure = Task::new(n.run(pending::<Result<(), u32>>()))
        .finish()
        .unwrap_err();
    assert_eq!(log.take(), "");
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
    let mut errors = failure.rest;
    errors.sort_unstable();
    assert_eq!(errors, [1, 2, 3], "none is lost");
}

#[test]
fn a_forgiven_error_is_none_but_for_the_bodys() {
    let n = N::new().policy(own(|_, _| Verdict::Forgive));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn(fails_after(1, 1)));
        Ok(4)
    }));
    assert_eq!(task.finish().unwrap(), 4);
    assert_eq!(h.stats().failed, 1);

    let n = N::new().policy(own(|_, _| Verdict::Forgive));
    let failure = Task::new(n.run(async { Err::<(), _>(7) }))
        .finish()
        .unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(7)));
}

#[test]
fn a_bodys_error_outlives_the_success_of_a_child() {
    let n = N::new().policy(own(|who, error| match error {
        None if !who.is_body() => Verdict::CancelRest,
        _ => Verdict::Continue,
    }));
    let h = n.handle();
    drop(h.spawn(ends_after(2, 1)));
    let failure = Task::new(n.run(async { Err::<(), _>(7) }))
        .finish()
        .unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(7)));
}

#[test]
fn a_policy_may_spawn_and_steer() {
    for steer in ["spawn", "cancel", "force"] {
        let handle: Arc<Mutex<Option<Handle<'static, u32>>>> = Arc::default();
        let own_handle = Arc::clone(&handle);
        let n = Nursery::<'static, u32>::new()
            .limit(1)
            .policy(own(move |who, error| {
                let handle = own_handle.lock().unwrap();
                let h = handle.as_ref().unwrap();
                match (steer, error) {
                    _ if who.is_body() => return Verdict::Continue,
                    (_, None) => {}
                    ("spawn", Some(n)) if *n < 3 => drop(h.spawn(fails_after(1, n + 1))),
                    ("spawn", _) => drop(h.spawn(ends_after(1, 9))),
                    ("cancel", _) => drop(h.cancel()),
                    _ => h.force(),
                }
                Verdict::Forgive
            }));
        let h = n.handle();
        *handle.lock().unwrap() = Some(h.clone());
        drop(h.spawn(fails_after(1, 1)));
        let queued = h.spawn_graceful(|_| ends_after(1, 5));
        let result = Task::new(n.run(async { Ok(()) })).finish();
        handle.lock().unwrap().take();
        if steer == "spawn" {
            result.unwrap();
            assert_eq!((h.stats().failed, h.stats().done), (3, 2));
        } else {
            // Forgiven, but what was queued was cut.
            let failure = result.unwrap_err();
            assert!(failure.cancelled().is_some() && failure.rest.is_empty());
            assert_eq!(kind(queued), JoinErrorKind::Cancelled);
        }
    }
}

#[test]
fn a_success_that_comes_after_a_cancellation_is_not_enough() {
    // Whoever cancelled first is the cause, here the policy itself.
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let n = N::new().token(&stop).policy(own(move |who, _| {
        if who.is_body() {
            return Verdict::Continue;
        }
        stopper.cancel_with(Reason::shutdown());
        Verdict::CancelRest
    }));
    let h = n.handle();
    drop(h.spawn(pending::<Result<(), u32>>()));
    drop(h.spawn(ends_after(0, 1)));
    let failure = Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Shutdown);
}

#[test]
fn n8_a_policy_that_panics_is_as_a_child_that_does() {
    for error in [true, false] {
        let n = N::new().policy(own(move |who, got| {
            assert!(who.is_body() || got.is_some() != error, "policy");
            Verdict::Continue
        }));
        let h = n.handle();
        let gate = Gate::new();
        let g = gate.clone();
        drop(h.spawn_graceful(|_| async move {
            g.pass().await;
            Ok(())
        }));
        if error {
            drop(h.spawn(fails_after(1, 1)));
        } else {
            drop(h.spawn(ends_after(1, 1)));
        }
        let mut task = Task::new(n.run(async { Ok(()) }));
        task.stall();
        assert!(h.token().is_cancelled());
        gate.open();
        assert!(caught(|| task.finish()).is_none());
        assert_eq!(h.stats().done, 1 + usize::from(!error));
    }
}

#[test]
fn a_policy_may_be_boxed() {
    for fail_fast in [true, false] {
        let policy: Box<dyn Policy<u32> + Send> = match fail_fast {
            true => Box::new(FailFast),
            false => Box::new(FirstSuccess),
        };
        let n = N::new().policy(policy);
        let h = n.handle();
        drop(h.spawn(fails_after(0, 1)));
        drop(h.spawn(ends_after(1, 1)));
        let result = Task::new(n.run(async { Ok(()) })).finish();
        assert_eq!(result.is_err(), fail_fast);
    }
    let _: Box<dyn Policy<String>> = Box::new(KeepGoing);
}

#[test]
fn a_join_is_joined_now_or_never() {
    let gate = Gate::new();
    let g = gate.clone();
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let early = h.spawn(pending_until(g.clone()));
        let (done, failed) = (h.spawn(pending_until(g)), h.spawn(ends_after(0, 1)));
        assert!(early.now_or_never().is_none(), "and it is detached");
        Ok((done, failed))
    }));
    task.stall();
    gate.open();
    let (done, one) = task.finish().unwrap();
    assert_eq!(done.now_or_never().unwrap().unwrap(), ());
    assert_eq!(one.now_or_never().unwrap().unwrap(), 1);
    assert_eq!(h.stats().done, 3);
}

fn pending_until(gate: Gate) -> Pin<Box<dyn Future<Output = Result<(), u32>> + Send>> {
    Box::pin(async move {
        gate.pass().await;
        Ok(())
    })
}

#[test]
fn ended_prints() {
    let mut seen = String::new();
    let n = umbel_core::LocalNursery::<u32>::new().policy(Prints(&mut seen));
    let h = n.handle();
    drop(h.child().name("kid").spawn(async { Err::<(), _>(1) }));
    let mut run = Box::pin(n.run(async { Ok(()) }));
    let polled = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(_))));
    drop(run);
    assert!(
        seen.contains("kid") && seen.contains("body: false"),
        "{seen}"
    );
}

/// A policy that borrows.
struct Prints<'a>(&'a mut String);

impl Policy<u32> for Prints<'_> {
    fn failed(&mut self, who: &Ended<'_>, _: &u32) -> Verdict {
        *self.0 += &format!("{who:?}");
        Verdict::CancelRest
    }
}
