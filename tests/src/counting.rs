//! Wakers and an allocator that count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

type Hook = Box<dyn Fn() + Send + Sync>;

/// A task that is polled by hand, and counts how often it is woken.
#[derive(Debug)]
pub struct Task(Arc<Inner>);

struct Inner {
    woken: AtomicUsize,
    on_wake: Option<Hook>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("woken", &self.woken)
            .finish_non_exhaustive()
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.fetch_add(1, SeqCst);
        if let Some(hook) = &self.on_wake {
            hook();
        }
    }
}

impl Default for Task {
    fn default() -> Self {
        Task::new()
    }
}

impl Task {
    /// A task that only counts.
    pub fn new() -> Task {
        Task(Arc::new(Inner {
            woken: AtomicUsize::new(0),
            on_wake: None,
        }))
    }

    /// A task that runs `hook` in every wake.
    pub fn with_hook(hook: impl Fn() + Send + Sync + 'static) -> Task {
        Task(Arc::new(Inner {
            woken: AtomicUsize::new(0),
            on_wake: Some(Box::new(hook)),
        }))
    }

    /// A new waker of the task.
    pub fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    /// Polls `future` as this task; the waker shown is dropped afterwards.
    pub fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker()))
    }

    /// How often it was woken.
    pub fn woken(&self) -> usize {
        self.0.woken.load(SeqCst)
    }

    /// Gives back the count of a waker that was leaked on purpose, so that leak checkers stay quiet.
    ///
    /// # Safety
    /// One more waker than before was leaked, and it is never used again.
    pub unsafe fn forgive_one_leaked_waker(&self) {
        // SAFETY: (caller) the leaked waker's count is nobody else's to give back.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(&self.0)) }
    }

    /// How many wakers of it exist.
    pub fn wakers(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// A waker that is its own only owner, and runs `hook` when the last clone of it is dropped.
pub fn waker_with_drop(hook: impl Fn() + Send + Sync + 'static) -> Waker {
    struct OnDrop<F: Fn()>(F);
    impl<F: Fn()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    impl<F: Fn() + Send + Sync> Wake for OnDrop<F> {
        fn wake(self: Arc<Self>) {}
    }
    Arc::new(OnDrop(hook)).into()
}

/// Counts, per thread, what is allocated.
#[derive(Debug)]
pub struct CountingAlloc;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for CountingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|n| n.set(n.get() + 1));
        let _ = LIVE.try_with(|n| n.set(n.get() + layout.size() as isize));
        // SAFETY: (caller) as for `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = CALLS.try_with(|n| n.set(n.get() + 1));
        let _ = LIVE.try_with(|n| n.set(n.get() - layout.size() as isize));
        // SAFETY: (caller) as for `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// How often this thread has called the allocator, to allocate or to free.
pub fn allocator_calls() -> usize {
    CALLS.get()
}

/// Bytes this thread has allocated and not freed.
pub fn live_bytes() -> isize {
    LIVE.get()
}
