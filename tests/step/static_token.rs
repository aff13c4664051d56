//! Row 21 for the token in a `static`: an interrupt cancels at every step of every operation. And
//! tasks that come at every step of a cancel.

use super::at_every_step;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use umbel_core::step::with_hook;
use umbel_core::{Reason, StaticChild, StaticToken};
use umbel_tests::counting::{Task, allocator_calls};

type Token = StaticToken<2>;

/// Lent for as long as a `static` would live: to the end of one run.
struct Lent(*mut Token);

impl Lent {
    fn new() -> Lent {
        Lent(Box::into_raw(Box::new(StaticToken::new())))
    }

    fn get(&self) -> &'static Token {
        // SAFETY: freed by the drop of the last `Rc<Lent>`, which is the last field of each setup.
        unsafe { &*self.0 }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: made by `into_raw`; children and waits were dropped before.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A child and a wait of it.
struct Waiting {
    // Borrows from `child`: declared, and so dropped, before it.
    wait: Pin<Box<dyn Future<Output = ()>>>,
    child: Rc<StaticChild>,
}

impl Waiting {
    fn new(child: StaticChild) -> Waiting {
        let child = Rc::new(child);
        let inner = child.clone();
        Waiting {
            wait: Box::pin(async move { inner.cancelled().await }),
            child,
        }
    }
}

/// A token with two children; one is waited for.
struct Setup {
    waiting: RefCell<Option<Waiting>>,
    sibling: RefCell<Option<StaticChild>>,
    one: Task,
    two: Task,
    by: By,
    token: Rc<Lent>,
}

/// What the interrupt does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Cancel,
    Children,
    Child,
}

const ALL: [By; 3] = [By::Cancel, By::Children, By::Child];

fn why(code: u16) -> Reason {
    Reason::custom(code)
}

impl Setup {
    fn new(by: By) -> Setup {
        let token = Rc::new(Lent::new());
        let child = token.get().child().unwrap();
        let sibling = token.get().child().unwrap();
        Setup {
            waiting: RefCell::new(Some(Waiting::new(child))),
            sibling: RefCell::new(Some(sibling)),
            one: Task::new(),
            two: Task::new(),
            by,
            token,
        }
    }

    fn registered(by: By) -> Setup {
        let setup = Setup::new(by);
        assert!(setup.poll(&setup.one).is_pending());
        setup
    }

    fn token(&self) -> &'static Token {
        self.token.get()
    }

    fn poll(&self, task: &Task) -> Poll<()> {
        task.poll(self.waiting.borrow_mut().as_mut().unwrap().wait.as_mut())
    }

    fn child(&self) -> Rc<StaticChild> {
        self.waiting.borrow().as_ref().unwrap().child.clone()
    }

    fn interrupt(&self) {
        match self.by {
            By::Cancel => assert!(self.token().cancel_with(why(1))),
            By::Children => self.token().cancel_children(why(1)),
            // The wait is borrowed while it is polled; the child is not.
            By::Child => return,
        }
        if let Some(sibling) = &*self.sibling.borrow() {
            assert_eq!(sibling.reason(), Some(why(1)), "T3");
        }
    }

    /// The wait is over by this poll, or the task shown last was woken.
    fn told(&self, polled: Poll<()>, task: &Task) {
        let child = self.child();
        assert!(child.reason().is_none_or(|reason| reason == why(1)));
        if child.is_cancelled() {
            if polled.is_pending() {
                assert_eq!(task.woken(), 1, "lost wakeup");
                assert!(self.poll(task).is_ready());
            }
        } else {
            assert!(polled.is_pending() && task.woken() == 0);
        }
    }

    /// Both slots are free again, their cells empty, and no waker was lost.
    fn end(self) {
        drop((self.waiting.take(), self.sibling.take()));
        assert_eq!((self.one.wakers(), self.two.wakers()), (0, 0));
        let again = [self.token().child().unwrap(), self.token().child().unwrap()];
        for child in again {
            let cancelled = self.token().is_cancelled();
            assert_eq!(child.is_cancelled(), cancelled);
            let mut waiting = Waiting::new(child);
            let task = Task::new();
            assert_eq!(task.poll(waiting.wait.as_mut()).is_ready(), cancelled);
            assert_eq!(task.woken(), 0, "the cell was not left alone");
        }
    }
}

#[test]
fn t_21_first_poll() {
    for by in [By::Cancel, By::Children] {
        let steps = at_every_step(
            || Setup::new(by),
            |setup| setup.poll(&setup.one),
            Setup::interrupt,
            |setup, polled| {
                setup.told(polled, &setup.one);
                setup.end();
            },
        );
        assert!(steps >= 5, "{steps}: the hook does not see the atomics");
    }
}

#[test]
fn t_21_first_poll_against_cancel_of_the_child() {
    let steps = at_every_step(
        || {
            let setup = Setup::new(By::Child);
            (setup.child(), setup)
        },
        |(_, setup)| setup.poll(&setup.one),
        |(child, _)| assert!(child.cancel_with(why(1))),
        |(child, setup), polled| {
            drop(child);
            setup.told(polled, &setup.one);
            setup.end();
        },
    );
    assert!(steps >= 5, "{steps}");
}

#[test]
fn t_21_repoll() {
    for by in [By::Cancel, By::Children] {
        let steps = at_every_step(
            || Setup::registered(by),
            |setup| setup.poll(&setup.two),
            Setup::interrupt,
            |setup, polled| {
                setup.told(polled, &setup.two);
                setup.end();
            },
        );
        assert!(steps >= 5, "{steps}");
    }
}

#[test]
fn t_21_drop_of_a_wait_and_of_its_child() {
    for by in [By::Cancel, By::Children] {
        for cancelled in [false, true] {
            let steps = at_every_step(
                || {
                    let setup = Setup::registered(by);
                    if cancelled {
                        setup.child().cancel();
                    }
                    setup
                },
                |setup| {
                    let waiting = setup.waiting.take().unwrap();
                    drop(waiting);
                    // The slot is there at once, whatever interrupted.
                    setup.token().child().unwrap()
                },
                Setup::interrupt,
                |setup, next| {
                    assert!(setup.one.woken() <= 1);
                    assert!(next.reason().is_none_or(|reason| reason == why(1)));
                    if setup.token().is_cancelled() {
                        assert!(next.is_cancelled());
                    }
                    drop(next);
                    setup.end();
                },
            );
            assert!(steps >= 6, "{steps}");
        }
    }
}

#[test]
fn t_21_child() {
    for by in [By::Cancel, By::Children] {
        let steps = at_every_step(
            || {
                let setup = Setup::new(by);
                setup.sibling.take();
                setup
            },
            |setup| setup.token().child().unwrap(),
            Setup::interrupt,
            |setup, child| {
                assert!(child.reason().is_none_or(|reason| reason == why(1)));
                if setup.token().is_cancelled() {
                    assert!(child.is_cancelled(), "T3");
                }
                drop(child);
                setup.end();
            },
        );
        assert!(steps >= 3, "{steps}");
    }
}

#[test]
fn t_21_looks() {
    for by in [By::Cancel, By::Children] {
        let steps = at_every_step(
            || {
                let setup = Setup::new(by);
                (setup.child(), setup)
            },
            |(child, _)| (child.is_cancelled(), child.reason()),
            |(_, setup)| setup.interrupt(),
            |(child, setup), (cancelled, reason)| {
                assert!(!cancelled || reason == Some(why(1)));
                drop(child);
                setup.end();
            },
        );
        assert_eq!(steps, 2, "T2: each look is one access");
    }
}

/// A second cancel interrupts the first: what it promises holds at once; each waiter is woken once;
/// who comes second to the token wakes nobody.
#[test]
fn t_21_cancel_interrupts_cancel() {
    for first in ALL {
        for by in [By::Cancel, By::Children] {
            let steps = at_every_step(
                || {
                    let setup = Setup::registered(by);
                    (setup.child(), setup)
                },
                |(child, setup)| match first {
                    By::Cancel => setup.token().cancel(),
                    By::Children => setup.token().cancel_children(why(2)),
                    By::Child => child.cancel(),
                },
                |(child, setup)| {
                    let above = setup.token().reason();
                    let before = setup.one.woken();
                    match by {
                        By::Cancel => setup.token().cancel(),
                        _ => setup.token().cancel_children(why(1)),
                    }
                    assert!(child.is_cancelled(), "T3");
                    let sibling = setup.sibling.borrow().as_ref().unwrap().reason();
                    assert!(sibling.is_some(), "T3");
                    if above.is_some() {
                        assert_eq!(setup.one.woken(), before, "T4: the loser woke");
                        assert_eq!(sibling, above, "T9: it was too late for others");
                    }
                },
                |(child, setup), ()| {
                    assert_eq!(setup.one.woken(), 1);
                    drop(child);
                    setup.end();
                },
            );
            assert!(steps >= 3, "{steps}");
        }
    }
}

/// The other way round: at any step of a cancellation a task of higher priority is polled, sees
/// whatever there is, leaves, asks for another child and waits for that. It is never refused but
/// while the canceller is inside the slot; it never finds the cell in use, so it never runs in
/// circles; and if its new child is cancelled it is told.
#[test]
fn t_21_tasks_come_and_go_at_every_step_of_a_cancel() {
    let mut refused = 0;
    let mut caught = 0;
    for first in [By::Cancel, By::Children] {
        for (gone_before, pressed) in [(false, false), (true, false), (false, true), (true, true)] {
            for at in 0.. {
                let setup = Setup::registered(first);
                if gone_before {
                    // Cancelled by itself, and polled no more: the canceller finds it so.
                    setup.child().cancel_with(why(1));
                }
                let next = RefCell::new(None);
                let task = Task::new();
                let step = Cell::new(0);
                let hook = || {
                    if step.get() == at {
                        if pressed {
                            // A second cancellation meets the first one, wherever it is.
                            setup.token().cancel_children(why(2));
                        }
                        drop(setup.waiting.take());
                        // If it is refused, the canceller is inside.
                        if let Ok(child) = setup.token().child() {
                            let mut waiting = Waiting::new(child);
                            let polled = task.poll(waiting.wait.as_mut());
                            assert_eq!(polled.is_ready(), waiting.child.is_cancelled());
                            assert_eq!(task.woken(), 0, "in circles");
                            *next.borrow_mut() = Some((waiting, polled));
                        }
                    }
                    step.set(step.get() + 1);
                };
                with_hook(&hook, || match first {
                    By::Cancel => setup.token().cancel(),
                    _ => setup.token().cancel_children(why(2)),
                });
                let ran = step.get() > at;
                match next.take() {
                    Some((mut waiting, polled)) => {
                        let cancelled = waiting.child.is_cancelled();
                        assert!(cancelled || !setup.token().is_cancelled(), "T3");
                        if polled.is_pending() {
                            assert_eq!(task.woken(), usize::from(cancelled));
                            assert_eq!(task.poll(waiting.wait.as_mut()).is_ready(), cancelled);
                            caught += usize::from(cancelled);
                        }
                    }
                    None => refused += usize::from(ran),
                }
                assert_eq!(task.wakers(), 0);
                setup.end();
                if !ran {
                    break;
                }
            }
        }
    }
    assert!(refused > 0, "never inside");
    assert!(caught > 0, "never marked after its first poll");
    // Three steps with `INSIDE` set: two in the cell, and clearing it. In each of the eight runs.
    assert!(refused <= 24, "{refused}");
}

/// T1: no allocator, with wakers that need none.
#[test]
fn nothing_here_allocates_or_frees() {
    let setup = Setup::registered(By::Cancel);
    let child = setup.child();
    let before = allocator_calls();
    setup.token().cancel_children(why(1));
    assert!(child.is_cancelled());
    drop(setup.sibling.take());
    drop(setup.token().child().unwrap());
    setup.token().cancel();
    assert_eq!(allocator_calls(), before);
    drop(child);
    setup.end();
}
