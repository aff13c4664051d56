//! What the page does for us: it fetches, posts, and is told what happens.

use js_sys::Promise;
use std::time::Duration;
use umbel::{Ended, Ending, JoinErrorKind, ObservedChild, ObservedScope, Observer, Reason, Stats};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

#[wasm_bindgen(raw_module = "./host.js")]
extern "C" {
    /// Fetches `url` and reads all of it: a promise of the number of bytes.
    pub(crate) fn get(url: &str, name: &str, signal: &AbortSignal) -> Promise;

    /// Tells the server something, and waits for its answer.
    pub(crate) fn post(what: &str, signal: &AbortSignal) -> Promise;

    /// The session is over, and how.
    pub(crate) fn over(well: bool, text: &str);

    pub(crate) fn panicked(text: &str);

    /// Of a scope, or of `who` in it. `state` is one word for how it ended; `text` says it in full.
    fn tell(
        what: &str,
        scope: &str,
        who: Option<&str>,
        state: Option<&str>,
        text: Option<&str>,
        notice: Option<f64>,
        drain: Option<f64>,
    );
}

/// Tells the page.
#[derive(Debug)]
pub(crate) struct Teller;

impl Observer for Teller {
    fn opened(&self, scope: &ObservedScope<'_>) {
        of_scope("opened", scope, None);
    }

    fn cancelled(&self, scope: &ObservedScope<'_>, reason: &Reason) {
        of_scope("cancelled", scope, Some(&reason.to_string()));
    }

    fn cleaned_up(&self, scope: &ObservedScope<'_>, who: &Ended<'_>, how: &Ending<'_>) {
        of_end("cleaned", scope, who, how);
    }

    fn closed(&self, scope: &ObservedScope<'_>, _: &Stats) {
        of_scope("closed", scope, None);
    }

    fn started(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        let who = child.who();
        tell("started", name(scope), who.name(), None, None, None, None);
    }

    fn told(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, reason: &Reason) {
        let (who, why) = (child.who(), reason.to_string());
        tell(
            "told",
            name(scope),
            who.name(),
            None,
            Some(&why),
            None,
            None,
        );
    }

    fn ended(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, how: &Ending<'_>) {
        of_end("ended", scope, &child.who(), how);
    }
}

fn name<'a>(scope: &'a ObservedScope<'_>) -> &'a str {
    scope.name().unwrap_or_default()
}

fn of_scope(what: &str, scope: &ObservedScope<'_>, text: Option<&str>) {
    tell(what, name(scope), None, None, text, None, None);
}

fn of_end(what: &str, scope: &ObservedScope<'_>, who: &Ended<'_>, how: &Ending<'_>) {
    let state = match how.kind() {
        None => "done",
        Some(JoinErrorKind::Cancelled) => "cancelled",
        Some(JoinErrorKind::Forced) => "forced",
        Some(_) => "failed",
    };
    let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    let (notice, drain) = (millis(who.notice()), millis(who.drain()));
    let text = how.to_string();
    tell(
        what,
        name(scope),
        who.name(),
        Some(state),
        Some(&text),
        notice,
        drain,
    );
}
