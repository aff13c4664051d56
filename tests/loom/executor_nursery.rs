//! A task on one thread, its nursery on another. The head of `executor_nursery::link` says which transition
//! each model shows.

use crate::model;
use crate::nursery::{Cargo, N, finish, poll_once};
use loom::cell::UnsafeCell;
use loom::thread;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use umbel_core::{ExecutorHandle, Join, JoinErrorKind, Spawn, SpawnError, Stats, TrySpawnError};

type BoxedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor whose one task is where the model wants it. The lock is std's: loom need not know of it.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<BoxedTask>>>);

impl<F: Future<Output = ()> + Send + 'static> Spawn<F> for Slot {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        *self.0.lock().unwrap() = Some(Box::pin(future));
        Ok(())
    }
}

impl Slot {
    fn task(&self) -> BoxedTask {
        self.0
            .lock()
            .unwrap()
            .take()
            .expect("the executor was given one")
    }

    /// Spawns `child`, whose task is not polled yet.
    fn spawn<T: Send + 'static>(
        &self,
        h: &ExecutorHandle<'static, (), Slot>,
        child: impl Future<Output = Result<T, ()>> + Send + 'static,
    ) -> (Join<T>, BoxedTask) {
        let Ok(join) = h.try_spawn(child) else {
            panic!("there is room");
        };
        (join, self.task())
    }
}

#[test]
fn finish_against_the_proxy() {
    model("executor: a task's end ∥ its proxy waits", 3, || {
        let alive = Arc::new(());
        let slot = Slot::default();
        let n = N::new().on(slot.clone());
        let cargo = Cargo::new(&alive);
        let (join, task) = slot.spawn(&n.handle(), async move { Ok(cargo.touched()) });
        let executor = thread::spawn(move || finish(pin!(task)));
        let mut run = pin!(n.run(async { Ok(join.await.unwrap()) }));
        finish(run.as_mut()).unwrap().check();
        executor.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn finish_against_stop() {
    model("executor: a task's end ∥ it is told to stop", 3, || {
        let alive = Arc::new(());
        let slot = Slot::default();
        let n = N::new().on(slot.clone());
        let h = n.handle();
        let cargo = Cargo::new(&alive);
        let (join, task) = slot.spawn(&h, async move { Ok(cargo.touched()) });
        let executor = thread::spawn(move || finish(pin!(task)));
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        let _ = poll_once(&mut run);
        h.cancel();
        assert!(finish(run.as_mut()).unwrap_err().cancelled().is_some());
        match join.now_or_never().unwrap() {
            Ok(cargo) => cargo.check(),
            Err(error) => assert_eq!(error.kind(), JoinErrorKind::Cancelled),
        }
        let stats = h.stats();
        assert_eq!((stats.done + stats.cancelled, stats.lost), (1, 0));
        executor.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn dropped_task_against_stop() {
    model("executor: drop of a task ∥ it is told to stop", 3, || {
        let alive = Arc::new(());
        let slot = Slot::default();
        let n = N::new().on(slot.clone());
        let h = n.handle();
        let cargo = Cargo::new(&alive);
        let (join, task) = slot.spawn(&h, async move {
            let _cargo = cargo;
            pending::<Result<(), ()>>().await
        });
        let executor = thread::spawn(move || drop(task));
        h.cancel();
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        // Whoever was first, it is not waited for.
        assert!(finish(run.as_mut()).is_err());
        let kind = join.now_or_never().unwrap().unwrap_err().kind();
        assert!(matches!(
            kind,
            JoinErrorKind::Lost | JoinErrorKind::Cancelled
        ));
        assert_eq!(Arc::strong_count(&alive), 1, "the future is gone");
        executor.join().unwrap();
    });
}

/// What is written before a stop.
struct Written(UnsafeCell<u32>);

// SAFETY: the cell is loom's: it fails the model on a race.
unsafe impl Send for Written {}
// SAFETY: as above.
unsafe impl Sync for Written {}

/// Reads it when it is dropped.
struct Reads(Arc<Written>);

impl Drop for Reads {
    fn drop(&mut self) {
        // SAFETY: loom checks it.
        self.0.0.with(|n| assert_eq!(unsafe { *n }, 7));
    }
}

#[test]
fn stop_against_a_pending_task() {
    model(
        "executor: stop ∥ a task is polled first, and waits",
        3,
        || {
            let slot = Slot::default();
            let n = N::new().on(slot.clone());
            let h = n.handle();
            let written = Arc::new(Written(UnsafeCell::new(0)));
            let reads = Reads(written.clone());
            let (join, task) = slot.spawn(&h, async move {
                let _reads = reads;
                pending::<Result<(), ()>>().await
            });
            let executor = thread::spawn(move || finish(pin!(task)));
            // SAFETY: loom checks it.
            written.0.with_mut(|n| unsafe { *n = 7 });
            h.cancel();
            let mut run = pin!(n.run(pending::<Result<(), ()>>()));
            assert!(finish(run.as_mut()).unwrap_err().cancelled().is_some());
            let kind = join.now_or_never().unwrap().unwrap_err().kind();
            assert_eq!(kind, JoinErrorKind::Cancelled);
            executor.join().unwrap();
        },
    );
}

#[test]
fn finish_against_the_drop_of_the_nursery() {
    model("executor: a task's end ∥ drop of its nursery", 3, || {
        let alive = Arc::new(());
        let slot = Slot::default();
        let n = N::new().on(slot.clone());
        let h = n.handle();
        let cargo = Cargo::new(&alive);
        let (join, task) = slot.spawn(&h, async move { Ok(cargo.touched()) });
        let executor = thread::spawn(move || finish(pin!(task)));
        {
            let mut run = Box::pin(n.run(pending::<Result<(), ()>>()));
            let _ = poll_once(&mut run);
        }
        match join.now_or_never().unwrap() {
            Ok(cargo) => cargo.check(),
            Err(error) => assert_eq!(error.kind(), JoinErrorKind::Closed),
        }
        executor.join().unwrap();
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "whoever had it has dropped it"
        );
    });
}

#[test]
fn acceptance_against_the_proxy() {
    model(
        "executor: it accepts a task ∥ the nursery looks",
        2,
        || {
            let alive = Arc::new(());
            let slot = Slot::default();
            let n = N::new().on(slot.clone());
            let h = n.handle();
            let cargo = Cargo::new(&alive);
            let spawner = thread::spawn({
                let h = h.clone();
                move || {
                    let child = async move {
                        cargo.check();
                        Ok(())
                    };
                    match h.try_spawn(child) {
                        Ok(mut join) => {
                            finish(pin!(slot.task()));
                            finish(Pin::new(&mut join)).unwrap();
                            true
                        }
                        Err(error) => {
                            assert!(matches!(error, TrySpawnError::Closed(_)));
                            false
                        }
                    }
                }
            });
            finish(pin!(n.run(async { Ok(()) }))).unwrap();
            let done = usize::from(spawner.join().unwrap());
            assert_eq!((h.stats().started, h.stats().done), (done, done));
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}

/// An executor that refuses.
struct Refuses;

impl<F> Spawn<F> for Refuses {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        Err(SpawnError::new(future))
    }
}

#[test]
fn refusal_against_the_proxy() {
    model(
        "executor: it refuses a task ∥ the nursery looks",
        3,
        || {
            let alive = Arc::new(());
            let n = N::new().limit(1).on(Refuses);
            let h = n.handle();
            let cargo = Cargo::new(&alive);
            let spawner = thread::spawn({
                let h = h.clone();
                move || {
                    let child = async move {
                        cargo.check();
                        Ok(())
                    };
                    let error = h.try_spawn(child).map(drop).unwrap_err();
                    assert!(!error.is_full());
                    // It came back whole.
                    finish(pin!(error.into_inner())).unwrap();
                }
            });
            finish(pin!(n.run(async { Ok(()) }))).unwrap();
            spawner.join().unwrap();
            assert_eq!(h.stats(), Stats::default());
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}
