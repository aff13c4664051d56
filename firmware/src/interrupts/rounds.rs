//! What main does: a round is a script with a few choices, on a new token.

use crate::bell::{self, Bell};
use crate::board::{self, Dice};
use crate::ops::{self, SLOTS};
use crate::room::{self, Guest};
use crate::waiting::{self, Left};
use crate::press;
use core::fmt;
use core::pin::pin;

/// What is told at the end.
pub(crate) struct Counts {
    interrupts: u32,
    nested: u32,
    presses: u32,
    wakes: u32,
    rounds: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} interrupts, {} of them into an interrupted cancellation; {} presses, {} wakes, {} \
             rounds",
            self.interrupts, self.nested, self.presses, self.wakes, self.rounds,
        )
    }
}

pub(crate) fn run(wanted: u32) -> Counts {
    let dice = Dice::new(0x9e37_79b9);
    let mut rounds = 0;
    while press::ticks() < wanted {
        room::renew();
        press::begin_round(dice.one_in(4));
        script(&dice);
        board::disarm();
        rounds += 1;
        let (_, wakers) = bell::totals();
        assert_eq!(wakers, 0, "a waker was kept");
    }
    Counts {
        interrupts: press::ticks(),
        nested: press::nested(),
        presses: press::count(),
        rounds,
        wakes: bell::totals().0,
    }
}

fn script(dice: &Dice) {
    if dice.one_in(4) {
        all_slots();
    }
    let a = Guest::new(0);
    first_poll_and_others(&a, dice);
    {
        let b = Guest::new(1);
        two_children_wait(&a, &b, dice);
    }
    // The slot of `b`, or one as good.
    let c = Guest::new(1);
    two_waits_of_one_child(&c);
    run_until_cancelled(&c, dice);
    if dice.one_in(2) {
        drop(a);
        first_poll_and_others(&c, dice);
    } else {
        drop(c);
        first_poll_and_others(&a, dice);
    }
}

/// First poll, the same waker again, another waker, drop.
fn first_poll_and_others(guest: &Guest, dice: &Dice) {
    let mut wait = pin!(Some(guest.child().cancelled()));
    let bells: &[usize] = match dice.roll(4) {
        0 => &[0],
        1 => &[0, 0],
        2 => &[0, 1],
        _ => &[0, 1, 1, 0],
    };
    for &bell in bells {
        if let Some(future) = wait.as_mut().as_pin_mut() {
            match waiting::run(future, guest, Bell::nth(bell)) {
                Left::Over => break,
                Left::Asleep(sleeper) => sleeper.check(guest),
            }
        }
    }
    waiting::drop_wait(wait);
    guest.look();
}

/// Two children have waits; main cancels one of them, or presses, or lets it be.
fn two_children_wait(a: &Guest, b: &Guest, dice: &Dice) {
    let mut of_a = pin!(Some(a.child().cancelled()));
    let mut of_b = pin!(Some(b.child().cancelled()));
    let mut asleep = [None, None];
    if let Some(future) = of_a.as_mut().as_pin_mut()
        && let Left::Asleep(sleeper) = waiting::run(future, a, Bell::nth(2))
    {
        asleep[0] = Some(sleeper);
    }
    if let Some(future) = of_b.as_mut().as_pin_mut()
        && let Left::Asleep(sleeper) = waiting::run(future, b, Bell::nth(3))
    {
        asleep[1] = Some(sleeper);
    }
    match dice.roll(3) {
        0 => b.cancel(),
        1 => press::press_in_main(),
        _ => {}
    }
    for (sleeper, guest) in asleep.iter().zip([a, b]) {
        if let Some(sleeper) = sleeper {
            sleeper.check(guest);
        }
        guest.check();
    }
    waiting::drop_wait(of_b);
    if let Some(sleeper) = &asleep[0] {
        sleeper.check(a);
    }
    waiting::drop_wait(of_a);
}

/// The newer wait takes the place of the older, which is woken.
fn two_waits_of_one_child(guest: &Guest) {
    let mut older = pin!(Some(guest.child().cancelled()));
    let mut newer = pin!(Some(guest.child().cancelled()));
    let (Some(first), Some(second)) = (older.as_mut().as_pin_mut(), newer.as_mut().as_pin_mut())
    else {
        return;
    };
    if let Left::Asleep(sleeper) = waiting::run(first, guest, Bell::nth(4)) {
        let newest = waiting::run(second, guest, Bell::nth(5));
        assert!(sleeper.was_woken(), "lost wake: the older wait was not told");
        if let Left::Asleep(newest) = newest {
            newest.check(guest);
        }
    }
    waiting::drop_wait(older);
    waiting::drop_wait(newer);
}

fn run_until_cancelled(guest: &Guest, dice: &Dice) {
    let mut run = pin!(Some(
        guest.child().run_until_cancelled(core::future::pending::<()>())
    ));
    for bell in 0..=dice.roll(2) as usize {
        if let Some(future) = run.as_mut().as_pin_mut()
            && let Left::Asleep(sleeper) = waiting::run(future, guest, Bell::nth(bell))
        {
            sleeper.check(guest);
        } else {
            break;
        }
    }
    waiting::drop_wait(run);
}

/// Every slot can be had, and one more child is refused.
fn all_slots() {
    let guests: [Guest; SLOTS] = core::array::from_fn(Guest::new);
    let another = press::into(&ops::aims::CHILD, || ops::child(room::token()));
    assert!(another.is_none(), "more children than slots");
    drop(guests);
}
