//! Durations, counted by their order of magnitude.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | first count | store | Release | read: publishes the empty buckets |
//! | read | load | Acquire | first count |
//! | buckets | load, store | Relaxed | nothing: numbers for people, one writer |
//!
//! # Invariants
//!
//! - **B1** `Times` is null, or a box of ours that is never replaced.

use crate::nursery::ended::Span;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use alloc::boxed::Box;
use core::array;
use core::fmt;
use core::ptr;
use core::time::Duration;

/// How many buckets a [`Histogram`] has. Few under loom, which pays for each.
const BUCKETS: usize = if cfg!(umbel_loom) { 2 } else { 32 };

/// How many durations were of which order of magnitude: below 1 µs, below 2 µs, below 4 µs and so on; the
/// last bucket has all of 18 minutes and more.
///
/// A plain value of 128 bytes. `Display` is a line: `2 below 4µs, 1 below 512µs`, or `none`.
///
/// ```
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}, time::Duration};
/// use umbel_core::{Clock, ManualClock, Nursery, Timer};
///
/// let clock = ManualClock::new(); // a program takes its runtime's timer
/// let n = Nursery::<()>::new().timer(clock.clone());
/// let h = n.handle();
/// drop(h.spawn_graceful(|cx| {
///     let clock = clock.clone();
///     async move {
///         cx.token().cancelled().await;
///         clock.sleep_until(clock.now() + Duration::from_millis(3)).await;
///         Ok(())
///     }
/// }));
/// let mut run = pin!(n.run(async { Ok(()) }));
/// # let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
/// # assert!(poll().is_pending());
/// // … while it runs:
/// h.cancel();
/// # assert!(poll().is_pending());
/// # clock.advance(Duration::from_millis(3));
/// # assert!(poll().is_ready());
/// // … when it has ended, three milliseconds later:
/// let stats = h.stats();
/// assert_eq!(stats.notice.to_string(), "1 below 1µs"); // the clock stood still
/// assert_eq!(stats.drain.to_string(), "1 below 4.096ms");
/// assert_eq!(stats.drain.percentile(99), Some(Duration::from_micros(4096)));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u32; BUCKETS],
}

impl Histogram {
    /// The bucket of a duration.
    fn bucket(duration: Duration) -> usize {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let magnitude = (u64::BITS - micros.leading_zeros()) as usize;
        magnitude.min(BUCKETS - 1)
    }

    /// What is in this bucket is shorter.
    fn below(bucket: usize) -> Duration {
        if bucket == BUCKETS - 1 {
            Duration::MAX
        } else {
            Duration::from_micros(1 << bucket)
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|&n| u64::from(n)).sum()
    }

    /// The buckets that are not empty, shortest first: a bound below which all that is in one lies
    /// ([`Duration::MAX`] for the last bucket), and how many that are.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u32)> {
        let filled = self.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        filled.map(|(bucket, &n)| (Self::below(bucket), n))
    }

    /// A bound below which at least so many of a hundred lie; `None` if nothing was counted.
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let wanted = (self.count() * u64::from(percent.min(100))).div_ceil(100);
        let mut so_far = 0;
        let mut filled = self.buckets();
        let bucket = filled.find(|(_, n)| {
            so_far += u64::from(*n);
            so_far >= wanted
        });
        bucket.map(|(below, _)| below)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (below, n) in self.buckets() {
            match below {
                Duration::MAX => write!(f, "{separator}{n} longer")?,
                _ => write!(f, "{separator}{n} below {below:?}")?,
            }
            separator = ", ";
        }
        match separator {
            "" => f.write_str("none"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({self})")
    }
}

/// A [`Histogram`] that one side fills and any side reads.
struct Tally([AtomicU32; BUCKETS]);

impl Tally {
    fn new() -> Self {
        Tally(array::from_fn(|_| AtomicU32::new(0)))
    }

    fn note(&self, duration: Duration) {
        let bucket = &self.0[Histogram::bucket(duration)];
        let n = bucket.load(Ordering::Relaxed);
        bucket.store(n.saturating_add(1), Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        let buckets = array::from_fn(|bucket| self.0[bucket].load(Ordering::Relaxed));
        Histogram { buckets }
    }
}

struct Tallies {
    notice: Tally,
    drain: Tally,
}

/// How long children took to notice and to drain. No memory until one has.
pub(crate) struct Times(AtomicPtr<Tallies>);

impl Times {
    pub(crate) fn new() -> Self {
        Times(AtomicPtr::new(ptr::null_mut()))
    }

    /// Only ever called by the nursery's own future.
    pub(crate) fn note(&self, span: Span) {
        if span == Span::default() {
            return;
        }
        // Relaxed: it is this side that stores.
        let mut tallies = self.0.load(Ordering::Relaxed);
        if tallies.is_null() {
            tallies = Box::into_raw(Box::new(Tallies {
                notice: Tally::new(),
                drain: Tally::new(),
            }));
            self.0.store(tallies, Ordering::Release);
        }
        // SAFETY: B1 – it lives as long as `self`.
        let tallies = unsafe { &*tallies };
        if let Some(notice) = span.notice {
            tallies.notice.note(notice);
        }
        if let Some(drain) = span.drain {
            tallies.drain.note(drain);
        }
    }

    /// Notice, drain.
    pub(crate) fn read(&self) -> (Histogram, Histogram) {
        // SAFETY: B1 – null, or it lives as long as `self`.
        match unsafe { self.0.load(Ordering::Acquire).as_ref() } {
            Some(tallies) => (tallies.notice.read(), tallies.drain.read()),
            None => Default::default(),
        }
    }
}

impl Drop for Times {
    fn drop(&mut self) {
        // Relaxed: the last owner has acquired everything.
        let tallies = self.0.load(Ordering::Relaxed);
        if !tallies.is_null() {
            // SAFETY: B1 – ours, and nobody reads it any more.
            drop(unsafe { Box::from_raw(tallies) });
        }
    }
}
