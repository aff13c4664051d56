//! The set without an allocator: children in [`slots`](super::slots), wakers of a user's
//! [`WakePool`].

use super::slots::Slots;
use crate::sync::const_fn;
use crate::wake::fixed::{FixedOwner, InUse, WakePool};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::{FusedStream, Stream};

/// Up to `N` futures of one type, polled together, without an allocator; a [`Stream`] of their
/// outputs, in the order in which they finish.
///
/// What [`FutureSet`](crate::FutureSet) is where there is an allocator. The children live in the
/// set, so it is pinned before the first [`push`](Self::push); what their wakers point to lies in
/// a [`WakePool`] of the same `N`, in a `static`, which serves one set at a time.
///
/// - **Precise.** Only a child that was pushed or woken is polled, and each at most once per poll
///   of the set. However many are woken, the task that polls the set is woken once, until it polls
///   again. When a poll has no child left to poll it returns `Pending` and does not wake itself.
/// - **Fair.** The children to be polled stand in a queue. Each poll of the stream takes in what
///   was woken before it, also while it is drained, so neither a child that is always ready nor one
///   that is replaced as soon as it finishes starves the others.
/// - **Wakers** are plain pointers into the pool: cloning, dropping and waking one is lock-free and
///   may be done in an interrupt, if the waker of the task that polls the set allows that. A waker
///   that is kept after its child has ended may cause one needless poll of another child of this
///   set, or of the next set that takes the pool.
/// - **Suspended wakers.** One that is interrupted in the few instructions between noting its child and
///   queueing it holds up the wakes of up to 63 children beside it until it goes on, also if it is of a set
///   that had the pool before; none is lost. While one wake of the task's own waker is at work, the task
///   may be polled with other wakers; while two are, a poll that brings a third waker wakes its task itself,
///   until one of the two has returned.
/// - **Memory.** A future finished is dropped before its output is returned. A child takes an
///   `Option<F>` and two bytes. To `mem::forget` a set is sound, and its pool is then in use for ever.
/// - **Panics.** A child that panics while it is polled is dropped, the panic goes to who polls, and
///   the set goes on with the rest when it is polled next. If its Drop panics as
///   well, the first panic goes on; without the feature `std`, that aborts. If a child's Drop panics
///   when it has finished, its output is dropped (and if that panics too, it aborts); while the set is
///   dropped or cleared, the others are dropped all the same.
///
/// After a push the set must be polled, as after creation: a push alone wakes nobody. An empty set
/// yields `None`; it may be filled and polled again.
///
/// # Pass-through
///
/// Where there is no pool either, [`pass_through`](Self::pass_through) makes a set that hands its
/// own waker to the children. It cannot know which one was woken, so every poll polls **all** of
/// them: O(n), and O(n) again for each output. The task is then woken as often as children are.
///
/// **Cancel safety:** Strict. Dropping the future of a `next()` on the set loses nothing; dropping
/// the set drops its children where they stand.
///
/// `Send` if `F` is, `Sync` if `F` is, `Unpin` if `F` is.
///
/// ```
/// use core::future::{Ready, ready};
/// use core::pin::pin;
/// use core::task::{Context, Poll, Waker};
/// use futures_core::Stream;
/// use umbel_core::{FixedSet, InUse, WakePool};
///
/// static POOL: WakePool<3> = WakePool::new();
///
/// let mut set = pin!(FixedSet::<Ready<u32>, 3>::new(&POOL)?);
/// for n in 1..=3 {
///     assert!(set.as_mut().push(ready(n)).is_ok());
/// }
/// assert!(set.as_mut().push(ready(4)).is_err()); // full: the future comes back
///
/// let mut cx = Context::from_waker(Waker::noop()); // an executor would bring a real one
/// let mut sum = 0;
/// while let Poll::Ready(Some(n)) = set.as_mut().poll_next(&mut cx) {
///     sum += n;
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), InUse>(())
/// ```
pub struct FixedSet<F, const N: usize> {
    /// Pinned with the set.
    slots: Slots<F, N>,
    /// Gives the pool back after the children were dropped, as a later field. `None`: pass-through.
    owner: Option<FixedOwner>,
    /// `None` was returned, and nothing pushed or cleared since.
    ended: bool,
}

// SAFETY: a shared reference gives out numbers only, which change under an exclusive one; with
// `F: Sync` it might give `&F`.
unsafe impl<F: Sync, const N: usize> Sync for FixedSet<F, N> {}

impl<F, const N: usize> FixedSet<F, N> {
    /// An empty set with wakers of `pool`, which it gives back when it is dropped.
    ///
    /// # Errors
    /// If the pool has been taken by another set.
    pub fn new(pool: &'static WakePool<N>) -> Result<Self, InUse> {
        Ok(FixedSet {
            slots: Slots::new(),
            owner: Some(FixedOwner::new(pool)?),
            ended: false,
        })
    }

    const_fn! {
        /// An empty set without a pool, which polls all its children at every poll: see
        /// [pass-through](Self#pass-through).
        #[must_use]
        pub fn pass_through() -> Self {
            FixedSet {
                slots: Slots::new(),
                owner: None,
                ended: false,
            }
        }
    }

    #[inline(always)]
    fn project(self: Pin<&mut Self>) -> (Pin<&Slots<F, N>>, &mut Option<FixedOwner>, &mut bool) {
        // SAFETY: nothing is moved out of here. `slots` is pinned with the set (`Unpin` asks it of
        // them, `drop` does not move them, nothing else reaches them but by shared reference); the rest
        // is not.
        unsafe {
            let this = self.get_unchecked_mut();
            let slots = Pin::new_unchecked(&this.slots);
            (slots, &mut this.owner, &mut this.ended)
        }
    }

    /// Adds a future, to be polled by the next poll of the set. Wakes nobody.
    ///
    /// # Errors
    /// If the set is full: gives the future back.
    #[inline]
    pub fn push(self: Pin<&mut Self>, future: F) -> Result<(), F> {
        let (slots, _, ended) = self.project();
        slots.push(future)?;
        *ended = false;
        Ok(())
    }

    /// How many futures are in the set.
    #[inline]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no future is in the set.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds as many futures as it can.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.slots.is_full()
    }

    /// How many futures it can hold: `N`.
    #[inline]
    pub const fn capacity(&self) -> usize {
        N
    }

    /// Whether it polls all children at every poll: see [pass-through](Self#pass-through).
    #[inline]
    pub fn is_pass_through(&self) -> bool {
        self.owner.is_none()
    }

    /// Drops all futures. Keeps the pool.
    ///
    /// # Panics
    /// If a future's Drop panics: after the others have been dropped. With the feature `std`, any
    /// number may panic, and the first panic is resumed, unless the thread is panicking already; without,
    /// a second one aborts.
    pub fn clear(self: Pin<&mut Self>) {
        let (slots, _, ended) = self.project();
        *ended = false;
        slots.clear();
    }
}

impl<F: Future, const N: usize> Stream for FixedSet<F, N> {
    type Item = F::Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let (slots, owner, ended) = self.project();
        if slots.len() == 0 {
            *ended = true;
            return Poll::Ready(None);
        }
        let registered = match owner {
            Some(owner) => owner.begin(cx, |bit| slots.wake(bit)),
            None => {
                slots.wake_all();
                true
            }
        };
        // What is woken from here on is taken by the next `begin`, so each child is polled once.
        let poll_one = || {
            slots.poll_one(|slot, child| {
                let own = owner.as_ref().map(|owner| {
                    // SAFETY: slots are numbered below N, and the owner took a pool for N.
                    unsafe { owner.waker(slot) }
                });
                let waker = own.as_deref().unwrap_or(cx.waker());
                child.poll(&mut Context::from_waker(waker))
            })
        };
        if let Some(output) = core::iter::from_fn(poll_one).find(Poll::is_ready) {
            return output.map(Some);
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
impl<F: Future, const N: usize> FusedStream for FixedSet<F, N> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<F, const N: usize> Drop for FixedSet<F, N> {
    fn drop(&mut self) {
        self.slots.clear();
    }
}

impl<F, const N: usize> fmt::Debug for FixedSet<F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedSet")
            .field("len", &self.len())
            .field("capacity", &N)
            .field("pass_through", &self.is_pass_through())
            .finish_non_exhaustive()
    }
}
