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
//! - What is to happen to a child alone (somebody cancelled it, its time is over, it waits in vain, it is
//!   a service that nobody needs any more) happens within two turns, of which the first begins after
//!   that.

use crate::nursery_model::op::{Rule, Setup, Spawning};
use crate::nursery_model::turns::Turns;
use crate::script::Boom;
use std::collections::VecDeque;
use umbel_core::Priority;

/// Why a nursery was cancelled, or a child alone.
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
    /// By its own handle, by its name, by its key.
    Handle,
    Named,
    Keyed,
}

/// Some of the reasons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Whys(u16);

impl Whys {
    pub(super) fn with(self, why: Why) -> Whys {
        Whys(self.0 | 1 << why as u16)
    }

    pub(super) fn and(self, other: Whys) -> Whys {
        Whys(self.0 | other.0)
    }

    pub(super) fn has(self, why: Why) -> bool {
        self.0 & 1 << why as u16 != 0
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// How a child that was dropped before its end may have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) cancelled: Whys,
    pub(super) forced: Whys,
    pub(super) skipped: bool,
}

impl Cut {
    pub(super) fn is_none(self) -> bool {
        self == Cut::default()
    }

    /// In how many ways.
    pub(super) fn ways(self) -> usize {
        let ways = [
            !self.cancelled.is_none(),
            !self.forced.is_none(),
            self.skipped,
        ];
        ways.into_iter().filter(|way| *way).count()
    }
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
    Skipped,
    /// One of these.
    Cut(Cut),
    /// Well, without having said that it had started.
    Unstarted,
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
    /// It waits for others.
    Waiting,
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
    Line(Priority),
    Service,
    /// One of these.
    Unsure,
}

/// What somebody waits for who must be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// He need not be.
    Nothing,
    /// The child's start, or its end.
    Start,
    /// Its saying that it has started, or its end.
    Said,
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
    /// It had its place when the turn began, perhaps.
    pub(super) was_placed: bool,
    /// It certainly had.
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
    /// Perhaps somebody else has its place, who came later.
    pub(super) tentative: bool,
    /// Who waited for room for it has gone.
    pub(super) gave_up: bool,
    /// A critical section.
    pub(super) shielded: bool,
    pub(super) key: Option<u8>,
    pub(super) priority: Priority,
    pub(super) service: bool,
    /// For whom it waits.
    pub(super) after: Vec<usize>,
    pub(super) alone: Alone,
    pub(super) start: Start,
}

/// How far a child has come with saying that it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nobody waits for it, or no more.
    Unasked,
    Asked,
    Said,
}

/// What is to become of a child alone.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// It has a token for itself.
    pub(super) own: bool,
    pub(super) deadline: Option<u64>,
    pub(super) timeout: Option<u64>,
    /// When it came in: not before, not after.
    pub(super) since: (Option<u64>, Option<u64>),
    /// For one of these it may have been cancelled.
    pub(super) whys: Whys,
    /// In this turn somebody has asked for it.
    pub(super) asked: bool,
    /// It certainly was, having been polled so many times.
    pub(super) sure: Option<usize>,
    /// A graceful one was told: not before, not after.
    pub(super) told: (Option<u64>, Option<u64>),
    /// It was, and is not polled again if it is a plain one.
    pub(super) firm: bool,
    /// Its token says so.
    pub(super) says: bool,
    /// It was there when the turn began.
    pub(super) known: bool,
    /// It had been polled since it was certainly cancelled, when the turn began.
    pub(super) noticed: bool,
    /// How many turns have begun with something to be done about it.
    pub(super) overdue: u8,
}

/// An end that has not been judged.
#[derive(Debug)]
pub(super) struct Judging {
    pub(super) who: usize,
    pub(super) error: Option<usize>,
    /// The answer of the script's own policy.
    pub(super) answer: Option<Answer>,
    /// The nursery was cancelled when it had ended, or it alone.
    pub(super) drained: bool,
    /// It alone may have been.
    pub(super) perhaps: bool,
}

/// Whether a report tells of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drain {
    pub(super) name: Option<usize>,
    pub(super) forced: bool,
    /// It may tell of it, or not.
    pub(super) unsure: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) started: usize,
    pub(super) done: usize,
    pub(super) failed: usize,
    pub(super) panicked: usize,
    pub(super) cancelled: usize,
    pub(super) forced: usize,
    pub(super) skipped: usize,
    pub(super) active: usize,
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
    /// Nobody had any more time.
    pub(super) forced: bool,
    /// The time for cleanups was over.
    pub(super) must_hurry: bool,
    pub(super) now: u64,
    /// Only services and those who wait in vain were left.
    pub(super) rest_ended: bool,
    /// How much had been given.
    pub(super) given: usize,
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
    /// Somebody was dropped with the nursery whose place may have been another one's.
    pub(super) vacated: bool,
    /// Who may have taken a place, and from whom.
    pub(super) displaced: Option<(usize, usize)>,
    pub(super) free: usize,
    /// Of these, how many may not be given out before the turn is over.
    pub(super) freed: usize,
    /// And how many before the next one is.
    pub(super) freed_late: usize,
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
    /// How many errors there were when the first cleanup began.
    pub(super) errors_before: Option<usize>,
    pub(super) cut: bool,
    /// Whether it was is not certain, if `cut` does not say so.
    pub(super) perhaps_cut: bool,
    pub(super) kept: Option<Boom>,
    pub(super) counts: Counts,
    /// Those who were dropped before their ends, in a way that is not certain.
    pub(super) unsure: Vec<Cut>,
    /// A child's end and the cancellation came in the same moment: whether it drained is not certain.
    pub(super) vague: bool,
    /// Who took the cancellation gracefully.
    pub(super) drained: Vec<Drain>,
    /// How much was given to it, children, cleanups, and requests.
    pub(super) given: usize,
    /// Something was asked of it between turns.
    pub(super) asked: bool,
    /// Who waits in vain may have been given up in this turn.
    pub(super) given_up: bool,
    pub(super) looks: Vec<Looking>,
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
            vacated: false,
            displaced: None,
            free: setup.limit.unwrap_or(0),
            freed: 0,
            freed_late: 0,
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
            errors_before: None,
            cut: false,
            perhaps_cut: false,
            kept: None,
            counts: Counts::default(),
            unsure: Vec::new(),
            vague: false,
            drained: Vec::new(),
            given: 0,
            asked: false,
            given_up: false,
            looks: Vec::new(),
        }
    }

    pub(super) fn tick(&mut self) -> usize {
        self.moment += 1;
        self.moment
    }

    /// A new child, or the body: outside. To be called for every number.
    pub(super) fn add(&mut self, how: &Spawning) {
        let Spawning {
            graceful,
            named,
            said,
            ..
        } = *how;
        self.kids.push(Kid {
            stand: Stand::Outside,
            path: Path::Direct,
            graceful,
            named,
            given: 0,
            begun: None,
            was_placed: false,
            seen: false,
            admitted: false,
            end: None,
            ended_in: 0,
            waiting: Vec::new(),
            until: Until::Nothing,
            placed: false,
            tentative: false,
            gave_up: false,
            shielded: false,
            key: said.key,
            priority: said.priority,
            service: said.service,
            after: said.after.into_iter().flatten().map(|of| of.0).collect(),
            alone: Alone {
                own: said.has_own() || graceful && (named || said.key.is_some()),
                deadline: said.deadline,
                timeout: said.timeout,
                ..Alone::default()
            },
            start: Start::Unasked,
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

/// Somebody who has asked for a snapshot.
#[derive(Debug)]
pub(super) struct Looking {
    /// When he asked: a moment.
    pub(super) asked: usize,
    /// His waker is there.
    pub(super) waits: bool,
    /// It was when the turn began.
    pub(super) known: bool,
    pub(super) answered: bool,
    /// What he is to see, if he was woken.
    pub(super) view: Option<View>,
}

/// What counts say: of those in `unsure` only that they ended in one of these ways.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) unsure: Vec<Cut>,
}

/// What a snapshot shows.
#[derive(Debug)]
pub(super) struct View {
    /// What the scope may be doing.
    pub(super) scope: Vec<&'static str>,
    pub(super) body: bool,
    pub(super) tally: Tally,
    pub(super) lines: Vec<Line>,
}

/// A child in it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: Option<usize>,
    /// Nothing is said of a plain one.
    pub(super) kind: &'static str,
    /// What it may be doing.
    pub(super) doing: Vec<&'static str>,
    /// It may not be shown, being refused at this moment.
    pub(super) unsure: bool,
}

pub(super) fn is_like(expected: Option<End>, real: End) -> bool {
    match (expected, real) {
        (Some(End::Cut(cut)), End::Cancelled(why)) => cut.cancelled.has(why),
        (Some(End::Cut(cut)), End::Forced(why)) => cut.forced.has(why),
        (Some(End::Cut(cut)), End::Skipped) => cut.skipped,
        (expected, real) => expected == Some(real),
    }
}
