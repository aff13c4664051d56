//! Tests of `umbel::wasm`, run beside JavaScript by `run/core.mjs`: in Node.js by `cargo xtask js`, in Chromium
//! by `cargo xtask js --browser`.
//!
//! The runner counts what a test leaves behind, and makes a new instance of this module after one that failed.
//! Time is virtual, but in `real` and `net`: it passes when nothing else can happen.
#![cfg(all(target_family = "wasm", target_os = "unknown"))]

mod abort;
mod abortable;
mod closing;
mod host;
mod net;
mod nursery;
mod real;
mod reason;
mod spawn;
mod timer;

use js_sys::Promise;
use std::future::Future;
use std::pin::Pin;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

/// A test: what it is called, and what it does.
struct Test {
    name: &'static str,
    run: fn() -> Pin<Box<dyn Future<Output = ()>>>,
}

/// The tests of a module, in a `static`: async functions without arguments.
macro_rules! list {
    ($($name:ident),* $(,)?) => {
        pub(crate) static TESTS: &[crate::Test] = &[$(crate::Test {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: || Box::pin($name()),
        }),*];
    };
}
pub(crate) use list;

fn all() -> impl Iterator<Item = (&'static str, &'static Test)> {
    let modules = [
        abort::TESTS,
        abortable::TESTS,
        closing::TESTS,
        net::TESTS,
        nursery::TESTS,
        real::TESTS,
        reason::TESTS,
        spawn::TESTS,
        timer::TESTS,
    ];
    // Without the name of the crate.
    modules
        .into_iter()
        .flatten()
        .filter_map(|test| Some((test.name.split_once("::")?.1, test)))
}

/// The names of all tests.
#[wasm_bindgen]
pub fn tests() -> Vec<String> {
    all().map(|(name, _)| name.to_owned()).collect()
}

/// Runs the test of that name; a panic is told to the runner.
///
/// # Panics
/// There is no such test.
#[wasm_bindgen]
pub fn run(name: &str) -> Promise {
    std::panic::set_hook(Box::new(|panic| host::panicked(&panic.to_string())));
    let test = all().find(|(known, _)| *known == name);
    let future = (test.expect("a test of `tests`").1.run)();
    future_to_promise(async move {
        future.await;
        Ok(JsValue::UNDEFINED)
    })
}

/// Makes what the bindings make once and keep.
#[wasm_bindgen]
pub async fn warm_up() {
    let ready = Promise::resolve(&JsValue::UNDEFINED);
    let _ = JsFuture::from(ready).await;
    host::warm_up();
}

/// How many objects of JavaScript's this instance holds.
#[wasm_bindgen]
pub fn live_objects() -> u32 {
    wasm_bindgen::externref_heap_live_count()
}
