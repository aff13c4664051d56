//! `fetch`, beside a server, in the platform's time.

use crate::host::{server_says, url};
use js_sys::Promise;
use std::future::pending;
use std::pin::pin;
use umbel::wasm::abortable;
use umbel::{CancelSignal, CancellationToken, Cancelled, Reason};
use umbel_tests::counting::Task;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, Response};

crate::list![
    what_is_fetched_arrives,
    a_cancelled_fetch_is_aborted_at_the_network,
    a_fetch_that_is_dropped_is_aborted_at_the_network,
    the_body_is_aborted_too,
];

#[wasm_bindgen]
extern "C" {
    fn fetch(url: &str, options: &RequestInit) -> Promise;
}

/// The text at the server's `path`; `begins` is dropped when the answer begins.
async fn text(
    stop: &impl CancelSignal,
    path: &str,
    begins: impl Sized,
) -> Result<Result<JsValue, JsValue>, Cancelled> {
    let url = url(path);
    abortable(stop, |signal| async move {
        let options = RequestInit::new();
        options.set_signal(Some(&signal));
        let response = JsFuture::from(fetch(&url, &options)).await?;
        drop(begins);
        JsFuture::from(response.unchecked_into::<Response>().text()?).await
    })
    .await
}

async fn what_is_fetched_arrives() {
    let token = CancellationToken::new();
    assert_eq!(text(&token, "/ok", ()).await, Ok(Ok("ok".into())));
}

async fn a_cancelled_fetch_is_aborted_at_the_network() {
    let token = CancellationToken::new();
    let cancel = async {
        server_says("asked").await;
        token.cancel_with(Reason::shutdown());
        pending::<()>().await;
    };
    let ended = first(text(&token, "/never", ()), cancel).await;
    assert_eq!(ended, Err(Cancelled::new(Reason::shutdown())));
    server_says("gone").await;
}

async fn a_fetch_that_is_dropped_is_aborted_at_the_network() {
    let token = CancellationToken::new();
    let mut call = Box::pin(text(&token, "/never", ()));
    assert!(Task::new().poll(call.as_mut()).is_pending());
    server_says("asked").await;
    drop(call);
    server_says("gone").await;
}

async fn the_body_is_aborted_too() {
    let (token, begun) = (CancellationToken::new(), CancellationToken::new());
    let begins = begun.clone().drop_guard();
    let cancel = async {
        begun.cancelled().await;
        token.cancel();
        pending::<()>().await;
    };
    let ended = first(text(&token, "/body", begins), cancel).await;
    assert!(ended.is_err());
    server_says("asked").await;
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
