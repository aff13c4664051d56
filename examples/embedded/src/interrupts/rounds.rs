//! What main does: a round is a script with a few choices, on a new token.

use crate::bell::{self, Bell};
use crate::ops::{self, SLOTS};
use crate::press::{self, Who};
use crate::room::{self, Guest};
use crate::waiting::{self, Left, Sleeper};
use core::fmt;
use core::pin::pin;
use umbel_firmware::board::{self, Dice};

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

/// What happens in a round, given chance.
const EPISODES: [fn(&Dice); 6] = [
    polls_of_one_wait,
    main_cancels_one_of_two,
    main_presses,
    two_waits_of_one_child,
    run_until_cancelled,
    all_slots,
];

pub(crate) fn run(wanted: u32) -> Counts {
    let dice = Dice::new(0x9e37_79b9);
    // The time of the longest round of each episode.
    let mut times = [1; EPISODES.len()];
    let mut rounds = 0;
    while press::ticks() < wanted {
        let n = dice.roll(EPISODES.len() as u32) as usize;
        room::renew();
        press::begin_round(dice.one_in(2), times[n]);
        EPISODES[n](&dice);
        board::disarm();
        room::all_must_be_free();
        times[n] = times[n].max(press::time());
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

/// First poll, the same waker again, another waker, drop; then the same with the slot's next child.
fn polls_of_one_wait(dice: &Dice) {
    for _ in 0..=dice.roll(2) {
        let guest = Guest::new(0);
        let mut wait = pin!(Some(guest.child().cancelled()));
        let bells: &[usize] = match dice.roll(4) {
            0 => &[0],
            1 => &[0, 0],
            2 => &[0, 1],
            _ => &[0, 1, 1, 0],
        };
        for &bell in bells {
            if let Some(future) = wait.as_mut().as_pin_mut() {
                match waiting::run(future, &guest, Bell::nth(bell)) {
                    Left::Over => break,
                    Left::Asleep(sleeper) => sleeper.check(&guest),
                }
            }
        }
        waiting::drop_wait(wait);
        guest.look();
    }
}

fn main_cancels_one_of_two(_: &Dice) {
    two_children_wait(Guest::cancel);
}

fn main_presses(_: &Dice) {
    two_children_wait(|_| press::press(Who::Main));
}

/// Two children have waits, and `then` happens, given one of them.
fn two_children_wait(then: fn(&Guest)) {
    let guests = [Guest::new(0), Guest::new(1)];
    let [mut of_a, mut of_b] = [
        pin!(Some(guests[0].child().cancelled())),
        pin!(Some(guests[1].child().cancelled())),
    ];
    let mut asleep = [None, None];
    for (n, wait) in [&mut of_a, &mut of_b].into_iter().enumerate() {
        if let Some(future) = wait.as_mut().as_pin_mut()
            && let Left::Asleep(sleeper) = waiting::run(future, &guests[n], Bell::nth(2 + n))
        {
            asleep[n] = Some(sleeper);
        }
    }
    then(&guests[1]);
    check_all(&asleep, &guests);
    waiting::drop_wait(of_b);
    check_all(&asleep[..1], &guests);
    waiting::drop_wait(of_a);
}

fn check_all(asleep: &[Option<Sleeper>], guests: &[Guest]) {
    for (sleeper, guest) in asleep.iter().zip(guests) {
        if let Some(sleeper) = sleeper {
            sleeper.check(guest);
        }
        guest.check();
    }
}

/// The newer wait takes the place of the older, which is woken.
fn two_waits_of_one_child(_: &Dice) {
    let guest = &Guest::new(0);
    let mut older = pin!(Some(guest.child().cancelled()));
    let mut newer = pin!(Some(guest.child().cancelled()));
    let (Some(first), Some(second)) = (older.as_mut().as_pin_mut(), newer.as_mut().as_pin_mut())
    else {
        return;
    };
    if let Left::Asleep(sleeper) = waiting::run(first, guest, Bell::nth(4)) {
        let newest = waiting::run(second, guest, Bell::nth(5));
        assert!(
            sleeper.was_woken(),
            "lost wake: the older wait was not told"
        );
        if let Left::Asleep(newest) = newest {
            newest.check(guest);
        }
    }
    waiting::drop_wait(older);
    waiting::drop_wait(newer);
}

fn run_until_cancelled(dice: &Dice) {
    let guest = &Guest::new(0);
    let mut run = pin!(Some(
        guest
            .child()
            .run_until_cancelled(core::future::pending::<()>())
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
fn all_slots(_: &Dice) {
    let guests: [Guest; SLOTS] = core::array::from_fn(Guest::new);
    let another = press::into(&ops::aims::CHILD, || ops::child(room::token()));
    assert!(another.is_none(), "more children than slots");
    drop(guests);
}
