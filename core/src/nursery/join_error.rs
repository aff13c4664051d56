//! Why a join has no value.

use crate::nursery::ended::{Ended, Origin, Span};
use crate::nursery::skip::Skip;
use crate::observe::Name;
use crate::reason::{Reason, ReasonKind};
use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

/// Why a [`Join`](crate::Join) has no value. The child's own error, if there was one, went to the
/// nursery's outcome.
///
/// `Display` is one line: which child, what became of it and when, why:
/// `child "audit" (spawned at src/main.rs:12:5) was forced 2s after the cancellation (noticed after 1s):
/// deadline exceeded`. Times are told if there was a [`timer`](crate::Nursery::timer).
///
/// ```
/// use umbel_core::{JoinError, Nursery, Reason};
/// # use core::{future::{Future, pending}, pin::pin, task::{Context, Poll, Waker}};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = pin!(f);
/// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
/// # }
/// let n = Nursery::<JoinError>::new();
/// let h = n.handle();
/// let audit = h.child().name("audit").spawn::<(), _>(pending());
/// let failure = block_on(n.run::<(), _>(async {
///     h.spawn(async { h.cancel_with(Reason::shutdown()); Ok(()) }).await
/// }))
/// .unwrap_err();
/// assert_eq!(failure.to_string(), "cancelled: shutting down");
///
/// let error = audit.now_or_never().unwrap().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     format!(r#"child "audit" (spawned at {}) was cancelled: shutting down"#, error.who().site())
/// );
/// ```
///
/// One pointer in size: it is boxed when it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: JoinErrorKind,
    reason: Option<Reason>,
    name: Option<Name>,
    origin: Origin,
    span: Span,
    skip: Option<Box<Skip>>,
}

/// The kinds of [`JoinError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinErrorKind {
    /// The child returned `Err`.
    Failed,
    /// The child panicked while it was polled. The panic itself goes to whoever polls the nursery.
    /// Only with the feature `std`: without it nothing is caught, and the `Join` says `Closed`.
    Panicked,
    /// The nursery was cancelled, or the child alone: it was
    /// dropped at its await point or never started.
    Cancelled,
    /// A graceful child that was dropped when the grace was over or `force()` was called; or a
    /// [shielded](crate::Handle::shield) one, when its time was over.
    Forced,
    /// One of those [for whom it waited](crate::Child::after) had no output: the child never started.
    Skipped,
    /// The child ended well, but never said that it had [started](crate::Handle::start).
    Unstarted,
    /// The nursery had ended, or was dropped.
    Closed,
    /// The executor of an [`ExecutorNursery`](crate::ExecutorNursery) dropped the child's task before its
    /// end, or refused it: most often it was shut down.
    Lost,
}

impl JoinError {
    pub(crate) fn new(
        kind: JoinErrorKind,
        reason: Option<Reason>,
        name: Option<Name>,
        origin: Origin,
        span: Span,
    ) -> Self {
        JoinError(Box::new(Inner {
            kind,
            reason,
            name,
            origin,
            span,
            skip: None,
        }))
    }

    /// It was skipped because of this one.
    pub(crate) fn with_skip(mut self, skip: Option<Box<Skip>>) -> Self {
        self.0.skip = skip;
        self
    }

    /// What became of the child.
    pub fn kind(&self) -> JoinErrorKind {
        self.0.kind
    }

    /// Why the nursery was cancelled, or the child alone, if the child was cancelled or forced.
    pub fn reason(&self) -> Option<&Reason> {
        self.0.reason.as_ref()
    }

    /// If the child was skipped: the one because of whom, of those for whom it waited. `None` if nobody
    /// knows any more who that was: its id was asked after its end, or is that of another nursery's child.
    pub fn waited_for(&self) -> Option<Ended<'_>> {
        self.0.skip.as_ref()?.who()
    }

    /// Which child, and how long it took.
    pub fn who(&self) -> Ended<'_> {
        Ended::new(self.0.name.as_ref(), self.0.origin, self.0.span)
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinError")
            .field("kind", &self.kind())
            .field("reason", &self.reason())
            .field("who", &self.who())
            .finish()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who();
        let how = match (self.kind(), who.has_begun()) {
            (JoinErrorKind::Failed, _) => "failed",
            (JoinErrorKind::Panicked, _) => "panicked",
            (JoinErrorKind::Cancelled, true) => "was cancelled",
            (JoinErrorKind::Cancelled, false) => "was cancelled before it began",
            (JoinErrorKind::Forced, _) => "was forced",
            (JoinErrorKind::Skipped, _) => "was skipped",
            (JoinErrorKind::Unstarted, _) => "ended without saying that it had started",
            (JoinErrorKind::Lost, _) => "was lost: its executor dropped it before its end",
            (JoinErrorKind::Closed, true) => "was dropped with its nursery",
            (JoinErrorKind::Closed, false) => "never began: its nursery had ended",
        };
        who.tell(f, how)?;
        if let Some(skip) = &self.0.skip {
            write!(f, ": {skip}")?;
        }
        match self.reason() {
            // It says no more than that it was cancelled.
            Some(reason) if reason.kind() == ReasonKind::Explicit => Ok(()),
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Its text holds that of an error that was the reason, so the source is that error's own.
impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason()?.source()?.source()
    }
}
