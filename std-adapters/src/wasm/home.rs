//! Values that stay in their thread, in types that may leave it.

use send_wrapper::SendWrapper;

/// A value of this thread: elsewhere it cannot be reached, and is not dropped but left.
#[derive(Debug)]
pub(super) struct Home<T>(Option<SendWrapper<T>>);

impl<T> Home<T> {
    pub(super) fn new(value: T) -> Self {
        Home(Some(SendWrapper::new(value)))
    }

    /// `None` in another thread.
    pub(super) fn get(&self) -> Option<&T> {
        self.0
            .as_ref()
            .filter(|value| value.valid())
            .map(|value| &**value)
    }
}

/// A `SendWrapper` that is dropped elsewhere panics; and a panic ends a module.
impl<T> Drop for Home<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take_if(|value| !value.valid()) {
            std::mem::forget(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Home;
    use std::cell::Cell;
    use std::sync::Arc;
    use std::thread;

    /// Not `Sync`, as objects of JavaScript's.
    type Kept = Cell<Option<Arc<()>>>;

    fn home() -> (Arc<()>, Home<Kept>) {
        let value = Arc::new(());
        (value.clone(), Home::new(Cell::new(Some(value))))
    }

    #[test]
    fn at_home_it_is_reached_and_dropped() {
        let (value, home) = home();
        assert!(home.get().is_some());
        drop(home);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn elsewhere_it_is_neither_reached_nor_dropped() {
        let (value, home) = home();
        let elsewhere = thread::spawn(move || {
            assert!(home.get().is_none());
            home
        });
        let home = elsewhere.join().unwrap();
        assert!(home.get().is_some());
        // Back here, what would be left there is taken out: nothing leaks.
        let taken = home.get().and_then(Cell::take);
        thread::spawn(move || drop(home)).join().unwrap();
        assert_eq!(Arc::strong_count(&value), 2);
        drop(taken);
    }
}
