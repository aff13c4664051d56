//! Why something was cancelled.
//!
//! A [`Reason`] is one word, so that a token publishes "cancelled" and "why" by one atomic write.
//!
//! # The word
//!
//! | low bits | meaning |
//! |---|---|
//! | `01` | inline: bits 2–7 the kind, bits 8–23 the custom code (fits a 32-bit word; see [`Compact`]) |
//! | `00` | pointer to a reference-counted boxed error (`alloc`); never null |
//! | `10`, `11` | never in a `Reason`: free for the owner of a word that stores one |
//!
//! # Invariants
//!
//! - **R1** A `Reason` whose word is a pointer owns one reference to the box behind it.

use core::error::Error;
use core::fmt;
use core::ptr::NonNull;

#[cfg(feature = "alloc")]
use crate::sync::Arc;
#[cfg(feature = "alloc")]
use alloc::boxed::Box;

/// What kind of event caused a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonKind {
    /// Somebody called `cancel()`.
    Explicit,
    /// A deadline or timeout passed.
    DeadlineExceeded,
    /// Another child of the same nursery failed, or panicked.
    SiblingFailed,
    /// Another child of the same nursery succeeded, and that was enough.
    SiblingSucceeded,
    /// The program is shutting down.
    Shutdown,
    /// The scope that owned the work was dropped.
    Dropped,
    /// The application's own reason: see [`Reason::code`] and [`Reason::source`].
    Custom,
}

const TAG_MASK: usize = 0b11;
const TAG_INLINE: usize = 0b01;
const KIND_SHIFT: u32 = 2;
const KIND_MASK: usize = 0x3f;
const KIND_CUSTOM: usize = 5;
/// [`ReasonKind::Custom`], but the error could not be kept. No code.
#[cfg(feature = "alloc")]
const KIND_LOST: usize = KIND_MASK;
const CODE_SHIFT: u32 = 8;

#[cfg(feature = "alloc")]
type Boxed = Box<dyn Error + Send + Sync + 'static>;

/// Why something was cancelled: a kind, and for [`ReasonKind::Custom`] a code or an error.
///
/// One pointer in size; `Option<Reason>` too. Cloning never allocates. `Send + Sync`.
///
/// ```
/// use umbel_core::{Reason, ReasonKind};
///
/// let why = Reason::custom(7);
/// assert_eq!(why.kind(), ReasonKind::Custom);
/// assert_eq!(why.code(), Some(7));
/// assert_eq!(Reason::shutdown().to_string(), "shutting down");
/// ```
pub struct Reason(NonNull<()>);

// SAFETY: R1 – the word is plain data or an owned reference to a `Send + Sync` error.
unsafe impl Send for Reason {}
// SAFETY: R1 – as above; `&Reason` only reads.
unsafe impl Sync for Reason {}

impl Reason {
    const fn inline(kind: ReasonKind, code: u16) -> Self {
        let kind = match kind {
            ReasonKind::Explicit => 0,
            ReasonKind::DeadlineExceeded => 1,
            ReasonKind::SiblingFailed => 2,
            ReasonKind::Shutdown => 3,
            ReasonKind::Dropped => 4,
            ReasonKind::Custom => KIND_CUSTOM,
            ReasonKind::SiblingSucceeded => 6,
        };
        let word = (code as usize) << CODE_SHIFT | kind << KIND_SHIFT | TAG_INLINE;
        match NonNull::new(core::ptr::without_provenance_mut(word)) {
            Some(word) => Reason(word),
            None => unreachable!(),
        }
    }

    /// Somebody called `cancel()`: the reason that [`CancellationToken::cancel`] gives.
    ///
    /// [`CancellationToken::cancel`]: crate::CancellationToken::cancel
    pub const fn explicit() -> Self {
        Self::inline(ReasonKind::Explicit, 0)
    }

    /// A deadline or timeout passed.
    pub const fn deadline_exceeded() -> Self {
        Self::inline(ReasonKind::DeadlineExceeded, 0)
    }

    /// Another child of the same nursery failed.
    pub const fn sibling_failed() -> Self {
        Self::inline(ReasonKind::SiblingFailed, 0)
    }

    /// Another child of the same nursery succeeded, and that was enough.
    pub const fn sibling_succeeded() -> Self {
        Self::inline(ReasonKind::SiblingSucceeded, 0)
    }

    /// The program is shutting down.
    pub const fn shutdown() -> Self {
        Self::inline(ReasonKind::Shutdown, 0)
    }

    /// The scope that owned the work was dropped.
    pub const fn dropped() -> Self {
        Self::inline(ReasonKind::Dropped, 0)
    }

    /// The application's own reason, told by a number. Usable in interrupts: nothing is allocated.
    pub const fn custom(code: u16) -> Self {
        Self::inline(ReasonKind::Custom, code)
    }

    /// The application's own reason, told by an error, which [`source`](Self::source) gives back.
    ///
    /// Allocates, here and nowhere later. Whoever drops the last clone drops the error.
    #[cfg(feature = "alloc")]
    pub fn error(error: impl Into<Box<dyn Error + Send + Sync + 'static>>) -> Self {
        let boxed: Boxed = error.into();
        let raw = Arc::into_raw(Arc::new(boxed)).cast_mut().cast();
        match NonNull::new(raw) {
            Some(word) => Reason(word),
            None => unreachable!("a reference to the heap is not null"),
        }
    }

    /// The kind. An [`error`](Self::error) is [`ReasonKind::Custom`].
    pub fn kind(&self) -> ReasonKind {
        match self.inline_word() {
            Some(word) => match word >> KIND_SHIFT & KIND_MASK {
                0 => ReasonKind::Explicit,
                1 => ReasonKind::DeadlineExceeded,
                2 => ReasonKind::SiblingFailed,
                3 => ReasonKind::Shutdown,
                4 => ReasonKind::Dropped,
                6 => ReasonKind::SiblingSucceeded,
                _ => ReasonKind::Custom,
            },
            None => ReasonKind::Custom,
        }
    }

    /// The number given to [`custom`](Self::custom); `None` for every other reason.
    pub fn code(&self) -> Option<u16> {
        let word = self.inline_word()?;
        let custom = word >> KIND_SHIFT & KIND_MASK == KIND_CUSTOM;
        custom.then_some((word >> CODE_SHIFT) as u16)
    }

    /// The error given to [`error`](Self::error); `None` for every other reason.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        #[cfg(feature = "alloc")]
        if self.inline_word().is_none() {
            // SAFETY: R1 – our reference keeps the box alive for as long as `&self`.
            let boxed: &Boxed = unsafe { self.0.cast::<Boxed>().as_ref() };
            return Some(&**boxed);
        }
        None
    }

    fn inline_word(&self) -> Option<usize> {
        let word = self.0.addr().get();
        (word & TAG_MASK == TAG_INLINE).then_some(word)
    }
}

/// A reason in 24 bits: what [`crate::token`] keeps in a `static`, where nothing can be dropped. A boxed
/// error is not kept: only that there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compact(u32);

impl Compact {
    const MASK: u32 = 0x00ff_ffff;

    #[inline]
    pub(crate) fn new(reason: &Reason) -> Compact {
        match reason.inline_word() {
            Some(word) => Compact(word as u32),
            #[cfg(feature = "alloc")]
            None => Compact((KIND_LOST << KIND_SHIFT | TAG_INLINE) as u32),
            #[cfg(not(feature = "alloc"))]
            None => Compact(TAG_INLINE as u32),
        }
    }

    /// The low 24 bits; never 0.
    #[inline]
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// From the low 24 bits of `bits`, which came from [`bits`](Self::bits).
    #[inline]
    pub(crate) const fn from_bits(bits: u32) -> Compact {
        Compact(bits & Self::MASK)
    }

    #[inline]
    pub(crate) fn reason(self) -> Reason {
        let word = core::ptr::without_provenance_mut(self.0 as usize | TAG_INLINE);
        match NonNull::new(word) {
            Some(word) => Reason(word),
            None => unreachable!(),
        }
    }
}

/// The word itself, for `crate::token`, which keeps it in an atomic.
#[cfg(feature = "alloc")]
impl Reason {
    /// Gives up the `Reason` for its word; the reference of R1 goes with it.
    pub(crate) fn into_raw(self) -> *mut () {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// `word` came from [`into_raw`](Self::into_raw) and its reference has not been given back yet.
    pub(crate) unsafe fn from_raw(word: *mut ()) -> Self {
        // SAFETY: (caller) a word of `into_raw` is never null.
        Reason(unsafe { NonNull::new_unchecked(word) })
    }

    /// A new `Reason` from a word whose reference somebody else keeps.
    ///
    /// # Safety
    /// `word` came from [`into_raw`](Self::into_raw) and its reference lives during this call.
    pub(crate) unsafe fn clone_raw(word: *mut ()) -> Self {
        // SAFETY: (caller) as for `from_raw`; ManuallyDrop leaves the keeper's reference alone.
        let kept = core::mem::ManuallyDrop::new(unsafe { Self::from_raw(word) });
        Reason::clone(&kept)
    }
}

impl Clone for Reason {
    #[inline]
    fn clone(&self) -> Self {
        #[cfg(feature = "alloc")]
        if self.inline_word().is_none() {
            // SAFETY: R1 – the word came from `Arc::into_raw` and our reference keeps it alive.
            let ours = unsafe { Arc::from_raw(self.0.as_ptr().cast::<Boxed>().cast_const()) };
            core::mem::forget(Arc::clone(&ours));
            core::mem::forget(ours);
        }
        Reason(self.0)
    }
}

impl Drop for Reason {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "alloc")]
        if self.inline_word().is_none() {
            // SAFETY: R1 – the word came from `Arc::into_raw`; this is the reference that we own.
            drop(unsafe { Arc::from_raw(self.0.as_ptr().cast::<Boxed>().cast_const()) });
        }
    }
}

/// Equal kinds and codes; two errors are equal if they are clones of one.
impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Reason {}

impl core::hash::Hash for Reason {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Reason");
        s.field("kind", &self.kind());
        if let Some(code) = self.code() {
            s.field("code", &code);
        }
        if let Some(source) = self.source() {
            s.field("source", &source);
        }
        s.finish()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), self.source()) {
            (_, Some(source)) => fmt::Display::fmt(source, f),
            (ReasonKind::Explicit, _) => f.write_str("cancelled"),
            (ReasonKind::DeadlineExceeded, _) => f.write_str("deadline exceeded"),
            (ReasonKind::SiblingFailed, _) => f.write_str("a sibling failed"),
            (ReasonKind::SiblingSucceeded, _) => f.write_str("a sibling succeeded"),
            (ReasonKind::Shutdown, _) => f.write_str("shutting down"),
            (ReasonKind::Dropped, _) => f.write_str("its scope was dropped"),
            (ReasonKind::Custom, _) => match self.code() {
                Some(code) => write!(f, "custom reason {code}"),
                None => f.write_str("an error that was not kept"),
            },
        }
    }
}

/// The error of work that ended because it was cancelled; carries the [`Reason`].
///
/// With `std` it converts into [`std::io::Error`] of kind `Other` (not `Interrupted`, which callers
/// retry), with this value as its source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cancelled(Reason);

impl Cancelled {
    /// An error that says `reason`.
    pub const fn new(reason: Reason) -> Self {
        Cancelled(reason)
    }

    /// Why the work was cancelled.
    pub const fn reason(&self) -> &Reason {
        &self.0
    }

    /// Gives up the error for its reason.
    pub fn into_reason(self) -> Reason {
        self.0
    }
}

impl From<Reason> for Cancelled {
    fn from(reason: Reason) -> Self {
        Cancelled(reason)
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.kind() == ReasonKind::Explicit {
            f.write_str("cancelled")
        } else {
            write!(f, "cancelled: {}", self.0)
        }
    }
}

impl Error for Cancelled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source().map(|e| e as &(dyn Error + 'static))
    }
}

#[cfg(feature = "std")]
impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        std::io::Error::other(cancelled)
    }
}
