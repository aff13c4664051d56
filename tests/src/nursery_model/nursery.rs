//! The reference model of the nursery, plain, single-threaded and obviously right.
//!
//! It knows at every moment what **may** be done to the children, and at the end of each turn what
//! **must** have been done; in which order children are polled is the nursery's choice. What happens
//! between two calls of foreign code is seen at the next one:
//!
//! - A place is free as soon as its child is dropped, and goes to who waits longest. (The nursery hands
//!   it on somewhat later in the turn: until then a newcomer may be told that there is no room.)
//! - An end is judged by the policy before the next child is polled. That the token was cancelled for
//!   it is read off the token, which must have a reason for it.

use crate::nursery_model::op::{Rule, Setup};
use crate::nursery_model::turns::Turns;
use crate::script::Boom;
use std::collections::VecDeque;

/// Why a nursery was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Explicit,
    /// By its parent token.
    Parent,
    /// By the token that forces it.
    Force,
    Deadline,
    Failed,
    Succeeded,
    Dropped,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this value.
    Done(usize),
    Failed,
    Panicked,
    Cancelled(Why),
    Forced(Why),
    /// It was on its way when the nursery was forced: refused, or started and forced.
    CancelledOrForced(Why),
    Closed,
}

/// What a policy of the script's own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    CancelRest,
    Continue,
    Forgive,
    Panic,
}

impl Answer {
    pub(super) fn from_byte(byte: u8) -> Answer {
        [
            Answer::Continue,
            Answer::Forgive,
            Answer::CancelRest,
            Answer::Continue,
            Answer::Forgive,
            Answer::Continue,
            Answer::Forgive,
            Answer::Panic,
        ][usize::from(byte & 7)]
    }
}

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// With who spawns it: a wait that was not polled, or it was refused.
    Outside,
    /// It waits for room.
    InLine,
    Placed,
    /// It came when all children had ended, and is to be turned away.
    Late,
    /// A cleanup: to be begun, or begun.
    Deferred,
    AtWork,
    Gone,
}

/// How it came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Direct,
    Line,
    /// One of the two.
    Unsure,
}

/// What somebody waits for who must be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// He need not be.
    Nothing,
    /// The child's start, or its end.
    Start,
    End,
}

#[derive(Debug)]
pub(super) struct Kid {
    pub(super) stand: Stand,
    pub(super) path: Path,
    pub(super) graceful: bool,
    pub(super) named: bool,
    /// A moment.
    pub(super) given: usize,
    pub(super) begun: Option<usize>,
    /// It had its place when the turn began.
    pub(super) seen: bool,
    /// It has certainly been started.
    pub(super) admitted: bool,
    pub(super) end: Option<End>,
    /// The turn in which it ended.
    pub(super) ended_in: usize,
    /// The wakers of who awaits it of which one will be woken.
    pub(super) waiting: Vec<usize>,
    /// When one must be.
    pub(super) until: Until,
    /// It has had a place.
    pub(super) placed: bool,
}

/// An end that has not been judged.
#[derive(Debug)]
pub(super) struct Judging {
    pub(super) who: usize,
    pub(super) error: Option<usize>,
    /// The answer of the script's own policy.
    pub(super) answer: Option<Answer>,
    /// The nursery was cancelled when it had ended.
    pub(super) drained: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) started: usize,
    pub(super) done: usize,
    pub(super) failed: usize,
    pub(super) panicked: usize,
    pub(super) cancelled: usize,
    pub(super) forced: usize,
}

/// What became of the cleanups.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cleaned {
    pub(super) begun: usize,
    pub(super) done: usize,
    pub(super) failed: usize,
    pub(super) panicked: usize,
    pub(super) forced: usize,
}

/// What a nursery comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The value; or the error, or why it was cancelled.
    pub(super) result: Result<usize, Result<usize, Why>>,
    pub(super) rest: Vec<usize>,
}

/// What was so when the turn began.
#[derive(Default)]
pub(super) struct Beginning {
    pub(super) cancelled: bool,
    pub(super) due: bool,
    pub(super) force_token: bool,
    pub(super) must_force: bool,
    /// The time for cleanups was over.
    pub(super) must_hurry: bool,
    pub(super) now: u64,
}

pub(super) struct Nursery {
    pub(super) rule: Rule,
    pub(super) limit: Option<usize>,
    pub(super) deadline: Option<u64>,
    pub(super) grace: Option<u64>,
    /// How long all cleanups may take.
    pub(super) cleanup: Option<u64>,
    pub(super) timed: bool,

    pub(super) kids: Vec<Kid>,
    pub(super) line: VecDeque<usize>,
    pub(super) free: usize,
    /// Of these, how many may not be given out before the turn is over.
    pub(super) freed: usize,
    pub(super) now: u64,
    pub(super) moment: usize,

    pub(super) cancelled: Option<Why>,
    pub(super) forced: bool,
    pub(super) force_token: bool,
    /// When the drain began: not before, not after.
    pub(super) drains: (Option<u64>, Option<u64>),
    /// Since when cleanups run: not before, not after.
    pub(super) cleans: Option<(u64, u64)>,
    /// Cleanups that have not begun, the youngest last.
    pub(super) deferred: Vec<usize>,
    pub(super) at_work: Option<usize>,
    pub(super) cleaned: Cleaned,
    pub(super) beginning: Beginning,
    /// It is being dropped.
    pub(super) closing: bool,
    /// It takes no more children.
    pub(super) over: bool,
    pub(super) ends: usize,

    pub(super) judging: Option<Judging>,
    pub(super) cause: Option<usize>,
    pub(super) errors: Vec<usize>,
    pub(super) value: Option<usize>,
    pub(super) enough: bool,
    pub(super) cut: bool,
    pub(super) kept: Option<Boom>,
    pub(super) counts: Counts,
    /// How many of the cancelled may have been forced.
    pub(super) unsure: usize,
    /// A child's end and the cancellation came in the same moment: whether it drained is not certain.
    pub(super) vague: bool,
    /// Who took the cancellation gracefully, by name, and whether it was forced.
    pub(super) drained: Vec<(Option<usize>, bool)>,
}

/// The body's number.
pub(super) const BODY: usize = 0;

impl Nursery {
    pub(super) fn new(setup: &Setup) -> Self {
        let deadline = setup.deadline.into_iter().chain(setup.parents_deadline);
        Nursery {
            rule: setup.rule,
            limit: setup.limit,
            deadline: deadline.min(),
            grace: setup.grace,
            cleanup: setup.cleanup,
            timed: setup.timed,
            kids: Vec::new(),
            line: VecDeque::new(),
            free: setup.limit.unwrap_or(0),
            freed: 0,
            now: 0,
            moment: 0,
            cancelled: None,
            forced: false,
            force_token: false,
            drains: (None, None),
            cleans: None,
            deferred: Vec::new(),
            at_work: None,
            cleaned: Cleaned::default(),
            beginning: Beginning::default(),
            closing: false,
            over: false,
            ends: 0,
            judging: None,
            cause: None,
            errors: Vec::new(),
            value: None,
            enough: false,
            cut: false,
            kept: None,
            counts: Counts::default(),
            unsure: 0,
            vague: false,
            drained: Vec::new(),
        }
    }

    pub(super) fn tick(&mut self) -> usize {
        self.moment += 1;
        self.moment
    }

    /// A new child, or the body: outside. To be called for every number.
    pub(super) fn add(&mut self, graceful: bool, named: bool) {
        self.kids.push(Kid {
            stand: Stand::Outside,
            path: Path::Direct,
            graceful,
            named,
            given: 0,
            begun: None,
            seen: false,
            admitted: false,
            end: None,
            ended_in: 0,
            waiting: Vec::new(),
            until: Until::Nothing,
            placed: false,
        });
    }

    pub(super) fn put_body_in(&mut self, turns: &mut Turns) {
        self.kids[BODY].stand = Stand::Placed;
        turns.put_in(BODY);
    }
}

/// What `try_spawn` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    In,
    Full,
    Closed,
}

pub(super) fn is_like(expected: Option<End>, real: End) -> bool {
    match (expected, real) {
        (Some(End::CancelledOrForced(why)), real) => {
            real == End::Cancelled(why) || real == End::Forced(why)
        }
        (expected, real) => expected == Some(real),
    }
}
