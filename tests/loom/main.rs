//! Models: every interleaving up to a number of preemptions, which each model states.
//!
//! `RUSTFLAGS="--cfg umbel_loom" cargo test -p umbel-tests --release --test loom`
#![cfg(umbel_loom)]

mod callback;
mod pool;
mod set;
mod set_fixed;
mod nursery;
mod nursery_cleanup;
mod nursery_room;
mod nursery_order;
mod executor_nursery;
mod fixed_nursery;
mod static_token;
mod time;
mod token;
mod token_groups;
mod token_memory;
mod token_order;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};

/// Runs `f` in every interleaving with at most `bound` preemptions (`UMBEL_LOOM_EXTRA` more, for
/// `cargo xtask deep loom-wide`), and says how many there were.
fn model(name: &str, bound: usize, f: impl Fn() + Send + Sync + 'static) {
    let extra = std::env::var("UMBEL_LOOM_EXTRA").map_or(0, |extra| {
        extra.parse().expect("UMBEL_LOOM_EXTRA is a number")
    });
    let bound = bound + extra;
    let iterations = Arc::new(AtomicUsize::new(0));
    let count = iterations.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 20_000 * (1 + extra);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        f();
    });
    println!(
        "model {name}: preemption bound {bound}, {} iterations",
        iterations.load(Ordering::Relaxed)
    );
}

/// A task: its waker counts wakes in an atomic of the model, so that loom sees who waits for whom.
/// The waker's own reference count is std's: loom need not know of it.
struct Task(loom::sync::atomic::AtomicUsize);

static TASK: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: `data` is an Arc's pointer, of which this waker holds a count.
        unsafe { Arc::increment_strong_count(data.cast::<Task>()) };
        RawWaker::new(data, &TASK)
    },
    |data| {
        // SAFETY: as above; the count goes with this waker.
        let task = unsafe { Arc::from_raw(data.cast::<Task>()) };
        task.0.fetch_add(1, loom::sync::atomic::Ordering::AcqRel);
    },
    |data| {
        // SAFETY: as above.
        let task = unsafe { &*data.cast::<Task>() };
        task.0.fetch_add(1, loom::sync::atomic::Ordering::AcqRel);
    },
    |data| {
        // SAFETY: as above; the count goes with this waker.
        drop(unsafe { Arc::from_raw(data.cast::<Task>()) });
    },
);

impl Task {
    fn new() -> (Arc<Task>, Waker) {
        let task = Arc::new(Task(loom::sync::atomic::AtomicUsize::new(0)));
        let data = Arc::into_raw(task.clone()).cast::<()>();
        // SAFETY: the vtable's functions are thread-safe and keep the count.
        (task, unsafe { Waker::from_raw(RawWaker::new(data, &TASK)) })
    }

    fn wakes(&self) -> usize {
        self.0.load(loom::sync::atomic::Ordering::Acquire)
    }

    /// Waits until there are other than `seen` wakes, as an executor does; remembers how many.
    fn park(&self, seen: &mut usize) {
        loop {
            let now = self.wakes();
            if now != *seen {
                *seen = now;
                return;
            }
            loom::thread::yield_now();
        }
    }

    /// Calls `poll` whenever there was a wake, as an executor does, until it says that it is through.
    fn when_woken(&self, mut poll: impl FnMut() -> bool) {
        let mut seen = 0;
        loop {
            self.park(&mut seen);
            if poll() {
                return;
            }
        }
    }

    /// As [`when_woken`](Self::when_woken), and once before there was one.
    fn run_until(&self, mut poll: impl FnMut() -> bool) {
        if !poll() {
            self.when_woken(poll);
        }
    }
}
