//! What a script consists of: four bytes that say what it is about, then operations.

use crate::script::{Mood, OP_BYTES, choose};

/// What the script drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
pub(super) enum Rule {
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
pub(super) struct Setup {
    pub(super) kind: Kind,
    pub(super) rule: Rule,
    pub(super) limit: Option<usize>,
    /// In nanoseconds.
    pub(super) deadline: Option<u64>,
    /// Of the parent token.
    pub(super) parents_deadline: Option<u64>,
    pub(super) grace: Option<u64>,
    /// For all cleanups.
    pub(super) cleanup: Option<u64>,
    pub(super) timed: bool,
    pub(super) parent: bool,
    pub(super) force_on: bool,
    /// Of body and policy.
    pub(super) mood: Mood,
}

impl Setup {
    pub(super) fn from_bytes([kind, limit, times, mood]: [u8; OP_BYTES]) -> Setup {
        let deadline = [
            None,
            None,
            None,
            Some(0),
            Some(2),
            Some(5),
            Some(9),
            Some(40),
        ];
        let grace = [None, None, Some(0), Some(3)];
        let deadline = deadline[usize::from(times & 7)];
        let grace = grace[usize::from(times >> 3 & 3)];
        let cleanup = [None, None, Some(0), Some(3)][usize::from(limit >> 6)];
        let parent = limit & 0x10 != 0;
        let kind = (choose(&KINDS, kind), choose(&RULES, kind / 8));
        // Children come into a fixed nursery only while it is polled: its body does something then.
        let mood = match kind.0 {
            Kind::FixedNursery if mood < 0x80 => 0x83,
            _ => mood,
        };
        Setup {
            kind: kind.0,
            rule: kind.1,
            limit: [
                None,
                None,
                Some(1),
                Some(1),
                Some(2),
                Some(3),
                Some(5),
                None,
            ][usize::from(limit & 7)],
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
            mood: Mood(mood),
        }
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
    /// The operation that these bytes mean.
    pub fn from_bytes([what, at, with, mood]: [u8; OP_BYTES]) -> Op {
        Op {
            what: choose(&SHARES, what),
            at,
            with,
            mood: Mood(mood),
        }
    }

    /// It wakes wakers whose children are gone.
    pub(super) fn is_stale(&self) -> bool {
        self.what == What::WakeStale
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Poll,
    Spawn,
    SpawnMany,
    TrySpawn,
    SpawnWait,
    Defer,
    PollWait,
    DropWait,
    PollJoin,
    DropJoin,
    Wake,
    WakeStale,
    /// A child is to end at its next poll, and is woken.
    Finish,
    Fail,
    Panic,
    Cancel,
    CancelParent,
    CancelForce,
    Force,
    Advance,
    /// A set only.
    Clear,
    Drop,
}

/// How often each comes; what ends everything seldom.
const SHARES: [(What, u8); 22] = [
    (What::Poll, 44),
    (What::Spawn, 30),
    (What::SpawnMany, 4),
    (What::TrySpawn, 16),
    (What::SpawnWait, 20),
    (What::Defer, 8),
    (What::PollWait, 18),
    (What::DropWait, 8),
    (What::PollJoin, 16),
    (What::DropJoin, 8),
    (What::Wake, 24),
    (What::WakeStale, 1),
    (What::Finish, 24),
    (What::Fail, 8),
    (What::Panic, 3),
    (What::Cancel, 6),
    (What::CancelParent, 3),
    (What::CancelForce, 2),
    (What::Force, 2),
    (What::Advance, 6),
    (What::Clear, 2),
    (What::Drop, 2),
];

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
}

impl Op {
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
        }
    }
}
