//! The reference model of everything that polls children inside itself: who may be polled, who must
//! be, and when the outer task is to be woken for it.
//!
//! A *turn* is one poll of the whole. What a child's `may` and `must` say:
//!
//! | since its last poll it was | may be polled in a turn | must be |
//! |---|---|---|
//! | not woken | no | no |
//! | put in | this one or the next | the next |
//! | woken between turns | the next | the next |
//! | woken in a turn | the next; also in this one, if it may anyway | the next |
//!
//! The outer task is woken at most once between the beginnings of two turns, never without a cause, and
//! always if a turn ended with work left.

pub(super) type Verdict = Result<(), String>;

pub(super) fn wrong(what: impl Into<String>) -> Verdict {
    Err(what.into())
}

/// Where a child's future is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Not in the set, or not yet.
    Out,
    In,
    Polling,
    /// It returned or panicked, and is to be dropped next.
    Over,
    /// It is being dropped, or was.
    Dropped,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) life: Life,
    pub(super) polls: usize,
    /// The last turn in which it was polled.
    polled: usize,
    may: bool,
    must: bool,
    /// Woken in this turn.
    fresh: bool,
    /// It had to be polled when the turn began.
    owed: bool,
}

#[derive(Default)]
pub(super) struct Turns {
    pub(super) children: Vec<Child>,
    /// How many have begun.
    pub(super) turn: usize,
    pub(super) polling: bool,
    /// A child has been polled in this turn.
    pub(super) busy: bool,
    /// The outer waker that was shown last; before it, those of which one may still be registered.
    wakers: Vec<usize>,
    /// The last one is registered.
    registered: bool,
    wakes: usize,
    /// Something has happened since the turn began for which the outer task may be woken.
    pub(super) cause: bool,
    /// Wakes whose children are gone: each may cost one needless poll, in this turn or in the next one.
    stale: [usize; 2],
    /// How many calls of outer wakers are going on.
    pub(super) waking: usize,
    /// The last turn broke off before its waker was registered.
    pub(super) broken: bool,
    /// The last turn came to its end, pending.
    complete: bool,
    /// Every turn polls all, with the outer waker.
    pub(super) pass_through: bool,
}

impl Turns {
    /// A new child that is outside; its number.
    pub(super) fn add(&mut self) -> usize {
        self.children.push(Child {
            life: Life::Out,
            polls: 0,
            polled: 0,
            may: false,
            must: false,
            fresh: false,
            owed: false,
        });
        self.children.len() - 1
    }

    pub(super) fn put_in(&mut self, number: usize) {
        let child = &mut self.children[number];
        child.life = Life::In;
        child.may = true;
        child.must = true;
        self.cause = true;
    }

    /// It was not put in, after all.
    pub(super) fn take_out(&mut self, number: usize) {
        let child = &mut self.children[number];
        child.life = Life::Out;
        (child.may, child.must, child.owed) = (false, false, false);
    }

    pub(super) fn is_in(&self, number: usize) -> bool {
        self.children[number].life == Life::In
    }

    /// Those in the set.
    pub(super) fn all_in(&self) -> impl Iterator<Item = usize> {
        (0..self.children.len()).filter(|&number| self.is_in(number))
    }

    /// Whether it had to be polled when the turn began, and has not been.
    pub(super) fn is_owed(&self, number: usize) -> bool {
        self.is_in(number) && self.children[number].owed
    }

    /// Whether it is in and has to be polled.
    pub(super) fn is_ready(&self, number: usize) -> bool {
        self.is_in(number) && self.children[number].must
    }

    /// Whether a wake would mean it.
    pub(super) fn is_awake(&self, number: usize) -> bool {
        matches!(self.children[number].life, Life::In | Life::Polling)
    }

    pub(super) fn may_be_polled(&self, number: usize) -> bool {
        self.children[number].may
    }

    /// Whether somebody may be polled though he was not woken.
    pub(super) fn is_stale(&self) -> bool {
        self.stale != [0, 0]
    }

    /// Somebody who is gone may have been woken.
    pub(super) fn note_stale(&mut self) {
        self.stale[1] += 1;
    }

    pub(super) fn is_new(&self, number: usize) -> bool {
        self.children[number].polls == 0
    }

    pub(super) fn is_dropped(&self, number: usize) -> bool {
        self.children[number].life == Life::Dropped
    }

    /// Something of the crate's own may wake a child.
    pub(super) fn may_wake(&mut self, number: usize) {
        if self.is_awake(number) {
            self.children[number].may = true;
            self.children[number].fresh |= self.polling;
        }
    }

    /// A waker of a child is about to be woken.
    pub(super) fn wake(&mut self, number: usize) {
        let polling = self.polling;
        let child = &mut self.children[number];
        self.cause = true;
        if matches!(child.life, Life::In | Life::Polling) {
            child.may = true;
            child.must = true;
            child.fresh = polling;
        } else {
            self.stale[1] += 1;
        }
    }

    pub(super) fn begin_turn(&mut self, waker: usize, owed: impl Fn(usize) -> bool) {
        self.turn += 1;
        self.polling = true;
        self.busy = false;
        self.broken = false;
        self.wakes = 0;
        // A turn that is called out of a wake of the outer task may not be able to register.
        self.cause = self.waking > 0;
        // One that was broken off leaves work to the next.
        let left = if self.complete { 0 } else { self.stale[0] };
        self.stale = [left + self.stale[1], 0];
        self.complete = false;
        if std::mem::take(&mut self.registered) {
            let last = self.wakers.pop();
            self.wakers = last.into_iter().collect();
        }
        self.wakers.retain(|&other| other != waker);
        self.wakers.push(waker);
        for number in 0..self.children.len() {
            let is_owed = self.is_ready(number) && owed(number);
            let child = &mut self.children[number];
            child.fresh = false;
            child.owed = is_owed || self.pass_through && child.life == Life::In;
        }
    }

    pub(super) fn begin_poll(&mut self, number: usize) -> Verdict {
        let child = &mut self.children[number];
        if !self.polling {
            return wrong(format!("{number} is polled between turns"));
        }
        if child.life != Life::In {
            return wrong(format!("{number} is polled, being {:?}", child.life));
        }
        if child.polled == self.turn {
            return wrong(format!("{number} is polled twice in a turn"));
        }
        if !child.may && !self.pass_through {
            let Some(stale) = self.stale.iter_mut().find(|stale| **stale > 0) else {
                return wrong(format!("{number} is polled without being woken"));
            };
            *stale -= 1;
        }
        self.busy = true;
        self.registered = true;
        child.life = Life::Polling;
        child.polled = self.turn;
        child.polls += 1;
        child.must = false;
        child.owed = false;
        child.may = child.fresh;
        Ok(())
    }

    pub(super) fn end_poll(&mut self, number: usize, over: bool) {
        let child = &mut self.children[number];
        child.life = if over { Life::Over } else { Life::In };
        self.stale[1] += usize::from(over && child.may);
    }

    pub(super) fn drop_child(&mut self, number: usize) -> Verdict {
        let child = &mut self.children[number];
        if matches!(child.life, Life::Polling | Life::Dropped) {
            return wrong(format!("{number} is dropped, being {:?}", child.life));
        }
        self.stale[1] += usize::from(child.life == Life::In && child.may);
        child.life = Life::Dropped;
        Ok(())
    }

    pub(super) fn outer_woken(&mut self, waker: usize) -> Verdict {
        if self.turn == 0 {
            return wrong("the outer task is woken before its first poll");
        }
        if self.wakers.last() != Some(&waker) && !self.pass_through {
            if !self.registered && self.wakers.contains(&waker) {
                return Ok(());
            }
            return wrong("an old waker of the outer task is woken");
        }
        if !self.cause {
            return wrong("the outer task is woken for nothing");
        }
        self.wakes += 1;
        if self.wakes > 1 && !self.pass_through {
            return wrong("the outer task is woken twice between two polls");
        }
        Ok(())
    }

    /// `work_left`: there is something to be done that nobody else will bring about.
    pub(super) fn end_turn(&mut self, complete: bool) -> Verdict {
        self.polling = false;
        self.registered |= complete;
        self.complete = complete;
        if !complete {
            return Ok(());
        }
        match (0..self.children.len()).find(|&n| self.is_in(n) && self.children[n].owed) {
            Some(number) => wrong(format!("{number} was woken, but not polled")),
            None => Ok(()),
        }
    }

    /// The turn is broken off, and another one is to come.
    pub(super) fn break_off(&mut self) -> Verdict {
        self.broken = true;
        self.end_turn(false)
    }

    /// Between turns, with nothing going on.
    pub(super) fn at_rest(&self, work_left: Option<String>) -> Verdict {
        match work_left {
            Some(work) if self.turn > 0 && self.wakes == 0 && !self.broken => {
                wrong(format!("nobody was woken for it: {work}"))
            }
            _ => Ok(()),
        }
    }
}
