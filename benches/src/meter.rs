//! One measurement: the clocks, the counting, the two threads.

use crate::alloc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How much work a measurement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Just enough to run every line: the smoke test.
    Quick,
    /// Under an emulator that counts instructions: enough for its numbers not to move.
    Counts,
    /// What the table is made with.
    Default,
    /// Where the default is a tenth of what the mark says, the whole.
    Full,
}

/// What is passed to every measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) size: Size,
    /// Allocations are counted in a run of their own, whose time is thrown away.
    pub(crate) counting: bool,
}

/// What one measurement found, per operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// In the row's unit.
    pub(crate) value: f64,
    /// Calls of the allocator that allocated; 0 unless counting.
    pub(crate) allocations: f64,
    /// Bytes they asked for.
    pub(crate) bytes: f64,
    /// How many operations [`Meter::one_thread`] measured; 0 if something else did.
    pub(crate) alone: usize,
    /// The kernel gave a measuring thread's processor to somebody else meanwhile, so that wall time
    /// says little. Sleeping on a lock does not count as such.
    pub(crate) disturbed: bool,
}

impl Reading {
    /// Remembers a disturbance.
    pub(crate) fn disturbed_if(self, disturbed: bool) -> Reading {
        Reading {
            disturbed: self.disturbed || disturbed,
            ..self
        }
    }
}

impl Meter {
    /// `full`, or next to nothing in a smoke test.
    pub(crate) fn ops(self, full: usize) -> usize {
        match self.size {
            Size::Quick => full.min(20),
            Size::Counts => full.min(20_000),
            Size::Default | Size::Full => full,
        }
    }

    /// Nanoseconds of this thread's CPU time for each of `ops` operations that `run` does.
    pub(crate) fn one_thread(self, ops: usize, run: impl FnOnce()) -> Reading {
        let reading = self.clocked(ops, || {
            let start = cpu_time();
            counted_region(run);
            cpu_time() - start
        });
        Reading {
            alone: ops,
            ..reading
        }
    }

    /// Nanoseconds of wall time for each of `ops` operations that `run` has threads of its own do.
    pub(crate) fn wall(self, ops: usize, run: impl FnOnce()) -> Reading {
        let (disturbed, reading) = preempted(|| {
            self.clocked(ops, || {
                let start = Instant::now();
                run();
                start.elapsed()
            })
        });
        reading.disturbed_if(disturbed)
    }

    /// Nanoseconds of wall time for each of `ops` operations that `run` does while another thread
    /// calls `disturb`, over and over.
    pub(crate) fn disturbed(
        self,
        ops: usize,
        disturb: impl Fn() + Sync,
        run: impl FnOnce(),
    ) -> Reading {
        let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let _begun = Finally(&begun);
                preempted(|| {
                    disturb();
                    begun.store(true, Ordering::Release); // once: it may lie beside what is read
                    while !stop.load(Ordering::Relaxed) {
                        disturb();
                    }
                })
                .0
            });
            let (mine, reading) = preempted(|| {
                spin_until(&begun);
                let _stop = Finally(&stop);
                self.clocked(ops, || {
                    let start = Instant::now();
                    run();
                    start.elapsed()
                })
            });
            reading.disturbed_if(other.join().unwrap_or(true) || mine)
        })
    }

    /// Nanoseconds of wall time for each of `ops` operations that `run` does while another thread
    /// does the same: from the common start to the end of the later one.
    pub(crate) fn two_threads(self, ops: usize, run: impl Fn() + Sync) -> Reading {
        self.helped(ops, &run, &run)
    }

    /// Nanoseconds of wall time for each of `ops` operations that `run` does here and `help` on
    /// another thread: from the common start to the end of the later one.
    pub(crate) fn helped(
        self,
        ops: usize,
        help: impl FnOnce() + Send,
        run: impl FnOnce(),
    ) -> Reading {
        let (ready, go, done) = (
            AtomicBool::new(false),
            AtomicBool::new(false),
            AtomicBool::new(false),
        );
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                preempted(|| {
                    ready.store(true, Ordering::Release);
                    spin_until(&go);
                    let _done = Finally(&done);
                    help();
                })
                .0
            });
            spin_until(&ready);
            let (mine, reading) = preempted(|| {
                self.clocked(ops, || {
                    let start = Instant::now();
                    go.store(true, Ordering::Release);
                    run();
                    spin_until(&done);
                    start.elapsed()
                })
            });
            reading.disturbed_if(other.join().unwrap_or(true) || mine)
        })
    }

    fn clocked(self, ops: usize, run: impl FnOnce() -> Duration) -> Reading {
        let ops = ops as f64;
        if self.counting {
            alloc::start();
        }
        let time = run();
        let counts = if self.counting {
            alloc::stop()
        } else {
            alloc::Counts::default()
        };
        Reading {
            value: time.as_nanos() as f64 / ops,
            allocations: counts.calls as f64 / ops,
            bytes: counts.allocated as f64 / ops,
            ..Reading::default()
        }
    }

    /// Bytes by which the heap is larger after `run`, for each of `ops` operations; and its output.
    pub(crate) fn growth<T>(self, ops: usize, run: impl FnOnce() -> T) -> (Reading, T) {
        alloc::start();
        let output = run();
        let counts = alloc::stop();
        let ops = ops as f64;
        let reading = Reading {
            value: counts.growth as f64 / ops,
            allocations: counts.calls as f64 / ops,
            bytes: counts.allocated as f64 / ops,
            ..Reading::default()
        };
        (reading, output)
    }
}

/// What [`crate::counts`] has callgrind count: it knows the function by its name.
#[inline(never)]
fn counted_region(run: impl FnOnce()) {
    run();
}

/// Sets the flag when it is dropped: an assertion that fails must not leave the other thread waiting.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Whether the kernel took this thread's processor away during `run`; and its output.
fn preempted<T>(run: impl FnOnce() -> T) -> (bool, T) {
    let before = preemptions();
    let output = run();
    (preemptions() != before, output)
}

/// How often the kernel has taken this thread's processor away, in its own words.
///
/// Known on Linux only.
pub(crate) fn preemptions() -> Option<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status
        .lines()
        .find(|line| line.starts_with("nonvoluntary_ctxt_switches"))?;
    Some(line.to_owned())
}

/// Waits for the other thread.
pub(crate) fn spin_until(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

/// CPU time of this thread: what other processes take does not count.
#[cfg(unix)]
fn cpu_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Never negative: the clock starts with the thread.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Without a clock for threads, wall time.
#[cfg(not(unix))]
fn cpu_time() -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
