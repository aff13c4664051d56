//! What both programs have: embassy's time on SysTick, the hardware, a button, and the account of how it
//! went.

use crate::press;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::panic::PanicInfo;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use cortex_m_rt::exception;
use cortex_m_semihosting::hprintln;
use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;
use pin_project_lite::pin_project;
use portable_atomic::{AtomicU32, Ordering::Relaxed};
use umbel_firmware::board;
use umbel_firmware::plant::{self, Fault, Frame};

/// Of the timer, a tick: time enough for all tasks, on both boards.
const TICK: u32 = 20_000;
/// Shifts until the program ends.
pub const SHIFTS: u32 = 60;
/// Ticks that a shift lasts, unless it ends before.
pub const SHIFT: u32 = 100;

// ------------------------------------------------------------------ time

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
    // Within some shifts, and in others not.
    if now % 130 == 0 {
        press((now / 130) as u16);
    }
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

// ------------------------------------------------------------------ the hardware

/// Of this shift.
static MEASURED: AtomicU32 = AtomicU32::new(0);
static SENT: AtomicU32 = AtomicU32::new(0);

/// In every seventh shift the line breaks after some frames.
static SHIFTS_BEFORE: AtomicU32 = AtomicU32::new(0);

pub fn measure() -> u32 {
    MEASURED.fetch_add(1, Relaxed)
}

pub fn transmit(frame: Frame) -> Result<(), Fault> {
    let number = SENT.fetch_add(1, Relaxed);
    if number == 2 && SHIFTS_BEFORE.load(Relaxed) % 7 == 6 {
        return Err(Fault::LineBroken);
    }
    assert_eq!(frame.number, number, "a frame was lost");
    assert_eq!(frame.sum, 16 * number + 6, "a sample was lost");
    Ok(())
}

// ------------------------------------------------------------------ the account

/// Polls of the four tasks.
static POLLS: AtomicU32 = AtomicU32::new(0);

pin_project! {
    /// A task whose polls are counted.
    pub struct Counted<F> {
        #[pin]
        future: F,
    }
}

pub fn counted<F>(future: F) -> Counted<F> {
    Counted { future }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        POLLS.add(1, Relaxed);
        self.project().future.poll(cx)
    }
}

/// Why a shift ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Pressed,
    Failed,
    Over,
}

/// A shift has ended. After the last one the program does.
pub fn end_shift(end: End) {
    static ENDS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    static FRAMES: AtomicU32 = AtomicU32::new(0);
    assert!(plant::is_off(), "a part of the hardware is still on");
    MEASURED.store(0, Relaxed);
    FRAMES.add(SENT.swap(0, Relaxed), Relaxed);
    ENDS[end as usize].add(1, Relaxed);
    SHIFTS_BEFORE.add(1, Relaxed);
    if SHIFTS_BEFORE.load(Relaxed) < SHIFTS {
        return;
    }
    board::disarm();
    let [pressed, failed, over] = ENDS.each_ref().map(|count| count.load(Relaxed));
    hprintln!(
        "shifts: {} ended by the button, {} by a fault, {} in time",
        pressed,
        failed,
        over
    );
    let [frames, polls] = [&FRAMES, &POLLS].map(|count| count.load(Relaxed));
    hprintln!("{} frames, {} polls of tasks", frames, polls);
    assert!(pressed > 0 && failed > 0 && over > 0, "too short a run");
    board::succeed()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::fail(info)
}
