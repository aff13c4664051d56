//! The clock that is told to move, and through it the cell for one waker.
//!
//! | transition | model |
//! |---|---|
//! | cell: register ∥ wake | `move_against_first_poll`, `move_against_another_tasks_poll` |
//! | stack: push ∥ move and take | `move_against_first_poll` |
//! | stack: put back ∥ move and take | `two_moves`, `a_panicking_waker_between_two_moves` |
//! | clock: move ∥ look | `a_move_publishes_what_was_written_before` |
//! | entry: `GONE` ∥ `FIRED` | `move_against_drop` |

use super::{Task, model};
use core::time::Duration;
use loom::thread;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use umbel_core::{Clock, Instant, ManualClock, ManualSleep, Timer};

const TICK: Duration = Duration::from_nanos(1);

fn sleep(clock: &ManualClock, ticks: u32) -> ManualSleep {
    clock.sleep_until(Instant::EPOCH + TICK * ticks)
}

fn poll(sleep: &mut ManualSleep, waker: &std::task::Waker) -> bool {
    Pin::new(sleep)
        .poll(&mut Context::from_waker(waker))
        .is_ready()
}

#[test]
fn move_against_first_poll() {
    model("clock: move ∥ first poll", 3, || {
        let clock = ManualClock::new();
        let mover = thread::spawn({
            let clock = clock.clone();
            move || clock.advance(TICK)
        });
        let (task, waker) = Task::new();
        let mut sleep = sleep(&clock, 1);
        if !poll(&mut sleep, &waker) {
            task.park(&mut 0);
            assert!(poll(&mut sleep, &waker));
        }
        mover.join().unwrap();
        drop((sleep, waker));
        assert_eq!(Arc::strong_count(&task), 1);
        assert_eq!(clock.next_due(), None);
    });
}

#[test]
fn move_against_another_tasks_poll() {
    model("clock: move ∥ poll by another task", 3, || {
        let clock = ManualClock::new();
        let ((old_task, old), (task, waker)) = (Task::new(), Task::new());
        let mut sleep = sleep(&clock, 1);
        assert!(!poll(&mut sleep, &old));
        let mover = thread::spawn({
            let clock = clock.clone();
            move || clock.advance(TICK)
        });
        if !poll(&mut sleep, &waker) {
            task.park(&mut 0);
            assert!(poll(&mut sleep, &waker));
        }
        mover.join().unwrap();
        drop((sleep, waker, old));
        assert_eq!(
            (Arc::strong_count(&task), Arc::strong_count(&old_task)),
            (1, 1)
        );
    });
}

#[test]
fn move_against_drop() {
    model("clock: move ∥ drop of a sleep", 3, || {
        let clock = ManualClock::new();
        let (task, waker) = Task::new();
        let mut sleep = sleep(&clock, 1);
        assert!(!poll(&mut sleep, &waker));
        let mover = thread::spawn({
            let clock = clock.clone();
            move || clock.advance(TICK)
        });
        drop(sleep);
        mover.join().unwrap();
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 1);
        assert_eq!(clock.next_due(), None);
        assert_eq!(clock.entries(), 0);
    });
}

#[test]
fn two_moves() {
    model("clock: two moves, one past a sleep", 3, || {
        let clock = ManualClock::new();
        let (task, waker) = Task::new();
        let mut sleep = sleep(&clock, 2);
        assert!(!poll(&mut sleep, &waker));
        let mover = thread::spawn({
            let clock = clock.clone();
            move || clock.advance_to(Instant::EPOCH + TICK)
        });
        clock.advance_to(Instant::EPOCH + TICK * 2);
        task.park(&mut 0);
        assert!(poll(&mut sleep, &waker));
        mover.join().unwrap();
    });
}

#[test]
fn a_panicking_waker_between_two_moves() {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new(()));
        }
    }
    model("clock: two moves, one wakes a waker that panics", 3, || {
        let clock = ManualClock::new();
        let mut bad = sleep(&clock, 1);
        assert!(!poll(&mut bad, &Arc::new(Bomb).into()));
        let (task, waker) = Task::new();
        let mut later = sleep(&clock, 2);
        assert!(!poll(&mut later, &waker));
        let advance = |clock: &ManualClock, ticks| {
            let to = Instant::EPOCH + TICK * ticks;
            let _ = catch_unwind(AssertUnwindSafe(|| clock.advance_to(to)));
        };
        let mover = thread::spawn({
            let clock = clock.clone();
            move || advance(&clock, 1)
        });
        advance(&clock, 2);
        mover.join().unwrap();
        assert_eq!(task.wakes(), 1, "due and not woken");
    });
}

#[test]
fn a_move_publishes_what_was_written_before() {
    /// Loom checks who reads and writes it.
    struct Word(loom::cell::UnsafeCell<u32>);
    // SAFETY: the cell is loom's: it fails the model on a race.
    unsafe impl Send for Word {}
    // SAFETY: as above.
    unsafe impl Sync for Word {}
    model("clock: write, move ∥ look, read", 3, || {
        let clock = ManualClock::new();
        let word = Arc::new(Word(loom::cell::UnsafeCell::new(0)));
        let mover = thread::spawn({
            let (clock, word) = (clock.clone(), Arc::clone(&word));
            move || {
                // SAFETY: loom checks it.
                word.0.with_mut(|n| unsafe { *n = 7 });
                clock.advance(TICK);
            }
        });
        while clock.now() == Instant::EPOCH {
            thread::yield_now();
        }
        // SAFETY: loom checks it.
        word.0.with(|n| assert_eq!(unsafe { *n }, 7));
        mover.join().unwrap();
    });
}
