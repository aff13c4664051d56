//! Umbel's nurseries and their peers behind two verbs.
//!
//! Each peer is used as its documentation shows. What outlives a scope (an executor, a runtime) is
//! made before the clock runs; scopes are made while it does.

use crate::children::outer;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

/// A child of any contender.
pub(crate) trait Child: Future<Output = usize> + Send + 'static {}

impl<F: Future<Output = usize> + Send + 'static> Child for F {}

/// Scopes for children of any types.
pub(crate) trait Kind {
    fn new() -> Self;

    /// A scope that spawns so many children from within. Their outputs are dropped.
    fn discard<F: Child>(
        &self,
        children: usize,
        make: impl Fn(usize) -> F,
    ) -> impl Future<Output = ()>;

    /// A scope that spawns so many children from within, awaits each, and adds up the outputs.
    fn join<F: Child>(
        &self,
        children: usize,
        make: impl Fn(usize) -> F,
    ) -> impl Future<Output = usize>;

    fn block_on<T>(&self, scope: impl Future<Output = T>) -> T {
        let (_, waker) = outer();
        let mut scope = pin!(scope);
        loop {
            if let Poll::Ready(output) = scope.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        }
    }
}

macro_rules! nursery {
    ($(#[$doc:meta])* $Kind:ident, $Nursery:ident) => {
        $(#[$doc])*
        pub(crate) struct $Kind;

        impl Kind for $Kind {
            fn new() -> Self {
                $Kind
            }

            async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
                let nursery = umbel_core::$Nursery::<umbel_core::JoinError>::new();
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

            async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
                let nursery = umbel_core::$Nursery::<umbel_core::JoinError>::new();
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
        }
    };
}

nursery!(Umbel, Nursery);
nursery!(
    /// Its children and handles stay on their thread.
    UmbelLocal,
    LocalNursery
);

/// `moro-local`'s scope, whose children may borrow.
pub(crate) struct Moro;

impl Kind for Moro {
    fn new() -> Self {
        Moro
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        let scope = moro_local::async_scope!(|scope| {
            for i in 0..children {
                drop(scope.spawn(make(i)));
            }
        });
        scope.await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let scope = moro_local::async_scope!(|scope| {
            let joins: Vec<_> = (0..children).map(|i| scope.spawn(make(i))).collect();
            let mut sum = 0;
            for join in joins {
                sum += join.await;
            }
            sum
        });
        scope.await
    }
}

/// `async-executor`'s, which runs for as long as the scope lasts.
pub(crate) struct Local(async_executor::LocalExecutor<'static>);

impl Kind for Local {
    fn new() -> Self {
        Local(async_executor::LocalExecutor::new())
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        let all = async {
            for i in 0..children {
                self.0.spawn(make(i)).detach();
            }
            // It does not tell that it has become empty.
            while !self.0.is_empty() {
                yield_now().await;
            }
        };
        self.0.run(all).await;
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let all = async {
            let joins: Vec<_> = (0..children).map(|i| self.0.spawn(make(i))).collect();
            let mut sum = 0;
            for join in joins {
                sum += join.await;
            }
            sum
        };
        self.0.run(all).await
    }
}

async fn yield_now() {
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

/// `tokio`'s `JoinSet` in its current-thread runtime. It hands every output over.
pub(crate) struct JoinSet(tokio::runtime::Runtime);

impl Kind for JoinSet {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        JoinSet(runtime.expect("a runtime without drivers asks the system for nothing"))
    }

    async fn discard<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) {
        let mut set = tokio::task::JoinSet::new();
        for i in 0..children {
            set.spawn(make(i));
        }
        while let Some(output) = set.join_next().await {
            output.expect("nobody panics");
        }
    }

    async fn join<F: Child>(&self, children: usize, make: impl Fn(usize) -> F) -> usize {
        let mut set = tokio::task::JoinSet::new();
        for i in 0..children {
            set.spawn(make(i));
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
