//! `FutureSet`: what is common to all sets, and its own.

#[path = "common.rs"]
mod common;

use futures_core::Stream;
use std::future::{Future, Ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use umbel_core::FutureSet as Set;
use umbel_core::{FutureSet, pool_stats};
use umbel_tests::counting::live_bytes;
use umbel_tests::exec::Wakes;
use umbel_tests::scaled;

/// Children, where many are wanted.
const MOST: usize = 5000;

fn poll<F: Future>(set: &mut FutureSet<F>, waker: &Waker) -> Poll<Option<F::Output>> {
    Pin::new(set).poll_next(&mut Context::from_waker(waker))
}

#[test]
fn it_shows_how_many_it_has() {
    let set = FutureSet::from_iter([async {}]);
    assert_eq!(format!("{set:?}"), "FutureSet { len: 1, .. }");
}

#[test]
fn it_is_const_and_send_and_sync_as_its_futures_are() {
    const EMPTY: FutureSet<Ready<()>> = FutureSet::new();
    fn send_sync<T: Send + Sync + Unpin>(_: &T) {}
    send_sync(&EMPTY);
    send_sync(&FutureSet::<std::future::Pending<std::marker::PhantomPinned>>::default());
}

/// Futures of all shapes: none, odd alignment, larger than a chunk should be.
#[test]
fn futures_of_any_size() {
    #[repr(align(256))]
    struct Aligned(u8);
    impl Future for Aligned {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            assert_eq!((&raw const *self).addr() % 256, 0);
            Poll::Ready(self.0)
        }
    }
    struct Nothing;
    impl Future for Nothing {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
    struct Huge([u8; 40_000]);
    impl Future for Huge {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(self.0[39_999])
        }
    }
    let (_, waker) = Wakes::new();
    let mut set: FutureSet<_> = (0..100).map(Aligned).collect();
    let mut sum = 0_usize;
    while let Poll::Ready(Some(n)) = poll(&mut set, &waker) {
        sum += usize::from(n);
    }
    assert_eq!(sum, 99 * 100 / 2);
    let mut set: FutureSet<_> = (0..100).map(|_| Nothing).collect();
    for _ in 0..100 {
        assert_eq!(poll(&mut set, &waker), Poll::Ready(Some(())));
    }
    assert_eq!(poll(&mut set, &waker), Poll::Ready(None));
    let mut set: FutureSet<_> = (0..3).map(|n| Huge([n; 40_000])).collect();
    for _ in 0..3 {
        assert!(poll(&mut set, &waker).is_ready());
    }
}

/// What this thread's pools may have grown by, meanwhile: other tests use the same blocks.
const POOLS: isize = 8 * 1024;

/// Ends at once, and is a thousand bytes large.
fn large() -> impl Future<Output = u8> {
    let bytes = [1_u8; 1000];
    async move { std::hint::black_box(bytes)[999] }
}

/// A first chunk is small, others have about 32 KiB; one that is empty is kept, no other.
#[test]
fn chunks_are_as_large_as_promised_and_are_given_back() {
    let (_, waker) = Wakes::new();
    let before = live_bytes();
    let used = || live_bytes() - before;
    let mut set = FutureSet::new();
    set.push(large());
    assert!((1000..5000 + POOLS).contains(&used()), "{}", used());
    (0..4).for_each(|_| set.push(large()));
    assert!((30_000..40_000 + POOLS).contains(&used()), "{}", used());
    for _ in 0..2 {
        (0..400).for_each(|_| set.push(large()));
        assert!(used() > 400_000);
        while poll(&mut set, &waker).is_ready() && !set.is_empty() {}
        assert!((4000..40_000 + POOLS).contains(&used()), "{}", used());
    }
    drop(set);
    assert!(used() < POOLS, "{}", used());
}

/// What wakers point to is reused.
#[test]
fn blocks_are_as_many_as_were_in_use_at_one_time() {
    let made = || {
        let stats = pool_stats();
        (stats.headers, stats.hubs)
    };
    let (headers, hubs) = made();
    let sets = scaled(5000, 100);
    for _ in 0..sets {
        drop(FutureSet::from_iter([async {}]));
    }
    let now = made();
    // Other tests make some, too.
    let most = sets / 5 * 4;
    assert!(now.0 < headers + most && now.1 < hubs + most, "{now:?}");
}
