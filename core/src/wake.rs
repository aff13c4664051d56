//! Lock-free waiting: what the token, the clock and the nursery park their wakers in.
//!
//! | room | what it holds | used by |
//! |---|---|---|
//! | `batch` | wakers on their way to be woken, whichever panics | tokens, the clock |
//! | `cell` | one waker: one registrant, any number that wake | joins, virtual sleeps, the static token |
//! | `slab` | reusable slots with stable addresses, for waiters and child nodes alike | the token tree |
//! | `pool` | blocks that live for ever, for wakers to point to | `ready` |
//! | `ready` | which children of a set were woken; the wakers' side of it | `owner`, the future set |
//! | `owner` | the other side: takes what was woken, registers the set's own waker | the future set |

pub(crate) mod batch;
pub(crate) mod cell;
#[cfg(feature = "alloc")]
pub(crate) mod pool;
#[cfg(feature = "alloc")]
pub(crate) mod ready;
#[cfg(feature = "alloc")]
pub(crate) mod owner;
#[cfg(feature = "alloc")]
pub(crate) mod slab;
