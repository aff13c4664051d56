//! In the platform's time, beside a server: the suite for adapters, and `fetch`.

use crate::host::{millis, server_says, url};
use js_sys::Promise;
use std::pin::pin;
use umbel::wasm::{CancelOnAbort, WasmSpawn, WasmTimer, abortable};
use umbel::{CancelSignal, CancellationToken, Cancelled, Clock, Reason, ReasonKind, Timer};
use umbel_conformance::{Runtime, Verdict, check_within};
use umbel_tests::counting::Task;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestInit, Response};

crate::list![
    the_clauses_for_adapters_are_kept,
    a_sleep_ends_and_not_before_its_instant,
    a_timeout_of_the_platforms_is_a_deadline,
    what_is_fetched_arrives,
    a_cancelled_fetch_is_aborted_at_the_network,
    a_fetch_that_is_dropped_is_aborted_at_the_network,
    the_body_is_aborted_too,
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

    fn fetch(url: &str, options: &RequestInit) -> Promise;
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

/// The text at the server's `path`.
async fn text(stop: &impl CancelSignal, path: &str) -> Result<Result<JsValue, JsValue>, Cancelled> {
    let url = url(path);
    abortable(stop, |signal| async move {
        let options = RequestInit::new();
        options.set_signal(Some(&signal));
        let response = JsFuture::from(fetch(&url, &options)).await?;
        JsFuture::from(response.unchecked_into::<Response>().text()?).await
    })
    .await
}

async fn what_is_fetched_arrives() {
    let token = CancellationToken::new();
    assert_eq!(text(&token, "/ok").await, Ok(Ok("ok".into())));
}

async fn a_cancelled_fetch_is_aborted_at_the_network() {
    let token = CancellationToken::new();
    let cancel = async {
        server_says("asked").await;
        token.cancel_with(Reason::shutdown());
        std::future::pending::<()>().await;
    };
    let ended = first(text(&token, "/never"), cancel).await;
    assert_eq!(ended, Err(Cancelled::new(Reason::shutdown())));
    server_says("gone").await;
}

async fn a_fetch_that_is_dropped_is_aborted_at_the_network() {
    let token = CancellationToken::new();
    let mut call = Box::pin(text(&token, "/never"));
    assert!(Task::new().poll(call.as_mut()).is_pending());
    server_says("asked").await;
    drop(call);
    server_says("gone").await;
}

async fn the_body_is_aborted_too() {
    let token = CancellationToken::new();
    let cancel = async {
        server_says("asked").await;
        // So that the first half is there; if it is not, the test shows what the one above shows.
        WasmTimer::new()
            .sleep_until(WasmTimer::new().now() + millis(5))
            .await;
        token.cancel();
        std::future::pending::<()>().await;
    };
    let ended = first(text(&token, "/body"), cancel).await;
    assert!(ended.is_err());
    server_says("gone").await;
}

/// The output of `one`, while `other` runs beside it.
async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(|cx| {
        assert!(other.as_mut().poll(cx).is_pending());
        one.as_mut().poll(cx)
    })
    .await
}
