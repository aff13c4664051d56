//! Handing a future to an executor, whichever it is; and how a future that is refused comes back.

use core::fmt;

/// Something that runs futures: the one thing an executor must offer.
///
/// `F` is a parameter of the trait, so that executors for `Send` futures, executors for `!Send`
/// futures and executors with slots of one type all implement it. The future must be run until it
/// ends, or dropped.
///
/// ```
/// use umbel_core::{Spawn, SpawnError};
///
/// struct Refuses;
/// impl<F> Spawn<F> for Refuses {
///     fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
///         Err(SpawnError::new(future))
///     }
/// }
/// let future = Refuses.spawn(async { 1 }).unwrap_err().into_inner(); // nothing is lost
/// # drop(future);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no executor for futures of type `{F}`",
    label = "does not run these futures",
    note = "adapters such as `umbel::smol::SmolSpawn` and `umbel::tokio::TokioSpawn` do, if the futures are `Send` and `'static`"
)]
pub trait Spawn<F> {
    /// Starts `future`.
    ///
    /// # Errors
    /// The executor is shut down or full; the future comes back in the error.
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>>;
}

impl<F, S: Spawn<F> + ?Sized> Spawn<F> for &S {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        (**self).spawn(future)
    }
}

/// An executor refused a future; it is inside, unharmed.
pub struct SpawnError<F>(F);

impl<F> SpawnError<F> {
    /// The refusal of `future`.
    pub const fn new(future: F) -> Self {
        SpawnError(future)
    }

    /// The future that was refused.
    pub fn into_inner(self) -> F {
        self.0
    }
}

impl<F> fmt::Debug for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnError").finish_non_exhaustive()
    }
}

impl<F> fmt::Display for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executor refused the future: it is shut down or full")
    }
}

impl<F> core::error::Error for SpawnError<F> {}

/// A nursery refused a child; the future is inside, unpolled.
///
/// An [`Error`](core::error::Error) whatever the future is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySpawnError<F> {
    /// There is no room now.
    Full(F),
    /// There will be no room: the nursery is cancelled or has ended; a fixed one has ended, or is not being
    /// polled.
    Closed(F),
    /// There is room, but the nursery's [executor](Spawn) did not take it.
    Refused(F),
}

impl<F> TrySpawnError<F> {
    /// The future that was refused.
    pub fn into_inner(self) -> F {
        match self {
            TrySpawnError::Full(future)
            | TrySpawnError::Closed(future)
            | TrySpawnError::Refused(future) => future,
        }
    }

    /// Whether another attempt may succeed when a child has ended.
    pub const fn is_full(&self) -> bool {
        matches!(self, TrySpawnError::Full(_))
    }
}

impl<F> fmt::Debug for TrySpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySpawnError::Full(_) => "Full(..)",
            TrySpawnError::Closed(_) => "Closed(..)",
            TrySpawnError::Refused(_) => "Refused(..)",
        })
    }
}

impl<F> fmt::Display for TrySpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySpawnError::Full(_) => "the nursery has no room for another child",
            TrySpawnError::Closed(_) => "the nursery is closed",
            TrySpawnError::Refused(_) => "the nursery's executor refused the child",
        })
    }
}

impl<F> core::error::Error for TrySpawnError<F> {}
