//! The program without a token: the button rings, and nobody is told.
#![no_std]
#![no_main]

mod program;

use cortex_m_rt::{entry, exception};

#[entry]
fn main() -> ! {
    loop {
        program::block_on(program::receive(program::PORT));
    }
}

#[exception]
fn SysTick() {
    program::ring();
}
