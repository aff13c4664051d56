//! Panics without `std`; with it, and for all else, see the tests from outside.

use crate::{Cause, JoinErrorKind, LocalNursery, Nursery, Spawn, SpawnError};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::future::{Future, pending};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::panic::catch_unwind;

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

/// An executor that keeps what it was given last, for the test to poll and to drop.
#[derive(Clone, Default)]
struct Keeps(Rc<RefCell<Option<Task>>>);

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl<F: Future<Output = ()> + 'static> Spawn<F> for Keeps {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        *self.0.borrow_mut() = Some(Box::pin(future));
        Ok(())
    }
}

/// Whether the executor polls the task once more, and goes on after the panic, or drops it at once: the nursery
/// hears of it.
#[test]
fn n11_without_std_a_task_whose_future_panics_when_it_is_dropped_tells_its_end() {
    struct Hostile;
    impl Drop for Hostile {
        fn drop(&mut self) {
            panic!("drop")
        }
    }
    for polled in [true, false] {
        let executor = Keeps::default();
        let n = LocalNursery::<()>::new().on(executor.clone());
        let h = n.handle();
        let mut run = Box::pin(n.run(async {
            let hostile = Hostile;
            drop(h.spawn::<(), _>(async move {
                let _hostile = hostile;
                pending().await
            }));
            Ok(())
        }));
        assert!(once(&mut run).is_pending());
        let mut task = executor.0.take().unwrap();
        assert!(once(&mut task).is_pending());
        h.cancel();
        assert!(once(&mut run).is_pending());
        if polled {
            assert!(panicked(|| assert!(once(&mut task).is_pending())));
            assert!(once(&mut run).is_pending());
        }
        assert_eq!(panicked(|| drop(task)), !polled);
        let Poll::Ready(Err(failure)) = once(&mut run) else {
            panic!("the nursery waits for ever")
        };
        assert!(matches!(failure.cause, Cause::Cancelled(_)));
    }
}
