//! A snapshot as a tree of lines.

use crate::nursery::snapshot::tree::{ChildKind, ChildSnapshot, Snapshot};
use alloc::string::String;
use core::fmt::{self, Write};

pub(super) struct Text {
    /// Say where in the program.
    pub(super) sites: bool,
}

impl Text {
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, root: &Snapshot) -> fmt::Result {
        self.scope_line(f, root)?;
        self.children(f, &mut String::new(), root)
    }

    fn scope_line(&self, f: &mut fmt::Formatter<'_>, scope: &Snapshot) -> fmt::Result {
        write!(f, "{}", scope.title())?;
        if let Some(site) = scope.site.filter(|_| self.sites) {
            write!(f, " (run at {site})")?;
        }
        write!(f, ": {}", scope.state)?;
        let stats = &scope.stats;
        let ends = [
            (stats.done, "done"),
            (stats.failed, "failed"),
            (stats.panicked, "panicked"),
            (stats.cancelled, "cancelled"),
            (stats.forced, "forced"),
            (stats.skipped, "skipped"),
            (stats.lost, "lost"),
        ];
        for (n, how) in ends.into_iter().filter(|(n, _)| *n > 0) {
            write!(f, ", {n} {how}")?;
        }
        f.write_char('\n')
    }

    fn child_line(&self, f: &mut fmt::Formatter<'_>, child: &ChildSnapshot) -> fmt::Result {
        write!(f, "{}", child.title())?;
        if self.sites {
            let verb = match child.kind {
                ChildKind::Cleanup => "deferred",
                _ => "spawned",
            };
            write!(f, " ({verb} at {})", child.site)?;
        }
        let is_told = !matches!(child.kind, ChildKind::Plain | ChildKind::Cleanup);
        if is_told && child.scope.is_none() {
            write!(f, ", {}", child.kind.word())?;
        }
        writeln!(f, ": {}", child.doing())
    }

    /// What is below a scope, each line after `indent`.
    fn children(
        &self,
        f: &mut fmt::Formatter<'_>,
        indent: &mut String,
        scope: &Snapshot,
    ) -> fmt::Result {
        if !scope.body_ended {
            let branch = branch(scope.children.is_empty());
            writeln!(f, "{indent}{branch}the body: running")?;
        }
        for (i, child) in scope.children.iter().enumerate() {
            let last = i + 1 == scope.children.len();
            f.write_str(indent)?;
            f.write_str(branch(last))?;
            self.child_line(f, child)?;
            if let Some(inner) = &child.scope {
                let outside = indent.len();
                indent.push_str(if last { "   " } else { "│  " });
                write!(f, "{indent}{}", branch(true))?;
                self.scope_line(f, inner)?;
                indent.push_str("   ");
                self.children(f, indent, inner)?;
                indent.truncate(outside);
            }
        }
        Ok(())
    }
}

fn branch(last: bool) -> &'static str {
    if last { "└─ " } else { "├─ " }
}
