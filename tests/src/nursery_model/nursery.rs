//! The reference model of the nursery, plain, single-threaded and obviously right.
//!
//! It knows at every moment what **may** be done to the children, and at the end of each turn what
//! **must** have been done; in which order children are polled is the nursery's choice. What happens
//! between two calls of foreign code is seen at the next one:
//!
//! - A place is free as soon as its child is dropped, and goes to who waits longest. (The nursery hands
//!   it on somewhat later in the turn: until then a newcomer may be told that there is no room.)
//! - An end is judged by the policy before the next child is polled. That the token was cancelled for
//!   it is read off the token, which must have a reason for it.

use crate::nursery_model::op::{Rule, Setup};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};
use crate::script::Boom;
use std::collections::VecDeque;
use umbel_core::{Drained, Report};

/// Why a nursery was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Explicit,
    /// By its parent token.
    Parent,
    /// By the token that forces it.
    Force,
    Deadline,
    Failed,
    Succeeded,
    Dropped,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this value.
    Done(usize),
    Failed,
    Panicked,
    Cancelled(Why),
    Forced(Why),
    /// It was on its way when the nursery was forced: refused, or started and forced.
    CancelledOrForced(Why),
    Closed,
}

/// What a policy of the script's own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    CancelRest,
    Continue,
    Forgive,
    Panic,
}

impl Answer {
    pub(super) fn from_byte(byte: u8) -> Answer {
        [
            Answer::Continue,
            Answer::Forgive,
            Answer::CancelRest,
            Answer::Continue,
            Answer::Forgive,
            Answer::Continue,
            Answer::Forgive,
            Answer::Panic,
        ][usize::from(byte & 7)]
    }
}

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// With who spawns it: a wait that was not polled, or it was refused.
    Outside,
    /// It waits for room.
    InLine,
    Placed,
    Gone,
}

/// How it came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Direct,
    Line,
    /// One of the two.
    Unsure,
}

/// What somebody waits for who must be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// He need not be.
    Nothing,
    /// The child's start, or its end.
    Start,
    End,
}

#[derive(Debug)]
struct Kid {
    stand: Stand,
    path: Path,
    graceful: bool,
    named: bool,
    /// A moment.
    given: usize,
    begun: Option<usize>,
    /// It had its place when the turn began.
    seen: bool,
    /// It has certainly been started.
    admitted: bool,
    end: Option<End>,
    /// The turn in which it ended.
    ended_in: usize,
    /// The wakers of who awaits it of which one will be woken.
    waiting: Vec<usize>,
    /// When one must be.
    until: Until,
    /// It has had a place.
    placed: bool,
}

/// An end that has not been judged.
#[derive(Debug)]
struct Judging {
    who: usize,
    error: Option<usize>,
    /// The answer of the script's own policy.
    answer: Option<Answer>,
    /// The nursery was cancelled when it had ended.
    drained: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) started: usize,
    pub(super) done: usize,
    pub(super) failed: usize,
    pub(super) panicked: usize,
    pub(super) cancelled: usize,
    pub(super) forced: usize,
}

/// What a nursery comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The value; or the error, or why it was cancelled.
    pub(super) result: Result<usize, Result<usize, Why>>,
    pub(super) rest: Vec<usize>,
}

/// What was so when the turn began.
#[derive(Default)]
struct Beginning {
    cancelled: bool,
    due: bool,
    force_token: bool,
    must_force: bool,
}

pub(super) struct Nursery {
    rule: Rule,
    limit: Option<usize>,
    deadline: Option<u64>,
    grace: Option<u64>,
    timed: bool,

    kids: Vec<Kid>,
    line: VecDeque<usize>,
    free: usize,
    /// Of these, how many may not be given out before the turn is over.
    freed: usize,
    now: u64,
    moment: usize,

    cancelled: Option<Why>,
    forced: bool,
    force_token: bool,
    /// When the drain began: not before, not after.
    drains: (Option<u64>, Option<u64>),
    beginning: Beginning,
    /// It is being dropped.
    closing: bool,
    /// It takes no more children.
    over: bool,
    ends: usize,

    judging: Option<Judging>,
    cause: Option<usize>,
    errors: Vec<usize>,
    value: Option<usize>,
    enough: bool,
    cut: bool,
    kept: Option<Boom>,
    counts: Counts,
    /// How many of the cancelled may have been forced.
    unsure: usize,
    /// Who took the cancellation gracefully, by name, and whether it was forced.
    drained: Vec<(Option<usize>, bool)>,
}

/// The body's number.
pub(super) const BODY: usize = 0;

impl Nursery {
    pub(super) fn new(setup: &Setup) -> Self {
        let deadline = setup.deadline.into_iter().chain(setup.parents_deadline);
        Nursery {
            rule: setup.rule,
            limit: setup.limit,
            deadline: deadline.min(),
            grace: setup.grace,
            timed: setup.timed,
            kids: Vec::new(),
            line: VecDeque::new(),
            free: setup.limit.unwrap_or(0),
            freed: 0,
            now: 0,
            moment: 0,
            cancelled: None,
            forced: false,
            force_token: false,
            drains: (None, None),
            beginning: Beginning::default(),
            closing: false,
            over: false,
            ends: 0,
            judging: None,
            cause: None,
            errors: Vec::new(),
            value: None,
            enough: false,
            cut: false,
            kept: None,
            counts: Counts::default(),
            unsure: 0,
            drained: Vec::new(),
        }
    }

    fn tick(&mut self) -> usize {
        self.moment += 1;
        self.moment
    }

    /// A new child, or the body: outside. To be called for every number.
    pub(super) fn add(&mut self, graceful: bool, named: bool) {
        self.kids.push(Kid {
            stand: Stand::Outside,
            path: Path::Direct,
            graceful,
            named,
            given: 0,
            begun: None,
            seen: false,
            admitted: false,
            end: None,
            ended_in: 0,
            waiting: Vec::new(),
            until: Until::Nothing,
            placed: false,
        });
    }

    pub(super) fn put_body_in(&mut self, turns: &mut Turns) {
        self.kids[BODY].stand = Stand::Placed;
        turns.put_in(BODY);
    }

    // -------------------------------------------------------------- children in

    /// How it would refuse a child.
    fn refusal(&self) -> Option<End> {
        match self.cancelled {
            Some(why) => Some(End::Cancelled(why)),
            None if self.over => Some(End::Closed),
            None => None,
        }
    }

    /// `spawn`, before it is called.
    pub(super) fn spawn(&mut self, turns: &mut Turns, number: usize) {
        match self.refusal() {
            Some(end) => self.kids[number].end = Some(end),
            None => self.give(turns, number),
        }
    }

    fn has_room(&self) -> bool {
        self.limit.is_none() || self.free > 0
    }

    /// Its room may be a place that is not given out before the turn is over.
    fn is_room_sure(&self) -> bool {
        self.limit.is_none() || self.free > self.freed
    }

    fn give(&mut self, turns: &mut Turns, number: usize) {
        let (room, sure) = (self.has_room(), self.is_room_sure());
        let given = self.tick();
        turns.cause = true;
        let kid = &mut self.kids[number];
        kid.given = given;
        if room {
            kid.path = if sure { Path::Direct } else { Path::Unsure };
            kid.stand = Stand::Placed;
            kid.placed = true;
            if self.limit.is_some() {
                self.free -= 1;
                self.freed = self.freed.min(self.free);
            }
            turns.put_in(number);
        } else {
            kid.path = Path::Line;
            kid.stand = Stand::InLine;
            self.line.push_back(number);
        }
    }

    /// `try_spawn`, before it is called: whether it succeeds, if that is certain. It is to be
    /// [taken back](Self::take_back) if it does not.
    pub(super) fn try_spawn(&mut self, turns: &mut Turns, number: usize) -> Option<Tried> {
        if self.refusal().is_some() {
            return Some(Tried::Closed);
        }
        if !self.has_room() {
            return Some(Tried::Full);
        }
        let sure = self.is_room_sure();
        self.give(turns, number);
        sure.then_some(Tried::In)
    }

    /// It was not sure that there is room, and there is none.
    pub(super) fn take_back(&mut self, turns: &mut Turns, number: usize) {
        if self.kids[number].stand == Stand::Placed {
            self.kids[number].stand = Stand::Outside;
            turns.children[number].life = Life::Out;
            self.free_place(turns);
        }
    }

    fn free_place(&mut self, turns: &mut Turns) {
        if self.limit.is_none() {
            return;
        }
        match self.line.pop_front() {
            Some(next) => {
                self.kids[next].stand = Stand::Placed;
                self.kids[next].placed = true;
                turns.put_in(next);
            }
            None => {
                self.free += 1;
                self.freed += 1;
            }
        }
    }

    // -------------------------------------------------------------- waiting

    /// `spawn_wait`, before it is called.
    pub(super) fn wait_made(&mut self, number: usize) {
        if let Some(why) = self.cancelled {
            self.kids[number].end = Some(End::Cancelled(why));
        }
    }

    /// A wait that has not been polled is about to be.
    pub(super) fn wait_begins(&mut self, turns: &mut Turns, number: usize) {
        if self.kids[number].end.is_none() {
            self.spawn(turns, number);
        }
    }

    /// What polling a wait came to.
    pub(super) fn wait_polled(
        &self,
        turns: &Turns,
        number: usize,
        out: Option<Option<End>>,
    ) -> Verdict {
        let kid = &self.kids[number];
        let started = kid.begun.is_some();
        let right = match out {
            None => !started && !self.has_ended(turns, number),
            Some(None) => kid.placed,
            Some(Some(end)) => !started && is_like(kid.end, end),
        };
        match right {
            true => Ok(()),
            false => wrong(format!("a wait for room gives {out:?} for {kid:?}")),
        }
    }

    /// Whether a wait that is dropped takes its child along; `None`: that is not certain.
    pub(super) fn gives_up(&self, number: usize) -> Option<bool> {
        let kid = &self.kids[number];
        match kid.stand {
            Stand::Outside | Stand::InLine => Some(true),
            Stand::Gone => Some(false),
            Stand::Placed if kid.begun.is_some() || kid.admitted => Some(false),
            Stand::Placed => None,
        }
    }

    // -------------------------------------------------------------- joining

    /// Whether it has ended beyond doubt, so that a join must be ready.
    fn has_ended(&self, turns: &Turns, number: usize) -> bool {
        let kid = &self.kids[number];
        let now = self.closing || turns.polling && kid.ended_in == turns.turn;
        kid.end.is_some() && !now
    }

    pub(super) fn join_polled(&self, turns: &Turns, number: usize, out: Option<End>) -> Verdict {
        let end = self.kids[number].end;
        let right = match out {
            None => !self.has_ended(turns, number),
            Some(out) => is_like(end, out),
        };
        match right {
            true => Ok(()),
            false => wrong(format!("a join gives {out:?}, its child came to {end:?}")),
        }
    }

    /// Wakers of who awaits a child: which one may be woken, and whether one must be.
    pub(super) fn await_with(&mut self, number: usize, wakers: Vec<usize>, until: Until) {
        let kid = &mut self.kids[number];
        kid.waiting = wakers;
        kid.until = until;
    }

    pub(super) fn awaits(&self, number: usize) -> Vec<usize> {
        self.kids[number].waiting.clone()
    }

    pub(super) fn waiter_woken(&mut self, number: usize, waker: usize) -> Verdict {
        let kid = &mut self.kids[number];
        if !kid.waiting.contains(&waker) {
            return wrong(format!(
                "{waker}, who does not await {number}, is woken: {kid:?}"
            ));
        }
        if kid.end.is_none() && kid.stand != Stand::Placed {
            return wrong(format!("who awaits {number} is woken for nothing"));
        }
        kid.waiting.clear();
        Ok(())
    }

    // -------------------------------------------------------------- polls

    pub(super) fn begin_turn(&mut self, turns: &mut Turns, waker: usize) {
        turns.begin_turn(waker, |number| {
            let kid = &self.kids[number];
            kid.stand == Stand::Placed
        });
        self.ends = 0;
        if self.cancelled.is_some() && self.drains.0.is_none() {
            self.drains.0 = Some(self.now);
        }
        turns.cause |= self.force_token;
        self.beginning = Beginning {
            cancelled: self.cancelled.is_some(),
            due: self.is_due(),
            force_token: self.force_token && !self.forced,
            must_force: self.forced
                || self
                    .grace
                    .zip(self.drains.1)
                    .is_some_and(|(grace, from)| self.now >= from + grace),
        };
        for kid in &mut self.kids {
            kid.seen = kid.stand == Stand::Placed;
        }
    }

    fn is_due(&self) -> bool {
        self.timed && self.deadline.is_some_and(|at| at <= self.now)
    }

    pub(super) fn begin_poll(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        self.settle()?;
        turns.begin_poll(number)?;
        let kid = &self.kids[number];
        if kid.stand != Stand::Placed {
            return wrong(format!("{number} is polled, being {:?}", kid.stand));
        }
        if self.cancelled.is_some() && !kid.graceful {
            return wrong(format!("{number} is polled in a cancelled nursery"));
        }
        if self.cancelled.is_none() && (self.beginning.due || self.beginning.force_token) {
            return wrong(format!(
                "{number} is polled before the nursery is cancelled"
            ));
        }
        if self.cancelled.is_none() && number != BODY {
            for kid in &mut self.kids {
                kid.admitted |= kid.seen;
            }
        }
        if turns.children[number].polls == 1 {
            self.kids[number].begun = Some(self.tick());
            self.counts.started += usize::from(number != BODY);
        }
        Ok(())
    }

    /// A child's poll gives its output or its error.
    pub(super) fn returned(
        &mut self,
        turns: &mut Turns,
        number: usize,
        result: Result<usize, usize>,
    ) {
        turns.end_poll(number, true);
        let kid = &mut self.kids[number];
        kid.ended_in = turns.turn;
        kid.end = Some(match result {
            Ok(value) => End::Done(value),
            Err(_) => End::Failed,
        });
        if number != BODY {
            match result {
                Ok(_) => self.counts.done += 1,
                Err(_) => self.counts.failed += 1,
            }
        } else if let Ok(value) = result {
            self.value = Some(value);
        }
        self.judging = Some(Judging {
            who: number,
            error: result.err(),
            answer: None,
            drained: self.cancelled.is_some(),
        });
    }

    /// A child's poll panics.
    pub(super) fn panicked(&mut self, turns: &mut Turns, number: usize) {
        turns.end_poll(number, true);
        let kid = &mut self.kids[number];
        kid.ended_in = turns.turn;
        kid.end = Some(End::Panicked);
        let (graceful, named) = (kid.graceful, kid.named);
        if number == BODY {
            self.cut = true; // it has no value
        } else {
            self.counts.panicked += 1;
            if graceful {
                self.drained.push((named.then_some(number), false));
            }
        }
    }

    /// Foreign code that the nursery has called in a turn panics.
    pub(super) fn keep(&mut self, boom: Boom) {
        self.kept.get_or_insert(boom);
    }

    /// It takes no more children.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// It has come out, being the outer waker's own.
    pub(super) fn let_go(&mut self, boom: Boom) {
        if self.kept == Some(boom) {
            self.kept = None;
        }
    }

    /// What an ended child brings along has been called: its drop, or who awaits it.
    pub(super) fn note_ended(&mut self, number: usize) {
        let cancelled = self.cancelled.is_some() || self.kept.is_some();
        if let Some(judging) = &mut self.judging
            && judging.who == number
            && judging.answer.is_none()
        {
            judging.drained = cancelled;
        }
    }

    // -------------------------------------------------------------- ends

    fn is_asked(&self) -> bool {
        self.cancelled.is_none()
    }

    /// What the policy says of the end at hand, if that is known.
    fn answer(&self) -> Option<Answer> {
        let judging = self.judging.as_ref()?;
        let (body, failed) = (judging.who == BODY, judging.error.is_some());
        match self.rule {
            Rule::Custom => judging.answer,
            _ if !self.is_asked() => None,
            Rule::FailFast if failed => Some(Answer::CancelRest),
            Rule::FirstSuccess if failed == body => Some(Answer::CancelRest),
            _ => Some(Answer::Continue),
        }
    }

    /// The script's own policy is asked.
    pub(super) fn ask(
        &mut self,
        who: Option<usize>,
        body: bool,
        error: Option<usize>,
        answer: Answer,
    ) -> Verdict {
        let asked = self.is_asked();
        let Some(judging) = &mut self.judging else {
            return wrong("the policy is asked, and nobody has ended");
        };
        if judging.answer.is_some() || !asked {
            return wrong("the policy is asked again, or in a cancelled nursery");
        }
        let named = self.kids[judging.who].named && judging.who != BODY;
        let name = named.then_some(judging.who);
        if (name, judging.who == BODY, judging.error) != (who, body, error) {
            return wrong(format!("the policy is told {who:?} {body} {error:?}"));
        }
        judging.answer = Some(answer);
        Ok(())
    }

    /// By now the last end has been judged, and a panic has cancelled.
    pub(super) fn settle(&mut self) -> Verdict {
        if self.kept.is_some() && self.cancelled.is_none() {
            return wrong("a panic has not cancelled the nursery");
        }
        let answer = self.answer();
        let Some(judging) = self.judging.take() else {
            return Ok(());
        };
        self.note_drained(&judging);
        if answer.is_none() && self.is_asked() {
            return wrong("the policy is not asked");
        }
        if answer == Some(Answer::CancelRest) && self.cancelled.is_none() {
            return wrong("the policy's verdict has not cancelled the nursery");
        }
        match judging.error {
            Some(_) if answer == Some(Answer::Forgive) && judging.who != BODY => {}
            Some(error) => self.errors.push(error),
            None => {}
        }
        Ok(())
    }

    fn note_drained(&mut self, judging: &Judging) {
        let kid = &self.kids[judging.who];
        if judging.drained && kid.graceful {
            self.drained.push((kid.named.then_some(judging.who), false));
        }
    }

    /// The nursery is about to be cancelled; whether it is the first time.
    pub(super) fn cancel(&mut self, turns: &mut Turns, why: Why) -> bool {
        turns.cause = true;
        let first = self.cancelled.is_none();
        if first {
            self.cancelled = Some(why);
            if turns.polling {
                self.drains.0 = Some(self.now);
            }
        }
        first
    }

    pub(super) fn force(&mut self, turns: &mut Turns) {
        self.cancel(turns, Why::Explicit);
        self.forced = true;
    }

    pub(super) fn cancel_force_token(&mut self, turns: &mut Turns) {
        turns.cause = true;
        self.force_token = true;
    }

    pub(super) fn advance(&mut self, turns: &mut Turns, by: u64) {
        turns.cause = true;
        self.now += by;
    }

    /// What the nursery's token says, and whether there is a report.
    pub(super) fn look(&mut self, turns: &mut Turns, real: Option<Why>, reported: bool) -> Verdict {
        self.look_at_token(turns, real)?;
        if reported && !self.over {
            self.settle()?;
            if !self.is_all_over(turns) || !turns.polling {
                return wrong("there is a report before the end");
            }
            self.over = true;
        }
        Ok(())
    }

    fn look_at_token(&mut self, turns: &mut Turns, real: Option<Why>) -> Verdict {
        if real == self.cancelled {
            return Ok(());
        }
        let (Some(why), None) = (real, self.cancelled) else {
            return wrong(format!(
                "cancelled for {real:?}, not for {:?}",
                self.cancelled
            ));
        };
        let cancels = self.answer() == Some(Answer::CancelRest) && self.kept.is_none();
        let judging = self.judging.as_ref();
        let error = judging.and_then(|judging| judging.error);
        let justified = match why {
            Why::Failed => self.kept.is_some() || cancels && error.is_some(),
            Why::Succeeded => cancels && error.is_none(),
            Why::Deadline => turns.polling && self.is_due(),
            Why::Force => turns.polling && self.force_token,
            _ => false,
        };
        if !justified {
            return wrong(format!("cancelled for {why:?}, for no reason"));
        }
        if why == Why::Force {
            self.forced = true;
        } else if cancels
            && matches!(why, Why::Failed | Why::Succeeded)
            && let Some(judging) = self.judging.take()
        {
            self.note_drained(&judging);
            self.cause = error;
            self.enough = error.is_none();
        }
        self.cancel(turns, why);
        Ok(())
    }

    // -------------------------------------------------------------- children out

    fn may_force(&self) -> bool {
        let grace = self.grace.zip(self.drains.0);
        self.forced
            || self.force_token
            || grace.is_some_and(|(grace, from)| self.now >= from + grace)
    }

    /// Whether `b` certainly came in after `a`.
    fn is_younger(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.kids[a], &self.kids[b]);
        let same = a.path == b.path && a.path != Path::Unsure && b.given > a.given;
        match a.begun {
            Some(begun) => same || b.given > begun || b.stand == Stand::InLine,
            None => same,
        }
    }

    /// The children that a cut or a close would drop too, if they have not been.
    fn left(&self, turns: &Turns) -> impl Iterator<Item = usize> {
        (1..self.kids.len()).filter(|&number| {
            matches!(self.kids[number].stand, Stand::InLine | Stand::Placed)
                && matches!(turns.children[number].life, Life::In | Life::Out)
        })
    }

    fn check_lifo(&self, turns: &Turns, number: usize) -> Verdict {
        let closing = self.closing;
        let mut others = self.left(turns).filter(|&other| {
            other != number
                && (closing
                    || !self.kids[other].graceful
                    || self.kids[other].stand == Stand::InLine)
        });
        let older = match number {
            BODY => others.next(),
            _ => others.find(|&other| self.is_younger(number, other)),
        };
        match older {
            Some(other) => wrong(format!("{number} is dropped before {other}")),
            None => Ok(()),
        }
    }

    /// A child's future is dropped; `waits`: by what its own wait does.
    pub(super) fn dropped(&mut self, turns: &mut Turns, number: usize, waits: bool) -> Verdict {
        let life = turns.children[number].life;
        turns.drop_child(number)?;
        let Kid {
            stand,
            graceful,
            named,
            begun,
            admitted,
            ..
        } = self.kids[number];
        self.kids[number].stand = Stand::Gone;
        match stand {
            Stand::Gone => return wrong(format!("{number} is dropped twice")),
            Stand::Outside => return Ok(()),
            _ if life == Life::Over => {
                self.ends += 1;
                if number != BODY {
                    self.free_place(turns);
                }
                return Ok(());
            }
            Stand::InLine if waits => {
                self.line.retain(|&other| other != number);
                return Ok(());
            }
            Stand::Placed if waits && begun.is_none() && !admitted => {
                self.free_place(turns);
                return Ok(());
            }
            _ => {}
        }
        if number != BODY {
            self.kids[number].ended_in = turns.turn;
        }
        self.line.retain(|&other| other != number);
        if self.closing {
            self.kids[number].end = Some(End::Closed);
            return self.check_lifo(turns, number);
        }
        let (Some(why), true) = (self.cancelled, turns.polling) else {
            return wrong(format!("{number} is dropped for nothing"));
        };
        let new = begun.is_none() && !admitted;
        let end = if !graceful || stand == Stand::InLine {
            End::Cancelled(why)
        } else if self.may_force() {
            match new {
                true => End::CancelledOrForced(why),
                false => End::Forced(why),
            }
        } else if new {
            End::Cancelled(why)
        } else {
            return wrong(format!("{number}, graceful, is dropped within its grace"));
        };
        self.settle()?;
        self.cut = true;
        if number == BODY {
            return self.check_lifo(turns, number);
        }
        self.kids[number].end = Some(end);
        match end {
            End::Forced(_) => self.counts.forced += 1,
            _ => self.counts.cancelled += 1,
        }
        if matches!(end, End::CancelledOrForced(_)) {
            self.unsure += 1;
        }
        if matches!(end, End::Forced(_)) {
            self.drained.push((named.then_some(number), true));
        }
        if stand == Stand::Placed && self.limit.is_some() {
            self.free += 1; // nobody comes in any more
        }
        // Who was woken is cut when its turn to be polled comes.
        if !graceful && !turns.may_be_polled(number) && !turns.is_stale() {
            return self.check_lifo(turns, number);
        }
        Ok(())
    }

    /// The nursery's future is about to be dropped.
    pub(super) fn close(&mut self, turns: &mut Turns) {
        self.closing = true;
        if !self.over {
            self.kept = None;
            self.cancel(turns, Why::Dropped);
        }
        self.over = true;
    }

    pub(super) fn closed(&mut self, turns: &Turns) -> Verdict {
        self.closing = false;
        match self.left(turns).next() {
            Some(left) => wrong(format!("{left} has outlived the nursery")),
            None if !turns.is_dropped(BODY) => wrong("the body has outlived the nursery"),
            None => Ok(()),
        }
    }

    // -------------------------------------------------------------- the end

    fn is_all_over(&self, turns: &Turns) -> bool {
        turns.is_dropped(BODY) && self.left(turns).next().is_none()
    }

    /// A turn that is pending is over. Not `complete`: the outer task's own waker has panicked.
    pub(super) fn end_turn(&mut self, turns: &mut Turns, complete: bool) -> Verdict {
        self.settle()?;
        self.freed = 0;
        turns.end_turn(complete)?;
        if !complete {
            turns.broken = true;
            return Ok(());
        }
        if self.cancelled.is_some() && self.drains.1.is_none() {
            self.drains.1 = Some(self.now);
        }
        let began = &self.beginning;
        if began.cancelled || began.due || began.force_token {
            if self.cancelled.is_none() {
                return wrong("it should have been cancelled");
            }
            if !turns.is_dropped(BODY) {
                return wrong("the body lives in a cancelled nursery");
            }
            let forced = began.must_force || began.force_token;
            if let Some(kid) = self
                .left(turns)
                .find(|&kid| forced || !self.kids[kid].graceful)
            {
                return wrong(format!(
                    "{kid} lives in a nursery that is cancelled: {forced}"
                ));
            }
        }
        Ok(())
    }

    /// The turn is over, and has an outcome.
    pub(super) fn finish(&mut self, turns: &mut Turns, outcome: &Outcome) -> Verdict {
        self.end_turn(turns, true)?;
        self.over = true;
        if !self.is_all_over(turns) {
            return wrong("it is ready before all have ended");
        }
        if self.kept.is_some() {
            return wrong("a panic was swallowed");
        }
        let mut rest = std::mem::take(&mut self.errors);
        let result = match (self.cause, self.value, self.cancelled) {
            (Some(error), _, _) => Err(Ok(error)),
            (None, Some(value), _) if self.enough => {
                rest.clear();
                Ok(value)
            }
            (None, _, Some(why)) if self.cut => Err(Err(why)),
            (None, _, _) if !rest.is_empty() => Err(Ok(rest.remove(0))),
            (None, Some(value), _) => Ok(value),
            (None, None, _) => return wrong("there is neither value nor error"),
        };
        let expected = Outcome { result, rest };
        match *outcome == expected {
            true => Ok(()),
            false => wrong(format!("the outcome is {outcome:?}, not {expected:?}")),
        }
    }

    /// The turn ends with a panic.
    pub(super) fn finish_with(&mut self, turns: &mut Turns, boom: Boom) -> Verdict {
        self.end_turn(turns, true)?;
        self.over = true;
        if !self.is_all_over(turns) {
            return wrong("it panics before all have ended");
        }
        if Some(boom) != self.kept {
            return wrong(format!("{boom:?} comes out, the first was {:?}", self.kept));
        }
        Ok(())
    }

    /// After the end: what the report says.
    pub(super) fn reported(&self, report: Option<&Report>) -> Verdict {
        let Some(report) = report else {
            return wrong("there is no report");
        };
        let timed = |child: &Drained| match (child.notice, child.drain) {
            (None, None) => !self.timed,
            (notice, Some(drain)) => self.timed && notice.is_none_or(|notice| notice <= drain),
            _ => false,
        };
        if !report.drained.iter().all(timed) {
            return wrong(format!("times of {:?}", report.drained));
        }
        let name = |child: &Drained| child.name.as_ref().and_then(|name| name.parse().ok());
        let drained: Vec<_> = report
            .drained
            .iter()
            .map(|child| (name(child), child.forced))
            .collect();
        match drained == self.drained || self.unsure > 0 {
            true => Ok(()),
            false => wrong(format!("{drained:?} were drained, not {:?}", self.drained)),
        }
    }

    // -------------------------------------------------------------- between turns

    fn work_left(&self, turns: &Turns) -> Option<String> {
        if self.over {
            return None;
        }
        if let Some(ready) = turns.all_in().find(|&number| turns.is_ready(number)) {
            return Some(format!("{ready} is to be polled"));
        }
        if self.is_all_over(turns) {
            return Some("all have ended".into());
        }
        if self.force_token && !self.forced {
            return Some("it is to be forced".into());
        }
        if self.cancelled.is_none() {
            return self.is_due().then(|| "it is due".into());
        }
        let plain = |number: &usize| !self.kids[*number].graceful;
        let over = self.forced
            || self
                .grace
                .zip(self.drains.1)
                .is_some_and(|(grace, from)| self.now >= from + grace);
        if !turns.is_dropped(BODY) || self.left(turns).any(|number| over || plain(&number)) {
            return Some("it is cancelled".into());
        }
        None
    }

    /// Compared when nothing goes on.
    pub(super) fn at_rest(&self, turns: &Turns, real: Counts) -> Verdict {
        turns.at_rest(self.work_left(turns))?;
        for (number, kid) in self.kids.iter().enumerate() {
            let due = match kid.until {
                Until::Nothing => false,
                Until::Start => kid.end.is_some() || kid.begun.is_some(),
                Until::End => kid.end.is_some(),
            };
            if due && !kid.waiting.is_empty() {
                return wrong(format!("nobody was woken who awaits {number}"));
            }
        }
        let mut counts = self.counts;
        let more = real.forced.saturating_sub(counts.forced).min(self.unsure);
        counts.forced += more;
        counts.cancelled -= more;
        match counts == real {
            true => Ok(()),
            false => wrong(format!("{real:?}, not {counts:?}")),
        }
    }

    /// It has ended, or is about to.
    pub(super) fn is_ended(&self, number: usize) -> bool {
        self.kids[number].end.is_some()
    }

    /// The value with which a child has ended.
    pub(super) fn value_of(&self, number: usize) -> Option<usize> {
        match self.kids[number].end {
            Some(End::Done(value)) => Some(value),
            _ => None,
        }
    }
}

/// What `try_spawn` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    In,
    Full,
    Closed,
}

fn is_like(expected: Option<End>, real: End) -> bool {
    match (expected, real) {
        (Some(End::CancelledOrForced(why)), real) => {
            real == End::Cancelled(why) || real == End::Forced(why)
        }
        (expected, real) => expected == Some(real),
    }
}
