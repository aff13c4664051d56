//! What the runner shows: see `Host` in `run/core.mjs`.

use js_sys::{Function, Promise, Reflect, global};
use std::time::Duration;
use umbel::wasm::WasmTimer;
use umbel::{Clock, Timer};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    type Host;

    #[wasm_bindgen(method, getter)]
    fn timeouts(this: &Host) -> u32;
    #[wasm_bindgen(method, getter)]
    fn delays(this: &Host) -> Vec<f64>;
    #[wasm_bindgen(method, getter)]
    fn closures(this: &Host) -> i32;
    #[wasm_bindgen(method, getter)]
    fn listeners(this: &Host) -> i32;
    #[wasm_bindgen(method, setter)]
    fn set_early(this: &Host, millis: f64);
    #[wasm_bindgen(method, setter)]
    fn set_forgiven(this: &Host, objects: u32);
    #[wasm_bindgen(method)]
    fn panicked(this: &Host, text: &str);

    #[wasm_bindgen(method, getter)]
    fn origin(this: &Host) -> String;
    #[wasm_bindgen(method)]
    fn hears(this: &Host, what: &str) -> Promise;
}

/// That of the test which runs.
fn host() -> Host {
    let host = Reflect::get(&global(), &"umbelHost".into());
    host.expect("the runner has set it").unchecked_into()
}

/// Timeouts that are set.
pub(crate) fn timeouts() -> u32 {
    host().timeouts()
}

/// The delays of all timeouts that ever were set.
pub(crate) fn delays() -> Vec<f64> {
    host().delays()
}

/// Closures of ours that JavaScript could call.
pub(crate) fn closures() -> i32 {
    host().closures()
}

/// Listeners of signals.
pub(crate) fn listeners() -> i32 {
    host().listeners()
}

/// From now on timeouts come too early.
pub(crate) fn come_early(millis: f64) {
    host().set_early(millis);
}

/// So many exceptions are caught in this test: for each wasm-bindgen keeps a slot, in which there is nothing.
pub(crate) fn forgive_caught(exceptions: u32) {
    host().set_forgiven(exceptions);
}

pub(crate) fn panicked(text: &str) {
    host().panicked(text);
}

/// The address of something that the server has.
pub(crate) fn url(path: &str) -> String {
    host().origin() + path
}

/// Waits until the server says that somebody has "asked" for something, or has "gone" before it came.
pub(crate) async fn server_says(what: &str) {
    let promise = host().hears(what);
    JsFuture::from(promise).await.expect("it says so");
}

pub(crate) fn warm_up() {
    let _ = (timeouts(), WasmTimer::new().now());
}

/// Lets that much time pass.
pub(crate) async fn pass(time: Duration) {
    let timer = WasmTimer::new();
    timer.sleep_until(timer.now() + time).await;
}

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What this expression of JavaScript's is.
pub(crate) fn js(expression: &str) -> JsValue {
    Function::new_no_args(&format!("return {expression}"))
        .call0(&JsValue::UNDEFINED)
        .expect("it throws nothing")
}

/// A function with these parameters and this body.
pub(crate) fn function(parameters: &str, body: &str) -> Function {
    Function::new_with_args(parameters, body)
}
