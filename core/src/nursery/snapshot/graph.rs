//! A snapshot as a graph: a box for each scope and each child, an arrow to each from what it is in.

use crate::nursery::snapshot::tree::{ChildState, ScopeState, Snapshot};
use core::cell::Cell;
use core::fmt::{self, Display, Write};
use core::marker::PhantomData;

/// How a language writes boxes.
pub(super) trait Language {
    const HEAD: &'static str;
    const FOOT: &'static str;
    const LINE_BREAK: &'static str;
    const ARROW: &'static str;

    /// Writes a character of a label.
    fn escape(f: &mut dyn Write, c: char) -> fmt::Result;

    /// Begins a box, whose label comes next.
    fn begin(f: &mut dyn Write, number: usize, round: bool) -> fmt::Result;

    /// Ends a box.
    fn end(f: &mut dyn Write, round: bool, marked: bool) -> fmt::Result;
}

pub(super) enum Dot {}

impl Language for Dot {
    const HEAD: &'static str = "digraph scopes {\n  node [shape=box];\n";
    const FOOT: &'static str = "}\n";
    const LINE_BREAK: &'static str = "\\n";
    const ARROW: &'static str = "->";

    fn escape(f: &mut dyn Write, c: char) -> fmt::Result {
        match c {
            '"' | '\\' => {
                f.write_char('\\')?;
                f.write_char(c)
            }
            '\n' => f.write_str("\\n"),
            // Graphviz reads HTML's names of characters.
            '&' => f.write_str("&amp;"),
            c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER),
            c => f.write_char(c),
        }
    }

    fn begin(f: &mut dyn Write, number: usize, _: bool) -> fmt::Result {
        write!(f, "  n{number} [label=\"")
    }

    fn end(f: &mut dyn Write, round: bool, marked: bool) -> fmt::Result {
        f.write_char('"')?;
        f.write_str(match (round, marked) {
            (true, true) => ", style=\"rounded,filled\", fillcolor=orange",
            (true, false) => ", style=rounded",
            (false, true) => ", style=filled, fillcolor=orange",
            (false, false) => "",
        })?;
        f.write_str("];\n")
    }
}

pub(super) enum Mermaid {}

impl Language for Mermaid {
    const HEAD: &'static str = "flowchart TD\n";
    const FOOT: &'static str = "  classDef draining fill:orange,color:black\n";
    const LINE_BREAK: &'static str = "<br/>";
    const ARROW: &'static str = "-->";

    /// By number: what has a meaning to Mermaid or HTML has none then.
    fn escape(f: &mut dyn Write, c: char) -> fmt::Result {
        match c {
            // (Not ':': Mermaid looks for `style:` even here.)
            ' ' | '.' | '/' | '_' | '-' | '(' | ')' | ',' => f.write_char(c),
            c if c.is_alphanumeric() => f.write_char(c),
            c => write!(f, "#{};", u32::from(c)),
        }
    }

    fn begin(f: &mut dyn Write, number: usize, round: bool) -> fmt::Result {
        write!(f, "  n{number}{}\"", if round { '(' } else { '[' })
    }

    fn end(f: &mut dyn Write, round: bool, marked: bool) -> fmt::Result {
        let class = if marked { ":::draining" } else { "" };
        writeln!(f, "\"{}{class}", if round { ')' } else { ']' })
    }
}

/// Escapes what is written to it.
struct Escaped<'a, 'f, L>(&'a mut fmt::Formatter<'f>, PhantomData<L>);

impl<L: Language> Write for Escaped<'_, '_, L> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| L::escape(self.0, c))
    }
}

pub(super) struct Graph<'a, L> {
    root: &'a Snapshot,
    /// How many boxes there are.
    boxes: Cell<usize>,
    _language: PhantomData<L>,
}

impl<'a, L: Language> Graph<'a, L> {
    pub(super) fn new(root: &'a Snapshot) -> Self {
        Graph {
            root,
            boxes: Cell::new(0),
            _language: PhantomData,
        }
    }

    /// Writes a box and the arrow to it; its number.
    fn put(
        &self,
        f: &mut fmt::Formatter<'_>,
        (from, round, marked): (Option<usize>, bool, bool),
        (title, doing): (&dyn Display, &dyn Display),
    ) -> Result<usize, fmt::Error> {
        let number = self.boxes.replace(self.boxes.get() + 1);
        L::begin(f, number, round)?;
        write!(Escaped::<L>(f, PhantomData), "{title}")?;
        f.write_str(L::LINE_BREAK)?;
        write!(Escaped::<L>(f, PhantomData), "{doing}")?;
        L::end(f, round, marked)?;
        if let Some(from) = from {
            writeln!(f, "  n{from} {} n{number}", L::ARROW)?;
        }
        Ok(number)
    }

    fn scope(
        &self,
        f: &mut fmt::Formatter<'_>,
        from: Option<usize>,
        scope: &Snapshot,
    ) -> fmt::Result {
        let marked = matches!(scope.state, ScopeState::Draining { .. });
        let here = self.put(f, (from, true, marked), (&scope.title(), &scope.state))?;
        if !scope.body_ended {
            self.put(f, (Some(here), false, false), (&"the body", &"running"))?;
        }
        for child in &scope.children {
            let marked = matches!(child.state, ChildState::Draining { .. });
            let style = (Some(here), false, marked);
            let number = self.put(f, style, (&child.title(), &child.doing()))?;
            if let Some(inner) = &child.scope {
                self.scope(f, Some(number), inner)?;
            }
        }
        Ok(())
    }
}

impl<L: Language> Display for Graph<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.boxes.set(0);
        f.write_str(L::HEAD)?;
        self.scope(f, None, self.root)?;
        f.write_str(L::FOOT)
    }
}
