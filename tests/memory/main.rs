//! What set and nursery ask of the allocator. One test, alone in its process: it counts all of it.
#![cfg(not(umbel_loom))]

use futures_core::Stream;
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use umbel_core::{FutureSet, Nursery, pool_stats};
use umbel_tests::counting;

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        BYTES.fetch_add(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::SeqCst);
        BYTES.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls() -> usize {
    CALLS.load(Ordering::SeqCst)
}

fn bytes() -> usize {
    BYTES.load(Ordering::SeqCst)
}

const CHILDREN: usize = if cfg!(miri) { 200 } else { 10_000 };
const CHURN: usize = if cfg!(miri) { 500 } else { 1_000_000 };

#[test]
fn the_allocator_is_left_alone() {
    let (count, waker) = counting();
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
    let before = bytes();
    let mut set: FutureSet<_> = (0..CHILDREN).map(|_| child()).collect();
    let filled = calls();
    assert!(Pin::new(&mut set).poll_next(&mut cx).is_pending());
    for waker in wakers.borrow().iter() {
        waker.clone().wake();
    }
    assert!(Pin::new(&mut set).poll_next(&mut cx).is_pending());
    assert_eq!((calls(), count.get()), (filled, 1));

    // What finishes is freed at once, though all its wakers live.
    let last: Vec<_> = wakers.borrow_mut().drain(..).collect();
    let full = bytes();
    last.iter().for_each(Waker::wake_by_ref);
    while let Poll::Ready(Some(())) = Pin::new(&mut set).poll_next(&mut cx) {}
    let pools = pool_stats();
    assert!(full - bytes() > CHILDREN * 16);
    assert!(pools.headers_in_use <= 2, "{pools:?}");

    // A steady state: a million children come and go, under stale wakes, without a call.
    set.push(child());
    while let Poll::Pending = Pin::new(&mut set).poll_next(&mut cx) {
        wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }
    let steady = calls();
    for i in 0..CHURN {
        set.push(child());
        while let Poll::Pending = Pin::new(&mut set).poll_next(&mut cx) {
            wakers.borrow_mut().drain(..).for_each(Waker::wake);
        }
        last[i % last.len()].wake_by_ref();
    }
    assert_eq!(calls(), steady);

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
    assert_eq!(bytes(), before + pool_bytes);
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
    assert_eq!(bytes(), before + pool_bytes);
    given_up_children_do_not_pile_up();
}

/// A nursery that is full for ever, and spawners that wait for room and give up.
fn given_up_children_do_not_pile_up() {
    let n = Nursery::<()>::new().limit(1);
    let h = n.handle();
    drop(h.spawn(pending::<Result<(), ()>>()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut run = pin!(n.run(pending::<Result<(), ()>>()));
    assert!(run.as_mut().poll(&mut cx).is_pending());
    let before = bytes();
    for _ in 0..CHURN / 100 {
        let mut wait = h.spawn_wait(async { Ok(()) });
        assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
        drop(wait);
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let kept = bytes() - before;
        assert!(kept < 40 * 256, "{kept} bytes are kept");
    }
}
