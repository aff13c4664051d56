//! Umbel's nurseries on the runtimes' executors, and spawning without them.

use crate::children::at_once;
use crate::meter::{Meter, Reading};
use crate::nursery::contenders::{Child, Kind};
use futures_util::future::{FutureExt, Remote, RemoteHandle};
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use umbel::smol::SmolExecutor;
use umbel::tokio::TokioHandle;
use umbel::{ExecutorNursery, JoinError};

/// The nursery's two verbs on an executor of `$self`'s.
macro_rules! nursery {
    ($self:ident, $executor:expr) => {
        async fn discard<F: Child>(&$self, children: usize, make: impl Fn(usize) -> F) {
            let nursery = ExecutorNursery::<JoinError, _>::new($executor);
            let handle = nursery.handle();
            let run = nursery.run(async {
                for i in 0..children {
                    let child = make(i);
                    drop(handle.spawn(async move { Ok(child.await) }));
                }
                Ok(())
            });
            run.await.expect("nobody fails");
        }

        async fn join<F: Child>(&$self, children: usize, make: impl Fn(usize) -> F) -> usize {
            let nursery = ExecutorNursery::<JoinError, _>::new($executor);
            let handle = nursery.handle();
            let spawn = |i| {
                let child = make(i);
                handle.spawn(async move { Ok(child.await) })
            };
            let run = nursery.run(async {
                let joins: Vec<_> = (0..children).map(spawn).collect();
                let mut sum = 0;
                for join in joins {
                    sum += join.await?;
                }
                Ok(sum)
            });
            run.await.expect("nobody fails")
        }
    };
}

/// On tokio's current-thread runtime.
pub(crate) struct OnTokio(Runtime);

impl Kind for OnTokio {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().build();
        OnTokio(runtime.expect("a runtime without drivers asks the system for nothing"))
    }

    nursery!(self, TokioHandle::new(self.0.handle().clone()));

    fn block_on<T>(&self, scope: impl Future<Output = T>) -> T {
        self.0.block_on(scope)
    }
}

fn threads() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("the system has two threads")
}

/// On two threads of tokio's.
pub(crate) struct OnThreads(Runtime);

impl Kind for OnThreads {
    fn new() -> Self {
        OnThreads(threads())
    }

    nursery!(self, TokioHandle::new(self.0.handle().clone()));

    fn block_on<T>(&self, scope: impl Future<Output = T>) -> T {
        self.0.block_on(scope)
    }
}

/// `JoinSet` on two threads of tokio's.
pub(crate) struct JoinSetOnThreads(Runtime);

impl Kind for JoinSetOnThreads {
    fn new() -> Self {
        JoinSetOnThreads(threads())
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.join(children, make).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let mut set = tokio::task::JoinSet::new();
        for i in 0..children {
            set.spawn_on(make(i), self.0.handle());
        }
        let mut sum = 0;
        while let Some(output) = set.join_next().await {
            sum += output.expect("nobody panics");
        }
        sum
    }

    fn block_on<T>(&self, scope: impl Future<Output = T>) -> T {
        self.0.block_on(scope)
    }
}

type Executor = Arc<async_executor::Executor<'static>>;

/// On smol's executor, which runs for as long as the scope lasts.
pub(crate) struct OnSmol(Executor);

impl OnSmol {
    async fn scope<T>(&self, scope: impl Future<Output = T>) -> T {
        self.0.run(scope).await
    }
}

/// The nursery itself, for [`OnSmol`] to run.
struct Within(Executor);

impl Within {
    nursery!(self, SmolExecutor::new(self.0.clone()));
}

impl Kind for OnSmol {
    fn new() -> Self {
        OnSmol(Executor::default())
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.scope(Within(self.0.clone()).discard(children, make))
            .await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        self.scope(Within(self.0.clone()).join(children, make))
            .await
    }
}

/// smol's executor alone: tasks whose handles are awaited one after another.
pub(crate) struct BareSmol(Executor);

impl Kind for BareSmol {
    fn new() -> Self {
        BareSmol(Executor::default())
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.join(children, make).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let spawn = |i| self.0.spawn(make(i));
        self.0.run(join_all(children, spawn)).await
    }
}

/// Spawns all, awaits one after another, and adds up the outputs.
async fn join_all<H: Future<Output = usize>>(children: usize, spawn: impl Fn(usize) -> H) -> usize {
    let handles: Vec<_> = (0..children).map(spawn).collect();
    let mut sum = 0;
    for handle in handles {
        sum += handle.await;
    }
    sum
}

/// Spawns without a word about the executor: output and panic come over a channel, as made by futures-util's
/// `remote_handle`. There is no nursery, no policy and no limit.
fn spawn_remote<F: Child>(child: F, spawn: impl Fn(Remote<F>)) -> RemoteHandle<usize> {
    let (task, handle) = child.remote_handle();
    spawn(task);
    handle
}

/// Remote handles of tasks on smol's executor.
pub(crate) struct RemotesOnSmol(Executor);

impl Kind for RemotesOnSmol {
    fn new() -> Self {
        RemotesOnSmol(Executor::default())
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.join(children, make).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let spawn = |i| spawn_remote(make(i), |task| self.0.spawn(task).detach());
        self.0.run(join_all(children, spawn)).await
    }
}

/// Remote handles of tasks on tokio's current-thread runtime.
pub(crate) struct RemotesOnTokio(Runtime);

impl Kind for RemotesOnTokio {
    fn new() -> Self {
        let OnTokio(runtime) = OnTokio::new();
        RemotesOnTokio(runtime)
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        self.join(children, make).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        join_all(children, |i| {
            spawn_remote(make(i), |task| drop(self.0.spawn(task)))
        })
        .await
    }

    fn block_on<T>(&self, scope: impl Future<Output = T>) -> T {
        self.0.block_on(scope)
    }
}

/// As [`join`](crate::nursery::workloads::join), with threads of the contender's own: in wall time.
pub(crate) fn join_on_threads<K: Kind>(meter: Meter) -> Reading {
    let (kind, number) = (K::new(), meter.ops(1000));
    let times = meter.ops(100_000).div_ceil(number);
    let turn = || {
        let sum = kind.block_on(kind.join(number, at_once));
        assert_eq!(sum, (0..number).sum());
    };
    turn(); // the peak is reached
    meter.wall(times * number, || (0..times).for_each(|_| turn()))
}
