//! Peace from other tests' stale wakers.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static STALE: RwLock<()> = RwLock::new(());

/// For a test that counts polls exactly: while this is held, no other test wakes stale wakers.
///
/// A waker that is used after its child's end may cause a needless poll in any set of the process.
pub fn exact_polls() -> RwLockReadGuard<'static, ()> {
    STALE.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that wakes wakers whose set is gone; see [`exact_polls`].
pub fn stale_wakes() -> RwLockWriteGuard<'static, ()> {
    STALE.write().unwrap_or_else(PoisonError::into_inner)
}
