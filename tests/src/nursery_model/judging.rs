//! The model of the nursery: turns, polls, and what becomes of an end.

use crate::nursery_model::nursery::{
    Answer, BODY, Beginning, Drain, End, Judging, Nursery, Stand, Why,
};
use crate::nursery_model::op::Rule;
use crate::nursery_model::turns::{Turns, Verdict, wrong};
use crate::script::Boom;
use umbel_core::Priority;

impl Nursery {
    // -------------------------------------------------------------- polls

    pub(super) fn begin_turn(&mut self, turns: &mut Turns, waker: usize) {
        turns.begin_turn(waker, |number| {
            let kid = &self.kids[number];
            // One whose place is not certain, and one of a priority that may be the first of its sort,
            // may come into the set during this turn, to be polled in the next.
            let late = kid.tentative || kid.priority != Priority::Normal;
            let sure = kid.begun.is_some() || !late || kid.was_placed && kid.after.is_empty();
            kid.stand == Stand::Placed && sure || kid.stand == Stand::AtWork
        });
        if self.cancelled.is_some() && self.drains.0.is_none() {
            self.drains.0 = Some(self.now);
        }
        turns.cause |= self.force_token;
        self.beginning = Beginning {
            cancelled: self.cancelled.is_some(),
            due: self.is_due(),
            forced: self.forced,
            must_hurry: self.must_hurry(),
            now: self.now,
            rest_ended: self.has_rest_ended(turns),
            given: self.given,
            force_token: self.force_token && !self.forced,
            must_force: self.forced
                || self
                    .grace
                    .zip(self.drains.1)
                    .is_some_and(|(grace, from)| self.now >= from + grace),
        };
        for kid in &mut self.kids {
            kid.was_placed = kid.stand == Stand::Placed;
            kid.seen = kid.was_placed && (kid.begun.is_some() || !kid.tentative);
        }
        self.begin_alone(turns);
    }

    pub(super) fn is_due(&self) -> bool {
        let over = self.deadline.is_some_and(|at| at <= self.now);
        self.timed && over && self.cleans.is_none()
    }

    pub(super) fn begin_poll(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        self.settle()?;
        if matches!(self.kids[number].stand, Stand::Deferred | Stand::AtWork) {
            return self.begin_cleanup(turns, number);
        }
        if self.kids[number].stand == Stand::InLine {
            self.overtake(turns, number);
        }
        self.check_alone(turns, number)?;
        if number != BODY {
            self.check_priority(turns, number)?;
        }
        turns.begin_poll(number)?;
        let kid = &self.kids[number];
        if kid.stand != Stand::Placed {
            return wrong(format!("{number} is polled, being {:?}", kid.stand));
        }
        if self.cancelled.is_some() && !kid.graceful && !kid.shielded {
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

    /// Of those that had been woken when the turn began, the higher come first.
    fn check_priority(&self, turns: &Turns, number: usize) -> Verdict {
        let mine = self.kids[number].priority;
        let higher = (1..self.kids.len()).find(|&other| {
            let kid = &self.kids[other];
            kid.begun.is_some() && kid.priority > mine && turns.is_owed(other)
        });
        match higher.filter(|_| self.kids[number].stand == Stand::Placed) {
            Some(other) => wrong(format!("{number} is polled before {other}")),
            None => Ok(()),
        }
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
        if kid.stand == Stand::AtWork {
            match result {
                Ok(_) => self.cleaned.done += 1,
                Err(error) => {
                    self.cleaned.failed += 1;
                    self.errors.push(error);
                }
            }
            return;
        }
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
        // Its output is for no policy a success.
        if kid.shielded && result.is_ok() {
            return;
        }
        let firm = self.kids[number].alone.firm;
        self.judging = Some(Judging {
            who: number,
            error: result.err(),
            answer: None,
            drained: self.cancelled.is_some() || firm,
            perhaps: self.may_be_ended_alone(number),
        });
    }

    /// A child's poll panics.
    pub(super) fn panicked(&mut self, turns: &mut Turns, number: usize) {
        turns.end_poll(number, true);
        let kid = &mut self.kids[number];
        kid.ended_in = turns.turn;
        if kid.stand == Stand::AtWork {
            self.cleaned.panicked += 1;
            return;
        }
        kid.end = Some(End::Panicked);
        let (graceful, named) = (kid.graceful, kid.named);
        if number == BODY {
            self.cut = true; // it has no value
        } else {
            self.counts.panicked += 1;
            if graceful {
                self.drained.push(Drain {
                    name: named.then_some(number),
                    forced: false,
                    unsure: false,
                });
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

    /// The future of a child that has ended has been dropped.
    pub(super) fn note_ended(&mut self, number: usize) {
        let firm = self.kids[number].alone.firm;
        let cancelled = self.cancelled.is_some() || self.kept.is_some() || firm;
        if let Some(judging) = self.judging.as_mut().filter(|it| it.who == number) {
            judging.drained = cancelled;
        }
    }

    /// Who awaits a child has been woken. If that has cancelled, the child has ended before it or not.
    pub(super) fn note_woken(&mut self, number: usize) {
        let cancelled = self.cancelled.is_some() || self.kept.is_some();
        let judging = self.judging.as_ref().filter(|it| it.who == number);
        self.vague |= cancelled && judging.is_some_and(|judging| !judging.drained);
    }

    // -------------------------------------------------------------- ends

    pub(super) fn is_asked(&self) -> bool {
        self.cancelled.is_none() && self.cleans.is_none()
    }

    /// What the policy says of the end at hand, if that is known.
    pub(super) fn answer(&self) -> Option<Answer> {
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

    /// By now the last end has been judged, and a panic has cancelled, unless it came after the end.
    pub(super) fn settle(&mut self) -> Verdict {
        if self.kept.is_some() && self.cancelled.is_none() && !self.over {
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

    pub(super) fn note_drained(&mut self, judging: &Judging) {
        let kid = &self.kids[judging.who];
        if (judging.drained || judging.perhaps) && kid.graceful {
            self.drained.push(Drain {
                name: kid.named.then_some(judging.who),
                forced: false,
                unsure: !judging.drained,
            });
        }
    }

    /// The nursery is about to be cancelled; whether it is the first time.
    pub(super) fn cancel(&mut self, turns: &mut Turns, why: Why) -> bool {
        turns.cause = true;
        let first = self.cancelled.is_none();
        if first {
            self.cancelled = Some(why);
            // One that could be cancelled alone waits for a token of its own.
            for (number, kid) in self.kids.iter().enumerate() {
                if kid.alone.own {
                    turns.may_wake(number);
                }
            }
            if turns.polling {
                self.drains.0 = Some(self.beginning.now);
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
        self.note_times(turns);
    }

    /// What the nursery's token says, and whether there is a report.
    pub(super) fn look(&mut self, turns: &mut Turns, real: Option<Why>, reported: bool) -> Verdict {
        self.look_at_token(turns, real)?;
        self.note_rest(turns);
        if reported && !self.over {
            self.settle()?;
            if !self.is_all_over(turns) || !turns.polling {
                return wrong("there is a report before the end");
            }
            self.over = true;
        }
        Ok(())
    }

    pub(super) fn look_at_token(&mut self, turns: &mut Turns, real: Option<Why>) -> Verdict {
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
}
