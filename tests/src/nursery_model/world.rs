//! The interpreter: runs a script on the real thing and on its model, and compares them whenever
//! foreign code is called and after each operation.
//!
//! Foreign code takes its operations from the script that is running, so whatever the script can do is
//! done inside polls, wakes, clones and drops too. Each call into the crate is a [`Frame`]; foreign code
//! is called by the innermost one. The state is borrowed between calls into the crate only.
//!
//! Nothing here asserts by panicking, since the crate catches panics: the first thing that is wrong is
//! kept, and the rest of the script is not run.

use crate::nursery_model::foreign::{Fault, Value, waker};
use crate::nursery_model::nursery::{Answer, BODY};
use crate::nursery_model::op::{Fate, Op, Said, Setup, Spawning, What};
use crate::nursery_model::state::{Frame, Kind, Role, Rules, State, Work};
use crate::nursery_model::turns::wrong;
use crate::script::{Boom, Event, Mood, text};
use std::cell::{RefCell, RefMut};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use umbel_core::{Ended, Verdict};

/// How deep calls may be nested.
const DEEPEST: usize = 6;

/// A script that is running.
pub(super) struct World {
    script: Vec<Op>,
    state: RefCell<State>,
}

thread_local! {
    static HERE: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// What an operation comes to: a panic, if the crate let one out.
pub(super) type Done = Result<(), Boom>;

// ------------------------------------------------------------------ what foreign code tells

impl World {
    /// That of this thread.
    pub(super) fn here() -> Option<Rc<World>> {
        HERE.with_borrow(Clone::clone)
    }

    pub(super) fn waker_cloned(&self, waker: usize) {
        let state = &mut *self.state();
        state.wakers[waker].1 += 1;
        if let Role::Awaits(number) = state.wakers[waker].0 {
            state.with_fixed(|model, turns| model.wait_cloned(turns, number));
        }
    }

    pub(super) fn waker_dropped(&self, waker: usize) {
        self.state().wakers[waker].1 -= 1;
    }

    pub(super) fn woken(&self, waker: usize) {
        let state = &mut *self.state();
        state.look();
        let verdict = match (state.wakers[waker].0, &mut state.rules) {
            (Role::Outer, _) => state.turns.outer_woken(waker),
            (Role::Awaits(number), Rules::Nursery(model)) => {
                model.waiter_woken(&mut state.turns, number, waker)
            }
            (Role::Awaits(number), Rules::Fixed(model)) => {
                model.waiter_woken(&state.turns, number, waker)
            }
            (Role::Looks(look), Rules::Nursery(model)) => model.look_woken(&state.turns, look),
            _ => wrong("nobody waits in there"),
        };
        state.note(verdict);
    }

    /// A waker has been called.
    pub(super) fn waker_acts(self: &Rc<Self>, waker: usize, event: Event, mood: Mood) {
        let role = self.state().wakers[waker].0;
        let outer = matches!(role, Role::Outer);
        let wakes = usize::from(outer && event == Event::Call);
        {
            let state = &mut *self.state();
            state.turns.waking += wakes;
            let turn = state
                .frames
                .last()
                .is_some_and(|frame| frame.kind == Kind::Turn);
            state.turns.busy |= wakes == 1 && turn;
        }
        let acts = catch_unwind(AssertUnwindSafe(|| self.foreign(event, mood, outer)));
        {
            let state = &mut *self.state();
            state.turns.waking -= wakes;
            if let (Role::Awaits(number), Rules::Nursery(model)) = (role, &mut state.rules) {
                model.note_woken(number);
            }
        }
        if let Err(panic) = acts {
            resume_unwind(panic);
        }
    }

    pub(super) fn value_dropped(self: &Rc<Self>, value: usize, mood: Mood) {
        {
            let state = &mut *self.state();
            state.look();
            if std::mem::replace(&mut state.values[value], true) {
                state.note(wrong(format!("value {value} is dropped twice")));
            }
            if let Rules::Fixed(model) = &mut state.rules {
                let verdict = model.value_dropped(&state.turns, value);
                state.note(verdict);
            }
        }
        self.foreign(Event::Drop, mood, false);
    }

    pub(super) fn fault_dropped(self: &Rc<Self>, fault: usize, mood: Mood) {
        {
            let state = &mut *self.state();
            state.look();
            if std::mem::replace(&mut state.faults[fault], true) {
                state.note(wrong(format!("error {fault} is dropped twice")));
            }
        }
        self.foreign(Event::Drop, mood, false);
    }

    pub(super) fn asked(
        self: &Rc<Self>,
        who: &Ended<'_>,
        error: Option<usize>,
        mood: Mood,
    ) -> Verdict {
        let answer = {
            let state = &mut *self.state();
            state.look();
            let name = who.name().and_then(|name| name.parse().ok());
            let answer = Answer::from_byte(state.last_verdict);
            if let Rules::Nursery(model) = &mut state.rules {
                let verdict = model.ask(name, who.is_body(), error, answer);
                state.note(verdict);
            }
            answer
        };
        self.foreign(Event::Call, mood, false);
        match answer {
            Answer::CancelRest => Verdict::CancelRest,
            Answer::Continue => Verdict::Continue,
            Answer::Forgive => Verdict::Forgive,
            Answer::Panic => {
                self.panic(false);
                Verdict::Continue
            }
        }
    }

    /// A child's poll, or the body's.
    pub(super) fn polled(
        self: &Rc<Self>,
        number: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Value, Fault>> {
        let spawning = {
            let state = &mut *self.state();
            state.look();
            let verdict = match &mut state.rules {
                Rules::Set => state.turns.begin_poll(number),
                Rules::Nursery(model) => model.begin_poll(&mut state.turns, number),
                Rules::Fixed(model) => model.begin_poll(&mut state.turns, number),
            };
            state.note(verdict);
            if state.wrong.is_some() {
                return Poll::Pending;
            }
            state.works[number].spawning
        };
        let acts = catch_unwind(AssertUnwindSafe(|| {
            let kept = cx.waker().clone();
            let old = self.state().works[number].waker.replace(kept);
            drop(old);
            self.foreign(Event::Call, spawning.mood, false);
            if self.state().works[number].fate == Fate::Panic {
                self.panic(false);
            }
        }));
        let state = &mut *self.state();
        if let Err(panic) = acts {
            match &mut state.rules {
                Rules::Set => state.turns.end_poll(number, true),
                Rules::Nursery(model) => model.panicked(&mut state.turns, number),
                Rules::Fixed(model) => model.panicked(&mut state.turns, number),
            }
            resume_unwind(panic);
        }
        state.last_verdict = spawning.verdict;
        let result = match state.works[number].fate {
            Fate::Wait | Fate::Panic => {
                state.turns.end_poll(number, false);
                return Poll::Pending;
            }
            Fate::Finish => {
                state.values.push(false);
                Ok(state.values.len() - 1)
            }
            Fate::Fail => {
                state.faults.push(false);
                Err(state.faults.len() - 1)
            }
        };
        match &mut state.rules {
            Rules::Set => state.turns.end_poll(number, true),
            Rules::Nursery(model) => model.returned(&mut state.turns, number, result),
            Rules::Fixed(model) => model.returned(&mut state.turns, number, result),
        }
        Poll::Ready(match result {
            Ok(value) => Ok(Value(value, spawning.mood)),
            Err(fault) => Err(Fault(fault, spawning.mood)),
        })
    }

    pub(super) fn job_dropped(self: &Rc<Self>, number: usize) {
        let mood = {
            let state = &mut *self.state();
            state.look();
            let frame = state.frames.last().map(|frame| frame.kind);
            let waits = frame == Some(Kind::Wait(number));
            let closing = state.frames.iter().any(|frame| frame.kind == Kind::Close);
            let verdict = match &mut state.rules {
                Rules::Set => state.drop_from_set(number, closing),
                Rules::Nursery(model) => model.dropped(&mut state.turns, number, waits),
                Rules::Fixed(model) => model.dropped(&mut state.turns, number),
            };
            state.note(verdict);
            state.works[number].spawning.mood
        };
        // Its slot is free when this is over, also by a panic.
        let acts = catch_unwind(AssertUnwindSafe(|| self.foreign(Event::Drop, mood, false)));
        match &mut self.state().rules {
            Rules::Set => {}
            Rules::Nursery(model) => model.note_ended(number),
            Rules::Fixed(model) => model.slot_freed(number),
        }
        if let Err(panic) = acts {
            resume_unwind(panic);
        }
    }

    /// Foreign code that the crate calls: compares, does some operations, perhaps panics. `outer`: it is
    /// the outer task's waker.
    pub(super) fn foreign(self: &Rc<Self>, event: Event, mood: Mood, outer: bool) {
        let depth = {
            let mut state = self.state();
            if state.wrong.is_some() {
                return;
            }
            state.look();
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
        match boom {
            Some(boom) => self.raise(boom, outer),
            None if mood.panics(event) => self.panic(outer),
            None => {}
        }
    }

    fn panic(&self, outer: bool) {
        let boom = self.state().new_boom();
        self.raise(boom, outer);
    }

    fn raise(&self, boom: Boom, outer: bool) {
        let mut state = self.state();
        // A destructor that panics while a panic unwinds ends the process.
        if thread::panicking() || state.frames.is_empty() {
            return;
        }
        state.raise(boom, outer);
        drop(state);
        // Not `panic!`: no hook runs, nothing is printed.
        resume_unwind(Box::new(boom));
    }
}

// ------------------------------------------------------------------ running

impl World {
    /// Runs a script to its end, then drops all.
    pub(super) fn run(setup: &Setup, script: &[Op]) {
        let world = Rc::new(World {
            script: script.to_vec(),
            state: RefCell::new(State::new(setup)),
        });
        /// A world that breaks off is not dropped: what is left of it may be broken.
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                std::mem::forget(HERE.take());
            }
        }
        HERE.set(Some(Rc::clone(&world)));
        let leave = Leave;
        world.begin(setup);
        while let Some(op) = world.next_op() {
            // What comes out has been compared; nobody is left to panic to.
            let _ = world.step(op);
        }
        world.drop_all();
        drop(HERE.take());
        drop(leave);
        if let Some(wrong) = world.wrong(setup) {
            // What is left may be broken: it is not dropped.
            std::mem::forget(world);
            panic!("{wrong}");
        }
        assert_eq!(Rc::strong_count(&world), 1, "foreign code was leaked");
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    fn next_op(&self) -> Option<Op> {
        let mut state = self.state();
        let op = self.script.get(state.next_op).copied();
        state.next_op += 1;
        op.filter(|_| state.wrong.is_none())
    }

    /// What is wrong, with the operations that led there.
    fn wrong(&self, setup: &Setup) -> Option<String> {
        let state = self.state();
        let mut wrong = state.wrong.clone()?;
        let _ = write!(wrong, "\n{setup:?}");
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

    /// One call into the crate. An error is the panic that came out.
    pub(super) fn call<R>(&self, kind: Kind, f: impl FnOnce() -> R) -> Result<R, Boom> {
        self.state().frames.push(Frame::new(kind));
        // Then what panics inside gives way to the panic that unwinds already.
        let unwinding = thread::panicking();
        let result = catch_unwind(AssertUnwindSafe(f));
        let state = &mut *self.state();
        let frame = state.frames.pop();
        let first = frame.map(|frame| {
            state.loose = frame.loose;
            frame.panic
        });
        let first = first.flatten().filter(|_| !unwinding);
        let out = result.map_err(|payload| match payload.downcast::<Boom>() {
            Ok(boom) => Ok(*boom),
            Err(other) => Err(text(&*other)),
        });
        // The model of the nursery knows which panic comes out of a turn.
        let keeps = kind == Kind::Turn && matches!(state.rules, Rules::Nursery(_));
        match out {
            Ok(value) => {
                if let Some(boom) = first.filter(|_| !keeps) {
                    state.note(wrong(format!("{boom:?} was swallowed")));
                }
                Ok(value)
            }
            Err(Ok(boom)) => {
                if first != Some(boom) && !keeps {
                    state.note(wrong(format!(
                        "{boom:?} comes out, the first was {first:?}"
                    )));
                }
                Err(boom)
            }
            Err(Err(text)) => {
                state.note(wrong(format!("the crate panics: {text}")));
                Err(Boom(0))
            }
        }
    }

    /// One operation of the script.
    fn step(self: &Rc<Self>, op: Op) -> Done {
        let depth = {
            let mut state = self.state();
            let depth = state.frames.len();
            state.trace.push((depth, op));
            depth
        };
        let outcome = self.act(op);
        let mut state = self.state();
        if state.wrong.is_none() {
            state.look();
            if depth == 0 {
                state.at_rest();
            }
        }
        outcome
    }

    fn act(self: &Rc<Self>, op: Op) -> Done {
        let what = match self.state().has_comforts {
            true => op.what,
            false => op.what.without_comforts(),
        };
        match what {
            What::Poll => self.poll(op),
            What::Say => {
                self.say(op);
                Ok(())
            }
            What::Spawn
            | What::TrySpawn
            | What::SpawnWait
            | What::Start
            | What::Shield
            | What::Defer
            | What::Release => self.spawn(op, what),
            What::SpawnMany => {
                let many = usize::from(op.with) % 48;
                let calm = Op {
                    mood: Mood(0),
                    with: op.with | 0x68,
                    ..op
                };
                (0..many).try_for_each(|_| self.spawn(calm, What::Spawn))
            }
            What::PollWait => self.poll_wait(op),
            What::DropWait => self.drop_wait(op.at),
            What::PollJoin => self.poll_join(op),
            What::DropJoin => self.drop_join(op.at),
            What::Started => self.say_started(op),
            What::DropStarted => self.drop_started(op.at),
            What::PollStart => self.poll_start(op),
            What::DropStart => self.drop_start(op.at),
            What::Wake => self.wake(op.at, op.with, None),
            What::WakeStale => self.wake_stale(op.at),
            What::Finish => self.wake(op.at, op.with, Some(Fate::Finish)),
            What::Fail => self.wake(op.at, op.with, Some(Fate::Fail)),
            What::Panic => self.wake(op.at, op.with, Some(Fate::Panic)),
            What::Cancel => self.cancel(),
            What::CancelParent => self.cancel_parent(),
            What::CancelForce => self.cancel_force_token(),
            What::CancelHandle => self.cancel_handle(op),
            What::CancelNamed => self.cancel_named(op.at),
            What::CancelKeyed => self.cancel_keyed(op.at),
            What::Force => self.force(),
            What::Advance => self.advance(op.with),
            What::Look => self.look_at_it(op),
            What::PollLook => self.poll_look(op),
            What::DropLook => self.drop_look(op.at),
            What::Clear => self.clear(),
            What::Drop => self.drop_subject(),
        }
    }

    // -------------------------------------------------------------- what all have in common

    /// A new child: its number.
    pub(super) fn new_job(&self, spawning: Spawning) -> usize {
        let state = &mut *self.state();
        let number = state.turns.add();
        match &mut state.rules {
            Rules::Set => {}
            Rules::Nursery(model) => model.add(&spawning),
            Rules::Fixed(model) => model.add(),
        }
        state.works.push(Work {
            waker: None,
            fate: spawning.fate,
            spawning,
        });
        number
    }

    /// A new waker.
    pub(super) fn new_waker(&self, role: Role, mood: Mood) -> (Waker, usize) {
        let number = {
            let mut state = self.state();
            state.wakers.push((role, 1));
            state.wakers.len() - 1
        };
        (waker(number, mood), number)
    }

    pub(super) fn drop_it<T>(&self, it: T) -> Done {
        self.call(Kind::Plain, || drop(it))
    }

    /// Drops all that is left, in an order that the script's length chooses.
    fn drop_all(self: &Rc<Self>) {
        let length = self.script.len();
        let drops = [
            What::DropWait,
            What::DropJoin,
            What::DropStart,
            What::Drop,
            What::DropStarted,
            What::DropLook,
        ];
        for i in 0..drops.len() {
            let what = drops[(i + length) % drops.len()];
            while self.state().has(what) {
                let op = Op {
                    what,
                    at: length as u8,
                    with: 0,
                    mood: Mood(0),
                };
                let _ = self.step(op);
            }
        }
        if self.state().wrong.is_some() {
            return;
        }
        let rest = self.state().take_rest();
        let _ = self.drop_it(rest);
        if let Some(home) = self.state().home.take() {
            home.free();
        }
        let mut state = self.state();
        if state.wrong.is_none() {
            let verdict = state.all_is_dropped();
            state.note(verdict);
        }
    }

    fn begin(self: &Rc<Self>, setup: &Setup) {
        let body = Spawning {
            graceful: false,
            named: false,
            fate: Fate::Wait,
            detached: true,
            verdict: 0,
            mood: setup.mood,
            said: Said::default(),
        };
        if self.state().has_body() {
            let number = self.new_job(body);
            debug_assert_eq!(number, BODY);
        }
        self.make(setup);
    }
}
