//! A token's state as one word in memory.

use crate::sync::Ordering;
use crate::token::callback::Registration;
use crate::token::handle::CancellationToken;

/// A 32-bit word that is 0 while a token is live and not 0 once it is cancelled: made by
/// [`CancellationToken::flag`].
///
/// For those who can read memory but not call Rust: C code, an interrupt handler written in
/// assembly, a debugger. The word is set by the `cancel` that wins, in the pass in which it wakes
/// those who wait; so [`CancellationToken::is_cancelled`] may be true a little earlier. Setting it
/// neither allocates nor frees.
///
/// It holds a handle of the token. `Send + Sync`. Dropping it frees: not for interrupts.
///
/// ```
/// use umbel_core::CancellationToken;
///
/// let token = CancellationToken::new();
/// let flag = token.flag();
/// // `extern "C" int crunch(const uint32_t *stop)` would get this; it looks by
/// // `__atomic_load_n(stop, __ATOMIC_ACQUIRE)` now and then.
/// let stop: *const u32 = flag.as_ptr();
/// assert!(!stop.is_null() && !flag.is_set());
/// token.cancel();
/// assert!(flag.is_set());
/// ```
#[derive(Debug)]
#[must_use = "the word is gone when the flag is dropped"]
pub struct Flag(Registration);

impl Flag {
    pub(crate) fn new(token: &CancellationToken) -> Self {
        Flag(Registration::flag(token))
    }

    /// Where the word is: at the same address, aligned to its size, as long as this flag exists.
    ///
    /// To be read atomically, since another thread may write meanwhile; by an acquire load, if what
    /// was written before `cancel` is to be seen. Must not be written to.
    #[cfg(not(umbel_loom))]
    #[must_use]
    pub fn as_ptr(&self) -> *const u32 {
        self.0.word().as_ptr().cast_const()
    }

    /// Whether the word is not 0: one load. May be called in an interrupt.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.word().load(Ordering::Acquire) != 0
    }
}
