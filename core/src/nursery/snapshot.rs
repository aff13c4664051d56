//! A nursery as it is at one moment, for people: values, and four ways to write them.
//!
//! | room | what it holds |
//! |---|---|
//! | `tree` | the values |
//! | `text` | as a tree of lines |
//! | `graph` | for Graphviz and Mermaid |
//! | `json` | for programs |

// Each uses only what stands above it.
pub(crate) mod tree;
mod text;
mod graph;
mod json;

use crate::nursery::snapshot::graph::{Dot, Graph, Mermaid};
use crate::nursery::snapshot::json::Json;
use crate::nursery::snapshot::text::Text;
use crate::nursery::snapshot::tree::Snapshot;
use alloc::string::{String, ToString};
use core::fmt;

impl Snapshot {
    /// A graph in the language of [Graphviz](https://graphviz.org/doc/info/lang.html).
    pub fn to_dot(&self) -> String {
        Graph::<Dot>::new(self).to_string()
    }

    /// A flowchart of [Mermaid](https://mermaid.js.org/syntax/flowchart.html), as Markdown pages show it.
    pub fn to_mermaid(&self) -> String {
        Graph::<Mermaid>::new(self).to_string()
    }

    /// An object on one line.
    ///
    /// Of a scope: `name`, `site`, `state`, `reason`, `drain_ns`, `body_ended`, `stats` and `children`; of
    /// a child: `name`, `id`, `site`, `kind`, `state`, `age_ns`, `running_ns`, `notice_ns`, `drain_ns` and
    /// `scope`. A `site` is `file:line:column`, times are in nanoseconds, what is not known is `null`.
    pub fn to_json(&self) -> String {
        Json(self).to_string()
    }
}

/// A tree of lines. With `{:#}` it says also where in the program scopes were run and children spawned.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text {
            sites: f.alternate(),
        }
        .write(f, self)
    }
}
