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
