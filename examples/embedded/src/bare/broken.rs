//! What the host must find: a value on a heap.

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};

struct Nothing;

// SAFETY: there is never any memory, which is allowed.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Nothing = Nothing;

pub(crate) fn allocate() {
    drop(alloc::vec::Vec::<u8>::with_capacity(core::hint::black_box(
        1,
    )));
}
