//! Lock-free waiting: what the token, the clock and the nursery park their wakers in.
//!
//! | room | what it holds | used by |
//! |---|---|---|
//! | `batch` | wakers on their way to be woken, whichever panics | tokens, the clock |
//! | `cell` | one waker: one registrant, any number that wake | joins, virtual sleeps, the static token |
//! | `slab` | reusable slots with stable addresses, for waiters and child nodes alike | the token tree |
//! | `immortal` | blocks that live for ever, for wakers to point to | `pool`, `ready`, `fixed` |
//! | `pool` | where such blocks come from, with an allocator | `ready` |
//! | `ready` | which children of a set were woken; the wakers' side of it | `taker`, `owner`, `fixed` |
//! | `taker` | the other side: takes what was woken, registers the set's own waker | `owner`, `fixed` |
//! | `owner` | the owner of blocks from the pool | the future set |
//! | `fixed` | the pool in a `static`, and its owner | the fixed set |

pub(crate) mod batch;
pub(crate) mod cell;
pub(crate) mod immortal;
#[cfg(feature = "alloc")]
pub(crate) mod pool;
pub(crate) mod ready;
pub(crate) mod taker;
#[cfg(feature = "alloc")]
pub(crate) mod owner;
pub(crate) mod fixed;
#[cfg(feature = "alloc")]
pub(crate) mod slab;
