//! What can be wrong.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The `mod` lines of `lib.rs` are not in the order of ranks, or a module has none.
    Rank,
    /// A use of a higher rank, or of a sibling declared later.
    Upward,
    /// A use of another module of the same rank.
    Sideways,
    /// A child uses its face.
    Face,
    /// A name is taken from the crate's root instead of its module.
    Root,
    /// An atomic, a cell, `Arc` or raw allocation is named outside the facade.
    Facade,
    /// `unsafe` in a file that is not on the list.
    Unsafe,
    /// A listed file without `unsafe`, or that is gone.
    Stale,
    /// Something keeps this check from following modules: `#[path]`, `include!`, a stray file.
    Hidden,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            kind,
            file,
            line,
            what,
        } = self;
        write!(f, "{file}:{line}: {kind:?}: {what}")
    }
}
