//! A snapshot as JSON (RFC 8259).

use crate::nursery::histogram::Histogram;
use crate::nursery::report::Stats;
use crate::nursery::snapshot::tree::{ChildSnapshot, ChildState, ScopeState, Snapshot};
use core::fmt::{self, Display, Write};
use core::panic::Location;
use core::time::Duration;

pub(super) struct Json<'a>(pub(super) &'a Snapshot);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scope(f, self.0)
    }
}

/// An object, member by member. Keys are ours and need no escapes.
struct Object<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    separator: &'static str,
}

impl<'a, 'f> Object<'a, 'f> {
    fn begin(f: &'a mut fmt::Formatter<'f>) -> Self {
        Object { f, separator: "{" }
    }

    /// The formatter, for a value.
    fn key(&mut self, key: &str) -> Result<&mut fmt::Formatter<'f>, fmt::Error> {
        write!(self.f, "{}\"{key}\":", self.separator)?;
        self.separator = ",";
        Ok(self.f)
    }

    fn plain(&mut self, key: &str, value: impl Display) -> Result<&mut Self, fmt::Error> {
        write!(self.key(key)?, "{value}")?;
        Ok(self)
    }

    fn string(&mut self, key: &str, value: Option<impl Display>) -> Result<&mut Self, fmt::Error> {
        let f = self.key(key)?;
        match value {
            Some(value) => {
                f.write_char('"')?;
                write!(Escaped(f), "{value}")?;
                f.write_char('"')?;
            }
            None => f.write_str("null")?,
        }
        Ok(self)
    }

    fn time(&mut self, key: &str, value: Option<Duration>) -> Result<&mut Self, fmt::Error> {
        match value {
            Some(value) => self.plain(key, value.as_nanos()),
            None => self.plain(key, "null"),
        }
    }

    fn site(&mut self, site: Option<&Location<'_>>) -> Result<&mut Self, fmt::Error> {
        self.string("site", site)
    }

    fn end(&mut self) -> fmt::Result {
        self.f.write_char('}')
    }
}

/// Escapes what is written to it, as the inside of a string.
struct Escaped<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(c)),
            c => self.0.write_char(c),
        })
    }
}

/// An array.
fn array<'f, T>(
    f: &mut fmt::Formatter<'f>,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut fmt::Formatter<'f>, T) -> fmt::Result,
) -> fmt::Result {
    f.write_char('[')?;
    for (i, item) in items.enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        write(f, item)?;
    }
    f.write_char(']')
}

fn scope(f: &mut fmt::Formatter<'_>, scope: &Snapshot) -> fmt::Result {
    let (reason, drain) = match &scope.state {
        ScopeState::Draining { reason, drain } => (Some(reason), *drain),
        _ => (None, None),
    };
    let mut object = Object::begin(f);
    object
        .string("name", scope.name.as_ref())?
        .site(scope.site)?
        .string("state", Some(scope.state.word()))?
        .string("reason", reason)?
        .time("drain_ns", drain)?
        .plain("body_ended", scope.body_ended)?;
    stats(object.key("stats")?, &scope.stats)?;
    array(object.key("children")?, scope.children.iter(), child)?;
    object.end()
}

fn child(f: &mut fmt::Formatter<'_>, child: &ChildSnapshot) -> fmt::Result {
    let (notice, drain) = match child.state {
        ChildState::Draining { notice, drain } => (notice, drain),
        _ => (None, None),
    };
    let mut object = Object::begin(f);
    object
        .string("name", child.name.as_ref())?
        .string("id", child.id)?
        .site(Some(child.site))?
        .string("kind", Some(child.kind.word()))?
        .string("state", Some(child.state.word()))?
        .time("age_ns", child.age)?
        .time("running_ns", child.running)?
        .time("notice_ns", notice)?
        .time("drain_ns", drain)?;
    match &child.scope {
        Some(inner) => scope(object.key("scope")?, inner)?,
        None => drop(object.plain("scope", "null")?),
    }
    object.end()
}

fn stats(f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
    let mut object = Object::begin(f);
    object
        .plain("started", stats.started)?
        .plain("done", stats.done)?
        .plain("failed", stats.failed)?
        .plain("panicked", stats.panicked)?
        .plain("cancelled", stats.cancelled)?
        .plain("forced", stats.forced)?
        .plain("skipped", stats.skipped)?
        .plain("lost", stats.lost)?
        .plain("active", stats.active)?
        .plain("queued", stats.queued)?;
    histogram(object.key("notice")?, &stats.notice)?;
    histogram(object.key("drain")?, &stats.drain)?;
    object.end()
}

/// Pairs of a bound in nanoseconds (`null`: none) and a count.
fn histogram(f: &mut fmt::Formatter<'_>, histogram: &Histogram) -> fmt::Result {
    array(f, histogram.buckets(), |f, (below, n)| match below {
        Duration::MAX => write!(f, "[null,{n}]"),
        _ => write!(f, "[{},{n}]", below.as_nanos()),
    })
}
