//! How a nursery says that it did not succeed.

use crate::nursery::ended::{Ended, Record};
use crate::nursery::join_error::JoinError;
use crate::nursery::report::Report;
use crate::reason::{Cancelled, Reason};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt::{self, Write};

/// The outcome of a nursery that did not succeed: why it ended, every further error, and the report.
///
/// # Text
///
/// | format | gives |
/// |---|---|
/// | `{}` | one line: the nursery's name, whose error was the cause and what it says, how many more there are |
/// | `{:#}` | a line for the cause, then one for each further error and for each child that was forced |
/// | `{:?}` | as `{:#}`, with `E`'s `Debug`: what a `main` that returns it prints |
/// | `{:#?}` | the fields |
///
/// Errors are written by the same format, so `{:#}` gives what `E` has to say in that form. Times are
/// told if there was a [`timer`](crate::Nursery::timer).
///
/// ```
/// use umbel_core::{KeepGoing, Nursery};
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # fn block_on<F: Future>(f: F) -> F::Output {
/// #     let mut f = pin!(f);
/// #     loop { if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return v } }
/// # }
/// let n = Nursery::new().name("fetch").policy(KeepGoing);
/// let h = n.handle();
/// let failure = block_on(n.run(async {
///     drop(h.child().name("user").spawn(async { Err::<(), _>("connection refused") }));
///     drop(h.spawn(async { Err::<(), _>("no route to host") }));
///     Ok(())
/// }))
/// .unwrap_err();
///
/// let [user, other] = failure.errors().map(|e| e.who.site()).collect::<Vec<_>>()[..] else { panic!() };
/// assert_eq!(
///     failure.to_string(),
///     format!(r#"fetch: child "user" (spawned at {user}) failed: connection refused, and 1 more error"#)
/// );
/// assert_eq!(
///     format!("{failure:#}"),
///     format!(
///         "fetch: child \"user\" (spawned at {user}) failed: connection refused\n\
///         \x20 child #2 (spawned at {other}) failed: no route to host"
///     )
/// );
/// ```
///
/// # As an [`Error`]
///
/// Its text holds the cause's, so its [`source`](Error::source) is what that error gives for its own:
/// a chain says nothing twice. (`io::Error` does the same with the error that it was made of.) The
/// errors themselves are in [`cause`](Self::cause) and [`rest`](Self::rest), or with those who gave
/// them in [`errors`](Self::errors).
#[non_exhaustive]
pub struct Failure<E> {
    /// What ended the nursery.
    pub cause: Cause<E>,
    /// All further errors of the body and the children, in the order in which they came.
    pub rest: Vec<E>,
    /// Counts, and how graceful children took the cancellation. Boxed to keep the error small.
    pub report: Box<Report>,
    /// Who gave the errors: that of the cause, then those of `rest`.
    records: Vec<Record>,
}

/// What ended a nursery without success.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause<E> {
    /// An error of the body or a child: the first one that the policy answered with cancellation;
    /// if it answered none so, the first one.
    Error(E),
    /// The nursery was cancelled from outside (its parent token, its deadline, its handle) before
    /// an error did it, and something was cut short. (Under [`FirstSuccess`](crate::FirstSuccess) also:
    /// a child has succeeded, but the body was cut.)
    Cancelled(Reason),
    /// The executor of an [`ExecutorNursery`](crate::ExecutorNursery) dropped a child's task before its end,
    /// or refused it, and neither of the above came before: the first child of which that is so. Errors are
    /// in [`rest`](Failure::rest).
    Lost(JoinError),
}

/// One of a failure's errors, and who gave it; from [`Failure::errors`].
///
/// `Display` is a line: `child "audit" (spawned at src/main.rs:12:5) failed: disk full`. As an [`Error`]
/// it has the source of its own.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildError<'a, E> {
    /// Who gave it.
    pub who: Ended<'a>,
    /// What it gave.
    pub error: &'a E,
}

impl<E> Failure<E> {
    /// `records`: whose the errors are, that of the cause first.
    pub(crate) fn new(cause: Cause<E>, rest: Vec<E>, records: Vec<Record>, report: Report) -> Self {
        Failure {
            cause,
            rest,
            report: Box::new(report),
            records,
        }
    }

    /// Every error with who gave it, the cause's first, then [`rest`](Self::rest). (If that has been
    /// rearranged, they do not belong together any more.)
    pub fn errors(&self) -> impl Iterator<Item = ChildError<'_, E>> {
        let first = match &self.cause {
            Cause::Error(error) => Some(error),
            Cause::Cancelled(_) | Cause::Lost(_) => None,
        };
        let errors = first.into_iter().chain(&self.rest);
        errors.zip(&self.records).map(|(error, record)| ChildError {
            who: record.ended(),
            error,
        })
    }

    /// Why the nursery was cancelled, if that was the cause.
    pub fn cancelled(&self) -> Option<&Reason> {
        match &self.cause {
            Cause::Cancelled(reason) => Some(reason),
            Cause::Error(_) | Cause::Lost(_) => None,
        }
    }

    /// The child that its executor lost, if that was the cause.
    pub fn lost(&self) -> Option<&JoinError> {
        match &self.cause {
            Cause::Lost(child) => Some(child),
            _ => None,
        }
    }

    /// Writes the cause; then calls `more` with each further error.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        say: Say<E>,
        mut more: impl FnMut(&mut fmt::Formatter<'_>, Line<'_, E>) -> fmt::Result,
    ) -> fmt::Result {
        if let Some(name) = &self.report.name {
            write!(f, "{name}: ")?;
        }
        let mut lines = self.errors().map(|error| Line { error, say });
        match &self.cause {
            Cause::Cancelled(reason) => write!(f, "{}", Cancelled::new(reason.clone()))?,
            Cause::Lost(child) => write!(f, "{child}")?,
            Cause::Error(_) => match lines.next() {
                Some(line) => line.indented(f, 2)?,
                None => f.write_str("failed")?,
            },
        }
        lines.try_for_each(|line| more(f, line))
    }

    /// The cause, and how many there are of what else there is.
    fn write_one_line(&self, f: &mut fmt::Formatter<'_>, say: Say<E>) -> fmt::Result {
        let mut more = 0;
        self.write(f, say, |_, _| {
            more += 1;
            Ok(())
        })?;
        let after_an_error = match self.cause {
            Cause::Error(_) => "more ",
            _ => "",
        };
        match more {
            0 => {}
            1 => write!(f, ", and 1 {after_an_error}error")?,
            n => write!(f, ", and {n} {after_an_error}errors")?,
        }
        let mut forced = self.report.forced();
        match (forced.next(), forced.count()) {
            (None, _) => Ok(()),
            (Some(child), 0) => write!(f, "; {child}"),
            (Some(_), others) => {
                let mut forced = self.report.forced();
                let who = match forced.any(|child| child.who().is_cleanup()) {
                    true => "children and cleanups",
                    false => "children",
                };
                write!(f, "; {} {who} were forced", others + 1)
            }
        }
    }

    /// A line for each error and for each child that was forced.
    fn write_all(&self, f: &mut fmt::Formatter<'_>, say: Say<E>) -> fmt::Result {
        self.write(f, say, |f, line| {
            f.write_str("\n  ")?;
            line.indented(f, 4)
        })?;
        let mut forced = self.report.forced();
        forced.try_for_each(|child| write!(f, "\n  {child}"))
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            true => self.write_all(f, |error, f| write!(f, "{error:#}")),
            false => self.write_one_line(f, E::fmt),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return self.write_all(f, E::fmt);
        }
        f.debug_struct("Failure")
            .field("cause", &self.cause)
            .field("rest", &self.rest)
            .field("report", &self.report)
            .field("records", &self.records)
            .finish()
    }
}

impl<E: Error> Error for Failure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Error(error) => error.source(),
            Cause::Cancelled(reason) => reason.source()?.source(),
            Cause::Lost(_) => None,
        }
    }
}

impl<E> Copy for ChildError<'_, E> {}

impl<E> Clone for ChildError<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: fmt::Display> fmt::Display for ChildError<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.who.tell(f, "failed")?;
        f.write_str(": ")?;
        self.error.fmt(f)
    }
}

impl<E: Error> Error for ChildError<'_, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

// ------------------------------------------------------------------ lines

/// How an error is written: its `Display` or its `Debug`.
type Say<E> = fn(&E, &mut fmt::Formatter<'_>) -> fmt::Result;

/// One error, said in one way.
struct Line<'a, E> {
    error: ChildError<'a, E>,
    say: Say<E>,
}

impl<E> Line<'_, E> {
    /// Should the error have several lines, all but the first are indented.
    fn indented(&self, f: &mut fmt::Formatter<'_>, spaces: usize) -> fmt::Result {
        write!(Indented { f, spaces }, "{self}")
    }
}

impl<E> fmt::Display for Line<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.who.tell(f, "failed")?;
        f.write_str(": ")?;
        (self.say)(self.error.error, f)
    }
}

struct Indented<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    spaces: usize,
}

impl Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.f.write_str(part)?;
            if part.ends_with('\n') {
                write!(self.f, "{:1$}", "", self.spaces)?;
            }
        }
        Ok(())
    }
}
