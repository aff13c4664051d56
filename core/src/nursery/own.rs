//! The token that a child has for itself, so that it can be cancelled alone.
//!
//! It is a child of the nursery's token. Who is to look at it (the child, or for one that waits for room the
//! nursery) is woken when the nursery itself has cancelled it; and by its cancellation if somebody outside
//! has a handle. (Not otherwise: then the nursery's own cancellation would wake children that do not look at
//! it.)
//!
//! | state | is left when |
//! |---|---|
//! | live | its token is cancelled: by a handle, by its nursery, or here because `due`, its deadline, has come |
//! | shielded: `due` is the end of its time, and its token is never cancelled | it ends, or `due` has come |
//! | told: a graceful one alone was told | it ends, or `due`, the end of its grace, has come |
//!
//! All of it belongs to the nursery's own future, beside the children's other plain fields (C5).

use crate::nursery::timetable::{Ticket, Timetable};
use crate::reason::Reason;
use crate::time::Instant;
use crate::token::{CancellationToken, WaitForCancellationFutureOwned};
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use core::time::Duration;

pub(crate) struct Own {
    pub(crate) token: CancellationToken,
    /// Somebody outside may cancel it at any time.
    pub(crate) watched: bool,
    /// Whoever is to look is woken by it, if it is `watched`. `None`: not yet, or no more.
    wait: RefCell<Option<WaitForCancellationFutureOwned>>,
    /// Who is to look.
    waker: Cell<Option<Waker>>,
    /// It is to end by then.
    deadline: Instant,
    /// Or so long after it came in.
    timeout: Option<Duration>,
    /// When it is cut if nothing else has happened.
    due: Cell<Instant>,
    ticket: Cell<Option<Ticket>>,
    /// It was told alone; if there is a timer, when.
    told: Cell<Option<Option<Instant>>>,
    /// A service, when the others have ended.
    pub(crate) dismissed: Cell<bool>,
}

impl Own {
    pub(crate) fn new(parent: &CancellationToken) -> Self {
        Own::of(parent.child_token())
    }

    fn of(token: CancellationToken) -> Self {
        Own {
            token,
            watched: false,
            wait: RefCell::new(None),
            waker: Cell::new(None),
            deadline: Instant::NEVER,
            timeout: None,
            due: Cell::new(Instant::NEVER),
            ticket: Cell::new(None),
            told: Cell::new(None),
            dismissed: Cell::new(false),
        }
    }

    /// Of a critical section: nobody cancels it, and it has `budget`.
    pub(crate) fn shielded(budget: Duration) -> Self {
        let mut own = Own::of(CancellationToken::never());
        own.set_timeout(budget);
        own
    }

    /// The earlier one holds. Its token is made anew, below the present one, of which somebody may have
    /// a handle.
    pub(crate) fn set_deadline(&mut self, at: Instant) {
        self.deadline = self.deadline.min(at);
        self.token = self.token.child_with_deadline(self.deadline);
    }

    /// The shorter one holds.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(self.timeout.map_or(timeout, |t| t.min(timeout)));
    }

    /// Whether the time must be known when it comes in.
    pub(crate) fn is_timed(&self) -> bool {
        self.deadline != Instant::NEVER || self.timeout.is_some()
    }

    /// It comes in, and its time begins.
    pub(crate) fn begin(&self, now: Instant) {
        let timeout = self.timeout.map_or(Instant::NEVER, |d| now + d);
        self.due.set(self.deadline.min(timeout));
    }

    /// `waker` is to be woken when there is reason to look. To be called before looking.
    pub(crate) fn watch(&self, timetable: &Timetable, waker: &Waker) {
        self.waker.set(Some(waker.clone()));
        self.watch_token(waker);
        self.schedule(timetable, waker);
    }

    /// The nursery itself has cancelled it, alone: who is to look is woken.
    pub(crate) fn nudge(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake_by_ref();
            self.waker.set(Some(waker));
        }
    }

    /// As [`watch`](Self::watch), again with the same waker: `due` stands in the timetable already.
    pub(crate) fn watch_token(&self, waker: &Waker) {
        if !self.watched || self.token.is_cancelled() {
            return;
        }
        let mut wait = self.wait.borrow_mut();
        let wait = wait.get_or_insert_with(|| self.token.clone().cancelled_owned());
        // Ready: who looks sees it.
        let _ = Pin::new(wait).poll(&mut Context::from_waker(waker));
    }

    /// `waker` is to be woken when `due` has come, and no other.
    pub(crate) fn schedule(&self, timetable: &Timetable, waker: &Waker) {
        self.strike(timetable);
        let due = self.due.get();
        if due != Instant::NEVER {
            self.ticket.set(timetable.enter(due, waker.clone()));
        }
    }

    /// It has an end of its own to wait for: its deadline has come, or the end of its grace.
    pub(crate) fn is_due(&self, now: Option<Instant>) -> bool {
        now.is_some_and(|now| self.due.get().is_due(now))
    }

    /// Cancelled, alone or with the nursery: why.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.token.reason()
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told.get().is_some()
    }

    /// It is told, alone. From now on it has `grace`.
    pub(crate) fn tell(&self, now: Option<Instant>, grace: Option<Duration>) {
        self.told.set(Some(now));
        let end = now.zip(grace).map(|(now, grace)| now + grace);
        self.due.set(end.unwrap_or(Instant::NEVER));
    }

    /// How long ago it was told, alone. `None` without a timer.
    pub(crate) fn since_told(&self, now: Option<Instant>) -> Option<Duration> {
        match (self.told.get()?, now) {
            (Some(told), Some(now)) => Some(now - told),
            _ => None,
        }
    }

    fn strike(&self, timetable: &Timetable) {
        if let Some(ticket) = self.ticket.take() {
            timetable.strike(ticket);
        }
    }

    /// Nobody is to be woken any more.
    pub(crate) fn leave(&self, timetable: &Timetable) {
        self.strike(timetable);
        let wait = self.wait.take();
        drop(wait);
    }
}
