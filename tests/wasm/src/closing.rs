//! A page that is closed: all is dropped while timers and calls run.

use crate::host::{closures, function, listeners, millis, pass, timeouts};
use js_sys::Array;
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use umbel::wasm::{AbortOnCancel, CancelOnAbort, WasmSpawn, WasmTimer, abortable};
use umbel::{CancellationToken, Clock, JoinError, LocalNursery, Timer};
use umbel_tests::exec::yields;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortController, AbortSignal};

crate::list![
    nothing_fires_when_all_has_been_dropped,
    nothing_fires_when_the_tasks_of_an_executor_have_been_dropped,
];

/// Like a call of the platform's: done in a second, given up if the signal says so.
fn call(log: &Array, signal: &AbortSignal) -> js_sys::Promise {
    let body = "return new Promise((resolve, reject) => {
        const id = setTimeout(() => { log.push('done'); resolve() }, 1000);
        signal.onabort = () => {
            clearTimeout(id);
            log.push('aborted');
            reject(signal.reason);
        };
    })";
    let call = function("log, signal", body).call2(&JsValue::UNDEFINED, log, signal);
    call.unwrap().unchecked_into()
}

const TIMER: WasmTimer = WasmTimer::new();

/// A page: children that sleep and call, within a deadline, following a signal. `late` counts what happens
/// after a sleep.
async fn page(log: Array, from: AbortSignal, late: Rc<Cell<u32>>) {
    let bridge = CancelOnAbort::new(&from);
    let n = LocalNursery::<JoinError>::new()
        .token(bridge.token())
        .timer(TIMER)
        .deadline(TIMER.now() + millis(5000))
        .grace(millis(100));
    let h = n.handle();
    let run = n.run::<(), _>(async {
        for i in 1..=4 {
            let (log, late, token) = (log.clone(), late.clone(), h.token().clone());
            let child = h.child().timeout(millis(3000));
            drop(child.spawn_graceful(move |cx| async move {
                let to = AbortOnCancel::new(cx.token());
                let both = abortable(&token, |signal| call(&log, &signal));
                let _ = both.await;
                TIMER.sleep_until(TIMER.now() + millis(i * 100)).await;
                late.set(late.get() + 1);
                drop(to);
                Ok(())
            }));
        }
        TIMER.sleep_until(TIMER.now() + millis(2000)).await;
        late.set(late.get() + 1);
        pending().await
    });
    drop(run.await);
    late.set(late.get() + 1);
}

async fn nothing_fires_when_all_has_been_dropped() {
    let before = closures();
    let controller = AbortController::new().unwrap();
    // While the calls run, and while children sleep after them.
    for (after, aborted, ended) in [(500, 4, 0), (1150, 0, 1)] {
        let (log, late) = (Array::new(), Rc::new(Cell::new(0)));
        let mut page = Box::pin(page(log.clone(), controller.signal(), late.clone()));
        let closes = CancellationToken::new();
        let guard = closes.clone().drop_guard();
        let closing = async move {
            pass(millis(after)).await;
            drop(guard);
        };
        umbel::Spawn::spawn(&WasmSpawn, closing).unwrap();
        assert!(closes.run_until_cancelled(page.as_mut()).await.is_none());
        assert!(timeouts() > 0 && listeners() == 1, "nothing runs");
        drop(page);
        assert_eq!((timeouts(), listeners()), (0, 0));
        let count = |what: &str| log.iter().filter(|entry| entry == what).count();
        assert_eq!((count("aborted"), late.get()), (aborted, ended));
        controller.signal().set_onabort(None);
        pass(millis(3_600_000)).await;
        assert_eq!(late.get(), ended);
        assert_eq!(count("done"), 4 - aborted);
    }
    controller.abort();
    assert_eq!(closures(), before);
}

async fn nothing_fires_when_the_tasks_of_an_executor_have_been_dropped() {
    let log = Array::new();
    let n = LocalNursery::<JoinError>::new().timer(TIMER).on(WasmSpawn);
    let h = n.handle();
    let mut run = Box::pin(n.run::<(), _>(async {
        for _ in 0..4 {
            let (log, token) = (log.clone(), h.token().clone());
            drop(h.spawn(async move {
                let _ = abortable(&token, |signal| call(&log, &signal)).await;
                Ok(())
            }));
        }
        pending().await
    }));
    let closes = CancellationToken::new();
    let guard = closes.clone().drop_guard();
    let closing = async move {
        yields(5).await;
        drop(guard);
    };
    umbel::Spawn::spawn(&WasmSpawn, closing).unwrap();
    assert!(closes.run_until_cancelled(run.as_mut()).await.is_none());
    assert_eq!(timeouts(), 4);
    drop(run);
    pass(millis(1)).await;
    assert_eq!(
        String::from(log.join(" ")),
        "aborted aborted aborted aborted"
    );
    assert_eq!(timeouts(), 0);
}
