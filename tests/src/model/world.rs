//! The interpreter: runs a script on the real tree and on the model, and compares them whenever
//! foreign code is called and after each operation.
//!
//! Foreign code takes its operations from the script that is running, so whatever the script can do is
//! done inside wakes, callbacks, clones and drops too. Each call into the tree is a [`Frame`]; foreign
//! code is called by the innermost one. The state is locked between calls into the tree only.
//!
//! Nothing here asserts by panicking, since the tree catches panics: the first thing that is wrong is
//! kept, and the rest of the script is not run.

use crate::counting::live_bytes;
use crate::model::foreign::{Boom, Capture, Done, Work, reason, waker, why};
use crate::model::forest::{Cascade, Forest, Polled, Verdict, Why};
use crate::model::op::{Event, Mood, Op, What};
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;
use umbel_core::{CancellationToken, DropGuard, Flag, Instant, Reason, Registration};

/// The most of each kind at once: enough to cross the ends of the first segments.
const MOST: usize = 80;
/// From here on, a number of a token means a cancelled one too.
const ANY_TOKEN: u8 = 0xd0;
/// How many rounds of churn: enough to fill a first segment.
const CHURN: usize = 40;
/// How deep calls may be nested.
const DEEPEST: usize = 6;

/// A call into the tree.
#[derive(Default)]
struct Frame {
    /// It cancels, and is the first.
    cascade: Option<Cascade>,
    /// It registers this callback, whose token is cancelled.
    registers: Option<usize>,
    /// The first panic of the foreign code that it called.
    panic: Option<Boom>,
}

struct Handle {
    token: CancellationToken,
    node: usize,
}

/// What is polled.
struct Waiter {
    node: usize,
    /// Its number in the model.
    wait: usize,
    polling: Polling,
    /// A waker that is shown again.
    kept: Option<(Waker, usize)>,
    /// The future that is run until cancelled.
    work: Option<Arc<Done>>,
    begun: bool,
    /// It must not be polled any more.
    finished: bool,
}

struct Held<T> {
    real: T,
    node: usize,
    /// A callback's number.
    callback: usize,
}

#[derive(Default)]
struct State {
    forest: Forest,
    next_op: usize,
    frames: Vec<Frame>,
    wrong: Option<String>,
    /// Which operations were done, and how deep inside of others.
    trace: Vec<(usize, Op)>,
    panics: usize,
    /// The interpreter itself clones or drops a waker.
    quiet: bool,

    tokens: Vec<Arc<Handle>>,
    waiters: Vec<Waiter>,
    registrations: Vec<Held<Registration>>,
    flags: Vec<(Held<Flag>, bool)>,
    guards: Vec<Held<DropGuard>>,
    /// Of every waker: its wait, and how many there are.
    wakers: Vec<(usize, usize)>,
    /// Of every error: whether it was dropped.
    errors: Vec<bool>,
}

/// A script that is running.
pub(super) struct World {
    script: Vec<Op>,
    state: Mutex<State>,
}

/// What an operation comes to: a panic, if the tree let one out.
type Outcome = Result<(), Boom>;

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
        if state.forest.needs_error(error) {
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

// ------------------------------------------------------------------ the state

impl State {
    fn note(&mut self, verdict: Verdict) {
        if let Err(wrong) = verdict {
            self.wrong.get_or_insert(wrong);
        }
    }

    fn new_boom(&mut self) -> Boom {
        self.panics += 1;
        Boom(self.panics)
    }

    fn token(&self, at: u8) -> Option<Arc<Handle>> {
        let live = |handle: &&Arc<Handle>| !self.forest.is_cancelled(handle.node);
        let pick = |handles: Vec<_>| Some(Arc::clone(handles[index(at, handles.len())?]));
        if at < ANY_TOKEN {
            pick(self.tokens.iter().filter(live).collect())
        } else {
            pick(self.tokens.iter().collect())
        }
    }

    /// What holds at every moment: what can be seen of the tokens is what the model says.
    fn compare(&self) -> Verdict {
        for (i, handle) in self.tokens.iter().enumerate() {
            let Handle { token, node } = &**handle;
            let expected = self.forest.why(*node);
            let reason = token.reason();
            let seen = reason.as_ref().map(why);
            if seen != expected.map(Some) || token.is_cancelled() != expected.is_some() {
                return Err(format!(
                    "token {i}: is_cancelled {}, reason {seen:?}, expected {expected:?}",
                    token.is_cancelled()
                ));
            }
            let deadline = token.deadline().map_or(u64::MAX, Instant::as_nanos);
            if deadline != self.forest.deadline(*node)
                || token.can_be_cancelled() == self.forest.is_never(*node)
                || token.check().err().map(|c| c.into_reason()) != reason
            {
                return Err(format!(
                    "token {i}: deadline {deadline}, or never, or check"
                ));
            }
        }
        for (flag, born_set) in &self.flags {
            let may = self.forest.is_cancelled(flag.node);
            let must = *born_set || self.forest.is_settled(flag.node);
            let set = flag.real.is_set();
            if set && !may || !set && must {
                return Err(format!("a flag: set {set}, may be {may}, must be {must}"));
            }
        }
        Ok(())
    }

    /// What holds when no call is running.
    fn compare_all(&mut self, at: u8) -> Verdict {
        self.forest.settle()?;
        if let Some(one) = self.token(at) {
            for other in &self.tokens {
                if (one.token == other.token) != (one.node == other.node) {
                    return Err("equality".into());
                }
            }
        }
        let mut held: Vec<Vec<(usize, usize)>> = Vec::new();
        for (waker, (wait, count)) in self.wakers.iter().enumerate() {
            held.resize_with(held.len().max(wait + 1), Vec::new);
            held[*wait].push((waker, *count));
        }
        for waiter in &self.waiters {
            if let (Some((_, kept)), Some(held)) = (&waiter.kept, held.get_mut(waiter.wait)) {
                held.iter_mut()
                    .filter(|(waker, _)| waker == kept)
                    .for_each(|(_, count)| *count -= 1);
            }
        }
        for (wait, held) in held.into_iter().enumerate() {
            self.forest.may_hold(wait, held.into_iter())?;
        }
        Ok(())
    }
}

fn index(at: u8, len: usize) -> Option<usize> {
    usize::from(at).checked_rem(len)
}

fn take<T>(from: &mut Vec<T>, at: u8) -> Option<T> {
    Some(from.swap_remove(index(at, from.len())?))
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

    fn state(&self) -> MutexGuard<'_, State> {
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
    fn call<R>(&self, frame: Frame, f: impl FnOnce() -> R) -> Result<R, Boom> {
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
            What::Guard => self.with_token(at, |world, handle| {
                let mut state = world.state();
                if state.guards.len() < MOST {
                    state.forest.open_handle(handle.node);
                    state.guards.push(Held {
                        real: handle.token.clone().drop_guard(),
                        node: handle.node,
                        callback: 0,
                    });
                }
                Ok(())
            }),
            What::DropGuard => {
                let held = take(&mut self.state().guards, at);
                held.map_or(Ok(()), |held| self.drop_guard(held, with))
            }
            What::Disarm => {
                let held = take(&mut self.state().guards, at);
                held.map_or(Ok(()), |held| {
                    let token = held.real.disarm();
                    self.state().tokens.push(Arc::new(Handle {
                        token,
                        node: held.node,
                    }));
                    Ok(())
                })
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

/// What a panic that is not ours says.
fn text(payload: &dyn std::any::Any) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "something".to_owned()
    }
}

// ------------------------------------------------------------------ operations on tokens

impl World {
    fn with_token(
        self: &Arc<Self>,
        at: u8,
        f: impl FnOnce(&Arc<Self>, &Handle) -> Outcome,
    ) -> Outcome {
        let handle = self.state().token(at);
        let Some(handle) = handle else {
            return self.root(Op::from_bytes([0; 4]));
        };
        let outcome = f(self, &handle);
        // Whoever else had it may have given it up meanwhile.
        outcome.and(self.release(handle))
    }

    /// Gives up a share of a handle, and the handle if it was the last.
    fn release(&self, handle: Arc<Handle>) -> Outcome {
        match Arc::into_inner(handle) {
            Some(Handle { token, node }) => self.close(node, || drop(token)),
            None => Ok(()),
        }
    }

    /// A call that gives up a handle of `node`.
    fn close(&self, node: usize, f: impl FnOnce()) -> Outcome {
        self.state().forest.closing_handle(node);
        let outcome = self.call(Frame::default(), f);
        self.state().forest.closed_handle(node);
        outcome
    }

    fn root(self: &Arc<Self>, op: Op) -> Outcome {
        if self.state().tokens.len() >= MOST {
            return Ok(());
        }
        let (token, node) = match op.with % 8 {
            6 => {
                let node = self.state().forest.root(None, true);
                (CancellationToken::never(), node)
            }
            7 => {
                let (reason, why) = self.reason(op);
                let node = self.state().forest.root(Some(why), false);
                (CancellationToken::pre_cancelled(reason), node)
            }
            _ => {
                let node = self.state().forest.root(None, false);
                (CancellationToken::new(), node)
            }
        };
        self.state().tokens.push(Arc::new(Handle { token, node }));
        Ok(())
    }

    fn child(self: &Arc<Self>, at: u8, deadline: u64) -> Outcome {
        self.with_token(at, |world, handle| {
            if world.state().tokens.len() >= MOST {
                return Ok(());
            }
            let node = world.state().forest.child(handle.node, deadline);
            // What a slot kept of an earlier child may be dropped here.
            let made = world.call(Frame::default(), || match deadline {
                u64::MAX => handle.token.child_token(),
                at => handle.token.child_with_deadline(Instant::from_nanos(at)),
            });
            match made {
                Ok(token) => world.state().tokens.push(Arc::new(Handle { token, node })),
                Err(boom) => {
                    let mut state = world.state();
                    state.forest.closing_handle(node);
                    state.forest.closed_handle(node);
                    return Err(boom);
                }
            }
            Ok(())
        })
    }

    fn clone_token(self: &Arc<Self>, at: u8) -> Outcome {
        self.with_token(at, |world, handle| {
            let mut state = world.state();
            if state.tokens.len() < MOST {
                state.forest.open_handle(handle.node);
                state.tokens.push(Arc::new(Handle {
                    token: handle.token.clone(),
                    node: handle.node,
                }));
            }
            Ok(())
        })
    }

    /// A call that cancels `node`; returns what it returns and whether it was the first.
    fn cancel<R>(&self, node: usize, why: Why, f: impl FnOnce() -> R) -> Result<(R, bool), Boom> {
        let cascade = self.state().forest.cancel(node, why);
        let first = cascade.is_some();
        self.call_cascade(cascade, f).map(|result| (result, first))
    }

    fn call_cascade<R>(&self, cascade: Option<Cascade>, f: impl FnOnce() -> R) -> Result<R, Boom> {
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

    fn cancel_children(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let (reason, why) = self.reason(op);
        let cascade = self.state().forest.cancel_children(handle.node, why);
        self.call_cascade(cascade, || handle.token.cancel_children(reason))
    }

    fn reason(self: &Arc<Self>, op: Op) -> (Reason, Why) {
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

    fn cancel_with(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let (reason, why) = self.reason(op);
        let (won, first) = self.cancel(handle.node, why, || handle.token.cancel_with(reason))?;
        if won != first {
            let wrong = format!("cancel_with returns {won}");
            self.state().note(Err(wrong));
        }
        Ok(())
    }

    fn check_at(&self, handle: &Handle, now: u8) -> Outcome {
        let Handle { token, node } = handle;
        let due = self.state().forest.is_due(*node, now.into());
        let now = Instant::from_nanos(now.into());
        let cancelled = if due {
            let check = || token.check_at(now).is_err();
            self.cancel(*node, Why::Deadline, check)?.0
        } else {
            self.call(Frame::default(), || token.check_at(now).is_err())?
        };
        let mut state = self.state();
        if cancelled != state.forest.is_cancelled(*node) {
            state.note(Err(format!("check_at: cancelled {cancelled}")));
        }
        Ok(())
    }

    fn drop_guard(self: &Arc<Self>, held: Held<DropGuard>, with: u8) -> Outcome {
        let Held { real, node, .. } = held;
        if with.is_multiple_of(4) {
            return self.panic_past(real, node);
        }
        self.state().forest.closing_handle(node);
        let outcome = self.cancel(node, Why::Explicit, || drop(real));
        self.state().forest.closed_handle(node);
        outcome.map(drop)
    }

    /// The guard is dropped by a panic.
    fn panic_past(self: &Arc<Self>, guard: DropGuard, node: usize) -> Outcome {
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
    fn churn(&self, token: &CancellationToken, with: u8) -> Outcome {
        let noop = &mut Context::from_waker(Waker::noop());
        let mut round = || match with % 5 {
            0 => drop(token.child_token()),
            1 => _ = pin!(token.cancelled()).poll(noop),
            2 => _ = pin!(token.child_token().cancelled_owned()).poll(noop),
            3 => drop(token.on_cancel(|| ())),
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

    fn guard_ref(&self, handle: &Handle, with: u8) -> Outcome {
        let guard = handle.token.drop_guard_ref();
        if with.is_multiple_of(2) {
            let _: &CancellationToken = guard.disarm();
            return Ok(());
        }
        let outcome = self.cancel(handle.node, Why::Explicit, || drop(guard));
        outcome.map(drop)
    }
}

// ------------------------------------------------------------------ operations on waits

type Polling = Box<dyn FnMut(&mut Context<'_>) -> Poll<Polled> + Send>;

/// What a future inside another one came to, or the panic that its poll ended in.
type Said = Arc<Mutex<Option<thread::Result<Poll<Polled>>>>>;

/// Polls `future` for ever and says what comes of it.
///
/// So a future that borrows its token lies in a table, together with the token: in an `async` block
/// that has both. The block must not see a panic, since it would drop both.
async fn say<F: Future>(future: F, polled: fn(F::Output) -> Polled, said: Said) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        *said.lock().expect("not held during a panic") = Some(poll.map(|poll| poll.map(polled)));
        Poll::Pending
    })
    .await
}

/// Polls what [`say`]s.
fn hear(mut block: Pin<Box<dyn Future<Output = ()> + Send>>, said: Said) -> Polling {
    Box::new(move |cx| {
        let _: Poll<()> = block.as_mut().poll(cx);
        let said = said.lock().expect("not held during a panic").take();
        match said.expect("it says something at every poll") {
            Ok(poll) => poll,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Polls a future that owns its token.
fn owned<F>(future: F, polled: fn(F::Output) -> Polled) -> Polling
where
    F: Future + Send + 'static,
{
    let mut future = Box::pin(future);
    Box::new(move |cx| future.as_mut().poll(cx).map(polled))
}

impl World {
    /// A new waker of `wait`.
    fn waker(self: &Arc<Self>, wait: usize, mood: Mood) -> (Waker, usize) {
        let id = {
            let mut state = self.state();
            state.wakers.push((wait, 1));
            state.wakers.len() - 1
        };
        (waker(self, id, mood), id)
    }

    /// The script's own drop of a waker.
    fn drop_waker(&self, waker: Option<(Waker, usize)>) {
        self.state().quiet = true;
        drop(waker);
        self.state().quiet = false;
    }

    fn wait(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        self.add_waiter(handle, op, None, |token| {
            let polled = |()| Polled::Cancelled;
            if op.with.is_multiple_of(2) {
                return owned(token.cancelled_owned(), polled);
            }
            let said = Said::default();
            let told = Arc::clone(&said);
            let block = async move { say(token.cancelled(), polled, told).await };
            hear(Box::pin(block), said)
        })
    }

    fn run_until(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let done = Arc::new(Done::default());
        let work = Work {
            world: Arc::clone(self),
            mood: op.mood,
            pending: op.with >> 4,
            done: Arc::clone(&done),
        };
        self.add_waiter(handle, op, Some(done), |token| {
            let polled = |output: Option<()>| output.map_or(Polled::Cancelled, |()| Polled::Over);
            if op.with.is_multiple_of(2) {
                return owned(token.run_until_cancelled_owned(work), polled);
            }
            let said = Said::default();
            let told = Arc::clone(&said);
            let block = async move { say(token.run_until_cancelled(work), polled, told).await };
            hear(Box::pin(block), said)
        })
    }

    /// Makes a waiter and mostly polls it at once.
    fn add_waiter(
        self: &Arc<Self>,
        handle: &Handle,
        op: Op,
        work: Option<Arc<Done>>,
        polling: impl FnOnce(CancellationToken) -> Polling,
    ) -> Outcome {
        let node = handle.node;
        let wait = {
            let mut state = self.state();
            state.forest.open_handle(node);
            state.forest.wait(node)
        };
        let waiter = Waiter {
            node,
            wait,
            polling: polling(handle.token.clone()),
            kept: None,
            work,
            begun: false,
            finished: false,
        };
        if self.state().waiters.len() >= MOST {
            self.drop_waiter(waiter)
        } else if op.with >= 0xc0 {
            self.state().waiters.push(waiter);
            Ok(())
        } else {
            let with = op.with >> 1;
            self.poll(waiter, Op { with, ..op })
        }
    }

    fn poll(self: &Arc<Self>, mut waiter: Waiter, op: Op) -> Outcome {
        if waiter.finished {
            self.state().waiters.push(waiter);
            return Ok(());
        }
        // The waker shown before, or a new one to be shown again, or a new one that only the tree keeps.
        let (same, keep) = (op.with % 4 == 0, op.with % 4 < 2);
        let kept = if keep { waiter.kept.take() } else { None };
        let shown = match kept {
            Some(kept) if same => kept,
            other => {
                self.drop_waker(other);
                self.waker(waiter.wait, op.mood)
            }
        };
        let cancelled = {
            let mut state = self.state();
            state.forest.begin_poll(waiter.wait, shown.1);
            state.forest.is_cancelled(waiter.node)
        };
        let count = |work: &Option<Arc<Done>>| {
            let load = |done: &Arc<Done>| (done.polls.load(SeqCst), done.ends.load(SeqCst));
            work.as_ref().map(load).unwrap_or_default()
        };
        let before = count(&waiter.work);
        let result = self.call(Frame::default(), || {
            (waiter.polling)(&mut Context::from_waker(&shown.0))
        });
        let after = count(&waiter.work);
        let polled = match result {
            Ok(Poll::Pending) => Polled::Pending,
            Ok(Poll::Ready(polled)) => polled,
            Err(_) => Polled::Panicked,
        };
        let mut state = self.state();
        let verdict = state.forest.end_poll(waiter.wait, shown.1, polled);
        state.note(verdict);
        if waiter.work.is_some() {
            // The ties: at the first poll the token comes first, later the future does.
            let (polls, ends) = (after.0 - before.0, after.1 - before.1);
            let never_begins = cancelled && !waiter.begun;
            let right = match polled {
                _ if never_begins => polls == 0 && polled == Polled::Cancelled,
                Polled::Over => polls == 1 && ends == 1,
                Polled::Panicked => polls == 1,
                Polled::Pending | Polled::Cancelled => polls == 1 && ends == 0,
            };
            if !right {
                state.note(Err(format!("{polls} polls, {ends} ends, {polled:?}")));
            }
            waiter.finished = polled != Polled::Pending;
        }
        waiter.begun = true;
        drop(state);
        if keep {
            waiter.kept = Some(shown);
        } else {
            self.drop_waker(Some(shown));
        }
        self.state().waiters.push(waiter);
        result.map(drop)
    }

    fn drop_waiter(&self, mut waiter: Waiter) -> Outcome {
        self.drop_waker(waiter.kept.take());
        if waiter.work.is_none() {
            self.state().forest.drop_wait(waiter.wait);
            return self.close(waiter.node, || drop(waiter.polling));
        }
        // What is run until cancelled is dropped before its wait, and may cancel meanwhile.
        self.state().forest.dropping_wait(waiter.wait);
        let outcome = self.close(waiter.node, || drop(waiter.polling));
        self.state().forest.drop_wait(waiter.wait);
        outcome
    }
}

// ------------------------------------------------------------------ operations on callbacks

impl World {
    fn on_cancel(self: &Arc<Self>, handle: &Handle, op: Op) -> Outcome {
        let Handle { token, node } = handle;
        let (callback, cancelled) = {
            let mut state = self.state();
            if state.registrations.len() >= MOST {
                return Ok(());
            }
            let callback = state.forest.callback(*node);
            (callback, state.forest.is_cancelled(*node))
        };
        let capture = Capture {
            world: Arc::clone(self),
            callback,
            mood: op.mood,
        };
        let frame = Frame {
            registers: cancelled.then_some(callback),
            ..Frame::default()
        };
        let registration = self.call(frame, || token.on_cancel(move || capture.call()));
        let mut state = self.state();
        if cancelled != state.forest.was_called(callback) {
            state.note(Err("called by its registration, or not".into()));
        }
        let real = registration?;
        state.forest.open_handle(*node);
        state.registrations.push(Held {
            real,
            node: *node,
            callback,
        });
        Ok(())
    }

    fn end_registration(&self, held: Held<Registration>, how: What) -> Outcome {
        let Held {
            real,
            node,
            callback,
        } = held;
        if how == What::Forget {
            self.state().forest.forget(callback);
            return self.close(node, || real.forget());
        }
        let expected = self.state().forest.unregister(callback);
        if how == What::DropRegistration {
            return self.close(node, || drop(real));
        }
        let mut first = expected;
        let outcome = self.close(node, || first = real.unregister());
        if first != expected {
            let wrong = format!("unregister returns {first}");
            self.state().note(Err(wrong));
        }
        outcome
    }

    fn flag(&self, handle: &Handle) -> Outcome {
        let node = handle.node;
        if self.state().flags.len() < MOST {
            let real = self.call(Frame::default(), || handle.token.flag())?;
            let mut state = self.state();
            state.forest.open_handle(node);
            let born_set = state.forest.is_cancelled(node);
            let held = Held {
                real,
                node,
                callback: 0,
            };
            state.flags.push((held, born_set));
        }
        Ok(())
    }
}
