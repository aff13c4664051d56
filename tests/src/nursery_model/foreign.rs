//! Foreign code: children, their values and errors, a policy, and wakers, that tell the [`World`] what is
//! done to them, and then do what the script says.
//!
//! They find the world of their thread by themselves, so that children may be `Send`.

use crate::nursery_model::world::World;
use crate::script::{Event, Listens, Mood};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::{Ended, Policy, Verdict};

/// A child's future, or the body's: its number.
pub(super) struct Job(pub(super) usize);

impl Future for Job {
    type Output = Result<Value, Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        World::here().map_or(Poll::Pending, |world| world.polled(self.0, cx))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(world) = World::here() {
            world.job_dropped(self.0);
        }
    }
}

/// A cleanup's future: of what it gives nobody hears.
pub(super) struct Cleanup(pub(super) Job);

impl Future for Cleanup {
    type Output = Result<(), Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(|mut value| {
            // It goes within the poll, where it may not panic: that would be the cleanup's.
            value.1 = Mood(0);
        })
    }
}

/// What a nursery is to release: its number.
pub(super) struct Released(pub(super) usize);

impl Drop for Released {
    fn drop(&mut self) {
        if let Some(world) = World::here() {
            world.release_dropped(self.0);
        }
    }
}

/// What a child gives: its number, and how it behaves when dropped.
pub(super) struct Value(pub(super) usize, pub(super) Mood);

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(world) = World::here() {
            world.value_dropped(self.0, self.1);
        }
    }
}

/// An error, as a [`Value`].
pub(super) struct Fault(pub(super) usize, pub(super) Mood);

impl Drop for Fault {
    fn drop(&mut self) {
        if let Some(world) = World::here() {
            world.fault_dropped(self.0, self.1);
        }
    }
}

/// A policy of the script's own.
pub(super) struct Judge(pub(super) Mood);

impl Judge {
    fn ask(&self, who: &Ended<'_>, error: Option<&Fault>) -> Verdict {
        let error = error.map(|fault| fault.0);
        World::here().map_or(Verdict::Continue, |world| world.asked(who, error, self.0))
    }
}

impl Policy<Fault> for Judge {
    fn failed(&mut self, who: &Ended<'_>, error: &Fault) -> Verdict {
        self.ask(who, Some(error))
    }

    fn succeeded(&mut self, who: &Ended<'_>) -> Verdict {
        self.ask(who, None)
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if let Some(world) = World::here() {
            world.foreign(Event::Drop, self.0, false);
        }
    }
}

/// The world, as wakers see it from wherever they are.
pub(super) struct Here;

impl Listens for Here {
    fn waker_cloned(&self, waker: usize) {
        if let Some(world) = World::here() {
            world.waker_cloned(waker);
        }
    }

    fn waker_dropped(&self, waker: usize) {
        if let Some(world) = World::here() {
            world.waker_dropped(waker);
        }
    }

    fn woken(&self, waker: usize) {
        if let Some(world) = World::here() {
            world.woken(waker);
        }
    }

    fn foreign(self: &Arc<Self>, waker: usize, event: Event, mood: Mood) {
        if let Some(world) = World::here() {
            world.waker_acts(waker, event, mood);
        }
    }
}

/// A waker that behaves like `mood`.
pub(super) fn waker(number: usize, mood: Mood) -> Waker {
    crate::script::waker(&Arc::new(Here), number, mood)
}
