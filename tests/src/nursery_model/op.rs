//! What a script consists of: four bytes that say what it is about, then operations.

use crate::script::{Mood, OP_BYTES, choose};
use umbel_core::{Id, Priority};

/// What the script drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named after what they are")]
pub enum Kind {
    Nursery,
    LocalNursery,
    FixedNursery,
    FutureSet,
    FixedSet,
    PassThrough,
}

const KINDS: [(Kind, u8); 6] = [
    (Kind::Nursery, 10),
    (Kind::LocalNursery, 4),
    (Kind::FixedNursery, 6),
    (Kind::FutureSet, 3),
    (Kind::FixedSet, 3),
    (Kind::PassThrough, 1),
];

/// What answers ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named after what they are")]
pub enum Rule {
    FailFast,
    KeepGoing,
    FirstSuccess,
    /// A policy of the script's own: each end brings its verdict.
    Custom,
}

const RULES: [(Rule, u8); 4] = [
    (Rule::FailFast, 4),
    (Rule::KeepGoing, 3),
    (Rule::FirstSuccess, 3),
    (Rule::Custom, 5),
];

/// The options.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// What the script drives.
    pub kind: Kind,
    /// What answers ends.
    pub rule: Rule,
    /// How many children may run at once.
    pub limit: Option<usize>,
    /// In nanoseconds.
    pub deadline: Option<u64>,
    /// Of the parent token.
    pub parents_deadline: Option<u64>,
    /// Of graceful children.
    pub grace: Option<u64>,
    /// For all cleanups.
    pub cleanup: Option<u64>,
    /// There is a timer.
    pub timed: bool,
    /// There is a parent token.
    pub parent: bool,
    /// There is a token that forces.
    pub force_on: bool,
    /// Of body and policy.
    pub mood: Mood,
}

impl Setup {
    /// Without any option.
    pub fn new(kind: Kind, rule: Rule) -> Setup {
        // Children come into a fixed nursery only while it is polled: its body does something then.
        let mood = match kind {
            Kind::FixedNursery => 0x83,
            _ => 0,
        };
        Setup {
            kind,
            rule,
            limit: None,
            deadline: None,
            parents_deadline: None,
            grace: None,
            cleanup: None,
            timed: false,
            parent: false,
            force_on: false,
            mood: Mood(mood),
        }
    }

    pub(super) fn from_bytes([kind, limit, times, mood]: [u8; OP_BYTES]) -> Setup {
        let deadlines = [
            None,
            None,
            None,
            Some(0),
            Some(2),
            Some(5),
            Some(9),
            Some(40),
        ];
        let times_of = [None, None, Some(0), Some(3)];
        let limits = [
            None,
            None,
            Some(1),
            Some(1),
            Some(2),
            Some(3),
            Some(5),
            None,
        ];
        let deadline = deadlines[usize::from(times & 7)];
        let grace = times_of[usize::from(times >> 3 & 3)];
        let cleanup = times_of[usize::from(limit >> 6)];
        let parent = limit & 0x10 != 0;
        let plain = Setup::new(choose(&KINDS, kind), choose(&RULES, kind / 8));
        Setup {
            limit: limits[usize::from(limit & 7)],
            deadline,
            parents_deadline: if parent && times & 0x20 != 0 {
                Some(4)
            } else {
                None
            },
            grace,
            cleanup,
            timed: deadline.is_some() || grace.is_some() || cleanup.is_some() || times & 0x40 != 0,
            parent,
            force_on: limit & 0x20 != 0,
            mood: Mood(mood.max(plain.mood.0)),
            ..plain
        }
    }

    /// It drives a nursery with all its comforts.
    pub(super) fn has_comforts(&self) -> bool {
        matches!(self.kind, Kind::Nursery | Kind::LocalNursery)
    }
}

/// One operation. Any four bytes are one, zeros being the plainest.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub(super) what: What,
    /// Which of the children, joins, waits …, counted round and round.
    pub(super) at: u8,
    /// Its argument.
    pub(super) with: u8,
    /// How the foreign code behaves that it brings along.
    pub(super) mood: Mood,
}

impl Op {
    /// This operation.
    pub fn new(what: What, [at, with, mood]: [u8; 3]) -> Op {
        Op {
            what,
            at,
            with,
            mood: Mood(mood),
        }
    }

    pub(super) fn from_bytes([what, at, with, mood]: [u8; OP_BYTES]) -> Op {
        Op::new(choose(&SHARES, what), [at, with, mood])
    }

    /// It wakes wakers whose children are gone.
    pub(super) fn is_stale(&self) -> bool {
        self.what == What::WakeStale
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "most are named after what they call")]
pub enum What {
    Poll,
    /// Something is said about the child that is spawned next.
    Say,
    Spawn,
    SpawnMany,
    TrySpawn,
    SpawnWait,
    Start,
    Shield,
    Defer,
    Release,
    PollWait,
    DropWait,
    PollJoin,
    DropJoin,
    /// A child says that it has started; or lets go of what it would say it by.
    Started,
    DropStarted,
    PollStart,
    DropStart,
    Wake,
    WakeStale,
    /// A child is to end at its next poll, and is woken.
    Finish,
    Fail,
    Panic,
    Cancel,
    CancelParent,
    CancelForce,
    CancelHandle,
    CancelNamed,
    CancelKeyed,
    Force,
    Advance,
    Look,
    PollLook,
    DropLook,
    /// A set only.
    Clear,
    Drop,
}

/// How often each comes; what ends everything seldom.
const SHARES: [(What, u8); 36] = [
    (What::Poll, 38),
    (What::Say, 26),
    (What::Spawn, 20),
    (What::SpawnMany, 3),
    (What::TrySpawn, 10),
    (What::SpawnWait, 14),
    (What::Start, 6),
    (What::Shield, 7),
    (What::Defer, 7),
    (What::Release, 4),
    (What::PollWait, 12),
    (What::DropWait, 5),
    (What::PollJoin, 10),
    (What::DropJoin, 5),
    (What::Started, 5),
    (What::DropStarted, 1),
    (What::PollStart, 5),
    (What::DropStart, 2),
    (What::Wake, 16),
    (What::WakeStale, 1),
    (What::Finish, 16),
    (What::Fail, 5),
    (What::Panic, 2),
    (What::Cancel, 4),
    (What::CancelParent, 2),
    (What::CancelForce, 1),
    (What::CancelHandle, 5),
    (What::CancelNamed, 3),
    (What::CancelKeyed, 3),
    (What::Force, 1),
    (What::Advance, 6),
    (What::Look, 4),
    (What::PollLook, 3),
    (What::DropLook, 1),
    (What::Clear, 1),
    (What::Drop, 1),
];

impl What {
    /// What it does instead where there are no comforts.
    pub(super) fn without_comforts(self) -> What {
        match self {
            What::Say | What::Start => What::Spawn,
            What::Shield => What::TrySpawn,
            What::Release => What::SpawnWait,
            What::Started | What::CancelKeyed => What::Finish,
            What::DropStarted | What::CancelHandle | What::CancelNamed => What::Wake,
            What::PollStart | What::PollLook => What::PollWait,
            What::DropStart | What::DropLook => What::DropWait,
            What::Look => What::Poll,
            what => what,
        }
    }
}

/// What a child does at its next poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Wait,
    Finish,
    Fail,
    Panic,
}

/// How a child is spawned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spawning {
    pub(super) graceful: bool,
    pub(super) named: bool,
    pub(super) fate: Fate,
    /// Its join is dropped at once.
    pub(super) detached: bool,
    /// What a policy of the script's own says of its end.
    pub(super) verdict: u8,
    pub(super) mood: Mood,
    pub(super) said: Said,
}

impl Spawning {
    /// A future, and perhaps graceful.
    pub(super) fn is_bare(&self) -> bool {
        !self.named && self.said.is_nothing()
    }
}

/// What is said about a child beside that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) key: Option<u8>,
    pub(super) priority: Priority,
    pub(super) service: bool,
    /// At this time.
    pub(super) deadline: Option<u64>,
    pub(super) timeout: Option<u64>,
    pub(super) handle: Option<Handled>,
    /// Children for which it waits.
    pub(super) after: [Option<(usize, Id)>; 2],
}

/// A handle is taken by which the child can be cancelled alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    Taken,
    /// It is cancelled by it before it is spawned.
    Cancelled,
}

impl Said {
    /// It has a token for itself.
    pub(super) fn has_own(&self) -> bool {
        let timed = self.deadline.is_some() || self.timeout.is_some();
        self.service || timed || self.handle.is_some()
    }

    /// Nothing but a future, as far as this goes.
    pub(super) fn is_nothing(&self) -> bool {
        let more = self.key.is_some() || self.priority != Priority::Normal;
        !self.has_own() && !more && self.after == [None, None]
    }
}

/// Which keys there are.
pub(super) const KEYS: u8 = 3;

impl Op {
    /// Without what was said before it.
    pub(super) fn spawning(self) -> Spawning {
        let fates = [
            Fate::Wait,
            Fate::Wait,
            Fate::Wait,
            Fate::Wait,
            Fate::Wait,
            Fate::Finish,
            Fate::Finish,
            Fate::Fail,
        ];
        Spawning {
            graceful: self.with & 3 == 3,
            named: self.with & 4 != 0,
            fate: fates[usize::from(self.with >> 3 & 7)],
            detached: self.with & 0x40 != 0,
            verdict: self.at,
            mood: self.mood,
            said: Said::default(),
        }
    }
}
