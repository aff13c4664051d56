//! `umbel::tokio` on tokio's runtimes and tokio-util's token. Time is virtual, where there is any.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ::tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken as Theirs;
use umbel::tokio::{TokioHandle, TokioSleep, TokioSpawn, TokioTimer, TokioToken};
use umbel::{
    CancelSignal, CancellationToken, Cause, Clock, DynCancelSignal, Failure, FutureExt, Instant,
    Nursery, Reason, ReasonKind, Spawn, Timer, time,
};

const SECOND: Duration = Duration::from_secs(1);

/// A runtime whose time moves when nothing else is to be done.
fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn counted() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn first_poll(sleep: TokioSleep) -> Poll<()> {
    poll(pin!(sleep), Waker::noop())
}

// ------------------------------------------------------------------ the timer

#[test]
fn a_sleep_ends_at_its_instant_and_not_before() {
    paused().block_on(async {
        let timer = TokioTimer::new();
        for nanos in [0, 1, 999_999, 1_000_000, 1_000_001, 3_600_000_000_000] {
            let at = timer.now() + Duration::from_nanos(nanos);
            timer.sleep_until(at).await;
            let late = timer.now() - at;
            assert!(timer.now() >= at, "{nanos}: early");
            assert!(late <= Duration::from_millis(1), "{nanos}: {late:?} late");
        }
    });
}

#[test]
fn an_instant_that_is_due_ends_at_the_first_poll() {
    paused().block_on(async {
        let timer = TokioTimer::new();
        assert_eq!(first_poll(timer.sleep_until(timer.now())), Poll::Ready(()));
        assert_eq!(
            first_poll(timer.sleep_until(Instant::EPOCH)),
            Poll::Ready(())
        );
        // Also between two milliseconds of tokio's timer.
        let at = timer.now() + Duration::from_nanos(10);
        let mut sleep = pin!(timer.sleep_until(at));
        assert!(poll(sleep.as_mut(), Waker::noop()).is_pending());
        ::tokio::time::advance(Duration::from_nanos(9)).await;
        assert!(poll(sleep.as_mut(), Waker::noop()).is_pending());
        ::tokio::time::advance(Duration::from_nanos(1)).await;
        assert_eq!(poll(sleep.as_mut(), Waker::noop()), Poll::Ready(()));
        assert_eq!(poll(sleep, Waker::noop()), Poll::Ready(()));
    });
}

#[test]
fn a_clock_that_was_paused_before_its_first_use_moves_at_once() {
    let rt = paused();
    // Real time passes this point, virtual time does not.
    let timer = TokioTimer::new();
    let real = timer.now();
    rt.block_on(async {
        let first = timer.now();
        assert!(first <= real);
        ::tokio::time::advance(Duration::from_nanos(1)).await;
        assert_eq!(timer.now() - first, Duration::from_nanos(1));
    });
}

#[test]
fn what_is_not_due_is_pending_up_to_the_end_of_the_clock() {
    paused().block_on(async {
        let timer = TokioTimer::new();
        let hour = timer.now() + 3600 * SECOND;
        assert!(first_poll(timer.sleep_until(hour)).is_pending());
        for nanos in [u64::MAX, u64::MAX - 1, u64::MAX / 2, i64::MAX as u64 + 1] {
            let far = Instant::from_nanos(nanos);
            assert!(first_poll(timer.sleep_until(far)).is_pending(), "{nanos}");
        }
    });
    // Without a runtime there is a clock, and a sleep that never ends.
    let timer = TokioTimer::default();
    assert!(first_poll(timer.sleep_until(Instant::NEVER)).is_pending());
    let before = time::from_std(std::time::Instant::now());
    let now = timer.now();
    assert!(before <= now && now <= time::from_std(std::time::Instant::now()));
}

#[test]
fn a_nursery_has_its_deadline_on_tokios_timer() {
    paused().block_on(async {
        let timer = TokioTimer::new();
        let start = timer.now();
        let n = Nursery::<()>::new().timer(timer).deadline(start + SECOND);
        let h = n.handle();
        let failure: Failure<()> = n
            .run::<(), _>(async {
                drop(h.spawn(pending::<Result<(), ()>>()));
                pending::<Result<(), ()>>().await
            })
            .await
            .unwrap_err();
        assert!(matches!(
            failure.cause,
            Cause::Cancelled(reason) if reason.kind() == ReasonKind::DeadlineExceeded
        ));
        assert!(timer.now() >= start + SECOND);
    });
}

#[test]
fn a_token_is_driven_by_tokios_timer() {
    paused().block_on(async {
        let timer = TokioTimer::new();
        let token = CancellationToken::new().child_with_deadline(timer.now() + SECOND);
        let driven = token.clone();
        TokioSpawn
            .spawn(async move { driven.drive(timer).await })
            .unwrap();
        let late = pending::<()>().or_cancelled(&token).await.unwrap_err();
        assert_eq!(late.reason().kind(), ReasonKind::DeadlineExceeded);
        assert!(token.deadline().unwrap().is_due(timer.now()));
    });
}

// ------------------------------------------------------------------ spawning

#[test]
fn the_current_runtime_runs_a_detached_task() {
    let rt = paused();
    let done = CancellationToken::new();
    let theirs = done.clone();
    rt.block_on(async {
        TokioSpawn
            .spawn(async move {
                ::tokio::task::yield_now().await;
                theirs.cancel();
            })
            .unwrap();
        assert!(!done.is_cancelled(), "the task runs later");
        done.cancelled().await;
    });
}

#[test]
fn without_a_runtime_the_future_comes_back_unharmed() {
    let done = CancellationToken::new();
    let theirs = done.clone();
    let future = TokioSpawn
        .spawn(async move { theirs.cancel() })
        .unwrap_err()
        .into_inner();
    assert!(!done.is_cancelled());
    assert!(poll(pin!(future), Waker::noop()).is_ready());
    assert!(done.is_cancelled());
}

#[test]
fn a_handle_spawns_from_other_threads() {
    let rt = paused();
    let done = CancellationToken::new();
    let (spawner, theirs) = (TokioHandle::new(rt.handle().clone()), done.clone());
    std::thread::spawn(move || spawner.spawn(async move { theirs.cancel() }).unwrap())
        .join()
        .unwrap();
    rt.block_on(done.cancelled());
}

#[test]
fn tasks_are_dropped_with_their_runtime_and_by_one_that_is_shut_down() {
    let rt = paused();
    let spawner = TokioHandle::new(rt.handle().clone());
    let guarded = || {
        let dropped = CancellationToken::new();
        let guard = dropped.clone().drop_guard();
        let task = async move {
            let _guard = guard;
            pending().await
        };
        (dropped, task)
    };
    let (dropped, task) = guarded();
    spawner.spawn(task).unwrap();
    assert!(!dropped.is_cancelled());
    drop(rt);
    assert!(dropped.is_cancelled());
    let (dropped, task) = guarded();
    spawner.spawn(task).unwrap();
    assert!(dropped.is_cancelled());
}

// ------------------------------------------------------------------ tokio-util's token

#[test]
fn tokio_utils_token_is_a_signal() {
    let theirs = Theirs::new();
    let signal = TokioToken::from(theirs.clone());
    assert_eq!(signal.get_ref(), &theirs);
    assert_eq!(Theirs::from(signal.clone()), theirs);
    assert_eq!(TokioToken::new(theirs.clone()).into_inner(), theirs);
    assert_ne!(TokioToken::default().get_ref(), &theirs);
    assert!(!signal.is_cancelled());
    assert_eq!(signal.reason(), None);

    let (wakes, waker) = counted();
    let boxed: Box<dyn DynCancelSignal + Send + Sync> = Box::new(signal.clone());
    let mut wait = pin!(signal.cancelled());
    let mut work = pin!(pending::<()>().or_cancelled(&*boxed));
    assert!(poll(wait.as_mut(), &waker).is_pending());
    assert!(poll(work.as_mut(), &waker).is_pending());
    theirs.cancel();
    assert_eq!(wakes.0.load(SeqCst), 2);
    assert!(poll(wait, &waker).is_ready());
    assert_eq!(
        poll(work, &waker),
        Poll::Ready(Err(umbel::Cancelled::new(Reason::explicit())))
    );
    assert!(signal.is_cancelled());
    assert_eq!(signal.reason(), Some(Reason::explicit()));
}

#[test]
fn forward_cancels_ours_when_theirs_is() {
    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    let below = ours.child_token();
    let (wakes, waker) = counted();
    let mut bridge = pin!(theirs.forward(&ours));
    assert!(poll(bridge.as_mut(), &waker).is_pending());
    theirs.get_ref().cancel();
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert!(!ours.is_cancelled(), "it works while it is polled");
    assert!(poll(bridge, &waker).is_ready());
    assert_eq!(below.reason(), Some(Reason::explicit()));
}

#[test]
fn follow_cancels_theirs_when_ours_is() {
    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    let below = theirs.get_ref().child_token();
    let (wakes, waker) = counted();
    let mut bridge = pin!(theirs.follow(&ours));
    assert!(poll(bridge.as_mut(), &waker).is_pending());
    ours.cancel_with(Reason::shutdown());
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert!(!below.is_cancelled(), "it works while it is polled");
    assert!(poll(bridge, &waker).is_ready());
    assert!(below.is_cancelled());
}

#[test]
fn a_bridge_ends_with_its_end_and_sends_nothing_back() {
    let (wakes, waker) = counted();
    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    let mut bridge = pin!(theirs.forward(&ours));
    assert!(poll(bridge.as_mut(), &waker).is_pending());
    ours.cancel_with(Reason::custom(1));
    assert_eq!(wakes.0.load(SeqCst), 1);
    assert!(poll(bridge, &waker).is_ready());
    assert!(!theirs.is_cancelled());
    assert_eq!(ours.reason(), Some(Reason::custom(1)));

    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    let mut bridge = pin!(theirs.follow(&ours));
    assert!(poll(bridge.as_mut(), &waker).is_pending());
    theirs.get_ref().cancel();
    assert_eq!(wakes.0.load(SeqCst), 2);
    assert!(poll(bridge, &waker).is_ready());
    assert!(!ours.is_cancelled());
}

#[test]
fn what_is_cancelled_already_crosses_at_the_first_poll() {
    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    theirs.get_ref().cancel();
    assert!(poll(pin!(theirs.forward(&ours)), Waker::noop()).is_ready());
    assert!(ours.is_cancelled());
    let theirs = TokioToken::default();
    assert!(poll(pin!(theirs.follow(&ours)), Waker::noop()).is_ready());
    assert!(theirs.is_cancelled());
}

#[test]
fn a_dropped_bridge_cancels_nothing_and_leaves_no_waker() {
    let (wakes, waker) = counted();
    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    {
        let (mut there, mut back) = (
            Box::pin(theirs.forward(&ours)),
            Box::pin(theirs.follow(&ours)),
        );
        assert!(poll(there.as_mut(), &waker).is_pending());
        assert!(poll(back.as_mut(), &waker).is_pending());
        assert!(Arc::strong_count(&wakes) > 2);
    }
    assert_eq!(Arc::strong_count(&wakes), 2);
    assert!(!theirs.is_cancelled() && !ours.is_cancelled());
}

#[test]
fn bridges_both_ways_make_one_of_two() {
    for ours_first in [true, false] {
        paused().block_on(async {
            let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
            for way in [true, false] {
                let (theirs, ours) = (theirs.clone(), ours.clone());
                let bridge = async move {
                    if way {
                        theirs.forward(&ours).await;
                    } else {
                        theirs.follow(&ours).await;
                    }
                };
                TokioSpawn.spawn(bridge).unwrap();
            }
            ::tokio::task::yield_now().await;
            if ours_first {
                ours.cancel();
            } else {
                theirs.get_ref().cancel();
            }
            theirs.cancelled().await;
            ours.cancelled().await;
        });
    }
}

#[test]
fn a_waker_may_reenter_both_tokens() {
    struct Reenter(Theirs, CancellationToken);
    impl Wake for Reenter {
        fn wake(self: Arc<Self>) {
            assert!(self.0.is_cancelled());
            self.1.cancel();
            drop(self.0.child_token());
        }
    }
    let (theirs, ours) = (TokioToken::default(), CancellationToken::new());
    let waker = Waker::from(Arc::new(Reenter(theirs.get_ref().clone(), ours.clone())));
    let mut bridge = pin!(theirs.forward(&ours));
    assert!(poll(bridge.as_mut(), &waker).is_pending());
    theirs.get_ref().cancel();
    assert!(ours.is_cancelled());
    assert!(poll(bridge, &waker).is_ready());
}
