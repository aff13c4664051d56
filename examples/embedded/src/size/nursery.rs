//! Four tasks instead of one, in a nursery that runs under the token.
#![no_std]
#![no_main]

#[macro_use]
mod program;

use core::future::pending;
use program::{PORT, block_on, receive};
use umbel_core::{FixedNursery, StaticToken, WakePool};

static POOL: WakePool<4> = WakePool::new();

with_token!(1, run);

/// Each is another future, as tasks are.
async fn ends_with_byte() -> Result<(), u8> {
    receive(PORT).await;
    Ok(())
}

async fn ends_with_frame() -> Result<(), u8> {
    while receive(PORT).await != b'\n' {}
    Ok(())
}

async fn fails_with_zero() -> Result<(), u8> {
    loop {
        if receive(PORT).await == b'0' {
            return Err(0);
        }
    }
}

async fn fails_with_byte() -> Result<(), u8> {
    Err(receive(PORT).await)
}

fn run(stop: &'static StaticToken<1>) -> ! {
    loop {
        let (Ok(child), Ok(n)) = (stop.child(), FixedNursery::<u8, 4>::new(&POOL)) else {
            continue;
        };
        let outcome: Result<(), _> = block_on(n.run_until_cancelled(&child, async {
            n.try_spawn(ends_with_byte()).map_err(|_| 1)?;
            n.try_spawn(ends_with_frame()).map_err(|_| 1)?;
            n.try_spawn(fails_with_zero()).map_err(|_| 1)?;
            n.try_spawn(fails_with_byte()).map_err(|_| 1)?;
            pending().await
        }));
        drop(outcome);
    }
}
