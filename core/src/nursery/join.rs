//! Awaiting a child: for its output, or before that for its place under the limit.

use crate::nursery::join_error::{JoinError, JoinErrorKind};
use crate::nursery::mode::{Local, Mode};
use crate::nursery::node::{JoinSide, NurserySide};
use crate::nursery::shared::Shared;
use crate::observe::{Id, Name};
use crate::sync::Arc;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

/// Awaits the output of a child.
///
/// `Err` says that there is none: the child failed (its error went to the nursery's outcome) or
/// panicked, was cancelled or forced, or was refused. Dropping a `Join` detaches: the nursery still waits for the
/// child, and its output is dropped. Until it is read or dropped it keeps the child's block of
/// memory, not its future.
///
/// **Cancel safety:** Strict; the output stays until it is read. **Panics:** if polled after it
/// was ready. Allocates only for an error. `Send` if `T` is.
#[must_use = "dropping a `Join` detaches the child; use `drop` or `let _ =` to say so"]
pub struct Join<T>(Inner<T>);

enum Inner<T> {
    Child(JoinSide<T>),
    Refused(JoinError),
    Taken,
}

impl<T> Join<T> {
    pub(crate) fn new(child: JoinSide<T>) -> Self {
        Join(Inner::Child(child))
    }

    pub(crate) fn refused(error: JoinError) -> Self {
        Join(Inner::Refused(error))
    }
}

impl<T> Join<T> {
    /// The child's id, for [`after`](crate::Child::after); the same one at every call. From now on it is
    /// the child's [id](crate::Ended::id) everywhere, and how the child ended is kept until its nursery has
    /// ended, in some words of memory. Unique in the process; children that were refused as they were
    /// spawned, in a nursery that was cancelled, share one.
    ///
    /// Lock-free. Allocates nothing. May be called in an interrupt.
    ///
    /// # Panics
    ///
    /// If the output has been read; and if the process has used up its ids, which are 2⁵⁴ on 64-bit
    /// targets, four millions on 32-bit ones.
    pub fn id(&self) -> Id {
        match &self.0 {
            Inner::Child(child) => child.id(),
            Inner::Refused(_) => Id::REFUSED,
            Inner::Taken => panic!("a child's id is to be asked before its output is read"),
        }
    }

    /// What there is to join now, without waiting: `None` if the child has not ended. For joins that
    /// are looked at when the nursery has ended.
    ///
    /// ```
    /// # use umbel_core::{JoinError, Nursery};
    /// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// # fn block_on<F: Future>(f: F) -> F::Output {
    /// #     let mut f = pin!(f);
    /// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
    /// # }
    /// let n = Nursery::<JoinError>::new();
    /// let h = n.handle();
    /// let joins = block_on(n.run(async { Ok([1, 2, 3].map(|n| h.spawn(async move { Ok(n * n) }))) }));
    /// let squares = joins.unwrap().map(|join| join.now_or_never().unwrap().unwrap());
    /// assert_eq!(squares, [1, 4, 9]);
    /// ```
    pub fn now_or_never(mut self) -> Option<Result<T, JoinError>> {
        match Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

impl<T> Join<T> {
    /// Waits for the child's end, and leaves its output where it is.
    pub(crate) fn poll_end(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &self.0 {
            Inner::Child(child) => child.poll_end(cx),
            _ => Poll::Ready(()),
        }
    }

    /// Why a child that has ended, and had this name, never said that it had started.
    pub(crate) fn into_unstarted(self, name: Option<Name>) -> JoinError {
        match self.0 {
            Inner::Child(child) => {
                let error = child.ended().unwrap_or_else(|| child.unstarted(name));
                // With an output that may panic, and here: the compiler would leak the result if that
                // happened after it was made (rust-lang/rust#47949).
                drop(child);
                error
            }
            Inner::Refused(error) => error,
            Inner::Taken => unreachable!("nobody has read it"),
        }
    }
}

impl<T> Unpin for Join<T> {}

impl<T> Future for Join<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Inner::Child(child) = &mut self.0 {
            let polled = child.poll_join(cx);
            if polled.is_ready() {
                self.0 = Inner::Taken;
            }
            return polled;
        }
        match core::mem::replace(&mut self.0, Inner::Taken) {
            Inner::Refused(error) => Poll::Ready(Err(error)),
            _ => panic!("`Join` polled after it was ready"),
        }
    }
}

impl<T> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").finish_non_exhaustive()
    }
}

/// Waits for room under the nursery's limit, then gives the child's [`Join`]; made by
/// [`Handle::spawn_wait`](crate::Handle::spawn_wait).
///
/// The first poll gives the child to the nursery: it starts at once if there is room, else it
/// queues with those of `spawn`, first come first served. `Err` if the nursery is cancelled or
/// ends before the child has its place; the child's future is dropped then. (If there is room, that is
/// at once; when the nursery ends before it has polled the child, the `Join` says so.)
///
/// **Cancel safety:** Weak. Dropped before the child has started, the child never starts and its
/// future is dropped at once; dropped after that, the child runs on, detached. **Panics:** if polled
/// after it was ready. `Send` if `T` is.
#[must_use = "a child that waits for room is not spawned unless polled"]
pub struct SpawnWait<'env, T, E> {
    shared: Arc<Shared>,
    stage: Stage<T>,
    // Holds a future that may borrow from `'env` and yields an `E`.
    _env: PhantomData<&'env ()>,
    _error: PhantomData<fn() -> E>,
}

enum Stage<T> {
    /// Not yet given to the nursery.
    Ours(NurserySide, JoinSide<T>),
    Refused(JoinError),
    Queued(JoinSide<T>),
    Done,
}

// SAFETY: `Handle::spawn_wait` demands that future, output and error are `Send` (that of `LocalHandle`
// gives a `LocalSpawnWait`); until the child is given to the nursery nobody else touches it (C5), and
// `JoinSide` is `Send` by itself.
unsafe impl<T: Send, E> Send for SpawnWait<'_, T, E> {}
// SAFETY: nothing is reachable through a shared reference.
unsafe impl<T: Send, E> Sync for SpawnWait<'_, T, E> {}

impl<T, E> Unpin for SpawnWait<'_, T, E> {}

impl<T, E> SpawnWait<'_, T, E> {
    pub(crate) fn new(shared: Arc<Shared>, child: NurserySide, join: JoinSide<T>) -> Self {
        SpawnWait {
            shared,
            stage: Stage::Ours(child, join),
            _env: PhantomData,
            _error: PhantomData,
        }
    }

    pub(crate) fn refused(shared: Arc<Shared>, error: JoinError) -> Self {
        SpawnWait {
            shared,
            stage: Stage::Refused(error),
            _env: PhantomData,
            _error: PhantomData,
        }
    }

    /// The first poll: gives the child to the nursery, and says what has become of it if that is decided
    /// already.
    fn give(
        &mut self,
        child: NurserySide,
        join: JoinSide<T>,
    ) -> Option<Result<Join<T>, JoinError>> {
        let shared = &self.shared;
        if let Some(reason) = shared.token.reason() {
            child.end(JoinErrorKind::Cancelled, Some(reason));
            return join.ended().map(Err);
        }
        let placed = child.wants_place() && shared.room.try_take();
        child.head().placed.set(placed);
        child.head().awaited.set(!placed);
        if !placed {
            // Before the push, which may wake and so panic: it can be given up from then on.
            self.stage = Stage::Queued(join);
            // What comes back is dropped: it ends as `Closed`, as the next look at it tells.
            drop(shared.push(child));
            return None;
        }
        match shared.push(child) {
            Ok(()) => Some(Ok(Join::new(join))),
            Err(refused) => {
                shared.room.give();
                drop(refused);
                join.ended().map(Err)
            }
        }
    }
}

impl<'env, T, E> Future for SpawnWait<'env, T, E> {
    type Output = Result<Join<T>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Looked at in its place: if the waker panics, the child can still be given up.
        let mut started = Ok(());
        if let Stage::Queued(join) = &self.stage {
            started = ready!(join.poll_start(cx));
        }
        match core::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Queued(join) => Poll::Ready(match started {
                Ok(()) => Ok(Join::new(join)),
                Err(error) => {
                    // Before the result is made: the compiler would leak that if a waker panicked when it
                    // is dropped after (rust-lang/rust#47949).
                    drop(join);
                    Err(error)
                }
            }),
            Stage::Refused(error) => Poll::Ready(Err(error)),
            Stage::Done => panic!("`SpawnWait` polled after it was ready"),
            Stage::Ours(child, join) => match self.give(child, join) {
                Some(decided) => Poll::Ready(decided),
                None => self.poll(cx),
            },
        }
    }
}

/// Waits for room under a local nursery's limit: a [`SpawnWait`] that stays on its thread; made by
/// [`LocalHandle::spawn_wait`](crate::LocalHandle::spawn_wait).
#[must_use = "a child that waits for room is not spawned unless polled"]
pub struct LocalSpawnWait<'env, T, E>(SpawnWait<'env, T, E>, PhantomData<<Local as Mode>::Marker>);

impl<'env, T, E> LocalSpawnWait<'env, T, E> {
    pub(crate) fn new(wait: SpawnWait<'env, T, E>) -> Self {
        LocalSpawnWait(wait, PhantomData)
    }
}

impl<T, E> Future for LocalSpawnWait<'_, T, E> {
    type Output = Result<Join<T>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T, E> fmt::Debug for LocalSpawnWait<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSpawnWait").finish_non_exhaustive()
    }
}

impl<T, E> Drop for SpawnWait<'_, T, E> {
    fn drop(&mut self) {
        if let Stage::Queued(join) = &self.stage {
            // A guard: the future's drop is foreign code and may panic.
            struct Count<'a>(&'a Shared, bool);
            impl Drop for Count<'_> {
                fn drop(&mut self) {
                    if self.1 {
                        self.0.ring_to_sweep();
                    } else {
                        self.0.swept(1);
                    }
                }
            }
            self.shared.count_abandoned();
            let mut count = Count(&self.shared, true);
            count.1 = join.abandon();
        }
    }
}

impl<T, E> fmt::Debug for SpawnWait<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnWait").finish_non_exhaustive()
    }
}
