//! Cancellation as methods of futures and streams.
//!
//! | room | what it holds |
//! |---|---|
//! | `future` | a future that is given up when a signal is cancelled |
//! | `stream` | a stream that ends when a signal is cancelled |

mod future;
mod stream;

pub use future::{FutureExt, OrCancelled};
pub use stream::{StreamExt, TakeUntilCancelled};
