//! WebAssembly beside JavaScript: windows, workers, and Node.js.
//!
//! | what | how |
//! |---|---|
//! | time | [`WasmTimer`], on `setTimeout` and `performance.now()` |
//! | tasks | [`WasmSpawn`], on `spawn_local` of wasm-bindgen-futures |
//! | a token becomes a signal | [`AbortOnCancel`] |
//! | a signal becomes a token | [`CancelOnAbort`] |
//! | a call that takes a signal, such as `fetch` | [`abortable`] |
//! | reasons | [`reason_to_js`], [`reason_from_js`], [`JsReason`] |
//!
//! A nursery needs none of it to run: it polls its children inside its own future, so any task is enough.
//! It takes a [`WasmTimer`] for deadlines and grace:
//!
//! ```no_run
//! use std::time::Duration;
//! use umbel::wasm::{WasmSpawn, WasmTimer};
//! use umbel::{Clock, LocalNursery, Spawn, Timer};
//!
//! let timer = WasmTimer::new();
//! let scope = async move {
//!     let deadline = timer.now() + Duration::from_secs(5);
//!     let n = LocalNursery::<&str>::new().timer(timer).deadline(deadline);
//!     let h = n.handle();
//!     let outcome = n.run(async {
//!         let second = h.spawn(async {
//!             timer.sleep_until(timer.now() + Duration::from_secs(1)).await;
//!             Ok(())
//!         });
//!         second.await.map_err(|_| "it was cut")
//!     });
//!     drop(outcome.await); // within five seconds, with nothing left behind
//! };
//! WasmSpawn.spawn(scope).unwrap();
//! ```
//!
//! # Threads
//!
//! Objects of JavaScript never leave their thread. In programs with one thread (all, but for those that are
//! built with the target feature `atomics`) there is nothing to know. Otherwise: what is `Send` here may be
//! moved to another worker, and says what becomes of it there; nothing panics for that reason.

mod abort;
mod home;
mod reason;
mod spawn;
mod timer;

pub use abort::{AbortOnCancel, CancelOnAbort, abortable};
pub use reason::{JsReason, reason_from_js, reason_to_js};
pub use spawn::WasmSpawn;
pub use timer::{WasmSleep, WasmTimer};
