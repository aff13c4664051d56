//! A child process as a child of a nursery: asked to end when it is cancelled, killed when it does
//! not, with all that it started, and always reaped. Unix only, and not on OpenBSD, which has no
//! `waitid`.
//!
//! A [`Command`] is run in a graceful child, on the runtime that its timer names:
//!
//! ```
//! use std::io;
//! # #[cfg(feature = "smol")] {
//! use std::{future::ready, sync::Mutex, time::Duration};
//! use umbel::{Nursery, process::Command, smol::SmolTimer};
//!
//! let (timer, said) = (SmolTimer::new(), Mutex::new(Vec::<u8>::new()));
//! let n = Nursery::<io::Error>::new().timer(timer).grace(Duration::from_secs(5));
//! let h = n.handle();
//! let exit = smol::block_on(n.run(async {
//!     let hello = Command::new("echo").arg("hello").output(|_, chunk| {
//!         said.lock().unwrap().extend(chunk);
//!         ready(()) // or a future that waits for room
//!     });
//!     h.spawn_graceful(|cx| hello.run(cx, timer)).await.map_err(io::Error::other)
//! }));
//! assert!(exit.unwrap().status.success());
//! assert_eq!(said.into_inner().unwrap(), b"hello\n");
//! # }
//! # io::Result::Ok(())
//! ```
//!
//! # Life
//!
//! ```text
//!           cancelled: ask the group             the grace is over: kill the group
//! running ─────────────────────────────▶ asked ───────────────────────────────────▶ killed
//!    │                                     │                                          │
//!    └─────────────────┬───────────────────┴──────────────────────────────────────────┘
//!                      │ the process has ended, and its output is read to its end
//!                      ▼
//!            kill what is left of the group, reap the process: `Exit`
//! ```
//!
//! - The process leads a **group** of its own, in which its children are, and theirs. All signals go
//!   to the group. Who means to outlive the process leaves it (`setsid`), as a daemon does. A group
//!   of its own is no foreground group: Ctrl-C at the terminal does not reach it (the nursery's token
//!   tells it), and reading from the terminal would stop it, so its standard input is
//!   empty, unless it is [fed](Command::input).
//! - The **grace** is the nursery's, less an eighth in which to kill, to read the rest and to reap;
//!   or less, if [`Command::grace`] says so. Without either there is no kill but by
//!   [`force`](crate::Handle::force).
//! - **Output** is read until all who hold it have closed it. What was written before the end is
//!   delivered, though the nursery is cancelled: the process is a graceful child.
//! - **Those it leaves** in its group when it ends are killed, at once unless they hold its output: then
//!   when the output is at its end, or the grace, counted from its end, is over. (The system does not
//!   tell of those that hold nothing.) A script that starts something which must end in peace waits for
//!   it, or becomes it by `exec`.
//! - **Dropped** before its end (forced, or because its nursery was), the group is killed at once,
//!   and the process reaped by who reaps orphans: the thread of `async-process`, or tokio's driver, when
//!   its runtime runs.
//!
//! # Which runtime
//!
//! | timer | needs the features | processes by | threads |
//! |---|---|---|---|
#![cfg_attr(
    feature = "smol",
    doc = "| [`SmolTimer`](crate::smol::SmolTimer) | `process`, `smol` | async-process | async-io's reactor, one of async-process that reaps orphans |"
)]
#![cfg_attr(
    feature = "async-std",
    doc = "| [`AsyncStdTimer`](crate::async_std::AsyncStdTimer) | `process`, `async-std` | async-process | the same |"
)]
#![cfg_attr(
    feature = "tokio",
    doc = "| [`TokioTimer`](crate::tokio::TokioTimer) | `process`, `tokio` | `tokio::process`; its runtime needs `enable_all` | none |"
)]
//!
//! A timer of one's own says by [`Runtime`] which of them it goes with.
//!
//! # Invariants
//!
//! - **P1** Only `Group` sends signals and reaps, and it sends none after it has reaped. Until then the id is
//!   the process's, and the group's: a pid is not given anew before it is reaped.
//! - **P2** That the process has ended is seen without reaping it (`waitid` with `WNOWAIT`). So the group can
//!   be killed after its leader's end, and is, on every way to the end (P1).
//! - **P3** SIGCHLD is listened for before the process starts, and looked at before each wait for it: no end
//!   goes unseen.
//!
//! Each SIGCHLD wakes all runs of the process: a program with thousands of them at once wants another
//! way. SIGCHLD must not be ignored or blocked in all threads, and nobody else may reap our children:
//! then the status of one is lost, and the run ends with the system's error.

mod exit;
mod runtime;

mod group;
mod streams;

mod ask;

use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;

use umbel_core::ChildContext;

pub use ask::{Ask, Process};
pub use exit::{Exit, ExitError};
use group::Group;
#[cfg(any(feature = "smol", feature = "async-std"))]
pub use runtime::AsyncProcess;
pub use runtime::Runtime;
use runtime::Streams;
#[cfg(feature = "tokio")]
pub use runtime::TokioProcess;
pub use streams::Source;

/// For whom no grace bounds it: how long to read on what a killed group has left, if somebody who has
/// left the group still holds it.
const SETTLE: Duration = Duration::from_secs(1);

/// The sink of a [`Command`] that has none.
pub type Nobody = fn(Source, &[u8]) -> Ready<()>;

/// A process to be run in a nursery: which, how to ask it to end, and who gets its output.
///
/// Unless told otherwise its standard input is empty, its output goes where ours goes, and it is
/// asked by SIGTERM.
pub struct Command<'a, S = Nobody> {
    std: std::process::Command,
    streams: Streams,
    input: Option<Vec<u8>>,
    ask: Ask<'a>,
    grace: Option<Duration>,
    sink: S,
}

impl<'a> Command<'a> {
    /// Runs `program`, which is looked for as [`std::process::Command::new`] says.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Command {
            std: std::process::Command::new(program),
            streams: Streams {
                stdin: Stdio::null(),
                stdout: Stdio::inherit(),
                stderr: Stdio::inherit(),
            },
            input: None,
            ask: Ask::Terminate,
            grace: None,
            sink: |_, _| ready(()),
        }
    }
}

impl<'a, S> Command<'a, S> {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.std.args(args);
        self
    }

    /// Sets what else the standard library's command knows: environment, directory, user. The three
    /// streams and the process group are set by us, whatever is set here.
    ///
    /// ```
    /// # use umbel::process::Command;
    /// let make = Command::new("make").configure(|command| {
    ///     command.current_dir("/src").env("CC", "cc");
    /// });
    /// # drop(make);
    /// ```
    pub fn configure(mut self, configure: impl FnOnce(&mut std::process::Command)) -> Self {
        configure(&mut self.std);
        self
    }

    /// What the process reads: nothing, if this is not called. A pipe stays open until the process
    /// ends, or is asked by [`Ask::CloseStdin`].
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.streams.stdin = stdin.into();
        self
    }

    /// Gives the process `input` to read, and then the end of it, unless it is asked by
    /// [`Ask::CloseStdin`]: then the end comes when it is asked. It is written as the process reads it.
    /// A process that does not read all of it is no error.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.streams.stdin = Stdio::piped();
        self.input = Some(input.into());
        self
    }

    /// Where standard output goes, if not to the sink of [`output`](Self::output), called before this.
    /// A pipe is read for the sink; without one it is read and dropped.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.streams.stdout = stdout.into();
        self
    }

    /// Where standard error goes; otherwise as [`stdout`](Self::stdout).
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.streams.stderr = stderr.into();
        self
    }

    /// How the process is asked to end when it is cancelled.
    pub fn ask<'b>(mut self, ask: Ask<'b>) -> Command<'b, S> {
        if let Ask::CloseStdin = ask {
            self.streams.stdin = Stdio::piped();
        }
        Command {
            std: self.std,
            streams: self.streams,
            input: self.input,
            ask,
            grace: self.grace,
            sink: self.sink,
        }
    }

    /// How long the process has from being asked until it is killed, if the nursery gives it no less.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Gives all that is written to standard output and standard error to `sink`, in pieces as they
    /// come.
    ///
    /// `sink` is called for one piece at a time, and the next is read when its future is done: a sink
    /// that waits makes the process wait, when its pipe is full. It goes on while the process is
    /// asked and killed, and within the same grace. Cancellation is heard meanwhile.
    pub fn output<F, Fut>(mut self, sink: F) -> Command<'a, F>
    where
        F: FnMut(Source, &[u8]) -> Fut,
        Fut: Future<Output = ()>,
    {
        self.streams.stdout = Stdio::piped();
        self.streams.stderr = Stdio::piped();
        Command {
            std: self.std,
            streams: self.streams,
            input: self.input,
            ask: self.ask,
            grace: self.grace,
            sink,
        }
    }

    /// Starts the process when it is first polled, and runs it to its end: as a graceful child of the
    /// nursery whose context `cx` is, on the runtime that `timer` names.
    ///
    /// It gives the [`Exit`] also when the process was asked or killed: what came of it is the
    /// process's to say. [`Exit::check`] makes an error of what is no success.
    ///
    /// **Cancel safety:** Weak: dropped before its end, it kills the group at once, see the
    /// [module](self). **Panics** of the sink and of a closure that asks do the same and go on, and so
    /// does one of tokio's, if there is no runtime with `enable_all`. **Allocates.** It is `Send` if
    /// the sink and its futures are.
    ///
    /// # Errors
    ///
    /// The system's, if the process could not be started, or if its output could not be read (then the
    /// group is killed). If it was cancelled before its start, the
    /// [`Cancelled`](crate::Cancelled), and nothing was started. One case is out of our hands: when the
    /// system starts the process and then has no descriptor left to watch it by, async-process and
    /// tokio give the error and let go of the process, which runs on.
    pub async fn run<R, Fut>(self, cx: ChildContext, timer: R) -> io::Result<Exit>
    where
        R: Runtime,
        S: FnMut(Source, &[u8]) -> Fut,
        Fut: Future<Output = ()>,
    {
        cx.token().check()?;
        let times = Times::new(self.grace, cx.grace());
        let (mut group, pipes) = Group::<R::Processes>::start(self.std, self.streams)?;
        // Open until it is asked, unless it is fed and not asked so.
        let until_asked = matches!(self.ask, Ask::CloseStdin) || self.input.is_none();
        let (mut input, fed) = match self.input {
            Some(bytes) => (None, pipes.input.map(|pipe| (pipe, bytes))),
            None => (pipes.input, None),
        };
        let mut feed = pin!(fed.map(|(pipe, bytes)| streams::feed::<R::Processes>(pipe, bytes)));
        let mut ask = Some(self.ask);

        let mut cancelled = pin!(cx.token().cancelled());
        let mut alarm = pin!(None::<R::Sleep>);
        let mut output = pin!(Some(streams::deliver::<R::Processes, _, _>(
            pipes.outputs,
            self.sink
        )));
        let (mut asked, mut killed, mut cut) = (None, false, false);
        let mut ended = false;
        while !ended || output.is_some() {
            let unasked = ask.is_some();
            let event = poll_fn(|task| {
                if unasked && cancelled.as_mut().poll(task).is_ready() {
                    return Poll::Ready(Event::Cancelled);
                }
                if !ended {
                    if let Poll::Ready(end) = group.poll_ended(task) {
                        return Poll::Ready(Event::Ended(end));
                    }
                }
                if let Some(output) = output.as_mut().as_pin_mut() {
                    if let Poll::Ready(end) = output.poll(task) {
                        return Poll::Ready(Event::Read(end));
                    }
                }
                if let Some(feed) = feed.as_mut().as_pin_mut() {
                    if let Poll::Ready(rest) = feed.poll(task) {
                        return Poll::Ready(Event::Fed(rest));
                    }
                }
                match alarm.as_mut().as_pin_mut() {
                    Some(alarm) => alarm.poll(task).map(|()| Event::TimeIsOver),
                    None => Poll::Pending,
                }
            });
            let begin = match event.await {
                Event::Cancelled => {
                    let ask = ask.take();
                    if let Some(ask) = ask.filter(|_| !killed) {
                        asked = cx.token().reason();
                        let mut close = || {
                            feed.set(None);
                            input = None;
                        };
                        ask.put(&mut Process::new(&group, &mut close));
                    }
                    times.kill
                }
                Event::Ended(end) => {
                    end?;
                    ended = true;
                    times.kill
                }
                Event::Read(end) => {
                    end?;
                    output.set(None);
                    None
                }
                Event::Fed(rest) => {
                    feed.set(None);
                    input = rest.filter(|_| until_asked);
                    None
                }
                Event::TimeIsOver if !killed => {
                    group.kill();
                    killed = true;
                    alarm.set(None);
                    Some(times.settle)
                }
                Event::TimeIsOver => {
                    alarm.set(None);
                    cut |= output.is_some();
                    output.set(None);
                    None
                }
            };
            // The first of them counts.
            if let Some(after) = begin.filter(|_| alarm.is_none()) {
                alarm.set(Some(timer.sleep_until(timer.now() + after)));
            }
        }
        let status = group.end()?;
        Ok(Exit {
            status,
            asked,
            killed,
            cut,
        })
    }
}

impl<S> fmt::Debug for Command<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("std", &self.std)
            .field("ask", &self.ask)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// What [`Command::run`] waits for.
enum Event<I> {
    Cancelled,
    /// The process has ended; it is not reaped.
    Ended(io::Result<()>),
    /// All output has been read.
    Read(io::Result<()>),
    /// All input has been written, or the process reads no more: then the pipe is closed.
    Fed(Option<I>),
    TimeIsOver,
}

/// How long a group has.
struct Times {
    /// From the cancellation, or the process's end.
    kill: Option<Duration>,
    /// From the kill.
    settle: Duration,
}

impl Times {
    /// `own` is the command's grace, `whole` the nursery's, after which we are dropped.
    fn new(own: Option<Duration>, whole: Option<Duration>) -> Self {
        let most = whole.map(|whole| whole - whole / 8);
        let kill = [own, most].into_iter().flatten().min();
        let left = whole.zip(kill).map(|(whole, kill)| (whole - kill) / 2);
        let settle = left.map_or(SETTLE, |left| left.min(SETTLE));
        Times { kill, settle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_comes_before_the_nursery_gives_up() {
        let times = |own: Option<u64>, whole: Option<u64>| {
            let times = Times::new(own.map(Duration::from_secs), whole.map(Duration::from_secs));
            let kill = times.kill.map(|kill| kill.as_secs_f32());
            (kill, times.settle.as_secs_f32())
        };
        assert_eq!(times(None, None), (None, 1.0));
        assert_eq!(times(Some(5), None), (Some(5.0), 1.0));
        assert_eq!(times(None, Some(8)), (Some(7.0), 0.5));
        assert_eq!(times(Some(9), Some(8)), (Some(7.0), 0.5));
        assert_eq!(times(Some(0), Some(1)), (Some(0.0), 0.5));
        assert_eq!(times(Some(1), Some(80)), (Some(1.0), 1.0));
        assert_eq!(times(None, Some(0)), (Some(0.0), 0.0));
    }
}
