//! The coordinator at work: the body of the nursery in which the subsystems run.
//!
//! # Invariants
//!
//! - **D1** A subsystem is told to stop only when all those of the phases before have ended: none is left
//!   without what it needs to drain.
//! - **D2** The nursery around is never cancelled: what ends a subsystem is its own token, and then its own
//!   nursery's force. So its failure, and its panic, which stops at `run`, touch nobody but through
//!   `State::stop`.
//! - **D3** Each wait of the shutdown ends with `force`, but the last one of a phase, for those that were
//!   forced: they are dropped when their nurseries are polled.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use umbel_core::{
    Budget, CancellationToken, Failure, Handle, Instant, Join, Nursery, Reason, Report, Timer,
};

use super::health::{State, Step};
use super::report::{End, ShutdownReport, SubsystemReport};
use super::subsystem::{OnFailure, Phase, Stage, Subsystem};

/// A subsystem, as the coordinator keeps it.
pub(super) struct Slot<'env, E> {
    pub(super) what: Subsystem,
    pub(super) stage: Arc<Stage>,
    /// Its nursery's parent: cancelled when it is told to stop.
    pub(super) token: CancellationToken,
    /// Its nursery's.
    pub(super) handle: Handle<'env, E>,
    /// Until it starts.
    pub(super) nursery: Option<Nursery<'env, E>>,
    /// While it runs.
    join: Option<Join<Ended<E>>>,
    told: Option<Instant>,
}

/// How a subsystem's nursery ended, and when.
struct Ended<E> {
    how: Result<Result<(), Failure<E>>, String>,
    at: Instant,
}

impl<'env, E: Send + 'env> Slot<'env, E> {
    pub(super) fn new(
        what: Subsystem,
        stage: Arc<Stage>,
        token: CancellationToken,
        nursery: Nursery<'env, E>,
        handle: Handle<'env, E>,
    ) -> Self {
        Slot {
            what,
            stage,
            token,
            handle,
            nursery: Some(nursery),
            join: None,
            told: None,
        }
    }

    fn runs(&self) -> bool {
        self.join.is_some()
    }

    fn report(&self, ended: Ended<E>) -> SubsystemReport<E> {
        let report = self.handle.report().unwrap_or_default();
        let was_told = self.told.is_some();
        let end = match ended.how {
            Err(panic) => End::Panicked(panic),
            // What was cut because we told it to stop is no failure.
            Ok(Err(failure))
                if !(was_told && failure.cancelled().is_some() && failure.rest.is_empty()) =>
            {
                End::Failed(failure)
            }
            Ok(_) if report.forced().next().is_some() => End::Forced,
            Ok(_) => End::Done,
        };
        SubsystemReport {
            end,
            drain: self.told.map(|told| ended.at - told),
            ..self.blank(report)
        }
    }

    /// It never starts.
    fn give_up(&mut self) -> SubsystemReport<E> {
        self.nursery = None;
        self.blank(Report::default())
    }

    fn blank(&self, report: Report) -> SubsystemReport<E> {
        SubsystemReport {
            name: self.what.name.clone(),
            phase: self.what.phase,
            on_failure: self.what.on_failure,
            end: End::NeverStarted,
            drain: None,
            report,
        }
    }
}

/// Runs a subsystem's nursery. A panic of what is in it ends here, when all of it has ended.
async fn run<'env, E, T>(nursery: Nursery<'env, E>, timer: T) -> Result<Ended<E>, Infallible>
where
    E: Send + 'env,
    T: Timer,
{
    let mut run = pin!(nursery.run(async { Ok(()) }));
    let poll = |task: &mut Task<'_>| {
        // After a panic it is not polled again.
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(task))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(text(&*panic))),
        }
    };
    let how = poll_fn(poll).await;
    Ok(Ended {
        how,
        at: timer.now(),
    })
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> String {
    let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let made = || panic.downcast_ref::<String>().cloned();
    fixed.or_else(made).unwrap_or_else(|| "no text".into())
}

pub(super) struct Driver<'env, E, T> {
    pub(super) timer: T,
    pub(super) state: Arc<State>,
    pub(super) force_on: CancellationToken,
    pub(super) budget: Option<Duration>,
    pub(super) lame_duck: Duration,
    /// The parts of phases that have not one.
    pub(super) shares: Vec<(Phase, usize)>,
    slots: Vec<Slot<'env, E>>,
    /// Of those that have ended.
    reports: Vec<SubsystemReport<E>>,
}

impl<'env, E, T> Driver<'env, E, T> {
    pub(super) fn new(timer: T, state: Arc<State>) -> Self {
        Driver {
            timer,
            state,
            force_on: CancellationToken::never(),
            budget: None,
            lame_duck: Duration::ZERO,
            shares: Vec::new(),
            slots: Vec::new(),
            reports: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, slot: Slot<'env, E>) {
        self.slots.push(slot);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl<'env, E, T> Driver<'env, E, T>
where
    E: Send + 'env,
    T: Timer + Clone + Send + 'env,
    T::Sleep: Send,
{
    pub(super) async fn drive(mut self, outer: Handle<'env, Infallible>) -> ShutdownReport<E> {
        let stop = self.state.stop.clone();
        self.start(&outer, &stop).await;
        if !stop.is_cancelled() {
            self.state.enter(Step::Ready);
            let all_ended = |all: &Self| !all.slots.iter().any(Slot::runs);
            self.until(Instant::NEVER, &stop, all_ended).await;
        }
        self.state.enter(Step::Stopping);
        let begin = self.timer.now();
        // At once: what they hold others may wait for.
        let never = self.slots.iter_mut().filter(|slot| slot.nursery.is_some());
        let never: Vec<_> = never.map(Slot::give_up).collect();
        self.stop_all(begin).await;
        let mut subsystems = mem::take(&mut self.reports);
        subsystems.extend(never);
        ShutdownReport {
            reason: stop.reason(),
            took: self.timer.now() - begin,
            subsystems,
        }
    }

    /// Starts one after another, until it is told to stop.
    async fn start(&mut self, outer: &Handle<'env, Infallible>, stop: &CancellationToken) {
        for i in 0..self.slots.len() {
            if stop.is_cancelled() {
                return;
            }
            let slot = &mut self.slots[i];
            let Some(nursery) = slot.nursery.take() else {
                continue;
            };
            let child = outer.child().name(slot.what.name.clone());
            slot.join = Some(child.spawn_graceful(|_| run(nursery, self.timer.clone())));
            if slot.what.awaited {
                let started = slot.stage.started.clone();
                let either = CancellationToken::any_of([stop, &started]);
                self.until(Instant::NEVER, &either, |all| !all.slots[i].runs())
                    .await;
            }
        }
    }

    /// The lame duck's delay, then phase after phase.
    async fn stop_all(&mut self, begin: Instant) {
        let budget = match self.budget {
            Some(time) => Budget::lasting(begin, time),
            None => Budget::UNLIMITED,
        };
        let force = CancellationToken::any_of([&self.state.force, &self.force_on]);
        let any = |all: &Self| all.slots.iter().any(Slot::runs);
        if !self.lame_duck.is_zero() {
            let end = budget.at_most(begin, self.lame_duck).deadline();
            self.until(end, &force, |all| !any(all)).await;
        }
        let phases = self.phases();
        let parts: Vec<_> = phases.iter().map(|phase| self.parts(phase)).collect();
        let all = parts.iter().fold(0, |all: usize, n| all.saturating_add(*n));
        let mut shares = budget.split(all);
        for (phase, parts) in phases.into_iter().zip(parts) {
            let now = self.timer.now();
            let share = shares.take(parts, now);
            self.stop_phase(&phase, share, &force, now).await;
        }
    }

    /// Who runs, in the order of stopping: by phase, then those without, youngest first.
    fn phases(&self) -> Vec<Vec<usize>> {
        let runs = |&i: &usize| self.slots[i].runs();
        let (mut with, without): (Vec<_>, Vec<_>) = (0..self.slots.len())
            .filter(runs)
            .partition(|&i| self.slots[i].what.phase.is_some());
        with.sort_by_key(|&i| self.slots[i].what.phase);
        let same = |a: &usize, b: &usize| self.slots[*a].what.phase == self.slots[*b].what.phase;
        let phases = with.chunk_by(same).map(<[usize]>::to_vec);
        phases
            .chain(without.into_iter().rev().map(|i| vec![i]))
            .collect()
    }

    /// How many parts of the budget those have, who are stopped together.
    fn parts(&self, together: &[usize]) -> usize {
        let phase = together.first().and_then(|&i| self.slots[i].what.phase);
        let share = self.shares.iter().find(|(of, _)| phase == Some(*of));
        share.map_or(1, |&(_, parts)| parts)
    }

    /// Tells those of one phase, and waits until they have ended. Who has not by his time is forced.
    async fn stop_phase(
        &mut self,
        phase: &[usize],
        share: Budget,
        force: &CancellationToken,
        now: Instant,
    ) {
        for &i in phase {
            let slot = &mut self.slots[i];
            let budget = match slot.what.grace {
                Some(grace) => share.at_most(now, grace),
                None => share,
            };
            if budget != Budget::UNLIMITED {
                let _ = slot.stage.deadline.set(budget.deadline()); // the first time
            }
            slot.told = Some(now);
        }
        // When all have their times: a token's waker may look at another's.
        for &i in phase {
            self.slots[i].token.cancel_with(Reason::shutdown());
        }
        let mut forced = vec![false; phase.len()];
        loop {
            let now = self.timer.now();
            let mut next = Instant::NEVER;
            let mut left = false;
            for (&i, forced) in phase.iter().zip(&mut forced) {
                let slot = &self.slots[i];
                if !slot.runs() || *forced {
                    continue;
                }
                let due = slot.stage.deadline.get().copied();
                let due = due.unwrap_or(Instant::NEVER);
                if due.is_due(now) || force.is_cancelled() {
                    *forced = true;
                    slot.handle.force();
                } else {
                    left = true;
                    next = next.min(due);
                }
            }
            let ended = |all: &Self| !phase.iter().any(|&i| all.slots[i].runs());
            if left {
                self.until(next, force, ended).await;
            } else {
                // Those that were forced are dropped at their next poll.
                let never = CancellationToken::never();
                self.until(Instant::NEVER, &never, ended).await;
                return;
            }
        }
    }

    /// Waits until `at`, or until `token` is cancelled, or `done` says so of who has ended.
    async fn until(
        &mut self,
        at: Instant,
        token: &CancellationToken,
        done: impl Fn(&Self) -> bool,
    ) {
        let sleep = (at != Instant::NEVER).then(|| self.timer.sleep_until(at));
        let mut sleep = pin!(sleep);
        let mut cancelled = pin!(token.cancelled());
        poll_fn(|task| {
            self.look(task);
            if done(self) || cancelled.as_mut().poll(task).is_ready() {
                return Poll::Ready(());
            }
            let Some(slept) = sleep.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            ready!(slept.poll(task));
            if at.is_due(self.timer.now()) {
                return Poll::Ready(());
            }
            // A timer that ends early breaks its contract; sleep again, one poll at a time.
            sleep.set(Some(self.timer.sleep_until(at)));
            task.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Takes in who has ended.
    fn look(&mut self, task: &mut Task<'_>) {
        for slot in &mut self.slots {
            let Some(join) = &mut slot.join else { continue };
            let Poll::Ready(ended) = Pin::new(join).poll(task) else {
                continue;
            };
            slot.join = None;
            let ended = ended.unwrap_or_else(|error| Ended {
                how: Err(error.to_string()),
                at: self.timer.now(),
            });
            let report = slot.report(ended);
            let failed = matches!(report.end, End::Failed(_) | End::Panicked(_));
            if failed && slot.what.on_failure == OnFailure::StopAll {
                self.state.stop.cancel_with(Reason::sibling_failed());
            }
            self.reports.push(report);
        }
    }
}

impl<E, T> Drop for Driver<'_, E, T> {
    fn drop(&mut self) {
        self.state.enter(Step::Ended);
    }
}
