//! Row 21: an interrupt cancels at every step of every operation, and nothing is lost.

use super::at_every_step;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use umbel_core::step::with_hook;
use umbel_core::{CancellationToken, Reason, WaitForCancellationFutureOwned};
use umbel_tests::counting::{Task, allocator_calls, live_bytes};

type Wait = Pin<Box<WaitForCancellationFutureOwned>>;

/// A tree of three levels, a wait on the middle one, and two tasks.
struct Tree {
    root: CancellationToken,
    mid: CancellationToken,
    low: CancellationToken,
    wait: RefCell<Option<Wait>>,
    one: Task,
    two: Task,
    /// What the interrupt cancels.
    target: CancellationToken,
    bytes: isize,
}

impl Tree {
    /// `above`: the interrupt cancels the root, else the waited-on node itself.
    fn new(above: bool) -> Tree {
        let bytes = live_bytes();
        let root = CancellationToken::new();
        let mid = root.child_token();
        let low = mid.child_token();
        let wait = RefCell::new(Some(Box::pin(mid.clone().cancelled_owned())));
        let target = if above { root.clone() } else { mid.clone() };
        Tree {
            root,
            mid,
            low,
            wait,
            one: Task::new(),
            two: Task::new(),
            target,
            bytes,
        }
    }

    /// With the wait polled by task one.
    fn registered(above: bool) -> Tree {
        let tree = Tree::new(above);
        assert!(tree.poll(&tree.one).is_pending());
        tree
    }

    fn poll(&self, task: &Task) -> Poll<()> {
        task.poll(self.wait.borrow_mut().as_mut().unwrap().as_mut())
    }

    fn interrupt(&self) {
        assert!(self.target.cancel_with(Reason::custom(1)));
        assert!(self.mid.is_cancelled() && self.low.is_cancelled());
    }

    /// Everything was given back.
    fn end(self) {
        let bytes = self.bytes;
        assert_eq!(
            (self.one.wakers(), self.two.wakers()),
            (0, 0),
            "a waker was leaked"
        );
        drop(self);
        assert_eq!(live_bytes(), bytes);
    }
}

/// The wait is over by this poll, or the task shown last was woken.
fn told(tree: &Tree, polled: Poll<()>, task: &Task) {
    // At the last round the interrupt did not run.
    if tree.mid.is_cancelled() {
        assert!(polled.is_ready() || task.woken() == 1, "lost wakeup");
        assert!(tree.poll(task).is_ready());
    }
    tree.wait.take();
}

#[test]
fn t_21_first_poll() {
    for above in [true, false] {
        let steps = at_every_step(
            || Tree::new(above),
            |tree| tree.poll(&tree.one),
            Tree::interrupt,
            |tree, polled| {
                told(&tree, polled, &tree.one);
                tree.end();
            },
        );
        assert!(steps >= 4, "{steps}: the hook does not see the atomics");
    }
}

#[test]
fn t_21_repoll() {
    for above in [true, false] {
        let steps = at_every_step(
            || Tree::registered(above),
            |tree| tree.poll(&tree.two),
            Tree::interrupt,
            |tree, polled| {
                told(&tree, polled, &tree.two);
                tree.end();
            },
        );
        assert!(steps >= 5, "{steps}");
    }
}

#[test]
fn t_21_drop_of_a_wait() {
    for above in [true, false] {
        let steps = at_every_step(
            || Tree::registered(above),
            |tree| drop(tree.wait.take()),
            Tree::interrupt,
            |tree, ()| {
                assert!(tree.one.woken() <= 1);
                tree.end();
            },
        );
        assert!(steps >= 3, "{steps}");
    }
}

#[test]
fn t_21_child_token() {
    for above in [true, false] {
        for siblings in [0, 1, 2, 40] {
            let setup = || {
                let tree = Tree::new(above);
                tree.wait.take();
                let siblings: Vec<_> = (0..siblings).map(|_| tree.mid.child_token()).collect();
                (tree, siblings)
            };
            let steps = at_every_step(
                setup,
                |(tree, _)| {
                    let child = tree.mid.child_token();
                    (child.child_token(), child)
                },
                |(tree, _)| tree.interrupt(),
                |(tree, siblings), (low, child)| {
                    if tree.target.is_cancelled() {
                        assert_eq!(child.reason(), Some(Reason::custom(1)));
                        assert_eq!(low.reason(), Some(Reason::custom(1)));
                    }
                    drop((siblings, low, child));
                    tree.end();
                },
            );
            assert!(steps >= 10, "{steps}");
        }
    }
}

#[test]
fn t_21_clone_and_look() {
    let steps = at_every_step(
        || Tree::new(true),
        |tree| {
            let clone = tree.low.clone();
            (clone.is_cancelled(), clone.reason(), clone)
        },
        Tree::interrupt,
        |tree, (cancelled, reason, clone)| {
            assert!(
                !cancelled || reason == Some(Reason::custom(1)),
                "cancelled without a reason"
            );
            assert_eq!(clone.is_cancelled(), tree.root.is_cancelled());
            drop(clone);
            tree.wait.take();
            tree.end();
        },
    );
    assert!(steps >= 3, "{steps}");
}

/// Handles of the middle and the bottom go, in both orders, some with a reason of their own, while
/// the interrupt walks through what is being buried.
#[test]
fn t_21_drop_of_tokens() {
    for top_first in [true, false] {
        for boxed in [true, false] {
            let setup = || {
                let bytes = live_bytes();
                let root = CancellationToken::new();
                let keep = root.child_token();
                let mid = root.child_token();
                let low = mid.child_token();
                if boxed {
                    low.cancel_with(Reason::error("low"));
                    mid.cancel_with(Reason::error("mid"));
                }
                let doomed = if top_first { [mid, low] } else { [low, mid] };
                (root, keep, RefCell::new(Some(doomed)), bytes)
            };
            let steps = at_every_step(
                setup,
                |(_, _, doomed, _)| drop(doomed.take()),
                |(root, keep, ..)| {
                    assert!(root.cancel_with(Reason::custom(1)));
                    assert!(keep.is_cancelled());
                },
                |(root, keep, _, bytes), ()| {
                    let again = root.child_token().child_token();
                    assert_eq!(again.is_cancelled(), root.is_cancelled());
                    drop((again, keep, root));
                    assert_eq!(live_bytes(), bytes);
                },
            );
            assert!(steps >= 8, "{steps}");
        }
    }
}

/// A second cancel interrupts the first: what it promises holds at once, and each waiter is woken
/// once.
#[test]
fn t_21_cancel_interrupts_cancel() {
    for above in [true, false] {
        let setup = || {
            let tree = Tree::registered(!above);
            let other = if above {
                tree.root.clone()
            } else {
                tree.mid.clone()
            };
            (tree, other)
        };
        let steps = at_every_step(
            setup,
            |(_, other)| other.cancel(),
            |(tree, _)| {
                tree.target.cancel();
                assert!(tree.mid.is_cancelled() && tree.low.is_cancelled());
            },
            |(tree, other), ()| {
                assert_eq!(tree.one.woken(), 1);
                drop(other);
                tree.wait.take();
                tree.end();
            },
        );
        assert!(steps >= 10, "{steps}");
    }
}

/// The reverse: everything below is dropped at any step of a cancel, as another thread would. The
/// walker may be the last to let go of a node, and still calls the allocator never.
#[test]
fn t_21_drop_interrupts_cancel() {
    let mut kept = Vec::with_capacity(1_000);
    for at in 0.. {
        let bytes = live_bytes();
        let root = CancellationToken::new();
        let child = root.child_token();
        let low = child.child_token();
        let task = Task::new();
        let waker = task.waker();
        let mut waits: Vec<_> = (0..6)
            .map(|_| Box::pin(child.clone().cancelled_owned()))
            .collect();
        for wait in &mut waits {
            assert!(
                wait.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        low.cancel_with(Reason::error("low"));
        let doomed = RefCell::new(Some((waits, low, child)));
        let (step, in_hook) = (Cell::new(0), Cell::new(0));
        let hook = || {
            if step.get() == at {
                let before = allocator_calls();
                drop(doomed.take());
                in_hook.set(allocator_calls() - before);
            }
            step.set(step.get() + 1);
        };
        let calls = allocator_calls();
        umbel_core::step::with_hook(&hook, || root.cancel());
        let calls = allocator_calls() - calls;
        assert_eq!(
            calls,
            in_hook.get(),
            "step {at}: cancel called the allocator"
        );
        // What died in an ordinary drop is freed there; what died in the walk keeps its memory.
        drop(doomed.take());
        kept.push(live_bytes());
        assert_eq!(task.wakers(), 1);
        drop((root, waker, task));
        assert_eq!(live_bytes(), bytes, "step {at}");
        if step.get() <= at {
            break;
        }
    }
    let least = kept.iter().min().copied();
    let by_walker = kept.iter().filter(|bytes| Some(**bytes) != least).count();
    assert!(by_walker > 3, "the walker was never the last: {kept:?}");
}

/// T2: counted, not timed.
#[test]
fn is_cancelled_is_one_access_at_any_depth_and_with_any_number_of_waiters() {
    let root = CancellationToken::new();
    let mut low = root.clone();
    for _ in 0..100 {
        low = low.child_token();
    }
    let task = Task::new();
    let mut waits: Vec<_> = (0..100).map(|_| Box::pin(low.cancelled())).collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    for cancelled in [false, true] {
        let accesses = Cell::new(0);
        let seen = with_hook(&|| accesses.set(accesses.get() + 1), || low.is_cancelled());
        assert_eq!((seen, accesses.get()), (cancelled, 1));
        root.cancel();
    }
}
