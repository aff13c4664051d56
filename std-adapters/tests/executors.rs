//! `ExecutorNursery` on the runtimes: the same programs on each.

use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use umbel::async_std::{AsyncStdLocalSpawn, AsyncStdSpawn};
use umbel::smol::{SmolExecutor, SmolLocalExecutor, SmolSpawn};
use umbel::tokio::{TokioHandle, TokioSpawn};
use umbel::{
    CancellationToken, Cause, ExecutorNursery, JoinErrorKind, LocalExecutorNursery, Nursery, Spawn,
    SpawnError,
};

type E = &'static str;

/// Cancelled when it is dropped.
fn guarded(token: &CancellationToken) -> impl Send + use<> {
    token.clone().drop_guard()
}

/// Lets others run.
async fn yields() {
    smol::future::yield_now().await;
}

/// The programs, on one executor: `$run` drives a future while the executor runs.
macro_rules! programs {
    ($runtime:ident, $executor:expr, $run:expr) => {
        mod $runtime {
            use super::*;

            #[test]
            fn joins_give_the_outputs() {
                let n = Nursery::<E>::new().limit(8).on($executor);
                let h = n.handle();
                let sum = $run(n.run(async {
                    let squares = (0..100u64).map(|i| async move {
                        yields().await;
                        Ok(i * i)
                    });
                    let all = h.parallel(squares).await;
                    Ok(all.unwrap().iter().sum::<u64>())
                }));
                assert_eq!(sum.unwrap(), 328_350);
                assert_eq!(h.report().unwrap().stats.done, 100);
            }

            #[test]
            fn when_run_is_over_every_child_is_gone() {
                let alive = Arc::new(());
                let n = ExecutorNursery::<E, _>::new($executor);
                let h = n.handle();
                let outcome = $run(n.run::<(), _>(async {
                    for i in 0..20 {
                        let (alive, began) = (alive.clone(), CancellationToken::new());
                        let begins = guarded(&began);
                        drop(h.spawn(async move {
                            let _alive = alive;
                            drop(begins);
                            if i == 19 {
                                return Err("the last one fails");
                            }
                            pending::<Result<(), E>>().await
                        }));
                        began.cancelled().await;
                    }
                    pending().await
                }));
                assert!(matches!(
                    outcome.unwrap_err().cause,
                    Cause::Error("the last one fails")
                ));
                assert_eq!(Arc::strong_count(&alive), 1);
                let stats = h.report().unwrap().stats;
                assert_eq!((stats.failed, stats.cancelled), (1, 19));
            }

            #[test]
            fn graceful_children_end_by_themselves() {
                let n = Nursery::<E>::new().on($executor);
                let h = n.handle();
                let outcome = $run(n.run::<(), _>(async {
                    let began = CancellationToken::new();
                    let begins = guarded(&began);
                    drop(h.spawn_graceful(|cx| async move {
                        drop(begins);
                        cx.token().cancelled().await;
                        yields().await;
                        Ok(())
                    }));
                    began.cancelled().await;
                    h.cancel();
                    pending().await
                }));
                assert!(outcome.unwrap_err().cancelled().is_some());
                assert_eq!(h.report().unwrap().stats.done, 1);
            }

            #[test]
            fn panics_reach_who_awaits_the_nursery() {
                let n = Nursery::<E>::new().on($executor);
                let h = n.handle();
                let run = n.run::<(), _>(async {
                    drop(h.spawn(pending::<Result<(), _>>()));
                    drop(h.spawn::<(), _>(async {
                        yields().await;
                        panic!("in a task")
                    }));
                    pending().await
                });
                let panic = catch_unwind(AssertUnwindSafe(|| $run(run))).unwrap_err();
                assert_eq!(panic.downcast_ref::<&str>(), Some(&"in a task"));
                assert_eq!((h.stats().panicked, h.stats().cancelled), (1, 1));
            }
        }
    };
}

programs!(smol_global, SmolSpawn, smol::block_on);
programs!(async_std_threads, AsyncStdSpawn, async_std::task::block_on);
programs!(tokio_current_thread, TokioSpawn, on_tokio);
programs!(
    tokio_multi_thread,
    TokioHandle::new(threads().clone()),
    smol::block_on
);
programs!(smol_executor, SmolExecutor::new(executor()), on_executor);

fn current_thread() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap()
}

fn on_tokio<F: Future>(future: F) -> F::Output {
    current_thread().block_on(future)
}

/// A runtime that lasts as long as the process.
fn threads() -> &'static tokio::runtime::Handle {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(multi_thread).handle()
}

fn multi_thread() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).build().unwrap()
}

/// An executor that lasts as long as the process, and is run by the tests that await.
fn executor() -> &'static smol::Executor<'static> {
    static EXECUTOR: smol::Executor<'static> = smol::Executor::new();
    &EXECUTOR
}

fn on_executor<F: Future>(future: F) -> F::Output {
    smol::block_on(executor().run(future))
}

// ------------------------------------------------------------------ not `Send`

#[test]
fn on_a_local_executor_children_need_not_be_send() {
    let executor = Rc::new(smol::LocalExecutor::new());
    let count = Rc::new(Cell::new(0));
    let n = LocalExecutorNursery::<E, _>::new(SmolLocalExecutor::new(executor.clone()));
    let h = n.handle();
    let outcome = smol::block_on(executor.run(n.run(async {
        for _ in 0..10 {
            let count = count.clone();
            drop(h.spawn(async move {
                yields().await;
                count.set(count.get() + 1);
                Ok(())
            }));
        }
        Ok(())
    })));
    outcome.unwrap();
    assert_eq!((count.get(), Rc::strong_count(&count)), (10, 1));
}

#[test]
fn nor_on_a_thread_of_async_stds() {
    let count = Rc::new(Cell::new(0));
    let n = LocalExecutorNursery::<E, _>::new(AsyncStdLocalSpawn);
    let h = n.handle();
    let outcome = async_std::task::block_on(n.run(async {
        let theirs = count.clone();
        drop(h.spawn(async move {
            yields().await;
            theirs.set(1);
            Err::<(), _>("fails")
        }));
        drop(h.spawn(pending::<Result<(), _>>()));
        Ok(())
    }));
    assert!(matches!(outcome.unwrap_err().cause, Cause::Error("fails")));
    assert_eq!((count.get(), Rc::strong_count(&count)), (1, 1));
}

#[test]
fn children_may_borrow_what_outlives_a_local_executor() {
    let words = [String::from("borrowed"), String::from("words")];
    let executor = smol::LocalExecutor::new();
    let n = LocalExecutorNursery::<E, _>::new(SmolLocalExecutor::new(&executor));
    let h = n.handle();
    let lengths = smol::block_on(executor.run(n.run(async {
        let joins = words
            .each_ref()
            .map(|word| h.spawn(async { Ok(word.len()) }));
        let mut sum = 0;
        for join in joins {
            sum += join.await.unwrap();
        }
        Ok(sum)
    })));
    assert_eq!(lengths.unwrap(), 13);
}

// ------------------------------------------------------------------ lost

/// Awaited outside the runtime, which is shut down while its children are at work.
fn shut_down_in_mid_run(runtime: tokio::runtime::Runtime, begins: bool) {
    let alive = Arc::new(());
    let n = Nursery::<E>::new()
        .limit(4)
        .on(TokioHandle::new(runtime.handle().clone()));
    let h = n.handle();
    let mut joins = vec![];
    let outcome = smol::block_on(n.run::<(), _>(async {
        let mut waits = vec![];
        for _ in 0..6 {
            let (alive, began) = (alive.clone(), CancellationToken::new());
            let guard = guarded(&began);
            joins.push(h.spawn(async move {
                let _alive = alive;
                drop(guard);
                pending::<Result<(), _>>().await
            }));
            waits.push(began);
        }
        if begins {
            for began in &waits[..4] {
                began.cancelled().await;
            }
        }
        runtime.shutdown_background();
        pending().await
    }));
    let failure = outcome.unwrap_err();
    assert_eq!(failure.lost().unwrap().kind(), JoinErrorKind::Lost);
    assert_eq!(Arc::strong_count(&alive), 1);
    let stats = failure.report.stats;
    // Whether the others were told to stop before they were dropped, the threads decide.
    assert!(stats.lost >= 1);
    assert_eq!((stats.lost + stats.cancelled, stats.active), (6, 0));
    for join in joins {
        assert!(join.now_or_never().unwrap().is_err());
    }
}

#[test]
fn when_tokios_threads_are_shut_down_its_children_are_lost() {
    shut_down_in_mid_run(multi_thread(), true);
}

#[test]
fn so_are_those_of_a_runtime_that_nobody_ran() {
    shut_down_in_mid_run(current_thread(), false);
}

/// An executor that can be dropped while a nursery has it.
struct Droppable<'a>(&'a Mutex<Option<smol::Executor<'static>>>);

impl<F: Future<Output = ()> + Send + 'static> Spawn<F> for Droppable<'_> {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        match &*self.0.lock().unwrap() {
            Some(executor) => SmolExecutor::new(executor).spawn(future),
            None => Err(SpawnError::new(future)),
        }
    }
}

#[test]
fn and_those_of_an_executor_that_is_dropped() {
    let (alive, executor) = (Arc::new(()), Mutex::new(Some(smol::Executor::new())));
    let n = ExecutorNursery::<E, _>::new(Droppable(&executor));
    let h = n.handle();
    let outcome = smol::block_on(n.run::<(), _>(async {
        let theirs = alive.clone();
        drop(h.spawn(async move {
            let _alive = theirs;
            pending::<Result<(), _>>().await
        }));
        let executor = executor.lock().unwrap().take().unwrap();
        assert!(executor.try_tick(), "the child has begun");
        drop(executor);
        drop(h.spawn(async { Ok(()) })); // refused
        pending().await
    }));
    assert!(outcome.unwrap_err().lost().is_some());
    assert_eq!((h.stats().lost, Arc::strong_count(&alive)), (2, 1));
}

#[test]
fn outside_of_a_runtime_a_child_is_refused() {
    let n = ExecutorNursery::<E, _>::new(TokioSpawn);
    let h = n.handle();
    let refused = h.try_spawn(async { Ok(7) }).unwrap_err();
    assert_eq!(smol::block_on(refused.into_inner()), Ok(7));
    let join = h.spawn(async { Ok(()) });
    assert!(
        smol::block_on(n.run(async { Ok(()) }))
            .unwrap_err()
            .lost()
            .is_some()
    );
    assert_eq!(
        join.now_or_never().unwrap().unwrap_err().kind(),
        JoinErrorKind::Lost
    );
}
