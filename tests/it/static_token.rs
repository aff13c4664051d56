//! The token in a `static`: bugs that others had (`t_…`), and the rest of its contract.

use crate::token::race;
use std::error::Error;
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use umbel_core::{
    CancelSignal, Clock, DynCancelSignal, Full, FutureExt, Instant, ManualClock, Reason,
    ReasonKind, StaticChild, StaticToken,
};
use umbel_tests::counting::{Task, allocator_calls, waker_with_drop};
use umbel_tests::scaled;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that has a child of `token` and waits for it.
fn job<const N: usize>(token: &'static StaticToken<N>) -> Job {
    Box::pin(async { token.child().unwrap().cancelled().await })
}

fn why(code: u16) -> Reason {
    Reason::custom(code)
}

// ------------------------------------------------------------------ slots

#[test]
fn there_is_room_for_n_children_at_a_time() {
    static TOKEN: StaticToken<3> = StaticToken::new();
    for _ in 0..3 {
        let children: Vec<_> = (0..3).map(|_| TOKEN.child().unwrap()).collect();
        assert_eq!(TOKEN.child().err(), Some(Full));
        drop(children);
    }
    let first = TOKEN.child().unwrap();
    let second = TOKEN.child().unwrap();
    let third = TOKEN.child().unwrap();
    drop(second);
    let second = TOKEN.child().unwrap();
    assert!(TOKEN.child().is_err());
    TOKEN.cancel_children(why(1));
    drop((first, third));
    assert!(!TOKEN.child().unwrap().is_cancelled());
    drop(second);

    static NONE: StaticToken<0> = StaticToken::new();
    assert!(NONE.child().is_err());
    NONE.cancel();
    assert!(NONE.is_cancelled());
    assert_eq!(Full.to_string(), "all slots of the token are taken");
    assert!((&Full as &dyn Error).source().is_none());
}

#[test]
fn threads_that_hold_no_more_children_than_there_are_slots_are_never_refused() {
    static TOKEN: StaticToken<3> = StaticToken::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..scaled(20_000, 100) {
                    drop(TOKEN.child().unwrap());
                }
            });
        }
    });
}

// ------------------------------------------------------------------ cancelling

#[test]
fn cancel_is_for_all_and_for_good() {
    static TOKEN: StaticToken<3> = StaticToken::new();
    let early = TOKEN.child().unwrap();
    let late = TOKEN.child().unwrap();
    assert!(!TOKEN.is_cancelled() && TOKEN.check().is_ok());
    assert_eq!((TOKEN.reason(), late.reason()), (None, None));
    assert!(early.cancel_with(why(7)));
    assert!(!TOKEN.is_cancelled() && !late.is_cancelled());
    assert!(TOKEN.cancel_with(Reason::shutdown()));
    assert!(!TOKEN.cancel_with(why(8)));
    TOKEN.cancel();
    TOKEN.cancel_children(why(9));
    assert!(!late.cancel_with(why(9)));
    assert_eq!(TOKEN.reason(), Some(Reason::shutdown()));
    assert_eq!(TOKEN.check().unwrap_err().reason(), &Reason::shutdown());
    assert_eq!(late.reason(), Some(Reason::shutdown()));
    assert_eq!(late.check().unwrap_err().reason(), &Reason::shutdown());
    assert_eq!(early.reason(), Some(why(7)), "an earlier reason survives");
    let born = TOKEN.child().unwrap();
    assert_eq!(born.reason(), Some(Reason::shutdown()), "born cancelled");
    assert!(Task::new().poll(pin!(born.cancelled())).is_ready());
}

#[test]
fn cancel_is_explicit_by_itself() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    child.cancel();
    assert_eq!(child.reason(), Some(Reason::explicit()));
    TOKEN.cancel();
    assert_eq!(TOKEN.reason(), Some(Reason::explicit()));
}

#[test]
fn every_reason_arrives_as_it_was_given() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let reasons = [
        Reason::explicit(),
        Reason::deadline_exceeded(),
        Reason::sibling_failed(),
        Reason::shutdown(),
        Reason::dropped(),
        why(0),
        why(1),
        why(u16::MAX),
    ];
    for reason in reasons {
        let child = TOKEN.child().unwrap();
        TOKEN.cancel_children(reason.clone());
        let seen = child.reason().unwrap();
        assert_eq!(
            (&seen, seen.kind(), seen.code()),
            (&reason, reason.kind(), reason.code())
        );
    }
}

/// Nothing that is to be dropped stays in the `static`.
#[test]
fn of_a_boxed_error_only_the_kind_is_kept() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    impl std::fmt::Debug for Counted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Counted")
        }
    }
    impl std::fmt::Display for Counted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("counted")
        }
    }
    impl Error for Counted {}

    static TOKEN: StaticToken<2> = StaticToken::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let error = || Reason::error(Counted(drops.clone()));
    let children = [TOKEN.child().unwrap(), TOKEN.child().unwrap()];
    children[0].cancel_with(error());
    assert_eq!(drops.load(SeqCst), 1);
    TOKEN.cancel_children(error());
    assert_eq!(drops.load(SeqCst), 2);
    assert!(TOKEN.cancel_with(error()) && !TOKEN.cancel_with(error()));
    assert_eq!(drops.load(SeqCst), 4);
    for reason in [children[0].reason(), children[1].reason(), TOKEN.reason()] {
        let reason = reason.unwrap();
        assert_eq!(reason.kind(), ReasonKind::Custom);
        assert!(reason.code().is_none() && reason.source().is_none());
        assert_eq!(reason.to_string(), "an error that was not kept");
        assert_ne!(reason, why(0));
    }
}

#[test]
fn the_button_works_again_and_again() {
    static STOP: StaticToken<2> = StaticToken::new();
    let tasks = [Task::new(), Task::new()];
    for press in 1..=3 {
        let children = [STOP.child().unwrap(), STOP.child().unwrap()];
        let mut waits = children.each_ref().map(|child| Box::pin(child.cancelled()));
        for (wait, task) in waits.iter_mut().zip(&tasks) {
            assert!(task.poll(wait.as_mut()).is_pending());
            assert_eq!(task.woken(), usize::from(press) - 1);
        }
        STOP.cancel_children(why(press));
        STOP.cancel_children(why(100));
        for ((wait, task), child) in waits.iter_mut().zip(&tasks).zip(&children) {
            assert_eq!(task.woken(), usize::from(press), "once a press");
            assert_eq!(child.reason(), Some(why(press)));
            assert!(task.poll(wait.as_mut()).is_ready());
        }
        assert!(!STOP.is_cancelled());
    }
    assert_eq!(tasks.map(|task| task.wakers()), [0, 0]);
}

#[test]
fn cancelling_a_child_wakes_its_own_task_only() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    let (one, two) = (TOKEN.child().unwrap(), TOKEN.child().unwrap());
    let tasks = [Task::new(), Task::new()];
    let (mut first, mut second) = (pin!(one.cancelled()), pin!(two.cancelled()));
    assert!(tasks[0].poll(first.as_mut()).is_pending());
    assert!(tasks[1].poll(second.as_mut()).is_pending());
    assert!(one.cancel_with(why(1)) && !one.cancel_with(why(2)));
    assert_eq!(tasks.each_ref().map(Task::woken), [1, 0]);
    assert!(tasks[0].poll(first).is_ready());
    assert!(!two.is_cancelled());
}

#[test]
fn t_20_racing_reasons_have_one_winner() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    for _ in 0..scaled(5_000, 20) {
        let child = TOKEN.child().unwrap();
        let (first, second) = race(|| child.cancel_with(why(1)), || child.cancel_with(why(2)));
        assert!(first != second);
        assert_eq!(child.reason(), Some(why(if first { 1 } else { 2 })));
    }
}

// ------------------------------------------------------------------ waiting

#[test]
fn t_01_no_wakeup_is_lost_at_first_poll_or_repoll() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let (old, new) = (Task::new(), Task::new());
    for _ in 0..scaled(20_000, 30) {
        let child = TOKEN.child().unwrap();
        let before = new.woken();
        let mut wait = pin!(child.cancelled());
        let (_, last) = race(
            || TOKEN.cancel_children(why(1)),
            || match old.poll(wait.as_mut()) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => new.poll(wait.as_mut()),
            },
        );
        if last.is_pending() {
            assert_eq!(new.woken() - before, 1, "the new waker is woken");
        }
        assert!(new.poll(wait).is_ready());
    }
    assert_eq!((old.wakers(), new.wakers()), (0, 0));
}

#[test]
fn a_wait_gives_its_waker_back() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    let (old, new) = (Task::new(), Task::new());
    {
        let mut wait = pin!(child.cancelled());
        assert!(old.poll(wait.as_mut()).is_pending());
        assert_eq!(old.wakers(), 1);
        assert!(new.poll(wait.as_mut()).is_pending());
        assert_eq!((old.wakers(), new.wakers()), (0, 1));
    }
    assert_eq!((old.wakers(), new.wakers()), (0, 0));
    child.cancel();
    assert_eq!((old.woken(), new.woken()), (0, 0), "nobody waits");
    let mut wait = pin!(child.cancelled());
    assert!(new.poll(wait.as_mut()).is_ready());
    assert!(new.poll(wait.as_mut()).is_ready(), "again");
    assert_eq!(new.wakers(), 0);
}

#[test]
fn t_19_ties() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let task = Task::new();
    let child = TOKEN.child().unwrap();
    let mut polls = 0;
    {
        let mut run = pin!(child.run_until_cancelled(std::future::poll_fn(|_| {
            polls += 1;
            if polls == 1 {
                Poll::Pending
            } else {
                Poll::Ready(7)
            }
        })));
        assert!(task.poll(run.as_mut()).is_pending());
        child.cancel();
        assert_eq!(
            task.poll(run),
            Poll::Ready(Some(7)),
            "later, the future first"
        );
    }
    let never = std::future::poll_fn(|_| -> Poll<()> { panic!("polled") });
    assert_eq!(
        task.poll(pin!(child.run_until_cancelled(never))),
        Poll::Ready(None)
    );
    drop(child);
    let child = TOKEN.child().unwrap();
    {
        let own = pin!(child.run_until_cancelled(async { child.cancel() }));
        assert_eq!(task.poll(own), Poll::Ready(Some(())));
    }
    drop(child);
    let child = TOKEN.child().unwrap();
    let mut run = pin!(child.run_until_cancelled(pending::<()>()));
    assert!(task.poll(run.as_mut()).is_pending());
    let before = task.woken();
    TOKEN.cancel();
    assert_eq!(task.poll(run), Poll::Ready(None));
    assert_eq!(task.woken() - before, 1);
}

#[test]
fn two_waits_of_two_tasks_are_both_told() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    let (one, two) = (Task::new(), Task::new());
    let mut first = Box::pin(child.cancelled());
    let mut second = Box::pin(child.cancelled());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    assert_eq!(one.woken(), 1, "its place was taken");
    assert!(one.poll(first.as_mut()).is_pending());
    assert_eq!(two.woken(), 1);
    // The wait that has no waker in the cell goes: the other one's is not lost.
    drop(second);
    assert_eq!(one.woken(), 2);
    assert!(one.poll(first.as_mut()).is_pending());
    child.cancel();
    assert_eq!(one.woken(), 3);
    assert_eq!((one.wakers(), two.wakers()), (0, 0));
}

#[test]
fn two_waits_of_one_task_do_not_disturb_each_other() {
    if cfg!(miri) {
        // There `will_wake` says no of a waker and its clone: the table of functions that std makes
        // for an `Arc` has another address at each use. The two waits then count as two tasks'.
        return;
    }
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    let task = Task::new();
    let waker = task.waker();
    let mut cx = Context::from_waker(&waker);
    let (mut first, mut second) = (pin!(child.cancelled()), pin!(child.cancelled()));
    for _ in 0..3 {
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!((task.woken(), task.wakers()), (0, 2));
    child.cancel();
    assert_eq!((task.woken(), task.wakers()), (1, 1));
}

#[test]
fn the_waker_of_a_forgotten_wait_goes_with_the_child() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let (gone, task) = (Task::new(), Task::new());
    let child = TOKEN.child().unwrap();
    let mut wait = child.cancelled();
    assert!(gone.poll(Pin::new(&mut wait)).is_pending());
    std::mem::forget(wait);
    assert_eq!(gone.wakers(), 1);
    drop(child);
    assert_eq!((gone.woken(), gone.wakers()), (0, 0));
    let child = TOKEN.child().unwrap();
    let mut wait = pin!(child.cancelled());
    assert!(task.poll(wait.as_mut()).is_pending());
    TOKEN.cancel();
    assert_eq!((gone.woken(), task.woken()), (0, 1));

    // One that panics when it is dropped does not keep the slot.
    static OTHER: StaticToken<1> = StaticToken::new();
    let child = OTHER.child().unwrap();
    let mut wait = child.cancelled();
    let waker = waker_with_drop(|| panic!("dropped"));
    assert!(
        Pin::new(&mut wait)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    std::mem::forget(wait);
    drop(waker);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(child))).is_err());
    assert!(OTHER.child().is_ok());
}

// ------------------------------------------------------------------ hostile wakers

#[test]
fn t_02_wake_reenters_every_method() {
    static TOKEN: StaticToken<4> = StaticToken::new();
    let children: [StaticChild; 3] = std::array::from_fn(|_| TOKEN.child().unwrap());
    let children = Arc::new(children);
    let shared = Arc::downgrade(&children);
    let task = Task::with_hook(move || {
        let children = shared.upgrade().unwrap();
        assert!(TOKEN.is_cancelled() && TOKEN.check().is_err());
        for child in children.iter() {
            assert_eq!(child.reason(), Some(why(9)), "all flags are set");
            assert!(child.check().is_err() && child.check_at(Instant::EPOCH).is_err());
            assert_eq!(child.deadline(), None);
            assert!(!child.cancel_with(why(1)));
            child.cancel();
            let inner = Task::new();
            assert!(inner.poll(pin!(child.cancelled())).is_ready());
            let run = pin!(child.run_until_cancelled(pending::<()>()));
            assert_eq!(inner.poll(run), Poll::Ready(None));
            assert!(format!("{child:?} {TOKEN:?}").contains("is_cancelled: true"));
        }
        TOKEN.cancel();
        TOKEN.cancel_children(why(2));
        let born = TOKEN.child().unwrap();
        assert_eq!(born.reason(), Some(why(9)));
    });
    let mut waits: Vec<_> = children
        .iter()
        .map(|child| Box::pin(child.cancelled()))
        .collect();
    for wait in &mut waits {
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    assert!(TOKEN.cancel_with(why(9)));
    assert_eq!((task.woken(), task.wakers()), (3, 0));
}

#[test]
fn a_wake_may_drop_the_child_and_take_its_slot_anew() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let doomed: Arc<Mutex<Option<Job>>> = Arc::default();
    let inner = doomed.clone();
    let task = Task::with_hook(move || {
        drop(inner.lock().unwrap().take());
        let next = TOKEN.child().unwrap();
        assert!(!next.is_cancelled(), "this press is over for it");
    });
    for _ in 0..3 {
        let mut wait = job(&TOKEN);
        assert!(task.poll(wait.as_mut()).is_pending());
        *doomed.lock().unwrap() = Some(wait);
        TOKEN.cancel_children(why(1));
        assert!(doomed.lock().unwrap().is_none());
        assert_eq!(task.wakers(), 0);
    }
    assert_eq!(task.woken(), 3);
}

#[test]
fn a_wake_may_poll_inline() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
    let inner = jobs.clone();
    let task = Task::with_hook(move || {
        let poller = Task::new();
        for job in inner.lock().unwrap().drain(..) {
            assert!(poller.poll(pin!(job)).is_ready());
        }
    });
    let mut two = [job(&TOKEN), job(&TOKEN)];
    for job in &mut two {
        assert!(task.poll(job.as_mut()).is_pending());
    }
    jobs.lock().unwrap().extend(two);
    TOKEN.cancel_children(why(1));
    // The first wake ended both, and the second one's place was empty by then.
    assert_eq!((task.woken(), task.wakers()), (1, 0));
    assert!(TOKEN.child().is_ok());
}

#[test]
fn t_04_dropping_a_waker_reenters() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    fn poll(wait: Pin<&mut impl Future<Output = ()>>, dropped: &Arc<AtomicUsize>) -> Poll<()> {
        let dropped = dropped.clone();
        let waker = waker_with_drop(move || {
            dropped.fetch_add(1, SeqCst);
            TOKEN.cancel_children(why(3));
            drop(TOKEN.child());
        });
        wait.poll(&mut Context::from_waker(&waker))
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let task = Task::new();
    {
        // Replaced by a re-poll.
        let child = TOKEN.child().unwrap();
        let mut wait = pin!(child.cancelled());
        assert!(poll(wait.as_mut(), &dropped).is_pending());
        assert!(task.poll(wait).is_ready(), "the drop cancelled it");
        assert_eq!(dropped.load(SeqCst), 1);
    }
    // Given back by a wait's drop.
    let child = TOKEN.child().unwrap();
    {
        let mut wait = pin!(child.cancelled());
        assert!(poll(wait.as_mut(), &dropped).is_pending());
    }
    assert_eq!((dropped.load(SeqCst), child.reason()), (2, Some(why(3))));
    assert_eq!(task.wakers(), 0);
}

#[test]
fn a_panicking_waker_leaves_nobody_asleep() {
    static TOKEN: StaticToken<5> = StaticToken::new();
    let bad = Task::with_hook(|| panic!("a foreign waker"));
    let good = Task::new();
    let children: Vec<_> = (0..5).map(|_| TOKEN.child().unwrap()).collect();
    let mut waits: Vec<_> = children
        .iter()
        .map(|child| Box::pin(child.cancelled()))
        .collect();
    for (i, wait) in waits.iter_mut().enumerate() {
        let task = if i % 2 == 0 { &bad } else { &good };
        assert!(task.poll(wait.as_mut()).is_pending());
    }
    let panic = catch_unwind(|| TOKEN.cancel_children(why(1))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a foreign waker"));
    assert_eq!((bad.woken(), good.woken()), (3, 2));
    assert_eq!((bad.wakers(), good.wakers()), (0, 0));
    drop(waits);
    drop(children);
    let again: Vec<_> = (0..5).map(|_| TOKEN.child().unwrap()).collect();
    assert!(again.iter().all(|child| !child.is_cancelled()));
    // Of one child.
    let mut wait = pin!(again[0].cancelled());
    assert!(bad.poll(wait.as_mut()).is_pending());
    assert!(catch_unwind(|| again[0].cancel()).is_err());
    assert!(again[0].is_cancelled());
    assert!(good.poll(wait).is_ready());
}

// ------------------------------------------------------------------ deadlines

#[test]
fn a_deadline_fires_when_somebody_looks() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child_with_deadline(Instant::from_nanos(5)).unwrap();
    assert_eq!(child.deadline(), Some(Instant::from_nanos(5)));
    assert!(child.check_at(Instant::from_nanos(4)).is_ok());
    let task = Task::new();
    let mut wait = pin!(child.cancelled());
    assert!(task.poll(wait.as_mut()).is_pending());
    let late = child.check_at(Instant::from_nanos(5)).unwrap_err();
    assert_eq!(late.reason().kind(), ReasonKind::DeadlineExceeded);
    assert_eq!(task.woken(), 1);
    assert!(!TOKEN.is_cancelled());
    // An earlier reason survives.
    static OTHER: StaticToken<1> = StaticToken::new();
    let child = OTHER.child_with_deadline(Instant::EPOCH).unwrap();
    assert!(!child.is_cancelled(), "nothing fires by itself");
    child.cancel_with(why(1));
    assert_eq!(
        child.check_at(Instant::EPOCH).unwrap_err().reason(),
        &why(1)
    );
}

#[test]
fn drive_fires_when_the_deadline_is_due_and_not_before() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let clock = ManualClock::new();
    let task = Task::new();
    {
        let child = TOKEN
            .child_with_deadline(clock.now() + Duration::from_secs(5))
            .unwrap();
        let mut drive = pin!(child.drive(&clock));
        assert!(task.poll(drive.as_mut()).is_pending());
        clock.advance(Duration::from_secs(4));
        assert_eq!(task.woken(), 0);
        assert!(task.poll(drive.as_mut()).is_pending());
        clock.advance(Duration::from_secs(1));
        assert_eq!(task.woken(), 1);
        assert!(!child.is_cancelled());
        assert!(task.poll(drive.as_mut()).is_ready());
        assert_eq!(child.reason(), Some(Reason::deadline_exceeded()));
        assert_eq!(task.woken(), 1, "it does not wake itself");
    }
    {
        // Due at once: before anything is begun.
        let child = TOKEN.child_with_deadline(clock.now()).unwrap();
        assert!(task.poll(pin!(child.drive(&clock))).is_ready());
        assert!(child.is_cancelled());
    }
    {
        // No deadline, and somebody else cancels.
        let child = TOKEN.child().unwrap();
        let mut drive = pin!(child.drive(clock.clone()));
        assert!(task.poll(drive.as_mut()).is_pending());
        assert_eq!(clock.entries(), 0, "the timer is not asked");
        TOKEN.cancel_children(why(1));
        assert!(task.poll(drive).is_ready());
        assert_eq!(child.reason(), Some(why(1)));
    }
    assert_eq!(task.wakers(), 0);
}

// ------------------------------------------------------------------ what libraries see

#[test]
fn a_child_is_a_signal() {
    async fn fetch(stop: &impl CancelSignal) -> Option<u32> {
        ready(1).or_cancelled(stop).await.ok()
    }
    static TOKEN: StaticToken<1> = StaticToken::new();
    let task = Task::new();
    let child = TOKEN.child().unwrap();
    assert_eq!(task.poll(pin!(fetch(&child))), Poll::Ready(Some(1)));
    let child: Box<dyn DynCancelSignal + Send + Sync> = Box::new(child);
    let mut wait = pin!(pending::<()>().or_cancelled(&child));
    assert!(task.poll(wait.as_mut()).is_pending());
    TOKEN.cancel_with(why(4));
    match task.poll(wait) {
        Poll::Ready(Err(cancelled)) => assert_eq!(cancelled.reason(), &why(4)),
        other => panic!("{other:?}"),
    }
    assert_eq!(task.poll(pin!(fetch(&child))), Poll::Ready(None));
}

#[test]
fn the_word_is_for_those_who_cannot_call() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    // SAFETY: the child exists; nobody writes at this moment.
    let word = || unsafe { child.as_ptr().read_volatile() };
    assert_eq!(word(), 0);
    child.cancel();
    assert_ne!(word(), 0);
}

#[test]
fn nothing_allocates() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    let task = Task::new();
    let waker = task.waker();
    let before = allocator_calls();
    for _ in 0..3 {
        let child = TOKEN.child().unwrap();
        let mut wait = pin!(child.cancelled());
        let mut cx = Context::from_waker(&waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        TOKEN.cancel_children(why(1));
        assert!(wait.poll(&mut cx).is_ready());
        assert!(child.reason().is_some() && child.check().is_err());
    }
    TOKEN.cancel();
    assert_eq!(allocator_calls(), before);
}

#[test]
fn children_and_waits_go_anywhere() {
    fn anywhere<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    fn for_ever<T: 'static>(_: &T) {}
    static TOKEN: StaticToken<2> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    anywhere(&TOKEN);
    anywhere(&child);
    for_ever(&child);
    anywhere(&child.cancelled());
    fn send<T: Send>(_: &T) {}
    send(&child.run_until_cancelled(pending::<()>()));
    let clock = ManualClock::new();
    send(&child.drive(&clock));
}

#[test]
fn debug_shows_the_own_state_only() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child().unwrap();
    TOKEN.cancel_children(why(3));
    assert_eq!(
        format!("{TOKEN:?}"),
        "StaticToken { is_cancelled: false, reason: None }"
    );
    assert_eq!(
        format!("{child:?}"),
        "StaticChild { is_cancelled: true, reason: Some(Reason { kind: Custom, code: 3 }) }"
    );
    assert_eq!(format!("{:?}", child.cancelled()), "StaticWait { .. }");
    assert_eq!(
        format!("{:?}", child.run_until_cancelled(ready(1))),
        "StaticRun { .. }"
    );
    let clock = ManualClock::new();
    assert!(format!("{:?}", child.drive(&clock)).contains("NEVER"));
}

/// Tasks on threads that come, wait and go, and a button that is pressed all the while.
#[test]
fn t_21_a_button_pressed_while_tasks_come_and_go() {
    static STOP: StaticToken<3> = StaticToken::new();
    let rounds = scaled(3_000, 10);
    let busy = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let thread = std::thread::current();
                    let task = Task::with_hook(move || thread.unpark());
                    // There is a slot to spare: the canceller may be inside the one just left.
                    let child = STOP.child().unwrap();
                    let mut wait = pin!(child.cancelled());
                    while task.poll(wait.as_mut()).is_pending() {
                        std::thread::park();
                    }
                    assert!(child.reason().is_some());
                }
                busy.fetch_sub(1, SeqCst);
            });
        }
        while busy.load(SeqCst) != 0 {
            STOP.cancel_children(why(1));
            std::thread::yield_now();
        }
    });
}
