//! What is too much on a device of fixed tables says so, gives back what it did not take, and loses
//! nothing: a token without a slot left, a nursery without one, a pool in use, and a queue of timers that
//! more tasks sleep in than it has room for.
#![no_std]
#![no_main]

mod time;

use core::cell::Cell;
use core::future::{Future, poll_fn, ready};
use core::panic::PanicInfo;
use core::pin::pin;
use core::time::Duration;
use cortex_m_semihosting::hprintln;
use embassy_executor::Spawner;
use umbel_core::{
    Clock, FixedFailure, FixedNursery, Full, InUse, Instant, Reason, StaticToken, Timer,
    TrySpawnError, WakePool,
};
use umbel_embassy::EmbassyTimer;
use umbel_firmware::board;

/// Sleepers; the queue has room for 8.
const TASKS: usize = 12;

/// Ticks until the last of them is due.
const LONGEST: u32 = 20 + TASKS as u32;

fn on_tick(_: u64) {}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    time::begin();
    full_token().await;
    full_nursery_and_pool_in_use().await;
    crowded_queue().await;
    board::disarm();
    board::succeed()
}

async fn full_token() {
    static STOP: StaticToken<1> = StaticToken::new();
    let only = STOP.child().expect("one slot");
    let refused: Result<_, Full> = STOP.child();
    hprintln!("a second child: {}", refused.expect_err("one slot"));
    // The first is as it was, and its slot serves again.
    STOP.cancel_children(Reason::custom(1));
    only.cancelled().await;
    drop(only);
    assert!(STOP.child().is_ok_and(|child| !child.is_cancelled()));
}

async fn full_nursery_and_pool_in_use() {
    static POOL: WakePool<2> = WakePool::new();
    let nursery = FixedNursery::<u8, 2>::new(&POOL).expect("it is free");
    let taken: Result<FixedNursery<'_, u8, 2>, InUse> = FixedNursery::new(&POOL);
    hprintln!("a second nursery: {}", taken.expect_err("one is there"));
    let ran = Cell::new(0);
    let task = |bit: u8| {
        let ran = &ran;
        async move {
            ran.set(ran.get() | bit);
            Ok(())
        }
    };
    let outcome = nursery
        .run(async {
            assert!(nursery.try_spawn(task(1)).is_ok() && nursery.try_spawn(task(2)).is_ok());
            let Err(refused) = nursery.try_spawn(task(4)) else {
                panic!("two slots")
            };
            hprintln!("a third task: {}", refused);
            let TrySpawnError::Full(third) = refused else {
                panic!("it is open")
            };
            // What was refused is whole, and waits its turn.
            nursery.spawn_wait(third).await.map_err(|_| 1)
        })
        .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(ran.get(), 7, "a task was lost");
    let Err(late) = nursery.try_spawn(ready(Ok(()))) else {
        panic!("it is over")
    };
    hprintln!("a task after the end: {}", late);
}

/// Who does not fit into embassy's queue is woken before its time and sleeps again: late is nobody, early
/// nobody, and the price is polls.
async fn crowded_queue() {
    static POOL: WakePool<TASKS> = WakePool::new();
    static STOP: StaticToken<1> = StaticToken::new();
    let timer = EmbassyTimer::new();
    let (ended, polls) = (Cell::new(0), Cell::new(0_u32));
    let begin = timer.now();
    let due = |ticks: u32| begin + Duration::from_millis(ticks.into());
    let sleeper = |at: Instant| {
        let (ended, polls) = (&ended, &polls);
        async move {
            let mut sleep = pin!(timer.sleep_until(at));
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                sleep.as_mut().poll(cx)
            })
            .await;
            let late = timer.now() - at;
            assert!(timer.now() >= at, "early");
            assert!(late <= Duration::from_millis(2), "late by {late:?}");
            ended.set(ended.get() + 1);
            Ok(())
        }
    };
    let stop = STOP
        .child_with_deadline(due(10 * LONGEST))
        .expect("one slot");
    let nursery = FixedNursery::<Full, TASKS, 96>::with_size(&POOL).expect("it is free");
    let outcome: Result<(), FixedFailure<Full>> = nursery
        .run_until_cancelled(&stop, async {
            for ticks in 0..TASKS as u32 {
                let sleeper = sleeper(due(LONGEST - ticks));
                nursery.try_spawn(sleeper).map_err(|_| Full)?;
            }
            Ok(())
        })
        .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(ended.get(), TASKS, "a sleeper was lost");
    assert!(polls.get() > 2 * TASKS as u32, "the queue had room for all");
    hprintln!(
        "{} sleepers in a queue for 8: all ended in time, by tick {}, after {} polls",
        TASKS,
        time::tick(),
        polls.get()
    );
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::fail(info)
}
