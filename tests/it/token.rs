//! The token tree: bugs that others had (`t_…`), and the rest of its contract.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::future::{Future, pending, ready};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll};
use umbel_core::{
    CancelSignal, CancellationToken, Cancelled, DynCancelSignal, FutureExt, Instant, Reason,
    ReasonKind, WaitForCancellationFuture, WaitForCancellationFutureOwned,
};
use umbel_tests::counting::{Task, allocator_calls, live_bytes, waker_with_drop};
use umbel_tests::scaled;

/// Runs `f` on a stack on which a recursion over the tree would overflow.
pub(crate) fn on_small_stack<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn_scoped(scope, f);
        thread.unwrap().join().unwrap()
    })
}

/// Runs both at once, as near together as a barrier allows.
pub(crate) fn race<A: Send, B>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            start.wait();
            a()
        });
        start.wait();
        let b = b();
        (thread.join().unwrap(), b)
    })
}

/// An error that counts its drops, and may do something in them.
struct Why {
    drops: Arc<AtomicUsize>,
    hook: Option<Box<dyn Fn() + Send + Sync>>,
}
impl Why {
    fn counted(drops: &Arc<AtomicUsize>) -> Reason {
        let drops = drops.clone();
        Reason::error(Why { drops, hook: None })
    }
}
impl Drop for Why {
    fn drop(&mut self) {
        self.drops.fetch_add(1, SeqCst);
        if let Some(hook) = &self.hook {
            hook();
        }
    }
}
impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Why")
    }
}
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("why")
    }
}
impl Error for Why {}

// ------------------------------------------------------------------ scenarios

#[test]
fn t_01_no_wakeup_is_lost_at_first_poll_or_repoll() {
    for _ in 0..scaled(20_000, 30) {
        let token = CancellationToken::new();
        let (old, new) = (Task::new(), Task::new());
        let mut wait = pin!(token.cancelled());
        let (_, last) = race(
            || token.cancel(),
            || match old.poll(wait.as_mut()) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => new.poll(wait.as_mut()),
            },
        );
        if last.is_pending() {
            assert_eq!(new.woken(), 1, "the new waker is woken");
        }
        assert!(new.poll(wait).is_ready());
    }
}

#[test]
fn t_02_wake_reenters_every_method() {
    let root = CancellationToken::new();
    let waited = root.child_token();
    let sibling = root.child_token();
    let tokens = [root.clone(), waited.clone(), sibling.clone()];
    let doomed = Mutex::new(vec![sibling.child_token(), waited.child_token()]);
    let task = Task::with_hook(move || {
        doomed.lock().unwrap().pop();
        for token in &tokens {
            assert!(token.is_cancelled() && token.check().is_err());
            assert_eq!(token.reason(), Some(Reason::custom(9)));
            assert!(token.check_at(Instant::EPOCH).is_err());
            assert_eq!(token.deadline(), None);
            assert!(token.can_be_cancelled());
            token.cancel();
            assert!(!token.cancel_with(Reason::shutdown()));
            let child = token.clone().child_token();
            assert!(child.child_with_deadline(Instant::EPOCH).is_cancelled());
            let inner = Task::new();
            assert!(inner.poll(pin!(child.cancelled())).is_ready());
            assert!(inner.poll(pin!(child.clone().cancelled_owned())).is_ready());
            let run = pin!(token.run_until_cancelled(pending::<()>()));
            assert_eq!(inner.poll(run), Poll::Ready(None));
            drop(token.drop_guard_ref());
            drop(child.drop_guard());
            assert!(format!("{token:?}").contains("true"));
        }
    });
    let mut waits: Vec<_> = [&root, &waited, &sibling]
        .into_iter()
        .map(|token| Box::pin(token.cancelled()))
        .collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    assert!(root.cancel_with(Reason::custom(9)));
    assert_eq!(task.woken(), 3);
    assert_eq!(task.wakers(), 0);
}

#[test]
fn t_03_wake_may_block_on_another_thread_that_uses_the_tree() {
    let root = CancellationToken::new();
    let child = root.child_token();
    let (ask, asked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<bool>();
    let (ask, told) = (Mutex::new(ask), Mutex::new(told));
    let task = Task::with_hook(move || {
        ask.lock().unwrap().send(()).unwrap();
        assert!(told.lock().unwrap().recv().unwrap());
    });
    let mut wait = pin!(child.cancelled());
    assert!(task.poll(wait.as_mut()).is_pending());
    let (root2, child2) = (root.clone(), child.clone());
    let other = std::thread::spawn(move || {
        asked.recv().unwrap();
        let inner = Task::new();
        let mut ready = true;
        for token in [&root2, &child2, &root2.child_token(), &child2.child_token()] {
            ready &= inner.poll(pin!(token.cancelled())).is_ready();
            token.cancel();
        }
        tell.send(ready).unwrap();
    });
    root.cancel();
    other.join().unwrap();
    assert_eq!(task.woken(), 1);
}

#[test]
fn t_04_dropping_a_waker_reenters() {
    let root = CancellationToken::new();
    let child = root.child_token();
    let drops = Arc::new(AtomicUsize::new(0));
    let hooked = |cancel: bool| {
        let (root, child, drops) = (root.clone(), child.clone(), drops.clone());
        waker_with_drop(move || {
            drops.fetch_add(1, SeqCst);
            drop(child.clone().child_token());
            assert!(!cancel || root.cancel_with(Reason::custom(4)));
        })
    };
    let poll = |wait: Pin<&mut WaitForCancellationFuture<'_>>, waker: std::task::Waker| {
        wait.poll(&mut Context::from_waker(&waker))
    };
    // dropped by the drop of a wait
    {
        let mut wait = pin!(child.cancelled());
        assert!(poll(wait.as_mut(), hooked(false)).is_pending());
        assert_eq!(drops.load(SeqCst), 0);
    }
    assert_eq!(drops.load(SeqCst), 1);
    // replaced in a re-poll, whose drop cancels: this very poll or the new waker must tell
    let task = Task::new();
    let mut wait = pin!(child.cancelled());
    assert!(poll(wait.as_mut(), hooked(true)).is_pending());
    let told = task.poll(wait.as_mut()).is_ready() || task.woken() == 1;
    assert!(told, "the cancellation by the old waker's drop was lost");
    assert_eq!(drops.load(SeqCst), 2);
    assert!(task.poll(wait).is_ready());
}

#[test]
fn t_06_a_wait_dropped_during_the_cascade_is_not_woken() {
    let root = CancellationToken::new();
    let children = [root.child_token(), root.child_token()];
    let later: Arc<Mutex<Option<Pin<Box<WaitForCancellationFutureOwned>>>>> = Arc::default();
    let victim = Task::new();
    let dropped = later.clone();
    let first = Task::with_hook(move || drop(dropped.lock().unwrap().take()));
    let mut wait = Box::pin(children[0].cancelled());
    assert!(first.poll(wait.as_mut()).is_pending());
    let mut owned = Box::pin(children[1].clone().cancelled_owned());
    assert!(victim.poll(owned.as_mut()).is_pending());
    *later.lock().unwrap() = Some(owned);
    root.cancel();
    assert_eq!((first.woken(), victim.woken()), (1, 0));
    assert_eq!((first.wakers(), victim.wakers()), (0, 0));
}

#[test]
fn t_07_a_million_waits_take_the_memory_of_one() {
    let before = live_bytes();
    let token = CancellationToken::new();
    let task = Task::new();
    let waker = task.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(pin!(token.cancelled()).poll(&mut cx).is_pending());
    let calls = allocator_calls();
    for _ in 0..scaled(1_000_000, 300) {
        assert!(pin!(token.cancelled()).poll(&mut cx).is_pending());
    }
    assert_eq!(allocator_calls(), calls, "steady state allocates nothing");
    drop((token, waker, task));
    assert_eq!(live_bytes(), before, "all is given back");
}

#[test]
fn t_08_a_million_children_take_the_memory_of_a_few() {
    let before = live_bytes();
    let token = CancellationToken::new();
    let task = Task::new();
    let waker = task.waker();
    let mut cx = Context::from_waker(&waker);
    let mut recent: Vec<_> = (0..40).map(|_| Some(token.child_token())).collect();
    let mut calls = 0;
    for i in 0..scaled(1_000_000, 400) {
        if i == 200 {
            calls = allocator_calls();
        }
        let child = token.child_token();
        {
            let mut wait = pin!(child.cancelled());
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            if i % 3 == 0 {
                child.cancel();
                assert!(wait.poll(&mut cx).is_ready());
            }
        }
        recent[i % 40] = Some(child);
    }
    assert_eq!(allocator_calls(), calls, "steady state allocates nothing");
    drop((token, recent, waker, task));
    assert_eq!(live_bytes(), before, "all is given back");
}

#[test]
fn t_10_middle_handle_dropped_grandchild_is_cancelled_and_freed() {
    let before = live_bytes();
    let root = CancellationToken::new();
    let grandchild = root.child_token().child_token();
    root.cancel();
    assert!(grandchild.is_cancelled());
    drop(grandchild);
    drop(root);
    assert_eq!(live_bytes(), before);
    // and without a cancel, dropped in the other order
    let root = CancellationToken::new();
    let grandchild = root.child_token().child_token();
    drop(root);
    assert!(!grandchild.is_cancelled(), "dropping cancels nothing");
    drop(grandchild);
    assert_eq!(live_bytes(), before);
}

#[test]
fn t_11_child_dropped_while_cancelled_while_a_sibling_is_added() {
    for round in 0..scaled(10_000, 20) {
        let root = CancellationToken::new();
        let child = root.child_token();
        let grandchild = child.child_token();
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                root.cancel();
            });
            let adder = scope.spawn(|| {
                start.wait();
                root.child_token().child_token()
            });
            start.wait();
            if round % 2 == 0 {
                drop((child, grandchild));
            } else {
                drop((grandchild, child));
            }
            let added = adder.join().unwrap();
            root.cancel();
            assert!(added.is_cancelled());
        });
    }
}

#[test]
fn t_12_depth_on_a_small_stack() {
    let depth = scaled(1_000_000, 200);
    for (cancel, top_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut chain = vec![CancellationToken::new()];
        for i in 0..depth {
            let child = chain[i].child_token();
            chain.push(child);
        }
        on_small_stack(move || {
            if cancel {
                chain[0].cancel();
                assert!(chain.iter().all(|token| token.is_cancelled()));
            }
            if top_first {
                chain.drain(..).for_each(drop);
            } else {
                chain.drain(..).rev().for_each(drop);
            }
        });
    }
}

#[test]
fn t_12_fan_on_a_small_stack() {
    let width = scaled(1_000_000, 300);
    for (cancel, top_first) in [(true, true), (true, false), (false, true), (false, false)] {
        on_small_stack(move || {
            let root = CancellationToken::new();
            let mut fan: Vec<_> = (0..width).map(|_| root.child_token()).collect();
            if cancel {
                root.cancel();
                assert!(fan.iter().all(|token| token.is_cancelled()));
            }
            if top_first {
                drop(root);
                fan.drain(..).rev().for_each(drop);
            } else {
                fan.drain(..).for_each(drop);
                drop(root);
            }
        });
    }
}

/// Nodes that die under a walker keep their arenas, nested as deep as the tree was.
#[test]
fn t_12_chain_dropped_while_cancelled() {
    let depth = scaled(50_000, 20);
    for _ in 0..scaled(20, 3) {
        let root = CancellationToken::new();
        let mut chain = vec![root.child_token()];
        for i in 0..depth {
            let child = chain[i].child_token();
            chain.push(child);
        }
        race(|| root.cancel(), || chain.drain(..).for_each(drop));
        let again = root.child_token().child_token();
        assert!(again.is_cancelled());
        on_small_stack(move || drop((root, again)));
    }
}

#[test]
fn t_13_no_child_is_left_live_at_growth_either() {
    for round in 0..scaled(3_000, 10) {
        let root = CancellationToken::new();
        let held: Vec<_> = (0..round % 40).map(|_| root.child_token()).collect();
        let (_, born) = race(
            || root.cancel(),
            || -> Vec<_> {
                (0..40)
                    .map(|_| root.child_token())
                    .map(|child| (child.child_token(), child))
                    .collect()
            },
        );
        assert!(held.iter().all(|token| token.is_cancelled()));
        let live = |(low, token): &&(CancellationToken, CancellationToken)| {
            !low.is_cancelled() || !token.is_cancelled()
        };
        assert_eq!(born.iter().filter(live).count(), 0);
    }
}

#[test]
fn t_14_whichever_cancel_returns_its_descendants_are_cancelled() {
    for _ in 0..scaled(5_000, 20) {
        let root = CancellationToken::new();
        let mid = root.child_token();
        let low: Vec<_> = (0..10).map(|_| mid.child_token().child_token()).collect();
        let all_set = || low.iter().all(|token| token.is_cancelled());
        let (here, there) = race(
            || {
                root.cancel();
                all_set()
            },
            || {
                mid.cancel();
                all_set()
            },
        );
        assert!(here && there);
    }
}

#[test]
fn t_15_waiters_are_woken_by_an_ancestor() {
    let root = CancellationToken::new();
    let low = root.child_token().child_token().child_token();
    let task = Task::new();
    // more waiters than the first segments hold
    let mut waits: Vec<_> = (0..scaled(500, 80))
        .map(|_| Box::pin(low.cancelled()))
        .collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    assert_eq!(task.wakers(), waits.len());
    root.cancel();
    assert_eq!(task.woken(), waits.len(), "each exactly once");
    assert_eq!(task.wakers(), 0);
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_ready());
        assert!(task.poll(wait.as_mut()).is_ready(), "ready again");
    }
}

#[test]
fn t_16_a_woken_task_sees_every_flag() {
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
        assert!(
            seen.upgrade()
                .unwrap()
                .iter()
                .all(|token| token.is_cancelled())
        );
    });
    let mut waits: Vec<_> = tree
        .iter()
        .map(|token| Box::pin(token.cancelled()))
        .collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    root.cancel();
    assert_eq!(task.woken(), 100);
}

/// A future that counts its polls and does what the closure says.
struct Polls<F>(usize, F);
impl<T, F: FnMut(usize) -> Poll<T> + Unpin> Future for Polls<F> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        self.0 += 1;
        let n = self.0;
        (self.1)(n)
    }
}

#[test]
fn t_19_ties() {
    let task = Task::new();
    // first poll: the token first, and the future is not polled
    let token = CancellationToken::pre_cancelled(Reason::custom(1));
    let untouched = || Polls(0, |_| -> Poll<u8> { panic!("polled") });
    assert_eq!(
        task.poll(pin!(token.run_until_cancelled(untouched()))),
        Poll::Ready(None)
    );
    let owned = token.clone().run_until_cancelled_owned(untouched());
    assert_eq!(task.poll(pin!(owned)), Poll::Ready(None));
    let with = untouched().with_cancellation_token(&token);
    assert_eq!(task.poll(pin!(with)), Poll::Ready(None));
    let with = untouched().with_cancellation_token_owned(token.clone());
    assert_eq!(task.poll(pin!(with)), Poll::Ready(None));
    let err = Cancelled::new(Reason::custom(1));
    assert_eq!(
        task.poll(pin!(untouched().or_cancelled(&token))),
        Poll::Ready(Err(err))
    );

    // later polls: the future first
    let second = || {
        Polls(0, |n| {
            if n == 2 {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        })
    };
    let token = CancellationToken::new();
    let mut run = pin!(token.run_until_cancelled(second()));
    let mut owned = pin!(token.clone().run_until_cancelled_owned(second()));
    let mut or = pin!(second().or_cancelled(&token));
    assert!(task.poll(run.as_mut()).is_pending());
    assert!(task.poll(owned.as_mut()).is_pending());
    assert!(task.poll(or.as_mut()).is_pending());
    token.cancel();
    assert_eq!(task.woken(), 3);
    assert_eq!(task.poll(run), Poll::Ready(Some(7)));
    assert_eq!(task.poll(owned), Poll::Ready(Some(7)));
    assert_eq!(task.poll(or), Poll::Ready(Ok(7)));
}

#[test]
fn t_19_self_cancel_during_poll() {
    let task = Task::new();
    for late in [1, 2] {
        let token = CancellationToken::new();
        let own = token.clone();
        let canceller = |ready: bool| {
            let own = own.clone();
            Polls(0, move |n| {
                if n == late {
                    own.cancel();
                }
                if n == late && ready {
                    Poll::Ready(n)
                } else {
                    Poll::Pending
                }
            })
        };
        // pending: the cancellation is seen in the same poll
        let mut run = pin!(token.run_until_cancelled(canceller(false)));
        let mut polled = task.poll(run.as_mut());
        if late == 2 {
            assert!(polled.is_pending());
            polled = task.poll(run);
        }
        assert_eq!(polled, Poll::Ready(None));
        // ready: its value wins over its own cancellation
        let token = CancellationToken::new();
        let own = token.clone();
        let ends = Polls(0, move |_| {
            own.cancel();
            Poll::Ready(5)
        });
        assert_eq!(
            task.poll(pin!(ends.or_cancelled(&token))),
            Poll::Ready(Ok(5))
        );
    }
}

#[test]
fn t_20_racing_reasons_have_one_winner() {
    for _ in 0..scaled(10_000, 20) {
        let token = CancellationToken::new();
        let child = token.child_token();
        let (a, b) = race(
            || token.cancel_with(Reason::custom(1)),
            || token.cancel_with(Reason::error("two")),
        );
        assert_ne!(a, b);
        let expected = if a { "custom reason 1" } else { "two" };
        assert_eq!(token.reason().unwrap().to_string(), expected);
        assert_eq!(child.reason(), token.reason());
    }
}

#[test]
fn t_20_an_earlier_reason_survives() {
    let root = CancellationToken::new();
    let mid = root.child_token();
    let low = mid.child_token();
    assert!(mid.cancel_with(Reason::custom(5)));
    assert!(root.cancel_with(Reason::custom(6)));
    assert_eq!(root.reason(), Some(Reason::custom(6)));
    for token in [&mid, &low, &low.child_token()] {
        assert_eq!(token.reason(), Some(Reason::custom(5)));
    }
}

/// Whoever sees the flag sees a reason.
#[test]
fn t_20_never_cancelled_without_a_reason() {
    for _ in 0..scaled(5_000, 20) {
        let root = CancellationToken::new();
        let low = root.child_token().child_token();
        let ((), seen) = race(
            || root.cancel_with(Reason::shutdown()).then_some(()).unwrap(),
            || low.is_cancelled().then(|| low.reason()),
        );
        assert!(seen.is_none_or(|reason| reason == Some(Reason::shutdown())));
    }
}

// ------------------------------------------------------------------ foreign code

#[test]
fn a_panicking_waker_leaves_nobody_asleep() {
    let root = CancellationToken::new();
    let child = root.child_token();
    let bad = Task::with_hook(|| panic!("first"));
    let worse = Task::with_hook(|| panic!("second"));
    let good = Task::new();
    let mut waits: Vec<_> = (0..90)
        .map(|i| {
            Box::pin(if i % 2 == 0 {
                root.cancelled()
            } else {
                child.cancelled()
            })
        })
        .collect();
    for (i, wait) in waits.iter_mut().enumerate() {
        let task = match i {
            10 => &bad,
            11 | 50 => &worse,
            _ => &good,
        };
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    let panic = catch_unwind(AssertUnwindSafe(|| root.cancel())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"first"));
    assert_eq!((bad.woken(), worse.woken(), good.woken()), (1, 2, 87));
    assert_eq!(good.wakers(), 0);
    assert!(child.is_cancelled());
    // and the tree still works
    assert!(root.child_token().child_token().is_cancelled());
}

#[test]
fn a_boxed_reason_is_dropped_once_and_not_before_its_last_reader() {
    let drops = Arc::new(AtomicUsize::new(0));
    // owned by a child, inherited below
    let root = CancellationToken::new();
    let child = root.child_token();
    let low = child.child_token();
    assert!(child.cancel_with(Why::counted(&drops)));
    assert!(
        !child.cancel_with(Why::counted(&drops)),
        "the loser's is dropped"
    );
    assert_eq!(drops.load(SeqCst), 1);
    let kept = low.reason().unwrap();
    drop(child);
    assert_eq!(low.reason().unwrap().to_string(), "why");
    drop(low);
    assert_eq!(drops.load(SeqCst), 1, "a clone is left");
    drop(kept);
    assert_eq!(drops.load(SeqCst), 2);
    // a born-cancelled root
    let born = CancellationToken::pre_cancelled(Why::counted(&drops));
    assert_eq!(born.child_token().reason(), born.reason());
    drop(born);
    assert_eq!(drops.load(SeqCst), 3);
    // nobody owns it any more, and never did
    assert!(!CancellationToken::never().cancel_with(Why::counted(&drops)));
    assert_eq!(drops.load(SeqCst), 4);
    drop(root);
    assert_eq!(drops.load(SeqCst), 4);
}

#[test]
fn reasons_that_die_under_a_walker_are_dropped_later() {
    let drops = Arc::new(AtomicUsize::new(0));
    let rounds = scaled(5_000, 20);
    let mut made = 0;
    for _ in 0..rounds {
        let root = CancellationToken::new();
        let children: Vec<_> = (0..6).map(|_| root.child_token()).collect();
        let low: Vec<_> = children.iter().map(|child| child.child_token()).collect();
        for child in &children {
            assert!(child.cancel_with(Why::counted(&drops)));
            made += 1;
        }
        race(|| root.cancel(), || drop((low, children)));
        let again: Vec<_> = (0..3).map(|_| root.child_token()).collect();
        drop((again, root));
        assert_eq!(drops.load(SeqCst), made);
    }
}

/// The waker of a wait below a dying node drops that node's handles: the burial happens in the walk,
/// on one thread, repeatably.
#[test]
fn a_node_buried_by_its_walker_parks_its_reason() {
    let before = live_bytes();
    for reuse in [true, false] {
        let drops = Arc::new(AtomicUsize::new(0));
        let root = CancellationToken::new();
        let child = root.child_token();
        child.cancel_with(Why::counted(&drops));
        let child2 = root.child_token();
        let held = Arc::new(Mutex::new(vec![child.clone(), child2]));
        // a second wait, on a later sibling, is woken while the walker is elsewhere
        let drop_all = held.clone();
        let task = Task::with_hook(move || drop_all.lock().unwrap().clear());
        let low = held.lock().unwrap()[1].child_token();
        drop(child);
        let mut wait = Box::pin(low.cancelled_owned());
        assert!(task.poll(wait.as_mut()).is_pending());
        let slot = Arc::new(Mutex::new(Some(wait)));
        root.cancel_with(Why::counted(&drops));
        assert_eq!(task.woken(), 1);
        drop(slot);
        if reuse {
            let again = [root.child_token(), root.child_token()];
            assert_eq!(again[0].reason(), root.reason());
            assert_eq!(drops.load(SeqCst), 1, "the root's own is left");
        }
        drop((root, held, task));
        assert_eq!(drops.load(SeqCst), 2);
    }
    assert_eq!(live_bytes(), before);
}

#[test]
fn a_reason_whose_drop_reenters_and_panics_is_harmless() {
    let drops = Arc::new(AtomicUsize::new(0));
    let root = CancellationToken::new();
    let keep = root.child_token();
    let mut chain = vec![root.child_token()];
    for i in 0..20 {
        let child = chain[i].child_token();
        chain.push(child);
    }
    for (i, token) in chain.iter().enumerate().rev() {
        let (root, keep) = (root.clone(), keep.clone());
        let hook = move || {
            drop(root.child_token().child_token());
            keep.cancel();
            if i % 3 == 0 {
                panic!("{i}");
            }
        };
        let (drops, hook) = (drops.clone(), Some(Box::new(hook) as _));
        assert!(token.cancel_with(Reason::error(Why { drops, hook })));
    }
    let last = chain.pop().unwrap();
    drop(chain);
    assert_eq!(drops.load(SeqCst), 0);
    // the whole chain dies in one drop: deepest first, 20 and 18 … panic, all are dropped
    let panic = catch_unwind(AssertUnwindSafe(|| drop(last))).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "18");
    assert_eq!(drops.load(SeqCst), 21);
    assert!(keep.is_cancelled() && !root.is_cancelled());
}

#[test]
fn a_forgotten_wait_keeps_its_waker_until_its_token_dies() {
    let root = CancellationToken::new();
    let task = Task::new();
    for _ in 0..50 {
        let child = root.child_token();
        let mut wait = Box::pin(child.cancelled());
        assert!(task.poll(wait.as_mut()).is_pending());
        // The box is freed, the wait in it not dropped.
        let wait = *Pin::into_inner(wait);
        std::mem::forget(wait);
        assert_eq!(task.wakers(), 1);
        drop(child);
        assert_eq!(task.wakers(), 0);
    }
    root.cancel();
    assert_eq!(task.woken(), 0);
}

// ------------------------------------------------------------------ the rest of the contract

#[test]
fn clones_are_equal_and_relatives_are_not() {
    let token = CancellationToken::new();
    let child = token.child_token();
    assert_eq!(token, token.clone());
    assert_ne!(token, child);
    assert_ne!(child, token.child_token());
    assert_ne!(CancellationToken::default(), CancellationToken::new());
    let hash = |token: &CancellationToken| {
        let mut hasher = std::hash::DefaultHasher::new();
        token.hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(&token), hash(&token.clone()));
    assert_ne!(hash(&token), hash(&child));
    let set: HashSet<_> = [token.clone(), token.clone(), child].into();
    assert_eq!(set.len(), 2);
}

#[test]
fn debug_shows_the_own_state_only() {
    let token = CancellationToken::new();
    assert_eq!(
        format!("{token:?}"),
        "CancellationToken { is_cancelled: false, reason: None }"
    );
    token.cancel_with(Reason::custom(3));
    assert_eq!(
        format!("{:?}", token.child_token()),
        "CancellationToken { is_cancelled: true, reason: Some(Reason { kind: Custom, code: 3 }) }"
    );
    assert_eq!(
        format!("{:?}", token.cancelled()),
        "WaitForCancellationFuture { .. }"
    );
    assert_eq!(
        format!("{:?}", token.clone().cancelled_owned()),
        "WaitForCancellationFutureOwned { .. }"
    );
    assert_eq!(
        format!("{:?}", token.run_until_cancelled(ready(1))),
        "RunUntilCancelled { .. }"
    );
    assert_eq!(
        format!("{:?}", token.run_until_cancelled_owned(ready(1))),
        "RunUntilCancelledOwned { .. }"
    );
}

#[test]
fn never_is_never_cancelled_but_its_children_are() {
    let never = CancellationToken::never();
    assert!(!never.cancel_with(Reason::shutdown()));
    drop(never.drop_guard_ref());
    assert!(!never.is_cancelled() && !never.clone().can_be_cancelled());
    let task = Task::new();
    let calls = allocator_calls();
    {
        let mut wait = pin!(never.cancelled());
        let waker = std::task::Waker::noop();
        let mut cx = Context::from_waker(waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        assert!(wait.poll(&mut cx).is_pending());
    }
    assert_eq!(allocator_calls(), calls, "waiting takes no memory");
    let child = never.child_token();
    assert!(child.can_be_cancelled());
    let mut wait = pin!(child.cancelled());
    assert!(task.poll(wait.as_mut()).is_pending());
    assert!(child.cancel_with(Reason::custom(1)));
    assert!(task.woken() == 1 && !never.is_cancelled());
    assert!(!never.child_token().is_cancelled());
    assert_eq!(
        task.poll(pin!(never.run_until_cancelled(ready(1)))),
        Poll::Ready(Some(1))
    );
}

#[test]
fn a_born_cancelled_token_and_its_children() {
    let token = CancellationToken::pre_cancelled(Reason::shutdown());
    assert!(token.can_be_cancelled() && token.is_cancelled());
    assert!(!token.cancel_with(Reason::custom(1)));
    assert_eq!(
        token.child_token().check(),
        Err(Cancelled::new(Reason::shutdown()))
    );
}

#[test]
fn deadlines_only_shrink_and_nothing_fires_by_itself() {
    let at = Instant::from_nanos;
    let root = CancellationToken::new();
    assert_eq!(root.deadline(), None);
    let a = root.child_with_deadline(at(10));
    let b = a.child_with_deadline(at(20));
    let c = a.child_with_deadline(at(5));
    let d = c.child_token();
    let deadlines = [&a, &b, &c, &d].map(|token| token.deadline().unwrap().as_nanos());
    assert_eq!(deadlines, [10, 10, 5, 5]);
    assert_eq!(root.child_with_deadline(Instant::NEVER).deadline(), None);
    assert!(
        root.child_with_deadline(Instant::NEVER)
            .check_at(at(u64::MAX))
            .is_ok()
    );
    assert!(d.check_at(at(4)).is_ok() && root.check_at(at(u64::MAX)).is_ok());
    assert!(!d.is_cancelled(), "due, but nobody looked");
    let late = d.check_at(at(5)).unwrap_err();
    assert_eq!(late.reason().kind(), ReasonKind::DeadlineExceeded);
    assert!(d.is_cancelled() && !c.is_cancelled());
    // an earlier reason stays
    c.cancel_with(Reason::custom(2));
    assert_eq!(c.check_at(at(9)), Err(Cancelled::new(Reason::custom(2))));
    // a slot's next occupant has its own
    drop((a, b, c, d));
    assert_eq!(root.child_token().deadline(), None);
}

#[test]
fn guards_cancel_on_drop_unless_disarmed() {
    let token = CancellationToken::new();
    let guard = token.clone().drop_guard();
    assert_eq!(guard.token(), &token);
    assert_eq!(guard.disarm(), token);
    let guard = token.drop_guard_ref();
    assert_eq!(guard.token(), &token);
    assert_eq!(guard.disarm(), &token);
    assert!(!token.is_cancelled());
    let other = CancellationToken::new();
    drop(other.clone().drop_guard());
    assert_eq!(other.reason(), Some(Reason::explicit()));
    drop(token.drop_guard_ref());
    assert!(token.is_cancelled());
}

#[test]
fn the_owned_wait_keeps_its_tree_alive_and_cancels_nothing() {
    let before = live_bytes();
    let root = CancellationToken::new();
    let task = Task::new();
    let mut wait = Box::pin(root.child_token().cancelled_owned());
    assert!(task.poll(wait.as_mut()).is_pending());
    root.cancel();
    assert_eq!(task.woken(), 1);
    drop(root);
    assert!(task.poll(wait.as_mut()).is_ready());
    drop((wait, task));
    assert_eq!(live_bytes(), before);
}

#[test]
fn any_signal_will_do() {
    fn stopped(signal: &impl CancelSignal) -> (bool, Option<Reason>) {
        (signal.is_cancelled(), signal.reason())
    }
    fn assert_send<T: Send>(t: T) -> T {
        t
    }
    let token = CancellationToken::new();
    let by_ref: &CancellationToken = &token;
    let boxed: Box<dyn DynCancelSignal + Send + Sync> = Box::new(token.clone());
    let plain: Box<dyn DynCancelSignal> = Box::new(token.clone());
    let task = Task::new();
    let mut waits = [
        pin!(assert_send(pending::<()>().or_cancelled(&*boxed)))
            as Pin<&mut dyn Future<Output = _>>,
        pin!(pending::<()>().or_cancelled(&*plain)),
        pin!(pending::<()>().or_cancelled(&by_ref)),
        pin!(pending::<()>().or_cancelled(&boxed)),
    ];
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    assert_eq!(stopped(&by_ref), (false, None));
    token.cancel_with(Reason::custom(8));
    assert_eq!(task.woken(), 4);
    for wait in &mut waits {
        let Poll::Ready(Err(cancelled)) = task.poll(wait.as_mut()) else {
            panic!("still running");
        };
        assert_eq!(cancelled.reason(), &Reason::custom(8));
    }
    assert_eq!(stopped(&by_ref), (true, Some(Reason::custom(8))));
    assert_eq!(stopped(&boxed), stopped(&token));
    assert_eq!(stopped(&plain), stopped(&token));
}

#[test]
fn everything_is_send_and_sync_and_unwind_safe() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    check::<CancellationToken>();
    check::<umbel_core::DropGuard>();
    check::<umbel_core::DropGuardRef<'_>>();
    check::<WaitForCancellationFuture<'_>>();
    check::<WaitForCancellationFutureOwned>();
    check::<umbel_core::RunUntilCancelled<'_, u8>>();
    check::<umbel_core::RunUntilCancelledOwned<u8>>();
    fn unpin<T: Unpin>() {}
    unpin::<WaitForCancellationFuture<'_>>();
    unpin::<WaitForCancellationFutureOwned>();
    assert_eq!(size_of::<Option<CancellationToken>>(), size_of::<usize>());
}

/// Two threads on one parent and one token: contention spreads the slabs over shards, and what was
/// cancelled stays whole.
#[test]
fn stress_two_threads_register_and_create() {
    let token = CancellationToken::new();
    let work = |token: &CancellationToken| {
        for i in 0..scaled(100_000, 60) {
            let (one, two) = (Task::new(), Task::new());
            let child = token.child_token();
            let mut here = pin!(child.cancelled());
            let mut above = pin!(token.cancelled());
            assert!(one.poll(here.as_mut()).is_pending());
            assert!(one.poll(above.as_mut()).is_pending());
            assert!(two.poll(above.as_mut()).is_pending());
            if i % 50 == 0 {
                child.cancel();
                assert!(one.poll(here).is_ready() && one.woken() == 1);
            }
            assert!(!token.is_cancelled());
        }
    };
    race(|| work(&token), || work(&token));
    let task = Task::new();
    let mut wait = Box::pin(token.cancelled());
    assert!(task.poll(wait.as_mut()).is_pending());
    token.cancel();
    assert_eq!(task.woken(), 1);
    drop(wait);
    drop((token, task));
}
