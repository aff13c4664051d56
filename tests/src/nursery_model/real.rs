//! The real things, each sort behind one face.

use crate::nursery_model::foreign::{Cleanup, Fault, Job, Released, Value};
use crate::nursery_model::nursery::{Counts, End, Outcome, Tried, Why};
use crate::nursery_model::op::{Handled, Spawning};
use futures_core::Stream;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use umbel_core::{
    CancellationToken, Cause, DeferError, Failure, FixedFailure, FixedNursery, FixedSet, FutureSet,
    Handle, InUse, Instant, Join, JoinError, JoinErrorKind, LocalHandle, Priority, Reason,
    ReasonKind, Report, Snapshot, Started, Stats, TrySpawnError, WakePool,
};

/// How many children a fixed nursery or set has room for.
pub(super) const SLOTS: usize = 3;

/// What `take` makes of a pool that nobody has. One script at a time has one; that of a script that broke
/// off is not given back, so another one is made.
pub(super) fn with_pool<T>(take: impl Fn(&'static WakePool<SLOTS>) -> Result<T, InUse>) -> T {
    static FIRST: WakePool<SLOTS> = WakePool::new();
    static POOL: Mutex<&WakePool<SLOTS>> = Mutex::new(&FIRST);
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match take(*pool) {
            Ok(taken) => return taken,
            Err(InUse { .. }) => *pool = Box::leak(Box::new(WakePool::new())),
        }
    }
}

pub(super) type Spawned = Result<Join<Value>, JoinError>;

/// What a script polls.
pub(super) enum Real {
    Run(Pin<Box<dyn Future<Output = Result<Value, Failure<Fault>>>>>),
    FixedRun(Pin<Box<dyn Future<Output = Result<Value, FixedFailure<Fault>>>>>),
    FutureSet(FutureSet<Job>),
    FixedSet(Pin<Box<FixedSet<Job, SLOTS>>>),
}

/// A wait for room.
pub(super) struct Wait {
    /// The child's.
    pub(super) number: usize,
    /// It has been polled.
    pub(super) begun: bool,
    /// A poll of it has panicked: there may not be another one.
    pub(super) over: bool,
    pub(super) future: Waiting,
}

pub(super) enum Waiting {
    Growing(Pin<Box<dyn Future<Output = Spawned>>>),
    Fixed(Pin<Box<dyn Future<Output = Result<(), TrySpawnError<Silent>>>>>),
}

/// A wait for a child that is to say that it has started.
pub(super) type Starting = Pin<Box<dyn Future<Output = Result<(Value, Join<Value>), JoinError>>>>;

/// An answer that is waited for.
pub(super) type Looking = Pin<Box<dyn Future<Output = Snapshot>>>;

/// What comes out of a spawn beside its result, also if it panics.
#[derive(Default)]
pub(super) struct Aside {
    pub(super) handle: Option<CancellationToken>,
    /// By which a graceful child is told.
    pub(super) context: Option<CancellationToken>,
    pub(super) started: Option<Started<Value>>,
}

/// A handle of a nursery, of either sort.
pub(super) trait Api {
    fn spawn(&self, job: Job, how: &Spawning, aside: &mut Aside) -> Join<Value>;
    fn try_spawn(
        &self,
        job: Job,
        how: &Spawning,
        aside: &mut Aside,
    ) -> Result<Join<Value>, TrySpawnError<Job>>;
    fn spawn_wait(
        &self,
        job: Job,
        how: &Spawning,
        aside: &mut Aside,
    ) -> Pin<Box<dyn Future<Output = Spawned>>>;
    fn start(&self, job: Job, how: &Spawning, aside: &mut Aside) -> Starting;
    fn shield(&self, job: Job, how: &Spawning, budget: Option<u64>) -> Join<Value>;
    fn defer(&self, job: Job, how: &Spawning) -> Result<(), DeferError<Cleanup>>;
    fn release(&self, value: Released, how: &Spawning) -> Result<(), DeferError<Released>>;
    fn token(&self) -> &CancellationToken;
    fn cancel(&self) -> bool;
    fn cancel_named(&self, number: usize);
    fn cancel_keyed(&self, key: u8);
    fn force(&self);
    fn stats(&self) -> Stats;
    fn snapshot(&self) -> Looking;
    fn has_report(&self) -> bool;
    fn report(&self) -> Option<Report>;
}

/// What its name says.
fn name(number: usize) -> String {
    number.to_string()
}

fn key(key: u8) -> u64 {
    u64::from(key)
}

macro_rules! take_handle {
    ($child:expr, $how:expr, $aside:expr) => {
        if let Some(handled) = $how.said.handle {
            let token = $child.cancel_handle();
            if handled == Handled::Cancelled {
                token.cancel_with(Reason::custom(HANDLE));
            }
            $aside.handle = Some(token);
        }
    };
}

/// A child of this handle, with all that is said about it.
macro_rules! child {
    ($handle:expr, $number:expr, $how:expr, $aside:expr) => {{
        let (how, mut child) = ($how, $handle.child());
        if $number % 2 == 0 {
            take_handle!(child, how, $aside);
        }
        if how.named {
            child = child.name(name($number));
        }
        if let Some(it) = how.said.key {
            child = child.key(key(it));
        }
        if how.said.priority != Priority::Normal {
            child = child.priority(how.said.priority);
        }
        if how.said.service {
            child = child.service();
        }
        let after: Vec<_> = how.said.after.iter().flatten().map(|of| of.1).collect();
        if !after.is_empty() {
            child = child.after(&after);
        }
        if let Some(at) = how.said.deadline {
            child = child.deadline(Instant::from_nanos(at));
        }
        if let Some(time) = how.said.timeout {
            child = child.timeout(Duration::from_nanos(time));
        }
        if $number % 2 == 1 {
            take_handle!(child, how, $aside);
        }
        child
    }};
}

macro_rules! api {
    ($Handle:ident) => {
        impl Api for $Handle<'static, Fault> {
            fn spawn(&self, job: Job, how: &Spawning, aside: &mut Aside) -> Join<Value> {
                match (how.is_bare(), how.graceful) {
                    (true, false) => self.spawn(job),
                    (true, true) => self.spawn_graceful(|_| job),
                    (false, false) => child!(self, job.0, how, aside).spawn(job),
                    (false, true) => child!(self, job.0, how, aside).spawn_graceful(|cx| {
                        aside.context = Some(cx.token().clone());
                        job
                    }),
                }
            }

            fn try_spawn(
                &self,
                job: Job,
                how: &Spawning,
                aside: &mut Aside,
            ) -> Result<Join<Value>, TrySpawnError<Job>> {
                match (how.is_bare(), how.graceful) {
                    (true, false) => self.try_spawn(job),
                    (true, true) => self.try_spawn_graceful(|_| job),
                    (false, false) => child!(self, job.0, how, aside).try_spawn(job),
                    (false, true) => child!(self, job.0, how, aside).try_spawn_graceful(|cx| {
                        aside.context = Some(cx.token().clone());
                        job
                    }),
                }
            }

            fn spawn_wait(
                &self,
                job: Job,
                how: &Spawning,
                aside: &mut Aside,
            ) -> Pin<Box<dyn Future<Output = Spawned>>> {
                match (how.is_bare(), how.graceful) {
                    (true, false) => Box::pin(self.spawn_wait(job)),
                    (true, true) => Box::pin(self.spawn_wait_graceful(|_| job)),
                    (false, false) => Box::pin(child!(self, job.0, how, aside).spawn_wait(job)),
                    (false, true) => {
                        let child = child!(self, job.0, how, aside);
                        Box::pin(child.spawn_wait_graceful(|cx| {
                            aside.context = Some(cx.token().clone());
                            job
                        }))
                    }
                }
            }

            fn start(&self, job: Job, how: &Spawning, aside: &mut Aside) -> Starting {
                match (how.is_bare(), how.graceful) {
                    (true, false) => Box::pin(self.start(|started| {
                        aside.started = Some(started);
                        job
                    })),
                    (_, false) => Box::pin(child!(self, job.0, how, aside).start(|started| {
                        aside.started = Some(started);
                        job
                    })),
                    (_, true) => {
                        let child = child!(self, job.0, how, aside);
                        Box::pin(child.start_graceful(|cx, started| {
                            aside.context = Some(cx.token().clone());
                            aside.started = Some(started);
                            job
                        }))
                    }
                }
            }

            fn shield(&self, job: Job, how: &Spawning, budget: Option<u64>) -> Join<Value> {
                let budget = budget.map_or(Duration::MAX, Duration::from_nanos);
                match how.named {
                    true => self.child().name(name(job.0)).shield(budget, job),
                    false => self.shield(budget, job),
                }
            }

            fn defer(&self, job: Job, how: &Spawning) -> Result<(), DeferError<Cleanup>> {
                match how.named {
                    true => self.child().name(name(job.0)).defer(Cleanup(job)),
                    false => self.defer(Cleanup(job)),
                }
            }

            fn release(&self, value: Released, how: &Spawning) -> Result<(), DeferError<Released>> {
                match how.named {
                    true => self.child().name(name(value.0)).release(value),
                    false => self.release(value),
                }
            }

            fn token(&self) -> &CancellationToken {
                self.token()
            }

            fn cancel(&self) -> bool {
                self.cancel()
            }

            fn cancel_named(&self, number: usize) {
                self.cancel_named(name(number), Reason::custom(NAMED));
            }

            fn cancel_keyed(&self, it: u8) {
                self.cancel_keyed(key(it), Reason::custom(KEYED));
            }

            fn force(&self) {
                self.force();
            }

            fn stats(&self) -> Stats {
                self.stats()
            }

            fn snapshot(&self) -> Looking {
                Box::pin(self.snapshot())
            }

            fn has_report(&self) -> bool {
                self.report().is_some()
            }

            fn report(&self) -> Option<Report> {
                self.report()
            }
        }
    };
}

api!(Handle);
api!(LocalHandle);

/// What the model calls these.
pub(super) fn counts(stats: &Stats) -> Counts {
    Counts {
        started: stats.started,
        done: stats.done,
        failed: stats.failed,
        panicked: stats.panicked,
        cancelled: stats.cancelled,
        forced: stats.forced,
        skipped: stats.skipped,
        active: stats.active,
    }
}

/// The codes of the reasons that a script gives.
pub(super) const PARENT: u16 = 1;
pub(super) const FORCE: u16 = 2;
pub(super) const HANDLE: u16 = 3;
pub(super) const NAMED: u16 = 4;
pub(super) const KEYED: u16 = 5;

/// What the model calls this reason; `None`: it is none that a script gives.
pub(super) fn why(reason: &Reason) -> Option<Why> {
    match (reason.kind(), reason.code()) {
        (ReasonKind::Explicit, None) => Some(Why::Explicit),
        (ReasonKind::Custom, Some(PARENT)) => Some(Why::Parent),
        (ReasonKind::Custom, Some(FORCE)) => Some(Why::Force),
        (ReasonKind::Custom, Some(HANDLE)) => Some(Why::Handle),
        (ReasonKind::Custom, Some(NAMED)) => Some(Why::Named),
        (ReasonKind::Custom, Some(KEYED)) => Some(Why::Keyed),
        (ReasonKind::DeadlineExceeded, None) => Some(Why::Deadline),
        (ReasonKind::SiblingFailed, None) => Some(Why::Failed),
        (ReasonKind::SiblingSucceeded, None) => Some(Why::Succeeded),
        (ReasonKind::Dropped, None) => Some(Why::Dropped),
        _ => None,
    }
}

/// What the model calls the end that this error tells of.
pub(super) fn end(error: &JoinError) -> Option<End> {
    let reason = error.reason().map(why);
    match (error.kind(), reason) {
        (JoinErrorKind::Failed, None) => Some(End::Failed),
        (JoinErrorKind::Panicked, None) => Some(End::Panicked),
        (JoinErrorKind::Closed, None) => Some(End::Closed),
        (JoinErrorKind::Skipped, None) => Some(End::Skipped),
        (JoinErrorKind::Unstarted, None) => Some(End::Unstarted),
        (JoinErrorKind::Cancelled, Some(Some(why))) => Some(End::Cancelled(why)),
        (JoinErrorKind::Forced, Some(Some(why))) => Some(End::Forced(why)),
        _ => None,
    }
}

pub(super) fn tried<F>(error: &TrySpawnError<F>) -> Tried {
    match error {
        TrySpawnError::Full(_) => Tried::Full,
        TrySpawnError::Closed(_) => Tried::Closed,
        TrySpawnError::Refused(_) => unreachable!("there is no executor"),
    }
}

/// What the model calls this outcome.
pub(super) fn outcome(result: &Result<Value, Failure<Fault>>) -> Option<Outcome> {
    Some(match result {
        Ok(value) => Outcome {
            result: Ok(value.0),
            rest: Vec::new(),
        },
        Err(failure) => Outcome {
            result: Err(match &failure.cause {
                Cause::Error(fault) => Ok(fault.0),
                Cause::Cancelled(reason) => Err(why(reason)?),
                _ => return None,
            }),
            rest: failure.rest.iter().map(|fault| fault.0).collect(),
        },
    })
}

/// A child of a fixed nursery: its value goes nowhere.
pub(super) struct Silent(pub(super) Job);

impl Future for Silent {
    type Output = Result<(), Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).map(drop))
    }
}

/// A fixed nursery and what cancels it, where both may be borrowed for as long as a script runs.
pub(super) struct Home {
    pub(super) nursery: FixedNursery<'static, Fault, SLOTS, 64>,
    pub(super) stop: CancellationToken,
}

/// Lends a home, and takes it back.
pub(super) struct Lent(*mut Home);

impl Lent {
    pub(super) fn new(home: Home) -> Self {
        Lent(Box::into_raw(Box::new(home)))
    }

    /// # Safety
    /// What borrows from it is dropped before [`free`](Self::free) is called.
    pub(super) unsafe fn get(&self) -> &'static Home {
        // SAFETY: it lives until it is freed (caller).
        unsafe { &*self.0 }
    }

    pub(super) fn free(self) {
        // SAFETY: it came from a box; who borrowed from it is gone (`get`).
        drop(unsafe { Box::from_raw(self.0) });
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

impl Real {
    /// Of a set: the next output, if it has any children.
    pub(super) fn poll_set(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Value, Fault>>> {
        match self {
            Real::FutureSet(set) => Pin::new(set).poll_next(cx),
            Real::FixedSet(set) => set.as_mut().poll_next(cx),
            Real::Run(_) | Real::FixedRun(_) => Poll::Ready(None),
        }
    }
}
