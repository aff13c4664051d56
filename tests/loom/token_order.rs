//! What the token's orderings publish: who sees a cancellation, by whatever way, sees what was
//! written before it; and a walker that goes down sees what it must.

use crate::model;
use crate::token::{Task, why};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use std::pin::pin;
use umbel_core::{CancellationToken, Reason};

/// A word that is written before a cancellation. Relaxed: it publishes nothing by itself.
#[derive(Clone)]
struct Note(Arc<AtomicUsize>);

impl Note {
    fn new() -> Note {
        Note(Arc::new(AtomicUsize::new(0)))
    }

    fn write(&self) {
        self.0.store(1, Relaxed);
    }

    fn assert_seen(&self) {
        assert_eq!(self.0.load(Relaxed), 1, "seen too early");
    }

    /// Writes, then cancels `token` on another thread.
    fn then_cancel(&self, token: &CancellationToken, reason: Reason) -> thread::JoinHandle<bool> {
        let (note, token) = (self.clone(), token.clone());
        thread::spawn(move || {
            note.write();
            token.cancel_with(reason)
        })
    }
}

/// T9, of a look at the flag.
#[test]
fn the_flag_publishes() {
    model(
        "what was written before cancel ∥ a look at a grandchild, a new child",
        3,
        || {
            let root = CancellationToken::new();
            let low = root.child_token().child_token();
            let note = Note::new();
            let cancel = note.then_cancel(&root, why(2));
            let born = root.child_token();
            if low.is_cancelled() || born.is_cancelled() {
                note.assert_seen();
            }
            cancel.join().unwrap();
        },
    );
}

/// T9, of the reason.
#[test]
fn the_reason_publishes() {
    model("what was written before cancel ∥ reason", 3, || {
        let token = CancellationToken::new();
        let note = Note::new();
        let cancel = note.then_cancel(&token, Reason::error("why"));
        if let Some(reason) = token.reason() {
            note.assert_seen();
            assert_eq!(reason.to_string(), "why");
        }
        cancel.join().unwrap();
    });
}

/// T9, of a cancel that comes too late: it is told so, and looks at nothing else.
#[test]
fn losing_publishes() {
    model(
        "what was written before cancel ∥ another cancel",
        3,
        || {
            let token = CancellationToken::new();
            let note = Note::new();
            let cancel = note.then_cancel(&token, why(2));
            if !token.cancel_with(why(3)) {
                note.assert_seen();
            }
            cancel.join().unwrap();
        },
    );
}

/// T9, of a wait that ends: at its first poll, or because a canceller has taken its slot.
#[test]
fn the_end_of_a_wait_publishes() {
    model(
        "what was written before cancel ∥ poll, re-poll",
        3,
        || {
            let token = CancellationToken::new();
            let note = Note::new();
            let (old, new) = (Task::new(), Task::new());
            let cancel = note.then_cancel(&token, why(2));
            {
                let mut wait = pin!(token.cancelled());
                if old.poll(wait.as_mut()).is_ready() || new.poll(wait).is_ready() {
                    note.assert_seen();
                }
            }
            cancel.join().unwrap();
        },
    );
}

/// T9, of the word for C, which another thread set.
#[test]
fn the_flag_for_c_publishes() {
    model(
        "what was written before cancel ∥ a look at a flag",
        3,
        || {
            let token = CancellationToken::new();
            let note = Note::new();
            let flag = token.flag();
            let cancel = note.then_cancel(&token, why(2));
            if flag.is_set() {
                note.assert_seen();
            }
            cancel.join().unwrap();
        },
    );
}

/// T9, of a callback that is gone already.
#[test]
fn a_late_unregister_publishes() {
    model("what was written before cancel ∥ unregister", 3, || {
        let token = CancellationToken::new();
        let note = Note::new();
        let registration = token.on_cancel(|| ());
        let cancel = note.then_cancel(&token, why(2));
        if !registration.unregister() {
            note.assert_seen();
        }
        cancel.join().unwrap();
    });
}

/// T9 across two cancels: a walker from above hands down the reason of the token in between, and
/// with it what was written before that one was cancelled.
#[test]
fn what_is_handed_down_publishes() {
    model(
        "cancel of the middle ∥ cancel above ∥ a look below",
        3,
        || {
            let root = CancellationToken::new();
            let mid = root.child_token();
            let low = mid.child_token();
            let note = Note::new();
            let above = thread::spawn(move || root.cancel_with(why(2)));
            let seen = note.clone();
            let look = thread::spawn(move || {
                if let Some(reason) = low.reason().filter(|reason| *reason != why(2)) {
                    seen.assert_seen();
                    assert_eq!(reason.to_string(), "mid");
                }
            });
            note.write();
            mid.cancel_with(Reason::error("mid"));
            above.join().unwrap();
            look.join().unwrap();
        },
    );
}

/// Row 11: the slot's earlier occupant was DONE; a walker that comes later must not take its
/// successor for done.
#[test]
fn the_next_occupant_is_not_done() {
    model(
        "child after a cancelled one, grandchild ∥ cancel",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let grandchild = child.child_token();
            child.cancel_with(why(3));
            drop((child, grandchild));
            let above = root.clone();
            let cancel = thread::spawn(move || above.cancel_with(why(2)));
            let child = root.child_token();
            let grandchild = child.child_token();
            cancel.join().unwrap();
            assert_eq!(child.reason(), Some(why(2)));
            assert_eq!(grandchild.reason(), Some(why(2)));
        },
    );
}

/// T5: a loser may have made a subtree DONE, and wakes nobody; the winner, who passes it by, still
/// knows that somebody may be waiting there.
#[test]
fn a_done_subtree_may_have_waiters() {
    model(
        "two cancels of one root, a waiter two levels down",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let low = child.child_token();
            let task = Task::new();
            {
                let mut wait = pin!(low.cancelled());
                assert!(task.poll(wait.as_mut()).is_pending());
                let other = root.clone();
                let cancel = thread::spawn(move || other.cancel());
                root.cancel();
                cancel.join().unwrap();
                assert_eq!(task.woken(), 1, "lost wakeup");
            }
            task.assert_no_waker_left();
        },
    );
}
