//! What the interpreter keeps: the tokens and what was made of them, each with its number in the model;
//! and the comparison of the two.

use crate::model::foreign::{Boom, Done, why};
use crate::model::forest::{Forest, Polled};
use crate::model::op::Op;
use crate::model::trees::{Cascade, Verdict};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use umbel_core::{CancellationToken, DropGuard, Flag, Instant, Registration};

/// The most of each kind at once: enough to cross the ends of the first segments.
pub(super) const MOST: usize = 80;
/// From here on, a number of a token means a cancelled one too.
const ANY_TOKEN: u8 = 0xd0;

/// Polls something of the tree's.
pub(super) type Polling = Box<dyn FnMut(&mut Context<'_>) -> Poll<Polled> + Send>;

/// A call into the tree.
#[derive(Default)]
pub(super) struct Frame {
    /// It cancels, and is the first.
    pub(super) cascade: Option<Cascade>,
    /// It registers this callback, whose token is cancelled.
    pub(super) registers: Option<usize>,
    /// The first panic of the foreign code that it called.
    pub(super) panic: Option<Boom>,
}

pub(super) struct Handle {
    pub(super) token: CancellationToken,
    pub(super) node: usize,
}

/// What is polled.
pub(super) struct Waiter {
    pub(super) node: usize,
    /// Its number in the model.
    pub(super) wait: usize,
    pub(super) polling: Polling,
    /// A waker that is shown again.
    pub(super) kept: Option<(Waker, usize)>,
    /// The future that is run until cancelled.
    pub(super) work: Option<Arc<Done>>,
    pub(super) begun: bool,
    /// It must not be polled any more.
    pub(super) finished: bool,
}

pub(super) struct Held<T> {
    pub(super) real: T,
    pub(super) node: usize,
    /// A callback's number.
    pub(super) callback: usize,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) forest: Forest,
    pub(super) next_op: usize,
    pub(super) frames: Vec<Frame>,
    pub(super) wrong: Option<String>,
    /// Which operations were done, and how deep inside of others.
    pub(super) trace: Vec<(usize, Op)>,
    pub(super) panics: usize,
    /// The interpreter itself clones or drops a waker.
    pub(super) quiet: bool,

    pub(super) tokens: Vec<Arc<Handle>>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) registrations: Vec<Held<Registration>>,
    pub(super) flags: Vec<(Held<Flag>, bool)>,
    pub(super) guards: Vec<Held<DropGuard>>,
    /// Of every waker: its wait, and how many there are.
    pub(super) wakers: Vec<(usize, usize)>,
    /// Of every error: whether it was dropped.
    pub(super) errors: Vec<bool>,
}

impl State {
    pub(super) fn note(&mut self, verdict: Verdict) {
        if let Err(wrong) = verdict {
            self.wrong.get_or_insert(wrong);
        }
    }

    pub(super) fn new_boom(&mut self) -> Boom {
        self.panics += 1;
        Boom(self.panics)
    }

    pub(super) fn token(&self, at: u8) -> Option<Arc<Handle>> {
        let live = |handle: &&Arc<Handle>| !self.forest.trees.is_cancelled(handle.node);
        let pick = |handles: Vec<_>| Some(Arc::clone(handles[index(at, handles.len())?]));
        if at < ANY_TOKEN {
            pick(self.tokens.iter().filter(live).collect())
        } else {
            pick(self.tokens.iter().collect())
        }
    }

    /// What is seen of a token is what the model says.
    pub(super) fn look(&mut self, token: &CancellationToken, node: usize) -> Verdict {
        look(&mut self.forest, token, node)
    }

    /// What holds at every moment: what can be seen of the tokens is what the model says.
    pub(super) fn compare(&mut self) -> Verdict {
        let forest = &mut self.forest;
        for (i, handle) in self.tokens.iter().enumerate() {
            let Handle { token, node } = &**handle;
            look(forest, token, *node).map_err(|wrong| format!("token {i}: {wrong}"))?;
            let reason = token.reason();
            let deadline = token.deadline().map_or(u64::MAX, Instant::as_nanos);
            if deadline != forest.trees.deadline(*node)
                || token.can_be_cancelled() == forest.trees.is_never(*node)
                || token.is_cancelled() != reason.is_some()
                || token.check().err().map(|c| c.into_reason()) != reason
            {
                return Err(format!(
                    "token {i}: deadline {deadline}, or never, or is_cancelled, or check"
                ));
            }
        }
        for (flag, born_set) in &self.flags {
            let set = flag.real.is_set();
            let may = match *born_set {
                _ if !set => false,
                true => forest.trees.seen_cancelled(flag.node),
                false => forest.trees.seen_woken(flag.node),
            };
            let must = *born_set || forest.trees.is_settled(flag.node);
            if set && !may || !set && must {
                return Err(format!("a flag: set {set}, may be {may}, must be {must}"));
            }
        }
        Ok(())
    }

    /// What holds when no call is running.
    pub(super) fn compare_all(&mut self, at: u8) -> Verdict {
        self.forest.settle()?;
        if let Some(one) = self.token(at) {
            for other in &self.tokens {
                if (one.token == other.token) != (one.node == other.node) {
                    return Err("equality".into());
                }
            }
        }
        let mut held: Vec<Vec<(usize, usize)>> = Vec::new();
        for (waker, (wait, count)) in self.wakers.iter().enumerate() {
            held.resize_with(held.len().max(wait + 1), Vec::new);
            held[*wait].push((waker, *count));
        }
        for waiter in &self.waiters {
            if let (Some((_, kept)), Some(held)) = (&waiter.kept, held.get_mut(waiter.wait)) {
                held.iter_mut()
                    .filter(|(waker, _)| waker == kept)
                    .for_each(|(_, count)| *count -= 1);
            }
        }
        for (wait, held) in held.into_iter().enumerate() {
            self.forest.may_hold(wait, held.into_iter())?;
        }
        Ok(())
    }
}

fn look(forest: &mut Forest, token: &CancellationToken, node: usize) -> Verdict {
    match token.reason().as_ref().map(why) {
        Some(None) => Err("a reason that nobody gave".into()),
        seen => forest.trees.seen(node, seen.flatten()),
    }
}

pub(super) fn index(at: u8, len: usize) -> Option<usize> {
    usize::from(at).checked_rem(len)
}

pub(super) fn take<T>(from: &mut Vec<T>, at: u8) -> Option<T> {
    Some(from.swap_remove(index(at, from.len())?))
}
