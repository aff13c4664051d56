//! Reasons, to JavaScript and from it.

use crate::host::{forgive_caught, js};
use js_sys::{Error, Object, Reflect};
use std::fmt;
use umbel::wasm::{JsReason, reason_from_js, reason_to_js};
use umbel::{Reason, ReasonKind};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortController, DomException};

crate::list![
    kinds_and_codes_come_back,
    what_javascript_sees_of_them,
    a_value_of_javascripts_comes_back_as_it_went,
    an_abort_without_a_reason_is_kept_too,
    a_timeout_of_the_platforms_is_a_deadline,
    an_error_of_ours_is_told_by_its_text,
    what_looks_like_ours_and_is_not_is_kept,
    values_that_throw_when_they_are_looked_at_are_kept,
];

fn ours() -> impl Iterator<Item = Reason> {
    let kinds = [
        Reason::explicit(),
        Reason::deadline_exceeded(),
        Reason::sibling_failed(),
        Reason::sibling_succeeded(),
        Reason::shutdown(),
        Reason::dropped(),
    ];
    kinds
        .into_iter()
        .chain([0, 1, 7, u16::MAX].map(Reason::custom))
}

/// The value that came with a reason; there is one.
#[track_caller]
fn value(reason: &Reason) -> JsValue {
    assert_eq!(reason.kind(), ReasonKind::Custom);
    let source = reason
        .source()
        .expect("it is kept")
        .downcast_ref::<JsReason>();
    source
        .expect("it is JavaScript's")
        .value()
        .expect("we are at home")
}

fn same(one: &JsValue, other: &JsValue) -> bool {
    Object::is(one, other)
}

async fn kinds_and_codes_come_back() {
    for reason in ours() {
        assert_eq!(reason_from_js(&reason_to_js(&reason)), reason);
    }
}

async fn what_javascript_sees_of_them() {
    for reason in ours() {
        let exception: DomException = reason_to_js(&reason).dyn_into().unwrap();
        let timeout = reason.kind() == ReasonKind::DeadlineExceeded;
        let name = if timeout {
            "TimeoutError"
        } else {
            "AbortError"
        };
        assert_eq!(exception.name(), name);
        assert_eq!(exception.message(), reason.to_string());
        let cause = Reflect::get(&exception, &"cause".into()).unwrap();
        if timeout {
            assert!(cause.is_undefined());
            continue;
        }
        let get = |key: &str| Reflect::get(&cause, &key.into()).unwrap();
        let kind = get("kind").as_string();
        assert_eq!(kind, Some(format!("{:?}", reason.kind())));
        assert_eq!(get("code").as_f64(), reason.code().map(f64::from));
    }
}

async fn a_value_of_javascripts_comes_back_as_it_went() {
    for (expression, text) in [
        ("'the user has left'", "the user has left"),
        ("7", "7"),
        ("null", "null"),
        ("undefined", "undefined"),
        ("new Error('no')", "Error: no"),
        ("new TypeError()", "TypeError"),
        ("({ a: 1 })", "[object Object]"),
        ("Symbol('s')", "Symbol(s)"),
        ("new DOMException('mine', 'AbortError')", "AbortError: mine"),
        ("new DOMException('data', 'DataError')", "DataError: data"),
    ] {
        let original = js(expression);
        let reason = reason_from_js(&original);
        assert!(same(&value(&reason), &original), "{expression}");
        assert_eq!(reason.to_string(), text);
        assert!(
            same(&reason_to_js(&reason.clone()), &original),
            "{expression}"
        );
    }
}

async fn an_abort_without_a_reason_is_kept_too() {
    let controller = AbortController::new().unwrap();
    controller.abort();
    let original = controller.signal().reason();
    let reason = reason_from_js(&original);
    assert!(same(&value(&reason), &original));
    assert!(reason.to_string().starts_with("AbortError"), "{reason}");
}

async fn a_timeout_of_the_platforms_is_a_deadline() {
    for expression in [
        "new DOMException('it took too long', 'TimeoutError')",
        "Object.assign(new Error('mine'), { name: 'TimeoutError' })",
    ] {
        assert_eq!(reason_from_js(&js(expression)), Reason::deadline_exceeded());
    }
}

#[derive(Debug)]
struct DiskFull;

impl fmt::Display for DiskFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is full")
    }
}

impl std::error::Error for DiskFull {}

async fn an_error_of_ours_is_told_by_its_text() {
    let told = reason_to_js(&Reason::error(DiskFull));
    let exception = told.clone().unchecked_into::<DomException>();
    assert_eq!(exception.name(), "AbortError");
    assert_eq!(exception.message(), "the disk is full");
    let reason = reason_from_js(&told);
    assert_eq!(reason.to_string(), "AbortError: the disk is full");
    assert!(same(&value(&reason), &told));
}

async fn what_looks_like_ours_and_is_not_is_kept() {
    for cause in [
        "{ kind: 'Custom' }",
        "{ kind: 'Custom', code: 65536 }",
        "{ kind: 'Custom', code: -1 }",
        "{ kind: 'Custom', code: 1.5 }",
        "{ kind: 'Custom', code: NaN }",
        "{ kind: 'Custom', code: '7' }",
        "{ kind: 'Tired' }",
        "{ kind: 7 }",
        "'Shutdown'",
        "null",
    ] {
        let original = js(&format!(
            "Object.assign(new DOMException('m', 'AbortError'), {{ cause: {cause} }})"
        ));
        let reason = reason_from_js(&original);
        assert!(same(&value(&reason), &original), "{cause}");
    }
    // Not an abort, though there is a cause.
    let error = Error::new("m");
    error.set_cause(&js("{ kind: 'Shutdown' }"));
    assert!(same(&value(&reason_from_js(&error)), &error));
}

async fn values_that_throw_when_they_are_looked_at_are_kept() {
    forgive_caught(8);
    for expression in [
        "{ get name() { throw 1 }, toString() { return 'text' } }",
        "{ name: 'AbortError', get cause() { throw 1 } }",
        "{ name: 'AbortError', cause: { get kind() { throw 1 } } }",
        "{ name: 'AbortError', cause: { kind: 'Custom', get code() { throw 1 } } }",
        "{ toString() { throw 1 } }",
        "Object.create(null)",
        "new Proxy({}, { get() { throw 1 } })",
    ] {
        let original = js(&format!("({expression})"));
        let reason = reason_from_js(&original);
        assert!(same(&value(&reason), &original), "{expression}");
        assert!(same(&reason_to_js(&reason), &original), "{expression}");
    }
}
