//! Sets of futures, of which only those that were woken are polled.
//!
//! | room | what it holds |
//! |---|---|
//! | `chunk` | allocated memory for children |
//! | `growing` | [`FutureSet`](crate::FutureSet): any number of children |
//! | `slots` | memory for children inside of who has it |
//! | `fixed` | [`FixedSet`](crate::FixedSet): up to `N` children, without an allocator |

#[cfg(feature = "alloc")]
mod chunk;
#[cfg(feature = "alloc")]
pub(crate) mod growing;
pub(crate) mod slots;
pub(crate) mod fixed;
#[cfg(all(test, feature = "alloc", not(umbel_loom)))]
mod tests;
