//! tokio-util's token as a signal, and the bridges between it and the tokens of this crate.

use ::tokio_util::sync::{CancellationToken as Theirs, WaitForCancellationFuture};
use umbel_core::{CancelSignal, CancellationToken, FutureExt, Reason};

/// tokio-util's `CancellationToken` as a [`CancelSignal`], so that what takes a signal takes it too.
///
/// It has no reasons: once cancelled, its reason is [`Reason::explicit`]. Its methods lock, also
/// `is_cancelled`: unlike the tokens of this crate it is not for interrupts. It needs no runtime.
///
/// To let a whole tree of one crate hang on a token of the other, run a bridge:
/// [`forward`](Self::forward) or [`follow`](Self::follow).
///
/// ```
/// use umbel::tokio::TokioToken;
/// use umbel::{CancelSignal, Cancelled, FutureExt};
///
/// async fn fetch(stop: &impl CancelSignal) -> Result<u32, Cancelled> {
///     async { 7 }.or_cancelled(stop).await
/// }
///
/// let theirs = tokio_util::sync::CancellationToken::new();
/// let signal = TokioToken::from(theirs.clone());
/// theirs.cancel();
/// assert!(signal.is_cancelled());
/// # smol::block_on(async { assert!(fetch(&signal).await.is_err()) });
/// ```
#[derive(Clone, Debug, Default)]
pub struct TokioToken(Theirs);

impl TokioToken {
    /// Wraps `token`.
    pub const fn new(token: Theirs) -> Self {
        TokioToken(token)
    }

    /// The wrapped token.
    pub const fn get_ref(&self) -> &Theirs {
        &self.0
    }

    /// The wrapped token.
    pub fn into_inner(self) -> Theirs {
        self.0
    }

    /// The bridge to this crate: cancels `to`, with [`Reason::explicit`], when this token is
    /// cancelled.
    ///
    /// Ends when either is cancelled. It works only while it is polled: await it beside the work,
    /// or spawn it with clones of both tokens. A spawned one stays, and keeps both trees alive,
    /// until one of the tokens is cancelled; a guard on `to` ends it with the work.
    ///
    /// **Cancel safety:** Strict. Dropping it cancels nothing and leaves nothing behind.
    ///
    /// ```
    /// use umbel::{CancellationToken, tokio::TokioToken};
    ///
    /// # smol::block_on(async {
    /// let theirs = tokio_util::sync::CancellationToken::new(); // comes from a caller
    /// let ours = CancellationToken::new();
    /// theirs.cancel();
    /// TokioToken::new(theirs).forward(&ours).await;
    /// assert!(ours.is_cancelled());
    /// # });
    /// ```
    pub async fn forward(&self, to: &CancellationToken) {
        if to.run_until_cancelled(self.0.cancelled()).await.is_some() {
            to.cancel();
        }
    }

    /// The bridge from this crate: cancels this token when `from` is cancelled.
    ///
    /// Of a reason nothing is left. Otherwise as [`forward`](Self::forward).
    ///
    /// **Cancel safety:** Strict. Dropping it cancels nothing and leaves nothing behind.
    ///
    /// ```
    /// use umbel::{CancellationToken, tokio::TokioToken};
    ///
    /// # smol::block_on(async {
    /// let ours = CancellationToken::new();
    /// let theirs = tokio_util::sync::CancellationToken::new(); // goes to a library
    /// ours.cancel();
    /// TokioToken::new(theirs.clone()).follow(&ours).await;
    /// assert!(theirs.is_cancelled());
    /// # });
    /// ```
    pub async fn follow(&self, from: &(impl CancelSignal + ?Sized)) {
        if self.0.cancelled().or_cancelled(from).await.is_err() {
            self.0.cancel();
        }
    }
}

impl CancelSignal for TokioToken {
    type Wait<'a> = WaitForCancellationFuture<'a>;

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn reason(&self) -> Option<Reason> {
        self.0.is_cancelled().then(Reason::explicit)
    }

    fn cancelled(&self) -> Self::Wait<'_> {
        self.0.cancelled()
    }
}

impl From<Theirs> for TokioToken {
    fn from(token: Theirs) -> Self {
        TokioToken(token)
    }
}

impl From<TokioToken> for Theirs {
    fn from(token: TokioToken) -> Self {
        token.0
    }
}
