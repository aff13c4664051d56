//! In the platform's time: the suite for adapters.

use crate::host::millis;
use umbel::wasm::{CancelOnAbort, WasmSpawn, WasmTimer};
use umbel::{Clock, ReasonKind, Timer};
use umbel_conformance::{Runtime, Verdict, check_within};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

crate::list![
    the_clauses_for_adapters_are_kept,
    a_sleep_ends_and_not_before_its_instant,
    a_timeout_of_the_platforms_is_a_deadline,
];

struct Js;

impl Runtime for Js {
    type Timer = WasmTimer;
    type Executor = WasmSpawn;

    fn timer(&self) -> WasmTimer {
        WasmTimer::new()
    }

    fn executor(&self) -> Option<WasmSpawn> {
        Some(WasmSpawn)
    }
}

async fn the_clauses_for_adapters_are_kept() {
    let kept = check_within("JavaScript", &Js).await;
    log(&kept.to_string());
    kept.assert();
    let left_out = kept
        .verdicts()
        .filter(|(_, verdict)| **verdict != Verdict::Kept);
    let left_out: Vec<_> = left_out.map(|(text, _)| text).collect();
    let expected = [
        "a wake from another thread arrives",
        "a task is woken by another thread",
        "a panic of a child goes on in who awaits the nursery",
    ];
    assert_eq!(left_out, expected);
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn log(text: &str);
}

async fn a_sleep_ends_and_not_before_its_instant() {
    let timer = WasmTimer::new();
    for n in 0..20 {
        let at = timer.now() + millis(n) / 4;
        timer.sleep_until(at).await;
        assert!(timer.now() >= at, "it ended early");
    }
}

async fn a_timeout_of_the_platforms_is_a_deadline() {
    let bridge = CancelOnAbort::new(&AbortSignal::timeout_with_u32(1));
    // In Node.js it keeps nobody waiting; this does.
    let lasts = WasmTimer::new().sleep_until(WasmTimer::new().now() + millis(60_000));
    assert!(bridge.token().run_until_cancelled(lasts).await.is_none());
    let reason = bridge.token().reason().unwrap();
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
}
