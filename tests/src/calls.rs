//! A closure that counts how often it is called and dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts in atomics of std, which add no branches to a loom model.
#[derive(Debug, Default)]
pub struct Calls {
    calls: AtomicUsize,
    drops: AtomicUsize,
}

struct OnDrop(Arc<Calls>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.drops.fetch_add(1, SeqCst);
    }
}

impl Calls {
    /// Nought and nought.
    pub fn new() -> Arc<Calls> {
        Arc::default()
    }

    /// Counts one call or none, and one drop.
    pub fn callback(self: &Arc<Self>) -> impl FnOnce() + Send + 'static {
        let counted = OnDrop(self.clone());
        move || {
            counted.0.calls.fetch_add(1, SeqCst);
        }
    }

    /// How often it was called and dropped.
    pub fn seen(&self) -> (usize, usize) {
        (self.calls.load(SeqCst), self.drops.load(SeqCst))
    }
}
