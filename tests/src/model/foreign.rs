//! Foreign code: wakers, callbacks, errors and futures that tell the [`World`] what is done to them,
//! and then do what the script says.

use crate::model::op::{Event, Mood};
use crate::model::trees::Why;
use crate::model::world::World;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use umbel_core::{Reason, ReasonKind};

// ------------------------------------------------------------------ wakers

/// What a waker's data is: an `Arc` of this, one count a waker.
struct Hostile {
    world: Arc<World>,
    /// Its number.
    waker: usize,
    mood: Mood,
}

/// `std::task::Wake` would do, but that it does not tell of clones and drops.
static HOSTILE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the waker's count is there during the call, and stays with it.
        let this = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Hostile>())) };
        this.world.foreign(Event::Clone, this.mood);
        this.world.waker_cloned(this.waker);
        raw(Arc::clone(&this))
    },
    |data| {
        // SAFETY: the waker's count comes with the call.
        let this = unsafe { Arc::from_raw(data.cast::<Hostile>()) };
        this.world.waker_dropped(this.waker);
        this.world.woken(this.waker);
        this.world.foreign(Event::Call, this.mood);
    },
    |data| {
        // SAFETY: the waker's count is there during the call, and stays with it.
        let this = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Hostile>())) };
        this.world.woken(this.waker);
        this.world.foreign(Event::Call, this.mood);
    },
    |data| {
        // SAFETY: the waker's count comes with the call.
        let this = unsafe { Arc::from_raw(data.cast::<Hostile>()) };
        this.world.waker_dropped(this.waker);
        this.world.foreign(Event::Drop, this.mood);
    },
);

fn raw(hostile: Arc<Hostile>) -> RawWaker {
    RawWaker::new(Arc::into_raw(hostile).cast(), &HOSTILE)
}

/// A waker that behaves like `mood`.
pub(super) fn waker(world: &Arc<World>, waker: usize, mood: Mood) -> Waker {
    let world = Arc::clone(world);
    // SAFETY: the functions of the table count as `Arc` does, and what they reach is `Send + Sync`.
    unsafe { Waker::from_raw(raw(Arc::new(Hostile { world, waker, mood }))) }
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

/// What foreign code panics with: a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boom(pub(super) usize);
