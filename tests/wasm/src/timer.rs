//! `WasmTimer`, in virtual time.

use crate::host::{self, closures, come_early, delays, millis, pass, timeouts};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use umbel::wasm::{WasmSleep, WasmTimer};
use umbel::{Clock, Instant, JoinError, LocalNursery, Timer};
use umbel_tests::counting::Task;
use umbel_tests::exec::Log;

crate::list![
    sleeps_end_in_the_order_of_their_instants,
    a_sleep_ends_at_its_instant,
    what_is_due_or_never_will_be_sets_no_timeout,
    a_sleep_that_is_dropped_leaves_nothing,
    polled_again_it_keeps_its_timeout_and_wakes_the_last_waker,
    a_timeout_that_comes_early_is_set_again,
    a_delay_beyond_what_a_timeout_reaches_is_cut,
    of_a_thousand_sleeps_each_ends_or_is_cleared,
    a_waker_may_drop_the_sleep_that_wakes_it,
    a_waker_may_poll_the_sleep_that_wakes_it,
    polled_after_its_end_it_is_ready_again,
];

fn timer() -> WasmTimer {
    WasmTimer::new()
}

fn sleep(time: Duration) -> WasmSleep {
    timer().sleep_until(timer().now() + time)
}

async fn sleeps_end_in_the_order_of_their_instants() {
    let log = Log::new();
    let n = LocalNursery::<JoinError>::new();
    let h = n.handle();
    let run = n.run(async {
        for time in [5, 3, 9, 1, 7, 2, 8, 4, 6] {
            let log = log.clone();
            drop(h.spawn(async move {
                sleep(millis(time)).await;
                log.add(time.to_string());
                Ok(())
            }));
        }
        Ok(())
    });
    run.await.unwrap();
    assert_eq!(log.take(), "1 2 3 4 5 6 7 8 9");
    assert_eq!(delays().len(), 9);
}

async fn a_sleep_ends_at_its_instant() {
    // Not a whole number of milliseconds: it ends at the first that is not too early.
    for micros in [1, 999, 1000, 1001, 1_234_567] {
        let begun = timer().now();
        let at = begun + Duration::from_micros(micros);
        timer().sleep_until(at).await;
        let took = timer().now() - begun;
        assert_eq!(took, millis(micros.div_ceil(1000)), "{micros} µs");
    }
    assert_eq!(delays(), [1.0, 1.0, 1.0, 2.0, 1235.0]);
}

async fn what_is_due_or_never_will_be_sets_no_timeout() {
    timer().sleep_until(timer().now()).await;
    timer().sleep_until(Instant::EPOCH).await;
    let task = Task::new();
    let mut never = pin!(timer().sleep_until(Instant::NEVER));
    assert!(task.poll(never.as_mut()).is_pending());
    assert_eq!((delays().len(), task.wakers()), (0, 0));
    pass(millis(3_600_000)).await;
    assert!(task.poll(never).is_pending());
    assert_eq!(task.woken(), 0);
}

async fn a_sleep_that_is_dropped_leaves_nothing() {
    let (task, before) = (Task::new(), closures());
    drop(sleep(millis(1)));
    assert_eq!(delays().len(), 0);

    let mut dropped = Box::pin(sleep(millis(1)));
    assert!(task.poll(dropped.as_mut()).is_pending());
    assert_eq!((timeouts(), closures(), task.wakers()), (1, before + 1, 1));
    drop(dropped);
    assert_eq!((timeouts(), closures(), task.wakers()), (0, before, 0));

    pass(millis(2)).await;
    assert_eq!(task.woken(), 0);

    // It has fired, and nobody looked.
    let mut fired = Box::pin(sleep(millis(1)));
    assert!(task.poll(fired.as_mut()).is_pending());
    pass(millis(2)).await;
    assert_eq!((timeouts(), closures(), task.wakers()), (0, before + 1, 0));
    drop(fired);
    assert_eq!((closures(), task.woken()), (before, 1));
}

async fn polled_again_it_keeps_its_timeout_and_wakes_the_last_waker() {
    let (first, last) = (Task::new(), Task::new());
    let mut slept = pin!(sleep(millis(5)));
    for task in [&first, &first, &last, &last] {
        assert!(task.poll(slept.as_mut()).is_pending());
    }
    assert_eq!(delays(), [5.0]);
    assert_eq!((first.wakers(), last.wakers()), (0, 1));
    pass(millis(6)).await;
    assert_eq!((first.woken(), last.woken(), last.wakers()), (0, 1, 0));
    assert!(last.poll(slept).is_ready());
}

async fn a_timeout_that_comes_early_is_set_again() {
    come_early(0.4);
    let at = timer().now() + millis(10);
    timer().sleep_until(at).await;
    assert!(timer().now() >= at, "it ended early");
    // The second is for what is left, and comes before a millisecond is over.
    assert_eq!(delays(), [10.0, 1.0]);
}

async fn a_delay_beyond_what_a_timeout_reaches_is_cut() {
    const REACHES: f64 = 2_147_483_647.0;
    let days = Duration::from_secs(60 * 24 * 60 * 60);
    let at = timer().now() + days;
    timer().sleep_until(at).await;
    assert_eq!(timer().now(), at);
    let rest = days.as_millis() as f64 - 2.0 * REACHES;
    assert_eq!(delays(), [REACHES, REACHES, rest]);
}

async fn of_a_thousand_sleeps_each_ends_or_is_cleared() {
    let before = closures();
    let task = Task::new();
    let mut sleeps: Vec<_> = (1..=1000)
        .map(|time| Box::pin(sleep(millis(time))))
        .collect();
    let mut poll_all = || {
        sleeps.retain_mut(|sleep| task.poll(sleep.as_mut()).is_pending());
        sleeps.len()
    };
    assert_eq!(poll_all(), 1000);
    assert_eq!((timeouts(), closures()), (1000, before + 1000));
    pass(millis(500)).await;
    assert_eq!((task.woken(), poll_all()), (500, 500));
    assert_eq!((timeouts(), closures()), (500, before + 500));
    drop(sleeps);
    assert_eq!((timeouts(), closures()), (0, before));
}

type Kept = Arc<Mutex<Option<Pin<Box<WasmSleep>>>>>;

async fn a_waker_may_drop_the_sleep_that_wakes_it() {
    let before = closures();
    let kept = Kept::default();
    let theirs = kept.clone();
    let task = Task::with_hook(move || {
        let sleep = theirs.lock().unwrap().take();
        drop(sleep.expect("it is woken once"));
    });
    let mut slept = Box::pin(sleep(millis(1)));
    assert!(task.poll(slept.as_mut()).is_pending());
    *kept.lock().unwrap() = Some(slept);
    pass(millis(2)).await;
    assert_eq!((task.woken(), closures()), (1, before));
}

async fn a_waker_may_poll_the_sleep_that_wakes_it() {
    let kept = Kept::default();
    let theirs = kept.clone();
    let inner = Task::new();
    come_early(0.5);
    let task = Task::with_hook(move || {
        let mut sleep = theirs.lock().unwrap();
        // Too early: it sets another timeout, in the call of the first.
        assert!(inner.poll(sleep.as_mut().unwrap().as_mut()).is_pending());
    });
    let mut slept = Box::pin(sleep(millis(1)));
    assert!(task.poll(slept.as_mut()).is_pending());
    *kept.lock().unwrap() = Some(slept);
    pass(millis(3)).await;
    assert_eq!(task.woken(), 1);
    let mut slept = kept.lock().unwrap().take().unwrap();
    assert!(task.poll(slept.as_mut()).is_ready());
}

async fn polled_after_its_end_it_is_ready_again() {
    let mut slept = pin!(sleep(millis(1)));
    slept.as_mut().await;
    assert!(Task::new().poll(slept).is_ready());
    assert_eq!(host::delays(), [1.0]);
}

const _: fn() = || {
    fn is_send<T: Send + Sync + Unpin>() {}
    is_send::<WasmTimer>();
    is_send::<WasmSleep>();
    fn is_future<T: Future<Output = ()>>() {}
    is_future::<WasmSleep>();
};
