//! N8: whatever panics inside a nursery, all its children come to their ends first.

use std::any::Any;
use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWakerVTable, Wake, Waker};
use std::time::Duration;
use umbel_core::{
    Clock, Handle, Instant, Join, JoinErrorKind, KeepGoing, ManualClock, Nursery, ReasonKind,
    Stats, Timer,
};
use umbel_tests::exec::{Gate, Log, Task, yields};

/// An error whose Drop may panic.
#[derive(Debug)]
struct Bad(#[allow(dead_code, reason = "for its Drop")] Option<Bomb>);

type N<'env> = Nursery<'env, Bad>;

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(self.0);
    }
}

/// A waker that panics when it is woken.
struct BombWaker;

impl Wake for BombWaker {
    fn wake(self: Arc<Self>) {
        panic_any("waker");
    }
}

fn bomb_waker() -> Waker {
    Arc::new(BombWaker).into()
}

fn once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn caught<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// What was thrown.
#[track_caller]
fn thrown<R>(f: impl FnOnce() -> R) -> &'static str {
    match caught(f) {
        Ok(_) => panic!("nothing was thrown"),
        Err(panic) => panic.downcast_ref::<&str>().expect("a text"),
    }
}

#[track_caller]
fn end_of<T>(join: &mut Join<T>) -> (JoinErrorKind, Option<ReasonKind>) {
    match once(join, Waker::noop()) {
        Poll::Ready(Err(e)) => (e.kind(), e.reason().map(|reason| reason.kind())),
        Poll::Ready(Ok(_)) => panic!("it has an output"),
        Poll::Pending => panic!("it has not ended"),
    }
}

#[test]
fn n8_a_childs_panic_cancels_its_siblings_and_is_resumed_when_all_have_ended() {
    let (gate, log) = (Gate::new(), Log::new());
    let n = N::new();
    let h = n.handle();
    let notes = [
        log.on_drop("graceful"),
        log.on_drop("plain"),
        log.on_drop("bad"),
    ];
    let [graceful, plain, bad] = notes;
    let g = gate.clone();
    let mut graceful = h.spawn_graceful(|cx| async move {
        let _note = graceful;
        cx.token().cancelled().await;
        g.pass().await;
        Ok(7)
    });
    let mut plain = h.spawn(async move {
        let _note = plain;
        pending::<Result<(), Bad>>().await
    });
    let mut bad: Join<()> = h.spawn(async move {
        let _note = bad;
        yields(1).await;
        panic_any("boom")
    });
    let l = log.clone();
    let mut task = Task::new(n.run(async move {
        let _note = l.on_drop("body");
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    assert_eq!(log.take(), "bad plain body");
    assert_eq!(end_of(&mut bad), (JoinErrorKind::Panicked, None));
    let cancelled = (JoinErrorKind::Cancelled, Some(ReasonKind::SiblingFailed));
    assert_eq!(end_of(&mut plain), cancelled);
    gate.open();
    assert_eq!(thrown(|| task.finish()), "boom");
    assert_eq!(log.take(), "graceful");
    assert!(matches!(
        once(&mut graceful, Waker::noop()),
        Poll::Ready(Ok(7))
    ));
    // The counts of a nursery that panicked are told.
    let stats = h.report().expect("a report").stats;
    assert_eq!((stats.panicked, stats.cancelled, stats.done), (1, 1, 1));
    assert!(
        caught(|| drop(task.poll())).is_err(),
        "polled after its end"
    );
}

#[test]
fn n8_a_panic_of_the_body_is_one_of_a_child() {
    let (gate, log) = (Gate::new(), Log::new());
    let n = N::new();
    let h = n.handle();
    let g = gate.clone();
    drop(h.spawn_graceful(|_| async move {
        g.pass().await;
        Ok(())
    }));
    let mut plain = h.spawn(pending::<Result<(), Bad>>());
    let l = log.clone();
    let mut task = Task::new(n.run::<(), _>(async move {
        let _note = l.on_drop("body");
        yields(1).await;
        panic_any("body")
    }));
    task.stall();
    assert_eq!(log.take(), "body");
    assert_eq!(end_of(&mut plain).0, JoinErrorKind::Cancelled);
    gate.open();
    assert_eq!(thrown(|| task.finish()), "body");
    assert_eq!(h.stats().panicked, 0, "the body is not counted");
}

#[test]
fn n8_the_first_panic_wins_and_payloads_may_panic() {
    for policy in [true, false] {
        let n = if policy {
            N::new().policy(KeepGoing)
        } else {
            N::new()
        };
        let h = n.handle();
        let throw = |what: &'static str, at: usize| {
            drop(h.spawn_graceful(|_| async move {
                yields(at).await;
                panic_any(what)
            }) as Join<()>);
        };
        throw("third", 3);
        throw("first", 1);
        throw("second", 2);
        drop(h.spawn_graceful(|_| async {
            yields(4).await;
            panic_any(Bomb("payload"))
        }) as Join<()>);
        let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
        assert_eq!(thrown(|| task.finish()), "first");
        assert_eq!(h.stats().panicked, 4);
    }
}

#[test]
fn n8_errors_values_and_the_report_go_when_a_panic_does() {
    // An error and the body's value are there as well; their drops panic, too.
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    drop(h.spawn_graceful::<(), _>(|_| async { Err(Bad(Some(Bomb("error")))) }));
    drop(h.spawn_graceful::<(), _>(|_| async { Err(Bad(Some(Bomb("error")))) }));
    drop(h.spawn_graceful::<(), _>(|_| async {
        yields(1).await;
        panic_any("boom")
    }));
    let mut task = Task::new(n.run(async { Ok(Bomb("value")) }));
    assert_eq!(thrown(|| task.finish()), "boom");
    assert_eq!(h.report().unwrap().stats.failed, 2);
}

#[test]
fn n8_a_value_that_is_not_the_outcome_panics() {
    // The errors, whose drops panic too, do not go while the first panic unwinds: that would abort.
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    for _ in 0..2 {
        drop(h.spawn::<(), _>(async { Err(Bad(Some(Bomb("error")))) }));
    }
    let mut task = Task::new(n.run(async { Ok(Bomb("value")) }));
    assert_eq!(thrown(|| task.finish()), "value");
    assert_eq!(h.report().unwrap().stats.failed, 2);
}

// ------------------------------------------------------------------ every call of foreign code

/// A nursery under attack: a graceful sibling must come to its own end, and `what` be thrown then.
/// `attack` may leave something that is kept until the end.
#[track_caller]
fn survives<K>(what: &str, attack: impl FnOnce(&Handle<'static, Bad>) -> K) -> Stats {
    survives_with(what, Nursery::new(), pending::<Result<(), Bad>>(), attack)
}

#[track_caller]
fn survives_with<T, K>(
    what: &str,
    n: Nursery<'static, Bad>,
    body: impl Future<Output = Result<T, Bad>>,
    attack: impl FnOnce(&Handle<'static, Bad>) -> K,
) -> Stats {
    let gate = Gate::new();
    let alive = Arc::new(());
    let h = n.handle();
    for before in [true, false] {
        let (gate, held) = (gate.clone(), (Arc::clone(&alive), h.clone()));
        drop(h.spawn_graceful(|cx| async move {
            let _held = held;
            if before {
                cx.token().cancelled().await;
            }
            gate.pass().await;
            Ok(())
        }));
    }
    let plain = Arc::clone(&alive);
    drop(h.spawn(async move {
        let _held = plain;
        pending::<Result<(), Bad>>().await
    }));
    let mut task = Task::new(n.run(Second(false, Box::pin(body))));
    assert!(task.poll().is_pending());
    let _kept = attack(&h);
    task.stall();
    assert_eq!(
        Arc::strong_count(&alive),
        3,
        "the siblings live, but for the plain one"
    );
    assert!(h.token().is_cancelled());
    gate.open();
    assert_eq!(thrown(|| task.finish()), what);
    assert_eq!(Arc::strong_count(&alive), 1);
    let stats = h.report().expect("a report").stats;
    let all = stats.done + stats.failed + stats.panicked + stats.cancelled + stats.forced;
    assert!(stats.done >= 2 && all >= stats.started, "{stats:?}");
    stats
}

/// Begins at its second poll.
struct Second<F>(bool, Pin<Box<F>>);

impl<F: Future> Future for Second<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !std::mem::replace(&mut self.0, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.1.as_mut().poll(cx)
    }
}

#[test]
fn n8_a_childs_poll_and_drop_both_panic() {
    let stats = survives("poll", |h| drop(h.spawn(Throws(Bomb("drop")))));
    assert_eq!(stats.panicked, 1);
}

/// Panics when polled, and when dropped. (An async block would drop its own while it unwinds.)
struct Throws(#[allow(dead_code, reason = "for its Drop")] Bomb);

impl Future for Throws {
    type Output = Result<(), Bad>;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        panic_any("poll")
    }
}

/// Ready at once; its Drop panics.
struct Ended<T>(Option<T>, #[allow(dead_code, reason = "for its Drop")] Bomb);

impl<T: Unpin> Future for Ended<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        Poll::Ready(self.0.take().expect("polled once"))
    }
}

#[test]
fn n8_a_child_whose_drop_panics_has_still_returned() {
    let mut join = None;
    let stats = survives("drop", |h| {
        join = Some(h.spawn(Ended(Some(Ok(5)), Bomb("drop"))))
    });
    assert_eq!((stats.done, stats.panicked), (3, 0));
    assert!(matches!(
        once(&mut join.unwrap(), Waker::noop()),
        Poll::Ready(Ok(5))
    ));

    let failed = Ended(Some(Err::<(), _>(Bad(Some(Bomb("error"))))), Bomb("drop"));
    let stats = survives("drop", |h| drop(h.spawn(failed)));
    assert_eq!((stats.failed, stats.panicked), (1, 0));
}

#[test]
fn n8_an_output_that_nobody_wants_panics() {
    let stats = survives("output", |h| drop(h.spawn(async { Ok(Bomb("output")) })));
    assert_eq!(stats.done, 3);
    // With a future whose drop panics as well.
    let both = Ended(Some(Ok(Bomb("output"))), Bomb("drop"));
    survives("drop", |h| drop(h.spawn(both)));
}

#[test]
fn n8_the_waker_of_a_joiner_panics() {
    let stats = survives("waker", |h| {
        let mut join = h.spawn(async { Ok(()) });
        assert!(once(&mut join, &bomb_waker()).is_pending());
        join
    });
    assert_eq!(stats.done, 3);
    // Of one that is cut, whose future's drop panics too.
    survives("drop", |h| {
        let bomb = Bomb("drop");
        let mut join = h.spawn(async move {
            let _bomb = &bomb;
            pending::<Result<(), Bad>>().await
        });
        assert!(once(&mut join, &bomb_waker()).is_pending());
        h.cancel();
        join
    });
}

#[test]
fn n8_the_waker_of_one_who_waits_for_room_panics() {
    let n = Nursery::new().limit(4);
    survives_with("waker", n, pending::<Result<(), Bad>>(), |h| {
        drop(h.spawn(async { Ok(()) })); // the fourth place
        let mut wait = h.spawn_wait(pending::<Result<(), Bad>>());
        assert!(once(&mut wait, &bomb_waker()).is_pending());
        wait
    });
    // Its child was not lost: it was in, and was cut like its siblings.
    let n = Nursery::new().limit(1);
    let h = n.handle();
    drop(h.spawn(async { Ok(()) }));
    let mut wait = h.spawn_wait_graceful(|cx| async move {
        cx.token().cancelled().await;
        Ok(9)
    });
    assert!(once(&mut wait, &bomb_waker()).is_pending());
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    assert_eq!(thrown(|| task.finish()), "waker");
    let Poll::Ready(Ok(mut join)) = once(&mut wait, Waker::noop()) else {
        panic!("it did not start")
    };
    assert!(matches!(once(&mut join, Waker::noop()), Poll::Ready(Ok(9))));
}

#[test]
fn n8_children_that_the_drain_drops_panic_wherever_they_are() {
    // Running, queued, and on their way; and the body.
    let log = Log::new();
    let n = Nursery::new().limit(2);
    let h = n.handle();
    let bad = |name: &'static str| {
        let held = (log.on_drop(name), Bomb(name));
        drop(h.spawn(async move {
            let _held = &held;
            pending::<Result<(), Bad>>().await
        }));
    };
    let gate = Gate::new();
    let g = gate.clone();
    drop(h.spawn_graceful(|_| async move {
        g.pass().await;
        Ok(())
    }));
    ["running", "queued", "too"].into_iter().for_each(bad);
    let held = (log.on_drop("body"), Bomb("body"));
    let mut task = Task::new(n.run(async move {
        let _held = &held;
        pending::<Result<(), Bad>>().await
    }));
    task.stall();
    bad("late");
    h.cancel();
    task.stall();
    assert_eq!(log.take(), "late too queued running body");
    gate.open();
    assert_eq!(thrown(|| task.finish()), "late");
    let stats = h.stats();
    assert_eq!((stats.done, stats.cancelled), (1, 4));
}

#[test]
fn n8_a_body_panics_in_its_drop_and_in_both() {
    let n = Nursery::new();
    survives_with("drop", n, Ended(Some(Ok(())), Bomb("drop")), |_| ());
    survives_with("poll", Nursery::new(), Throws(Bomb("drop")), |_| ());
    // Its drop at its await point.
    let bomb = Bomb("drop");
    let body = async move {
        let _bomb = &bomb;
        pending::<Result<(), Bad>>().await
    };
    survives_with("drop", Nursery::new(), body, |h| h.cancel());
}

#[test]
fn n8_wakers_of_the_nurserys_token_panic() {
    let n = Nursery::new();
    let waits = n.handle().token().clone().cancelled_owned();
    let mut waits = Box::pin(waits);
    assert!(once(&mut waits, &bomb_waker()).is_pending());
    // The body's own error cancels; the waker is woken within the nursery's poll.
    survives_with("waker", n, async { Err::<(), _>(Bad(None)) }, |_| ());
}

/// A timer that panics at the given call of `now` or `sleep_until`, or in a sleep's poll or drop.
struct BadTimer {
    clock: ManualClock,
    panics: Panics,
    calls: Cell<usize>,
}

#[derive(Clone, Copy)]
enum Panics {
    Now(usize),
    SleepUntil,
    Poll,
    Drop,
}

impl Clock for BadTimer {
    fn now(&self) -> Instant {
        let calls = self.calls.replace(self.calls.get() + 1);
        if matches!(self.panics, Panics::Now(at) if at == calls) {
            panic_any("timer");
        }
        self.clock.now()
    }
}

impl Timer for BadTimer {
    type Sleep = BadSleep;
    fn sleep_until(&self, at: Instant) -> BadSleep {
        if matches!(self.panics, Panics::SleepUntil) {
            panic_any("timer");
        }
        BadSleep(Box::pin(self.clock.sleep_until(at)), self.panics)
    }
}

struct BadSleep(Pin<Box<umbel_core::ManualSleep>>, Panics);

impl Future for BadSleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.1, Panics::Poll) {
            panic_any("timer");
        }
        self.0.as_mut().poll(cx)
    }
}

impl Drop for BadSleep {
    fn drop(&mut self) {
        if matches!(self.1, Panics::Drop) {
            panic_any("timer");
        }
    }
}

#[test]
fn n8_a_timer_that_panics_forces() {
    // Nobody would end the grace: no child may keep the nursery for ever.
    let whens = [
        Panics::Now(0),
        Panics::Now(1),
        Panics::Now(2),
        Panics::SleepUntil,
        Panics::Poll,
        Panics::Drop,
    ];
    for panics in whens {
        let timer = BadTimer {
            clock: ManualClock::new(),
            panics,
            calls: Cell::new(0),
        };
        let n = N::new()
            .timer(timer)
            .deadline(Instant::from_nanos(5))
            .grace(Duration::from_nanos(5));
        let h = n.handle();
        let child = |_| async {
            loop {
                yields(1).await;
            }
        };
        drop(h.spawn_graceful(child) as Join<()>);
        let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
        let thrown = thrown(|| {
            for turn in 0..10 {
                if turn == 3 {
                    h.cancel();
                }
                if task.poll().is_ready() {
                    return;
                }
            }
            panic!("it is kept for ever");
        });
        assert_eq!(thrown, "timer");
        let stats = h.report().unwrap().stats;
        assert_eq!(stats.forced + stats.cancelled, 1);
    }
}

// ------------------------------------------------------------------ dropped before its end

#[test]
fn n8_a_panic_that_was_kept_goes_with_a_nursery_that_is_dropped() {
    let n = N::new();
    let h = n.handle();
    drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
    drop(h.spawn(async { panic_any(Bomb("payload")) }) as Join<()>);
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    drop(task);
}

#[test]
fn n8_payloads_of_payloads_are_dropped_too() {
    /// Panics when it is dropped, with the next of its kind for payload.
    struct Nested(usize, Arc<()>);
    impl Drop for Nested {
        fn drop(&mut self) {
            if let Some(rest) = self.0.checked_sub(1) {
                panic_any(Nested(rest, Arc::clone(&self.1)));
            }
        }
    }
    let alive = Arc::new(());
    let payload = Nested(5, Arc::clone(&alive));
    let n = N::new();
    let h = n.handle();
    drop(h.spawn_graceful(|_| pending::<Result<(), Bad>>()));
    drop(h.spawn(async move { panic_any(payload) }) as Join<()>);
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    task.stall();
    drop(task);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn n8_children_body_and_options_panic_in_a_drop_and_all_are_dropped() {
    struct Waits(
        Log,
        &'static str,
        #[allow(dead_code, reason = "for its Drop")] Bomb,
    );
    impl Future for Waits {
        type Output = Result<(), Bad>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Pending
        }
    }
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.add(self.1);
        }
    }
    for run in [true, false] {
        let log = Log::new();
        let timer = BadTimer {
            clock: ManualClock::new(),
            panics: Panics::Drop,
            calls: Cell::new(0),
        };
        let n = N::new().timer(timer).deadline(Instant::from_nanos(5));
        let h = n.handle();
        drop(h.spawn(Waits(log.clone(), "a", Bomb("a"))));
        drop(h.spawn(Waits(log.clone(), "b", Bomb("b"))));
        if run {
            let mut task = Task::new(n.run(Waits(log.clone(), "body", Bomb("body"))));
            task.stall();
            assert_eq!(thrown(|| drop(task)), "b");
            assert_eq!(log.take(), "b a body");
        } else {
            assert_eq!(thrown(|| drop(n)), "b");
            assert_eq!(log.take(), "b a");
        }
    }
}

#[test]
fn n8_a_nursery_may_be_dropped_while_its_owner_unwinds() {
    let log = Log::new();
    let l = log.clone();
    let thrown = thrown(move || {
        let n = N::new();
        let h = n.handle();
        let held = (l.on_drop("child"), Bomb("child"));
        drop(h.spawn(async move {
            let _held = held;
            pending::<Result<(), Bad>>().await
        }));
        let _run = n.run(Ended(Some(Ok(())), Bomb("body")));
        panic_any("owner");
    });
    assert_eq!(thrown, "owner");
    assert_eq!(log.take(), "child");
}

#[test]
fn n8_the_outer_tasks_own_waker_is_not_the_nurserys() {
    // A panic at the start of a turn goes to who polls; the nursery is as it was.
    static PANICS_ON_CLONE: RawWakerVTable =
        RawWakerVTable::new(|_| panic_any("clone"), |_| (), |_| (), |_| ());
    // SAFETY: the functions touch nothing.
    let waker = unsafe { Waker::new(std::ptr::null(), &PANICS_ON_CLONE) };
    let n = N::new();
    let h = n.handle();
    drop(h.spawn(async { Ok(()) }));
    let mut run = Box::pin(n.run(std::future::ready(Ok(3))));
    assert_eq!(thrown(|| drop(once(&mut run, &waker))), "clone");
    assert!(!h.token().is_cancelled());
    assert!(matches!(once(&mut run, Waker::noop()), Poll::Ready(Ok(3))));
    assert_eq!(h.stats().done, 1);
}
