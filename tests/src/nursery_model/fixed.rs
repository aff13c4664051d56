//! The reference model of the fixed nursery.
//!
//! Its turn breaks off at the first error, panic, or sight of its cancelled signal: children are dropped
//! youngest first, then the body. Children come in while it is polled, and it is not breaking off.

use crate::nursery_model::nursery::{BODY, Tried};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};
use std::collections::VecDeque;

#[derive(Debug, Default)]
struct Kid {
    given: usize,
    /// The wakers of its wait of which one may be woken, until that is.
    waiting: Vec<usize>,
    /// What the poll of its wait gives; `None`: it waits.
    expected: &'static [Option<Tried>],
    /// It was cut, or ended the turn.
    breaks: bool,
}

/// What a fixed nursery comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FixedOutcome {
    Value(usize),
    Error(usize),
    Cancelled,
}

pub(super) struct Fixed {
    slots: usize,
    taken: usize,
    kids: Vec<Kid>,
    /// Who waits for room.
    line: VecDeque<usize>,
    given: usize,
    pub(super) cancelled: bool,
    was_cancelled: bool,
    error: Option<usize>,
    value: Option<usize>,
    polls: usize,
    /// Something of it panics.
    panics: bool,
    /// Its children are being dropped.
    breaking: bool,
    closing: bool,
    pub(super) over: bool,
}

impl Fixed {
    pub(super) fn new(slots: usize) -> Self {
        Fixed {
            slots,
            taken: 0,
            kids: Vec::new(),
            line: VecDeque::new(),
            given: 0,
            cancelled: false,
            was_cancelled: false,
            error: None,
            value: None,
            polls: 0,
            panics: false,
            breaking: false,
            closing: false,
            over: false,
        }
    }

    pub(super) fn add(&mut self) {
        self.kids.push(Kid::default());
    }

    fn is_open(&self, turns: &Turns) -> bool {
        turns.polling && turns.busy && !self.breaking && !self.over
    }

    fn put_in(&mut self, turns: &mut Turns, number: usize) {
        self.given += 1;
        self.taken += 1;
        self.kids[number].given = self.given;
        turns.put_in(number);
    }

    /// `try_spawn`, and what it may give.
    pub(super) fn try_spawn(&mut self, turns: &mut Turns, number: usize) -> &'static [Tried] {
        if !self.is_open(turns) {
            return &[Tried::Closed];
        }
        if !self.line.is_empty() {
            // Those in line are also told at the end.
            return if self.may_be_over(turns) {
                &[Tried::Full, Tried::Closed]
            } else {
                &[Tried::Full]
            };
        }
        if self.taken == self.slots {
            return &[Tried::Full];
        }
        self.put_in(turns, number);
        &[Tried::In]
    }

    /// A wait is about to be polled with this waker.
    pub(super) fn wait(&mut self, turns: &mut Turns, number: usize, waker: usize) {
        self.kids[number].waiting.push(waker);
        self.kids[number].expected = self.look_for_room(turns, number);
    }

    /// Its waker has been cloned, which may have done anything: it looks again.
    pub(super) fn wait_cloned(&mut self, turns: &mut Turns, number: usize) {
        if self.kids[number].expected.contains(&None) {
            self.kids[number].expected = self.look_for_room(turns, number);
        }
    }

    /// Whether a wait may have given this.
    pub(super) fn wait_gives(&self, number: usize, out: Option<Tried>) -> Verdict {
        let expected = self.kids[number].expected;
        match expected.contains(&out) {
            true => Ok(()),
            false => wrong(format!("a wait gives {out:?}, not {expected:?}")),
        }
    }

    fn look_for_room(&mut self, turns: &mut Turns, number: usize) -> &'static [Option<Tried>] {
        if !self.is_open(turns) {
            self.leave(turns, number);
            return &[Some(Tried::Closed)];
        }
        let first = self.line.front().is_none_or(|&first| first == number);
        if first && self.taken < self.slots {
            self.leave(turns, number);
            self.put_in(turns, number);
            return &[Some(Tried::In)];
        }
        match self.may_be_over(turns) {
            true => &[None, Some(Tried::Closed)],
            false => &[None],
        }
    }

    /// A wait is over, or dropped.
    pub(super) fn leave(&mut self, turns: &mut Turns, number: usize) {
        turns.cause = true;
        self.line.retain(|&other| other != number);
        self.kids[number].waiting.clear();
    }

    /// A wait was polled: it is in line, with this waker.
    pub(super) fn waits(&mut self, number: usize, waker: usize) {
        if !self.line.contains(&number) {
            self.line.push_back(number);
        }
        self.kids[number].waiting.retain(|&other| other == waker);
    }

    /// The poll of a wait panicked before it could take this waker: it is where it was.
    pub(super) fn waits_as_before(&mut self, number: usize, waker: usize) {
        self.kids[number].waiting.retain(|&other| other != waker);
    }

    pub(super) fn waiter_woken(&mut self, turns: &Turns, number: usize, waker: usize) -> Verdict {
        let ending = self.closing
            || turns.polling && (self.breaking || self.is_breaking() || self.may_be_over(turns));
        let waiting = &mut self.kids[number].waiting;
        let Some(at) = waiting.iter().position(|&other| other == waker) else {
            return wrong(format!("who does not wait to spawn {number} is woken"));
        };
        // One that it was shown since may still be.
        waiting.drain(..=at);
        if self.line.front() != Some(&number) && !ending {
            return wrong(format!("who waits to spawn {number} is woken out of turn"));
        }
        Ok(())
    }

    pub(super) fn begin_turn(&mut self, turns: &mut Turns, waker: usize) {
        turns.begin_turn(waker, |_| true);
        self.was_cancelled = self.cancelled;
        self.polls = 0;
    }

    pub(super) fn begin_poll(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        turns.begin_poll(number)?;
        self.polls += usize::from(number != BODY);
        if self.cancelled || self.is_breaking() || self.over {
            return wrong(format!("{number} is polled when it should be dropped"));
        }
        if self.polls > self.slots {
            return wrong("more polls in a turn than there are slots");
        }
        Ok(())
    }

    pub(super) fn returned(
        &mut self,
        turns: &mut Turns,
        number: usize,
        result: Result<usize, usize>,
    ) {
        turns.end_poll(number, true);
        match result {
            Ok(value) if number == BODY => self.value = Some(value),
            Ok(_) => {}
            Err(error) => {
                self.error.get_or_insert(error);
                self.kids[number].breaks = true;
            }
        }
    }

    pub(super) fn panicked(&mut self, turns: &mut Turns, number: usize) {
        turns.end_poll(number, true);
        self.panics = true;
        self.kids[number].breaks = true;
    }

    /// Foreign code of its turn panics.
    pub(super) fn panics(&mut self) {
        self.panics = true;
    }

    fn is_breaking(&self) -> bool {
        self.error.is_some() || self.panics
    }

    fn may_be_over(&self, turns: &Turns) -> bool {
        turns.is_dropped(BODY) && turns.all_in().next().is_none()
    }

    /// Before what its drop does.
    pub(super) fn dropped(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        let life = turns.children[number].life;
        turns.drop_child(number)?;
        let by_itself = life == Life::Over && !(number == BODY && self.kids[number].breaks);
        if life == Life::Out || by_itself {
            return Ok(());
        }
        let ends = turns.polling && (self.cancelled || self.is_breaking());
        if !ends && !self.closing {
            return wrong(format!("{number} is dropped for nothing"));
        }
        self.breaking = true;
        let given = self.kids[number].given;
        let older = turns
            .all_in()
            .find(|&other| other != BODY && (number == BODY || self.kids[other].given > given));
        match older {
            Some(other) => wrong(format!("{number} is dropped before {other}")),
            None => Ok(()),
        }
    }

    /// The body's value goes in a turn that breaks off, after all children.
    pub(super) fn value_dropped(&mut self, turns: &Turns, value: usize) -> Verdict {
        if self.value != Some(value) || !turns.polling {
            return Ok(());
        }
        self.breaking = true;
        match self.cancelled || self.is_breaking() {
            true => self.all_gone(turns),
            false => wrong("the body's value is dropped for nothing"),
        }
    }

    /// After it: its slot is free, if it had one.
    pub(super) fn slot_freed(&mut self, number: usize) {
        if number != BODY && self.kids[number].given != 0 {
            self.taken -= 1;
        }
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
        self.over = true;
    }

    pub(super) fn closed(&mut self, turns: &Turns) -> Verdict {
        self.closing = false;
        self.all_gone(turns)
    }

    fn all_gone(&self, turns: &Turns) -> Verdict {
        match turns.all_in().next() {
            Some(left) => wrong(format!("{left} has outlived the nursery")),
            None => Ok(()),
        }
    }

    /// `None`: it is pending.
    pub(super) fn end_turn(
        &mut self,
        turns: &mut Turns,
        outcome: Option<&FixedOutcome>,
    ) -> Verdict {
        let Some(outcome) = outcome else {
            turns.end_turn(true)?;
            if self.was_cancelled || self.is_breaking() {
                return wrong("it should have ended");
            }
            if self.value.is_some() && self.taken == 0 {
                return wrong("all have ended, and it is pending");
            }
            return Ok(());
        };
        turns.end_turn(false)?;
        self.over = true;
        self.all_gone(turns)?;
        let expected = match (self.error, self.cancelled, self.value) {
            (Some(error), _, _) => FixedOutcome::Error(error),
            (None, true, _) if self.breaking || self.value.is_none() => FixedOutcome::Cancelled,
            (None, _, Some(value)) => FixedOutcome::Value(value),
            _ => return wrong("it has nothing to be ready with"),
        };
        // Cancelled with all well ended, it may have seen either first.
        let either = self.cancelled && *outcome == FixedOutcome::Cancelled && self.error.is_none();
        match *outcome == expected || either {
            true => Ok(()),
            false => wrong(format!("the outcome is {outcome:?}, not {expected:?}")),
        }
    }

    /// The turn ends with a panic, which ends all.
    pub(super) fn end_with_panic(&mut self, turns: &mut Turns) -> Verdict {
        turns.end_turn(false)?;
        self.over = true;
        self.all_gone(turns)
    }

    pub(super) fn at_rest(&self, turns: &Turns) -> Verdict {
        if self.over {
            return match self.kids.iter().position(|kid| !kid.waiting.is_empty()) {
                Some(left) => wrong(format!("who waits to spawn {left} is not sent away")),
                None => Ok(()),
            };
        }
        let ready = turns.all_in().find(|&number| turns.is_ready(number));
        let work = match ready {
            Some(number) => Some(format!("{number} is to be polled")),
            None => self.cancelled.then(|| "it is cancelled".into()),
        };
        turns.at_rest(work)?;
        match self.line.front() {
            Some(&first) if self.taken < self.slots && !self.kids[first].waiting.is_empty() => {
                wrong(format!("there is room for {first}, and nobody was woken"))
            }
            _ => Ok(()),
        }
    }
}
