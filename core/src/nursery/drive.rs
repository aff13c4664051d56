//! The nursery's engine: what one poll of its future does.
//!
//! # Phases
//!
//! ```text
//!  New ──first poll──▶ Running ──token cancelled──▶ Draining ──▶ Cleaning ──▶ Ended
//!                         │                             ▲           ▲            ▲
//!                         ├── no child left ────────────┼───────────┘            │
//!                         └── nothing left ─────────────┼────────────────────────┘
//!                                                 grace over or force():
//!                                                 the rest is dropped
//! ```
//!
//! | phase | body, plain children | graceful children | new children | cleanups |
//! |---|---|---|---|---|
//! | Running | polled | polled | started, or queued over the limit | kept |
//! | Draining | dropped | polled on until the grace is over | refused | kept |
//! | Cleaning | – | – | refused | polled one after another, youngest first |
//! | Ended | – | – | refused | refused |
//!
//! Without cleanups there is no Cleaning. In it neither token nor deadline is looked at.
//!
//! # One turn
//!
//! 1. Take what was woken; from here on a wake causes another turn. If nothing was, and the waker is the
//!    same, the turn is over.
//! 2. The alarm (deadline, or end of the grace), the force token, the nursery's token; if that is
//!    cancelled, begin to drain.
//! 3. The body.
//! 4. New children, as far as there is room; then every woken child once. A child that ends hands its
//!    place to the queue, at most [`ROUNDS`] times a turn, so that a queue of children that never wait
//!    cannot keep the outer task from yielding.
//! 5. If there is nothing else, the cleanups, as many at most.
//!
//! The desk's waker bits stand for the sources of the steps 2, 3 and 5, so each is polled only when woken.
//!
//! # Invariants
//!
//! - **D1** `Running` children point to `shared`, which the engine keeps alive; the set is dropped first.
//!
//! # Foreign code
//!
//! Children, body, cleanups, policy, alarm, joiners' wakers and the drops of all that may use any handle of this
//! nursery. They never reach the set, the queue or the list: those are changed by the engine alone,
//! between calls of foreign code.
//!
//! Each call of foreign code within a turn is made through [`Shared::guard`] or [`Panics`]: with `std` a
//! panic is kept there, the nursery is cancelled, the turn goes on, and [`finish`](Engine::finish)
//! resumes the panic. Without `std` it unwinds, `in_turn` stays set, and all is left to the drop. Not
//! guarded is the outer task's own waker, at a turn's start and end: nothing is half-done then.
//!
//! [`Panics`]: crate::nursery::panics::Panics

use crate::nursery::cleanup::{Cleaned, Cleaning};
use crate::nursery::cutting;
use crate::nursery::ended::{Ended, Origin, Record, Site, Span};
use crate::nursery::failure::{Cause, Failure};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::list::Queue;
use crate::nursery::mode::Mode;
use crate::nursery::node::NurserySide;
use crate::nursery::options::Role;
use crate::nursery::panics::attempt;
use crate::nursery::policy::{Policy, Verdict};
use crate::nursery::ranks::{Queues, Sets};
use crate::nursery::report::Report;
use crate::nursery::request;
use crate::nursery::running::{End, Running};
use crate::nursery::shared::{Shared, bit};
use crate::nursery::tell;
use crate::nursery::waiting;
use crate::nursery::watch::Watch;
use crate::reason::Reason;
use crate::sync::Arc;
use crate::time::Instant;
use crate::token::{CancellationToken, WaitForCancellationFutureOwned};
use crate::wake::batch::{drop_all, each};
use crate::wake::ready::Desk;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;
use core::marker::PhantomData;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

/// Whether the body has not ended. (`is_some` would take a shared reference to all of it, which a future
/// that borrows from itself forbids.)
fn is_there<B>(body: Pin<&mut Option<B>>) -> bool {
    body.as_pin_mut().is_some()
}

/// How often a turn hands places from ended children to queued ones.
const ROUNDS: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Draining,
    Cleaning,
    Ended,
}

pub(crate) struct Engine<'env, E, M: Mode> {
    // D1: before `shared`.
    set: Sets<Running<E>>,
    desk: Desk,
    pub(crate) shared: Arc<Shared>,
    phase: Phase,
    pub(crate) policy: Box<M::Policy<'env, E>>,
    pub(crate) watch: Watch<'env, M>,
    /// How long all cleanups together may take.
    pub(crate) cleanup: Option<Duration>,
    /// Made when the first cleanup is to begin.
    cleaning: Option<Box<Cleaning>>,
    pub(crate) force_on: Option<(CancellationToken, WaitForCancellationFutureOwned)>,
    token_wait: Option<WaitForCancellationFutureOwned>,
    /// The error that the policy answered with cancellation.
    cause: Option<E>,
    /// A success that the policy answered with cancellation.
    enough: bool,
    /// All other errors.
    errors: Vec<E>,
    /// Whose they are, that of `cause` first.
    records: Vec<Record>,
    /// Where it was set running.
    pub(crate) site: Site,
    /// Places taken from ended children, for the queue.
    places: usize,
    /// Set while a turn runs; still set at the next turn if a panic unwound through that one.
    in_turn: bool,
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
            policy: M::fail_fast(),
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

    /// One turn. `Ready` when body and children have all ended; then the inbox is shut.
    pub(crate) fn poll<B, T>(
        &mut self,
        mut body: Pin<&mut Option<B>>,
        value: &mut Option<T>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: Future<Output = Result<T, E>>,
    {
        assert!(!self.in_turn, "nursery polled after a panic");
        // Whatever there is to do has rung.
        if self.set.is_idle(cx) {
            return Poll::Pending;
        }
        let begun = self.set.begin(cx);
        self.in_turn = true;
        let mut rang = begun.desk;
        if self.phase == Phase::New {
            rang = !0;
            self.open();
        }
        self.look_at_signals(rang, body.as_mut());
        if rang & 1 << bit::QUEUE != 0 {
            cutting::purge(&self.shared);
        }
        if rang & 1 << bit::BODY != 0 {
            self.poll_body(body.as_mut(), value);
        }
        let mut yielding = self.poll_children(body.as_mut());
        if !self.shared.poller.cleanups.is_empty() && !is_there(body.as_mut()) {
            yielding |= self.clean(rang);
        }
        if self.shared.poller.timetable.take_changed() {
            self.watch.arm(&self.shared);
        }

        let over = !is_there(body.as_mut())
            && self.is_childless()
            && self.shared.poller.cleanups.is_empty();
        self.in_turn = false;
        if over && self.shared.shut_if_empty() {
            self.phase = Phase::Ended;
            tell::closed(&self.shared);
            return Poll::Ready(());
        }
        if !begun.registered {
            cx.waker().wake_by_ref();
        } else if self.shared.poller.again.take() || yielding {
            // By way of the desk: then no other wake follows.
            self.desk.ring(bit::INBOX);
        }
        Poll::Pending
    }

    /// The body has ended: whether no child is left. If only those are left who wait in vain, they are
    /// skipped; if only services are, they are dismissed.
    fn is_childless(&mut self) -> bool {
        let serving = self.shared.poller.serving.get();
        if self.set.len() > serving || !self.queue().is_empty() {
            return false;
        }
        if serving == 0 && self.shared.poller.order.is_empty() {
            return true;
        }
        if self.shared.is_inbox_empty() {
            waiting::give_up(&self.shared);
            cutting::dismiss(&self.shared);
        }
        self.set.is_empty()
    }

    /// The first turn: a deadline in the past cancels before anything is polled.
    fn open(&mut self) {
        self.phase = Phase::Running;
        self.shared.poller.site.set(Some(self.site));
        self.shared.set_running();
        tell::opened(&self.shared);
        self.token_wait = Some(self.shared.token.clone().cancelled_owned());
        let inherited = self.shared.token.deadline().unwrap_or(Instant::NEVER);
        let deadline = self.watch.due.min(inherited);
        self.watch.due = Instant::NEVER;
        if deadline == Instant::NEVER {
            return;
        }
        match self.watch.now(&self.shared) {
            Some(now) if deadline.is_due(now) => {
                self.cancel(Reason::deadline_exceeded());
            }
            Some(_) => {
                self.watch.due = deadline;
                self.watch.arm(&self.shared);
            }
            None => {}
        }
    }

    /// True if this was the first cancellation. Wakes whoever waits for the token: foreign code.
    fn cancel(&self, reason: Reason) -> bool {
        let cancelled = self.shared.guard(|| self.shared.token.cancel_with(reason));
        cancelled == Some(true)
    }

    fn look_at_signals<B>(&mut self, rang: usize, body: Pin<&mut Option<B>>) {
        if self.watch.look(&self.shared, rang & 1 << bit::ALARM != 0) {
            match self.phase {
                Phase::Draining => self.drop_graceful(),
                Phase::Cleaning => self.hurry(),
                _ => drop(self.cancel(Reason::deadline_exceeded())),
            }
        }
        if rang & 1 << bit::FORCE != 0 {
            let waker = self.desk.waker(bit::FORCE);
            let mut cx = Context::from_waker(&waker);
            if let Some((token, wait)) = &mut self.force_on {
                if Pin::new(wait).poll(&mut cx).is_ready() {
                    let reason = token.reason().unwrap_or(Reason::explicit());
                    self.force_on = None;
                    self.shared.guard(|| self.shared.force(reason));
                }
            }
            if self.shared.is_forced() {
                self.drop_forced();
            }
        }
        if rang & 1 << bit::TOKEN != 0 {
            let waker = self.desk.waker(bit::TOKEN);
            let mut cx = Context::from_waker(&waker);
            if let Some(wait) = &mut self.token_wait {
                if Pin::new(wait).poll(&mut cx).is_ready() {
                    self.token_wait = None;
                }
            }
        }
        self.drain_if_cancelled(body);
    }

    /// Nothing to do unless the body was woken.
    fn poll_body<B, T>(&mut self, mut body: Pin<&mut Option<B>>, value: &mut Option<T>)
    where
        B: Future<Output = Result<T, E>>,
    {
        let Some(future) = body.as_mut().as_pin_mut() else {
            return;
        };
        let waker = self.desk.waker(bit::BODY);
        let mut cx = Context::from_waker(&waker);
        let polled = self.shared.guard(|| future.poll(&mut cx));
        if let Some(Poll::Pending) = polled {
            return;
        }
        self.shared.guard(|| body.set(None));
        let kind = match &polled {
            Some(Poll::Ready(Err(_))) => Some(JoinErrorKind::Failed),
            None => Some(JoinErrorKind::Panicked),
            _ => None,
        };
        tell::body_ended(&self.shared, kind);
        let who = Record::new(None, Origin::body(self.site), Span::default());
        match polled {
            Some(Poll::Ready(Ok(output))) => {
                *value = Some(output);
                if let Err(panic) = attempt(|| self.succeeded(&who.ended())) {
                    self.shared.panicked(panic);
                }
            }
            Some(Poll::Ready(Err(error))) => self.failed(who, error),
            _ => {}
        }
    }

    /// Step 4. True if there is more to do at once.
    fn poll_children<B>(&mut self, mut body: Pin<&mut Option<B>>) -> bool {
        for _ in 0..ROUNDS {
            self.drain_if_cancelled(body.as_mut());
            self.admit();
            // Children are guarded one by one; what gets here is a panic of the policy, at a success.
            while let Err(panic) = attempt(|| self.poll_woken()) {
                self.shared.panicked(panic);
            }
            self.places += self.shared.poller.freed.take();
            let moved = self.shared.poller.order.has_news() && waiting::settle(&self.shared);
            let cancelled = self.phase == Phase::Running && self.shared.token.is_cancelled();
            if !cancelled && !moved && (self.queue().is_empty() || self.places == 0) {
                // Who came in during this turn comes before those who ask for the places later. His
                // ring brings the turn in which he is polled.
                self.admit();
                return false;
            }
        }
        true
    }

    /// Polls each child that is to be polled in this turn, or what is left of them.
    fn poll_woken(&mut self) {
        while let Some(end) = self.set.poll_local() {
            match end {
                End::Done => {
                    self.shared.counts.done();
                    let name = self.shared.poller.name.take();
                    if let Some(origin) = self.shared.poller.done.take() {
                        self.succeeded(&Ended::new(name.as_ref(), origin, Span::default()));
                    }
                }
                End::Failed(error) => {
                    self.shared.counts.failed();
                    if let Some(who) = self.shared.poller.failed.take() {
                        self.failed(who, error);
                    }
                }
                End::Counted => {}
            }
        }
    }

    // -------------------------------------------------------------- children in

    fn queue(&self) -> &Queues {
        &self.shared.poller.queue
    }

    /// Starts what came in, as far as there is room; the rest queues. While draining: refuses it. What is
    /// asked is answered.
    fn admit(&mut self) {
        let open = self.phase == Phase::Running;
        for child in self.shared.take() {
            if child.has_meta() {
                self.admit_aside(child, open);
            } else if !open {
                self.refuse(child);
            } else if child.head().placed.get() {
                self.start(child);
            } else {
                self.queue().push(child);
            }
        }
        while let Some(child) = self.shared.poller.services.pop() {
            self.start(child);
        }
        if self.shared.poller.thinned.take() {
            self.set.retain(|running| running.is_alive());
            // Their places are free, and perhaps nobody is left: the request's ring brings another turn, if
            // it came during this one.
        }
        let waiting = self.queue().len() + self.shared.poller.order.len();
        if self.shared.wants_sweep(waiting) {
            cutting::sweep(&self.shared);
        }
        while !self.queue().is_empty() {
            if self.places > 0 {
                self.places -= 1;
            } else if !self.shared.room.try_take() {
                break;
            }
            match self.queue().pop() {
                Some(child) => {
                    child.head().placed.set(true);
                    self.start(child);
                }
                None => self.places += 1,
            }
        }
        self.give_places_back();
    }

    /// One with more to it than a future, or what is no child at all.
    #[inline(never)]
    fn admit_aside(&mut self, child: NurserySide, open: bool) {
        let Some(child) = self.sort_out(child) else {
            return;
        };
        if !open {
            return self.refuse(child);
        }
        self.begin_time(&child);
        if child.head().placed.get() {
            return self.start(child);
        }
        if let Some(own) = child.own() {
            let waker = self.desk.waker(bit::QUEUE);
            own.watch(&self.shared.poller.timetable, &waker);
            if cutting::is_over(&self.shared, &child) {
                return cutting::cancel(&self.shared, child, None);
            }
        }
        waiting::enter(&self.shared, child);
    }

    /// Its time begins, if it has any of its own.
    fn begin_time(&mut self, child: &NurserySide) {
        if let Some(own) = child.own().filter(|own| own.is_timed()) {
            let now = self.watch.now(&self.shared);
            own.begin(now.unwrap_or(Instant::EPOCH));
            // For its first poll, if that is not in this turn.
            self.shared.poller.wants_time.set(true);
        }
    }

    /// A critical section begins, whatever the phase, if it is given any time.
    fn start_shielded(&mut self, child: NurserySide) {
        self.begin_time(&child);
        if self.shared.is_forced() && self.phase != Phase::Running {
            let claimed = child.start();
            debug_assert!(claimed, "nobody waits for its start");
            cutting::has_ended(
                &self.shared,
                &child,
                JoinErrorKind::Forced,
                self.shared.token.reason(),
            );
            cutting::part(&self.shared, child);
        } else {
            self.start(child);
        }
    }

    /// What came in and is no child is dealt with, according to its role, in every phase.
    fn sort_out(&mut self, node: NurserySide) -> Option<NurserySide> {
        tell::admitted(&self.shared, &node);
        match node.role() {
            Role::Plain | Role::Graceful => return Some(node),
            Role::Shielded => self.start_shielded(node),
            Role::Cleanup => self.shared.poller.cleanups.push(node),
            Role::Request => request::answer(&self.shared, node),
        }
        None
    }

    #[inline(always)]
    fn start(&mut self, child: NurserySide) {
        if child.head().awaited.get() {
            self.start_awaited(child);
        } else if child.start() {
            self.run(child);
        }
    }

    #[inline(always)]
    fn run(&mut self, child: NurserySide) {
        if child.has_meta() {
            self.run_aside(child);
        } else {
            self.set.push(Running::new(child, &self.shared));
        }
    }

    #[inline(never)]
    fn run_aside(&mut self, child: NurserySide) {
        let priority = child.priority();
        let serving = &self.shared.poller.serving;
        serving.set(serving.get() + usize::from(child.is_service()));
        let running = Running::new(child, &self.shared);
        if self.set.push_with(running, priority) {
            self.shared.poller.again.set(true);
        }
    }

    #[cold]
    fn start_awaited(&mut self, child: NurserySide) {
        if child.start() {
            let waiting = child.take_waiting();
            self.run(child);
            if let Some(waker) = waiting {
                self.shared.guard(|| waker.wake());
            }
        } else {
            // Its spawner gave up; only the place is of interest.
            cutting::leave(&self.shared, &child);
            tell::given_up(&self.shared, &child);
            self.shared.swept(1);
            self.places += usize::from(child.head().placed.get());
        }
    }

    /// The nursery is cancelled, or all children have ended: the child never starts.
    fn refuse(&mut self, child: NurserySide) {
        if child.has_begun_elsewhere() {
            return self.refuse_begun(child);
        }
        match self.phase {
            Phase::Cleaning => cutting::turn_away(&self.shared, child),
            _ => cutting::refuse(&self.shared, child),
        }
    }

    /// It has begun elsewhere, before the nursery knew it: it is told to end, and waited for. A graceful one
    /// knows, and has what is left of the grace.
    #[cold]
    fn refuse_begun(&mut self, child: NurserySide) {
        let shared = &self.shared;
        let is_graceful = self.phase == Phase::Draining && child.role() == Role::Graceful;
        let has_time = shared.grace.is_none() || self.watch.due != Instant::NEVER;
        if !is_graceful {
            cutting::stop(shared, &child, JoinErrorKind::Cancelled);
        } else if !has_time || shared.is_forced() {
            cutting::stop(shared, &child, JoinErrorKind::Forced);
        }
        self.start(child);
    }

    /// Places that nobody queues for go back to the common store.
    fn give_places_back(&mut self) {
        if self.queue().is_empty() {
            for _ in 0..core::mem::take(&mut self.places) {
                self.shared.room.give();
            }
        }
    }

    // -------------------------------------------------------------- children out

    /// Whether the policy is still asked.
    fn is_deciding(&self) -> bool {
        self.phase == Phase::Running && !self.shared.token.is_cancelled()
    }

    /// A panic of the policy unwinds from here: nothing has changed then.
    fn succeeded(&mut self, who: &Ended<'_>) {
        if self.is_deciding() && self.policy.succeeded(who) == Verdict::CancelRest {
            self.enough = self.cancel(Reason::sibling_succeeded());
        }
    }

    fn failed(&mut self, who: Record, error: E) {
        let mut verdict = None;
        if self.is_deciding() {
            verdict = self
                .shared
                .guard(|| self.policy.failed(&who.ended(), &error));
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

    fn drain_if_cancelled<B>(&mut self, mut body: Pin<&mut Option<B>>) {
        if self.phase != Phase::Running || !self.shared.token.is_cancelled() {
            return;
        }
        // Who fell before is why others are skipped.
        waiting::settle(&self.shared);
        self.phase = Phase::Draining;
        self.token_wait = None;
        tell::cancelled(&self.shared);
        let grace = self.shared.grace;
        let now = self.watch.now(&self.shared);
        let is_over = self.wait_for(now.zip(grace));
        self.shared.poller.drain.set(now.map(|now| (now, now)));
        // Youngest first: what came in last, what waits, what runs, the body.
        let late = Queue::default();
        for node in self.shared.take() {
            if let Some(child) = self.sort_out(node) {
                late.push(child);
            }
        }
        for child in late.take().reversed() {
            self.refuse(child);
        }
        let parked = waiting::take(&self.shared);
        for child in parked.chain(self.queue().take().reversed()) {
            cutting::cancel(&self.shared, child, None);
        }
        self.end_running(Role::Plain, JoinErrorKind::Cancelled);
        if is_there(body.as_mut()) {
            self.shared.poller.cut.set(true);
            self.shared.guard(|| body.set(None));
            tell::body_ended(&self.shared, Some(JoinErrorKind::Cancelled));
        }
        tell::told_all(&self.shared);
        // The grace may be nothing, and it may have been forced already.
        if self.shared.is_forced() {
            self.drop_forced();
        } else if is_over {
            self.drop_graceful();
        }
    }

    /// Sets the watch to the end of a time that begins now. True: there is none, and it has ended.
    fn wait_for(&mut self, time: Option<(Instant, Duration)>) -> bool {
        let end = time.map_or(Instant::NEVER, |(now, time)| now + time);
        let is_over = time.is_some_and(|(now, _)| end.is_due(now));
        self.watch.due = if is_over { Instant::NEVER } else { end };
        self.watch.arm_anew(&self.shared);
        is_over
    }

    /// Nobody has more time, in whichever phase. (In the first, this is done when the drain begins.)
    fn drop_forced(&mut self) {
        if self.phase != Phase::Running {
            self.drop_graceful();
            self.end_running(Role::Shielded, JoinErrorKind::Forced);
        }
    }

    /// The grace is over.
    fn drop_graceful(&mut self) {
        self.end_running(Role::Graceful, JoinErrorKind::Forced);
    }

    /// Drops the running children of one sort, youngest first.
    fn end_running(&mut self, role: Role, kind: JoinErrorKind) {
        cutting::cut_all(&self.shared, role, kind);
        self.set.retain(|running| running.is_alive());
    }

    // -------------------------------------------------------------- cleanups

    /// Step 5, if there are cleanups and no body. True if there is more to do at once.
    #[cold]
    fn clean(&mut self, rang: usize) -> bool {
        if self.phase != Phase::Cleaning {
            if !self.is_childless() {
                return false;
            }
            self.begin_cleaning();
        }
        if self.shared.is_forced() {
            self.hurry();
        }
        let waker = self.desk.waker(bit::CLEANUP);
        let woken = rang & 1 << bit::CLEANUP != 0;
        let mut cleaning = self.cleaning.take().unwrap_or_default();
        let mut cleaned = cleaning.go_on(woken, &self.shared, &waker);
        let mut rounds = 0..ROUNDS;
        let more = loop {
            match cleaned {
                Some(Cleaned::Pending) => break false,
                Some(Cleaned::Failed(who, error)) => {
                    self.errors.push(error);
                    self.records.push(who);
                }
                Some(Cleaned::Ended) | None => {}
            }
            // It may have deferred another, which comes next, or have begun what the next waits for.
            self.admit();
            if !self.is_childless() || self.shared.poller.cleanups.is_empty() {
                break false;
            }
            if rounds.next().is_none() {
                break true;
            }
            // Who was turned away may have deferred one when he was dropped.
            cleaned = match self.shared.is_inbox_empty() {
                true => cleaning.begin(&self.shared, &waker),
                false => None,
            };
        };
        self.cleaning = Some(cleaning);
        more
    }

    /// From now on children are refused, and deadline and grace mean nothing.
    fn begin_cleaning(&mut self) {
        self.phase = Phase::Cleaning;
        self.shared.refuse_children();
        self.cleaning.get_or_insert_default().cut = self.shared.poller.cut.get();
        let now = self.cleanup.and_then(|_| self.watch.now(&self.shared));
        if self.wait_for(now.zip(self.cleanup)) {
            self.hurry();
        }
    }

    /// The time for cleanups is over.
    fn hurry(&mut self) {
        self.cleaning.get_or_insert_default().hurried = true;
    }

    // -------------------------------------------------------------- the end

    /// After `Ready`: the outcome, or the first panic.
    pub(crate) fn finish<T>(&mut self, mut value: Option<T>) -> Result<T, Failure<E>> {
        let shared = &self.shared;
        let cleaning = self.cleaning.take();
        let cut = match &cleaning {
            Some(cleaning) => cleaning.cut,
            None => shared.poller.cut.get(),
        };
        let report = Report {
            name: shared.name.clone(),
            stats: shared.stats(),
            cleanups: cleaning.unwrap_or_default().stats,
            drained: shared.poller.drained.take(),
        };
        shared.set_report(report.clone());
        let panics = &shared.poller.panics;
        let forgiven = self.enough && value.is_some();
        let lost = shared.poller.lost.take().filter(|_| !forgiven);
        if forgiven {
            // Those of the children. A cleanup's error came after all of them.
            let theirs = self.errors.len() - report.cleanups.failed;
            self.records.drain(..theirs);
            panics.catch(|| drop_all(self.errors.drain(..theirs)));
        }
        // Before it can unwind through the errors.
        let fails =
            self.cause.is_some() || cut && !forgiven || lost.is_some() || !self.errors.is_empty();
        if fails || panics.caught() {
            panics.catch(|| drop(value.take()));
        }
        if panics.caught() {
            let (cause, errors) = (self.cause.take(), core::mem::take(&mut self.errors));
            panics.catch(|| drop_all(cause.into_iter().chain(errors)));
            panics.resume();
            unreachable!("a panic was kept");
        }
        let mut errors = core::mem::take(&mut self.errors);
        let cause = match (self.cause.take(), lost, value) {
            (Some(error), ..) => Cause::Error(error),
            // This was what cancelled it.
            (None, Some((child, true)), _) => Cause::Lost(child),
            (None, ..) if cut && !forgiven => {
                Cause::Cancelled(shared.token.reason().unwrap_or(Reason::dropped()))
            }
            (None, Some((child, false)), _) => Cause::Lost(child),
            (None, None, _) if !errors.is_empty() => Cause::Error(errors.remove(0)),
            (None, None, Some(value)) => return Ok(value),
            (None, None, None) => unreachable!("a body without a value has failed or was cut"),
        };
        let records = core::mem::take(&mut self.records);
        Err(Failure::new(cause, errors, records, report))
    }
}

impl<E, M: Mode> Engine<'_, E, M> {
    /// After [`close`](Self::close) and the drop of the body: tells that it is over, unless that was told.
    pub(crate) fn closed(&self) {
        tell::body_ended(&self.shared, Some(JoinErrorKind::Closed));
        tell::closed(&self.shared);
        self.shared.poller.panics.resume();
    }

    /// N9: shuts, and drops the children youngest first, then all else that is not ours, whoever
    /// panics. No effect a second time.
    pub(crate) fn close(&mut self) {
        let shared = &self.shared;
        let late = Queue::default();
        let early = self.phase != Phase::Ended;
        if early {
            self.phase = Phase::Ended;
            for node in shared.shut().reversed() {
                match node.role() {
                    Role::Cleanup => shared.poller.cleanups.push(node),
                    _ => late.push(node),
                }
            }
            // One that was kept came before the drop; nobody waits for it any more.
            shared.poller.panics.forget();
        }
        each(0..10, |step| match step {
            0 => {
                if early {
                    shared.token.cancel_with(Reason::dropped());
                }
            }
            1 => drop(late.take().reversed()),
            2 => {
                let waiting = waiting::take(shared);
                let queued = shared.poller.queue.take().reversed();
                let services = shared.poller.services.take();
                each(waiting.chain(queued).chain(services), |child| {
                    tell::end(shared, &child, JoinErrorKind::Closed, None);
                });
            }
            3 => cutting::close_all(shared),
            4 => self.set.clear(),
            5 => drop(shared.poller.cleanups.take_all()),
            6 => drop_all(self.cause.take().into_iter().chain(self.errors.drain(..))),
            7 => {
                shared.poller.timetable.clear();
                self.watch.stop();
            }
            8 => self.policy = M::fail_fast(),
            // A panic of what the set let go of.
            _ => shared.poller.panics.resume(),
        });
    }
}

impl<E, M: Mode> Drop for Engine<'_, E, M> {
    fn drop(&mut self) {
        self.close();
    }
}
