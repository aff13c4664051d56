//! The interrupts.
//!
//! SysTick records where it came, and presses the button, or has PendSV press it. PendSV is less
//! urgent, so that SysTick comes into the middle of its press: a cancellation in an interrupt, cut
//! by another one. Main presses too.
//!
//! Presses are numbered, and give their number as the reason. What presses while another press is
//! under way belongs to the same *burst*: which of a burst reaches a child first cannot be told.

use crate::ops::{self, aims};
use crate::room;
use core::arch::naked_asm;
use core::fmt::Write;
use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;
use cortex_m_semihosting::{hio, hprintln};
use portable_atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use umbel_core::Reason;
use umbel_firmware::board::{self, Dice};

/// Interrupts without progress of main after which it hangs.
const PATIENCE: u32 = 2_000;

/// Ticks from arming to the first instruction of main or PendSV, or a little less: if the time is up
/// before, the interrupt comes again at the same place.
const WAY_OUT: u32 = 3;

/// The ticks of some operations.
const AGAIN: u32 = 400;

/// The ticks of a few instructions, and of some twenty.
const STEP: u32 = 12;
const SHORTLY: u32 = 32;

/// One bit a halfword of the program, from address 0.
type Addresses = [AtomicU32; 1024];

/// Where SysTick came, and where it came while a child was live, which was then cancelled.
static SEEN: Addresses = [const { AtomicU32::new(0) }; 1024];
static TOLD: Addresses = [const { AtomicU32::new(0) }; 1024];

static TICKS: AtomicU32 = AtomicU32::new(0);
static NESTED: AtomicU32 = AtomicU32::new(0);
static PROGRESS_AT: AtomicU32 = AtomicU32::new(0);
static DICE: Dice = Dice::new(0x2545_f491);

/// The time of main's operations so far in this round, and at what time an interrupt is to come.
static TIME: AtomicU32 = AtomicU32::new(0);
static MOMENT: AtomicU32 = AtomicU32::new(0);

/// Whether the token itself is cancelled in this round, or its children.
static ROOT: AtomicBool = AtomicBool::new(false);
/// Presses when this round began.
static ROUND_FROM: AtomicU32 = AtomicU32::new(0);

static PRESSES: AtomicU32 = AtomicU32::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(0);
static BURST: AtomicU32 = AtomicU32::new(0);
/// The burst of each of the latest presses.
static BURST_OF: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

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

/// Main runs `operation`. One moment of a round is aimed at, or two, each in one of its operations:
/// the first interrupt is to find children that live and tasks that wait.
pub(crate) fn into<R>(aim: &Aim, operation: impl FnOnce() -> R) -> R {
    let before = TICKS.load(Relaxed);
    PROGRESS_AT.store(before, Relaxed);
    let from = TIME.fetch_add(aim.longest(), Relaxed);
    let ticks = MOMENT.load(Relaxed).wrapping_sub(from);
    let aimed = ticks < aim.longest();
    board::arm(if aimed { 1 + ticks } else { board::LATER });
    if aimed && DICE.one_in(2) {
        // Once more in this round: what is cancelled already is done otherwise.
        MOMENT.store(TIME.load(Relaxed) + DICE.roll(AGAIN), Relaxed);
    }
    let result = operation();
    if !aimed && TICKS.load(Relaxed) == before {
        aim.0.fetch_max(board::since_armed(board::LATER), Relaxed);
    }
    result
}

/// How many ticks an operation takes at most, as far as it is known.
pub(crate) struct Aim(AtomicU32);

impl Aim {
    pub(crate) const fn new() -> Self {
        Aim(AtomicU32::new(1))
    }

    fn longest(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// The timer is off. An interrupt is to come within the first `time` ticks of operations.
pub(crate) fn begin_round(root: bool, time: u32) {
    ROOT.store(root, Relaxed);
    ROUND_FROM.store(count(), Relaxed);
    MOMENT.store(DICE.roll(time), Relaxed);
    TIME.store(0, Relaxed);
}

/// The ticks of this round's operations, if each took as long as it ever did.
pub(crate) fn time() -> u32 {
    TIME.load(Relaxed)
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

/// Who presses, from the least urgent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Main,
    PendSv,
    SysTick,
}

/// Cancels, and looks whether all are cancelled.
#[inline(never)]
pub(crate) fn press(who: Who) {
    if DEPTH.fetch_add(1, Relaxed) == 0 {
        BURST.add(1, Relaxed);
    }
    let number = PRESSES.fetch_add(1, Relaxed) + 1;
    BURST_OF[number as usize % BURST_OF.len()].store(BURST.load(Relaxed), Relaxed);
    let (token, reason) = (room::token(), Reason::custom(number as u16));
    let root = ROOT.load(Relaxed);
    let aim = [&aims::CANCEL_CHILDREN, &aims::CANCEL][usize::from(root)];
    let cancel = || {
        if root {
            ops::cancel(token, reason);
        } else {
            ops::cancel_children(token, reason);
        }
    };
    if who == Who::Main {
        into(aim, cancel);
    } else {
        if who == Who::PendSv && !DICE.one_in(4) {
            // What is cancelled already takes less time.
            let span = if DICE.one_in(2) {
                2 * SHORTLY
            } else {
                aim.longest()
            };
            board::arm(1 + DICE.roll(span));
        }
        cancel();
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
    let is_new = record(&SEEN, frame.pc);
    if room::any_live() {
        record(&TOLD, frame.pc);
    }
    if tick - PROGRESS_AT.load(Relaxed) > PATIENCE {
        panic!(
            "hang: no progress in {PATIENCE} interrupts, now at {:#x}",
            frame.pc
        );
    }
    let in_main = frame.psr & 0x1ff == 0;
    // More often if main cancels: then there are three cancellations at once.
    let pended = in_main && DICE.one_in(if DEPTH.load(Relaxed) > 0 { 2 } else { 4 });
    if pended {
        SCB::set_pendsv();
    } else {
        if !in_main {
            NESTED.store(nested() + 1, Relaxed);
        }
        press(Who::SysTick);
    }
    // Step by step where none has been. Otherwise now and then into what this interrupt made
    // necessary: an atomic access is tried again.
    let soon = match is_new {
        true => Some(STEP),
        false if !pended && DICE.one_in(4) => Some(SHORTLY),
        false => None,
    };
    board::arm(soon.map_or(board::LATER, |span| WAY_OUT + DICE.roll(span)));
}

#[exception]
fn PendSV() {
    press(Who::PendSv);
}

// ------------------------------------------------------------------ where they came

/// Whether it is new there.
fn record(addresses: &Addresses, pc: u32) -> bool {
    let halfword = pc as usize / 2;
    let word = addresses
        .get(halfword / 32)
        .expect("the program is below 64 KiB");
    let (old, bit) = (word.load(Relaxed), 1 << (halfword % 32));
    word.store(old | bit, Relaxed);
    old & bit == 0
}

/// Lines `seen ADDRESS WORD…`, then `told ADDRESS WORD…`, then `end`: a bit for each halfword from
/// there, the lowest bit first.
pub(crate) fn print_addresses() {
    const ROW: usize = 8;
    let Ok(mut host) = hio::hstdout() else { return };
    for (name, addresses) in [("seen", &SEEN), ("told", &TOLD)] {
        for (row, words) in addresses.chunks(ROW).enumerate() {
            if words.iter().all(|word| word.load(Relaxed) == 0) {
                continue;
            }
            let _ = write!(host, "{name} {:08x}", row * ROW * 64);
            for word in words {
                let _ = write!(host, " {:08x}", word.load(Relaxed));
            }
            let _ = writeln!(host);
        }
    }
    hprintln!("end");
}
