//! The public types in defmt's logs: one line each, which the host decodes and compares.
#![no_std]
#![no_main]

use core::future::{Pending, pending};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use defmt::println;
use defmt_semihosting as _;
use umbel_core::{
    Cancelled, FixedFailure, FixedNursery, FixedSet, Full, Instant, NoSignal, Reason, SpawnError,
    StaticToken, WakePool,
};
use umbel_firmware::board;

static STOP: StaticToken<1> = StaticToken::new();
static POOL: WakePool<2> = WakePool::new();

#[entry]
fn main() -> ! {
    for reason in [
        Reason::explicit(),
        Reason::deadline_exceeded(),
        Reason::sibling_failed(),
        Reason::sibling_succeeded(),
        Reason::shutdown(),
        Reason::dropped(),
        Reason::custom(7),
    ] {
        println!("{}: {}", reason.kind(), reason);
    }
    println!("{}", Cancelled::new(Reason::shutdown()));
    println!("{}, {}", Instant::from_nanos(1_500), Instant::NEVER);
    println!("{}", SpawnError::new(()));
    tokens();
    sets();
    nurseries();
    board::succeed()
}

fn tokens() {
    let child = STOP.child();
    println!("{}, {}", STOP, child);
    STOP.cancel_children(Reason::custom(1));
    println!("{}", child);
    println!("{}", STOP.child().err());
}

fn sets() {
    println!("{}", POOL);
    let set = FixedSet::<Pending<()>, 2>::new(&POOL);
    println!("{}, {}", POOL, set);
    println!("{}", FixedSet::<Pending<()>, 2>::new(&POOL).err());
}

fn nurseries() {
    let Ok(nursery) = FixedNursery::<Full, 2>::new(&POOL) else {
        panic!("it is free");
    };
    println!("{}, {}", nursery, NoSignal);
    println!("{}", nursery.try_spawn(pending()).err());
    println!("{}", FixedFailure::Error(Full));
    println!("{}", FixedFailure::<Full>::Cancelled(Reason::custom(2)));
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::fail(info)
}
