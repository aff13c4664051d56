//! What came out of a call, shown to the model.

use crate::nursery_model::fixed::{Fixed, FixedOutcome};
use crate::nursery_model::foreign::{Fault, Value};
use crate::nursery_model::nursery::{End, Nursery, Tried, Until};
use crate::nursery_model::real::{Silent, Spawned, Wait, end, outcome, tried};
use crate::nursery_model::state::{Rules, State};
use crate::nursery_model::turns::{Turns, wrong};
use crate::nursery_model::world::Done;
use crate::script::Boom;
use std::task::Poll;
use umbel_core::{Failure, FixedFailure, Join, JoinError, TrySpawnError};

/// A panic or nothing, and what came out that is to be dropped.
pub(super) type Out<T> = (Done, Option<T>);

/// What a wait for room gave: a join to be kept, a refusal to be dropped.
pub(super) type WaitOut = (Option<Join<Value>>, Option<TrySpawnError<Silent>>);

impl State {
    pub(super) fn with_nursery<R: Default>(
        &mut self,
        act: impl FnOnce(&mut Nursery, &mut Turns) -> R,
    ) -> R {
        match &mut self.rules {
            Rules::Nursery(model) => act(model, &mut self.turns),
            _ => R::default(),
        }
    }

    pub(super) fn with_fixed<R: Default>(
        &mut self,
        act: impl FnOnce(&mut Fixed, &mut Turns) -> R,
    ) -> R {
        match &mut self.rules {
            Rules::Fixed(model) => act(model, &mut self.turns),
            _ => R::default(),
        }
    }

    pub(super) fn take_wait(&mut self, at: u8) -> Option<Wait> {
        match self.waits.len() {
            0 => None,
            // The youngest.
            n if at == u8::MAX => Some(self.waits.remove(n - 1)),
            n => Some(self.waits.remove(usize::from(at) % n)),
        }
    }

    pub(super) fn take_join(&mut self, at: u8) -> Option<(usize, Join<Value>)> {
        match self.joins.len() {
            0 => None,
            n => Some(self.joins.remove(usize::from(at) % n)),
        }
    }

    pub(super) fn run_polled(
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

    pub(super) fn fixed_polled(
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

    pub(super) fn set_polled(
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

    pub(super) fn wait_polled(
        &mut self,
        number: usize,
        shown: usize,
        old: Vec<usize>,
        result: Result<Poll<Spawned>, Boom>,
    ) -> Result<Option<WaitOut>, Boom> {
        self.look();
        let Rules::Nursery(model) = &mut self.rules else {
            return Ok(None);
        };
        let turns = &mut self.turns;
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

    pub(super) fn fixed_wait_polled(
        &mut self,
        number: usize,
        shown: usize,
        result: Result<Poll<Result<(), TrySpawnError<Silent>>>, Boom>,
    ) -> Result<Option<WaitOut>, Boom> {
        let Rules::Fixed(model) = &mut self.rules else {
            return Ok(None);
        };
        // Beside the one of ours.
        let is_held = self.wakers[shown].1 > 1;
        let (real, out) = match result {
            Ok(Poll::Pending) => (None, Ok(None)),
            Ok(Poll::Ready(Ok(()))) => (Some(Tried::In), Ok(Some((None, None)))),
            Ok(Poll::Ready(Err(error))) => (Some(tried(&error)), Ok(Some((None, Some(error))))),
            Err(boom) => {
                match is_held {
                    true => model.waits(number, shown),
                    false => model.waits_as_before(number, shown),
                }
                return Err(boom);
            }
        };
        match real {
            None => model.waits(number, shown),
            Some(_) => model.leave(&mut self.turns, number),
        }
        let verdict = model.wait_gives(number, real);
        self.note(verdict);
        out
    }

    pub(super) fn join_polled(
        &mut self,
        number: usize,
        shown: usize,
        old: Vec<usize>,
        result: Result<Poll<Result<Value, JoinError>>, Boom>,
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
                    Ok(value) => Some(End::Done(value.0)),
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
