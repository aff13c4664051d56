//! `AbortOnCancel` and `CancelOnAbort`.

use crate::host::{closures, forgive_caught, function, js, listeners};
use js_sys::{Array, Object};
use std::cell::RefCell;
use std::rc::Rc;
use umbel::wasm::{AbortOnCancel, CancelOnAbort, reason_from_js};
use umbel::{CancellationToken, Reason, ReasonKind};
use umbel_tests::exec::Log;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortController, AbortSignal};

crate::list![
    a_cancel_aborts_the_signal_before_it_returns,
    a_cancel_further_up_aborts_it_too,
    a_cancelled_token_has_an_aborted_signal,
    a_signal_that_was_let_go_is_not_aborted,
    a_listener_may_drop_what_aborts_it,
    an_abort_cancels_the_token_before_it_returns,
    an_aborted_signal_has_a_cancelled_token,
    a_reason_that_throws_cancels_all_the_same,
    a_token_that_was_let_go_is_not_cancelled,
    what_is_dropped_after_the_abort_is_cancelled_all_the_same,
    a_token_of_ones_own_follows_a_signal,
    a_token_that_is_cancelled_listens_to_nobody,
    a_callback_may_drop_what_cancels_it,
    a_callback_may_abort_another_signal,
    a_reason_goes_through_a_chain,
    a_circle_ends,
];

fn controller() -> AbortController {
    AbortController::new().unwrap()
}

/// An array, to which the signal's listener adds what it sees of it.
fn watch(signal: &AbortSignal) -> Array {
    let seen = Array::new();
    let listener = function(
        "seen, signal",
        "return () => seen.push(signal.reason.message)",
    )
    .call2(&JsValue::UNDEFINED, &seen, signal)
    .unwrap();
    // It stays: not by the method that the runner counts.
    signal.set_onabort(Some(listener.unchecked_ref()));
    seen
}

fn text(seen: &Array) -> String {
    seen.join(", ").into()
}

// ------------------------------------------------------------------ from token to signal

async fn a_cancel_aborts_the_signal_before_it_returns() {
    let token = CancellationToken::new();
    let bridge = AbortOnCancel::new(&token);
    let signal = bridge.signal();
    assert!(Object::is(&signal, &bridge.signal()));
    let seen = watch(&signal);
    assert!(!signal.aborted());
    token.cancel_with(Reason::shutdown());
    assert!(signal.aborted());
    assert_eq!(text(&seen), "shutting down");
    token.cancel();
    assert_eq!(seen.length(), 1);
    assert_eq!(reason_from_js(&signal.reason()), Reason::shutdown());
}

async fn a_cancel_further_up_aborts_it_too() {
    let token = CancellationToken::new();
    let bridges = [(); 3].map(|()| AbortOnCancel::new(&token.child_token()));
    token.cancel_with(Reason::custom(7));
    for bridge in bridges {
        assert_eq!(reason_from_js(&bridge.signal().reason()), Reason::custom(7));
    }
}

async fn a_cancelled_token_has_an_aborted_signal() {
    let token = CancellationToken::pre_cancelled(Reason::deadline_exceeded());
    let signal = AbortOnCancel::new(&token).signal();
    assert!(signal.aborted());
    assert_eq!(
        reason_from_js(&signal.reason()),
        Reason::deadline_exceeded()
    );
}

async fn a_signal_that_was_let_go_is_not_aborted() {
    let token = CancellationToken::new();
    let bridge = AbortOnCancel::new(&token);
    let signal = bridge.signal();
    drop(bridge);
    token.cancel();
    assert!(!signal.aborted());
}

async fn a_listener_may_drop_what_aborts_it() {
    let token = CancellationToken::new();
    let bridge = Rc::new(RefCell::new(Some(AbortOnCancel::new(&token))));
    let signal = bridge.borrow().as_ref().unwrap().signal();
    let theirs = bridge.clone();
    let listener = Closure::<dyn FnMut()>::new(move || drop(theirs.take()));
    signal.set_onabort(Some(listener.as_ref().unchecked_ref()));
    token.cancel();
    assert!(signal.aborted() && bridge.borrow().is_none());
}

// ------------------------------------------------------------------ from signal to token

async fn an_abort_cancels_the_token_before_it_returns() {
    let (controller, before) = (controller(), (closures(), listeners()));
    let bridge = CancelOnAbort::new(&controller.signal());
    assert_eq!((closures(), listeners()), (before.0 + 1, before.1 + 1));
    assert!(!bridge.token().is_cancelled());
    controller.abort_with_reason(&"enough".into());
    let reason = bridge.token().reason().unwrap();
    assert_eq!(reason.to_string(), "enough");
    drop(bridge);
    assert_eq!((closures(), listeners()), before);
}

async fn an_aborted_signal_has_a_cancelled_token() {
    let timeout = js("new DOMException('late', 'TimeoutError')");
    let signal = AbortSignal::abort_with_reason(&timeout);
    let bridge = CancelOnAbort::new(&signal);
    let reason = bridge.token().reason().unwrap();
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
    assert_eq!(listeners(), 0);
}

async fn a_reason_that_throws_cancels_all_the_same() {
    forgive_caught(1);
    let controller = controller();
    let bridge = CancelOnAbort::new(&controller.signal());
    controller.abort_with_reason(&js("({ get name() { throw 1 } })"));
    let reason = bridge.token().reason().unwrap();
    assert_eq!(reason.kind(), ReasonKind::Custom);
}

async fn a_token_that_was_let_go_is_not_cancelled() {
    let (controller, before) = (controller(), closures());
    let bridge = CancelOnAbort::new(&controller.signal());
    let token = bridge.token().clone();
    drop(bridge);
    assert_eq!((closures(), listeners()), (before, 0));
    controller.abort();
    assert!(!token.is_cancelled());
}

async fn what_is_dropped_after_the_abort_is_cancelled_all_the_same() {
    let controller = controller();
    let bridge = CancelOnAbort::new(&controller.signal());
    let token = bridge.token().clone();
    let waits = token.cancelled();
    controller.abort_with_reason(&JsValue::NULL);
    drop(bridge);
    waits.await;
    assert_eq!(token.reason().unwrap().to_string(), "null");
}

async fn a_token_of_ones_own_follows_a_signal() {
    let root = CancellationToken::new();
    let [one, other] = [controller(), controller()];
    let request = root.child_token();
    let _bridges = [&one, &other].map(|from| CancelOnAbort::of(&from.signal(), &request));
    let child = request.child_token();
    other.abort_with_reason(&7.into());
    one.abort();
    assert_eq!(child.reason().unwrap().to_string(), "7");
    assert!(!root.is_cancelled());
}

async fn a_token_that_is_cancelled_listens_to_nobody() {
    let controller = controller();
    let token = CancellationToken::pre_cancelled(Reason::shutdown());
    let bridge = CancelOnAbort::of(&controller.signal(), &token);
    assert_eq!(listeners(), 0);
    controller.abort();
    assert_eq!(bridge.token().reason(), Some(Reason::shutdown()));
}

thread_local! {
    /// Callbacks are `Send`; a bridge is not.
    static BRIDGE: RefCell<Option<CancelOnAbort>> = const { RefCell::new(None) };
}

async fn a_callback_may_drop_what_cancels_it() {
    let (controller, before) = (controller(), closures());
    let bridge = CancelOnAbort::new(&controller.signal());
    let token = bridge.token().clone();
    BRIDGE.set(Some(bridge));
    token.on_cancel(|| drop(BRIDGE.take())).forget();
    controller.abort();
    assert!(token.is_cancelled());
    assert_eq!((closures(), listeners()), (before, 0));
}

thread_local! {
    static OTHER: RefCell<Option<AbortController>> = const { RefCell::new(None) };
}

async fn a_callback_may_abort_another_signal() {
    let [first, second] = [controller(), controller()];
    let log = Log::new();
    let [outer, inner] = [&first, &second].map(|from| CancelOnAbort::new(&from.signal()));
    OTHER.set(Some(second));
    let (mine, theirs) = (log.clone(), log.clone());
    let _outer = outer.token().on_cancel(move || {
        OTHER.take().unwrap().abort();
        mine.add("outer");
    });
    let _inner = inner.token().on_cancel(move || theirs.add("inner"));
    first.abort();
    assert_eq!(log.take(), "inner outer");
}

async fn a_reason_goes_through_a_chain() {
    for reason in [Reason::custom(9), Reason::deadline_exceeded()] {
        let first = CancellationToken::new();
        let signal = AbortOnCancel::new(&first);
        let second = CancelOnAbort::new(&signal.signal());
        let signal_of_second = AbortOnCancel::new(second.token());
        let third = CancelOnAbort::new(&signal_of_second.signal());
        first.cancel_with(reason.clone());
        assert_eq!(third.token().reason(), Some(reason));
    }
    // One of JavaScript's keeps what it is.
    let (controller, why) = (controller(), js("new Error('mine')"));
    let token = CancelOnAbort::new(&controller.signal());
    let signal = AbortOnCancel::new(token.token());
    controller.abort_with_reason(&why);
    assert!(Object::is(&signal.signal().reason(), &why));
}

async fn a_circle_ends() {
    let token = CancellationToken::new();
    let there = AbortOnCancel::new(&token);
    let back = CancelOnAbort::of(&there.signal(), &token);
    token.cancel_with(Reason::custom(3));
    assert_eq!(back.token().reason(), Some(Reason::custom(3)));
    assert_eq!(reason_from_js(&there.signal().reason()), Reason::custom(3));
}
