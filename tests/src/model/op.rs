//! What a script consists of.

pub(super) use crate::script::{Event, Mood};
use crate::script::{OP_BYTES, choose};

/// One operation. Any four bytes are one, zeros being the plainest.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub(super) what: What,
    /// Which of the tokens, waits, registrations …, counted round and round. Among tokens, a small
    /// one means live ones only.
    pub(super) at: u8,
    /// Its argument: a reason, a deadline, a variant.
    pub(super) with: u8,
    /// How the foreign code behaves that it brings along.
    pub(super) mood: Mood,
}

impl Op {
    /// The operation that these bytes mean.
    pub fn from_bytes([what, at, with, mood]: [u8; OP_BYTES]) -> Op {
        Op {
            what: What::from_byte(what),
            at,
            with,
            mood: Mood(mood),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Root,
    Child,
    ChildWithDeadline,
    AnyOf,
    Clone,
    DropToken,
    Cancel,
    CancelWith,
    CancelChildren,
    CheckAt,
    Wait,
    Run,
    Poll,
    DropWait,
    OnCancel,
    Unregister,
    Forget,
    DropRegistration,
    Flag,
    DropFlag,
    Guard,
    Disarm,
    DropGuard,
    GuardRef,
    Churn,
}

/// How often each comes; a cancellation seldom, so that there is something to be cancelled.
const SHARES: [(What, u8); 25] = [
    (What::Root, 3),
    (What::Child, 14),
    (What::ChildWithDeadline, 3),
    (What::AnyOf, 8),
    (What::Clone, 5),
    (What::DropToken, 10),
    (What::Cancel, 4),
    (What::CancelWith, 4),
    (What::CancelChildren, 4),
    (What::CheckAt, 3),
    (What::Wait, 26),
    (What::Run, 6),
    (What::Poll, 16),
    (What::DropWait, 8),
    (What::OnCancel, 16),
    (What::Unregister, 3),
    (What::Forget, 6),
    (What::DropRegistration, 3),
    (What::Flag, 3),
    (What::DropFlag, 2),
    (What::Guard, 3),
    (What::DropGuard, 1),
    (What::Disarm, 2),
    (What::GuardRef, 2),
    (What::Churn, 2),
];

impl What {
    fn from_byte(byte: u8) -> What {
        choose(&SHARES, byte)
    }
}
