//! What a task of an executor and its proxy in the nursery share.
//!
//! A child of an [`ExecutorNursery`](crate::ExecutorNursery) is in two places: its future lies in a
//! *task* that an executor polls, perhaps on another thread; the nursery has a *proxy* of it, which is
//! an ordinary child and ends when the task has. They meet in a link, which lies in the child's own block of
//! memory ([`node`](crate::nursery::node)): the task has a claim to that, too.
//!
//! # State
//!
//! | bit | meaning | set by |
//! |---|---|---|
//! | `STOP` | the nursery wants the task's end | proxy |
//! | `ENDED` | the future is gone, and `end` says how; the task has let go of the block | task |
//! | `DECIDED` | the executor has accepted the task, or may refuse it without anybody having to know | whoever offers it |
//! | `WITHDRAWN` | the executor refused the task, and its future went back to who spawned it: there never was a child | whoever offers it |
//! | `ALONE` | the proxy is gone, and has not taken the end | proxy |
//! | `WAITS` | the proxy waits, or has waited, and `proxy` has its waker | proxy |
//! | the bits below | who has let go of the block | see [`lent`](crate::nursery::node) |
//!
//! ```text
//!                        executor accepts                poll → Ready, panic; drop
//!  OFFERED (0) ─────────▶ DECIDED ───────────────────────────────▶ ENDED
//!     │ refuses              │ proxy: stop, or it is dropped          ▲
//!     ▼                      ▼                                        │
//!  WITHDRAWN               STOP ────── the task's next poll, or its drop
//! ```
//!
//! Most are made `DECIDED`: should the executor refuse them, they are lost. `STOP` may be set at any time,
//! also before `DECIDED`, and has no effect after `ENDED`. With `ALONE` comes `STOP`; after it there is no
//! `ENDED`, for there is nobody to be told.
//!
//! | # | bits set | who, and how | against | model |
//! |---|---|---|---|---|
//! | 1 | `ENDED` | the future has returned; CAS | the proxy waits | `finish_against_the_proxy` |
//! | 2 | | | `STOP` | `finish_against_stop` |
//! | 3 | | the executor drops the task | `STOP` | `dropped_task_against_stop` |
//! | 4 | | any of the above | `ALONE`: who comes second drops the end | `finish_against_the_drop_of_the_nursery` |
//! | 5 | `STOP`, perhaps `ALONE` | the proxy is told; `fetch_or` | the task's first poll, and its wait | `stop_against_a_pending_task` |
//! | 6 | `DECIDED` | the executor has accepted; `fetch_or` | the proxy looks whether there is a child | `acceptance_against_the_proxy` |
//! | 7 | `WITHDRAWN` | it refused; `fetch_or` | the same | `refusal_against_the_proxy` |
//! | 8 | `WAITS` | the proxy waits; `fetch_or` | 1, 6, 7 | those three |
//!
//! # Invariants
//!
//! - **K1** `end` belongs to the task's side until `ENDED` is set, and from then on to the proxy's; if `ALONE`
//!   came before, it stays the task's. Its owner empties it before he goes, for who frees the block may be
//!   on another thread than what is in it.
//! - **K2** There is one [`TaskSide`] and one [`ProxySide`] to a link. Each waits by `&mut` of itself, so that
//!   each place for a waker has one registrant.
//! - **K3** The [`ProxySide`] lies in the payload of its link's block, and goes with it.
//! - **K4** `proxy` belongs to the proxy's side until `WAITS` is set, which stays. From then on it is only
//!   read, and goes with the link. One waker is enough: a child never leaves its place in the nursery's set,
//!   of which this is the waker. (It keeps nothing alive: the set's wakers point to what is never freed.)
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | publish `ENDED` | CAS | Release / Acquire (in [`lent`](crate::nursery::node)) | the look, `WAITS` and `ALONE`: publishes `end`, sees `proxy` |
//! | publish `STOP` | `fetch_or` | Release | the look: what was written before the stop is seen by the future's drop |
//! | `ALONE` | `fetch_or` | AcqRel | as `STOP`; and `ENDED`: sees `end` |
//! | `DECIDED`, `WITHDRAWN` | `fetch_or` | Acquire | `WAITS`: sees `proxy`. They publish no more than themselves |
//! | `WAITS` | `fetch_or` | AcqRel | the looks of who tells something: publishes `proxy`; `ENDED`: sees `end` |
//! | look | load | Acquire | `STOP`, `ENDED` and `WAITS` |
//!
//! The task registers its waker, then looks again; who stops it takes the waker after that: see [`WakeCell`].
//!
//! # Foreign code
//!
//! What [`TaskSide::end`] is given may drop the future: before anything changes. Wakers are woken and dropped
//! after the state has changed. The future's output is dropped here only if nobody takes it: last of all, by
//! the second of proxy and task.

use crate::nursery::node::{Beside, Elsewhere, JoinSide, LOWEST, Word};
use crate::nursery::panics::Panic;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell};
use crate::wake::cell::WakeCell;
use alloc::boxed::Box;
use core::task::{Context, Poll, Waker};

const STOP: usize = LOWEST;
const ENDED: usize = LOWEST << 1;
const DECIDED: usize = LOWEST << 2;
const WITHDRAWN: usize = LOWEST << 3;
const ALONE: usize = LOWEST << 4;
const WAITS: usize = LOWEST << 5;

/// How a task ended.
pub(super) enum End<O> {
    /// Its future returned; perhaps it panicked when it was dropped after that.
    Returned(O, Option<Late>),
    /// Its future panicked in a poll.
    Panicked(Panic),
    /// Its future was dropped before its end, as the nursery or the executor wanted; perhaps it panicked.
    Dropped(Option<Late>),
}

/// What a future's drop panicked with. Boxed once more: each link has room for it, and hardly any needs it.
pub(super) type Late = Box<Panic>;

/// In this order what the task writes at its end lies together.
#[repr(C)]
pub(super) struct Link<O> {
    state: AtomicUsize,
    end: UnsafeCell<Option<End<O>>>,
    /// Wakes the proxy, which waits for the end, or for what is decided.
    proxy: UnsafeCell<Option<Waker>>,
    /// The task, to be told to stop.
    task: WakeCell,
}

// SAFETY: K1 – `end` has one owner at a time, and goes from one to the other by `state`; so does `proxy`,
// until it is only read (K4).
unsafe impl<O: Send> Send for Link<O> {}
// SAFETY: as above.
unsafe impl<O: Send> Sync for Link<O> {}

/// Loom sees no plain drop: it is told that who drops the link has it to himself.
#[cfg(umbel_loom)]
impl<O> Drop for Link<O> {
    fn drop(&mut self) {
        self.end.with_mut(|_| ());
        self.proxy.with_mut(|_| ());
    }
}

// SAFETY: a field; all that is changed here is made of `LOWEST` and greater bits.
unsafe impl<O> Word for Link<O> {
    #[inline]
    fn word(&self) -> &AtomicUsize {
        &self.state
    }
}

impl<O> Link<O> {
    /// `decided`: nobody needs to know whether the executor accepts the task.
    pub(super) fn new(decided: bool) -> Self {
        Link {
            state: AtomicUsize::new(if decided { DECIDED } else { 0 }),
            end: UnsafeCell::new(None),
            proxy: UnsafeCell::new(None),
            task: WakeCell::new(),
        }
    }

    /// Empties `end`.
    ///
    /// # Safety
    /// K1: it is the caller's.
    unsafe fn take_end(&self) -> Option<End<O>> {
        // SAFETY: K1 – (caller).
        self.end.with_mut(|end| unsafe { (*end).take() })
    }

    fn look(&self) -> usize {
        self.state.load(Ordering::Acquire)
    }

    /// The proxy's waker, if it waits or has waited, which `state` says.
    fn waker(&self, state: usize) -> Option<Waker> {
        if state & WAITS == 0 {
            return None;
        }
        // SAFETY: K4 – `WAITS` was seen.
        self.proxy.with(|proxy| unsafe { (*proxy).clone() })
    }

    /// Says whether there is a child, and wakes the proxy if it waits for that.
    fn decide(&self, bit: usize) {
        let before = self.state.fetch_or(bit, Ordering::Acquire);
        if before & (ENDED | ALONE) != 0 {
            // It waits no more, and its place in the set may be another child's.
            return;
        }
        if let Some(proxy) = self.waker(before) {
            proxy.wake();
        }
    }
}

// ------------------------------------------------------------------ the task

/// The task's side. Who has it tells the end.
pub(super) struct TaskSide<O> {
    /// `None`: it has told how it ended.
    claim: Option<Elsewhere<Link<O>>>,
    /// A waker of its own was left in the link.
    waits: bool,
}

impl<O> TaskSide<O> {
    pub(super) fn new(claim: Elsewhere<Link<O>>) -> Self {
        TaskSide {
            claim: Some(claim),
            waits: false,
        }
    }

    fn link(&self) -> Option<&Link<O>> {
        self.claim.as_ref().map(Elsewhere::link)
    }

    /// Whether the nursery wants its end.
    pub(super) fn is_stopped(&self) -> bool {
        self.link().is_some_and(|link| link.look() & STOP != 0)
    }

    /// The task is to be woken when the nursery wants its end. True: it wants it already.
    pub(super) fn wait(&mut self, waker: &Waker) -> bool {
        self.waits = true;
        if let Some(link) = self.link() {
            link.task.register(waker);
        }
        self.is_stopped()
    }

    /// The future is gone, or `end` drops it, and says how it ended. No effect a second time.
    pub(super) fn end(&mut self, end: impl FnOnce() -> End<O>) {
        if self.claim.is_none() {
            return;
        }
        // If a panic unwinds from here, the end is told by the drop.
        let end = end();
        let Some(mut claim) = self.claim.take() else {
            return;
        };
        // SAFETY: K1 – the one task side has not ended until now: there is nothing in it to be dropped.
        let write = |slot: *mut Option<End<O>>| unsafe { slot.write(Some(end)) };
        claim.link().end.with_mut(write);
        let own = self.waits.then(|| claim.link().task.take());
        // What is told lets go as well: all that is wanted of the block is taken before.
        let mut state = claim.link().look();
        let (proxy, end) = loop {
            if state & ALONE != 0 {
                // SAFETY: K1 – nobody is there to take it.
                let end = unsafe { claim.link().take_end() };
                drop(claim);
                break (None, end);
            }
            let proxy = claim.link().waker(state);
            match claim.try_tell(state, ENDED) {
                Ok(()) => break (proxy, None),
                Err(other) => (claim, state) = other,
            }
        };
        if let Some(proxy) = proxy {
            proxy.wake();
        }
        drop(own);
        drop(end);
    }

    /// The executor refused it, and the future goes back to who spawned it.
    pub(super) fn withdraw(&mut self) {
        if let Some(claim) = self.claim.take() {
            claim.link().decide(WITHDRAWN);
        }
    }
}

impl<O> Drop for TaskSide<O> {
    /// Without `std`, where panics are not caught: one has unwound before the end was told.
    fn drop(&mut self) {
        self.end(|| End::Dropped(None));
    }
}

// ------------------------------------------------------------------ the proxy

/// The proxy's side. Dropped, it tells the task to stop.
pub(super) struct ProxySide<O> {
    link: Beside<Link<O>>,
    /// It has taken the end: there is nobody to be told.
    has_end: bool,
}

impl<O> ProxySide<O> {
    /// # Safety
    /// K3, and K2: there is one.
    pub(super) unsafe fn new(link: Beside<Link<O>>) -> Self {
        ProxySide {
            link,
            has_end: false,
        }
    }

    fn link(&self) -> &Link<O> {
        // SAFETY: K3 – who has the payload has a claim to the block, and lets go after it is gone.
        unsafe { self.link.get() }
    }

    /// To tell that the executor has accepted the task.
    pub(super) fn decider(&self) -> Decider<O> {
        Decider(self.link.clone())
    }

    /// It was told to stop now, unless the state `before` says otherwise.
    fn wake_task(&self, before: usize) {
        if before & (STOP | ENDED) == 0 {
            if let Some(task) = self.link().task.take() {
                task.wake();
            }
        }
    }

    /// Tells the task to stop: its future is dropped when it is polled next. False: it has ended before.
    pub(super) fn stop(&self) -> bool {
        let before = self.link().state.fetch_or(STOP, Ordering::Release);
        self.wake_task(before);
        before & ENDED == 0
    }

    /// Waits until it is decided whether there is a child.
    pub(super) fn poll_decided(&mut self, cx: &Context<'_>) -> Poll<bool> {
        let look = |state: usize| match state {
            _ if state & WITHDRAWN != 0 => Poll::Ready(false),
            _ if state & (DECIDED | ENDED) != 0 => Poll::Ready(true),
            _ => Poll::Pending,
        };
        let state = self.link().look();
        match look(state) {
            Poll::Pending => look(self.wait(state, cx)),
            decided => decided,
        }
    }

    /// From now on what is told wakes the proxy. Gives the state as it was before; `state` is what was seen.
    fn wait(&mut self, state: usize, cx: &Context<'_>) -> usize {
        let link = self.link();
        if state & WAITS != 0 {
            debug_assert!(
                link.waker(state)
                    .is_some_and(|proxy| proxy.will_wake(cx.waker())),
                "a child left its place"
            );
            return state;
        }
        let waker = cx.waker().clone();
        // SAFETY: K4, K2 – `WAITS` is not set, which this side alone does: there is nothing in it, and
        // nobody looks.
        link.proxy
            .with_mut(|proxy| unsafe { proxy.write(Some(waker)) });
        link.state.fetch_or(WAITS, Ordering::AcqRel)
    }

    /// Waits for the task's end. Not to be called again after `Ready`.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<End<O>> {
        let state = self.link().look();
        if state & ENDED == 0 && self.wait(state, cx) & ENDED == 0 {
            return Poll::Pending;
        }
        // SAFETY: K1 – `ENDED` was seen, and this is the one proxy side, borrowed mutably.
        match unsafe { self.link().take_end() } {
            Some(end) => {
                self.has_end = true;
                Poll::Ready(end)
            }
            None => panic!("a proxy was polled after it was ready"),
        }
    }
}

impl<O> Drop for ProxySide<O> {
    fn drop(&mut self) {
        if self.has_end {
            return;
        }
        let link = self.link();
        let before = link.state.fetch_or(STOP | ALONE, Ordering::AcqRel);
        // SAFETY: K1 – it ended before, and this is the one proxy side.
        let end = (before & ENDED != 0).then(|| unsafe { link.take_end() });
        self.wake_task(before);
        drop(end);
    }
}

/// Tells that the executor has accepted a task which it might have refused.
pub(super) struct Decider<O>(Beside<Link<O>>);

impl<O> Decider<O> {
    /// `join` is that of the child.
    pub(super) fn accepted<T>(self, join: &JoinSide<T>) {
        assert!(join.is_of(&self.0), "another child's");
        // SAFETY: `join` has a claim to the block, and is borrowed.
        unsafe { self.0.get() }.decide(DECIDED);
    }
}
