use super::growing::{Begun, FutureSet};
use crate::wake::batch::steps;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use futures_core::Stream;
use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), count.into())
}

/// What a test knows of its children.
#[derive(Default)]
struct World {
    children: BTreeMap<usize, Known>,
    made: usize,
    /// Polls since this was last emptied, in their order.
    polled: Vec<usize>,
}

#[derive(Default)]
struct Known {
    waker: Option<Waker>,
    finish: bool,
    woken: bool,
}

/// Miri may give a waker's vtable several addresses, so that a clone is not known to wake the same
/// task; then a set registers anew, and never is idle.
const CLONES_DIFFER: bool = cfg!(miri);

type Shared = Rc<RefCell<World>>;

struct Child(usize, Shared);

impl Child {
    fn new(world: &Shared) -> Child {
        let mut inner = world.borrow_mut();
        let id = inner.made;
        inner.made += 1;
        let known = Known {
            woken: true,
            ..Known::default()
        };
        inner.children.insert(id, known);
        Child(id, world.clone())
    }
}

impl Future for Child {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let world = &mut *self.1.borrow_mut();
        world.polled.push(self.0);
        let known = world.children.get_mut(&self.0).unwrap();
        known.woken = false;
        known.waker = Some(cx.waker().clone());
        if known.finish {
            Poll::Ready(self.0)
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        assert!(self.1.borrow_mut().children.remove(&self.0).is_some());
    }
}

fn wake(world: &Shared, id: usize) {
    let waker = {
        let mut world = world.borrow_mut();
        let known = world.children.get_mut(&id).unwrap();
        known.woken = true;
        known.waker.clone()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// These tests count polls and wakes exactly, and some wake stale wakers, which may reach any set
/// of the process: they run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A long random life, beside a plain account of who must be polled: exactly those that were pushed
/// or woken, each once per outer poll, with one outer wake between two polls.
#[test]
fn a_random_life_agrees_with_a_plain_account() {
    let _alone = alone();
    let steps = if cfg!(miri) { 80 } else { 30_000 };
    for seed in 1..=if cfg!(miri) { 1 } else { 8_u64 } {
        let mut state = seed;
        let mut random = move |below: usize| {
            // Knuth's MMIX generator
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let world = Shared::default();
        let (count, waker) = counting();
        let mut cx = Context::from_waker(&waker);
        let mut set = FutureSet::new();
        let mut wakes = 0; // of the outer waker, as it must be
        let mut armed = false;
        for _ in 0..steps {
            let ids: Vec<usize> = world.borrow().children.keys().copied().collect();
            match random(100) {
                0..25 => (0..random(12)).for_each(|_| set.push(Child::new(&world))),
                25..75 if !ids.is_empty() => {
                    let id = ids[random(ids.len())];
                    let parked = world.borrow().children[&id].waker.is_some();
                    if random(2) == 0 {
                        world.borrow_mut().children.get_mut(&id).unwrap().finish = true;
                    }
                    wake(&world, id);
                    if parked && core::mem::take(&mut armed) {
                        wakes += 1;
                    }
                }
                75..77 => {
                    let parity = random(3);
                    set.retain(|child| child.0 % 3 != parity);
                }
                77 if random(10) == 0 => set.clear(),
                _ => loop {
                    let expected: Vec<usize> = {
                        let world = world.borrow();
                        let due = world.children.iter().filter(|(_, known)| known.woken);
                        due.map(|(id, _)| *id).collect()
                    };
                    armed |= !ids.is_empty();
                    let before = world.borrow().children.len();
                    let polled_to_end = match Pin::new(&mut set).poll_next(&mut cx) {
                        Poll::Ready(Some(id)) => {
                            assert!(!world.borrow().children.contains_key(&id));
                            assert_eq!(world.borrow().children.len(), before - 1);
                            false
                        }
                        _ => true,
                    };
                    let mut polled = core::mem::take(&mut world.borrow_mut().polled);
                    polled.sort_unstable();
                    if polled_to_end {
                        assert_eq!(polled, expected);
                        break;
                    }
                    polled
                        .windows(2)
                        .for_each(|pair| assert_ne!(pair[0], pair[1]));
                    polled.iter().for_each(|id| assert!(expected.contains(id)));
                    // Now and then, leave off in the middle.
                    if random(4) == 0 {
                        break;
                    }
                },
            }
            assert_eq!(set.len(), world.borrow().children.len());
            assert_eq!(count.get(), wakes);
        }
        drop(set);
        assert!(world.borrow().children.is_empty());
    }
}

#[test]
fn retain_keeps_and_drops_as_told() {
    let _alone = alone();
    let world = Shared::default();
    let (_, waker) = counting();
    let mut cx = Context::from_waker(&waker);
    let mut set: FutureSet<_> = (0..300).map(|_| Child::new(&world)).collect();
    set.retain(|child| child.0 % 2 == 0); // before the first poll
    assert!(Pin::new(&mut set).poll_next(&mut cx).is_pending());
    assert_eq!((set.len(), world.borrow().polled.len()), (150, 150));
    for id in (0..300).step_by(2) {
        wake(&world, id);
    }
    set.retain(|child| child.0 < 20); // woken, not yet taken
    set.push(Child::new(&world));
    world.borrow_mut().polled.clear();
    assert!(Pin::new(&mut set).poll_next(&mut cx).is_pending());
    let mut polled = core::mem::take(&mut world.borrow_mut().polled);
    polled.sort_unstable();
    assert_eq!(polled, (0..20).step_by(2).chain([300]).collect::<Vec<_>>());

    // Taken, not yet polled.
    for id in (0..20).step_by(2) {
        wake(&world, id);
    }
    assert!(set.begin(&mut cx).registered);
    set.retain(|_| false);
    assert!(set.is_empty() && world.borrow().children.is_empty());
    for _ in 0..100 {
        set.push(Child::new(&world));
    }
    assert!(set.poll_local().is_none());
    assert_eq!(world.borrow().polled.len(), 100);
}

/// A panic in a child's Drop, or in `keep`, loses no sibling; what panicked in `keep` stays.
#[test]
fn retain_goes_on_past_a_panic() {
    struct Bad(usize, Rc<Cell<usize>>);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            assert!(self.0 != 77, "hostile drop");
        }
    }
    let drops = Rc::new(Cell::new(0));
    let mut set: FutureSet<Bad> = (0..200).map(|i| Bad(i, drops.clone())).collect();
    let result = catch_unwind(AssertUnwindSafe(|| set.retain(|_| false)));
    assert!(result.is_err());
    assert_eq!((set.len(), drops.get()), (0, 200));
    let mut set: FutureSet<Bad> = (100..300).map(|i| Bad(i, drops.clone())).collect();
    let result = catch_unwind(AssertUnwindSafe(|| {
        set.retain(|bad| {
            if bad.0 == 150 {
                panic!("hostile keep")
            } else {
                false
            }
        });
    }));
    assert!(result.is_err());
    assert_eq!((set.len(), drops.get()), (1, 399));
}

#[test]
fn steps_go_on_past_panics() {
    let panics: &[u32] = if cfg!(feature = "std") {
        &[2, 5, 7]
    } else {
        &[5]
    };
    let mut done = Vec::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        steps(|| {
            let next = done.len() as u32;
            done.push(next);
            if panics.contains(&next) {
                panic!("{next}");
            }
            next < 9
        });
    }));
    assert_eq!(done, (0..10).collect::<Vec<_>>());
    let first = result.unwrap_err();
    assert_eq!(
        *first.downcast::<alloc::string::String>().unwrap(),
        alloc::format!("{}", panics[0])
    );
}

#[test]
fn the_desk_is_told_apart_from_children() {
    let _alone = alone();
    let world = Shared::default();
    let (count, waker) = counting();
    let mut cx = Context::from_waker(&waker);
    let mut set = FutureSet::new();
    let desk = set.desk();
    assert!(!set.is_idle(&cx), "never polled");
    desk.ring(3); // nobody to wake yet
    let Begun {
        desk: rung,
        registered,
    } = set.begin(&mut cx);
    assert_eq!(
        (rung & (1 << 3), registered, count.get()),
        (1 << 3, true, 0)
    );
    assert!(set.is_idle(&cx) || CLONES_DIFFER);
    set.push(Child::new(&world));
    assert!(!set.is_idle(&cx));
    assert!(set.poll_local().is_none());
    assert!(set.is_idle(&cx) || CLONES_DIFFER);
    assert!(!set.is_idle(&Context::from_waker(Waker::noop())));

    let bell = (*desk.waker(0)).clone();
    bell.wake_by_ref();
    desk.ring(1);
    wake(&world, 0);
    assert_eq!(count.get(), 1);
    assert!(!set.is_idle(&cx));
    assert_eq!(set.begin(&mut cx).desk, 0b11);
    assert!(set.poll_local().is_none());
    assert_eq!(world.borrow().polled.len(), 2);

    set.clear();
    assert_eq!(
        set.desk().waker(0).data(),
        desk.waker(0).data(),
        "the desk outlives a clear"
    );
    bell.wake_by_ref();
    assert_eq!(set.begin(&mut cx).desk, 1);
    drop(set);
    bell.wake();
    desk.ring(usize::BITS as usize - 1);
    assert_eq!(count.get(), 2);
}

/// The outer waker's clone or drop panics: what was taken is told by the next `begin`.
#[test]
fn a_hostile_outer_waker_loses_nothing() {
    let _alone = alone();
    use core::task::{RawWaker, RawWakerVTable};
    std::thread_local! { static ARMED: Cell<(bool, bool)> = const { Cell::new((false, false)) }; }
    static HOSTILE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            assert!(!ARMED.get().0, "hostile clone");
            RawWaker::new(data, &HOSTILE)
        },
        |_| {},
        |_| {},
        |_| assert!(!ARMED.take().1, "hostile drop"),
    );
    // SAFETY: the vtable touches nothing.
    let hostile = unsafe { Waker::new(core::ptr::null(), &HOSTILE) };
    let (_, friendly) = counting();
    let world = Shared::default();
    let mut set: FutureSet<_> = [Child::new(&world)].into_iter().collect();
    let desk = set.desk();
    for armed in [(true, false), (false, true)] {
        assert!(
            Pin::new(&mut set)
                .poll_next(&mut Context::from_waker(&friendly))
                .is_pending()
        );
        if armed.1 {
            assert!(set.begin(&mut Context::from_waker(&hostile)).registered);
        }
        world.borrow_mut().polled.clear();
        wake(&world, 0);
        desk.ring(5);
        let next = if armed.0 { &hostile } else { &friendly };
        ARMED.set(armed);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            set.begin(&mut Context::from_waker(next))
        }));
        assert!(panic.is_err());
        ARMED.take();
        assert_eq!(set.begin(&mut Context::from_waker(&friendly)).desk, 1 << 5);
        assert!(set.poll_local().is_none());
        assert_eq!(world.borrow().polled, [0]);
    }
    drop(Box::new(set));
}
