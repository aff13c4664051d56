//! What a script consists of.

/// How many bytes an operation takes in a script of bytes.
pub const OP_BYTES: usize = 4;

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
        let all: u8 = SHARES.iter().map(|(_, share)| share).sum();
        let mut left = byte % all;
        for (what, share) in SHARES {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return what,
            }
        }
        unreachable!("the shares sum up to all")
    }
}

/// When foreign code is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A waker is woken, a callback called, a future polled.
    Call,
    Drop,
    Clone,
}

/// How foreign code behaves. The lower half of all bytes is calm.
#[derive(Clone, Copy)]
pub(super) struct Mood(u8);

impl Mood {
    fn bits(self, shift: u32, mask: u8) -> u8 {
        if self.0 < 0x80 {
            0
        } else {
            self.0 >> shift & mask
        }
    }

    /// How many operations of the script it does.
    pub(super) fn does(self, event: Event) -> u8 {
        match event {
            Event::Call => self.bits(0, 0b11),
            Event::Drop => self.bits(2, 1),
            Event::Clone => self.bits(3, 1),
        }
    }

    /// Whether it panics after that.
    pub(super) fn panics(self, event: Event) -> bool {
        let at = [
            None,
            Some(Event::Call),
            Some(Event::Drop),
            Some(Event::Clone),
        ];
        at[usize::from(self.bits(4, 0b11))] == Some(event)
    }

    /// Whether it lets a panic of what it does pass.
    pub(super) fn lets_panics_pass(self) -> bool {
        self.bits(6, 1) == 1
    }
}

impl std::fmt::Debug for Mood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0x80 {
            return f.write_str("calm");
        }
        write!(f, "{:#x}", self.0)?;
        for event in [Event::Call, Event::Drop, Event::Clone] {
            match self.does(event) {
                0 => {}
                n => write!(f, " does {n} at {event:?}")?,
            }
            if self.panics(event) {
                write!(f, " panics at {event:?}")?;
            }
        }
        if self.lets_panics_pass() {
            f.write_str(" lets panics pass")?;
        }
        Ok(())
    }
}
