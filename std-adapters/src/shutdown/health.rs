//! What others see of a coordinator, and how they ask it to stop.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | `State::enter` | store | Release | `Health`'s loads: what the coordinator did before is seen |
//! | `Health::is_ready`, `is_live` | load | Acquire | the store |
//!
//! Only the coordinator stores, so there is no race of two. The tokens order themselves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use umbel_core::{CancellationToken, Reason};

/// How far a coordinator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Step {
    Starting,
    Ready,
    Stopping,
    Ended,
}

/// What a coordinator shares with its [`Control`]s.
pub(super) struct State {
    /// Cancelled by what stops the whole.
    pub(super) stop: CancellationToken,
    /// Cancelled by what ends the patience.
    pub(super) force: CancellationToken,
    step: AtomicU8,
}

impl State {
    pub(super) fn new(trigger: &CancellationToken) -> Self {
        State {
            stop: trigger.child_token(),
            force: CancellationToken::new(),
            step: AtomicU8::new(Step::Starting as u8),
        }
    }

    pub(super) fn enter(&self, step: Step) {
        self.step.store(step as u8, Ordering::Release);
    }

    fn is_at(&self, step: Step) -> bool {
        self.step.load(Ordering::Acquire) == step as u8
    }
}

/// Asks a coordinator to stop. Clones steer the same one; `Send + Sync`. It does not keep the coordinator
/// alive, and does nothing to one that has ended.
#[derive(Clone)]
pub struct Control(Arc<State>);

impl Control {
    pub(super) fn new(state: &Arc<State>) -> Self {
        Control(Arc::clone(state))
    }

    /// Asks for the shutdown. True if nobody had before; if one is under way already, by whatever it was
    /// triggered, this [forces](Self::force) it. Lock-free, returns at once.
    ///
    /// (The coordinator's own trigger counts once: a program that was told to stop by a call, and then
    /// by a signal, is not forced. For a second signal there is
    /// [`force_on`](super::Coordinator::force_on).)
    pub fn stop(&self) -> bool {
        let first = self.0.stop.cancel_with(Reason::shutdown());
        if !first {
            self.force();
        }
        first
    }

    /// Gives nobody any more time: what has not ended is dropped and counts as forced, still phase by
    /// phase.
    pub fn force(&self) {
        self.0.stop.cancel_with(Reason::shutdown());
        self.0.force.cancel_with(Reason::shutdown());
    }

    /// What a health handler reads.
    pub fn health(&self) -> Health {
        Health(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("stop", &self.0.stop)
            .field("force", &self.0.force)
            .finish()
    }
}

/// Whether a program takes work, and whether it lives: for `/readyz` and `/healthz`. Two loads, no lock.
/// `Clone + Send + Sync`.
///
/// | | ready | live |
/// |---|---|---|
/// | it starts | no | yes |
/// | all have started | yes | yes |
/// | the shutdown is asked for, from the lame duck's delay on | no | yes |
/// | all have ended, or the coordinator was dropped | no | no |
#[derive(Clone)]
pub struct Health(Arc<State>);

impl Health {
    /// Whether all subsystems have started, and no shutdown was asked for: known at once when that is,
    /// without a poll of the coordinator.
    pub fn is_ready(&self) -> bool {
        self.0.is_at(Step::Ready) && !self.0.stop.is_cancelled()
    }

    /// Whether the coordinator has not ended.
    pub fn is_live(&self) -> bool {
        !self.0.is_at(Step::Ended)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("is_ready", &self.is_ready())
            .field("is_live", &self.is_live())
            .finish()
    }
}
