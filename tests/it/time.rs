//! Instants, and the clock that stands still until it is told to move.

use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use umbel_core::{Clock, Instant, ManualClock, Timer};
use umbel_tests::exec::Task;
use umbel_tests::scaled;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn instants_saturate_and_never_is_never_due() {
    let last = Instant::from_nanos(u64::MAX - 1);
    assert_eq!(last + SECOND, Instant::NEVER);
    assert_eq!(Instant::EPOCH + Duration::MAX, Instant::NEVER);
    assert!(last.is_due(last) && last.is_due(Instant::NEVER));
    assert!(!Instant::NEVER.is_due(Instant::NEVER));
    assert!(!last.is_due(Instant::from_nanos(u64::MAX - 2)));
    assert_eq!(Instant::EPOCH - last, Duration::ZERO);
    assert_eq!(Instant::EPOCH + SECOND - Instant::EPOCH, SECOND);
    let mut at = Instant::EPOCH;
    at += SECOND;
    assert_eq!(at.as_nanos(), 1_000_000_000);
    assert_eq!(
        format!("{at:?} {:?}", Instant::NEVER),
        "Instant(1s) Instant(NEVER)"
    );
}

#[test]
fn a_sleep_ends_when_the_clock_reaches_it() {
    let clock = ManualClock::new();
    let mut early = Task::new(clock.sleep_until(Instant::EPOCH + SECOND));
    let mut late = Task::new(clock.sleep_until(Instant::EPOCH + 3 * SECOND));
    early.stall();
    late.stall();
    assert_eq!(clock.next_due(), Some(Instant::EPOCH + SECOND));
    clock.advance(SECOND - Duration::from_nanos(1));
    assert!(!early.is_woken());
    clock.advance(Duration::from_nanos(1));
    assert_eq!(
        (early.wakes(), late.wakes()),
        (1, 0),
        "only who is due is woken"
    );
    early.finish();
    assert_eq!(clock.next_due(), Some(Instant::EPOCH + 3 * SECOND));
    clock.clone().advance_to(Instant::EPOCH + 5 * SECOND);
    late.finish();
    assert_eq!(clock.next_due(), None);
    // The clock never goes back.
    clock.advance_to(Instant::EPOCH);
    assert_eq!(clock.now(), Instant::EPOCH + 5 * SECOND);
    Task::new(clock.sleep_until(Instant::EPOCH)).finish();
}

#[test]
fn a_sleep_for_never_does_not_end() {
    let clock = ManualClock::new();
    let mut sleep = Task::new(clock.sleep_until(Instant::NEVER));
    sleep.stall();
    clock.advance_to(Instant::NEVER);
    assert!(!sleep.is_woken());
    sleep.stall();
}

#[test]
fn a_sleep_wakes_the_task_that_polled_it_last() {
    let clock = ManualClock::new();
    let mut first = Task::new(clock.sleep_until(Instant::EPOCH + SECOND));
    first.stall();
    let (wakes, waker) = umbel_tests::exec::Wakes::new();
    assert!(
        first
            .poll_with(&mut std::task::Context::from_waker(&waker))
            .is_pending()
    );
    clock.advance(SECOND);
    assert_eq!((first.wakes(), wakes.count()), (0, 1));
}

#[test]
fn dropped_sleeps_are_swept_out() {
    // Each sleep holds a clone of the clock; a leak would show under miri, growth in the count.
    let clock = ManualClock::new();
    let mut keep = Task::new(clock.sleep_until(Instant::EPOCH + SECOND));
    keep.stall();
    for _ in 0..1000 {
        let mut gone = Task::new(clock.sleep_until(Instant::EPOCH + 2 * SECOND));
        gone.stall();
        drop(gone);
    }
    assert!(clock.entries() < 200, "{}", clock.entries());
    clock.advance(SECOND);
    keep.finish();
}

#[test]
fn a_panicking_waker_leaves_nobody_asleep() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("waker");
        }
    }
    let clock = ManualClock::new();
    let at = Instant::EPOCH + SECOND;
    let mut before = Task::new(clock.sleep_until(at));
    let mut after = Task::new(clock.sleep_until(at));
    let mut bad = Box::pin(clock.sleep_until(at));
    let waker = std::sync::Arc::new(Panics).into();
    before.stall();
    assert!(
        bad.as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
            .is_pending()
    );
    after.stall();
    let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| clock.advance(SECOND)));
    assert!(moved.is_err());
    assert!(before.is_woken() && after.is_woken());
}

#[test]
fn sleeps_and_moves_from_many_threads() {
    let (threads, rounds) = (scaled(3, 2), scaled(300, 3));
    let clock = ManualClock::new();
    let left = AtomicUsize::new(threads);
    std::thread::scope(|s| {
        for t in 0..threads {
            let (clock, left) = (clock.clone(), &left);
            s.spawn(move || {
                for round in 0..rounds {
                    let at = clock.now() + Duration::from_nanos(1 + (t + round) as u64 % 3);
                    let mut sleep = Task::new(clock.sleep_until(at));
                    while sleep.run().is_pending() {
                        while !sleep.is_woken() {
                            std::thread::yield_now();
                        }
                    }
                    assert!(at.is_due(clock.now()));
                }
                left.fetch_sub(1, SeqCst);
            });
        }
        // The mover: as long as anybody sleeps, time goes on.
        while left.load(SeqCst) != 0 {
            clock.advance(Duration::from_nanos(1));
            std::thread::yield_now();
        }
    });
    assert_eq!(clock.next_due(), None);
}
