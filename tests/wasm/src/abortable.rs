//! `abortable`.

use crate::host::{function, millis, pass};
use js_sys::{Array, Promise};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::rc::Rc;
use umbel::wasm::{abortable, reason_from_js};
use umbel::{CancellationToken, Cancelled, JoinError, LocalNursery, Reason, ReasonKind};
use umbel_tests::counting::Task;
use umbel_tests::exec::{Gate, yields};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::AbortSignal;

crate::list![
    its_output_is_the_futures_and_nothing_is_aborted,
    cancelled_before_it_begins_nothing_is_called,
    cancelled_it_aborts_and_ends_at_once,
    dropped_it_aborts,
    dropped_before_it_begins_nothing_is_called,
    a_cancellation_after_the_end_aborts_nothing,
    what_has_an_output_when_it_is_cancelled_gives_it,
    a_promise_that_is_rejected_is_no_cancellation,
    a_promise_that_obeys_is_settled_and_left,
    a_cancelled_nursery_aborts_all_that_its_children_call,
];

/// Where `start` puts the signal that it is given.
#[derive(Clone, Default)]
struct Given(Rc<RefCell<Option<AbortSignal>>>);

impl Given {
    fn keep<F>(&self, future: F) -> impl FnOnce(AbortSignal) -> F + use<F> {
        let given = self.0.clone();
        move |signal| {
            *given.borrow_mut() = Some(signal);
            future
        }
    }

    fn signal(&self) -> AbortSignal {
        self.0.borrow().clone().expect("it was called")
    }

    fn reason(&self) -> Option<Reason> {
        let signal = self.signal();
        signal.aborted().then(|| reason_from_js(&signal.reason()))
    }
}

async fn its_output_is_the_futures_and_nothing_is_aborted() {
    let (token, given) = (CancellationToken::new(), Given::default());
    assert_eq!(abortable(&token, given.keep(ready(7))).await, Ok(7));
    assert_eq!(given.reason(), None);
    let later = async {
        yields(3).await;
        8
    };
    assert_eq!(abortable(&token, given.keep(later)).await, Ok(8));
    assert_eq!(given.reason(), None);
}

async fn cancelled_before_it_begins_nothing_is_called() {
    let token = CancellationToken::pre_cancelled(Reason::custom(1));
    let none = abortable(&token, |_| -> std::future::Ready<()> { unreachable!() });
    assert_eq!(none.await, Err(Cancelled::new(Reason::custom(1))));
}

async fn cancelled_it_aborts_and_ends_at_once() {
    let (token, given) = (CancellationToken::new(), Given::default());
    let task = Task::new();
    // It does not listen to the signal.
    let mut call = pin!(abortable(&token, given.keep(pending::<()>())));
    assert!(task.poll(call.as_mut()).is_pending());
    assert_eq!(given.reason(), None);
    token.cancel_with(Reason::shutdown());
    assert_eq!(task.woken(), 1);
    let ended = task.poll(call);
    assert_eq!(
        ended,
        std::task::Poll::Ready(Err(Reason::shutdown().into()))
    );
    assert_eq!(given.reason(), Some(Reason::shutdown()));
}

async fn dropped_it_aborts() {
    for (cancel, expected) in [
        (false, Reason::dropped()),
        (true, Reason::deadline_exceeded()),
    ] {
        let (token, given) = (CancellationToken::new(), Given::default());
        let mut call = Box::pin(abortable(&token, given.keep(pending::<()>())));
        assert!(Task::new().poll(call.as_mut()).is_pending());
        if cancel {
            token.cancel_with(expected.clone());
        }
        drop(call);
        assert_eq!(given.reason(), Some(expected));
    }
}

async fn dropped_before_it_begins_nothing_is_called() {
    let token = CancellationToken::new();
    drop(abortable(&token, |_| -> std::future::Ready<()> {
        unreachable!()
    }));
}

async fn a_cancellation_after_the_end_aborts_nothing() {
    let (token, given) = (CancellationToken::new(), Given::default());
    let mut call = Box::pin(abortable(&token, given.keep(ready(()))));
    assert_eq!(call.as_mut().await, Ok(()));
    token.cancel();
    drop(call);
    assert_eq!(given.reason(), None);
}

async fn what_has_an_output_when_it_is_cancelled_gives_it() {
    let (token, given, gate) = (CancellationToken::new(), Given::default(), Gate::new());
    let task = Task::new();
    let mut call = pin!(abortable(&token, given.keep(gate.pass())));
    assert!(task.poll(call.as_mut()).is_pending());
    gate.open();
    token.cancel();
    assert_eq!(task.poll(call), std::task::Poll::Ready(Ok(())));
    assert_eq!(given.reason(), None);
}

async fn a_promise_that_is_rejected_is_no_cancellation() {
    let token = CancellationToken::new();
    let rejected = abortable(&token, |_| Promise::reject(&JsValue::from("no")));
    assert_eq!(rejected.await, Ok(Err(JsValue::from("no"))));
    let resolved = abortable(&token, |_| Promise::resolve(&JsValue::from(7)));
    assert_eq!(resolved.await, Ok(Ok(JsValue::from(7))));
}

/// A function of JavaScript's that obeys: it makes a promise that is rejected when the signal is aborted,
/// and adds the reason's name to `aborted`.
fn obeys(aborted: &Array, signal: &AbortSignal) -> Promise {
    let body = "return new Promise((resolve, reject) => {
        signal.onabort = () => {
            aborted.push(signal.reason.name);
            reject(signal.reason);
        };
    })";
    let call = function("aborted, signal", body).call2(&JsValue::UNDEFINED, aborted, signal);
    call.unwrap().unchecked_into()
}

async fn a_promise_that_obeys_is_settled_and_left() {
    let aborted = Array::new();
    for cancel in [true, false] {
        let token = CancellationToken::new();
        let mut call = Box::pin(abortable(&token, |signal| obeys(&aborted, &signal)));
        let task = Task::new();
        assert!(task.poll(call.as_mut()).is_pending());
        if cancel {
            token.cancel_with(Reason::deadline_exceeded());
            assert!(call.as_mut().await.is_err());
        }
        drop(call);
    }
    assert_eq!(String::from(aborted.join(" ")), "TimeoutError AbortError");
    // Nobody is told of a rejection that nobody has handled: the runner would hear it.
    pass(millis(1)).await;
}

async fn a_cancelled_nursery_aborts_all_that_its_children_call() {
    let (aborted, done) = (Array::new(), Rc::new(Cell::new(0)));
    let n = LocalNursery::<JoinError>::new().limit(3);
    let h = n.handle();
    let run = n.run::<(), _>(async {
        for _ in 0..5 {
            let (token, aborted, done) = (h.token().clone(), aborted.clone(), done.clone());
            drop(h.spawn(async move {
                let call = abortable(&token, |signal| obeys(&aborted, &signal));
                let _ = call.await;
                done.set(done.get() + 1);
                Ok(())
            }));
        }
        yields(3).await;
        h.cancel();
        pending().await
    });
    let failure = run.await.unwrap_err();
    assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::Explicit);
    // Two had not begun.
    assert_eq!((aborted.length(), done.get()), (3, 0));
}

const _: fn() = || {
    fn is_future<F: Future<Output = Result<(), Cancelled>>>(_: F) {}
    is_future(abortable(&CancellationToken::new(), |_| ready(())));
};
