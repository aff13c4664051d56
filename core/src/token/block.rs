//! Waiting without a task: a thread sleeps until the token is cancelled.

use crate::token::handle::CancellationToken;
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// Waiting by a thread (feature `std`).
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
impl CancellationToken {
    /// Blocks the calling thread until the token is cancelled.
    ///
    /// By [`std::thread::park`]; an `unpark` by others does not end it, but is consumed; its own
    /// may come after it has returned. Takes no lock. Allocates unless the token is cancelled. Not for
    /// async code or interrupts. With [`never`](Self::never) it does not return.
    ///
    /// ```
    /// use umbel_core::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| token.cancel());
    ///     token.wait_blocking();
    /// });
    /// assert!(token.is_cancelled());
    /// ```
    pub fn wait_blocking(&self) {
        self.wait_parked(|| {
            thread::park();
            true
        });
    }

    /// As [`wait_blocking`](Self::wait_blocking), but no longer than `timeout`. True: the token is
    /// cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use umbel_core::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// assert!(!token.wait_timeout(Duration::ZERO));
    /// token.cancel();
    /// assert!(token.wait_timeout(Duration::MAX));
    /// ```
    #[must_use = "whether the token is cancelled"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        // What no clock can show is for ever.
        let end = Instant::now().checked_add(timeout);
        self.wait_parked(|| match end {
            None => {
                thread::park();
                true
            }
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                thread::park_timeout(left);
                !left.is_zero()
            }
        })
    }

    /// Parks by `park` until that returns false or the token is cancelled. True: it is.
    fn wait_parked(&self, park: impl Fn() -> bool) -> bool {
        if self.is_cancelled() {
            return true;
        }
        let sleeper = thread::current();
        // Before the thread looks at the flag: who sets it after that look unparks it.
        let _alarm = self.on_cancel(move || sleeper.unpark());
        while !self.is_cancelled() {
            if !park() {
                return self.is_cancelled();
            }
        }
        true
    }
}
