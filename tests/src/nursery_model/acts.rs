//! The operations.

use crate::nursery_model::foreign::{Fault, Job, Judge, Value};
use crate::nursery_model::nursery::Why;
use crate::nursery_model::op::{Kind as Subject, Op, Rule, Setup};
use crate::nursery_model::real::{FORCE, Home, Lent, PARENT, Real, with_pool};
use crate::nursery_model::state::{Kind, Role, Rules, State};
use crate::nursery_model::turns::wrong;
use crate::nursery_model::world::{Done, World};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;
use umbel_core::{
    FailFast, Failure, FirstSuccess, FixedFailure, FixedNursery, FixedSet, FutureSet, Instant,
    KeepGoing, LocalNursery, Nursery, Reason,
};

macro_rules! make_nursery {
    ($Nursery:ident, $setup:expr, $state:expr) => {{
        let (setup, state) = ($setup, $state);
        let mut nursery = $Nursery::<'static, Fault>::new();
        nursery = match setup.rule {
            Rule::FailFast => nursery.policy(FailFast),
            Rule::KeepGoing => nursery.policy(KeepGoing),
            Rule::FirstSuccess => nursery.policy(FirstSuccess),
            Rule::Custom => nursery.policy(Judge(setup.mood)),
        };
        if let Some(limit) = setup.limit {
            nursery = nursery.limit(limit);
        }
        if setup.timed {
            nursery = nursery.timer(state.clock.clone());
        }
        if let Some(at) = setup.deadline {
            nursery = nursery.deadline(Instant::from_nanos(at));
        }
        if let Some(grace) = setup.grace {
            nursery = nursery.grace(Duration::from_nanos(grace));
        }
        if let Some(budget) = setup.cleanup {
            nursery = nursery.cleanup(Duration::from_nanos(budget));
        }
        if setup.parent {
            nursery = nursery.token(&state.parent);
        }
        if setup.force_on {
            nursery = nursery.force_on(&state.force_on);
        }
        let handle = nursery.handle();
        state.real = Some(Real::Run(Box::pin(nursery.run(Job(0)))));
        state.api = Some(Rc::new(handle));
    }};
}

impl World {
    /// Makes what the script drives.
    pub(super) fn make(&self, setup: &Setup) {
        let state = &mut *self.state();
        if let (true, Some(at)) = (setup.parent, setup.parents_deadline) {
            state.parent = state.parent.child_with_deadline(Instant::from_nanos(at));
        }
        match setup.kind {
            Subject::Nursery => make_nursery!(Nursery, setup, &mut *state),
            Subject::LocalNursery => make_nursery!(LocalNursery, setup, &mut *state),
            Subject::FixedNursery => {
                let home = Lent::new(Home {
                    nursery: with_pool(FixedNursery::with_size),
                    stop: state.parent.clone(),
                });
                // SAFETY: the world drops waits and run before it frees the home.
                let there = unsafe { home.get() };
                let run = there.nursery.run_until_cancelled(&there.stop, Job(0));
                state.real = Some(Real::FixedRun(Box::pin(run)));
                state.home = Some(home);
            }
            Subject::FutureSet => state.real = Some(Real::FutureSet(FutureSet::new())),
            Subject::FixedSet => {
                let set = with_pool(FixedSet::new);
                state.real = Some(Real::FixedSet(Box::pin(set)));
            }
            Subject::PassThrough => {
                state.real = Some(Real::FixedSet(Box::pin(FixedSet::pass_through())));
            }
        }
        let State { rules, turns, .. } = state;
        match rules {
            Rules::Set => {}
            Rules::Nursery(model) => model.put_body_in(turns),
            Rules::Fixed(_) => turns.put_in(0),
        }
    }

    // -------------------------------------------------------------- the whole

    pub(super) fn poll(self: &Rc<Self>, op: Op) -> Done {
        let (mut real, kept) = {
            let state = &mut *self.state();
            if state.ended {
                return Ok(());
            }
            let Some(real) = state.real.take() else {
                return Ok(()); // it is being polled, or gone
            };
            (real, state.kept.take())
        };
        let again = op.with & 1 == 0;
        let mut outcome = Ok(());
        let (waker, number) = match kept {
            Some(kept) if again => kept,
            kept => {
                outcome = self.drop_it(kept);
                self.new_waker(Role::Outer, op.mood)
            }
        };
        {
            let state = &mut *self.state();
            match &mut state.rules {
                Rules::Set => state.turns.begin_turn(number, |_| true),
                Rules::Nursery(model) => model.begin_turn(&mut state.turns, number),
                Rules::Fixed(model) => model.begin_turn(&mut state.turns, number),
            }
        }
        let cx = &mut Context::from_waker(&waker);
        let polled = match &mut real {
            Real::Run(run) => self.poll_run(run.as_mut(), cx),
            Real::FixedRun(run) => self.poll_fixed(run.as_mut(), cx),
            Real::FutureSet(_) | Real::FixedSet(_) => self.poll_set(&mut real, cx),
        };
        self.state().real = Some(real);
        if op.with & 2 == 0 {
            let old = self.state().kept.replace((waker, number));
            outcome = outcome.and(self.drop_it(old));
        } else {
            outcome = outcome.and(self.drop_it(waker));
        }
        outcome.and(polled)
    }

    fn poll_run(
        &self,
        run: Pin<&mut dyn Future<Output = Result<Value, Failure<Fault>>>>,
        cx: &mut Context<'_>,
    ) -> Done {
        let result = self.call(Kind::Turn, || run.poll(cx));
        let (done, rest) = self.state().run_polled(result);
        done.and(self.drop_it(rest))
    }

    fn poll_fixed(
        &self,
        run: Pin<&mut dyn Future<Output = Result<Value, FixedFailure<Fault>>>>,
        cx: &mut Context<'_>,
    ) -> Done {
        let result = self.call(Kind::Turn, || run.poll(cx));
        let (done, rest) = self.state().fixed_polled(result);
        done.and(self.drop_it(rest))
    }

    fn poll_set(&self, real: &mut Real, cx: &mut Context<'_>) -> Done {
        let result = self.call(Kind::Turn, || real.poll_set(cx));
        let (done, rest) = self.state().set_polled(result);
        done.and(self.drop_it(rest))
    }

    pub(super) fn drop_subject(&self) -> Done {
        let (real, home) = {
            let state = &mut *self.state();
            let Some(real) = state.real.take() else {
                return Ok(());
            };
            match &mut state.rules {
                Rules::Set => {}
                Rules::Nursery(model) => model.close(&mut state.turns),
                Rules::Fixed(model) => model.close(),
            }
            state.ended = true;
            (real, state.home.is_some())
        };
        let outcome = self.call(Kind::Close, || drop(real));
        let state = &mut *self.state();
        let verdict = match &mut state.rules {
            Rules::Set => state.set_cleared(),
            Rules::Nursery(model) => model.closed(&state.turns),
            Rules::Fixed(model) => model.closed(&state.turns),
        };
        debug_assert_eq!(home, matches!(state.rules, Rules::Fixed(_)));
        state.note(verdict);
        outcome
    }

    pub(super) fn clear(&self) -> Done {
        let Some(mut real) = self.take_set() else {
            return Ok(());
        };
        let outcome = self.call(Kind::Close, || match &mut real {
            Real::FutureSet(set) => set.clear(),
            Real::FixedSet(set) => set.as_mut().clear(),
            Real::Run(_) | Real::FixedRun(_) => {}
        });
        let state = &mut *self.state();
        state.real = Some(real);
        let verdict = state.set_cleared();
        state.note(verdict);
        outcome
    }

    pub(super) fn take_set(&self) -> Option<Real> {
        let state = &mut *self.state();
        match state.rules {
            Rules::Set => state.real.take(),
            _ => None,
        }
    }

    // -------------------------------------------------------------- steering

    pub(super) fn cancel(&self) -> Done {
        let Some(api) = self.state().api.clone() else {
            return self.cancel_parent();
        };
        let expected = self
            .state()
            .with_nursery(|model, turns| model.cancel(turns, Why::Explicit));
        let first = self.call(Kind::Plain, || api.cancel())?;
        if first != expected {
            self.state().note(wrong(format!("cancel gives {first}")));
        }
        Ok(())
    }

    pub(super) fn cancel_parent(&self) -> Done {
        let token = {
            let state = &mut *self.state();
            match &mut state.rules {
                Rules::Set => return Ok(()),
                Rules::Nursery(model) if state.has_parent => {
                    model.cancel(&mut state.turns, Why::Parent);
                }
                Rules::Nursery(_) => return Ok(()),
                Rules::Fixed(model) => {
                    state.turns.cause = true;
                    model.cancelled = true;
                }
            }
            state.parent.clone()
        };
        self.call(Kind::Plain, || token.cancel_with(Reason::custom(PARENT)))
            .map(drop)
    }

    pub(super) fn cancel_force_token(&self) -> Done {
        let token = {
            let state = &mut *self.state();
            if !state.has_force_token {
                return Ok(());
            }
            state.with_nursery(|model, turns| model.cancel_force_token(turns));
            state.force_on.clone()
        };
        self.call(Kind::Plain, || token.cancel_with(Reason::custom(FORCE)))
            .map(drop)
    }

    pub(super) fn force(&self) -> Done {
        let Some(api) = self.state().api.clone() else {
            return Ok(());
        };
        self.state().with_nursery(|model, turns| model.force(turns));
        self.call(Kind::Plain, || api.force())
    }

    pub(super) fn advance(&self, with: u8) -> Done {
        let by = u64::from(with) & 7;
        let clock = {
            let state = &mut *self.state();
            if !matches!(state.rules, Rules::Nursery(_)) {
                return Ok(());
            }
            state.with_nursery(|model, turns| model.advance(turns, by));
            state.clock.clone()
        };
        self.call(Kind::Plain, || clock.advance(Duration::from_nanos(by)))
    }
}
