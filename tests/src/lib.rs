//! What several tests need: wakers that count, and peace from other tests' stale wakers.

pub mod compile_fail;
pub mod exec;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Wake, Waker};

/// Counts how often its wakers were woken.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

impl Count {
    /// Wakes so far.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waker and its count. `Arc::strong_count` of the count tells how many clones of the waker live.
pub fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), count.into())
}

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
