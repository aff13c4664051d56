//! The timer on a driver whose time stands still until it is told to go on. One test, since there is
//! one driver in a program.

use core::cell::RefCell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};
use embassy_time_queue_utils::Queue;
use std::sync::Arc;
use std::task::Wake;
use umbel_core::{
    Clock, FixedFailure, FixedNursery, Instant, ReasonKind, StaticToken, Timer, WakePool,
};
use umbel_embassy::EmbassyTimer;

struct Still {
    now: AtomicU64,
    scheduled: AtomicUsize,
    queue: Mutex<RefCell<Queue>>,
}

impl Driver for Still {
    fn now(&self) -> u64 {
        self.now.load(SeqCst)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        self.scheduled.fetch_add(1, SeqCst);
        critical_section::with(|cs| self.queue.borrow_ref_mut(cs).schedule_wake(at, waker));
    }
}

time_driver_impl!(static DRIVER: Still = Still {
    now: AtomicU64::new(0),
    scheduled: AtomicUsize::new(0),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

/// The next alarm.
fn go_on(ticks: u64) -> u64 {
    let now = DRIVER.now.fetch_add(ticks, SeqCst) + ticks;
    critical_section::with(|cs| DRIVER.queue.borrow_ref_mut(cs).next_expiration(now))
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

struct Task<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

impl<F: Future> Task<F> {
    fn new(future: F) -> Self {
        Task {
            future: Box::pin(future),
            woken: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = self.woken.clone().into();
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// How often it was woken since this was asked.
    fn woken(&self) -> usize {
        self.woken.0.swap(0, SeqCst)
    }
}

#[test]
fn sleeps_end_when_their_tick_has_come() {
    sleeps();
    deadlines();
}

fn sleeps() {
    let timer = EmbassyTimer::new();
    let tick = Duration::from_nanos(1_000_000_000 / TICK_HZ);
    assert_eq!(timer.now(), Instant::EPOCH);
    go_on(7);
    assert_eq!(timer.now(), Instant::EPOCH + 7 * tick);

    // What is due ends at once, and is not scheduled.
    assert!(Task::new(timer.sleep_until(timer.now())).poll().is_ready());
    assert!(
        Task::new(timer.sleep_until(Instant::EPOCH))
            .poll()
            .is_ready()
    );
    let mut never = Task::new(timer.sleep_until(Instant::NEVER));
    assert!(never.poll().is_pending());
    assert_eq!(DRIVER.scheduled.load(SeqCst), 0);

    // In between two ticks it is the later one.
    let mut sleep = Task::new(timer.sleep_until(timer.now() + tick * 5 / 2));
    assert!(sleep.poll().is_pending());
    assert_eq!(go_on(2), 10);
    assert_eq!(sleep.woken(), 0);
    assert!(sleep.poll().is_pending(), "polled early, it sleeps on");
    go_on(1);
    assert_eq!(sleep.woken(), 1);
    assert!(sleep.poll().is_ready() && sleep.poll().is_ready());
    assert!(never.poll().is_pending() && never.woken() == 0);
}

/// A nursery's children sleep, each with a waker of its own, until the deadline of all.
fn deadlines() {
    static STOP: StaticToken<1> = StaticToken::new();
    static POOL: WakePool<2> = WakePool::new();
    let timer = EmbassyTimer::new();
    let tick = Duration::from_nanos(1_000_000_000 / TICK_HZ);
    let begin = timer.now();
    let polls = [const { AtomicUsize::new(0) }; 2];
    let child = async |n: usize, period: u32| {
        for i in 1.. {
            polls[n].fetch_add(1, SeqCst);
            timer.sleep_until(begin + i * period * tick).await;
        }
        Ok(())
    };
    let stop = STOP.child_with_deadline(begin + 10 * tick).unwrap();
    let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
    let run = pin!(n.run_until_cancelled(&stop, async {
        n.try_spawn(child(0, 2)).map_err(drop)?;
        n.try_spawn(child(1, 3)).map_err(drop)?;
        stop.drive(timer).await;
        core::future::pending::<Result<(), ()>>().await
    }));
    let mut run = Task::new(run);
    assert!(run.poll().is_pending());
    for now in 1..10 {
        go_on(1);
        let is_due = now % 2 == 0 || now % 3 == 0;
        assert_eq!(run.woken(), usize::from(is_due), "at tick {now}");
        if is_due {
            assert!(run.poll().is_pending());
        }
        let counts = polls.each_ref().map(|polls| polls.load(SeqCst));
        assert_eq!(counts, [1 + now / 2, 1 + now / 3], "at tick {now}");
    }
    go_on(1);
    assert_eq!(run.woken(), 1);
    let Poll::Ready(Err(FixedFailure::Cancelled(reason))) = run.poll() else {
        panic!("it goes on");
    };
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
}
