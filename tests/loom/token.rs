//! The token tree: no wakeup lost, no child left live, no memory leaked or used after it is freed.
//!
//! loom's own allocator calls find leaks and double frees of nodes and segments; the counting waker
//! finds wakers that are lost or dropped twice.

use crate::model;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use umbel_core::{CancellationToken, Reason};

/// A waker that counts. loom cannot see `std::sync::Arc`, so that counting causes no branches but
/// the counters' own.
pub(crate) struct Task {
    woken: AtomicUsize,
    wakers: AtomicUsize,
    on_wake: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Task {
    pub(crate) fn new() -> Arc<Task> {
        Self::with(None)
    }

    pub(super) fn with(on_wake: Option<Box<dyn Fn() + Send + Sync>>) -> Arc<Task> {
        Arc::new(Task {
            woken: AtomicUsize::new(0),
            wakers: AtomicUsize::new(0),
            on_wake,
        })
    }

    fn waker(self: &Arc<Self>) -> Waker {
        self.wakers.fetch_add(1, SeqCst);
        // SAFETY: the table's functions keep `Arc`'s counts, and `Task` is `Send + Sync`.
        unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(self.clone()).cast(), &TABLE)) }
    }

    pub(crate) fn poll(self: &Arc<Self>, f: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        f.poll(&mut Context::from_waker(&self.waker()))
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.load(SeqCst)
    }

    pub(crate) fn assert_no_waker_left(&self) {
        assert_eq!(self.wakers.load(SeqCst), 0);
    }

    fn wake(&self) {
        if let Some(f) = &self.on_wake {
            f();
        }
        self.woken.fetch_add(1, SeqCst);
    }
}

/// # Safety
/// `p` is the data of a live waker.
unsafe fn task(p: *const ()) -> Arc<Task> {
    // SAFETY: (caller) it came from `Arc::into_raw` and its count is still there.
    unsafe { Arc::from_raw(p.cast()) }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(
    |p| {
        // SAFETY: the data of a live waker, by the contract of the table.
        let task = ManuallyDrop::new(unsafe { task(p) });
        RawWaker::new(ManuallyDrop::new(task.waker()).data(), &TABLE)
    },
    |p| {
        // SAFETY: as above.
        let task = unsafe { task(p) };
        task.wake();
        task.wakers.fetch_sub(1, SeqCst);
    },
    // SAFETY: as above.
    |p| ManuallyDrop::new(unsafe { task(p) }).wake(),
    |p| {
        // SAFETY: as above.
        unsafe { task(p) }.wakers.fetch_sub(1, SeqCst);
    },
);

pub(crate) fn why(code: u16) -> Reason {
    Reason::custom(code)
}

/// Row 1.
#[test]
fn cancel_against_first_poll() {
    model("cancel ∥ first poll", 3, || {
        let token = CancellationToken::new();
        let other = token.clone();
        let canceller = thread::spawn(move || other.cancel());
        let task = Task::new();
        {
            let mut wait = pin!(token.cancelled());
            let polled = task.poll(wait.as_mut());
            canceller.join().unwrap();
            if polled.is_pending() {
                assert_eq!(task.woken(), 1, "lost wakeup");
            }
            assert!(task.poll(wait).is_ready());
        }
        task.assert_no_waker_left();
    });
}

/// Row 1: the new waker is woken.
#[test]
fn cancel_against_repoll() {
    model("cancel ∥ re-poll with a new waker, drop", 3, || {
        let token = CancellationToken::new();
        let (old, new) = (Task::new(), Task::new());
        {
            let mut wait = pin!(token.cancelled());
            assert!(old.poll(wait.as_mut()).is_pending());
            let other = token.clone();
            let canceller = thread::spawn(move || other.cancel());
            let polled = new.poll(wait.as_mut());
            canceller.join().unwrap();
            if polled.is_pending() {
                assert_eq!(new.woken(), 1, "lost wakeup");
            }
        }
        old.assert_no_waker_left();
        new.assert_no_waker_left();
    });
}

/// Row 6.
#[test]
fn cancel_against_drop_and_reuse() {
    model("cancel ∥ drop, slot reused by another wait", 3, || {
        let token = CancellationToken::new();
        let (first, second) = (Task::new(), Task::new());
        {
            let mut wait = Box::pin(token.cancelled());
            assert!(first.poll(wait.as_mut()).is_pending());
            let other = token.clone();
            let canceller = thread::spawn(move || other.cancel());
            drop(wait);
            let mut wait = pin!(token.cancelled());
            let polled = second.poll(wait.as_mut());
            canceller.join().unwrap();
            if polled.is_pending() {
                assert_eq!(second.woken(), 1, "lost wakeup");
            }
        }
        first.assert_no_waker_left();
        second.assert_no_waker_left();
    });
}

/// Row 1, and row 13's growth: both install the first segment, one spreads over shards.
#[test]
fn two_first_polls_against_cancel() {
    model("two first polls ∥ cancel", 2, || {
        let token = CancellationToken::new();
        let (one, two) = (Task::new(), Task::new());
        let (token2, task2) = (token.clone(), two.clone());
        let poller = thread::spawn(move || {
            let mut wait = pin!(token2.cancelled());
            let _ = task2.poll(wait.as_mut());
        });
        let token3 = token.clone();
        let canceller = thread::spawn(move || token3.cancel());
        {
            let mut wait = pin!(token.cancelled());
            let polled = one.poll(wait.as_mut());
            canceller.join().unwrap();
            if polled.is_pending() {
                assert_eq!(one.woken(), 1, "lost wakeup");
            }
        }
        poller.join().unwrap();
        one.assert_no_waker_left();
        two.assert_no_waker_left();
    });
}

/// Row 13.
#[test]
fn child_against_cancel() {
    model("child_token ∥ cancel, grandchild", 3, || {
        let token = CancellationToken::new();
        let other = token.clone();
        let canceller = thread::spawn(move || other.cancel_with(why(2)));
        let child = token.child_token();
        let grandchild = child.child_token();
        assert!(canceller.join().unwrap());
        assert_eq!(child.reason(), Some(why(2)));
        assert_eq!(grandchild.reason(), Some(why(2)));
    });
}

/// Row 11: a later occupant of the slot, and its child, get the reason too.
#[test]
fn child_reuse_against_cancel() {
    model("child drop, slot reused, grandchild ∥ cancel", 3, || {
        let token = CancellationToken::new();
        let child = token.child_token();
        let grandchild = child.child_token();
        let other = token.clone();
        let canceller = thread::spawn(move || other.cancel_with(why(2)));
        drop(child);
        drop(grandchild);
        let child = token.child_token();
        let grandchild = child.child_token();
        canceller.join().unwrap();
        assert_eq!(child.reason(), Some(why(2)));
        assert_eq!(grandchild.reason(), Some(why(2)));
    });
}

/// Row 11: the walker enters a slot whose next occupant is half-made, and may not take the empty
/// state for a reason to hand down. A bound of 3 does not show it.
#[test]
fn walker_enters_a_half_made_child() {
    model(
        "child dropped, slot reused, grandchild ∥ cancel, deep",
        5,
        || {
            let token = CancellationToken::new();
            let child = token.child_token();
            drop(child.child_token());
            let other = token.clone();
            let canceller = thread::spawn(move || other.cancel_with(why(2)));
            drop(child);
            let child = token.child_token();
            let grandchild = child.child_token();
            canceller.join().unwrap();
            assert_eq!(child.reason(), Some(why(2)));
            assert_eq!(grandchild.reason(), Some(why(2)));
        },
    );
}

/// Row 11.
#[test]
fn child_drop_against_cancel_against_sibling() {
    model("child drop ∥ cancel ∥ sibling", 2, || {
        let token = CancellationToken::new();
        let child = token.child_token();
        let grandchild = child.child_token();
        let other = token.clone();
        let canceller = thread::spawn(move || {
            other.cancel_with(why(2));
        });
        let another = token.clone();
        let adder = thread::spawn(move || another.child_token());
        drop(child);
        drop(grandchild);
        drop(token);
        let sibling = adder.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(sibling.reason(), Some(why(2)));
    });
}

/// Rows 14 and 20: T3, and the reason is that of the nearest cancelled ancestor.
#[test]
fn two_cancels_at_two_levels() {
    model("T3: cancel(root) ∥ cancel(mid), 4 levels", 3, || {
        let root = CancellationToken::new();
        let mid = root.child_token();
        let leaf = mid.child_token();
        let low = leaf.child_token();
        let (mid2, low2) = (mid.clone(), low.clone());
        let canceller = thread::spawn(move || {
            mid2.cancel_with(why(3));
            assert!(low2.is_cancelled());
        });
        root.cancel_with(why(2));
        assert!(mid.is_cancelled() && leaf.is_cancelled() && low.is_cancelled());
        canceller.join().unwrap();
        assert_eq!(leaf.reason(), mid.reason());
        assert_eq!(low.reason(), mid.reason());
    });
}

/// Rows 14 and 20: one winner, and the loser's promise holds too.
#[test]
fn two_cancels_of_one_token() {
    model("T3: two cancels of one token", 3, || {
        let root = CancellationToken::new();
        let mid = root.child_token();
        let low = mid.child_token();
        let (root2, low2) = (root.clone(), low.clone());
        let canceller = thread::spawn(move || {
            let won = root2.cancel_with(why(3));
            assert!(low2.is_cancelled());
            won
        });
        let won = root.cancel_with(why(2));
        assert!(mid.is_cancelled() && low.is_cancelled());
        assert_ne!(won, canceller.join().unwrap());
        assert_eq!(root.reason(), Some(why(if won { 2 } else { 3 })));
        assert_eq!(low.reason(), root.reason());
    });
}

/// Row 16: T4.
#[test]
fn woken_means_all_are_set() {
    model(
        "T4: woken ⇒ all flags set; two cancels of one root",
        2,
        || {
            let root = CancellationToken::new();
            let waited = root.child_token();
            let sibling = Arc::new(root.child_token());
            let nephew = Arc::new(sibling.child_token());
            let (sibling2, nephew2) = (Arc::downgrade(&sibling), Arc::downgrade(&nephew));
            let task = Task::with(Some(Box::new(move || {
                assert!(sibling2.upgrade().unwrap().is_cancelled());
                assert!(nephew2.upgrade().unwrap().is_cancelled());
            })));
            {
                let mut wait = pin!(waited.cancelled());
                assert!(task.poll(wait.as_mut()).is_pending());
                let root2 = root.clone();
                let canceller = thread::spawn(move || root2.cancel());
                root.cancel();
                assert!(nephew.is_cancelled());
                canceller.join().unwrap();
                assert_eq!(task.woken(), 1);
            }
            task.assert_no_waker_left();
        },
    );
}

/// Row 16: T4 across levels.
#[test]
fn loser_does_not_wake() {
    model(
        "T4: cancel(root) ∥ cancel(child): the loser wakes nobody",
        3,
        || {
            let root = CancellationToken::new();
            let child = Arc::new(root.child_token());
            let sibling = Arc::new(root.child_token());
            let (child2, sibling2) = (Arc::downgrade(&child), Arc::downgrade(&sibling));
            let task = Task::with(Some(Box::new(move || {
                if child2.upgrade().unwrap().reason() == Some(why(2)) {
                    assert!(sibling2.upgrade().unwrap().is_cancelled());
                }
            })));
            {
                let mut wait = pin!(child.cancelled());
                assert!(task.poll(wait.as_mut()).is_pending());
                let root2 = root.clone();
                let canceller = thread::spawn(move || {
                    root2.cancel_with(why(2));
                });
                child.cancel_with(why(3));
                canceller.join().unwrap();
                assert_eq!(task.woken(), 1);
            }
            task.assert_no_waker_left();
        },
    );
}

/// Row 15.
#[test]
fn poll_of_child_against_two_cancels() {
    model(
        "poll on child ∥ cancel(root) ∥ cancel(child)",
        2,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let (root2, child2) = (root.clone(), child.clone());
            let above = thread::spawn(move || root2.cancel());
            let here = thread::spawn(move || child2.cancel());
            let task = Task::new();
            {
                let mut wait = pin!(child.cancelled());
                let polled = task.poll(wait.as_mut());
                above.join().unwrap();
                here.join().unwrap();
                if polled.is_pending() {
                    assert_eq!(task.woken(), 1, "lost wakeup");
                }
            }
            task.assert_no_waker_left();
        },
    );
}

/// Row 10: the middle handle goes while a walker is inside; its memory is handed on.
#[test]
fn last_walker_buries() {
    model(
        "handles dropped ∥ walker inside; memory handed on",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let grandchild = child.child_token();
            let other = root.clone();
            let dropper = thread::spawn(move || {
                drop(grandchild);
                drop(child);
            });
            other.cancel();
            drop(other);
            dropper.join().unwrap();
            let again = root.child_token().child_token();
            assert!(again.is_cancelled());
            drop(root);
        },
    );
}

/// The last handle dies without a read-modify-write, and sees all the same what was done with others.
#[test]
fn the_last_handle_sees_what_others_did() {
    model(
        "child made and dropped, handle dropped ∥ dropped",
        3,
        || {
            let token = CancellationToken::new();
            let other = token.clone();
            let last = thread::spawn(move || drop(other));
            drop(token.child_token());
            // The last access: no later one publishes it but the drop of the handle.
            assert_eq!(token.deadline(), None);
            drop(token);
            last.join().unwrap();
        },
    );
}

/// A root whose last child has gone on another thread likewise.
#[test]
fn the_roots_last_reference_sees_what_its_children_did() {
    model("last child dropped ∥ root dropped", 3, || {
        let root = CancellationToken::new();
        let child = root.child_token();
        let dropper = thread::spawn(move || drop(child));
        drop(root);
        dropper.join().unwrap();
    });
}

/// A node with a boxed reason of its own dies inside a walk: the reason is parked in the slot, and
/// goes with the next occupant or with the arena. The box is loom's `Arc`: a leak fails the model.
#[test]
fn parked_reason_is_dropped_once() {
    model(
        "node with a boxed reason dies ∥ walk; parked, then dropped",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let grandchild = child.child_token();
            child.cancel_with(Reason::error("why"));
            let other = root.clone();
            let canceller = thread::spawn(move || {
                other.cancel();
            });
            drop(grandchild);
            drop(child);
            let again = root.child_token();
            let borrowed = again.child_token();
            canceller.join().unwrap();
            assert_eq!(borrowed.reason(), again.reason());
        },
    );
}

/// Row 20: readers of a boxed reason against its winner, a loser with a box, and the last drop.
#[test]
fn boxed_reasons_race() {
    model("two boxed reasons ∥ reader below", 2, || {
        let root = CancellationToken::new();
        let child = root.child_token();
        let (root2, child2) = (root.clone(), child.clone());
        let one = thread::spawn(move || root2.cancel_with(Reason::error("one")));
        let two = thread::spawn(move || {
            let won = child2.cancel_with(Reason::error("two"));
            drop(child2);
            won
        });
        let seen = child.reason();
        assert!(child.is_cancelled() || seen.is_none());
        assert!(one.join().unwrap());
        let own = two.join().unwrap();
        let says = child.reason().unwrap().to_string();
        assert_eq!(says, if own { "two" } else { "one" });
        drop(root);
        assert_eq!(child.reason().unwrap().to_string(), says);
    });
}
