//! What both boards have: SysTick, PendSV, and a host that answers semihosting calls.

use core::cell::Cell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use cortex_m::peripheral::scb::SystemHandler;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use cortex_m_semihosting::{debug, hprintln, nr, syscall};

/// The only driver of SysTick in this program.
fn syst() -> SYST {
    // SAFETY: its registers hold no memory of ours, and main touches them only while the timer is
    // off or with interrupts masked.
    unsafe { cortex_m::Peripherals::steal() }.SYST
}

/// SysTick interrupts PendSV, which interrupts main.
pub fn init() {
    // SAFETY: no critical section here goes by priorities.
    unsafe {
        let mut scb: SCB = cortex_m::Peripherals::steal().SCB;
        scb.set_priority(SystemHandler::SysTick, 0x00);
        scb.set_priority(SystemHandler::PendSV, 0xc0);
    }
    let mut syst = syst();
    syst.set_clock_source(SystClkSource::Core);
    syst.enable_interrupt();
}

/// The next SysTick comes in `ticks`, also if one was due.
#[inline]
pub fn arm(ticks: u32) {
    let mut syst = syst();
    syst.disable_counter();
    // It is periodic: with a short period it was due again while it was served.
    SCB::clear_pendst();
    syst.set_reload(ticks);
    syst.clear_current();
    syst.enable_counter();
}

/// Later than anything that is waited for.
pub const LATER: u32 = 20_000;

/// So long ago `arm(ticks)` was, if no interrupt came.
pub fn since_armed(ticks: u32) -> u32 {
    ticks - SYST::get_current()
}

/// No SysTick comes after this, nor does PendSV.
pub fn disarm() {
    cortex_m::interrupt::free(|_| {
        syst().disable_counter();
        SCB::clear_pendst();
    });
}

/// A sequence that looks like chance (Marsaglia's xorshift) and is the same in every run.
pub struct Dice(AtomicU32);

impl Dice {
    /// `seed` is not 0.
    pub const fn new(seed: u32) -> Self {
        Dice(AtomicU32::new(seed))
    }

    /// A number below `sides`.
    pub fn roll(&self, sides: u32) -> u32 {
        let mut x = self.0.load(Relaxed);
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.0.store(x, Relaxed);
        (x >> 8) % sides
    }

    /// Once in `sides`.
    pub fn one_in(&self, sides: u32) -> bool {
        self.roll(sides) == 0
    }
}

/// The last word of the command line that the host gives, if it is a number.
pub fn number_from_host() -> Option<u32> {
    let mut buffer = [0_u8; 128];
    let block = [buffer.as_mut_ptr() as usize, buffer.len()].map(Cell::new);
    // SAFETY: GET_CMDLINE takes a buffer and its length, and writes within it and to both words.
    let failed = unsafe { syscall(nr::GET_CMDLINE, &block) };
    if failed != 0 {
        return None;
    }
    let text = buffer.split(|&byte| byte == 0).next()?;
    let word = core::str::from_utf8(text).ok()?.rsplit(' ').next()?;
    word.parse().ok()
}

/// Tells the host that all went well.
pub fn succeed() -> ! {
    debug::exit(debug::EXIT_SUCCESS);
    end()
}

/// Tells the host what went wrong, and ends.
pub fn fail(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    hprintln!("{}", info);
    debug::exit(debug::EXIT_FAILURE);
    end()
}

/// The host has been told to end us.
fn end() -> ! {
    loop {
        cortex_m::asm::bkpt();
    }
}
