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
use umbel_conformance::{Blocks, Kept, NoExecutor, Runtime, check, table};

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

    fn timer(&self) -> T {
        self.timer.clone()
    }

    fn executor(&self) -> Option<S> {
        Some(self.executor.clone())
    }
}

impl<T, S, B> Blocks for Parts<T, S, B>
where
    Self: Runtime,
    B: Waits,
{
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.block_on.wait(future)
    }
}

fn kept<T, S, B>(name: &str, timer: T, executor: S, block_on: B) -> Kept
where
    Parts<T, S, B>: Blocks,
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

    fn timer(&self) -> ManualClock {
        self.0.clone()
    }

    fn executor(&self) -> Option<NoExecutor> {
        None
    }
}

impl Blocks for Bare {
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
}

const COLUMNS: [fn() -> Kept; 8] = [
    || kept("smol", SmolTimer::new(), SmolSpawn, Smol),
    || {
        let executor = Arc::new(smol::Executor::new());
        let spawn = SmolExecutor::new(executor.clone());
        kept("smol, an executor", SmolTimer::new(), spawn, executor)
    },
    || {
        let executor = Rc::new(smol::LocalExecutor::new());
        let spawn = SmolLocalExecutor::new(executor.clone());
        kept("smol, a local one", SmolTimer::new(), spawn, executor)
    },
    || {
        let timer = TokioTimer::new();
        kept("tokio, one thread", timer, TokioSpawn, tokio(0))
    },
    || {
        let (timer, runtime) = (TokioTimer::new(), tokio(2));
        let spawn = TokioHandle::new(runtime.handle().clone());
        kept("tokio, two threads", timer, spawn, runtime)
    },
    || kept("async-std", AsyncStdTimer::new(), AsyncStdSpawn, AsyncStd),
    || {
        let timer = AsyncStdTimer::new();
        kept("async-std, local", timer, AsyncStdLocalSpawn, AsyncStd)
    },
    || check("no runtime", &Bare(ManualClock::new())),
];

#[test]
fn every_runtime_keeps_every_clause() {
    // Each on a thread of its own: when a panic has left async-std's `block_on`, the next one on that thread
    // takes itself for a nested one and runs no local tasks.
    let columns = COLUMNS.map(|column| thread::spawn(column).join().expect("panics are caught"));
    println!("{}", table(&columns));
    columns.iter().for_each(Kept::assert);
}
