//! The operations.

use crate::nursery_model::fixed::FixedOutcome;
use crate::nursery_model::foreign::{Fault, Job, Judge, Value};
use crate::nursery_model::nursery::{Tried, Until, Why};
use crate::nursery_model::op::{Kind as Subject, Op, Rule, Setup, What};
use crate::nursery_model::real::{
    Home, Lent, Real, Silent, Wait, Waiting, end, outcome, tried, with_pool,
};
use crate::nursery_model::state::{Kind, Role, Rules, State, reason};
use crate::nursery_model::turns::wrong;
use crate::nursery_model::world::{Done, World};
use crate::script::{Boom, Mood};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use umbel_core::{
    FailFast, Failure, FirstSuccess, FixedFailure, FixedNursery, FixedSet, FutureSet, Instant,
    Join, KeepGoing, LocalNursery, Nursery, TrySpawnError,
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

    fn take_set(&self) -> Option<Real> {
        let state = &mut *self.state();
        match state.rules {
            Rules::Set => state.real.take(),
            _ => None,
        }
    }

    // -------------------------------------------------------------- children

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
            _ if set => self.push(op),
            What::SpawnWait if fixed => self.spawn_wait_fixed(op),
            _ if fixed => self.try_spawn_fixed(op),
            What::TrySpawn => self.try_spawn(op),
            What::SpawnWait => self.spawn_wait(op),
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
        let how = op.spawning();
        let number = self.new_job(how);
        self.state()
            .with_nursery(|model, turns| model.spawn(turns, number));
        let join = self.call(Kind::Plain, || api.spawn(Job(number), &how))?;
        self.keep_join(number, join, how.detached)
    }

    fn keep_join(&self, number: usize, join: Join<Value>, detached: bool) -> Done {
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
        let how = op.spawning();
        let number = self.new_job(how);
        let expected = self
            .state()
            .with_nursery(|model, turns| model.try_spawn(turns, number));
        let result = self.call(Kind::Plain, || api.try_spawn(Job(number), &how))?;
        let real = match &result {
            Ok(_) => Tried::In,
            Err(error) => tried(error),
        };
        {
            let state = &mut *self.state();
            if expected.is_some_and(|expected| expected != real)
                || real == Tried::Closed && expected.is_none()
            {
                state.note(wrong(format!("try_spawn gives {real:?}, not {expected:?}")));
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
        let how = op.spawning();
        let number = self.new_job(how);
        self.state()
            .with_nursery(|model, _| model.wait_made(number));
        let future = self.call(Kind::Plain, || api.spawn_wait(Job(number), &how))?;
        self.keep_wait(number, Waiting::Growing(future), op)
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
                let old = self.state().with_fixed(|model, turns| {
                    let old = model.waits_with(number);
                    let expected = model.wait(turns, number);
                    (expected, old)
                });
                let result = self.call(Kind::Wait(number), || future.as_mut().poll(cx));
                self.state().fixed_wait_polled(number, shown, old, result)
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
        self.call(Kind::Plain, || token.cancel_with(reason(1)))
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
        self.call(Kind::Plain, || token.cancel_with(reason(2)))
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

// ------------------------------------------------------------------ what came out

/// A panic or nothing, and what came out that is to be dropped.
type Out<T> = (Done, Option<T>);

/// What a wait for room gave: a join to be kept, a refusal to be dropped.
type WaitOut = (Option<Join<Value>>, Option<TrySpawnError<Silent>>);

impl State {
    fn with_nursery<R: Default>(
        &mut self,
        act: impl FnOnce(
            &mut crate::nursery_model::nursery::Nursery,
            &mut crate::nursery_model::turns::Turns,
        ) -> R,
    ) -> R {
        match &mut self.rules {
            Rules::Nursery(model) => act(model, &mut self.turns),
            _ => R::default(),
        }
    }

    fn with_fixed<R: Default>(
        &mut self,
        act: impl FnOnce(
            &mut crate::nursery_model::fixed::Fixed,
            &mut crate::nursery_model::turns::Turns,
        ) -> R,
    ) -> R {
        match &mut self.rules {
            Rules::Fixed(model) => act(model, &mut self.turns),
            _ => R::default(),
        }
    }

    fn take_wait(&mut self, at: u8) -> Option<Wait> {
        match self.waits.len() {
            0 => None,
            // The youngest.
            n if at == u8::MAX => Some(self.waits.remove(n - 1)),
            n => Some(self.waits.remove(usize::from(at) % n)),
        }
    }

    fn take_join(&mut self, at: u8) -> Option<(usize, Join<Value>)> {
        match self.joins.len() {
            0 => None,
            n => Some(self.joins.remove(usize::from(at) % n)),
        }
    }

    fn run_polled(
        &mut self,
        result: Result<Poll<Result<Value, Failure<Fault>>>, Boom>,
    ) -> Out<Result<Value, Failure<Fault>>> {
        self.look();
        let loose = std::mem::take(&mut self.loose);
        let Rules::Nursery(model) = &mut self.rules else {
            return (Ok(()), None);
        };
        let turns = &mut self.turns;
        let (verdict, out) = match result {
            Ok(Poll::Pending) => (model.end_turn(turns, true), (Ok(()), None)),
            Ok(Poll::Ready(result)) => {
                self.ended = true;
                let verdict = match outcome(&result) {
                    Some(outcome) => model.finish(turns, &outcome),
                    None => wrong("an outcome that is none"),
                };
                let report = self.api.as_ref().and_then(|api| api.report());
                let verdict = verdict.and_then(|()| model.reported(report.as_ref()));
                (verdict, (Ok(()), Some(result)))
            }
            Err(boom) if loose.contains(&boom) && !model.is_over() => {
                model.let_go(boom);
                (model.end_turn(turns, false), (Err(boom), None))
            }
            Err(boom) => {
                self.ended = true;
                (model.finish_with(turns, boom), (Err(boom), None))
            }
        };
        self.note(verdict);
        out
    }

    fn fixed_polled(
        &mut self,
        result: Result<Poll<Result<Value, FixedFailure<Fault>>>, Boom>,
    ) -> Out<Result<Value, FixedFailure<Fault>>> {
        let Rules::Fixed(model) = &mut self.rules else {
            return (Ok(()), None);
        };
        let turns = &mut self.turns;
        let (verdict, out) = match result {
            Ok(Poll::Pending) => (model.end_turn(turns, None), (Ok(()), None)),
            Ok(Poll::Ready(result)) => {
                let outcome = match &result {
                    Ok(value) => FixedOutcome::Value(value.0),
                    Err(FixedFailure::Error(fault)) => FixedOutcome::Error(fault.0),
                    Err(FixedFailure::Cancelled(_)) => FixedOutcome::Cancelled,
                };
                self.ended = true;
                (
                    model.end_turn(turns, Some(&outcome)),
                    (Ok(()), Some(result)),
                )
            }
            Err(boom) => {
                self.ended = true;
                (model.end_with_panic(turns), (Err(boom), None))
            }
        };
        self.note(verdict);
        out
    }

    fn set_polled(
        &mut self,
        result: Result<Poll<Option<Result<Value, Fault>>>, Boom>,
    ) -> Out<Result<Value, Fault>> {
        let empty = self.turns.all_in().next().is_none();
        let (verdict, out) = match result {
            Ok(Poll::Pending) if empty => (wrong("an empty set is pending"), (Ok(()), None)),
            Ok(Poll::Pending) => (self.turns.end_turn(true), (Ok(()), None)),
            Ok(Poll::Ready(None)) if empty => (self.turns.break_off(), (Ok(()), None)),
            Ok(Poll::Ready(None)) => (wrong("a set that is not empty ends"), (Ok(()), None)),
            Ok(Poll::Ready(Some(output))) => (self.turns.break_off(), (Ok(()), Some(output))),
            Err(boom) => (self.turns.break_off(), (Err(boom), None)),
        };
        self.note(verdict);
        out
    }

    fn wait_polled(
        &mut self,
        number: usize,
        shown: usize,
        old: Vec<usize>,
        result: Result<Poll<super::real::Spawned>, Boom>,
    ) -> Result<Option<WaitOut>, Boom> {
        self.look();
        let Rules::Nursery(model) = &mut self.rules else {
            return Ok(None);
        };
        let turns = &self.turns;
        let (verdict, wakers, until, out) = match result {
            Ok(Poll::Pending) => {
                let verdict = model.wait_polled(turns, number, None);
                (verdict, vec![shown], Until::Start, Ok(None))
            }
            Ok(Poll::Ready(Ok(join))) => {
                let verdict = model.wait_polled(turns, number, Some(None));
                // A waker of his may be left for the child's end.
                (verdict, old, Until::Nothing, Ok(Some((Some(join), None))))
            }
            Ok(Poll::Ready(Err(error))) => {
                let verdict = match end(&error) {
                    Some(end) => model.wait_polled(turns, number, Some(Some(end))),
                    None => wrong(format!("a wait gives {error:?}")),
                };
                (verdict, Vec::new(), Until::Nothing, Ok(Some((None, None))))
            }
            Err(boom) => (Ok(()), old, Until::Nothing, Err(boom)),
        };
        model.await_with(number, wakers, until);
        self.note(verdict);
        out
    }

    fn fixed_wait_polled(
        &mut self,
        number: usize,
        shown: usize,
        (expected, old): (&'static [Option<Tried>], Option<usize>),
        result: Result<Poll<Result<(), TrySpawnError<Silent>>>, Boom>,
    ) -> Result<Option<WaitOut>, Boom> {
        let Rules::Fixed(model) = &mut self.rules else {
            return Ok(None);
        };
        let (real, out) = match result {
            Ok(Poll::Pending) => (None, Ok(None)),
            Ok(Poll::Ready(Ok(()))) => (Some(Tried::In), Ok(Some((None, None)))),
            Ok(Poll::Ready(Err(error))) => (Some(tried(&error)), Ok(Some((None, Some(error))))),
            Err(boom) => {
                model.wait_with(number, old);
                return Err(boom);
            }
        };
        model.wait_with(number, real.is_none().then_some(shown));
        if !expected.contains(&real) {
            self.note(wrong(format!("a wait gives {real:?}, not {expected:?}")));
        }
        out
    }

    fn join_polled(
        &mut self,
        number: usize,
        shown: usize,
        old: Vec<usize>,
        result: Result<Poll<Result<Value, umbel_core::JoinError>>, Boom>,
    ) -> Result<Option<Option<Value>>, Boom> {
        self.look();
        let Rules::Nursery(model) = &mut self.rules else {
            return Ok(None);
        };
        let turns = &self.turns;
        let (verdict, wakers, until, out) = match result {
            Ok(Poll::Pending) => {
                let verdict = model.join_polled(turns, number, None);
                (verdict, vec![shown], Until::End, Ok(None))
            }
            Ok(Poll::Ready(result)) => {
                let came = match &result {
                    Ok(value) => Some(super::nursery::End::Done(value.0)),
                    Err(error) => end(error),
                };
                let verdict = match came {
                    Some(end) => model.join_polled(turns, number, Some(end)),
                    None => wrong("a join's error that is none"),
                };
                (verdict, Vec::new(), Until::Nothing, Ok(Some(result.ok())))
            }
            Err(boom) => (Ok(()), old, Until::Nothing, Err(boom)),
        };
        model.await_with(number, wakers, until);
        self.note(verdict);
        out
    }
}
