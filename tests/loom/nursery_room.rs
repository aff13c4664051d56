//! Room under a nursery's limit: places, and those who wait for one or give up.

use crate::model;
use crate::nursery::{Cargo, N, finish, poll_once};
use loom::thread;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use umbel_core::{JoinErrorKind, Reason};

#[test]
fn two_spawners_for_one_place() {
    model("nursery: try_spawn ∥ try_spawn, one place", 3, || {
        let n = N::new().limit(1);
        let h = n.handle();
        let spawn = {
            let h = h.clone();
            move || h.try_spawn(async { Ok(()) }).is_ok()
        };
        let other = thread::spawn(spawn.clone());
        let ours = spawn();
        assert!(ours ^ other.join().unwrap(), "one of the two");
        finish(pin!(n.run(async { Ok(()) }))).unwrap();
        assert_eq!(h.stats().done, 1);
    });
}

/// A place that a child has left is found by who looks for it.
#[test]
fn a_place_goes_back_against_try_spawn() {
    model("nursery: a child's end ∥ try_spawn, one place", 3, || {
        let n = N::new().limit(1);
        let h = n.handle();
        drop(h.spawn(async { Ok(()) }));
        let spawner = thread::spawn({
            let h = h.clone();
            move || {
                let last = h.clone();
                let mut child = async move {
                    last.cancel();
                    Ok(())
                };
                while let Err(full) = h.try_spawn(child) {
                    assert!(full.is_full());
                    child = full.into_inner();
                    thread::yield_now();
                }
            }
        });
        // Nothing but the second child ends it.
        let mut run = pin!(n.run(pending::<Result<(), ()>>()));
        assert!(finish(run.as_mut()).unwrap_err().cancelled().is_some());
        spawner.join().unwrap();
        assert_eq!(h.stats().done, 2);
    });
}

/// A place taken for a child that comes too late goes back, and the child is dropped.
#[test]
fn spawn_wait_against_the_end() {
    model("nursery: spawn_wait with room ∥ its end", 3, || {
        let alive = Arc::new(());
        let n = N::new().limit(1);
        let h = n.handle();
        let spawner = thread::spawn({
            let cargo = Cargo::new(&alive);
            move || {
                let mut wait = h.spawn_wait(async move { Ok(cargo) });
                match finish(Pin::new(&mut wait)) {
                    Ok(mut join) => finish(Pin::new(&mut join)).unwrap().check(),
                    Err(error) => assert_eq!(error.kind(), JoinErrorKind::Closed),
                }
            }
        });
        finish(pin!(n.run(async { Ok(()) }))).unwrap();
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// The place that was meant for one who gave up goes to the next in the queue.
#[test]
fn n_24_giving_up_leaves_the_place_to_others() {
    model(
        "nursery: giving up ∥ start, the next in the queue",
        3,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(async { Ok(()) }));
            let mut wait = h.spawn_wait(async { Ok(()) });
            assert!(poll_once(&mut wait).is_pending());
            let next = h.spawn(async { Ok(7) });
            let spawner = thread::spawn(move || drop(wait));
            finish(pin!(n.run(async move {
                assert_eq!(next.await.unwrap(), 7);
                Ok(())
            })))
            .unwrap();
            spawner.join().unwrap();
            assert!((2..=3).contains(&h.stats().done));
        },
    );
}

/// Who waits for room is woken by the start: the child's end comes only after that.
#[test]
fn a_start_wakes_who_waits_for_room() {
    model(
        "nursery: start ∥ its spawner waits, and ends it",
        3,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(async { Ok(()) }));
            let mut wait = h.spawn_wait(pending::<Result<(), ()>>());
            assert!(poll_once(&mut wait).is_pending());
            let spawner = thread::spawn(move || {
                let join = finish(Pin::new(&mut wait)).unwrap();
                h.cancel();
                drop(join);
            });
            // Nothing but the spawner ends it.
            let mut run = pin!(n.run(pending::<Result<(), ()>>()));
            let failure = finish(run.as_mut()).unwrap_err();
            assert_eq!(failure.report.stats.cancelled, 1);
            spawner.join().unwrap();
        },
    );
}

/// Those who gave up are swept out while others are about to, and still others do.
#[test]
fn sweep_against_giving_up() {
    model("nursery: sweep ∥ giving up", 3, || {
        let alive = Arc::new(());
        let n = N::new().limit(1);
        let h = n.handle();
        drop(h.spawn(pending::<Result<(), ()>>()));
        let [first, second] = [(); 2].map(|()| {
            let cargo = Cargo::new(&alive);
            let mut wait = h.spawn_wait(async move {
                cargo.check();
                Ok(())
            });
            assert!(poll_once(&mut wait).is_pending());
            wait
        });
        let mut run = Box::pin(n.run(pending::<Result<(), ()>>()));
        assert!(poll_once(&mut run).is_pending());
        let spawners = [first, second].map(|wait| thread::spawn(move || drop(wait)));
        assert!(poll_once(&mut run).is_pending());
        for spawner in spawners {
            spawner.join().unwrap();
        }
        assert_eq!(Arc::strong_count(&alive), 1, "dropped at once");
        h.cancel();
        let failure = finish(run.as_mut()).unwrap_err();
        assert_eq!(failure.report.stats.cancelled, 1);
    });
}

/// One of the two drops the child that waits.
#[test]
fn drop_against_giving_up() {
    model("nursery: drop ∥ a spawner gives up", 3, || {
        let alive = Arc::new(());
        let n = N::new().limit(1);
        let h = n.handle();
        drop(h.spawn(pending::<Result<(), ()>>()));
        let cargo = Cargo::new(&alive);
        let mut wait = h.spawn_wait(async move {
            cargo.check();
            Ok(())
        });
        assert!(poll_once(&mut wait).is_pending());
        let mut run = Box::pin(n.run(async { Ok(()) }));
        assert!(poll_once(&mut run).is_pending());
        let spawner = thread::spawn(move || drop(wait));
        drop(run);
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn refusal_against_waiting_for_room() {
    model(
        "nursery: refusal of a queued child ∥ its spawner's poll",
        3,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            drop(h.spawn(pending::<Result<(), ()>>()));
            let mut wait = h.spawn_wait(pending::<Result<(), ()>>());
            assert!(poll_once(&mut wait).is_pending());
            let spawner = thread::spawn(move || {
                let error = finish(Pin::new(&mut wait)).unwrap_err();
                assert_eq!(error.kind(), JoinErrorKind::Cancelled);
                assert_eq!(error.reason().unwrap().code(), Some(5));
            });
            h.cancel_with(Reason::custom(5));
            assert!(finish(pin!(n.run(async { Ok(()) }))).is_err());
            spawner.join().unwrap();
        },
    );
}

#[test]
fn drop_against_waiting_for_room() {
    model("nursery: drop ∥ a spawner's poll", 3, || {
        let n = N::new().limit(1);
        let h = n.handle();
        drop(h.spawn(pending::<Result<(), ()>>()));
        let mut wait = h.spawn_wait(pending::<Result<(), ()>>());
        assert!(poll_once(&mut wait).is_pending());
        let mut run = Box::pin(n.run(async { Ok(()) }));
        assert!(poll_once(&mut run).is_pending());
        let spawner = thread::spawn(move || {
            let error = finish(Pin::new(&mut wait)).unwrap_err();
            assert_eq!(error.kind(), JoinErrorKind::Closed);
        });
        drop(run);
        spawner.join().unwrap();
    });
}
