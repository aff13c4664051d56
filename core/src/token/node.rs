//! One node of the cancellation tree.
//!
//! The root is one allocation; every other node lies in a slot of its parent's slab of children
//! ([`crate::wake::slab`]). A child keeps its parent alive, so whoever keeps a node alive may look at
//! all slots below it: a walker needs no pin and no memory.
//!
//! # State
//!
//! `state` says whether the node is live, cancelled and why, or an empty slot: see
//! [`crate::token::state`].
//!
//! `aside` is a word that most nodes never need:
//!
//! | on | value | meaning |
//! |---|---|---|
//! | a child | an address on a stack | cancelled by that call of `cancel_children`, which is to wake it |
//! | an empty slot | LEFT | ARMED waiters of the last occupant lie in `waits` |
//! | a dead node, a fired root | a node or null | the next one in a list of [`crate::token::death`] |
//!
//! # Life
//!
//! ```text
//!             1 claim a slot      2 write fields    3 publish (swap)     4 look at the parent
//!   FREE ───────────────────► FREE, OWNED ───────────────► LIVE ──────────────────┐
//!    ▲                                                      │ 5 cancel, mark (CAS) ▼
//!    │ 7 burial: swap, then the slot's code             cancelled ◄────────────────┘
//!    └────────────────────────────────── dead ◄─────────────┘
//!                                              6 strong reaches 0
//! ```
//!
//! 1 [`claim_child`] · 2–4 [`new_child`] · 5 [`Node::cancel`], [`Node::mark`],
//! [`Node::cancel_as_child`] · 6, 7 [`crate::token::death`]. Under a parent that is cancelled when 3
//! comes, the child is published cancelled.
//!
//! Models: 1–4 against 5 `child_against_cancel`; 5 against itself `two_cancels_at_two_levels`; 6 and 7
//! against 5 `last_walker_buries`, `child_reuse_against_cancel`, against themselves
//! `parent_and_child_go_on_two_threads`; 7 and then 1–4 against 5 `walker_enters_a_half_made_child`,
//! `a_walker_enters_the_next_occupant`, `the_next_occupant_is_not_done`.
//!
//! `handles` counts handles. `strong` counts what keeps the node from dying: 1 for all handles
//! together, 1 for each shard of children, 1 for each walker inside.
//!
//! # Invariants
//!
//! - **I1** A node with `strong` above 0 is not buried: its fields and slabs stay.
//! - **I2** A child's parent has `strong` above 0 (through the child's shard), up to the root.
//! - **I3** `state` leaves LIVE at most once in the life of an occupant.
//! - **I4** Who stores a borrowed reason in a node holds a reference to that node and its parent,
//!   from whose `state` it comes; the owner of a pointer reason is an ancestor and outlives it.
//! - **I5** `deadline` is written before the first handle exists, and read by holders of one.
//! - **I6** A walker enters a node by [`Node::upgrade`] only, and only from a node that it holds.
//!   After that it looks at `state` again: the slot may have a new occupant, and even a half-made one.
//! - **I7** An occupant that is born or reborn under a cancelled parent is cancelled before its
//!   handle is returned, so one that a walker passes by has no waiter and no live child.
//! - **I8** `aside` is written by who has claimed the slot, by who holds the node and was the one to
//!   cancel it, and by who has the node dead; so by one at a time. It is null when a child is
//!   published.
//!
//! Because of I7 it does not matter that slots are reused under a walker's feet (ABA): a later
//! occupant is a child of the same cancelled parent and is to be cancelled with the same reason. Where
//! the parent lives on, under `cancel_children`, that does not hold; see `token::walk`.
//!
//! # Orderings
//!
//! Four pairs are "set mine, then look at yours" and need the single total order of `SeqCst`:
//!
//! | here | against | shown by model |
//! |---|---|---|
//! | arm a waiter, then load `state` | set `state`, then load `waits` and the waiters' codes | `cancel_against_first_poll` |
//! | link `waits`, then load `state` | set `state`, then load `waits` | `cancel_against_first_poll` |
//! | publish a child, then load the parent's `state` | set `state`, then load `kids`, codes, the child's `state` | `child_against_cancel` |
//! | free a slot, then load `summary` | clear `summary`, then load the codes | `room_is_not_lost` |
//!
//! | site | op | order | pairs with, and what for | shown by model |
//! |---|---|---|---|---|
//! | `cancel`, `mark`, `cancel_as_child` | CAS `state` | SeqCst | above; publishes what was written before `cancel` | `the_flag_publishes`, `what_is_handed_down_publishes` |
//! | a `cancel` that loses | failed CAS `state` | Acquire | the `cancel` that won | `losing_publishes` |
//! | publish | swap `state` | SeqCst | above; walkers' loads | `child_against_cancel` |
//! | the parent's state, before publishing | load | Acquire | `cancel`, `mark`: a `cancel` that is over gives its reason, whatever runs beside | `child_of_the_cancelled_against_cancel_children` |
//! | `is_cancelled`, `reason` | load `state` | Acquire | `cancel`, `mark` | `the_flag_publishes`, `the_reason_publishes` |
//! | `handles`, `strong` down | `fetch_sub` | AcqRel | each other: all use happens before burial | `handles_go_on_two_threads`, `parent_and_child_go_on_two_threads` |
//! | last of `handles`, of a plain root's `strong` | load of 1 | Acquire | the others' `fetch_sub`: likewise | `the_last_handle_sees_what_others_did`, `the_roots_last_reference_sees_what_its_children_did` |
//! | `strong` down, never to 0 | `fetch_sub` | Relaxed | – (the reference that the same thread gives up next releases) | |
//! | `strong` = 1 of an occupant | store | Release | `upgrade` (CAS, Acquire): the fields | `child_reuse_against_cancel`, `a_walker_enters_the_next_occupant` |
//! | `place` DONE | store, load | Release, Acquire | each other: "all below is cancelled" | `two_cancels_of_one_token` |
//! | `aside` | store, load | Relaxed | – (the writer itself reads it; a later occupant's null comes with `upgrade`) | |
//! | burial | swap `state` | Relaxed | – (the slot's code hands a parked reason to the next occupant) | |
//!
//! `cargo xtask deep orderings` weakens each of them, and those of the modules around, by one step
//! and sees the model fail; its table says of the few that no model can fail on why they are there.
//!
//! # Foreign code
//!
//! A pointer reason is dropped by nobody here: it is handed to callers whose structure is whole.

use crate::reason::Reason;
use crate::sync::{AtomicPtr, AtomicU32, Ordering, UnsafeCell, sc_fence};
use crate::time::Instant;
use crate::token::state::State;
use crate::wake::slab::{Place, Segment, Slab, Slot, allocate};
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null, null_mut};
use core::task::Waker;

/// The slot of one waiter: a waker, which is there while the code is ARMED or TAKEN.
#[derive(Debug)]
pub(crate) struct WaitSlot(UnsafeCell<MaybeUninit<Waker>>);

impl WaitSlot {
    /// # Safety
    /// The slot is the caller's, OWNED or TAKEN (S2), and no waker is in it.
    #[inline(always)]
    pub(crate) unsafe fn put(&self, waker: Waker) {
        // SAFETY: S2 – (caller) nobody else looks into the slot.
        unsafe { self.0.with_mut(|slot| (*slot).write(waker)) };
    }

    /// # Safety
    /// The slot is the caller's, TAKEN (S2), and a waker is in it, which nobody takes again.
    #[inline(always)]
    pub(crate) unsafe fn take(&self) -> Waker {
        // SAFETY: S2 – (caller) it was written before the slot was ARMED, and is ours.
        unsafe { self.0.with(|slot| (*slot).assume_init_read()) }
    }
}

impl Slot for WaitSlot {
    type Owner = Node;
    const FIRST: usize = 4;

    unsafe fn init(at: *mut Self, _: *const Segment<Self>, _: usize) {
        // SAFETY: (caller) `at` is ours to write.
        unsafe { at.write(WaitSlot(UnsafeCell::new(MaybeUninit::uninit()))) }
    }

    #[cfg(umbel_loom)]
    fn ends(&self) {
        self.0.with_mut(|_| ());
    }
}

/// The slot of one child, on a cache line of its own: a sibling's churn does not slow its readers.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(crate) struct ChildSlot(Node);

impl Slot for ChildSlot {
    type Owner = Node;
    const FIRST: usize = 1;

    unsafe fn init(at: *mut Self, segment: *const Segment<Self>, index: usize) {
        let empty = Node::new(State::FREE, 0, segment, place_of(index), Instant::NEVER);
        // SAFETY: (caller) `at` is ours to write.
        unsafe { at.write(ChildSlot(empty)) }
    }

    #[cfg(umbel_loom)]
    fn ends(&self) {
        self.0.ends();
    }
}

/// This root is never cancelled. Never on a child.
const NEVER: u32 = 0b01;
/// This node and all below it are cancelled. Never without a reason in `state`.
const DONE: u32 = 0b10;
/// This root is the first part of a block of [`crate::token::join`]. Never on a child.
const JOINED: u32 = 1 << INDEX_SHIFT;
const INDEX_SHIFT: u32 = 2;

/// In `aside` of an empty slot: ARMED waiters of the dead lie in `waits`. Not the address of anything.
const LEFT: usize = 1;

/// What became of an attempt to cancel a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// It was live, and is cancelled by this call.
    First,
    /// It was cancelled before.
    Later,
    /// The slot is empty, or claimed by one who has not yet published what it makes there.
    HalfMade,
}

/// See the module's head. Reached by raw pointers: a `&Node` is made for no longer than one access,
/// since the node may be gone as soon as a reference is given up.
///
/// In this order, so that a cancel of a node without children touches one half only: a root lies on
/// two cache lines, more often than not.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Node {
    /// Anyone who holds the node or, for a slot, its parent.
    state: AtomicPtr<()>,
    /// Claimed from by holders of a handle, walked by walkers inside.
    pub(crate) kids: Slab<ChildSlot>,
    /// Likewise.
    pub(crate) waits: Slab<WaitSlot>,
    /// Index in `segment`, DONE, NEVER; only DONE changes.
    place: AtomicU32,
    /// Where the node lies; null for a root. Never written after the slot was made.
    segment: *const Segment<ChildSlot>,
    /// See the module's head.
    strong: AtomicU32,
    handles: AtomicU32,
    /// I8.
    aside: AtomicPtr<()>,
    /// I5.
    deadline: UnsafeCell<Instant>,
}

#[cfg(all(target_pointer_width = "64", not(umbel_loom)))]
const _: () = {
    assert!(size_of::<Node>() <= 64 && size_of::<ChildSlot>() == 64);
    assert!(size_of::<Segment<ChildSlot>>() == 64 && size_of::<Segment<WaitSlot>>() == 64);
};

/// `place` of slot number `index`: there are fewer than 2^16 in a segment.
fn place_of(index: usize) -> u32 {
    (index as u32) << INDEX_SHIFT
}

impl Node {
    fn new(
        state: State,
        count: u32,
        segment: *const Segment<ChildSlot>,
        place: u32,
        deadline: Instant,
    ) -> Node {
        Node {
            state: AtomicPtr::new(state.0),
            kids: Slab::new(),
            waits: Slab::new(),
            place: AtomicU32::new(place),
            segment,
            strong: AtomicU32::new(count),
            handles: AtomicU32::new(count),
            aside: AtomicPtr::new(null_mut()),
            deadline: UnsafeCell::new(deadline),
        }
    }

    pub(crate) const LAYOUT: Layout = Layout::new::<Node>();

    /// A root with one handle, cancelled from the beginning if a reason is given.
    #[inline]
    pub(crate) fn root(reason: Option<Reason>) -> NonNull<Node> {
        Self::allocate(reason.map_or(State::LIVE, State::owning), 0)
    }

    /// A root that cannot be cancelled.
    pub(crate) fn never() -> NonNull<Node> {
        Self::allocate(State::LIVE, NEVER)
    }

    /// A root with one handle, for a block of [`crate::token::join`].
    pub(crate) fn joined(deadline: Instant) -> Node {
        Node::new(State::LIVE, 1, null(), JOINED, deadline)
    }

    #[inline]
    pub(crate) fn is_joined(&self) -> bool {
        self.segment.is_null() && self.place.load(Ordering::Relaxed) & JOINED != 0
    }

    #[inline]
    fn allocate(state: State, place: u32) -> NonNull<Node> {
        // SAFETY: a node is not of size zero; the block is ours to write, and not null.
        unsafe {
            let node = allocate(Self::LAYOUT).cast::<Node>();
            node.write(Node::new(state, 1, null(), place, Instant::NEVER));
            NonNull::new_unchecked(node)
        }
    }

    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        !State(self.state.load(Ordering::Acquire)).is_live()
    }

    /// The flag as seen by who has just armed a waiter: in the total order.
    #[inline(always)]
    pub(crate) fn is_cancelled_after_arming(&self) -> bool {
        sc_fence();
        !State(self.state.load(Ordering::SeqCst)).is_live()
    }

    /// # Safety
    /// The caller holds a handle, so the reason's owner lives (I4).
    pub(crate) unsafe fn reason(&self) -> Option<Reason> {
        let state = State(self.state.load(Ordering::Acquire));
        // SAFETY: I4 – without OWNS it is the word of a reason whose reference this node or an
        // ancestor keeps. A node with a handle is not FREE.
        (!state.is_live()).then(|| unsafe { Reason::clone_raw(state.for_child().0) })
    }

    #[inline(always)]
    pub(crate) fn is_never(&self) -> bool {
        self.place.load(Ordering::Relaxed) & NEVER != 0
    }

    /// # Safety
    /// The caller holds a handle.
    pub(crate) unsafe fn deadline(&self) -> Instant {
        // SAFETY: I5 – written before the handle was made.
        self.deadline.with(|at| unsafe { *at })
    }

    /// The handle count; only for holders of a handle.
    #[inline(always)]
    pub(crate) fn handles(&self) -> &AtomicU32 {
        &self.handles
    }

    /// For [`crate::token::death`] and for taking a shard's reference.
    #[inline(always)]
    pub(crate) fn strong(&self) -> &AtomicU32 {
        &self.strong
    }

    /// Whether it is a root, and not one of [`crate::token::join`].
    #[inline(always)]
    pub(crate) fn is_plain_root(&self) -> bool {
        self.segment.is_null() && self.place.load(Ordering::Relaxed) & JOINED == 0
    }

    /// Where the node lies; `None` for a root.
    #[inline(always)]
    pub(crate) fn lies_in(&self) -> Option<Place<ChildSlot>> {
        (!self.segment.is_null()).then(|| Place {
            segment: self.segment,
            index: (self.place.load(Ordering::Relaxed) >> INDEX_SHIFT) as usize,
        })
    }

    // -------------------------------------------------------------- cancellation

    /// LIVE → cancelled with a reason of its own. The loser gets the reason back.
    pub(crate) fn cancel(&self, reason: Reason) -> Result<(), Reason> {
        let word = State::owning(reason);
        let swapped =
            self.state
                .compare_exchange(null_mut(), word.0, Ordering::SeqCst, Ordering::Acquire);
        match swapped {
            Ok(_) => Ok(()),
            // SAFETY: without OWNS it is the word of the `into_raw` above, which nobody else has.
            Err(_) => Err(unsafe { Reason::from_raw(word.for_child().0) }),
        }
    }

    /// LIVE → cancelled with the parent's reason. Returns the reason's state that children of this
    /// node are to get, which is an earlier one if there is; `None` if the slot is empty or its
    /// occupant half-made, who will look at the parent itself.
    #[inline(always)]
    pub(crate) fn mark(&self, reason: State) -> Option<State> {
        let mut state = State(self.state.load(Ordering::SeqCst));
        if state.is_live() {
            let swapped = self.state.compare_exchange(
                null_mut(),
                reason.0,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            state = match swapped {
                Ok(_) => reason,
                Err(now) => State(now),
            };
        }
        sc_fence();
        (!state.is_free()).then_some(state.for_child())
    }

    /// The reason for children of this node, which the caller has seen to be cancelled, acquiring.
    #[inline(always)]
    pub(crate) fn reason_for_child(&self) -> State {
        State(self.state.load(Ordering::Relaxed)).for_child()
    }

    /// LIVE → cancelled with a clone of `reason` as a reason of its own, by one who cancels the
    /// parent's children but not the parent.
    ///
    /// # Safety
    /// The caller holds the node itself (I6), not only its parent: the reference to a boxed reason
    /// may not go to a dead one.
    #[inline(always)]
    pub(crate) unsafe fn cancel_as_child(&self, reason: &Reason) -> Outcome {
        let mut state = State(self.state.load(Ordering::SeqCst));
        if state.is_live() {
            let word = State::owning(reason.clone());
            let swapped =
                self.state
                    .compare_exchange(null_mut(), word.0, Ordering::SeqCst, Ordering::SeqCst);
            match swapped {
                Ok(_) => return Outcome::First,
                Err(now) => {
                    // SAFETY: the clone made above, which nobody else has. `reason` is left, so
                    // this frees nothing.
                    drop(unsafe { Reason::from_raw(word.for_child().0) });
                    state = State(now);
                }
            }
        }
        if state.is_free() {
            Outcome::HalfMade
        } else {
            Outcome::Later
        }
    }

    /// Whether [`cancel_as_child`](Self::cancel_as_child) and a walk below may have something to do:
    /// a look from outside, by one who holds the parent.
    #[inline(always)]
    pub(crate) fn may_need_cancel(&self) -> bool {
        let state = State(self.state.load(Ordering::SeqCst));
        state.is_live() || !state.is_free() && !self.kids.is_empty() && !self.is_done()
    }

    /// Notes who is to wake what waits here and below, or nobody (I8).
    #[inline(always)]
    pub(crate) fn set_waker_to_come(&self, call: *const Reason) {
        self.aside.store(call.cast_mut().cast(), Ordering::Relaxed);
    }

    /// Whether that is `call`. For certain only if the caller is it and holds the node.
    #[inline(always)]
    pub(crate) fn is_woken_by(&self, call: *const Reason) -> bool {
        core::ptr::addr_eq(self.aside.load(Ordering::Relaxed), call)
    }

    /// The next one in a list of nodes; see I8 for whose.
    pub(crate) fn next_aside(&self) -> *const Node {
        self.aside.load(Ordering::Relaxed).cast()
    }

    /// Puts the node before `next` in a list.
    pub(crate) fn put_before(&self, next: *const Node) {
        self.aside.store(next.cast_mut().cast(), Ordering::Relaxed);
    }

    /// Notes whether the empty slot keeps ARMED waiters of its last occupant.
    ///
    /// # Safety
    /// The caller buries the node, or has claimed the slot and made nothing of it.
    pub(crate) unsafe fn set_left(&self, left: bool) {
        let mark = if left { LEFT } else { 0 };
        self.aside
            .store(core::ptr::without_provenance_mut(mark), Ordering::Relaxed);
    }

    /// Whether the empty slot keeps ARMED waiters of its last occupant; asked by who has claimed it.
    #[inline(always)]
    pub(crate) fn has_left(&self) -> bool {
        self.aside.load(Ordering::Relaxed).addr() == LEFT
    }

    /// Whether this node and all that was below it at some earlier moment is cancelled.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.place.load(Ordering::Acquire) & DONE != 0
    }

    /// A walker has seen all children of this cancelled node to be done.
    #[inline(always)]
    pub(crate) fn set_done(&self) {
        // Several walkers may do so; all write the same.
        let place = self.place.load(Ordering::Relaxed);
        self.place.store(place | DONE, Ordering::Release);
    }

    /// Adds a walker's reference, unless the node is dying or dead.
    #[inline(always)]
    #[must_use]
    pub(crate) fn upgrade(&self) -> bool {
        let mut count = self.strong.load(Ordering::Relaxed);
        while count != 0 {
            let swapped = self.strong.compare_exchange_weak(
                count,
                count + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }

    // -------------------------------------------------------------- burial

    /// To be called before the memory goes: see [`Slot::ends`].
    #[cfg(umbel_loom)]
    pub(crate) fn ends(&self) {
        self.deadline.with_mut(|_| ());
    }

    /// cancelled or LIVE → FREE. Returns the reason that the node owned, or that the slot kept.
    ///
    /// # Safety
    /// The node is dead (`strong` is 0) or an empty slot, and the caller is the one to bury it.
    pub(crate) unsafe fn set_free(&self) -> Option<Reason> {
        let before = State(self.state.swap(State::FREE.0, Ordering::Relaxed));
        // SAFETY: the swap took the word away, so nobody takes the reference a second time.
        unsafe { before.into_owned() }
    }

    /// The reason that the dead root owned.
    ///
    /// # Safety
    /// The node is a dead root, and the caller either frees it next or says that the reason is gone,
    /// so that nobody gets it again.
    pub(crate) unsafe fn take_reason_of_root(&self) -> Option<Reason> {
        // SAFETY: (caller) nobody takes the reference a second time.
        unsafe { State(self.state.load(Ordering::Relaxed)).into_owned() }
    }

    /// After [`take_reason_of_root`](Self::take_reason_of_root).
    pub(crate) fn set_reason_gone(&self) {
        self.state.store(State::FREE.0, Ordering::Relaxed);
    }

    /// As [`set_free`](Self::set_free), but keeps the reason in the word: this drops and frees
    /// nothing.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn set_free_parking(&self) {
        // The only other writers are walkers, LIVE → borrowed, and neither of the two is parked.
        let before = State(self.state.load(Ordering::Relaxed));
        self.state.swap(before.parked().0, Ordering::Relaxed);
    }
}

/// The pointer to the node in a slot.
///
/// # Safety
/// As for [`Place::slot`].
#[inline(always)]
pub(crate) unsafe fn node_in(place: Place<ChildSlot>) -> *const Node {
    // SAFETY: (caller); a projection by raw pointers only.
    unsafe { &raw const (*place.slot()).0 }
}

/// Claims a slot for a child of `parent`: the slot is the caller's, who makes a child in it by
/// [`new_child`] or gives it back.
///
/// # Safety
/// The caller holds a handle of `parent` as long as it has the slot.
#[inline(always)]
pub(crate) unsafe fn claim_child(parent: *const Node) -> Place<ChildSlot> {
    // SAFETY: I1 – (caller) the handle keeps the parent.
    unsafe { (*parent).kids.claim(parent) }
}

/// Makes a child of `parent` in a slot, with one handle, which is the caller's. The second value is
/// to be dropped when that handle is owned by something: its drop is foreign code.
///
/// # Safety
/// The caller holds a handle of `parent` during the call and got `place` from [`claim_child`]. No
/// waiters are left in the slot.
#[inline]
pub(crate) unsafe fn new_child(
    parent: *const Node,
    place: Place<ChildSlot>,
    deadline: Instant,
) -> (NonNull<Node>, Option<Reason>) {
    // SAFETY: I1 – (caller) the handle keeps the parent, and by it the slot. Until the publishing
    // swap the slot is OWNED by us; walkers touch atomics of it only, and find FREE (I6).
    unsafe {
        if Segment::enter(place.segment) {
            (*parent).strong.fetch_add(1, Ordering::Relaxed);
        }
        let node = node_in(place);
        let child = &*node;
        child.place.store(place_of(place.index), Ordering::Relaxed);
        child.handles.store(1, Ordering::Relaxed);
        child.aside.store(null_mut(), Ordering::Relaxed);
        child.deadline.with_mut(|at| *at = deadline);
        child.strong.store(1, Ordering::Release);
        // Born cancelled, if the parent is; otherwise publish, then look at the parent.
        let above = State((*parent).state.load(Ordering::Acquire));
        let before = if above.is_live() {
            let before = State(child.state.swap(null_mut(), Ordering::SeqCst));
            sc_fence();
            let above = State((*parent).state.load(Ordering::SeqCst));
            if !above.is_live() {
                // If this fails a walker was faster: with the same reason, or with that of a
                // `cancel_children` that runs beside.
                let _ = child.state.compare_exchange(
                    null_mut(),
                    above.for_child().0,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                );
            }
            before
        } else {
            State(child.state.swap(above.for_child().0, Ordering::SeqCst))
        };
        (NonNull::new_unchecked(node.cast_mut()), before.into_owned())
    }
}
