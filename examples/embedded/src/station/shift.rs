//! A shift: the four tasks from their start to their end.

use crate::clock::{self, Ticks};
use crate::task::{self, Counted};
use crate::{executor, field};
use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::pin::pin;
use umbel_core::{
    FixedFailure, FixedNursery, ReasonKind, StaticChild, StaticToken, Timer, WakePool,
};
use umbel_firmware::plant::{self, Fault, Frame, Part, Pipes, Site};

/// Ticks that a shift lasts, unless it ends before.
pub(crate) const SHIFT: u32 = 100;

pub(crate) static STOP: StaticToken<1> = StaticToken::new();
static POOL: WakePool<4> = WakePool::new();

/// The hardware, in one shift.
struct Station {
    measured: Cell<u32>,
    sent: Cell<u32>,
}

impl Station {
    fn new() -> Self {
        Station {
            measured: Cell::new(0),
            sent: Cell::new(0),
        }
    }
}

impl Site for Station {
    fn tick(&self) -> u32 {
        clock::ticks()
    }

    async fn until(&self, tick: u32) {
        Ticks.sleep_until(clock::instant(tick)).await;
    }

    fn measure(&self) -> u32 {
        self.measured.replace(self.measured.get() + 1)
    }

    fn transmit(&self, frame: Frame) -> Result<(), Fault> {
        if field::is_line_broken() {
            return Err(Fault::LineBroken);
        }
        let number = self.sent.replace(frame.number + 1);
        assert_eq!(frame.number, number, "a frame was lost");
        // Of the samples 4n, 4n + 1, 4n + 2, 4n + 3.
        assert_eq!(frame.sum, 16 * number + 6, "a sample was lost");
        Ok(())
    }
}

/// The tasks in their nursery.
#[cfg(not(feature = "broken"))]
async fn work<'env>(
    nursery: &FixedNursery<'env, Fault, 4>,
    stop: &'env StaticChild,
    site: &'env Station,
    pipes: &'env Pipes,
) -> Result<Infallible, Fault> {
    let _power = plant::take(Part::Power);
    let room = "a slot for each task";
    let sensor = Counted::new(0, stop, plant::sensor(site, pipes));
    nursery.try_spawn(sensor).expect(room);
    let filter = Counted::new(1, stop, plant::filter(pipes));
    nursery.try_spawn(filter).expect(room);
    let link = Counted::new(2, stop, plant::link(site, pipes));
    nursery.try_spawn(link).expect(room);
    let watchdog = Counted::new(3, stop, plant::watchdog(site, pipes));
    nursery.try_spawn(watchdog).expect(room);
    // The shift is over when its deadline is due.
    stop.drive(Ticks).await;
    core::future::pending().await
}

/// The tasks in one future.
#[cfg(feature = "broken")]
async fn work(
    _: &FixedNursery<'_, Fault, 4>,
    stop: &StaticChild,
    site: &Station,
    pipes: &Pipes,
) -> Result<Infallible, Fault> {
    let _power = plant::take(Part::Power);
    let sensor = pin!(Counted::new(0, stop, plant::sensor(site, pipes)));
    let filter = pin!(Counted::new(1, stop, plant::filter(pipes)));
    let link = pin!(Counted::new(2, stop, plant::link(site, pipes)));
    let watchdog = pin!(Counted::new(3, stop, plant::watchdog(site, pipes)));
    Err(crate::broken::all([sensor, filter, link, watchdog]).await)
}

/// From one press, or other end, to the next.
pub(crate) fn run(endings: &mut Endings) {
    field::reset();
    let over = clock::ticks() + SHIFT;
    let before = field::presses();
    let stop = STOP.child_with_deadline(clock::instant(over));
    let stop = stop.expect("the last shift gave its child back");
    let after = field::presses();
    match live(&stop) {
        FixedFailure::Cancelled(reason) if reason.kind() == ReasonKind::Custom => {
            let code = reason.code().expect("a press has a number");
            let pressed = before + u32::from(code.wrapping_sub(before as u16));
            // The first one after the child was made, or one that came while it was; and SysTick may
            // have come into PendSV's.
            assert!(
                before < pressed && pressed <= after + 2 && pressed <= field::presses(),
                "press {pressed} ended the shift of {before}..{after}"
            );
            endings.pressed += 1;
        }
        FixedFailure::Cancelled(reason) => {
            assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
            assert!(over <= clock::ticks(), "it is not over yet");
            endings.over += 1;
        }
        FixedFailure::Error(fault) => {
            assert_eq!(fault, Fault::LineBroken);
            assert!(field::is_line_broken(), "the line is well");
            endings.failed += 1;
        }
    }
    field::reset();
    task::end_shift();
}

/// The tasks, until one fails or all are told to stop; and then all is off.
fn live(stop: &StaticChild) -> FixedFailure<Fault> {
    let (site, pipes) = (Station::new(), Pipes::new());
    let nursery = FixedNursery::new(&POOL).expect("the last shift gave its pool back");
    let outcome = {
        let body = work(&nursery, stop, &site, &pipes);
        let run = pin!(nursery.run_until_cancelled(stop, body));
        executor::block_on(run, || {
            assert!(!stop.is_cancelled(), "lost wake: cancelled, and asleep");
            task::all_must_have_been_polled();
        })
    };
    assert!(plant::is_off(), "a part of the hardware is still on");
    assert!(clock::is_unused(), "a sleep was not given up");
    match outcome {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

/// How shifts ended.
#[derive(Default)]
pub(crate) struct Endings {
    pressed: u32,
    failed: u32,
    over: u32,
}

impl Endings {
    pub(crate) fn must_all_have_been(&self) {
        let Endings {
            pressed,
            failed,
            over,
        } = *self;
        assert!(pressed > 0 && failed > 0 && over > 0, "too short a run");
    }
}

impl fmt::Display for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endings {
            pressed,
            failed,
            over,
        } = self;
        write!(
            f,
            "shifts: {pressed} ended by the button, {failed} by a fault, {over} in time"
        )
    }
}
