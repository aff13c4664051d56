//! Row 21 for `cancel_children` and `any_of`.

use super::at_every_step;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use umbel_core::step::with_hook;
use umbel_core::{CancellationToken, Reason, WaitForCancellationFutureOwned};
use umbel_tests::counting::{Task, allocator_calls, live_bytes};

fn why(code: u16) -> Reason {
    Reason::custom(code)
}

// ------------------------------------------------------------------ cancel_children

type Wait = std::pin::Pin<Box<WaitForCancellationFutureOwned>>;

/// A root that lives on, two levels below it, a wait on the upper one, and two tasks.
struct Tree {
    root: CancellationToken,
    mid: CancellationToken,
    low: CancellationToken,
    wait: RefCell<Option<Wait>>,
    one: Task,
    two: Task,
    bytes: isize,
}

impl Tree {
    fn new() -> Tree {
        let bytes = live_bytes();
        let root = CancellationToken::new();
        let mid = root.child_token();
        let low = mid.child_token();
        let wait = RefCell::new(Some(Box::pin(mid.clone().cancelled_owned())));
        Tree {
            root,
            mid,
            low,
            wait,
            one: Task::new(),
            two: Task::new(),
            bytes,
        }
    }

    fn registered() -> Tree {
        let tree = Tree::new();
        assert!(tree.poll(&tree.one).is_pending());
        tree
    }

    fn poll(&self, task: &Task) -> Poll<()> {
        task.poll(self.wait.borrow_mut().as_mut().unwrap().as_mut())
    }

    fn interrupt(&self) {
        self.root.cancel_children(why(1));
        assert!(self.mid.is_cancelled() && self.low.is_cancelled());
    }

    fn end(self) {
        assert!(!self.root.is_cancelled());
        self.end_cancelled();
    }

    fn end_cancelled(self) {
        let bytes = self.bytes;
        self.wait.take();
        assert_eq!((self.one.wakers(), self.two.wakers()), (0, 0), "leaked");
        drop(self);
        assert_eq!(live_bytes(), bytes);
    }

    /// The wait is over by this poll, or the task shown last was woken.
    fn told(&self, polled: Poll<()>, task: &Task) {
        if self.mid.is_cancelled() {
            assert!(polled.is_ready() || task.woken() == 1, "lost wakeup");
            assert!(self.poll(task).is_ready());
        }
    }
}

#[test]
fn t_21_polls_and_drop_against_cancel_children() {
    at_every_step(
        Tree::new,
        |tree| tree.poll(&tree.one),
        Tree::interrupt,
        |tree, polled| {
            tree.told(polled, &tree.one);
            tree.end();
        },
    );
    at_every_step(
        Tree::registered,
        |tree| tree.poll(&tree.two),
        Tree::interrupt,
        |tree, polled| {
            tree.told(polled, &tree.two);
            tree.end();
        },
    );
    let steps = at_every_step(
        Tree::registered,
        |tree| drop(tree.wait.take()),
        Tree::interrupt,
        |tree, ()| {
            assert!(tree.one.woken() <= 1);
            tree.end();
        },
    );
    assert!(steps >= 3, "{steps}: the hook does not see the atomics");
}

/// The child made at that time is cancelled with all that is below it, or lives and can be cancelled.
#[test]
fn t_21_child_token_against_cancel_children() {
    for (siblings, by_parent) in [(0, true), (0, false), (1, true), (2, false), (40, true)] {
        let mut seen = [0; 2];
        let counted = RefCell::new(&mut seen);
        at_every_step(
            || {
                let tree = Tree::new();
                let more: Vec<_> = (0..siblings).map(|_| tree.root.child_token()).collect();
                (tree, more)
            },
            |(tree, _)| {
                let child = tree.root.child_token();
                (child.child_token(), child)
            },
            |(tree, more)| {
                tree.interrupt();
                assert!(more.iter().all(|token| token.is_cancelled()));
            },
            |(tree, more), (low, child)| {
                counted.borrow_mut()[usize::from(child.is_cancelled())] += 1;
                assert_eq!(low.reason(), child.reason());
                if !child.is_cancelled() {
                    if by_parent {
                        tree.root.cancel_with(why(2));
                    } else {
                        tree.root.cancel_children(why(2));
                    }
                    assert_eq!(low.reason(), Some(why(2)));
                }
                drop((more, low, child));
                tree.end_cancelled();
            },
        );
        assert!(seen[0] > 3 && seen[1] > 3, "{seen:?}");
    }
}

/// Each of the two that cancel keeps its promise when it returns, and each waiter is woken once.
#[test]
fn t_21_cancels_against_cancel_children() {
    let operations: [fn(&Tree); 3] = [
        |tree| tree.root.cancel_children(why(3)),
        |tree| assert!(tree.root.cancel_with(why(2)) || tree.root.is_cancelled()),
        |tree| assert!(tree.mid.cancel_with(why(2)) || tree.mid.is_cancelled()),
    ];
    let promised = |tree: &Tree| assert!(tree.mid.is_cancelled() && tree.low.is_cancelled());
    for (one, two) in [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)] {
        let steps = at_every_step(
            Tree::registered,
            |tree| operations[one](tree),
            |tree| {
                let above = tree.root.reason();
                operations[two](tree);
                promised(tree);
                if one == 1 && above.is_some() {
                    assert_eq!(tree.mid.reason(), above, "it was too late for others");
                }
            },
            |tree, ()| {
                promised(&tree);
                assert_eq!(tree.low.reason(), tree.mid.reason());
                assert_eq!(tree.one.woken(), 1);
                tree.end_cancelled();
            },
        );
        assert!(steps >= 10, "{steps}");
    }
}

#[test]
fn t_21_drop_of_tokens_against_cancel_children() {
    for top_first in [true, false] {
        for boxed in [true, false] {
            at_every_step(
                || {
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
                },
                |(_, _, doomed, _)| drop(doomed.take()),
                |(root, keep, ..)| {
                    root.cancel_children(why(1));
                    assert!(keep.is_cancelled());
                },
                |(root, keep, _, bytes), ()| {
                    let again = root.child_token();
                    let low = again.child_token();
                    assert!(!again.is_cancelled() && !low.is_cancelled());
                    root.cancel_children(why(2));
                    assert_eq!(low.reason(), Some(why(2)));
                    drop((again, low, keep, root));
                    assert_eq!(live_bytes(), bytes);
                },
            );
        }
    }
}

/// The reverse: before each step of `cancel_children` another thread, played by the hook, drops the
/// last handle of a child. The walk neither frees nor runs anything of it; what it left in the slot
/// does not run for the next occupant, who is live, and is dropped.
#[test]
fn a_token_dies_at_every_step_of_cancel_children() {
    struct OnDrop(Arc<AtomicUsize>, Cell<bool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
            if self.1.get() {
                // Quietly: the hook counts what a message would allocate.
                resume_unwind(Box::new(()));
            }
        }
    }
    for panics in [false, true] {
        let (mut seen, mut left) = ([0; 2], 0);
        for at in 0.. {
            let bytes = live_bytes();
            let root = CancellationToken::new();
            let child = root.child_token();
            let (calls, drops) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            for i in 0..6 {
                let calls = calls.clone();
                let on_drop = OnDrop(drops.clone(), Cell::new(panics && i == 1));
                child
                    .on_cancel(move || {
                        on_drop.1.set(false);
                        calls.fetch_add(1, SeqCst);
                    })
                    .forget();
            }
            let low = child.child_token();
            low.cancel_with(Reason::error("low"));
            let doomed = RefCell::new(Some((low, child)));
            let drop_doomed = || drop(catch_unwind(AssertUnwindSafe(|| drop(doomed.take()))));
            let (step, in_hook) = (Cell::new(0), Cell::new(0));
            let hook = || {
                if step.get() == at {
                    let before = allocator_calls();
                    drop_doomed();
                    in_hook.set(allocator_calls() - before);
                }
                step.set(step.get() + 1);
            };
            let before = allocator_calls();
            with_hook(&hook, || root.cancel_children(why(1)));
            assert_eq!(allocator_calls() - before, in_hook.get(), "step {at}");
            drop_doomed();
            let called = calls.load(SeqCst);
            assert!(called == 0 || called == 6, "{called}");
            seen[usize::from(called == 6)] += 1;
            let waiting = drops.load(SeqCst) < 6;
            left += usize::from(waiting);
            // The next occupant, or, if a drop panicked, the one after.
            let next = catch_unwind(AssertUnwindSafe(|| root.child_token()));
            assert_eq!(next.is_err(), panics && waiting);
            let next = next.unwrap_or_else(|_| {
                let before = allocator_calls();
                let next = root.child_token();
                assert_eq!(allocator_calls(), before, "the slot was given back");
                next
            });
            assert_eq!(drops.load(SeqCst), 6, "step {at}");
            root.cancel_children(why(2));
            assert_eq!(next.reason(), Some(why(2)));
            assert_eq!(calls.load(SeqCst), called, "of another token");
            let steps = step.get();
            drop((next, root, doomed));
            drop((calls, drops));
            assert_eq!(live_bytes(), bytes, "step {at}");
            if steps <= at {
                break;
            }
        }
        assert!(seen[0] > 3 && seen[1] > 3 && left > 3, "{seen:?} {left}");
    }
}

// ------------------------------------------------------------------ any_of

/// Two sources, the first below a root, and a token of both.
struct Joint {
    root: CancellationToken,
    source: CancellationToken,
    other: CancellationToken,
    any: RefCell<Option<CancellationToken>>,
    bytes: isize,
}

impl Joint {
    fn new() -> Joint {
        let bytes = live_bytes();
        let root = CancellationToken::new();
        let source = root.child_token();
        Joint {
            root,
            source,
            other: CancellationToken::new(),
            any: RefCell::default(),
            bytes,
        }
    }

    fn joined() -> Joint {
        let joint = Joint::new();
        joint.join();
        joint
    }

    fn join(&self) {
        let any = CancellationToken::any_of([&self.source, &self.other]);
        *self.any.borrow_mut() = Some(any);
    }

    fn any(&self) -> CancellationToken {
        self.any.borrow().clone().unwrap()
    }

    fn interrupt(&self) {
        assert!(self.root.cancel_with(why(1)));
    }

    /// Both sources, one after the other.
    fn interrupt_twice(&self) {
        self.interrupt();
        assert!(self.other.cancel_with(why(2)));
    }

    fn end(self) {
        let bytes = self.bytes;
        drop(self);
        assert_eq!(live_bytes(), bytes);
    }
}

#[test]
fn t_21_any_of() {
    for interrupt in [Joint::interrupt, Joint::interrupt_twice] {
        let steps = at_every_step(Joint::new, Joint::join, interrupt, |joint, ()| {
            let any = joint.any();
            assert_eq!(any.is_cancelled(), joint.root.is_cancelled());
            assert_eq!(any.child_token().reason(), any.reason());
            drop(any);
            joint.end();
        });
        assert!(steps >= 10, "{steps}: the hook does not see the atomics");
    }
}

#[test]
fn t_21_drop_of_any_of() {
    for interrupt in [Joint::interrupt, Joint::interrupt_twice] {
        for boxed in [true, false] {
            for child in [true, false] {
                let setup = || {
                    let joint = Joint::joined();
                    let low = child.then(|| joint.any().child_token());
                    if boxed {
                        joint.any().cancel_with(Reason::error("own"));
                    }
                    (joint, RefCell::new(low))
                };
                let steps = at_every_step(
                    setup,
                    |(joint, low)| {
                        drop(joint.any.take());
                        drop(low.take());
                    },
                    |(joint, _)| interrupt(joint),
                    |(joint, _), ()| joint.end(),
                );
                assert!(steps >= 8, "{steps}");
            }
        }
    }
}

/// A waiter below the joined token is woken once, whatever is interrupted: a cancel of it, of one
/// source, or the poll itself.
#[test]
fn t_21_cancels_against_cancels_of_sources() {
    let operations: [fn(&Joint); 4] = [
        |joint| assert!(joint.any().cancel_with(why(3)) || joint.any().is_cancelled()),
        |joint| assert!(joint.other.cancel_with(why(2)) || joint.other.is_cancelled()),
        |joint| joint.root.cancel_children(why(1)),
        |joint| drop(joint.any().child_token()),
    ];
    for operation in operations {
        for wait_first in [true, false] {
            let setup = || {
                let joint = Joint::joined();
                let wait = Box::pin(joint.any().child_token().cancelled_owned());
                (joint, Task::new(), RefCell::new(wait))
            };
            at_every_step(
                || {
                    let state = setup();
                    if wait_first {
                        assert!(state.1.poll(state.2.borrow_mut().as_mut()).is_pending());
                    }
                    state
                },
                |(joint, task, wait)| {
                    let polled = task.poll(wait.borrow_mut().as_mut());
                    operation(joint);
                    polled
                },
                |(joint, ..)| {
                    if !joint.root.is_cancelled() {
                        joint.root.cancel();
                    }
                },
                |(joint, task, wait), polled| {
                    joint.root.cancel();
                    assert!(joint.any().is_cancelled());
                    if polled.is_pending() {
                        assert_eq!(task.woken(), 1, "lost wakeup");
                    }
                    assert!(task.poll(wait.borrow_mut().as_mut()).is_ready());
                    drop(wait);
                    assert_eq!(task.wakers(), 0);
                    drop(task);
                    joint.end();
                },
            );
        }
    }
}

/// The reverse: the last handle of a joined token, which alone keeps tokens of other trees and other
/// joined tokens, goes before each step of a source's cancel. That one never calls the allocator; what
/// died in its hands is freed with the source at the latest.
#[test]
fn a_joined_token_dies_at_every_step_of_a_cancel() {
    for (children, own_reason) in [(false, false), (true, false), (false, true)] {
        let mut kept = Vec::with_capacity(2_000);
        for at in 0.. {
            let bytes = live_bytes();
            let drops = Arc::<AtomicUsize>::default();
            {
                let root = CancellationToken::new();
                let source = root.child_token();
                let (foreign, far) = (CancellationToken::new(), CancellationToken::new());
                let chained = CancellationToken::any_of([&source, &foreign.child_token()]);
                let sources = [
                    source.clone(),
                    source.child_token(),
                    far.child_token().child_token(),
                    CancellationToken::new().child_token(),
                    CancellationToken::any_of([&foreign]),
                    chained,
                ];
                let any = CancellationToken::any_of(&sources);
                drop((sources, source));
                let low = any.child_token();
                if own_reason {
                    any.cancel_with(Reason::error("own"));
                }
                let counted = drops.clone();
                struct OnDrop(Arc<AtomicUsize>);
                impl Drop for OnDrop {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, SeqCst);
                    }
                }
                let on_drop = OnDrop(counted);
                low.on_cancel(move || {
                    let _dropped = &on_drop;
                })
                .forget();
                let doomed = RefCell::new(Some((any, low)));
                let (step, in_hook) = (Cell::new(0), Cell::new(0));
                let hook = || {
                    if step.get() == at {
                        let before = allocator_calls();
                        drop(doomed.take());
                        in_hook.set(allocator_calls() - before);
                    }
                    step.set(step.get() + 1);
                };
                let before = allocator_calls();
                with_hook(&hook, || {
                    if children {
                        root.cancel_children(why(1));
                    } else {
                        root.cancel_with(why(1));
                    }
                });
                assert_eq!(allocator_calls() - before, in_hook.get(), "step {at}");
                drop(doomed.take());
                kept.push(live_bytes() - bytes);
                // A second walk finds the grave.
                root.cancel();
                foreign.cancel();
                far.cancel();
                let steps = step.get();
                drop((root, foreign, far));
                assert_eq!(drops.load(SeqCst), 1, "step {at}");
                if steps <= at {
                    drop(drops);
                    assert_eq!(live_bytes(), bytes);
                    break;
                }
            }
            drop(drops);
            assert_eq!(live_bytes(), bytes, "step {at}");
        }
        let least = kept.iter().min().copied();
        let in_walk = kept.iter().filter(|bytes| Some(**bytes) != least).count();
        assert!(in_walk > 10, "the walker was never the last: {kept:?}");
    }
}
