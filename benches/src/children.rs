//! The children that are polled, and the task that polls them.

use crate::meter::Reading;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The task: counts how often it is woken.
#[derive(Default)]
pub(crate) struct Outer(pub(crate) AtomicUsize);

impl Wake for Outer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

pub(crate) fn outer() -> (Arc<Outer>, Waker) {
    let outer = Arc::<Outer>::default();
    (outer.clone(), outer.into())
}

thread_local! {
    /// Polls of [`Parked`] and [`Yields`] by this thread.
    static POLLS: Cell<usize> = const { Cell::new(0) };
    /// The wakers of [`Parked`] children, by their numbers.
    static WAKERS: RefCell<Vec<Option<Waker>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn polls() -> usize {
    POLLS.get()
}

/// A child that is ready, and that nobody can see through.
pub(crate) async fn at_once(number: usize) -> usize {
    black_box(number)
}

/// Leaves its waker when it is polled first; ends at a later poll, or never.
pub(crate) struct Parked {
    number: usize,
    registered: bool,
    ends: bool,
}

impl Parked {
    pub(crate) fn new(number: usize, ends: bool) -> Self {
        Parked {
            number,
            registered: false,
            ends,
        }
    }
}

impl Future for Parked {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        POLLS.set(POLLS.get() + 1);
        if !self.registered {
            self.registered = true;
            WAKERS.with_borrow_mut(|wakers| wakers[self.number] = Some(cx.waker().clone()));
            return Poll::Pending;
        }
        match self.ends {
            true => Poll::Ready(self.number),
            false => Poll::Pending,
        }
    }
}

/// Calls `poll`, which must not end, until `number` children that are to park have parked.
pub(crate) fn park(number: usize, mut poll: impl FnMut() -> bool) {
    WAKERS.with_borrow_mut(|wakers| {
        wakers.clear();
        wakers.resize_with(number, || None);
    });
    let before = polls();
    while polls() - before < number {
        assert!(!poll());
    }
    // Some look again before they rest.
    (0..3).for_each(|_| assert!(!poll()));
}

/// Wakes a parked child.
pub(crate) fn wake(number: usize) {
    WAKERS.with_borrow(|wakers| wakers[number].as_ref().map(Waker::wake_by_ref));
}

/// The wakers of the parked children, for other threads.
pub(crate) fn take_wakers() -> Vec<Option<Waker>> {
    WAKERS.take()
}

/// Not the neighbour: each number of `0 .. of` in turn, if `of` is no multiple of this prime.
pub(crate) fn scattered(turn: usize, of: usize) -> usize {
    turn.wrapping_mul(7919) % of
}

/// Wakes itself so many times.
pub(crate) struct Yields(pub(crate) usize);

impl Future for Yields {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        POLLS.set(POLLS.get() + 1);
        if self.0 == 0 {
            return Poll::Ready(0);
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What is counted, not timed.
pub(crate) fn counted(value: f64) -> Reading {
    Reading {
        value,
        ..Reading::default()
    }
}
