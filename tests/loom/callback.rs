//! Callbacks: each runs once or never, as was told; blocks are freed once.
//!
//! The closures count in atomics of std, which add no branches: the calls' order does not matter,
//! only their number when all is over. loom's allocator finds leaked and twice freed blocks.

use crate::model;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use umbel_core::CancellationToken;
use umbel_tests::calls::Calls;

fn canceller(token: &CancellationToken) -> thread::JoinHandle<()> {
    let token = token.clone();
    thread::spawn(move || token.cancel())
}

#[test]
fn on_cancel_against_cancel() {
    model("on_cancel ∥ cancel", 3, || {
        let token = CancellationToken::new();
        let count = Calls::new();
        let cancel = canceller(&token);
        let registration = token.on_cancel(count.callback());
        cancel.join().unwrap();
        assert_eq!(count.seen(), (1, 1));
        assert!(!registration.unregister());
    });
}

#[test]
fn unregister_against_cancel() {
    model("unregister ∥ cancel", 3, || {
        let token = CancellationToken::new();
        let count = Calls::new();
        let registration = token.on_cancel(count.callback());
        let cancel = canceller(&token);
        let stopped = registration.unregister();
        cancel.join().unwrap();
        assert_eq!(count.seen(), (usize::from(!stopped), 1));
    });
}

/// The registration holds the last handle but the canceller's own.
#[test]
fn drop_of_a_registration_and_reuse_against_cancel() {
    model(
        "drop of a registration, another on_cancel ∥ cancel",
        2,
        || {
            let token = CancellationToken::new();
            let (one, two) = (Calls::new(), Calls::new());
            let registration = token.on_cancel(one.callback());
            let cancel = canceller(&token);
            drop(registration);
            let registration = token.on_cancel(two.callback());
            drop(token);
            cancel.join().unwrap();
            assert!(one.seen() == (0, 1) || one.seen() == (1, 1));
            assert_eq!(two.seen(), (1, 1));
            drop(registration);
        },
    );
}

#[test]
fn forget_against_cancel() {
    model("on_cancel, forget, drop of a handle ∥ cancel", 3, || {
        let token = CancellationToken::new();
        let count = Calls::new();
        let registration = token.on_cancel(count.callback());
        let cancel = canceller(&token);
        registration.forget();
        drop(token);
        cancel.join().unwrap();
        assert_eq!(count.seen(), (1, 1));
    });
}

/// Both walkers wake what the first of them put back; burial frees it.
#[test]
fn two_cancels_at_two_levels_against_forgotten() {
    model("cancel ∥ cancel above, callback forgotten", 2, || {
        let root = CancellationToken::new();
        let child = root.child_token();
        let count = Calls::new();
        child.on_cancel(count.callback()).forget();
        let cancel = canceller(&root);
        child.cancel();
        cancel.join().unwrap();
        assert_eq!(count.seen(), (1, 1));
        drop((root, child));
    });
}

/// The child is buried by its last handle or by the walk, which frees nothing.
#[test]
fn death_with_a_forgotten_callback_against_cancel_above() {
    model(
        "last handle of a child, callback forgotten ∥ cancel above",
        3,
        || {
            let root = CancellationToken::new();
            let child = root.child_token();
            let count = Calls::new();
            child.on_cancel(count.callback()).forget();
            // So that the walk enters the child.
            drop(child.child_token());
            let cancel = canceller(&root);
            drop(child);
            cancel.join().unwrap();
            drop(root);
            let (calls, drops) = count.seen();
            assert!(calls <= 1);
            assert_eq!(drops, 1);
        },
    );
}

/// Set at the end in any case; and who sees it set sees what was written before the cancel.
#[test]
fn flag_against_cancel() {
    model("flag ∥ cancel", 3, || {
        let token = CancellationToken::new();
        let written = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let cancel = {
            let (token, written) = (token.clone(), written.clone());
            thread::spawn(move || {
                written.store(1, Relaxed);
                token.cancel();
            })
        };
        let flag = token.flag();
        if flag.is_set() {
            assert_eq!(written.load(Relaxed), 1);
        }
        cancel.join().unwrap();
        assert!(flag.is_set());
        drop(flag);
    });
}
