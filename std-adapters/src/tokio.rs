//! [tokio](https://docs.rs/tokio): its timer and its runtimes, and tokio-util's token.
//!
//! | feature | gives |
//! |---|---|
#![cfg_attr(
    feature = "tokio",
    doc = "| `tokio` | [`TokioTimer`], [`TokioSpawn`], [`TokioHandle`] |"
)]
#![cfg_attr(
    feature = "tokio-util",
    doc = "| `tokio-util` | [`TokioToken`] and its bridges |"
)]
//!
//! A nursery needs none of it to run: it polls its children inside its own future, so a task or a
//! `block_on` of tokio's is enough.

#[cfg(feature = "tokio")]
mod runtime;
#[cfg(feature = "tokio-util")]
mod token;

#[cfg(feature = "tokio")]
pub use runtime::{TokioHandle, TokioSleep, TokioSpawn, TokioTimer};
#[cfg(feature = "tokio-util")]
pub use token::TokioToken;
