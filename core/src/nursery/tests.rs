//! Panics without `std`; with it, and for all else, see the tests from outside.

use crate::{JoinErrorKind, Nursery};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::{Future, pending};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn panicked(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

#[test]
fn n8_without_std_a_panic_passes_through_and_the_rest_is_dropped() {
    let alive = Arc::new(());
    let n = Nursery::<'_, ()>::new();
    let h = n.handle();
    let held = Arc::clone(&alive);
    drop(h.spawn_graceful(|_| async move {
        let _held = held;
        pending::<Result<(), ()>>().await
    }));
    let held = Arc::clone(&alive);
    let mut bad = h.spawn::<(), _>(async move {
        let _held = held;
        panic!("child")
    });
    let held = Arc::clone(&alive);
    let mut run = Box::pin(n.run(async move {
        let _held = held;
        pending::<Result<(), ()>>().await
    }));
    assert!(panicked(|| drop(once(&mut run))));
    assert!(!h.token().is_cancelled());
    let Poll::Ready(Err(error)) = once(&mut bad) else {
        panic!("it has not ended")
    };
    assert_eq!(error.kind(), JoinErrorKind::Closed);
    assert_eq!(Arc::strong_count(&alive), 3);
    assert!(panicked(|| drop(once(&mut run))), "polled after a panic");
    drop(run);
    assert_eq!(Arc::strong_count(&alive), 1);
}
