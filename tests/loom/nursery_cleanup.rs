//! Cleanups come by the inbox as children do; what is told here is what is done with them at the end.

use crate::model;
use crate::nursery::{Cargo, N, finish, poll_once};
use loom::thread;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use umbel_core::{JoinErrorKind, TrySpawnError};

#[test]
fn defer_against_the_end() {
    model("nursery: defer ∥ its end", 3, || {
        let (alive, ran) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
        let n = N::new();
        let h = n.handle();
        let deferrer = thread::spawn({
            let (cargo, ran) = (Cargo::new(&alive), Arc::clone(&ran));
            move || {
                let cleanup = async move {
                    cargo.check();
                    ran.fetch_add(1, SeqCst);
                    Ok(())
                };
                match h.defer(cleanup) {
                    Ok(()) => true,
                    // It came back whole, and is not the nursery's any more.
                    Err(refused) => {
                        finish(pin!(refused.into_inner())).unwrap();
                        false
                    }
                }
            }
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        let by_end = ran.load(SeqCst);
        let taken = deferrer.join().unwrap();
        assert_eq!(ran.load(SeqCst), 1, "it ran once, wherever");
        assert!(
            !taken || by_end == 1,
            "what was taken has run when the nursery ends"
        );
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn defer_against_drop() {
    model("nursery: defer ∥ drop", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let deferrer = thread::spawn({
            let cargo = Cargo::new(&alive);
            move || {
                let cleanup = async move {
                    cargo.check();
                    pending().await
                };
                if let Err(refused) = h.defer(cleanup) {
                    assert!(poll_once(&mut Box::pin(refused.into_inner())).is_pending());
                }
            }
        });
        {
            let mut run = Box::pin(n.run(async { Ok(()) }));
            drop(poll_once(&mut run));
        }
        deferrer.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn spawn_against_cleaning() {
    model("nursery: spawn, try_spawn ∥ its cleanups", 2, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        h.release(Cargo::new(&alive)).unwrap();
        let spawner = thread::spawn({
            let (h, one, two) = (h.clone(), Cargo::new(&alive), Cargo::new(&alive));
            move || {
                let mut join = h.spawn(async move { Ok(one) });
                let tried = h.try_spawn(async move {
                    two.check();
                    Ok(())
                });
                // Each ran, or came too late: never neither.
                match finish(Pin::new(&mut join)) {
                    Ok(cargo) => cargo.check(),
                    Err(error) => assert_eq!(error.kind(), JoinErrorKind::Closed),
                }
                match tried {
                    Ok(mut join) => match finish(Pin::new(&mut join)) {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.kind(), JoinErrorKind::Closed),
                    },
                    Err(TrySpawnError::Closed(child)) => finish(pin!(child)).unwrap(),
                    Err(TrySpawnError::Full(_) | TrySpawnError::Refused(_)) => {
                        panic!("there is neither limit nor executor")
                    }
                }
            }
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        let stats = h.report().unwrap().stats;
        assert_eq!((stats.started, stats.cancelled), (stats.done, 0));
        spawner.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn a_ring_reaches_a_nursery_at_its_cleanups() {
    model("nursery: defer ∥ its cleanups", 3, || {
        let ran = Arc::new(AtomicUsize::new(0));
        let n = N::new();
        let h = n.handle();
        // The oldest waits for one that is deferred while it runs, or before: nothing else ends it.
        let gate = umbel_core::CancellationToken::new();
        let (waits, count) = (gate.clone(), Arc::clone(&ran));
        h.defer(async move {
            waits.cancelled().await;
            count.fetch_add(1, SeqCst);
            Ok(())
        })
        .unwrap();
        let deferrer = thread::spawn({
            let (h, count) = (h.clone(), Arc::clone(&ran));
            move || {
                gate.cancel();
                h.defer(async move {
                    count.fetch_add(1, SeqCst);
                    Ok(())
                })
                .is_ok()
            }
        });
        let mut run = pin!(n.run(async { Ok(()) }));
        finish(run.as_mut()).unwrap();
        let by_end = ran.load(SeqCst);
        let taken = deferrer.join().unwrap();
        assert_eq!(by_end, 1 + usize::from(taken));
    });
}
