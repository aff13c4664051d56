//! Callbacks: what runs when a token is cancelled.
//!
//! A callback is a waiter whose waker runs a closure. It claims a slot of the node's slab of waiters
//! as a waiting future does, so what holds for wakeups holds for it: none is lost, and none runs
//! before all flags are set. The closure lies in a **block**, one allocation, which the waker in the
//! slot and the [`Registration`] share.
//!
//! # State: three bits of the block's `word`
//!
//! | bit | meaning | set by | model |
//! |---|---|---|---|
//! | GONE | the closure was moved out, to be called or dropped by who set the bit | the canceller, the registration, burial | `unregister_against_cancel`, `death_with_a_forgotten_callback_against_cancel_above` |
//! | SLOT_LEFT | the waker does not use the block any more | the canceller; burial | `drop_of_a_registration_and_reuse_against_cancel`; `two_cancels_at_two_levels_against_forgotten` |
//! | HOLDER_LEFT | the registration does not use the block any more | the registration | `forget_against_cancel` |
//!
//! While the registration holds the block, the word is 0 exactly as long as the token is not
//! cancelled: [`Flag`](crate::Flag) shows it to the outside.
//!
//! # Life
//!
//! ```text
//!   write block ─► arm ─┬─► the canceller takes the slot ─► sets GONE, SLOT_LEFT ─► calls
//!                       ├─► unregister, drop: sets GONE ─► disarms the slot ─► drops the closure
//!                       └─► forget: HOLDER_LEFT ─► the canceller, or burial of the node
//! ```
//!
//! Who leaves as the second frees the block, but for the canceller, which must not free (T1: it may
//! run in an interrupt): it puts the waker back into its TAKEN slot and arms it again. It lies there,
//! running nothing, until the node is buried.
//!
//! # Invariants
//!
//! - **B1** The block exists until both have left; but if the canceller leaves last, until the waker
//!   that it put back is dropped by burial.
//! - **B2** Who sets GONE owns the closure.
//! - **B3** The waker never leaves slot and canceller: it is woken by value or dropped, never cloned.
//!   So there is one at most, and who has it has the slot's share of the block.
//! - **B4** A waker is woken only by who holds the node (W5) and took the slot; no one else touches
//!   that slot while it is TAKEN.
//! - **B5** Nobody touches the block after it has left, unless it was the last: the other may free it.
//! - **B6** A registration holds a handle of the node in which its slot lies, until it has left.
//!
//! # Orderings
//!
//! Arm, then look at the flag; against it: set the flag, then look at the codes. See `token::node`.
//!
//! | site | op | order | pairs with, and what for |
//! |---|---|---|---|
//! | set GONE | `fetch_or` | Release | readers of a `Flag` (Acquire): what was written before `cancel` |
//! | leave | `fetch_or` | AcqRel | each other: all use of the block happens before it is freed |
//! | take back SLOT_LEFT | `fetch_and` | Relaxed | – (alone; `put_back` publishes it to burial) |
//!
//! The closure itself is published by `arm` and never comes back, so who sets GONE acquires nothing.
//! Models: `the_flag_for_c_publishes` shows both sides of GONE, `on_cancel_against_cancel` the look
//! at the flag. The order of "leave" protects plain reads of the block against its freeing, which loom
//! does not watch: weakened, it fails `racing_unregister_and_cancel` under miri. Who unregisters too
//! late has acquired what the canceller released: by "leave" (`a_late_unregister_publishes`).
//!
//! # Foreign code
//!
//! A closure is moved to the stack first; then the block is left or freed, and the slot given back;
//! then the closure is called or dropped. So it may do anything, its own registration's drop included.

use crate::sync::{AtomicU32, Ordering, UnsafeCell, dealloc};
use crate::token::handle::CancellationToken;
use crate::token::node::WaitSlot;
use crate::wake::slab::{Left, Place, allocate};
use core::alloc::Layout;
use core::fmt;
use core::mem::ManuallyDrop;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

const GONE: u32 = 0b001;
const SLOT_LEFT: u32 = 0b010;
const HOLDER_LEFT: u32 = 0b100;

/// What all blocks have; the closure lies behind it.
struct Header {
    /// See the module's head.
    word: AtomicU32,
    /// Where the waker lies; never changed. A null segment: nowhere, and the holder is alone.
    place: Place<WaitSlot>,
    kind: &'static Kind,
}

#[repr(C)]
struct Block<F> {
    header: Header,
    /// B2.
    closure: UnsafeCell<ManuallyDrop<F>>,
}

/// What depends on the closure's type.
struct Kind {
    layout: Layout,
    /// Moves the closure out, leaves the block by the function given, then calls or drops the closure.
    take: unsafe fn(NonNull<Header>, Leave, Then),
}

type Leave = unsafe fn(NonNull<Header>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Call,
    Drop,
}

impl<F: FnOnce()> Block<F> {
    const KIND: &'static Kind = &Kind {
        layout: Layout::new::<Block<F>>(),
        take: Self::take,
    };

    /// # Safety
    /// `block` is a `Block<F>`. The caller has set GONE, and may call `leave`.
    unsafe fn take(block: NonNull<Header>, leave: Leave, then: Then) {
        // SAFETY: B1, B5 – the caller has not left. B2 – the closure is the caller's, and moved once.
        let closure = unsafe {
            let this = block.cast::<Block<F>>().as_ref();
            this.closure
                .with_mut(|closure| ManuallyDrop::take(&mut *closure))
        };
        // SAFETY: (caller).
        unsafe { leave(block) };
        match then {
            Then::Call => closure(),
            Then::Drop => drop(closure),
        }
    }
}

// ------------------------------------------------------------------ the block

/// Sets GONE. True: the closure is the caller's (B2).
///
/// # Safety
/// The caller has not left the block (B1).
unsafe fn set_gone(block: NonNull<Header>) -> bool {
    // SAFETY: B1.
    let word = unsafe { &block.as_ref().word };
    word.fetch_or(GONE, Ordering::Release) & GONE == 0
}

/// Leaves the block for one of its two users. True: the other left before, and the block is the
/// caller's.
///
/// # Safety
/// The caller is the one that `bit` stands for, and has not left.
unsafe fn leave(block: NonNull<Header>, bit: u32) -> bool {
    // SAFETY: B1.
    let word = unsafe { &block.as_ref().word };
    word.fetch_or(bit, Ordering::AcqRel) & (SLOT_LEFT | HOLDER_LEFT) != 0
}

/// # Safety
/// The block is the caller's alone, and the closure is gone.
unsafe fn free(block: NonNull<Header>) {
    // SAFETY: (caller) B1. What is left in it needs no drop.
    unsafe {
        let layout = block.as_ref().kind.layout;
        dealloc(block.as_ptr().cast(), layout);
    }
}

/// # Safety
/// The caller is the registration, has not left, and the closure is gone or will go with the waker.
unsafe fn leave_as_holder(block: NonNull<Header>) {
    // SAFETY: (caller); the last one may free.
    unsafe {
        if leave(block, HOLDER_LEFT) {
            free(block);
        }
    }
}

/// Frees nothing.
///
/// # Safety
/// The caller has the waker, which is woken by who took its slot (B4), and the closure is gone.
unsafe fn leave_as_canceller(block: NonNull<Header>) {
    // SAFETY: (caller) B1; then the block is ours alone, until it is armed again. B4 – the slot is
    // ours: S2, TAKEN.
    unsafe {
        if leave(block, SLOT_LEFT) {
            let header = block.as_ref();
            header.word.fetch_and(!SLOT_LEFT, Ordering::Relaxed);
            let place = header.place;
            (*place.slot()).put(waker(block));
            place.put_back();
        }
    }
}

/// # Safety
/// The caller has the waker, and the closure is gone.
unsafe fn leave_as_waker(block: NonNull<Header>) {
    // SAFETY: (caller); not inside a cancellation (B3), so the last one may free.
    unsafe {
        if leave(block, SLOT_LEFT) {
            free(block);
        }
    }
}

/// # Safety
/// The slot's share of the block goes to the waker (B3).
unsafe fn waker(block: NonNull<Header>) -> Waker {
    // SAFETY: B1 – `data` is the block of a share that has not left. The closure is `Send`, and all
    // else is reached through atomics, so any thread may wake and drop it.
    unsafe { Waker::from_raw(RawWaker::new(block.as_ptr().cast(), &WAKER)) }
}

/// # Safety
/// `data` is that of a waker made above.
unsafe fn block_of(data: *const ()) -> NonNull<Header> {
    // SAFETY: (caller) it was made from a `NonNull`.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

static WAKER: RawWakerVTable = RawWakerVTable::new(
    |_| unreachable!("a callback's waker is not cloned (B3)"),
    |data| {
        // SAFETY: B3, B4 – who took the slot wakes its waker, by value.
        unsafe {
            let block = block_of(data);
            if set_gone(block) {
                (block.as_ref().kind.take)(block, leave_as_canceller, Then::Call);
            } else {
                leave_as_canceller(block);
            }
        }
    },
    |_| unreachable!("a callback's waker is woken by value (B3)"),
    |data| {
        // SAFETY: B3 – the waker's share of the block goes with it.
        unsafe {
            let block = block_of(data);
            if set_gone(block) {
                (block.as_ref().kind.take)(block, leave_as_waker, Then::Drop);
            } else {
                leave_as_waker(block);
            }
        }
    },
);

// ------------------------------------------------------------------ the registration

/// A callback that waits for its token's cancellation: made by [`CancellationToken::on_cancel`].
///
/// Dropping it unregisters the callback, as [`unregister`](Self::unregister) does. It holds a handle
/// of the token. `Send + Sync`. Dropping it may free, and may drop the closure: not for interrupts.
#[must_use = "dropping it unregisters the callback; `forget` keeps it"]
pub struct Registration {
    /// The holder's share; `None`: the callback has ended, or is none of ours any more.
    block: Option<NonNull<Header>>,
    /// B6; dropped after the block was left.
    token: CancellationToken,
}

// SAFETY: the closure in the block is `Send`, and is touched under B2 only; all else are atomics.
unsafe impl Send for Registration {}
// SAFETY: `&self` gives access to atomics only.
unsafe impl Sync for Registration {}
impl UnwindSafe for Registration {}
impl RefUnwindSafe for Registration {}

impl Registration {
    /// Registers `f`, or calls it if the token is cancelled.
    pub(crate) fn new<F: FnOnce() + Send + 'static>(token: &CancellationToken, f: F) -> Self {
        if token.is_cancelled() {
            f();
            return Registration {
                block: None,
                token: token.clone(),
            };
        }
        let mut registration = Self::armed(token, f);
        if token.node().is_cancelled_after_arming() {
            registration.end(Then::Call);
        }
        registration
    }

    /// With a block whose word is not 0 if the token is cancelled, now or later. Its closure is
    /// nothing, so whoever finds it gone has nothing to do.
    pub(crate) fn flag(token: &CancellationToken) -> Self {
        let registration = Self::armed(token, || ());
        if token.node().is_cancelled_after_arming() {
            // Relaxed: nobody has the flag yet, and we have seen what is to be published.
            registration.word().fetch_or(GONE, Ordering::Relaxed);
        }
        registration
    }

    /// Registers `f`, unless the token is cancelled or never will be. Who calls looks at the token.
    fn armed<F: FnOnce() + Send + 'static>(token: &CancellationToken, f: F) -> Self {
        let node = token.as_ptr();
        // SAFETY: the borrowed token keeps the node. S2 – OWNED: the slot is ours until it is armed.
        // The block is written before it is reached by anybody, and not of size zero.
        unsafe {
            let place = if token.is_cancelled() || token.node().is_never() {
                Place::NOWHERE
            } else {
                (*node).waits.claim(node)
            };
            let block = allocate(Layout::new::<Block<F>>()).cast::<Block<F>>();
            block.write(Block {
                header: Header {
                    word: AtomicU32::new(0),
                    place,
                    kind: Block::<F>::KIND,
                },
                closure: UnsafeCell::new(ManuallyDrop::new(f)),
            });
            let block = NonNull::new_unchecked(block.cast::<Header>());
            if !place.is_nowhere() {
                (*place.slot()).put(waker(block));
                place.arm();
            }
            Registration {
                block: Some(block),
                token: token.clone(),
            }
        }
    }

    /// Leaves the block; calls or drops the closure if it is still there, and then returns true.
    fn end(&mut self, then: Then) -> bool {
        let Some(block) = self.block.take() else {
            return false;
        };
        // SAFETY: B1 – we have not left yet. B6 – the slot is there, and was armed by us. A waker that
        // was disarmed has no share any more but ours (B3), so the block is ours alone.
        unsafe {
            let ours = set_gone(block);
            let (place, kind) = (block.as_ref().place, block.as_ref().kind);
            let alone = place.is_nowhere() || place.disarm(Left::Free);
            let leave = if alone { free } else { leave_as_holder };
            if ours {
                (kind.take)(block, leave, then);
            } else {
                leave(block);
            }
            ours
        }
    }

    /// Unregisters the callback. True: it was not called and never will be, and was dropped. False:
    /// it has been called, or is being called on another thread, or further up on this one.
    ///
    /// Never waits. After `false` the callback may still be running. A `cancel` that runs already
    /// does not call what is unregistered before it comes to it.
    ///
    /// # Panics
    /// The closure's drop panicked.
    ///
    /// ```
    /// use umbel_core::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let registration = token.on_cancel(|| unreachable!());
    /// assert!(registration.unregister());
    /// token.cancel();
    /// ```
    pub fn unregister(mut self) -> bool {
        self.end(Then::Drop)
    }

    /// Keeps the callback for the life of the token, and holds no handle of it any more.
    ///
    /// The life of a token ends with its last handle and its last child. If it ends uncancelled, the
    /// closure is dropped without being called; likewise if the last handle goes while a `cancel`
    /// further up has not yet come to it, but then perhaps not before the token's place is used by
    /// another child, or its parent goes too. A closure that holds a handle of its own token, or of one
    /// below it, keeps both alive until the token is cancelled.
    ///
    /// ```
    /// use umbel_core::CancellationToken;
    ///
    /// let (child, token) = (CancellationToken::new(), CancellationToken::new());
    /// let other = child.clone();
    /// token.on_cancel(move || other.cancel()).forget();
    /// token.cancel();
    /// assert!(child.is_cancelled());
    /// ```
    pub fn forget(mut self) {
        if let Some(block) = self.block {
            // SAFETY: B1 – we have not left yet. With a slot, the waker takes care of the closure:
            // it goes before the waker's share does.
            unsafe {
                if !block.as_ref().place.is_nowhere() {
                    self.block = None;
                    leave_as_holder(block);
                }
            }
        }
    }

    /// The word that is 0 until the token is cancelled.
    pub(crate) fn word(&self) -> &AtomicU32 {
        match &self.block {
            // SAFETY: B1 – we have not left.
            Some(block) => unsafe { &block.as_ref().word },
            None => unreachable!("made by `flag`, and not ended"),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end(Then::Drop);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
