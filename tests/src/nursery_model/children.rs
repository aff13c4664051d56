//! The operations on children, their joins and their waits for room.

use crate::nursery_model::foreign::{Job, Value};
use crate::nursery_model::nursery::{Tried, Until};
use crate::nursery_model::op::{Op, What};
use crate::nursery_model::real::{Aside, Home, Real, Silent, Wait, Waiting, tried};
use crate::nursery_model::state::{Kind, Role, Rules};
use crate::nursery_model::turns::wrong;
use crate::nursery_model::world::{Done, World};
use crate::script::Mood;
use std::pin::Pin;
use std::task::Context;
use umbel_core::Join;

impl World {
    pub(super) fn spawn(&self, op: Op, what: What) -> Done {
        if self.state().works.len() >= 400 {
            return Ok(());
        }
        let (set, fixed) = match self.state().rules {
            Rules::Set => (true, false),
            Rules::Nursery(_) => (false, false),
            Rules::Fixed(_) => (false, true),
        };
        match what {
            What::Defer | What::Release if set => Ok(()),
            _ if set => self.push(op),
            What::SpawnWait if fixed => self.spawn_wait_fixed(op),
            What::Defer | What::Release if fixed => Ok(()),
            _ if fixed => self.try_spawn_fixed(op),
            What::TrySpawn => self.try_spawn(op),
            What::SpawnWait => self.spawn_wait(op),
            What::Start => self.start(op),
            What::Shield => self.shield(op),
            What::Defer => self.defer(op),
            What::Release => self.release(op),
            _ => self.spawn_one(op),
        }
    }

    fn push(&self, op: Op) -> Done {
        let Some(mut real) = self.take_set() else {
            return Ok(());
        };
        let number = self.new_job(op.spawning());
        let fits = match &real {
            Real::FixedSet(set) => self.state().turns.all_in().count() < set.capacity(),
            _ => true,
        };
        if fits {
            self.state().turns.put_in(number);
        }
        let pushed = self.call(Kind::Plain, || match &mut real {
            Real::FixedSet(set) => set.as_mut().push(Job(number)),
            Real::FutureSet(set) => {
                set.push(Job(number));
                Ok(())
            }
            Real::Run(_) | Real::FixedRun(_) => Ok(()),
        });
        {
            let state = &mut *self.state();
            state.real = Some(real);
            if matches!(pushed, Ok(Ok(()))) != fits {
                state.note(wrong("a set is full, or not"));
            }
        }
        self.drop_it(pushed?.err())
    }

    fn spawn_one(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce(op);
        self.state()
            .with_nursery(|model, turns| model.spawn(turns, number));
        let mut aside = Aside::default();
        let join = self.call(Kind::Plain, || api.spawn(Job(number), &how, &mut aside));
        self.keep_aside(number, aside);
        self.keep_join(number, join?, how.detached)
    }

    pub(super) fn keep_join(&self, number: usize, join: Join<Value>, detached: bool) -> Done {
        if detached {
            return self.drop_it(join);
        }
        self.state().joins.push((number, join));
        Ok(())
    }

    fn try_spawn(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce(op);
        let expected = self
            .state()
            .with_nursery(|model, turns| model.try_spawn(turns, number));
        let mut aside = Aside::default();
        let result = self.call(Kind::Plain, || api.try_spawn(Job(number), &how, &mut aside));
        self.keep_aside(number, aside);
        let result = result?;
        let real = match &result {
            Ok(_) => Tried::In,
            Err(error) => tried(error),
        };
        {
            let state = &mut *self.state();
            if expected.is_some_and(|expected| expected != real)
                || real == Tried::Closed && expected.is_none()
            {
                let places = state.with_nursery(|model, _| (model.free, model.freed));
                state.note(wrong(format!(
                    "try_spawn gives {real:?}, not {expected:?}: {places:?}"
                )));
            }
            if expected.is_none() && real != Tried::In {
                state.with_nursery(|model, turns| model.take_back(turns, number));
            }
        }
        match result {
            Ok(join) => self.keep_join(number, join, how.detached),
            Err(error) => self.drop_it(error),
        }
    }

    fn spawn_wait(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce(op);
        self.state()
            .with_nursery(|model, _| model.wait_made(number));
        let mut aside = Aside::default();
        let future = self.call(Kind::Plain, || {
            api.spawn_wait(Job(number), &how, &mut aside)
        });
        self.keep_aside(number, aside);
        self.keep_wait(number, Waiting::Growing(future?), op)
    }

    pub(super) fn defer(&self, op: Op) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        let (number, how) = self.announce_plainly(op);
        let taken = self
            .state()
            .with_nursery(|model, turns| model.defer(turns, number));
        let result = self.call(Kind::Plain, || api.defer(Job(number), &how))?;
        if result.is_ok() != taken {
            self.state()
                .note(wrong(format!("a cleanup is taken: {}", result.is_ok())));
        }
        self.drop_it(result)
    }

    fn keep_wait(&self, number: usize, future: Waiting, op: Op) -> Done {
        self.state().waits.push(Wait {
            number,
            begun: false,
            over: false,
            future,
        });
        if op.with & 0x80 != 0 {
            return Ok(());
        }
        let calm = Op {
            at: u8::MAX,
            mood: Mood(0),
            ..op
        };
        self.poll_wait(calm)
    }

    pub(super) fn poll_wait(&self, op: Op) -> Done {
        let Some(mut wait) = self.state().take_wait(op.at) else {
            return Ok(());
        };
        if wait.over {
            self.state().waits.push(wait);
            return Ok(());
        }
        let number = wait.number;
        let (waker, shown) = self.new_waker(Role::Awaits(number), op.mood);
        let cx = &mut Context::from_waker(&waker);
        let polled = match &mut wait.future {
            Waiting::Growing(future) => {
                let old = self.state().with_nursery(|model, turns| {
                    if !wait.begun {
                        model.wait_begins(turns, number);
                    }
                    let mut wakers = model.awaits(number);
                    wakers.push(shown);
                    model.await_with(number, wakers.clone(), Until::Nothing);
                    wakers
                });
                let result = self.call(Kind::Wait(number), || future.as_mut().poll(cx));
                self.state().wait_polled(number, shown, old, result)
            }
            Waiting::Fixed(future) => {
                self.state()
                    .with_fixed(|model, turns| model.wait(turns, number, shown));
                let result = self.call(Kind::Wait(number), || future.as_mut().poll(cx));
                self.state().fixed_wait_polled(number, shown, result)
            }
        };
        wait.begun = true;
        let (outcome, keep) = match polled {
            Ok(None) => {
                self.state().waits.push(wait);
                (Ok(()), None)
            }
            Ok(Some((join, rest))) => {
                let outcome = self.call(Kind::Wait(number), || drop(wait));
                (outcome.and(self.drop_it(rest)), join)
            }
            Err(boom) => {
                wait.over = true;
                self.state().waits.push(wait);
                (Err(boom), None)
            }
        };
        if let Some(join) = keep {
            self.state().joins.push((number, join));
        }
        outcome.and(self.drop_it(waker))
    }

    pub(super) fn drop_wait(&self, at: u8) -> Done {
        let Some(wait) = self.state().take_wait(at) else {
            return Ok(());
        };
        let number = wait.number;
        let takes_along = {
            let state = &mut *self.state();
            state.turns.cause = true;
            match &mut state.rules {
                Rules::Set => None,
                Rules::Nursery(model) => {
                    model.await_with(number, Vec::new(), Until::Nothing);
                    model.gives_up(number)
                }
                Rules::Fixed(model) => {
                    model.leave(&mut state.turns, number);
                    Some(true)
                }
            }
        };
        let was_dropped = self.state().turns.is_dropped(number);
        let outcome = self.call(Kind::Wait(number), || drop(wait));
        let state = &mut *self.state();
        let is_dropped = state.turns.is_dropped(number);
        if takes_along == Some(true) && !is_dropped {
            state.note(wrong(format!("{number} was given up, and lives")));
        }
        if takes_along == Some(false) && !was_dropped && is_dropped && !state.turns.polling {
            state.note(wrong(format!("{number} had begun, and went with its wait")));
        }
        outcome
    }

    fn try_spawn_fixed(&self, op: Op) -> Done {
        let Some(home) = self.home() else {
            return Ok(());
        };
        let number = self.new_job(op.spawning());
        let expected = self
            .state()
            .with_fixed(|model, turns| model.try_spawn(turns, number));
        let result = self.call(Kind::Plain, || home.nursery.try_spawn(Silent(Job(number))))?;
        let real = match &result {
            Ok(()) => Tried::In,
            Err(error) => tried(error),
        };
        if !expected.contains(&real) {
            let what = format!("try_spawn gives {real:?}, not {expected:?}");
            self.state().note(wrong(what));
        }
        self.drop_it(result.err())
    }

    fn spawn_wait_fixed(&self, op: Op) -> Done {
        let Some(home) = self.home() else {
            return Ok(());
        };
        let number = self.new_job(op.spawning());
        let future = home.nursery.spawn_wait(Silent(Job(number)));
        self.keep_wait(number, Waiting::Fixed(Box::pin(future)), op)
    }

    fn home(&self) -> Option<&'static Home> {
        // SAFETY: the world drops all that came of it before it frees the home.
        self.state().home.as_ref().map(|home| unsafe { home.get() })
    }

    // -------------------------------------------------------------- joins

    pub(super) fn poll_join(&self, op: Op) -> Done {
        let Some((number, mut join)) = self.state().take_join(op.at) else {
            return Ok(());
        };
        let (waker, shown) = self.new_waker(Role::Awaits(number), op.mood);
        let old = self.state().with_nursery(|model, _| {
            let mut wakers = model.awaits(number);
            wakers.push(shown);
            model.await_with(number, wakers.clone(), Until::Nothing);
            wakers
        });
        let cx = &mut Context::from_waker(&waker);
        let result = self.call(Kind::Plain, || Pin::new(&mut join).poll(cx));
        let polled = self.state().join_polled(number, shown, old, result);
        let outcome = match polled {
            Ok(None) => {
                self.state().joins.push((number, join));
                Ok(())
            }
            Ok(Some(value)) => self.drop_it(join).and(self.drop_it(value)),
            // It may have been ready, and is not asked again then.
            Err(boom) if self.state().with_nursery(|model, _| model.is_ended(number)) => {
                Done::Err(boom).and(self.drop_it(join))
            }
            Err(boom) => {
                self.state().joins.push((number, join));
                Err(boom)
            }
        };
        outcome.and(self.drop_it(waker))
    }

    pub(super) fn drop_join(&self, at: u8) -> Done {
        let Some((number, join)) = self.state().take_join(at) else {
            return Ok(());
        };
        self.state()
            .with_nursery(|model, _| model.await_with(number, Vec::new(), Until::Nothing));
        self.drop_it(join)
    }
}
