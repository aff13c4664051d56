//! How many requests there were, and how they ended: each is a [`Ticket`], which cannot be lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Plain counts: Relaxed is enough, nothing is published by them, and they are read when all is over.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    begun: AtomicU64,
    answered: AtomicU64,
    /// Of those that were answered: by 503.
    refused: AtomicU64,
    gone: AtomicU64,
    cut: AtomicU64,
}

impl Counts {
    pub(crate) fn begin(self: &Arc<Self>) -> Ticket {
        Ticket {
            number: self.begun.fetch_add(1, Ordering::Relaxed) + 1,
            end: End::Gone,
            counts: Arc::clone(self),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "requests: {} begun, {} answered (of them {} by 503), {} left by their clients, {} cut",
            of(&self.begun),
            of(&self.answered),
            of(&self.refused),
            of(&self.gone),
            of(&self.cut),
        )
    }
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All of the answer was handed over to the connection.
    Answered,
    /// The same, and it said 503.
    Refused,
    /// The client went away before.
    Gone,
    /// We did not answer, or not to the end.
    Cut,
}

/// One request, counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    end: End,
    counts: Arc<Counts>,
}

impl Ticket {
    /// From 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn end(&mut self, end: End) {
        self.end = end;
    }

    pub(crate) fn has_ended_as(&self) -> End {
        self.end
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let count = match self.end {
            End::Answered => &self.counts.answered,
            End::Refused => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                &self.counts.answered
            }
            End::Gone => &self.counts.gone,
            End::Cut => &self.counts.cut,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
