//! The wake engine's blocks in a `static` of the user's, and the owner that takes them over.
//!
//! The algorithm is that of [`ready`](super::ready) and [`taker`](super::taker); here is what differs
//! where blocks neither come from the allocator nor return to a pool.
//!
//! # State
//!
//! | `Shared::outstanding` | meaning |
//! |---|---|
//! | `FREE` | nobody has the pool; stale wakers may be at work on it |
//! | `TAKEN` | a set has it |
//!
//! | from → to | who, and how | model |
//! |---|---|---|
//! | `FREE` → `TAKEN` | a set that is made; CAS | `one_set_at_a_time_has_the_pool` |
//! | `TAKEN` → `FREE` | its end; store | `n_07_wake_against_drop_and_pool_reuse_by_the_waking_thread` |
//!
//! ```text
//!  WakePool    ┌────────┬────────┬─────────────────────┐
//!              │ Shared │ Header │ N bytes of Headers  │
//!              └────────┴────────┴─────────────────────┘
//!  bits of children:    0 ..     PER_HEADER ..
//! ```
//!
//! A header has as many bytes as bits, so `N` bytes hold a header for each further `PER_HEADER`
//! children, and there is always at least one bit above the children's: the owner's own.
//!
//! # Life
//!
//! The first to take the pool prepares the headers: they serve it from then on for ever, as `chunk`
//! number `i + 1`. A set that ends leaves them as they are, idle, queued, or in the hands of a waker
//! that is about to queue them; its mark is `POLLING`, so they are queued without anybody being told.
//! The next set takes over what it finds. So a pool can be taken as soon as its set has ended,
//! whoever is still at work on it, and what that one does is a spurious wake at most.
//!
//! A set that is leaked keeps its pool.
//!
//! # Invariants
//!
//! - **F1** Who changed `outstanding` to `TAKEN` is the owner: he alone has the [`Taker`] and touches
//!   `chunk` of the headers, until he changes it back.
//! - **F2** Headers are prepared, and their `shared` written, before the first waker is made from
//!   them, and not after. The first header's `chunk` is null until then.
//! - **F3** `header(i)` for `i < headers(N)` is in the pool's own memory.
//!
//! # Orderings
//!
//! | site | op | order | pairs with | publishes |
//! |---|---|---|---|---|
//! | take the pool | CAS `outstanding` | Acquire | give back | what the last owner did to `chunk`, `shared`, and the list's `next`s |
//! | give back | `store` | Release | take | the same |
//!
//! The model `one_set_at_a_time_has_the_pool` fails if either is Relaxed.
//!
//! A waker that another thread has was given to it, by a release of whoever did so; that publishes F2
//! to it.
//!
//! # Foreign code
//!
//! As in `taker`. The outer wakers are dropped when the pool has been given back.

use super::batch::drop_all;
use super::immortal::Immortal;
use super::ready::{BITS, Header, POLLING, Shared, waker};
use super::taker::Taker;
use crate::sync::{Ordering, UnsafeCell, const_fn, take_one};
use core::error::Error;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit, offset_of};
use core::ptr;
use core::task::{Context, Waker};

const FREE: usize = 0;
const TAKEN: usize = 1;

/// Children per header. Two under loom, so that three children have two headers.
const PER_HEADER: usize = if cfg!(umbel_loom) { 2 } else { BITS };

/// Headers of a pool for `n` children: one bit more than children, at least.
const fn headers(n: usize) -> usize {
    1 + n / PER_HEADER
}

/// Memory for the headers after the first.
#[cfg(not(umbel_loom))]
type Rest<const N: usize> = [MaybeUninit<u8>; N];
/// Loom's types are larger than their bits.
#[cfg(umbel_loom)]
type Rest<const N: usize> = [MaybeUninit<Header>; N];

/// What the wakers of a [`FixedSet`](crate::FixedSet)'s children point to: a `static`, for up to `N`
/// children, of one set at a time.
///
/// ```
/// use umbel_core::{FixedSet, InUse, WakePool};
///
/// static POOL: WakePool<8> = WakePool::new();
///
/// let set = FixedSet::<core::future::Ready<()>, 8>::new(&POOL)?;
/// assert!(POOL.is_in_use());
/// drop(set);
/// assert!(!POOL.is_in_use());
/// # Ok::<(), InUse>(())
/// ```
///
/// Takes 128 bytes (64 on 32-bit targets) and one byte a child, rounded up to 64 (32). A set that is
/// leaked (`mem::forget`) keeps its pool for ever.
///
/// Wakers from a pool are plain pointers that stay valid for ever: to clone or drop one does nothing,
/// to wake is lock-free, so all of it may be done in an interrupt, if the waker of the task that polls
/// the set allows that. (On targets without compare-and-swap each atomic step is a critical section of
/// portable-atomic's.) One that is kept after its child has ended may cause a needless poll of another
/// child of the set that has the pool then.
#[repr(C)]
pub struct WakePool<const N: usize> {
    shared: Shared,
    first: Header,
    rest: UnsafeCell<Rest<N>>,
}

// SAFETY: F2 – a pool that can be moved was never taken, which takes a `'static` reference to it: the
// pointers in it are null.
unsafe impl<const N: usize> Send for WakePool<N> {}

// SAFETY: F1, F2 – the owner alone writes `rest` as a whole, before anybody knows of the headers there;
// these, the first header and the shared are Sync.
unsafe impl<const N: usize> Sync for WakePool<N> {}

impl<const N: usize> WakePool<N> {
    const_fn! {
        /// A pool that no set has taken.
        #[must_use]
        pub fn new() -> Self {
            const {
                assert!(cfg!(umbel_loom) || size_of::<Header>() == PER_HEADER);
                assert!(offset_of!(Self, rest) == offset_of!(Self, first) + size_of::<Header>());
                assert!(offset_of!(Self, rest) % align_of::<Header>() == 0);
            }
            WakePool {
                shared: Shared::new(POLLING),
                first: Header::new(0),
                rest: UnsafeCell::new([const { MaybeUninit::uninit() }; N]),
            }
        }
    }

    /// Whether a set has it just now.
    ///
    /// One load; may be called in an interrupt.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.shared.outstanding.load(Ordering::Relaxed) == TAKEN
    }
}

impl<const N: usize> Default for WakePool<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for WakePool<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakePool")
            .field("children", &N)
            .field("in_use", &self.is_in_use())
            .finish()
    }
}

/// The [`WakePool`] serves another set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse(());

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wake pool serves another set")
    }
}

impl Error for InUse {}

/// The one who polls: has the children, registers the outer waker, takes what was woken.
pub(crate) struct FixedOwner {
    taker: Taker,
    /// Of `headers(N)` in a row.
    first: Immortal<Header>,
}

impl FixedOwner {
    /// Takes the pool.
    pub(crate) fn new<const N: usize>(pool: &'static WakePool<N>) -> Result<Self, InUse> {
        pool.shared
            .outstanding
            .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| InUse(()))?;
        let pool = ptr::from_ref(pool).cast_mut();
        // SAFETY: F3 – parts of a static, with the provenance of all of it, so that `header` may go
        // from the first header to the others.
        let (shared, first) = unsafe {
            (
                Immortal::from_ptr(pool.cast::<Shared>()),
                Immortal::from_ptr(
                    pool.byte_add(offset_of!(WakePool<N>, first))
                        .cast::<Header>(),
                ),
            )
        };
        let owner = FixedOwner {
            // SAFETY: F1 – the pool is ours, and its mark is always POLLING while it is free.
            taker: unsafe { Taker::new(shared) },
            first,
        };
        // SAFETY: F1, F2 – the pool is ours.
        let is_new = first.chunk.with(|chunk| unsafe { (*chunk).is_null() });
        if is_new {
            // SAFETY: F2 – the pool is ours, and has `headers(N)` headers.
            unsafe { owner.prepare(headers(N)) };
        }
        Ok(owner)
    }

    /// # Safety
    /// There are `count` headers, and no waker was ever made from them.
    #[cold]
    unsafe fn prepare(&self, count: usize) {
        for i in 0..count {
            if i > 0 {
                let header = self.first.as_ptr().wrapping_add(i);
                // SAFETY: F3 – by contract there is room for this one, which nobody knows of.
                unsafe { header.write(Header::new(0)) };
            }
            // SAFETY: by contract.
            let header = unsafe { self.header(i) };
            let home = self.taker.shared;
            // SAFETY: F2 – nobody else knows of the header.
            header
                .shared
                .with_mut(|shared| unsafe { *shared = home.as_ptr() });
            // SAFETY: F2 – as above.
            header
                .chunk
                .with_mut(|chunk| unsafe { *chunk = ptr::without_provenance_mut(i + 1) });
        }
    }

    /// # Safety
    /// The pool has more than `i` headers.
    #[inline(always)]
    unsafe fn header(&self, i: usize) -> Immortal<Header> {
        // SAFETY: F3 – by contract it is there; the pointer's provenance is that of the whole pool.
        unsafe { Immortal::from_ptr(self.first.as_ptr().add(i)) }
    }

    /// The waker that sets `bit`. Cloning and dropping it is free.
    ///
    /// # Safety
    /// `bit <= N` of the pool that this owner took.
    #[inline(always)]
    pub(crate) unsafe fn waker(&self, bit: usize) -> ManuallyDrop<Waker> {
        // SAFETY: F3 – `headers(N)` headers have more than N bits.
        let header = unsafe { self.header(bit / PER_HEADER) };
        waker(header, bit % PER_HEADER)
    }

    /// Start of a poll: registers `cx`'s waker and takes all that was woken. `woken` gets the number
    /// of a bit that is set, which may be any, and must not panic. False: the owner must wake his task
    /// himself. See [`Taker::begin`].
    #[inline(always)]
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, mut woken: impl FnMut(usize)) -> bool {
        self.taker.begin(cx, |header| {
            let (base, mut bits) = answer(header);
            while bits != 0 {
                woken(base + take_one(&mut bits));
            }
        })
    }
}

/// Takes the bits of a header whose queue right we have, and gives the right up. Also the number of
/// its first bit.
#[inline(always)]
fn answer(header: Immortal<Header>) -> (usize, usize) {
    // SAFETY: F1 – the headers queued in a pool are its owner's.
    let chunk = header.chunk.with(|chunk| unsafe { *chunk });
    // Release as well as Acquire: it hands `next`, which has been read, to the next pusher.
    let bits = header.ready.swap(0, Ordering::AcqRel);
    ((chunk.addr() - 1) * PER_HEADER, bits)
}

// As for the owner of a growing set.
const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<FixedOwner>();
};

impl Drop for FixedOwner {
    /// All children have been dropped.
    fn drop(&mut self) {
        let wakers = self.taker.close(POLLING, |header| {
            answer(header);
        });
        self.taker.shared.outstanding.store(FREE, Ordering::Release);
        // Also if a child's drop is unwinding.
        drop_all(wakers.into_iter().flatten());
    }
}
