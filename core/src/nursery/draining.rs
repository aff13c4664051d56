//! The engine: the phases Draining and Cleaning. Steps 2 and 5 of a turn: see `drive`.

use crate::nursery::cleanup::Cleaned;
use crate::nursery::cutting;
use crate::nursery::engine::{Engine, Phase, ROUNDS, is_there};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::list::Queue;
use crate::nursery::mode::Mode;
use crate::nursery::options::Role;
use crate::nursery::shared::bit;
use crate::nursery::tell;
use crate::nursery::waiting;
use core::pin::Pin;

impl<E, M: Mode> Engine<'_, E, M> {
    pub(crate) fn drain_if_cancelled<B>(&mut self, mut body: Pin<&mut Option<B>>) {
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
        let poller = &self.shared.poller;
        let parked = waiting::take(&self.shared);
        let services = poller.services.take().reversed();
        for child in parked.chain(services).chain(poller.queue.take().reversed()) {
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

    /// Nobody has more time, in whichever phase. (In the first, this is done when the drain begins.)
    pub(crate) fn drop_forced(&mut self) {
        if self.phase != Phase::Running {
            self.drop_graceful();
            self.end_running(Role::Shielded, JoinErrorKind::Forced);
        }
    }

    /// The grace is over.
    pub(crate) fn drop_graceful(&mut self) {
        self.end_running(Role::Graceful, JoinErrorKind::Forced);
    }

    /// Drops the running children of one sort, youngest first.
    pub(crate) fn end_running(&mut self, role: Role, kind: JoinErrorKind) {
        cutting::cut_all(&self.shared, role, kind);
        self.set.retain(|running| running.is_alive());
    }

    /// Step 5, if there are cleanups and no body. True if there is more to do at once.
    #[cold]
    pub(crate) fn clean(&mut self, rang: usize) -> bool {
        if self.phase != Phase::Cleaning {
            // Who was spawned by the drop of the last child comes before; his ring brings another turn.
            if !self.is_childless() || !self.shared.is_inbox_empty() {
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
    pub(crate) fn begin_cleaning(&mut self) {
        self.phase = Phase::Cleaning;
        self.shared.refuse_children();
        let cleaning = self.cleaning.get_or_insert_default();
        cleaning.cut = self.shared.poller.cut.get();
        cleaning.errors_before = self.errors.len();
        let now = self.cleanup.and_then(|_| self.watch.now(&self.shared));
        if self.wait_for(now.zip(self.cleanup)) {
            self.hurry();
        }
    }

    /// The time for cleanups is over.
    pub(crate) fn hurry(&mut self) {
        self.cleaning.get_or_insert_default().hurried = true;
    }
}
