//! One behaviour on every runtime: the clauses that an adapter for [umbel](umbel_core) keeps, to be run by
//! its author.
//!
//! An adapter gives what a runtime has: a way to wait for a future, a [`Timer`], an executor
//! ([`Spawn`]). Say so in a [`Runtime`], and [`check`] it in a test:
//!
//! ```
//! use std::{future::Future, pin::pin, sync::Arc, task::{Context, Poll, Wake}, thread};
//! use umbel_conformance::{Blocks, Runtime, check};
//! use umbel_core::{ManualClock, Spawn, SpawnError};
//!
//! /// A thread for each task, and a time that passes when somebody waits for it.
//! #[derive(Clone)]
//! struct Threads(ManualClock);
//!
//! struct Unpark(thread::Thread);
//! impl Wake for Unpark {
//!     fn wake(self: Arc<Self>) { self.0.unpark() }
//! }
//!
//! impl<F: Future<Output = ()> + Send + 'static> Spawn<F> for Threads {
//!     fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
//!         let threads = self.clone();
//!         thread::spawn(move || threads.block_on(future));
//!         Ok(())
//!     }
//! }
//!
//! impl Runtime for Threads {
//!     type Timer = ManualClock;
//!     type Executor = Threads;
//!
//!     fn timer(&self) -> ManualClock { self.0.clone() }
//!     fn executor(&self) -> Option<Threads> { Some(self.clone()) }
//! }
//!
//! impl Blocks for Threads {
//!     fn block_on<F: Future>(&self, future: F) -> F::Output {
//!         let mut future = pin!(future);
//!         let waker = Arc::new(Unpark(thread::current())).into();
//!         loop {
//!             if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
//!                 return output;
//!             }
//!             match self.0.next_due() {
//!                 Some(at) => self.0.advance_to(at),
//!                 None => thread::park(),
//!             }
//!         }
//!     }
//! }
//!
//! let kept = check("threads", &Threads(ManualClock::new()));
//! println!("{kept}");
//! kept.assert();
//! ```
//!
//! Where nothing may block, as beside JavaScript, a task of the runtime's awaits [`check_within`].
//!
//! A clause that is not kept either fails or does not end: a wake that is lost leaves nobody to say so. No
//! clause depends on how long anything takes.
#![forbid(unsafe_code)]

mod clauses;

use clauses::About;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use umbel_core::{BoxTask, Spawn, SpawnError, Timer};

/// What is checked: a runtime, as its adapter shows it.
pub trait Runtime {
    /// The adapter's timer.
    type Timer: Timer<Sleep: Send> + Clone + Send + 'static;
    /// The adapter's executor, of this thread or of others: of any `Send` futures, so of these.
    /// [`NoExecutor`] if there is none.
    type Executor: Spawn<BoxTask> + 'static;

    /// The timer. Its time passes while a task waits for it.
    fn timer(&self) -> Self::Timer;

    /// The executor. `None`: there is none, and the clauses about it are left out.
    fn executor(&self) -> Option<Self::Executor>;
}

/// A runtime with a call that waits for a future.
pub trait Blocks: Runtime {
    /// Runs the future to its end, on this thread. Timer and executor work meanwhile. Panics of the
    /// future come out.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// The executor of a runtime that has none.
#[derive(Debug, Clone, Copy)]
pub enum NoExecutor {}

impl Spawn<BoxTask> for NoExecutor {
    fn spawn(&self, _: BoxTask) -> Result<(), SpawnError<BoxTask>> {
        match *self {}
    }
}

/// Checks all clauses, one after another.
pub fn check<R: Blocks>(name: &str, runtime: &R) -> Kept {
    let has_executor = runtime.executor().is_some();
    let mut kept = Kept::new(name);
    for clause in clauses::all::<R>() {
        let verdict = match clause.about.lacks(has_executor) {
            Some(what) => Verdict::LeftOut(what),
            None => verdict(|| runtime.block_on((clause.holds)(runtime))),
        };
        kept.verdicts.push((clause.text, verdict));
    }
    let panics = match About::Executors.lacks(has_executor) {
        Some(what) => Verdict::LeftOut(what),
        None => verdict(|| clauses::panics(runtime)),
    };
    kept.verdicts.push((clauses::PANICS, panics));
    kept
}

fn verdict(holds: impl FnOnce()) -> Verdict {
    match catch_unwind(AssertUnwindSafe(holds)) {
        Ok(()) => Verdict::Kept,
        Err(panic) => Verdict::Broken(text_of(&*panic)),
    }
}

/// Checks all clauses that need no call that blocks, one after another, in a task of the runtime's. The
/// first that is not kept panics.
///
/// A clause about what the platform lacks, such as threads, is left out.
pub async fn check_within<R: Runtime>(name: &str, runtime: &R) -> Kept {
    let has_executor = runtime.executor().is_some();
    let mut kept = Kept::new(name);
    for clause in clauses::all::<R>() {
        let verdict = match clause.about.lacks(has_executor) {
            Some(what) => Verdict::LeftOut(what),
            None => {
                (clause.holds)(runtime).await;
                Verdict::Kept
            }
        };
        kept.verdicts.push((clause.text, verdict));
    }
    let panics = Verdict::LeftOut("it needs a call that blocks");
    kept.verdicts.push((clauses::PANICS, panics));
    kept
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic".to_owned())
}

/// What became of one clause.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It holds.
    Kept,
    /// It does not; this is what was found.
    Broken(String),
    /// It cannot be checked, for this reason.
    LeftOut(&'static str),
}

/// Which clauses a runtime keeps; made by [`check`] and [`check_within`]. `Display` is a line for each.
#[derive(Debug, Clone)]
#[must_use = "whether the clauses are kept is in it"]
pub struct Kept {
    name: String,
    verdicts: Vec<(&'static str, Verdict)>,
}

impl Kept {
    fn new(name: &str) -> Self {
        Kept {
            name: name.to_owned(),
            verdicts: Vec::new(),
        }
    }

    /// The runtime's name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Each clause, and what became of it.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.verdicts.iter().map(|(text, verdict)| (*text, verdict))
    }

    /// # Panics
    ///
    /// If a clause is not kept.
    #[track_caller]
    pub fn assert(&self) {
        let mut verdicts = self.verdicts();
        let broken = verdicts.any(|(_, verdict)| matches!(verdict, Verdict::Broken(_)));
        assert!(!broken, "not all clauses are kept\n{self}");
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for (text, verdict) in self.verdicts() {
            match verdict {
                Verdict::Kept => writeln!(f, "  kept      {text}")?,
                Verdict::LeftOut(why) => writeln!(f, "  left out  {text}: {why}")?,
                Verdict::Broken(how) => writeln!(f, "  BROKEN    {text}: {how}")?,
            }
        }
        Ok(())
    }
}

/// Several runtimes side by side, as a table in Markdown: clauses × runtimes.
pub fn table(columns: &[Kept]) -> String {
    let row = |first: &str, cells: Vec<&str>| format!("| {first} | {} |\n", cells.join(" | "));
    let mut text = row("clause", columns.iter().map(Kept::name).collect());
    text += &row("---", vec!["---"; columns.len()]);
    for (i, (clause, _)) in columns.iter().flat_map(Kept::verdicts).enumerate() {
        if columns
            .first()
            .is_none_or(|first| i == first.verdicts.len())
        {
            break;
        }
        let cells = columns.iter().map(|column| match &column.verdicts[i].1 {
            Verdict::Kept => "kept",
            Verdict::Broken(_) => "BROKEN",
            Verdict::LeftOut(_) => "–",
        });
        text += &row(clause, cells.collect());
    }
    text
}
