//! The clauses.

use crate::Runtime;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use umbel_core::{
    Boxed, CancellationToken, Clock, Instant, JoinErrorKind, LocalExecutorNursery, LocalNursery,
    Nursery, ReasonKind, Spawn, Timer,
};

/// One clause.
pub(crate) struct Clause<R> {
    pub(crate) text: &'static str,
    pub(crate) about_executors: bool,
    /// Panics if it does not hold.
    pub(crate) holds: fn(&R),
}

type E = &'static str;

/// Short: nobody measures it.
const SOON: Duration = Duration::from_millis(1);

pub(crate) fn all<R: Runtime>() -> Vec<Clause<R>> {
    let timer = |text, holds| Clause {
        text,
        about_executors: false,
        holds,
    };
    let executor = |text, holds| Clause {
        text,
        about_executors: true,
        holds,
    };
    vec![
        timer("a sleep ends, and not before its instant", sleep::<R>),
        timer("what is due does not wait", due::<R>),
        timer("`Instant::NEVER` is never due", never::<R>),
        timer(
            "a wake from another thread arrives",
            wake_from_a_thread::<R>,
        ),
        timer("a deadline cancels its nursery", deadline::<R>),
        timer("a timeout cancels one child", timeout::<R>),
        timer(
            "a child that is deaf is dropped when the grace is over",
            grace::<R>,
        ),
        timer("cleanups have a time of their own", cleanup::<R>),
        timer("a token's deadline is driven", drive::<R>),
        executor("a task runs to its end, whoever keeps what", detached::<R>),
        executor("a task is woken by another thread", wake_of_a_task::<R>),
        executor("a task sleeps on the timer", sleep_in_a_task::<R>),
        executor("children on the executor give their outputs", joins::<R>),
        executor(
            "when a nursery has ended, no child is left",
            nobody_is_left::<R>,
        ),
        executor("graceful children on it are told, and end", graceful::<R>),
        executor(
            "a panic of a child goes on in who awaits the nursery",
            panics::<R>,
        ),
    ]
}

/// Lets others go on once.
async fn yields() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn spawner<R: Runtime>(r: &R) -> Boxed<R::Executor> {
    Boxed(r.executor().expect("it was asked for before"))
}

/// A token, and what cancels it when it is dropped.
fn signal() -> (CancellationToken, impl Send + use<>) {
    let token = CancellationToken::new();
    let guard = token.clone().drop_guard();
    (token, guard)
}

// ------------------------------------------------------------------ waiting and time

fn sleep<R: Runtime>(r: &R) {
    r.block_on(async {
        let timer = r.timer();
        let at = timer.now() + SOON;
        timer.sleep_until(at).await;
        assert!(timer.now() >= at, "it ended early");
    });
}

fn due<R: Runtime>(r: &R) {
    r.block_on(async {
        let timer = r.timer();
        timer.sleep_until(timer.now()).await;
        timer.sleep_until(Instant::EPOCH).await;
    });
}

fn never<R: Runtime>(r: &R) {
    let timer = r.timer();
    let n = Nursery::<E>::new();
    let h = n.handle();
    let done = r.block_on(n.run(async {
        let mut child = h.child();
        let stop = child.cancel_handle();
        let never = timer.sleep_until(Instant::NEVER);
        let join = child.spawn(async {
            never.await;
            Ok(())
        });
        timer.sleep_until(timer.now() + SOON).await;
        stop.cancel();
        Ok(join.await.is_err())
    }));
    assert_eq!(done.ok(), Some(true), "it ended");
}

fn wake_from_a_thread<R: Runtime>(r: &R) {
    let (token, guard) = signal();
    let other = thread::spawn(move || drop(guard));
    r.block_on(token.cancelled());
    other.join().expect("it only drops a guard");
}

fn deadline<R: Runtime>(r: &R) {
    r.block_on(async {
        let timer = r.timer();
        let at = timer.now() + SOON;
        let n = Nursery::<E>::new().timer(timer.clone()).deadline(at);
        let failure = n.run::<(), _>(pending()).await.unwrap_err();
        let reason = failure.cancelled().expect("nobody failed");
        assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
        assert!(timer.now() >= at, "it came early");
    });
}

fn timeout<R: Runtime>(r: &R) {
    let n = Nursery::<E>::new().timer(r.timer());
    let h = n.handle();
    let run = n.run(async {
        Ok(h.child()
            .timeout(SOON)
            .spawn(pending::<Result<(), E>>())
            .await)
    });
    let error = r.block_on(run).expect("the others live on").unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Cancelled);
    let reason = error.reason().expect("it was cancelled");
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
}

fn grace<R: Runtime>(r: &R) {
    let n = Nursery::<E>::new().timer(r.timer()).grace(SOON);
    let h = n.handle();
    let run = n.run::<(), _>(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), E>>()));
        yields().await; // so that it has begun
        h.cancel();
        pending().await
    });
    let failure = r.block_on(run).unwrap_err();
    assert_eq!(failure.report.stats.forced, 1);
}

fn cleanup<R: Runtime>(r: &R) {
    let n = Nursery::<E>::new().timer(r.timer()).cleanup(SOON);
    let h = n.handle();
    let run = n.run(async {
        assert!(h.defer(pending()).is_ok(), "the nursery is open");
        Ok(())
    });
    drop(r.block_on(run));
    let report = h.report().expect("it has ended");
    assert_eq!(report.cleanups.forced, 1);
}

fn drive<R: Runtime>(r: &R) {
    r.block_on(async {
        let timer = r.timer();
        let token = CancellationToken::new().child_with_deadline(timer.now() + SOON);
        token.drive(&timer).await;
        let reason = token.reason().expect("it was driven");
        assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
    });
}

// ------------------------------------------------------------------ executors

/// From within the runtime: some executors are known there only.
fn spawn<R: Runtime>(r: &R, task: impl Future<Output = ()> + Send + 'static) {
    assert!(spawner(r).spawn(task).is_ok(), "it was refused");
}

fn detached<R: Runtime>(r: &R) {
    r.block_on(async {
        let (ended, ends) = signal();
        spawn(r, async move {
            yields().await;
            drop(ends);
        });
        ended.cancelled().await;
    });
}

fn wake_of_a_task<R: Runtime>(r: &R) {
    let ((began, begins), (gone, go), (ended, ends)) = (signal(), signal(), signal());
    r.block_on(async {
        spawn(r, async move {
            drop(begins);
            gone.cancelled().await;
            drop(ends);
        });
        began.cancelled().await;
        let other = thread::spawn(move || drop(go));
        ended.cancelled().await;
        other.join().expect("it only drops a guard");
    });
}

fn sleep_in_a_task<R: Runtime>(r: &R) {
    r.block_on(async {
        let (ended, ends) = signal();
        let timer = r.timer();
        let at = timer.now() + SOON;
        let theirs = timer.clone();
        spawn(r, async move {
            theirs.sleep_until(at).await;
            drop(ends);
        });
        ended.cancelled().await;
        assert!(timer.now() >= at, "it ended early");
    });
}

fn joins<R: Runtime>(r: &R) {
    let n = LocalNursery::<E>::new().limit(3).on(spawner(r));
    let h = n.handle();
    let run = n.run(async {
        let squares = (1..=10u64).map(|i| async move {
            yields().await;
            Ok(i * i)
        });
        let squares = h.parallel(squares).await.map_err(|_| "one has no output")?;
        Ok(squares.into_iter().sum::<u64>())
    });
    assert_eq!(r.block_on(run).ok(), Some(385));
}

/// A child that says that it has begun, and never ends.
async fn parks(alive: Arc<()>, begins: impl Send) -> Result<(), E> {
    let _alive = alive;
    drop(begins);
    pending().await
}

fn nobody_is_left<R: Runtime>(r: &R) {
    let alive = Arc::new(());
    let n = LocalExecutorNursery::<E, _>::new(spawner(r));
    let h = n.handle();
    let run = n.run::<(), _>(async {
        for _ in 0..5 {
            let (token, guard) = signal();
            drop(h.spawn(parks(alive.clone(), guard)));
            token.cancelled().await;
        }
        drop(h.spawn(async { Err::<(), _>("fails") }));
        pending().await
    });
    assert!(r.block_on(run).is_err(), "a child has failed");
    assert_eq!(Arc::strong_count(&alive), 1, "a child is left");
    let stats = h.stats();
    assert_eq!((stats.failed, stats.cancelled, stats.lost), (1, 5, 0));
}

fn graceful<R: Runtime>(r: &R) {
    let n = LocalExecutorNursery::<E, _>::new(spawner(r));
    let h = n.handle();
    let run = n.run::<(), _>(async {
        let (began, begins) = signal();
        drop(h.spawn_graceful(|cx| async move {
            drop(begins);
            cx.token().cancelled().await;
            yields().await;
            Ok(())
        }));
        began.cancelled().await;
        h.cancel();
        pending().await
    });
    assert!(r.block_on(run).is_err(), "the body was cut");
    assert_eq!(h.stats().done, 1, "the child did not come to its end");
}

fn panics<R: Runtime>(r: &R) {
    let n = LocalExecutorNursery::<E, _>::new(spawner(r));
    let h = n.handle();
    let run = n.run::<(), _>(async {
        drop(h.spawn::<(), _>(async { std::panic::panic_any(Thrown) }));
        pending().await
    });
    let panic = catch_unwind(AssertUnwindSafe(|| drop(r.block_on(run))));
    let panic = panic.expect_err("the panic was swallowed");
    assert!(panic.is::<Thrown>(), "it is another panic");
    assert_eq!(h.stats().panicked, 1);
}

struct Thrown;
