//! Children whose wakers an interrupt uses, and what a nursery runs of them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_tests::exec::Wakes;

/// Counts its polls and leaves its waker; ends when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Child(Rc<Known>);

#[derive(Default)]
struct Known {
    polls: Cell<usize>,
    /// At which of all polls on this thread.
    polled_at: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    ends: Cell<bool>,
}

thread_local! {
    static CLOCK: Cell<usize> = const { Cell::new(0) };
}

impl Child {
    /// Greater for who was polled later.
    pub(crate) fn polled_at(&self) -> usize {
        self.0.polled_at.get()
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.polls.get()
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.0.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn end(&self) {
        self.0.ends.set(true);
        self.wake();
    }
}

impl Future for Child {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.polls.set(self.polls() + 1);
        CLOCK.set(CLOCK.get() + 1);
        self.0.polled_at.set(CLOCK.get());
        let parked = self.0.waker.borrow().is_some();
        if !parked {
            // The waker is the same for the whole of its life.
            *self.0.waker.borrow_mut() = Some(cx.waker().clone());
        }
        if self.0.ends.get() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Two children and a body, which end one after the other, and the task that runs them.
pub(crate) struct Program {
    pub(crate) children: [Child; 3],
    task: (Arc<Wakes>, Waker),
}

impl Program {
    pub(crate) fn new() -> Program {
        Program {
            children: Default::default(),
            task: Wakes::new(),
        }
    }

    /// Polls `run` at first, and then when it was woken, as an executor does. Whenever nobody has woken
    /// it, the next of the three is told to end. `None`: it has been polled `turns` times, or all were
    /// told, and it stalls.
    pub(crate) fn run<F: Future>(&self, run: F, turns: usize) -> Option<F::Output> {
        let mut run = Box::pin(run);
        let (count, waker) = &self.task;
        let mut to_end = self.children.iter();
        let mut seen = usize::MAX;
        for _ in 0..turns {
            while count.count() == seen {
                to_end.next()?.end();
            }
            seen = count.count();
            if let Poll::Ready(output) = run.as_mut().poll(&mut Context::from_waker(waker)) {
                return Some(output);
            }
        }
        None
    }

    /// Nobody keeps a waker.
    pub(crate) fn end(self) {
        let (count, waker) = self.task;
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
