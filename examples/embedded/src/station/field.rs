//! The interrupts: what happens to the station.
//!
//! SysTick is time: it wakes who slept long enough, and comes again after a while, by chance. Also by
//! chance the line breaks, or the button is pressed: by SysTick, before it wakes or after that; or by
//! PendSV, which is less urgent, so that SysTick wakes into the middle of a cancellation.

use crate::clock;
use crate::shift::{SHIFT, STOP};
use cortex_m::peripheral::SCB;
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use umbel_core::Reason;
use umbel_firmware::board::{self, Dice};

/// Ticks after a press by which a shift must have ended.
const PATIENCE: u32 = 30;

static DICE: Dice = Dice::new(0x2545_f491);
static PRESSES: AtomicU32 = AtomicU32::new(0);
/// The tick of the latest press that the present shift must end for; 0 if there was none.
static TOLD_AT: AtomicU32 = AtomicU32::new(0);
static LINE_BROKEN: AtomicBool = AtomicBool::new(false);

pub(crate) fn presses() -> u32 {
    PRESSES.load(Relaxed)
}

pub(crate) fn is_line_broken() -> bool {
    LINE_BROKEN.load(Relaxed)
}

/// The shift is ready: its token is there. Or, at its end, it is no more.
pub(crate) fn reset() {
    TOLD_AT.store(0, Relaxed);
    LINE_BROKEN.store(false, Relaxed);
}

/// Time begins.
pub(crate) fn begin() {
    board::arm(1000);
}

/// Presses are numbered, and give their number as the reason.
pub(crate) fn press() {
    let number = PRESSES.fetch_add(1, Relaxed) + 1;
    STOP.cancel_children(Reason::custom(number as u16));
    TOLD_AT.store(clock::ticks(), Relaxed);
}

pub(crate) fn tick() {
    // One of these comes once in a shift or so.
    match DICE.roll(4 * SHIFT) {
        0 => press(),
        1 => {
            SCB::set_pendsv();
            // Into its press, or soon afterwards.
            clock::go_on();
            return board::arm(20 + DICE.roll(300));
        }
        2 => LINE_BROKEN.store(true, Relaxed),
        _ => {}
    }
    clock::go_on();
    if DICE.one_in(4 * SHIFT) {
        press();
    }
    let told = TOLD_AT.load(Relaxed);
    assert!(
        told == 0 || clock::ticks() - told < PATIENCE,
        "told to stop at tick {told}, and goes on"
    );
    board::arm(200 + DICE.roll(4_000));
}
