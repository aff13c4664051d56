//! Umbel's set and its peers behind two verbs and `Stream`.
//!
//! Each peer is used as its documentation shows, with room reserved where it can be.

use futures_core::Stream;
use std::future::Future;

/// A set of futures of one type.
pub(crate) trait Set<F: Future>: Stream<Item = F::Output> + Unpin {
    /// For so many children; a hint but for sets that cannot grow.
    fn with_room(children: usize) -> Self;
    fn add(&mut self, child: F);
}

/// A set for any type of children.
pub(crate) trait Kind {
    type Set<F: Future + Unpin>: Set<F>;
}

pub(crate) struct Umbel;

impl Kind for Umbel {
    type Set<F: Future + Unpin> = umbel_core::FutureSet<F>;
}

impl<F: Future> Set<F> for umbel_core::FutureSet<F> {
    fn with_room(_: usize) -> Self {
        Self::new()
    }
    fn add(&mut self, child: F) {
        self.push(child);
    }
}

/// `futures-util`'s.
pub(crate) struct FuturesUnordered;

impl Kind for FuturesUnordered {
    type Set<F: Future + Unpin> = futures_util::stream::FuturesUnordered<F>;
}

impl<F: Future> Set<F> for futures_util::stream::FuturesUnordered<F> {
    fn with_room(_: usize) -> Self {
        Self::new()
    }
    fn add(&mut self, child: F) {
        self.push(child);
    }
}

/// `futures-buffered`'s, which grows.
pub(crate) struct Buffered;

impl Kind for Buffered {
    type Set<F: Future + Unpin> = futures_buffered::FuturesUnordered<F>;
}

impl<F: Future> Set<F> for futures_buffered::FuturesUnordered<F> {
    fn with_room(_: usize) -> Self {
        // With a capacity it would be the bounded one until that is used up.
        Self::new()
    }
    fn add(&mut self, child: F) {
        self.push(child);
    }
}

/// `futures-buffered`'s that cannot grow.
pub(crate) struct Bounded;

impl Kind for Bounded {
    type Set<F: Future + Unpin> = futures_buffered::FuturesUnorderedBounded<F>;
}

impl<F: Future> Set<F> for futures_buffered::FuturesUnorderedBounded<F> {
    fn with_room(children: usize) -> Self {
        Self::new(children)
    }
    fn add(&mut self, child: F) {
        self.push(child);
    }
}

pub(crate) struct Unicycle;

impl Kind for Unicycle {
    type Set<F: Future + Unpin> = unicycle::FuturesUnordered<F>;
}

impl<F: Future> Set<F> for unicycle::FuturesUnordered<F> {
    fn with_room(_: usize) -> Self {
        Self::new()
    }
    fn add(&mut self, child: F) {
        self.push(child);
    }
}

/// `futures-concurrency`'s `FutureGroup`.
pub(crate) struct Group;

impl Kind for Group {
    type Set<F: Future + Unpin> = futures_concurrency::future::FutureGroup<F>;
}

impl<F: Future> Set<F> for futures_concurrency::future::FutureGroup<F> {
    fn with_room(children: usize) -> Self {
        Self::with_capacity(children)
    }
    fn add(&mut self, child: F) {
        self.insert(child);
    }
}
