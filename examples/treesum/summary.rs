//! Last words and the exit code.

use crate::args::Args;
use crate::order::InOrder;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use umbel::{Reason, ReasonKind, Stats};

const SIGINT: i32 = 2;
const SIGPIPE: i32 = 13;
const SIGTERM: i32 = 15;

/// Why the nursery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing stopped it.
    Whole,
    /// An error, under `--fail-fast`, or of the output.
    Failed,
    Deadline,
    Signal(i32),
}

impl Ending {
    pub(crate) fn of(reason: Option<Reason>, signal: Option<i32>) -> Self {
        match reason.map(|reason| reason.kind()) {
            Some(ReasonKind::DeadlineExceeded) => Ending::Deadline,
            Some(ReasonKind::Shutdown) => Ending::Signal(signal.unwrap_or(SIGINT)),
            Some(ReasonKind::SiblingFailed) => Ending::Failed,
            _ => Ending::Whole,
        }
    }

    /// Somebody is waiting for the program to go.
    pub(crate) fn is_interruption(self) -> bool {
        matches!(self, Ending::Deadline | Ending::Signal(_))
    }
}

/// What there is to say at the end.
pub(crate) struct Summary<'a> {
    ending: Ending,
    deadline: Option<Duration>,
    /// Wanted by `--stats`.
    say_stats: bool,
    stats: Stats,
    files: u64,
    all_begun: bool,
    unfinished: &'a [Arc<Path>],
    unwritten: bool,
    output_error: Option<&'a io::Error>,
}

impl<'a> Summary<'a> {
    pub(crate) fn new(
        ending: Ending,
        args: &Args,
        stats: Stats,
        files: u64,
        all_begun: bool,
        results: &'a InOrder,
    ) -> Self {
        Summary {
            ending,
            deadline: args.deadline,
            say_stats: args.stats,
            stats,
            files,
            all_begun,
            unfinished: results.unfinished(),
            unwritten: results.output().is_behind(),
            output_error: results.output().error(),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        let code = match (self.ending, self.output_error) {
            (Ending::Signal(signal), _) => 128 + signal,
            (Ending::Deadline, _) => 124,
            (_, Some(e)) if e.kind() == io::ErrorKind::BrokenPipe => 128 + SIGPIPE,
            (_, Some(_)) => 1,
            (Ending::Failed, None) => 1,
            (Ending::Whole, None) => i32::from(self.stats.failed > 0 || self.unwritten),
        };
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }

    /// Whole lines, or nothing.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text)
            .expect("a String takes all that is written to it");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        match self.output_error {
            Some(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
            Some(e) => writeln!(text, "treesum: standard output: {e}")?,
            None => self.write_undone(text)?,
        }
        if self.say_stats {
            self.write_stats(text)?;
        }
        Ok(())
    }

    fn write_undone(&self, text: &mut String) -> std::fmt::Result {
        match (self.ending, self.deadline) {
            (Ending::Whole, _) => {}
            (Ending::Failed, _) => write!(text, "treesum: stopped at the first failure")?,
            (Ending::Deadline, None) => write!(text, "treesum: stopped at the deadline")?,
            (Ending::Deadline, Some(after)) => {
                let after = humantime::format_duration(after);
                write!(text, "treesum: stopped at the deadline of {after}")?;
            }
            (Ending::Signal(SIGINT), _) => write!(text, "treesum: interrupted by SIGINT")?,
            (Ending::Signal(SIGTERM), _) => write!(text, "treesum: interrupted by SIGTERM")?,
            (Ending::Signal(n), _) => write!(text, "treesum: interrupted by signal {n}")?,
        }
        if self.ending != Ending::Whole {
            let (done, undone) = (self.files, self.unfinished.len());
            let walk = match self.all_begun {
                true => "all files had been begun",
                false => "the walk did not end",
            };
            writeln!(
                text,
                ": {done} summed, {undone} begun and not finished, {walk}"
            )?;
        }
        for path in self.unfinished {
            writeln!(text, "treesum: not finished: {path:?}")?;
        }
        if self.unwritten {
            writeln!(
                text,
                "treesum: not all sums could be written to standard output"
            )?;
        }
        Ok(())
    }

    /// A child that stopped as told has ended well in the nursery's eyes; in the user's its file
    /// was cancelled.
    fn write_stats(&self, text: &mut String) -> std::fmt::Result {
        let Stats {
            started,
            done,
            failed,
            cancelled,
            forced,
            notice,
            drain,
            ..
        } = self.stats;
        let stopped = self.unfinished.len().saturating_sub(forced);
        writeln!(
            text,
            "treesum: started {started}, done {}, failed {failed}, cancelled {}, forced {forced}",
            done.saturating_sub(stopped),
            cancelled + stopped,
        )?;
        if drain.count() > 0 {
            writeln!(text, "treesum: files in flight saw the stop in: {notice}")?;
            writeln!(text, "treesum: files in flight ended in: {drain}")?;
        }
        Ok(())
    }
}
