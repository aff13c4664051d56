//! The engine under `FixedSet`: the blocks of a static, taken over from one set by the next. Two
//! children per header here, so that three children have two.

use crate::set::{Child, DATA, Kept, fire_on_thread};
use crate::{Task, model};
use futures_core::Stream;
use loom::cell::UnsafeCell;
use loom::sync::atomic::Ordering;
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::{CancellationToken, FixedFailure, FixedNursery, FixedSet, WakePool};

loom::lazy_static! {
    static ref POOL: WakePool<3> = WakePool::new();
}

type Set = Pin<Box<FixedSet<Child, 3>>>;

fn new_set() -> Set {
    Box::pin(FixedSet::new(&POOL).expect("the pool is free"))
}

/// Waits until the pool is free.
fn wait_for_set() -> Set {
    loop {
        match FixedSet::new(&POOL) {
            Ok(set) => return Box::pin(set),
            Err(_) => thread::yield_now(),
        }
    }
}

fn push(set: &mut Set, order: Ordering) -> Kept {
    let kept = Kept::new();
    assert!(set.as_mut().push(kept.child(order)).is_ok());
    kept
}

fn poll(set: &mut Set, waker: &Waker) -> bool {
    match set.as_mut().poll_next(&mut Context::from_waker(waker)) {
        Poll::Ready(Some(data)) => {
            assert_eq!(data, DATA);
            true
        }
        Poll::Ready(None) => panic!("the set has children"),
        Poll::Pending => false,
    }
}

/// T5 for sets; row 5: no wake is lost, none enqueues twice, at most one outer wake per child wake.
fn wakers_against_polls(name: &str, bound: usize, which: [usize; 2]) {
    model(name, bound, move || {
        let mut set = new_set();
        let (task, waker) = Task::new();
        let kept: Vec<_> = (0..=which[1])
            .map(|_| push(&mut set, Ordering::Relaxed))
            .collect();
        assert!(!poll(&mut set, &waker));
        let threads = which.map(|i| fire_on_thread(&kept[i]));
        let mut finished = 0;
        task.when_woken(|| {
            while finished < 2 && poll(&mut set, &waker) {
                finished += 1;
            }
            finished == 2
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(task.wakes() <= 2);
        drop((set, waker));
        assert_eq!(Arc::strong_count(&task), 1);
    });
}

#[test]
fn two_wakers_against_polls() {
    wakers_against_polls("fixed: two_wakers_against_polls", 3, [0, 1]);
}

#[test]
fn two_wakers_of_two_headers_against_polls() {
    wakers_against_polls("fixed: two_wakers_of_two_headers_against_polls", 3, [0, 2]);
}

/// The waker registered last is woken, or the poll that registered it saw the child ready.
#[test]
fn wake_against_new_outer_waker() {
    model("fixed: wake_against_new_outer_waker", 4, || {
        let mut set = new_set();
        let ((task1, waker1), (task2, waker2)) = (Task::new(), Task::new());
        let kept = push(&mut set, Ordering::Relaxed);
        assert!(!poll(&mut set, &waker1));
        let thread = fire_on_thread(&kept);
        if !poll(&mut set, &waker2) {
            task2.park(&mut 0);
            assert!(poll(&mut set, &waker2));
        }
        drop(set);
        thread.join().unwrap();
        drop((waker1, waker2));
        assert_eq!(
            (Arc::strong_count(&task1), Arc::strong_count(&task2)),
            (1, 1)
        );
    });
}

/// n_07: a wake races the drop of the set, whose pool serves a second set at once, and then a third:
/// nothing is lost there, no outer waker leaks, and each slot comes into use again.
#[test]
fn n_07_wake_against_drop_and_pool_reuse() {
    model("fixed: n_07_wake_against_drop_and_pool_reuse", 3, || {
        let (task, waker) = Task::new();
        let mut set = new_set();
        let kept = push(&mut set, Ordering::Relaxed);
        assert!(!poll(&mut set, &waker));
        let stale = kept.waker();
        let thread = thread::spawn(move || {
            stale.wake_by_ref();
            stale.wake();
        });
        drop(set);
        let (task2, waker2) = Task::new();
        let mut set = new_set();
        let kept2 = push(&mut set, Ordering::Acquire);
        assert!(!poll(&mut set, &waker2));
        kept2.0.fire(&kept2.waker());
        // The wake above woke the task, unless a stale one had the token, and is at it.
        thread.join().unwrap();
        assert!(task2.wakes() > 0);
        assert!(poll(&mut set, &waker2));
        drop((set, waker, waker2));
        assert_eq!(
            (Arc::strong_count(&task), Arc::strong_count(&task2)),
            (1, 1)
        );
        let mut set = new_set();
        let tasks = [Task::new(), Task::new()];
        let kept = push(&mut set, Ordering::Relaxed);
        for (task, waker) in &tasks {
            let registered = !poll(&mut set, waker) && task.wakes() == 0;
            assert!(registered, "both slots are free again");
        }
        kept.0.fire(&kept.waker());
        assert_eq!([tasks[0].0.wakes(), tasks[1].0.wakes()], [0, 1]);
        assert!(poll(&mut set, &tasks[1].1));
    });
}

/// n_07, the other way round: who wakes makes the second set, as soon as it gets the pool, so that
/// what the first owner did to the blocks must have been handed over.
#[test]
fn n_07_wake_against_drop_and_pool_reuse_by_the_waking_thread() {
    model(
        "fixed: n_07_wake_against_drop_and_pool_reuse_by_the_waking_thread",
        3,
        || {
            let (task, waker) = Task::new();
            let mut set = new_set();
            let kept = push(&mut set, Ordering::Relaxed);
            assert!(!poll(&mut set, &waker));
            let stale = kept.waker();
            let thread = thread::spawn(move || {
                stale.wake();
                let (_task, waker) = Task::new();
                let mut set = wait_for_set();
                let kept = push(&mut set, Ordering::Acquire);
                assert!(!poll(&mut set, &waker));
                kept.0.fire(&kept.waker());
                assert!(poll(&mut set, &waker));
            });
            drop(set);
            thread.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        },
    );
}

/// A wake is under way, seen by nobody yet, when its set ends: it tells the next one, spuriously, of a
/// header that this one has taken over, while a third thread wakes the new tenant of the same bit.
#[test]
fn n_05_stale_wake_against_pool_reuse_and_own_wake() {
    model(
        "fixed: n_05_stale_wake_against_pool_reuse_and_own_wake",
        2,
        || {
            let (task, waker) = Task::new();
            let mut set = new_set();
            let first = push(&mut set, Ordering::Relaxed);
            assert!(!poll(&mut set, &waker));
            let stale = first.waker();
            let staler = thread::spawn(move || stale.wake());
            drop(set);
            let mut set = new_set();
            let second = push(&mut set, Ordering::Acquire); // the same slot
            assert!(!poll(&mut set, &waker));
            let owner = fire_on_thread(&second);
            task.run_until(|| poll(&mut set, &waker));
            drop(set);
            staler.join().unwrap();
            owner.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        },
    );
}

/// n_05: a stale waker of a finished child, the new tenant of its slot, and that one's own wake.
#[test]
fn n_05_stale_wake_against_slot_refill_and_own_wake() {
    model(
        "fixed: n_05_stale_wake_against_slot_refill_and_own_wake",
        3,
        || {
            let (task, waker) = Task::new();
            let mut set = new_set();
            let first = push(&mut set, Ordering::Relaxed);
            let _parked = push(&mut set, Ordering::Relaxed);
            assert!(!poll(&mut set, &waker));
            let stale = first.waker();
            first.0.fire(&stale);
            assert!(poll(&mut set, &waker));
            let second = push(&mut set, Ordering::Acquire); // the same slot
            let staler = thread::spawn(move || stale.wake());
            assert!(!poll(&mut set, &waker));
            let owner = fire_on_thread(&second);
            task.run_until(|| poll(&mut set, &waker));
            drop(set);
            staler.join().unwrap();
            owner.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        },
    );
}

/// Two threads want the pool: one at a time has it, and hands over all that it did.
#[test]
fn one_set_at_a_time_has_the_pool() {
    model("fixed: one_set_at_a_time_has_the_pool", 3, || {
        struct Alone(UnsafeCell<u32>);
        // SAFETY: who has the pool touches it; if that did not order the accesses, loom would say so.
        unsafe impl Sync for Alone {}
        // SAFETY: a number.
        unsafe impl Send for Alone {}
        let alone = loom::sync::Arc::new(Alone(UnsafeCell::new(0)));
        let work = move |alone: &Alone| {
            let mut set = wait_for_set();
            // SAFETY: we have the pool.
            alone.0.with_mut(|n| unsafe { *n += 1 });
            let (task, waker) = Task::new();
            let kept = push(&mut set, Ordering::Relaxed);
            assert!(!poll(&mut set, &waker));
            kept.0.fire(&kept.waker());
            assert!(poll(&mut set, &waker));
            drop((set, waker));
            assert_eq!(Arc::strong_count(&task), 1);
        };
        let other = {
            let alone = alone.clone();
            thread::spawn(move || work(&alone))
        };
        work(&alone);
        other.join().unwrap();
        // SAFETY: both are through.
        assert_eq!(alone.0.with(|n| unsafe { *n }), 2);
    });
}

/// Two changes of the outer waker while the first wake is still under way: both slots may be busy, the
/// poll is then not registered and wakes itself.
#[test]
fn wake_against_two_new_outer_wakers() {
    model("fixed: wake_against_two_new_outer_wakers", 3, || {
        let mut set = new_set();
        let tasks = [Task::new(), Task::new(), Task::new()];
        let kept = [
            push(&mut set, Ordering::Relaxed),
            push(&mut set, Ordering::Relaxed),
        ];
        assert!(!poll(&mut set, &tasks[0].1));
        let waker = kept[0].waker();
        let thread = thread::spawn(move || waker.wake());
        assert!(!poll(&mut set, &tasks[1].1));
        let other = fire_on_thread(&kept[1]);
        let [_, _, (task, waker)] = &tasks;
        task.run_until(|| {
            let is_through = poll(&mut set, waker);
            thread::yield_now(); // it may have woken itself: let the notifiers get on
            is_through
        });
        drop(set);
        thread.join().unwrap();
        other.join().unwrap();
        for (task, waker) in tasks {
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        }
    });
}

/// A fixed nursery: a child's end and the cancellation come from two threads. Whichever is first, the
/// run ends, and nobody is left behind.
#[test]
fn a_childs_end_against_the_cancellation_of_a_fixed_nursery() {
    model(
        "fixed: a_childs_end_against_the_cancellation_of_a_fixed_nursery",
        2,
        || {
            let (task, waker) = Task::new();
            let token = CancellationToken::new();
            let kept = Kept::new();
            let child = kept.child(Ordering::Relaxed);
            let n = FixedNursery::<(), 3>::new(&POOL).expect("the pool is free");
            let mut run = Box::pin(n.run_until_cancelled(&token, async {
                let spawned = n.try_spawn(async {
                    assert_eq!(child.await, DATA);
                    Ok(())
                });
                assert!(spawned.is_ok());
                Ok(())
            }));
            let mut cx = Context::from_waker(&waker);
            assert!(run.as_mut().poll(&mut cx).is_pending());
            let ends = fire_on_thread(&kept);
            let cancels = {
                let token = token.clone();
                thread::spawn(move || token.cancel())
            };
            task.when_woken(|| match run.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(()) | Err(FixedFailure::Cancelled(_))) => true,
                Poll::Ready(Err(FixedFailure::Error(()))) => panic!("nobody fails"),
                Poll::Pending => false,
            });
            drop(run);
            ends.join().unwrap();
            cancels.join().unwrap();
            drop((waker, token));
            assert_eq!(Arc::strong_count(&task), 1);
        },
    );
}
