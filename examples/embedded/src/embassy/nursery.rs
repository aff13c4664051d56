//! The station under embassy, in a nursery: an interrupt cancels the token, a deadline does, or a task
//! fails; only tasks that were woken are polled.
#![no_std]
#![no_main]

mod frame;
mod time;

use core::future::pending;
use core::time::Duration;
use embassy_executor::Spawner;
use frame::{End, SHIFT, counted};
use umbel_core::{
    Clock, FixedFailure, FixedNursery, Instant, Reason, ReasonKind, StaticToken, Timer, WakePool,
};
use umbel_embassy::EmbassyTimer;
use umbel_firmware::plant::{self, Fault, Frame, Part, Pipes, Site};

static STOP: StaticToken<1> = StaticToken::new();
static POOL: WakePool<4> = WakePool::new();

/// In the interrupt of the clock.
fn on_tick(tick: u64) {
    if let Some(number) = frame::button(tick) {
        STOP.cancel_children(Reason::custom(number));
    }
}

struct Station;

impl Site for Station {
    fn tick(&self) -> u32 {
        time::tick()
    }

    async fn until(&self, tick: u32) {
        let at = Instant::EPOCH + Duration::from_millis(tick.into());
        EmbassyTimer::new().sleep_until(at).await;
    }

    fn measure(&self) -> u32 {
        frame::measure()
    }

    fn transmit(&self, frame: Frame) -> Result<(), Fault> {
        frame::transmit(frame)
    }
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    time::begin();
    loop {
        let end = match shift().await {
            FixedFailure::Cancelled(reason) if reason.kind() == ReasonKind::Custom => End::Pressed,
            FixedFailure::Cancelled(_) => End::Over,
            FixedFailure::Error(_) => End::Failed,
        };
        frame::end_shift(end);
    }
}

async fn shift() -> FixedFailure<Fault> {
    let timer = EmbassyTimer::new();
    let over = timer.now() + Duration::from_millis(SHIFT.into());
    let stop = STOP.child_with_deadline(over).expect("one shift at a time");
    let pipes = Pipes::new();
    let n = FixedNursery::<Fault, 4, 96>::with_size(&POOL).expect("one shift at a time");
    let run = n.run_until_cancelled(&stop, async {
        let _power = plant::take(Part::Power);
        let room = "a slot for each task";
        n.try_spawn(counted(plant::sensor(&Station, &pipes)))
            .expect(room);
        n.try_spawn(counted(plant::filter(&pipes))).expect(room);
        n.try_spawn(counted(plant::link(&Station, &pipes)))
            .expect(room);
        n.try_spawn(counted(plant::watchdog(&Station, &pipes)))
            .expect(room);
        stop.drive(timer).await;
        pending::<Result<(), _>>().await
    });
    run.await.expect_err("it never ends well")
}
