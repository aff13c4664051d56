//! Foreign code: wakers, callbacks, errors and futures that tell the [`World`] what is done to them,
//! and then do what the script says.

use crate::model::op::{Event, Mood};
use crate::model::trees::Why;
use crate::model::world::World;
use crate::script::Listens;
pub(super) use crate::script::{Boom, waker};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use umbel_core::{Reason, ReasonKind};

// ------------------------------------------------------------------ wakers

impl Listens for World {
    fn waker_cloned(&self, waker: usize) {
        World::waker_cloned(self, waker);
    }

    fn waker_dropped(&self, waker: usize) {
        World::waker_dropped(self, waker);
    }

    fn woken(&self, waker: usize) {
        World::woken(self, waker);
    }

    fn foreign(self: &Arc<Self>, _: usize, event: Event, mood: Mood) {
        World::foreign(self, event, mood);
    }
}

// ------------------------------------------------------------------ callbacks

/// What a callback captures.
pub(super) struct Capture {
    pub(super) world: Arc<World>,
    /// Its number.
    pub(super) callback: usize,
    pub(super) mood: Mood,
}

impl Capture {
    pub(super) fn call(&self) {
        self.world.called(self.callback);
        self.world.foreign(Event::Call, self.mood);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.world.closure_dropped(self.callback);
        self.world.foreign(Event::Drop, self.mood);
    }
}

// ------------------------------------------------------------------ reasons

struct Fault {
    world: Arc<World>,
    /// Its number.
    error: usize,
    mood: Mood,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fault").field(&self.error).finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.error)
    }
}

impl Error for Fault {}

impl Drop for Fault {
    fn drop(&mut self) {
        self.world.error_dropped(self.error);
        self.world.foreign(Event::Drop, self.mood);
    }
}

/// A reason that is an error which behaves like `mood`.
pub(super) fn reason(world: &Arc<World>, error: usize, mood: Mood) -> Reason {
    let world = Arc::clone(world);
    Reason::error(Fault { world, error, mood })
}

/// What the model calls this reason; `None`: it is none that a script gives.
pub(super) fn why(reason: &Reason) -> Option<Why> {
    match (reason.kind(), reason.code(), reason.source()) {
        (ReasonKind::Explicit, None, None) => Some(Why::Explicit),
        (ReasonKind::DeadlineExceeded, None, None) => Some(Why::Deadline),
        (ReasonKind::Custom, Some(code), None) => Some(Why::Custom(code)),
        (ReasonKind::Custom, None, Some(error)) => {
            let fault = error.downcast_ref::<Fault>();
            fault.map(|fault| Why::Error(fault.error))
        }
        _ => None,
    }
}

// ------------------------------------------------------------------ futures

/// What [`Work`] has done so far.
#[derive(Default)]
pub(super) struct Done {
    pub(super) polls: AtomicUsize,
    pub(super) ends: AtomicUsize,
}

/// A future to be run until cancelled.
pub(super) struct Work {
    pub(super) world: Arc<World>,
    pub(super) mood: Mood,
    /// How many polls are pending.
    pub(super) pending: u8,
    pub(super) done: Arc<Done>,
}

impl Future for Work {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.done.polls.fetch_add(1, SeqCst);
        self.world.foreign(Event::Call, self.mood);
        if self.pending > 0 {
            self.pending -= 1;
            return Poll::Pending;
        }
        self.done.ends.fetch_add(1, SeqCst);
        Poll::Ready(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.world.foreign(Event::Drop, self.mood);
    }
}
