//! One fetch.

use crate::page;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;
use umbel::wasm::{WasmTimer, abortable};
use umbel::{CancellationToken, Cancelled, Clock};
use wasm_bindgen::{JsCast, JsValue};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// What JavaScript has thrown, in its words.
    Thrown(String),
    /// It was told to stop: its time was over.
    Cancelled(Cancelled),
}

impl From<JsValue> for Trouble {
    fn from(value: JsValue) -> Self {
        Trouble::Thrown(match value.dyn_ref::<js_sys::Error>() {
            Some(error) => error.to_string().into(),
            None => format!("{value:?}"),
        })
    }
}

impl From<Cancelled> for Trouble {
    fn from(cancelled: Cancelled) -> Self {
        Trouble::Cancelled(cancelled)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Thrown(text) => f.write_str(text),
            Trouble::Cancelled(cancelled) => cancelled.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}

/// Fetches `url` as the child `name`, until `token` is cancelled or the time is over: gives the number of
/// bytes. However it ends, the request at the network does.
pub(crate) async fn fetch(
    url: String,
    name: String,
    token: CancellationToken,
    timeout: Option<Duration>,
) -> Result<f64, Trouble> {
    let timer = WasmTimer::new();
    // From now on, not from when it began to wait for its turn.
    let own = match timeout {
        Some(timeout) => token.child_with_deadline(timer.now() + timeout),
        None => token,
    };
    let mut clock = pin!(own.drive(timer));
    let mut got = pin!(abortable(&own, |signal| page::get(&url, &name, &signal)));
    let size = poll_fn(|cx| {
        // At the deadline this cancels `own`, which ends the other.
        let _ = clock.as_mut().poll(cx);
        got.as_mut().poll(cx)
    });
    Ok(size.await??.as_f64().unwrap_or_default())
}

/// Tells the server something, and waits until it has heard.
pub(crate) async fn post(what: &str) -> Result<(), Trouble> {
    let never = CancellationToken::never();
    abortable(&never, |signal| page::post(what, &signal)).await??;
    Ok(())
}
