//! Who watches a nursery: what it is told, and of whom.
//!
//! # Invariants
//!
//! - **O1** The observer behind an [`Eye`] outlives the nurseries that have it: it is given as a reference
//!   that lives for their `'env`, and is called only in their own polls and drops.
//!
//! # Foreign code
//!
//! All of it: the nursery calls an observer as it calls a policy.

use crate::nursery::ended::{Ended, Site};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::report::Stats;
use crate::observe::Name;
use crate::reason::{Reason, ReasonKind};
use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;

/// Is told what happens in a nursery and in the [scopes](crate::Handle::scope) nested in it; given by
/// [`Nursery::observer`](crate::Nursery::observer).
///
/// # What comes when
///
/// | of a scope | |
/// |---|---|
/// | [`opened`](Self::opened) | its first poll |
/// | [`cancelled`](Self::cancelled) | it has seen that it is cancelled; at most once |
/// | [`body_ended`](Self::body_ended) | the body has returned or was dropped |
/// | [`cleaned_up`](Self::cleaned_up) | a [cleanup](crate::Handle::defer) has ended |
/// | [`closed`](Self::closed) | all have ended, or the nursery was dropped; nothing comes after that |
///
/// | of a child | |
/// |---|---|
/// | [`admitted`](Self::admitted) | the nursery has taken it up: it starts, waits for room, or is refused |
/// | [`started`](Self::started) | it is about to be polled for the first time |
/// | [`told`](Self::told) | a graceful child can see that it is cancelled (perhaps before it has started) |
/// | [`ended`](Self::ended) | its future is gone; comes exactly once for each that was admitted (without `std`, not after a panic) |
///
/// Nobody is told of a child that never came in: one that was spawned when the nursery had been cancelled
/// or had ended, or that was still on its way when it was dropped. A nursery that is dropped before its
/// first poll opens and closes nothing; of its children nothing is told.
///
/// # What it may do
///
/// It is called in the nursery's own poll (or drop), between polls of children, and may use handles, to
/// look, to cancel, to spawn, and anything else that does not block. If it panics, that is as if a child
/// had [panicked](crate::Nursery#panics). The nursery allocates nothing to call it; each child has
/// a little more memory while somebody observes.
///
/// ```
/// use core::cell::RefCell;
/// use umbel_core::{Ending, JoinError, LocalNursery, ObservedChild, ObservedScope, Observer};
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = pin!(f);
/// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
/// # }
/// /// Writes down who ended, and how.
/// #[derive(Default)]
/// struct Ends(RefCell<Vec<String>>);
///
/// impl Observer for Ends {
///     fn ended(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>, how: &Ending<'_>) {
///         self.0.borrow_mut().push(format!("{} {how}", child.who()));
///     }
/// }
///
/// let ends = Ends::default();
/// let n = LocalNursery::<JoinError>::new().observer(&ends);
/// let h = n.handle();
/// block_on(n.run(async {
///     h.child().name("audit").spawn(async { Ok(()) }).await?;
///     drop(h.spawn(core::future::pending::<Result<(), _>>()));
///     h.spawn(async { h.cancel(); Ok(()) }).await
/// }))
/// .unwrap_err();
/// assert_eq!(
///     *ends.0.borrow(),
///     [r#"child "audit" ended well"#, "child #3 ended well", "child #2 was cancelled"]
/// );
/// ```
///
/// The idea of such hooks is that of Trio's `Instrument`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no observer for a nursery",
    label = "not an observer here",
    note = "an observer of your own implements `Observer`; that of a `Nursery` is also `Sync`"
)]
pub trait Observer {
    /// The scope is polled for the first time.
    fn opened(&self, scope: &ObservedScope<'_>) {
        let _ = scope;
    }

    /// The scope has seen that it is cancelled: the plain children are about to be dropped, the graceful
    /// ones to be told.
    fn cancelled(&self, scope: &ObservedScope<'_>, reason: &Reason) {
        let _ = (scope, reason);
    }

    /// The body has ended.
    fn body_ended(&self, scope: &ObservedScope<'_>, how: &Ending<'_>) {
        let _ = (scope, how);
    }

    /// A [cleanup](crate::Handle::defer) has ended.
    fn cleaned_up(&self, scope: &ObservedScope<'_>, who: &Ended<'_>, how: &Ending<'_>) {
        let _ = (scope, who, how);
    }

    /// The scope has ended, with all that was in it.
    fn closed(&self, scope: &ObservedScope<'_>, stats: &Stats) {
        let _ = (scope, stats);
    }

    /// The scope has taken up a child.
    fn admitted(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        let _ = (scope, child);
    }

    /// The child is about to be polled for the first time. Cancelled by this, a plain one is not.
    fn started(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        let _ = (scope, child);
    }

    /// A graceful child can see that it is cancelled.
    fn told(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, reason: &Reason) {
        let _ = (scope, child, reason);
    }

    /// The child's future is gone. The policy has not been asked yet, and who joins the child has not
    /// been woken.
    fn ended(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, how: &Ending<'_>) {
        let _ = (scope, child, how);
    }
}

/// Tells a living scope or child from all others in the process. One that is made after its end may have
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(usize);

impl Mark {
    pub(crate) fn of<T>(place: *const T) -> Self {
        Mark(place.addr())
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({:#x})", self.0)
    }
}

/// A scope, as an [`Observer`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedScope<'a> {
    pub(crate) mark: Mark,
    pub(crate) name: Option<&'a Name>,
    pub(crate) site: Site,
}

impl ObservedScope<'_> {
    /// Which scope it is.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.map(|name| &**name)
    }

    /// Where `run` was called.
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

/// As errors tell it: `scope "fetch"`, or `a scope`; with `{:#}` also where it runs.
impl fmt::Display for ObservedScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "scope {name:?}")?,
            None => f.write_str("a scope")?,
        }
        match f.alternate() {
            true => write!(f, " (run at {})", self.site),
            false => Ok(()),
        }
    }
}

/// A child, as an [`Observer`] sees it.
#[derive(Debug, Clone, Copy)]
pub struct ObservedChild<'a> {
    pub(crate) mark: Mark,
    pub(crate) who: Ended<'a>,
    pub(crate) graceful: bool,
    pub(crate) scope: Option<Mark>,
}

impl<'a> ObservedChild<'a> {
    /// Which child it is.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Its name, number (once it has started) and site; when it has ended, also how long it took after the
    /// cancellation.
    pub fn who(&self) -> Ended<'a> {
        self.who
    }

    /// Whether it is told of a cancellation and polled on.
    pub fn is_graceful(&self) -> bool {
        self.graceful
    }

    /// If it is a nested scope: which one.
    pub fn scope(&self) -> Option<Mark> {
        self.scope
    }
}

/// How a child, a body or a cleanup has ended.
///
/// `Display` says it in words: `ended well`, `failed`, `was cancelled: deadline exceeded`.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a>(How<'a>);

#[derive(Debug, Clone, Copy)]
enum How<'a> {
    Done,
    GivenUp,
    Without(JoinErrorKind, Option<&'a Reason>),
}

impl<'a> Ending<'a> {
    pub(crate) const DONE: Ending<'static> = Ending(How::Done);
    pub(crate) const GIVEN_UP: Ending<'static> = Ending(How::GivenUp);

    pub(crate) const fn without(kind: JoinErrorKind, reason: Option<&'a Reason>) -> Self {
        Ending(How::Without(kind, reason))
    }

    /// Whether it returned `Ok`.
    pub fn is_done(&self) -> bool {
        matches!(self.0, How::Done)
    }

    /// Whether it waited for room and its spawner gave up waiting: it never started.
    pub fn is_given_up(&self) -> bool {
        matches!(self.0, How::GivenUp)
    }

    /// Why it has no output, as its join is told.
    pub fn kind(&self) -> Option<JoinErrorKind> {
        match self.0 {
            How::Without(kind, _) => Some(kind),
            _ => None,
        }
    }

    /// Why it was cancelled or forced.
    pub fn reason(&self) -> Option<&'a Reason> {
        match self.0 {
            How::Without(_, reason) => reason,
            _ => None,
        }
    }
}

impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            How::Done => return f.write_str("ended well"),
            How::GivenUp => return f.write_str("was given up by its spawner"),
            How::Without(kind, _) => kind,
        };
        f.write_str(match kind {
            JoinErrorKind::Failed => "failed",
            JoinErrorKind::Panicked => "panicked",
            JoinErrorKind::Cancelled => "was cancelled",
            JoinErrorKind::Forced => "was forced",
            JoinErrorKind::Closed => "was dropped with its nursery",
            JoinErrorKind::Skipped => "was skipped",
            JoinErrorKind::Unstarted => "ended without saying that it had started",
            JoinErrorKind::Lost => "was lost by its executor",
        })?;
        match self.reason() {
            // It says no more than that it was cancelled.
            Some(reason) if reason.kind() == ReasonKind::Explicit => Ok(()),
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Where the `Shared` of a nested scope lies, which this file cannot name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside(pub(crate) NonNull<()>);

// SAFETY: an address; who follows it says why it may.
unsafe impl Send for Inside {}
// SAFETY: as above.
unsafe impl Sync for Inside {}

/// An observer, without its lifetime.
#[derive(Clone, Copy)]
pub(crate) struct Eye(NonNull<dyn Observer>);

impl Eye {
    pub(crate) fn new<'env>(observer: &'env (dyn Observer + 'env)) -> Self {
        let observer = NonNull::from(observer);
        // SAFETY: only the lifetime is erased, of a pointer; `observer` says when it may be followed.
        Eye(unsafe {
            core::mem::transmute::<NonNull<dyn Observer + 'env>, NonNull<dyn Observer>>(observer)
        })
    }

    /// # Safety
    /// O1: called in the poll or drop of a nursery that has it, and used no longer than that lasts.
    pub(crate) unsafe fn observer<'a>(self) -> &'a dyn Observer {
        // SAFETY: O1 – (caller).
        unsafe { self.0.as_ref() }
    }
}
