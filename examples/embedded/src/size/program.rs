//! A firmware as small as one gets: a task that waits for a byte, and a button's interrupt.
#![allow(dead_code, unused_macros, reason = "not every program uses all of it")]

use core::future::{Future, poll_fn};
use core::panic::PanicInfo;
use core::pin::pin;
use core::ptr::read_volatile;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use umbel_core::{Reason, StaticToken};

static RUNG: AtomicBool = AtomicBool::new(false);

const VTABLE: RawWakerVTable = RawWakerVTable::new(|_| WAKER, |_| ring(), |_| ring(), |_| ());
const WAKER: RawWaker = RawWaker::new(core::ptr::null(), &VTABLE);

/// Where bytes come in.
pub const PORT: usize = 0x2000_3ff0;

pub fn ring() {
    RUNG.store(true, Ordering::Release);
}

/// The whole executor.
pub fn block_on<F: Future>(future: F) -> F::Output {
    // SAFETY: the table ignores its data.
    let waker = unsafe { Waker::from_raw(WAKER) };
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !RUNG.load(Ordering::Acquire) {
            cortex_m::asm::wfe();
        }
        RUNG.store(false, Ordering::Relaxed);
    }
}

/// Waits for a byte at `port`.
pub async fn receive(port: usize) -> u8 {
    poll_fn(|_| {
        // SAFETY: it is RAM on every board; nothing is written there.
        match unsafe { read_volatile(port as *const u32) } {
            0 => Poll::Pending,
            byte => Poll::Ready(byte as u8),
        }
    })
    .await
}

/// The task, told by a token.
pub fn run<const N: usize>(stop: &'static StaticToken<N>) -> ! {
    loop {
        if let Ok(child) = stop.child() {
            block_on(child.run_until_cancelled(receive(PORT)));
        }
    }
}

/// The button.
pub fn press<const N: usize>(stop: &StaticToken<N>) {
    stop.cancel_children(Reason::custom(1));
}

/// A program whose button cancels the children of a token with room for `$slots`; `$run` is main.
macro_rules! with_token {
    ($slots:literal, $run:path) => {
        static STOP: umbel_core::StaticToken<$slots> = umbel_core::StaticToken::new();

        #[cortex_m_rt::entry]
        fn main() -> ! {
            $run(&STOP)
        }

        #[cortex_m_rt::exception]
        fn SysTick() {
            program::press(&STOP);
        }
    };
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    cortex_m::asm::udf()
}
