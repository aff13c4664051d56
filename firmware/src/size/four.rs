//! The program with a token that has room for four.
#![no_std]
#![no_main]

mod program;

use cortex_m_rt::{entry, exception};
use umbel_core::StaticToken;

static STOP: StaticToken<4> = StaticToken::new();

#[entry]
fn main() -> ! {
    program::run(&STOP)
}

#[exception]
fn SysTick() {
    program::press(&STOP);
}
