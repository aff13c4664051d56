//! What a nursery is before it runs: what its builder has said, and whether it fits together.

use crate::nursery::engine::Engine;
use crate::nursery::limit::Room;
use crate::nursery::mode::Mode;
use crate::nursery::observer::{Eye, Observer};
use crate::nursery::shared::Shared;
use crate::nursery::spawner::Spawner;
use crate::sync::Arc;
use crate::time::Instant;
use crate::token::CancellationToken;
use core::cell::Cell;
use core::panic::Location;

/// What a nursery is before it runs.
pub(super) struct Setup<'env, E, M: Mode> {
    pub(super) engine: Engine<'env, E, M>,
    /// A handle has been taken: children may have places and contexts by now.
    handed_out: Cell<bool>,
    /// Ages were asked for here, not inherited.
    aged: bool,
    /// Above the nursery's token.
    parent: Option<CancellationToken>,
}

impl<'env, E, M: Mode> Setup<'env, E, M> {
    pub(super) fn new() -> Self {
        Setup {
            engine: Engine::new(),
            handed_out: Cell::new(false),
            aged: false,
            parent: None,
        }
    }

    pub(super) fn spawner(&self) -> Spawner<'env, E> {
        self.handed_out.set(true);
        Spawner::new(Arc::clone(&self.engine.shared))
    }

    #[track_caller]
    pub(super) fn shared(&mut self) -> &mut Shared {
        match Arc::get_mut(&mut self.engine.shared) {
            Some(shared) if !self.handed_out.get() => shared,
            _ => panic!("a nursery's options are set before its first handle is taken"),
        }
    }

    #[track_caller]
    pub(super) fn limit(&mut self, n: usize) {
        assert!(n > 0, "a nursery's limit must be at least 1");
        self.shared().room = Room::limited(n);
    }

    #[track_caller]
    pub(super) fn token(&mut self, parent: &CancellationToken) {
        self.parent = Some(parent.clone());
        self.make_token();
    }

    pub(super) fn deadline(&mut self, at: Instant) {
        self.engine.watch.due = at;
        // Otherwise somebody may have the token: then it does not tell the deadline.
        if !self.handed_out.get() {
            self.make_token();
        }
    }

    /// The nursery's token, below the parent's and with the deadline.
    #[track_caller]
    fn make_token(&mut self) {
        let parent = match &self.parent {
            Some(parent) => parent,
            None => &CancellationToken::new(),
        };
        let token = parent.child_with_deadline(self.engine.watch.due);
        self.shared().token = token;
    }

    #[track_caller]
    pub(super) fn observer(&mut self, observer: &'env (dyn Observer + 'env)) {
        let shared = self.shared();
        shared.observer = Some(Eye::new(observer));
        shared.watched = true;
    }

    #[track_caller]
    pub(super) fn ages(&mut self) {
        self.aged = true;
        let shared = self.shared();
        (shared.aged, shared.watched) = (true, true);
    }

    /// Whoever watches the nursery around it watches this one. `outer` is of the same `'env`.
    #[track_caller]
    pub(super) fn inherit(&mut self, outer: &Spawner<'env, impl Sized>) {
        let (shared, outer) = (self.shared(), &outer.shared);
        shared.observer = outer.observer;
        shared.aged = outer.aged;
        shared.watched = outer.watched;
    }

    #[track_caller]
    pub(super) fn finish(self) -> Engine<'env, E, M> {
        let mut engine = self.engine;
        engine.site = Location::caller();
        if !engine.watch.has_timer() {
            let timed = engine.watch.due != Instant::NEVER
                || engine.shared.grace.is_some()
                || engine.cleanup.is_some();
            assert!(
                !timed,
                "a nursery's deadline, grace and time for cleanups need `.timer(..)`"
            );
            assert!(!self.aged, "a nursery's ages need `.timer(..)`");
        }
        engine
    }
}
