//! One part of a program: what is said about it, what it is given, and what the coordinator keeps of it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use umbel_core::{CancellationToken, Handle, Instant, Name};

/// When a subsystem is stopped: lower phases come first, those of one phase are stopped side by side.
///
/// The numbers of the three that have names leave room between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phase(u16);

impl Phase {
    /// What takes work in: listeners, consumers. Number 100.
    pub const INGRESS: Phase = Phase(100);
    /// What does the work. Number 200.
    pub const PROCESSING: Phase = Phase(200);
    /// What takes results out: writers, telemetry, pools of connections. Number 300.
    pub const EGRESS: Phase = Phase(300);

    /// A phase of your own.
    pub const fn new(number: u16) -> Self {
        Phase(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Phase::INGRESS => f.pad("ingress"),
            Phase::PROCESSING => f.pad("processing"),
            Phase::EGRESS => f.pad("egress"),
            Phase(number) => write!(f, "phase {number}"),
        }
    }
}

/// What the failure of a subsystem does to the others: an error of its own or of a child in its nursery, or a
/// panic there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// The whole is shut down, phase by phase, and has failed.
    #[default]
    StopAll,
    /// The others go on. The report has it; the exit code does not know of it.
    Ignore,
}

/// What is said about one subsystem; given to [`Coordinator::add`](super::Coordinator::add).
///
/// A name alone is one, too: `"http"`.
#[derive(Debug, Clone)]
pub struct Subsystem {
    pub(super) name: Name,
    pub(super) phase: Option<Phase>,
    pub(super) grace: Option<Duration>,
    pub(super) on_failure: OnFailure,
    pub(super) awaited: bool,
}

impl Subsystem {
    /// One without a phase and a grace of its own, whose failure stops all.
    pub fn new(name: impl Into<Name>) -> Self {
        Subsystem {
            name: name.into(),
            phase: None,
            grace: None,
            on_failure: OnFailure::StopAll,
            awaited: false,
        }
    }

    /// When it is stopped. Those without a phase come after all that have one, one after another in
    /// the reverse of their start: who was there first may be needed by all that came later.
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// How long it may take to end when it was told to. Without it: as long as its phase has.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// What its failure does to the others.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Those that were added after it start only when it has called [`Context::started`], or has ended;
    /// and nothing is ready before.
    pub fn until_started(mut self) -> Self {
        self.awaited = true;
        self
    }
}

impl<N: Into<Name>> From<N> for Subsystem {
    fn from(name: N) -> Self {
        Subsystem::new(name)
    }
}

/// What a subsystem is given.
pub struct Context<'env, E> {
    pub(super) handle: Handle<'env, E>,
    pub(super) stage: Arc<Stage>,
}

impl<'env, E> Context<'env, E> {
    /// Cancelled when the subsystem is to come to its end, with the kind
    /// [`Shutdown`](crate::ReasonKind::Shutdown); or when its nursery is cancelled by itself or by an
    /// error in it.
    pub fn token(&self) -> &CancellationToken {
        self.handle.token()
    }

    /// The subsystem's own nursery, for children of its own. It ends when all of them have. Plain ones are
    /// dropped when it is told to stop, graceful ones drain with it.
    pub fn handle(&self) -> &Handle<'env, E> {
        &self.handle
    }

    /// Says that it has started: see [`Subsystem::until_started`].
    pub fn started(&self) {
        self.stage.started.cancel();
    }

    /// When it is forced if it has not ended, of the coordinator's clock: known when the
    /// [`token`](Self::token) is cancelled, `None` before and if there is no end.
    pub fn deadline(&self) -> Option<Instant> {
        self.stage.deadline.get().copied()
    }
}

impl<E> Clone for Context<'_, E> {
    fn clone(&self) -> Self {
        Context {
            handle: self.handle.clone(),
            stage: Arc::clone(&self.stage),
        }
    }
}

impl<E> fmt::Debug for Context<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("handle", &self.handle)
            .field("deadline", &self.deadline())
            .finish()
    }
}

/// Where a subsystem is, for both sides.
#[derive(Default)]
pub(super) struct Stage {
    /// Cancelled by the subsystem when it has started.
    pub(super) started: CancellationToken,
    /// Set by the coordinator before it tells the subsystem to stop.
    pub(super) deadline: OnceLock<Instant>,
}
