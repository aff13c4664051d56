//! n_27: an interrupt wakes a child of a fixed set before each step of every operation of its owner,
//! and of the next owner of its pool. The wake is not lost, and calls no allocator.

use super::at_every_step;
use futures_core::Stream;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::step::with_hook;
use umbel_core::{CancellationToken, FixedNursery, FixedSet, WakePool};
use umbel_tests::counting::allocator_calls;
use umbel_tests::exec::Wakes;

/// Never ends; counts its polls and leaves its waker.
#[derive(Clone, Default)]
struct Child(Rc<(Cell<usize>, RefCell<Option<Waker>>)>);

impl Child {
    fn polls(&self) -> usize {
        self.0.0.get()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.0.1.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Future for Child {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.0.set(self.polls() + 1);
        let parked = self.0.1.borrow().is_some();
        if !parked {
            // The waker is the same for the whole of its life.
            *self.0.1.borrow_mut() = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

const N: usize = 3;
static POOL: WakePool<N> = WakePool::new();

type Set = Pin<Box<FixedSet<Child, N>>>;

struct State {
    set: RefCell<Option<Set>>,
    child: Child,
    tasks: [(Arc<Wakes>, Waker); 2],
    polled: Cell<usize>,
    woken: Cell<usize>,
}

impl State {
    /// A set that has been polled and is idle.
    fn new() -> State {
        let state = State {
            set: RefCell::default(),
            child: Child::default(),
            tasks: [Wakes::new(), Wakes::new()],
            polled: Cell::new(0),
            woken: Cell::new(0),
        };
        let mut set = Box::pin(FixedSet::new(&POOL).expect("the pool is free"));
        assert!(set.as_mut().push(state.child.clone()).is_ok());
        *state.set.borrow_mut() = Some(set);
        state.poll(0);
        state.polled.set(1);
        state
    }

    fn with<R>(&self, act: impl FnOnce(Pin<&mut FixedSet<Child, N>>) -> R) -> R {
        act(self.set.borrow_mut().as_mut().expect("a set").as_mut())
    }

    fn poll(&self, task: usize) {
        let mut cx = Context::from_waker(&self.tasks[task].1);
        self.with(|set| assert!(set.poll_next(&mut cx).is_pending()));
    }

    fn wakes(&self) -> usize {
        self.tasks[0].0.count() + self.tasks[1].0.count()
    }

    /// The interrupt.
    fn wake(&self) {
        self.woken.set(self.woken.get() + 1);
        self.child.wake();
    }

    /// The set, if there is one, has polled the child since it was woken, or will be polled and does.
    fn check(self) {
        let is_there = self.set.borrow().is_some();
        if is_there && self.woken.get() == 1 && self.child.polls() == self.polled.get() {
            assert_eq!(self.wakes(), 1, "nobody was told");
            self.poll(0);
            assert_eq!(self.child.polls(), self.polled.get() + 1, "lost");
        }
        self.end();
    }

    /// Nobody keeps a waker, and the pool is free.
    fn end(self) {
        let State { set, tasks, .. } = self;
        drop(set);
        assert!(!POOL.is_in_use());
        for (count, waker) in tasks {
            drop(waker);
            assert_eq!(Arc::strong_count(&count), 1);
        }
    }
}

/// One test: the operations share a pool.
#[test]
fn n_27_a_wake_at_every_step() {
    let poll_again = at_every_step(
        State::new,
        |state| state.poll(0),
        State::wake,
        |state, ()| state.check(),
    );
    assert!(poll_again >= 1, "the hook does not see the atomics");

    let with_another_waker = at_every_step(
        State::new,
        |state| state.poll(1),
        State::wake,
        |state, ()| {
            // Who is told is the task that polled last, unless the wake came before it did.
            assert!(state.tasks[0].0.count() == 0 || state.child.polls() == 2);
            state.check();
        },
    );
    assert!(with_another_waker >= 4);

    // The child is woken before the poll, and once more in it.
    at_every_step(
        || {
            let state = State::new();
            state.child.wake();
            assert_eq!(state.wakes(), 1);
            state
        },
        |state| state.poll(0),
        State::wake,
        |state, ()| {
            assert!(state.child.polls() >= 2);
            if state.wakes() == 2 {
                state.poll(0);
                assert_eq!(state.child.polls(), 3, "told, and not so");
            }
            state.end();
        },
    );

    at_every_step(
        State::new,
        |state| {
            let other = Child::default();
            assert!(state.with(|set| set.push(other)).is_ok());
            state.poll(0);
        },
        State::wake,
        |state, ()| state.check(),
    );

    at_every_step(
        State::new,
        |state| state.with(|set| set.clear()),
        State::wake,
        |state, ()| {
            assert!(state.wakes() <= 1);
            state.end();
        },
    );

    let end = at_every_step(
        State::new,
        |state| drop(state.set.borrow_mut().take()),
        State::wake,
        |state, ()| {
            assert!(state.wakes() <= 1);
            state.end();
        },
    );
    assert!(end >= 4);
}

/// The next set takes the pool over from a waker that is interrupted half-way: the hook plays the
/// owner, who ends one set and begins the next before each step of a wake.
#[test]
fn n_27_the_pool_changes_hands_at_every_step_of_a_wake() {
    static POOL: WakePool<N> = WakePool::new();
    let begin = |child: &Child, waker: &Waker| {
        let mut set: Set = Box::pin(FixedSet::new(&POOL).expect("the pool is free"));
        assert!(set.as_mut().push(child.clone()).is_ok());
        let pending = set.as_mut().poll_next(&mut Context::from_waker(waker));
        assert!(pending.is_pending());
        set
    };
    let (mut spurious, mut before) = (0, 0);
    for at in 0.. {
        let (old, waker) = Wakes::new();
        let (new, new_waker) = Wakes::new();
        let (first, second) = (Child::default(), Child::default());
        let set = RefCell::new(Some(begin(&first, &waker)));
        drop(waker);
        let step = Cell::new(0);
        let hook = || {
            if step.get() == at {
                drop(set.borrow_mut().take());
                *set.borrow_mut() = Some(begin(&second, &new_waker));
            }
            step.set(step.get() + 1);
        };
        with_hook(&hook, || first.wake());
        if step.get() <= at {
            break;
        }
        assert_eq!(Arc::strong_count(&old), 1, "the first set's waker is gone");
        before += old.count();
        let mut set = set.take().expect("the second set");
        let mut cx = Context::from_waker(&new_waker);
        assert!(new.count() <= 1 && old.count() <= 1);
        if new.count() == 1 {
            spurious += 1;
            assert!(set.as_mut().poll_next(&mut cx).is_pending());
            assert_eq!(second.polls(), 2);
        }
        // Its own wake is told and answered.
        let told = new.count();
        second.wake();
        assert_eq!(new.count(), told + 1);
        assert!(set.as_mut().poll_next(&mut cx).is_pending());
        assert_eq!(second.polls(), told + 2);
        drop(set);
        drop(new_waker);
        assert_eq!(Arc::strong_count(&new), 1);
        assert!(!POOL.is_in_use());
    }
    assert!(
        spurious > 0 && before > 0,
        "{spurious} {before}: too early, and too late"
    );
}

/// A fixed nursery: before each step of a poll an interrupt cancels it, or wakes its child. Neither is
/// lost.
#[test]
fn n_27_a_cancellation_or_a_wake_at_every_step_of_a_fixed_nursery() {
    static POOL: WakePool<N> = WakePool::new();
    for cancels in [true, false] {
        for at in 0.. {
            let (count, waker) = Wakes::new();
            let token = CancellationToken::new();
            let child = Child::default();
            let n = FixedNursery::<(), N>::new(&POOL).expect("the pool is free");
            let spawned = child.clone();
            let mut run = Box::pin(n.run_until_cancelled(&token, async {
                let pends = async move {
                    spawned.await;
                    Ok(())
                };
                assert!(n.try_spawn(pends).is_ok());
                pending::<Result<(), ()>>().await
            }));
            let mut cx = Context::from_waker(&waker);
            let step = Cell::new(0);
            let hook = || {
                if step.get() == at {
                    let before = allocator_calls();
                    if cancels {
                        token.cancel();
                    } else {
                        child.wake();
                    }
                    assert_eq!(allocator_calls(), before);
                }
                step.set(step.get() + 1);
            };
            // The first poll, and one for a wake.
            let polled = with_hook(&hook, || {
                let first = run.as_mut().poll(&mut cx);
                if first.is_pending() {
                    child.wake();
                    return run.as_mut().poll(&mut cx);
                }
                first
            });
            let is_through = step.get() <= at;
            if cancels && !is_through && polled.is_pending() {
                assert!(count.count() > 1, "nobody was told, step {at}");
                assert!(run.as_mut().poll(&mut cx).is_ready());
            }
            if !cancels {
                assert!(polled.is_pending());
                let polls = child.polls();
                assert!(polls >= 2, "lost, step {at}");
                if count.count() == 2 {
                    assert!(run.as_mut().poll(&mut cx).is_pending());
                    assert_eq!(child.polls(), polls + 1, "told, and not so");
                }
            }
            drop(run);
            assert!(!POOL.is_in_use());
            drop(waker);
            assert_eq!(Arc::strong_count(&count), 1);
            if is_through {
                assert!(at >= 5, "{at}: the hook does not see the atomics");
                break;
            }
        }
    }
}
