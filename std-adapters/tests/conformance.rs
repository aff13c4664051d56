//! The suite for adapters, on ours: the same clauses on every runtime.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use umbel::async_std::{AsyncStdLocalSpawn, AsyncStdSpawn, AsyncStdTimer};
use umbel::smol::{SmolExecutor, SmolLocalExecutor, SmolSpawn, SmolTimer};
use umbel::tokio::{TokioHandle, TokioSpawn, TokioTimer};
use umbel::{BoxTask, ManualClock, Spawn, Timer};
use umbel_conformance::{Kept, NoExecutor, Runtime, check, table};

/// A runtime of three parts.
struct Parts<T, S, B> {
    timer: T,
    executor: S,
    block_on: B,
}

/// What waits for futures of any type, which no closure does.
trait Waits {
    fn wait<F: Future>(&self, future: F) -> F::Output;
}

impl<T, S, B> Runtime for Parts<T, S, B>
where
    T: Timer<Sleep: Send> + Clone + Send + 'static,
    S: Spawn<BoxTask> + Clone + 'static,
    B: Waits,
{
    type Timer = T;
    type Executor = S;

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.block_on.wait(future)
    }

    fn timer(&self) -> T {
        self.timer.clone()
    }

    fn executor(&self) -> Option<S> {
        Some(self.executor.clone())
    }
}

fn kept<T, S, B>(name: &str, timer: T, executor: S, block_on: B) -> Kept
where
    Parts<T, S, B>: Runtime,
{
    let parts = Parts {
        timer,
        executor,
        block_on,
    };
    check(name, &parts)
}

struct Smol;

impl Waits for Smol {
    fn wait<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

impl Waits for Arc<smol::Executor<'static>> {
    fn wait<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(self.run(future))
    }
}

impl Waits for Rc<smol::LocalExecutor<'static>> {
    fn wait<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(self.run(future))
    }
}

struct AsyncStd;

impl Waits for AsyncStd {
    fn wait<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}

impl Waits for tokio::runtime::Runtime {
    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.block_on(future)
    }
}

fn tokio(threads: usize) -> tokio::runtime::Runtime {
    let mut runtime = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.worker_threads(threads.max(1)).enable_time();
    runtime.build().expect("the system has threads")
}

/// No runtime: a thread, and time that passes when it waits.
struct Bare(ManualClock);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Runtime for Bare {
    type Timer = ManualClock;
    type Executor = NoExecutor;

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Arc::new(Unpark(thread::current())).into();
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            match self.0.next_due() {
                Some(at) => self.0.advance_to(at),
                None => thread::park(),
            }
        }
    }

    fn timer(&self) -> ManualClock {
        self.0.clone()
    }

    fn executor(&self) -> Option<NoExecutor> {
        None
    }
}

#[test]
fn every_runtime_keeps_every_clause() {
    let (executor, local) = (
        Arc::new(smol::Executor::new()),
        Rc::new(smol::LocalExecutor::new()),
    );
    let (smol, async_std, tokio_timer) =
        (SmolTimer::new(), AsyncStdTimer::new(), TokioTimer::new());
    let threads = tokio(2);
    let columns = [
        kept("smol", smol, SmolSpawn, Smol),
        kept(
            "smol, an executor",
            smol,
            SmolExecutor::new(executor.clone()),
            executor,
        ),
        kept(
            "smol, a local one",
            smol,
            SmolLocalExecutor::new(local.clone()),
            local,
        ),
        kept("tokio, one thread", tokio_timer, TokioSpawn, tokio(0)),
        kept(
            "tokio, two threads",
            tokio_timer,
            TokioHandle::new(threads.handle().clone()),
            threads,
        ),
        kept("async-std", async_std, AsyncStdSpawn, AsyncStd),
        kept("async-std, local", async_std, AsyncStdLocalSpawn, AsyncStd),
        check("no runtime", &Bare(ManualClock::new())),
    ];
    println!("{}", table(&columns));
    columns.iter().for_each(Kept::assert);
}
