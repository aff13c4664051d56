//! Why a child that waited for others never started.

use crate::nursery::ended::{Ended, Record};
use crate::observe::Id;
use core::fmt;

/// Because of whom a child was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) id: Id,
    /// `None`: nobody knows any more, or it is no child of this nursery.
    pub(crate) who: Option<Record>,
    /// It can no longer come.
    pub(crate) lost: bool,
}

impl Skip {
    pub(crate) fn who(&self) -> Option<Ended<'_>> {
        self.who.as_ref().map(Record::ended)
    }
}

/// A part of the join error's line.
impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who() {
            Some(who) => write!(f, "{who:#} did not succeed"),
            None if self.lost => write!(f, "{} is no child that could come", self.id),
            None => write!(f, "child {} did not succeed", self.id),
        }
    }
}
