//! Groups of tokens: cancelling the children, joining tokens, leaving a tree.

use crate::token::on_small_stack;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use umbel_core::{CancellationToken, Instant, Reason, ReasonKind};
use umbel_tests::counting::{Task, allocator_calls, live_bytes};
use umbel_tests::scaled;

/// An error that counts its drops.
#[derive(Debug)]
struct Why(Arc<AtomicUsize>);
impl Drop for Why {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("why")
    }
}
impl std::error::Error for Why {}

// ------------------------------------------------------------------ cancel_children

#[test]
fn the_children_are_cancelled_and_the_token_lives_on() {
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let early = root.child_token();
        let low = early.child_token();
        early.cancel_with(Reason::custom(1));
        let child = root.child_token();
        let grandchild = child.child_token();
        let own = child.child_token();
        own.cancel_with(Reason::custom(2));
        let below_own = own.child_token();
        root.cancel_children(Reason::custom(3));
        assert!(!root.is_cancelled());
        for (token, code) in [
            (&early, 1),
            (&low, 1),
            (&child, 3),
            (&grandchild, 3),
            (&own, 2),
            (&below_own, 2),
        ] {
            assert_eq!(token.reason(), Some(Reason::custom(code)));
        }
        assert_eq!(child.child_token().reason(), Some(Reason::custom(3)));
        let later = root.child_token();
        let below = later.child_token();
        assert!(!later.is_cancelled());
        // Again: only who came later.
        root.cancel_children(Reason::custom(4));
        assert_eq!(below.reason(), Some(Reason::custom(4)));
        assert_eq!(child.reason(), Some(Reason::custom(3)));
        // Nobody is left.
        drop((later, below));
        root.cancel_children(Reason::custom(5));
        root.cancel_with(Reason::custom(6));
        assert_eq!(child.reason(), Some(Reason::custom(3)));
        root.cancel_children(Reason::custom(7));
        assert_eq!(root.child_token().reason(), Some(Reason::custom(6)));
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn children_of_never_are_cancelled() {
    let never = CancellationToken::never();
    let child = never.child_token();
    never.cancel_children(Reason::shutdown());
    assert_eq!(child.reason(), Some(Reason::shutdown()));
    assert!(!never.is_cancelled() && !never.child_token().is_cancelled());
}

#[test]
fn t_15_waiters_below_are_woken_once_and_the_tokens_own_are_not() {
    let root = CancellationToken::new();
    let low = root.child_token().child_token();
    let (task, own) = (Task::new(), Task::new());
    let mut wait = pin!(root.cancelled());
    assert!(own.poll(wait.as_mut()).is_pending());
    let mut waits: Vec<_> = (0..scaled(500, 80))
        .map(|_| Box::pin(low.cancelled()))
        .collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    let calls = allocator_calls();
    root.cancel_children(Reason::explicit());
    assert_eq!(allocator_calls(), calls);
    assert_eq!((task.woken(), own.woken()), (waits.len(), 0));
    assert!(own.poll(wait.as_mut()).is_pending());
    root.cancel_children(Reason::explicit());
    root.cancel();
    assert_eq!((task.woken(), own.woken()), (waits.len(), 1));
}

#[test]
fn t_16_a_woken_task_sees_every_flag_below_the_children() {
    let root = CancellationToken::new();
    let tree: Arc<Vec<_>> = Arc::new(
        (0..50)
            .flat_map(|_| {
                let child = root.child_token();
                [child.child_token(), child]
            })
            .collect(),
    );
    let seen = Arc::downgrade(&tree);
    let task = Task::with_hook(move || {
        let seen = seen.upgrade().unwrap();
        assert!(seen.iter().all(|token| token.is_cancelled()));
    });
    let mut waits: Vec<_> = tree
        .iter()
        .map(|token| Box::pin(token.cancelled()))
        .collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    root.cancel_children(Reason::explicit());
    assert_eq!(task.woken(), 100);
}

#[test]
fn a_boxed_reason_is_shared_by_the_children_and_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let root = CancellationToken::new();
    let children: Vec<_> = (0..5).map(|_| root.child_token()).collect();
    let low = children[0].child_token();
    let before = allocator_calls();
    let reason = Reason::error(Why(drops.clone()));
    let boxing = allocator_calls() - before;
    root.cancel_children(reason);
    assert_eq!(allocator_calls(), before + boxing);
    assert_eq!(children[0].reason(), children[4].reason());
    assert_eq!(low.reason().unwrap().to_string(), "why");
    drop(children);
    assert_eq!(drops.load(SeqCst), 0);
    drop(low);
    assert_eq!(drops.load(SeqCst), 1);
    // Nobody takes it.
    root.cancel_children(Reason::error(Why(drops.clone())));
    assert_eq!(drops.load(SeqCst), 2);
}

#[test]
fn t_12_children_are_cancelled_on_a_small_stack() {
    let count = scaled(1_000_000, 60);
    let root = CancellationToken::new();
    let mut chain = vec![root.child_token()];
    for i in 0..count {
        let child = chain[i].child_token();
        chain.push(child);
    }
    on_small_stack(move || {
        root.cancel_children(Reason::explicit());
        assert!(chain.iter().all(|token| token.is_cancelled()));
        chain.drain(..).for_each(drop);
        let mut fan: Vec<_> = (0..count).map(|_| root.child_token()).collect();
        assert!(fan.iter().all(|token| !token.is_cancelled()));
        let task = Task::new();
        let mut waits =
            [0, count / 2, count - 1].map(|i| Box::pin(fan[i].clone().cancelled_owned()));
        for wait in &mut waits {
            assert!(task.poll(wait.as_mut()).is_pending());
        }
        root.cancel_children(Reason::explicit());
        assert!(fan.iter().all(|token| token.is_cancelled()));
        assert_eq!(task.woken(), 3);
        fan.drain(..).for_each(drop);
    });
}

#[test]
fn t_07_a_million_presses_take_the_memory_of_one() {
    let root = CancellationToken::new();
    let task = Task::new();
    let waker = task.waker();
    let mut cx = std::task::Context::from_waker(&waker);
    let (mut calls, mut bytes) = (0, 0);
    for i in 0..scaled(1_000_000, 60) {
        if i == 2 {
            (calls, bytes) = (allocator_calls(), live_bytes());
        }
        let child = root.child_token();
        let low = child.child_token();
        {
            let mut wait = pin!(child.cancelled());
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            root.cancel_children(Reason::custom(1));
            assert!(wait.as_mut().poll(&mut cx).is_ready());
        }
        assert!(low.is_cancelled());
        drop(child);
    }
    // A burial frees the slab of grandchildren, the next child's child makes one again.
    assert_eq!(live_bytes(), bytes);
    assert_eq!((allocator_calls() - calls) % 2, 0);
    assert_eq!(task.woken(), scaled(1_000_000, 60));
}

/// The last handle goes in a callback, so that the walk buries the child and leaves in its slot what
/// the canceller put back: the slot's next occupant drops it, or it would pile up.
#[test]
fn t_07_callbacks_that_drop_the_last_handle_do_not_pile_up() {
    let outside = live_bytes();
    {
        let root = CancellationToken::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let mut bytes = 0;
        for i in 0..scaled(100_000, 30) {
            if i == 2 {
                bytes = live_bytes();
            }
            let child = root.child_token();
            let (own, calls) = (Arc::new(Mutex::new(None)), calls.clone());
            let last = own.clone();
            child
                .on_cancel(move || {
                    calls.fetch_add(1, SeqCst);
                    drop(last.lock().unwrap().take());
                })
                .forget();
            *own.lock().unwrap() = Some(child);
            root.cancel_children(Reason::explicit());
            assert!(own.lock().unwrap().is_none());
        }
        // The last block is still in the slot.
        drop(root.child_token());
        assert!(live_bytes() <= bytes);
        assert_eq!(calls.load(SeqCst), scaled(100_000, 30));
    }
    assert_eq!(live_bytes(), outside);
}

#[test]
fn a_panicking_waker_leaves_nobody_asleep_below_the_children() {
    let root = CancellationToken::new();
    let children: Vec<_> = (0..6).map(|_| root.child_token()).collect();
    let bad = Task::with_hook(|| panic!("first"));
    let good = Task::new();
    let mut waits: Vec<_> = (0..60)
        .map(|i| Box::pin(children[i % 6].cancelled()))
        .collect();
    for (i, wait) in waits.iter_mut().enumerate() {
        let task = if i == 20 { &bad } else { &good };
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    let cancel = AssertUnwindSafe(|| root.cancel_children(Reason::explicit()));
    let panic = catch_unwind(cancel).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"first"));
    assert_eq!((bad.woken(), good.woken(), good.wakers()), (1, 59, 0));
    assert!(!root.is_cancelled() && !root.child_token().is_cancelled());
}

#[test]
fn a_waker_reenters_cancel_children() {
    let root = CancellationToken::new();
    let child = root.child_token();
    let tokens = [root.clone(), child.clone()];
    let task = Task::with_hook(move || {
        for token in &tokens {
            let made = token.child_token();
            token.cancel_children(Reason::custom(2));
            assert!(made.is_cancelled());
        }
    });
    let (mut one, mut two) = (pin!(child.cancelled()), pin!(child.cancelled()));
    assert!(task.poll(one.as_mut()).is_pending());
    assert!(task.poll(two.as_mut()).is_pending());
    root.cancel_children(Reason::custom(1));
    assert_eq!(task.woken(), 2);
    assert_eq!(child.child_token().reason(), Some(Reason::custom(1)));
}

// ------------------------------------------------------------------ any_of

#[test]
fn the_first_source_cancels_with_its_reason() {
    let bytes = live_bytes();
    {
        for first in 0..3 {
            let sources = [0; 3].map(|_| CancellationToken::new());
            let any = CancellationToken::any_of(&sources);
            let low = any.child_token();
            let task = Task::new();
            let mut wait = pin!(low.cancelled());
            assert!(task.poll(wait.as_mut()).is_pending());
            assert!(any.can_be_cancelled() && !any.is_cancelled());
            sources[first].cancel_with(Reason::custom(first as u16));
            for source in &sources {
                source.cancel_with(Reason::shutdown());
            }
            assert_eq!(low.reason(), Some(Reason::custom(first as u16)));
            assert_eq!(task.woken(), 1);
            assert!(!any.cancel_with(Reason::shutdown()));
        }
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn any_of_none_is_never_and_of_a_cancelled_one_is_born_cancelled() {
    let bytes = live_bytes();
    {
        let never = CancellationToken::never();
        assert!(!CancellationToken::any_of([]).can_be_cancelled());
        assert!(!CancellationToken::any_of([&never, &never]).can_be_cancelled());
        let live = CancellationToken::new();
        let gone = CancellationToken::pre_cancelled(Reason::error("gone"));
        let any = CancellationToken::any_of(vec![&live, &never, &gone]);
        assert_eq!(any.reason(), gone.reason());
        assert!(any.child_token().is_cancelled());
        let any = CancellationToken::any_of([&live, &live, &never]);
        live.cancel_with(Reason::error("live"));
        assert_eq!(any.reason(), live.reason(), "the very same box");
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn it_is_a_token_of_its_own() {
    let (a, b) = (CancellationToken::new(), CancellationToken::new());
    let a = a.child_with_deadline(Instant::from_nanos(7));
    let b = b.child_with_deadline(Instant::from_nanos(5));
    let any = CancellationToken::any_of([&a, &b]);
    assert_eq!(any.deadline(), Some(Instant::from_nanos(5)));
    assert_ne!(any, a);
    any.cancel_children(Reason::custom(1));
    let child = any.child_token();
    assert!(any.check_at(Instant::from_nanos(4)).is_ok());
    assert!(any.check_at(Instant::from_nanos(5)).is_err());
    assert_eq!(child.reason().unwrap().kind(), ReasonKind::DeadlineExceeded);
    assert!(!a.is_cancelled() && !b.is_cancelled());
    let later = CancellationToken::any_of([&any, &a]);
    assert!(later.is_cancelled() && later.deadline() == Some(Instant::from_nanos(5)));
}

/// The sources' own handles may go: an ancestor still cancels.
#[test]
fn it_keeps_its_sources_but_not_the_other_way_round() {
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let any = CancellationToken::any_of([&root.child_token(), &CancellationToken::new()]);
        assert!(!any.is_cancelled());
        root.cancel_with(Reason::custom(3));
        assert_eq!(any.reason(), Some(Reason::custom(3)));
        drop(root);
        assert!(any.child_token().is_cancelled());
        // Not cancelled; its children keep it.
        let root = CancellationToken::new();
        let child = CancellationToken::any_of([&root.child_token(), &root]).child_token();
        root.cancel();
        assert!(child.is_cancelled());
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn t_07_a_million_joined_tokens_leave_nothing_with_their_sources() {
    let outside = live_bytes();
    {
        let (server, client) = (CancellationToken::new(), CancellationToken::new());
        let lasting = CancellationToken::any_of([&server, &client]);
        let bytes = live_bytes();
        for i in 0..scaled(1_000_000, 60) {
            let any = CancellationToken::any_of([&server, &client]);
            let child = any.child_token();
            if i % 3 == 0 {
                any.cancel();
            }
            drop(any);
            assert_eq!(child.is_cancelled(), i % 3 == 0);
        }
        assert_eq!(live_bytes(), bytes);
        client.cancel();
        assert!(lasting.is_cancelled());
        drop(lasting);
        for _ in 0..scaled(1_000, 10) {
            assert!(CancellationToken::any_of([&server, &client]).is_cancelled());
        }
    }
    assert_eq!(live_bytes(), outside);
}

/// In the tasks and callbacks that a source's `cancel` wakes: of the root itself, and of another that
/// is visited before or after it. The walk is the last to let go.
#[test]
fn the_last_handle_may_go_while_a_source_is_being_cancelled() {
    let outside = live_bytes();
    for waits_at in 0..4 {
        for others in [0, scaled(40, 1)] {
            let drops = Arc::new(AtomicUsize::new(0));
            {
                let root = CancellationToken::new();
                let (above, below) = (root.child_token(), CancellationToken::new());
                let source = above.child_token();
                // Kept by the joined token alone: a root, a child of the source, another joined one.
                let foreign = CancellationToken::new();
                let sources = [
                    below,
                    source.clone(),
                    source.child_token(),
                    foreign.child_token(),
                    CancellationToken::any_of([&source, &foreign]),
                    CancellationToken::any_of([&CancellationToken::new()]),
                    root.clone(),
                ];
                let any = CancellationToken::any_of(&sources);
                drop(sources);
                let noise: Vec<_> = (0..others)
                    .map(|_| CancellationToken::any_of([&source, &root]))
                    .collect();
                let low = any.child_token();
                low.cancel_with(Reason::error(Why(drops.clone())));
                let own = any.child_token().child_token();
                let waited = [&root, &source, &any, &own][waits_at].clone();
                let held = Arc::new(Mutex::new(Some((any, low, own))));
                let last = held.clone();
                let task = Task::with_hook(move || drop(last.lock().unwrap().take()));
                let mut wait = Box::pin(waited.cancelled_owned());
                assert!(task.poll(wait.as_mut()).is_pending());
                let keeps = Mutex::new(Some(wait));
                // An owned wait keeps the token, too: it goes with the rest.
                let both = held.clone();
                source
                    .on_cancel(move || {
                        drop(keeps.lock().unwrap().take());
                        drop(both.lock().unwrap().take());
                    })
                    .forget();
                root.cancel_with(Reason::error(Why(drops.clone())));
                assert!(held.lock().unwrap().is_none());
                assert!(noise.iter().all(|any| any.is_cancelled()));
                foreign.cancel();
                drop((above, source));
                assert!(root.child_token().is_cancelled());
            }
            assert_eq!(drops.load(SeqCst), 2, "{waits_at} {others}");
        }
    }
    assert_eq!(live_bytes(), outside);
}

/// What the walk could not free lies with the source, which lives on in no tree of its own.
#[test]
fn what_died_in_a_walk_goes_with_the_source_or_its_slot() {
    let outside = live_bytes();
    {
        let root = CancellationToken::new();
        let mut bytes = 0;
        for i in 0..scaled(10_000, 50) {
            if i == 3 {
                bytes = live_bytes();
            }
            let source = root.child_token();
            let any = CancellationToken::any_of([&source, &CancellationToken::new()]);
            let held = Arc::new(Mutex::new(None));
            let last = held.clone();
            any.on_cancel(move || drop(last.lock().unwrap().take()))
                .forget();
            *held.lock().unwrap() = Some((any, source));
            let calls = allocator_calls();
            root.cancel_children(Reason::explicit());
            assert_eq!(allocator_calls(), calls);
            assert!(held.lock().unwrap().is_none());
        }
        drop(root.child_token());
        assert!(live_bytes() <= bytes, "{} {bytes}", live_bytes());
    }
    assert_eq!(live_bytes(), outside);
}

/// The grave of one lies in the slot of another's link, which lives on; and a second walk comes by.
#[test]
fn a_grave_is_disturbed_by_nobody() {
    let outside = live_bytes();
    for second_walk in [true, false] {
        let drops = Arc::new(AtomicUsize::new(0));
        {
            let root = CancellationToken::new();
            let source = root.child_token();
            let lasting = CancellationToken::any_of([&source, &root]);
            let doomed = CancellationToken::any_of([&source]);
            let own = doomed.child_token();
            own.cancel_with(Reason::error(Why(drops.clone())));
            let held = Arc::new(Mutex::new(None));
            let last = held.clone();
            doomed
                .on_cancel(move || drop(last.lock().unwrap().take()))
                .forget();
            *held.lock().unwrap() = Some((doomed, own));
            source.cancel_with(Reason::error(Why(drops.clone())));
            assert!(held.lock().unwrap().is_none() && lasting.is_cancelled());
            if second_walk {
                root.cancel();
            }
            drop(lasting);
            assert!(drops.load(SeqCst) < 2);
            drop(source);
        }
        assert_eq!(drops.load(SeqCst), 2);
        drop(drops);
        assert_eq!(live_bytes(), outside);
    }
}

/// A canceller has taken the link, and comes to it when the token has gone.
#[test]
fn what_dies_before_its_link_is_followed_gives_up_its_own_reason_once() {
    let outside = live_bytes();
    let drops = Arc::new(AtomicUsize::new(0));
    {
        let source = CancellationToken::new();
        let held = Arc::new(Mutex::new(None));
        let last = held.clone();
        // Before the link, and taken together with it.
        source
            .on_cancel(move || drop(last.lock().unwrap().take()))
            .forget();
        let any = CancellationToken::any_of([&source]);
        any.cancel_with(Reason::error(Why(drops.clone())));
        let kept = any.reason();
        *held.lock().unwrap() = Some(any);
        source.cancel();
        assert!(held.lock().unwrap().is_none());
        drop(source);
        assert_eq!(drops.load(SeqCst), 0);
        drop(kept);
    }
    assert_eq!(drops.load(SeqCst), 1);
    drop(drops);
    assert_eq!(live_bytes(), outside);
}

#[test]
fn t_12_a_long_chain_of_joined_tokens_on_a_small_stack() {
    let count = scaled(100_000, 30);
    for (cancel, top_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let other = CancellationToken::new();
        let mut chain = vec![CancellationToken::new()];
        for i in 0..count {
            let next = CancellationToken::any_of([&chain[i], &other]);
            chain.push(next);
        }
        on_small_stack(move || {
            if cancel {
                chain[0].cancel_with(Reason::custom(1));
                let code = |token: &CancellationToken| token.reason().and_then(|r| r.code());
                assert!(chain.iter().all(|token| code(token) == Some(1)));
            }
            if top_first {
                chain.drain(..).for_each(drop);
            } else {
                chain.drain(..).rev().for_each(drop);
            }
        });
        drop(other);
    }
}

/// All die in the walk, each kept by the link of the next.
#[test]
fn t_12_a_long_chain_of_joined_tokens_that_dies_in_a_walk() {
    let count = scaled(100_000, 30);
    let first = CancellationToken::new();
    let mut last = first.clone();
    for _ in 0..count {
        last = CancellationToken::any_of([&last, &last.child_token()]);
    }
    let held = Arc::new(Mutex::new(Some(last)));
    let drops = held.clone();
    first
        .on_cancel(move || drop(drops.lock().unwrap().take()))
        .forget();
    // Each owns a clone of the reason, until it is freed.
    let why = Arc::new(AtomicUsize::new(0));
    let reason = Reason::error(Why(why.clone()));
    on_small_stack(move || {
        first.cancel_with(reason);
        assert!(held.lock().unwrap().is_none());
        drop(first);
    });
    assert_eq!(why.load(SeqCst), 1);
}

#[test]
fn a_waker_below_a_joined_token_may_panic_and_reenter() {
    let source = CancellationToken::new();
    let any = CancellationToken::any_of([&source]);
    let child = any.child_token();
    let (again, other) = (any.clone(), source.clone());
    let bad = Task::with_hook(move || {
        assert!(again.is_cancelled());
        assert!(CancellationToken::any_of([&other, &again]).is_cancelled());
        again.cancel_children(Reason::shutdown());
        other.cancel();
        panic!("first");
    });
    let good = Task::new();
    let mut waits: Vec<_> = [&source, &any, &child]
        .into_iter()
        .flat_map(|token| [Box::pin(token.cancelled()), Box::pin(token.cancelled())])
        .collect();
    for (i, wait) in waits.iter_mut().enumerate() {
        let task = if i % 2 == 0 { &bad } else { &good };
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    let panic = catch_unwind(AssertUnwindSafe(|| source.cancel())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"first"));
    assert_eq!((bad.woken(), good.woken()), (3, 3));
}

#[test]
fn racing_sources_and_drops() {
    for round in 0..scaled(5_000, 10) {
        let drops = Arc::new(AtomicUsize::new(0));
        {
            let (one, two) = (CancellationToken::new(), CancellationToken::new());
            let low = two.child_token();
            let any = CancellationToken::any_of([&one, &low]);
            let start = std::sync::Barrier::new(3);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    one.cancel_with(Reason::error(Why(drops.clone())));
                });
                scope.spawn(|| {
                    start.wait();
                    two.cancel_with(Reason::error(Why(drops.clone())));
                });
                start.wait();
                let child = any.child_token();
                drop(any);
                if round % 2 == 0 {
                    drop(child);
                } else {
                    let late = CancellationToken::any_of([&child, &low]);
                    drop(child);
                    one.cancel();
                    two.cancel();
                    assert!(late.is_cancelled());
                }
            });
        }
        assert_eq!(drops.load(SeqCst), 2);
    }
}

// ------------------------------------------------------------------ detached

#[test]
fn a_detached_token_is_a_tree_of_its_own() {
    let bytes = live_bytes();
    {
        let request = CancellationToken::new().child_with_deadline(Instant::from_nanos(5));
        let work = request.detached();
        assert_ne!(work, request);
        assert_eq!(work.deadline(), None);
        work.cancel_with(Reason::custom(1));
        assert!(!request.is_cancelled());
        request.cancel();
        assert!(!request.detached().is_cancelled());
        assert!(CancellationToken::never().detached().can_be_cancelled());
        drop(request);
        assert!(work.is_cancelled());
    }
    assert_eq!(live_bytes(), bytes);
}
