//! The model of the nursery: how children come in, and who awaits them.
//!
//! A place goes to who comes first as soon as it is free. Who comes later and yet before him, having
//! a higher priority, may still get it until he has begun: see [`overtake`](Nursery::overtake).

use crate::nursery_model::nursery::{End, Kid, Nursery, Path, Stand, Start, Tried, Until, is_like};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};

impl Nursery {
    /// How it would refuse a child.
    pub(super) fn refusal(&self) -> Option<End> {
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
            None if self.cleans.is_some() => {
                self.note_given(turns, number);
                self.kids[number].stand = Stand::Late;
            }
            None => self.give(turns, number),
        }
    }

    /// `shield`, before it is called.
    pub(super) fn shield(&mut self, turns: &mut Turns, number: usize, budget: Option<u64>) {
        let kid = &mut self.kids[number];
        kid.shielded = true;
        kid.graceful = false;
        kid.alone.timeout = budget;
        if self.over {
            kid.end = Some(End::Closed);
            return;
        }
        self.note_given(turns, number);
        self.place(turns, number);
    }

    pub(super) fn has_room(&self) -> bool {
        self.limit.is_none() || self.free > 0
    }

    /// Its room may be a place that is not given out before the turn is over.
    pub(super) fn is_room_sure(&self) -> bool {
        self.limit.is_none() || self.free > self.freed
    }

    fn note_given(&mut self, turns: &mut Turns, number: usize) {
        turns.cause = true;
        self.given += 1;
        let since = if turns.polling {
            self.beginning.now
        } else {
            self.now
        };
        let given = self.tick();
        let kid = &mut self.kids[number];
        kid.given = given;
        kid.alone.since.0 = Some(since);
    }

    pub(super) fn give(&mut self, turns: &mut Turns, number: usize) {
        self.note_given(turns, number);
        let (room, sure) = (self.has_room(), self.is_room_sure());
        let kid = &mut self.kids[number];
        if !kid.after.is_empty() {
            kid.path = Path::Unsure;
            kid.stand = Stand::Waiting;
            self.come_if_called(turns, number);
        } else if kid.service {
            kid.path = Path::Service;
            self.place(turns, number);
        } else if room {
            kid.path = if sure { Path::Direct } else { Path::Unsure };
            kid.tentative = !sure;
            self.take_place(turns, number);
        } else {
            // One whose turn has just come may not have taken its place yet: then it is his.
            let path = match self.is_anybody_late() {
                true => Path::Unsure,
                false => Path::Line(self.kids[number].priority),
            };
            self.kids[number].path = path;
            self.kids[number].stand = Stand::InLine;
            self.line.push_back(number);
        }
    }

    fn is_late(kid: &Kid) -> bool {
        let new = kid.stand == Stand::Placed && kid.begun.is_none();
        new && kid.tentative && !kid.after.is_empty()
    }

    fn is_anybody_late(&self) -> bool {
        self.kids.iter().any(Self::is_late)
    }

    fn place(&mut self, turns: &mut Turns, number: usize) {
        self.kids[number].stand = Stand::Placed;
        self.kids[number].placed = true;
        turns.put_in(number);
    }

    fn take_place(&mut self, turns: &mut Turns, number: usize) {
        if self.limit.is_some() {
            self.free -= 1;
            self.freed = self.freed.min(self.free);
            self.freed_late = self.freed_late.min(self.free);
        }
        self.place(turns, number);
    }

    // -------------------------------------------------------------- those who wait for others

    /// One of those for whom it waits has no output, and will have none.
    pub(super) fn has_fallen(&self, number: usize) -> bool {
        self.kids[number].after.iter().any(|&of| self.is_lost(of))
    }

    pub(super) fn is_lost(&self, number: usize) -> bool {
        let end = self.kids[number].end;
        !matches!(end, None | Some(End::Done(_)))
    }

    /// Its turn has come if all for whom it waits have ended well.
    fn come_if_called(&mut self, turns: &mut Turns, number: usize) {
        let kid = &self.kids[number];
        let is_done =
            |of: &usize| matches!(self.kids[*of].end, Some(End::Done(_))) && turns.is_dropped(*of);
        if kid.stand != Stand::Waiting || !kid.after.iter().all(is_done) {
            return;
        }
        if self.cancelled.is_some() {
            return;
        }
        if kid.service {
            self.place(turns, number);
        } else if self.has_room() {
            self.kids[number].tentative = true;
            self.take_place(turns, number);
        } else {
            self.kids[number].stand = Stand::InLine;
            self.line.push_back(number);
        }
    }

    /// Somebody has ended well.
    pub(super) fn call_who_waits(&mut self, turns: &mut Turns) {
        for number in 0..self.kids.len() {
            self.come_if_called(turns, number);
        }
    }

    // -------------------------------------------------------------- who comes first

    /// One that is in line is polled: then it has the place that another one was thought to have.
    pub(super) fn overtake(&mut self, turns: &mut Turns, number: usize) -> bool {
        let may = |other: &usize| self.may_overtake(&self.kids[number], *other);
        let last = |other: &usize| {
            let kid = &self.kids[*other];
            (std::cmp::Reverse(kid.priority), kid.given)
        };
        let Some(other) = (0..self.kids.len()).filter(may).max_by_key(last) else {
            // Or that one has been dropped meanwhile, with the nursery.
            let vacated = self.vacated && self.has_room();
            if vacated {
                self.line.retain(|&waits| waits != number);
                self.take_place(turns, number);
            }
            return vacated;
        };
        self.line.retain(|&waits| waits != number);
        self.send_back(turns, other);
        self.kids[number].path = Path::Unsure;
        self.kids[number].tentative = true;
        self.place(turns, number);
        true
    }

    fn may_overtake(&self, kid: &Kid, other: usize) -> bool {
        let of = &self.kids[other];
        let called = |kid: &Kid| !kid.after.is_empty();
        of.stand == Stand::Placed
            && of.begun.is_none()
            && of.tentative
            && (kid.priority > of.priority
                || called(of) && !called(kid)
                // Spawned in the very turn in which the room came.
                || (of.path == Path::Unsure || kid.path == Path::Unsure)
                    && !called(of)
                    && !called(kid)
                || kid.priority == of.priority && (called(kid) || called(of))
                || self.may_be_ended_alone(other))
    }

    /// It has not got its place yet.
    fn send_back(&mut self, turns: &mut Turns, number: usize) {
        let kid = &mut self.kids[number];
        kid.stand = Stand::InLine;
        (kid.was_placed, kid.seen) = (false, false);
        kid.path = Path::Unsure;
        turns.take_out(number);
        self.line.push_front(number);
    }

    /// Who gets the next place.
    fn take_first_in_line(&mut self) -> Option<usize> {
        let best = self.line.iter().map(|&of| self.kids[of].priority).max()?;
        let is_best = |&of: &usize| self.kids[of].priority == best;
        let at = self.line.iter().position(is_best)?;
        self.line.remove(at)
    }

    /// `try_spawn`, before it is called: whether it succeeds, if that is certain. It is to be
    /// [taken back](Self::take_back) if it does not.
    pub(super) fn try_spawn(&mut self, turns: &mut Turns, number: usize) -> Option<Tried> {
        if self.refusal().is_some() || self.cleans.is_some() {
            return Some(Tried::Closed);
        }
        let kid = &self.kids[number];
        if kid.service || !kid.after.is_empty() {
            self.give(turns, number);
            return Some(Tried::In);
        }
        if !self.has_room() {
            // As in `give`.
            let Some(other) = self.kids.iter().position(Self::is_late) else {
                return Some(Tried::Full);
            };
            self.send_back(turns, other);
            self.free += 1;
            self.give(turns, number);
            self.kids[number].path = Path::Unsure;
            self.displaced = Some((number, other));
            return None;
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
            match self.displaced.take() {
                Some((by, other)) if by == number && self.kids[other].stand == Stand::InLine => {
                    self.line.retain(|&waits| waits != other);
                    self.place(turns, other);
                }
                _ => self.free_place(turns, number),
            }
        }
    }

    /// The place that it had, if it had one.
    pub(super) fn free_place(&mut self, turns: &mut Turns, number: usize) {
        let kid = &self.kids[number];
        if self.limit.is_none() || kid.service || kid.shielded {
            return;
        }
        match self.take_first_in_line() {
            Some(next) => {
                self.kids[next].tentative = true;
                self.place(turns, next);
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
        &mut self,
        turns: &mut Turns,
        number: usize,
        out: Option<Option<End>>,
    ) -> Verdict {
        if out == Some(None) && self.kids[number].stand == Stand::InLine {
            self.overtake(turns, number);
        }
        let kid = &self.kids[number];
        let started = kid.begun.is_some();
        let right = match out {
            None => !started && !self.has_ended(turns, number),
            // Late, it may have come in all the same, to be turned away.
            Some(None) => kid.placed || self.cleans.is_some() && !started,
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
            Stand::Outside | Stand::InLine | Stand::Waiting => Some(true),
            Stand::Gone => Some(false),
            Stand::Late | Stand::Deferred | Stand::AtWork => None,
            Stand::Placed if kid.begun.is_some() || kid.admitted => Some(false),
            Stand::Placed => None,
        }
    }

    // -------------------------------------------------------------- joining

    /// Whether it has ended beyond doubt, so that a join must be ready.
    pub(super) fn has_ended(&self, turns: &Turns, number: usize) -> bool {
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

    pub(super) fn waiter_woken(
        &mut self,
        turns: &mut Turns,
        number: usize,
        waker: usize,
    ) -> Verdict {
        if self.kids[number].stand == Stand::InLine {
            self.overtake(turns, number);
        }
        let kid = &mut self.kids[number];
        let Some(at) = kid.waiting.iter().position(|&other| other == waker) else {
            return wrong(format!(
                "{waker}, who does not await {number}, is woken: {kid:?}"
            ));
        };
        let is_said = kid.start == Start::Said;
        if kid.end.is_none() && kid.stand != Stand::Placed && !is_said {
            return wrong(format!("who awaits {number} is woken for nothing"));
        }
        match kid.start {
            Start::Unasked => kid.waiting.clear(),
            // He waits for the word and for the end.
            _ => drop(kid.waiting.remove(at)),
        }
        kid.until = Until::Nothing;
        Ok(())
    }
}
