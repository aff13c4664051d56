//! `umbel::async_std` on async-std's own reactor and executors.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::async_std::task::{block_on, yield_now};
use umbel::async_std::{AsyncStdLocalSpawn, AsyncStdSleep, AsyncStdSpawn, AsyncStdTimer};
use umbel::smol::SmolTimer;
use umbel::{
    CancellationToken, Clock, Instant, JoinError, Nursery, ReasonKind, Spawn, Timer, time,
};

fn first_poll(sleep: AsyncStdSleep) -> Poll<()> {
    pin!(sleep).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_sleep_ends_at_or_after_its_instant() {
    let timer = AsyncStdTimer::new();
    for micros in [0, 1, 700, 3_000] {
        let at = timer.now() + Duration::from_micros(micros);
        block_on(timer.sleep_until(at));
        assert!(timer.now() >= at);
    }
}

#[test]
fn an_instant_that_is_due_ends_at_the_first_poll() {
    let timer = AsyncStdTimer::new();
    for due in [timer.now(), Instant::EPOCH] {
        assert_eq!(first_poll(timer.sleep_until(due)), Poll::Ready(()));
    }
}

#[test]
fn what_is_not_due_is_pending_up_to_the_end_of_the_clock() {
    let timer = AsyncStdTimer::new();
    let hour = timer.now() + Duration::from_secs(3600);
    assert_eq!(first_poll(timer.sleep_until(hour)), Poll::Pending);
    for nanos in [u64::MAX, u64::MAX - 1, u64::MAX / 2, i64::MAX as u64 + 1] {
        let far = Instant::from_nanos(nanos);
        assert_eq!(first_poll(timer.sleep_until(far)), Poll::Pending, "{nanos}");
    }
}

#[test]
fn the_clock_is_the_standard_one_and_smols() {
    let timer = AsyncStdTimer::default();
    let before = time::from_std(std::time::Instant::now());
    let now = timer.now();
    let after = SmolTimer::new().now();
    assert!(before <= now && now <= after);
}

#[test]
fn the_sleep_may_go_to_another_thread() {
    fn assert_send<T: Send + Sync + Unpin>(_: &T) {}
    let sleep = AsyncStdTimer::new().sleep_until(Instant::EPOCH);
    assert_send(&sleep);
    let polled = std::thread::spawn(|| first_poll(sleep)).join();
    assert_eq!(polled.unwrap(), Poll::Ready(()));
}

#[test]
fn a_deadline_cuts_a_nursery() {
    let timer = AsyncStdTimer::new();
    let n = Nursery::<JoinError>::new()
        .timer(timer)
        .deadline(timer.now() + Duration::from_millis(1));
    let cut = block_on(n.run(std::future::pending::<Result<(), _>>())).unwrap_err();
    assert_eq!(
        cut.cancelled().unwrap().kind(),
        ReasonKind::DeadlineExceeded
    );
}

#[test]
fn threads_run_a_detached_task() {
    let done = CancellationToken::new();
    let theirs = done.clone();
    // The task outlives what `spawn` gives: a yield, then the end.
    AsyncStdSpawn
        .spawn(async move {
            yield_now().await;
            theirs.cancel();
        })
        .unwrap();
    block_on(done.cancelled());
}

#[test]
fn a_panic_ends_its_task_only() {
    type BoxTask = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let spawners: [&dyn Spawn<BoxTask>; 2] = [&AsyncStdSpawn, &AsyncStdLocalSpawn];
    for spawner in spawners {
        let died = CancellationToken::new();
        let guard = died.clone().drop_guard();
        let task = Box::pin(async move {
            let _guard = guard;
            panic!("as it should");
        });
        spawner.spawn(task).unwrap();
        block_on(died.cancelled());
    }
    threads_run_a_detached_task();
}

#[test]
fn a_thread_runs_tasks_that_are_not_send() {
    let (done, held) = (CancellationToken::new(), Rc::new(Cell::new(false)));
    let (theirs, ran) = (done.clone(), held.clone());
    AsyncStdLocalSpawn
        .spawn(async move {
            yield_now().await;
            ran.set(true);
            theirs.cancel();
        })
        .unwrap();
    assert!(!held.get(), "it runs in `block_on`");
    block_on(done.cancelled());
    assert!(held.get());
    assert_eq!(Rc::strong_count(&held), 1, "a finished task is dropped");
}

#[test]
fn a_local_task_is_dropped_with_its_thread() {
    let dropped = CancellationToken::new();
    let guard = dropped.clone().drop_guard();
    let thread = std::thread::spawn(|| {
        AsyncStdLocalSpawn
            .spawn(async move {
                std::future::pending::<()>().await;
                drop(guard);
            })
            .unwrap();
        block_on(yield_now());
    });
    thread.join().unwrap();
    assert!(dropped.is_cancelled());
}

#[test]
fn a_spawner_serves_as_a_trait_object() {
    type BoxTask = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let done = CancellationToken::new();
    let spawners: [&dyn Spawn<BoxTask>; 2] = [&AsyncStdSpawn, &AsyncStdLocalSpawn];
    for spawner in spawners {
        let theirs = done.clone();
        let task = Box::pin(async move { theirs.cancel() });
        spawner.spawn(task).unwrap();
        block_on(done.cancelled());
    }
}
