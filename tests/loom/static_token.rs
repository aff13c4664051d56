//! The token in a `static`: its slots' transitions, by the numbers of their table.
//!
//! | transition | model |
//! |---|---|
//! | 1 claim ∥ claim | `two_claimers_of_the_last_slot` |
//! | 1 claim, look at the root ∥ set the root, 2 mark | `child_against_cancel` |
//! | 1 claim never fails while there is room | `as_many_tasks_as_slots_are_never_refused` |
//! | 2 mark, 4 and 5 take ∥ put a waker | `cancel_against_first_poll`, `cancel_against_repoll`, `cancel_children_against_first_poll` |
//! | 2 mark ∥ mark | `two_cancels`, `cancel_against_cancel_children`, `cancel_of_a_child_against_cancel` |
//! | 2, 4, 5 ∥ a wait's drop | `cancel_against_drop_of_a_wait` |
//! | 2 to 8 ∥ 3, 6, 7 vacate, then 1 claim | `cancel_children_against_drop_and_reuse`, `a_late_canceller_leaves_the_next_occupant_alone`, `a_child_that_is_cancelled_again_and_again`, `a_slot_hands_over` |
//! | 4 take ∥ take | `two_cancels`, `cancel_against_cancel_children` |
//! | publication | `the_flag_publishes`, `a_helper_publishes`, `woken_means_all_are_set` |
//! | cell: put ∥ put, put ∥ leave | `two_waits_of_two_tasks`, `a_wait_leaves_while_another_comes` |

use super::{Task, model};
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::{Full, Reason, StaticChild, StaticToken};

/// Lends a token for as long as a `static` would live: to the end of the model. All children are
/// dropped by then, which the models' own asserts and loom's view of the cells see to.
fn with_token<const N: usize>(f: impl FnOnce(&'static StaticToken<N>)) {
    let token = Box::into_raw(Box::new(StaticToken::new()));
    // SAFETY: freed below, when the threads are joined and nothing of it is left.
    f(unsafe { &*token });
    // SAFETY: made by `into_raw` above.
    drop(unsafe { Box::from_raw(token) });
}

fn poll(wait: Pin<&mut impl Future<Output = ()>>, waker: &Waker) -> Poll<()> {
    wait.poll(&mut Context::from_waker(waker))
}

fn why(code: u16) -> Reason {
    Reason::custom(code)
}

/// Nobody holds a waker of the task any more, but for the one given.
fn assert_no_waker_left(task: &Arc<Task>, waker: Waker) {
    drop(waker);
    assert_eq!(Arc::strong_count(task), 1, "a waker was leaked");
}

#[test]
fn cancel_against_first_poll() {
    model("static: cancel ∥ first poll", 3, || {
        with_token::<1>(|token| {
            let child = token.child().unwrap();
            let canceller = thread::spawn(|| token.cancel());
            let (task, waker) = Task::new();
            {
                let mut wait = pin!(child.cancelled());
                if poll(wait.as_mut(), &waker).is_pending() {
                    task.park(&mut 0);
                }
                assert!(poll(wait, &waker).is_ready());
            }
            canceller.join().unwrap();
            assert_no_waker_left(&task, waker);
        });
    });
}

#[test]
fn cancel_children_against_first_poll() {
    model("static: cancel_children ∥ first poll", 3, || {
        with_token::<1>(|token| {
            let child = token.child().unwrap();
            let canceller = thread::spawn(|| token.cancel_children(why(2)));
            let (task, waker) = Task::new();
            {
                let mut wait = pin!(child.cancelled());
                if poll(wait.as_mut(), &waker).is_pending() {
                    task.park(&mut 0);
                }
                assert!(poll(wait, &waker).is_ready());
            }
            assert_eq!(child.reason(), Some(why(2)));
            canceller.join().unwrap();
            assert_no_waker_left(&task, waker);
        });
    });
}

/// The new waker is woken.
#[test]
fn cancel_against_repoll() {
    model(
        "static: cancel ∥ re-poll with a new waker, drop",
        3,
        || {
            with_token::<1>(|token| {
                let child = token.child().unwrap();
                let ((old_task, old), (task, waker)) = (Task::new(), Task::new());
                {
                    let mut wait = pin!(child.cancelled());
                    assert!(poll(wait.as_mut(), &old).is_pending());
                    let canceller = thread::spawn(|| token.cancel());
                    let polled = poll(wait.as_mut(), &waker);
                    canceller.join().unwrap();
                    if polled.is_pending() {
                        assert_eq!(task.wakes(), 1, "lost wakeup");
                    }
                }
                assert_no_waker_left(&old_task, old);
                assert_no_waker_left(&task, waker);
            });
        },
    );
}

/// The wait goes, another one of the same child comes.
#[test]
fn cancel_against_drop_of_a_wait() {
    model("static: cancel ∥ drop of a wait, another wait", 3, || {
        with_token::<1>(|token| {
            let child = token.child().unwrap();
            let ((old_task, old), (task, waker)) = (Task::new(), Task::new());
            let mut first = Box::pin(child.cancelled());
            assert!(poll(first.as_mut(), &old).is_pending());
            let canceller = thread::spawn(|| token.cancel());
            drop(first);
            {
                let mut second = pin!(child.cancelled());
                let polled = poll(second.as_mut(), &waker);
                canceller.join().unwrap();
                if polled.is_pending() {
                    assert_eq!(task.wakes(), 1, "lost wakeup");
                }
            }
            assert!(old_task.wakes() <= 1);
            assert_no_waker_left(&old_task, old);
            assert_no_waker_left(&task, waker);
        });
    });
}

/// Never an uncancelled child of a cancelled token.
#[test]
fn child_against_cancel() {
    model("static: child() ∥ cancel", 3, || {
        with_token::<2>(|token| {
            let canceller = thread::spawn(|| token.cancel_with(why(2)));
            let first = token.child().unwrap();
            let second = token.child().unwrap();
            assert!(canceller.join().unwrap());
            assert_eq!(first.reason(), Some(why(2)));
            assert_eq!(second.reason(), Some(why(2)));
        });
    });
}

/// One winner; when either returns the child is cancelled; the waiter is woken once.
#[test]
fn two_cancels() {
    model("static: cancel ∥ cancel", 3, || {
        with_token::<1>(|token| {
            let child = Arc::new(token.child().unwrap());
            let (task, waker) = Task::new();
            {
                let mut wait = pin!(child.cancelled());
                assert!(poll(wait.as_mut(), &waker).is_pending());
                let child2 = child.clone();
                let canceller = thread::spawn(move || {
                    let won = token.cancel_with(why(3));
                    assert!(child2.is_cancelled());
                    won
                });
                let won = token.cancel_with(why(2));
                assert!(child.is_cancelled());
                assert_ne!(won, canceller.join().unwrap());
                assert_eq!(token.reason(), Some(why(if won { 2 } else { 3 })));
                assert_eq!(child.reason(), token.reason());
                assert_eq!(task.wakes(), 1);
            }
            assert_no_waker_left(&task, waker);
        });
    });
}

/// Both wake, each waiter is woken once, and whoever returns: the child is cancelled.
#[test]
fn cancel_against_cancel_children() {
    model(
        "static: cancel ∥ cancel_children, with a waiter",
        3,
        || {
            with_token::<1>(|token| {
                let child = Arc::new(token.child().unwrap());
                let (task, waker) = Task::new();
                {
                    let mut wait = pin!(child.cancelled());
                    assert!(poll(wait.as_mut(), &waker).is_pending());
                    let child2 = child.clone();
                    let canceller = thread::spawn(move || {
                        token.cancel_children(why(3));
                        assert!(child2.is_cancelled());
                    });
                    token.cancel_with(why(2));
                    assert!(child.is_cancelled());
                    canceller.join().unwrap();
                    assert_eq!(task.wakes(), 1);
                    assert_eq!(token.reason(), Some(why(2)));
                }
                assert_no_waker_left(&task, waker);
            });
        },
    );
}

/// T9: whatever runs beside, a child has the reason of a cancel that was over before it was born.
#[test]
fn child_of_the_cancelled_against_cancel_children() {
    model(
        "static: child of the cancelled ∥ cancel_children",
        3,
        || {
            with_token::<1>(|token| {
                let canceller = thread::spawn(|| token.cancel_children(why(3)));
                assert!(token.cancel_with(why(2)));
                assert_eq!(token.child().unwrap().reason(), Some(why(2)));
                canceller.join().unwrap();
            });
        },
    );
}

#[test]
fn cancel_of_a_child_against_cancel() {
    model("static: cancel(child) ∥ cancel ∥ poll", 2, || {
        with_token::<1>(|token| {
            let child = Arc::new(token.child().unwrap());
            let child2 = child.clone();
            let here = thread::spawn(move || child2.cancel_with(why(3)));
            let above = thread::spawn(move || token.cancel_with(why(2)));
            let (task, waker) = Task::new();
            {
                let mut wait = pin!(child.cancelled());
                let polled = poll(wait.as_mut(), &waker);
                let own = here.join().unwrap();
                assert!(above.join().unwrap());
                if polled.is_pending() {
                    assert_eq!(task.wakes(), 1, "lost wakeup");
                }
                assert_eq!(child.reason(), Some(why(if own { 3 } else { 2 })));
            }
            assert_no_waker_left(&task, waker);
        });
    });
}

/// The next occupant is cancelled with the reason of the call during which it was born, and then
/// woken; or is live, and sleeps.
#[test]
fn cancel_children_against_drop_and_reuse() {
    model(
        "static: cancel_children ∥ child drop, slot reused",
        4,
        || {
            with_token::<1>(|token| {
                let ((old_task, old), (task, waker)) = (Task::new(), Task::new());
                let first = token.child().unwrap();
                let mut wait = Box::pin(first.cancelled());
                assert!(poll(wait.as_mut(), &old).is_pending());
                let canceller = thread::spawn(|| token.cancel_children(why(2)));
                drop(wait);
                drop(first);
                let child = match token.child() {
                    Ok(child) => child,
                    // Dropped while the canceller was inside: free when he is done.
                    Err(Full) => {
                        canceller.join().unwrap();
                        assert!(!token.child().unwrap().is_cancelled());
                        return;
                    }
                };
                {
                    let mut wait = pin!(child.cancelled());
                    let polled = poll(wait.as_mut(), &waker);
                    canceller.join().unwrap();
                    assert!(child.reason().is_none_or(|reason| reason == why(2)));
                    if polled.is_pending() && child.is_cancelled() {
                        assert_eq!(task.wakes(), 1, "lost wakeup");
                    }
                    if !child.is_cancelled() {
                        assert!(polled.is_pending());
                        assert_eq!(task.wakes(), 0, "woken without cause");
                    }
                }
                assert!(old_task.wakes() <= 1);
                assert_no_waker_left(&old_task, old);
                assert_no_waker_left(&task, waker);
            });
        },
    );
}

/// The occupant that a canceller saw is gone and the next is in its place: it is born after that
/// canceller's marking, cancelled by another, and the first one may still be about to wake.
#[test]
fn a_child_that_is_cancelled_again_and_again() {
    model(
        "static: cancel_children ∥ child drop, slot reused, cancelled by itself",
        3,
        || {
            with_token::<1>(|token| {
                let first = token.child().unwrap();
                let canceller = thread::spawn(|| token.cancel_children(why(2)));
                drop(first);
                let Ok(child) = token.child() else {
                    canceller.join().unwrap();
                    return;
                };
                let (task, waker) = Task::new();
                {
                    let mut wait = pin!(child.cancelled());
                    let polled = poll(wait.as_mut(), &waker);
                    let own = child.cancel_with(why(3));
                    canceller.join().unwrap();
                    assert_eq!(child.reason(), Some(why(if own { 3 } else { 2 })));
                    if polled.is_pending() {
                        assert_eq!(task.wakes(), 1, "lost wakeup");
                    }
                }
                assert_no_waker_left(&task, waker);
            });
        },
    );
}

/// A canceller that was inside a slot when its child left does not wake the next occupant, nor keep
/// it from registering: its first poll stores the waker.
#[test]
fn a_late_canceller_leaves_the_next_occupant_alone() {
    model(
        "static: cancelled child drop ∥ the canceller inside, reuse",
        4,
        || {
            with_token::<1>(|token| {
                let first = token.child().unwrap();
                first.cancel();
                let canceller = thread::spawn(|| token.cancel());
                drop(first);
                if let Ok(child) = token.child() {
                    canceller.join().unwrap();
                    assert!(child.is_cancelled());
                    return;
                }
                canceller.join().unwrap();
                assert!(token.child().unwrap().is_cancelled());
            });
        },
    );
}

/// Who gets a slot sees what its last owner did before, by each of the ways on which it becomes free.
#[test]
fn a_slot_hands_over() {
    fn look(token: &'static StaticToken<1>, data: &AtomicUsize) {
        if token.child().is_ok() {
            assert_eq!(data.load(Relaxed), 1);
        }
    }
    for cancels in [false, true] {
        model(
            "static: child drop ∥ cancel_children, child()",
            3,
            move || {
                with_token::<1>(|token| {
                    let child = token.child().unwrap();
                    let data = Arc::new(AtomicUsize::new(0));
                    let data2 = data.clone();
                    let next = thread::spawn(move || {
                        if cancels {
                            token.cancel_children(why(2));
                        }
                        look(token, &data2);
                    });
                    data.store(1, Relaxed);
                    drop(child);
                    next.join().unwrap();
                });
            },
        );
    }
    model(
        "static: child drop ∥ cancel_children ∥ child()",
        3,
        || {
            with_token::<1>(|token| {
                let child = token.child().unwrap();
                let data = Arc::new(AtomicUsize::new(0));
                let data2 = data.clone();
                let canceller = thread::spawn(|| token.cancel_children(why(2)));
                let next = thread::spawn(move || look(token, &data2));
                data.store(1, Relaxed);
                drop(child);
                canceller.join().unwrap();
                next.join().unwrap();
            });
        },
    );
}

/// A wait that leaves takes no other's waker with it.
#[test]
fn a_wait_leaves_while_another_comes() {
    model(
        "static: drop of a wait ∥ another's first poll, cancel",
        3,
        || {
            with_token::<1>(|token| {
                let child = Arc::new(token.child().unwrap());
                let child2 = child.clone();
                let other = thread::spawn(move || {
                    let (task, waker) = Task::new();
                    {
                        let mut wait = pin!(child2.cancelled());
                        let mut seen = 0;
                        while poll(wait.as_mut(), &waker).is_pending() {
                            task.park(&mut seen);
                            // Met in the cell, a wait tries again until the other is out of it.
                            thread::yield_now();
                        }
                    }
                    drop(child2);
                    (task, waker)
                });
                let (task, waker) = Task::new();
                {
                    let mut wait = pin!(child.cancelled());
                    let _ = poll(wait.as_mut(), &waker);
                }
                token.cancel();
                let (other_task, other_waker) = other.join().unwrap();
                assert_no_waker_left(&task, waker);
                assert_no_waker_left(&other_task, other_waker);
            });
        },
    );
}

#[test]
fn two_claimers_of_the_last_slot() {
    model("static: child() ∥ child(), one slot left", 3, || {
        with_token::<2>(|token| {
            let _taken = token.child().unwrap();
            let other = thread::spawn(|| token.child());
            let mine = token.child();
            let other = other.join().unwrap();
            assert!(mine.is_ok() != other.is_ok(), "one of them");
        });
    });
}

/// Tasks with a child each at most, and as many slots, however they come and go.
#[test]
fn as_many_tasks_as_slots_are_never_refused() {
    fn task<const N: usize>(token: &'static StaticToken<N>) {
        for _ in 0..2 {
            drop(token.child().unwrap());
        }
    }
    model("static: three tasks take and drop, three slots", 3, || {
        with_token::<3>(|token| {
            let others = [(); 2].map(|()| thread::spawn(move || task(token)));
            task(token);
            for other in others {
                other.join().unwrap();
            }
        });
    });
    model("static: two tasks take and drop, two slots", 4, || {
        with_token::<2>(|token| {
            let other = thread::spawn(move || task(token));
            task(token);
            other.join().unwrap();
        });
    });
}

/// T4, with two cancels of the root.
#[test]
fn woken_means_all_are_set() {
    model(
        "static: T4: woken ⇒ all flags set; two cancels",
        2,
        || {
            with_token::<2>(|token| {
                let waited = token.child().unwrap();
                let sibling = token.child().unwrap();
                let (task, waker) = Task::new();
                let mut wait = Box::pin(waited.cancelled());
                assert!(poll(wait.as_mut(), &waker).is_pending());
                let one = thread::spawn(|| token.cancel());
                let two = thread::spawn(|| token.cancel());
                task.park(&mut 0);
                assert!(token.is_cancelled() && waited.is_cancelled() && sibling.is_cancelled());
                drop(wait);
                one.join().unwrap();
                two.join().unwrap();
                assert_eq!(task.wakes(), 1);
                assert_no_waker_left(&task, waker);
            });
        },
    );
}

/// T9: to a child, to a new child, to the root's readers, and through a task that was woken.
#[test]
fn the_flag_publishes() {
    fn look(data: &AtomicUsize, cancelled: bool) {
        if cancelled {
            assert_eq!(data.load(Relaxed), 1);
        }
    }
    for children in [false, true] {
        model(
            "static: what was written before cancel ∥ looks",
            3,
            move || {
                with_token::<2>(|token| {
                    let child = token.child().unwrap();
                    let data = Arc::new(AtomicUsize::new(0));
                    let data2 = data.clone();
                    let canceller = thread::spawn(move || {
                        data2.store(1, Relaxed);
                        if children {
                            token.cancel_children(why(2));
                        } else {
                            token.cancel();
                        }
                    });
                    let born = token.child().unwrap();
                    look(&data, born.is_cancelled());
                    look(&data, child.is_cancelled());
                    look(&data, child.reason().is_some());
                    look(&data, token.is_cancelled());
                    canceller.join().unwrap();
                });
            },
        );
    }
}

/// T9, through a helper: the loser marks with what the winner wrote before. Who looks has a thread of
/// his own: a first look by the one that spawned the others would come first in every interleaving
/// that loom tries.
#[test]
fn a_helper_publishes() {
    model(
        "static: write, cancel ∥ a losing cancel ∥ a look",
        2,
        || {
            with_token::<1>(|token| {
                let child = token.child().unwrap();
                let data = Arc::new(AtomicUsize::new(0));
                let data2 = data.clone();
                let winner = thread::spawn(move || {
                    data2.store(1, Relaxed);
                    token.cancel_with(why(2))
                });
                let look = thread::spawn(move || {
                    if child.reason() == Some(why(2)) {
                        assert_eq!(data.load(Relaxed), 1);
                    }
                });
                token.cancel_with(why(3));
                winner.join().unwrap();
                look.join().unwrap();
            });
        },
    );
}

/// Two waits of one child, by two tasks: each is told.
#[test]
fn two_waits_of_two_tasks() {
    fn wait(child: &StaticChild) -> (Arc<Task>, Waker) {
        let (task, waker) = Task::new();
        {
            let mut wait = pin!(child.cancelled());
            let mut seen = 0;
            for _ in 0..3 {
                if poll(wait.as_mut(), &waker).is_ready() {
                    break;
                }
                task.park(&mut seen);
            }
        }
        (task, waker)
    }
    model("static: two waits of one child ∥ cancel", 2, || {
        with_token::<1>(|token| {
            let child = Arc::new(token.child().unwrap());
            let child2 = child.clone();
            let other = thread::spawn(move || wait(&child2));
            let canceller = thread::spawn(|| token.cancel());
            let (task, waker) = wait(&child);
            let (other_task, other_waker) = other.join().unwrap();
            canceller.join().unwrap();
            assert_no_waker_left(&task, waker);
            assert_no_waker_left(&other_task, other_waker);
        });
    });
}
