//! The model of the nursery: children that come to their end alone.

use crate::nursery_model::nursery::{BODY, Cut, Nursery, Stand, Why, Whys};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};

impl Nursery {
    // -------------------------------------------------------------- its own time

    /// When its own time is over, if it came in then.
    fn time(&self, number: usize, since: Option<u64>) -> Option<u64> {
        let alone = &self.kids[number].alone;
        let timeout = alone.timeout.map(|time| since.map(|since| since + time));
        let deadline = alone.deadline.filter(|_| since.is_some());
        deadline.into_iter().chain(timeout.flatten()).min()
    }

    fn may_be_due(&self, number: usize) -> bool {
        let at = self.time(number, self.kids[number].alone.since.0);
        at.is_some_and(|at| at <= self.now)
    }

    fn is_due_alone(&self, number: usize) -> bool {
        let at = self.time(number, self.kids[number].alone.since.1);
        at.is_some_and(|at| at <= self.now)
    }

    fn grace_after(&self, told: Option<u64>) -> bool {
        told.zip(self.grace)
            .is_some_and(|(told, grace)| told + grace <= self.now)
    }

    /// Whose time is over is certainly cancelled from now on.
    pub(super) fn note_times(&mut self, turns: &Turns) {
        for number in 1..self.kids.len() {
            let kid = &self.kids[number];
            // Whether it was told when it was polled, or is to be yet, is not certain.
            let unsure = kid.graceful && kid.alone.told.0.is_some();
            if !kid.shielded && !unsure && self.is_due_alone(number) {
                let polls = turns.children[number].polls;
                self.kids[number].alone.sure.get_or_insert(polls);
            }
        }
    }

    // -------------------------------------------------------------- cancelled alone

    /// Its own token is cancelled, now.
    pub(super) fn cancel_alone(&mut self, turns: &mut Turns, number: usize, why: Why) {
        if self.cancelled.is_none() {
            turns.cause = true;
            self.mark(turns, number, why);
            let alone = &mut self.kids[number].alone;
            (alone.firm, alone.says) = (true, true);
        }
    }

    /// Its own token may be cancelled now, or not.
    pub(super) fn may_cancel_alone(&mut self, turns: &mut Turns, number: usize, why: Why) {
        turns.cause = true;
        match turns.is_dropped(number) {
            true => turns.note_stale(),
            false => turns.may_wake(number),
        }
        let whys = &mut self.kids[number].alone.whys;
        *whys = whys.with(why);
    }

    fn mark(&mut self, turns: &mut Turns, number: usize, why: Why) {
        match turns.is_dropped(number) {
            true => turns.note_stale(),
            false => turns.may_wake(number),
        }
        let polls = turns.children[number].polls;
        let alone = &mut self.kids[number].alone;
        alone.whys = alone.whys.with(why);
        // A graceful one that may know of an earlier one need not be polled for this one.
        if alone.told.0.is_none() {
            alone.sure.get_or_insert(polls);
        }
    }

    /// Those who were given before are to be cancelled, at the next poll.
    pub(super) fn cancel_some(
        &mut self,
        turns: &mut Turns,
        why: Why,
        pick: impl Fn(&Nursery, usize) -> bool,
    ) {
        self.note_asked(turns);
        for number in 1..self.kids.len() {
            let kid = &self.kids[number];
            let there = matches!(kid.stand, Stand::InLine | Stand::Waiting | Stand::Placed);
            if !there || kid.shielded || !pick(self, number) {
                continue;
            }
            if turns.polling {
                self.may_cancel_alone(turns, number, why);
                self.kids[number].alone.asked = true;
            } else {
                self.mark(turns, number, why);
            }
        }
    }

    /// Something is asked of it.
    pub(super) fn note_asked(&mut self, turns: &mut Turns) {
        if !self.over {
            turns.cause = true;
            self.given += 1;
            self.asked |= !turns.polling;
        }
    }

    /// Whether something may have ended it alone, or be about to.
    pub(super) fn may_be_ended_alone(&self, number: usize) -> bool {
        !self.kids[number].alone.whys.is_none() || self.may_be_due(number)
    }

    /// How it may end now, dropped by the nursery before its end; `stand`: where it stood.
    pub(super) fn may_end(&self, number: usize, stand: Stand) -> Cut {
        let kid = &self.kids[number];
        let none = Whys::default();
        let nursery = self.cancelled.map_or(none, |why| none.with(why));
        let due = if self.may_be_due(number) {
            none.with(Why::Deadline)
        } else {
            none
        };
        if kid.shielded {
            let forced = if self.is_forced_by_now() {
                nursery
            } else {
                none
            };
            return Cut {
                forced: forced.and(due),
                ..Cut::default()
            };
        }
        let alone = kid.alone.whys.and(due);
        let mut cut = Cut {
            skipped: stand == Stand::Waiting && (self.has_fallen(number) || self.given_up),
            ..Cut::default()
        };
        let new = kid.begun.is_none() && !kid.admitted;
        if !kid.graceful || new || matches!(stand, Stand::InLine | Stand::Waiting) {
            cut.cancelled = nursery.and(alone);
        }
        if kid.graceful && stand == Stand::Placed {
            if self.may_force() {
                cut.forced = nursery.and(alone);
            }
            if self.grace_after(kid.alone.told.0) {
                cut.forced = cut.forced.and(alone);
            }
        }
        cut
    }

    /// It is polled: whether that may be.
    pub(super) fn check_alone(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        let now = self.beginning.now;
        let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let kid = &self.kids[number];
        let time = self.time(number, kid.alone.since.1.or(Some(now)));
        let known = kid.alone.since.1.is_some() || kid.begun.is_none();
        if kid.shielded && kid.alone.since.1.is_some() && is_over(time) {
            return wrong(format!("{number} is polled past its budget"));
        }
        let plain = !kid.shielded && !kid.graceful;
        if plain && kid.alone.firm {
            return wrong(format!("{number} is polled, having been cancelled alone"));
        }
        if plain && known && is_over(kid.alone.deadline) {
            return wrong(format!("{number} is polled past its deadline"));
        }
        let own = kid.alone.own || kid.shielded;
        let alone = self.may_be_ended_alone(number) || kid.alone.told.0.is_some();
        if own && (alone || self.cancelled.is_some()) {
            // What is for it alone wakes it.
            turns.may_wake(number);
        }
        if kid.graceful && self.may_be_ended_alone(number) {
            let time = self.time(number, kid.alone.since.1.or(Some(self.now)));
            let polls = turns.children[number].polls;
            let alone = &mut self.kids[number].alone;
            alone.told.0.get_or_insert(now);
            if is_over(time) {
                alone.sure.get_or_insert(polls);
            }
        }
        Ok(())
    }

    // -------------------------------------------------------------- turns

    /// Only services are left, and those who wait in vain.
    pub(super) fn has_rest_ended(&self, turns: &Turns) -> bool {
        let is_rest = |number: usize| {
            let kid = &self.kids[number];
            kid.stand == Stand::Waiting || kid.service && kid.stand == Stand::Placed
        };
        let mut left = self.left(turns).peekable();
        turns.is_dropped(BODY) && !self.over && left.peek().is_some() && left.all(is_rest)
    }

    /// In a turn, whenever it can be seen: then services are dismissed, and who waits in vain is given up.
    pub(super) fn note_rest(&mut self, turns: &mut Turns) {
        if !turns.polling || !self.has_rest_ended(turns) {
            return;
        }
        turns.cause = true;
        self.given_up = true;
        for kid in self.kids.iter_mut().filter(|kid| kid.service) {
            kid.alone.whys = kid.alone.whys.with(Why::Explicit);
        }
    }

    /// Something is certainly to be done about it, alone.
    fn is_overdue(&self, turns: &Turns, number: usize) -> bool {
        let kid = &self.kids[number];
        let there = matches!(turns.children[number].life, Life::In | Life::Out);
        match kid.stand {
            Stand::Waiting if self.has_fallen(number) => return true,
            Stand::Waiting | Stand::InLine => return kid.alone.sure.is_some(),
            Stand::Placed if there => {}
            _ => return false,
        }
        if kid.shielded {
            return self.is_due_alone(number);
        }
        let Some(polls) = kid.alone.sure else {
            return false;
        };
        if !kid.graceful {
            return true;
        }
        let told = turns.children[number].polls > polls || self.cancelled.is_some();
        !told || self.grace_after(kid.alone.told.1)
    }

    /// A turn begins.
    pub(super) fn begin_alone(&mut self, turns: &mut Turns) {
        self.note_times(turns);
        self.given_up = false;
        for number in 1..self.kids.len() {
            let polls = turns.children[number].polls;
            let alone = &mut self.kids[number].alone;
            // What was asked for in the last turn has been done by now, or will be at once.
            if std::mem::take(&mut alone.asked) {
                alone.firm = true;
                if alone.told.0.is_none() {
                    alone.sure.get_or_insert(polls);
                }
            }
            alone.known = alone.since.0.is_some();
            alone.noticed = alone.sure.is_some_and(|sure| polls > sure);
            alone.firm |= alone.sure.is_some();
            let overdue = match self.is_overdue(turns, number) {
                true => self.kids[number].alone.overdue + 1,
                false => 0,
            };
            self.kids[number].alone.overdue = overdue;
        }
        for looking in &mut self.looks {
            looking.known = looking.waits;
        }
        turns.cause |= self.may_stir(turns);
    }

    /// Something of its own may make it wake the outer task.
    fn may_stir(&self, turns: &Turns) -> bool {
        let stirs = |number: usize| {
            let kid = &self.kids[number];
            let new = kid.begun.is_none();
            self.may_be_ended_alone(number)
                || kid.alone.told.0.is_some()
                || new && kid.priority != Default::default()
                || !kid.after.is_empty() && new
                || kid.stand == Stand::Waiting && self.has_fallen(number)
        };
        // One that was given up has its time and its handle until the nursery finds it.
        let mut given_up = self.kids.iter().filter(|kid| kid.gave_up);
        self.asked
            || self.has_rest_ended(turns)
            || given_up.any(|kid| kid.alone.own)
            || self.left(turns).any(stirs)
    }

    /// A turn that is pending is over.
    pub(super) fn end_alone(&mut self, turns: &mut Turns, complete: bool) -> Verdict {
        self.note_rest(turns);
        if !complete {
            for kid in &mut self.kids {
                kid.alone.overdue = kid.alone.overdue.saturating_sub(1);
            }
            return Ok(());
        }
        self.asked = false;
        for number in 1..self.kids.len() {
            if self.kids[number].alone.overdue >= 2 && self.is_overdue(turns, number) {
                return wrong(format!(
                    "{number} goes on, though it is to end: {:?}",
                    self.kids[number]
                ));
            }
            let (now, cancelled) = (self.now, self.cancelled.is_some());
            let alone = &mut self.kids[number].alone;
            if alone.known {
                alone.since.1.get_or_insert(now);
            }
            if alone.noticed && !cancelled {
                alone.told.1.get_or_insert(now);
            }
        }
        self.note_times(turns);
        if self.looks.iter().any(|look| look.known && !look.answered) {
            return wrong("who asked for a snapshot is not answered");
        }
        let quiet = self.beginning.rest_ended && self.given == self.beginning.given;
        if !quiet || !self.has_rest_ended(turns) {
            return Ok(());
        }
        for number in 1..self.kids.len() {
            match self.kids[number].stand {
                Stand::Waiting => return wrong(format!("{number} waits in vain")),
                Stand::Placed if self.cancelled.is_none() && self.kids[number].service => {
                    let polls = turns.children[number].polls;
                    let alone = &mut self.kids[number].alone;
                    alone.whys = alone.whys.with(Why::Explicit);
                    // A graceful one that has been polled meanwhile knows it, perhaps.
                    if alone.told.0.is_none() {
                        alone.sure.get_or_insert(polls);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What there is to be done about single children.
    pub(super) fn alone_left(&self, turns: &Turns) -> Option<String> {
        if self.asked {
            return Some("it was asked for something".into());
        }
        if self.cancelled.is_none() && self.has_rest_ended(turns) && !self.is_dismissed(turns) {
            return Some("only services are left".into());
        }
        let overdue = self.left(turns).find(|&it| self.is_overdue(turns, it));
        overdue.map(|number| format!("{number} is to end"))
    }

    /// Its graceful services know that they are to end.
    fn is_dismissed(&self, turns: &Turns) -> bool {
        let is_told = |number: usize| {
            let alone = &self.kids[number].alone;
            let told = alone.sure.is_some() || alone.told.0.is_some();
            self.kids[number].graceful && told
        };
        self.left(turns).all(is_told)
    }
}
