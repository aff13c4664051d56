//! `FutureSet`: what is common to all sets, and its own.

#[path = "common.rs"]
mod common;

use futures_core::Stream;
use std::future::{Future, Ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use umbel_core::FutureSet;
use umbel_core::FutureSet as Set;
use umbel_tests::exec::Wakes;

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
