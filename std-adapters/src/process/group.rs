//! A process and the group that it leads: all signals, and the end. Upholds P1, P2 and P3 of the module's
//! face.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::process::runtime::{Pipes, Processes, Streams};

/// A process from its start until it is reaped. Dropped before, it kills the group and leaves the
/// reaping to the crate that started it.
pub(crate) struct Group<P: Processes> {
    child: P::Child,
    changes: P::Changes,
    id: Pid,
    /// Whether the process is not known to be reaped, so that its id, and the group's, is still its own.
    ours: bool,
}

impl<P: Processes> Group<P> {
    pub(crate) fn start(mut command: Command, streams: Streams) -> io::Result<(Self, Pipes<P>)> {
        let changes = P::changes()?; // P3
        command.process_group(0);
        let (child, pipes) = P::start(command, streams)?;
        let id = P::id(&child).and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let id = id.expect("a process that is not reaped has an id");
        let group = Group {
            child,
            changes,
            id,
            ours: true,
        };
        Ok((group, pipes))
    }

    /// Ready when the process has ended. It stays unreaped (P2).
    pub(crate) fn poll_ended(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // The wait first, so that it is told of what happens after the look.
            let changed = P::poll_changed(&mut self.changes, task);
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            match waitid(WaitId::Pid(self.id), ended) {
                Ok(None) | Err(Errno::INTR) => ready!(changed)?,
                Ok(Some(_)) => return Poll::Ready(Ok(())),
                Err(e) => {
                    self.ours = false; // somebody else has reaped it
                    return Poll::Ready(Err(e.into()));
                }
            }
        }
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        if !self.ours {
            return Err(Errno::SRCH.into());
        }
        Ok(kill_process_group(self.id, signal)?)
    }

    /// Kills the group. An error means that there is nobody whom we may kill.
    pub(crate) fn kill(&self) {
        let _ = self.send(Signal::KILL);
    }

    /// Kills what is left of the group of a process that has ended, and reaps the process.
    pub(crate) fn end(mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.ours = false;
        let status = P::reap(&mut self.child)?;
        status.ok_or_else(|| io::Error::other("a process that had ended has no status"))
    }
}

impl<P: Processes> Drop for Group<P> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What may be sent to a group.
pub(crate) trait Signals {
    fn id(&self) -> u32;
    fn signal(&self, signal: i32) -> io::Result<()>;
    /// Asks all to end, also those that are stopped.
    fn terminate(&self);
}

impl<P: Processes> Signals for Group<P> {
    fn id(&self) -> u32 {
        self.id.as_raw_nonzero().get().unsigned_abs()
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(signal);
        self.send(signal.ok_or(io::ErrorKind::InvalidInput)?)
    }

    fn terminate(&self) {
        let _ = self.send(Signal::TERM);
        let _ = self.send(Signal::CONT);
    }
}
