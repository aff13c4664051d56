//! How a process ended.

use std::fmt;
use std::io;
use std::process::ExitStatus;

use umbel_core::Reason;

/// How a process ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exit {
    /// What the system says of the process itself.
    pub status: ExitStatus,
    /// Why it was asked to end, if it was.
    pub asked: Option<Reason>,
    /// Whether the group was killed because the time was over: of the process itself, or of those that
    /// it left behind with its output.
    pub killed: bool,
    /// Whether somebody held the output even after that, or the sink was not done: then the rest of it
    /// is lost.
    pub cut: bool,
}

impl Exit {
    /// This, if the process ended with status 0; otherwise an error that says how it ended.
    ///
    /// # Errors
    ///
    /// The [`Exit`] as an error, which can be an [`io::Error`].
    pub fn check(self) -> Result<Self, ExitError> {
        if self.status.success() {
            Ok(self)
        } else {
            Err(ExitError(self))
        }
    }
}

/// A process did not end with success; made by [`Exit::check`].
#[derive(Debug, Clone)]
pub struct ExitError(Exit);

impl ExitError {
    /// How it ended.
    pub fn exit(&self) -> &Exit {
        &self.0
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the process ended with {}", self.0.status)?;
        match (&self.0.asked, self.0.killed) {
            (_, true) => f.write_str(", killed when its time was over"),
            (Some(reason), false) => write!(f, ", asked to: {reason}"),
            (None, false) => Ok(()),
        }
    }
}

impl std::error::Error for ExitError {}

impl From<ExitError> for io::Error {
    fn from(error: ExitError) -> Self {
        io::Error::other(error)
    }
}
