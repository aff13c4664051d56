//! Virtual time: a clock that moves when it is told to.
//!
//! # Algorithm
//!
//! A sleep that is polled before its time pushes an entry (instant, waker cell) on a lock-free
//! stack. Whoever moves the clock *settles*: takes the whole stack, keeps what is not yet due, puts
//! it back, starts over if the clock has moved meanwhile, and at last wakes what is due. A sleep that is
//! dropped only marks its entry; when marked entries outnumber the rest, the next sleep settles to
//! sweep them out, so memory stays proportional to the sleeps alive.
//!
//! # Invariants
//!
//! - **M1** After each push of an entry, and each time the stack is put back, the pusher looks at
//!   the clock again. So an entry that is due is either taken by who moved the clock past it, or
//!   woken by who put it on the stack.
//! - **M2** The stack owns its nodes: they are made by `Box` when pushed and freed by who takes them.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | move the clock, then take the stack | `fetch_max`; swap | SeqCst | push, then look at the clock |
//! | push, then look at the clock | CAS; load | SeqCst | move, then take |
//! | read the clock elsewhere | load | Acquire | what was written before the clock was moved |
//! | leave `WAITING` | CAS | AcqRel, fail Acquire | who of sleep and settler was first: decides who counts the entry |
//! | is it gone? | load | Acquire | the leave, before which it was counted |
//!
//! No model can fail on the last two, nor on `SeqCst` weakened to `AcqRel`: the first keep counts from
//! passing below zero, of which loom shows only the newest value; and in loom the fences of
//! [`sc_fence`] give the total order, which elsewhere the accesses do (see [`sync`](crate::sync)).

use crate::sync::{Arc, AtomicPtr, AtomicU64, AtomicUsize, Ordering, sc_fence};
use crate::time::clock::{Clock, Timer};
use crate::time::instant::Instant;
use crate::wake::batch::wake_all;
use crate::wake::cell::WakeCell;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll};
use core::time::Duration;

/// Dropped entries below this number are not worth a sweep.
const SWEEP_AT_LEAST: usize = 32;

/// Virtual time, for tests and simulations: stands still until it is moved.
///
/// Clones share one time. Moving it wakes the sleeps that have become due, in no particular order,
/// on the calling thread. Lock-free; sleeping and moving allocate. `Send + Sync`. It needs 64-bit
/// atomics: on a target without them, the feature `portable-atomic`.
///
/// ```
/// use core::time::Duration;
/// use umbel_core::{Clock, Instant, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now(), Instant::EPOCH + Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    now: AtomicU64,
    stack: AtomicPtr<Node>,
    /// Entries on the stack, on their way to it, or held by who settles.
    entries: AtomicUsize,
    /// Of these, entries whose sleep was dropped (within the number of drops that are under way).
    gone: AtomicUsize,
}

struct Node {
    entry: Arc<Entry>,
    next: *mut Node,
}

struct Entry {
    at: Instant,
    /// `WAITING`, then once and for ever `GONE` (by the sleep's drop) or `FIRED` (by who settles).
    state: AtomicUsize,
    waker: WakeCell,
}

const WAITING: usize = 0;
const GONE: usize = 1;
const FIRED: usize = 2;

impl Entry {
    /// Leaves `WAITING`; false if somebody was first.
    fn leave(&self, to: usize) -> bool {
        self.state
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn is_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) == GONE
    }
}

impl ManualClock {
    /// A clock that shows [`Instant::EPOCH`].
    pub fn new() -> Self {
        Self::starting_at(Instant::EPOCH)
    }

    /// A clock that shows `start`.
    pub fn starting_at(start: Instant) -> Self {
        ManualClock {
            shared: Arc::new(Shared {
                now: AtomicU64::new(start.as_nanos()),
                stack: AtomicPtr::new(ptr::null_mut()),
                entries: AtomicUsize::new(0),
                gone: AtomicUsize::new(0),
            }),
        }
    }

    /// Moves the clock forward by `d` (saturating) and wakes the sleeps that are due.
    ///
    /// Of two concurrent moves, none is lost if they are [`advance_to`](Self::advance_to); two
    /// concurrent `advance` may count as the longer one.
    pub fn advance(&self, d: Duration) {
        self.advance_to(self.now() + d);
    }

    /// Moves the clock to `to`, if that is later than now, and wakes the sleeps that are due.
    pub fn advance_to(&self, to: Instant) {
        self.shared.now.fetch_max(to.as_nanos(), Ordering::SeqCst);
        sc_fence();
        self.shared.settle();
    }

    /// The earliest instant that a sleep waits for: the next point worth moving to.
    ///
    /// `None` if nothing waits, or only for [`Instant::NEVER`]. While another thread moves or asks the clock it may miss a sleep.
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.shared.take_live();
        let due = waiting.iter().map(|entry| entry.at);
        let next = due.filter(|at| *at != Instant::NEVER).min();
        self.shared.put_back(waiting);
        self.shared.settle();
        next
    }

    /// How many sleeps are in its memory, dropped ones that are not swept out yet included.
    pub fn entries(&self) -> usize {
        self.shared.entries.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::SeqCst))
    }

    fn push(&self, entry: Arc<Entry>) {
        let node = Box::into_raw(Box::new(Node {
            entry,
            next: ptr::null_mut(),
        }));
        let mut head = self.stack.load(Ordering::Relaxed);
        loop {
            // SAFETY: M2 – the node is ours until the exchange publishes it.
            unsafe { (*node).next = head };
            match self
                .stack
                .compare_exchange_weak(head, node, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// A sleep's first registration; pays for the sweep when too many sleeps have been dropped.
    fn add(&self, entry: Arc<Entry>) {
        // Counted before it can be taken, so that the count never passes below zero.
        let entries = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        self.push(entry);
        let gone = self.gone.load(Ordering::Relaxed);
        if gone >= SWEEP_AT_LEAST && gone > entries / 2 {
            self.settle();
        }
    }

    fn take(&self) -> Vec<Arc<Entry>> {
        let mut node = self.stack.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut entries = Vec::new();
        while !node.is_null() {
            // SAFETY: M2 – the swap made the whole chain ours; each node is unboxed once.
            let owned = unsafe { Box::from_raw(node) };
            node = owned.next;
            entries.push(owned.entry);
        }
        entries
    }

    fn put_back(&self, entries: Vec<Arc<Entry>>) {
        for entry in entries {
            self.push(entry);
        }
        sc_fence();
    }

    /// Takes the stack; entries whose sleep is gone are swept out on the way.
    fn take_live(&self) -> Vec<Arc<Entry>> {
        let mut entries = self.take();
        let taken = entries.len();
        entries.retain(|entry| !entry.is_gone());
        let swept = taken - entries.len();
        self.entries.fetch_sub(swept, Ordering::Relaxed);
        self.gone.fetch_sub(swept, Ordering::Relaxed);
        entries
    }

    /// Wakes all that is due and sweeps out what was dropped.
    ///
    /// Wakers are foreign and may panic: they come last, when nothing is in our hands any more.
    fn settle(&self) {
        let mut fired = Vec::new();
        loop {
            let now = self.now();
            let (mut due, waiting): (Vec<_>, Vec<_>) = self
                .take_live()
                .into_iter()
                .partition(|entry| entry.at.is_due(now));
            self.put_back(waiting);
            self.entries.fetch_sub(due.len(), Ordering::Relaxed);
            let mut lost = 0;
            due.retain(|entry| {
                entry.leave(FIRED) || {
                    lost += 1;
                    false
                }
            });
            self.gone.fetch_sub(lost, Ordering::Relaxed);
            fired.append(&mut due);
            if self.now() == now {
                break; // M1
            }
        }
        wake_all(fired.iter().filter_map(|entry| entry.waker.take()));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.shared.now.load(Ordering::Acquire))
    }
}

impl Timer for ManualClock {
    type Sleep = ManualSleep;

    fn sleep_until(&self, at: Instant) -> ManualSleep {
        ManualSleep {
            clock: self.clone(),
            at,
            entry: None,
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

/// A wait for an instant of a [`ManualClock`]; made by [`Timer::sleep_until`].
///
/// **Cancel safety:** Strict. Dropping it gives up the wait. `Send + Sync`.
#[must_use = "futures do nothing unless polled"]
pub struct ManualSleep {
    clock: ManualClock,
    at: Instant,
    entry: Option<Arc<Entry>>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at.is_due(self.clock.now()) {
            return Poll::Ready(());
        }
        match &self.entry {
            Some(entry) => entry.waker.register(cx.waker()),
            None => {
                let entry = Arc::new(Entry {
                    at: self.at,
                    state: AtomicUsize::new(WAITING),
                    waker: WakeCell::new(),
                });
                entry.waker.register(cx.waker());
                // Kept before it is added: that may wake others, who may panic.
                self.entry = Some(Arc::clone(&entry));
                self.clock.shared.add(entry);
            }
        }
        sc_fence();
        // M1: the clock may have been moved between the first look and the registration.
        if self.at.is_due(self.clock.shared.now()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // Counted before it can be swept out, so that the count never passes below zero.
            self.clock.shared.gone.fetch_add(1, Ordering::Relaxed);
            if !entry.leave(GONE) {
                self.clock.shared.gone.fetch_sub(1, Ordering::Relaxed);
            }
            drop(entry.waker.take());
        }
    }
}

impl fmt::Debug for ManualSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualSleep")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
