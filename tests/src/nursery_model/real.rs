//! The real things, each sort behind one face.

use crate::nursery_model::foreign::{Cleanup, Fault, Job, Value};
use crate::nursery_model::nursery::{Counts, End, Outcome, Tried, Why};
use crate::nursery_model::op::Spawning;
use futures_core::Stream;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use umbel_core::{
    CancellationToken, Cause, DeferError, Failure, FixedFailure, FixedNursery, FixedSet, FutureSet,
    Handle, InUse, Join, JoinError, JoinErrorKind, LocalHandle, Reason, ReasonKind, Report,
    TrySpawnError, WakePool,
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

/// A handle of a nursery, of either sort.
pub(super) trait Api {
    fn spawn(&self, job: Job, how: &Spawning) -> Join<Value>;
    fn try_spawn(&self, job: Job, how: &Spawning) -> Result<Join<Value>, TrySpawnError<Job>>;
    fn spawn_wait(&self, job: Job, how: &Spawning) -> Pin<Box<dyn Future<Output = Spawned>>>;
    fn defer(&self, job: Job, how: &Spawning) -> Result<(), DeferError<Cleanup>>;
    fn token(&self) -> &CancellationToken;
    fn cancel(&self) -> bool;
    fn force(&self);
    fn counts(&self) -> Counts;
    fn has_report(&self) -> bool;
    fn report(&self) -> Option<Report>;
}

macro_rules! api {
    ($Handle:ident) => {
        impl Api for $Handle<'static, Fault> {
            fn spawn(&self, job: Job, how: &Spawning) -> Join<Value> {
                match (how.named, how.graceful) {
                    (false, false) => self.spawn(job),
                    (false, true) => self.spawn_graceful(|_| job),
                    (true, false) => self.child().name(job.0.to_string()).spawn(job),
                    (true, true) => self.child().name(job.0.to_string()).spawn_graceful(|_| job),
                }
            }

            fn try_spawn(
                &self,
                job: Job,
                how: &Spawning,
            ) -> Result<Join<Value>, TrySpawnError<Job>> {
                let child = self.child();
                match (how.named, how.graceful) {
                    (false, false) => self.try_spawn(job),
                    (false, true) => self.try_spawn_graceful(|_| job),
                    (true, false) => child.name(job.0.to_string()).try_spawn(job),
                    (true, true) => child.name(job.0.to_string()).try_spawn_graceful(|_| job),
                }
            }

            fn spawn_wait(
                &self,
                job: Job,
                how: &Spawning,
            ) -> Pin<Box<dyn Future<Output = Spawned>>> {
                let child = self.child();
                match (how.named, how.graceful) {
                    (false, false) => Box::pin(self.spawn_wait(job)),
                    (false, true) => Box::pin(self.spawn_wait_graceful(|_| job)),
                    (true, false) => Box::pin(child.name(job.0.to_string()).spawn_wait(job)),
                    (true, true) => {
                        Box::pin(child.name(job.0.to_string()).spawn_wait_graceful(|_| job))
                    }
                }
            }

            fn defer(&self, job: Job, how: &Spawning) -> Result<(), DeferError<Cleanup>> {
                match how.named {
                    true => self.child().name(job.0.to_string()).defer(Cleanup(job)),
                    false => self.defer(Cleanup(job)),
                }
            }

            fn token(&self) -> &CancellationToken {
                self.token()
            }

            fn cancel(&self) -> bool {
                self.cancel()
            }

            fn force(&self) {
                self.force();
            }

            fn counts(&self) -> Counts {
                let stats = self.stats();
                Counts {
                    started: stats.started,
                    done: stats.done,
                    failed: stats.failed,
                    panicked: stats.panicked,
                    cancelled: stats.cancelled,
                    forced: stats.forced,
                }
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

/// What the model calls this reason; `None`: it is none that a script gives.
pub(super) fn why(reason: &Reason) -> Option<Why> {
    match (reason.kind(), reason.code()) {
        (ReasonKind::Explicit, None) => Some(Why::Explicit),
        (ReasonKind::Custom, Some(1)) => Some(Why::Parent),
        (ReasonKind::Custom, Some(2)) => Some(Why::Force),
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
