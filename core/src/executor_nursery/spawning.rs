//! Giving children to a nursery and their tasks to an executor.
//!
//! A child goes to the nursery first and to the executor after that: so a nursery that has taken it up does
//! not end before the executor has had it. Two ways:
//!
//! | the task goes to the executor | when |
//! |---|---|
//! | at once, by who spawns the child | it has its place, and nothing may keep it from starting |
//! | when the nursery starts the child | otherwise: it queues, waits for others, has a deadline or a handle to be cancelled by; or the nursery does not run yet |
//!
//! Who must know whether the executor takes it (`try_spawn`) offers the task while the nursery has a proxy
//! that is no child yet; refused, the nursery lets go of it, and nothing has counted.
//!
//! # Foreign code
//!
//! As in [`spawner`](crate::nursery::spawner). The executor is called when the child is in.

use crate::executor_nursery::proxy::{Made, queued, with_task};
use crate::executor_nursery::task::ChildTask;
use crate::nursery::ended::Site;
use crate::nursery::join::{Join, SpawnWait};
use crate::nursery::options::{Aside, Meta, Options};
use crate::nursery::spawner::{Spawner, cancelled};
use crate::spawn::{Spawn, TrySpawnError};
use crate::sync::Arc;
use core::future::Future;

impl<'env, E> Spawner<'env, E> {
    /// What is said about a child beside its future. One that can be called is told by a token of its own.
    #[inline]
    fn split(&self, options: Options) -> (Site, Option<Meta>) {
        let (site, shared) = (options.site, &self.shared);
        (site, options.called(&shared.token).aside(shared.watched))
    }

    #[inline]
    pub(super) fn spawn_on<S, T, F>(
        &self,
        executor: &Arc<S>,
        future: F,
        options: Options,
    ) -> Join<T>
    where
        S: Spawn<ChildTask<F>>,
        F: Future<Output = Result<T, E>>,
    {
        let (site, aside) = self.split(options);
        match aside {
            None => self.submit_on(executor, site, future, ()),
            Some(meta) => self.submit_on(executor, site, future, meta),
        }
    }

    pub(super) fn try_spawn_on<S, T, F>(
        &self,
        executor: &Arc<S>,
        future: F,
        options: Options,
    ) -> Result<Join<T>, TrySpawnError<F>>
    where
        S: Spawn<ChildTask<F>>,
        F: Future<Output = Result<T, E>>,
    {
        let (site, aside) = self.split(options);
        match aside {
            None => self.try_submit_on(executor, site, future, ()),
            Some(meta) => self.try_submit_on(executor, site, future, meta),
        }
    }

    pub(super) fn spawn_wait_on<S, T, F>(
        &self,
        executor: &Arc<S>,
        future: F,
        options: Options,
    ) -> SpawnWait<'env, T, E>
    where
        S: Spawn<ChildTask<F>>,
        F: Future<Output = Result<T, E>>,
    {
        let (site, aside) = self.split(options);
        match aside {
            None => self.submit_wait_on(executor, site, future, ()),
            Some(meta) => self.submit_wait_on(executor, site, future, meta),
        }
    }

    #[inline]
    fn submit_on<S, T, F, M>(&self, executor: &Arc<S>, site: Site, future: F, aside: M) -> Join<T>
    where
        S: Spawn<ChildTask<F>>,
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        let shared = &self.shared;
        if let Some(reason) = shared.token.reason() {
            drop(future);
            return Join::refused(cancelled(reason, site, aside));
        }
        let placed = aside.wants_place() && shared.room.try_take();
        let at_once = placed && aside.is_free() && shared.is_running();
        let (child, task, join) = if at_once {
            let made = with_task(site, future, aside, true);
            (made.child, Some(made.task), made.join)
        } else {
            let (child, join) = queued(site, future, aside, Arc::clone(executor));
            (child, None, join)
        };
        child.head().placed.set(placed);
        if let Err(refused) = shared.push(child) {
            if placed {
                shared.room.give();
            }
            // It ends as `Closed`, which its join tells.
            drop(refused);
            drop(task.and_then(ChildTask::withdraw));
        } else if let Some(task) = task {
            // A task that is refused is dropped here, and lost.
            drop(executor.spawn(task));
        }
        Join::new(join)
    }

    fn try_submit_on<S, T, F, M>(
        &self,
        executor: &Arc<S>,
        site: Site,
        future: F,
        aside: M,
    ) -> Result<Join<T>, TrySpawnError<F>>
    where
        S: Spawn<ChildTask<F>>,
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        let shared = &self.shared;
        if shared.token.is_cancelled() || !shared.takes_children() {
            return Err(TrySpawnError::Closed(future));
        }
        if aside.waits() {
            return Ok(self.submit_on(executor, site, future, aside));
        }
        let placed = aside.wants_place();
        if placed && !shared.room.try_take() {
            return Err(TrySpawnError::Full(future));
        }
        let Made {
            child,
            join,
            task,
            decider,
        } = with_task(site, future, aside, false);
        child.head().placed.set(placed);
        let (task, refusal): (_, fn(F) -> _) = match shared.push(child) {
            Err(refused) => {
                drop(refused);
                (task, TrySpawnError::Closed)
            }
            Ok(()) => match executor.spawn(task) {
                Ok(()) => {
                    decider.accepted(&join);
                    return Ok(Join::new(join));
                }
                Err(refused) => (refused.into_inner(), TrySpawnError::Refused),
            },
        };
        // Before the nursery sees that there is no child.
        if placed {
            shared.room.give();
        }
        match task.withdraw() {
            Some(future) => Err(refusal(future)),
            None => unreachable!("an executor refused a task that it had polled to its end"),
        }
    }

    fn submit_wait_on<S, T, F, M>(
        &self,
        executor: &Arc<S>,
        site: Site,
        future: F,
        aside: M,
    ) -> SpawnWait<'env, T, E>
    where
        S: Spawn<ChildTask<F>>,
        F: Future<Output = Result<T, E>>,
        M: Aside,
    {
        let shared = Arc::clone(&self.shared);
        if let Some(reason) = shared.token.reason() {
            drop(future);
            return SpawnWait::refused(shared, cancelled(reason, site, aside));
        }
        let (child, join) = queued(site, future, aside, Arc::clone(executor));
        SpawnWait::new(shared, child, join)
    }
}
