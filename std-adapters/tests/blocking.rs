//! `umbel::blocking` on the real pool.
//!
//! Closures are held and let go by channels. What needs a full pool runs in a process of its own
//! whose pool has one thread.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use umbel::blocking::{Blocking, left_behind, run};
use umbel::{CancellationToken, Cancelled, JoinError, JoinErrorKind, Nursery, Reason, ReasonKind};

fn poll<T: Send + 'static>(future: &mut Blocking<T>) -> Poll<Result<T, Cancelled>> {
    poll_with(future, Waker::noop())
}

fn poll_with<T: Send + 'static>(
    future: &mut Blocking<T>,
    waker: &Waker,
) -> Poll<Result<T, Cancelled>> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Work that says when it begins, and ends when it is let go.
fn held(token: &CancellationToken) -> (Blocking<u32>, Receiver<()>, Sender<u32>) {
    let (begun, has_begun) = channel();
    let (let_go, gate) = channel();
    let work = run(token, move |_| {
        begun.send(()).unwrap();
        gate.recv().unwrap()
    });
    (work, has_begun, let_go)
}

/// What became of a closure.
#[derive(Clone, Default)]
struct Fate {
    ran: Arc<AtomicBool>,
    dropped: Arc<AtomicUsize>,
}

impl Fate {
    fn work(&self, token: &CancellationToken) -> Blocking<()> {
        struct Held(Fate);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.dropped.fetch_add(1, SeqCst);
            }
        }
        let held = Held(self.clone());
        run(token, move |_| held.0.ran.store(true, SeqCst))
    }

    fn ran(&self) -> bool {
        self.ran.load(SeqCst)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(SeqCst)
    }
}

#[test]
fn the_result_comes_from_a_thread_of_the_pool() {
    let here = thread::current().id();
    let (there, sum) = smol::block_on(run(&CancellationToken::new(), |_| {
        (thread::current().id(), 40 + 2)
    }))
    .unwrap();
    assert_ne!(here, there);
    assert_eq!(sum, 42);
}

#[test]
fn it_begins_without_being_polled() {
    let (work, has_begun, let_go) = held(&CancellationToken::new());
    has_begun.recv().unwrap();
    let_go.send(3).unwrap();
    assert_eq!(smol::block_on(work), Ok(3));
}

#[test]
fn work_that_runs_is_told_and_decides_what_it_returns() {
    let token = CancellationToken::new();
    let (begun, has_begun) = channel();
    let (let_go, gate) = channel::<()>();
    let mut work = run(&token, move |token| {
        begun.send(token.reason()).unwrap();
        gate.recv().unwrap();
        token.reason()
    });
    assert!(poll(&mut work).is_pending());
    assert_eq!(has_begun.recv().unwrap(), None);
    token.cancel_with(Reason::custom(3));
    let_go.send(()).unwrap();
    assert_eq!(smol::block_on(work), Ok(Some(Reason::custom(3))));
}

#[test]
fn a_result_is_delivered_though_cancelled_meanwhile() {
    let token = CancellationToken::new();
    let (mut work, has_begun, let_go) = held(&token);
    assert!(poll(&mut work).is_pending());
    has_begun.recv().unwrap();
    token.cancel();
    assert!(poll(&mut work).is_pending(), "it runs, and is waited for");
    assert!(poll(&mut work).is_pending());
    let_go.send(5).unwrap();
    assert_eq!(smol::block_on(work), Ok(5));
}

#[test]
fn a_dropped_future_tells_its_work_and_nobody_else() {
    for token in [CancellationToken::new(), CancellationToken::never()] {
        let (begun, has_begun) = channel();
        let (let_go, gate) = channel::<()>();
        let (told, reasons) = channel();
        let work = run(&token, move |token| {
            begun.send(()).unwrap();
            gate.recv().unwrap();
            told.send(token.reason()).unwrap();
        });
        has_begun.recv().unwrap();
        drop(work); // does not wait
        let_go.send(()).unwrap();
        let reason = reasons.recv().unwrap().expect("it is told");
        assert_eq!(reason.kind(), ReasonKind::Dropped);
        assert!(!token.is_cancelled());
    }
}

#[test]
fn the_end_cancels_nothing() {
    let token = CancellationToken::new();
    let theirs = smol::block_on(run(&token, |token| token.clone())).unwrap();
    assert!(!theirs.is_cancelled());
    token.cancel();
    assert!(theirs.is_cancelled(), "it is a child");
}

#[test]
fn a_panic_resumes_in_the_awaiting_task() {
    let work = run(&CancellationToken::new(), |_| -> u32 { panic!("seven") });
    let payload = catch_unwind(AssertUnwindSafe(|| smol::block_on(work))).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"seven"));
    // The pool has survived.
    assert_eq!(smol::block_on(run(&CancellationToken::new(), |_| 1)), Ok(1));
}

#[test]
fn polling_after_the_end_panics() {
    let token = CancellationToken::pre_cancelled(Reason::explicit());
    let mut work = Fate::default().work(&token);
    assert!(poll(&mut work).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut work))).is_err());
}

#[test]
fn the_future_may_go_anywhere() {
    fn assert_send_unpin<T: Send + Unpin>(_: &T) {}
    assert_send_unpin(&run(&CancellationToken::new(), |_| ()));
}

#[test]
fn a_panic_of_the_work_is_the_childs() {
    let n = Nursery::<JoinError>::new();
    let join = n.handle().spawn_graceful(|cx| async move {
        let work = run(cx.token(), |_| -> u32 { panic!("seven") });
        Ok(work.await)
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| smol::block_on(n.run(async { Ok(()) }))));
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"seven"));
    let error = join.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Panicked);
}

#[test]
fn work_may_poll_a_flag() {
    let token = CancellationToken::new();
    let (begun, has_begun) = channel();
    let work = run(&token, move |token| {
        let stop = token.flag();
        begun.send(()).unwrap();
        while !stop.is_set() {
            thread::yield_now();
        }
    });
    has_begun.recv().unwrap();
    token.cancel();
    assert_eq!(smol::block_on(work), Ok(()));
}

/// Whether this is the process whose pool has one thread. If not, runs the test `name` there.
fn with_one_thread(name: &str) -> bool {
    const MARK: &str = "UMBEL_TEST_ONE_THREAD";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .env("BLOCKING_MAX_THREADS", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Fills the pool; gives what lets it go again.
fn fill_pool() -> (Blocking<u32>, Sender<u32>) {
    let (mut work, has_begun, let_go) = held(&CancellationToken::new());
    assert!(poll(&mut work).is_pending());
    has_begun.recv().unwrap();
    (work, let_go)
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Until no work is left that nobody waits for.
fn until_none_is_left() {
    while !left_behind().is_empty() {
        thread::yield_now();
    }
}

#[test]
fn work_that_ignores_its_token_is_forced_and_its_thread_is_left_and_counted() {
    if !with_one_thread("work_that_ignores_its_token_is_forced_and_its_thread_is_left_and_counted")
    {
        return;
    }
    let (begun, has_begun) = channel();
    let (let_go, gate) = channel::<()>();
    let n = Nursery::<JoinError>::new();
    let h = n.handle();
    let line = line!() + 2;
    let join = h.spawn_graceful(|cx| async move {
        let work = run(cx.token(), move |_| {
            begun.send(()).unwrap();
            gate.recv().unwrap_err();
        });
        Ok(work.await)
    });
    let mut outcome = Box::pin(n.run(async { Ok(()) }));
    let mut task = Context::from_waker(Waker::noop());
    assert!(outcome.as_mut().poll(&mut task).is_pending());
    has_begun.recv().unwrap();
    h.cancel();
    assert!(
        outcome.as_mut().poll(&mut task).is_pending(),
        "it is waited for"
    );
    assert!(left_behind().is_empty());
    h.force();
    let failure = smol::block_on(outcome).unwrap_err();
    assert_eq!(failure.report.forced().count(), 1);
    let error = join.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Forced);
    let left: Vec<_> = left_behind()
        .iter()
        .map(|at| (at.file(), at.line()))
        .collect();
    assert_eq!(left, [(file!(), line)]);
    drop(let_go);
    until_none_is_left();
}

#[test]
fn work_that_was_left_and_panics_is_counted_off() {
    if !with_one_thread("work_that_was_left_and_panics_is_counted_off") {
        return;
    }
    let (begun, has_begun) = channel();
    let (let_go, gate) = channel::<()>();
    let work = run(&CancellationToken::new(), move |_| {
        begun.send(()).unwrap();
        gate.recv().unwrap_err();
        panic!("nobody hears it");
    });
    has_begun.recv().unwrap();
    drop::<Blocking<()>>(work);
    assert_eq!(left_behind().len(), 1);
    drop(let_go);
    until_none_is_left();
}

#[test]
fn work_that_has_ended_is_not_left_though_nobody_took_its_result() {
    if !with_one_thread("work_that_has_ended_is_not_left_though_nobody_took_its_result") {
        return;
    }
    let wakes = Arc::new(Wakes::default());
    let (mut work, has_begun, let_go) = held(&CancellationToken::new());
    assert!(poll_with(&mut work, &wakes.clone().into()).is_pending());
    has_begun.recv().unwrap();
    let_go.send(1).unwrap();
    while wakes.0.load(SeqCst) == 0 {
        thread::yield_now();
    }
    drop(work);
    assert!(left_behind().is_empty());
}

#[test]
fn cancelled_while_queued_ends_at_once_and_never_runs() {
    if !with_one_thread("cancelled_while_queued_ends_at_once_and_never_runs") {
        return;
    }
    let (first, let_go) = fill_pool();
    let token = CancellationToken::new();
    let fate = Fate::default();
    let mut queued = fate.work(&token);
    let wakes = Arc::new(Wakes::default());
    assert!(poll_with(&mut queued, &wakes.clone().into()).is_pending());

    token.cancel_with(Reason::custom(4));
    assert_eq!(wakes.0.load(SeqCst), 1, "the awaiting task is woken");
    assert_eq!(
        poll(&mut queued),
        Poll::Ready(Err(Cancelled::new(Reason::custom(4))))
    );
    assert_eq!(fate.dropped(), 1, "dropped although the pool is still full");

    let_go.send(1).unwrap();
    assert_eq!(smol::block_on(first), Ok(1));
    // The one thread takes things in order: after this it has passed what was queued.
    smol::block_on(run(&CancellationToken::new(), |_| ())).unwrap();
    assert!(!fate.ran());
    assert_eq!(fate.dropped(), 1);
}

#[test]
fn an_already_cancelled_token_gives_the_pool_nothing() {
    if !with_one_thread("an_already_cancelled_token_gives_the_pool_nothing") {
        return;
    }
    let (first, let_go) = fill_pool();
    let token = CancellationToken::pre_cancelled(Reason::custom(9));
    let fate = Fate::default();
    let mut refused = fate.work(&token);
    assert_eq!((fate.ran(), fate.dropped()), (false, 1));
    assert_eq!(
        poll(&mut refused),
        Poll::Ready(Err(Cancelled::new(Reason::custom(9))))
    );
    let_go.send(1).unwrap();
    assert_eq!(smol::block_on(first), Ok(1));
}

#[test]
fn dropped_while_queued_never_runs() {
    if !with_one_thread("dropped_while_queued_never_runs") {
        return;
    }
    let (first, let_go) = fill_pool();
    let fate = Fate::default();
    let mut queued = fate.work(&CancellationToken::new());
    assert!(poll(&mut queued).is_pending());
    drop(queued);
    assert_eq!(fate.dropped(), 1, "dropped although the pool is still full");
    assert!(left_behind().is_empty());

    let_go.send(1).unwrap();
    assert_eq!(smol::block_on(first), Ok(1));
    smol::block_on(run(&CancellationToken::new(), |_| ())).unwrap();
    assert!(!fate.ran());
}

#[test]
fn cancelled_while_queued_and_not_polled_again_never_runs() {
    if !with_one_thread("cancelled_while_queued_and_not_polled_again_never_runs") {
        return;
    }
    let (first, let_go) = fill_pool();
    let token = CancellationToken::new();
    let fate = Fate::default();
    let mut queued = fate.work(&token);
    assert!(poll(&mut queued).is_pending());
    token.cancel();

    let_go.send(1).unwrap();
    assert_eq!(smol::block_on(first), Ok(1));
    smol::block_on(run(&CancellationToken::new(), |_| ())).unwrap();
    assert_eq!((fate.ran(), fate.dropped()), (false, 1));
    assert_eq!(
        smol::block_on(queued),
        Err(Cancelled::new(Reason::explicit()))
    );
}

#[test]
fn queued_work_runs_when_its_turn_comes() {
    if !with_one_thread("queued_work_runs_when_its_turn_comes") {
        return;
    }
    let (first, let_go) = fill_pool();
    let fate = Fate::default();
    let mut queued = fate.work(&CancellationToken::new());
    assert!(poll(&mut queued).is_pending());
    assert!(poll(&mut queued).is_pending());
    assert!(!fate.ran());
    let_go.send(1).unwrap();
    assert_eq!(smol::block_on(queued), Ok(()));
    assert_eq!((fate.ran(), fate.dropped()), (true, 1));
    assert_eq!(smol::block_on(first), Ok(1));
}
