//! Reasons, in Rust and in JavaScript.

use std::error::Error;
use std::fmt;

use js_sys::{Function, Object, Reflect, global};
use umbel_core::{Reason, ReasonKind};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::DomException;

use super::home::Home;

const TIMEOUT: &str = "TimeoutError";
const ABORT: &str = "AbortError";

/// The names of the kinds without a name in JavaScript, each with the reason that it stands for.
static KINDS: [(&str, Reason); 5] = [
    ("Explicit", Reason::explicit()),
    ("SiblingFailed", Reason::sibling_failed()),
    ("SiblingSucceeded", Reason::sibling_succeeded()),
    ("Shutdown", Reason::shutdown()),
    ("Dropped", Reason::dropped()),
];

/// A value of JavaScript's that was the reason of an abort: the error in a [`Reason`] that came from there.
///
/// It is `Send` and `Sync`, as errors in reasons are. Its text goes everywhere, the value only back
/// to where it came from. Dropped in another thread, the value is not freed.
///
/// ```no_run
/// use umbel::wasm::{JsReason, reason_from_js};
///
/// let why = reason_from_js(&"the user has left".into());
/// let source = why.source().and_then(|source| source.downcast_ref::<JsReason>());
/// assert_eq!(source.unwrap().value(), Some("the user has left".into()));
/// ```
#[derive(Debug)]
pub struct JsReason {
    text: String,
    value: Home<JsValue>,
}

impl JsReason {
    /// Keeps `value`, and its text as `String(value)` gives it.
    ///
    /// That may run JavaScript: the value's `toString`. If it throws, the text says so.
    pub fn new(value: JsValue) -> Self {
        let text = Reflect::get(&global(), &"String".into())
            .and_then(|string| {
                string
                    .unchecked_into::<Function>()
                    .call1(&JsValue::UNDEFINED, &value)
            })
            .ok()
            .and_then(|text| text.as_string());
        JsReason {
            text: text.unwrap_or_else(|| "a reason without a text".to_owned()),
            value: Home::new(value),
        }
    }

    /// The very value; `None` in another thread than where it was made.
    pub fn value(&self) -> Option<JsValue> {
        self.value.get().cloned()
    }
}

impl fmt::Display for JsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for JsReason {}

/// `reason`, as an `AbortSignal` tells it.
///
/// | reason | value |
/// |---|---|
/// | from JavaScript, by [`reason_from_js`] | the same value; in another thread, as for an error |
/// | [`ReasonKind::DeadlineExceeded`] | a `DOMException` called `TimeoutError` |
/// | every other | a `DOMException` called `AbortError`; its `message` is the reason's text, its `cause` an object whose `kind` is the name of the [`ReasonKind`], and whose `code` is the reason's [`code`](Reason::code) if it has one |
///
/// ```no_run
/// use umbel::Reason;
/// use umbel::wasm::{reason_from_js, reason_to_js};
///
/// for why in [Reason::deadline_exceeded(), Reason::shutdown(), Reason::custom(7)] {
///     assert_eq!(reason_from_js(&reason_to_js(&why)), why);
/// }
/// ```
pub fn reason_to_js(reason: &Reason) -> JsValue {
    let source = reason.source().and_then(|source| source.downcast_ref());
    if let Some(value) = source.and_then(JsReason::value) {
        return value;
    }
    let timeout = reason.kind() == ReasonKind::DeadlineExceeded;
    let name = if timeout { TIMEOUT } else { ABORT };
    let exception = DomException::new_with_message_and_name(&reason.to_string(), name)
        .expect("it takes any two strings");
    if !timeout {
        let cause = Object::new();
        set(&cause, "kind", &name_of(reason).into());
        if let Some(code) = reason.code() {
            set(&cause, "code", &code.into());
        }
        set(&exception, "cause", &cause);
    }
    exception.into()
}

fn name_of(reason: &Reason) -> &'static str {
    let known = KINDS.iter().find(|(_, known)| known == reason);
    known.map_or("Custom", |(name, _)| name)
}

fn set(object: &JsValue, key: &str, value: &JsValue) {
    // Refused by no object that was just made.
    let _ = Reflect::set(object, &key.into(), value);
}

/// What `value`, the reason of an `AbortSignal`, tells to Rust.
///
/// | value | reason |
/// |---|---|
/// | called `TimeoutError`, as that of `AbortSignal.timeout()` | [`Reason::deadline_exceeded`] |
/// | made by [`reason_to_js`] of a kind or a code | the same reason |
/// | every other, also the `AbortError` of an `abort()` that gave none | [`Reason::error`] of a [`JsReason`], which gives the value back |
///
/// This may run JavaScript: the value's getters, and its `toString`.
pub fn reason_from_js(value: &JsValue) -> Reason {
    let told = match string(value, "name").as_deref() {
        Some(TIMEOUT) => Some(Reason::deadline_exceeded()),
        Some(ABORT) => get(value, "cause").and_then(|cause| told_by(&cause)),
        _ => None,
    };
    told.unwrap_or_else(|| Reason::error(JsReason::new(value.clone())))
}

fn told_by(cause: &JsValue) -> Option<Reason> {
    let kind = string(cause, "kind")?;
    if kind == "Custom" {
        let code = get(cause, "code")?.as_f64()?;
        let fits = (0.0..=f64::from(u16::MAX)).contains(&code) && code.fract() == 0.0;
        return fits.then_some(Reason::custom(code as u16));
    }
    let known = KINDS.iter().find(|(name, _)| *name == kind);
    known.map(|(_, reason)| reason.clone())
}

/// `None` if it is no object, or its getter throws.
fn get(object: &JsValue, key: &str) -> Option<JsValue> {
    // wasm-bindgen keeps a slot for each exception that it catches.
    if !object.is_object() {
        return None;
    }
    Reflect::get(object, &key.into()).ok()
}

fn string(object: &JsValue, key: &str) -> Option<String> {
    get(object, key)?.as_string()
}
