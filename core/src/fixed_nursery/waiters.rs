//! Those who wait for room, oldest first: a list whose nodes lie in the futures that wait.
//!
//! One thread: neither list nor nodes are `Sync`.
//!
//! # Invariants
//!
//! - **Q1** A linked node stays where it is until it is unlinked: it is pinned, and unlinked when
//!   dropped. A leaked one is never freed.
//! - **Q2** `first`, `last`, `before` and `behind` are null or point to linked nodes of the list.
//!
//! # Foreign code
//!
//! Wakers are dropped or woken after a change of the list; they may re-enter. Who waits clones his before
//! he looks whether he has to.

use crate::wake::batch::steps;
use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr;
use core::task::Waker;

/// A place in the list.
pub(crate) struct Node {
    before: Cell<*const Node>,
    behind: Cell<*const Node>,
    linked: Cell<bool>,
    waker: Cell<Option<Waker>>,
    _pinned: PhantomPinned,
}

impl Node {
    pub(crate) const fn new() -> Self {
        Node {
            before: Cell::new(ptr::null()),
            behind: Cell::new(ptr::null()),
            linked: Cell::new(false),
            waker: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.linked.get()
    }
}

/// See the module's head.
pub(crate) struct Waiters {
    first: Cell<*const Node>,
    last: Cell<*const Node>,
}

impl Waiters {
    pub(crate) const fn new() -> Self {
        Waiters {
            first: Cell::new(ptr::null()),
            last: Cell::new(ptr::null()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    /// Whether `node` would be the first, or is.
    pub(crate) fn is_next(&self, node: &Node) -> bool {
        self.is_empty() || ptr::eq(self.first.get(), node)
    }

    /// Registers a waker; the node goes to the end, if it is not in the list.
    ///
    /// # Safety
    /// `node` is pinned, is in no other list, and is unlinked before it is dropped.
    pub(crate) unsafe fn wait(&self, node: &Node, waker: Waker) {
        if !node.linked.replace(true) {
            let last = self.last.replace(node);
            node.before.set(last);
            node.behind.set(ptr::null());
            // SAFETY: Q2 – it was the last one.
            match unsafe { last.as_ref() } {
                Some(last) => last.behind.set(node),
                None => self.first.set(node),
            }
        }
        drop(node.waker.replace(Some(waker)));
    }

    /// Takes the node off the list, if it is there.
    pub(crate) fn unlink(&self, node: &Node) {
        if !node.linked.replace(false) {
            return;
        }
        let (before, behind) = (node.before.get(), node.behind.get());
        // SAFETY: Q2 – neighbours of a linked node.
        match unsafe { before.as_ref() } {
            Some(before) => before.behind.set(behind),
            None => self.first.set(behind),
        }
        // SAFETY: Q2 – as above.
        match unsafe { behind.as_ref() } {
            Some(behind) => behind.before.set(before),
            None => self.last.set(before),
        }
        drop(node.waker.take());
    }

    /// Wakes who waits longest; he stays in the list.
    pub(crate) fn wake_first(&self) {
        // SAFETY: Q1, Q2 – it is linked; the reference ends before foreign code runs.
        let waker = unsafe { self.first.get().as_ref() }.and_then(|first| first.waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all off the list and wakes them.
    pub(crate) fn close(&self) {
        steps(|| {
            // SAFETY: Q2 – it is linked; the reference ends before foreign code runs.
            let Some(first) = (unsafe { self.first.get().as_ref() }) else {
                return false;
            };
            let waker = first.waker.take();
            self.unlink(first);
            if let Some(waker) = waker {
                waker.wake();
            }
            true
        });
    }
}
