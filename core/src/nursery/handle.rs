//! Giving children to a nursery, from anywhere.

use crate::nursery::failure::{JoinError, JoinErrorKind};
use crate::nursery::join::{Join, SpawnWait, cancelled};
use crate::nursery::node::{self, Aside, Meta};
use crate::nursery::report::{Report, Stats};
use crate::nursery::shared::Shared;
use crate::observe::Name;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::token::CancellationToken;
use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::time::Duration;

/// Spawns children into a [`Nursery`](crate::Nursery), and steers it.
///
/// Clones share one nursery. A handle may be used in the body, in children, in their drops, in other
/// tasks and on other threads; it does not keep the nursery open. `Send + Sync`.
pub struct Handle<'env, E> {
    shared: Arc<Shared>,
    // Invariant in `'env`: children that borrow for a shorter time must not get in.
    _env: PhantomData<fn(&'env ()) -> &'env ()>,
    _error: PhantomData<fn(E)>,
}

impl<E> Clone for Handle<'_, E> {
    fn clone(&self) -> Self {
        Handle::new(Arc::clone(&self.shared))
    }
}

impl<E> Handle<'_, E> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Handle {
            shared,
            _env: PhantomData,
            _error: PhantomData,
        }
    }
}

/// Steering and looking.
impl<E> Handle<'_, E> {
    /// The nursery's own token: cancelled with the nursery, whatever the cause.
    pub fn token(&self) -> &CancellationToken {
        &self.shared.token
    }

    /// Cancels the nursery: [`cancel_with`](Self::cancel_with) the reason `Explicit`.
    pub fn cancel(&self) -> bool {
        self.cancel_with(Reason::explicit())
    }

    /// Cancels the nursery: plain children are dropped at their await points, graceful ones are
    /// told. True if this was the first cancellation. Returns at once; lock-free.
    pub fn cancel_with(&self, reason: Reason) -> bool {
        self.shared.token.cancel_with(reason)
    }

    /// Cancels the nursery, and gives graceful children no more time: they are dropped at the
    /// nursery's next poll and count as forced.
    pub fn force(&self) {
        self.shared.force(Reason::explicit());
    }

    /// How many children came to which end so far.
    pub fn stats(&self) -> Stats {
        self.shared.counts.stats()
    }

    /// The report, once the nursery has ended; `None` before, and if it was dropped. Allocates.
    pub fn report(&self) -> Option<Report> {
        self.shared.report()
    }
}

/// Spawning. A child is a future that gives `Result<T, E>`: its `T` goes to its [`Join`], its `E` to
/// the nursery's outcome.
///
/// One allocation a child. Over the [limit](crate::Nursery::limit) children queue in the order in
/// which they came; the queue's memory is the caller's to bound
/// ([`spawn_wait`](Self::spawn_wait) does).
impl<'env, E: Send + 'env> Handle<'env, E> {
    /// Spawns a plain child: when the nursery is cancelled, it is dropped at its await point.
    ///
    /// Never fails: in a nursery that is cancelled or has ended, the future is dropped here and the
    /// `Join` says so.
    pub fn spawn<T, F>(&self, future: F) -> Join<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.submit(future, ())
    }

    /// Spawns a graceful child: when the nursery is cancelled, it is told by its context's token and
    /// polled on until it ends, or [`grace`](crate::Nursery::grace) is over, or
    /// [`force`](Self::force) is called. In the latter cases it is dropped and counts as forced.
    ///
    /// `make` is called here, at once.
    pub fn spawn_graceful<T, F>(&self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.child().spawn_graceful(make)
    }

    /// Waits for room under the limit, then spawns a plain child.
    ///
    /// It is for the nursery's body and for tasks outside: children of the same nursery that all
    /// wait for room while they fill it would wait for one another.
    pub fn spawn_wait<T, F>(&self, future: F) -> SpawnWait<'env, T, E>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.submit_wait(future, ())
    }

    /// Waits for room under the limit, then spawns a graceful child. `make` is called here, at once.
    pub fn spawn_wait_graceful<T, F>(
        &self,
        make: impl FnOnce(ChildContext) -> F,
    ) -> SpawnWait<'env, T, E>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        self.child().spawn_wait_graceful(make)
    }

    /// Options for one child, ending in one of the four spawns:
    /// `h.child().name("audit").spawn(audit(&db))`.
    pub fn child(&self) -> Child<'_, 'env, E> {
        Child {
            handle: self,
            name: None,
        }
    }

    fn submit<T, F, M>(&self, future: F, aside: M) -> Join<T>
    where
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        if let Some(reason) = self.shared.token.reason() {
            return Join::refused(cancelled(reason));
        }
        let (child, join) = node::new(future, aside);
        let placed = self.shared.room.try_take();
        child.head().placed.set(placed);
        if self.shared.push(child).is_err() {
            // The child came back and was dropped: it has ended as `Closed`.
            if placed {
                self.shared.room.give();
            }
            return Join::refused(JoinError::new(JoinErrorKind::Closed, None));
        }
        Join::new(join)
    }

    fn submit_wait<T, F, M>(&self, future: F, aside: M) -> SpawnWait<'env, T, E>
    where
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        let shared = Arc::clone(&self.shared);
        if let Some(reason) = shared.token.reason() {
            return SpawnWait::refused(shared, cancelled(reason));
        }
        let (child, join) = node::new(future, aside);
        SpawnWait::new(shared, child, join)
    }
}

impl<E> fmt::Debug for Handle<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("name", &self.shared.name)
            .field("token", &self.shared.token)
            .field("stats", &self.stats())
            .finish()
    }
}

/// Options for one child; made by [`Handle::child`].
#[must_use = "no child is spawned until one of the spawns is called"]
pub struct Child<'h, 'env, E> {
    handle: &'h Handle<'env, E>,
    name: Option<Name>,
}

impl<'env, E: Send + 'env> Child<'_, 'env, E> {
    /// Names the child, for reports and errors.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// As [`Handle::spawn`].
    pub fn spawn<T, F>(self, future: F) -> Join<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        match self.name {
            None => self.handle.submit(future, ()),
            name => self.handle.submit(future, Meta::new(name, false)),
        }
    }

    /// As [`Handle::spawn_graceful`].
    pub fn spawn_graceful<T, F>(self, make: impl FnOnce(ChildContext) -> F) -> Join<T>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let future = make(ChildContext::new(&self.handle.shared));
        self.handle.submit(future, Meta::new(self.name, true))
    }

    /// As [`Handle::spawn_wait`].
    pub fn spawn_wait<T, F>(self, future: F) -> SpawnWait<'env, T, E>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        match self.name {
            None => self.handle.submit_wait(future, ()),
            name => self.handle.submit_wait(future, Meta::new(name, false)),
        }
    }

    /// As [`Handle::spawn_wait_graceful`].
    pub fn spawn_wait_graceful<T, F>(
        self,
        make: impl FnOnce(ChildContext) -> F,
    ) -> SpawnWait<'env, T, E>
    where
        T: Send + 'env,
        F: Future<Output = Result<T, E>> + Send + 'env,
    {
        let future = make(ChildContext::new(&self.handle.shared));
        self.handle.submit_wait(future, Meta::new(self.name, true))
    }
}

impl<E> fmt::Debug for Child<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Meta {
    fn new(name: Option<Name>, graceful: bool) -> Self {
        Meta {
            name,
            graceful,
            noticed: Cell::new(None),
        }
    }
}

/// What a graceful child is given: how it is told of a cancellation, and how long it has then.
#[derive(Debug, Clone)]
pub struct ChildContext {
    token: CancellationToken,
    grace: Option<Duration>,
}

impl ChildContext {
    fn new(shared: &Shared) -> Self {
        ChildContext {
            token: shared.token.clone(),
            grace: shared.grace,
        }
    }

    /// Cancelled when the child is to come to its end.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// How long the child may take after the cancellation; `None`: as long as it needs.
    pub const fn grace(&self) -> Option<Duration> {
        self.grace
    }
}
