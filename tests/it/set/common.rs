//! What holds for both kinds of sets. Names `n_05_…` are those of bugs that other sets had.

use super::{MOST, Set};
use futures_core::{FusedStream, Stream};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, Ready, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use umbel_tests::counting::waker_with_drop;
use umbel_tests::exec::Wakes;
use umbel_tests::quiet::{exact_polls, stale_wakes};
use umbel_tests::scaled;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Children enough for several chunks.
const MANY: usize = scaled(1000, 150);

fn poll<F: Future>(set: &mut Set<F>, waker: &Waker) -> Poll<Option<F::Output>> {
    Pin::new(set).poll_next(&mut Context::from_waker(waker))
}

fn is_pending<F: Future>(set: &mut Set<F>, waker: &Waker) -> bool {
    poll(set, waker).is_pending()
}

/// Children that can be looked at: how often each was polled, its waker, whether it is to finish.
#[derive(Default)]
struct Log {
    polls: RefCell<Vec<usize>>,
    wakers: RefCell<Vec<Option<Waker>>>,
    done: RefCell<Vec<bool>>,
}

impl Log {
    fn child(self: &Rc<Self>) -> impl Future<Output = usize> + use<> {
        let i = self.polls.borrow().len();
        self.polls.borrow_mut().push(0);
        self.wakers.borrow_mut().push(None);
        self.done.borrow_mut().push(false);
        let log = self.clone();
        poll_fn(move |cx| {
            log.polls.borrow_mut()[i] += 1;
            log.wakers.borrow_mut()[i] = Some(cx.waker().clone());
            if log.done.borrow()[i] {
                Poll::Ready(i)
            } else {
                Poll::Pending
            }
        })
    }

    fn waker(&self, i: usize) -> Waker {
        self.wakers.borrow()[i].clone().expect("was polled")
    }

    fn finish(&self, i: usize) {
        self.done.borrow_mut()[i] = true;
        self.waker(i).wake();
    }

    fn polls(&self) -> Vec<usize> {
        self.polls.borrow().clone()
    }
}

#[test]
fn it_is_a_stream_of_outputs() {
    let (_, waker) = Wakes::new();
    let mut set: Set<Ready<usize>> = (0..MANY).map(ready).collect();
    assert_eq!((set.len(), set.size_hint()), (MANY, (MANY, Some(MANY))));
    assert!(!set.is_empty());
    let mut got = BTreeSet::new();
    while let Poll::Ready(Some(i)) = poll(&mut set, &waker) {
        assert!(got.insert(i));
        assert_eq!(set.len(), MANY - got.len());
    }
    assert_eq!(got, (0..MANY).collect());
    assert!(set.is_empty() && set.is_terminated());

    set.extend([ready(1), ready(2)]);
    assert!(!set.is_terminated());
    assert!(poll(&mut set, &waker).is_ready());
    set.clear();
    assert_eq!(set.len(), 0);
    assert_eq!(poll(&mut set, &waker), Poll::Ready(None));
}

#[test]
fn only_woken_children_are_polled() {
    let _exact = exact_polls();
    let (count, waker) = Wakes::new();
    let log = Rc::new(Log::default());
    let mut set: Set<_> = (0..MANY).map(|_| log.child()).collect();
    assert!(is_pending(&mut set, &waker));
    assert_eq!(log.polls(), vec![1; MANY]);
    for i in (0..MANY).step_by(7) {
        log.waker(i).wake();
        log.waker(i).wake_by_ref();
    }
    assert_eq!(count.count(), 1);
    assert!(is_pending(&mut set, &waker));
    let expected: Vec<_> = (0..MANY).map(|i| 1 + usize::from(i % 7 == 0)).collect();
    assert_eq!(log.polls(), expected);
}

/// n_05: woken and re-armed at the same time, a child is still queued once.
#[test]
fn n_05_wake_during_its_own_poll_queues_once() {
    let _exact = exact_polls();
    let (count, waker) = Wakes::new();
    let polls = Cell::new(0);
    let mut set: Set<Boxed<'_, ()>> = Set::new();
    set.push(Box::pin(poll_fn(|cx| {
        polls.set(polls.get() + 1);
        if polls.get() <= 3 {
            for _ in 0..5 {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })));
    for turn in 1..=3 {
        assert!(is_pending(&mut set, &waker));
        assert_eq!((polls.get(), count.count()), (turn, turn));
    }
    assert!(is_pending(&mut set, &waker));
    assert!(is_pending(&mut set, &waker));
    assert_eq!((polls.get(), count.count()), (4, 3));
}

/// n_07: wakes from other threads race polls and the drop.
#[test]
fn n_07_wakes_race_polls_and_drop() {
    let _stale = stale_wakes();
    let (children, rounds) = (scaled(150, 8), scaled(100, 2));
    for round in 0..rounds {
        let (_, waker) = Wakes::new();
        let parked: Arc<Vec<Mutex<Option<Waker>>>> =
            Arc::new((0..children).map(|_| Mutex::new(None)).collect());
        let mut set: Set<Boxed<'_, usize>> = Set::new();
        for i in 0..children {
            let (parked, mut left) = (parked.clone(), 2);
            set.push(Box::pin(poll_fn(move |cx| {
                *parked[i].lock().unwrap() = Some(cx.waker().clone());
                left -= 1;
                if left == 0 {
                    Poll::Ready(i)
                } else {
                    Poll::Pending
                }
            })));
        }
        assert!(is_pending(&mut set, &waker));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let parked = parked.clone();
                scope.spawn(move || {
                    for i in 0..3 * children {
                        let waker = parked[(i + thread) % children].lock().unwrap().clone();
                        waker.unwrap().wake();
                    }
                });
            }
            for _ in 0..children * (round % 3) / 2 {
                let _ = poll(&mut set, &waker);
            }
            drop(set); // while they are at it
        });
    }
}

/// n_07, the other half: all children are woken once by other threads, and all finish.
#[test]
fn n_07_no_wake_is_lost_between_threads() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let children = scaled(MOST, 20);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let flags: Arc<Vec<(AtomicBool, Mutex<Option<Waker>>)>> =
        Arc::new((0..children).map(|_| Default::default()).collect());
    let mut set: Set<_> = (0..children)
        .map(|i| {
            let flags = flags.clone();
            poll_fn(move |cx| {
                if flags[i].0.load(Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                *flags[i].1.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .collect();
    assert!(is_pending(&mut set, &waker));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let flags = flags.clone();
            scope.spawn(move || {
                for i in (thread..children).step_by(2) {
                    let waker = flags[i].1.lock().unwrap().clone().unwrap();
                    flags[i].0.store(true, Ordering::Relaxed); // ordered by the wake
                    waker.wake();
                }
            });
        }
        loop {
            match poll(&mut set, &waker) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => break,
                Poll::Pending => std::thread::park(),
            }
        }
    });
}

/// n_08: the outer waker polls the set inline, from within a child's wake.
#[test]
fn n_08_outer_waker_polls_inline() {
    let _exact = exact_polls();
    struct Inline(Mutex<Option<Set<Ticks>>>, AtomicUsize);
    struct Ticks(Arc<Mutex<Option<Waker>>>, usize);
    impl Future for Ticks {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            *self.0.lock().unwrap() = Some(cx.waker().clone());
            self.1 -= 1;
            if self.1 == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }
    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            let waker = Waker::from(self.clone());
            let set = self.0.lock().unwrap().take();
            let Some(mut set) = set else { return };
            self.1.fetch_add(1, Ordering::SeqCst);
            if poll(&mut set, &waker).is_pending() {
                *self.0.lock().unwrap() = Some(set);
            } // else it is dropped here, within the wake
        }
    }
    let child = Arc::new(Mutex::new(None));
    let set = Set::from_iter([Ticks(child.clone(), 4)]);
    let task = Arc::new(Inline(Mutex::new(Some(set)), AtomicUsize::new(0)));
    task.clone().wake();
    for polls in 1..4 {
        assert_eq!(task.1.load(Ordering::SeqCst), polls);
        let waker = child.lock().unwrap().clone().unwrap();
        waker.wake();
    }
    assert!(task.0.lock().unwrap().is_none());
    assert_eq!(Arc::strong_count(&task), 1, "the set kept no waker");
}

/// Leaves its waker, and wakes itself in one of its polls.
struct Parks {
    waker: Arc<Mutex<Option<Waker>>>,
    polls: Arc<AtomicUsize>,
    wakes_itself_in: usize,
}

impl Future for Parks {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.polls.fetch_add(1, Ordering::SeqCst) + 1 == self.wakes_itself_in {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// n_08: while the outer waker is at work, in which the set is polled for as long as it is woken, each poll
/// brings a new waker. When nothing is left to do, nothing wakes.
#[test]
fn n_08_outer_waker_polls_inline_with_ever_new_wakers() {
    let _exact = exact_polls();
    #[derive(Default)]
    struct Executor {
        set: Mutex<Option<Set<Parks>>>,
        is_woken: AtomicBool,
        polls: AtomicUsize,
    }
    struct New(Arc<Executor>);
    impl Wake for New {
        fn wake(self: Arc<Self>) {
            self.0.wake();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            self.0.wake();
        }
    }
    impl Executor {
        fn wake(self: &Arc<Self>) {
            self.is_woken.store(true, Ordering::SeqCst);
            // Taken by who polls it now, and sees that it is woken.
            let Some(mut set) = self.set.lock().unwrap().take() else {
                return;
            };
            while self.is_woken.swap(false, Ordering::SeqCst) {
                assert!(self.polls.fetch_add(1, Ordering::SeqCst) < 10, "for ever");
                let waker = Waker::from(Arc::new(New(self.clone())));
                assert!(is_pending(&mut set, &waker));
            }
            *self.set.lock().unwrap() = Some(set);
        }
    }
    let (waker, polls) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
    let executor = Arc::new(Executor::default());
    *executor.set.lock().unwrap() = Some(Set::from_iter([Parks {
        waker: waker.clone(),
        polls: polls.clone(),
        wakes_itself_in: 2,
    }]));
    executor.wake();
    for expected in [3, 4] {
        let waker = waker.lock().unwrap().clone().unwrap();
        waker.wake();
        assert_eq!(executor.polls.load(Ordering::SeqCst), expected);
        assert_eq!(polls.load(Ordering::SeqCst), expected);
    }
    drop(executor.set.lock().unwrap().take());
    assert_eq!(Arc::strong_count(&executor), 1, "the set kept no waker");
}

/// n_08: while the outer waker is at work, the task is polled with two others, again and again. The last one
/// is registered, and woken when there is something to do.
#[test]
fn n_08_two_new_outer_wakers_while_the_first_is_at_work() {
    let _exact = exact_polls();
    struct Runs(Mutex<Option<Box<dyn FnOnce() + Send>>>);
    impl Wake for Runs {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            let run = self.0.lock().unwrap().take();
            run.expect("woken once")();
        }
    }
    let (waker, polls) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
    let set = Arc::new(Mutex::new(Set::from_iter([Parks {
        waker: waker.clone(),
        polls: polls.clone(),
        wakes_itself_in: 0,
    }])));
    let first = Arc::new(Runs(Mutex::new(None)));
    assert!(is_pending(&mut set.lock().unwrap(), &first.clone().into()));
    let ((second, second_waker), (third, third_waker)) = (Wakes::new(), Wakes::new());
    let (inner, child) = (set.clone(), waker.clone());
    let counts = (second.clone(), third.clone());
    *first.0.lock().unwrap() = Some(Box::new(move || {
        let mut set = inner.lock().unwrap();
        for _ in 0..3 {
            assert!(is_pending(&mut set, &second_waker));
            assert!(is_pending(&mut set, &third_waker));
            assert!(is_pending(&mut set, &third_waker));
        }
        assert_eq!((counts.0.count(), counts.1.count()), (0, 0));
        child.lock().unwrap().as_ref().unwrap().wake_by_ref();
        assert_eq!((counts.0.count(), counts.1.count()), (0, 1));
        assert!(is_pending(&mut set, &third_waker));
    }));
    let child = waker.lock().unwrap().clone().unwrap();
    child.wake_by_ref();
    assert_eq!(polls.load(Ordering::SeqCst), 3);
    child.wake();
    assert_eq!((second.count(), third.count()), (0, 2));
    drop(set);
    assert_eq!(
        (Arc::strong_count(&first), Arc::strong_count(&third)),
        (1, 1)
    );
}

/// A child's drop panics as its set is dropped, and the drop of the set's outer waker as well.
#[test]
fn a_child_and_the_outer_waker_panic_when_the_set_is_dropped() {
    struct Bomb(Rc<Cell<usize>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            panic!("a child's drop");
        }
    }
    let drops = Rc::new(Cell::new(0));
    let mut set: Set<Boxed<'_, ()>> = Set::new();
    for _ in 0..2 {
        let bomb = Bomb(drops.clone());
        set.push(Box::pin(async move {
            let _bomb = bomb;
            std::future::pending().await
        }));
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let seen = dropped.clone();
    let waker = waker_with_drop(move || {
        seen.fetch_add(1, Ordering::SeqCst);
        panic!("the waker's drop");
    });
    assert!(is_pending(&mut set, &waker));
    drop(waker); // the set has the last one
    assert!(catch_unwind(AssertUnwindSafe(|| drop(set))).is_err());
    assert_eq!((drops.get(), dropped.load(Ordering::SeqCst)), (2, 1));
}

/// n_08: the outer waker panics; the next wake reaches it all the same.
#[test]
fn n_08_outer_waker_panics() {
    let _exact = exact_polls();
    struct Bad(AtomicUsize);
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                panic!("hostile waker");
            }
        }
    }
    let bad = Arc::new(Bad(AtomicUsize::new(0)));
    let waker = Waker::from(bad.clone());
    let log = Rc::new(Log::default());
    let mut set: Set<_> = [log.child()].into_iter().collect();
    assert!(is_pending(&mut set, &waker));
    assert!(catch_unwind(AssertUnwindSafe(|| log.waker(0).wake())).is_err());
    assert!(is_pending(&mut set, &waker));
    assert_eq!(log.polls(), [2]);
    log.waker(0).wake();
    assert_eq!(bad.0.load(Ordering::SeqCst), 2);
    drop((set, waker));
    assert_eq!(Arc::strong_count(&bad), 1);
}

/// n_08: the outer waker changes between polls, and the set moves: the latest is woken, none is
/// kept.
#[test]
fn n_08_outer_waker_changes_between_polls() {
    let _exact = exact_polls();
    let log = Rc::new(Log::default());
    let mut set: Set<_> = [log.child()].into_iter().collect();
    let mut counts = Vec::new();
    for turn in 1..=6 {
        let (count, waker) = Wakes::new();
        assert!(is_pending(&mut set, &waker));
        drop(waker);
        set = std::convert::identity(set);
        log.waker(0).wake();
        assert_eq!((count.count(), log.polls()[0]), (1, turn));
        for old in &counts {
            assert_eq!(
                Arc::strong_count(old),
                1,
                "a replaced waker is dropped at once"
            );
        }
        counts.push(count);
    }
    assert!(counts.iter().all(|count| count.count() == 1));
    drop(set);
    assert!(counts.iter().all(|count| Arc::strong_count(count) == 1));
}

/// n_08: the set dies within its own outer wake, which then is the last to hold the waker.
#[test]
fn n_08_outer_wake_drops_the_set() {
    struct Killer(Mutex<Option<Set<Parks>>>, AtomicUsize);
    struct Parks(Arc<Mutex<Option<Waker>>>);
    impl Future for Parks {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            *self.0.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }
    }
    impl Wake for Killer {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            let owners = Arc::strong_count(self);
            drop(self.0.lock().unwrap().take());
            assert_eq!(
                Arc::strong_count(self),
                owners,
                "the waker outlives its own call"
            );
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let _stale = stale_wakes();
    let parked = Arc::new(Mutex::new(None));
    let killer = Arc::new(Killer(Mutex::new(None), AtomicUsize::new(0)));
    let waker = Waker::from(killer.clone());
    let mut set = Set::from_iter([Parks(parked.clone())]);
    assert!(is_pending(&mut set, &waker));
    drop(waker);
    *killer.0.lock().unwrap() = Some(set);
    let child = parked.lock().unwrap().clone().unwrap();
    child.wake_by_ref();
    assert_eq!(killer.1.load(Ordering::SeqCst), 1);
    assert_eq!(
        (Arc::strong_count(&killer), Arc::strong_count(&parked)),
        (1, 1)
    );
    child.wake();
    assert_eq!(killer.1.load(Ordering::SeqCst), 1);
}

/// n_09: all are parked, so the set does not wake itself.
#[test]
fn n_09_no_self_wake_when_all_are_parked() {
    let _exact = exact_polls();
    let (count, waker) = Wakes::new();
    let log = Rc::new(Log::default());
    let mut set: Set<_> = (0..MANY).map(|_| log.child()).collect();
    for _ in 0..10 {
        assert!(is_pending(&mut set, &waker));
    }
    assert_eq!((count.count(), log.polls()), (0, vec![1; MANY]));
}

/// n_10: one child is always ready: per outer poll it is polled once, and so is each that was
/// woken.
#[test]
fn n_10_an_always_ready_child_starves_nobody() {
    let _exact = exact_polls();
    let (count, waker) = Wakes::new();
    let log = Rc::new(Log::default());
    let spins = Rc::new(Cell::new(0));
    let mut set: Set<Boxed<'_, usize>> = Set::new();
    for _ in 0..100 {
        set.push(Box::pin(log.child()));
    }
    let counter = spins.clone();
    set.push(Box::pin(poll_fn(move |cx| {
        counter.set(counter.get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    })));
    for turn in 1..=50 {
        assert!(is_pending(&mut set, &waker), "the outer task gets its turn");
        assert_eq!((spins.get(), count.count()), (turn, turn));
        for i in 0..100 {
            log.waker(i).wake();
        }
    }
    assert_eq!(log.polls(), vec![50; 100]);
}

/// n_10: a child that finishes at once and is replaced at once starves nobody either, nor do many.
#[test]
fn n_10_finish_and_push_starves_nobody() {
    for quick in [1, 3, 100] {
        let (_, waker) = Wakes::new();
        let spins = Rc::new(Cell::new(0));
        let mut set: Set<Boxed<'_, ()>> = Set::new();
        let counter = spins.clone();
        set.push(Box::pin(poll_fn(move |cx| {
            counter.set(counter.get() + 1);
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
        for _ in 0..quick {
            set.push(Box::pin(ready(())));
        }
        let finished = 20 * (quick + 1);
        for _ in 0..finished {
            assert!(poll(&mut set, &waker).is_ready());
            set.push(Box::pin(ready(())));
        }
        // It has its turn at least once while all that were there before it had theirs, twice over.
        assert!(
            spins.get() >= finished / (2 * (quick + 1)),
            "{} turns in {finished}",
            spins.get()
        );
    }
}

/// n_11: any number of wakes before a poll make one outer wake; nested sets do not multiply.
#[test]
fn n_11_ten_thousand_wakes_are_one() {
    let _exact = exact_polls();
    let wakes = scaled(10_000, 100);
    let (count, waker) = Wakes::new();
    let log = Rc::new(Log::default());
    let mut inner: Set<_> = (0..100).map(|_| log.child()).collect();
    let mut outer: Set<Boxed<'_, ()>> = Set::new();
    outer.push(Box::pin(poll_fn(move |cx| {
        Pin::new(&mut inner).poll_next(cx).map(|_| ())
    })));
    for turn in 0..3 {
        assert!(is_pending(&mut outer, &waker));
        assert_eq!((count.count(), log.polls()), (turn, vec![turn + 1; 100]));
        for i in 0..wakes {
            log.waker(i % 100).wake();
        }
        assert_eq!(count.count(), turn + 1);
    }
}

/// n_14: a child that has ended is not polled again, whatever its wakers do.
#[test]
fn n_14_a_finished_child_is_never_polled() {
    let _stale = stale_wakes();
    let (_, waker) = Wakes::new();
    let log = Rc::new(Log::default());
    let mut set: Set<_> = (0..100).map(|_| log.child()).collect();
    assert!(is_pending(&mut set, &waker));
    let stale: Vec<_> = (0..100).map(|i| log.waker(i)).collect();
    for i in 0..50 {
        log.finish(i);
    }
    for _ in 0..50 {
        assert!(poll(&mut set, &waker).is_ready());
    }
    for _ in 0..3 {
        stale.iter().for_each(Waker::wake_by_ref);
        assert!(is_pending(&mut set, &waker));
    }
    let expected: Vec<_> = (0..100).map(|i| if i < 50 { 2 } else { 4 }).collect();
    assert_eq!(log.polls(), expected);
    drop(set);
    stale.into_iter().for_each(Waker::wake); // and after the set's end
    assert_eq!(log.polls(), expected);
}

/// n_14: what was freed by a finished child is free at once, though its waker lives.
#[test]
fn n_14_a_finished_child_is_dropped_at_once() {
    let (_, waker) = Wakes::new();
    let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
    let heavy = Arc::new(());
    let (k, h) = (kept.clone(), heavy.clone());
    let mut set: Set<Boxed<'_, ()>> = Set::new();
    set.push(Box::pin(poll_fn(move |cx| {
        let _ = &h;
        *k.borrow_mut() = Some(cx.waker().clone());
        Poll::Ready(())
    })));
    assert!(poll(&mut set, &waker).is_ready());
    assert_eq!(Arc::strong_count(&heavy), 1);
    assert!(kept.borrow().is_some());
}

/// n_15: a child is polled and dropped where it was first polled, across growth, removal and moves
/// of the set.
#[test]
fn n_15_a_child_never_moves() {
    struct Fixed(Cell<Option<*const Fixed>>, Rc<Cell<usize>>, bool);
    impl Future for Fixed {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let here = &raw const *self;
            match self.0.replace(Some(here)) {
                None => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(there) => {
                    assert_eq!(there, here);
                    cx.waker().wake_by_ref();
                    if self.2 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }
            }
        }
    }
    impl Drop for Fixed {
        fn drop(&mut self) {
            let here = &raw const *self;
            if let Some(there) = self.0.get() {
                assert_eq!(there, here);
                self.1.set(self.1.get() + 1);
            }
        }
    }
    let (_, waker) = Wakes::new();
    let drops = Rc::new(Cell::new(0));
    let mut set = Set::new();
    let mut pushed = 0;
    for round in 0..5 {
        for i in 0..MANY / 5 {
            set.push(Fixed(Cell::new(None), drops.clone(), i % 3 != 0));
            pushed += 1;
        }
        for _ in 0..10 * round {
            let _ = poll(&mut set, &waker);
        }
        set = std::convert::identity(set);
    }
    let stay = 5 * (MANY / 5).div_ceil(3);
    while set.len() > stay {
        let _ = poll(&mut set, &waker);
    }
    drop(set);
    assert_eq!(drops.get(), pushed);
}

/// n_30: a no-op outer waker, and wakes from a thread that knows nothing of the set.
#[test]
fn n_30_noop_and_foreign_thread_wakers() {
    let mut set: Set<Boxed<'_, ()>> = Set::new();
    let (send, receive) = std::sync::mpsc::channel::<Waker>();
    let mut polled = false;
    set.push(Box::pin(poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        send.send(cx.waker().clone()).unwrap();
        Poll::Pending
    })));
    let foreign = std::thread::spawn(move || receive.recv().unwrap().wake());
    assert!(is_pending(&mut set, Waker::noop()));
    foreign.join().unwrap();
    assert!(poll(&mut set, Waker::noop()).is_ready());
}

/// A child whose poll panics is dropped, whether that panics, too, or not; one whose Drop panics frees
/// its slot; the rest goes on.
#[test]
fn panics_of_children_leave_the_set_usable() {
    struct Bad(usize, Rc<RefCell<Vec<usize>>>);
    impl Future for Bad {
        type Output = usize;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
            match self.0 % 4 {
                0 => panic!("poll"),
                1 | 2 => Poll::Ready(self.0),
                _ => Poll::Pending,
            }
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
            // Every other one of those that panicked in their poll does so again.
            if matches!(self.0 % 8, 0 | 2 | 6) || self.0 >= 100 {
                panic!("drop");
            }
        }
    }
    let (_, waker) = Wakes::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut set: Set<Bad> = (0..40).map(|i| Bad(i, log.clone())).collect();
    let (mut finished, mut panicked) = (0, 0);
    loop {
        match catch_unwind(AssertUnwindSafe(|| poll(&mut set, &waker))) {
            Ok(Poll::Ready(_)) => finished += 1,
            Ok(Poll::Pending) => break,
            Err(_) => panicked += 1,
        }
    }
    assert_eq!((finished, panicked, set.len()), (10, 20, 10));

    // Several Drops panic: every child is dropped once, and the first panic comes out.
    set.extend((100..105).map(|i| Bad(i, log.clone())));
    assert!(catch_unwind(AssertUnwindSafe(|| set.clear())).is_err());
    assert_eq!(set.len(), 0);
    set.extend((105..110).map(|i| Bad(i, log.clone())));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(set))).is_err());
    let mut log = log.borrow().clone();
    log.sort_unstable();
    assert_eq!(log, (0..40).chain(100..110).collect::<Vec<_>>());
}

/// Children may borrow from the frame that polls the set.
#[test]
fn children_may_borrow() {
    let (_, waker) = Wakes::new();
    let sum = Cell::new(0);
    let mut set: Set<_> = (1..=3)
        .map(|n| {
            let sum = &sum;
            async move { sum.set(sum.get() + n) }
        })
        .collect();
    let mut all = pin!(poll_fn(|cx| {
        while let Poll::Ready(next) = Pin::new(&mut set).poll_next(cx) {
            if next.is_none() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }));
    assert!(
        all.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    );
    assert_eq!(sum.get(), 6);
}
