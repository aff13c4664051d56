//! The model of the nursery: its cleanups, and who comes while they run.

use crate::nursery_model::nursery::{BODY, Drain, End, Nursery, Stand};
use crate::nursery_model::turns::{Life, Turns, Verdict, wrong};

impl Nursery {
    /// `defer`, before it is called: whether it is taken.
    pub(super) fn defer(&mut self, turns: &mut Turns, number: usize) -> bool {
        if !self.over {
            turns.cause = true;
            self.given += 1;
            self.kids[number].given = self.tick();
            self.kids[number].stand = Stand::Deferred;
            self.deferred.push(number);
        }
        !self.over
    }

    /// A cleanup is polled: for the first time at its turn.
    pub(super) fn begin_cleanup(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        if self.kids[number].stand == Stand::Deferred {
            if !turns.is_dropped(BODY) || self.left(turns).next().is_some() {
                return wrong(format!("the cleanup {number} begins before the end"));
            }
            if self.at_work.is_some() || self.deferred.last() != Some(&number) {
                return wrong(format!("the cleanup {number} begins out of turn"));
            }
            self.deferred.pop();
            self.at_work = Some(number);
            self.kids[number].stand = Stand::AtWork;
            self.cleaned.begun += 1;
            self.errors_before.get_or_insert(self.errors.len());
            self.cleans.get_or_insert((self.beginning.now, self.now));
            let cause = turns.cause;
            turns.put_in(number);
            turns.cause = cause;
        }
        turns.begin_poll(number)
    }

    /// A value that was to be released is dropped: at its turn, or with the nursery.
    pub(super) fn released(&mut self, turns: &mut Turns, number: usize) -> Verdict {
        if self.kids[number].stand == Stand::Deferred && !self.closing {
            self.settle()?;
            self.begin_cleanup(turns, number)?;
            turns.end_poll(number, true);
            return turns.drop_child(number);
        }
        let life = turns.children[number].life;
        turns.drop_child(number)?;
        match self.kids[number].stand {
            Stand::Outside => Ok(()),
            _ => self.cleanup_dropped(turns, number, life),
        }
    }

    /// After that.
    pub(super) fn release_over(&mut self, turns: &Turns, number: usize, panicked: bool) {
        if self.kids[number].stand != Stand::AtWork {
            return;
        }
        self.at_work = None;
        self.kids[number].stand = Stand::Gone;
        self.kids[number].ended_in = turns.turn;
        match panicked {
            true => self.cleaned.panicked += 1,
            false => self.cleaned.done += 1,
        }
    }

    pub(super) fn is_forced_by_now(&self) -> bool {
        self.forced || self.force_token
    }

    /// Whether cleanups may have but one poll.
    fn may_hurry(&self) -> bool {
        let since = self.cleans.zip(self.cleanup);
        self.is_forced_by_now() || since.is_some_and(|((from, _), time)| self.now >= from + time)
    }

    pub(super) fn must_hurry(&self) -> bool {
        let Some((_, from)) = self.cleans else {
            return false;
        };
        self.is_forced_by_now() || self.cleanup.is_some_and(|time| self.now >= from + time)
    }

    /// Its future is dropped.
    pub(super) fn cleanup_dropped(&mut self, turns: &Turns, number: usize, life: Life) -> Verdict {
        let stand = std::mem::replace(&mut self.kids[number].stand, Stand::Gone);
        if stand == Stand::AtWork {
            self.at_work = None;
            if life == Life::Over {
                return Ok(());
            }
        } else if self.deferred.pop() != Some(number) || self.at_work.is_some() {
            return wrong(format!("the cleanup {number} is dropped out of turn"));
        }
        if self.closing {
            return match self.left(turns).next() {
                Some(left) => wrong(format!("the cleanup {number} is dropped before {left}")),
                None => Ok(()),
            };
        }
        if stand != Stand::AtWork || !turns.polling || !self.may_hurry() {
            return wrong(format!("the cleanup {number} is dropped for nothing"));
        }
        self.cleaned.forced += 1;
        self.drained.push(Drain {
            name: self.kids[number].named.then_some(number),
            forced: true,
            unsure: false,
        });
        Ok(())
    }

    /// A child that came when all had ended is dropped; `waits`: by what its own wait does.
    pub(super) fn turned_away(&mut self, turns: &Turns, number: usize, waits: bool) -> Verdict {
        let kid = &mut self.kids[number];
        kid.stand = Stand::Gone;
        if waits {
            return Ok(());
        }
        kid.end = Some(End::Closed);
        kid.ended_in = turns.turn;
        match turns.polling || self.closing {
            true => Ok(()),
            false => wrong(format!("{number}, late, is dropped for nothing")),
        }
    }

    /// Nothing is left of all this.
    pub(super) fn is_clean(&self) -> bool {
        let late = self.kids.iter().any(|kid| kid.stand == Stand::Late);
        self.deferred.is_empty() && self.at_work.is_none() && !late
    }

    /// What there is to do, if no child is left.
    pub(super) fn cleaning_left(&self, turns: &Turns) -> Option<String> {
        if self.kids.iter().any(|kid| kid.stand == Stand::Late) {
            return Some("a late child is to be turned away".into());
        }
        if !turns.is_dropped(BODY) || self.left(turns).next().is_some() {
            return None;
        }
        match self.at_work {
            None if self.deferred.is_empty() => None,
            None => Some("a cleanup is to begin".into()),
            Some(number) => self
                .must_hurry()
                .then(|| format!("the cleanup {number} is past its time")),
        }
    }
}
