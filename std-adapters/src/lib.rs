//! Structured concurrency for programs with an operating system: all of [`umbel_core`], and one
//! thin module per runtime or concern, each behind a feature of the same name.
//!
//! | module | feature | what it binds | threads that it starts |
//! |---|---|---|---|
//! | [`time`] | | [`std::time::Instant`] | none |
#![cfg_attr(
    feature = "smol",
    doc = "| [`smol`] | `smol` | smol's executors, async-io's timers | none of its own; async-io's reactor on the first wait, smol's global executor on the first global spawn |"
)]
#![cfg_attr(
    feature = "async-std",
    doc = "| [`mod@async_std`] | `async-std` | async-std's executors, async-io's timers | none of its own; async-io's reactor on the first wait, async-std's on the first spawn |"
)]
#![cfg_attr(
    any(feature = "tokio", feature = "tokio-util"),
    doc = "| [`mod@tokio`] | `tokio`, `tokio-util` | tokio's timer and runtimes, tokio-util's token | none |"
)]
#![cfg_attr(
    all(unix, feature = "signal"),
    doc = "| [`signal`] | `signal` | SIGINT and SIGTERM, through signal-hook | one for each [`signal::install`] |"
)]
#![cfg_attr(
    all(unix, not(target_os = "openbsd"), feature = "process"),
    doc = "| [`process`] | `process`, with `smol`, `async-std` or `tokio` | child processes, through async-process and tokio | async-process's one, which reaps orphans; with `tokio` none |"
)]
#![cfg_attr(
    feature = "blocking",
    doc = "| [`mod@blocking`] | `blocking` | the thread pool of the `blocking` crate | that pool's, as work arrives |"
)]
#![cfg_attr(
    feature = "shutdown",
    doc = "| [`shutdown`] | `shutdown` | the end of a program, in order | none |"
)]
#![cfg_attr(
    feature = "census",
    doc = "| [`census`] | `census` | who is alive, for tests | none |"
)]
#![cfg_attr(
    feature = "tracing",
    doc = "| [`mod@tracing`] | `tracing` | spans and events of tracing | none |"
)]
#![cfg_attr(
    all(
        feature = "wasm",
        any(all(target_family = "wasm", target_os = "unknown"), umbel_docs)
    ),
    doc = "| [`wasm`] | `wasm` | timers, tasks and `AbortSignal`s of JavaScript's, on wasm32-unknown-unknown | none |"
)]
//!
//! No feature is on by default. A library that only takes a token or a signal, a timer or an
//! executor depends on `umbel-core` alone; a program chooses its adapters here.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use umbel_core::*;

#[cfg(feature = "async-std")]
pub mod async_std;
#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "census")]
pub mod census;
#[cfg(all(unix, not(target_os = "openbsd"), feature = "process"))]
pub mod process;
#[cfg(feature = "shutdown")]
pub mod shutdown;
#[cfg(all(unix, feature = "signal"))]
pub mod signal;
#[cfg(feature = "smol")]
pub mod smol;
pub mod time;
#[cfg(any(feature = "tokio", feature = "tokio-util"))]
pub mod tokio;
#[cfg(feature = "tracing")]
pub mod tracing;
#[cfg(all(
    feature = "wasm",
    any(all(target_family = "wasm", target_os = "unknown"), umbel_docs)
))]
#[cfg_attr(
    docsrs,
    doc(cfg(all(feature = "wasm", target_family = "wasm", target_os = "unknown")))
)]
pub mod wasm;

/// The README's example compiles.
#[cfg(all(doctest, not(umbel_docs)))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So do those of the page on shapes.
#[cfg(all(doctest, not(umbel_docs)))]
#[doc = include_str!("../../docs/shapes.md")]
struct Shapes;
