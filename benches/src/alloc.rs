//! An allocator that counts while it is told to, over all threads.
//!
//! While it is not, it costs one load, so that what is timed is not what is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

#[global_allocator]
static COUNTING: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

/// What happened between [`start`] and [`stop`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that allocated; one that resized a block is one.
    pub(crate) calls: usize,
    /// Bytes asked for.
    pub(crate) allocated: usize,
    /// Bytes asked for less bytes freed.
    pub(crate) growth: isize,
}

/// Counts from zero.
pub(crate) fn start() {
    for count in [&CALLS, &ALLOCATED, &FREED] {
        count.store(0, Relaxed);
    }
    ON.store(true, Relaxed);
}

/// Ends the counting.
pub(crate) fn stop() -> Counts {
    ON.store(false, Relaxed);
    let (allocated, freed) = (ALLOCATED.load(Relaxed), FREED.load(Relaxed));
    Counts {
        calls: CALLS.load(Relaxed),
        allocated,
        growth: allocated.wrapping_sub(freed) as isize,
    }
}

fn allocated(bytes: usize) {
    if ON.load(Relaxed) {
        CALLS.fetch_add(1, Relaxed);
        ALLOCATED.fetch_add(bytes, Relaxed);
    }
}

fn freed(bytes: usize) {
    if ON.load(Relaxed) {
        FREED.fetch_add(bytes, Relaxed);
    }
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: (caller) as for `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: (caller) as for `GlobalAlloc::alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: (caller) as for `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        freed(layout.size());
        allocated(size);
        // SAFETY: (caller) as for `GlobalAlloc::realloc`.
        unsafe { System.realloc(block, layout, size) }
    }
}
