//! The model of the nursery: how children go, and what it comes to.

use crate::nursery_model::nursery::{
    BODY, Cleaned, Counts, End, Kid, Nursery, Outcome, Path, Stand, Until, Why,
};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};
use crate::script::Boom;
use umbel_core::{Drained, Report};

impl Nursery {
    pub(super) fn may_force(&self) -> bool {
        let grace = self.grace.zip(self.drains.0);
        self.forced
            || self.force_token
            || grace.is_some_and(|(grace, from)| self.now >= from + grace)
    }

    /// Whether `b` certainly came in after `a`.
    pub(super) fn is_younger(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.kids[a], &self.kids[b]);
        let same = a.path == b.path && a.path != Path::Unsure && b.given > a.given;
        match a.begun {
            Some(begun) => same || b.given > begun || b.stand == Stand::InLine,
            None => same,
        }
    }

    /// The children that a cut or a close would drop too, if they have not been.
    pub(super) fn left(&self, turns: &Turns) -> impl Iterator<Item = usize> {
        (1..self.kids.len()).filter(|&number| {
            matches!(self.kids[number].stand, Stand::InLine | Stand::Placed)
                && matches!(turns.children[number].life, Life::In | Life::Out)
        })
    }

    pub(super) fn check_lifo(&self, turns: &Turns, number: usize) -> Verdict {
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
        match self.kids[number].stand {
            Stand::Deferred | Stand::AtWork => return self.cleanup_dropped(turns, number, life),
            Stand::Late => return self.turned_away(turns, number, waits),
            _ => {}
        }
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
            None if !self.is_clean() => wrong("a cleanup has outlived the nursery"),
            None if !turns.is_dropped(BODY) => wrong("the body has outlived the nursery"),
            None => Ok(()),
        }
    }

    // -------------------------------------------------------------- the end

    pub(super) fn is_all_over(&self, turns: &Turns) -> bool {
        turns.is_dropped(BODY) && self.left(turns).next().is_none() && self.is_clean()
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
        if let (true, Some(number)) = (self.beginning.must_hurry, self.at_work) {
            return wrong(format!("the cleanup {number} lives past its time"));
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
                // Cleanups are not forgiven.
                rest = rest.split_off(rest.len() - self.cleaned.failed);
                match rest.is_empty() {
                    true => Ok(value),
                    false => Err(Ok(rest.remove(0))),
                }
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
            (None, None) => !self.timed || child.who().is_cleanup(),
            (notice, Some(drain)) => self.timed && notice.is_none_or(|notice| notice <= drain),
            _ => false,
        };
        if !report.drained.iter().all(timed) {
            return wrong(format!("times of {:?}", report.drained));
        }
        let cleanups = &report.cleanups;
        let cleaned = Cleaned {
            begun: cleanups.begun,
            done: cleanups.done,
            failed: cleanups.failed,
            panicked: cleanups.panicked,
            forced: cleanups.forced,
        };
        if cleaned != self.cleaned {
            return wrong(format!("{cleaned:?}, not {:?}", self.cleaned));
        }
        let name = |child: &Drained| child.name.as_ref().and_then(|name| name.parse().ok());
        let drained: Vec<_> = report
            .drained
            .iter()
            .map(|child| (name(child), child.forced))
            .collect();
        match drained == self.drained || self.unsure > 0 || self.vague {
            true => Ok(()),
            false => wrong(format!("{drained:?} were drained, not {:?}", self.drained)),
        }
    }

    // -------------------------------------------------------------- between turns

    pub(super) fn work_left(&self, turns: &Turns) -> Option<String> {
        if self.over {
            return None;
        }
        if let Some(ready) = turns.all_in().find(|&number| turns.is_ready(number)) {
            return Some(format!("{ready} is to be polled"));
        }
        if self.is_all_over(turns) {
            return Some("all have ended".into());
        }
        if let Some(work) = self.cleaning_left(turns) {
            return Some(work);
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
