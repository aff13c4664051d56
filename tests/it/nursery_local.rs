//! The local nursery: what must not cross threads. (The engine is the other one's, tested there.)

use std::cell::{Cell, RefCell};
use std::future::{Future, Pending, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use umbel_core::{
    Clock, Instant, JoinError, JoinErrorKind, KeepGoing, LocalHandle, LocalNursery, ManualClock,
    ReasonKind, Timer, TrySpawnError,
};
use umbel_tests::exec::{Gate, Log, Task, yields};

/// An error that stays on its thread.
#[derive(Debug)]
struct Bad(#[allow(dead_code, reason = "makes it not Send")] Rc<u32>);

impl From<JoinError> for Bad {
    fn from(_: JoinError) -> Self {
        Bad(Rc::new(0))
    }
}

type N<'env> = LocalNursery<'env, Bad>;

#[test]
fn children_outputs_and_errors_may_stay_on_their_thread() {
    let seen = RefCell::new(Vec::new());
    let count = Cell::new(0);
    let n = N::new().policy(KeepGoing).limit(2).name("here");
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for i in 0..5 {
            let (shared, h2) = (Rc::new(i), h.clone());
            let (seen, count) = (&seen, &count);
            drop(h.spawn(async move {
                yields(1).await;
                seen.borrow_mut().push(*shared);
                drop(h2.spawn(async move {
                    count.set(count.get() + 1);
                    Ok(())
                }));
                Ok(())
            }));
        }
        drop(h.spawn::<(), _>(async { Err(Bad(Rc::new(7))) }));
        let join = h.spawn_wait(async { Ok(Rc::new(3)) }).await?;
        Ok(join.await?)
    }));
    let failure = task.finish().unwrap_err();
    assert_eq!(
        failure.errors().map(|e| *e.error.0).collect::<Vec<_>>(),
        [7]
    );
    assert_eq!(failure.report.name.as_deref(), Some("here"));
    assert_eq!((*seen.borrow()).len(), 5);
    assert_eq!(count.get(), 5);
}

/// A clock and timer of one thread.
#[derive(Clone)]
struct Here(Rc<ManualClock>);

impl Clock for Here {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for Here {
    type Sleep = Pin<Box<dyn Future<Output = ()>>>;
    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        Box::pin(self.0.sleep_until(at))
    }
}

#[test]
fn timer_and_grace_may_stay_on_their_thread() {
    let clock = Here(Rc::new(ManualClock::new()));
    let n = N::new()
        .timer(clock.clone())
        .deadline(Instant::EPOCH + Duration::from_secs(5))
        .grace(Duration::from_secs(1));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(
            h.child()
                .name("deaf")
                .spawn_graceful(|_| pending::<Result<(), Bad>>()),
        );
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    clock.0.advance(Duration::from_secs(5));
    task.stall();
    clock.0.advance(Duration::from_secs(1));
    let failure = task.finish().unwrap_err();
    let reason = failure.cancelled().unwrap().kind();
    assert_eq!(reason, ReasonKind::DeadlineExceeded);
    assert_eq!(failure.report.forced().count(), 1);
}

#[test]
fn its_children_are_woken_from_other_threads() {
    let gate = Gate::new();
    let n = N::new();
    let h = n.handle();
    let (token, opener) = (h.token().clone(), gate.clone());
    let mut task = Task::new(n.run(async {
        let here = Rc::new(1);
        Ok(h.spawn(async move {
            gate.pass().await;
            Ok(here)
        })
        .await?)
    }));
    task.stall();
    std::thread::scope(|s| {
        s.spawn(move || {
            opener.open();
            assert!(!token.is_cancelled());
        });
    });
    assert!(task.is_woken());
    assert_eq!(*task.finish().unwrap(), 1);
}

#[test]
fn a_dropped_local_nursery_drops_its_children_youngest_first() {
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        for i in 0..4 {
            let held = (log.on_drop(i.to_string()), Rc::new(()));
            drop(h.spawn(async move {
                let _held = held;
                pending::<Result<(), Bad>>().await
            }));
        }
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    let mut wait = h.spawn_wait(async { Ok(Rc::new(1)) });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
    drop(task);
    assert_eq!(log.take(), "3 2 1 0");
    let Poll::Ready(Err(error)) = Pin::new(&mut wait).poll(&mut cx) else {
        panic!("it waits for ever")
    };
    assert_eq!(error.kind(), JoinErrorKind::Closed);
    let back = h.try_spawn(async { Ok(Rc::new(5)) });
    assert!(matches!(back, Err(TrySpawnError::Closed(_))));
    assert!(format!("{wait:?} {h:?} {:?}", h.child().name("kid")).contains("kid"));
}

#[test]
fn n8_a_panic_in_a_local_child_is_resumed_when_all_have_ended() {
    let gate = Gate::new();
    let n = N::new();
    let h = n.handle();
    let g = gate.clone();
    drop(h.spawn_graceful(|_| async move {
        let _here = Rc::new(());
        g.pass().await;
        Ok(())
    }));
    drop(h.spawn::<(), _>(async { panic!("local") }));
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    gate.open();
    let run = std::panic::AssertUnwindSafe(|| drop(task.finish()));
    assert!(std::panic::catch_unwind(run).is_err());
    assert_eq!(h.stats().done, 1);
}

const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    // What leads to a value that may cross threads may itself; the rest is in the compile-fail suite.
    send_sync::<umbel_core::Join<u8>>();
    const fn clone<T: Clone>() {}
    clone::<LocalHandle<'_, Bad>>();
    const fn future<F: Future>() {}
    future::<umbel_core::LocalRun<'_, Bad, (), Pending<Result<(), Bad>>>>();
};
