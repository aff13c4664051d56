//! The floors: boxes, and who polls them. Nobody can spawn from within, nobody joins, nothing is
//! cancelled and no panic is caught.

use crate::nursery::contenders::{Child, Kind};
use futures_core::Stream;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

type Erased = Pin<Box<dyn Future<Output = usize>>>;

/// A vector of boxes that are all polled in every turn.
pub(crate) struct Boxes;

impl Kind for Boxes {
    fn new() -> Self {
        Boxes
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.join(children, make).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let erase = |i| -> Erased { Box::pin(make(i)) };
        let mut all: Vec<Erased> = (0..children).map(erase).collect();
        let mut sum = 0;
        poll_fn(|cx| {
            all.retain_mut(|child| match child.as_mut().poll(cx) {
                Poll::Ready(output) => {
                    sum += output;
                    false
                }
                Poll::Pending => true,
            });
            match all.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        sum
    }
}

/// Umbel's set of boxes: what the nursery adds to its engine is the rest.
pub(crate) struct SetOfBoxes;

impl Kind for SetOfBoxes {
    fn new() -> Self {
        SetOfBoxes
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.join(children, make).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let erase = |i| -> Erased { Box::pin(make(i)) };
        let set: umbel_core::FutureSet<Erased> = (0..children).map(erase).collect();
        let mut set = pin!(set);
        let mut sum = 0;
        poll_fn(|cx| {
            while let Some(output) = ready!(set.as_mut().poll_next(cx)) {
                sum += output;
            }
            Poll::Ready(())
        })
        .await;
        sum
    }
}
