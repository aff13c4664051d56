//! What each task's polls and wakes are counted by.
//!
//! Between the nursery's waker and whatever wakes the task stands one that counts. Whoever wakes takes
//! the waker out of its place, and a task waits for one thing at a time: so between two polls there is
//! one wake, and all polls but the first are for one. That can be held exactly.

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker, ready};
use cortex_m::interrupt::{self, Mutex};
use pin_project_lite::pin_project;
use portable_atomic::{AtomicU32, Ordering::Relaxed};
use umbel_core::StaticChild;
use umbel_firmware::plant::Fault;

pub(crate) struct Task {
    name: &'static str,
    /// Of this shift: how often it was polled and woken.
    polls: AtomicU32,
    wakes: AtomicU32,
    /// Of the shifts before.
    polls_before: AtomicU32,
    /// How many wakers of it there are.
    wakers: AtomicU32,
    /// The nursery's waker, while the task lives and has been polled.
    outer: Mutex<RefCell<Option<Waker>>>,
}

pub(crate) static ALL: [Task; 4] = [
    Task::new("sensor"),
    Task::new("filter"),
    Task::new("link"),
    Task::new("watchdog"),
];

/// Polls of tasks that found their shift cancelled or failed.
static LATE: AtomicU32 = AtomicU32::new(0);

impl Task {
    const fn new(name: &'static str) -> Self {
        Task {
            name,
            polls: AtomicU32::new(0),
            wakes: AtomicU32::new(0),
            polls_before: AtomicU32::new(0),
            wakers: AtomicU32::new(0),
            outer: Mutex::new(RefCell::new(None)),
        }
    }

    fn set_outer(&self, waker: Option<&Waker>) {
        let old = interrupt::free(|cs| self.outer.borrow(cs).replace(waker.cloned()));
        drop(old);
    }

    fn wake(&self) {
        self.wakes.add(1, Relaxed);
        let outer = interrupt::free(|cs| self.outer.borrow(cs).borrow().clone());
        if let Some(outer) = outer {
            outer.wake();
        }
    }

    fn waker(&'static self) -> Waker {
        self.wakers.add(1, Relaxed);
        // SAFETY: the data is always a `&'static Task`, which every function of the table takes.
        unsafe { Waker::new(core::ptr::from_ref(self).cast(), &VTABLE) }
    }

    /// How often it was polled, and how often it was woken and has to be polled, the first time
    /// included.
    fn counts(&self) -> (u32, u32) {
        let polls = self.polls.load(Relaxed);
        (polls, self.wakes.load(Relaxed) + 1)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let polls = self.polls_before.load(Relaxed);
        write!(
            f,
            "{}: polled {polls} times, each time for a wake",
            self.name
        )
    }
}

/// Nobody is left of the shift.
pub(crate) fn end_shift() {
    LATE.store(0, Relaxed);
    for task in &ALL {
        assert_eq!(
            task.wakers.load(Relaxed),
            0,
            "a waker of {} was kept",
            task.name
        );
        let polls = task.polls.swap(0, Relaxed);
        task.polls_before.add(polls, Relaxed);
        task.wakes.store(0, Relaxed);
    }
}

/// Nobody is to be polled: everyone was, for each wake. Interrupts are masked.
pub(crate) fn all_must_have_been_polled() {
    for task in &ALL {
        let (polls, wakes) = task.counts();
        assert_eq!(
            polls, wakes,
            "lost wake: {} was woken, and sleeps on",
            task.name
        );
    }
}

pin_project! {
    /// A task whose polls are counted.
    pub(crate) struct Counted<'a, F> {
        #[pin]
        future: F,
        task: &'static Task,
        stop: &'a StaticChild,
    }

    impl<F> PinnedDrop for Counted<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            this.task.set_outer(None);
        }
    }
}

impl<'a, F> Counted<'a, F> {
    pub(crate) fn new(n: usize, stop: &'a StaticChild, future: F) -> Self {
        Counted {
            future,
            task: &ALL[n],
            stop,
        }
    }
}

impl<F: Future<Output = Result<(), Fault>>> Future for Counted<'_, F> {
    type Output = Result<(), Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let task = *this.task;
        // One may have begun when the button was pressed.
        if this.stop.is_cancelled() || LATE.load(Relaxed) > 0 {
            LATE.add(1, Relaxed);
        }
        assert!(
            LATE.load(Relaxed) <= 1,
            "{} was polled at the end",
            task.name
        );
        task.set_outer(Some(cx.waker()));
        task.polls.add(1, Relaxed);
        let (polls, wakes) = task.counts();
        assert!(
            polls <= wakes,
            "{} was polled, and nobody woke it",
            task.name
        );
        let waker = task.waker();
        let ended = ready!(this.future.poll(&mut Context::from_waker(&waker)));
        LATE.add(1, Relaxed);
        Poll::Ready(ended)
    }
}

// ------------------------------------------------------------------ the waker

const VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, forget);

/// # Safety
/// Of every function of the table: `data` came from [`Task::waker`].
unsafe fn task(data: *const ()) -> &'static Task {
    // SAFETY: (caller).
    unsafe { &*data.cast() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: (caller).
    unsafe { task(data) }.wakers.add(1, Relaxed);
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
    unsafe { task(data) }.wake();
}

unsafe fn forget(data: *const ()) {
    // SAFETY: (caller).
    unsafe { task(data) }.wakers.sub(1, Relaxed);
}
