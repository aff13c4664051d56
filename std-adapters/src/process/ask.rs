//! How a process is asked to end.

use std::fmt;
use std::io;

use crate::process::group::Signals;

/// How a process is asked to end.
#[derive(Default)]
#[non_exhaustive]
pub enum Ask<'a> {
    /// SIGTERM to the group, and SIGCONT, so that who was stopped hears it.
    #[default]
    Terminate,
    /// Its standard input, which is a pipe until then, is closed.
    CloseStdin,
    /// As [`Ask::with`] says.
    With(Box<dyn FnOnce(&mut Process<'_>) + Send + 'a>),
}

impl<'a> Ask<'a> {
    /// By calling `f`, once, in the poll that hears of the cancellation.
    ///
    /// ```
    /// use umbel::process::{Ask, Command};
    ///
    /// const SIGINT: i32 = 2;
    /// let server = Command::new("server").ask(Ask::with(|process| {
    ///     let _ = process.signal(SIGINT); // if it fails: the kill comes
    /// }));
    /// # drop(server);
    /// ```
    pub fn with(f: impl FnOnce(&mut Process<'_>) + Send + 'a) -> Self {
        Ask::With(Box::new(f))
    }

    pub(crate) fn put(self, process: &mut Process<'_>) {
        match self {
            // A group that does not hear it is killed when the grace is over.
            Ask::Terminate => process.group.terminate(),
            Ask::CloseStdin => process.close_stdin(),
            Ask::With(f) => f(process),
        }
    }
}

impl fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ask::Terminate => "Terminate",
            Ask::CloseStdin => "CloseStdin",
            Ask::With(_) => "With(..)",
        })
    }
}

/// A running process and its group, to a closure that [asks](Ask::with) it to end.
pub struct Process<'p> {
    group: &'p dyn Signals,
    close: &'p mut dyn FnMut(),
}

impl<'p> Process<'p> {
    pub(crate) fn new(group: &'p dyn Signals, close: &'p mut dyn FnMut()) -> Self {
        Process { group, close }
    }

    /// The process's id, and its group's.
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// Sends the signal with this number to the group.
    ///
    /// # Errors
    ///
    /// The system's; [`InvalidInput`](io::ErrorKind::InvalidInput) for a number that names no signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.group.signal(signal)
    }

    /// Closes the process's standard input, if that is a pipe.
    pub fn close_stdin(&mut self) {
        (self.close)();
    }
}

impl fmt::Debug for Process<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).finish()
    }
}
