//! A token in a `static`, with room for a fixed number of children: cancellation without `alloc`.
//!
//! | room | what it holds |
//! |---|---|
//! | `slot` | one slot: its states, its transitions, the rules of reuse |
//! | `child` | the handle of a child |
//! | `wait` | waiting |
//! | `run` | running until cancelled; firing the deadline |
//!
//! The tree has two levels: the root, one word, and the children, each a slot of the root's array. A
//! child is a word and a waker, both in the slot, so that having a child is having all that waiting
//! for it needs. Deadlines are in the handles: nobody but the owner looks at them.
//!
//! # Cancelling
//!
//! `cancel` sets the root's word, then marks every LIVE slot, then wakes who waits in a cancelled one.
//! `cancel_children` begins with the marking. Who finds the root set already (a loser, also a
//! `cancel_children`) marks, with the reason that is there, and wakes nobody. The wakers are taken out
//! one by one while they are woken: no memory is needed for that, and if a waker panics the rest is
//! still in its place.
//!
//! Cancellations that overlap share the waking: whoever reaches a slot first takes the waker there.
//! Each has set all flags of its own before, but perhaps not the other one: a slot has no room to say
//! who is to wake it. One that finds another at a slot passes by: the other takes the waker and wakes
//! it, though perhaps not before this one returns.
//!
//! # Asking for a child
//!
//! `child` looks at the slots in order and claims the first that is FREE. It fails only if at some
//! moment more than `N` children were held or asked for. For say that a request that looks at slot
//! `i`, and a child in slot `i`, *stand* at `i`. At most `N - i` stand at `i` or above: a request goes
//! from `i` to `i + 1` only past another one that stands at `i` and stays behind, and a drop leaves
//! from wherever it stands. So none gets to `N`. (The argument is that of Moir and Anderson,
//! "Wait-free algorithms for fast, long-lived renaming", 1995.) A slot whose child was dropped while
//! a canceller was inside (`slot`, 7) counts as held until that one goes on.
//!
//! # Orderings
//!
//! "Set mine, then look at yours", in the total order of `SeqCst`:
//!
//! | here | against | shown by model |
//! |---|---|---|
//! | claim a slot, then load the root's word | set the root's word, then load the slots' words | `child_against_cancel` |
//!
//! `cancel_children` needs no such pair: a child that it does not see was born after it began. And a
//! child whose root was cancelled before it was asked for is claimed cancelled, so that none that runs
//! beside gives it another reason (`child_of_the_cancelled_against_cancel_children`).
//!
//! # Foreign code
//!
//! Wakers are woken, and reasons dropped, when nothing is half-made and no slot is in hand.

mod slot;
mod child;
mod wait;
mod run;
#[cfg(all(test, not(any(umbel_loom, umbel_step))))]
mod tests;

pub use child::StaticChild;
pub use run::{StaticDrive, StaticRun};
pub use wait::StaticWait;

use crate::reason::{Cancelled, Compact, Reason};
use crate::sync::sc_fence;
use crate::time::{Instant, Timer};
use crate::token::fire::Expiring;
use crate::token::fixed::slot::{Slot, Word};
use crate::wake::batch::wake_all;
use core::error::Error;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};

/// A token that lives in a `static` and has room for `N` children at a time. Needs no `alloc`.
///
/// Cancelling it cancels its children and wakes who waits for one of them. It cannot be undone: a
/// button that is to work twice calls [`cancel_children`](Self::cancel_children), which cancels the
/// present children and lets new ones be made.
///
/// `Send + Sync`. On 32-bit targets it takes 4 bytes, and 16 for each child. Everything is lock-free
/// and nothing allocates; [`cancel`](Self::cancel), [`cancel_with`](Self::cancel_with),
/// [`cancel_children`](Self::cancel_children) and the looks may be called in an interrupt that
/// interrupted any operation of any token at any instruction. On targets without compare-and-swap
/// (feature `portable-atomic`) each atomic step is a critical section of the chosen backend.
///
/// A task takes a [child](Self::child) and waits for that. The token itself is not waited for.
///
/// **Reasons** are kept as kind and code. Of a [`Reason::error`] (`alloc`) only that there was one is
/// kept: [`ReasonKind::Custom`](crate::ReasonKind::Custom), without code and source. A `static` must
/// drop nothing in an interrupt.
///
/// ```
/// use umbel_core::{Full, Reason, StaticToken};
///
/// static STOP: StaticToken<2> = StaticToken::new();
///
/// async fn receive(uart: &mut Uart) -> Result<Option<usize>, Full> {
///     let mut buf = [0; 64];
///     Ok(STOP.child()?.run_until_cancelled(uart.read(&mut buf)).await)
/// }
///
/// /// The button's interrupt. Pressing it again works again.
/// fn on_button() {
///     STOP.cancel_children(Reason::custom(1));
/// }
/// # struct Uart;
/// # impl Uart {
/// #     async fn read(&mut self, _: &mut [u8]) -> usize { std::future::pending().await }
/// # }
/// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # let mut cx = Context::from_waker(Waker::noop());
/// # for _ in 0..2 {
/// #     let mut uart = Uart;
/// #     let mut task = pin!(receive(&mut uart));
/// #     assert!(task.as_mut().poll(&mut cx).is_pending());
/// #     on_button();
/// #     assert_eq!(task.poll(&mut cx), Poll::Ready(Ok(None)));
/// # }
/// ```
pub struct StaticToken<const N: usize> {
    /// Of the token itself.
    word: Word,
    slots: [Slot; N],
}

#[cfg(all(target_pointer_width = "32", not(umbel_loom)))]
const _: () = assert!(size_of::<StaticToken<4>>() == 4 + 4 * 16 && size_of::<StaticChild>() == 16);

// Foreign code never runs while anything is half-made.
impl<const N: usize> UnwindSafe for StaticToken<N> {}
impl<const N: usize> RefUnwindSafe for StaticToken<N> {}

impl<const N: usize> StaticToken<N> {
    /// A token that is not cancelled, without children.
    #[cfg(not(umbel_loom))]
    #[must_use]
    pub const fn new() -> Self {
        StaticToken {
            word: Word::live(),
            slots: [const { Slot::new() }; N],
        }
    }

    #[cfg(umbel_loom)]
    #[allow(missing_docs, reason = "only `const` is missing")]
    pub fn new() -> Self {
        StaticToken {
            word: Word::live(),
            slots: core::array::from_fn(|_| Slot::new()),
        }
    }

    /// A child, with all it needs to be waited for: waiting never fails. It is born cancelled if this
    /// token is.
    ///
    /// Takes time in proportion to `N`. Allocates nothing. May be called in an interrupt.
    ///
    /// # Errors
    /// All slots are taken. It never fails as long as no more than `N` children at a time are held
    /// or asked for, but for one case: a child that was dropped while a cancellation had been
    /// interrupted in taking the waker out of its slot (a few instructions) is held until that goes
    /// on. If your tasks may interrupt who cancels them, give the token a slot to spare.
    ///
    /// ```
    /// use umbel_core::{Full, StaticToken};
    ///
    /// static STOP: StaticToken<1> = StaticToken::new();
    /// let only = STOP.child()?;
    /// assert!(matches!(STOP.child(), Err(Full)));
    /// drop(only);
    /// assert!(STOP.child().is_ok());
    /// # Ok::<(), Full>(())
    /// ```
    pub fn child(&'static self) -> Result<StaticChild, Full> {
        self.child_with_deadline(Instant::NEVER)
    }

    /// As [`child`](Self::child), and records a deadline. Nothing fires by itself: that needs
    /// [`drive`](StaticChild::drive) or [`check_at`](StaticChild::check_at).
    ///
    /// # Errors
    /// As there.
    pub fn child_with_deadline(&'static self, at: Instant) -> Result<StaticChild, Full> {
        // Born cancelled, if the root is; otherwise claim, then look at the root.
        let above = self.word.cancelled_in_order();
        let mut slots = self.slots.iter();
        let slot = slots.find(|slot| slot.claim(above)).ok_or(Full)?;
        if above.is_none() {
            sc_fence();
            if let Some(why) = self.word.cancelled_in_order() {
                // If a walker was faster: with the same reason, or with that of a `cancel_children`
                // that runs beside.
                let _ = slot.word.cancel(why);
            }
        }
        Ok(StaticChild::new(slot, at))
    }

    /// Cancels this token and its children with [`Reason::explicit`].
    ///
    /// See [`cancel_with`](Self::cancel_with).
    pub fn cancel(&self) {
        self.cancel_with(Reason::explicit());
    }

    /// Cancels this token and its children, for good. True if this call was the one that cancelled
    /// the token; otherwise the earlier reason stays.
    ///
    /// When this returns, first or not, every child that existed when it was called is cancelled; a
    /// child that was cancelled before keeps its reason. The first call sets all flags, then wakes
    /// every task that waits. A later one wakes nobody, and may return before the first has woken
    /// all. A [`cancel_children`](Self::cancel_children) that is at work already may wake some of
    /// the tasks before all flags are set, or after this has returned.
    ///
    /// Takes time in proportion to `N`. Allocates and frees nothing, and may be called in an
    /// interrupt that interrupted any other operation, with a reason that is not a boxed error (the
    /// drop of one frees).
    ///
    /// # Panics
    /// A waker panicked; the others are woken all the same. With `std` the first panic is resumed at
    /// the end; without, a second one aborts.
    ///
    /// ```
    /// use umbel_core::{Reason, StaticToken};
    ///
    /// static STOP: StaticToken<1> = StaticToken::new();
    /// assert!(STOP.cancel_with(Reason::shutdown()));
    /// assert!(!STOP.cancel_with(Reason::custom(1)));
    /// assert_eq!(STOP.child()?.reason(), Some(Reason::shutdown()));
    /// # Ok::<(), umbel_core::Full>(())
    /// ```
    pub fn cancel_with(&self, reason: Reason) -> bool {
        let why = Compact::new(&reason);
        match self.word.cancel(why) {
            Ok(()) => {
                self.mark_all(why);
                self.wake_children();
                true
            }
            Err(earlier) => {
                self.mark_all(earlier);
                false
            }
        }
    }

    /// Cancels the present children; the token itself lives on, and so do children made later. One
    /// that is made during the call may be cancelled by it.
    ///
    /// When this returns, every child that existed when it was called is cancelled; one that was
    /// cancelled before keeps its reason. All flags are set, then the tasks are woken. If another
    /// cancellation runs meanwhile, that one may wake some of them: after this has returned, or
    /// before this has set all flags. On a cancelled token it has no effect of its own: all children
    /// are cancelled, or are being, with the token's reason.
    ///
    /// Time, interrupts and panics are as for [`cancel_with`](Self::cancel_with).
    ///
    /// ```
    /// use umbel_core::{Reason, StaticToken};
    ///
    /// static STOP: StaticToken<1> = StaticToken::new();
    /// for press in 1..=2 {
    ///     let child = STOP.child()?;
    ///     STOP.cancel_children(Reason::custom(press));
    ///     assert_eq!(child.reason(), Some(Reason::custom(press)));
    /// }
    /// assert!(!STOP.is_cancelled());
    /// # Ok::<(), umbel_core::Full>(())
    /// ```
    pub fn cancel_children(&self, reason: Reason) {
        match self.word.cancelled_in_order() {
            // They are cancelled already, or are being: whoever does that wakes them.
            Some(earlier) => self.mark_all(earlier),
            None => {
                self.mark_all(Compact::new(&reason));
                self.wake_children();
            }
        }
    }

    fn mark_all(&self, why: Compact) {
        sc_fence();
        for slot in &self.slots {
            slot.mark(why);
        }
    }

    fn wake_children(&self) {
        wake_all(self.slots.iter().filter_map(Slot::take_waker));
    }

    /// Whether the token itself is cancelled: one load. May be called in an interrupt.
    ///
    /// Who sees `true` also sees what was written before [`cancel`](Self::cancel) was called.
    #[inline(always)]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.word.is_cancelled()
    }

    /// Why the token itself is cancelled; `None` if it is not. May be called in an interrupt.
    #[inline]
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.word.reason()
    }

    /// For loops that poll nothing: `check()?` between two pieces of work. May be called in an
    /// interrupt.
    ///
    /// # Errors
    /// The token itself is cancelled.
    #[inline]
    pub fn check(&self) -> Result<(), Cancelled> {
        check(&self.word)
    }
}

#[inline]
fn check(word: &Word) -> Result<(), Cancelled> {
    match word.reason() {
        None => Ok(()),
        Some(reason) => Err(Cancelled::new(reason)),
    }
}

impl<const N: usize> Default for StaticToken<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The token's own state only: no children.
impl<const N: usize> fmt::Debug for StaticToken<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "StaticToken", &self.word)
    }
}

fn debug(f: &mut fmt::Formatter<'_>, name: &str, word: &Word) -> fmt::Result {
    // One look, so that both fields agree.
    let reason = word.reason();
    f.debug_struct(name)
        .field("is_cancelled", &reason.is_some())
        .field("reason", &reason)
        .finish()
}

impl StaticChild {
    /// Whether the child is cancelled: one load. May be called in an interrupt.
    ///
    /// Who sees `true` also sees what was written before the cancellation.
    #[inline(always)]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.slot.word.is_cancelled()
    }

    /// Why the child is cancelled; `None` if it is not. May be called in an interrupt.
    #[inline]
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.slot.word.reason()
    }

    /// For loops that poll nothing: `check()?` between two pieces of work. May be called in an
    /// interrupt.
    ///
    /// # Errors
    /// The child is cancelled.
    #[inline]
    pub fn check(&self) -> Result<(), Cancelled> {
        check(&self.slot.word)
    }

    /// As [`check`](Self::check), and if the [`deadline`](Self::deadline) is due at `now`, cancels
    /// this child with [`Reason::deadline_exceeded`] first.
    ///
    /// # Errors
    /// The child is cancelled.
    ///
    /// ```
    /// use umbel_core::{Instant, ReasonKind, StaticToken};
    ///
    /// static STOP: StaticToken<1> = StaticToken::new();
    /// let child = STOP.child_with_deadline(Instant::from_nanos(5))?;
    /// assert!(child.check_at(Instant::from_nanos(4)).is_ok());
    /// let late = child.check_at(Instant::from_nanos(5)).unwrap_err();
    /// assert_eq!(late.reason().kind(), ReasonKind::DeadlineExceeded);
    /// # Ok::<(), umbel_core::Full>(())
    /// ```
    #[inline]
    pub fn check_at(&self, now: Instant) -> Result<(), Cancelled> {
        self.is_over_at(now);
        self.check()
    }

    /// The deadline that it was made with; `None` if there is none. May be called in an interrupt.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline != Instant::NEVER).then_some(self.deadline)
    }

    /// Cancels this child, and no other, with [`Reason::explicit`].
    ///
    /// See [`cancel_with`](Self::cancel_with).
    pub fn cancel(&self) {
        self.cancel_with(Reason::explicit());
    }

    /// Cancels this child, and no other, and wakes who waits. True if this call was the one that
    /// cancelled it; otherwise the earlier reason stays. May be called in an interrupt, with a
    /// reason that is not a boxed error.
    ///
    /// # Panics
    /// The waker panicked.
    pub fn cancel_with(&self, reason: Reason) -> bool {
        self.cancel_now(&reason)
    }

    /// Waits until the child is cancelled; ends at the first poll if it is. Cannot fail and takes no
    /// memory.
    ///
    /// **Cancel safety:** Strict.
    ///
    /// ```
    /// use umbel_core::StaticChild;
    ///
    /// async fn closing(stop: &StaticChild) {
    ///     stop.cancelled().await;
    ///     // say goodbye
    /// }
    /// ```
    #[inline(always)]
    pub fn cancelled(&self) -> StaticWait<'_> {
        StaticWait::new(self)
    }

    /// Runs a future until it ends or the child is cancelled: `Some` output, or `None`.
    ///
    /// A child that is cancelled already gives `None` without a poll of the future; if both are ready
    /// at a later poll, the future's output wins.
    ///
    /// **Cancel safety:** that of `future`.
    #[inline]
    pub fn run_until_cancelled<F: Future>(&self, future: F) -> StaticRun<'_, F> {
        StaticRun::new(self, future)
    }

    /// Fires the [`deadline`](Self::deadline): when it is due, cancels this child with
    /// [`Reason::deadline_exceeded`]. Ends when the child is cancelled, by whomever. The timer may be
    /// lent, as `&timer`, or given.
    ///
    /// This waits for the child, so await it in the task that waits for the child anyway (see
    /// [`StaticChild`]: one wait at a time). A deadline that is due at the first poll fires there and
    /// then. Without one the timer is never asked to sleep. A sleep that ends early fires nothing.
    ///
    /// **Cancel safety:** Strict. Dropping it cancels nothing.
    pub fn drive<T: Timer>(&self, timer: T) -> StaticDrive<'_, T> {
        StaticDrive::new(self, timer)
    }

    /// The child's state as a 32-bit word in memory: 0 while it is live, not 0 once it is cancelled.
    /// For those who can read memory but not call Rust: C code, an interrupt handler in assembly.
    ///
    /// It is to be read atomically, by an acquire load if what was written before the cancellation is
    /// to be seen, only while the child exists, and must not be written to.
    #[cfg(not(umbel_loom))]
    #[inline]
    #[must_use]
    pub fn as_ptr(&self) -> *const u32 {
        self.slot.word.as_ptr()
    }
}

/// The child's own state.
impl fmt::Debug for StaticChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "StaticChild", &self.slot.word)
    }
}

/// All slots of a [`StaticToken`] are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all slots of the token are taken")
    }
}

impl Error for Full {}
