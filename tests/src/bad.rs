//! A nursery's error that says nothing.

use umbel_core::JoinError;

/// What a child fails with, if it does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bad;

impl From<JoinError> for Bad {
    fn from(_: JoinError) -> Self {
        Bad
    }
}
