//! The engine under `FutureSet`. Two children per chunk and two blocks per slab here, so that three
//! children cross both boundaries.

use crate::{Task, model};
use futures_core::Stream;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::{FutureSet, pool_stats};

/// An event that a child waits for, with data that is published by the wake alone.
#[derive(Clone)]
pub(super) struct Event(loom::sync::Arc<(AtomicBool, UnsafeCell<u32>)>);

pub(super) const DATA: u32 = 7;

impl Event {
    fn new() -> Self {
        Event(loom::sync::Arc::new((
            AtomicBool::new(false),
            UnsafeCell::new(0),
        )))
    }

    pub(super) fn fire(&self, waker: &Waker) {
        // SAFETY: the child reads it after the wake; if the wake did not order that, loom would say
        // so.
        self.0.1.with_mut(|data| unsafe { *data = DATA });
        self.0.0.store(true, Ordering::Release);
        waker.wake_by_ref();
    }
}

pub(super) struct Child {
    event: Event,
    parked: Rc<RefCell<Option<Waker>>>,
    /// How the flag is read. Relaxed: the wake must order the data. Acquire where a stale waker may
    /// cause a poll that no wake of this child's has ordered.
    order: Ordering,
}

impl Future for Child {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        if self.event.0.0.load(self.order) {
            // SAFETY: as in `fire`.
            return Poll::Ready(self.event.0.1.with(|data| unsafe { *data }));
        }
        *self.parked.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

pub(super) struct Kept(pub(super) Event, Rc<RefCell<Option<Waker>>>);

impl Kept {
    pub(super) fn new() -> Kept {
        Kept(Event::new(), Rc::default())
    }

    /// The child that waits for it.
    pub(super) fn child(&self, order: Ordering) -> Child {
        Child {
            event: self.0.clone(),
            parked: self.1.clone(),
            order,
        }
    }

    pub(super) fn waker(&self) -> Waker {
        self.1.borrow().clone().expect("was polled")
    }

    pub(super) fn is_parked(&self) -> bool {
        self.1.borrow().is_some()
    }

    pub(super) fn fire(&self) {
        self.0.fire(&self.waker());
    }
}

fn push(set: &mut FutureSet<Child>, order: Ordering) -> Kept {
    let kept = Kept::new();
    set.push(kept.child(order));
    kept
}

fn poll(set: &mut FutureSet<Child>, waker: &Waker) -> bool {
    match Pin::new(set).poll_next(&mut Context::from_waker(waker)) {
        Poll::Ready(Some(data)) => {
            assert_eq!(data, DATA);
            true
        }
        Poll::Ready(None) => panic!("the set has children"),
        Poll::Pending => false,
    }
}

/// Every set is gone and every waker of another thread is through: no block is lost.
pub(super) fn all_returned() {
    let stats = pool_stats();
    assert_eq!((stats.headers_in_use, stats.hubs_in_use), (0, 0));
}

pub(super) fn fire_on_thread(kept: &Kept) -> thread::JoinHandle<()> {
    let (event, waker) = (kept.0.clone(), kept.waker());
    thread::spawn(move || event.fire(&waker))
}

/// T5 for sets; row 5: no wake is lost, none enqueues twice, at most one outer wake per child wake.
fn wakers_against_polls(name: &str, bound: usize, which: [usize; 2]) {
    model(name, bound, move || {
        let mut set = FutureSet::new();
        let (task, waker) = Task::new();
        let kept: Vec<_> = (0..=which[1])
            .map(|_| push(&mut set, Ordering::Relaxed))
            .collect();
        assert!(!poll(&mut set, &waker));
        let threads = which.map(|i| fire_on_thread(&kept[i]));
        let mut finished = 0;
        task.when_woken(|| {
            while finished < 2 && poll(&mut set, &waker) {
                finished += 1;
            }
            finished == 2
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(task.wakes() <= 2);
        drop((set, waker));
        assert_eq!(Arc::strong_count(&task), 1);
        all_returned();
    });
}

#[test]
fn two_wakers_against_polls() {
    wakers_against_polls("two_wakers_against_polls", 3, [0, 1]);
}

#[test]
fn two_wakers_of_two_chunks_against_polls() {
    wakers_against_polls("two_wakers_of_two_chunks_against_polls", 3, [0, 2]);
}

/// The waker registered last is woken, or the poll that registered it saw the child ready.
#[test]
fn wake_against_new_outer_waker() {
    model("wake_against_new_outer_waker", 4, || {
        let mut set = FutureSet::new();
        let ((task1, waker1), (task2, waker2)) = (Task::new(), Task::new());
        let kept = push(&mut set, Ordering::Relaxed);
        assert!(!poll(&mut set, &waker1));
        let thread = fire_on_thread(&kept);
        if !poll(&mut set, &waker2) {
            task2.park(&mut 0);
            assert!(poll(&mut set, &waker2));
        }
        drop(set);
        thread.join().unwrap();
        drop((waker1, waker2));
        assert_eq!(
            (Arc::strong_count(&task1), Arc::strong_count(&task2)),
            (1, 1)
        );
        all_returned();
    });
}

/// Two changes while the first wake is still under way: both slots may be busy, the poll is then
/// not registered and wakes itself.
#[test]
fn wake_against_two_new_outer_wakers() {
    model("wake_against_two_new_outer_wakers", 3, || {
        let mut set = FutureSet::new();
        let tasks = [Task::new(), Task::new(), Task::new()];
        let kept = [
            push(&mut set, Ordering::Relaxed),
            push(&mut set, Ordering::Relaxed),
        ];
        assert!(!poll(&mut set, &tasks[0].1));
        let waker = kept[0].waker();
        let thread = thread::spawn(move || waker.wake());
        assert!(!poll(&mut set, &tasks[1].1));
        let other = fire_on_thread(&kept[1]);
        let [_, _, (task, waker)] = &tasks;
        task.run_until(|| {
            let is_through = poll(&mut set, waker);
            thread::yield_now(); // it may have woken itself: let the notifiers get on
            is_through
        });
        drop(set);
        thread.join().unwrap();
        other.join().unwrap();
        for (task, waker) in tasks {
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
        }
        all_returned();
    });
}

/// n_07: a wake races the drop of the set, whose blocks serve a second set at once: nothing is lost
/// there, and the outer waker does not leak.
#[test]
fn n_07_wake_against_drop_and_block_reuse() {
    model("n_07_wake_against_drop_and_block_reuse", 3, || {
        let (task, waker) = Task::new();
        let mut set = FutureSet::new();
        let kept = push(&mut set, Ordering::Relaxed);
        assert!(!poll(&mut set, &waker));
        let stale = kept.waker();
        let thread = thread::spawn(move || {
            stale.wake_by_ref();
            stale.wake();
        });
        drop(set);
        let (task2, waker2) = Task::new();
        let mut set = FutureSet::new();
        let kept2 = push(&mut set, Ordering::Acquire);
        assert!(!poll(&mut set, &waker2));
        kept2.0.fire(&kept2.waker());
        // The wake above woke the task, unless a stale one had the token, and is at it.
        thread.join().unwrap();
        assert!(task2.wakes() > 0);
        assert!(poll(&mut set, &waker2));
        drop((set, waker, waker2));
        assert_eq!(
            (Arc::strong_count(&task), Arc::strong_count(&task2)),
            (1, 1)
        );
        all_returned();
    });
}

/// n_07, the other way round: who wakes makes the second set, so that what the first owner did to the
/// blocks must have been handed over.
#[test]
fn n_07_wake_against_drop_and_block_reuse_by_the_waking_thread() {
    model(
        "n_07_wake_against_drop_and_block_reuse_by_the_waking_thread",
        3,
        || {
            let (task, waker) = Task::new();
            let mut set = FutureSet::new();
            let kept = push(&mut set, Ordering::Relaxed);
            assert!(!poll(&mut set, &waker));
            let stale = kept.waker();
            let thread = thread::spawn(move || {
                stale.wake();
                let (_task, waker) = Task::new();
                let mut set = FutureSet::new();
                let kept = push(&mut set, Ordering::Relaxed);
                assert!(!poll(&mut set, &waker));
                kept.0.fire(&kept.waker());
                assert!(poll(&mut set, &waker));
            });
            drop(set);
            thread.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
            all_returned();
        },
    );
}

/// n_05: a stale waker of a finished child, the new tenant of its slot, and that one's own wake.
#[test]
fn n_05_stale_wake_against_slot_refill_and_own_wake() {
    model(
        "n_05_stale_wake_against_slot_refill_and_own_wake",
        3,
        || {
            let (task, waker) = Task::new();
            let mut set = FutureSet::new();
            let first = push(&mut set, Ordering::Relaxed);
            let _parked = push(&mut set, Ordering::Relaxed);
            assert!(!poll(&mut set, &waker));
            let stale = first.waker();
            first.0.fire(&stale);
            assert!(poll(&mut set, &waker));
            let second = push(&mut set, Ordering::Acquire); // the same slot
            let staler = thread::spawn(move || stale.wake());
            assert!(!poll(&mut set, &waker));
            let owner = fire_on_thread(&second);
            task.run_until(|| poll(&mut set, &waker));
            drop(set);
            staler.join().unwrap();
            owner.join().unwrap();
            drop(waker);
            assert_eq!(Arc::strong_count(&task), 1);
            all_returned();
        },
    );
}

/// A chunk is freed, and its header retired, while a stale waker is at it; the header is returned
/// once.
#[test]
fn stale_wake_against_retired_chunk() {
    model("stale_wake_against_retired_chunk", 3, || {
        let (task, waker) = Task::new();
        let mut set = FutureSet::new();
        let kept: Vec<_> = (0..3).map(|_| push(&mut set, Ordering::Acquire)).collect();
        assert!(!poll(&mut set, &waker));
        let stale = kept[0].waker();
        for child in &kept {
            child.0.fire(&child.waker());
        }
        let thread = thread::spawn(move || stale.wake());
        for _ in 0..3 {
            // The second chunk to get empty goes: the first one, for the last to be woken is polled first.
            assert!(poll(&mut set, &waker));
        }
        let last = push(&mut set, Ordering::Acquire);
        last.0.fire(Waker::noop());
        assert!(poll(&mut set, &waker)); // takes a dead header, if it was queued by then
        drop(set);
        thread.join().unwrap();
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 1);
        all_returned();
    });
}

/// A ring publishes what was written before it, and is not lost, whenever it comes.
#[test]
fn desk_ring_against_poll() {
    model("desk_ring_against_poll", 4, || {
        let (task, waker) = Task::new();
        let mut set = FutureSet::<Child>::new();
        let ring = set.model_desk();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(set.model_begin(&mut cx), (0, true));
        let counts = loom::sync::Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let threads = [0, 1].map(|bit| {
            let counts = counts.clone();
            thread::spawn(move || {
                counts[bit].store(1, Ordering::Relaxed); // ordered by the ring
                ring(bit);
            })
        });
        let (mut rung, mut seen) = (0, 0);
        while rung != 3 {
            if set.model_is_idle(&cx) {
                task.park(&mut seen);
            }
            let (bits, registered) = set.model_begin(&mut cx);
            assert!(registered);
            assert_eq!(rung & bits, 0);
            for bit in [0, 1] {
                if bits & (1 << bit) != 0 {
                    assert_eq!(counts[bit].load(Ordering::Relaxed), 1);
                }
            }
            rung |= bits;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        drop((set, waker));
        assert_eq!(Arc::strong_count(&task), 1);
        all_returned();
    });
}

/// A ring after, or while, the set ends is harmless: also to the next set that gets the header.
#[test]
fn desk_ring_against_drop() {
    model("desk_ring_against_drop", 4, || {
        let (task, waker) = Task::new();
        let mut set = FutureSet::<Child>::new();
        let ring = set.model_desk();
        let mut cx = Context::from_waker(&waker);
        set.model_begin(&mut cx);
        let thread = thread::spawn(move || {
            ring(0);
            ring(1);
        });
        drop(set);
        let mut set = FutureSet::new();
        let kept = push(&mut set, Ordering::Acquire);
        assert!(!poll(&mut set, &waker));
        kept.0.fire(&kept.waker());
        thread.join().unwrap();
        assert!(poll(&mut set, &waker));
        drop((set, waker));
        assert_eq!(Arc::strong_count(&task), 1);
        all_returned();
    });
}

/// n_11: children of two chunks are woken by two threads before the set is polled: one outer wake. A set
/// within a set multiplies nothing.
#[test]
fn n_11_wakes_before_a_poll_are_one_wake() {
    model("n_11_wakes_before_a_poll_are_one_wake", 3, || {
        let (task, waker) = Task::new();
        let mut inner = FutureSet::new();
        let kept: Vec<_> = (0..3)
            .map(|_| push(&mut inner, Ordering::Relaxed))
            .collect();
        let mut outer = FutureSet::new();
        outer.push(std::future::poll_fn(move |cx| {
            Pin::new(&mut inner).poll_next(cx)
        }));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut outer).poll_next(&mut cx).is_pending());
        let threads = [0, 2].map(|i| fire_on_thread(&kept[i]));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(task.wakes(), 1);
        let first = Pin::new(&mut outer).poll_next(&mut cx);
        assert_eq!(first, Poll::Ready(Some(Some(DATA))));
        drop(outer);
        all_returned();
    });
}

/// The last block of a set is given back by a waker that comes late, or by the owner, once.
#[test]
fn wake_against_the_end_of_a_set() {
    model("wake_against_the_end_of_a_set", 4, || {
        let (task, waker) = Task::new();
        let mut set = FutureSet::new();
        let kept: Vec<_> = (0..3).map(|_| push(&mut set, Ordering::Acquire)).collect();
        assert!(!poll(&mut set, &waker));
        let threads = [0, 2].map(|i| {
            let waker = kept[i].waker();
            thread::spawn(move || waker.wake())
        });
        drop((set, waker));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(task.wakes() <= 1);
        assert_eq!(Arc::strong_count(&task), 1);
        all_returned();
    });
}
