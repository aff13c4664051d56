//! The nursery under attack: what strangers' code does at the worst moment.

use futures_core::Stream;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use umbel_core::{
    Cause, Instant, JoinErrorKind, KeepGoing, ManualClock, Nursery, Reason, ReasonKind, Timer,
};
use umbel_tests::exec::{Gate, Log, Task, Wakes, yields};
use umbel_tests::scaled;

type N<'env> = Nursery<'env, u32>;

fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    once_with(future, Waker::noop())
}

fn once_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Runs code when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn panics() -> OnDrop<impl FnMut() + Send> {
    OnDrop(|| panic!("drop"))
}

/// A waker that panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("waker");
    }
}

fn panicked(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

// ------------------------------------------------------------------ places

#[test]
fn an_option_after_a_handle_that_is_gone_is_refused_too() {
    // Its children have their places already: the limit would never hold.
    let n = N::new();
    drop(n.handle().spawn(async { Ok(()) }));
    assert!(panicked(|| drop(n.limit(1))));
    let n = N::new();
    drop(n.handle());
    assert!(panicked(|| drop(n.token(&Default::default()))));
}

#[test]
fn places_survive_every_way_out() {
    // Refused, given up queued, given up unpolled, failed: afterwards the limit is what it was.
    let n = N::new().limit(2).policy(KeepGoing);
    let h = n.handle();
    let most = AtomicUsize::new(0);
    let running = AtomicUsize::new(0);
    let mut task = Task::new(n.run(async {
        for round in 0..200_usize {
            drop(h.spawn::<(), _>(async { Err(1) }));
            let mut waits = Vec::new();
            for i in 0..4 {
                let mut wait = h.spawn_wait(yields_ok(i));
                if (round + i) % 3 == 0 || once(&mut wait).is_pending() {
                    waits.push(wait);
                }
            }
            yields(round % 3).await;
            for (i, mut wait) in waits.into_iter().enumerate() {
                if (i + round) % 2 == 0 {
                    let _ = once(&mut wait);
                }
            }
        }
        yields(20).await;
        for _ in 0..10 {
            let (most, running) = (&most, &running);
            drop(h.spawn(async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                yields(2).await;
                running.fetch_sub(1, SeqCst);
                Ok(())
            }));
        }
        Ok(())
    }));
    drop(task.finish());
    assert_eq!(most.load(SeqCst), 2);
}

async fn yields_ok(n: usize) -> Result<(), u32> {
    yields(n).await;
    Ok(())
}

#[test]
fn a_spawner_that_gives_up_may_drive_the_nursery_meanwhile() {
    // The abandoned child's drop polls the nursery, which finds it given up before that was counted.
    type Run = Pin<Box<dyn Future<Output = ()> + Send>>;
    let n = Nursery::<'static, u32>::new().limit(1);
    let h = n.handle();
    drop(h.spawn(async { Ok(()) }));
    let run: Arc<Mutex<Option<Run>>> = Arc::default();
    let again = Arc::clone(&run);
    let drives = OnDrop(move || {
        let mut run = again.lock().unwrap();
        let run = run.as_mut().unwrap();
        let _ = once_with(run, Waker::noop());
    });
    let mut wait = h.spawn_wait(async move {
        let _drives = &drives;
        Ok(())
    });
    assert!(once(&mut wait).is_pending());
    *run.lock().unwrap() = Some(Box::pin(async move {
        let _ = n.run(pending::<Result<(), u32>>()).await;
    }));
    drop(wait);
    // All is counted right: the queue is empty and the place is free.
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    drop(h.spawn(async move {
        count.fetch_add(1, SeqCst);
        Ok(())
    }));
    let _ = once_with(run.lock().unwrap().as_mut().unwrap(), Waker::noop());
    assert_eq!(ran.load(SeqCst), 1);
    h.cancel();
    let _ = once_with(run.lock().unwrap().as_mut().unwrap(), Waker::noop());
}

#[test]
fn a_spawner_is_woken_when_its_child_starts_not_when_it_ends() {
    let gate = Gate::new();
    let n = N::new().limit(1);
    let h = n.handle();
    let g = gate.clone();
    drop(h.spawn(async move {
        g.pass().await;
        Ok(())
    }));
    let mut wait = Task::new(h.spawn_wait(pending::<Result<(), u32>>()));
    wait.stall();
    let mut task = Task::new(n.run(pending::<Result<(), u32>>()));
    task.stall();
    assert!(!wait.is_woken());
    gate.open();
    task.stall();
    assert!(wait.is_woken());
    assert!(wait.finish().is_ok());
}

#[test]
fn giving_up_on_another_thread_races_nobody() {
    // For miri above all: start, refusal and sweep against a spawner that goes.
    for cancel in [false, true] {
        let n = N::new().limit(1);
        let h = n.handle();
        let alive = Arc::new(());
        let mut task = Task::new(n.run(pending::<Result<(), u32>>()));
        std::thread::scope(|s| {
            s.spawn(|| {
                for i in 0..scaled(500, 6) {
                    let held = Arc::clone(&alive);
                    drop(h.spawn(yields_ok(i % 2)));
                    let mut wait = h.spawn_wait(async move {
                        drop(held);
                        Ok(())
                    });
                    let _ = once(&mut wait);
                }
                if cancel {
                    h.cancel();
                } else {
                    h.force();
                }
            });
            loop {
                if task.run().is_ready() {
                    return;
                }
                while !task.is_woken() {
                    std::thread::yield_now();
                }
            }
        });
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

#[test]
fn a_spawn_on_another_thread_races_no_drop_of_the_nursery() {
    // For miri: loom's fences hide what orders the drop of a child that just came in.
    for polled in [false, true] {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
        if polled {
            let _ = once(&mut run);
        }
        let spawned = AtomicUsize::new(0);
        std::thread::scope(|s| {
            s.spawn(|| {
                for _ in 0..3 {
                    let held = Arc::clone(&alive);
                    drop(h.spawn(async move {
                        drop(held);
                        Ok(())
                    }));
                    // Relaxed: it orders nothing.
                    spawned.fetch_add(1, Relaxed);
                }
            });
            while spawned.load(Relaxed) == 0 {
                std::thread::yield_now();
            }
            drop(run);
        });
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

#[test]
fn a_report_is_read_by_another_thread() {
    let n = N::new().name("ship");
    let h = n.handle();
    std::thread::scope(|s| {
        s.spawn(|| {
            loop {
                if let Some(report) = h.report() {
                    assert_eq!(report.name.as_deref(), Some("ship"));
                    return;
                }
                std::thread::yield_now();
            }
        });
        Task::new(n.run(async { Ok(()) })).finish().unwrap();
    });
}

// ------------------------------------------------------------------ references that stay

#[test]
fn a_dropped_join_lets_go_of_its_waker() {
    let n = N::new().limit(1);
    let h = n.handle();
    let (wakes, waker) = Wakes::new();
    let (spare, own) = (Arc::strong_count(&wakes), wakes);
    let mut join = h.spawn(pending::<Result<(), u32>>());
    let mut wait = h.spawn_wait(pending::<Result<(), u32>>());
    assert!(once_with(&mut join, &waker).is_pending());
    assert!(once_with(&mut wait, &waker).is_pending());
    assert_eq!(Arc::strong_count(&own), spare + 2);
    drop((join, wait));
    assert_eq!(
        Arc::strong_count(&own),
        spare,
        "the task that gave up is kept"
    );
    drop(n);
}

#[test]
fn a_join_that_fired_keeps_no_waker() {
    let n = N::new();
    let h = n.handle();
    let (wakes, waker) = Wakes::new();
    let spare = Arc::strong_count(&wakes);
    let mut join = h.spawn(yields_ok(1));
    assert!(once_with(&mut join, &waker).is_pending());
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(Arc::strong_count(&wakes), spare);
    drop(join);
}

// ------------------------------------------------------------------ panics

/// Whatever panics, the nursery and all it held are gone when it is dropped.
fn nothing_stays<K>(attack: impl FnOnce(&umbel_core::Handle<'static, u32>, &Arc<()>) -> K) {
    let alive = Arc::new(());
    let n = Nursery::<'static, u32>::new().limit(3);
    let h = n.handle();
    for _ in 0..2 {
        let held = (Arc::clone(&alive), h.clone());
        drop(h.spawn_graceful(|_| async move {
            let _held = held;
            pending::<Result<(), u32>>().await
        }));
    }
    let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
    assert!(once(&mut run).is_pending());
    let _kept = attack(&h, &alive);
    let first = panicked(|| drop(once(&mut run)));
    if first {
        // A nursery that has panicked says so when it is polled again; it does not hang.
        assert!(panicked(|| drop(once(&mut run))));
    }
    let _ = panicked(|| drop(run));
    // Refused, not taken in for ever.
    let mut late = h.spawn(async { Ok(()) });
    assert!(once(&mut late).is_ready());
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn panics_leave_nothing_behind() {
    // In a child's poll.
    nothing_stays(|h, alive| {
        let held = (Arc::clone(alive), h.clone());
        drop(h.spawn(async move {
            let _held = held;
            panic!("poll")
        }) as umbel_core::Join<()>);
    });
    // In the drop of a child that has ended well.
    nothing_stays(|h, alive| {
        let held = (Arc::clone(alive), panics(), h.clone());
        drop(h.spawn(async move {
            let _held = held;
            Ok(())
        }));
    });
    // In the drop of an output that nobody wants.
    nothing_stays(|h, alive| {
        let held = (Arc::clone(alive), panics(), h.clone());
        drop(h.spawn(async move { Ok(held) }));
    });
    // In the waker of a joiner.
    nothing_stays(|h, alive| {
        let held = (Arc::clone(alive), h.clone());
        let mut join = h.spawn(async move {
            let _: () = drop(held);
            Ok(())
        });
        assert!(once_with(&mut join, &Arc::new(Bomb).into()).is_pending());
        join
    });
    // In the waker of one who waits for room.
    nothing_stays(|h, alive| {
        let held = (Arc::clone(alive), h.clone());
        drop(h.spawn(pending::<Result<(), u32>>()));
        let mut wait = h.spawn_wait(async move {
            let _: () = drop(held);
            Ok(())
        });
        assert!(once_with(&mut wait, &Arc::new(Bomb).into()).is_pending());
        h.cancel();
        wait
    });
    // In the drops of several children: running, queued and on their way, when it is cancelled …
    for cancel in [true, false] {
        nothing_stays(|h, alive| {
            for _ in 0..4 {
                let held = (Arc::clone(alive), panics(), h.clone());
                drop(h.spawn(async move {
                    let _held = held;
                    pending::<Result<(), u32>>().await
                }));
            }
            if cancel {
                h.cancel();
            }
        });
    }
}

#[test]
fn panics_in_all_drops_of_a_dropped_nursery_lose_no_sibling() {
    let log = Log::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let spawn = |i: u32| {
        let held = (log.on_drop(i.to_string()), panics());
        drop(h.spawn(async move {
            let _held = held;
            pending::<Result<(), u32>>().await
        }));
    };
    (0..4).for_each(spawn);
    let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
    assert!(once(&mut run).is_pending());
    (4..6).for_each(spawn);
    assert!(panicked(|| drop(run)));
    assert_eq!(log.take(), "5 4 3 2 1 0");
}

/// A reason that is counted.
#[derive(Debug)]
struct Why(#[allow(dead_code, reason = "held")] Arc<()>);

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("why")
    }
}

impl std::error::Error for Why {}

#[test]
fn a_refusal_leaks_nothing_if_the_drop_of_the_child_panics() {
    let alive = Arc::new(());
    let n = N::new();
    let h = n.handle();
    h.cancel_with(Reason::error(Why(Arc::clone(&alive))));
    struct Panics;
    impl Future for Panics {
        type Output = Result<(), u32>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Pending
        }
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("drop");
        }
    }
    assert!(panicked(|| drop(h.spawn(Panics))));
    assert!(panicked(|| drop(h.spawn_wait(Panics))));
    drop((n, h));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_wait_that_is_refused_leaks_nothing_if_the_drop_of_its_waker_panics() {
    let alive = Arc::new(());
    let n = N::new().limit(1);
    let h = n.handle();
    let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
    drop(h.spawn(pending::<Result<(), u32>>()));
    let mut wait = h.spawn_wait(pending::<Result<(), u32>>());
    assert!(once(&mut wait).is_pending());
    // Its next waker ends the nursery when it is cloned, and panics when it is dropped.
    h.cancel_with(Reason::error(Why(Arc::clone(&alive))));
    type Turn<'a> = std::cell::RefCell<Box<dyn FnMut() + 'a>>;
    static HOSTILE: std::task::RawWakerVTable = std::task::RawWakerVTable::new(
        |data| {
            // SAFETY: it is there while the wait is polled.
            let turn = unsafe { &*data.cast::<Turn<'_>>() };
            turn.borrow_mut()();
            std::task::RawWaker::new(std::ptr::null(), &PANICS)
        },
        |_| (),
        |_| (),
        |_| (),
    );
    static PANICS: std::task::RawWakerVTable = std::task::RawWakerVTable::new(
        |_| std::task::RawWaker::new(std::ptr::null(), &PANICS),
        |_| (),
        |_| (),
        |_| panic!("drop"),
    );
    let turn: Turn<'_> = std::cell::RefCell::new(Box::new(|| assert!(once(&mut run).is_ready())));
    // SAFETY: the first table's data outlives the waker; the second one's functions touch nothing.
    let waker = unsafe { Waker::new((&raw const turn).cast(), &HOSTILE) };
    assert!(panicked(|| drop(once_with(&mut wait, &waker))));
    drop(waker);
    drop(turn);
    drop((run, wait, h));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_panicking_outer_waker_loses_no_child() {
    let n = N::new();
    let h = n.handle();
    let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
    assert!(once_with(&mut run, &Arc::new(Bomb).into()).is_pending());
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    assert!(panicked(|| drop(h.spawn(async move {
        count.fetch_add(1, SeqCst);
        Ok(())
    }))));
    assert!(once(&mut run).is_pending());
    assert_eq!(ran.load(SeqCst), 1);
}

#[test]
fn a_spawner_whose_waker_panics_still_gives_up_its_child() {
    static PANICS_ON_CLONE: std::task::RawWakerVTable =
        std::task::RawWakerVTable::new(|_| panic!("clone"), |_| (), |_| (), |_| ());
    // SAFETY: the functions touch nothing.
    let waker = unsafe { Waker::new(std::ptr::null(), &PANICS_ON_CLONE) };
    let n = N::new().limit(1);
    let h = n.handle();
    drop(h.spawn(async { Ok(()) }));
    let mut wait = h.spawn_wait(async { Ok(()) });
    assert!(panicked(|| drop(once_with(&mut wait, &waker))));
    drop(wait);
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(h.stats().started, 1, "it ran although it was given up");
}

// ------------------------------------------------------------------ cancellation

#[test]
fn a_graceful_child_that_ends_in_the_turn_of_the_cancellation_is_reported() {
    for timed in [false, true] {
        let n = N::new();
        let n = if timed {
            n.timer(ManualClock::new()).grace(Duration::from_secs(1))
        } else {
            n
        };
        let h = n.handle();
        let gate = Gate::new();
        let mut task = Task::new(n.run(async {
            // Whoever is polled first cancels; the other one is polled after that, in the same turn.
            for _ in 0..2 {
                let (h2, g) = (h.clone(), gate.clone());
                drop(h.child().name("quick").spawn_graceful(|_| async move {
                    g.pass().await;
                    h2.cancel();
                    Ok(())
                }));
            }
            Ok(())
        }));
        task.stall();
        gate.open();
        task.finish().unwrap();
        let report = h.report().unwrap();
        assert_eq!(report.drained.len(), 2);
        for drained in report.drained {
            assert_eq!(drained.name.as_deref(), Some("quick"));
            let zero = timed.then_some(Duration::ZERO);
            assert_eq!((drained.notice, drained.drain), (zero, zero));
            assert!(!drained.forced);
        }
    }
}

#[test]
fn force_from_a_drop_in_the_drain_is_obeyed_at_once() {
    let n = N::new();
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), u32>>()));
        let h2 = h.clone();
        let forces = OnDrop(move || h2.force());
        drop(h.spawn(async move {
            let _forces = &forces;
            pending::<Result<(), u32>>().await
        }));
        pending::<Result<(), u32>>().await
    }));
    task.stall();
    h.cancel();
    let failure = task.finish().unwrap_err();
    assert_eq!(
        (failure.report.stats.forced, failure.report.stats.cancelled),
        (1, 1)
    );
}

#[test]
fn force_before_the_run_polls_nothing() {
    for by_token in [true, false] {
        let kill = umbel_core::CancellationToken::new();
        let n = N::new().force_on(&kill);
        let h = n.handle();
        drop(h.spawn_graceful(|_| async { panic!("a child was polled") }) as umbel_core::Join<()>);
        if by_token {
            kill.cancel();
        } else {
            h.force();
        }
        let failure = Task::new(n.run::<(), _>(async { panic!("the body was polled") }))
            .finish()
            .unwrap_err();
        assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
        assert_eq!(
            (failure.report.stats.started, failure.report.stats.cancelled),
            (0, 1)
        );
    }
}

/// A timer that ends every sleep at its first poll, due or not.
#[derive(Clone)]
struct Hasty(ManualClock);

impl umbel_core::Clock for Hasty {
    fn now(&self) -> Instant {
        umbel_core::Clock::now(&self.0)
    }
}

impl Timer for Hasty {
    type Sleep = std::future::Ready<()>;
    fn sleep_until(&self, _: Instant) -> Self::Sleep {
        std::future::ready(())
    }
}

#[test]
fn a_timer_that_ends_early_cancels_and_forces_nothing_early() {
    let clock = ManualClock::new();
    let n = N::new()
        .timer(Hasty(clock.clone()))
        .deadline(Instant::from_nanos(5))
        .grace(Duration::from_nanos(5));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), u32>>()));
        Ok(())
    }));
    for now in 0..10 {
        assert!(task.poll().is_pending());
        assert_eq!(h.token().is_cancelled(), now >= 5, "at {now}");
        assert_eq!(h.stats().forced, 0);
        clock.advance(Duration::from_nanos(1));
    }
    assert_eq!(task.finish().unwrap_err().report.stats.forced, 1);
}

#[test]
fn the_end_of_the_grace_is_due_at_the_instant_itself() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock.clone()).grace(Duration::from_nanos(5));
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), u32>>()));
        Ok(())
    }));
    task.stall();
    h.cancel();
    task.stall();
    clock.advance(Duration::from_nanos(4));
    task.stall();
    assert_eq!(h.stats().forced, 0);
    clock.advance(Duration::from_secs(1_000_000)); // a jump
    assert_eq!(task.finish().unwrap_err().report.stats.forced, 1);
}

#[test]
fn a_body_that_cancels_and_fails_keeps_its_error() {
    let n = N::new();
    let h = n.handle();
    let failure = Task::new(n.run(async {
        h.cancel();
        Err::<(), _>(7)
    }))
    .finish()
    .unwrap_err();
    assert!(matches!(failure.cause, Cause::Error(7)) && failure.rest.is_empty());
}

#[test]
fn an_error_after_the_cancellation_is_not_the_cause() {
    let n = N::new();
    let h = n.handle();
    let failure = Task::new(n.run(async {
        drop(h.spawn(pending::<Result<(), u32>>()));
        yields(1).await;
        h.cancel();
        Err::<(), _>(7)
    }))
    .finish()
    .unwrap_err();
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
    assert_eq!(failure.rest, [7]);
}

#[test]
fn a_cancellation_by_a_child_is_obeyed_in_the_same_turn() {
    let n = N::new();
    let h = n.handle();
    let h2 = h.clone();
    drop(h.spawn(poll_fn(move |_| {
        h2.cancel();
        Poll::<Result<(), u32>>::Pending
    })));
    let mut task = Task::new(n.run(pending::<Result<(), u32>>()));
    assert!(task.poll().is_ready());
}

/// A timer whose sleeps are pending at their first poll, due or not.
struct Sluggish(ManualClock);

impl umbel_core::Clock for Sluggish {
    fn now(&self) -> Instant {
        umbel_core::Clock::now(&self.0)
    }
}

impl Timer for Sluggish {
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;
    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let sleep = self.0.sleep_until(at);
        Box::pin(async move {
            yields(1).await;
            sleep.await;
        })
    }
}

#[test]
fn a_past_deadline_does_not_wait_for_the_timer() {
    let n = N::new()
        .timer(Sluggish(ManualClock::new()))
        .deadline(Instant::EPOCH);
    let failure = Task::new(n.run::<(), _>(async { panic!("the body was polled") }))
        .finish()
        .unwrap_err();
    let reason = failure.cancelled().unwrap().kind();
    assert_eq!(reason, ReasonKind::DeadlineExceeded);
}

#[test]
fn no_turn_wakes_itself_while_a_drain_waits() {
    let n = N::new().limit(1);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), u32>>()));
        for _ in 0..40 {
            drop(h.spawn(pending::<Result<(), u32>>()));
        }
        pending::<Result<(), u32>>().await
    }));
    task.stall();
    h.cancel();
    task.stall();
    let polls = task.polls();
    for _ in 0..10 {
        assert!(task.poll().is_pending());
        assert!(!task.is_woken());
    }
    assert_eq!(task.polls(), polls + 10);
    h.force();
    assert!(task.finish().is_err());
}

// ------------------------------------------------------------------ self-reference

#[test]
fn a_child_may_hold_its_own_join_and_its_own_wait() {
    let slot: Arc<Mutex<Option<umbel_core::Join<()>>>> = Arc::default();
    let n = Nursery::<'static, u32>::new().limit(1);
    let h = n.handle();
    let own = Arc::clone(&slot);
    *slot.lock().unwrap() = Some(h.spawn(async move {
        let mut join = own.lock().unwrap().take().unwrap();
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut join).poll(cx).is_pending())).await);
        yields(1).await;
        drop(join);
        Ok(())
    }));
    let waits: Arc<Mutex<Option<umbel_core::SpawnWait<'static, (), u32>>>> = Arc::default();
    let own = Arc::clone(&waits);
    let mut wait = h.spawn_wait(async move {
        let wait = own.lock().unwrap().take().unwrap();
        assert!(wait.await.is_ok());
        Ok(())
    });
    assert!(once(&mut wait).is_pending());
    *waits.lock().unwrap() = Some(wait);
    Task::new(n.run(async { Ok(()) })).finish().unwrap();
    assert_eq!(h.stats().done, 2);
}

#[test]
fn a_child_that_drops_the_spawn_wait_of_a_queued_sibling() {
    let slot: Arc<Mutex<Vec<umbel_core::SpawnWait<'static, (), u32>>>> = Arc::default();
    let log = Log::new();
    let n = Nursery::<'static, u32>::new().limit(1);
    let h = n.handle();
    let (held, gives_up) = (Arc::clone(&slot), Arc::clone(&slot));
    // Dropped in the drain, it gives up the siblings that the drain is about to refuse.
    let gives_up = OnDrop(move || {
        let waits = std::mem::take(&mut *gives_up.lock().unwrap());
        drop(waits);
    });
    drop(h.spawn(pending::<Result<(), u32>>()));
    for i in 0..3 {
        let note = log.on_drop(i.to_string());
        let mut wait = h.spawn_wait(async move {
            let _note = note;
            Ok(())
        });
        assert!(once(&mut wait).is_pending());
        held.lock().unwrap().push(wait);
    }
    drop(h.spawn(async move {
        let _gives_up = &gives_up;
        Ok(())
    }));
    let mut task = Task::new(n.run(pending::<Result<(), u32>>()));
    task.stall();
    h.cancel();
    let failure = task.finish().unwrap_err();
    assert_eq!(
        log.take(),
        "0 1 2",
        "given up by their spawner, in his order"
    );
    assert_eq!(failure.report.stats.cancelled, 2);
    let mut join = h.spawn(async { Ok(()) });
    assert!(matches!(once(&mut join), Poll::Ready(Err(e)) if e.kind() == JoinErrorKind::Cancelled));
}

// ------------------------------------------------------------------ the clock

#[test]
fn a_panicking_waker_stops_no_other_sleep() {
    let clock = ManualClock::new();
    let (wakes, waker) = Wakes::new();
    let mut bad = clock.sleep_until(Instant::from_nanos(1));
    let mut good = clock.sleep_until(Instant::from_nanos(1));
    let mut later = clock.sleep_until(Instant::from_nanos(2));
    assert!(once_with(&mut good, &waker).is_pending());
    assert!(once_with(&mut bad, &Arc::new(Bomb).into()).is_pending());
    assert!(once_with(&mut later, &waker).is_pending());
    assert!(panicked(|| clock.advance(Duration::from_nanos(1))));
    assert_eq!(wakes.count(), 1);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(wakes.count(), 2);
}

#[test]
fn nobody_overtakes_a_child_that_was_spawned_in_the_last_poll_of_another() {
    // The place becomes free in the same turn, when the nursery has not seen who waits for it.
    let log = Log::new();
    let child = |name: &'static str| {
        let log = log.clone();
        async move {
            log.add(name);
            Ok(())
        }
    };
    let n = N::new().limit(1);
    let h = n.handle();
    let gate = Gate::new();
    let mut run = Task::new(n.run(async {
        drop(h.spawn(async {
            drop(h.spawn(child("first")));
            Ok(())
        }));
        gate.pass().await;
        Ok(())
    }));
    assert!(run.poll().is_pending());
    assert!(h.try_spawn(child("refused")).is_err());
    drop(h.spawn(child("second")));
    run.stall();
    assert_eq!(log.take(), "first second");
    // No place was lost, and none made.
    assert!(h.try_spawn(child("third")).is_ok());
    assert!(h.try_spawn(child("refused")).is_err());
    gate.open();
    assert!(run.finish().is_ok());
    assert_eq!(log.take(), "third");
}

/// A future that borrows from itself is not looked at, but dropped: for miri.
#[test]
fn children_that_borrow_from_themselves_are_dropped_in_peace() {
    struct Counts<'a>(&'a mut u32);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            *self.0 += 1;
        }
    }
    async fn borrows() -> Result<(), u32> {
        let mut count = 0;
        let _counts = Counts(&mut count);
        pending().await
    }
    for cancels in [true, false] {
        let n = N::new().limit(2);
        let h = n.handle();
        for _ in 0..3 {
            drop(h.spawn(borrows()));
        }
        let mut run = Task::new(n.run(borrows()));
        run.stall();
        if cancels {
            h.cancel();
            assert!(run.finish().is_err());
        }
    }
    let mut set = umbel_core::FutureSet::new();
    for _ in 0..2 {
        set.push(borrows());
        let next = Pin::new(&mut set).poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(next.is_pending());
        set.clear();
    }
    set.push(borrows());
}

#[test]
fn a_reason_goes_with_its_child_whether_it_was_read_or_not() {
    let alive = Arc::new(());
    let n = N::new().limit(3);
    let h = n.handle();
    let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
    let small = || h.spawn(pending::<Result<(), u32>>());
    let large = || {
        let held = [1_u8; 100];
        h.spawn(async move {
            pending::<()>().await;
            Ok(held)
        })
    };
    // Detached, unread and read; the second half waits for room.
    drop((small(), large()));
    let (unread, read) = (small(), large());
    drop((small(), large()));
    let queued = (small(), large());
    assert!(once(&mut run).is_pending());
    h.cancel_with(Reason::error(Why(Arc::clone(&alive))));
    let Poll::Ready(Err(failure)) = once(&mut run) else {
        panic!("it was cut");
    };
    drop((run, failure, h));
    // What is kept for the four joins.
    assert_eq!(Arc::strong_count(&alive), 2);
    let error = read.now_or_never().expect("it has ended").unwrap_err();
    assert!(error.to_string().contains("why"), "{error}");
    drop(error);
    drop((unread, queued.0));
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(queued.1);
    assert_eq!(Arc::strong_count(&alive), 1);
}
