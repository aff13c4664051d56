//! Closing what blocks.

use crate::sync::Arc;
use crate::token::callback::Registration;
use crate::token::handle::CancellationToken;
use core::ops::Deref;

/// A resource that is closed when a token is cancelled: made by
/// [`CancellationToken::close_on_cancel`].
///
/// Some calls know nothing of cancellation and end only when somebody closes what they block on: a
/// read from a socket, an `accept`, a queue. A wedge lends the resource to such a call by `Deref`,
/// and closes it from the thread that cancels, so that the call comes back.
///
/// [`disarm`](Self::disarm) gives the resource back, unless it was closed. Dropping the wedge drops
/// it without closing it by the function given; if that runs at the moment on another thread, it is
/// dropped there. `Send + Sync`. Making it allocates, dropping it frees: not for interrupts, nor for
/// tokens that are cancelled in one.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
/// use umbel_core::CancellationToken;
///
/// # fn main() -> std::io::Result<()> {
/// # if cfg!(miri) { return Ok(()); }
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let silent_peer = TcpStream::connect(listener.local_addr()?)?;
/// let (stream, _) = listener.accept()?;
///
/// let token = CancellationToken::new();
/// let stream = token.close_on_cancel(stream, |stream| {
///     let _ = stream.shutdown(Shutdown::Both);
/// });
/// std::thread::scope(|scope| {
///     scope.spawn(|| token.cancel());
///     // Would block for ever, since the peer says nothing.
///     assert_eq!((&*stream).read(&mut [0])?, 0);
///     std::io::Result::Ok(())
/// })?;
/// assert!(stream.disarm().is_none());
/// # drop(silent_peer);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it drops the resource"]
pub struct Wedge<R> {
    // First, so that the callback's share of the resource is dropped first.
    registration: Registration,
    resource: Arc<R>,
}

impl<R> Wedge<R> {
    pub(crate) fn new<F>(token: &CancellationToken, resource: R, close: F) -> Self
    where
        R: Send + Sync + 'static,
        F: FnOnce(&R) + Send + 'static,
    {
        let resource = Arc::new(resource);
        let shared = resource.clone();
        Wedge {
            registration: token.on_cancel(move || close(&shared)),
            resource,
        }
    }

    /// Gives the resource back: it is not closed and will not be. `None`: it has been closed, or is
    /// being closed, and was given up.
    ///
    /// # Panics
    /// The drop of the function that was to close it panicked.
    #[must_use]
    pub fn disarm(self) -> Option<R> {
        if !self.registration.unregister() {
            return None;
        }
        // The callback was dropped unused, and its share with it: this one is the last.
        Arc::try_unwrap(self.resource).ok()
    }
}

impl<R> Deref for Wedge<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.resource
    }
}
