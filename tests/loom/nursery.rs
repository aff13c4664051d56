//! The nursery's inbox, one child's two sides, force and cancellation. The heads of `nursery::shared` and
//! `nursery::node` say which transition each model shows.

use crate::set::{DATA, Kept, fire_on_thread};
use crate::{Task, model};
use loom::cell::UnsafeCell;
use loom::thread;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use umbel_core::{Cause, JoinErrorKind, LocalNursery, ManualClock, Nursery, Reason};

pub(super) type N<'env> = Nursery<'env, ()>;

/// A value whose transfer loom checks, and whose drops are counted by `alive`.
pub(super) struct Cargo(UnsafeCell<u32>, #[allow(dead_code)] Arc<()>);

// SAFETY: the cell is loom's: it fails the model on a race.
unsafe impl Send for Cargo {}
// SAFETY: as above.
unsafe impl Sync for Cargo {}

impl Cargo {
    pub(super) fn new(alive: &Arc<()>) -> Cargo {
        let cargo = Cargo(UnsafeCell::new(0), alive.clone());
        // SAFETY: loom checks it.
        cargo.0.with_mut(|n| unsafe { *n = 7 });
        cargo
    }

    /// Written by who has it now.
    pub(super) fn touched(self) -> Cargo {
        // SAFETY: loom checks it.
        self.0.with_mut(|n| unsafe { *n = 7 });
        self
    }

    pub(super) fn check(self) {
        // SAFETY: loom checks it.
        self.0.with(|n| assert_eq!(unsafe { *n }, 7));
    }
}

impl Drop for Cargo {
    /// Loom sees no plain drop; this one it sees.
    fn drop(&mut self) {
        // SAFETY: loom checks it.
        self.0.with_mut(|n| unsafe { *n = 0 });
    }
}

/// Polls as an executor does until it ends.
pub(super) fn finish<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let (task, waker) = Task::new();
    let mut output = None;
    task.run_until(|| {
        if let Poll::Ready(ready) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            output = Some(ready);
            return true;
        }
        // A task may wake itself because somebody else is inside its waker's cell: let him go on.
        thread::yield_now();
        false
    });
    output.expect("it has ended")
}

pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let (_task, waker) = Task::new();
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

#[test]
fn spawn_against_poll() {
    model("nursery: spawn ∥ poll", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let (h, cargo) = (h.clone(), Cargo::new(&alive));
            move || {
                drop(h.spawn(async move {
                    cargo.check();
                    Ok(())
                }))
            }
        });
        // The body ends when the child has run: a lost ring would hang the model.
        let seen = h.clone();
        let mut run = pin!(n.run(poll_fn(move |cx| {
            if seen.stats().done == 1 {
                return Poll::Ready(Ok(()));
            }
            // Looks again at every turn that something else causes.
            cx.waker().wake_by_ref();
            loom::thread::yield_now();
            Poll::Pending
        })));
        finish(run.as_mut()).unwrap();
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn a_ring_reaches_an_idle_nursery() {
    model("nursery: spawn ∥ going idle", 3, || {
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let h = h.clone();
            move || {
                let h2 = h.clone();
                drop(h.spawn(async move {
                    h2.cancel();
                    Ok(())
                }))
            }
        });
        // Nothing but the spawned child ends it.
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        assert!(finish(run.as_mut()).unwrap_err().cancelled().is_some());
        spawner.join().unwrap();
    });
}

#[test]
fn spawn_against_the_end() {
    model("nursery: spawn ∥ its end", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let cargo = Cargo::new(&alive);
            move || {
                let mut join = h.spawn(async move { Ok(cargo) });
                // It ran, or it was refused: never neither.
                match finish(Pin::new(&mut join)) {
                    Ok(cargo) => cargo.check(),
                    Err(error) => assert_eq!(error.kind(), JoinErrorKind::Closed),
                }
            }
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn try_spawn_against_the_end() {
    model("nursery: try_spawn ∥ its end", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let cargo = Cargo::new(&alive);
            move || {
                let child = async move {
                    cargo.check();
                    Ok(())
                };
                match h.try_spawn(child) {
                    Ok(mut join) => finish(Pin::new(&mut join)).unwrap(),
                    // It came back whole, and is not the nursery's any more.
                    Err(error) => {
                        assert!(!error.is_full());
                        finish(pin!(error.into_inner())).unwrap();
                    }
                }
            }
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn failure_against_join() {
    model(
        "nursery: a child's error ∥ join on another thread",
        3,
        || {
            let alive = Arc::new(());
            let n = N::new();
            let cargo = Cargo::new(&alive);
            let mut join = n.handle().spawn::<(), _>(async move {
                drop(cargo.touched());
                Err(())
            });
            let joiner = thread::spawn(move || {
                let error = finish(Pin::new(&mut join)).unwrap_err();
                assert_eq!(error.kind(), JoinErrorKind::Failed);
            });
            let mut run = pin!(n.run(async { Ok(()) }));
            assert!(finish(run.as_mut()).is_err());
            joiner.join().unwrap();
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}

#[test]
fn spawn_against_drop() {
    model("nursery: spawn, join ∥ drop", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let cargo = Cargo::new(&alive);
            move || {
                let cargo = cargo.touched();
                let mut join = h.spawn(async move {
                    let _cargo = cargo;
                    pending::<Result<(), ()>>().await
                });
                let error = finish(Pin::new(&mut join)).unwrap_err();
                assert!(matches!(
                    error.kind(),
                    JoinErrorKind::Closed | JoinErrorKind::Cancelled
                ));
            }
        });
        {
            let mut run = Box::pin(n.run(pending::<Result<(), ()>>()));
            let (_task, waker) = Task::new();
            assert!(
                run.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn spawn_against_drop_unrun() {
    model("nursery: spawn ∥ drop before it ran", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let cargo = Cargo::new(&alive);
        let spawner = thread::spawn(move || {
            let cargo = cargo.touched();
            drop(h.spawn(async move {
                cargo.check();
                Ok(())
            }));
        });
        // The inbox orders the spawner's writes before the drop of its child.
        thread::yield_now();
        drop(n);
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn finish_against_join() {
    model(
        "nursery: a child's end ∥ join on another thread",
        3,
        || {
            let alive = Arc::new(());
            let n = N::new();
            let cargo = Cargo::new(&alive);
            let mut join = n.handle().spawn(async move { Ok(cargo.touched()) });
            let joiner = thread::spawn(move || {
                finish(Pin::new(&mut join)).unwrap().check();
            });
            let mut run = pin!(n.run(async { Ok(()) }));
            finish(run.as_mut()).unwrap();
            joiner.join().unwrap();
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}

#[test]
fn finish_in_one_step_against_join() {
    model("nursery: a child's end in one step ∥ its join", 3, || {
        let n = N::new();
        let cargo = Arc::new(Cargo::new(&Arc::default()));
        let theirs = cargo.clone();
        // Without a drop of the output, its publication and letting go of the child are one step.
        let mut join = n.handle().spawn(async move {
            // SAFETY: loom checks it.
            theirs.0.with_mut(|n| unsafe { *n = 8 });
            Ok(8)
        });
        let joiner = thread::spawn(move || {
            let output = finish(Pin::new(&mut join)).unwrap();
            // SAFETY: loom checks it.
            cargo.0.with(|n| assert_eq!(unsafe { *n }, output));
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        joiner.join().unwrap();
    });
}

#[test]
fn finish_against_dropped_join() {
    model("nursery: a child's end ∥ drop of the join", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let cargo = Cargo::new(&alive);
        let mut join = n.handle().spawn(async move { Ok(cargo.touched()) });
        let joiner = thread::spawn(move || {
            let _ = poll_once(&mut join);
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        joiner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn start_against_giving_up() {
    model(
        "nursery: start of a queued child ∥ its spawner gives up",
        3,
        || {
            let alive = Arc::new(());
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(async { Ok(()) })); // takes the place
            let cargo = Cargo::new(&alive);
            let mut wait = h.spawn_wait(async move {
                cargo.check();
                Ok(())
            });
            assert!(poll_once(&mut wait).is_pending());
            let spawner = thread::spawn(move || drop(wait));
            let mut run = pin!(n.run(async { Ok(()) }));
            finish(run.as_mut()).unwrap();
            spawner.join().unwrap();
            assert!((1..=2).contains(&h.stats().done));
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}

#[test]
fn refusal_against_giving_up() {
    /// Notes who drops it.
    struct Who(Arc<std::sync::Mutex<Vec<thread::ThreadId>>>);
    impl Drop for Who {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(thread::current().id());
        }
    }
    model(
        "nursery: refusal of a queued child ∥ its spawner gives up",
        3,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(pending::<Result<(), ()>>()));
            let dropped = Arc::default();
            let who = Who(Arc::clone(&dropped));
            let mut wait = h.spawn_wait(async move {
                let _who = who;
                Ok(())
            });
            assert!(poll_once(&mut wait).is_pending());
            let spawner = thread::spawn(move || drop(wait));
            h.cancel();
            let mut run = pin!(n.run(async { Ok(()) }));
            let stats = finish(run.as_mut()).unwrap_err().report.stats;
            spawner.join().unwrap();
            // One of the two drops it, and it counts as cancelled if that was the nursery.
            let dropped = dropped.lock().unwrap();
            assert_eq!(dropped.len(), 1);
            let ours = usize::from(dropped[0] == thread::current().id());
            assert_eq!(stats.cancelled, 1 + ours);
        },
    );
}

#[test]
fn start_against_waiting_for_room() {
    model(
        "nursery: start of a queued child ∥ its spawner's poll",
        4,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(async { Ok(()) }));
            let wait = h.spawn_wait(async { Ok(()) });
            let spawner = thread::spawn(move || {
                let mut wait = wait;
                match finish(Pin::new(&mut wait)) {
                    Ok(mut join) => finish(Pin::new(&mut join)).unwrap(),
                    Err(error) => assert_eq!(error.kind(), JoinErrorKind::Closed),
                }
            });
            let mut run = pin!(n.run(async { Ok(()) }));
            finish(run.as_mut()).unwrap();
            spawner.join().unwrap();
        },
    );
}

#[test]
fn a_start_beside_a_registration_leaves_the_cell_idle() {
    model(
        "nursery: start ∥ its spawner's poll, then a join",
        3,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(async { Ok(()) }));
            let mut wait = h.spawn_wait(pending::<Result<(), ()>>());
            let spawner = thread::spawn(move || {
                let first = poll_once(&mut wait);
                (wait, first)
            });
            let mut run = Box::pin(n.run(pending::<Result<(), ()>>()));
            let _ = poll_once(&mut run);
            let (mut wait, first) = spawner.join().unwrap();
            let _ = poll_once(&mut run);
            let join = match first {
                Poll::Pending => poll_once(&mut wait),
                ready => ready,
            };
            let Poll::Ready(Ok(mut join)) = join else {
                panic!("it has not started")
            };
            // Nobody is in the cell: a join that finds it claimed would wake itself for ever.
            let (task, waker) = Task::new();
            let polled = Pin::new(&mut join).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            assert_eq!(task.wakes(), 0);
        },
    );
}

#[test]
fn force_against_poll() {
    model("nursery: force ∥ poll", 3, || {
        let n = N::new();
        let h = n.handle();
        drop(h.spawn_graceful(|_| pending::<Result<(), ()>>()));
        let mut run = pin!(n.run(async { Ok(()) }));
        let (_task, waker) = Task::new();
        let first = run.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(first.is_pending());
        let forcer = thread::spawn(move || h.force());
        assert_eq!(finish(run.as_mut()).unwrap_err().report.stats.forced, 1);
        forcer.join().unwrap();
    });
}

#[test]
fn force_publishes_what_was_written_before() {
    model("nursery: write, force ∥ drain", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let cargo = Arc::new(Cargo::new(&alive));
        let held = Arc::clone(&cargo);
        // Nothing but the force ends the child, whose drop then writes the cargo.
        drop(h.spawn_graceful(|_| async move {
            let _reads = Reads(held);
            pending::<Result<(), ()>>().await
        }));
        let mut run = pin!(n.run(async { Ok(()) }));
        let (_task, waker) = Task::new();
        let first = run.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(first.is_pending());
        let forcer = thread::spawn({
            let h = h.clone();
            move || {
                // SAFETY: loom checks it.
                cargo.0.with_mut(|n| unsafe { *n = 8 });
                std::mem::forget(cargo);
                h.force();
            }
        });
        h.cancel();
        assert_eq!(finish(run.as_mut()).unwrap_err().report.stats.forced, 1);
        forcer.join().unwrap();
    });
}

/// Reads a cargo when dropped.
struct Reads(Arc<Cargo>);

impl Drop for Reads {
    fn drop(&mut self) {
        // SAFETY: loom checks it.
        self.0.0.with(|n| assert_eq!(unsafe { *n }, 8));
    }
}

#[test]
fn cancel_against_poll() {
    model("nursery: cancel ∥ poll", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let cargo = Cargo::new(&alive);
        drop(h.spawn(async move {
            let _cargo = cargo;
            pending::<Result<(), ()>>().await
        }));
        let canceller = thread::spawn(move || {
            h.cancel();
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        assert!(finish(run.as_mut()).is_err());
        canceller.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn two_spawners_against_going_idle() {
    model("nursery: two spawns ∥ going idle", 3, || {
        let n = N::new();
        let h = n.handle();
        let ran = Arc::new(AtomicUsize::new(0));
        let spawners = [(); 2].map(|()| {
            let (h, ran) = (h.clone(), ran.clone());
            thread::spawn(move || {
                let last = h.clone();
                drop(h.spawn(async move {
                    if ran.fetch_add(1, Ordering::Relaxed) == 1 {
                        last.cancel();
                    }
                    Ok(())
                }));
            })
        });
        // Nothing but the second child ends it, and only one of the two pushes rings.
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        assert!(finish(run.as_mut()).unwrap_err().cancelled().is_some());
        for spawner in spawners {
            spawner.join().unwrap();
        }
        assert_eq!(h.stats().done, 2);
    });
}

#[test]
fn two_spawners_against_the_end() {
    model("nursery: two spawns ∥ its end", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let spawners = [(); 2].map(|()| {
            let (h, cargo) = (h.clone(), Cargo::new(&alive));
            thread::spawn(move || {
                drop(h.spawn(async move {
                    cargo.check();
                    Ok(())
                }));
            })
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        for spawner in spawners {
            spawner.join().unwrap();
        }
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// What spawns is a child that another thread wakes; its sibling does nothing.
#[test]
fn n_01_a_child_that_is_woken_spawns() {
    model("nursery: a child is woken, and spawns ∥ poll", 3, || {
        let kept = Kept::new();
        let child = kept.child(loom::sync::atomic::Ordering::Relaxed);
        let n = LocalNursery::<()>::new();
        let h = n.handle();
        drop(h.spawn(pending::<Result<(), ()>>()));
        drop(h.spawn({
            let h = h.clone();
            async move {
                assert_eq!(child.await, DATA);
                let last = h.clone();
                drop(h.spawn(async move {
                    last.cancel();
                    Ok(())
                }));
                Ok(())
            }
        }));
        let (task, waker) = Task::new();
        let mut cx = Context::from_waker(&waker);
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let firer = fire_on_thread(&kept);
        task.when_woken(|| run.as_mut().poll(&mut cx).is_ready());
        firer.join().unwrap();
        assert_eq!(h.stats().done, 2);
    });
}

/// Two changes of the task while the first wake is still under way: the last poll may not be registered,
/// and then wakes its task itself.
#[test]
fn wakes_against_two_new_tasks() {
    model("nursery: two wakes ∥ polls by two other tasks", 3, || {
        let (first, second) = (Kept::new(), Kept::new());
        let n = LocalNursery::<()>::new();
        let h = n.handle();
        let never = first.child(loom::sync::atomic::Ordering::Relaxed);
        let ends = second.child(loom::sync::atomic::Ordering::Relaxed);
        drop(h.spawn(async move { Ok(never.await) }));
        drop(h.spawn({
            let h = h.clone();
            async move {
                assert_eq!(ends.await, DATA);
                h.cancel();
                Ok(())
            }
        }));
        let tasks = [Task::new(), Task::new(), Task::new()];
        let mut run = Box::pin(n.run(pending::<Result<(), ()>>()));
        let mut poll = |task: usize| {
            let mut cx = Context::from_waker(&tasks[task].1);
            run.as_mut().poll(&mut cx).is_ready()
        };
        assert!(!poll(0));
        let waker = first.waker();
        let waking = thread::spawn(move || waker.wake());
        assert!(!poll(1));
        let firing = fire_on_thread(&second);
        tasks[2].0.run_until(|| {
            let is_through = poll(2);
            thread::yield_now(); // it may have woken itself: let the notifiers get on
            is_through
        });
        waking.join().unwrap();
        firing.join().unwrap();
    });
}

/// A child's waker is used while the nursery goes, and its blocks serve the next one.
#[test]
fn n_07_wake_against_drop_of_a_nursery() {
    model(
        "nursery: a child is woken ∥ drop, the next one",
        3,
        || {
            let kept = Kept::new();
            let child = kept.child(loom::sync::atomic::Ordering::Acquire);
            let (task, waker) = Task::new();
            let mut cx = Context::from_waker(&waker);
            let n = LocalNursery::<()>::new();
            drop(n.handle().spawn(async move {
                child.await;
                Ok(())
            }));
            let mut run = Box::pin(n.run(async { Ok(()) }));
            assert!(run.as_mut().poll(&mut cx).is_pending());
            let firer = fire_on_thread(&kept);
            drop(run);
            let n = LocalNursery::<()>::new();
            drop(n.handle().spawn(async { Ok(()) }));
            assert!(finish(pin!(n.run(async { Ok(()) }))).is_ok());
            firer.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        },
    );
}

#[test]
fn n_16_spawn_against_cancel() {
    model("nursery: spawn, join ∥ cancel, drain", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let (h, cargo) = (h.clone(), Cargo::new(&alive));
            move || {
                let mut join = h.spawn(async move { Ok(cargo) });
                // It ran, or it was refused or cut: never neither.
                match finish(Pin::new(&mut join)) {
                    Ok(cargo) => cargo.check(),
                    Err(error) => assert!(matches!(
                        error.kind(),
                        JoinErrorKind::Cancelled | JoinErrorKind::Closed
                    )),
                }
            }
        });
        let (task, waker) = Task::new();
        let mut cx = Context::from_waker(&waker);
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        assert!(run.as_mut().poll(&mut cx).is_pending());
        h.cancel();
        task.when_woken(|| match run.as_mut().poll(&mut cx) {
            Poll::Ready(outcome) => outcome.unwrap_err().cancelled().is_some(),
            Poll::Pending => false,
        });
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// The inner nursery ends by its own error when the outer one is cancelled, which must not get lost.
#[test]
fn n_18_outer_cancel_against_inner_failure() {
    model("nursery: cancel ∥ a scope fails", 3, || {
        let outer = N::new();
        let h = outer.handle();
        let canceller = thread::spawn({
            let h = h.clone();
            move || h.cancel()
        });
        let scope = h.spawn_graceful(|cx| async move {
            let inner = N::new().token(cx.token());
            drop(inner.handle().spawn(async { Err::<(), ()>(()) }));
            assert!(inner.run(pending::<Result<(), ()>>()).await.is_err());
            Ok(())
        });
        drop(scope);
        let mut run = pin!(outer.run(pending::<Result<(), ()>>()));
        let failure = finish(run.as_mut()).unwrap_err();
        assert!(failure.cancelled().is_some());
        assert!(canceller.join().unwrap());
    });
}

/// Whichever is first, both errors are told.
#[test]
fn n_19_an_error_against_cancel() {
    model("nursery: a child's error ∥ cancel", 3, || {
        let n = N::new();
        let h = n.handle();
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Err::<(), ()>(())
        }));
        drop(h.spawn_graceful(|_| {
            let mut begun = false;
            poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                match std::mem::replace(&mut begun, true) {
                    true => Poll::Ready(Err::<(), ()>(())),
                    false => Poll::Pending,
                }
            })
        }));
        let mut run = Box::pin(n.run(async { Ok(()) }));
        assert!(poll_once(&mut run).is_pending());
        let canceller = thread::spawn(move || h.cancel());
        let failure = finish(run.as_mut()).unwrap_err();
        let first = usize::from(matches!(failure.cause, Cause::Error(())));
        assert_eq!(first + failure.rest.len(), 2);
        assert_eq!(failure.report.stats.failed, 2);
        canceller.join().unwrap();
    });
}

#[test]
fn cut_against_join() {
    model(
        "nursery: a child is cut ∥ join on another thread",
        3,
        || {
            let alive = Arc::new(());
            let n = N::new();
            let h = n.handle();
            let cargo = Cargo::new(&alive);
            let mut join = h.spawn(async move {
                let _cargo = cargo;
                pending::<Result<(), ()>>().await
            });
            let joiner = thread::spawn(move || {
                let error = finish(Pin::new(&mut join)).unwrap_err();
                assert_eq!(error.kind(), JoinErrorKind::Cancelled);
                assert_eq!(error.reason().unwrap().code(), Some(5));
            });
            h.cancel_with(Reason::custom(5));
            let mut run = pin!(n.run(async { Ok(()) }));
            assert!(finish(run.as_mut()).is_err());
            joiner.join().unwrap();
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}

/// Who sees the report sees what was counted before it.
#[test]
fn report_against_the_end() {
    model("nursery: its end ∥ report", 3, || {
        let n = N::new();
        let h = n.handle();
        drop(h.spawn(async { Ok(()) }));
        let reader = thread::spawn(move || {
            let report = loop {
                if let Some(report) = h.report() {
                    break report;
                }
                thread::yield_now();
            };
            assert_eq!(report.stats.done, 1);
            assert_eq!(h.stats().done, 1);
        });
        finish(pin!(n.run(async { Ok(()) }))).unwrap();
        reader.join().unwrap();
    });
}

/// Who sees that something was counted sees its count.
#[test]
fn stats_against_a_drain() {
    model("nursery: the first to drain ∥ stats", 2, || {
        let n = N::new().timer(ManualClock::new());
        let h = n.handle();
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            Ok(())
        }));
        let mut run = Box::pin(n.run(async { Ok(()) }));
        assert!(poll_once(&mut run).is_pending());
        h.cancel();
        let reader = thread::spawn({
            let h = h.clone();
            move || assert!(h.stats().drain.count() <= 1)
        });
        finish(run.as_mut()).unwrap();
        reader.join().unwrap();
        assert_eq!(h.stats().drain.count(), 1);
    });
}

#[test]
fn two_that_force() {
    model("nursery: force ∥ force ∥ poll", 2, || {
        let n = N::new();
        let h = n.handle();
        drop(h.spawn_graceful(|_| pending::<Result<(), ()>>()));
        let mut run = Box::pin(n.run(async { Ok(()) }));
        assert!(poll_once(&mut run).is_pending());
        let forcers = [(); 2].map(|()| {
            let h = h.clone();
            thread::spawn(move || h.force())
        });
        assert_eq!(finish(run.as_mut()).unwrap_err().report.stats.forced, 1);
        for forcer in forcers {
            forcer.join().unwrap();
        }
    });
}
