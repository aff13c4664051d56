//! What the scripts of all reference models share: how bytes choose, how foreign code behaves, and
//! wakers that tell what is done to them.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// How many bytes an operation takes in a script of bytes.
pub const OP_BYTES: usize = 4;

/// What a byte means, if each of these comes as often as its share says.
pub(crate) fn choose<T: Copy>(shares: &[(T, u8)], byte: u8) -> T {
    let all: u8 = shares.iter().map(|(_, share)| share).sum();
    let mut left = byte % all;
    for (what, share) in shares {
        match left.checked_sub(*share) {
            Some(rest) => left = rest,
            None => return *what,
        }
    }
    unreachable!("the shares sum up to all")
}

/// When foreign code is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A waker is woken, a callback called, a future polled.
    Call,
    Drop,
    Clone,
}

/// How foreign code behaves. The lower half of all bytes is calm.
#[derive(Clone, Copy)]
pub struct Mood(pub u8);

impl Mood {
    fn bits(self, shift: u32, mask: u8) -> u8 {
        if self.0 < 0x80 {
            0
        } else {
            self.0 >> shift & mask
        }
    }

    /// How many operations of the script it does.
    pub(crate) fn does(self, event: Event) -> u8 {
        match event {
            Event::Call => self.bits(0, 0b11),
            Event::Drop => self.bits(2, 1),
            Event::Clone => self.bits(3, 1),
        }
    }

    /// Whether it panics after that.
    pub(crate) fn panics(self, event: Event) -> bool {
        let at = [
            None,
            Some(Event::Call),
            Some(Event::Drop),
            Some(Event::Clone),
        ];
        at[usize::from(self.bits(4, 0b11))] == Some(event)
    }

    /// Whether it lets a panic of what it does pass.
    pub(crate) fn lets_panics_pass(self) -> bool {
        self.bits(6, 1) == 1
    }
}

impl std::fmt::Debug for Mood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 0x80 {
            return f.write_str("calm");
        }
        write!(f, "{:#x}", self.0)?;
        for event in [Event::Call, Event::Drop, Event::Clone] {
            match self.does(event) {
                0 => {}
                n => write!(f, " does {n} at {event:?}")?,
            }
            if self.panics(event) {
                write!(f, " panics at {event:?}")?;
            }
        }
        if self.lets_panics_pass() {
            f.write_str(" lets panics pass")?;
        }
        Ok(())
    }
}

/// What foreign code panics with: a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boom(pub(crate) usize);

/// What a panic that is not ours says.
pub(crate) fn text(payload: &dyn std::any::Any) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "something".to_owned()
    }
}

/// An interpreter, as the wakers see it. A waker says its number.
pub(crate) trait Listens: Send + Sync + 'static {
    fn waker_cloned(&self, waker: usize);
    fn waker_dropped(&self, waker: usize);
    fn woken(&self, waker: usize);
    /// Foreign code of this waker: does what its mood says.
    fn foreign(self: &Arc<Self>, waker: usize, event: Event, mood: Mood);
}

/// What a waker's data is: an `Arc` of this, one count a waker.
struct Hostile<W> {
    world: Arc<W>,
    /// Its number.
    waker: usize,
    mood: Mood,
}

impl<W: Listens> Hostile<W> {
    /// `std::task::Wake` would do, but that it does not tell of clones and drops.
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: the waker's count is there during the call, and stays with it.
            let this = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Self>())) };
            this.world.foreign(this.waker, Event::Clone, this.mood);
            this.world.waker_cloned(this.waker);
            Self::raw(Arc::clone(&this))
        },
        |data| {
            // SAFETY: the waker's count comes with the call.
            let this = unsafe { Arc::from_raw(data.cast::<Self>()) };
            this.world.waker_dropped(this.waker);
            this.world.woken(this.waker);
            this.world.foreign(this.waker, Event::Call, this.mood);
        },
        |data| {
            // SAFETY: the waker's count is there during the call, and stays with it.
            let this = unsafe { ManuallyDrop::new(Arc::from_raw(data.cast::<Self>())) };
            this.world.woken(this.waker);
            this.world.foreign(this.waker, Event::Call, this.mood);
        },
        |data| {
            // SAFETY: the waker's count comes with the call.
            let this = unsafe { Arc::from_raw(data.cast::<Self>()) };
            this.world.waker_dropped(this.waker);
            this.world.foreign(this.waker, Event::Drop, this.mood);
        },
    );

    fn raw(this: Arc<Self>) -> RawWaker {
        RawWaker::new(Arc::into_raw(this).cast(), const { &Self::TABLE })
    }
}

/// A waker that behaves like `mood`.
pub(crate) fn waker<W: Listens>(world: &Arc<W>, waker: usize, mood: Mood) -> Waker {
    let world = Arc::clone(world);
    let hostile = Arc::new(Hostile { world, waker, mood });
    // SAFETY: the functions of the table count as `Arc` does, and what they reach is `Send + Sync`.
    unsafe { Waker::from_raw(Hostile::raw(hostile)) }
}
