//! The two passes of a cancellation: of a node and all below it, or of a node's children.
//!
//! First all flags below the token are set ([`mark_all`]), then the waiters are woken ([`Wakes`]):
//! a task that runs finds every sibling cancelled. Only the winner wakes. A loser – somebody for
//! whom the token was cancelled already – sets flags all the same: the winner may be stopped half
//! way, and what the loser's `cancel()` promises must hold when it returns. It helps; it never waits.
//!
//! Both passes are depth-first walks that keep one position and no stack, allocate nothing and free
//! nothing, so they may run in an interrupt, any number at once.
//!
//! # Cancelling the children
//!
//! `cancel_children` is both passes for each child of a parent that lives on: first
//! [`mark_children`], then [`ChildWakes`]. What differs:
//!
//! - *The reason.* There is no cancelled parent to borrow from, so each child owns a clone. That is a
//!   count for a boxed reason; the call's own clone goes last, as that of `cancel_with`. Below a child
//!   its own reason goes down (W2).
//! - *A child is entered before it is marked.* A dead one may not be given a reason; a live one stays
//!   until its own flag and those below it are set. It is buried by the walk as any other.
//! - *Slots change hands* (ABA). In the first pass it does not matter who is in a slot: whoever is
//!   found live was a child during the call. In the second it does: a later occupant may be live, or
//!   cancelled by somebody who has not yet set the flags that he is to set before the first waker.
//!   So the first pass notes in each child that it cancelled, and below which somebody may wait, by
//!   whom that was (W6), and the second goes to those only. What tells a call is where its reason lies
//!   on the stack: two that run at once never share that.
//! - *Helping.* A child that was cancelled before is walked through all the same, unless it is DONE:
//!   T3 for what is below it. Who cancelled it wakes it: `cancel` of the child, of the parent or of
//!   another ancestor, or another call of this one. Once a child is cancelled and walked, all below it
//!   is cancelled for good, whoever else walks there.
//! - *The parent is not DONE*, nor ever made so here: each child is the root of a walk of its own.
//! - *A half-made child* is passed by; who makes it looks at the parent, finds it live, and keeps it.
//!
//! # Links and graves
//!
//! A waiter may be a link of an `any_of` root (`token::join`). The second pass does not wake it but
//! *fires* it: sets the root's flag and notes the root; when the present walk is over, that root gets
//! both passes. So a chain of such roots takes no stack. Their T3 and T4 begin anew there.
//!
//! A fired root is held by this walker, and may be kept by nothing else in the end. Then the walker
//! has it dead, and with it perhaps sources that only its links kept, their ancestors, and so on. It
//! buries all that in place, without freeing (`token::death`), and puts what has no slot to lie in,
//! the dead roots, into a *grave*: the slot of a link that it fired. There an ordinary operation finds
//! it: the burial of the source, or the next occupant of its slot. The dead hold no reference to any
//! node, so no cycle of ours keeps a grave. But what they own may hold handles: a forgotten callback
//! of a token that died live, the waker of a forgotten wait, a boxed reason. One that holds a handle
//! of the source, or of a token below it, keeps the grave in which it lies; likewise what an in-walk
//! burial left in a slot, if it holds the parent, until the slot is used again. Nobody may drop it
//! earlier: a walk may run in an interrupt. Walkers that come to a grave leave it alone.
//!
//! # Invariants
//!
//! - **W1** A walker holds a reference to every node from where it is up to below the walk's root;
//!   the root is kept by the caller's handle, or likewise by a walker's reference.
//! - **W2** A child is marked with its own parent's reason, not the canceller's: an earlier reason
//!   in between is inherited.
//! - **W3** A node is DONE only when all its children have been passed after it was cancelled.
//! - **W4** The place behind a node is computed before the node is released.
//! - **W5** Wakers of TAKEN slots are the walker's; each is read out once, and then belongs to who
//!   wakes it. Until the next item is asked for, or the walker is dropped, `at` is held: whoever is
//!   woken may put something back into its slot (`token::callback`), which this walker never reads.
//! - **W6** A child notes a call (`aside`) from when that call, and no other, has cancelled it and set
//!   all flags below, until that call has woken who waits there. The note is trusted only by the call
//!   itself, while it holds the child.
//! - **W7** A root in `fired` was cancelled by this walker, which holds it.
//! - **W8** Roots in `dead` or in a grave are dead; only the list's owner knows them, but for other
//!   cancellers that still have a link of one, and its block's share with it. A grave's slot is one
//!   that this walker took and that no link claims any more (J3); its source is held until the grave
//!   is filled.
//!
//! # Orderings
//!
//! See `token::node`: a node's flag is set (SeqCst) before its `waits`, `kids` and codes are looked
//! at (SeqCst). Between the passes nothing more is needed: each flag has its place in the total order
//! before the first code is loaded. `aside` needs none: see there.
//!
//! # Foreign code
//!
//! [`Wakes`] yields wakers; nothing is half-made while the caller wakes them: the walker is one of
//! the references that keep a node, and any method of any token may run meanwhile.

use crate::reason::Reason;
use crate::sync::{Ordering, sc_fence};
use crate::token::cursor::{Cursor, Visit};
use crate::token::death::{Special, as_special, pop, push, release_far, release_in_walk, special};
use crate::token::join::{Joined, Link};
use crate::token::node::{Node, Outcome, WaitSlot};
use crate::wake::slab::{Place, Segment, SlotSet};
use core::mem::forget;
use core::ptr::null;
use core::task::Waker;

/// Sets every flag below `root`, whose own flag is set. Returns whether anybody might be waiting.
///
/// # Safety
/// The caller holds `root`, by a handle or as a walker.
#[inline]
pub(crate) unsafe fn mark_all(root: *const Node) -> bool {
    sc_fence();
    // SAFETY: W1 – (caller) the root is held.
    unsafe {
        if (*root).kids.is_empty() {
            (*root).set_done(); // W3
            return !(*root).waits.is_empty();
        }
        mark_below(root)
    }
}

/// # Safety
/// As for [`mark_all`].
unsafe fn mark_below(root: *const Node) -> bool {
    // SAFETY: W1 – nodes that we hold stay; children of those are read through atomics only until
    // `upgrade` succeeds.
    unsafe {
        let mut at = root;
        let mut reason = (*at).reason_for_child();
        let mut waiters = !(*at).waits.is_empty();
        let mut cursor = Cursor::first(at, Visit::Used);
        loop {
            if let Some(child) = cursor.next() {
                if (*child).mark(reason).is_none() {
                    continue;
                }
                waiters |= !(*child).waits.is_empty();
                if (*child).kids.is_empty() {
                    continue;
                }
                if (*child).is_done() {
                    // Nobody looked for waiters there.
                    waiters = true;
                } else if (*child).upgrade() {
                    // I6: only now does the slot keep its occupant. W2: its reason may be its own.
                    match (*child).mark(reason) {
                        Some(own) => {
                            (at, reason) = (child, own);
                            cursor = Cursor::first(at, Visit::Used);
                        }
                        None => release_in_walk(child),
                    }
                }
                continue;
            }
            (*at).set_done(); // W3
            if core::ptr::eq(at, root) {
                return waiters;
            }
            let (parent, next) = behind(at);
            release_in_walk(at);
            (at, cursor) = (parent, next);
            reason = (*at).reason_for_child();
        }
    }
}

/// Cancels the children that `parent`, which is live, has, each with a clone of `reason`, and sets
/// every flag below them. Returns whether anybody might be waiting whom this call is to wake.
///
/// # Safety
/// The caller holds a handle of `parent`. `reason` is where it is until the end of the whole call.
pub(crate) unsafe fn mark_children(parent: *const Node, reason: &Reason) -> bool {
    let mut waiters = false;
    // SAFETY: W1 – the parent is held, so slots stay; a child is held by `upgrade`.
    unsafe {
        let mut cursor = Cursor::first(parent, Visit::Used);
        while let Some(child) = cursor.next() {
            if !(*child).may_need_cancel() || !(*child).upgrade() {
                continue;
            }
            match (*child).cancel_as_child(reason) {
                Outcome::First => {
                    if mark_all(child) {
                        (*child).set_waker_to_come(reason); // W6
                        waiters = true;
                    }
                }
                Outcome::Later => {
                    mark_all(child);
                }
                Outcome::HalfMade => {}
            }
            release_in_walk(child);
        }
    }
    waiters
}

/// The parent of a node that is not the root of the walk, and the place behind the node (W4).
///
/// # Safety
/// The node and its parent are held.
#[inline(always)]
unsafe fn behind(node: *const Node) -> (*const Node, Cursor) {
    // SAFETY: W1 – (caller) the node and its parent are held.
    unsafe {
        let Some(place) = (*node).lies_in() else {
            unreachable!("a root is not entered by a walker");
        };
        let parent = Segment::owner(place.segment);
        (parent, Cursor::after(place, Visit::Used))
    }
}

/// Takes the wakers of all waiters at `root` and below; all flags there are set.
///
/// Must be run to its end, or wakers are lost. Dropped before, it leaks the few that it has taken
/// but not yielded, and releases what it holds.
#[derive(Debug)]
pub(crate) struct Wakes {
    /// Where the whole walk began.
    start: *const Node,
    /// The root of the present walk: `start`, or a fired one (W7).
    root: *const Node,
    at: *const Node,
    /// The word of `at`'s waiters that was taken last; null: no more waiters here.
    segment: *const Segment<WaitSlot>,
    word: usize,
    /// TAKEN slots of that word which are still to be read (W5).
    taken: SlotSet,
    /// The word's first slot; meaningless if nothing is taken.
    slots: *const WaitSlot,
    cursor: Cursor,
    /// Roots that this walker has cancelled by a link, and is to walk (W7).
    fired: *const Node,
    /// Roots that died in the hands of this walker (W8).
    dead: *const Node,
    /// Where they are to lie; the slot's owner is held. A null segment: nowhere yet.
    grave: Place<WaitSlot>,
}

impl Wakes {
    /// # Safety
    /// The caller holds `root`, by a handle or as a walker, for as long as this walker exists.
    pub(crate) unsafe fn new(root: *const Node) -> Wakes {
        // SAFETY: W1 – (caller) the root is held.
        unsafe {
            let mut wakes = Wakes {
                start: root,
                root,
                at: root,
                segment: null(),
                word: 0,
                taken: SlotSet::EMPTY,
                slots: null(),
                cursor: Cursor::first(root, Visit::Used),
                fired: null(),
                dead: null(),
                grave: Place::NOWHERE,
            };
            wakes.begin_waiters();
            wakes
        }
    }

    /// The walker has come to `at`.
    ///
    /// # Safety
    /// W1 holds for `at`, and what was taken before has been yielded.
    #[inline(always)]
    unsafe fn enter(&mut self, at: *const Node) {
        // SAFETY: W1.
        unsafe {
            self.at = at;
            self.cursor = Cursor::first(at, Visit::Used);
            self.begin_waiters();
        }
    }

    /// # Safety
    /// As for [`enter`](Self::enter).
    #[inline(always)]
    unsafe fn begin_waiters(&mut self) {
        // SAFETY: W1 – `at` is held.
        unsafe {
            self.segment = (*self.at).waits.first();
            self.word = 0;
            self.take_word();
        }
    }

    /// Takes what is armed in the present word, if there is one.
    ///
    /// # Safety
    /// W1 holds, and what was taken before has been yielded.
    #[inline(always)]
    unsafe fn take_word(&mut self) {
        if !self.segment.is_null() {
            // SAFETY: W1 – `at` is held, so the segment stays; `word` is one of its words.
            unsafe {
                self.taken = Segment::take_armed(self.segment, self.word);
                self.slots = Place::in_word(self.segment, self.word, 0).slot();
            }
        }
    }
}

impl Iterator for Wakes {
    type Item = Waker;

    #[inline]
    fn next(&mut self) -> Option<Waker> {
        loop {
            if let Some(slot) = self.taken.pop() {
                // SAFETY: W1 – the segment stays. W5 – TAKEN: the waker was written before it was
                // ARMED, and nobody else reads it.
                let waker = unsafe { (*self.slots.add(slot)).take() };
                match as_special(&waker) {
                    None => return Some(waker),
                    Some(what) => {
                        forget(waker);
                        // SAFETY: W1, W5 – the slot is of the present word, and its content ours.
                        unsafe { self.follow(what, slot) };
                        continue;
                    }
                }
            }
            // SAFETY: W1.
            if !unsafe { self.advance() } {
                return None;
            }
        }
    }
}

impl Wakes {
    /// Goes on to the next word of waiters, or the next node. False: the walk is over.
    ///
    /// # Safety
    /// As for [`take_word`](Self::take_word).
    unsafe fn advance(&mut self) -> bool {
        // SAFETY: W1 – `at` is held, so its waiters' segments stay and its children's slots too.
        unsafe {
            if !self.segment.is_null() {
                self.word += 1;
                if self.word == Segment::words(self.segment) {
                    self.segment = (*self.at).waits.after(self.segment);
                    self.word = 0;
                }
                self.take_word();
                return true;
            }
            if let Some(child) = self.cursor.next() {
                let something = !(*child).waits.is_empty() || !(*child).kids.is_empty();
                // A new or half-made occupant has no waiter (I7): entering it is harmless.
                if something && (*child).upgrade() {
                    self.enter(child);
                }
                return true;
            }
            if core::ptr::eq(self.at, self.root) {
                return self.next_fired();
            }
            self.ascend();
            true
        }
    }

    /// Does with a taken slot what its special waker says.
    ///
    /// # Safety
    /// W1 holds; the slot, by its number in the present word, is TAKEN by this walker, and the waker,
    /// which was in it and still is, bit by bit, is forgotten.
    #[cold]
    unsafe fn follow(&mut self, what: Special, slot: usize) {
        // SAFETY: W1 – `at`, to whose slab the slot belongs, is held. W5.
        unsafe {
            let place = Place::in_word(self.segment, self.word, slot);
            match what {
                // W8: not for walkers. It is still in the slot.
                Special::Grave(_) => place.put_back(),
                Special::Link(link) => self.fire(link, place),
            }
        }
    }

    /// A source is cancelled: cancels the root that waits for it, and notes it for a walk of its own.
    ///
    /// # Safety
    /// As for [`follow`](Self::follow); the link's share is the caller's (J2).
    unsafe fn fire(&mut self, link: *const Link, place: Place<WaitSlot>) {
        // SAFETY: J2 – the share keeps the block; W1 – what is upgraded is held; W7, W8.
        unsafe {
            let joined = Link::joined(link);
            let node = Joined::node(joined);
            if (*node).upgrade() {
                Link::set_fired(link);
                let last = Joined::leave(joined);
                debug_assert!(!last, "the node is held, and has a share of its own");
                self.choose_grave(place);
                match (*self.at).reason().map(|reason| (*node).cancel(reason)) {
                    Some(Ok(())) => push(&mut self.fired, node),
                    // Somebody was faster. The reason has other owners, so this frees nothing.
                    unused => {
                        drop(unused);
                        release_far(node, &mut self.dead);
                    }
                }
            } else if Joined::leave(joined) {
                // It died of old age, and all of it is gone but the block.
                Joined::stay(joined);
                self.choose_grave(place);
                push(&mut self.dead, node);
            }
        }
    }

    /// The slot is to be the grave, unless there is one.
    ///
    /// # Safety
    /// `at` is held, and the slot, which is of its slab, is TAKEN by this walker for ever: nobody
    /// thinks that it is armed for him.
    unsafe fn choose_grave(&mut self, place: Place<WaitSlot>) {
        if self.grave.is_nowhere() {
            // SAFETY: W1 – `at` is held.
            unsafe { (*self.at).strong().fetch_add(1, Ordering::Relaxed) };
            self.grave = place;
        }
    }

    /// The walk below `root` is over: goes on with a root that was fired. False: there is none.
    ///
    /// # Safety
    /// W1 holds, and `at` is the present root.
    unsafe fn next_fired(&mut self) -> bool {
        if core::ptr::eq(self.root, self.start) && self.fired.is_null() {
            return false;
        }
        // SAFETY: W7 – fired roots are held, in a list of this walker.
        unsafe {
            self.leave_root();
            let Some(node) = pop(&mut self.fired) else {
                return false;
            };
            (self.root, self.at) = (node, node);
            if mark_all(node) {
                self.enter(node);
            } else {
                self.cursor = Cursor::end();
            }
            true
        }
    }

    /// Gives up the root of the present walk, if that is a fired one.
    ///
    /// # Safety
    /// W1 holds, and `at` is the present root.
    unsafe fn leave_root(&mut self) {
        let root = self.root;
        if !core::ptr::eq(root, self.start) {
            (self.root, self.at) = (self.start, self.start);
            // SAFETY: W1, W7 – it was held by this walker.
            unsafe { release_far(root, &mut self.dead) };
        }
    }

    /// Goes up, and gives up the node below.
    ///
    /// # Safety
    /// W1 holds, and `at` is not the root of the walk.
    #[inline(always)]
    unsafe fn ascend(&mut self) {
        // SAFETY: W1 – `at` and its parent are held.
        unsafe {
            let (parent, next) = behind(self.at);
            release_in_walk(self.at);
            (self.at, self.cursor) = (parent, next);
        }
    }
}

impl Drop for Wakes {
    #[inline]
    fn drop(&mut self) {
        while !core::ptr::eq(self.at, self.root) {
            // SAFETY: W1.
            unsafe { self.ascend() };
        }
        if !self.grave.is_nowhere() {
            self.bury_dead();
        }
    }
}

impl Wakes {
    /// Gives up what was fired, and leaves the dead in their grave.
    #[cold]
    fn bury_dead(&mut self) {
        // SAFETY: W7 – fired roots are held. W8 – the grave's slot is ours, and its owner, which is at
        // or below `start`, is held until the end; there nothing but slots can die with it.
        unsafe {
            self.leave_root();
            while let Some(node) = pop(&mut self.fired) {
                mark_all(node);
                release_far(node, &mut self.dead);
            }
            let place = self.grave;
            if !self.dead.is_null() {
                let waker = special(Special::Grave(self.dead));
                (*place.slot()).put(waker);
                place.put_back();
            }
            let mut none = null();
            release_far(Segment::owner(place.segment), &mut none);
            debug_assert!(none.is_null());
        }
    }
}

/// Takes the wakers of all waiters at and below the children of `parent` that one call of
/// [`mark_children`] has cancelled.
///
/// Must be run to its end, as [`Wakes`].
#[derive(Debug)]
pub(crate) struct ChildWakes<'a> {
    /// What tells this call from others (W6).
    call: &'a Reason,
    cursor: Cursor,
    /// The walk at and below a child, which is held; it is that walk's root.
    below: Option<Wakes>,
}

impl<'a> ChildWakes<'a> {
    /// # Safety
    /// The caller holds a handle of `parent` for as long as the walker exists, and `call` is the
    /// reason, at the same place, with which it has called [`mark_children`].
    pub(crate) unsafe fn new(parent: *const Node, call: &'a Reason) -> Self {
        // SAFETY: W1 – (caller) the parent is held.
        let cursor = unsafe { Cursor::first(parent, Visit::Used) };
        ChildWakes {
            call,
            cursor,
            below: None,
        }
    }

    /// Gives up the child whose walk is over, or given up.
    fn leave_child(&mut self) {
        if let Some(wakes) = self.below.take() {
            let child = wakes.root;
            drop(wakes);
            // The note is taken back, or a later call from the same place would walk here again.
            // SAFETY: W1 – the child was held by us, and its parent is. W6 – nobody else writes.
            unsafe {
                (*child).set_waker_to_come(null());
                release_in_walk(child);
            }
        }
    }
}

impl Iterator for ChildWakes<'_> {
    type Item = Waker;

    fn next(&mut self) -> Option<Waker> {
        loop {
            if let Some(waker) = self.below.as_mut().and_then(Iterator::next) {
                return Some(waker);
            }
            self.leave_child();
            // SAFETY: W1 – the parent is held, so its slots stay; a child is held by `upgrade`.
            unsafe {
                let child = self.cursor.next()?;
                if !(*child).is_woken_by(self.call) || !(*child).upgrade() {
                    continue;
                }
                // Once more: the slot may have a new occupant.
                if (*child).is_woken_by(self.call) {
                    self.below = Some(Wakes::new(child));
                } else {
                    release_in_walk(child);
                }
            }
        }
    }
}

impl Drop for ChildWakes<'_> {
    fn drop(&mut self) {
        self.leave_child();
    }
}
