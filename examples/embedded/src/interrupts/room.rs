//! The token and the children that live now, at addresses where interrupts can look at them.
//!
//! # Invariants
//!
//! - **M1** `TOKEN` is written by main only, while the timer is off and no child lives.
//! - **M2** A place's child is written and taken by main only, while `lives` is false; interrupts
//!   look at it only if `lives` is true. Main goes on only when the interrupt has returned.
//! - **M3** There is at most one guest of a place.

use crate::ops::{self, SLOTS, StaticChild, Token, aims};
use crate::press;
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use portable_atomic::{AtomicBool, AtomicU32, Ordering};
use umbel_core::{Reason, ReasonKind};

struct Shared<T>(UnsafeCell<T>);

// SAFETY: M1, M2 – one core; who may touch it and when is told there.
unsafe impl<T> Sync for Shared<T> {}

static TOKEN: Shared<Token> = Shared(UnsafeCell::new(Token::new()));

struct Place {
    lives: AtomicBool,
    /// The first reason that was seen of the child: its code, or `UNTOLD`.
    told: AtomicU32,
    child: Shared<MaybeUninit<StaticChild>>,
}

/// No code is as high.
const UNTOLD: u32 = u32::MAX;

impl Place {
    /// T9: a reason that was seen stays.
    fn keep(&self, reason: &Reason) -> u16 {
        assert_eq!(reason.kind(), ReasonKind::Custom);
        let code = reason.code().expect("a press has a number");
        let told = self.told.swap(u32::from(code), Ordering::Relaxed);
        assert!(
            told == UNTOLD || told == u32::from(code),
            "{told} became {code}"
        );
        code
    }
}

static PLACES: [Place; SLOTS] = [const {
    Place {
        lives: AtomicBool::new(false),
        told: AtomicU32::new(UNTOLD),
        child: Shared(UnsafeCell::new(MaybeUninit::uninit())),
    }
}; SLOTS];

/// The token of this round.
pub(crate) fn token() -> &'static Token {
    // SAFETY: M1 – no reference is used across a renewal.
    unsafe { &*TOKEN.0.get() }
}

/// A token that was never cancelled. The timer is off.
pub(crate) fn renew() {
    assert!(
        PLACES
            .iter()
            .all(|place| !place.lives.load(Ordering::Acquire))
    );
    // SAFETY: M1 – a token has nothing to drop while no child lives.
    unsafe { TOKEN.0.get().write(Token::new()) };
}

/// Nothing was lost in the round that is over: every slot can be had again. The timer is off.
pub(crate) fn all_must_be_free() {
    let children: [_; SLOTS] = core::array::from_fn(|_| ops::child(token()));
    assert!(
        children.iter().all(Option::is_some),
        "a slot was not given back"
    );
}

/// Whether a child is not cancelled.
pub(crate) fn any_live() -> bool {
    PLACES.iter().any(|place| {
        // SAFETY: M2.
        place.lives.load(Ordering::Acquire)
            && !unsafe { (*place.child.0.get()).assume_init_ref() }.is_cancelled()
    })
}

/// T3 and T4: whoever cancelled, whether first or not, and whoever is woken, finds all cancelled.
pub(crate) fn all_must_be_cancelled(when: &str) {
    for (n, place) in PLACES.iter().enumerate() {
        if place.lives.load(Ordering::Acquire) {
            // SAFETY: M2.
            let child = unsafe { (*place.child.0.get()).assume_init_ref() };
            match child.reason() {
                Some(reason) => drop(place.keep(&reason)),
                None => panic!("child {n} is live {when}"),
            }
        }
    }
}

/// What main gives as a reason when it cancels one child itself.
const OURS: u16 = u16::MAX;

/// A child in its place; gives up the place, then the child, when dropped.
pub(crate) struct Guest {
    place: usize,
    /// Presses before the child was asked for, and when it was there.
    before: u32,
    after: u32,
    /// Main cancelled it, and was first.
    ours: Cell<bool>,
}

impl Guest {
    pub(crate) fn new(place: usize) -> Self {
        let before = press::count();
        let child = press::into(&aims::CHILD, || ops::child(token())).expect("a slot is free");
        let after = press::count();
        let home = &PLACES[place];
        assert!(!home.lives.load(Ordering::Acquire), "one guest a place");
        // SAFETY: M2, M3.
        unsafe { (*home.child.0.get()).write(child) };
        home.told.store(UNTOLD, Ordering::Relaxed);
        home.lives.store(true, Ordering::Release);
        let guest = Guest {
            place,
            before,
            after,
            ours: Cell::new(false),
        };
        guest.check();
        guest
    }

    pub(crate) fn child(&self) -> &StaticChild {
        // SAFETY: M2 – it is there until the guest is dropped.
        unsafe { (*PLACES[self.place].child.0.get()).assume_init_ref() }
    }

    /// Main cancels this child alone.
    pub(crate) fn cancel(&self) {
        let cancel = || ops::cancel_child(self.child(), Reason::custom(OURS));
        if press::into(&aims::CANCEL_CHILD, cancel) {
            self.ours.set(true);
        }
        self.check();
    }

    /// Looks at it while interrupts come, and once more without them.
    pub(crate) fn look(&self) {
        let reason = press::into(&aims::REASON, || ops::reason(self.child()));
        let cancelled = press::into(&aims::IS_CANCELLED, || ops::is_cancelled(self.child()));
        assert!(reason.is_none() || cancelled, "cancelled, and live again");
        self.check();
    }

    /// The child is cancelled exactly if somebody cancelled it, and has his reason (T3, T9).
    pub(crate) fn check(&self) {
        cortex_m::interrupt::free(|_| {
            let now = press::count();
            let reason = ops::reason(self.child());
            assert_eq!(reason.is_some(), ops::is_cancelled(self.child()));
            let Some(reason) = reason else {
                assert!(!self.ours.get(), "cancelled by main, and live");
                assert!(
                    !press::must_have_cancelled(self.after),
                    "missed: made after press {}, live after press {now}",
                    self.after
                );
                return;
            };
            let code = PLACES[self.place].keep(&reason);
            if self.ours.get() {
                assert_eq!(code, OURS, "main was first");
            } else {
                let by = press::number(code);
                assert!(
                    press::may_have_cancelled(by, self.before, self.after),
                    "press {by} cancelled the child of {}..{}, now {now}",
                    self.before,
                    self.after
                );
            }
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.check();
        let home = &PLACES[self.place];
        home.lives.store(false, Ordering::Release);
        // SAFETY: M2 – written by `new`, and not looked at any more.
        let child = unsafe { (*home.child.0.get()).assume_init_read() };
        press::into(&aims::DROP_CHILD, || ops::drop_child(child));
    }
}
