//! embassy's time on SysTick.

use core::cell::{Cell, RefCell};
use core::task::Waker;
use cortex_m_rt::exception;
use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;
use umbel_firmware::board;

/// Of the timer, a tick: time enough for all tasks, on both boards.
const TICK: u32 = 20_000;

/// A tick is an interrupt, which looks who is due.
struct Ticks {
    now: Mutex<Cell<u64>>,
    queue: Mutex<RefCell<Queue>>,
}

time_driver_impl!(static TICKS: Ticks = Ticks {
    now: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for Ticks {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.now.borrow(cs).get())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| self.queue.borrow_ref_mut(cs).schedule_wake(at, waker));
    }
}

#[exception]
fn SysTick() {
    let now = critical_section::with(|cs| {
        let now = TICKS.now.borrow(cs).get() + 1;
        TICKS.now.borrow(cs).set(now);
        TICKS.queue.borrow_ref_mut(cs).next_expiration(now);
        now
    });
    crate::on_tick(now);
    board::arm(TICK);
}

/// Time begins.
pub fn begin() {
    board::init();
    board::arm(TICK);
}

pub fn tick() -> u32 {
    TICKS.now() as u32
}
