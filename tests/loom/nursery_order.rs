//! Children of a nursery that are asked for their ids, wait for others, start, and are cancelled alone. The
//! heads of `nursery::node`, `nursery::request` and `nursery::handoff` say which transition each model
//! shows.

use crate::model;
use crate::nursery::{Cargo, N, finish};
use loom::thread;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use umbel_core::{Handle, JoinErrorKind, KeepGoing, Reason, Started, Stats};

/// Ends when the nursery has come so far. Looks again at every turn that something else causes.
fn when(h: &Handle<'_, ()>, is_so: impl Fn(Stats) -> bool) -> impl Future<Output = Result<(), ()>> {
    poll_fn(move |cx| {
        if is_so(h.stats()) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        thread::yield_now();
        Poll::Pending
    })
}

/// A child ends, while another thread asks for its id and spawns one that waits for it.
fn asking(fails: bool) {
    let alive = Arc::new(());
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let first = h.spawn(async move { if fails { Err(()) } else { Ok(()) } });
    let asker = thread::spawn({
        let (h, cargo) = (h.clone(), Cargo::new(&alive));
        move || {
            let id = first.id();
            drop(first);
            drop(h.child().after(&[id]).spawn(async move {
                cargo.check();
                Ok(())
            }));
        }
    });
    let seen = h.clone();
    let body = async move {
        when(&seen, |stats| {
            stats.done + stats.failed + stats.skipped == 2
        })
        .await
    };
    assert_eq!(finish(pin!(n.run(body))).is_err(), fails);
    asker.join().unwrap();
    let stats = h.stats();
    let expected = if fails { (0, 1, 1) } else { (2, 0, 0) };
    assert_eq!((stats.done, stats.failed, stats.skipped), expected);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn asking_against_the_end() {
    model("nursery: a child ends ∥ its id is asked", 2, || {
        asking(false)
    });
}

#[test]
fn asking_against_the_failure() {
    model("nursery: a child fails ∥ its id is asked", 2, || {
        asking(true)
    });
}

#[test]
fn two_that_ask() {
    model("nursery: ids of two children are asked ∥", 2, || {
        let n = N::new();
        let h = n.handle();
        let [a, b] = [(); 2].map(|()| h.spawn(async { Ok(()) }));
        let other = thread::spawn(move || {
            let id = a.id();
            assert_eq!(a.id(), id);
            id
        });
        let id = b.id();
        assert_ne!(other.join().unwrap(), id);
        assert_eq!(b.id(), id);
    });
}

#[test]
fn start_against_waiting() {
    model("nursery: a child starts ∥ who waits for it", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let cargo = Cargo::new(&alive);
        let mut start = h.start(|started: Started<Cargo>| async move {
            assert!(started.send(cargo.touched()).is_ok());
            Ok(())
        });
        let waiter = thread::spawn(move || {
            let (cargo, mut join) = finish(Pin::new(&mut start)).unwrap();
            cargo.check();
            finish(Pin::new(&mut join)).unwrap();
        });
        finish(pin!(n.run(async { Ok(()) }))).unwrap();
        waiter.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn start_against_its_drop() {
    model(
        "nursery: a child starts ∥ who waits for it goes",
        3,
        || {
            let alive = Arc::new(());
            let n = N::new();
            let h = n.handle();
            let cargo = Cargo::new(&alive);
            let start = h.start(|started: Started<Cargo>| async move {
                if let Err(cargo) = started.send(cargo.touched()) {
                    // Nobody else has it, and the child is being cancelled.
                    cargo.check();
                    pending::<()>().await;
                }
                Ok(())
            });
            let waiter = thread::spawn(move || drop(start));
            finish(pin!(n.run(async { Ok(()) }))).unwrap();
            waiter.join().unwrap();
            let stats = h.stats();
            assert_eq!(stats.done + stats.cancelled, 1);
            assert_eq!(Arc::strong_count(&alive), 1);
        },
    );
}

#[test]
fn cancel_named_against_poll() {
    model("nursery: spawn, cancel by name, spawn ∥ poll", 2, || {
        let n = N::new();
        let h = n.handle();
        let spawner = thread::spawn({
            let h = h.clone();
            move || {
                drop(h.child().name("a").spawn::<(), _>(pending()));
                h.cancel_named("a", Reason::explicit());
                drop(h.child().name("a").spawn(async { Ok(()) }));
            }
        });
        let seen = h.clone();
        let body = async move { when(&seen, |stats| stats.done + stats.cancelled == 2).await };
        finish(pin!(n.run(body))).unwrap();
        spawner.join().unwrap();
        let stats = h.stats();
        assert_eq!((stats.done, stats.cancelled), (1, 1));
    });
}

#[test]
fn a_request_against_the_end() {
    model("nursery: cancel by name ∥ its end", 3, || {
        let alive = Arc::new(());
        let n = N::new();
        let h = n.handle();
        let asker = thread::spawn({
            let held = alive.clone();
            move || {
                h.cancel_named("a", Reason::error(Held(held)));
            }
        });
        finish(pin!(n.run(async { Ok(()) }))).unwrap();
        asker.join().unwrap();
        assert_eq!(Arc::strong_count(&alive), 1, "nothing keeps itself alive");
    });
}

#[derive(Debug)]
struct Held(#[allow(dead_code)] Arc<()>);

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("held")
    }
}

impl std::error::Error for Held {}

#[test]
fn a_handle_against_the_first_poll() {
    model("nursery: a child's handle ∥ its first poll", 3, || {
        let n = N::new();
        let h = n.handle();
        let mut child = h.child();
        let stop = child.cancel_handle();
        drop(child.spawn::<(), _>(pending()));
        let canceller = thread::spawn(move || stop.cancel());
        // A lost wakeup would hang the model.
        finish(pin!(n.run(async { Ok(()) }))).unwrap();
        canceller.join().unwrap();
        assert_eq!(h.stats().cancelled, 1);
    });
}

#[test]
fn a_handle_against_the_queue() {
    model(
        "nursery: a child's handle ∥ it begins to wait for room",
        3,
        || {
            let n = N::new().limit(1);
            let h = n.handle();
            let first = h.clone();
            // It ends when the other one has.
            drop(h.spawn(async move { when(&first, |stats| stats.cancelled == 1).await }));
            let mut child = h.child();
            let stop = child.cancel_handle();
            let join = child.spawn(async { Ok(()) });
            let canceller = thread::spawn(move || stop.cancel());
            finish(pin!(n.run(async { Ok(()) }))).unwrap();
            canceller.join().unwrap();
            let error = join.now_or_never().unwrap().unwrap_err();
            assert_eq!(error.kind(), JoinErrorKind::Cancelled);
        },
    );
}
