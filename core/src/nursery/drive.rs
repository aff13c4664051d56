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
//! Tasks of an executor and nested scopes are not dropped but told to end, and polled until they have.
//! Without cleanups there is no Cleaning. In it neither token nor deadline is looked at.
//!
//! What the engine is made of is in `engine`; `admission` lets children in, `draining` has the phases
//! Draining and Cleaning, `finishing` the end.
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
//! [`Shared::guard`]: crate::nursery::shared::Shared::guard

use crate::nursery::cutting;
use crate::nursery::ended::{Ended, Origin, Record, Span};
use crate::nursery::engine::{Engine, Phase, ROUNDS, is_there};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::mode::Mode;
use crate::nursery::panics::attempt;
use crate::nursery::running::End;
use crate::nursery::shared::bit;
use crate::nursery::tell;
use crate::nursery::waiting;
use crate::reason::Reason;
use crate::time::Instant;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

impl<E, M: Mode> Engine<'_, E, M> {
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
        let bell = self.desk.waker(bit::INBOX);
        if self.set.is_idle(cx, &bell) {
            return Poll::Pending;
        }
        let begun = self.set.begin(cx, &bell);
        self.in_turn = true;
        let mut rang = begun.desk;
        if self.phase == Phase::New {
            rang = !0;
            self.open();
        }
        self.look_at_signals(rang, body.as_mut());
        if rang & 1 << bit::QUEUE != 0 {
            cutting::purge(&self.shared);
            // What was dropped may have cancelled.
            self.drain_if_cancelled(body.as_mut());
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
        let again = self.shared.poller.again.take() || yielding;
        if !begun.registered {
            cx.waker().wake_by_ref();
        } else if again {
            // By way of the desk: then no other wake follows.
            self.desk.ring(bit::INBOX);
        }
        Poll::Pending
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
            // Aside, for it is not for the many.
            if !matches!(end, End::Counted) {
                self.ended(end);
            }
        }
    }

    /// Of the child that left the set last.
    #[inline(never)]
    fn ended(&mut self, end: End<E>) {
        let poller = &self.shared.poller;
        match end {
            End::Done => {
                let name = poller.name.take();
                if let Some(origin) = poller.done.take() {
                    self.succeeded(&Ended::new(name.as_ref(), origin, Span::default()));
                }
            }
            End::Failed(error) => {
                if let Some(who) = poller.failed.take() {
                    self.failed(who, error);
                }
            }
            End::Counted => {}
        }
    }
}
