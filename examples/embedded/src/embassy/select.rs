//! The station under embassy, by hand: a signal and a timeout are selected with the tasks, all of which
//! are polled whoever is woken.
#![no_std]
#![no_main]

mod frame;
mod time;

use core::pin::pin;
use embassy_executor::Spawner;
use embassy_futures::select::{Either, Either4, select, select4};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use frame::{End, SHIFT, counted};
use umbel_firmware::plant::{self, Fault, Frame, Part, Pipes, Site};

static STOP: Signal<CriticalSectionRawMutex, u16> = Signal::new();

/// In the interrupt of the clock.
fn on_tick(tick: u64) {
    if let Some(number) = frame::button(tick) {
        STOP.signal(number);
    }
}

struct Station;

impl Site for Station {
    fn tick(&self) -> u32 {
        time::tick()
    }

    async fn until(&self, tick: u32) {
        Timer::at(Instant::from_millis(tick.into())).await;
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
        STOP.reset();
        let end = match with_timeout(Duration::from_millis(SHIFT.into()), shift()).await {
            Ok(Either::First(_)) => End::Pressed,
            Ok(Either::Second(_)) => End::Failed,
            Err(_) => End::Over,
        };
        frame::end_shift(end);
    }
}

/// The last one that was made is dropped first.
async fn shift() -> Either<u16, Fault> {
    let pipes = Pipes::new();
    let _power = plant::take(Part::Power);
    let sensor = pin!(counted(plant::sensor(&Station, &pipes)));
    let filter = pin!(counted(plant::filter(&pipes)));
    let link = pin!(counted(plant::link(&Station, &pipes)));
    let watchdog = pin!(counted(plant::watchdog(&Station, &pipes)));
    match select(STOP.wait(), select4(sensor, filter, link, watchdog)).await {
        Either::First(number) => Either::First(number),
        Either::Second(ended) => {
            let (Either4::First(ended)
            | Either4::Second(ended)
            | Either4::Third(ended)
            | Either4::Fourth(ended)) = ended;
            Either::Second(ended.expect_err("it never ends well"))
        }
    }
}
