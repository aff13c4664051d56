//! The nursery without an allocator, beside what joins a number of futures that is known.

use crate::children::{Parked, at_once, outer, park, polls, scattered, wake};
use crate::meter::{Meter, Reading};
use futures_concurrency::future::Join;
use std::array;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use umbel_core::{FixedNursery, WakePool};

const N: usize = 16;

/// Runs `N` futures to their ends.
pub(crate) trait Kind {
    fn all<F: Future<Output = usize>>(make: impl Fn(usize) -> F) -> impl Future<Output = ()>;
}

pub(crate) struct Umbel;

impl Kind for Umbel {
    async fn all<F: Future<Output = usize>>(make: impl Fn(usize) -> F) {
        static POOL: WakePool<N> = WakePool::new();
        let nursery = FixedNursery::<Infallible, N, 64>::with_size(&POOL);
        let nursery = nursery.expect("there is one at a time");
        let run = nursery.run(async {
            for i in 0..N {
                let child = make(i);
                let child = async move {
                    child.await;
                    Ok(())
                };
                assert!(nursery.try_spawn(child).is_ok());
            }
            Ok(())
        });
        run.await.expect("nobody fails");
    }
}

/// `futures-concurrency`'s, for an array.
pub(crate) struct Array;

impl Kind for Array {
    async fn all<F: Future<Output = usize>>(make: impl Fn(usize) -> F) {
        array::from_fn::<F, N, _>(make).join().await;
    }
}

/// `futures-util`'s, for any iterator.
pub(crate) struct JoinAll;

impl Kind for JoinAll {
    async fn all<F: Future<Output = usize>>(make: impl Fn(usize) -> F) {
        futures_util::future::join_all((0..N).map(make)).await;
    }
}

/// The floor: an array whose futures are all polled in every turn.
pub(crate) struct PollAll;

impl Kind for PollAll {
    async fn all<F: Future<Output = usize>>(make: impl Fn(usize) -> F) {
        let mut children: [_; N] = array::from_fn(|i| Some(Box::pin(make(i))));
        poll_fn(|cx| {
            let mut left = false;
            for slot in &mut children {
                if let Some(child) = slot {
                    match child.as_mut().poll(cx) {
                        Poll::Ready(_) => *slot = None,
                        Poll::Pending => left = true,
                    }
                }
            }
            match left {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// Sixteen ready children.
pub(crate) fn ready_children<K: Kind>(meter: Meter) -> Reading {
    let (_, waker) = outer();
    let times = meter.ops(10_000);
    meter.one_thread(times * N, || {
        for _ in 0..times {
            let mut all = pin!(K::all(at_once));
            while all
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {}
        }
    })
}

/// Wakes one of sixteen parked children, and polls.
pub(crate) fn wake_one<K: Kind>(meter: Meter) -> Reading {
    let (_, waker) = outer();
    let ops = meter.ops(20_000);
    let mut all = pin!(K::all(|i| Parked::new(i, false)));
    let mut poll = || {
        let mut cx = Context::from_waker(&waker);
        all.as_mut().poll(&mut cx).is_ready()
    };
    park(N, &mut poll);
    let before = polls();
    let reading = meter.one_thread(ops, || {
        for turn in 0..ops {
            wake(scattered(turn, N));
            assert!(!poll());
        }
    });
    assert!(polls() - before >= ops);
    reading
}
