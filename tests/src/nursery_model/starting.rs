//! The operations on children that are to say that they have started.

use crate::nursery_model::foreign::{Job, Value};
use crate::nursery_model::nursery::{End, Start, Until, Why, is_like};
use crate::nursery_model::op::Op;
use crate::nursery_model::real::{Aside, end};
use crate::nursery_model::state::{Kind, Role};
use crate::nursery_model::turns::wrong;
use crate::nursery_model::world::{Done, World};
use std::task::{Context, Poll};

impl World {
    pub(super) fn start(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce(op);
        self.state().with_nursery(|model, turns| {
            let kid = &mut model.kids[number];
            kid.alone.own = true;
            kid.start = Start::Asked;
            model.spawn(turns, number);
        });
        let mut aside = Aside::default();
        let start = self.call(Kind::Plain, || api.start(Job(number), &how, &mut aside));
        let started = match &start {
            Ok(_) => None,
            // Nobody waits for it.
            Err(_) => aside.started.take(),
        };
        self.keep_aside(number, aside);
        match start {
            Ok(start) => {
                self.state().starts.push((number, start, false));
                Ok(())
            }
            Err(boom) => {
                self.set_start(number, Start::Unasked);
                self.drop_it(started).and(Err(boom))
            }
        }
    }

    fn set_start(&self, number: usize, start: Start) {
        self.state()
            .with_nursery(|model, _| model.kids[number].start = start);
    }

    fn get_start(&self, number: usize) -> Start {
        self.state()
            .with_nursery(|model, _| Some(model.kids[number].start))
            .unwrap_or(Start::Unasked)
    }

    /// Its wait is being polled or dropped: what it does with what the child says is not certain.
    fn is_busy(&self, number: usize) -> bool {
        !self
            .state()
            .starts
            .iter()
            .any(|(of, _, over)| *of == number && !over)
    }

    /// A child says that it has started, or somebody does in its name.
    pub(super) fn say_started(&self, op: Op) -> Done {
        let (number, started, value) = {
            let state = &mut *self.state();
            let n = state.started.len();
            if n == 0 {
                return Ok(());
            }
            let (number, started) = state.started.remove(usize::from(op.at) % n);
            state.values.push(false);
            (number, started, Value(state.values.len() - 1, op.mood))
        };
        let busy = self.is_busy(number);
        let asked = self.get_start(number) == Start::Asked;
        if asked {
            self.set_start(number, Start::Said);
        }
        let sent = self.call(Kind::Plain, || started.send(value))?;
        match (busy, &sent) {
            (true, Err(_)) if asked => self.set_start(number, Start::Asked),
            (false, sent) if sent.is_ok() != asked => {
                let what = format!("what {number} says is heard: {}", sent.is_ok());
                self.state().note(wrong(what));
            }
            _ => {}
        }
        self.drop_it(sent)
    }

    pub(super) fn drop_started(&self, at: u8) -> Done {
        let started = {
            let state = &mut *self.state();
            let n = state.started.len();
            if n == 0 {
                return Ok(());
            }
            state.started.remove(usize::from(at) % n)
        };
        self.drop_it(started)
    }

    pub(super) fn poll_start(&self, op: Op) -> Done {
        let taken = {
            let starts = &mut self.state().starts;
            match starts.len() {
                0 => None,
                n => Some(starts.remove(usize::from(op.at) % n)),
            }
        };
        let Some((number, mut start, over)) = taken else {
            return Ok(());
        };
        if over {
            self.state().starts.push((number, start, over));
            return Ok(());
        }
        let (waker, shown) = self.new_waker(Role::Awaits(number), op.mood);
        let (said, ended, old) = self.state().with_nursery(|model, turns| {
            let mut wakers = model.awaits(number);
            wakers.extend([shown, shown]);
            model.await_with(number, wakers.clone(), Until::Nothing);
            let said = model.kids[number].start == Start::Said;
            (said, model.has_ended(turns, number), wakers)
        });
        let cx = &mut Context::from_waker(&waker);
        let polled = self.call(Kind::Plain, || start.as_mut().poll(cx));
        self.state().look();
        let outcome = match polled {
            Ok(Poll::Pending) => {
                let state = &mut *self.state();
                let deaf = state.with_nursery(|model, _| {
                    // Or the word came while he looked, and he was woken.
                    let woken = model.awaits(number).len() < old.len();
                    let until = if woken { Until::Nothing } else { Until::Said };
                    model.await_with(number, vec![shown, shown], until);
                    !woken && model.kids[number].start == Start::Said
                });
                if said || ended || deaf {
                    state.note(wrong(format!(
                        "who waits for the start of {number} waits on"
                    )));
                }
                state.starts.push((number, start, false));
                Ok(())
            }
            Ok(Poll::Ready(Ok((value, join)))) => {
                if self.get_start(number) != Start::Said {
                    self.state()
                        .note(wrong(format!("{number} has not said that it started")));
                }
                self.set_start(number, Start::Unasked);
                // A waker of his may be left for the child's end.
                self.state()
                    .with_nursery(|model, _| model.await_with(number, old, Until::Nothing));
                let outcome = self.drop_it(start);
                self.state().joins.push((number, join));
                outcome.and(self.drop_it(value))
            }
            Ok(Poll::Ready(Err(error))) => {
                let state = &mut *self.state();
                let real = end(&error);
                state.with_nursery(|model, _| {
                    let kid = &mut model.kids[number];
                    kid.start = Start::Unasked;
                    model.await_with(number, Vec::new(), Until::Nothing);
                });
                let verdict = state.with_nursery(|model, _| {
                    let expected = match model.kids[number].end {
                        Some(End::Done(_)) => Some(End::Unstarted),
                        end => end,
                    };
                    let right = real.is_some_and(|real| is_like(expected, real)) && !said;
                    match right {
                        true => Ok(()),
                        false => Err(format!("{error:?} for {:?}", model.kids[number])),
                    }
                    .err()
                });
                if let Some(what) = verdict {
                    state.note(wrong(what));
                }
                Ok(())
            }
            Err(boom) => {
                // Whether it would cancel the child is not certain.
                self.state().with_nursery(|model, turns| {
                    model.may_cancel_alone(turns, number, Why::Dropped);
                });
                self.state().starts.push((number, start, true));
                Err(boom)
            }
        };
        outcome.and(self.drop_it(waker))
    }

    pub(super) fn drop_start(&self, at: u8) -> Done {
        let taken = {
            let starts = &mut self.state().starts;
            match starts.len() {
                0 => None,
                n => Some(starts.remove(usize::from(at) % n)),
            }
        };
        let Some((number, start, over)) = taken else {
            return Ok(());
        };
        let asked = self.get_start(number) == Start::Asked;
        self.state().with_nursery(|model, turns| {
            let wakers = model.awaits(number);
            model.await_with(number, wakers, Until::Nothing);
            if asked || over {
                model.may_cancel_alone(turns, number, Why::Dropped);
            }
        });
        let outcome = self.call(Kind::Plain, || drop(start));
        if asked && !over && self.get_start(number) == Start::Asked {
            self.state()
                .with_nursery(|model, turns| model.cancel_alone(turns, number, Why::Dropped));
        }
        self.set_start(number, Start::Unasked);
        self.state()
            .with_nursery(|model, _| model.await_with(number, Vec::new(), Until::Nothing));
        outcome
    }
}
