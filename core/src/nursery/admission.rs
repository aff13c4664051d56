//! The engine: children in. Step 4 of a turn: see `drive`.

use crate::nursery::cutting;
use crate::nursery::engine::{Engine, Phase};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::mode::Mode;
use crate::nursery::node::NurserySide;
use crate::nursery::options::Role;
use crate::nursery::request;
use crate::nursery::running::Running;
use crate::nursery::shared::bit;
use crate::nursery::tell;
use crate::nursery::waiting;
use crate::time::Instant;

impl<E, M: Mode> Engine<'_, E, M> {
    /// Starts what came in, as far as there is room; the rest queues. While draining: refuses it. What is
    /// asked is answered.
    pub(crate) fn admit(&mut self) {
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
    pub(crate) fn admit_aside(&mut self, child: NurserySide, open: bool) {
        let Some(child) = self.sort_out(child) else {
            return;
        };
        if !open {
            return self.refuse(child);
        }
        self.begin_time(&child);
        let head = child.head();
        // A service has no place, and may have begun elsewhere: then it is told to end, and waited for.
        if head.placed.get() || !head.awaited.get() && child.has_begun_elsewhere() {
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
    pub(crate) fn begin_time(&mut self, child: &NurserySide) {
        if let Some(own) = child.own().filter(|own| own.is_timed()) {
            let now = self.watch.now(&self.shared);
            own.begin(now.unwrap_or(Instant::EPOCH));
            // For its first poll, if that is not in this turn.
            self.shared.poller.wants_time.set(true);
        }
    }

    /// A critical section begins, whatever the phase, if it is given any time.
    pub(crate) fn start_shielded(&mut self, child: NurserySide) {
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
    pub(crate) fn sort_out(&mut self, node: NurserySide) -> Option<NurserySide> {
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
    pub(crate) fn start(&mut self, child: NurserySide) {
        if child.head().awaited.get() {
            self.start_awaited(child);
        } else if child.start() {
            self.run(child);
        }
    }

    #[inline(always)]
    pub(crate) fn run(&mut self, child: NurserySide) {
        if child.has_meta() {
            self.run_aside(child);
        } else {
            self.set.push(Running::new(child, &self.shared));
        }
    }

    #[inline(never)]
    pub(crate) fn run_aside(&mut self, child: NurserySide) {
        let priority = child.priority();
        let serving = &self.shared.poller.serving;
        serving.set(serving.get() + usize::from(child.is_service()));
        let running = Running::new(child, &self.shared);
        if self.set.push_with(running, priority) {
            self.shared.poller.again.set(true);
        }
    }

    #[cold]
    pub(crate) fn start_awaited(&mut self, child: NurserySide) {
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
    pub(crate) fn refuse(&mut self, child: NurserySide) {
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
    pub(crate) fn give_places_back(&mut self) {
        if self.queue().is_empty() {
            for _ in 0..core::mem::take(&mut self.places) {
                self.shared.room.give();
            }
        }
    }
}
