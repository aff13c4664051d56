//! Who may touch memory, and when it goes: whoever frees a node, a segment or a slot comes after all
//! who used it, and whoever uses a new one comes after who made it.
//!
//! Nodes and slots tell loom when their memory ends; a use that is not ordered before that fails
//! the model.

use crate::model;
use crate::token::Task;
use loom::thread;
use std::hash::{Hash, Hasher};
use std::pin::pin;
use umbel_core::CancellationToken;

/// Claims a slot, writes to it, and gives it back; reads what lies in the node.
fn use_all_of(token: &CancellationToken) {
    let task = Task::new();
    {
        let mut wait = pin!(token.cancelled());
        let _ = task.poll(wait.as_mut());
    }
    task.assert_no_waker_left();
    // The last access: no later one publishes it but the drop of the handle.
    assert_eq!(token.deadline(), None);
}

/// Where the node lies. `Hash` is the node's identity.
fn address(token: &CancellationToken) -> usize {
    struct Word(usize);
    impl Hasher for Word {
        fn finish(&self) -> u64 {
            self.0 as u64
        }
        fn write(&mut self, _: &[u8]) {
            unreachable!("a pointer is hashed as a word");
        }
        fn write_usize(&mut self, word: usize) {
            self.0 = word;
        }
    }
    let mut word = Word(0);
    token.hash(&mut word);
    word.0
}

/// Two handles of one token; who comes last frees it.
#[test]
fn handles_go_on_two_threads() {
    model("wait and drop of a handle ∥ the same", 3, || {
        let token = CancellationToken::new();
        let other = token.clone();
        let thread = thread::spawn(move || use_all_of(&other));
        use_all_of(&token);
        drop(token);
        thread.join().unwrap();
    });
}

/// The slot that one gives back the other claims.
#[test]
fn a_slot_goes_from_one_wait_to_another() {
    model("two short waits ∥ two short waits", 3, || {
        let token = CancellationToken::new();
        let other = token.clone();
        let thread = thread::spawn(move || {
            use_all_of(&other);
            use_all_of(&other);
        });
        use_all_of(&token);
        use_all_of(&token);
        thread.join().unwrap();
    });
}

/// The parent's last handle against its last child: one of the two frees both.
#[test]
fn parent_and_child_go_on_two_threads() {
    model(
        "last handle of the parent ∥ last handle of its child",
        3,
        || {
            let parent = CancellationToken::new();
            let child = parent.child_token();
            let thread = thread::spawn(move || {
                use_all_of(&parent);
                drop(parent);
            });
            use_all_of(&child);
            drop(child);
            thread.join().unwrap();
        },
    );
}

/// Nobody has the parent any more: the last child frees it, and its sibling's slot.
#[test]
fn siblings_go_on_two_threads() {
    model("last handles of two children of a closed parent", 3, || {
        let parent = CancellationToken::new();
        let one = parent.child_token();
        let two = parent.child_token();
        drop(parent);
        let thread = thread::spawn(move || {
            use_all_of(&one);
            drop(one);
        });
        use_all_of(&two);
        drop(two);
        thread.join().unwrap();
    });
}

/// The child's second segment of waiters is freed by its last handle, after the walker that read
/// wakers from it; or is kept by the walker, if that is the last.
#[test]
fn a_walker_reads_wakers_of_a_dying_child() {
    model("cancel ∥ drop of three waits, of their token", 3, || {
        let root = CancellationToken::new();
        let child = root.child_token();
        let task = Task::new();
        {
            let mut waits = [child.cancelled(), child.cancelled(), child.cancelled()];
            for wait in &mut waits {
                assert!(task.poll(pin!(wait)).is_pending());
            }
            let above = root.clone();
            let cancel = thread::spawn(move || above.cancel());
            drop(waits);
            drop(child);
            cancel.join().unwrap();
        }
        task.assert_no_waker_left();
        drop(root);
    });
}

/// Two threads link segments, find each other's, and spread over shards.
#[test]
fn growth_on_two_threads() {
    model("three children ∥ three children", 2, || {
        let token = CancellationToken::new();
        let other = token.clone();
        let thread = thread::spawn(move || [(); 3].map(|()| other.child_token()));
        let mine = [(); 3].map(|()| token.child_token());
        let theirs = thread.join().unwrap();
        token.cancel();
        assert!(
            mine.iter()
                .chain(&theirs)
                .all(CancellationToken::is_cancelled)
        );
    });
}

/// A walk against growth: it sees every segment that a child lies in.
#[test]
fn growth_against_cancel() {
    model("a child ∥ two children ∥ cancel", 2, || {
        let token = CancellationToken::new();
        let (one, two) = (token.clone(), token.clone());
        let adder = thread::spawn(move || [(); 2].map(|()| one.child_token()));
        let cancel = thread::spawn(move || two.cancel());
        let mine = token.child_token();
        let theirs = adder.join().unwrap();
        cancel.join().unwrap();
        assert!(mine.is_cancelled() && theirs.iter().all(CancellationToken::is_cancelled));
    });
}

/// Two threads meet in one word of waiters, so that the slab spreads over shards; each claims in
/// segments and tables that the other made, and a walk finds them.
#[test]
fn shards_on_two_threads() {
    model("two waits ∥ a wait, cancel", 3, || {
        let token = CancellationToken::new();
        let (one, two) = (Task::new(), Task::new());
        let (other, task) = (token.clone(), two.clone());
        let thread = thread::spawn(move || {
            let mut waits = [other.cancelled(), other.cancelled()];
            for wait in &mut waits {
                let _ = task.poll(pin!(wait));
            }
        });
        {
            let mut wait = pin!(token.cancelled());
            let _ = one.poll(wait.as_mut());
            token.cancel();
        }
        thread.join().unwrap();
        one.assert_no_waker_left();
        two.assert_no_waker_left();
    });
}

/// The hint leads to a segment that another thread made and that this one has never seen.
#[test]
fn a_hint_leads_to_an_unseen_segment() {
    model("growth, two children dropped ∥ child_token", 3, || {
        let token = CancellationToken::new();
        let other = token.clone();
        let thread = thread::spawn(move || {
            let (one, two) = (other.child_token(), other.child_token());
            drop(one);
            drop(two);
        });
        let child = token.child_token();
        thread.join().unwrap();
        drop((child, token));
    });
}

/// A walker comes to a child that dies, and enters the slot when the next one is there: it may not
/// find the memory that the first one freed.
#[test]
fn a_walker_enters_the_next_occupant() {
    model(
        "cancel ∥ death of a child with a child, next one",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let grandchild = child.child_token();
            let above = root.clone();
            let cancel = thread::spawn(move || above.cancel());
            drop(grandchild);
            drop(child);
            let next = root.child_token().child_token();
            cancel.join().unwrap();
            drop((next, root));
        },
    );
}

/// T7: a slot that is freed in a full word, while somebody looks there in vain, is found again when
/// all that the search comes to first is full.
#[test]
fn room_is_not_lost() {
    model("claim in a full word ∥ drop of a child there", 3, || {
        let token = CancellationToken::new();
        // Segments of 1, 2 and 4 slots; the third has two words, of which the first is full. Nobody
        // has noticed: loom lets a SeqCst load overlook a SeqCst store only if there was none before.
        let mut children: Vec<_> = (0..5).map(|_| token.child_token()).collect();
        let doomed = children.pop().unwrap();
        let room = address(&doomed);
        let thread = thread::spawn(move || drop(doomed));
        children.push(token.child_token());
        thread.join().unwrap();
        children.extend((0..6).map(|_| token.child_token()));
        assert!(children.iter().any(|child| address(child) == room));
    });
}
