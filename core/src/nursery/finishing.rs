//! The engine: its end, by itself or by the drop of the nursery's future.

use crate::nursery::cutting;
use crate::nursery::engine::{Engine, Phase};
use crate::nursery::failure::{Cause, Failure};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::list::Queue;
use crate::nursery::mode::Mode;
use crate::nursery::options::Role;
use crate::nursery::report::Report;
use crate::nursery::tell;
use crate::nursery::waiting;
use crate::reason::Reason;
use crate::wake::batch::{drop_all, each};

impl<E, M: Mode> Engine<'_, E, M> {
    /// After `Ready`: the outcome, or the first panic.
    pub(crate) fn finish<T>(&mut self, mut value: Option<T>) -> Result<T, Failure<E>> {
        let shared = &self.shared;
        let cleaning = self.cleaning.take();
        let (cut, theirs) = match &cleaning {
            Some(cleaning) => (cleaning.cut, cleaning.errors_before),
            None => (shared.poller.cut.get(), self.errors.len()),
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
            // Those of the children. What came later is a cleanup's.
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

    /// N9: shuts, and drops the children youngest first, then the body, then all else that is not ours,
    /// whoever panics. No effect a second time.
    pub(crate) fn close(&mut self, mut drop_body: impl FnMut()) {
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
        each(0..11, |step| match step {
            0 => {
                if early {
                    shared.token.cancel_with(Reason::dropped());
                }
            }
            1 => drop(late.take().reversed()),
            2 => {
                let waiting = waiting::take(shared);
                let queued = shared.poller.queue.take().reversed();
                let services = shared.poller.services.take().reversed();
                each(waiting.chain(queued).chain(services), |child| {
                    tell::end(shared, &child, JoinErrorKind::Closed, None);
                });
            }
            3 => cutting::close_all(shared),
            4 => self.set.clear(),
            5 => drop_body(),
            6 => drop(shared.poller.cleanups.take_all()),
            7 => drop_all(self.cause.take().into_iter().chain(self.errors.drain(..))),
            8 => {
                shared.poller.order.clear();
                shared.poller.timetable.clear();
                self.watch.stop();
            }
            9 => self.policy = None,
            // A panic of what the set let go of.
            _ => shared.poller.panics.resume(),
        });
    }
}

impl<E, M: Mode> Drop for Engine<'_, E, M> {
    fn drop(&mut self) {
        self.close(|| ());
    }
}
