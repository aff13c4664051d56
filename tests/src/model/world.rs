//! The interpreter: runs a script on the real tree and on the model, and compares them whenever
//! foreign code is called and after each operation.
//!
//! Foreign code takes its operations from the script that is running, so whatever the script can do is
//! done inside wakes, callbacks, clones and drops too. Each call into the tree is a [`Frame`]; foreign
//! code is called by the innermost one. The state is locked between calls into the tree only.
//!
//! Nothing here asserts by panicking, since the tree catches panics: the first thing that is wrong is
//! kept, and the rest of the script is not run.

use crate::model::foreign::Boom;
use crate::model::op::{Event, Mood, Op, What};
use crate::model::state::{Frame, State, take};
use crate::model::trees::Why;
use crate::script::text;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// How deep calls may be nested.
const DEEPEST: usize = 6;

/// A script that is running.
pub(super) struct World {
    script: Vec<Op>,
    state: Mutex<State>,
}

/// What an operation comes to: a panic, if the tree let one out.
pub(super) type Outcome = Result<(), Boom>;

// ------------------------------------------------------------------ what foreign code tells

impl World {
    pub(super) fn waker_cloned(&self, waker: usize) {
        self.state().wakers[waker].1 += 1;
    }

    pub(super) fn waker_dropped(&self, waker: usize) {
        self.state().wakers[waker].1 -= 1;
    }

    pub(super) fn woken(&self, waker: usize) {
        let state = &mut *self.state();
        let by = state.frames.last().and_then(|frame| frame.cascade.as_ref());
        let wait = state.wakers[waker].0;
        let verdict = state.forest.wake(wait, waker, by);
        state.note(verdict);
    }

    pub(super) fn called(&self, callback: usize) {
        let state = &mut *self.state();
        let frame = state.frames.last();
        let by = frame.and_then(|frame| frame.cascade.as_ref());
        let inline = frame.and_then(|frame| frame.registers) == Some(callback);
        let verdict = state.forest.call(callback, by, inline);
        state.note(verdict);
    }

    pub(super) fn closure_dropped(&self, callback: usize) {
        let mut state = self.state();
        let verdict = state.forest.closure_dropped(callback);
        state.note(verdict);
    }

    pub(super) fn error_dropped(&self, error: usize) {
        let mut state = self.state();
        state.errors[error] = true;
        if state.forest.trees.needs_error(error) {
            state.note(Err(format!("error {error} is dropped, but still a reason")));
        }
    }

    /// Foreign code that the tree calls: compares, does some operations, perhaps panics.
    pub(super) fn foreign(self: &Arc<Self>, event: Event, mood: Mood) {
        let depth = {
            let mut state = self.state();
            if state.quiet || state.wrong.is_some() {
                return;
            }
            let verdict = state.compare();
            state.note(verdict);
            state.frames.len()
        };
        let mut boom = None;
        if depth < DEEPEST {
            for _ in 0..mood.does(event) {
                let Some(op) = self.next_op() else { break };
                if let Err(panic) = self.step(op)
                    && mood.lets_panics_pass()
                {
                    boom = Some(panic);
                    break;
                }
            }
        }
        let mut state = self.state();
        if boom.is_none() && mood.panics(event) {
            boom = Some(state.new_boom());
        }
        let Some(boom) = boom else { return };
        let Some(frame) = state.frames.last_mut() else {
            return;
        };
        // A destructor that panics while a panic unwinds ends the process. What a cascade calls may.
        if thread::panicking() && (event != Event::Call || frame.cascade.is_none()) {
            return;
        }
        frame.panic.get_or_insert(boom);
        drop(state);
        // Not `panic!`: no hook runs, nothing is printed.
        resume_unwind(Box::new(boom));
    }
}

// ------------------------------------------------------------------ running

impl World {
    /// Runs a script to its end, then drops all.
    pub(super) fn run(script: &[Op]) {
        let world = Arc::new(World {
            script: script.to_vec(),
            state: Mutex::default(),
        });
        while let Some(op) = world.next_op() {
            // What comes out has been compared; nobody is left to panic to.
            let _ = world.step(op);
        }
        world.drop_all();
        if let Some(wrong) = world.wrong() {
            // What is left may be broken: it is not dropped.
            std::mem::forget(world);
            panic!("{wrong}");
        }
        assert_eq!(Arc::strong_count(&world), 1, "foreign code was leaked");
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .try_lock()
            .expect("the state is not locked while the tree is called")
    }

    fn next_op(&self) -> Option<Op> {
        let mut state = self.state();
        let op = self.script.get(state.next_op).copied();
        state.next_op += 1;
        op.filter(|_| state.wrong.is_none())
    }

    /// What is wrong, with the operations that led there.
    fn wrong(&self) -> Option<String> {
        let state = self.state();
        let mut wrong = state.wrong.clone()?;
        for (depth, op) in &state.trace {
            let Op {
                what,
                at,
                with,
                mood,
            } = op;
            let indent = depth * 4;
            let _ = write!(wrong, "\n{:indent$}{what:?} {at} {with} {mood:?}", "");
        }
        Some(wrong)
    }

    /// One call into the tree. An error is the panic that came out.
    pub(super) fn call<R>(&self, frame: Frame, f: impl FnOnce() -> R) -> Result<R, Boom> {
        self.state().frames.push(frame);
        // Then what panics inside gives way to the panic that unwinds already.
        let unwinding = thread::panicking();
        let result = catch_unwind(AssertUnwindSafe(f));
        let mut state = self.state();
        let first = state.frames.pop().and_then(|frame| frame.panic);
        let first = first.filter(|_| !unwinding);
        let out = result.map_err(|payload| match payload.downcast::<Boom>() {
            Ok(boom) => Ok(*boom),
            Err(other) => Err(text(&*other)),
        });
        match out {
            Ok(value) => {
                if let Some(boom) = first {
                    state.note(Err(format!("{boom:?} was swallowed")));
                }
                Ok(value)
            }
            Err(Ok(boom)) => {
                if first != Some(boom) {
                    let wrong = format!("{boom:?} comes out, the first was {first:?}");
                    state.note(Err(wrong));
                }
                Err(boom)
            }
            Err(Err(text)) => {
                state.note(Err(format!("the tree panics: {text}")));
                Err(Boom(0))
            }
        }
    }

    /// One operation of the script.
    fn step(self: &Arc<Self>, op: Op) -> Outcome {
        let depth = {
            let mut state = self.state();
            let depth = state.frames.len();
            state.trace.push((depth, op));
            depth
        };
        let outcome = self.act(op);
        let mut state = self.state();
        if state.wrong.is_none() {
            let verdict = state.compare();
            state.note(verdict);
            if depth == 0 {
                let verdict = state.compare_all(op.at);
                state.note(verdict);
            }
        }
        outcome
    }

    fn act(self: &Arc<Self>, op: Op) -> Outcome {
        let Op { at, with, .. } = op;
        match op.what {
            What::Root => self.root(op),
            What::Child => self.child(at, u64::MAX),
            What::ChildWithDeadline => self.child(at, with.into()),
            What::AnyOf => self.any_of(op),
            What::Clone => self.clone_token(at),
            What::DropToken => {
                let handle = take(&mut self.state().tokens, at);
                handle.map_or(Ok(()), |handle| self.release(handle))
            }
            What::Cancel => self.with_token(at, |world, handle| {
                world
                    .cancel(handle.node, Why::Explicit, || handle.token.cancel())
                    .map(drop)
            }),
            What::CancelWith => self.with_token(at, |world, handle| world.cancel_with(handle, op)),
            What::CancelChildren => {
                self.with_token(at, |world, handle| world.cancel_children(handle, op))
            }
            What::CheckAt => self.with_token(at, |world, handle| world.check_at(handle, with)),
            What::Wait => self.with_token(at, |world, handle| world.wait(handle, op)),
            What::Run => self.with_token(at, |world, handle| world.run_until(handle, op)),
            What::Poll => {
                let waiter = take(&mut self.state().waiters, at);
                waiter.map_or(Ok(()), |waiter| self.poll(waiter, op))
            }
            What::DropWait => {
                let waiter = take(&mut self.state().waiters, at);
                waiter.map_or(Ok(()), |waiter| self.drop_waiter(waiter))
            }
            What::OnCancel => self.with_token(at, |world, handle| world.on_cancel(handle, op)),
            What::Unregister | What::Forget | What::DropRegistration => {
                let held = take(&mut self.state().registrations, at);
                held.map_or(Ok(()), |held| self.end_registration(held, op.what))
            }
            What::Flag => self.with_token(at, |world, handle| world.flag(handle)),
            What::DropFlag => {
                let held = take(&mut self.state().flags, at);
                held.map_or(Ok(()), |(held, _)| {
                    self.close(held.node, || drop(held.real))
                })
            }
            What::Guard => self.with_token(at, |world, handle| world.guard(handle)),
            What::DropGuard => {
                let held = take(&mut self.state().guards, at);
                held.map_or(Ok(()), |held| self.drop_guard(held, with))
            }
            What::Disarm => {
                let held = take(&mut self.state().guards, at);
                held.map_or(Ok(()), |held| self.disarm(held))
            }
            What::GuardRef => self.with_token(at, |world, handle| world.guard_ref(handle, with)),
            What::Churn => self.with_token(at, |world, handle| world.churn(&handle.token, with)),
        }
    }

    /// Drops all that is left, in an order that the script's length chooses.
    fn drop_all(self: &Arc<Self>) {
        let drops = [
            What::DropToken,
            What::DropWait,
            What::DropRegistration,
            What::DropFlag,
            What::DropGuard,
        ];
        let length = self.script.len();
        for i in 0..drops.len() {
            let what = drops[(i + length) % drops.len()];
            loop {
                let state = self.state();
                let left = match what {
                    What::DropToken => state.tokens.len(),
                    What::DropWait => state.waiters.len(),
                    What::DropRegistration => state.registrations.len(),
                    What::DropFlag => state.flags.len(),
                    _ => state.guards.len(),
                };
                if left == 0 || state.wrong.is_some() {
                    break;
                }
                drop(state);
                let mut op = Op::from_bytes([0, length as u8, 0, 0]);
                op.what = what;
                let _ = self.step(op);
            }
        }
        let mut state = self.state();
        if state.wrong.is_none() {
            let kept = state.wakers.iter().filter(|(_, count)| *count != 0).count();
            if kept != 0 {
                state.note(Err(format!("{kept} wakers were leaked")));
            }
            if state.errors.contains(&false) {
                state.note(Err("a reason was leaked".into()));
            }
        }
    }
}
