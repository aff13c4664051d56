//! What is said about one child beside its future.

use crate::observe::Name;
use crate::time::Instant;
use core::cell::Cell;

/// What a spawn says about its child beside the future.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<Name>,
    pub(crate) graceful: bool,
}

impl Options {
    /// `None`: nothing worth memory.
    #[inline]
    pub(crate) fn aside(self) -> Option<Meta> {
        let Options { name, graceful } = self;
        (name.is_some() || graceful).then(|| Meta {
            name: Cell::new(name),
            graceful,
            noticed: Cell::new(None),
        })
    }

    pub(crate) fn graceful(mut self) -> Self {
        self.graceful = true;
        self
    }
}

/// What only some children have; lies aside so that the others do not pay for it. Its cells belong to
/// the nursery, like the node's plain fields.
pub(crate) struct Meta {
    /// Taken when the child has ended.
    pub(crate) name: Cell<Option<Name>>,
    pub(crate) graceful: bool,
    /// When it was first polled after the cancellation.
    pub(crate) noticed: Cell<Option<Instant>>,
}

/// `()` or [`Meta`]: what lies between head and payload.
///
/// `IS_META` is true for `Meta` alone.
pub(crate) trait Aside {
    const IS_META: bool;
}

impl Aside for () {
    const IS_META: bool = false;
}

impl Aside for Meta {
    const IS_META: bool = true;
}
