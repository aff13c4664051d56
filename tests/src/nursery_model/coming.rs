//! The model of the nursery: how children come in, and who awaits them.

use crate::nursery_model::nursery::{End, Nursery, Path, Stand, Tried, Until, is_like};
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
                turns.cause = true;
                self.kids[number].stand = Stand::Late;
            }
            None => self.give(turns, number),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.limit.is_none() || self.free > 0
    }

    /// Its room may be a place that is not given out before the turn is over.
    pub(super) fn is_room_sure(&self) -> bool {
        self.limit.is_none() || self.free > self.freed
    }

    pub(super) fn give(&mut self, turns: &mut Turns, number: usize) {
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
        if self.refusal().is_some() || self.cleans.is_some() {
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

    pub(super) fn free_place(&mut self, turns: &mut Turns) {
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
            Stand::Outside | Stand::InLine => Some(true),
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
}
