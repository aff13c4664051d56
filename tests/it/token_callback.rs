//! Callbacks, flags, wedges and sleeping threads: what runs, how often, and what is left behind.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;
use umbel_core::{CancellationToken, Flag, Reason, Registration, Wedge};
use umbel_tests::calls::Calls;
use umbel_tests::counting::{Task, allocator_calls, live_bytes};
use umbel_tests::scaled;

// ------------------------------------------------------------------ callbacks

#[test]
fn a_callback_runs_once_and_is_dropped_once() {
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let child = root.child_token();
        let count = Calls::new();
        let registration = child.on_cancel(count.callback());
        assert_eq!(count.seen(), (0, 0));
        root.cancel();
        assert_eq!(count.seen(), (1, 1));
        child.cancel();
        assert!(!registration.unregister());
        assert_eq!(count.seen(), (1, 1));
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn cancelled_already_it_runs_inline() {
    let token = CancellationToken::pre_cancelled(Reason::shutdown());
    let count = Calls::new();
    let registration = token.on_cancel(count.callback());
    assert_eq!(count.seen(), (1, 1));
    assert!(!registration.unregister());
    token.on_cancel(count.callback()).forget();
    assert_eq!(count.seen(), (2, 2));
    let inline = catch_unwind(AssertUnwindSafe(|| token.on_cancel(|| panic!("mine"))));
    assert_eq!(*inline.unwrap_err().downcast::<&str>().unwrap(), "mine");
}

#[test]
fn unregistered_it_never_runs_and_its_place_is_used_again() {
    let token = CancellationToken::new();
    let count = Calls::new();
    drop(token.on_cancel(|| ()));
    let bytes = live_bytes();
    let rounds = scaled(100_000, 100);
    for round in 0..rounds {
        let registration = token.on_cancel(count.callback());
        if round % 2 == 0 {
            assert!(registration.unregister());
        } else {
            drop(registration);
        }
    }
    assert_eq!(count.seen(), (0, rounds));
    assert_eq!(live_bytes(), bytes);
    token.cancel();
    assert_eq!(count.seen(), (0, rounds));
}

#[test]
fn a_registration_is_one_allocation() {
    let token = CancellationToken::new();
    drop(token.on_cancel(|| ()));
    let calls = allocator_calls();
    let big = [7_u64; 16];
    let registration = token.on_cancel(move || assert_eq!(big, [7; 16]));
    assert_eq!(allocator_calls(), calls + 1);
    token.cancel();
    assert_eq!(
        allocator_calls(),
        calls + 1,
        "cancel leaves the allocator alone"
    );
    drop(registration);
    assert_eq!(allocator_calls(), calls + 2);
}

/// The callback that runs first unregisters the other, whose waker the same cancel has taken already.
#[test]
fn t_06_unregistered_before_it_is_visited_it_does_not_run() {
    type Registered = Arc<Mutex<Vec<Registration>>>;
    let others = |all: &Registered| std::mem::take(&mut *all.lock().unwrap());
    for n in [2, 5, 100] {
        let bytes = live_bytes();
        {
            let root = CancellationToken::new();
            let child = root.child_token();
            let all = Registered::default();
            let (ran, stopped) = (Calls::new(), Arc::new(AtomicUsize::new(0)));
            for i in 0..n {
                let (all_again, run, stopped) = (all.clone(), ran.callback(), stopped.clone());
                let token = if i % 2 == 0 { &root } else { &child };
                let registration = token.on_cancel(move || {
                    run();
                    for registration in others(&all_again) {
                        stopped.fetch_add(usize::from(registration.unregister()), SeqCst);
                    }
                });
                all.lock().unwrap().push(registration);
            }
            root.cancel();
            assert_eq!(ran.seen(), (1, n));
            assert_eq!(stopped.load(SeqCst), n - 1, "all but the one that runs");
        }
        assert_eq!(live_bytes(), bytes);
    }
}

#[test]
fn t_06_a_wait_dropped_by_a_callback_is_not_woken_after_that() {
    let token = CancellationToken::new();
    let task = Task::new();
    let mut wait = Box::pin(token.clone().cancelled_owned());
    assert!(task.poll(wait.as_mut()).is_pending());
    let wait = Mutex::new(Some(wait));
    let child = token.child_token();
    // Its own node's waiters were taken before; this one is on a child.
    let waits_below = Task::new();
    let mut below = Box::pin(child.clone().cancelled_owned());
    assert!(waits_below.poll(below.as_mut()).is_pending());
    let below = Mutex::new(Some(below));
    token
        .on_cancel(move || drop((wait.lock().unwrap().take(), below.lock().unwrap().take())))
        .forget();
    token.cancel();
    assert_eq!(waits_below.woken(), 0);
    drop((token, child));
    assert_eq!((task.wakers(), waits_below.wakers()), (0, 0));
}

/// dotnet/runtime #43438: there each waits for the other to end.
#[test]
fn t_18_two_callbacks_unregister_each_other() {
    for _ in 0..scaled(2_000, 20) {
        let tokens = [CancellationToken::new(), CancellationToken::new()];
        let cells: [Arc<Mutex<Option<Registration>>>; 2] = Default::default();
        // Both callbacks run before either unregisters the other.
        let meeting = Arc::new(Barrier::new(2));
        for me in 0..2 {
            let (other, meeting) = (cells[1 - me].clone(), meeting.clone());
            let registration = tokens[me].on_cancel(move || {
                meeting.wait();
                let other = other.lock().unwrap().take().unwrap();
                assert!(!other.unregister(), "the other one runs");
                meeting.wait();
            });
            *cells[me].lock().unwrap() = Some(registration);
        }
        std::thread::scope(|scope| {
            for token in &tokens {
                scope.spawn(|| token.cancel());
            }
        });
    }
}

#[test]
fn a_callback_drops_its_own_registration_and_the_last_handle() {
    let bytes = live_bytes();
    {
        let count = Calls::new();
        let root = CancellationToken::new();
        let child = root.child_token();
        let cell = Arc::new(Mutex::new(None::<(Registration, CancellationToken)>));
        let (mine, run) = (cell.clone(), count.callback());
        let registration = child.on_cancel(move || {
            let (registration, token) = mine.lock().unwrap().take().unwrap();
            assert!(!registration.unregister());
            drop(token);
            run();
        });
        *cell.lock().unwrap() = Some((registration, child));
        root.cancel();
        assert_eq!(count.seen(), (1, 1));
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn a_callback_reenters_everything() {
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let child = root.child_token();
        let inner = Calls::new();
        let (again, count) = (child.clone(), inner.clone());
        let registration = child.on_cancel(move || {
            assert!(again.is_cancelled() && again.check().is_err());
            assert!(!again.cancel_with(Reason::custom(1)));
            again.on_cancel(count.callback()).forget();
            let flag = again.child_token().flag();
            assert!(flag.is_set());
            let born = again.child_token();
            assert!(born.is_cancelled());
            assert!(Task::new().poll(pin!(born.cancelled())).is_ready());
            let other = CancellationToken::new();
            other.on_cancel(count.callback()).forget();
            other.cancel();
        });
        root.cancel();
        assert_eq!(inner.seen(), (2, 2));
        drop(registration);
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn a_panicking_callback_stops_no_other() {
    let token = CancellationToken::new();
    let child = token.child_token();
    let count = Calls::new();
    let task = Task::new();
    let mut wait = pin!(child.cancelled());
    assert!(task.poll(wait.as_mut()).is_pending());
    let registrations: Vec<_> = (0..40)
        .map(|i| {
            let run = count.callback();
            token.on_cancel(move || {
                run();
                assert!(i % 3 != 0, "{i}");
            })
        })
        .collect();
    let panic = catch_unwind(AssertUnwindSafe(|| token.cancel())).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "0");
    assert_eq!((count.seen(), task.woken()), ((40, 40), 1));
    for registration in registrations {
        assert!(!registration.unregister());
    }
}

#[test]
fn a_closure_that_panics_when_dropped_leaks_nothing() {
    struct Bomb(#[allow(dead_code, reason = "memory that could leak")] Vec<u8>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new("dropped"));
        }
    }
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let token = root.child_token();
        let bomb = || {
            let bomb = Bomb(vec![1; 100]);
            move || drop(bomb)
        };
        let registration = token.on_cancel(bomb());
        assert!(catch_unwind(AssertUnwindSafe(|| registration.unregister())).is_err());
        let registration = token.on_cancel(bomb());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(registration))).is_err());
        for _ in 0..10 {
            token.on_cancel(bomb()).forget();
        }
        let clone = root.clone();
        let burial = catch_unwind(AssertUnwindSafe(|| drop((root, token))));
        assert_eq!(*burial.unwrap_err().downcast::<&str>().unwrap(), "dropped");
        assert!(!clone.is_cancelled());
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn never_calls_nobody() {
    let bytes = live_bytes();
    {
        let never = CancellationToken::never();
        let count = Calls::new();
        let kept = never.on_cancel(count.callback());
        never.on_cancel(count.callback()).forget();
        assert_eq!(count.seen(), (0, 1), "nobody could call it any more");
        never.cancel();
        assert!(kept.unregister());
        assert_eq!(count.seen(), (0, 2));
        let flag = never.flag();
        never.cancel();
        assert!(!flag.is_set());
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn registrations_may_go_anywhere() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::fmt::Debug + 'static>() {}
    check::<Registration>();
    check::<Flag>();
    check::<Wedge<u8>>();
    let token = CancellationToken::new();
    let registration = token.on_cancel(|| ());
    assert_eq!(
        format!("{registration:?}"),
        format!("Registration {{ token: {token:?}, .. }}")
    );
    let gone = std::thread::spawn(move || registration.unregister());
    assert!(gone.join().unwrap());
}

// ------------------------------------------------------------------ forgotten ones

#[test]
fn a_forgotten_callback_runs() {
    for n in [1, 4, 500] {
        let bytes = live_bytes();
        {
            let root = CancellationToken::new();
            let child = root.child_token();
            let count = Calls::new();
            for _ in 0..n {
                child.on_cancel(count.callback()).forget();
            }
            let calls = allocator_calls();
            child.cancel();
            assert_eq!(allocator_calls(), calls, "cancel does not free, either");
            assert_eq!(count.seen(), (n, n));
            // A second walk finds them again, and nothing to do.
            root.cancel();
            assert_eq!(count.seen(), (n, n));
        }
        assert_eq!(live_bytes(), bytes);
    }
}

#[test]
fn a_forgotten_callback_is_dropped_with_its_token() {
    for n in [1, 4, 500] {
        let bytes = live_bytes();
        {
            let root = CancellationToken::new();
            let child = root.child_token();
            let (above, below) = (Calls::new(), Calls::new());
            for _ in 0..n {
                root.on_cancel(above.callback()).forget();
                child.on_cancel(below.callback()).forget();
            }
            drop(child);
            assert_eq!((above.seen(), below.seen()), ((0, 0), (0, n)));
            // The slot's next occupant has nothing to do with them.
            let next = root.child_token();
            next.cancel();
            assert_eq!(below.seen(), (0, n));
            drop((root, next));
            assert_eq!((above.seen(), below.seen()), ((0, n), (0, n)));
        }
        assert_eq!(live_bytes(), bytes);
    }
}

#[test]
fn steady_forgetting_keeps_no_memory() {
    let root = CancellationToken::new();
    let round = |cancel: bool| {
        let child = root.child_token();
        child.on_cancel(|| ()).forget();
        if cancel {
            child.cancel();
        }
    };
    round(true);
    let bytes = live_bytes();
    for i in 0..scaled(10_000, 50) {
        round(i % 2 == 0);
    }
    assert_eq!(live_bytes(), bytes);
}

/// A chain of tokens, each kept by the callback of the one before it, is buried by callbacks' drops.
#[test]
fn a_closures_drop_may_bury_other_tokens() {
    let bytes = live_bytes();
    {
        let count = Calls::new();
        let first = CancellationToken::new();
        let (mut at, mut kept) = (first.clone(), Vec::new());
        for _ in 0..10 {
            let next = at.child_token();
            let other = CancellationToken::new();
            let (captured, run) = (other.child_token(), count.callback());
            at.on_cancel(move || {
                captured.cancel();
                run();
            })
            .forget();
            kept.push(other);
            at = next;
        }
        drop((first, at));
        assert_eq!(count.seen(), (0, 10));
    }
    assert_eq!(live_bytes(), bytes);
}

/// The last handle goes while a cancel is under way which has marked the child, but not yet come to
/// its callbacks: they are dropped unrun, then or later, and nothing leaks.
#[test]
fn a_token_that_dies_during_a_cancel_drops_its_callbacks() {
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let child = root.child_token();
        let count = Calls::new();
        child.on_cancel(count.callback()).forget();
        let cell = Mutex::new(Some(child));
        root.on_cancel(move || drop(cell.lock().unwrap().take()))
            .forget();
        root.cancel();
        assert_eq!(count.seen(), (0, 1));
    }
    assert_eq!(live_bytes(), bytes);
}

#[test]
fn racing_cancel_and_drop_of_tokens_with_forgotten_callbacks() {
    for _ in 0..scaled(5_000, 20) {
        let root = CancellationToken::new();
        let count = Calls::new();
        let children: Vec<_> = (0..4)
            .map(|_| {
                let child = root.child_token();
                child.on_cancel(count.callback()).forget();
                child.child_token().on_cancel(count.callback()).forget();
                child
            })
            .collect();
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    root.cancel();
                });
            }
            start.wait();
            drop(children);
            // Reuses the slots.
            drop(root.child_token());
        });
        drop(root);
        let (calls, drops) = count.seen();
        assert_eq!(drops, 8);
        assert!(calls <= 4, "grandchildren were dropped at once");
    }
}

#[test]
fn racing_unregister_and_cancel() {
    for _ in 0..scaled(10_000, 30) {
        let token = CancellationToken::new();
        let count = Calls::new();
        let registration = token.on_cancel(count.callback());
        let start = Barrier::new(2);
        let stopped = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                token.cancel();
            });
            start.wait();
            registration.unregister()
        });
        assert_eq!(count.seen(), (usize::from(!stopped), 1));
    }
}

// ------------------------------------------------------------------ flags

#[test]
fn a_flag_is_a_word_at_a_fixed_address() {
    fn read(flag: &Flag) -> u32 {
        // SAFETY: the word is there as long as the flag; others change it atomically only.
        unsafe { AtomicU32::from_ptr(flag.as_ptr().cast_mut()) }.load(Acquire)
    }
    let bytes = live_bytes();
    {
        let root = CancellationToken::new();
        let child = root.child_token();
        let flag = child.flag();
        let address = flag.as_ptr();
        let moved = Box::new(flag);
        assert_eq!(
            (moved.as_ptr(), read(&moved), moved.is_set()),
            (address, 0, false)
        );
        let other = child.flag();
        assert_ne!(other.as_ptr(), address);
        drop(other);
        let calls = allocator_calls();
        root.cancel();
        assert_eq!(allocator_calls(), calls);
        assert!(read(&moved) != 0 && moved.is_set());
        let late = child.flag();
        assert!(read(&late) != 0 && late.is_set());
        // It keeps the token, and the word.
        drop((root, child));
        assert!(read(&moved) != 0);
    }
    assert_eq!(live_bytes(), bytes);
}

// ------------------------------------------------------------------ wedges

#[test]
fn a_wedge_ends_a_blocking_call() {
    // A channel's receiver blocks until the last sender is gone: closing is dropping the sender.
    let (tx, rx) = mpsc::channel::<()>();
    let token = CancellationToken::new();
    let wedge = token.close_on_cancel(Mutex::new(Some(tx)), |tx| drop(tx.lock().unwrap().take()));
    std::thread::scope(|scope| {
        scope.spawn(|| token.cancel());
        assert!(rx.recv().is_err());
    });
    assert!(wedge.lock().unwrap().is_none());
    assert!(wedge.disarm().is_none());
}

#[test]
fn a_disarmed_wedge_gives_the_resource_back() {
    let bytes = live_bytes();
    {
        let token = CancellationToken::new();
        let count = Calls::new();
        let run = count.callback();
        let wedge = token.close_on_cancel(vec![1, 2, 3], |_| run());
        assert_eq!(wedge.len(), 3);
        assert_eq!(wedge.disarm(), Some(vec![1, 2, 3]));
        token.cancel();
        assert_eq!(count.seen(), (0, 1));
        // Closed before it could block.
        let run = count.callback();
        let wedge = token.close_on_cancel(vec![4], |_| run());
        assert_eq!(count.seen(), (1, 2));
        assert_eq!(wedge.disarm(), None);
        // Dropped, not closed.
        let (live, resource) = (CancellationToken::new(), count.callback());
        drop(live.close_on_cancel(resource, |_| unreachable!()));
        assert_eq!(count.seen(), (1, 3));
    }
    assert_eq!(live_bytes(), bytes);
}

// ------------------------------------------------------------------ threads

#[test]
fn a_thread_waits() {
    for _ in 0..scaled(1_000, 5) {
        let root = CancellationToken::new();
        let child = root.child_token();
        std::thread::scope(|scope| {
            let sleepers = [
                scope
                    .spawn(|| {
                        child.wait_blocking();
                        assert!(child.is_cancelled());
                    })
                    .thread()
                    .clone(),
                scope
                    .spawn(|| assert!(child.wait_timeout(Duration::MAX)))
                    .thread()
                    .clone(),
                scope
                    .spawn(|| assert!(root.wait_timeout(Duration::from_secs(1 << 30))))
                    .thread()
                    .clone(),
            ];
            // Somebody else's unpark ends nothing.
            sleepers.iter().for_each(std::thread::Thread::unpark);
            root.cancel();
        });
    }
}

#[test]
fn a_wait_of_no_time_only_looks() {
    let bytes = live_bytes();
    let token = CancellationToken::new();
    assert!(!token.wait_timeout(Duration::ZERO));
    assert!(!CancellationToken::never().wait_timeout(Duration::ZERO));
    token.cancel();
    let calls = allocator_calls();
    assert!(token.wait_timeout(Duration::ZERO));
    token.wait_blocking();
    assert_eq!(allocator_calls(), calls);
    drop(token);
    assert_eq!(live_bytes(), bytes);
}
