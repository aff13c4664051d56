//! What came of it.

use std::fmt::{self, Write};
use std::time::Duration;

use umbel_core::{Cancelled, Failure, Name, Reason, Report};

use super::subsystem::{OnFailure, Phase};

/// The story of a program that has stopped; from [`Coordinator::run`](super::Coordinator::run).
///
/// `Display` is one line; with `{:#}` there is a line for each subsystem, and below it one for each of its
/// errors and for each child of it that was forced:
///
/// ```text
/// shut down (shutting down) in 7s: 1 of 3 subsystems was forced
///   http (ingress) drained in 2s
///   queue (processing) was forced after 5s
///     child "queue" (spawned at src/main.rs:12:5) was forced 5s after the cancellation (noticed at once)
///   store drained in 0ns
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ShutdownReport<E> {
    /// Why it was stopped: the trigger's reason; a kind of
    /// [`SiblingFailed`](crate::ReasonKind::SiblingFailed), if a subsystem's failure did it. `None` if all
    /// came to their ends by themselves.
    pub reason: Option<Reason>,
    /// From when the coordinator saw that to the end of the last.
    pub took: Duration,
    /// All of them, in the order in which they ended; then those that never started, in the order in
    /// which they were added.
    pub subsystems: Vec<SubsystemReport<E>>,
}

/// What came of one subsystem.
#[derive(Debug)]
#[non_exhaustive]
pub struct SubsystemReport<E> {
    /// Its name.
    pub name: Name,
    /// Its phase.
    pub phase: Option<Phase>,
    /// What its failure does to the others.
    pub on_failure: OnFailure,
    /// How it ended.
    pub end: End<E>,
    /// From when it was told to stop to its end; `None` if it ended before it was told.
    pub drain: Option<Duration>,
    /// What its nursery says of its children, and of the subsystem itself, which is one of them.
    pub report: Report,
}

/// How a subsystem ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<E> {
    /// Well; also if plain children of it were dropped when it was told to stop.
    Done,
    /// It did not end in time, or something in it, and was dropped.
    Forced,
    /// With an error, or cancelled by itself. It may have been forced, too, as its report says.
    Failed(Failure<E>),
    /// With a panic, that says this.
    Panicked(String),
    /// It never started, for the shutdown came first.
    NeverStarted,
}

impl<E> ShutdownReport<E> {
    /// Nobody failed, and nobody was forced.
    pub const CLEAN: u8 = 0;
    /// A subsystem failed whose failure is not [ignored](OnFailure::Ignore). A bit.
    pub const FAILED: u8 = 1;
    /// A subsystem was forced. A bit.
    pub const FORCED: u8 = 2;

    /// What the program may exit with:
    ///
    /// | code | |
    /// |---|---|
    /// | 0 | clean |
    /// | 1 | a subsystem failed |
    /// | 2 | one was forced |
    /// | 3 | both |
    ///
    /// `std::process::ExitCode::from` takes it.
    pub fn exit_code(&self) -> u8 {
        let failed = match self.failed().next() {
            Some(_) => Self::FAILED,
            None => Self::CLEAN,
        };
        let forced = match self.forced().next() {
            Some(_) => Self::FORCED,
            None => Self::CLEAN,
        };
        failed | forced
    }

    /// The subsystems that failed or panicked, without those whose failure is ignored.
    pub fn failed(&self) -> impl Iterator<Item = &SubsystemReport<E>> {
        let failed = |s: &&SubsystemReport<E>| s.failed() && s.on_failure != OnFailure::Ignore;
        self.subsystems.iter().filter(failed)
    }

    /// The subsystems that were forced, or something in them.
    pub fn forced(&self) -> impl Iterator<Item = &SubsystemReport<E>> {
        self.subsystems.iter().filter(|s| s.was_forced())
    }
}

impl<E> SubsystemReport<E> {
    /// Whether it, or something in it, did not end in time and was dropped.
    pub fn was_forced(&self) -> bool {
        matches!(self.end, End::Forced) || self.report.forced().next().is_some()
    }

    fn failed(&self) -> bool {
        matches!(self.end, End::Failed(_) | End::Panicked(_))
    }
}

impl<E: fmt::Display> fmt::Display for ShutdownReport<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "shut down ({reason}) in {:?}: ", self.took)?,
            None => f.write_str("all subsystems ended by themselves: ")?,
        }
        let all = self.subsystems.len();
        let mut said = false;
        for (count, what) in [
            (self.failed().count(), "failed"),
            (self.forced().count(), "forced"),
        ] {
            if count > 0 {
                let comma = if said { ", " } else { "" };
                let were = match (what, count) {
                    ("forced", 1) => "was ",
                    ("forced", _) => "were ",
                    _ => "",
                };
                let s = if all == 1 { "" } else { "s" };
                write!(f, "{comma}{count} of {all} subsystem{s} {were}{what}")?;
                said = true;
            }
        }
        if !said {
            f.write_str("clean")?;
        }
        if f.alternate() {
            for subsystem in &self.subsystems {
                write!(f, "\n  ")?;
                write!(Indented(f), "{subsystem:#}")?;
            }
        }
        Ok(())
    }
}

/// A line, with the first error; with `{:#}` then one for each error and for each child that was forced.
impl<E: fmt::Display> fmt::Display for SubsystemReport<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped: a name may be any text, and this is a part of one line.
        write!(f, "{}", self.name.escape_debug())?;
        if let Some(phase) = self.phase {
            write!(f, " ({phase})")?;
        }
        match (&self.end, self.drain) {
            (End::Done, Some(drain)) => write!(f, " drained in {drain:?}")?,
            (End::Done, None) => f.write_str(" ended by itself")?,
            (End::Forced, Some(drain)) => write!(f, " was forced after {drain:?}")?,
            (End::Forced, None) => f.write_str(" was forced")?,
            (End::Failed(failure), _) => {
                f.write_str(" failed")?;
                if let Some(reason) = failure.cancelled() {
                    write!(f, ": {}", Cancelled::new(reason.clone()))?;
                }
            }
            (End::Panicked(text), _) => write!(f, " panicked: {text}")?,
            (End::NeverStarted, _) => f.write_str(" never started")?,
        }
        let errors = match &self.end {
            End::Failed(failure) => Some(failure.errors()),
            _ => None,
        };
        let mut errors = errors.into_iter().flatten();
        if f.alternate() {
            errors.try_for_each(|error| {
                f.write_str("\n  ")?;
                write!(Indented(f), "{error:#}")
            })?;
            let mut forced = self.report.forced();
            return forced.try_for_each(|child| write!(f, "\n  {child}"));
        }
        match (errors.next(), errors.count()) {
            (None, _) => Ok(()),
            (Some(error), 0) => write!(f, ": {error}"),
            (Some(error), more) => write!(f, ": {error}, and {more} more"),
        }
    }
}

/// All lines but the first by two spaces.
struct Indented<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.0.write_str(part)?;
            if part.ends_with('\n') {
                self.0.write_str("  ")?;
            }
        }
        Ok(())
    }
}
