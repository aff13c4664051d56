//! What a nursery does when a child fails.

/// What a nursery does when its body or a child returns `Err`: [`FailFast`] or [`KeepGoing`].
///
/// Sealed: only the policies of this crate implement it.
pub trait Policy<E>: sealed::Sealed<E> {}

pub(crate) mod sealed {
    /// What the nursery is to do with its other children.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Verdict {
        /// Cancel them; the error is the cause of the nursery's failure.
        CancelRest,
        /// Let them run.
        Continue,
    }

    /// The trait's inside; see [`Policy`](super::Policy).
    pub trait Sealed<E> {
        /// A child, or the body, returned `error`.
        fn failed(&mut self, error: &E) -> Verdict;
    }
}

use sealed::{Sealed, Verdict};

/// The first error cancels the rest; further errors are kept. The default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailFast;

impl<E> Sealed<E> for FailFast {
    fn failed(&mut self, _: &E) -> Verdict {
        Verdict::CancelRest
    }
}

impl<E> Policy<E> for FailFast {}

/// The siblings of a failed child live on; all errors are collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepGoing;

impl<E> Sealed<E> for KeepGoing {
    fn failed(&mut self, _: &E) -> Verdict {
        Verdict::Continue
    }
}

impl<E> Policy<E> for KeepGoing {}
