//! The model of the nursery: how children go, and what it comes to.

use crate::nursery_model::nursery::{
    BODY, Cleaned, Counts, Cut, Drain, End, Kid, Nursery, Outcome, Path, Stand, Start, Tally,
    Until, Why,
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
            Some(begun) => {
                let waits = matches!(b.stand, Stand::InLine | Stand::Waiting);
                same || b.given > begun || waits
            }
            None => same,
        }
    }

    /// The children that a cut or a close would drop too, if they have not been.
    pub(super) fn left(&self, turns: &Turns) -> impl Iterator<Item = usize> {
        (1..self.kids.len()).filter(|&number| {
            let stand = self.kids[number].stand;
            matches!(stand, Stand::Waiting | Stand::InLine | Stand::Placed)
                && matches!(turns.children[number].life, Life::In | Life::Out)
        })
    }

    pub(super) fn check_lifo(&self, turns: &Turns, number: usize) -> Verdict {
        let closing = self.closing;
        let goes = |kid: &Kid| {
            let waits = matches!(kid.stand, Stand::InLine | Stand::Waiting);
            closing || waits || !kid.graceful && !kid.shielded
        };
        let mut others = self
            .left(turns)
            .filter(|&other| other != number && goes(&self.kids[other]));
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
        if self.may_be_ended_alone(number) {
            // What is for it alone may have woken it since its last poll.
            turns.note_stale();
        }
        match self.kids[number].stand {
            Stand::Deferred | Stand::AtWork => return self.cleanup_dropped(turns, number, life),
            Stand::Late => return self.turned_away(turns, number, waits),
            _ => {}
        }
        let Kid {
            stand,
            begun,
            admitted,
            ..
        } = self.kids[number];
        self.kids[number].stand = Stand::Gone;
        match stand {
            Stand::Gone => return wrong(format!("{number} is dropped twice")),
            Stand::Outside => return Ok(()),
            _ if life == Life::Over => {
                if number != BODY {
                    self.free_place(turns, number);
                    self.call_who_waits(turns);
                }
                return Ok(());
            }
            Stand::InLine | Stand::Waiting if waits => {
                self.kids[number].gave_up = true;
                self.line.retain(|&other| other != number);
                return Ok(());
            }
            Stand::Placed if waits && begun.is_none() && !admitted => {
                self.kids[number].gave_up = true;
                self.free_place(turns, number);
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
        let cut = self.may_end(number, stand);
        if !turns.polling || cut.is_none() {
            let kid = &self.kids[number];
            return wrong(format!("{number} is dropped for nothing: {kid:?}"));
        }
        self.settle()?;
        if number == BODY {
            self.cut = true;
            return self.check_lifo(turns, number);
        }
        self.cut_down(turns, number, stand, cut)
    }

    /// A child has been dropped before its end.
    fn cut_down(&mut self, turns: &mut Turns, number: usize, stand: Stand, cut: Cut) -> Verdict {
        let kid = &mut self.kids[number];
        kid.end = Some(End::Cut(cut));
        let (service, shielded, graceful) = (kid.service, kid.shielded, kid.graceful);
        // One that comes in, and can be cancelled alone, is refused before those who come after it.
        let alone = cut.skipped || self.may_be_ended_alone(number) || self.kids[number].alone.own;
        if self.cancelled.is_some() && !service && self.cleans.is_none() {
            // A section may be one that was begun when the cleanups were about to be.
            let last = shielded && turns.is_dropped(BODY) && !self.deferred.is_empty();
            match cut.skipped || last {
                true => self.perhaps_cut |= cut.ways() > 1 || last,
                false => self.cut = true,
            }
        }
        match cut.ways() {
            1 if cut.skipped => self.counts.skipped += 1,
            1 if cut.forced.is_none() => self.counts.cancelled += 1,
            1 => self.counts.forced += 1,
            _ => self.unsure.push(cut),
        }
        if !cut.forced.is_none() {
            self.drained.push(Drain {
                name: self.kids[number].named.then_some(number),
                forced: true,
                unsure: cut.ways() > 1,
            });
        }
        if stand == Stand::Placed && self.limit.is_some() && !service && !shielded {
            if self.cancelled.is_some() {
                self.free += 1; // nobody comes in any more
                let kid = &self.kids[number];
                self.vacated |= kid.tentative && kid.begun.is_none();
            } else {
                // The nursery may give it out in its next turn only.
                let before = self.free;
                self.free_place(turns, number);
                self.freed_late += self.free - before;
            }
        }
        // Who was woken is cut when its turn to be polled comes.
        let at_once = !turns.may_be_polled(number) && !turns.is_stale();
        // Or had a place that another one was thought to have.
        let mut others = self.kids.iter();
        let placed = stand == Stand::InLine
            && others.any(|of| of.stand == Stand::Placed && of.begun.is_none() && of.tentative);
        if !graceful && !shielded && !alone && !placed && at_once {
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
        if complete {
            self.freed = std::mem::take(&mut self.freed_late);
        }
        self.end_alone(turns, complete)?;
        turns.end_turn(complete)?;
        if !complete {
            turns.broken = true;
            return Ok(());
        }
        let began = &self.beginning;
        // What cancels at the very end of a turn is seen in the next one.
        let seen = began.cancelled || began.due || began.force_token;
        if seen && self.cancelled.is_some() && self.drains.1.is_none() {
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
            let forced = began.forced || began.force_token;
            let lives = |&number: &usize| {
                let kid = &self.kids[number];
                match (kid.shielded, kid.graceful) {
                    (true, _) => forced && kid.alone.known,
                    (_, graceful) => !graceful || forced || began.must_force,
                }
            };
            if let Some(kid) = self.left(turns).find(lives) {
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
        let sure = self.expected(self.cut)?;
        let other = match self.perhaps_cut {
            true => Some(self.expected(true)?),
            false => None,
        };
        match *outcome == sure || Some(outcome) == other.as_ref() {
            true => Ok(()),
            false => wrong(format!("the outcome is {outcome:?}, not {sure:?}")),
        }
    }

    /// What it comes to, if something was cut short, or not.
    fn expected(&self, cut: bool) -> Result<Outcome, String> {
        let mut rest = self.errors.clone();
        let result = match (self.cause, self.value, self.cancelled) {
            (Some(error), _, _) => Err(Ok(error)),
            (None, Some(value), _) if self.enough => {
                // Cleanups, and what they begin, are not forgiven.
                rest = rest.split_off(self.errors_before.unwrap_or(rest.len()));
                match rest.is_empty() {
                    true => Ok(value),
                    false => Err(Ok(rest.remove(0))),
                }
            }
            (None, _, Some(why)) if cut => Err(Err(why)),
            (None, _, _) if !rest.is_empty() => Err(Ok(rest.remove(0))),
            (None, Some(value), _) => Ok(value),
            (None, None, _) => return Err("there is neither value nor error".into()),
        };
        Ok(Outcome { result, rest })
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
        let shields = self.kids.iter().any(|kid| kid.shielded);
        let timed = |child: &Drained| match (child.notice, child.drain) {
            (None, None) => !self.timed || child.who().is_cleanup() || child.forced && shields,
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
        match self.vague || fits(&drained, &self.drained) {
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
        if let Some(work) = self.alone_left(turns) {
            return Some(work);
        }
        if self.force_token && !self.forced {
            return Some("it is to be forced".into());
        }
        if self.cancelled.is_none() {
            return self.is_due().then(|| "it is due".into());
        }
        let over = self
            .grace
            .zip(self.drains.1)
            .is_some_and(|(grace, from)| self.now >= from + grace);
        let goes = |number: usize| {
            let kid = &self.kids[number];
            self.forced || !kid.shielded && (over || !kid.graceful)
        };
        if !turns.is_dropped(BODY) || self.left(turns).any(goes) {
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
                Until::Said => kid.end.is_some() || kid.start == Start::Said,
                Until::End => kid.end.is_some(),
            };
            if due && !kid.waiting.is_empty() {
                return wrong(format!("nobody was woken who awaits {number}"));
            }
        }
        self.tally(turns).check(real)
    }

    /// What it has counted.
    pub(super) fn tally(&self, turns: &Turns) -> Tally {
        let active = self.left(turns).filter(|&it| self.kids[it].begun.is_some());
        Tally {
            counts: Counts {
                active: if self.over { 0 } else { active.count() },
                ..self.counts
            },
            unsure: self.unsure.clone(),
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

impl Tally {
    pub(super) fn check(&self, real: Counts) -> Verdict {
        let mut counts = self.counts;
        let many = |way: fn(&Cut) -> bool| self.unsure.iter().filter(|cut| way(cut)).count();
        let mut left = self.unsure.len();
        for (mine, real, most) in [
            (
                &mut counts.forced,
                real.forced,
                many(|cut| !cut.forced.is_none()),
            ),
            (&mut counts.skipped, real.skipped, many(|cut| cut.skipped)),
            (
                &mut counts.cancelled,
                real.cancelled,
                many(|cut| !cut.cancelled.is_none()),
            ),
        ] {
            let more = real.saturating_sub(*mine).min(most).min(left);
            *mine += more;
            left -= more;
        }
        match counts == real && left == 0 {
            true => Ok(()),
            false => wrong(format!("{real:?}, not {counts:?} and {left} more")),
        }
    }
}

/// Whether these are those, but for some of which it is not certain.
fn fits(real: &[(Option<usize>, bool)], expected: &[Drain]) -> bool {
    let Some((first, others)) = expected.split_first() else {
        return real.is_empty();
    };
    let same = real.first() == Some(&(first.name, first.forced));
    same && fits(&real[1..], others) || first.unsure && fits(real, others)
}
