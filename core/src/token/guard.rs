//! Guards: what cancels a token when it is dropped.

use crate::reason::Reason;
use crate::token::handle::CancellationToken;

/// Cancels its token when it is dropped: made by [`CancellationToken::drop_guard`].
///
/// `Send + Sync`. The drop cancels with [`Reason::explicit`], wakes who waits, and may free: not for
/// interrupts. A waker that panics makes the drop panic, after all are woken.
///
/// ```
/// use umbel_core::CancellationToken;
///
/// let token = CancellationToken::new();
/// let guard = token.clone().drop_guard();
/// drop(guard);
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "a guard that is dropped at once cancels at once"]
pub struct DropGuard(Option<CancellationToken>);

impl DropGuard {
    pub(crate) fn new(token: CancellationToken) -> Self {
        DropGuard(Some(token))
    }

    /// The token that the drop will cancel.
    pub fn token(&self) -> &CancellationToken {
        match &self.0 {
            Some(token) => token,
            None => unreachable!("only `disarm` takes the token, and the guard with it"),
        }
    }

    /// Gives up the guard for its token, which is not cancelled.
    pub fn disarm(mut self) -> CancellationToken {
        match self.0.take() {
            Some(token) => token,
            None => unreachable!("only `disarm` takes the token, and the guard with it"),
        }
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.0 {
            token.cancel_tree(Reason::explicit());
        }
    }
}

/// Cancels the token it borrows when it is dropped: made by [`CancellationToken::drop_guard_ref`].
///
/// `Send + Sync`. As [`DropGuard`], but the drop frees nothing.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once cancels at once"]
pub struct DropGuardRef<'a>(Option<&'a CancellationToken>);

impl<'a> DropGuardRef<'a> {
    pub(crate) fn new(token: &'a CancellationToken) -> Self {
        DropGuardRef(Some(token))
    }

    /// The token that the drop will cancel.
    pub fn token(&self) -> &CancellationToken {
        match self.0 {
            Some(token) => token,
            None => unreachable!("only `disarm` takes the token, and the guard with it"),
        }
    }

    /// Gives up the guard for its token, which is not cancelled.
    pub fn disarm(mut self) -> &'a CancellationToken {
        match self.0.take() {
            Some(token) => token,
            None => unreachable!("only `disarm` takes the token, and the guard with it"),
        }
    }
}

impl Drop for DropGuardRef<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.0 {
            token.cancel_tree(Reason::explicit());
        }
    }
}
