//! Row 21 for callbacks: an interrupt cancels at every step of making and ending a registration. And
//! a token that dies at every step of a cancel.

use super::at_every_step;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use umbel_core::step::with_hook;
use umbel_core::{CancellationToken, Flag, Registration};
use umbel_tests::calls::Calls;
use umbel_tests::counting::live_bytes;

struct Tree {
    root: CancellationToken,
    mid: CancellationToken,
    registration: RefCell<Option<Registration>>,
    flag: RefCell<Option<Flag>>,
    target: CancellationToken,
    calls: Arc<Calls>,
    bytes: isize,
}

impl Tree {
    fn new(above: bool) -> Tree {
        let bytes = live_bytes();
        let root = CancellationToken::new();
        let mid = root.child_token();
        let target = if above { root.clone() } else { mid.clone() };
        Tree {
            root,
            mid,
            registration: RefCell::default(),
            flag: RefCell::default(),
            target,
            calls: Calls::new(),
            bytes,
        }
    }

    fn registered(above: bool) -> Tree {
        let tree = Tree::new(above);
        tree.register();
        tree
    }

    fn register(&self) {
        let registration = self.mid.on_cancel(self.calls.callback());
        *self.registration.borrow_mut() = Some(registration);
    }

    fn take(&self) -> Registration {
        self.registration.borrow_mut().take().unwrap()
    }

    fn interrupt(&self) {
        self.target.cancel();
        assert!(self.mid.is_cancelled());
    }

    /// Everything was given back.
    fn end(self) {
        let bytes = self.bytes;
        drop(self);
        assert_eq!(live_bytes(), bytes);
    }
}

#[test]
fn t_21_on_cancel() {
    for above in [true, false] {
        let steps = at_every_step(
            || Tree::new(above),
            Tree::register,
            Tree::interrupt,
            |tree, ()| {
                let calls = usize::from(tree.root.is_cancelled() || tree.mid.is_cancelled());
                assert_eq!(tree.calls.seen(), (calls, calls));
                assert_eq!(tree.take().unregister(), calls == 0);
                tree.end();
            },
        );
        assert!(steps >= 5, "{steps}: the hook does not see the atomics");
    }
}

#[test]
fn t_21_unregister() {
    for above in [true, false] {
        let steps = at_every_step(
            || Tree::registered(above),
            |tree| tree.take().unregister(),
            Tree::interrupt,
            |tree, stopped| {
                assert_eq!(tree.calls.seen(), (usize::from(!stopped), 1));
                tree.end();
            },
        );
        assert!(steps >= 3, "{steps}: the hook does not see the atomics");
    }
}

#[test]
fn t_21_forget() {
    for above in [true, false] {
        let steps = at_every_step(
            || Tree::registered(above),
            |tree| tree.take().forget(),
            Tree::interrupt,
            |tree, ()| {
                tree.root.cancel();
                assert_eq!(tree.calls.seen(), (1, 1));
                tree.end();
            },
        );
        assert!(steps >= 2, "{steps}: the hook does not see the atomics");
    }
}

#[test]
fn t_21_flag() {
    for above in [true, false] {
        at_every_step(
            || Tree::new(above),
            |tree| *tree.flag.borrow_mut() = Some(tree.mid.flag()),
            Tree::interrupt,
            |tree, ()| {
                let flag = tree.flag.borrow_mut().take().unwrap();
                assert_eq!(flag.is_set(), tree.mid.is_cancelled());
                drop(flag);
                tree.end();
            },
        );
        // Its drop.
        at_every_step(
            || {
                let tree = Tree::new(above);
                *tree.flag.borrow_mut() = Some(tree.mid.flag());
                tree
            },
            |tree| drop(tree.flag.borrow_mut().take()),
            Tree::interrupt,
            |tree, ()| tree.end(),
        );
    }
}

/// Before each step of a cancel another thread, played by the hook, drops the last handle of a child
/// on which callbacks are forgotten. If a walker is inside just then, it buries the child without
/// calling or freeing anything; in the end each closure was dropped, and called once at most.
#[test]
fn a_token_dies_at_every_step_of_a_cancel() {
    let mut seen = [0; 4];
    for at in 0.. {
        let bytes = live_bytes();
        let root = CancellationToken::new();
        let calls = Calls::new();
        let child = root.child_token();
        for _ in 0..3 {
            child.on_cancel(calls.callback()).forget();
        }
        // So that the walk enters the child.
        drop(child.child_token());
        let child = RefCell::new(Some(child));
        let step = Rc::new(Cell::new(0));
        let hook = || {
            if step.get() == at {
                drop(child.borrow_mut().take());
            }
            step.set(step.get() + 1);
        };
        with_hook(&hook, || root.cancel());
        seen[calls.seen().0] += 1;
        // The next occupant of the slot, and a walk that finds it.
        let next = root.child_token();
        root.cancel();
        drop((next, child, root));
        let (called, dropped) = calls.seen();
        assert!(called <= 3);
        assert_eq!(dropped, 3);
        let steps = step.get();
        drop((calls, step));
        assert_eq!(live_bytes(), bytes);
        if steps <= at {
            break;
        }
    }
    assert!(
        seen[0] > 1 && seen[3] > 1,
        "{seen:?}: too early, and too late"
    );
}
