//! The nursery without an allocator.
//!
//! # Shape
//!
//! Children are erased: a nursery has no type parameter for them, and runs futures of different types
//! at once. Without an allocator their memory can be a slot of the nursery's, of a fixed size, or the
//! caller's own (`Pin<&mut F>`). It is the nursery's here, because only who owns a future can drop it
//! when it ends or is cancelled (a borrow's end drops nothing), because a child may be spawned as
//! often as there is room, and because "room" then means something: `spawn_wait` waits for a slot. The
//! price is `N * SIZE` bytes; a child that does not fit does not compile.
//!
//! The slots lie in the future that [`run`](FixedNursery::run) returns, which is pinned when it is
//! polled: so that the nursery itself, to which body and children refer, has no drop glue that knows
//! of children, and may be borrowed by what it runs.
//!
//! No word here is shared between threads: what wakers touch is the pool's, whose head
//! ([`wake::fixed`](crate::wake::fixed)) has the orderings.
//!
//! | room | what it holds |
//! |---|---|
//! | `erased` | a future of any type in a slot |
//! | `waiters` | those who wait for room, in a list without an allocator |
//! | `gate` | what nursery, run and waits share |
//! | `wait` | waiting for room |
//! | `run` | the engine: what one poll does |

// Each uses only what stands above it.
mod erased;
mod waiters;
pub(crate) mod gate;
pub(crate) mod wait;
pub(crate) mod run;

use crate::fixed_nursery::gate::Gate;
use crate::fixed_nursery::run::{FixedRun, NoSignal};
use crate::fixed_nursery::wait::FixedSpawnWait;
use crate::spawn::TrySpawnError;
use crate::token::CancelSignal;
use crate::wake::fixed::{FixedOwner, InUse, WakePool};
use core::cell::Cell;
use core::fmt;
use core::future::Future;

/// The size of a slot, unless another one is asked for.
const USUAL: usize = 256;

/// A scope for up to `N` concurrent children that all end before it does, without an allocator.
///
/// What [`Nursery`](crate::Nursery) is where there is an allocator, with less: it fails fast, children
/// are plain (dropped at their await point when it is cancelled), and yield nothing but their error;
/// results go into cells and channels that they borrow. Each child lives in a slot of `SIZE` bytes in
/// the future that [`run`](Self::run) returns, and their wakers are precise: they point into a
/// [`WakePool`] of the same `N`.
///
/// ```
/// use core::cell::Cell;
/// use umbel_core::{FixedFailure, FixedNursery, InUse, WakePool};
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = pin!(f);
/// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
/// # }
///
/// async fn blink(led: &Cell<u32>) -> Result<(), &'static str> {
///     led.set(led.get() + 1);
///     Ok(())
/// }
///
/// static POOL: WakePool<2> = WakePool::new();
///
/// let led = Cell::new(0); // children may borrow
/// let n = FixedNursery::<&str, 2>::new(&POOL)?;
/// let outcome = block_on(n.run(async {
///     for _ in 0..5 {
///         n.spawn_wait(blink(&led)).await.map_err(|_| "closed")?; // waits for a free slot
///     }
///     Ok(())
/// }));
/// assert_eq!((outcome, led.get()), (Ok(()), 5));
/// # Ok::<(), InUse>(())
/// ```
///
/// # Guarantees
///
/// - Awaited, the run returns only when every child has ended: on success, error and cancellation.
/// - The first error, of a child or the body, cancels the rest. In a cancelled nursery no child, and
///   not the body, is polled again: they are dropped, so there are no further errors.
/// - Only what was woken is polled (the body also when the wait for the signal was), each child at most
///   once a turn; one that is always ready starves
///   nobody, and neither does one that spawns without end: the outer task gets to yield.
/// - Children are dropped youngest first, then the body.
///
/// # Spawning
///
/// Body and children spawn through a shared reference to the nursery, while its run is polled; at any
/// other time it is closed, as it is when the run has ended. A child must not wait for room in its own
/// nursery: if all do, nobody ends. Children may borrow whatever was made before the nursery, and the
/// nursery itself.
///
/// Not `Send`: nursery and run belong to one task, which stays on its thread. Wakers are `Send`, and
/// may be woken by threads and interrupts.
pub struct FixedNursery<'env, E, const N: usize, const SIZE: usize = USUAL> {
    gate: Gate<'env, E, N, SIZE>,
    /// Until the first run takes it.
    owner: Cell<Option<FixedOwner>>,
}

impl<E, const N: usize> FixedNursery<'_, E, N> {
    /// A nursery with slots of 256 bytes. Its children's wakers are those of `pool`, which is given
    /// back when its run is dropped, or the nursery, if it was never run.
    ///
    /// # Errors
    /// If the pool has been taken.
    pub fn new(pool: &'static WakePool<N>) -> Result<Self, InUse> {
        Self::with_size(pool)
    }
}

impl<'env, E, const N: usize, const SIZE: usize> FixedNursery<'env, E, N, SIZE> {
    /// A nursery with slots of `SIZE` bytes: `FixedNursery::<Error, 4, 1024>::with_size(&POOL)`.
    ///
    /// # Errors
    /// If the pool has been taken.
    pub fn with_size(pool: &'static WakePool<N>) -> Result<Self, InUse> {
        Ok(FixedNursery {
            gate: Gate::new(),
            owner: Cell::new(Some(FixedOwner::new(pool)?)),
        })
    }

    /// Spawns a child, which is polled in this turn or the next. It overtakes nobody who waits for
    /// room. Does not compile if the child is larger than `SIZE` bytes:
    ///
    /// ```compile_fail,E0080
    /// # use umbel_core::{FixedNursery, WakePool};
    /// static POOL: WakePool<2> = WakePool::new();
    /// let n = FixedNursery::<(), 2>::new(&POOL).unwrap(); // slots of 256 bytes
    /// drop(n.try_spawn(async {
    ///     let x = [0_u8; 300];
    ///     std::future::ready(()).await;
    ///     drop(x);
    ///     Ok(())
    /// }));
    /// ```
    ///
    /// # Errors
    /// If all slots are taken or waited for, or the nursery is closed. The child comes back. (One that is
    /// spawned in the very turn in which an interrupt, say, cancels the nursery is taken in, and dropped
    /// unpolled when the turn is over, whether it was spawned before the cancellation or after it.)
    pub fn try_spawn<F>(&self, child: F) -> Result<(), TrySpawnError<F>>
    where
        F: Future<Output = Result<(), E>> + 'env,
    {
        if self.gate.is_open() && !self.gate.waiters.is_empty() {
            return Err(TrySpawnError::Full(child));
        }
        self.gate.spawn(child)
    }

    /// Spawns a child as soon as a slot is free; who waits longest comes first. The output is an error
    /// if the nursery is closed; the child is in it.
    ///
    /// Not for children of this nursery: what they wait for may be their own end. To `mem::forget` the wait
    /// while it waits is sound, but it stays the first in the line then, and nobody behind it gets in.
    ///
    /// **Cancel safety:** Strict. Dropping the wait drops the child, which has not been polled.
    pub fn spawn_wait<F>(&self, child: F) -> FixedSpawnWait<'_, 'env, E, F, N, SIZE>
    where
        F: Future<Output = Result<(), E>> + 'env,
    {
        FixedSpawnWait::new(&self.gate, child)
    }

    /// Runs `body` and the children to their ends.
    ///
    /// The body is polled with the children and treated as one, except that it takes no slot. When it
    /// and all children have ended well, the run yields its value.
    ///
    /// **Cancel safety:** dropping the future drops the children where they are, youngest first, then
    /// the body. To `mem::forget` it is sound; its pool is then in use for ever.
    ///
    /// # Panics
    /// If the nursery has been run before. The future panics if it is polled after it was ready or
    /// after a panic. A panic of the body, of a child, or of a waker that is woken or dropped meanwhile, goes
    /// to who polls, after the others have been dropped.
    pub fn run<T, B>(&self, body: B) -> FixedRun<'_, 'env, E, T, B, NoSignal, N, SIZE>
    where
        B: Future<Output = Result<T, E>>,
    {
        self.run_until_cancelled(&NoSignal, body)
    }

    /// As [`run`](Self::run); when `stop` is cancelled, children and body are dropped at their await
    /// points, and the outcome is [`Cancelled`](crate::FixedFailure::Cancelled).
    ///
    /// `stop` is looked at before anything is polled: if it is cancelled already, nothing is. If all
    /// comes to its own good end in the very turn in which it is cancelled, the run succeeds.
    ///
    /// # Panics
    /// As for [`run`](Self::run).
    #[track_caller]
    pub fn run_until_cancelled<'n, T, B, S>(
        &'n self,
        stop: &'n S,
        body: B,
    ) -> FixedRun<'n, 'env, E, T, B, S, N, SIZE>
    where
        B: Future<Output = Result<T, E>>,
        S: CancelSignal,
    {
        match self.owner.take() {
            Some(owner) => FixedRun::new(&self.gate, owner, stop, body),
            None => panic!("a fixed nursery is run once"),
        }
    }
}

impl<E, const N: usize, const SIZE: usize> fmt::Debug for FixedNursery<'_, E, N, SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedNursery")
            .field("slots", &N)
            .finish_non_exhaustive()
    }
}
