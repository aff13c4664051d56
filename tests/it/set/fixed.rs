//! `FixedSet`: what is common to all sets, and its own.

#[allow(clippy::duplicate_mod, reason = "the same tests for another type")]
#[path = "common.rs"]
mod common;

use futures_core::{FusedStream, Stream};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, Pending, Ready, poll_fn, ready};
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use umbel_core::{FixedSet, InUse, WakePool};
use umbel_tests::counting::allocator_calls;
use umbel_tests::exec::{Wakes, yields};
use umbel_tests::quiet::{exact_polls, stale_wakes};
use umbel_tests::scaled;

/// Children, where many are wanted.
const MOST: usize = scaled(1000, 160);

/// A fixed set as the common tests want it: with `FutureSet`'s interface, and large enough.
struct Set<F>(Pin<Box<FixedSet<F, MOST>>>);

static POOLS: [WakePool<MOST>; 64] = [const { WakePool::new() }; 64];

impl<F> Set<F> {
    fn new() -> Self {
        // Each test has a few at a time.
        let set = POOLS.iter().find_map(|pool| FixedSet::new(pool).ok());
        Set(Box::pin(set.expect("a free pool")))
    }

    fn push(&mut self, future: F) {
        assert!(self.0.as_mut().push(future).is_ok(), "it is large enough");
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn clear(&mut self) {
        self.0.as_mut().clear();
    }
}

impl<F> Extend<F> for Set<F> {
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        futures.into_iter().for_each(|future| self.push(future));
    }
}

impl<F> FromIterator<F> for Set<F> {
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}

impl<F: Future> Stream for Set<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        self.0.as_mut().poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<F: Future> FusedStream for Set<F> {
    fn is_terminated(&self) -> bool {
        self.0.is_terminated()
    }
}

fn poll<S: Stream>(set: Pin<&mut S>, waker: &Waker) -> Poll<Option<S::Item>> {
    set.poll_next(&mut Context::from_waker(waker))
}

/// Polls once and leaves its waker each time; ends when `done` says so.
fn parks<'a>(
    wakers: &'a RefCell<Vec<Waker>>,
    done: &'a Cell<bool>,
) -> impl Future<Output = ()> + use<'a> {
    poll_fn(|cx| {
        wakers.borrow_mut().push(cx.waker().clone());
        if done.get() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

#[test]
fn it_is_send_and_sync_and_unpin_as_its_futures_are() {
    static EMPTY: FixedSet<Ready<()>, 3> = FixedSet::pass_through();
    fn send_sync<T: Send + Sync>(_: &T) {}
    fn unpin<T: Unpin>(_: &T) {}
    send_sync(&EMPTY);
    unpin(&EMPTY);
    send_sync(&FixedSet::<Pending<PhantomPinned>, 3>::pass_through());
    static POOL: WakePool<3> = WakePool::new();
    send_sync(&POOL);
    let set = FixedSet::<Ready<()>, 3>::new(&POOL).unwrap();
    send_sync(&set);
    assert_eq!(
        format!("{set:?} {POOL:?} {EMPTY:?}"),
        "FixedSet { len: 0, capacity: 3, pass_through: false, .. } \
         WakePool { children: 3, in_use: true } \
         FixedSet { len: 0, capacity: 3, pass_through: true, .. }"
    );
}

#[test]
fn a_full_set_gives_the_future_back() {
    static POOL: WakePool<2> = WakePool::new();
    let (_, waker) = Wakes::new();
    let mut set = pin!(FixedSet::<Ready<usize>, 2>::new(&POOL).unwrap());
    for round in 0..5 {
        assert!(!set.is_full());
        assert!(set.as_mut().push(ready(round)).is_ok());
        assert!(set.as_mut().push(ready(10)).is_ok());
        assert!(set.is_full());
        let back = set.as_mut().push(ready(20)).unwrap_err();
        assert_eq!((back.into_inner(), set.len(), set.capacity()), (20, 2, 2));
        assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(Some(round)));
        assert!(set.as_mut().push(ready(30)).is_ok());
        // First in, first out.
        assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(Some(10)));
        assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(Some(30)));
        assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(None));
    }
    static NONE: WakePool<0> = WakePool::new();
    let mut set = pin!(FixedSet::<Ready<()>, 0>::new(&NONE).unwrap());
    assert!(set.is_full() && set.as_mut().push(ready(())).is_err());
    assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(None));
}

/// A pool serves one set; it is free when that is dropped, and for ever in use when that is leaked.
#[test]
fn one_set_at_a_time_has_the_pool() {
    static POOL: WakePool<2> = WakePool::new();
    type Parked = FixedSet<Pending<()>, 2>;
    for _ in 0..3 {
        assert!(!POOL.is_in_use());
        let set = Parked::new(&POOL).unwrap();
        assert!(POOL.is_in_use());
        let refused: InUse = Parked::new(&POOL).unwrap_err();
        assert_eq!(refused.to_string(), "the wake pool serves another set");
        drop(set);
    }
    std::mem::forget(Parked::new(&POOL).unwrap());
    assert!(Parked::new(&POOL).is_err());
}

/// Whatever the number of children is to that of bits in a word, each has a bit of its own.
#[test]
fn each_child_has_a_bit_of_its_own() {
    let _exact = exact_polls();
    fn each<const N: usize>(pool: &'static WakePool<N>) {
        let (count, waker) = Wakes::new();
        let polls = RefCell::new(vec![0; N]);
        let wakers = RefCell::new(vec![None; N]);
        let mut set = pin!(FixedSet::<_, N>::new(pool).unwrap());
        for i in 0..N {
            let (polls, wakers) = (&polls, &wakers);
            let child = poll_fn(move |cx| {
                polls.borrow_mut()[i] += 1;
                wakers.borrow_mut()[i] = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(set.as_mut().push(child).is_ok());
        }
        assert!(poll(set.as_mut(), &waker).is_pending());
        for i in 0..N {
            polls.borrow_mut().fill(0);
            let child = wakers.borrow()[i].clone().unwrap();
            child.wake();
            assert_eq!(count.count(), i + 1);
            assert!(poll(set.as_mut(), &waker).is_pending());
            let mut expected = vec![0; N];
            expected[i] = 1;
            assert_eq!(*polls.borrow(), expected);
        }
    }
    static POOL1: WakePool<1> = WakePool::new();
    static POOL31: WakePool<31> = WakePool::new();
    static POOL32: WakePool<32> = WakePool::new();
    static POOL63: WakePool<63> = WakePool::new();
    static POOL64: WakePool<64> = WakePool::new();
    static POOL65: WakePool<65> = WakePool::new();
    static POOL129: WakePool<129> = WakePool::new();
    each(&POOL1);
    each(&POOL31);
    each(&POOL32);
    each(&POOL63);
    each(&POOL64);
    each(&POOL65);
    each(&POOL129);
}

/// A waker that outlives its set: at most one needless poll in the next one, and nobody is lost there.
#[test]
fn a_stale_waker_may_reach_the_next_set_once() {
    static POOL: WakePool<2> = WakePool::new();
    let _stale = stale_wakes();
    let (old, waker) = Wakes::new();
    let (wakers, done) = (RefCell::new(Vec::new()), Cell::new(false));
    let mut set = Box::pin(FixedSet::<_, 2>::new(&POOL).unwrap());
    assert!(set.as_mut().push(parks(&wakers, &done)).is_ok());
    assert!(poll(set.as_mut(), &waker).is_pending());
    let stale = wakers.take();
    drop((set, waker));
    stale[0].wake_by_ref(); // nobody has the pool
    stale[0].wake_by_ref();
    assert_eq!((old.count(), std::sync::Arc::strong_count(&old)), (0, 1));

    let (new, waker) = Wakes::new();
    let mut set = pin!(FixedSet::<_, 2>::new(&POOL).unwrap());
    assert!(poll(set.as_mut(), &waker).is_ready());
    assert!(set.as_mut().push(parks(&wakers, &done)).is_ok());
    assert!(poll(set.as_mut(), &waker).is_pending());
    assert_eq!(wakers.borrow().len(), 1, "new and woken is one poll");
    stale[0].wake_by_ref();
    stale[0].wake_by_ref();
    assert_eq!(new.count(), 1);
    for _ in 0..2 {
        assert!(poll(set.as_mut(), &waker).is_pending());
    }
    assert_eq!(wakers.borrow().len(), 2, "one needless poll");
    done.set(true);
    let own = wakers.borrow()[1].clone();
    own.wake();
    assert_eq!(new.count(), 2);
    assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(Some(())));
}

/// A long random life over many sets, beside a plain account of who must be polled: exactly those that
/// were pushed or woken, each once per outer poll, in the order of their queue, with one outer wake
/// between two polls.
#[test]
fn a_random_life_agrees_with_a_plain_account() {
    const N: usize = 70;
    static POOL: WakePool<N> = WakePool::new();
    #[derive(Default)]
    struct Known {
        waker: Option<Waker>,
        finish: bool,
        due: bool,
    }
    type World = Rc<RefCell<(BTreeMap<usize, Known>, Vec<usize>)>>;
    struct Child(usize, World);
    impl Future for Child {
        type Output = usize;
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
            let (children, polled) = &mut *self.1.borrow_mut();
            let known = children.get_mut(&self.0).unwrap();
            known.waker = Some(cx.waker().clone());
            known.due = false;
            polled.push(self.0);
            if known.finish {
                Poll::Ready(self.0)
            } else {
                Poll::Pending
            }
        }
    }
    impl Drop for Child {
        fn drop(&mut self) {
            self.1.borrow_mut().0.remove(&self.0);
        }
    }
    let _exact = exact_polls();
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        // Knuth's MMIX generator
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let world = World::default();
    let mut made = 0;
    for _ in 0..scaled(100, 2) {
        let (count, waker) = Wakes::new();
        let mut set = Box::pin(FixedSet::<Child, N>::new(&POOL).unwrap());
        let (mut wakes, mut armed) = (0, false);
        for _ in 0..scaled(1000, 60) {
            let ids: Vec<usize> = world.borrow().0.keys().copied().collect();
            match random(100) {
                0..25 => {
                    for _ in 0..random(12) {
                        let fresh = Known {
                            due: true,
                            ..Known::default()
                        };
                        world.borrow_mut().0.insert(made, fresh);
                        let full = set.is_full();
                        let refused = set.as_mut().push(Child(made, world.clone())).is_err();
                        assert_eq!(refused, full);
                        made += 1;
                    }
                }
                25..75 if !ids.is_empty() => {
                    let id = ids[random(ids.len())];
                    let finish = random(2) == 0;
                    let waker = {
                        let known = &mut world.borrow_mut().0;
                        let known = known.get_mut(&id).unwrap();
                        known.finish |= finish;
                        known.due |= known.waker.is_some();
                        known.waker.clone()
                    };
                    if let Some(waker) = waker {
                        waker.wake();
                        wakes += usize::from(std::mem::take(&mut armed));
                    }
                }
                75 if random(10) == 0 => set.as_mut().clear(),
                _ => {
                    let due: Vec<usize> = {
                        let world = world.borrow();
                        let due = world.0.iter().filter(|(_, known)| known.due);
                        due.map(|(id, _)| *id).collect()
                    };
                    armed |= !ids.is_empty();
                    let ended = poll(set.as_mut(), &waker).is_pending() || ids.is_empty();
                    let mut polled = std::mem::take(&mut world.borrow_mut().1);
                    polled.sort_unstable();
                    if ended {
                        assert_eq!(polled, due);
                    }
                    assert!(polled.windows(2).all(|pair| pair[0] != pair[1]));
                    assert!(polled.iter().all(|id| due.contains(id)));
                }
            }
            assert_eq!((set.len(), count.count()), (world.borrow().0.len(), wakes));
        }
        drop(set);
        assert!(world.borrow().0.is_empty());
    }
}

/// Neither sets nor pools nor wakers ever call the allocator.
#[test]
fn nothing_is_allocated() {
    static POOL: WakePool<100> = WakePool::new();
    let (_, waker) = Wakes::new();
    let wakers = RefCell::new(Vec::with_capacity(1000));
    let done = Cell::new(false);
    // Or it would look into the environment.
    #[cfg(umbel_step)]
    umbel_core::step::shuffle(0);
    let before = allocator_calls();
    for _ in 0..3 {
        let mut set = pin!(FixedSet::<_, 100>::new(&POOL).unwrap());
        while set.as_mut().push(parks(&wakers, &done)).is_ok() {}
        for _ in 0..2 {
            assert!(poll(set.as_mut(), &waker).is_pending());
            for waker in wakers.borrow().iter() {
                drop(waker.clone());
                waker.wake_by_ref();
            }
        }
        done.set(true);
        for _ in 0..100 {
            assert!(poll(set.as_mut(), &waker).is_ready());
        }
        done.set(false);
        wakers.borrow_mut().clear();
    }
    assert_eq!(allocator_calls(), before);
}

/// Without a pool every child is polled at every poll, by the task's own waker.
#[test]
fn pass_through_polls_all() {
    let (count, waker) = Wakes::new();
    let (wakers, done) = (RefCell::new(Vec::new()), Cell::new(false));
    let mut set = pin!(FixedSet::<_, 5>::pass_through());
    for _ in 0..5 {
        assert!(set.as_mut().push(parks(&wakers, &done)).is_ok());
    }
    for turn in 1..4 {
        assert!(poll(set.as_mut(), &waker).is_pending());
        let wakers = wakers.borrow();
        assert_eq!(wakers.len(), turn * 5);
        // Not `will_wake`: miri gives a table of functions another address at each use.
        assert!(wakers.iter().all(|own| own.data() == waker.data()));
    }
    assert_eq!(count.count(), 0, "nobody is woken by a poll");
    done.set(true);
    let mut outputs = 0;
    while poll(set.as_mut(), &waker) == Poll::Ready(Some(())) {
        outputs += 1;
    }
    assert_eq!((outputs, set.is_terminated()), (5, true));
    assert!(set.is_pass_through());
}

/// Pass-through: who is always ready, or finishes and is replaced, starves nobody.
#[test]
fn pass_through_is_fair() {
    let (_, waker) = Wakes::new();
    let spins = Cell::new(0);
    let mut set = pin!(FixedSet::<Pin<Box<dyn Future<Output = ()> + '_>>, 3>::pass_through());
    let spinner = poll_fn(|cx| {
        spins.set(spins.get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    assert!(set.as_mut().push(Box::pin(spinner)).is_ok());
    assert!(set.as_mut().push(Box::pin(ready(()))).is_ok());
    assert!(set.as_mut().push(Box::pin(yields(10))).is_ok());
    for turn in 1..=10 {
        assert!(poll(set.as_mut(), &waker).is_ready());
        assert!(set.as_mut().push(Box::pin(ready(()))).is_ok());
        assert!(2 * spins.get() >= turn, "every other turn, at least");
    }
}

/// Futures of all shapes: none, odd alignment, large.
#[test]
fn futures_of_any_size() {
    #[repr(align(256))]
    struct Aligned(u8);
    impl Future for Aligned {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            assert_eq!((&raw const *self).addr() % 256, 0);
            Poll::Ready(self.0)
        }
    }
    struct Huge([u8; 40_000]);
    impl Future for Huge {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(self.0[39_999])
        }
    }
    static POOL: WakePool<3> = WakePool::new();
    let (_, waker) = Wakes::new();
    {
        let mut set = pin!(FixedSet::<_, 3>::new(&POOL).unwrap());
        for n in 0..3 {
            assert!(set.as_mut().push(Aligned(n)).is_ok());
        }
        for n in 0..3 {
            assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(Some(n)));
        }
    }
    let mut set = pin!(FixedSet::<_, 3>::new(&POOL).unwrap());
    for n in 0..3 {
        assert!(set.as_mut().push(Huge([n; 40_000])).is_ok());
    }
    for n in 0..3 {
        assert_eq!(poll(set.as_mut(), &waker), Poll::Ready(Some(n)));
    }
}

/// A child that panics when it is dropped takes its output along, but leaks nothing.
#[test]
fn an_output_is_dropped_if_the_drop_of_its_child_panics() {
    struct Ends<'a>(&'a Rc<()>);
    impl Future for Ends<'_> {
        type Output = Rc<()>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Rc<()>> {
            Poll::Ready(Rc::clone(self.0))
        }
    }
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            panic!("hostile drop");
        }
    }
    static POOL: WakePool<1> = WakePool::new();
    let output = Rc::new(());
    let (_, waker) = Wakes::new();
    let mut set = pin!(FixedSet::<_, 1>::new(&POOL).unwrap());
    assert!(set.as_mut().push(Ends(&output)).is_ok());
    let polled = catch_unwind(AssertUnwindSafe(|| drop(poll(set.as_mut(), &waker))));
    assert!(polled.is_err() && set.is_empty());
    assert_eq!(Rc::strong_count(&output), 1);
}
