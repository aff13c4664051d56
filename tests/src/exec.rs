//! Driving futures by hand: one task, polled when the test says so, every wake counted.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A waker that counts.
#[derive(Debug, Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    /// A counter and its waker.
    pub fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), wakes.into())
    }

    /// Wakes so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Keeps other tests' stale wakers away from this thread's tests; see [`crate::quiet::exact_polls`].
struct Quiet;

thread_local! {
    static QUIET: RefCell<(usize, Option<std::sync::RwLockReadGuard<'static, ()>>)> =
        const { RefCell::new((0, None)) };
}

impl Quiet {
    fn new() -> Quiet {
        QUIET.with_borrow_mut(|(users, guard)| {
            *users += 1;
            // One lock a thread: a second one could wait for a writer that waits for the first.
            guard.get_or_insert_with(crate::quiet::exact_polls);
        });
        Quiet
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.with_borrow_mut(|(users, guard)| {
            *users -= 1;
            if *users == 0 {
                *guard = None;
            }
        });
    }
}

/// A future that the test drives. While it exists, no other test wakes stale wakers, so polls and
/// wakes are exact.
pub struct Task<F: Future> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    waker: Waker,
    seen: usize,
    polls: usize,
    _quiet: Quiet,
}

impl<F: Future> Task<F> {
    /// Not yet polled.
    pub fn new(future: F) -> Self {
        let (wakes, waker) = Wakes::new();
        Task {
            future: Box::pin(future),
            wakes,
            waker,
            seen: 0,
            polls: 0,
            _quiet: Quiet::new(),
        }
    }

    /// One poll, whether woken or not.
    pub fn poll(&mut self) -> Poll<F::Output> {
        self.seen = self.wakes.count();
        self.polls += 1;
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }

    /// One poll by another task.
    pub fn poll_with(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }

    /// Whether it was woken since the last poll began.
    pub fn is_woken(&self) -> bool {
        self.wakes.count() != self.seen
    }

    /// Polls at least once, then while it is woken. `Pending`: nothing more happens by itself.
    ///
    /// # Panics
    /// If it is still woken after a million polls: it spins.
    pub fn run(&mut self) -> Poll<F::Output> {
        for _ in 0..1_000_000 {
            if let Poll::Ready(output) = self.poll() {
                return Poll::Ready(output);
            }
            if !self.is_woken() {
                return Poll::Pending;
            }
        }
        panic!("the task keeps waking itself");
    }

    /// As [`run`](Self::run), for a future that is to end.
    ///
    /// # Panics
    /// If it stalls: it is pending and nothing woke it.
    #[track_caller]
    pub fn finish(&mut self) -> F::Output {
        match self.run() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("stalled: the task is pending and nothing will wake it"),
        }
    }

    /// Asserts that it is pending and not woken.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn stall(&mut self) {
        assert!(self.run().is_pending(), "the task ended");
    }

    /// Polls so far.
    pub fn polls(&self) -> usize {
        self.polls
    }

    /// Wakes so far.
    pub fn wakes(&self) -> usize {
        self.wakes.count()
    }
}

impl<F: Future> fmt::Debug for Task<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("polls", &self.polls)
            .finish_non_exhaustive()
    }
}

/// A door that the test opens; any number of futures wait before it. `Send + Sync`.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<std::sync::Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    /// Closed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it for good and wakes who waits.
    ///
    /// # Panics
    /// Never, unless a waiter panicked under the lock.
    pub fn open(&self) {
        let wakers = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends once the gate is open.
    pub fn pass(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        std::future::poll_fn(move |cx| {
            let mut gate = gate.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Wakes itself and is pending `n` times.
pub fn yields(n: usize) -> impl Future<Output = ()> + Send {
    let mut left = n;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// What happened, in order. `Send + Sync`.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<std::sync::Mutex<Vec<String>>>);

impl Log {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    ///
    /// # Panics
    /// Never.
    pub fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// Takes all entries, joined by spaces.
    ///
    /// # Panics
    /// Never.
    pub fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }

    /// Takes all entries, sorted and joined by spaces: for what comes in no order.
    ///
    /// # Panics
    /// Never.
    pub fn take_sorted(&self) -> String {
        let mut entries = std::mem::take(&mut *self.0.lock().unwrap());
        entries.sort_unstable();
        entries.join(" ")
    }

    /// Adds `what` when the result is dropped.
    pub fn on_drop(&self, what: impl Into<String>) -> OnDrop {
        OnDrop(self.clone(), Some(what.into()))
    }
}

/// Made by [`Log::on_drop`].
#[derive(Debug)]
pub struct OnDrop(Log, Option<String>);

impl OnDrop {
    /// It adds nothing any more.
    pub fn disarm(mut self) {
        self.1 = None;
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(what) = self.1.take() {
            self.0.add(what);
        }
    }
}

/// A counter for futures of one thread.
#[derive(Debug, Clone, Default)]
pub struct Counter(Rc<Cell<usize>>);

impl Counter {
    /// Adds one; the new count.
    pub fn hit(&self) -> usize {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    /// The count.
    pub fn get(&self) -> usize {
        self.0.get()
    }
}

/// A place where a future leaves its waker for the test.
#[derive(Debug, Clone, Default)]
pub struct Parked(Rc<RefCell<Vec<Waker>>>);

impl Parked {
    /// Leaves a clone of the waker.
    pub fn park(&self, cx: &Context<'_>) {
        self.0.borrow_mut().push(cx.waker().clone());
    }

    /// All that were left, oldest first.
    pub fn take(&self) -> Vec<Waker> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// An executor on which the test decides which task is polled, and which is dropped. Clones are one.
#[derive(Clone, Default)]
pub struct Steps(Arc<std::sync::Mutex<Stepped>>);

#[derive(Default)]
struct Stepped {
    /// In the order in which they came. `None`: it has ended, or is just being polled.
    tasks: Vec<Option<Step>>,
    refuses: bool,
}

struct Step {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    wakes: Arc<Wakes>,
    waker: Waker,
    /// Wakes before the last poll. `None`: it was not polled.
    seen: Option<usize>,
}

impl Steps {
    /// No task.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tasks were accepted so far; the next one's number.
    ///
    /// # Panics
    /// Never.
    pub fn accepted(&self) -> usize {
        self.0.lock().unwrap().tasks.len()
    }

    /// How many tasks have not ended.
    ///
    /// # Panics
    /// Never.
    pub fn alive(&self) -> usize {
        self.0.lock().unwrap().tasks.iter().flatten().count()
    }

    /// Whether the task is there, and is to be polled.
    ///
    /// # Panics
    /// If there never was one of this number.
    pub fn is_woken(&self, task: usize) -> bool {
        let step = &self.0.lock().unwrap().tasks[task];
        step.as_ref()
            .is_some_and(|step| step.seen != Some(step.wakes.count()))
    }

    /// One poll of a task, whether woken or not. True: it has ended.
    ///
    /// # Panics
    /// If it is not there.
    pub fn poll(&self, task: usize) -> bool {
        let mut step = self.take(task).expect("the task is there");
        step.seen = Some(step.wakes.count());
        let mut cx = Context::from_waker(&step.waker);
        let ended = step.future.as_mut().poll(&mut cx).is_ready();
        if !ended {
            self.0.lock().unwrap().tasks[task] = Some(step);
        }
        ended
    }

    fn take(&self, task: usize) -> Option<Step> {
        self.0.lock().unwrap().tasks[task].take()
    }

    /// Polls woken tasks until there is none. False: there was none.
    pub fn run(&self) -> bool {
        let mut any = false;
        for _ in 0..1_000_000 {
            let Some(task) = (0..self.accepted()).find(|task| self.is_woken(*task)) else {
                return any;
            };
            self.poll(task);
            any = true;
        }
        panic!("the tasks keep waking themselves");
    }

    /// Drops a task before its end.
    ///
    /// # Panics
    /// If it is not there.
    pub fn drop_task(&self, task: usize) {
        drop(self.take(task).expect("the task is there"));
    }

    /// From now on it accepts no task, or does again.
    ///
    /// # Panics
    /// Never.
    pub fn refuse(&self, refuses: bool) {
        self.0.lock().unwrap().refuses = refuses;
    }

    /// Accepts no task from now on, and drops those that are there.
    pub fn shut_down(&self) {
        self.refuse(true);
        for task in 0..self.accepted() {
            drop(self.take(task));
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> umbel_core::Spawn<F> for Steps {
    fn spawn(&self, future: F) -> Result<(), umbel_core::SpawnError<F>> {
        let mut steps = self.0.lock().unwrap();
        if steps.refuses {
            return Err(umbel_core::SpawnError::new(future));
        }
        let (wakes, waker) = Wakes::new();
        steps.tasks.push(Some(Step {
            future: Box::pin(future),
            wakes,
            waker,
            seen: None,
        }));
        Ok(())
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps")
            .field("alive", &self.alive())
            .finish_non_exhaustive()
    }
}

impl<F: Future> Task<F> {
    /// Polls this task and those of an executor until nothing more happens by itself.
    pub fn run_with(&mut self, executor: &Steps) -> Poll<F::Output> {
        loop {
            if let Poll::Ready(output) = self.run() {
                return Poll::Ready(output);
            }
            if !executor.run() {
                return Poll::Pending;
            }
        }
    }

    /// As [`run_with`](Self::run_with), for a future that is to end.
    ///
    /// # Panics
    /// If it stalls.
    #[track_caller]
    pub fn finish_with(&mut self, executor: &Steps) -> F::Output {
        match self.run_with(executor) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("stalled: everything is pending and nothing will wake it"),
        }
    }
}
