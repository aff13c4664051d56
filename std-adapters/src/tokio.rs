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
//! `block_on` of tokio's is enough. Where children are to run in parallel, they are tasks of the runtime's:
//!
#![cfg_attr(
    feature = "tokio",
    doc = r#"
```
use umbel::tokio::TokioSpawn;
use umbel::{JoinError, Nursery};

let n = Nursery::<JoinError>::new().on(TokioSpawn); // an `ExecutorNursery`
let h = n.handle();
let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
let sum = runtime.block_on(n.run(async {
    let (a, b) = (h.spawn(async { Ok(20) }), h.spawn(async { Ok(22) }));
    Ok(a.await? + b.await?)
}));
assert_eq!(sum.unwrap(), 42);
```
"#
)]

#[cfg(feature = "tokio")]
mod runtime;
#[cfg(feature = "tokio-util")]
mod token;

#[cfg(feature = "tokio")]
pub use runtime::{TokioHandle, TokioSleep, TokioSpawn, TokioTimer};
#[cfg(feature = "tokio-util")]
pub use token::TokioToken;
