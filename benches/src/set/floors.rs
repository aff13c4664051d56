//! The floor: slots and wakers made in advance, and one locked queue of who was woken.
//!
//! It cannot grow, does not pin, wakes a child twice if it is told to, and keeps nobody from
//! starving.

use crate::set::contenders::{Kind, Set};
use futures_core::Stream;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) struct Queue;

impl Kind for Queue {
    type Set<F: Future + Unpin> = Slots<F>;
}

pub(crate) struct Slots<F> {
    children: Vec<Option<F>>,
    wakers: Vec<Waker>,
    empty: Vec<usize>,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    woken: VecDeque<usize>,
    outer: Option<Waker>,
}

struct Child {
    index: usize,
    shared: Arc<Mutex<Shared>>,
}

impl Wake for Child {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        let mut shared = lock(&self.shared);
        shared.woken.push_back(self.index);
        let outer = shared.outer.take();
        drop(shared);
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: Future + Unpin> Set<F> for Slots<F> {
    fn with_room(children: usize) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            woken: VecDeque::with_capacity(children),
            outer: None,
        }));
        let waker = |index| {
            let shared = shared.clone();
            Arc::new(Child { index, shared }).into()
        };
        Slots {
            children: (0..children).map(|_| None).collect(),
            wakers: (0..children).map(waker).collect(),
            empty: (0..children).rev().collect(),
            shared,
        }
    }

    fn add(&mut self, child: F) {
        let index = self
            .empty
            .pop()
            .expect("room for as many as were announced");
        self.children[index] = Some(child);
        lock(&self.shared).woken.push_back(index);
    }
}

impl<F: Future + Unpin> Stream for Slots<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let this = &mut *self;
        if this.empty.len() == this.children.len() {
            return Poll::Ready(None);
        }
        let mut turn = usize::MAX;
        loop {
            let mut shared = lock(&this.shared);
            turn = turn.min(shared.woken.len());
            if turn == 0 {
                match &mut shared.outer {
                    Some(outer) => outer.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            turn -= 1;
            let index = shared.woken.pop_front();
            drop(shared);
            let Some(index) = index else { continue };
            let slot = &mut this.children[index];
            let Some(child) = slot else { continue };
            let cx = &mut Context::from_waker(&this.wakers[index]);
            if let Poll::Ready(output) = Pin::new(child).poll(cx) {
                *slot = None;
                this.empty.push(index);
                return Poll::Ready(Some(output));
            }
        }
    }
}
