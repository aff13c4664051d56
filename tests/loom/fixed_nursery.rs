//! The nursery without an allocator. What threads share is the pool's; here it is seen that the engine
//! above it loses nothing: the body's bit, the children's, and who waits for room.

use crate::set::{DATA, Kept, fire_on_thread};
use crate::{Task, model};
use loom::sync::atomic::Ordering;
use loom::thread;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::{CancellationToken, FixedFailure, FixedNursery, WakePool};

loom::lazy_static! {
    static ref POOL: WakePool<1> = WakePool::new();
}

type N<'env> = FixedNursery<'env, (), 1>;

fn new<'env>() -> N<'env> {
    N::new(&POOL).expect("the pool is free")
}

/// Ends when `kept` is fired.
async fn ends(kept: &Kept, order: Ordering) -> Result<(), ()> {
    assert_eq!(kept.child(order).await, DATA);
    Ok(())
}

fn poll_once<F: Future>(run: &mut Pin<Box<F>>, waker: &Waker) -> Poll<F::Output> {
    run.as_mut().poll(&mut Context::from_waker(waker))
}

#[test]
fn end_of_a_child_against_waiting_for_room() {
    model(
        "fixed nursery: a child's end ∥ waiting for room",
        3,
        || {
            let (task, waker) = Task::new();
            let (first, second) = (Kept::new(), Kept::new());
            let n = new();
            let mut run = Box::pin(n.run(async {
                assert!(n.try_spawn(ends(&first, Ordering::Relaxed)).is_ok());
                let spawned = n.spawn_wait(ends(&second, Ordering::Relaxed)).await;
                assert!(spawned.is_ok());
                Ok(())
            }));
            assert!(poll_once(&mut run, &waker).is_pending());
            let firer = fire_on_thread(&first);
            // The second child takes the first one's slot, and its bit.
            task.when_woken(|| {
                assert!(poll_once(&mut run, &waker).is_pending());
                second.is_parked()
            });
            firer.join().unwrap();
            second.fire();
            assert!(poll_once(&mut run, &waker).is_ready());
            drop((run, waker));
            assert_eq!(Arc::strong_count(&task), 1);
        },
    );
}

#[test]
fn cancel_against_waiting_for_room() {
    model("fixed nursery: cancel ∥ waiting for room", 3, || {
        let (task, waker) = Task::new();
        let token = CancellationToken::new();
        let n = new();
        let mut run = Box::pin(n.run_until_cancelled(&token, async {
            assert!(n.try_spawn(pending()).is_ok());
            let _ = n.spawn_wait(pending()).await;
            Ok(())
        }));
        let canceller = thread::spawn({
            let token = token.clone();
            move || token.cancel()
        });
        task.run_until(|| match poll_once(&mut run, &waker) {
            Poll::Ready(outcome) => {
                assert!(matches!(outcome, Err(FixedFailure::Cancelled(_))));
                true
            }
            Poll::Pending => false,
        });
        drop(run);
        assert!(!POOL.is_in_use());
        canceller.join().unwrap();
        drop((waker, token));
        assert_eq!(Arc::strong_count(&task), 1);
    });
}

/// Body and child lie in one header; each is woken by a thread of its own.
#[test]
fn wake_of_the_body_against_wake_of_a_child() {
    model("fixed nursery: the body is woken ∥ a child is", 3, || {
        let (task, waker) = Task::new();
        let (child, body) = (Kept::new(), Kept::new());
        let n = new();
        let mut run = Box::pin(n.run(async {
            assert!(n.try_spawn(ends(&child, Ordering::Relaxed)).is_ok());
            ends(&body, Ordering::Relaxed).await
        }));
        assert!(poll_once(&mut run, &waker).is_pending());
        assert!(poll_once(&mut run, &waker).is_pending());
        let threads = [&child, &body].map(fire_on_thread);
        task.when_woken(|| poll_once(&mut run, &waker).is_ready());
        for thread in threads {
            thread.join().unwrap();
        }
        drop((run, waker));
        assert_eq!(Arc::strong_count(&task), 1);
    });
}

/// Two changes of the task while the first wake is still under way: the last poll may not be registered,
/// and then wakes its task itself.
#[test]
fn wakes_against_two_new_tasks() {
    model(
        "fixed nursery: two wakes ∥ polls by two other tasks",
        3,
        || {
            let (child, body) = (Kept::new(), Kept::new());
            let n = new();
            let mut run = Box::pin(n.run(async {
                assert!(n.try_spawn(ends(&child, Ordering::Relaxed)).is_ok());
                ends(&body, Ordering::Relaxed).await?;
                Err::<(), ()>(())
            }));
            let tasks = [Task::new(), Task::new(), Task::new()];
            let mut poll = |task: usize| poll_once(&mut run, &tasks[task].1).is_ready();
            assert!(!poll(0));
            assert!(!poll(0));
            let waker = child.waker();
            let waking = thread::spawn(move || waker.wake());
            assert!(!poll(1));
            let firing = fire_on_thread(&body);
            tasks[2].0.run_until(|| {
                let is_through = poll(2);
                thread::yield_now(); // it may have woken itself: let the notifiers get on
                is_through
            });
            waking.join().unwrap();
            firing.join().unwrap();
        },
    );
}

/// n_07: a child's waker is used while the nursery goes, and the next one takes the pool.
#[test]
fn n_07_wake_against_drop_of_a_fixed_nursery() {
    model(
        "fixed nursery: a child is woken ∥ drop, the next one",
        3,
        || {
            let ((task, waker), (task2, waker2)) = (Task::new(), Task::new());
            let (first, second) = (Kept::new(), Kept::new());
            let n = new();
            let mut run = Box::pin(n.run(async {
                assert!(n.try_spawn(ends(&first, Ordering::Acquire)).is_ok());
                Ok(())
            }));
            assert!(poll_once(&mut run, &waker).is_pending());
            let firer = fire_on_thread(&first);
            drop(run);
            drop(waker);
            let n = new();
            let mut run = Box::pin(n.run(async {
                assert!(n.try_spawn(ends(&second, Ordering::Acquire)).is_ok());
                Ok(())
            }));
            assert!(poll_once(&mut run, &waker2).is_pending());
            second.fire();
            firer.join().unwrap();
            assert!(task2.wakes() > 0);
            assert!(poll_once(&mut run, &waker2).is_ready());
            drop((run, waker2));
            assert_eq!(
                [Arc::strong_count(&task), Arc::strong_count(&task2)],
                [1, 1]
            );
        },
    );
}
