//! Four tasks in a `FixedNursery`, on the barest of executors, cancelled by an interrupt at any
//! instruction, and begun again.
//!
//! | file | what it holds |
//! |---|---|
//! | `clock` | time, one tick an interrupt, as a `Timer` of umbel's |
//! | `task` | what each task's polls and wakes are counted by, and held against each other |
//! | `executor` | polls when it was woken, and sleeps in between |
//! | `field` | the interrupts: time goes on, somebody presses the button, the line breaks |
//! | `broken` | tasks that are all polled, whoever is woken: the proof must notice it |
//! | `shift` | the tasks from their start to their end, and what must be true then |
//!
//! A shift ends when the button is pressed, when the line breaks, or when it is over. The program fails
//! by a panic with a message: a task was polled though nobody woke it, or not though somebody did; the
//! executor was woken twice for one poll; tasks go on though they are cancelled; a part of the hardware
//! was not switched off, or in the wrong order; a shift ended for a reason that was not there; a
//! sample was lost; a waker, a place or a slot was not given back.
#![no_std]
#![no_main]

mod clock;
mod task;
mod executor;
mod field;
#[cfg(feature = "broken")]
mod broken;
mod shift;

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
    let mut endings = shift::Endings::default();
    field::begin();
    while clock::ticks() < wanted {
        shift::run(&mut endings);
    }
    board::disarm();
    hprintln!(
        "{} interrupts, {} presses",
        clock::ticks(),
        field::presses()
    );
    hprintln!("{}", endings);
    task::ALL.iter().for_each(|task| hprintln!("{}", task));
    hprintln!("{}", executor::Counts);
    endings.must_all_have_been();
    board::succeed()
}

#[exception]
fn SysTick() {
    field::tick();
}

#[exception]
fn PendSV() {
    field::press();
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::fail(info)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    panic!("hard fault at {:#x}", frame.pc());
}
