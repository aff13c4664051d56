//! What is measured, written once for all contenders.
//!
//! Each workload asserts that its work was done: so many children polled, so many outputs.

use crate::children::{Parked, Yields, counted, outer, park, polls, scattered, take_wakers, wake};
use crate::meter::{Meter, Reading};
use crate::set::contenders::{Kind, Set};
use futures_core::Stream;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

fn poll<S: Stream + Unpin>(set: &mut S, waker: &Waker) -> Poll<Option<S::Item>> {
    Pin::new(set).poll_next(&mut Context::from_waker(waker))
}

/// Polls until the set is empty; returns the number of outputs.
fn drain<S: Stream + Unpin>(set: &mut S, waker: &Waker) -> usize {
    let mut outputs = 0;
    loop {
        match poll(set, waker) {
            Poll::Ready(Some(_)) => outputs += 1,
            Poll::Ready(None) => return outputs,
            Poll::Pending => {}
        }
    }
}

/// A set of `number` parked children, polled until all have left their wakers.
fn parked<K: Kind>(number: usize, ends: bool, waker: &Waker) -> K::Set<Parked> {
    let mut set = K::Set::<Parked>::with_room(number);
    (0..number).for_each(|i| set.add(Parked::new(i, ends)));
    park(number, || poll(&mut set, waker).is_ready());
    set
}

// ------------------------------------------------------------------ S1, S6

/// Adds children that are ready, and drains the set; the set itself is kept.
pub(crate) fn ready_children<K: Kind, const N: usize>(meter: Meter) -> Reading {
    let (number, (_, waker)) = (meter.ops(N), outer());
    let times = meter.ops(100_000).div_ceil(number);
    let mut set = K::Set::<Ready<usize>>::with_room(number);
    let mut turn = || {
        (0..number).for_each(|i| set.add(ready(i)));
        assert_eq!(drain(&mut set, &waker), number);
    };
    turn(); // the peak is reached
    meter.one_thread(times * number, || (0..times).for_each(|_| turn()))
}

/// Pending once, woken by itself.
struct Large([u8; 4096], bool);

impl Future for Large {
    type Output = u8;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u8> {
        if self.1 {
            return Poll::Ready(black_box(self.0[4095]));
        }
        self.1 = true;
        self.0[4095] = 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// As [`ready_children`], a new set each time.
pub(crate) fn large_children<K: Kind>(meter: Meter) -> Reading {
    let (number, (_, waker)) = (meter.ops(1000), outer());
    meter.one_thread(number, || {
        let mut set = K::Set::<Large>::with_room(number);
        (0..number).for_each(|_| set.add(Large([0; 4096], false)));
        assert_eq!(drain(&mut set, &waker), number);
    })
}

// ------------------------------------------------------------------ S2

/// Twenty polls a child; its end is one of them.
pub(crate) fn self_waking<K: Kind, const N: usize>(meter: Meter) -> Reading {
    const EACH: usize = 20;
    let (number, (_, waker)) = (meter.ops(N), outer());
    let times = meter.ops(10_000).div_ceil(number);
    let mut sets: Vec<_> = (0..times)
        .map(|_| {
            let mut set = K::Set::<Yields>::with_room(number);
            (0..number).for_each(|_| set.add(Yields(EACH - 1)));
            set
        })
        .collect();
    let before = polls();
    let reading = meter.one_thread(times * number * EACH, || {
        for set in &mut sets {
            assert_eq!(drain(set, &waker), number);
        }
    });
    assert_eq!(polls() - before, times * number * EACH);
    reading
}

// ------------------------------------------------------------------ S3

/// Wakes one of `N`, and polls the set.
pub(crate) fn wake_one<K: Kind, const N: usize>(meter: Meter) -> Reading {
    let (number, (_, waker)) = (meter.ops(N), outer());
    let mut set = parked::<K>(number, false, &waker);
    let ops = meter.ops(20_000);
    let before = polls();
    let reading = meter.one_thread(ops, || {
        for turn in 0..ops {
            wake(scattered(turn, number));
            assert!(poll(&mut set, &waker).is_pending());
        }
    });
    assert_eq!(polls() - before, ops);
    reading
}

/// Another thread wakes all; this one polls until all have ended.
pub(crate) fn wake_across<K: Kind, const N: usize>(meter: Meter) -> Reading {
    let (number, (task, waker)) = (meter.ops(N), outer());
    let mut set = parked::<K>(number, true, &waker);
    let wakers = take_wakers();
    let wake_all = || {
        for turn in 0..number {
            let waker = &wakers[scattered(turn, number)];
            waker.iter().for_each(Waker::wake_by_ref);
        }
    };
    let mut ended = 0;
    let mut seen = task.0.load(Ordering::Acquire);
    meter.helped(number, wake_all, || {
        while ended < number {
            match poll(&mut set, &waker) {
                Poll::Ready(_) => ended += 1,
                Poll::Pending => {
                    while task.0.load(Ordering::Acquire) == seen {
                        std::hint::spin_loop();
                    }
                    seen = task.0.load(Ordering::Acquire);
                }
            }
        }
    })
}

// ------------------------------------------------------------------ S7

/// Each of two threads clones and drops the waker of a child of its own.
pub(crate) fn clone_wakers<K: Kind>(meter: Meter) -> Reading {
    let (_, waker) = outer();
    let set = parked::<K>(2, false, &waker);
    let wakers = take_wakers();
    let threads = AtomicUsize::new(0);
    let ops = meter.ops(50_000);
    let reading = meter.two_threads(ops, || {
        let mine = threads.fetch_add(1, Ordering::Relaxed) % 2;
        for _ in 0..ops {
            drop(black_box(wakers[mine].clone()));
        }
    });
    drop(set);
    reading
}

// ------------------------------------------------------------------ S4

/// Never ready; its drop has something to look at.
pub(crate) struct Idle(Option<Box<u8>>);

impl Idle {
    pub(crate) fn new() -> Self {
        Idle(black_box(None))
    }
}

impl Future for Idle {
    type Output = Option<Box<u8>>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.take() {
            None => Poll::Pending,
            some => Poll::Ready(some),
        }
    }
}

pub(crate) fn drop_parked<K: Kind>(meter: Meter) -> Reading {
    let (number, (_, waker)) = (meter.ops(100_000), outer());
    let mut set = K::Set::<Idle>::with_room(number);
    (0..number).for_each(|_| set.add(Idle::new()));
    // Some poll only a few at a time.
    (0..number.div_ceil(32)).for_each(|_| assert!(poll(&mut set, &waker).is_pending()));
    meter.one_thread(number, || drop(set))
}

/// The floor: places alone, of which each says whether somebody is there, as those of any set must. (In a
/// row without gaps children take half of the memory, and the loop over them asks nothing.)
pub(crate) fn drop_bare(meter: Meter) -> Reading {
    let number = meter.ops(100_000);
    let places: Vec<Option<Idle>> = (0..number).map(|_| Some(Idle::new())).collect();
    meter.one_thread(number, || drop(black_box(places)))
}

// ------------------------------------------------------------------ S5

/// One of a thousand is woken and ends; another takes its place and parks.
pub(crate) fn churn<K: Kind>(meter: Meter) -> Reading {
    let (number, (_, waker)) = (meter.ops(1000), outer());
    let mut set = parked::<K>(number, true, &waker);
    let ops = meter.ops(20_000);
    let before = polls();
    let reading = meter.one_thread(ops, || {
        for turn in 0..ops {
            let woken = scattered(turn, number);
            wake(woken);
            assert_eq!(poll(&mut set, &waker), Poll::Ready(Some(woken)));
            set.add(Parked::new(woken, true));
            assert!(poll(&mut set, &waker).is_pending());
        }
    });
    assert_eq!(polls() - before, 2 * ops);
    reading
}

// ------------------------------------------------------------------ counted, not timed

/// How often a child that is always ready is polled in one poll of the set.
pub(crate) fn turns_of_one<K: Kind>(meter: Meter) -> Reading {
    let times = meter.ops(1000);
    let (_, waker) = outer();
    let mut set = K::Set::<Yields>::with_room(1);
    set.add(Yields(usize::MAX));
    let before = polls();
    for _ in 0..times {
        assert!(poll(&mut set, &waker).is_pending());
    }
    counted((polls() - before) as f64 / times as f64)
}

/// How often the outer task is woken while a thousand children are, before it polls.
pub(crate) fn outer_wakes<K: Kind>(meter: Meter) -> Reading {
    let (number, (task, waker)) = (meter.ops(1000), outer());
    let set = parked::<K>(number, false, &waker);
    let before = task.0.load(Ordering::Acquire);
    (0..number).for_each(wake);
    let wakes = task.0.load(Ordering::Acquire) - before;
    drop(set);
    counted(wakes as f64)
}
