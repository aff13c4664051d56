//! `cancel_children` and `any_of`: what holds for `cancel` holds for what they cancel, and for what
//! lives on beside it.

use crate::model;
use crate::token::{Task, why};
use loom::thread;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use umbel_core::{CancellationToken, Reason};

fn children_cancelled(token: &CancellationToken, code: u16) -> thread::JoinHandle<()> {
    let token = token.clone();
    thread::spawn(move || token.cancel_children(why(code)))
}

// ------------------------------------------------------------------ cancel_children

/// Row 1.
#[test]
fn cancel_children_against_first_poll() {
    model("cancel_children ∥ first poll", 3, || {
        let root = CancellationToken::new();
        let child = root.child_token();
        let canceller = children_cancelled(&root, 2);
        let task = Task::new();
        {
            let mut wait = pin!(child.cancelled());
            let polled = task.poll(wait.as_mut());
            canceller.join().unwrap();
            assert_eq!(child.reason(), Some(why(2)));
            if polled.is_pending() {
                assert_eq!(task.woken(), 1, "lost wakeup");
            }
            assert!(task.poll(wait).is_ready());
        }
        task.assert_no_waker_left();
        assert!(!root.is_cancelled());
    });
}

/// Row 1: the new waker is woken.
#[test]
fn cancel_children_against_repoll() {
    model(
        "cancel_children ∥ re-poll with a new waker, drop",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let (old, new) = (Task::new(), Task::new());
            {
                let mut wait = pin!(child.cancelled());
                assert!(old.poll(wait.as_mut()).is_pending());
                let canceller = children_cancelled(&root, 2);
                let polled = new.poll(wait.as_mut());
                canceller.join().unwrap();
                if polled.is_pending() {
                    assert_eq!(new.woken(), 1, "lost wakeup");
                }
            }
            old.assert_no_waker_left();
            new.assert_no_waker_left();
        },
    );
}

/// Row 13: the one that was there is cancelled, the one made meanwhile perhaps, and then with what is
/// below it.
#[test]
fn cancel_children_against_child() {
    model("cancel_children ∥ child_token, grandchild", 3, || {
        let root = CancellationToken::new();
        let there = root.child_token();
        let canceller = children_cancelled(&root, 2);
        let made = root.child_token();
        let below = made.child_token();
        canceller.join().unwrap();
        assert_eq!(there.reason(), Some(why(2)));
        assert_eq!(made.reason(), below.reason());
        let later = root.child_token();
        assert!(!later.is_cancelled() && !root.is_cancelled());
        root.cancel_with(why(3));
        assert_eq!(later.reason(), Some(why(3)));
        assert_eq!(made.is_cancelled(), below.is_cancelled());
        assert!(below.is_cancelled());
    });
}

/// Rows 13 and 20: born under a cancelled parent it has that one's reason, whoever else is at work.
#[test]
fn child_of_the_cancelled_against_cancel_children() {
    model("cancel, then child_token ∥ cancel_children", 3, || {
        let root = CancellationToken::new();
        let canceller = children_cancelled(&root, 2);
        root.cancel_with(why(3));
        let child = root.child_token();
        assert_eq!(child.reason(), Some(why(3)));
        canceller.join().unwrap();
    });
}

/// A later occupant of the slot keeps its waker, unless it is cancelled, too.
#[test]
fn cancel_children_against_drop_and_reuse() {
    model(
        "cancel_children ∥ child with a wait dropped, slot reused by another",
        3,
        || {
            let root = CancellationToken::new();
            let (first, second) = (Task::new(), Task::new());
            let child = root.child_token();
            let mut wait = Box::pin(child.cancelled_owned());
            assert!(first.poll(wait.as_mut()).is_pending());
            let canceller = children_cancelled(&root, 2);
            drop(wait);
            {
                let child = root.child_token();
                let mut wait = pin!(child.cancelled());
                let polled = second.poll(wait.as_mut());
                canceller.join().unwrap();
                assert!(child.is_cancelled() || polled.is_pending());
                if polled.is_pending() {
                    let told = usize::from(child.is_cancelled());
                    assert_eq!(second.woken(), told, "lost, or for nothing");
                    root.cancel();
                    assert_eq!(second.woken(), 1, "lost");
                }
            }
            first.assert_no_waker_left();
            second.assert_no_waker_left();
        },
    );
}

/// The walker saw the last occupant and entered the next one, who is half-made: it is left alone, and
/// not taken for one below whom all is cancelled.
#[test]
fn cancel_children_enters_a_half_made_child() {
    model(
        "child dropped, slot reused, grandchild ∥ cancel_children; then cancel",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let canceller = children_cancelled(&root, 2);
            drop(child);
            let child = root.child_token();
            let low = child.child_token();
            canceller.join().unwrap();
            root.cancel_with(why(3));
            assert!(low.is_cancelled());
            assert_eq!(low.reason(), child.reason());
        },
    );
}

/// A call finds, in its second pass, a child that came later and that `cancel` of the parent has
/// marked, but not yet its sibling: it may not wake it (T4).
#[test]
fn cancel_children_wakes_only_whom_it_cancelled() {
    model(
        "T4: cancel_children ∥ cancel of the parent; a child made meanwhile",
        3,
        || {
            let root = CancellationToken::new();
            let first = root.child_token();
            let old = Task::new();
            let mut wait = pin!(first.cancelled());
            assert!(old.poll(wait.as_mut()).is_pending());
            let children = children_cancelled(&root, 2);
            let made = Arc::new([root.child_token(), root.child_token()]);
            let seen = Arc::downgrade(&made);
            let task = Task::with(Some(Box::new(move || {
                let made = seen.upgrade().unwrap();
                if made[0].reason() == Some(why(3)) {
                    assert!(made[1].is_cancelled());
                }
            })));
            {
                let mut wait = pin!(made[0].cancelled());
                let polled = task.poll(wait.as_mut());
                root.cancel_with(why(3));
                children.join().unwrap();
                if polled.is_pending() {
                    assert_eq!(task.woken(), 1);
                }
            }
            assert_eq!(old.woken(), 1);
            task.assert_no_waker_left();
        },
    );
}

/// T3 and T4 beside `cancel` of the same token.
#[test]
fn cancel_children_against_cancel_of_the_parent() {
    model("T3: cancel_children ∥ cancel, grandchild", 3, || {
        let root = CancellationToken::new();
        let child = root.child_token();
        let low = child.child_token();
        let task = Task::new();
        {
            let mut wait = pin!(low.cancelled());
            assert!(task.poll(wait.as_mut()).is_pending());
            let (root2, child2, low2) = (root.clone(), child.clone(), low.clone());
            let canceller = thread::spawn(move || {
                assert!(root2.cancel_with(why(3)));
                assert!(child2.is_cancelled() && low2.is_cancelled());
            });
            root.cancel_children(why(2));
            assert!(child.is_cancelled() && low.is_cancelled());
            canceller.join().unwrap();
            assert_eq!(task.woken(), 1);
        }
        assert_eq!(low.reason(), child.reason());
        task.assert_no_waker_left();
    });
}

/// T3 for both, one waker each, and none before all is set.
#[test]
fn two_calls_of_cancel_children() {
    model("T3, T4: two cancel_children, grandchild", 2, || {
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
            let canceller = children_cancelled(&root, 2);
            root.cancel_children(why(3));
            assert!(waited.is_cancelled() && nephew.is_cancelled());
            canceller.join().unwrap();
            assert_eq!(task.woken(), 1);
        }
        assert_eq!(sibling.reason(), nephew.reason());
        task.assert_no_waker_left();
    });
}

/// T3 for whoever returns, and W2: below the child its own reason goes down.
#[test]
fn cancel_children_against_cancel_of_a_child() {
    model(
        "T3: cancel_children ∥ cancel(child), 3 levels below",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let low = child.child_token();
            let lowest = low.child_token();
            let (child2, lowest2) = (child.clone(), lowest.clone());
            let canceller = thread::spawn(move || {
                child2.cancel_with(why(3));
                assert!(lowest2.is_cancelled());
            });
            root.cancel_children(why(2));
            assert!(child.is_cancelled() && low.is_cancelled() && lowest.is_cancelled());
            canceller.join().unwrap();
            assert_eq!(low.reason(), child.reason());
            assert_eq!(lowest.reason(), child.reason());
        },
    );
}

/// A child with a forgotten callback dies inside the walk, which leaves the callback in the slot: it
/// does not run for the next occupant, and is dropped once.
#[test]
fn what_the_dead_left_does_not_run_for_the_next() {
    model(
        "last handle of a child, callback forgotten ∥ cancel_children; slot reused, cancelled",
        3,
        || {
            struct OnDrop(Arc<AtomicUsize>);
            impl Drop for OnDrop {
                fn drop(&mut self) {
                    self.0.fetch_add(1, SeqCst);
                }
            }
            let root = CancellationToken::new();
            let child = root.child_token();
            let (calls, drops) = (Arc::<AtomicUsize>::default(), Arc::default());
            let (counted, dropped) = (calls.clone(), OnDrop(Arc::clone(&drops)));
            child
                .on_cancel(move || {
                    let _dropped = &dropped;
                    counted.fetch_add(1, SeqCst);
                })
                .forget();
            let canceller = children_cancelled(&root, 2);
            drop(child);
            canceller.join().unwrap();
            let before = calls.load(SeqCst);
            let next = root.child_token();
            assert_eq!(
                drops.load(SeqCst),
                1,
                "waits for an ordinary operation only"
            );
            root.cancel_children(why(3));
            assert_eq!(calls.load(SeqCst), before);
            drop((next, root));
            assert_eq!(drops.load(SeqCst), 1);
        },
    );
}

/// Each child owns a clone of a boxed reason, one dies in the walk: loom's `Arc` finds leaks.
#[test]
fn a_boxed_reason_is_owned_by_each_child() {
    model(
        "cancel_children with a box ∥ child dropped, slot reused ∥ cancel(child)",
        2,
        || {
            let root = CancellationToken::new();
            let (one, two) = (root.child_token(), root.child_token());
            let two2 = two.clone();
            let canceller = thread::spawn(move || two2.cancel_with(Reason::error("two")));
            let root2 = root.clone();
            let children = thread::spawn(move || root2.cancel_children(Reason::error("children")));
            drop(one);
            let again = root.child_token();
            children.join().unwrap();
            let own = canceller.join().unwrap();
            let says = two.reason().unwrap().to_string();
            assert_eq!(says, if own { "two" } else { "children" });
            drop((again, root, two));
        },
    );
}

// ------------------------------------------------------------------ any_of

fn cancelled(token: &CancellationToken, code: u16) -> thread::JoinHandle<bool> {
    let token = token.clone();
    thread::spawn(move || token.cancel_with(why(code)))
}

#[test]
fn any_of_against_cancel_of_a_source() {
    model("any_of ∥ cancel of a source", 3, || {
        let source = CancellationToken::new();
        let canceller = cancelled(&source, 2);
        let any = CancellationToken::any_of([&source]);
        canceller.join().unwrap();
        assert_eq!(any.reason(), Some(why(2)));
        drop(source);
    });
}

/// loom's allocator finds what is freed twice, or never.
#[test]
fn drop_of_any_of_against_cancel_of_a_source() {
    model("last handle of an any_of ∥ cancel of a source", 3, || {
        let source = CancellationToken::new();
        let any = CancellationToken::any_of([&source]);
        let canceller = cancelled(&source, 2);
        drop(any);
        canceller.join().unwrap();
    });
}

/// As above, while a child keeps it, and the source is kept by it alone.
#[test]
fn a_child_keeps_any_of_against_cancel_of_a_source() {
    model(
        "handle of an any_of, then its child ∥ cancel above the source",
        3,
        || {
            let root = CancellationToken::new();
            let any = CancellationToken::any_of([&root.child_token()]);
            let child = any.child_token();
            let canceller = cancelled(&root, 2);
            drop(any);
            drop(child);
            canceller.join().unwrap();
            assert!(root.child_token().is_cancelled());
        },
    );
}

#[test]
fn two_sources_of_any_of() {
    model("cancels of two sources of an any_of", 3, || {
        let (one, two) = (CancellationToken::new(), CancellationToken::new());
        let any = CancellationToken::any_of([&one, &two]);
        let task = Task::new();
        {
            let mut wait = pin!(any.cancelled());
            assert!(task.poll(wait.as_mut()).is_pending());
            let canceller = cancelled(&one, 1);
            two.cancel_with(why(2));
            assert!(any.is_cancelled());
            canceller.join().unwrap();
            assert_eq!(task.woken(), 1);
        }
        task.assert_no_waker_left();
    });
}

/// Both cancellers find it dying: one of them at most has it to bury.
#[test]
fn two_sources_against_drop_of_any_of() {
    model(
        "cancels of two sources ∥ last handle of their any_of",
        2,
        || {
            let (one, two) = (CancellationToken::new(), CancellationToken::new());
            let any = CancellationToken::any_of([&one, &two]);
            let (first, second) = (cancelled(&one, 1), cancelled(&two, 2));
            drop(any);
            first.join().unwrap();
            second.join().unwrap();
            drop((one, two));
        },
    );
}

/// Either may be the last to keep the root: it comes after what the other did with the root's memory,
/// and the source, whose last handle goes too, frees what a walk was the last to keep.
#[test]
fn wait_for_any_of_goes_against_cancel_of_a_source() {
    model(
        "wait for an any_of, its last handle ∥ cancel of the source, its last handle",
        3,
        || {
            let source = CancellationToken::new();
            let any = CancellationToken::any_of([&source]);
            let task = Task::new();
            let mut wait = Box::pin(any.clone().cancelled_owned());
            assert!(task.poll(wait.as_mut()).is_pending());
            let canceller = thread::spawn(move || {
                source.cancel();
                assert_eq!(source.deadline(), None);
                drop(source);
            });
            drop(wait);
            assert_eq!(any.deadline(), None);
            drop(any);
            canceller.join().unwrap();
            task.assert_no_waker_left();
        },
    );
}

#[test]
fn cancel_of_a_source_against_child_of_any_of() {
    model(
        "cancel of a source ∥ child_token of the any_of, first poll",
        3,
        || {
            let source = CancellationToken::new();
            let any = CancellationToken::any_of([&source]);
            let canceller = cancelled(&source, 2);
            let child = any.child_token();
            let task = Task::new();
            {
                let mut wait = pin!(child.cancelled());
                let polled = task.poll(wait.as_mut());
                canceller.join().unwrap();
                assert_eq!(child.reason(), Some(why(2)));
                if polled.is_pending() {
                    assert_eq!(task.woken(), 1, "lost wakeup");
                }
            }
            task.assert_no_waker_left();
        },
    );
}

/// A cancel of the root itself beside one of its source: T3 for both, one wakes.
#[test]
fn cancel_of_any_of_against_cancel_of_a_source() {
    model(
        "cancel of an any_of ∥ cancel of a source, child",
        3,
        || {
            let source = CancellationToken::new();
            let any = CancellationToken::any_of([&source]);
            let child = any.child_token();
            let canceller = cancelled(&source, 2);
            any.cancel_with(why(3));
            assert!(child.is_cancelled());
            drop(any);
            canceller.join().unwrap();
            let seen = child.reason().unwrap().code().unwrap();
            assert!(seen == 2 || seen == 3);
            drop(source);
            drop(child);
        },
    );
}
