//! An application as firmware has them: a sensor, a filter, a link and a watchdog, which run until
//! they are told to stop. What they need of the hardware is a [`Site`].

use core::cell::Cell;
use core::future::Future;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use portable_atomic::{AtomicU32, Ordering::Relaxed};

/// Why the application ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens to the link.
    LineBroken,
    /// No sample for too long.
    Stalled,
}

/// The sum of four samples.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub number: u32,
    pub sum: u32,
}

/// The hardware.
pub trait Site {
    /// The present, in ticks.
    fn tick(&self) -> u32;

    /// Waits until a tick.
    fn until(&self, tick: u32) -> impl Future<Output = ()>;

    /// A sample.
    fn measure(&self) -> u32;

    /// Begins to send.
    fn transmit(&self, frame: Frame) -> Result<(), Fault>;
}

/// What lies between the tasks. They borrow it from whoever runs them.
pub struct Pipes {
    samples: Channel<NoopRawMutex, u32, 2>,
    frames: Channel<NoopRawMutex, Frame, 1>,
    /// Samples so far.
    count: Cell<u32>,
}

impl Pipes {
    #[allow(clippy::new_without_default, reason = "nobody asks for it")]
    pub const fn new() -> Self {
        Pipes {
            samples: Channel::new(),
            frames: Channel::new(),
            count: Cell::new(0),
        }
    }
}

/// Measures every other tick.
pub async fn sensor(site: &impl Site, pipes: &Pipes) -> Result<(), Fault> {
    let _adc = take(Part::Adc);
    let mut at = site.tick();
    loop {
        at += 2;
        site.until(at).await;
        pipes.samples.send(site.measure()).await;
        pipes.count.set(pipes.count.get() + 1);
    }
}

/// Makes frames of samples.
pub async fn filter(pipes: &Pipes) -> Result<(), Fault> {
    let _fpu = take(Part::Fpu);
    let mut number = 0;
    loop {
        let mut sum = 0;
        for _ in 0..4 {
            sum += pipes.samples.receive().await;
        }
        pipes.frames.send(Frame { number, sum }).await;
        number += 1;
    }
}

/// Sends frames; each takes three ticks.
pub async fn link(site: &impl Site, pipes: &Pipes) -> Result<(), Fault> {
    let uart = take(Part::Uart);
    loop {
        let frame = pipes.frames.receive().await;
        if let Err(fault) = site.transmit(frame) {
            uart.give_back();
            return Err(fault);
        }
        site.until(site.tick() + 3).await;
    }
}

/// Looks now and then whether there are samples.
pub async fn watchdog(site: &impl Site, pipes: &Pipes) -> Result<(), Fault> {
    let _timer = take(Part::Watchdog);
    loop {
        let before = pipes.count.get();
        site.until(site.tick() + 20).await;
        if pipes.count.get() == before {
            return Err(Fault::Stalled);
        }
    }
}

/// The parts of the hardware that are on, the one that was switched on last lowest: a digit each.
static ON: AtomicU32 = AtomicU32::new(0);

/// A part of the hardware that is switched on by who uses it, and off afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Part {
    Power = 1,
    Adc,
    Fpu,
    Uart,
    Watchdog,
}

/// A part that is on; switches it off when dropped. That must be the last one that is on.
pub struct Taken(Part);

/// Switches a part on.
pub fn take(part: Part) -> Taken {
    let on = ON.load(Relaxed);
    assert!(place(on, part).is_none(), "{part:?} was not given back");
    ON.store(on << 4 | part as u32, Relaxed);
    Taken(part)
}

impl Taken {
    /// Switches it off out of turn.
    pub fn give_back(self) {
        let on = ON.load(Relaxed);
        let lower = (1 << (4 * place(on, self.0).expect("it is on"))) - 1;
        // It is the last one now.
        ON.store(
            on & !(0x10 * lower + 0xf) | (on & lower) << 4 | self.0 as u32,
            Relaxed,
        );
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let on = ON.load(Relaxed);
        assert_eq!(place(on, self.0), Some(0), "{:?} is not the last", self.0);
        ON.store(on >> 4, Relaxed);
    }
}

/// How many parts were switched on after this one, if it is on.
fn place(on: u32, part: Part) -> Option<u32> {
    (0..8).find(|place| on >> (4 * place) & 0xf == part as u32)
}

/// Whether all parts are off.
pub fn is_off() -> bool {
    ON.load(Relaxed) == 0
}
