//! The set that grows: children in allocated chunks, wakers of the process's pools.
//!
//! Who was woken is the business of [`ready`](crate::wake::ready); where children live, of
//! [`chunk`](super::chunk). No word here is shared between threads.

use super::chunk::{Chunks, Place};
use crate::wake::batch::each;
use crate::wake::owner::Owner;
use crate::wake::ready::Desk;
use core::fmt;
use core::future::Future;
use core::iter::once;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::{FusedStream, Stream};

/// Futures of one type, polled together; a [`Stream`] of their outputs, in the order in which they
/// finish.
///
/// Only a child that was pushed or woken is polled, and each at most once per poll of the set.
/// However many children are woken, the task that polls the set is woken once, until it polls
/// again. When a poll has no child left to poll it returns `Pending` and does not wake itself.
///
/// The set is polled by whoever owns it, so its futures may borrow, and no runtime is needed. After
/// a [`push`](Self::push) the set must be polled, as after creation: a push alone wakes nobody. An
/// empty set yields `None`; it may be filled and polled again.
///
/// - **Fairness.** Children woken during a poll wait for the next one. Each poll of the stream
///   takes in what was woken before it, also while it is drained, so neither a child that is always
///   ready nor one that is replaced as soon as it finishes starves the others.
/// - **Memory.** Children are stored in place, in chunks of up to 64 (32 on 32-bit targets) and
///   about 32 KiB, and never move. When one finishes it is dropped before its output is returned,
///   whoever still holds its waker. One empty chunk is kept, and further ones are freed.
/// - **Wakers.** Cloning, dropping and waking a child's waker is lock-free and never allocates or
///   frees, so it may be done in an interrupt, if the waker of the task that polls the set allows
///   that. (A set that ends while a wake is at work on that task's waker leaves it to that wake, which
///   drops it.) A waker that is kept after its child has ended may cause one needless poll of another
///   child, perhaps in another set. What wakers point to is never freed but reused: see
///   [`pool_stats`](crate::pool_stats).
/// - **Suspended wakers.** A thread that is stopped, or interrupted, in the few instructions of a wake
///   between noting the child and queueing it holds up the wakes of up to 63 children beside it until it
///   goes on; none is lost. While one wake of the task's own waker is at work, the task may be polled with
///   other wakers; while two are (two threads stopped in it, or one polling within the other), a poll that
///   brings a third waker wakes its task itself, until one of the two has returned.
/// - **Panics.** A child that panics while it is polled is dropped, the panic goes to who polls,
///   and the set goes on with the rest when it is polled next. If its Drop panics as
///   well, the first panic goes on; without the feature `std`, that aborts. If a child's Drop panics
///   when it has finished, its output is dropped (and if that panics too, it aborts); while the set is
///   dropped or cleared, the others are dropped all the same.
///
/// **Cancel safety:** Strict. Dropping the future of a `next()` on the set loses nothing; dropping
/// the set drops its children where they stand.
///
/// `Send` if `F` is, `Sync` if `F` is, always `Unpin`.
///
/// ```
/// use core::future::{Ready, ready};
/// use core::pin::Pin;
/// use core::task::{Context, Poll, Waker};
/// use futures_core::Stream;
/// use umbel_core::FutureSet;
///
/// let mut set: FutureSet<Ready<u32>> = [ready(1), ready(2)].into_iter().collect();
/// set.push(ready(3));
///
/// let mut cx = Context::from_waker(Waker::noop()); // an executor would bring a real one
/// let mut sum = 0;
/// while let Poll::Ready(Some(n)) = Pin::new(&mut set).poll_next(&mut cx) {
///     sum += n;
/// }
/// assert_eq!(sum, 6);
/// assert!(set.is_empty());
/// ```
///
/// The interface is that of `FuturesUnordered` of the futures crate, where it makes sense. The
/// bitset of ready children per chunk is found in unicycle, too; precise waking through blocks that
/// are never freed is ours.
pub struct FutureSet<F> {
    chunks: Chunks<F>,
    /// Made with the first chunk, or for the nursery before that.
    owner: Option<Owner>,
    /// `None` was returned, and nothing pushed or cleared since.
    ended: bool,
}

/// What [`FutureSet::begin`] found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    /// Bits of the desk that rang.
    pub(crate) desk: usize,
    /// The waker is registered. If not, the caller must wake it before it returns `Pending`.
    pub(crate) registered: bool,
}

impl<F> FutureSet<F> {
    /// An empty set. Allocates nothing.
    pub const fn new() -> Self {
        FutureSet {
            chunks: Chunks::new(),
            owner: None,
            ended: false,
        }
    }

    /// Adds a future, to be polled by the next poll of the set.
    ///
    /// Wakes nobody. Allocates when no slot is free. Not for interrupts.
    #[inline]
    pub fn push(&mut self, future: F) {
        self.ended = false;
        self.chunks.push(&mut self.owner, future);
    }

    /// How many futures are in the set.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether no future is in the set.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all futures, and frees their memory.
    ///
    /// # Panics
    /// If a future's Drop panics: after the others have been dropped. With the feature `std`, any
    /// number may panic, and the first panic is resumed, unless the thread is panicking already; without,
    /// a second one aborts.
    pub fn clear(&mut self) {
        self.ended = false;
        self.chunks.clear(&mut self.owner);
    }

    /// A header with pseudo-children of the owner's own: the nursery's body, inbox bell, token wait
    /// and timer are bits of it. Made on first call; immortal, so a ring after the set's end is
    /// harmless.
    pub(crate) fn desk(&mut self) -> Desk {
        self.owner.get_or_insert_with(Owner::new).desk()
    }

    /// Start of an outer poll: registers `cx`'s waker, and takes what was woken into the local
    /// queue.
    ///
    /// Foreign wakers are cloned and dropped, and may panic; nothing is lost then, and the next
    /// call tells what this one could not.
    #[inline(always)]
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) -> Begun {
        let FutureSet { chunks, owner, .. } = self;
        let owner = owner.get_or_insert_with(Owner::new);
        let registered = owner.begin(cx, |chunk, bits| {
            // SAFETY: the owner names the chunks of headers in service, which are all of `chunks`.
            unsafe { chunks.woken(chunk, bits) }
        });
        Begun {
            desk: owner.take_rung(),
            registered,
        }
    }

    /// True if no child waits for its poll, nothing was woken since the last `begin`, and the
    /// registered waker is `cx`'s: a poll may end at once.
    #[inline]
    pub(crate) fn is_idle(&self, cx: &Context<'_>) -> bool {
        self.chunks.is_queue_empty()
            && self
                .owner
                .as_ref()
                .is_some_and(|owner| owner.is_idle(cx.waker()))
    }

    /// Drops every child for which `keep` is false, youngest chunk first.
    ///
    /// A panic of a child's Drop, or of `keep` (its child stays), is resumed after the walk is
    /// done, as in [`clear`](Self::clear).
    pub(crate) fn retain(&mut self, keep: impl FnMut(Pin<&mut F>) -> bool) {
        self.chunks.retain(&mut self.owner, keep);
    }
}

/// The side door, for the models outside this crate.
#[cfg(umbel_loom)]
#[doc(hidden)]
#[allow(missing_docs, reason = "only in models")]
impl<F> FutureSet<F> {
    pub fn model_desk(&mut self) -> impl Fn(usize) + Copy + Send + Sync + 'static + use<F> {
        let desk = self.desk();
        move |bit| desk.ring(bit)
    }

    pub fn model_begin(&mut self, cx: &mut Context<'_>) -> (usize, bool) {
        let Begun { desk, registered } = self.begin(cx);
        (desk, registered)
    }

    pub fn model_is_idle(&self, cx: &Context<'_>) -> bool {
        self.is_idle(cx)
    }
}

impl<F: Future> FutureSet<F> {
    /// Polls the children in the local queue (those taken by `begin` and those pushed since) until
    /// one finishes: its output. `None`: the queue is empty. Never takes newly woken ones.
    ///
    /// A panic of a child comes out of here, after the child has been dropped; the queue keeps the
    /// rest.
    #[inline(always)]
    pub(crate) fn poll_local(&mut self) -> Option<F::Output> {
        struct Panicked<'a, F>(&'a mut FutureSet<F>, Place);
        impl<F> Drop for Panicked<'_, F> {
            // Inlined, so that the guard is nowhere in memory while all goes well.
            #[inline(always)]
            fn drop(&mut self) {
                // SAFETY: `next` gave the place, and nothing was removed since.
                unsafe { self.0.remove_panicked(self.1) };
            }
        }
        while let Some(place) = self.chunks.next(&mut self.owner) {
            let panicked = Panicked(self, place);
            let set = &mut *panicked.0;
            // SAFETY: as above.
            let waker = unsafe { set.chunks.waker(place) };
            // SAFETY: as above.
            let child = unsafe { set.chunks.child(place) };
            let polled = child.poll(&mut Context::from_waker(&waker));
            core::mem::forget(panicked);
            if let Poll::Ready(output) = polled {
                // SAFETY: as above.
                unsafe { self.chunks.remove_polled(&mut self.owner, place) };
                return Some(output);
            }
        }
        None
    }
}

impl<F> FutureSet<F> {
    /// Drops a child that panicked. With `std` it may panic in that, too: the first panic unwinds on.
    ///
    /// # Safety
    /// As for [`Chunks::remove`].
    #[cold]
    #[inline(never)]
    unsafe fn remove_panicked(&mut self, place: Place) {
        let FutureSet { chunks, owner, .. } = self;
        // SAFETY: (caller) as here.
        each(once(place), |place| unsafe { chunks.remove(owner, place) });
    }
}

impl<F: Future> Stream for FutureSet<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.is_empty() {
            self.ended = true;
            return Poll::Ready(None);
        }
        let Begun { registered, .. } = self.begin(cx);
        let output = self.poll_local();
        if output.is_some() {
            return Poll::Ready(output);
        }
        if !registered {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

/// Terminated after `None`, until the next push or `clear`.
impl<F: Future> FusedStream for FutureSet<F> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<F> Drop for FutureSet<F> {
    fn drop(&mut self) {
        // The owner goes after this, as a field: its headers are retired here.
        self.chunks.clear(&mut self.owner);
    }
}

impl<F> Default for FutureSet<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> Extend<F> for FutureSet<F> {
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.push(future);
        }
    }
}

impl<F> FromIterator<F> for FutureSet<F> {
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}

impl<F> fmt::Debug for FutureSet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FutureSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
