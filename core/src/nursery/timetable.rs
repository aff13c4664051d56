//! What is to happen when: the instants of single children, shields and cleanups.
//!
//! Each entry is an instant and a waker; when the instant has come, the nursery takes the entry out and
//! wakes the waker, and who was woken looks for himself: at
//! [`Poller::now`](crate::nursery::shared::Poller::now). So the table knows nobody and nothing dangles.
//! The nursery's one alarm is set to the first entry, or to what concerns the nursery itself if that
//! comes before.
//!
//! It belongs to the nursery's own future, as all of the poller (H2). Empty it takes no memory but its
//! own.
//!
//! # Foreign code
//!
//! The wakers are those of the nursery's own set and desk: no foreign code. Others may be entered by who
//! sees to it that a panic of theirs is caught: the nursery wakes them in `guard`.

use crate::time::Instant;
use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use core::task::Waker;

/// An entry: its instant, and a number that tells it from others of the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(Instant, u64);

#[derive(Default)]
pub(crate) struct Timetable {
    entries: RefCell<BTreeMap<Ticket, Waker>>,
    tickets: Cell<u64>,
    changed: Cell<bool>,
}

impl Timetable {
    /// Enters a waker. `None`: never.
    pub(crate) fn enter(&self, at: Instant, waker: Waker) -> Option<Ticket> {
        if at == Instant::NEVER {
            return None;
        }
        let ticket = Ticket(at, self.tickets.get());
        self.tickets.set(ticket.1 + 1);
        self.entries.borrow_mut().insert(ticket, waker);
        self.changed.set(true);
        Some(ticket)
    }

    /// Takes an entry out, if it is still there.
    pub(crate) fn strike(&self, ticket: Ticket) {
        let struck = self.entries.borrow_mut().remove(&ticket);
        self.changed.set(true);
        drop(struck);
    }

    /// Takes out one that is due.
    pub(crate) fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut entries = self.entries.borrow_mut();
        let first = entries.first_entry()?;
        if !first.key().0.is_due(now) {
            return None;
        }
        self.changed.set(true);
        Some(first.remove())
    }

    /// When something is due next.
    pub(crate) fn first(&self) -> Instant {
        let entries = self.entries.borrow();
        let first = entries.first_key_value();
        first.map_or(Instant::NEVER, |(ticket, _)| ticket.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// The alarm is to be set anew.
    pub(crate) fn touch(&self) {
        self.changed.set(true);
    }

    /// Whether it was changed since this was asked last.
    #[inline]
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.take()
    }

    pub(crate) fn clear(&self) {
        let all = self.entries.take();
        drop(all);
    }
}
