//! Intrusive lists of children: on their way, waiting for room, running; and of cleanups.
//!
//! All link through the nodes' own fields, so none allocates; a node is in one of them at most.
//!
//! # Invariants
//!
//! - **L1** A node in a chain or in the queue is owned by it; the last `next` is null.
//! - **L2** A node in the running list is claimed by a `Running`, which unlinks it before it lets go.
//! - **L3** All are touched by the nursery's own future only (C5), or looked at while it rests (H2).
//! - **L4** A node in [`Cleanups`] is owned by that. It has no drop: what a nursery leaves there that was
//!   leaked by `mem::forget` may borrow from a stack that is gone.

use crate::nursery::node::{Node, NurserySide};
use crate::sync::{AtomicUsize, Ordering};
use crate::wake::batch::each;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ptr;

// ------------------------------------------------------------------ on their way

/// Children that leave one place for another, in the order of their links. Dropping it ends them.
pub(crate) struct Chain(*mut Node);

impl Chain {
    pub(crate) const EMPTY: Chain = Chain(ptr::null_mut());

    /// # Safety
    /// `head` is null, or the head of a null-terminated chain that the caller owns.
    pub(crate) unsafe fn from_raw(head: *mut Node) -> Chain {
        Chain(head)
    }

    pub(crate) fn reversed(self) -> Chain {
        let mut rest = ManuallyDrop::new(self).0;
        let mut done = ptr::null_mut();
        while !rest.is_null() {
            // SAFETY: L1 – the whole chain is ours.
            let next = unsafe { (*rest).next.replace(done) };
            done = rest;
            rest = next;
        }
        Chain(done)
    }
}

impl Iterator for Chain {
    type Item = NurserySide;

    fn next(&mut self) -> Option<NurserySide> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: L1 – each node leaves the chain once, here.
        let child = unsafe { NurserySide::from_raw(self.0) };
        self.0 = child.head().next.replace(ptr::null_mut());
        Some(child)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        each(self, drop);
    }
}

// ------------------------------------------------------------------ waiting for room

/// Children that wait for room, first come first served. Dropping it ends them.
pub(crate) struct Queue {
    oldest: Cell<*mut Node>,
    youngest: Cell<*mut Node>,
    /// Anybody may read it. Relaxed: a number for people, one writer.
    len: AtomicUsize,
}

impl Default for Queue {
    /// Empty. (Pointers have no `Default` before Rust 1.88.)
    fn default() -> Self {
        Queue {
            oldest: Cell::new(ptr::null_mut()),
            youngest: Cell::new(ptr::null_mut()),
            len: AtomicUsize::new(0),
        }
    }
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest.get().is_null()
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, child: NurserySide) {
        child.head().next.set(ptr::null_mut());
        let node = child.into_raw();
        let before = self.youngest.replace(node);
        if before.is_null() {
            self.oldest.set(node);
        } else {
            // SAFETY: L1 – it is in the queue.
            unsafe { (*before).next.set(node) };
        }
        self.len.store(self.len() + 1, Ordering::Relaxed);
    }

    /// Takes out the one that has waited longest.
    pub(crate) fn pop(&self) -> Option<NurserySide> {
        let node = self.oldest.get();
        if node.is_null() {
            return None;
        }
        // SAFETY: L1 – each node leaves the queue once, here or with all of them.
        let child = unsafe { NurserySide::from_raw(node) };
        let next = child.head().next.replace(ptr::null_mut());
        self.oldest.set(next);
        if next.is_null() {
            self.youngest.set(ptr::null_mut());
        }
        self.len.store(self.len() - 1, Ordering::Relaxed);
        Some(child)
    }

    /// Takes all out, the oldest first.
    pub(crate) fn take(&self) -> Chain {
        self.youngest.set(ptr::null_mut());
        self.len.store(0, Ordering::Relaxed);
        Chain(self.oldest.replace(ptr::null_mut()))
    }

    /// The children, oldest first.
    ///
    /// # Safety
    /// None comes or goes while the iterator is used.
    pub(crate) unsafe fn iter(&self) -> impl Iterator<Item = ManuallyDrop<NurserySide>> {
        // SAFETY: L1 – they are in the queue and stay there (caller).
        unsafe { linked(self.oldest.get()) }
    }

    /// Takes out those for which `pick` is true, the oldest first.
    pub(crate) fn extract(&self, mut pick: impl FnMut(&NurserySide) -> bool) -> Chain {
        let picked = Queue::default();
        for child in self.take() {
            match pick(&child) {
                true => picked.push(child),
                false => self.push(child),
            }
        }
        picked.take()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// The nodes from `node` on, by their `next`.
///
/// # Safety
/// They are in a null-terminated list, where they stay while the iterator is used.
unsafe fn linked(mut node: *mut Node) -> impl Iterator<Item = ManuallyDrop<NurserySide>> {
    core::iter::from_fn(move || {
        if node.is_null() {
            return None;
        }
        // SAFETY: L1, L2, L4 – it is in the list and stays there (caller).
        let child = unsafe { NurserySide::peek(node) };
        node = child.head().next.get();
        Some(child)
    })
}

// ------------------------------------------------------------------ running

/// The running children, youngest first: the order in which they are dropped.
pub(crate) struct RunningList {
    youngest: Cell<*mut Node>,
}

impl Default for RunningList {
    /// Empty. (Pointers have no `Default` before Rust 1.88.)
    fn default() -> Self {
        RunningList {
            youngest: Cell::new(ptr::null_mut()),
        }
    }
}

impl RunningList {
    /// # Safety
    /// L2: the child is in no list, and its claim unlinks it before it lets go.
    pub(crate) unsafe fn link(&self, child: &NurserySide) {
        let node = child.as_ptr();
        let older = self.youngest.replace(node);
        child.head().next.set(older);
        child.head().younger.set(ptr::null_mut());
        if !older.is_null() {
            // SAFETY: L2 – it is in the list, so its claim lives.
            unsafe { (*older).younger.set(node) };
        }
    }

    /// # Safety
    /// The child is in this list.
    pub(crate) unsafe fn unlink(&self, child: &NurserySide) {
        let older = child.head().next.replace(ptr::null_mut());
        let younger = child.head().younger.replace(ptr::null_mut());
        if younger.is_null() {
            self.youngest.set(older);
        } else {
            // SAFETY: L2 – it is in the list, so its claim lives.
            unsafe { (*younger).next.set(older) };
        }
        if !older.is_null() {
            // SAFETY: L2 – as above.
            unsafe { (*older).younger.set(younger) };
        }
    }

    /// The children, youngest first.
    ///
    /// # Safety
    /// Nothing is linked or unlinked while the iterator is used.
    pub(crate) unsafe fn iter(&self) -> impl Iterator<Item = ManuallyDrop<NurserySide>> {
        // SAFETY: L2 – they are in the list and stay there (caller).
        unsafe { linked(self.youngest.get()) }
    }
}

// ------------------------------------------------------------------ cleanups

/// What is to be done when all children have ended, and what of it is being done.
pub(crate) struct Cleanups {
    youngest: Cell<*mut Node>,
    at_work: Cell<*mut Node>,
}

impl Default for Cleanups {
    fn default() -> Self {
        Cleanups {
            youngest: Cell::new(ptr::null_mut()),
            at_work: Cell::new(ptr::null_mut()),
        }
    }
}

impl Cleanups {
    pub(crate) fn is_empty(&self) -> bool {
        self.youngest.get().is_null() && self.at_work.get().is_null()
    }

    pub(crate) fn push(&self, cleanup: NurserySide) {
        cleanup.head().next.set(self.youngest.get());
        self.youngest.set(cleanup.into_raw());
    }

    /// Takes the youngest of those that have not begun.
    pub(crate) fn pop(&self) -> Option<NurserySide> {
        let node = self.youngest.get();
        if node.is_null() {
            return None;
        }
        // SAFETY: L4 – it leaves the list, here.
        let cleanup = unsafe { NurserySide::from_raw(node) };
        self.youngest
            .set(cleanup.head().next.replace(ptr::null_mut()));
        Some(cleanup)
    }

    /// Keeps the one that has begun, while it is not being polled. There must be no other.
    pub(crate) fn keep_at_work(&self, cleanup: NurserySide) {
        let none = self.at_work.replace(cleanup.into_raw());
        debug_assert!(none.is_null(), "one after another");
    }

    /// Takes the one that has begun.
    pub(crate) fn take_at_work(&self) -> Option<NurserySide> {
        let node = self.at_work.replace(ptr::null_mut());
        // SAFETY: L4 – it leaves its place, here.
        (!node.is_null()).then(|| unsafe { NurserySide::from_raw(node) })
    }

    /// The one that has begun, if it is not being polled.
    ///
    /// # Safety
    /// It is not taken while the iterator is used.
    pub(crate) unsafe fn at_work(&self) -> impl Iterator<Item = ManuallyDrop<NurserySide>> {
        // SAFETY: L4 – it stays (caller), and has no `next`.
        unsafe { linked(self.at_work.get()) }
    }

    /// Those that have not begun, youngest first.
    ///
    /// # Safety
    /// None comes or goes while the iterator is used.
    pub(crate) unsafe fn iter(&self) -> impl Iterator<Item = ManuallyDrop<NurserySide>> {
        // SAFETY: L4 – they stay (caller).
        unsafe { linked(self.youngest.get()) }
    }

    /// Takes all, first the one that has begun, then the youngest.
    pub(crate) fn take_all(&self) -> Chain {
        if let Some(cleanup) = self.take_at_work() {
            self.push(cleanup);
        }
        Chain(self.youngest.replace(ptr::null_mut()))
    }
}
