//! The interrupts.
//!
//! SysTick records where it came, and presses the button, or has PendSV press it. PendSV is less
//! urgent, so that SysTick comes into the middle of its press: a cancellation in an interrupt, cut
//! by another one. Main presses too.
//!
//! Presses are numbered, and give their number as the reason. What presses while another press is
//! under way belongs to the same *burst*: which of a burst reaches a child first cannot be told.

use crate::board::{self, Dice};
use crate::{ops, room};
use core::arch::naked_asm;
use core::fmt::Write;
use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;
use cortex_m_semihosting::{hio, hprintln};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use umbel_core::Reason;

/// Interrupts without progress of main after which it hangs.
const PATIENCE: u32 = 2_000;

/// So many ticks from arming to the first instruction of main or PendSV; below it main would starve.
const WAY_OUT: u32 = 24;

/// One bit a halfword of the program, from address 0.
const SEEN_WORDS: usize = 1024;

static SEEN: [AtomicU32; SEEN_WORDS] = [const { AtomicU32::new(0) }; SEEN_WORDS];

static TICKS: AtomicU32 = AtomicU32::new(0);
static NESTED: AtomicU32 = AtomicU32::new(0);
static PROGRESS_AT: AtomicU32 = AtomicU32::new(0);
/// The chance of interrupts, and of main.
static DICE: Dice = Dice::new(0x2545_f491);
static AIMS: Dice = Dice::new(0x0123_4567);
static PRESS: Aim = Aim::one_in(3);

/// Whether the token itself is cancelled in this round, or its children.
static ROOT: AtomicBool = AtomicBool::new(false);
/// Presses when this round began.
static ROUND_FROM: AtomicU32 = AtomicU32::new(0);

static PRESSES: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);
static BURST: AtomicU32 = AtomicU32::new(0);
/// The burst of each of the latest presses.
static BURST_OF: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];

// ------------------------------------------------------------------ for main

/// Presses so far; main never sees one under way.
pub(crate) fn count() -> u32 {
    PRESSES.load(Relaxed)
}

pub(crate) fn ticks() -> u32 {
    TICKS.load(Relaxed)
}

/// Interrupts that came into PendSV's press.
pub(crate) fn nested() -> u32 {
    NESTED.load(Relaxed)
}

/// Main runs `operation`. Now and then an interrupt is aimed at it; mostly not, as it would find
/// nobody waiting if the one before has cancelled all.
pub(crate) fn into<R>(aim: &Aim, operation: impl FnOnce() -> R) -> R {
    let before = TICKS.load(Relaxed);
    PROGRESS_AT.store(before, Relaxed);
    let aimed = AIMS.one_in(aim.one_in);
    board::arm(if aimed { 1 + aim.somewhere(&AIMS) } else { board::LATER });
    let result = operation();
    if !aimed && TICKS.load(Relaxed) == before {
        aim.longest.fetch_max(board::since_armed(board::LATER), Relaxed);
    }
    result
}

/// What is known of one kind of operation.
pub(crate) struct Aim {
    /// How many ticks it took at most.
    longest: AtomicU32,
    /// One in so many is aimed at. Those that main does often are aimed at less often.
    one_in: u32,
}

impl Aim {
    pub(crate) const fn one_in(one_in: u32) -> Self {
        Aim {
            longest: AtomicU32::new(1),
            one_in,
        }
    }

    fn somewhere(&self, dice: &Dice) -> u32 {
        dice.roll(self.longest.load(Relaxed))
    }
}

/// The timer is off.
pub(crate) fn begin_round(root: bool) {
    ROOT.store(root, Relaxed);
    ROUND_FROM.store(count(), Relaxed);
}

/// Must a child that was there when `after` presses were over be cancelled?
pub(crate) fn must_have_cancelled(after: u32) -> bool {
    count()
        > if ROOT.load(Relaxed) {
            ROUND_FROM.load(Relaxed)
        } else {
            after
        }
}

/// May press `by` be the one that cancelled a child made between the presses `before` and `after`?
pub(crate) fn may_have_cancelled(by: u32, before: u32, after: u32) -> bool {
    if ROOT.load(Relaxed) {
        // The first that ever pressed, and the token says the same.
        let root = room::token().reason().and_then(|reason| reason.code());
        return root == Some(by as u16) && same_burst(by, ROUND_FROM.load(Relaxed) + 1);
    }
    before < by && (by <= after || same_burst(by, after + 1))
}

/// The number of the latest press with this code.
pub(crate) fn number(code: u16) -> u32 {
    let now = count();
    now - u32::from((now as u16).wrapping_sub(code))
}

fn same_burst(a: u32, b: u32) -> bool {
    let burst = |n: u32| BURST_OF[n as usize % BURST_OF.len()].load(Relaxed);
    assert!(count() < a.min(b) + BURST_OF.len() as u32, "forgotten");
    burst(a) == burst(b)
}

/// Main presses.
pub(crate) fn press_in_main() {
    into(&PRESS, press);
}

/// Cancels, and looks whether all are cancelled.
#[inline(never)]
fn press() {
    if DEPTH.fetch_add(1, Relaxed) == 0 {
        BURST.add(1, Relaxed);
    }
    let number = PRESSES.fetch_add(1, Relaxed) + 1;
    BURST_OF[number as usize % BURST_OF.len()].store(BURST.load(Relaxed), Relaxed);
    let reason = Reason::custom(number as u16);
    if ROOT.load(Relaxed) {
        ops::cancel(room::token(), reason);
    } else {
        ops::cancel_children(room::token(), reason);
    }
    room::all_must_be_cancelled("when a press returns");
    DEPTH.sub(1, Relaxed);
}

pub(crate) fn a_bell_rings() {
    if DEPTH.load(Relaxed) > 0 {
        room::all_must_be_cancelled("when a press wakes the first");
    }
}

// ------------------------------------------------------------------ the interrupts

/// What the processor pushes on its stack.
#[repr(C)]
struct Frame {
    r: [u32; 5],
    lr: u32,
    pc: u32,
    psr: u32,
}

/// SysTick: hands the frame over. `lr` stays as it is, so `on_tick` returns from the interrupt.
#[unsafe(naked)]
#[unsafe(export_name = "SysTick")]
unsafe extern "C" fn sys_tick() {
    naked_asm!("mrs r0, msp", "ldr r1, ={on_tick}", "bx r1", on_tick = sym on_tick)
}

extern "C" fn on_tick(frame: &Frame) {
    let tick = TICKS.load(Relaxed) + 1;
    TICKS.store(tick, Relaxed);
    record(frame.pc);
    if tick - PROGRESS_AT.load(Relaxed) > PATIENCE {
        panic!("hang: no progress in {PATIENCE} interrupts, now at {:#x}", frame.pc);
    }
    let in_main = frame.psr & 0x1ff == 0;
    if in_main && DICE.one_in(4) {
        SCB::set_pendsv();
    } else {
        if !in_main {
            NESTED.store(nested() + 1, Relaxed);
        }
        press();
    }
    // Into PendSV's press or what main does next, or only when main aims again.
    board::arm(match DICE.roll(4) {
        0 => WAY_OUT + PRESS.somewhere(&DICE),
        _ => board::LATER,
    });
}

#[exception]
fn PendSV() {
    press();
}

// ------------------------------------------------------------------ where they came

fn record(pc: u32) {
    let halfword = pc as usize / 2;
    let word = SEEN.get(halfword / 32).expect("the program is below 64 KiB");
    word.store(word.load(Relaxed) | 1 << (halfword % 32), Relaxed);
}

/// `seen ADDRESS WORD…`: a bit for each halfword from there, the lowest bit first.
pub(crate) fn print_seen() {
    const ROW: usize = 8;
    let Ok(mut host) = hio::hstdout() else { return };
    for (row, words) in SEEN.chunks(ROW).enumerate() {
        if words.iter().all(|word| word.load(Relaxed) == 0) {
            continue;
        }
        let _ = write!(host, "seen {:08x}", row * ROW * 64);
        for word in words {
            let _ = write!(host, " {:08x}", word.load(Relaxed));
        }
        let _ = writeln!(host);
    }
    hprintln!("end");
}
