//! Drops at every moment: of a whole nursery, and of anything that somebody awaits in it.

use futures_core::Stream;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use umbel_core::{Failure, JoinError, KeepGoing, LocalHandle, LocalNursery, ManualClock};
use umbel_tests::exec::Wakes;
use umbel_tests::quiet::stale_wakes;
use umbel_tests::scaled;

/// The most polls. The program takes fewer, if nothing is dropped.
const POLLS: usize = scaled(32, 4);

// ------------------------------------------------------------------ what is counted

#[derive(Default)]
struct Ledger {
    made: Cell<usize>,
    dropped: Cell<usize>,
    polls: Cell<usize>,
    /// Cleanups that were deferred, and that have begun.
    deferred: Cell<usize>,
    begun: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
}

/// Something that must be dropped once.
struct Item(Rc<Ledger>);

impl Drop for Item {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

fn item(ledger: &Rc<Ledger>) -> Item {
    ledger.made.set(ledger.made.get() + 1);
    Item(Rc::clone(ledger))
}

struct Bad(#[allow(dead_code, reason = "only to be dropped")] Option<Item>);

impl From<JoinError> for Bad {
    fn from(_: JoinError) -> Bad {
        Bad(None)
    }
}

impl From<Failure<Bad>> for Bad {
    fn from(failure: Failure<Bad>) -> Bad {
        failure.rest.into_iter().next().unwrap_or(Bad(None))
    }
}

type Outcome = Result<Item, Bad>;

/// Is pending `turns` times, wakes itself, leaves its wakers behind.
fn yields(ledger: &Rc<Ledger>, turns: usize) -> impl Future<Output = ()> + use<> {
    let (ledger, mut left) = (Rc::clone(ledger), turns);
    poll_fn(move |cx| {
        ledger.polls.set(ledger.polls.get() + 1);
        ledger.wakers.borrow_mut().push(cx.waker().clone());
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A child's work: it holds something, gives something, and fails now and then.
async fn work(ledger: Rc<Ledger>, turns: usize) -> Outcome {
    let _held = item(&ledger);
    yields(&ledger, turns).await;
    match turns {
        3 => Err(Bad(Some(item(&ledger)))),
        _ => Ok(item(&ledger)),
    }
}

/// A child that opens something, which is the scope's to close.
async fn open(h: LocalHandle<'static, Bad>, ledger: Rc<Ledger>, turns: usize) -> Outcome {
    let opened = item(&ledger);
    ledger.deferred.set(ledger.deferred.get() + 1);
    let (own, deeper) = (Rc::clone(&ledger), h.clone());
    let close = async move {
        own.begun.set(own.begun.get() + 1);
        let last = item(&own);
        deeper.release(last).unwrap();
        drop(opened);
        drop(work(own, turns).await?);
        Ok(())
    };
    h.defer(close).unwrap();
    h.release(item(&ledger)).unwrap();
    work(ledger, 1).await
}

// ------------------------------------------------------------------ what may be dropped

/// Futures that the test drops under the hands of who awaits them.
#[derive(Clone, Default)]
struct Loose(Rc<RefCell<Vec<Drops>>>);

/// Drops one of them.
type Drops = Box<dyn Fn()>;

impl Loose {
    /// `None`: it has been dropped.
    fn hold<F: Future + 'static>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        type Slot<F> = RefCell<(Option<Pin<Box<F>>>, Option<Waker>)>;
        let slot: Rc<Slot<F>> = Rc::new(RefCell::new((Some(Box::pin(future)), None)));
        let ours = Rc::clone(&slot);
        self.0.borrow_mut().push(Box::new(move || {
            let (future, waker) = std::mem::take(&mut *ours.borrow_mut());
            drop(future);
            waker.inspect(Waker::wake_by_ref);
        }));
        poll_fn(move |cx| {
            let Some(mut future) = slot.borrow_mut().0.take() else {
                return Poll::Ready(None);
            };
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            *slot.borrow_mut() = (Some(future), Some(cx.waker().clone()));
            Poll::Pending
        })
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn drop_one(&self, index: usize) {
        // It may be awaited by what it holds: not called from within the list.
        let taken = self.0.borrow_mut().get_mut(index).map(|one| {
            let gone: Drops = Box::new(|| ());
            std::mem::replace(one, gone)
        });
        if let Some(one) = taken {
            one();
        }
    }
}

// ------------------------------------------------------------------ the program

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Spawns a child when it is dropped.
struct SpawnsLate(LocalHandle<'static, Bad>, Rc<Ledger>);

impl Drop for SpawnsLate {
    fn drop(&mut self) {
        drop(self.0.spawn(work(Rc::clone(&self.1), 1)));
    }
}

/// Nested scopes, joins in children, graceful ones, a queue, waits, a map; then a cancellation.
async fn body(h: LocalHandle<'static, Bad>, ledger: Rc<Ledger>, loose: Loose) -> Outcome {
    let _own = item(&ledger);
    let spawns = SpawnsLate(h.clone(), Rc::clone(&ledger));
    let (opening, late_too) = (Rc::clone(&ledger), Rc::clone(&ledger));
    let work = move |turns| work(Rc::clone(&ledger), turns);
    // Children that open what outlives them: one closes well, one badly, one not in time.
    for turns in [1, 3, 9] {
        drop(loose.hold(h.spawn(open(h.clone(), Rc::clone(&opening), turns))));
    }
    // A child that awaits another one.
    let joined = loose.hold(h.spawn(work(2)));
    let after = work(1);
    drop(h.spawn(async move {
        drop(joined.await);
        after.await
    }));
    // One that is told, and takes its time.
    let late = work(2);
    let own = h.clone();
    let graceful = h.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        drop(open(own, late_too, 0).await?);
        late.await
    });
    // A scope with a queue, whose spawner waits for room.
    let (inside, own) = (work.clone(), loose.clone());
    let scope = h.scope(move |n| {
        let n = n.limit(2);
        let h = n.handle();
        n.run(async move {
            let close = inside(2);
            h.defer(async move { close.await.map(drop) }).unwrap();
            drop(h.spawn(inside(4)));
            let waits = [1, 2, 0].map(|turns| own.hold(h.spawn_wait(inside(turns))));
            for wait in waits {
                if let Some(Ok(join)) = wait.await {
                    drop(own.hold(join).await);
                }
            }
            inside(0).await
        })
    });
    let wait = loose.hold(h.spawn_wait(work(1)));
    let quick = work(1);
    drop(h.spawn(async move {
        let _spawns = spawns;
        quick.await
    }));
    drop(wait.await);
    // A map that is read by halves.
    let each = work.clone();
    let mut map = h.map([0, 1, 3, 2, 0], each);
    let read = loose.hold(async move {
        for _ in 0..4 {
            drop(next(&mut map).await);
        }
        map
    });
    drop(read.await);
    drop(loose.hold(scope).await);
    drop(h.spawn(pending::<Outcome>()));
    // Sections that outlive who awaits them: one ends, one does not in time.
    for turns in [2, 12] {
        let section = loose.hold(h.shield(Duration::from_nanos(5), work(turns)));
        drop(h.spawn(async move {
            drop(section.await);
            pending::<Outcome>().await
        }));
    }
    h.cancel();
    drop(loose.hold(graceful).await);
    pending().await
}

/// Drops the `loose`-th thing before poll `first` of the program, and the program before poll `last`. How
/// many loose things there were, and how many polls.
fn run(loose_one: usize, first: usize, last: usize) -> (usize, usize) {
    let ledger = Rc::new(Ledger::default());
    let loose = Loose::default();
    let clock = ManualClock::new();
    let n = LocalNursery::<'static, Bad>::new()
        .limit(3)
        .policy(KeepGoing)
        .timer(clock.clone())
        .grace(Duration::from_nanos(2))
        .cleanup(Duration::from_nanos(7));
    let h = n.handle();
    let mut program = Box::pin(n.run(body(h.clone(), Rc::clone(&ledger), loose.clone())));
    let (wakes, waker) = Wakes::new();
    let mut polls = 0;
    let mut ended = false;
    while polls < last && !ended {
        if polls == first {
            loose.drop_one(loose_one);
        }
        polls += 1;
        ended = match program.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => {
                drop(outcome);
                // Each has begun once, whoever was cancelled or went.
                assert_eq!(ledger.begun.get(), ledger.deferred.get());
                true
            }
            Poll::Pending => false,
        };
        if h.token().is_cancelled() {
            clock.advance(Duration::from_nanos(1));
        }
    }
    drop(program);
    // None has begun twice, whenever the program was dropped.
    assert!(ledger.begun.get() <= ledger.deferred.get());
    let seen = (ledger.polls.get(), wakes.count());
    // Nobody is there any more to be polled, or to be told.
    for waker in ledger.wakers.take() {
        waker.wake();
    }
    assert_eq!((ledger.polls.get(), wakes.count()), seen);
    let count = loose.len();
    for index in 0..count {
        loose.drop_one(index);
    }
    assert_eq!(ledger.polls.get(), seen.0);
    let (made, dropped) = (ledger.made.get(), ledger.dropped.get());
    assert_eq!(
        made, dropped,
        "{loose_one} before {first}, all before {last}"
    );
    drop((loose, h, clock));
    assert_eq!(Rc::strong_count(&ledger), 1, "{loose_one}, {first}, {last}");
    (count, polls)
}

#[test]
fn drop_a_rich_nursery_at_every_poll() {
    let _alone = stale_wakes();
    let mut most = 0;
    for last in 0..=POLLS {
        most = most.max(run(0, usize::MAX, last).1);
    }
    assert!(cfg!(miri) || most < POLLS, "the program is too long");
}

#[test]
fn drop_something_and_then_the_whole_at_every_pair_of_polls() {
    let _alone = stale_wakes();
    let (count, _) = run(0, usize::MAX, POLLS);
    assert!(cfg!(miri) || count >= 10, "only {count} things to drop");
    for one in 0..scaled(count, 3.min(count)) {
        for first in 0..=POLLS {
            for last in first..=POLLS {
                run(one, first, last);
            }
        }
    }
}
