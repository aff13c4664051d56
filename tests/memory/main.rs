//! What set and nursery ask of the allocator. One test, alone in its process, since it
//! looks at the process's pools, too.
#![cfg(not(umbel_loom))]

use futures_core::Stream;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use umbel_core::{Ended, FutureSet, Nursery, Policy, Verdict, pool_stats};
use umbel_tests::counting::{CountingAlloc, allocator_calls, live_bytes};
use umbel_tests::exec::{Wakes, yields};
use umbel_tests::scaled;

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

const CHILDREN: usize = scaled(10_000, 200);
const CHURN: usize = scaled(1_000_000, 500);
const SPAWNS: usize = scaled(10_000_000, 500);

#[test]
fn the_allocator_is_left_alone() {
    let (count, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let wakers = std::cell::RefCell::new(Vec::<Waker>::with_capacity(4 * CHILDREN));
    let child = || {
        let mut left = 3;
        let wakers = &wakers;
        poll_fn(move |cx| {
            wakers.borrow_mut().push(cx.waker().clone());
            left -= 1;
            if left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    };

    // Neither waking, nor polling, nor cloning and dropping wakers calls the allocator.
    let before = live_bytes();
    let mut set: FutureSet<_> = (0..CHILDREN).map(|_| child()).collect();
    let filled = allocator_calls();
    assert!(Pin::new(&mut set).poll_next(&mut cx).is_pending());
    for waker in wakers.borrow().iter() {
        drop(waker.clone());
        waker.wake_by_ref();
    }
    assert!(Pin::new(&mut set).poll_next(&mut cx).is_pending());
    assert_eq!((allocator_calls(), count.count()), (filled, 1));

    // What finishes is freed at once, though all its wakers live.
    let last: Vec<_> = wakers.borrow_mut().drain(..).collect();
    let full = live_bytes();
    last.iter().for_each(Waker::wake_by_ref);
    while let Poll::Ready(Some(())) = Pin::new(&mut set).poll_next(&mut cx) {}
    let pools = pool_stats();
    assert!((full - live_bytes()).unsigned_abs() > CHILDREN * 16);
    assert!(pools.headers_in_use <= 2, "{pools:?}");

    // A steady state: a million children come and go, under stale wakes, without a call.
    set.push(child());
    while Pin::new(&mut set).poll_next(&mut cx).is_pending() {
        wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }
    let steady = allocator_calls();
    for i in 0..CHURN {
        set.push(child());
        while Pin::new(&mut set).poll_next(&mut cx).is_pending() {
            wakers.borrow_mut().drain(..).for_each(Waker::wake);
        }
        last[i % last.len()].wake_by_ref();
    }
    assert_eq!(allocator_calls(), steady);

    // All goes back but the pools, which hold the peak and no more, however many sets come and go.
    drop((set, last));
    wakers.borrow_mut().clear();
    let pools = pool_stats();
    assert_eq!((pools.headers_in_use, pools.hubs_in_use), (0, 0));
    assert!(
        pools.headers <= CHILDREN / 32 + 32 && pools.hubs <= 15,
        "{pools:?}"
    );
    let pool_bytes = 1024 * (pools.headers / 15 + pools.hubs / 15);
    assert_eq!(live_bytes(), before + pool_bytes as isize);
    for _ in 0..CHURN / 100 {
        let mut sets: [FutureSet<_>; 3] =
            [(); 3].map(|()| [child(), child()].into_iter().collect());
        for set in &mut sets {
            assert!(Pin::new(set).poll_next(&mut cx).is_pending());
        }
        wakers.borrow_mut().drain(..).for_each(Waker::wake);
        drop(sets);
    }
    assert_eq!(pool_stats(), pools);
    assert_eq!(live_bytes(), before + pool_bytes as isize);
    given_up_children_do_not_pile_up();
    a_name_goes_with_its_child();
    after_many_spawns_the_allocator_is_where_it_was();
}

/// A nursery that goes on, and whose handles outlive it.
fn a_name_goes_with_its_child() {
    let n = Nursery::<()>::new();
    let h = n.handle();
    let mut cx = Context::from_waker(Waker::noop());
    let mut run = Box::pin(n.run(pending::<Result<(), ()>>()));
    assert!(run.as_mut().poll(&mut cx).is_pending());
    let before = live_bytes();
    let name = "x".repeat(100_000);
    drop(h.child().name(name).spawn(async { Ok(()) }));
    assert!(run.as_mut().poll(&mut cx).is_pending());
    let kept = live_bytes() - before;
    assert!(kept < 10_000, "{kept} bytes are kept");
}

/// A nursery that is full for ever, and spawners that wait for room and give up.
fn given_up_children_do_not_pile_up() {
    let n = Nursery::<()>::new().limit(1);
    let h = n.handle();
    drop(h.spawn(pending::<Result<(), ()>>()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut run = pin!(n.run(pending::<Result<(), ()>>()));
    assert!(run.as_mut().poll(&mut cx).is_pending());
    let before = live_bytes();
    for _ in 0..CHURN / 100 {
        let mut wait = h.spawn_wait(async { Ok(()) });
        assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
        drop(wait);
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let kept = live_bytes() - before;
        assert!(kept < 40 * 256, "{kept} bytes are kept");
    }
}

/// Errors are dealt with: kept ones would pile up.
struct Forgive;

impl Policy<u32> for Forgive {
    fn failed(&mut self, _: &Ended<'_>, _: &u32) -> Verdict {
        Verdict::Forgive
    }
}

/// Children of all sorts come and go through a nursery with a limit: each round calls the allocator as
/// often as the one before, and leaves as much behind, which is nothing.
fn after_many_spawns_the_allocator_is_where_it_was() {
    const ROUND: usize = 20;
    let before = live_bytes();
    let n = Nursery::<u32>::new().limit(4).policy(Forgive);
    let h = n.handle();
    let mut cx = Context::from_waker(Waker::noop());
    let mut run = Box::pin(n.run(pending::<Result<(), u32>>()));
    assert!(run.as_mut().poll(&mut cx).is_pending());
    let child = |i: usize| async move {
        yields(i % 3).await;
        match i % 5 {
            0 => Err(1),
            _ => Ok([i; 2]),
        }
    };
    let mut joins = Vec::with_capacity(ROUND);
    let mut spawned = 0;
    let mut round = |run: &mut Pin<Box<_>>| {
        let (calls, left) = (allocator_calls(), live_bytes());
        for i in 0..ROUND {
            spawned += 1;
            match i % 4 {
                0 => joins.push(h.spawn(child(i))),
                1 => drop(h.spawn_graceful(|_| child(i))),
                2 => match h.try_spawn(child(i)) {
                    Ok(join) => joins.push(join),
                    Err(_) => spawned -= 1,
                },
                _ => {
                    let mut wait = h.spawn_wait(child(i));
                    match Pin::new(&mut wait).poll(&mut cx) {
                        Poll::Ready(join) => joins.extend(join),
                        Poll::Pending if i % 8 == 3 => spawned -= 1,
                        Poll::Pending => {
                            while Pin::new(&mut wait).poll(&mut cx).is_pending() {
                                assert!(poll_once(run).is_pending());
                            }
                        }
                    }
                }
            }
        }
        let ended = || h.stats().done + h.stats().failed;
        while ended() < spawned {
            assert!(poll_once(run).is_pending());
        }
        for join in joins.drain(..) {
            assert!(join.now_or_never().is_some());
        }
        (allocator_calls() - calls, live_bytes() - left)
    };
    // What a first round leaves is kept for the next: chunks of slots.
    for _ in 0..4 {
        round(&mut run);
    }
    let (steady, _) = round(&mut run);
    for _ in 0..SPAWNS / ROUND {
        assert_eq!(round(&mut run), (steady, 0));
    }
    drop((run, h, joins));
    assert_eq!(live_bytes(), before);
}

fn poll_once<F: Future>(run: &mut Pin<Box<F>>) -> Poll<F::Output> {
    run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
