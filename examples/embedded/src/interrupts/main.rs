//! The token under real interrupts: SysTick presses the button while main registers, re-registers
//! and drops waits, makes children and ends them.
//!
//! | file | what it holds |
//! |---|---|
//! | `broken` | a token that loses wakes: the proof must notice it |
//! | `ops` | the operations under test, one function each, so that the host finds them by name |
//! | `bell` | wakers that count |
//! | `room` | the children that live now, where interrupts can look at them |
//! | `press` | the interrupts: record where they came, cancel |
//! | `waiting` | a wait and its executor; notices a lost wake |
//! | `rounds` | what main does, over and over |
//!
//! Main aims the timer at each of its operations, and each interrupt arms it anew, all by chance.
//! The chance is seeded, so a run on a clock that counts instructions is the same each time.
//!
//! The program fails by a panic with a message: a lost wake, a missed cancellation, a wrong reason,
//! a leaked waker, or no progress during thousands of interrupts. At the end it prints what it
//! counted and the addresses that were interrupted, for the host to compare with the program.
#![no_std]
#![no_main]

#[cfg(feature = "broken")]
mod broken;
mod ops;
mod bell;
mod room;
mod press;
mod waiting;
mod rounds;

use core::panic::PanicInfo;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use cortex_m_semihosting::hprintln;
use umbel_firmware::board;

/// Interrupts, unless the host's command line ends in a number.
const INTERRUPTS: u32 = 5_000;

#[entry]
fn main() -> ! {
    board::init();
    let wanted = board::number_from_host().unwrap_or(INTERRUPTS);
    let counts = rounds::run(wanted);
    hprintln!("{}", counts);
    press::print_addresses();
    board::succeed()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::fail(info)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    panic!("hard fault at {:#x}", frame.pc());
}
