//! Wakers that count, without memory of their own.

use core::task::{RawWaker, RawWakerVTable, Waker};
use portable_atomic::{AtomicU32, Ordering::Relaxed};

/// A task's waker: how often it was woken, how many clones of it live.
pub(crate) struct Bell {
    rung: AtomicU32,
    clones: AtomicU32,
}

/// One for each wait of a round, so that none hears another's wake.
static BELLS: [Bell; 6] = [const { Bell::new() }; 6];

const VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, forget);

impl Bell {
    const fn new() -> Self {
        Bell {
            rung: AtomicU32::new(0),
            clones: AtomicU32::new(0),
        }
    }

    pub(crate) fn nth(n: usize) -> &'static Bell {
        &BELLS[n]
    }

    pub(crate) fn rung(&self) -> u32 {
        self.rung.load(Relaxed)
    }

    pub(crate) fn waker(&'static self) -> Waker {
        self.clones.add(1, Relaxed);
        // SAFETY: the data is always a `&'static Bell`, which every function of the table takes.
        unsafe { Waker::new(core::ptr::from_ref(self).cast(), &VTABLE) }
    }
}

/// How often all bells have rung, and how many of their wakers live.
pub(crate) fn totals() -> (u32, u32) {
    let sum = |of: fn(&Bell) -> &AtomicU32| BELLS.iter().map(|bell| of(bell).load(Relaxed)).sum();
    (sum(|bell| &bell.rung), sum(|bell| &bell.clones))
}

/// # Safety
/// Of every function of the table: `data` came from [`Bell::waker`].
unsafe fn bell(data: *const ()) -> &'static Bell {
    // SAFETY: (caller).
    unsafe { &*data.cast() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: (caller).
    unsafe { bell(data) }.clones.add(1, Relaxed);
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: (caller).
    unsafe {
        wake_by_ref(data);
        forget(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: (caller).
    unsafe { bell(data) }.rung.add(1, Relaxed);
    crate::press::a_bell_rings();
}

unsafe fn forget(data: *const ()) {
    // SAFETY: (caller).
    unsafe { bell(data) }.clones.sub(1, Relaxed);
}
