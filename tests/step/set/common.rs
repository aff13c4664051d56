//! What holds for both kinds of sets.

use super::{MANY, Set, all_returned, alone};
use crate::at_every_step;
use crate::child::Child;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Waker};
use umbel_core::step::{shuffle, with_hook};
use umbel_tests::exec::Wakes;

struct State {
    set: RefCell<Option<Set>>,
    /// Woken by the interrupt.
    child: Child,
    /// Many, in the same set.
    siblings: Vec<Child>,
    tasks: [(Arc<Wakes>, Waker); 2],
    woken: Cell<usize>,
}

impl State {
    /// A set that has not been polled.
    fn fresh() -> State {
        State {
            set: RefCell::new(Some(Set::default())),
            child: Child::default(),
            siblings: Vec::new(),
            tasks: [Wakes::new(), Wakes::new()],
            woken: Cell::new(0),
        }
    }

    /// A set that has been polled and is idle.
    fn idle() -> State {
        let state = State::fresh();
        state.with(|set| set.push(state.child.clone()));
        assert!(state.poll(0));
        state
    }

    /// The same, with many children; that of the interrupt is among the last.
    fn of_many() -> State {
        let mut state = State::fresh();
        state.siblings = (0..MANY).map(|_| Child::default()).collect();
        for child in &state.siblings {
            state.with(|set| set.push(child.clone()));
        }
        state.with(|set| set.push(state.child.clone()));
        assert!(state.poll(0));
        state
    }

    fn with<R>(&self, act: impl FnOnce(&mut Set) -> R) -> R {
        act(self.set.borrow_mut().as_mut().expect("a set"))
    }

    fn poll(&self, task: usize) -> bool {
        let mut cx = Context::from_waker(&self.tasks[task].1);
        self.with(|set| set.is_pending(&mut cx))
    }

    fn wakes(&self) -> usize {
        self.tasks[0].0.count() + self.tasks[1].0.count()
    }

    /// The interrupt.
    fn wake(&self) {
        self.woken.set(self.woken.get() + 1);
        self.child.wake();
    }

    /// The child, polled once before the operation, has been polled since it was woken, or somebody was
    /// told and it will be.
    fn check(self, wakes_before: usize) {
        let is_there = self.set.borrow().is_some();
        if is_there && self.woken.get() == 1 && self.child.polls() == 1 {
            assert!(self.wakes() > wakes_before, "nobody was told");
            while !self.poll(0) {}
            assert_eq!(self.child.polls(), 2, "lost");
        }
        self.end();
    }

    /// Nobody keeps a waker, and the blocks are free.
    fn end(self) {
        let State { set, tasks, .. } = self;
        drop(set);
        assert!(all_returned());
        for (count, waker) in tasks {
            drop(waker);
            assert_eq!(Arc::strong_count(&count), 1);
        }
    }
}

#[test]
fn n_27_a_wake_at_every_step_of_a_poll() {
    let _alone = alone();
    let again = at_every_step(
        State::idle,
        |state| assert!(state.poll(0)),
        State::wake,
        |state, ()| {
            assert!(state.wakes() <= 1);
            state.check(0);
        },
    );
    assert!(again >= 1, "the hook does not see the atomics");

    // To register another waker takes more.
    let with_another_waker = at_every_step(
        State::idle,
        |state| assert!(state.poll(1)),
        State::wake,
        |state, ()| {
            // Who is told is the task that polled last, unless the wake came before it did.
            assert!(state.tasks[0].0.count() == 0 || state.child.polls() == 2);
            state.check(0);
        },
    );
    assert!(with_another_waker >= 4);

    // The child is woken before the poll, and once more in it.
    at_every_step(
        || {
            let state = State::idle();
            state.child.wake();
            assert_eq!(state.wakes(), 1);
            state
        },
        |state| assert!(state.poll(0)),
        State::wake,
        |state, ()| {
            assert!(state.child.polls() >= 2);
            if state.wakes() == 2 {
                assert!(state.poll(0));
                assert_eq!(state.child.polls(), 3, "told, and not so");
            }
            state.end();
        },
    );

    // The first poll: the interrupt comes when the child has left its waker.
    at_every_step(
        || {
            let state = State::fresh();
            state.with(|set| set.push(state.child.clone()));
            state
        },
        |state| assert!(state.poll(0)),
        State::wake,
        |state, ()| {
            assert!(state.child.polls() >= 1);
            if state.wakes() == 1 {
                assert!(state.poll(0));
                assert_eq!(state.child.polls(), 2, "told, and not so");
            }
            state.end();
        },
    );
}

#[test]
fn n_27_a_wake_at_every_step_of_a_childs_end() {
    let _alone = alone();
    // All siblings end in one go, which gives blocks back, while the child is woken.
    at_every_step(
        || {
            let state = State::of_many();
            state.siblings.iter().for_each(Child::end);
            state
        },
        |state| while !state.poll(0) {},
        State::wake,
        |state, ()| state.check(1),
    );

    // Its own end: the waker is stale from some step on.
    at_every_step(
        || {
            let state = State::idle();
            state.child.end();
            state
        },
        |state| assert!(!state.poll(0)),
        State::wake,
        |state, ()| {
            assert_eq!(state.child.polls(), 2);
            // The next one in its place is polled for its own sake, and once for nothing at most.
            let next = Child::default();
            state.with(|set| set.push(next.clone()));
            assert!(state.poll(0));
            assert!(state.poll(0));
            assert!((1..=2).contains(&next.polls()));
            state.end();
        },
    );
}

#[test]
fn n_27_a_wake_at_every_step_of_a_push() {
    let _alone = alone();
    at_every_step(
        State::idle,
        |state| {
            (0..MANY).for_each(|_| state.with(|set| set.push(Child::default())));
            assert!(state.poll(0));
        },
        State::wake,
        |state, ()| state.check(0),
    );
}

#[test]
fn n_27_a_wake_at_every_step_of_the_end() {
    let _alone = alone();
    at_every_step(
        State::of_many,
        |state| state.with(Set::clear),
        State::wake,
        |state, ()| {
            assert!(state.wakes() <= 1);
            state.end();
        },
    );

    let end = at_every_step(
        State::idle,
        |state| drop(state.set.borrow_mut().take()),
        State::wake,
        |state, ()| {
            assert!(state.wakes() <= 1);
            state.end();
        },
    );
    assert!(end >= 4);
}

/// The next set takes the blocks over from a waker that is interrupted half-way: the hook plays the
/// owner, who ends one set and begins the next before each step of a wake.
#[test]
fn n_27_the_blocks_change_hands_at_every_step_of_a_wake() {
    let _alone = alone();
    let begin = |child: &Child, waker: &Waker| {
        let mut set = Set::default();
        set.push(child.clone());
        assert!(set.is_pending(&mut Context::from_waker(waker)));
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
            assert!(set.is_pending(&mut cx));
            assert_eq!(second.polls(), 2);
        }
        // Its own wake is told and answered.
        let told = new.count();
        second.wake();
        assert_eq!(new.count(), told + 1);
        assert!(set.is_pending(&mut cx));
        assert_eq!(second.polls(), told + 2);
        drop(set);
        drop(new_waker);
        assert_eq!(Arc::strong_count(&new), 1);
        assert!(all_returned());
    }
    assert!(
        spurious > 0 && before > 0,
        "{spurious} {before}: too early, and too late"
    );
}

/// In which order children are polled that were woken together is nobody's business: all are polled,
/// once, in any order.
#[test]
fn n_28_the_order_of_polls_within_a_batch_is_shuffled() {
    let _alone = alone();
    let mut orders = BTreeSet::new();
    for seed in 0..64 {
        shuffle(seed);
        let state = State::of_many();
        state.siblings.iter().for_each(Child::wake);
        assert!(state.poll(0));
        assert_eq!(state.child.polls(), 1);
        assert!(state.siblings.iter().all(|child| child.polls() == 2));
        let mut order: Vec<_> = (0..MANY).collect();
        order.sort_by_key(|i| state.siblings[*i].polled_at());
        orders.insert(order);
        state.end();
    }
    shuffle(0);
    assert!(orders.len() >= 60, "{} orders", orders.len());
}
