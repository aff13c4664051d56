//! What is measured, written once for all contenders.

use crate::children::{Outer, Parked, Yields, at_once, counted, outer, park, polls, wake};
use crate::meter::{Meter, Reading};
use crate::nursery::contenders::Kind;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

/// Polls a scope once; whether it has ended.
fn poll<S: Future>(scope: Pin<&mut S>, waker: &Waker) -> bool {
    scope.poll(&mut Context::from_waker(waker)).is_ready()
}

/// A scope of a thousand children that are ready, spawned and ended.
pub(crate) fn discard<K: Kind>(meter: Meter) -> Reading {
    let (kind, number) = (K::new(), meter.ops(1000));
    let times = meter.ops(100_000).div_ceil(number);
    let turn = || kind.block_on(kind.discard(number, at_once));
    turn(); // the peak is reached
    meter.one_thread(times * number, || (0..times).for_each(|_| turn()))
}

/// As [`discard`], and the children's outputs are awaited.
pub(crate) fn join<K: Kind>(meter: Meter) -> Reading {
    let (kind, number) = (K::new(), meter.ops(1000));
    let times = meter.ops(100_000).div_ceil(number);
    let turn = || {
        let sum = kind.block_on(kind.join(number, at_once));
        assert_eq!(sum, (0..number).sum());
    };
    turn(); // the peak is reached
    meter.one_thread(times * number, || (0..times).for_each(|_| turn()))
}

/// A scope of a thousand children of a hundred polls each; the end is one of them.
pub(crate) fn yields<K: Kind>(meter: Meter) -> Reading {
    const EACH: usize = 100;
    let (kind, number) = (K::new(), meter.ops(1000));
    let before = polls();
    let reading = meter.one_thread(number * EACH, || {
        kind.block_on(kind.discard(number, |_| Yields(EACH - 1)));
    });
    assert_eq!(polls() - before, number * EACH);
    reading
}

/// How often a child that is always ready is polled in one poll of its scope, in which ten others
/// are parked.
pub(crate) fn turns_of_one<K: Kind>(meter: Meter) -> Reading {
    let (kind, (_, waker)) = (K::new(), outer());
    let times = meter.ops(1000);
    const OTHERS: usize = 10;
    let make = |i| async move {
        match i {
            0 => Yields(usize::MAX).await,
            _ => Parked::new(i - 1, false).await,
        }
    };
    let mut scope = pin!(kind.discard(1 + OTHERS, make));
    park(OTHERS, || poll(scope.as_mut(), &waker));
    let before = polls();
    for _ in 0..times {
        assert!(!poll(scope.as_mut(), &waker));
    }
    counted((polls() - before) as f64 / times as f64)
}

/// How often the outer task is woken while a thousand children are, before it polls.
pub(crate) fn outer_wakes<K: Kind>(meter: Meter) -> Reading {
    let (kind, number) = (K::new(), meter.ops(1000));
    let (task, waker) = outer();
    let mut scope = pin!(kind.discard(number, |i| Parked::new(i, false)));
    park(number, || poll(scope.as_mut(), &waker));
    let woken = |task: &Outer| task.0.load(Ordering::Acquire);
    let before = woken(&task);
    (0..number).for_each(wake);
    counted((woken(&task) - before) as f64)
}
