//! Children made from an iterator, as many at a time as there is room for.

use crate::nursery::join::Join;
use crate::nursery::join_error::JoinError;
use crate::set::growing::FutureSet;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_core::{FusedStream, Stream};

/// Children whose outputs have not been read.
pub(crate) trait Joins<T> {
    fn push(&mut self, join: Join<T>);
    fn len(&self) -> usize;
    /// Not called when empty.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>>;
}

/// In the order in which they were begun.
pub(crate) struct InOrder<T>(VecDeque<Join<T>>);

impl<T> InOrder<T> {
    pub(crate) const fn new() -> Self {
        InOrder(VecDeque::new())
    }
}

impl<T> Joins<T> for InOrder<T> {
    fn push(&mut self, join: Join<T>) {
        self.0.push_back(join);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let Some(oldest) = self.0.front_mut() else {
            return Poll::Pending;
        };
        let output = ready!(Pin::new(oldest).poll(cx));
        self.0.pop_front();
        Poll::Ready(output)
    }
}

/// In the order in which they end.
impl<T> Joins<T> for FutureSet<Join<T>> {
    fn push(&mut self, join: Join<T>) {
        FutureSet::push(self, join);
    }

    fn len(&self) -> usize {
        FutureSet::len(self)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        match Pin::new(self).poll_next(cx) {
            Poll::Ready(Some(output)) => Poll::Ready(output),
            _ => Poll::Pending,
        }
    }
}

/// The outputs of children made from items, at most `width` of them begun and not read: a stream.
pub(crate) struct Map<I, S, W, J, T> {
    /// `None`: all have been begun, or the nursery takes no more.
    items: Option<I>,
    /// Makes a child that waits for room.
    spawn: S,
    waiting: Option<W>,
    joins: J,
    width: usize,
    _output: PhantomData<fn() -> T>,
}

/// Nothing in it is pinned by its place.
impl<I, S, W, J, T> Unpin for Map<I, S, W, J, T> {}

impl<I, S, W, J, T> Map<I, S, W, J, T>
where
    I: Iterator,
    S: FnMut(I::Item) -> W,
    W: Future<Output = Result<Join<T>, JoinError>> + Unpin,
    J: Joins<T>,
{
    pub(crate) fn new(items: I, width: usize, joins: J, spawn: S) -> Self {
        Map {
            items: Some(items),
            spawn,
            waiting: None,
            joins,
            width,
            _output: PhantomData,
        }
    }

    /// The next child that waits for room.
    fn waiting(&mut self) -> Option<&mut W> {
        if self.waiting.is_none() {
            match self.items.as_mut()?.next() {
                Some(item) => self.waiting = Some((self.spawn)(item)),
                None => self.items = None,
            }
        }
        self.waiting.as_mut()
    }

    /// Begins what there is room for.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.joins.len() < self.width {
            let Some(Poll::Ready(begun)) = self.waiting().map(|wait| Pin::new(wait).poll(cx))
            else {
                return;
            };
            self.waiting = None;
            let join = begun.unwrap_or_else(|error| {
                // Cancelled or ended: the others would not get in either.
                self.items = None;
                Join::refused(error)
            });
            self.joins.push(join);
        }
    }
}

impl<I, S, W, J, T> Stream for Map<I, S, W, J, T>
where
    I: Iterator,
    S: FnMut(I::Item) -> W,
    W: Future<Output = Result<Join<T>, JoinError>> + Unpin,
    J: Joins<T>,
{
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.fill(cx);
        if self.joins.len() > 0 {
            return self.joins.poll(cx).map(Some);
        }
        match self.waiting {
            Some(_) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let begun = self.joins.len() + usize::from(self.waiting.is_some());
        // A cancelled nursery takes no more of the items.
        let items = self
            .items
            .as_ref()
            .map_or(Some(0), |items| items.size_hint().1);
        (begun, items.and_then(|items| items.checked_add(begun)))
    }
}

impl<I, S, W, J, T> FusedStream for Map<I, S, W, J, T>
where
    I: Iterator,
    S: FnMut(I::Item) -> W,
    W: Future<Output = Result<Join<T>, JoinError>> + Unpin,
    J: Joins<T>,
{
    fn is_terminated(&self) -> bool {
        self.items.is_none() && self.waiting.is_none() && self.joins.len() == 0
    }
}

/// All outputs of a [`Map`], or the first that is missing.
pub(crate) struct Collect<M, T> {
    /// `None`: one was missing. Gone with it is the wait for room of the one that would begin next.
    outputs: Option<M>,
    collected: Vec<T>,
}

impl<M, T> Unpin for Collect<M, T> {}

impl<M, T> Collect<M, T> {
    pub(crate) const fn new(outputs: M) -> Self {
        Collect {
            outputs: Some(outputs),
            collected: Vec::new(),
        }
    }
}

impl<M, T> Future for Collect<M, T>
where
    M: Stream<Item = Result<T, JoinError>> + Unpin,
{
    type Output = Result<Vec<T>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Collect { outputs, collected } = &mut *self;
        while let Some(some) = outputs {
            match ready!(Pin::new(some).poll_next(cx)) {
                Some(Ok(output)) => collected.push(output),
                Some(Err(error)) => {
                    *outputs = None;
                    return Poll::Ready(Err(error));
                }
                None => break,
            }
        }
        Poll::Ready(Ok(core::mem::take(collected)))
    }
}
