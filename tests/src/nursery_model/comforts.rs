//! The operations on nurseries that have comforts: what is said about children, cancelling some of them,
//! sections, values to be released, snapshots.

use crate::nursery_model::foreign::{Job, Released};
use crate::nursery_model::nursery::{Stand, Why};
use crate::nursery_model::op::{Handled, KEYS, Op, Spawning};
use crate::nursery_model::real::{Aside, HANDLE, Looking};
use crate::nursery_model::state::{Kind, Role};
use crate::nursery_model::turns::wrong;
use crate::nursery_model::world::{Done, World};
use crate::script::Event;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use umbel_core::{Priority, Reason};

impl World {
    // -------------------------------------------------------------- what is said about a child

    /// Something is said about the child that is spawned next.
    pub(super) fn say(&self, op: Op) {
        let state = &mut *self.state();
        let now = state.with_nursery(|model, _| model.now);
        let after = match state.joins.len() {
            0 => None,
            n => {
                let (number, join) = &state.joins[usize::from(op.at) % n];
                Some((*number, join.id()))
            }
        };
        let (timed, said) = (state.timed, &mut state.said);
        let time = u64::from(op.at) & 7;
        match op.with & 7 {
            0 => said.key = Some(op.at % KEYS),
            1 => said.priority = Priority::High,
            2 => said.priority = Priority::Low,
            3 => said.service = true,
            4 if said.after[0].is_some() => said.after[1] = after,
            4 | 5 => said.after[0] = after,
            6 if !timed => {}
            6 => match op.with >> 3 & 3 {
                0 => said.deadline = Some(now.saturating_sub(time)),
                1 => said.deadline = Some(now + time),
                _ => said.timeout = Some(time),
            },
            _ if op.with >> 3 & 3 == 0 => said.handle = Some(Handled::Cancelled),
            _ => said.handle = Some(Handled::Taken),
        }
    }

    /// A new child with all that was said about it.
    pub(super) fn announce(&self, op: Op) -> (usize, Spawning) {
        let said = std::mem::take(&mut self.state().said);
        let how = Spawning {
            said,
            ..op.spawning()
        };
        let number = self.new_job(how);
        if said.handle == Some(Handled::Cancelled) {
            self.state()
                .with_nursery(|model, turns| model.cancel_alone(turns, number, Why::Handle));
        }
        (number, how)
    }

    /// One without.
    pub(super) fn announce_plainly(&self, op: Op) -> (usize, Spawning) {
        let how = op.spawning();
        (self.new_job(how), how)
    }

    pub(super) fn keep_aside(&self, number: usize, aside: Aside) {
        let state = &mut *self.state();
        let keep = |token| (number, token);
        state.handles.extend(aside.handle.map(keep));
        state.contexts.extend(aside.context.map(keep));
        state.started.extend(aside.started.map(|it| (number, it)));
    }

    // -------------------------------------------------------------- cancelling some

    pub(super) fn cancel_handle(&self, op: Op) -> Done {
        let (number, token) = {
            let state = &mut *self.state();
            let n = state.handles.len();
            if n == 0 {
                return Ok(());
            }
            let at = usize::from(op.at) % n;
            match op.with & 0x80 {
                0 => state.handles[at].clone(),
                _ => state.handles.swap_remove(at),
            }
        };
        self.state()
            .with_nursery(|model, turns| model.cancel_alone(turns, number, Why::Handle));
        self.call(Kind::Plain, || token.cancel_with(Reason::custom(HANDLE)))
            .map(drop)
            .and(self.drop_it(token))
    }

    pub(super) fn cancel_named(&self, at: u8) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let number = self.state().with_nursery(|model, turns| {
            let is_there = |&it: &usize| {
                let kid = &model.kids[it];
                kid.named && !matches!(kid.stand, Stand::Gone | Stand::Outside)
            };
            let named: Vec<_> = (1..model.kids.len()).filter(is_there).collect();
            // Or nobody.
            let number = named.get(usize::from(at) % named.len().max(1)).copied();
            let is_meant = |of: usize| Some(of) == number;
            model.cancel_some(turns, Why::Named, |_, of| is_meant(of));
            number.unwrap_or_default()
        });
        self.call(Kind::Plain, || api.cancel_named(number))
    }

    pub(super) fn cancel_keyed(&self, at: u8) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let key = at % KEYS;
        self.state().with_nursery(|model, turns| {
            model.cancel_some(turns, Why::Keyed, |model, of| {
                model.kids[of].key == Some(key)
            });
        });
        self.call(Kind::Plain, || api.cancel_keyed(key))
    }

    // -------------------------------------------------------------- resources

    pub(super) fn shield(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce_plainly(op);
        let timed = self.state().timed && op.at & 8 == 0;
        let budget = timed.then_some(u64::from(op.at) & 7);
        self.state()
            .with_nursery(|model, turns| model.shield(turns, number, budget));
        let join = self.call(Kind::Plain, || api.shield(Job(number), &how, budget))?;
        self.keep_join(number, join, how.detached)
    }

    pub(super) fn release(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce_plainly(op);
        let taken = self
            .state()
            .with_nursery(|model, turns| model.defer(turns, number));
        let result = self.call(Kind::Plain, || api.release(Released(number), &how))?;
        if result.is_ok() != taken {
            self.state()
                .note(wrong(format!("a value is taken: {}", result.is_ok())));
        }
        self.drop_it(result)
    }

    /// A value that was to be released is dropped.
    pub(super) fn release_dropped(self: &Rc<Self>, number: usize) {
        let mood = {
            let state = &mut *self.state();
            state.look();
            let verdict = state.with_nursery(|model, turns| Some(model.released(turns, number)));
            state.note(verdict.unwrap_or(Ok(())));
            state.works[number].spawning.mood
        };
        let acts = catch_unwind(AssertUnwindSafe(|| self.foreign(Event::Drop, mood, false)));
        self.state()
            .with_nursery(|model, turns| model.release_over(turns, number, acts.is_err()));
        if let Err(panic) = acts {
            resume_unwind(panic);
        }
    }

    // -------------------------------------------------------------- snapshots

    pub(super) fn look_at_it(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let number = self
            .state()
            .with_nursery(|model, turns| model.look_asked(turns));
        match self.call(Kind::Plain, || api.snapshot()) {
            Ok(answer) => self.state().looks.push((number, answer)),
            Err(boom) => {
                self.state()
                    .with_nursery(|model, _| model.look_over(number));
                return Err(boom);
            }
        }
        self.poll_look(Op { at: u8::MAX, ..op })
    }

    fn take_look(&self, at: u8) -> Option<(usize, Looking)> {
        let looks = &mut self.state().looks;
        match looks.len() {
            0 => None,
            // The youngest.
            _ if at == u8::MAX => looks.pop(),
            n => Some(looks.remove(usize::from(at) % n)),
        }
    }

    pub(super) fn poll_look(&self, op: Op) -> Done {
        let Some((number, mut answer)) = self.take_look(op.at) else {
            return Ok(());
        };
        self.state().with_nursery(|model, _| {
            let looking = &mut model.looks[number];
            (looking.waits, looking.known) = (false, false);
        });
        let (waker, _) = self.new_waker(Role::Looks(number), op.mood);
        let cx = &mut Context::from_waker(&waker);
        let outcome = match self.call(Kind::Plain, || answer.as_mut().poll(cx)) {
            Ok(Poll::Pending) => {
                let state = &mut *self.state();
                state.with_nursery(|model, _| model.looks[number].waits = true);
                state.looks.push((number, answer));
                Ok(())
            }
            Ok(Poll::Ready(snapshot)) => {
                let state = &mut *self.state();
                let verdict = state
                    .with_nursery(|model, turns| Some(model.look_gives(turns, number, &snapshot)));
                state.note(verdict.unwrap_or(Ok(())));
                drop(answer); // it has given all that it had
                Ok(())
            }
            Err(boom) => {
                self.state()
                    .with_nursery(|model, _| model.look_over(number));
                self.drop_it(answer).and(Err(boom))
            }
        };
        outcome.and(self.drop_it(waker))
    }

    pub(super) fn drop_look(&self, at: u8) -> Done {
        let Some((number, answer)) = self.take_look(at) else {
            return Ok(());
        };
        self.state()
            .with_nursery(|model, _| model.look_over(number));
        self.drop_it(answer)
    }
}
