//! `FixedNursery`. Its wakers and slots are those of `FixedSet`, and tested there.

use futures_core::Stream;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use umbel_core::{
    CancelSignal, CancellationToken, FixedFailure, FixedNursery, FixedSet, NoSignal, Reason,
    ReasonKind, TrySpawnError, WakePool,
};
use umbel_tests::counting::allocator_calls;
use umbel_tests::exec::{Counter, Gate, Log, Parked, Task, yields};
use umbel_tests::scaled;

type Outcome = Result<(), &'static str>;
type Nursery<'env, const N: usize> = FixedNursery<'env, &'static str, N>;

/// Is polled, leaves its waker, and ends after `turns`.
fn parks(parked: &Parked, polls: &Counter, turns: usize) -> impl Future<Output = Outcome> {
    let (parked, polls) = (parked.clone(), polls.clone());
    let mut left = turns;
    poll_fn(move |cx| {
        polls.hit();
        parked.park(cx);
        left -= 1;
        if left == 0 {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
}

/// Says when it is dropped.
async fn held(log: &Log, name: &'static str, inner: impl Future<Output = Outcome>) -> Outcome {
    let _dropped = log.on_drop(name);
    inner.await
}

/// N1.
#[test]
fn the_fixed_run_ends_when_body_and_children_have_ended() {
    static POOL: WakePool<2> = WakePool::new();
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        for gate in &gates[..2] {
            n.try_spawn(async {
                gate.pass().await;
                Ok(())
            })
            .map_err(|_| "full")?;
        }
        gates[2].pass().await;
        Ok(7)
    }));
    for gate in &gates {
        run.stall();
        gate.open();
        assert!(run.is_woken());
    }
    assert_eq!(run.finish(), Ok(7));
    assert!(POOL.is_in_use());
    drop(run);
    assert!(!POOL.is_in_use());
}

/// N2, N4: the first error, of a child or of the body, drops all others at their await points, youngest
/// first, then the body; nothing is polled any more.
#[test]
fn the_first_error_drops_the_rest() {
    static POOL: WakePool<4> = WakePool::new();
    for of_body in [false, true] {
        let (log, fail) = (Log::new(), Gate::new());
        let n = Nursery::<4>::new(&POOL).unwrap();
        let mut run = Task::new(n.run(async {
            let _dropped = log.on_drop("body");
            for name in ["a", "b", "c"] {
                let child = held(&log, name, pending());
                n.try_spawn(child).map_err(|_| "full")?;
            }
            if of_body {
                fail.pass().await;
                return Err("it failed");
            }
            let failing = async {
                fail.pass().await;
                Err("it failed")
            };
            n.try_spawn(failing).map_err(|_| "full")?;
            pending::<Outcome>().await
        }));
        run.stall();
        fail.open();
        assert_eq!(run.finish(), Err(FixedFailure::Error("it failed")));
        let drops = if of_body { "body c b a" } else { "c b a body" };
        assert_eq!(log.take(), drops);
        assert!(n.try_spawn(ready(Ok(()))).is_err());
    }
}

/// Ties: a signal that is cancelled already comes before everything.
#[test]
fn a_fixed_run_that_is_cancelled_already_polls_nothing() {
    static POOL: WakePool<1> = WakePool::new();
    let token = CancellationToken::pre_cancelled(Reason::custom(3));
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run_until_cancelled(&token, async { unreachable!() }));
    let failure: FixedFailure<_> = Result::<(), _>::unwrap_err(run.finish());
    assert_eq!(failure, FixedFailure::Cancelled(Reason::custom(3)));
    assert_eq!(run.polls(), 1);
}

/// N4: a cancellation from outside wakes the run, which drops all and says why.
#[test]
fn a_cancelled_fixed_run_drops_all() {
    static POOL: WakePool<2> = WakePool::new();
    let (log, token) = (Log::new(), CancellationToken::new());
    let (parked, polls) = (Parked::default(), Counter::default());
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run_until_cancelled(&token, async {
        let _dropped = log.on_drop("body");
        for name in ["a", "b"] {
            let child = held(&log, name, parks(&parked, &polls, 9));
            n.try_spawn(child).map_err(|_| "full")?;
        }
        pending::<Outcome>().await
    }));
    run.stall();
    token.cancel_with(Reason::shutdown());
    assert!(run.is_woken(), "by the cancellation alone");
    parked.take().into_iter().for_each(Waker::wake);
    let failure = run.finish().unwrap_err();
    assert!(matches!(&failure, FixedFailure::Cancelled(r) if r.kind() == ReasonKind::Shutdown));
    assert_eq!(polls.get(), 2, "not polled again, though woken");
    assert_eq!(log.take(), "b a body");
    assert_eq!(failure.to_string(), "cancelled: shutting down");
}

/// N4: a child cancels its nursery during its own poll: no sibling is polled after it.
#[test]
fn n_17_a_child_cancels_its_fixed_nursery() {
    static POOL: WakePool<3> = WakePool::new();
    let token = CancellationToken::new();
    let (parked, polls) = (Parked::default(), Counter::default());
    let n = Nursery::<3>::new(&POOL).unwrap();
    let mut run = Task::new(n.run_until_cancelled(&token, async {
        n.try_spawn(parks(&parked, &polls, 9)).unwrap();
        n.try_spawn(async {
            token.cancel();
            pending().await
        })
        .unwrap();
        n.try_spawn(async { unreachable!("polled after the cancellation") })
            .unwrap();
        pending::<Outcome>().await
    }));
    assert!(matches!(
        run.poll(),
        Poll::Ready(Err(FixedFailure::Cancelled(_)))
    ));
    assert_eq!(polls.get(), 1);
}

/// All come to their own good end in the turn of the cancellation: that is success.
#[test]
fn a_good_end_beats_a_cancellation_in_the_same_turn() {
    static POOL: WakePool<1> = WakePool::new();
    let token = CancellationToken::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run_until_cancelled(&token, async {
        n.try_spawn(async {
            token.cancel();
            Ok(())
        })
        .unwrap();
        Ok(5)
    }));
    assert_eq!(run.finish(), Ok(5));
}

/// N3: who is refused comes back: over `N`, before the run, between polls, after the end.
#[test]
fn a_refused_child_comes_back() {
    static POOL: WakePool<1> = WakePool::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let child = || ready(Outcome::Ok(()));
    let closed = n.try_spawn(child()).unwrap_err();
    assert!(matches!(closed, TrySpawnError::Closed(_)));
    assert_eq!(
        format!("{closed:?}, {closed}"),
        "Closed(..), the nursery is closed"
    );
    let mut run = Task::new(n.run(async {
        assert!(n.try_spawn(child()).is_ok());
        let full = n.try_spawn(child()).unwrap_err();
        assert!(full.is_full());
        assert_eq!(
            format!("{full:?}, {full}"),
            "Full(..), the nursery has no room for another child"
        );
        assert_eq!(full.into_inner().into_inner(), Ok(()));
        yields(1).await;
        Ok(())
    }));
    assert!(run.poll().is_pending());
    assert!(!n.try_spawn(child()).unwrap_err().is_full());
    let wait = pin!(n.spawn_wait(child()));
    let closed = wait.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(closed, Poll::Ready(Err(TrySpawnError::Closed(_)))));
    assert_eq!(run.finish(), Ok(()));
    assert!(!n.try_spawn(child()).unwrap_err().is_full());
}

/// N3: who waits for room is served in order; who gives up leaves his turn to others.
#[test]
fn waiting_for_room_is_first_come_first_served() {
    static POOL: WakePool<1> = WakePool::new();
    let (log, gate) = (Log::new(), Gate::new());
    let n = Nursery::<1>::new(&POOL).unwrap();
    let say = async |what: &'static str| {
        log.add(what);
        yields(1).await;
        Ok(())
    };
    let mut run = Task::new(n.run(async {
        let blocks = async {
            gate.pass().await;
            Ok(())
        };
        n.try_spawn(blocks).unwrap();
        let mut first = Box::pin(n.spawn_wait(say("first")));
        let mut second = Box::pin(n.spawn_wait(say("second")));
        let mut third = Box::pin(n.spawn_wait(say("third")));
        poll_fn(|cx| {
            // In this order they wait.
            assert!(first.as_mut().poll(cx).is_pending());
            assert!(second.as_mut().poll(cx).is_pending());
            assert!(third.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        gate.open();
        yields(2).await; // there is room now, and the first was told
        poll_fn(|cx| {
            assert!(second.as_mut().poll(cx).is_pending());
            assert!(third.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(first);
        poll_fn(|cx| {
            assert!(third.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        second.await.map_err(|_| "closed")?;
        third.await.map_err(|_| "closed")?;
        n.spawn_wait(say("fourth")).await.map_err(|_| "closed")
    }));
    assert_eq!(run.finish(), Ok(()));
    assert_eq!(log.take(), "second third fourth");
}

/// Two waits within one child of the body, each with a waker of its own: both are woken.
#[test]
fn waits_with_wakers_of_their_own_are_woken() {
    static POOL: WakePool<1> = WakePool::new();
    let (done, token) = (Counter::default(), CancellationToken::new());
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        let mut both = umbel_core::FutureSet::new();
        for _ in 0..5 {
            let child = async {
                yields(2).await;
                done.hit();
                Ok(())
            };
            both.push(n.spawn_wait(child));
        }
        let mut all = pin!(both);
        let next = poll_fn(|cx| futures_core::Stream::poll_next(all.as_mut(), cx));
        let mut next = pin!(next);
        while let Some(spawned) = next.as_mut().await {
            spawned.map_err(|_| "closed")?;
        }
        Ok(())
    }));
    assert_eq!(run.finish(), Ok(()));
    assert_eq!(done.get(), 5);
    drop(token);
}

/// Who was told that there is room, and gives up, tells the next one.
#[test]
fn who_gives_up_his_turn_wakes_the_next() {
    static POOL: WakePool<1> = WakePool::new();
    let blocked = Gate::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        let blocks = async {
            blocked.pass().await;
            Ok(())
        };
        n.try_spawn(blocks).unwrap();
        let tasks = [
            umbel_tests::exec::Wakes::new(),
            umbel_tests::exec::Wakes::new(),
        ];
        let mut waits = [(); 2].map(|()| Some(Box::pin(n.spawn_wait(ready(Ok(()))))));
        for (wait, (_, waker)) in waits.iter_mut().zip(&tasks) {
            let wait = wait.as_mut().unwrap().as_mut();
            assert!(wait.poll(&mut Context::from_waker(waker)).is_pending());
        }
        blocked.open();
        yields(2).await;
        let counts = || tasks.each_ref().map(|(wakes, _)| wakes.count());
        assert_eq!(counts(), [1, 0]);
        waits[0] = None;
        assert_eq!(counts(), [1, 1]);
        Ok(())
    }));
    assert_eq!(run.finish(), Ok(()));
}

/// Who was told that there is room gives up just when another one clones his waker to wait: that one need
/// not.
#[test]
fn who_gives_up_while_another_begins_to_wait_leaves_him_the_room() {
    static POOL: WakePool<1> = WakePool::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        n.try_spawn(ready(Ok(()))).map_err(|_| "full")?;
        let first = RefCell::new(Some(Box::pin(n.spawn_wait(pending()))));
        let is_pending = poll_fn(|cx| {
            let mut first = first.borrow_mut();
            Poll::Ready(first.as_mut().unwrap().as_mut().poll(cx).is_pending())
        });
        assert!(is_pending.await);
        yields(1).await;
        let give_up = || *first.borrow_mut() = None;
        let mut second = pin!(n.spawn_wait(ready(Ok(()))));
        let polled = with_clone_hook(&give_up, |cx| second.as_mut().poll(cx));
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        Ok(())
    }));
    assert_eq!(run.finish(), Ok(()));
}

/// Shows a waker that runs `hook` when it is cloned, and whose clones do nothing.
fn with_clone_hook<R>(hook: &dyn Fn(), show: impl FnOnce(&mut Context<'_>) -> R) -> R {
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |hook| {
            // SAFETY: the waker shown has it, and is gone before the call is over.
            unsafe { (*hook.cast::<&dyn Fn()>())() };
            RawWaker::new(std::ptr::null(), Waker::noop().vtable())
        },
        |_| (),
        |_| (),
        |_| (),
    );
    // SAFETY: the functions may be called as long as the hook lives; clones do nothing.
    let waker = unsafe { Waker::new((&raw const hook).cast(), &TABLE) };
    show(&mut Context::from_waker(&waker))
}

/// Two slots become free at once: who is served first passes the word on.
#[test]
fn two_free_slots_serve_two_waits() {
    static POOL: WakePool<2> = WakePool::new();
    let (blocked, met) = (Gate::new(), Gate::new());
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        let mut waits = pin!(umbel_core::FutureSet::new());
        for _ in 0..2 {
            let blocks = async {
                blocked.pass().await;
                Ok(())
            };
            n.try_spawn(blocks).unwrap();
        }
        for opens in [false, true] {
            let met = &met;
            waits.push(n.spawn_wait(async move {
                if opens {
                    met.open();
                }
                met.pass().await; // the first child ends only if the second runs
                Ok(())
            }));
        }
        for _ in 0..2 {
            let next = poll_fn(|cx| futures_core::Stream::poll_next(waits.as_mut(), cx));
            next.await.unwrap().unwrap();
        }
        Ok(())
    }));
    run.stall();
    blocked.open();
    assert_eq!(run.finish(), Ok(()));
}

/// Who waits for room when the nursery ends is told, wherever he is.
#[test]
fn the_end_wakes_who_waits() {
    static POOL: WakePool<1> = WakePool::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let stolen = RefCell::new(None);
    let mut run = Task::new(n.run(async {
        n.try_spawn(pending()).unwrap();
        let mut wait = Box::pin(n.spawn_wait(ready(Ok(()))));
        let (wakes, waker) = umbel_tests::exec::Wakes::new();
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        *stolen.borrow_mut() = Some((wait, wakes));
        Err::<(), _>("over")
    }));
    assert_eq!(run.finish(), Err(FixedFailure::Error("over")));
    let (mut wait, wakes) = stolen.take().unwrap();
    assert_eq!(wakes.count(), 1);
    let told = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(told, Poll::Ready(Err(TrySpawnError::Closed(_)))));
}

/// N6, in part: children spawn, and so does a child's drop; a slot is used again and again.
#[test]
fn children_and_drops_spawn() {
    static POOL: WakePool<2> = WakePool::new();
    let ended = Counter::default();
    struct SpawnsInDrop<'a, 'env>(&'a Nursery<'env, 2>, &'env Counter);
    impl Drop for SpawnsInDrop<'_, '_> {
        fn drop(&mut self) {
            let ended = self.1;
            let late = async move {
                ended.hit();
                Ok(())
            };
            assert!(self.0.try_spawn(late).is_ok());
        }
    }
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        for _ in 0..20 {
            let child = async {
                let _late = SpawnsInDrop(&n, &ended);
                yields(1).await;
                ended.hit();
                Ok(())
            };
            n.spawn_wait(child).await.map_err(|_| "closed")?;
            yields(3).await;
        }
        Ok(())
    }));
    assert_eq!(run.finish(), Ok(()));
    assert_eq!(ended.get(), 40);
}

#[test]
fn nobody_overtakes_who_waits_for_room() {
    static POOL: WakePool<2> = WakePool::new();
    // A child that takes every slot that it finds free, polled after the one that frees it.
    const TURNS: usize = 10;
    let (begun, left) = (Cell::new(false), Cell::new(TURNS));
    let short = || async {
        yields(1).await;
        Ok(())
    };
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        n.try_spawn(short()).map_err(|_| "full")?;
        n.try_spawn(async {
            while left.replace(left.get() - 1) > 1 {
                drop(n.try_spawn(short()));
                yields(1).await;
            }
            Ok(())
        })
        .map_err(|_| "full")?;
        let waits = n.spawn_wait(async {
            begun.set(true);
            Ok(())
        });
        waits.await.map_err(|_| "closed")?;
        assert!(left.get() > TURNS / 2, "starved");
        Ok(())
    }));
    assert_eq!(run.finish(), Ok(()));
    assert!(begun.get());
}

#[test]
fn who_is_sent_away_wakes_the_next() {
    static POOL: WakePool<1> = WakePool::new();
    // Its wake came, but it is polled when the nursery is not: that is closed to it, not to others.
    let served = Cell::new(false);
    let gate = Gate::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let away = RefCell::new(Box::pin(n.spawn_wait(ready(Ok(())))));
    let poll_away = || {
        let mut cx = Context::from_waker(Waker::noop());
        away.borrow_mut().as_mut().poll(&mut cx)
    };
    let mut run = Task::new(n.run(async {
        n.try_spawn(async {
            gate.pass().await;
            Ok(())
        })
        .map_err(|_| "full")?;
        assert!(poll_away().is_pending());
        let next = n.spawn_wait(async {
            served.set(true);
            Ok(())
        });
        next.await.map_err(|_| "closed")?;
        Ok(())
    }));
    run.stall();
    gate.open();
    run.stall();
    let Poll::Ready(Err(TrySpawnError::Closed(_))) = poll_away() else {
        panic!("the nursery is not polled");
    };
    assert_eq!(run.finish(), Ok(()));
    assert!(served.get());
}

/// N10: one child that is always ready, and one that spawns without end: the outer task gets its turn,
/// and others theirs.
#[test]
fn n_10_nobody_starves_in_a_fixed_nursery() {
    static POOL: WakePool<4> = WakePool::new();
    struct Chain<'env>(&'env Nursery<'env, 4>, &'env Counter);
    impl Future for Chain<'_> {
        type Output = Outcome;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome> {
            self.1.hit();
            self.0.try_spawn(Chain(self.0, self.1)).unwrap();
            Poll::Ready(Ok(()))
        }
    }
    let (spins, links) = (Counter::default(), Counter::default());
    let (parked, polls) = (Parked::default(), Counter::default());
    let n = Nursery::<4>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        n.try_spawn(parks(&parked, &polls, 99)).unwrap();
        let spinner = poll_fn(|cx| {
            spins.hit();
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        n.try_spawn(spinner).unwrap();
        n.try_spawn(Chain(&n, &links)).unwrap();
        pending::<Outcome>().await
    }));
    for turn in 1..=20 {
        assert!(run.poll().is_pending(), "the outer task gets its turn");
        assert!(run.is_woken());
        assert_eq!((spins.get(), polls.get()), (turn, turn));
        parked.take().into_iter().for_each(Waker::wake);
    }
    assert!(links.get() >= 20);
}

/// Children that spawn without end, and wake nobody, leave the run to be polled again.
#[test]
fn what_is_left_of_a_turn_wakes_the_task() {
    static POOL: WakePool<2> = WakePool::new();
    let links = Counter::default();
    fn link<'env>(
        n: &'env Nursery<'env, 2>,
        links: &'env Counter,
    ) -> impl Future<Output = Outcome> + 'env {
        poll_fn(move |_| {
            links.hit();
            let next: Pin<Box<dyn Future<Output = Outcome> + 'env>> = Box::pin(link(n, links));
            n.try_spawn(next).unwrap();
            Poll::Ready(Ok(()))
        })
    }
    let n = Nursery::<2>::new(&POOL).unwrap();
    let body = Parked::default();
    let mut run = Task::new(n.run(async {
        n.try_spawn(link(&n, &links)).unwrap();
        poll_fn(|cx| {
            body.park(cx);
            Poll::<Outcome>::Pending
        })
        .await
    }));
    for turn in 1..10 {
        assert!(run.poll().is_pending());
        assert!(run.is_woken());
        assert_eq!(links.get(), 2 * turn, "as many as there are slots");
    }
    assert_eq!(run.wakes(), 9);
    body.take().into_iter().for_each(Waker::wake);
    assert_eq!(run.wakes(), 9, "it was woken already");
}

/// Only what was woken is polled: not the body for a child's wake, nor the other way round.
#[test]
fn a_fixed_nursery_polls_only_what_was_woken() {
    static POOL: WakePool<65> = WakePool::new();
    let (body_polls, bell) = (Counter::default(), Parked::default());
    let logs: Vec<_> = (0..65)
        .map(|_| (Parked::default(), Counter::default()))
        .collect();
    let n = Nursery::<65>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(poll_fn(|cx| {
        if body_polls.hit() == 1 {
            for (parked, polls) in &logs {
                n.try_spawn(parks(parked, polls, 99)).unwrap();
            }
        }
        bell.park(cx);
        Poll::<Outcome>::Pending
    })));
    run.stall();
    let wakers: Vec<_> = logs
        .iter()
        .map(|(parked, _)| parked.take().remove(0))
        .collect();
    for (i, waker) in wakers.iter().enumerate() {
        waker.wake_by_ref();
        assert_eq!(run.wakes(), i + 1);
        run.stall();
        assert_eq!((logs[i].1.get(), body_polls.get()), (2, 1));
    }
    bell.take().remove(0).wake();
    run.stall();
    assert_eq!(body_polls.get(), 2);
    assert!(logs.iter().all(|(_, polls)| polls.get() == 2));
}

/// A panic, of a child or the body, comes out of the poll when all others have been dropped.
#[test]
fn a_panic_drops_the_rest_and_comes_out() {
    static POOL: WakePool<2> = WakePool::new();
    for of_body in [false, true] {
        let log = Log::new();
        let n = Nursery::<2>::new(&POOL).unwrap();
        let mut run = Box::pin(n.run(async {
            let _dropped = log.on_drop("body");
            n.try_spawn(held(&log, "a", pending())).unwrap();
            let fails = async {
                yields(1).await;
                panic!("hostile child")
            };
            n.try_spawn(held(&log, "b", fails)).unwrap();
            yields(1).await;
            assert!(!of_body, "hostile body");
            pending::<Outcome>().await
        }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(run.as_mut().poll(&mut cx).is_pending());
        let panic = catch_unwind(AssertUnwindSafe(|| drop(run.as_mut().poll(&mut cx))));
        assert!(panic.is_err());
        assert_eq!(log.take(), if of_body { "body b a" } else { "b a body" });
        let again = catch_unwind(AssertUnwindSafe(|| drop(run.as_mut().poll(&mut cx))));
        assert!(again.is_err());
        drop(run);
        assert!(!POOL.is_in_use());
    }
}

/// A child panics in its poll, and again when it is dropped for that: the first panic comes out.
#[test]
fn a_child_panics_in_its_poll_and_in_its_drop() {
    static POOL: WakePool<2> = WakePool::new();
    struct Throws<'a>(&'a Counter);
    impl Future for Throws<'_> {
        type Output = Outcome;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome> {
            panic_any("poll")
        }
    }
    impl Drop for Throws<'_> {
        fn drop(&mut self) {
            self.0.hit();
            panic!("hostile drop");
        }
    }
    let (log, drops) = (Log::new(), Counter::default());
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Box::pin(n.run(async {
        n.try_spawn(held(&log, "sibling", pending())).unwrap();
        n.try_spawn(Throws(&drops)).unwrap();
        pending::<Outcome>().await
    }));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| drop(run.as_mut().poll(&mut cx))));
    assert_eq!(polled.unwrap_err().downcast_ref(), Some(&"poll"));
    assert_eq!((drops.get(), log.take()), (1, "sibling".into()));
    drop(run);
    assert!(!POOL.is_in_use());
}

/// A drop that panics loses no sibling.
#[test]
fn a_panic_in_a_drop_loses_no_sibling() {
    static POOL: WakePool<3> = WakePool::new();
    struct Bad<'a>(&'a Counter);
    impl Drop for Bad<'_> {
        fn drop(&mut self) {
            self.0.hit();
            panic!("hostile drop");
        }
    }
    let drops = Counter::default();
    let n = Nursery::<3>::new(&POOL).unwrap();
    let mut run = Box::pin(n.run(async {
        for _ in 0..3 {
            let bad = Bad(&drops);
            let child = async move {
                let _bad = bad;
                pending().await
            };
            n.try_spawn(child).unwrap();
        }
        pending::<Outcome>().await
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut cx).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(run))).is_err());
    assert_eq!(drops.get(), 3);
    assert!(!POOL.is_in_use());
}

/// What panics while a failed run drops the rest takes the error along, but leaks nothing.
#[test]
fn an_error_is_dropped_if_the_drop_of_the_body_panics() {
    static POOL: WakePool<1> = WakePool::new();
    struct Fails<'a>(&'a Rc<()>);
    impl Future for Fails<'_> {
        type Output = Result<(), Rc<()>>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Err(Rc::clone(self.0)))
        }
    }
    impl Drop for Fails<'_> {
        fn drop(&mut self) {
            panic!("hostile drop");
        }
    }
    let error = Rc::new(());
    let n = FixedNursery::<Rc<()>, 1>::new(&POOL).unwrap();
    let mut run = Box::pin(n.run(Fails(&error)));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| drop(run.as_mut().poll(&mut cx))));
    assert!(polled.is_err());
    drop(run);
    assert_eq!(Rc::strong_count(&error), 1);
}

/// N9: the run is dropped at every poll: children youngest first, then the body, each once.
#[test]
fn drop_a_fixed_run_at_every_poll() {
    static POOL: WakePool<3> = WakePool::new();
    let mut ended = false;
    for polls in 0.. {
        let log = Log::new();
        let n = Nursery::<3>::new(&POOL).unwrap();
        let mut run = Task::new(n.run(async {
            let _dropped = log.on_drop("body");
            for (i, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
                let child = held(&log, name, async move {
                    yields(scaled(4, 1) * (i + 1)).await;
                    Ok(())
                });
                n.spawn_wait(child).await.map_err(|_| "closed")?;
            }
            yields(scaled(10, 2)).await;
            Ok(())
        }));
        for _ in 0..polls {
            ended = run.poll().is_ready();
        }
        let before = log.take();
        drop(run);
        let after = log.take();
        let mut all: Vec<_> = before.split(' ').chain(after.split(' ')).collect();
        all.retain(|name| !name.is_empty());
        let (body, children): (Vec<_>, Vec<_>) = all.into_iter().partition(|name| *name == "body");
        assert_eq!(body.len(), usize::from(polls > 0));
        // Whoever was alive was dropped with the run, youngest first, and then the body.
        let mut sorted: Vec<_> = after.split(' ').filter(|name| name.len() == 1).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let expected = sorted.join(" ");
        assert!(after.starts_with(&expected) && (after.len() <= expected.len() + 5));
        let mut unique = children.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), children.len(), "each once");
        assert!(!POOL.is_in_use());
        if ended {
            break;
        }
    }
    assert!(ended);
}

/// The pool is free after a nursery that was never run, and one that was never polled.
#[test]
fn the_pool_of_an_unused_nursery_is_given_back() {
    static POOL: WakePool<1> = WakePool::new();
    drop(Nursery::<1>::new(&POOL).unwrap());
    let n = Nursery::<1>::new(&POOL).unwrap();
    assert!(Nursery::<1>::new(&POOL).is_err());
    drop(n.run(ready(Ok(()))));
    assert!(!POOL.is_in_use());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(n.run(ready(Ok(())))))).is_err());
    assert_eq!(
        format!("{n:?} {NoSignal:?}"),
        "FixedNursery { slots: 1, .. } NoSignal"
    );
}

/// Nothing of this calls the allocator.
#[test]
fn a_fixed_nursery_allocates_nothing() {
    static POOL: WakePool<4> = WakePool::new();
    let sum = Cell::new(0);
    let token = CancellationToken::new();
    let mut cx = Context::from_waker(Waker::noop());
    let mut life = || {
        let n = FixedNursery::<&str, 4, 128>::with_size(&POOL).unwrap();
        let mut run = pin!(n.run_until_cancelled(&token, async {
            for i in 0..50 {
                let sum = &sum;
                let child = async move {
                    yields(i % 3).await;
                    sum.set(sum.get() + i);
                    Ok(())
                };
                n.spawn_wait(child).await.map_err(|_| "closed")?;
            }
            Ok(())
        }));
        while run.as_mut().poll(&mut cx).is_pending() {}
    };
    life(); // the token's first waiter takes memory
    let before = allocator_calls();
    life();
    assert_eq!((allocator_calls(), sum.get()), (before, 50 * 49));
}

/// Futures of every size and alignment up to the slots' lie well in them.
#[test]
fn children_of_any_size_fit() {
    #[repr(align(8))]
    struct Sized<const BYTES: usize>([u8; BYTES], Rc<Cell<usize>>);
    impl<const BYTES: usize> Future for Sized<BYTES> {
        type Output = Outcome;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome> {
            assert_eq!((&raw const *self).addr() % align_of::<Self>(), 0);
            assert!(self.0.iter().all(|byte| *byte == 7));
            self.1.set(self.1.get() + BYTES);
            Poll::Ready(Ok(()))
        }
    }
    static POOL: WakePool<4> = WakePool::new();
    let sum = Rc::new(Cell::new(0));
    let n = Nursery::<4>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        n.try_spawn(Sized([7; 0], sum.clone())).unwrap();
        n.try_spawn(Sized([7; 1], sum.clone())).unwrap();
        n.try_spawn(Sized([7; 100], sum.clone())).unwrap();
        n.try_spawn(Sized([7; 248], sum.clone())).unwrap();
        Ok(())
    }));
    assert_eq!(run.finish(), Ok(()));
    drop(run);
    assert_eq!((sum.get(), Rc::strong_count(&sum)), (349, 1));
}

/// A future that borrows from itself is not looked at, but dropped: for miri.
#[test]
fn children_that_borrow_from_themselves_are_dropped_in_peace() {
    static POOL: WakePool<2> = WakePool::new();
    struct Counts<'a>(&'a mut u32);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            *self.0 += 1;
        }
    }
    async fn borrows() -> Outcome {
        let mut count = 0;
        let _counts = Counts(&mut count);
        pending().await
    }
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        drop(n.try_spawn(borrows()));
        drop(n.try_spawn(borrows()));
        borrows().await
    }));
    run.stall();
    drop(run);

    let mut set = Box::pin(FixedSet::<_, 2>::new(&POOL).unwrap());
    assert!(set.as_mut().push(borrows()).is_ok());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(set.as_mut().poll_next(&mut cx).is_pending());
    set.as_mut().clear();
    assert!(set.as_mut().push(borrows()).is_ok());
    assert!(set.as_mut().poll_next(&mut cx).is_pending());
}

#[test]
fn who_comes_while_the_run_is_not_polled_is_not_let_in() {
    static POOL: WakePool<1> = WakePool::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        n.try_spawn(pending()).unwrap();
        n.spawn_wait(pending()).await.map_err(|_| "closed")
    }));
    run.stall();
    // Somebody waits for room, but that is not why.
    assert!(!n.try_spawn(ready(Ok(()))).unwrap_err().is_full());
    let mut late = Task::new(n.spawn_wait(ready(Ok(()))));
    assert!(!late.finish().unwrap_err().is_full());
}

#[test]
fn a_fixed_run_is_terminated_when_it_has_ended() {
    use futures_core::FusedFuture;

    static POOL: WakePool<1> = WakePool::new();
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = pin!(n.run(async {
        yields(1).await;
        Ok(())
    }));
    let mut cx = Context::from_waker(Waker::noop());
    for ended in [false, true] {
        assert!(!run.is_terminated());
        assert_eq!(run.as_mut().poll(&mut cx).is_ready(), ended);
    }
    assert!(run.is_terminated());
}

/// As it is shown as its error is, its source is its error's.
#[test]
fn the_failure_of_a_fixed_run_has_the_source_of_its_error() {
    use std::error::Error;

    #[derive(Debug)]
    struct Caused(std::fmt::Error);
    impl std::fmt::Display for Caused {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("caused")
        }
    }
    impl Error for Caused {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    let failure = FixedFailure::Error(Caused(std::fmt::Error));
    assert!(failure.source().unwrap().is::<std::fmt::Error>());
    let failure = FixedFailure::<Caused>::Cancelled(Reason::explicit());
    assert!(failure.source().is_none());
}

/// In the turn in which it is cancelled a child is still taken in; it is dropped with the others, unpolled.
#[test]
fn who_is_spawned_in_the_turn_of_a_cancellation_is_dropped_unpolled() {
    static POOL: WakePool<2> = WakePool::new();
    let (token, log) = (CancellationToken::new(), Log::new());
    let n = Nursery::<2>::new(&POOL).unwrap();
    let mut run = Task::new(n.run_until_cancelled(&token, async {
        assert!(n.try_spawn(held(&log, "never polled", pending())).is_ok());
        token.cancel();
        let late = log.on_drop("late");
        let child = async move {
            let _late = late;
            unreachable!("polled")
        };
        assert!(n.try_spawn(child).is_ok());
        pending::<Outcome>().await
    }));
    let failure = run.finish().unwrap_err();
    assert!(matches!(failure, FixedFailure::Cancelled(_)));
    assert_eq!(log.take(), "late");
}

/// A signal that tells nobody is seen by the next turn all the same, whoever woke the task.
#[test]
fn each_turn_looks_at_the_signal() {
    static POOL: WakePool<1> = WakePool::new();
    struct Mute(Cell<bool>);
    impl CancelSignal for Mute {
        type Wait<'a> = std::future::Pending<()>;
        fn is_cancelled(&self) -> bool {
            self.0.get()
        }
        fn reason(&self) -> Option<Reason> {
            None
        }
        fn cancelled(&self) -> Self::Wait<'_> {
            pending()
        }
    }
    let stop = Mute(Cell::new(false));
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run_until_cancelled(&stop, pending::<Outcome>()));
    run.stall();
    stop.0.set(true);
    assert!(run.poll().is_ready());
}

/// The value of a body that ended well goes when a child fails after it, not with the run.
#[test]
fn a_failed_fixed_run_keeps_no_value() {
    static POOL: WakePool<1> = WakePool::new();
    let (value, fail) = (Rc::new(()), Gate::new());
    let n = Nursery::<1>::new(&POOL).unwrap();
    let mut run = Task::new(n.run(async {
        n.try_spawn(async {
            fail.pass().await;
            Err("late")
        })
        .map_err(|_| "full")?;
        Ok(value.clone())
    }));
    run.stall();
    assert_eq!(Rc::strong_count(&value), 2);
    fail.open();
    assert_eq!(run.finish(), Err(FixedFailure::Error("late")));
    assert_eq!(Rc::strong_count(&value), 1);
    drop(run);
}
