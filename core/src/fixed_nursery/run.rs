//! The engine of a fixed nursery: what one poll does, and the end.
//!
//! # One turn
//!
//! 1. Take in what was woken. Children have bits `0..N` of the pool, body and stop signal share bit
//!    `N`.
//! 2. If bit `N` was set, or in the first turn: poll the wait for the signal. If the signal is cancelled, it
//!    is the end. If bit `N` was set: poll the body.
//! 3. Poll children in the order of their queue, at most `N`: those that were woken, and those spawned
//!    meanwhile. Before each, if the signal is cancelled, it is the end. If some are left, wake the first of
//!    them, and so the own task.
//! 4. If all have ended well, it is the end.
//!
//! The end, whatever its cause: children are dropped youngest first, then the body; who waits for room
//! is told.
//!
//! # Invariants
//!
//! - **X1** `slots`, `body` and `wait` are pinned with the run: their contents are dropped in place, by
//!   `close`, which `drop` calls.
//! - **X2** The gate is open only within `turn`.
//!
//! # Foreign code
//!
//! Futures are polled and dropped here, and may spawn, cancel the signal, wake, and panic. A panic ends
//! the nursery: a guard drops what is left, then it comes out of the poll.

use crate::fixed_nursery::erased::Erased;
use crate::fixed_nursery::gate::Gate;
use crate::reason::{Cancelled, Reason};
use crate::set::slots::Slots;
use crate::token::CancelSignal;
use crate::wake::batch::steps;
use crate::wake::fixed::FixedOwner;
use core::error::Error;
use core::fmt;
use core::future::{Future, Pending, pending};
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::FusedFuture;

/// The outcome of a fixed nursery that did not succeed.
///
/// One error at most: the first one cancels the rest, which are dropped. Whose it is, is for `E` to say:
/// a name or a place would cost memory in each slot, and flash for its text.
///
/// `Display` is the error's own text, or `cancelled: deadline exceeded`; the
/// [`source`](Error::source) is therefore that of the error or reason, so that a chain says nothing
/// twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FixedFailure<E> {
    /// A child's error, or the body's.
    Error(E),
    /// The signal was cancelled before all had ended.
    Cancelled(Reason),
}

impl<E: fmt::Display> fmt::Display for FixedFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FixedFailure::Error(error) => error.fmt(f),
            FixedFailure::Cancelled(reason) => Cancelled::new(reason.clone()).fmt(f),
        }
    }
}

impl<E: Error> Error for FixedFailure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FixedFailure::Error(error) => error.source(),
            FixedFailure::Cancelled(reason) => reason.source()?.source(),
        }
    }
}

/// The signal of a nursery that nothing cancels but its own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSignal;

impl CancelSignal for NoSignal {
    type Wait<'a> = Pending<()>;

    #[inline]
    fn is_cancelled(&self) -> bool {
        false
    }

    #[inline]
    fn reason(&self) -> Option<Reason> {
        None
    }

    #[inline]
    fn cancelled(&self) -> Pending<()> {
        pending()
    }
}

/// A fixed nursery at work; made by [`FixedNursery::run`](crate::FixedNursery::run).
#[must_use = "futures do nothing unless polled"]
pub struct FixedRun<'n, 'env, E, T, B, S, const N: usize, const SIZE: usize>
where
    S: CancelSignal + 'n,
{
    gate: &'n Gate<'env, E, N, SIZE>,
    stop: &'n S,
    slots: Slots<Erased<'env, E, SIZE>, N>,
    body: Option<B>,
    wait: Option<S::Wait<'n>>,
    value: Option<T>,
    started: bool,
    /// Set during each poll, so that it stays if that panics.
    done: bool,
    /// After the children, as a later field.
    owner: FixedOwner,
}

impl<'n, 'env, E, T, B, S, const N: usize, const SIZE: usize>
    FixedRun<'n, 'env, E, T, B, S, N, SIZE>
where
    S: CancelSignal + 'n,
{
    pub(crate) fn new(
        gate: &'n Gate<'env, E, N, SIZE>,
        owner: FixedOwner,
        stop: &'n S,
        body: B,
    ) -> Self {
        FixedRun {
            gate,
            stop,
            slots: Slots::new(),
            body: Some(body),
            wait: Some(stop.cancelled()),
            value: None,
            started: false,
            done: false,
            owner,
        }
    }

    fn cancelled(stop: &S) -> Option<FixedFailure<E>> {
        stop.is_cancelled().then(|| {
            let reason = stop.reason();
            FixedFailure::Cancelled(reason.unwrap_or_else(Reason::explicit))
        })
    }

    /// See the module's head.
    ///
    /// # Safety
    /// `self` is pinned.
    unsafe fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, FixedFailure<E>>>
    where
        B: Future<Output = Result<T, E>>,
    {
        let Self {
            gate, stop, owner, ..
        } = self;
        // SAFETY: X1 – pinned with us.
        let (slots, mut body, mut wait) = unsafe {
            (
                Pin::new_unchecked(&self.slots),
                Pin::new_unchecked(&mut self.body),
                Pin::new_unchecked(&mut self.wait),
            )
        };
        let mut is_rung = !mem::replace(&mut self.started, true);
        let registered = owner.begin(cx, |bit| {
            if bit == N {
                is_rung = true;
            } else {
                slots.wake(bit);
            }
        });
        // SAFETY: X2 – it is dropped with this call.
        let _open = unsafe { gate.open(slots) };
        // SAFETY: the owner took a pool for N.
        let waker = unsafe { owner.waker(N) };
        let of_body = &mut Context::from_waker(&waker);
        if is_rung {
            if let Some(waiting) = wait.as_mut().as_pin_mut() {
                if waiting.poll(of_body).is_ready() {
                    wait.set(None);
                }
            }
        }
        // In each turn: the waker that is to tell it may be held up by another one.
        if let Some(failure) = Self::cancelled(stop) {
            return Poll::Ready(Err(failure));
        }
        if is_rung {
            if let Some(Poll::Ready(ended)) =
                body.as_mut().as_pin_mut().map(|body| body.poll(of_body))
            {
                self.value = Some(ended.map_err(FixedFailure::Error)?);
                body.set(None);
            }
        }
        for _ in 0..N {
            if slots.is_queue_empty() {
                break;
            }
            if let Some(failure) = Self::cancelled(stop) {
                return Poll::Ready(Err(failure));
            }
            let polled = slots.poll_one(|slot, child| {
                // SAFETY: slots are numbered below N, and the owner took a pool for N.
                let waker = unsafe { owner.waker(slot) };
                child.poll(&mut Context::from_waker(&waker))
            });
            if let Some(Poll::Ready(ended)) = polled {
                ended.map_err(FixedFailure::Error)?;
                gate.waiters.wake_first();
            }
        }
        if slots.len() == 0 {
            if let Some(value) = self.value.take() {
                return Poll::Ready(Ok(value));
            }
        }
        if !registered {
            cx.waker().wake_by_ref();
        } else if let Some(slot) = slots.first_queued() {
            // By way of the pool: then no other wake follows.
            // SAFETY: slots are numbered below N, and the owner took a pool for N.
            unsafe { owner.waker(slot) }.wake_by_ref();
        }
        Poll::Pending
    }

    /// Drops children, body, its value and wait, and sends away who waits, past any panic. Once.
    fn close(&mut self) {
        let mut part = 0;
        steps(|| {
            part += 1;
            match part {
                1 => self.slots.clear_by(Erased::born),
                2 => self.body = None,
                3 => self.value = None,
                4 => self.wait = None,
                5 => self.gate.waiters.close(),
                _ => return false,
            }
            true
        });
    }
}

impl<'n, E, T, B, S, const N: usize, const SIZE: usize> Future
    for FixedRun<'n, '_, E, T, B, S, N, SIZE>
where
    S: CancelSignal + 'n,
    B: Future<Output = Result<T, E>>,
{
    type Output = Result<T, FixedFailure<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        /// Ends it, unless told that it goes on.
        struct Close<'a, 'n, 'env, E, T, B, S, const N: usize, const SIZE: usize>(
            &'a mut FixedRun<'n, 'env, E, T, B, S, N, SIZE>,
        )
        where
            S: CancelSignal + 'n;
        impl<'n, E, T, B, S, const N: usize, const SIZE: usize> Drop
            for Close<'_, 'n, '_, E, T, B, S, N, SIZE>
        where
            S: CancelSignal + 'n,
        {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        // SAFETY: X1 – nothing pinned is moved out of here.
        let this = unsafe { self.get_unchecked_mut() };
        assert!(!this.done, "a fixed nursery polled after it was ready");
        this.done = true;
        let close = Close(this);
        // SAFETY: we are pinned.
        let polled = unsafe { close.0.turn(cx) };
        if polled.is_pending() {
            close.0.done = false;
            mem::forget(close);
        } else {
            // Not left to the end of the scope: the compiler leaks a result if a local panics when it is
            // dropped after that was made (rust-lang/rust#47949).
            drop(close);
        }
        polled
    }
}

impl<'n, E, T, B, S, const N: usize, const SIZE: usize> FusedFuture
    for FixedRun<'n, '_, E, T, B, S, N, SIZE>
where
    S: CancelSignal + 'n,
    B: Future<Output = Result<T, E>>,
{
    fn is_terminated(&self) -> bool {
        self.done
    }
}

impl<'n, E, T, B, S, const N: usize, const SIZE: usize> Drop
    for FixedRun<'n, '_, E, T, B, S, N, SIZE>
where
    S: CancelSignal + 'n,
{
    fn drop(&mut self) {
        self.close();
    }
}

impl<'n, E, T, B, S, const N: usize, const SIZE: usize> fmt::Debug
    for FixedRun<'n, '_, E, T, B, S, N, SIZE>
where
    S: CancelSignal + 'n,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedRun")
            .field("children", &self.slots.len())
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
