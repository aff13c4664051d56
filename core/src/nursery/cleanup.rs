//! Cleanups: what is done when all children have ended.
//!
//! `defer` and `release` push a node of the role `Cleanup` on the same inbox as a spawn, so what was
//! spawned and what was deferred are in one order. The nursery keeps it until nothing else is left.
//!
//! # States
//!
//! ```text
//!            admit                  its turn              poll → Ok, Err, panic
//!  inbox ────────────▶ registered ────────────▶ at work ─────────────────────────▶ Done, Failed, Panicked
//!                          │                      │  in a hurry: polled, and pending
//!                          │ the nursery          ├──────────────────────────────▶ Forced
//!                          │ is dropped           │
//!                          └──────────────────────┴──────────────────────────────▶ dropped
//! ```
//!
//! *In a hurry*: the time for cleanups is over, or the nursery was forced.
//!
//! # Invariants
//!
//! - **K1** A cleanup that is popped has begun: it is polled before anything else is done with it, and no
//!   second one is popped while one is at work or a child runs.
//! - **K2** What is at work is alive, and claimed.
//!
//! # Foreign code
//!
//! A cleanup is polled and dropped through the nursery's [`Panics`], while nothing else is half-done: it
//! has been taken out of the list. It may use any handle of this nursery.
//!
//! [`Panics`]: crate::nursery::panics::Panics

use crate::nursery::ended::{Number, Record, Span};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::{Exit, NurserySide, Outcome};
use crate::nursery::report::{CleanupStats, Drained};
use crate::nursery::shared::Shared;
use crate::nursery::tell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// A nursery's work on its cleanups.
#[derive(Default)]
pub(crate) struct Cleaning {
    pub(crate) stats: CleanupStats,
    /// Each has one poll from now on.
    pub(crate) hurried: bool,
    /// Something was dropped before its end while there were children. What is cut later does not touch
    /// the outcome.
    pub(crate) cut: bool,
    /// How many errors there were by then: those of body and children.
    pub(crate) errors_before: usize,
}

/// What became of a cleanup that was polled.
pub(crate) enum Cleaned<E> {
    /// It is at work, and kept.
    Pending,
    Ended,
    Failed(Record, E),
}

impl Cleaning {
    /// Begins the youngest that has not begun. `None`: there is no more.
    pub(crate) fn begin<E>(&mut self, shared: &Shared, waker: &Waker) -> Option<Cleaned<E>> {
        let cleanup = shared.poller.cleanups.pop()?;
        self.stats.begun += 1;
        cleanup.head().number.set(Number::CLEANUP);
        // K2. Nobody can have given it up: nobody waits for its start.
        let ours = cleanup.start();
        debug_assert!(ours, "a cleanup is nobody else's");
        Some(self.poll(cleanup, shared, waker))
    }

    /// Polls the one at work: if it was woken, and in any case for the last time if there is a hurry.
    /// `None`: there is none.
    pub(crate) fn go_on<E>(
        &mut self,
        woken: bool,
        shared: &Shared,
        waker: &Waker,
    ) -> Option<Cleaned<E>> {
        let cleanup = shared.poller.cleanups.take_at_work()?;
        if woken {
            return Some(self.poll(cleanup, shared, waker));
        }
        Some(self.keep_or_force(cleanup, shared))
    }

    fn poll<E>(&mut self, cleanup: NurserySide, shared: &Shared, waker: &Waker) -> Cleaned<E> {
        let panics = &shared.poller.panics;
        let (mut cx, mut error) = (Context::from_waker(waker), None);
        // SAFETY: K2; `E` is the nursery's.
        let Poll::Ready(exit) = (unsafe { cleanup.poll(&mut cx, &mut error, panics) }) else {
            return self.keep_or_force(cleanup, shared);
        };
        shared.cancel_if_panicked();
        let cleaned = match (exit, error) {
            (Exit::Done, _) => {
                self.stats.done += 1;
                tell::cleaned_up(shared, &cleanup, None);
                // SAFETY: `poll` gave `Done`.
                unsafe { cleanup.done() };
                Cleaned::Ended
            }
            (Exit::Failed, Some(error)) => {
                self.stats.failed += 1;
                tell::cleaned_up(shared, &cleanup, Some(JoinErrorKind::Failed));
                let name = cleanup.last_name();
                let record = Record::new(name, cleanup.origin(), Span::default());
                cleanup.end(JoinErrorKind::Failed, None);
                Cleaned::Failed(record, error)
            }
            _ => {
                self.stats.panicked += 1;
                tell::cleaned_up(shared, &cleanup, Some(JoinErrorKind::Panicked));
                cleanup.end(JoinErrorKind::Panicked, None);
                Cleaned::Ended
            }
        };
        shared.guard(|| drop(cleanup));
        cleaned
    }

    /// Pending, it goes on if there is no hurry.
    fn keep_or_force<E>(&mut self, cleanup: NurserySide, shared: &Shared) -> Cleaned<E> {
        if !self.hurried {
            shared.poller.cleanups.keep_at_work(cleanup);
            return Cleaned::Pending;
        }
        self.stats.forced += 1;
        tell::cleaned_up(shared, &cleanup, Some(JoinErrorKind::Forced));
        let (name, origin) = (cleanup.last_name(), cleanup.origin());
        let forced = Drained::new(name, origin, Span::default(), true);
        shared.poller.drained.borrow_mut().push(forced);
        shared.guard(|| cleanup.end(JoinErrorKind::Forced, None));
        shared.guard(|| drop(cleanup));
        Cleaned::Ended
    }
}

// ------------------------------------------------------------------ a value to be dropped

/// Drops a value in its one poll.
pub(crate) struct Release<R>(Option<R>);

impl<R> Release<R> {
    pub(crate) const fn new(value: R) -> Self {
        Release(Some(value))
    }

    /// The value of one that was never polled.
    pub(crate) fn into_inner(self) -> Option<R> {
        self.0
    }
}

/// Nothing in it is pinned by its place.
impl<R> Unpin for Release<R> {}

impl<R> Future for Release<R> {
    type Output = Released;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Released> {
        drop(self.0.take());
        Poll::Ready(Released)
    }
}

/// It cannot fail.
pub(crate) struct Released;

impl<E> Outcome<(), E> for Released {
    fn split(self) -> Result<(), Option<E>> {
        Ok(())
    }
}

// ------------------------------------------------------------------ too late

/// A nursery has ended and takes no more cleanups; what it was given is inside, unharmed.
///
/// An [`Error`](core::error::Error) whatever that is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeferError<T>(T);

impl<T> DeferError<T> {
    pub(crate) const fn new(refused: T) -> Self {
        DeferError(refused)
    }

    /// The future or the value that was refused.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for DeferError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for DeferError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the nursery has ended and takes no more cleanups")
    }
}

impl<T> core::error::Error for DeferError<T> {}
