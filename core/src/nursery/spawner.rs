//! Giving children to a nursery: what the handles of both sorts do.
//!
//! # Foreign code
//!
//! A child that is refused is dropped here, in the caller's hands, and before the result is made: the
//! compiler leaks a result if a parameter panics when it is dropped after that (rust-lang/rust#47949).
//! One whose push wakes a waker that panics is in, and runs detached.

use crate::nursery::cleanup::{DeferError, Release};
use crate::nursery::cutting::cancel_where;
use crate::nursery::ended::{Number, Origin, Site, Span};
use crate::nursery::join::{Join, SpawnWait};
use crate::nursery::join_error::{JoinError, JoinErrorKind};
use crate::nursery::node::{self, JoinSide, NurserySide, Outcome, Remote};
use crate::nursery::options::{Aside, Meta, Options};
use crate::nursery::request::ask;
use crate::nursery::shared::Shared;
use crate::reason::Reason;
use crate::spawn::TrySpawnError;
use crate::sync::Arc;
use crate::token::CancellationToken;
use core::future::Future;
use core::marker::PhantomData;
use core::time::Duration;

/// Gives children to one nursery. Whether they may cross threads is for the handle to demand.
pub(crate) struct Spawner<'env, E> {
    pub(crate) shared: Arc<Shared>,
    // Invariant in `'env`: children that borrow for a shorter time must not get in.
    _env: PhantomData<fn(&'env ()) -> &'env ()>,
    _error: PhantomData<fn(E)>,
}

impl<E> Clone for Spawner<'_, E> {
    fn clone(&self) -> Self {
        Spawner::new(Arc::clone(&self.shared))
    }
}

impl<'env, E> Spawner<'env, E> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Spawner {
            shared,
            _env: PhantomData,
            _error: PhantomData,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.shared.room.limit()
    }

    /// The options of a graceful child, and what it is given.
    pub(crate) fn graceful(&self, options: Options) -> (Options, ChildContext) {
        let options = options.graceful(&self.shared.token);
        let context = self.context(&options);
        (options, context)
    }

    fn context(&self, options: &Options) -> ChildContext {
        ChildContext {
            token: options.token(&self.shared.token),
            grace: self.shared.grace,
        }
    }

    /// Asks the nursery to cancel some of its children.
    #[track_caller]
    pub(crate) fn cancel_where(&self, reason: Reason, pick: impl Fn(&Meta) -> bool) {
        drop(ask(&self.shared, Options::here(), move |shared| {
            cancel_where(shared, &reason, pick);
        }));
    }

    #[inline]
    pub(crate) fn spawn<T, F>(&self, future: F, options: Options) -> Join<T>
    where
        F: Future<Output: Outcome<T, E>>,
    {
        let site = options.site;
        match options.aside(self.shared.watched) {
            None => self.submit(site, future, ()),
            Some(meta) => self.submit(site, future, meta),
        }
    }

    #[inline]
    pub(crate) fn try_spawn<T, F>(
        &self,
        future: F,
        options: Options,
    ) -> Result<Join<T>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let site = options.site;
        match options.aside(self.shared.watched) {
            None => self.try_submit(site, future, ()),
            Some(meta) => self.try_submit(site, future, meta),
        }
    }

    #[inline]
    pub(crate) fn spawn_wait<T, F>(&self, future: F, options: Options) -> SpawnWait<'env, T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let site = options.site;
        match options.aside(self.shared.watched) {
            None => self.submit_wait(site, future, ()),
            Some(meta) => self.submit_wait(site, future, meta),
        }
    }

    /// Spawns a nested nursery.
    pub(crate) fn spawn_scope<T, F>(&self, future: F, options: Options) -> Join<T>
    where
        F: Future<Output: Outcome<T, E>> + Remote,
    {
        let site = options.site;
        self.submit_made(site, future, options.meta(), node::new_remote)
    }

    #[inline]
    fn submit<T, F, M>(&self, site: Site, future: F, aside: M) -> Join<T>
    where
        F: Future<Output: Outcome<T, E>>,
        M: Aside,
    {
        self.submit_made(site, future, aside, node::new)
    }

    #[inline]
    fn submit_made<T, F, M: Aside>(
        &self,
        site: Site,
        future: F,
        aside: M,
        make: impl FnOnce(Site, F, M) -> (NurserySide, JoinSide<T>),
    ) -> Join<T> {
        if let Some(reason) = self.shared.token.reason() {
            drop(future);
            return Join::refused(cancelled(reason, site, aside));
        }
        let wants_place = aside.wants_place();
        let (child, join) = make(site, future, aside);
        let placed = wants_place && self.shared.room.try_take();
        child.head().placed.set(placed);
        // What comes back is dropped: it ends as `Closed`, which its join tells.
        if self.shared.push(child).is_err() && placed {
            self.shared.room.give();
        }
        Join::new(join)
    }

    fn try_submit<T, F, M>(
        &self,
        site: Site,
        future: F,
        aside: M,
    ) -> Result<Join<T>, TrySpawnError<F>>
    where
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        if self.shared.token.is_cancelled() || !self.shared.takes_children() {
            return Err(TrySpawnError::Closed(future));
        }
        let placed = aside.wants_place();
        if placed && !self.shared.room.try_take() {
            return Err(TrySpawnError::Full(future));
        }
        let offered = node::offer(site, future, aside, |child| {
            child.head().placed.set(placed);
            self.shared.push(child)
        });
        offered.map(Join::new).map_err(|future| {
            if placed {
                self.shared.room.give();
            }
            TrySpawnError::Closed(future)
        })
    }

    fn submit_wait<T, F, M>(&self, site: Site, future: F, aside: M) -> SpawnWait<'env, T, E>
    where
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        let shared = Arc::clone(&self.shared);
        if let Some(reason) = shared.token.reason() {
            drop(future);
            return SpawnWait::refused(shared, cancelled(reason, site, aside));
        }
        let (child, join) = node::new(site, future, aside);
        SpawnWait::new(shared, child, join)
    }

    /// Runs `future` as a child that no cancellation touches, and that has `budget`.
    #[track_caller]
    pub(crate) fn shield<T, F>(&self, budget: Duration, future: F, options: Options) -> Join<T>
    where
        F: Future<Output: Outcome<T, E>>,
    {
        assert!(
            self.shared.is_timed() || budget == Duration::MAX,
            "a shield's budget needs the nursery's `.timer(..)`, set before"
        );
        let site = options.site;
        let (child, join) = node::new(site, future, options.shielded(budget).meta());
        // What comes back is dropped: it ends as `Closed`, which its join tells.
        drop(self.shared.push(child));
        Join::new(join)
    }

    /// Has `future` polled to its end when all children have ended.
    pub(crate) fn defer<F>(&self, future: F, options: Options) -> Result<(), DeferError<F>>
    where
        F: Future<Output: Outcome<(), E>>,
    {
        if self.shared.is_shut() {
            return Err(DeferError::new(future));
        }
        let site = options.site;
        let meta = options.cleanup().meta();
        let offered = node::offer(site, future, meta, |cleanup| self.shared.push(cleanup));
        // Nobody joins it.
        offered.map(drop).map_err(DeferError::new)
    }

    /// Has `value` dropped when all children have ended.
    pub(crate) fn release<R>(&self, value: R, options: Options) -> Result<(), DeferError<R>> {
        let deferred = self.defer(Release::new(value), options);
        deferred.map_err(|refused| match refused.into_inner().into_inner() {
            Some(value) => DeferError::new(value),
            None => unreachable!("it was never polled"),
        })
    }
}

/// The error of a child that a cancelled nursery refused.
pub(crate) fn cancelled(reason: Reason, site: Site, aside: impl Aside) -> JoinError {
    let number = Number::NONE;
    let (name, origin) = (aside.into_name(), Origin { site, number });
    JoinError::new(
        JoinErrorKind::Cancelled,
        Some(reason),
        name,
        origin,
        Span::default(),
    )
}

/// What a graceful child is given: how it is told of a cancellation, and how long it has then.
#[derive(Debug, Clone)]
pub struct ChildContext {
    token: CancellationToken,
    grace: Option<Duration>,
}

impl ChildContext {
    /// Cancelled when the child is to come to its end: with its nursery, or alone, if it is one that can
    /// be. It is for the child's own use, too: who cancels it cancels what is below it, and neither the child
    /// nor anybody else.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// How long the child may take after the cancellation; `None`: as long as it needs.
    pub const fn grace(&self) -> Option<Duration> {
        self.grace
    }
}
