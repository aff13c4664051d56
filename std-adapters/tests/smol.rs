//! `umbel::smol` on smol's own reactor and executors.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use umbel::smol::{SmolExecutor, SmolLocalExecutor, SmolSleep, SmolSpawn, SmolTimer};
use umbel::{CancellationToken, Clock, Instant, Spawn, Timer, time};

fn first_poll(sleep: SmolSleep) -> Poll<()> {
    pin!(sleep).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_sleep_ends_at_or_after_its_instant() {
    let timer = SmolTimer::new();
    for micros in [0, 1, 700, 3_000] {
        let at = timer.now() + Duration::from_micros(micros);
        smol::block_on(timer.sleep_until(at));
        assert!(timer.now() >= at);
    }
}

#[test]
fn an_instant_that_is_due_ends_at_the_first_poll() {
    let timer = SmolTimer::new();
    assert_eq!(first_poll(timer.sleep_until(timer.now())), Poll::Ready(()));
    assert_eq!(
        first_poll(timer.sleep_until(Instant::EPOCH)),
        Poll::Ready(())
    );
}

#[test]
fn what_is_not_due_is_pending_up_to_the_end_of_the_clock() {
    let timer = SmolTimer::new();
    let hour = timer.now() + Duration::from_secs(3600);
    assert_eq!(first_poll(timer.sleep_until(hour)), Poll::Pending);
    for nanos in [u64::MAX, u64::MAX - 1, u64::MAX / 2, i64::MAX as u64 + 1] {
        let far = Instant::from_nanos(nanos);
        assert_eq!(first_poll(timer.sleep_until(far)), Poll::Pending, "{nanos}");
    }
    assert_eq!(first_poll(timer.sleep_until(Instant::NEVER)), Poll::Pending);
}

#[test]
fn the_clock_is_the_standard_one_on_the_shared_epoch() {
    let timer = SmolTimer::default();
    let before = time::from_std(std::time::Instant::now());
    let now = timer.now();
    let after = time::from_std(std::time::Instant::now());
    assert!(before <= now && now <= after);
}

#[test]
fn the_sleep_may_go_to_another_thread() {
    fn assert_send<T: Send + Sync + Unpin>(_: &T) {}
    let sleep = SmolTimer::new().sleep_until(Instant::EPOCH);
    assert_send(&sleep);
    assert_eq!(
        std::thread::spawn(|| first_poll(sleep)).join().unwrap(),
        Poll::Ready(())
    );
}

#[test]
fn the_global_executor_runs_a_detached_task() {
    let done = CancellationToken::new();
    let theirs = done.clone();
    // The task outlives what `spawn` gives: a yield, then the end.
    SmolSpawn
        .spawn(async move {
            smol::future::yield_now().await;
            theirs.cancel();
        })
        .unwrap();
    smol::block_on(done.cancelled());
}

#[test]
fn an_executor_runs_tasks_that_borrow() {
    let done = CancellationToken::new();
    let executor = smol::Executor::new();
    let spawn = SmolExecutor::new(&executor);
    spawn
        .spawn(async {
            smol::future::yield_now().await;
            done.cancel();
        })
        .unwrap();
    assert!(!done.is_cancelled(), "it runs when the executor is run");
    smol::block_on(executor.run(done.cancelled()));
}

#[test]
fn an_executor_in_an_arc_makes_a_spawner_for_other_threads() {
    let done = CancellationToken::new();
    let executor = Arc::new(smol::Executor::new());
    let (spawner, theirs) = (SmolExecutor::new(executor.clone()), done.clone());
    std::thread::spawn(move || spawner.spawn(async move { theirs.cancel() }).unwrap())
        .join()
        .unwrap();
    smol::block_on(executor.run(done.cancelled()));
}

#[test]
fn a_local_executor_runs_tasks_that_are_not_send() {
    let ran = Rc::new(Cell::new(false));
    let executor = smol::LocalExecutor::new();
    let theirs = ran.clone();
    SmolLocalExecutor::new(&executor)
        .spawn(async move {
            smol::future::yield_now().await;
            theirs.set(true);
        })
        .unwrap();
    while executor.try_tick() {}
    assert!(ran.get());
    assert_eq!(Rc::strong_count(&ran), 1, "a finished task is dropped");
}

#[test]
fn a_panic_ends_its_task_only() {
    let executor = smol::Executor::new();
    let died = CancellationToken::new();
    let guard = died.clone().drop_guard();
    SmolExecutor::new(&executor)
        .spawn(async move {
            let _guard = guard;
            panic!("as it should");
        })
        .unwrap();
    smol::block_on(executor.run(died.cancelled()));
}

#[test]
fn tasks_are_dropped_with_their_executor() {
    let held = Rc::new(());
    let executor = smol::LocalExecutor::new();
    let theirs = held.clone();
    SmolLocalExecutor::new(&executor)
        .spawn(async move {
            std::future::pending::<()>().await;
            drop(theirs);
        })
        .unwrap();
    executor.try_tick();
    drop(executor);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_spawner_serves_as_a_trait_object() {
    type BoxTask = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let done = CancellationToken::new();
    let theirs = done.clone();
    let spawner: &dyn Spawn<BoxTask> = &SmolSpawn;
    spawner
        .spawn(Box::pin(async move { theirs.cancel() }))
        .unwrap();
    smol::block_on(done.cancelled());
}
