//! What the nursery and its rival have in common: the hardware, a button, and the account of how it went.

use core::future::Future;
use core::panic::PanicInfo;
use core::pin::Pin;
use core::task::{Context, Poll};
use cortex_m_semihosting::hprintln;
use pin_project_lite::pin_project;
use portable_atomic::{AtomicU32, Ordering::Relaxed};
use umbel_firmware::board;
use umbel_firmware::plant::{self, Fault, Frame};

/// Shifts until the program ends.
pub const SHIFTS: u32 = 60;
/// Ticks that a shift lasts, unless it ends before.
pub const SHIFT: u32 = 100;

// ------------------------------------------------------------------ the hardware

/// Of this shift.
static MEASURED: AtomicU32 = AtomicU32::new(0);
static SENT: AtomicU32 = AtomicU32::new(0);

/// In every seventh shift the line breaks after some frames.
static SHIFTS_BEFORE: AtomicU32 = AtomicU32::new(0);

/// The number of the press, if the button is pressed in this tick: within some shifts, and in others not.
pub fn button(tick: u64) -> Option<u16> {
    tick.is_multiple_of(130).then_some((tick / 130) as u16)
}

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
