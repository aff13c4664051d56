//! The page's nurseries: a session that opens a lease, keeps a journal, and downloads.
//!
//! ```text
//! session                 deadline, grace, time for cleanups
//! ├─ downloads            limit, policy
//! │  ├─ fetch 1 … fetch n plain children, each with a timeout
//! ├─ journal              a graceful service: says goodbye to the server
//! ├─ stubborn             a graceful service that does not listen, if asked for
//! └─ lease                a cleanup: gives back what was opened
//! ```
//!
//! JavaScript calls what is exported here, draws snapshots, and is told by an observer. On hosts this is
//! an empty library.
#![forbid(unsafe_code)]
#![cfg(all(target_family = "wasm", target_os = "unknown"))]

mod fetch;
mod page;
mod session;

use crate::session::{Downloads, Error, Plan};
use js_sys::Promise;
use std::rc::Rc;
use std::time::Duration;
use umbel::{LocalHandle, Reason};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// What the end of one fetch does to the others.
#[wasm_bindgen]
#[derive(Debug, Clone, Copy)]
pub enum Policy {
    /// The first error cancels the rest.
    FailFast,
    /// The others go on; all errors are collected.
    KeepGoing,
    /// The first success cancels the rest.
    FirstSuccess,
}

/// What is chosen before the start. Times are in milliseconds; none: no bound.
#[wasm_bindgen]
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many fetches run at once.
    pub limit: usize,
    /// What the end of one fetch does to the others.
    pub policy: Policy,
    /// How long one fetch may take, from its start.
    pub timeout: Option<u32>,
    /// How long the session may take.
    pub deadline: Option<u32>,
    /// How long graceful children may take to end.
    pub grace: Option<u32>,
    /// Whether there is a graceful child that does not listen.
    pub stubborn: bool,
}

#[wasm_bindgen]
impl Options {
    /// Without any bound but the limit.
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default, reason = "for JavaScript")]
    pub fn new(limit: usize, policy: Policy) -> Self {
        Options {
            limit,
            policy,
            timeout: None,
            deadline: None,
            grace: None,
            stubborn: false,
        }
    }
}

/// A session at work, or one that has ended.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Running {
    session: LocalHandle<'static, Error>,
    downloads: Downloads,
}

#[wasm_bindgen]
impl Running {
    /// Begins: one fetch for each of `urls`.
    pub fn start(options: &Options, urls: Vec<String>) -> Running {
        let millis = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
        let downloads = Downloads::default();
        let session = session::start(
            Plan {
                limit: options.limit,
                policy: options.policy,
                timeout: millis(options.timeout),
                deadline: millis(options.deadline),
                grace: millis(options.grace),
                stubborn: options.stubborn,
                urls,
            },
            Rc::clone(&downloads),
        );
        Running { session, downloads }
    }

    /// Cancels all.
    pub fn cancel(&self) {
        self.session.cancel();
    }

    /// Cancels all, as if the time were over.
    pub fn expire(&self) {
        self.session.cancel_with(Reason::deadline_exceeded());
    }

    /// Cancels all, and waits for nobody.
    pub fn force(&self) {
        self.session.force();
    }

    /// Cancels one fetch.
    #[wasm_bindgen(js_name = cancelOne)]
    pub fn cancel_one(&self, name: String) {
        if let Some(downloads) = self.downloads.get() {
            downloads.cancel_named(name, Reason::explicit());
        }
    }

    /// Looks at all that there is: a promise of JSON.
    pub fn look(&self) -> Promise {
        let snapshot = self.session.snapshot();
        future_to_promise(async move { Ok(snapshot.await.to_json().into()) })
    }
}

/// How many values of JavaScript are held from here: closures, promises, signals.
#[wasm_bindgen]
pub fn held() -> u32 {
    wasm_bindgen::externref_heap_live_count()
}

#[wasm_bindgen(start)]
fn main() {
    std::panic::set_hook(Box::new(|panic| page::panicked(&panic.to_string())));
}
