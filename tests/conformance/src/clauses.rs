//! The clauses.

use crate::{Blocks, Runtime};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
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
    pub(crate) about: About,
    /// Panics if it does not hold.
    pub(crate) holds: for<'a> fn(&'a R) -> Holds<'a>,
}

pub(crate) type Holds<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Time,
    Threads,
    Executors,
    /// An executor and threads.
    Both,
}

impl About {
    /// Why it cannot be checked.
    pub(crate) fn lacks(self, has_executor: bool) -> Option<&'static str> {
        // Of these targets none has threads unless it has atomics.
        let has_threads = cfg!(any(not(target_family = "wasm"), target_feature = "atomics"));
        let (threads, executor) = match self {
            About::Time => (false, false),
            About::Threads => (true, false),
            About::Executors => (false, true),
            About::Both => (true, true),
        };
        if executor && !has_executor {
            Some("there is no executor")
        } else if threads && !has_threads {
            Some("there are no threads")
        } else {
            None
        }
    }
}

type E = &'static str;

/// Short: nobody measures it.
const SOON: Duration = Duration::from_millis(1);

/// All but [`PANICS`].
pub(crate) fn all<R: Runtime>() -> Vec<Clause<R>> {
    use About::{Both, Executors, Threads, Time};
    fn clause<R>(
        about: About,
        text: &'static str,
        holds: for<'a> fn(&'a R) -> Holds<'a>,
    ) -> Clause<R> {
        Clause { text, about, holds }
    }
    vec![
        clause(Time, "a sleep ends, and not before its instant", |r| {
            Box::pin(sleep(r))
        }),
        clause(Time, "what is due does not wait", |r| Box::pin(due(r))),
        clause(Time, "`Instant::NEVER` is never due", |r| {
            Box::pin(never(r))
        }),
        clause(Threads, "a wake from another thread arrives", |_| {
            Box::pin(wake_from_a_thread())
        }),
        clause(Time, "a deadline cancels its nursery", |r| {
            Box::pin(deadline(r))
        }),
        clause(Time, "a timeout cancels one child", |r| {
            Box::pin(timeout(r))
        }),
        clause(
            Time,
            "a child that is deaf is dropped when the grace is over",
            |r| Box::pin(grace(r)),
        ),
        clause(Time, "cleanups have a time of their own", |r| {
            Box::pin(cleanup(r))
        }),
        clause(Time, "a token's deadline is driven", |r| Box::pin(drive(r))),
        clause(
            Executors,
            "a task runs to its end, whoever keeps what",
            |r| Box::pin(detached(r)),
        ),
        clause(Both, "a task is woken by another thread", |r| {
            Box::pin(wake_of_a_task(r))
        }),
        clause(Executors, "a task sleeps on the timer", |r| {
            Box::pin(sleep_in_a_task(r))
        }),
        clause(
            Executors,
            "children on the executor give their outputs",
            |r| Box::pin(joins(r)),
        ),
        clause(
            Executors,
            "when a nursery has ended, no child is left",
            |r| Box::pin(nobody_is_left(r)),
        ),
        clause(
            Executors,
            "graceful children on it are told, and end",
            |r| Box::pin(graceful(r)),
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

async fn sleep<R: Runtime>(r: &R) {
    let timer = r.timer();
    let at = timer.now() + SOON;
    timer.sleep_until(at).await;
    assert!(timer.now() >= at, "it ended early");
}

async fn due<R: Runtime>(r: &R) {
    let timer = r.timer();
    timer.sleep_until(timer.now()).await;
    timer.sleep_until(Instant::EPOCH).await;
}

async fn never<R: Runtime>(r: &R) {
    let timer = r.timer();
    let n = Nursery::<E>::new();
    let h = n.handle();
    let done = n.run(async {
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
    });
    assert_eq!(done.await.ok(), Some(true), "it ended");
}

async fn wake_from_a_thread() {
    let (token, guard) = signal();
    let other = thread::spawn(move || drop(guard));
    token.cancelled().await;
    other.join().expect("it only drops a guard");
}

async fn deadline<R: Runtime>(r: &R) {
    let timer = r.timer();
    let at = timer.now() + SOON;
    let n = Nursery::<E>::new().timer(timer.clone()).deadline(at);
    let failure = n.run::<(), _>(pending()).await.unwrap_err();
    let reason = failure.cancelled().expect("nobody failed");
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
    assert!(timer.now() >= at, "it came early");
}

async fn timeout<R: Runtime>(r: &R) {
    let n = Nursery::<E>::new().timer(r.timer());
    let h = n.handle();
    let run = n.run(async {
        Ok(h.child()
            .timeout(SOON)
            .spawn(pending::<Result<(), E>>())
            .await)
    });
    let error = run.await.expect("the others live on").unwrap_err();
    assert_eq!(error.kind(), JoinErrorKind::Cancelled);
    let reason = error.reason().expect("it was cancelled");
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
}

async fn grace<R: Runtime>(r: &R) {
    let n = Nursery::<E>::new().timer(r.timer()).grace(SOON);
    let h = n.handle();
    let run = n.run::<(), _>(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), E>>()));
        yields().await; // so that it has begun
        h.cancel();
        pending().await
    });
    let failure = run.await.unwrap_err();
    assert_eq!(failure.report.stats.forced, 1);
}

async fn cleanup<R: Runtime>(r: &R) {
    let n = Nursery::<E>::new().timer(r.timer()).cleanup(SOON);
    let h = n.handle();
    let run = n.run(async {
        assert!(h.defer(pending()).is_ok(), "the nursery is open");
        Ok(())
    });
    drop(run.await);
    let report = h.report().expect("it has ended");
    assert_eq!(report.cleanups.forced, 1);
}

async fn drive<R: Runtime>(r: &R) {
    let timer = r.timer();
    let token = CancellationToken::new().child_with_deadline(timer.now() + SOON);
    token.drive(&timer).await;
    let reason = token.reason().expect("it was driven");
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
}

// ------------------------------------------------------------------ executors

/// From within the runtime: some executors are known there only.
fn spawn<R: Runtime>(r: &R, task: impl Future<Output = ()> + Send + 'static) {
    assert!(spawner(r).spawn(task).is_ok(), "it was refused");
}

async fn detached<R: Runtime>(r: &R) {
    let (ended, ends) = signal();
    spawn(r, async move {
        yields().await;
        drop(ends);
    });
    ended.cancelled().await;
}

async fn wake_of_a_task<R: Runtime>(r: &R) {
    let ((began, begins), (gone, go), (ended, ends)) = (signal(), signal(), signal());
    spawn(r, async move {
        drop(begins);
        gone.cancelled().await;
        drop(ends);
    });
    began.cancelled().await;
    let other = thread::spawn(move || drop(go));
    ended.cancelled().await;
    other.join().expect("it only drops a guard");
}

async fn sleep_in_a_task<R: Runtime>(r: &R) {
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
}

async fn joins<R: Runtime>(r: &R) {
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
    assert_eq!(run.await.ok(), Some(385));
}

/// A child that says that it has begun, and never ends.
async fn parks(alive: Arc<()>, begins: impl Send) -> Result<(), E> {
    let _alive = alive;
    drop(begins);
    pending().await
}

async fn nobody_is_left<R: Runtime>(r: &R) {
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
    assert!(run.await.is_err(), "a child has failed");
    assert_eq!(Arc::strong_count(&alive), 1, "a child is left");
    let stats = h.stats();
    assert_eq!((stats.failed, stats.cancelled, stats.lost), (1, 5, 0));
}

async fn graceful<R: Runtime>(r: &R) {
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
    assert!(run.await.is_err(), "the body was cut");
    assert_eq!(h.stats().done, 1, "the child did not come to its end");
}

/// A panic comes out of a call that blocks.
pub(crate) const PANICS: &str = "a panic of a child goes on in who awaits the nursery";

pub(crate) fn panics<R: Blocks>(r: &R) {
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
