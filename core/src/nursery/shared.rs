//! What a nursery and its handles share: the inbox for new children, the token, room, counts.
//!
//! # The inbox
//!
//! A lock-free stack (Treiber, 1986) that is only ever taken as a whole, so no node is popped twice
//! and addresses may be reused. Who pushes on an empty stack rings the nursery's desk; others come
//! before the nursery has taken what that ring announced.
//!
//! | head | meaning |
//! |---|---|
//! | null | empty |
//! | node → … → null | children that the nursery has not seen yet, youngest first |
//! | `SHUT` | the nursery has ended or is gone; for ever |
//!
//! # Transitions
//!
//! | # | from → to | who, and how | model |
//! |---|---|---|---|
//! | 1 | inbox: null → node | push, which then rings; CAS | `a_ring_reaches_an_idle_nursery`, `a_ring_reaches_a_nursery_at_its_cleanups` |
//! | 2 | node → node | push; CAS | `two_spawners_against_going_idle` |
//! | 3 | node → null | a turn takes all; swap | `spawn_against_poll` |
//! | 4 | null → `SHUT` | the end; CAS | `spawn_against_the_end`, `try_spawn_against_the_end`, `defer_against_the_end` |
//! | 5 | any → `SHUT` | the drop of the nursery's future; swap | `spawn_against_drop`, `spawn_against_drop_unrun`, `defer_against_drop` |
//! | 6 | `phase`: \| `FORCED` | `force`, which then rings; `fetch_or` | `force_publishes_what_was_written_before`, `two_that_force` |
//! | 7 | `abandoned` + 1, − 1 | a spawner gives up; who finds that child | `sweep_against_giving_up` |
//! | 8 | `report`: null → report | the end; CAS | `report_against_the_end` |
//! | 9 | `phase`: \| `RUNNING` | the first turn; `fetch_or` | a hint: who misses it leaves the start of its child to the nursery |
//! | 10 | `phase`: \| `CLEANING` | the first cleanup is about to begin; `fetch_or` | `spawn_against_cleaning`; a hint, the nursery refuses who missed it |
//!
//! # Invariants
//!
//! - **H1** A node on the stack is owned by the stack; `take` and `shut` hand the ownership over.
//! - **H2** The `poller` fields are touched only by the nursery's own future, which is in one
//!   place at a time, and before it runs by who makes it. A nursery around it may look at them in its
//!   own poll, between the polls of its children: the inner future lives in one of those and rests then.
//! - **H3** `report` is null, or a box of ours that is never replaced.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | push | CAS | AcqRel / Acquire | take: publishes the node |
//! | does it take children, or start them | load, load; `fetch_or` | Relaxed | nothing: a hint, push and nursery decide |
//! | is it empty | load | Relaxed | nothing: a hint, the end decides |
//! | take, shut | swap | AcqRel | push |
//! | end only if empty | CAS null → `SHUT` | AcqRel / Acquire | push: one of them sees the other |
//! | counts | load, store | Relaxed | nothing: numbers for people, one writer |
//! | timed | load, store | Relaxed | nothing: stored by who makes the nursery, before its handles go elsewhere or for nobody |
//! | report | CAS, load | Release, Acquire | one another |
//! | force | `fetch_or`, load | Release, Acquire | what was written before `force()` |
//!
//! What orders the nodes is Release in push and Acquire in take and shut. The other halves, and
//! both of "end only if empty", carry no memory: a pusher follows no pointer that it reads, and the
//! end finds no node. No model can fail on them.

use crate::nursery::ended::{Origin, Record, Site, Span};
use crate::nursery::histogram::Times;
use crate::nursery::join_error::JoinError;
use crate::nursery::limit::Room;
use crate::nursery::list::{Chain, Cleanups, Queue, RunningList};
use crate::nursery::node::{Node, NurserySide};
use crate::nursery::observer::Eye;
use crate::nursery::order::Order;
use crate::nursery::panics::{Panic, Panics, attempt};
use crate::nursery::ranks::Queues;
use crate::nursery::report::{Drained, Report, Stats};
use crate::nursery::timetable::Timetable;
use crate::observe::Name;
use crate::reason::Reason;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use crate::time::Instant;
use crate::token::CancellationToken;
use crate::wake::ready::Desk;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ptr;
use core::time::Duration;

/// The desk's bits: what may rang for the nursery itself.
pub(crate) mod bit {
    pub(crate) const INBOX: usize = 0;
    pub(crate) const BODY: usize = 1;
    pub(crate) const TOKEN: usize = 2;
    pub(crate) const FORCE: usize = 3;
    pub(crate) const ALARM: usize = 4;
    pub(crate) const QUEUE: usize = 5;
    pub(crate) const CLEANUP: usize = 6;
}

/// The bits of `phase`: what others must know of it.
mod phase {
    /// Nobody is given more time.
    pub(super) const FORCED: usize = 1;
    /// All children have ended, and no more get in.
    pub(super) const CLEANING: usize = 1 << 1;
    /// It is polled.
    pub(super) const RUNNING: usize = 1 << 2;
}

const SHUT: *mut Node = ptr::without_provenance_mut(1);

/// Abandoned children that may lie in the queue before the nursery is rung to sweep them out. One under
/// loom, so that it sweeps.
const SWEEP_AT_LEAST: usize = if cfg!(umbel_loom) { 1 } else { 32 };

/// How many children that were cancelled alone the report tells of at most: they come and go for as long
/// as the nursery lives.
pub(crate) const DRAINED_ALONE: usize = 1000;

pub(crate) struct Shared {
    inbox: AtomicPtr<Node>,
    desk: Desk,
    pub(crate) room: Room,
    pub(crate) token: CancellationToken,
    pub(crate) name: Option<Name>,
    pub(crate) grace: Option<Duration>,
    /// There is an observer, or ages are kept: each child has a `Meta`.
    pub(crate) watched: bool,
    pub(crate) observer: Option<Eye>,
    /// Children keep when they came and started.
    pub(crate) aged: bool,
    /// There is a timer. Set before the nursery runs.
    timed: AtomicUsize,
    phase: AtomicUsize,
    /// Children in inbox or queue whose spawners gave up, or are about to.
    abandoned: AtomicUsize,
    pub(crate) counts: Counts,
    report: AtomicPtr<Report>,
    pub(crate) poller: Poller,
}

/// What belongs to the nursery's own future (H2) and yet is reached from its running children and from
/// what is asked of it, which have no other way to it.
#[derive(Default)]
pub(crate) struct Poller {
    /// Children that wait for room.
    pub(crate) queue: Queues,
    /// Services that are to start: they need no room.
    pub(crate) services: Queue,
    /// Services at work.
    pub(crate) serving: Cell<usize>,
    /// Children that wait for others.
    pub(crate) order: Order,
    /// The list of running children.
    pub(crate) running: RunningList,
    /// What is to be done when all children have ended.
    pub(crate) cleanups: Cleanups,
    /// From its first poll to its end: where it was set running.
    pub(crate) site: Cell<Option<Site>>,
    pub(crate) body_ended: Cell<bool>,
    /// Places of children that have gone since the nursery looked last.
    pub(crate) freed: Cell<usize>,
    /// Something was dropped before its end.
    pub(crate) cut: Cell<bool>,
    /// What is to happen to single children when.
    pub(crate) timetable: Timetable,
    /// The time at the start of this turn, if it was read.
    pub(crate) now: Cell<Option<Instant>>,
    /// The next turn is to read it.
    pub(crate) wants_time: Cell<bool>,
    /// There is to be another turn. (Rung for at the end of this one: the outer task's waker is foreign.)
    pub(crate) again: Cell<bool>,
    /// Running children that were told alone: the time is read every turn.
    pub(crate) told: Cell<usize>,
    /// Children in the set have been dropped in their places.
    pub(crate) thinned: Cell<bool>,
    /// While it drains, with a timer: when that began, and the time at the start of this turn.
    pub(crate) drain: Cell<Option<(Instant, Instant)>>,
    pub(crate) drained: RefCell<Vec<Drained>>,
    pub(crate) panics: Panics,
    /// There is a policy that is told of successes.
    pub(crate) asks: Cell<bool>,
    /// If so: the child that was done last, until the engine has looked at it, and its name.
    pub(crate) done: Cell<Option<Origin>>,
    pub(crate) name: Cell<Option<Name>>,
    /// The child that failed last, until the engine has looked at it.
    pub(crate) failed: Cell<Option<Record>>,
    /// The first child that its executor lost, and whether that cancelled the nursery.
    pub(crate) lost: Cell<Option<(JoinError, bool)>>,
}

// SAFETY: H1–H3 – atomics, immutable fields, and `poller`, which has one user at a time (H2). Where its
// engine may cross threads, spawning demands `Send` of the children that lie in it (`mode`).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(desk: Desk) -> Self {
        Shared {
            inbox: AtomicPtr::new(ptr::null_mut()),
            desk,
            room: Room::unlimited(),
            token: CancellationToken::new(),
            name: None,
            grace: None,
            watched: false,
            observer: None,
            aged: false,
            timed: AtomicUsize::new(0),
            phase: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            counts: Counts::new(),
            report: AtomicPtr::new(ptr::null_mut()),
            poller: Poller::default(),
        }
    }

    /// From now on there is a timer.
    pub(crate) fn set_timed(&self) {
        self.timed.store(1, Ordering::Relaxed);
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Relaxed) != 0
    }

    /// How long it has been draining. `None` without a timer.
    pub(crate) fn drain_time(&self) -> Option<Duration> {
        match self.poller.drain.get() {
            Some((from, now)) => Some(now - from),
            // In the very turn that was cancelled: it took no time.
            None => self.is_timed().then_some(Duration::ZERO),
        }
    }

    /// A graceful child ends after a cancellation, but nobody has been told yet: how long it took.
    pub(crate) fn note_drained(&self, child: &NurserySide, forced: bool) -> Span {
        let Some(meta) = child.meta() else {
            return Span::default();
        };
        let poller = &self.poller;
        let told = meta.own().filter(|own| own.is_told());
        if let Some(own) = told {
            // Alone: it was told when it was polled.
            meta.notice.set(self.is_timed().then_some(Duration::ZERO));
            meta.drain.set(own.since_told(poller.now.get()));
        } else {
            let drain = self.drain_time();
            if poller.drain.get().is_none() {
                meta.notice.set(drain);
            }
            meta.drain.set(drain);
        }
        let span = Span {
            notice: meta.notice.get(),
            drain: meta.drain.get(),
        };
        self.counts.times.note(span);
        let drained = Drained::new(child.name(), child.who(), span, forced);
        self.keep_drained(drained, told.is_some());
        span
    }

    /// Keeps it for the report; if it ended alone, so that any number may follow, only among the first.
    pub(crate) fn keep_drained(&self, of: Drained, alone: bool) {
        let mut drained = self.poller.drained.borrow_mut();
        if !alone || drained.len() < DRAINED_ALONE {
            drained.push(of);
        }
    }

    /// Gives a child to the nursery; back if that has ended.
    pub(crate) fn push(&self, child: NurserySide) -> Result<(), NurserySide> {
        let node = child.into_raw();
        let mut head = self.inbox.load(Ordering::Acquire);
        loop {
            if head == SHUT {
                // SAFETY: H1 – it was not published.
                return Err(unsafe { NurserySide::from_raw(node) });
            }
            // SAFETY: H1 – the node is ours until the exchange publishes it.
            unsafe { (*node).next.set(head) };
            match self
                .inbox
                .compare_exchange_weak(head, node, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if head.is_null() {
            self.desk.ring(bit::INBOX);
        }
        Ok(())
    }

    /// Takes all that was pushed, oldest first.
    pub(crate) fn take(&self) -> Chain {
        if self.inbox.load(Ordering::Relaxed).is_null() {
            return Chain::EMPTY;
        }
        self.chain(self.inbox.swap(ptr::null_mut(), Ordering::AcqRel))
            .reversed()
    }

    fn chain(&self, head: *mut Node) -> Chain {
        if head == SHUT {
            return Chain::EMPTY;
        }
        // SAFETY: H1 – the swap that gave `head` handed the whole chain over.
        unsafe { Chain::from_raw(head) }
    }

    /// Shuts the inbox if it is empty.
    pub(crate) fn shut_if_empty(&self) -> bool {
        self.inbox
            .compare_exchange(ptr::null_mut(), SHUT, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether nothing has come in.
    pub(crate) fn is_inbox_empty(&self) -> bool {
        self.inbox.load(Ordering::Relaxed).is_null()
    }

    /// Whether the nursery has ended or is gone.
    pub(crate) fn is_shut(&self) -> bool {
        self.inbox.load(Ordering::Relaxed) == SHUT
    }

    /// Whether a child that is pushed now may get in.
    pub(crate) fn takes_children(&self) -> bool {
        !self.is_shut() && self.phase.load(Ordering::Relaxed) & phase::CLEANING == 0
    }

    /// Shuts the inbox and takes what is in it, youngest first.
    pub(crate) fn shut(&self) -> Chain {
        self.chain(self.inbox.swap(SHUT, Ordering::AcqRel))
    }

    /// Runs foreign code in the nursery's own poll (H2): a panic is kept, and cancels the nursery.
    /// `None`: it has panicked.
    #[inline]
    pub(crate) fn guard<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        match attempt(act) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.panicked(panic);
                None
            }
        }
    }

    /// Foreign code has panicked in the nursery's own poll (H2).
    #[cold]
    pub(crate) fn panicked(&self, panic: Panic) {
        self.poller.panics.keep(panic);
        self.cancel_if_panicked();
    }

    /// An executor has lost a child, in the nursery's own poll (H2): that cancels it, as a panic does.
    #[cold]
    pub(crate) fn lose(&self, child: JoinError) {
        let first = self.guard(|| self.token.cancel_with(Reason::sibling_failed())) == Some(true);
        let before = self.poller.lost.take();
        self.poller.lost.set(before.or(Some((child, first))));
    }

    /// A panic that was kept cancels the nursery.
    #[inline]
    pub(crate) fn cancel_if_panicked(&self) {
        let panics = &self.poller.panics;
        if panics.caught() && !self.token.is_cancelled() {
            // Wakes foreign wakers.
            panics.catch(|| self.token.cancel_with(Reason::sibling_failed()));
        }
    }

    pub(crate) fn force(&self, reason: Reason) {
        self.phase.fetch_or(phase::FORCED, Ordering::Release);
        self.token.cancel_with(reason);
        self.desk.ring(bit::FORCE);
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.phase.load(Ordering::Acquire) & phase::FORCED != 0
    }

    /// Whether all children have ended, and the cleanups begun.
    pub(crate) fn is_cleaning(&self) -> bool {
        self.phase.load(Ordering::Relaxed) & phase::CLEANING != 0
    }

    /// It is polled for the first time.
    pub(crate) fn set_running(&self) {
        self.phase.fetch_or(phase::RUNNING, Ordering::Relaxed);
    }

    /// Whether it is polled, and starts children.
    pub(crate) fn is_running(&self) -> bool {
        let phase = self.phase.load(Ordering::Relaxed);
        phase & (phase::RUNNING | phase::CLEANING) == phase::RUNNING
    }

    /// From now on no child gets in.
    pub(crate) fn refuse_children(&self) {
        self.phase.fetch_or(phase::CLEANING, Ordering::Relaxed);
    }

    /// The counts, as they are now.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counts.stats();
        // What lived when it was dropped counts nowhere.
        if self.is_shut() {
            stats.active = 0;
        } else {
            stats.queued = self.poller.queue.len();
        }
        stats
    }

    /// A spawner is about to give up a child that lies in inbox or queue. Counted before the nursery
    /// can find it, so that the count never passes below zero.
    pub(crate) fn count_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// It has given up.
    pub(crate) fn ring_to_sweep(&self) {
        if self.abandoned.load(Ordering::Relaxed) >= SWEEP_AT_LEAST {
            self.desk.ring(bit::INBOX);
        }
    }

    /// Whether a queue of this length is worth a sweep.
    pub(crate) fn wants_sweep(&self, queued: usize) -> bool {
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        abandoned >= SWEEP_AT_LEAST && abandoned > queued / 2
    }

    pub(crate) fn swept(&self, n: usize) {
        let before = self.abandoned.fetch_sub(n, Ordering::Relaxed);
        debug_assert!(before >= n, "more were swept than gave up");
    }

    /// Leaves the final report for the handles.
    pub(crate) fn set_report(&self, report: Report) {
        let report = Box::into_raw(Box::new(report));
        let set = self.report.compare_exchange(
            ptr::null_mut(),
            report,
            Ordering::Release,
            Ordering::Relaxed,
        );
        debug_assert!(set.is_ok(), "a nursery ends once");
        if set.is_err() {
            // SAFETY: H3 – not published, so still ours.
            drop(unsafe { Box::from_raw(report) });
        }
    }

    pub(crate) fn report(&self) -> Option<Report> {
        // SAFETY: H3 – null or a box that lives as long as `self`.
        unsafe { self.report.load(Ordering::Acquire).as_ref() }.cloned()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Relaxed: the last owner has acquired everything.
        let report = self.report.load(Ordering::Relaxed);
        if !report.is_null() {
            // SAFETY: H3 – ours, and nobody reads it any more.
            drop(unsafe { Box::from_raw(report) });
        }
        // The inbox is shut and empty, or its nursery was leaked by `mem::forget`: what lies in it may
        // borrow from a stack that is gone, so it is leaked too.
    }
}

/// [`Stats`] that one side counts and any side reads.
pub(crate) struct Counts {
    started: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicUsize,
    panicked: AtomicUsize,
    cancelled: AtomicUsize,
    forced: AtomicUsize,
    skipped: AtomicUsize,
    lost: AtomicUsize,
    /// Those that ended without a poll, in one of the ways above.
    unbegun: AtomicUsize,
    times: Times,
}

macro_rules! counters {
    ($($name:ident)*) => {
        impl Counts {
            fn new() -> Self {
                Counts {
                    $($name: AtomicUsize::new(0),)*
                    unbegun: AtomicUsize::new(0),
                    times: Times::new(),
                }
            }

            fn stats(&self) -> Stats {
                let (notice, drain) = self.times.read();
                let mut stats = Stats {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    active: 0,
                    queued: 0,
                    notice,
                    drain,
                };
                // Read while they change, they may not fit together.
                let ended = 0 $(+ stats.$name)* - stats.started;
                let begun = ended.saturating_sub(self.unbegun.load(Ordering::Relaxed));
                stats.active = stats.started.saturating_sub(begun);
                stats
            }

            $(
                /// One more: how many there are. H2: only the nursery counts.
                pub(crate) fn $name(&self) -> usize {
                    Self::count(&self.$name)
                }
            )*
        }
    };
}
counters!(started done failed panicked cancelled forced skipped lost);

impl Counts {
    fn count(counter: &AtomicUsize) -> usize {
        let count = counter.load(Ordering::Relaxed) + 1;
        counter.store(count, Ordering::Relaxed);
        count
    }

    /// A child that has been counted among the ended was never polled. H2, as above.
    pub(crate) fn unbegun(&self) {
        Self::count(&self.unbegun);
    }
}
