//! What the interpreter keeps: the real things, each child with its number in the model; and the
//! comparison of the two.

use crate::nursery_model::fixed::Fixed;
use crate::nursery_model::foreign::Value;
use crate::nursery_model::nursery::Nursery;
use crate::nursery_model::op::{Fate, Kind as Subject, Op, Said, Setup, Spawning, What};
use crate::nursery_model::real::{Api, Lent, Looking, Real, Starting, Wait, counts, why};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};
use crate::script::Boom;
use std::mem::take;
use std::rc::Rc;
use std::task::Waker;
use umbel_core::{CancellationToken, Join, ManualClock, Started};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A poll of the whole.
    Turn,
    /// The whole is dropped, or the set cleared.
    Close,
    /// The wait for room of this child is polled or dropped.
    Wait(usize),
    Plain,
}

/// A call into the crate.
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// The first panic of the foreign code that it called.
    pub(super) panic: Option<Boom>,
    /// Panics of the outer task's waker, which may come out at once.
    pub(super) loose: Vec<Boom>,
}

impl Frame {
    pub(super) fn new(kind: Kind) -> Self {
        Frame {
            kind,
            panic: None,
            loose: Vec::new(),
        }
    }
}

/// Whom a waker wakes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// The outer task.
    Outer,
    /// Who awaits this child, or room for it.
    Awaits(usize),
    /// Who has asked for this snapshot.
    Looks(usize),
}

pub(super) enum Rules {
    Set,
    Nursery(Box<Nursery>),
    Fixed(Box<Fixed>),
}

/// What is known of a child.
pub(super) struct Work {
    /// The last one that it was shown.
    pub(super) waker: Option<Waker>,
    pub(super) fate: Fate,
    pub(super) spawning: Spawning,
}

pub(super) struct State {
    pub(super) turns: Turns,
    pub(super) rules: Rules,
    pub(super) works: Vec<Work>,
    /// Of all values: whether it was dropped.
    pub(super) values: Vec<bool>,
    /// Of all errors.
    pub(super) faults: Vec<bool>,
    /// Of all wakers: whom it wakes, and how many there are.
    pub(super) wakers: Vec<(Role, usize)>,
    /// What the script's policy is to say of the last end.
    pub(super) last_verdict: u8,

    pub(super) next_op: usize,
    pub(super) frames: Vec<Frame>,
    /// Those of the last frame.
    pub(super) loose: Vec<Boom>,
    pub(super) wrong: Option<String>,
    /// Which operations were done, and how deep inside of others.
    pub(super) trace: Vec<(usize, Op)>,
    booms: usize,

    pub(super) real: Option<Real>,
    /// It has been ready, or has panicked.
    pub(super) ended: bool,
    pub(super) api: Option<Rc<dyn Api>>,
    pub(super) joins: Vec<(usize, Join<Value>)>,
    pub(super) waits: Vec<Wait>,
    /// What is said about the next child.
    pub(super) said: Said,
    /// By which children are cancelled alone.
    pub(super) handles: Vec<(usize, CancellationToken)>,
    /// By which graceful children are told.
    pub(super) contexts: Vec<(usize, CancellationToken)>,
    /// Waits for children that are to say that they have started; whether one has panicked.
    pub(super) starts: Vec<(usize, Starting, bool)>,
    /// By which they say so.
    pub(super) started: Vec<(usize, Started<Value>)>,
    pub(super) looks: Vec<(usize, Looking)>,
    pub(super) has_comforts: bool,
    pub(super) timed: bool,
    /// A waker that is shown again.
    pub(super) kept: Option<(Waker, usize)>,
    pub(super) clock: ManualClock,
    pub(super) parent: CancellationToken,
    pub(super) force_on: CancellationToken,
    pub(super) has_parent: bool,
    pub(super) has_force_token: bool,
    /// Of a fixed nursery; freed last.
    pub(super) home: Option<Lent>,
}

impl State {
    pub(super) fn new(setup: &Setup) -> Self {
        let rules = match setup.kind {
            Subject::Nursery | Subject::LocalNursery => {
                Rules::Nursery(Box::new(Nursery::new(setup)))
            }
            Subject::FixedNursery => Rules::Fixed(Box::new(Fixed::new(super::real::SLOTS))),
            Subject::FutureSet | Subject::FixedSet | Subject::PassThrough => Rules::Set,
        };
        let mut turns = Turns::default();
        turns.pass_through = setup.kind == Subject::PassThrough;
        State {
            turns,
            rules,
            works: Vec::new(),
            values: Vec::new(),
            faults: Vec::new(),
            wakers: Vec::new(),
            last_verdict: 0,
            next_op: 0,
            frames: Vec::new(),
            loose: Vec::new(),
            wrong: None,
            trace: Vec::new(),
            booms: 0,
            real: None,
            ended: false,
            api: None,
            joins: Vec::new(),
            waits: Vec::new(),
            said: Said::default(),
            handles: Vec::new(),
            contexts: Vec::new(),
            starts: Vec::new(),
            started: Vec::new(),
            looks: Vec::new(),
            has_comforts: setup.has_comforts(),
            timed: setup.timed,
            kept: None,
            clock: ManualClock::new(),
            parent: CancellationToken::new(),
            force_on: CancellationToken::new(),
            has_parent: setup.parent,
            has_force_token: setup.force_on,
            home: None,
        }
    }

    pub(super) fn has_body(&self) -> bool {
        !matches!(self.rules, Rules::Set)
    }

    /// The first thing that is wrong is kept.
    pub(super) fn note(&mut self, verdict: Verdict) {
        if let Err(what) = verdict {
            self.wrong.get_or_insert(what);
        }
    }

    pub(super) fn new_boom(&mut self) -> Boom {
        self.booms += 1;
        Boom(self.booms)
    }

    pub(super) fn raise(&mut self, boom: Boom, outer: bool) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        frame.panic.get_or_insert(boom);
        let turn = frame.kind == Kind::Turn;
        if turn && outer {
            frame.loose.push(boom);
        }
        match &mut self.rules {
            Rules::Nursery(model) if turn => model.keep(boom),
            Rules::Fixed(model) if turn => model.panics(),
            _ => {}
        }
    }

    /// What can be seen at any time.
    pub(super) fn look(&mut self) {
        let (Rules::Nursery(model), Some(api)) = (&mut self.rules, &self.api) else {
            return;
        };
        let verdict = match api.token().reason().as_ref().map(why) {
            Some(None) => wrong("a reason that nobody gave"),
            None => model.look(&mut self.turns, None, api.has_report()),
            Some(real) => model.look(&mut self.turns, real, api.has_report()),
        };
        let owns = [&self.handles, &self.contexts];
        let told = owns.into_iter().flatten().try_for_each(|(number, token)| {
            match token.reason().as_ref().map(why) {
                Some(None) => wrong("a reason that nobody gave to a child"),
                None => model.token_says(*number, None),
                Some(real) => model.token_says(*number, real),
            }
        });
        self.note(verdict.and(told));
    }

    /// What can be seen when nothing goes on.
    pub(super) fn at_rest(&mut self) {
        let verdict = match (&self.rules, &self.api) {
            (Rules::Nursery(model), Some(api)) => {
                let stats = api.stats();
                let queued = model.check_queued(stats.queued);
                model.at_rest(&self.turns, counts(&stats)).and(queued)
            }
            (Rules::Fixed(model), _) => model.at_rest(&self.turns),
            _ => self.set_at_rest(),
        };
        self.note(verdict);
        self.note(self.outputs_at_rest());
    }

    /// An output is there exactly as long as there is somebody to take it.
    fn outputs_at_rest(&self) -> Verdict {
        // What an ended one has given was dropped at once.
        if self.ended && self.faults.contains(&false) {
            return wrong("an ended nursery keeps an error");
        }
        let Rules::Nursery(model) = &self.rules else {
            return Ok(());
        };
        for number in 1..self.works.len() {
            let Some(value) = model.value_of(number) else {
                continue;
            };
            let over = self.waits.iter().any(|it| it.number == number && it.over)
                || self
                    .starts
                    .iter()
                    .any(|(of, _, over)| *of == number && *over);
            if over {
                continue; // its join went with the panic, or not
            }
            let joined = self.joins.iter().any(|(join, _)| *join == number)
                || self.waits.iter().any(|wait| wait.number == number)
                || self.starts.iter().any(|(of, ..)| *of == number);
            if self.values[value] == joined {
                return wrong(format!("value {value} is dropped: {joined}"));
            }
        }
        Ok(())
    }

    pub(super) fn has(&self, what: What) -> bool {
        self.wrong.is_none()
            && match what {
                What::DropWait => !self.waits.is_empty(),
                What::DropJoin => !self.joins.is_empty(),
                What::DropStart => !self.starts.is_empty(),
                What::DropStarted => !self.started.is_empty(),
                What::DropLook => !self.looks.is_empty(),
                _ => self.real.is_some(),
            }
    }

    /// What is dropped last.
    pub(super) fn take_rest(&mut self) -> impl Sized + use<> {
        let wakers: Vec<_> = self
            .works
            .iter_mut()
            .map(|work| work.waker.take())
            .collect();
        let tokens = (take(&mut self.handles), take(&mut self.contexts));
        (wakers, self.kept.take(), tokens, self.api.take())
    }

    pub(super) fn all_is_dropped(&self) -> Verdict {
        let jobs = (0..self.works.len()).all(|number| self.turns.is_dropped(number));
        if !jobs || self.values.contains(&false) || self.faults.contains(&false) {
            return wrong("a child, a value or an error was leaked");
        }
        match self.wakers.iter().filter(|(_, count)| *count != 0).count() {
            0 => Ok(()),
            kept => wrong(format!("{kept} wakers were leaked")),
        }
    }

    // -------------------------------------------------------------- the set

    /// A child leaves when it has ended; all do when it is cleared or dropped.
    pub(super) fn drop_from_set(&mut self, number: usize, closing: bool) -> Verdict {
        let life = self.turns.children[number].life;
        self.turns.drop_child(number)?;
        match life == Life::In && !closing {
            true => wrong(format!("{number} is dropped for nothing")),
            false => Ok(()),
        }
    }

    /// After that.
    pub(super) fn set_cleared(&self) -> Verdict {
        match self.turns.all_in().next() {
            Some(left) => wrong(format!("{left} has outlived the set")),
            None => Ok(()),
        }
    }

    fn set_at_rest(&self) -> Verdict {
        // Who puts a child in, or takes a finished one out, is to poll.
        let ready = self
            .turns
            .all_in()
            .find(|&number| !self.turns.is_new(number) && self.turns.is_ready(number));
        let work = ready.filter(|_| !self.turns.pass_through);
        self.turns
            .at_rest(work.map(|number| format!("{number} is to be polled")))
    }
}
