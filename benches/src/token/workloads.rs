//! What is measured, written once for all contenders.
//!
//! Only what stands inside `one_thread`, `two_threads`, `disturbed` or `growth` counts. Each
//! workload asserts that its work was done: a pending wait is pending, a cancelled child cancelled.

use crate::meter::{Meter, Reading, Size, preemptions, spin_until};
use crate::token::contenders::{Flag, Runs, Shared, Tree, Waits};
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A task as an executor has it: its waker is an `Arc`, whose clones and drops cost what they cost.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
    fn wake_by_ref(self: &Arc<Self>) {}
}

fn task() -> Waker {
    Arc::new(Task).into()
}

/// A token at the end of a chain of `depth`, and those above it.
fn chain<T: Tree>(depth: usize) -> Vec<T> {
    let mut tokens = vec![T::new()];
    for i in 1..depth {
        tokens.push(tokens[i - 1].child());
    }
    tokens
}

/// Children before parents: no peer then drops a chain by recursion.
fn drop_chain<T>(mut tokens: Vec<T>) {
    while tokens.pop().is_some() {}
}

/// The branch is how a loop asks; it also keeps the load.
#[inline(always)]
fn ask<T: Flag>(token: &T, times: usize) {
    let token = black_box(token); // not a local that nobody else can write
    for _ in 0..times {
        assert!(!token.is_cancelled());
    }
}

// ------------------------------------------------------------------ C1

pub(crate) fn ask_alone<T: Flag>(meter: Meter) -> Reading {
    let token = T::new();
    let ops = meter.ops(5_000_000);
    meter.one_thread(ops, || ask(&token, ops))
}

pub(crate) fn ask_deep<T: Tree>(meter: Meter) -> Reading {
    let tokens = chain::<T>(32);
    let token = &tokens[31];
    let ops = meter.ops(5_000_000);
    let reading = meter.one_thread(ops, || ask(token, ops));
    drop_chain(tokens);
    reading
}

pub(crate) fn ask_both<T: Flag>(meter: Meter) -> Reading {
    let token = T::new();
    let ops = meter.ops(500_000);
    meter.two_threads(ops, || ask(&token, ops))
}

/// On lines of its own: the harness's own writes do not slow its readers.
#[repr(align(128))]
struct Apart<T>(T);

pub(crate) fn ask_registering<T: Waits>(meter: Meter) -> Reading {
    let token = Apart(T::new());
    ask_beside(meter, &token.0, &token.0)
}

/// The floor of [`ask_registering`]: the other thread is as busy, elsewhere.
pub(crate) fn ask_registering_elsewhere<T: Flag, W: Waits>(meter: Meter) -> Reading {
    ask_beside(meter, &Apart(T::new()).0, &Apart(W::new()).0)
}

fn ask_beside<T: Flag, W: Waits>(meter: Meter, asked: &T, waited: &W) -> Reading {
    let ops = meter.ops(500_000);
    let task = task();
    let register = || wait_once(waited, &task);
    meter.disturbed(ops, register, || ask(asked, ops))
}

pub(crate) fn ask_cancelling<T: Tree>(meter: Meter) -> Reading {
    let token = Apart(T::new());
    ask_beside_cancel(meter, &token.0, &token.0)
}

/// The floor of [`ask_cancelling`]: the other thread is as busy, elsewhere.
pub(crate) fn ask_cancelling_elsewhere<T: Flag, P: Tree>(meter: Meter) -> Reading {
    ask_beside_cancel(meter, &Apart(T::new()).0, &Apart(P::new()).0)
}

/// What is asked stays live: a token is cancelled once only, so it is children that are cancelled.
fn ask_beside_cancel<T: Flag, P: Tree>(meter: Meter, asked: &T, parent: &P) -> Reading {
    let ops = meter.ops(500_000);
    let cancel = || {
        let child = parent.child();
        child.cancel();
        assert!(child.is_cancelled());
    };
    meter.disturbed(ops, cancel, || ask(asked, ops))
}

// ------------------------------------------------------------------ C2

pub(crate) fn create<T: Flag>(meter: Meter) -> Reading {
    let ops = meter.ops(200_000);
    meter.one_thread(ops, || {
        for _ in 0..ops {
            drop(black_box(T::new()));
        }
    })
}

pub(crate) fn clone_alone<T: Shared>(meter: Meter) -> Reading {
    let token = T::new();
    let handle = token.handle();
    let ops = meter.ops(500_000);
    meter.one_thread(ops, || clone_drop(&handle, ops))
}

pub(crate) fn clone_both<T: Shared>(meter: Meter) -> Reading {
    let token = T::new();
    let handle = token.handle();
    let ops = meter.ops(50_000);
    meter.two_threads(ops, || clone_drop(&handle, ops))
}

fn clone_drop<H: Clone>(handle: &H, times: usize) {
    for _ in 0..times {
        drop(black_box(handle.clone()));
    }
}

pub(crate) fn child_alone<T: Tree>(meter: Meter) -> Reading {
    children_beside::<T>(meter, 0)
}

pub(crate) fn child_crowded<T: Tree>(meter: Meter) -> Reading {
    children_beside::<T>(meter, meter.ops(100_000))
}

fn children_beside<T: Tree>(meter: Meter, siblings: usize) -> Reading {
    let parent = T::new();
    let live: Vec<T> = (0..siblings).map(|_| parent.child()).collect();
    drop(parent.child()); // the peak is reached
    let ops = meter.ops(100_000);
    let reading = meter.one_thread(ops, || child_drop(&parent, ops));
    drop(live);
    reading
}

pub(crate) fn child_both<T: Tree>(meter: Meter) -> Reading {
    let parent = T::new();
    let ops = meter.ops(10_000);
    meter.two_threads(ops, || child_drop(&parent, ops))
}

fn child_drop<T: Tree>(parent: &T, times: usize) {
    for _ in 0..times {
        drop(black_box(parent.child()));
    }
}

// ------------------------------------------------------------------ C3

#[inline(always)]
fn wait_once<T: Waits>(token: &T, task: &Waker) {
    let wait = pin!(token.wait());
    assert!(wait.poll(&mut Context::from_waker(task)).is_pending());
}

pub(crate) fn wait_alone<T: Waits>(meter: Meter) -> Reading {
    let (token, task) = (T::new(), task());
    wait_once(&token, &task); // the peak is reached
    let ops = meter.ops(200_000);
    meter.one_thread(ops, || {
        for _ in 0..ops {
            wait_once(&token, &task);
        }
    })
}

pub(crate) fn wait_both<T: Waits>(meter: Meter) -> Reading {
    waits_beside::<T>(meter, 0)
}

pub(crate) fn wait_crowded<T: Waits>(meter: Meter) -> Reading {
    waits_beside::<T>(meter, meter.ops(1000))
}

fn waits_beside<T: Waits>(meter: Meter, parked: usize) -> Reading {
    let token = T::new();
    let mut live = waits(&token, parked);
    park(&mut live, &task());
    let ops = meter.ops(10_000);
    let reading = meter.two_threads(ops, || {
        let task = task();
        for _ in 0..ops {
            wait_once(&token, &task);
        }
    });
    drop(live);
    reading
}

pub(crate) fn poll_again<T: Waits>(meter: Meter) -> Reading {
    let (token, task) = (T::new(), task());
    let cx = &mut Context::from_waker(&task);
    let mut wait = pin!(token.wait());
    assert!(wait.as_mut().poll(cx).is_pending());
    let ops = meter.ops(1_000_000);
    meter.one_thread(ops, || {
        for _ in 0..ops {
            assert!(wait.as_mut().poll(cx).is_pending());
        }
    })
}

// ------------------------------------------------------------------ C4

/// `number` waits, each in a box as in a task, none polled.
fn waits<T: Waits>(token: &T, number: usize) -> Vec<Pin<Box<impl Future<Output = ()>>>> {
    (0..number).map(|_| Box::pin(token.wait())).collect()
}

fn park<F: Future>(waits: &mut [Pin<Box<F>>], task: &Waker) {
    for wait in waits {
        let polled = wait.as_mut().poll(&mut Context::from_waker(task));
        assert!(polled.is_pending());
    }
}

/// Cancels tokens with `EACH` waiters; the time is for each waiter.
pub(crate) fn cancel_waiters<T: Waits, const EACH: usize>(meter: Meter) -> Reading {
    let each = meter.ops(EACH);
    let tokens: Vec<T> = (0..meter.ops(20_000).div_ceil(each))
        .map(|_| T::new())
        .collect();
    let task = task();
    let mut parked: Vec<_> = tokens
        .iter()
        .flat_map(|token| {
            let mut waits = waits(token, each);
            park(&mut waits, &task);
            waits
        })
        .collect();
    let reading = meter.one_thread(parked.len(), || tokens.iter().for_each(T::cancel));
    for wait in &mut parked {
        let polled = wait.as_mut().poll(&mut Context::from_waker(&task));
        assert!(polled.is_ready());
    }
    reading
}

const MILLION: usize = 1_000_000;

fn fan<T: Tree>(meter: Meter) -> (T, Vec<T>) {
    let root = T::new();
    let children = (0..meter.ops(MILLION)).map(|_| root.child()).collect();
    (root, children)
}

pub(crate) fn cancel_fan<T: Tree>(meter: Meter) -> Reading {
    let (root, children) = fan::<T>(meter);
    let reading = meter.one_thread(children.len(), || root.cancel());
    assert!(children.iter().all(T::is_cancelled));
    reading
}

pub(crate) fn cancel_chain<T: Tree>(meter: Meter) -> Reading {
    let tokens = chain::<T>(meter.ops(MILLION));
    let reading = meter.one_thread(tokens.len(), || tokens[0].cancel());
    assert!(tokens.iter().all(T::is_cancelled));
    drop_chain(tokens);
    reading
}

// ------------------------------------------------------------------ C5, C6

pub(crate) fn bytes_of_token<T: Flag>(meter: Meter) -> Reading {
    let ops = meter.ops(1000);
    let mut tokens = Vec::with_capacity(ops);
    let made = (0..ops).map(|_| T::new());
    meter.growth(ops, || tokens.extend(made)).0
}

pub(crate) fn bytes_of_child<T: Tree>(meter: Meter) -> Reading {
    let root = T::new();
    let ops = meter.ops(100_000);
    let mut children = Vec::with_capacity(ops);
    let made = (0..ops).map(|_| root.child());
    meter.growth(ops, || children.extend(made)).0
}

/// What the wait's future itself takes lies in its task and does not count.
pub(crate) fn bytes_of_wait<T: Waits>(meter: Meter) -> Reading {
    let (token, task) = (T::new(), task());
    let ops = meter.ops(100_000);
    let mut waits = waits(&token, ops);
    meter.growth(ops, || park(&mut waits, &task)).0
}

pub(crate) fn bytes_of_token_and_wait<T: Waits>(meter: Meter) -> Reading {
    let task = task();
    let (made, token) = meter.growth(1, T::new);
    let wait = pin!(token.wait());
    let (parked, polled) = meter.growth(1, || wait.poll(&mut Context::from_waker(&task)));
    assert!(polled.is_pending());
    Reading {
        value: made.value + parked.value,
        allocations: made.allocations + parked.allocations,
        bytes: made.bytes + parked.bytes,
        ..Reading::default()
    }
}

/// 64 live children, replaced one after the other. The value is the heap's growth over all.
pub(crate) fn churn<T: Tree>(meter: Meter) -> Reading {
    let total = match meter.size {
        Size::Full => 10 * MILLION,
        _ => meter.ops(MILLION),
    };
    let root = T::new();
    let mut live: Vec<T> = (0..64).map(|_| root.child()).collect();
    let mut replace = |times: usize| {
        for i in 0..times {
            live[i % 64] = root.child();
        }
    };
    replace(64); // the peak is reached
    let (reading, ()) = meter.growth(total, || replace(total));
    Reading {
        value: reading.value * total as f64,
        ..reading
    }
}

// ------------------------------------------------------------------ C7

/// Pending ten times.
struct Yields(u32);

impl Future for Yields {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            10 => Poll::Ready(()),
            _ => {
                self.0 += 1;
                Poll::Pending
            }
        }
    }
}

/// As an executor does, which does not know the future.
fn poll_to_end<F: Future>(future: F, task: &Waker) {
    let mut future = pin!(future);
    let mut pending = 0;
    while black_box(&mut future)
        .as_mut()
        .poll(&mut Context::from_waker(task))
        .is_pending()
    {
        pending += 1;
    }
    assert_eq!(pending, 10);
}

pub(crate) fn run_yields<T: Runs>(meter: Meter) -> Reading {
    let (token, task) = (T::new(), task());
    let ops = meter.ops(50_000);
    meter.one_thread(ops, || {
        for _ in 0..ops {
            poll_to_end(token.run(Yields(0)), &task);
        }
    })
}

pub(crate) fn bare_yields(meter: Meter) -> Reading {
    let task = task();
    let ops = meter.ops(50_000);
    meter.one_thread(ops, || {
        for _ in 0..ops {
            poll_to_end(Yields(0), &task);
        }
    })
}

// ------------------------------------------------------------------ the stall probe

/// The longest time in µs between two answers of the root's `is_cancelled`, from before `start` is
/// set until after `end` is. Gaps in which the kernel took the reader's processor away are not the
/// token's and do not count; if they are most of the time, the reading is disturbed.
fn longest_gap<T: Flag>(root: &T, start: &AtomicBool, end: &AtomicBool) -> Reading {
    let (mut longest, mut taken) = (Duration::ZERO, Duration::ZERO);
    let mut seen = preemptions();
    let begin = Instant::now();
    let (mut last, mut ended) = (begin, false);
    while !ended {
        ended = end.load(Ordering::Acquire);
        black_box(root.is_cancelled());
        let mut now = Instant::now();
        let gap = now - last;
        if gap > longest {
            let preempted = (gap > Duration::from_micros(20)).then(preemptions);
            match preempted {
                Some(count) if count != seen => {
                    seen = count;
                    taken += gap;
                }
                _ => longest = gap,
            }
            now = Instant::now(); // asking took a while
        }
        last = now;
        start.store(true, Ordering::Release);
    }
    Reading {
        value: longest.as_nanos() as f64 / 1e3,
        disturbed: taken > begin.elapsed() / 2,
        ..Reading::default()
    }
}

/// Reads while another thread cancels a million children.
pub(crate) fn stall<T: Tree>(meter: Meter) -> Reading {
    let (root, children) = fan::<T>(meter);
    let (start, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let longest = thread::scope(|scope| {
        scope.spawn(|| {
            spin_until(&start);
            root.cancel();
            end.store(true, Ordering::Release);
        });
        longest_gap(&root, &start, &end)
    });
    assert!(children.iter().all(T::is_cancelled));
    longest
}

/// Reads for as long as such a cancel takes, while another thread sleeps.
pub(crate) fn stall_idle<T: Tree>(meter: Meter) -> Reading {
    let (root, children) = fan::<T>(meter);
    let before = Instant::now();
    root.cancel();
    let length = before.elapsed();
    drop(children);
    let root = T::new();
    let (start, end) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            spin_until(&start);
            thread::sleep(length);
            end.store(true, Ordering::Release);
        });
        longest_gap(&root, &start, &end)
    })
}
