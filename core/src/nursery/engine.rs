//! What the nursery's future is made of, and what the policy says to an end.
//!
//! # Invariants
//!
//! - **D1** `Running` children point to `shared`, which the engine keeps alive; the set is dropped first.

use crate::nursery::cleanup::Cleaning;
use crate::nursery::cutting;
use crate::nursery::ended::{Ended, Record, Site};
use crate::nursery::mode::Mode;
use crate::nursery::policy::{FailFast, Policy, Verdict};
use crate::nursery::ranks::{Queues, Sets};
use crate::nursery::running::Running;
use crate::nursery::shared::Shared;
use crate::nursery::waiting;
use crate::nursery::watch::Watch;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::time::Instant;
use crate::token::{CancellationToken, WaitForCancellationFutureOwned};
use crate::wake::ready::Desk;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::panic::Location;
use core::pin::Pin;
use core::time::Duration;

/// How often a turn hands places from ended children to queued ones.
pub(crate) const ROUNDS: usize = 32;

/// Whether the body has not ended. (`is_some` would take a shared reference to all of it, which a future
/// that borrows from itself forbids.)
pub(crate) fn is_there<B>(body: Pin<&mut Option<B>>) -> bool {
    body.as_pin_mut().is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Running,
    Draining,
    Cleaning,
    Ended,
}

pub(crate) struct Engine<'env, E, M: Mode> {
    // D1: before `shared`.
    pub(crate) set: Sets<Running<E>>,
    pub(crate) desk: Desk,
    pub(crate) shared: Arc<Shared>,
    pub(crate) phase: Phase,
    /// `None`: [`FailFast`], which has nothing to say to a success.
    pub(crate) policy: Option<Box<M::Policy<'env, E>>>,
    pub(crate) watch: Watch<'env, M>,
    /// How long all cleanups together may take.
    pub(crate) cleanup: Option<Duration>,
    /// Made when the first cleanup is to begin.
    pub(crate) cleaning: Option<Box<Cleaning>>,
    pub(crate) force_on: Option<(CancellationToken, WaitForCancellationFutureOwned)>,
    pub(crate) token_wait: Option<WaitForCancellationFutureOwned>,
    /// The error that the policy answered with cancellation.
    pub(crate) cause: Option<E>,
    /// A success that the policy answered with cancellation.
    pub(crate) enough: bool,
    /// All other errors.
    pub(crate) errors: Vec<E>,
    /// Whose they are, that of `cause` first.
    pub(crate) records: Vec<Record>,
    /// Where it was set running.
    pub(crate) site: Site,
    /// Places taken from ended children, for the queue.
    pub(crate) places: usize,
    /// Set while a turn runs; still set at the next turn if a panic unwound through that one.
    pub(crate) in_turn: bool,
    _env: PhantomData<fn(&'env ()) -> &'env ()>,
    _mode: PhantomData<M::Marker>,
}

impl<'env, E, M: Mode> Engine<'env, E, M> {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let mut set = Sets::new();
        let desk = set.desk();
        Engine {
            set,
            desk,
            shared: Arc::new(Shared::new(desk)),
            phase: Phase::New,
            policy: None,
            watch: Watch::new(desk),
            cleanup: None,
            cleaning: None,
            force_on: None,
            token_wait: None,
            cause: None,
            enough: false,
            errors: Vec::new(),
            records: Vec::new(),
            site: Location::caller(),
            places: 0,
            in_turn: false,
            _env: PhantomData,
            _mode: PhantomData,
        }
    }

    /// Before it runs. Its children are to know that there is one, too.
    pub(crate) fn set_policy(&mut self, policy: Box<M::Policy<'env, E>>) {
        self.policy = Some(policy);
        self.shared.poller.asks.set(true);
    }

    pub(crate) fn queue(&self) -> &Queues {
        &self.shared.poller.queue
    }

    /// The body has ended: whether no child is left. If only those are left who wait in vain, they are
    /// skipped; if only services are, they are dismissed.
    pub(crate) fn is_childless(&mut self) -> bool {
        let serving = self.shared.poller.serving.get();
        if self.set.len() > serving || !self.queue().is_empty() {
            return false;
        }
        if serving == 0 && self.shared.poller.order.is_empty() {
            return true;
        }
        if self.shared.is_inbox_empty() {
            waiting::give_up(&self.shared);
        }
        // Who gave up may have spawned another in his drop.
        if self.shared.is_inbox_empty() {
            cutting::dismiss(&self.shared);
        }
        self.set.is_empty()
    }

    /// True if this was the first cancellation. Wakes whoever waits for the token: foreign code.
    pub(crate) fn cancel(&self, reason: Reason) -> bool {
        let cancelled = self.shared.guard(|| self.shared.token.cancel_with(reason));
        cancelled == Some(true)
    }

    /// Sets the watch to the end of a time that begins now. True: there is none, and it has ended.
    pub(crate) fn wait_for(&mut self, time: Option<(Instant, Duration)>) -> bool {
        let end = time.map_or(Instant::NEVER, |(now, time)| now + time);
        let is_over = time.is_some_and(|(now, _)| end.is_due(now));
        self.watch.due = if is_over { Instant::NEVER } else { end };
        self.watch.arm_anew(&self.shared);
        is_over
    }

    /// Whether the policy is still asked.
    pub(crate) fn is_deciding(&self) -> bool {
        self.phase == Phase::Running && !self.shared.token.is_cancelled()
    }

    /// A panic of the policy unwinds from here: nothing has changed then.
    pub(crate) fn succeeded(&mut self, who: &Ended<'_>) {
        if !self.is_deciding() {
            return;
        }
        let verdict = self.policy.as_mut().map(|policy| policy.succeeded(who));
        if verdict == Some(Verdict::CancelRest) {
            self.enough = self.cancel(Reason::sibling_succeeded());
        }
    }

    pub(crate) fn failed(&mut self, who: Record, error: E) {
        let mut verdict = None;
        if self.is_deciding() {
            verdict = self.shared.guard(|| match &mut self.policy {
                Some(policy) => policy.failed(&who.ended(), &error),
                None => FailFast.failed(&who.ended(), &error),
            });
        }
        match verdict {
            Some(Verdict::CancelRest) if self.cancel(Reason::sibling_failed()) => {
                self.cause = Some(error);
                self.records.insert(0, who);
            }
            Some(Verdict::Forgive) if !who.ended().is_body() => {
                self.shared.guard(|| drop(error));
            }
            _ => {
                self.errors.push(error);
                self.records.push(who);
            }
        }
    }
}
