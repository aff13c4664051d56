//! Operations on tokens and guards.

use crate::counting::live_bytes;
use crate::model::foreign::{Boom, reason};
use crate::model::op::Op;
use crate::model::state::{Frame, Handle, Held, MOST};
use crate::model::trees::{Cascade, Why};
use crate::model::world::{Outcome, World};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use umbel_core::{CancellationToken, DropGuard, Instant, Reason};

/// How many rounds of churn: enough to fill a first segment, but where that takes too long.
const CHURN: usize = crate::scaled(40, 4);

impl World {
    pub(super) fn with_token(
        self: &Arc<Self>,
        at: u8,
        f: impl FnOnce(&Arc<Self>, &Handle) -> Outcome,
    ) -> Outcome {
        let handle = self.state().token(at);
        let Some(handle) = handle else {
            return self.root(Op::from_bytes([0; 4]));
        };
        self.look(&handle.token, handle.node);
        let outcome = f(self, &handle);
        // Whoever else had it may have given it up meanwhile.
        outcome.and(self.release(handle))
    }

    /// What happens next depends on whether this token is cancelled.
    fn look(&self, token: &CancellationToken, node: usize) {
        let mut state = self.state();
        let verdict = state.look(token, node);
        state.note(verdict);
    }

    /// Gives up a share of a handle, and the handle if it was the last.
    pub(super) fn release(&self, handle: Arc<Handle>) -> Outcome {
        match Arc::into_inner(handle) {
            Some(Handle { token, node }) => self.close(node, || drop(token)),
            None => Ok(()),
        }
    }

    /// A call that gives up a handle of `node`.
    pub(super) fn close(&self, node: usize, f: impl FnOnce()) -> Outcome {
        self.state().forest.trees.closing_handle(node);
        let outcome = self.call(Frame::default(), f);
        self.state().forest.trees.closed_handle(node);
        outcome
    }

    pub(super) fn root(self: &Arc<Self>, op: Op) -> Outcome {
        if self.state().tokens.len() >= MOST {
            return Ok(());
        }
        let (token, node) = match op.with % 8 {
            6 => {
                let node = self.state().forest.trees.root(None, true);
                (CancellationToken::never(), node)
            }
            7 => {
                let (reason, why) = self.reason(op);
                let node = self.state().forest.trees.root(Some(why), false);
                (CancellationToken::pre_cancelled(reason), node)
            }
            _ => {
                let node = self.state().forest.trees.root(None, false);
                (CancellationToken::new(), node)
            }
        };
        self.state().tokens.push(Arc::new(Handle { token, node }));
        Ok(())
    }

    pub(super) fn child(self: &Arc<Self>, at: u8, deadline: u64) -> Outcome {
        self.with_token(at, |world, handle| {
            if world.state().tokens.len() >= MOST {
                return Ok(());
            }
            let node = world.state().forest.trees.child(handle.node, deadline);
            // What a slot kept of an earlier child may be dropped here.
            let made = world.call(Frame::default(), || match deadline {
                u64::MAX => handle.token.child_token(),
                at => handle.token.child_with_deadline(Instant::from_nanos(at)),
            });
            match made {
                Ok(token) => {
                    world.look(&handle.token, handle.node);
                    let mut state = world.state();
                    if token.is_cancelled() {
                        state.forest.trees.born_cancelled(node);
                    }
                    state.tokens.push(Arc::new(Handle { token, node }));
                }
                Err(boom) => {
                    let mut state = world.state();
                    state.forest.trees.closing_handle(node);
                    state.forest.trees.closed_handle(node);
                    return Err(boom);
                }
            }
            Ok(())
        })
    }

    pub(super) fn any_of(self: &Arc<Self>, op: Op) -> Outcome {
        let next = |i: u8| op.at.wrapping_add(i.wrapping_mul(op.with >> 2));
        let sources: Vec<_> = {
            let state = self.state();
            let number = 0..=op.with % 4;
            number.filter_map(|i| state.token(next(i))).collect()
        };
        for source in &sources {
            self.look(&source.token, source.node);
        }
        if self.state().tokens.len() < MOST {
            let nodes: Vec<_> = sources.iter().map(|source| source.node).collect();
            let node = self.state().forest.trees.any_of(&nodes);
            let tokens = sources.iter().map(|source| &source.token);
            // No foreign code is called.
            let token = self.call(Frame::default(), || CancellationToken::any_of(tokens))?;
            self.state().tokens.push(Arc::new(Handle { token, node }));
        }
        let release = |outcome: Outcome, source| outcome.and(self.release(source));
        sources.into_iter().fold(Ok(()), release)
    }

    pub(super) fn clone_token(self: &Arc<Self>, at: u8) -> Outcome {
        self.with_token(at, |world, handle| {
            let mut state = world.state();
            if state.tokens.len() < MOST {
                state.forest.trees.open_handle(handle.node);
                state.tokens.push(Arc::new(Handle {
                    token: handle.token.clone(),
                    node: handle.node,
                }));
            }
            Ok(())
        })
    }

    /// A call that cancels `node`; returns what it returns and whether it was the first.
    pub(super) fn cancel<R>(
        &self,
        node: usize,
        why: Why,
        f: impl FnOnce() -> R,
    ) -> Result<(R, bool), Boom> {
        let cascade = self.state().forest.trees.cancel(node, why);
        let first = cascade.is_some();
        self.call_cascade(cascade, f).map(|result| (result, first))
    }

    pub(super) fn call_cascade<R>(
        &self,
        cascade: Option<Cascade>,
        f: impl FnOnce() -> R,
    ) -> Result<R, Boom> {
        let frame = Frame {
            cascade: cascade.clone(),
            ..Frame::default()
        };
        let result = self.call(frame, f);
        if let Some(cascade) = cascade {
            let mut state = self.state();
            let verdict = state.forest.end(&cascade);
            state.note(verdict);
        }
        result
    }

    pub(super) fn cancel_children(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let (reason, why) = self.reason(op);
        let cascade = self.state().forest.trees.cancel_children(handle.node, why);
        self.call_cascade(cascade, || handle.token.cancel_children(reason))
    }

    pub(super) fn reason(self: &Arc<Self>, op: Op) -> (Reason, Why) {
        if op.with < 0x80 {
            let code = u16::from(op.with) << 8 | u16::from(op.at);
            return (Reason::custom(code), Why::Custom(code));
        }
        let error = {
            let mut state = self.state();
            state.errors.push(false);
            state.errors.len() - 1
        };
        (reason(self, error, op.mood), Why::Error(error))
    }

    pub(super) fn cancel_with(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let (reason, why) = self.reason(op);
        let (won, first) = self.cancel(handle.node, why, || handle.token.cancel_with(reason))?;
        if won != first {
            let wrong = format!("cancel_with returns {won}");
            self.state().note(Err(wrong));
        }
        Ok(())
    }

    pub(super) fn check_at(&self, handle: &Handle, now: u8) -> Outcome {
        let Handle { token, node } = handle;
        let due = {
            let forest = &self.state().forest;
            forest.trees.is_due(*node, now.into()) && !forest.trees.is_cancelled(*node)
        };
        let now = Instant::from_nanos(now.into());
        let cancelled = if due {
            let check = || token.check_at(now).is_err();
            self.cancel(*node, Why::Deadline, check)?.0
        } else {
            self.call(Frame::default(), || token.check_at(now).is_err())?
        };
        let mut state = self.state();
        if cancelled != state.forest.trees.is_cancelled(*node) {
            state.note(Err(format!("check_at: cancelled {cancelled}")));
        }
        Ok(())
    }

    pub(super) fn guard(&self, handle: &Handle) -> Outcome {
        let mut state = self.state();
        if state.guards.len() < MOST {
            state.forest.trees.open_handle(handle.node);
            state.guards.push(Held {
                real: handle.token.clone().drop_guard(),
                node: handle.node,
                callback: 0,
            });
        }
        Ok(())
    }

    pub(super) fn disarm(&self, held: Held<DropGuard>) -> Outcome {
        let Held { real, node, .. } = held;
        let token = real.disarm();
        self.state().tokens.push(Arc::new(Handle { token, node }));
        Ok(())
    }

    pub(super) fn drop_guard(self: &Arc<Self>, held: Held<DropGuard>, with: u8) -> Outcome {
        let Held { real, node, .. } = held;
        if with.is_multiple_of(4) {
            return self.panic_past(real, node);
        }
        self.look(real.token(), node);
        self.state().forest.trees.closing_handle(node);
        let outcome = self.cancel(node, Why::Explicit, || drop(real));
        self.state().forest.trees.closed_handle(node);
        outcome.map(drop)
    }

    /// The guard is dropped by a panic.
    pub(super) fn panic_past(self: &Arc<Self>, guard: DropGuard, node: usize) -> Outcome {
        struct Unwound<'a>(&'a Arc<World>, Option<Held<DropGuard>>);
        impl Drop for Unwound<'_> {
            fn drop(&mut self) {
                let Unwound(world, held) = self;
                if let Some(held) = held.take() {
                    // Nothing comes out: a panic unwinds already.
                    let _ = world.drop_guard(held, 1);
                }
            }
        }
        let held = Held {
            real: guard,
            node,
            callback: 0,
        };
        let boom = self.state().new_boom();
        let past = catch_unwind(AssertUnwindSafe(|| {
            let _unwound = Unwound(self, Some(held));
            resume_unwind(Box::new(boom))
        }));
        match past {
            Ok(()) => Ok(()),
            Err(payload) => {
                if payload.downcast_ref() != Some(&boom) {
                    let wrong = Err("another panic than the one that unwound the guard".into());
                    self.state().note(wrong);
                }
                Ok(())
            }
        }
    }

    /// What comes and goes takes the memory of one: the second and later rounds take none.
    pub(super) fn churn(&self, token: &CancellationToken, with: u8) -> Outcome {
        let noop = &mut Context::from_waker(Waker::noop());
        let mut round = || match with % 6 {
            0 => drop(token.child_token()),
            1 => _ = pin!(token.cancelled()).poll(noop),
            2 => _ = pin!(token.child_token().cancelled_owned()).poll(noop),
            3 => drop(token.on_cancel(|| ())),
            4 => drop(CancellationToken::any_of([token, &token.child_token()])),
            _ => drop(token.child_token().flag()),
        };
        // What earlier tenants left in a slot is dropped by the next one, and may call in.
        self.state().quiet = true;
        round();
        let once = live_bytes();
        (0..CHURN).for_each(|_| round());
        let grown = live_bytes() - once;
        let mut state = self.state();
        state.quiet = false;
        if grown > 0 {
            state.note(Err(format!("{CHURN} rounds of churn took {grown} bytes")));
        }
        Ok(())
    }

    pub(super) fn guard_ref(&self, handle: &Handle, with: u8) -> Outcome {
        let guard = handle.token.drop_guard_ref();
        if with.is_multiple_of(2) {
            let _: &CancellationToken = guard.disarm();
            return Ok(());
        }
        let outcome = self.cancel(handle.node, Why::Explicit, || drop(guard));
        outcome.map(drop)
    }
}
