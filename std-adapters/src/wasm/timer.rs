//! Time: `performance.now()` and `setTimeout`.
//!
//! The functions are those of `globalThis` at the time of the call: windows, workers and Node.js have them,
//! and who puts others in their place, as tests with a virtual time do, is obeyed.
//!
//! # Life of a sleep
//!
//! ```text
//!   made ─► polled: armed ─► fires ─► polled: due ─► ready
//!              │ ▲               └──► polled: too early, or the delay was cut ─┐
//!              │ └──────────────────────────── armed again ◄───────────────────┘
//!              └─► dropped: the timeout is cleared, its closure is freed
//! ```
//!
//! # Foreign code
//!
//! A waker is woken, and dropped, when it is not in its cell any more: it may drop the sleep whose
//! timeout fires. wasm-bindgen keeps a closure that is dropped within its own call until the call ends.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use js_sys::{Function, Reflect, global};
use umbel_core::{Clock, Instant, Timer};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Performance;

use super::home::Home;

/// Beyond this many milliseconds `setTimeout` takes a delay for none.
const LONGEST: f64 = i32::MAX as f64;

const NANOS_PER_MILLI: f64 = 1e6;

thread_local! {
    static PERFORMANCE: Performance = {
        let performance = member("performance");
        assert!(!performance.is_undefined(), "this platform has no `performance`");
        performance.unchecked_into()
    };
}

/// Clock and timer of the platform's: `performance.now()` and `setTimeout`.
///
/// It works in windows, in workers and in Node.js. Its epoch is when the page or worker was started
/// (`performance.timeOrigin`): each has its own, so instants of two workers must not be compared, nor
/// those of [`crate::time`]. The clock is as fine as the platform lets it be (5 to 100 µs, 1 ms in some
/// browsers). Hidden pages are told late: browsers slow down their timeouts to one in a second or in a minute.
///
/// The type is empty; it is `Copy`, `Send` and `Sync`.
///
/// # Panics
/// [`now`](Clock::now) and a sleep that is polled, where the platform has no `performance` or no
/// `setTimeout`, as in worklets.
///
/// ```no_run
/// use std::time::Duration;
/// use umbel::wasm::WasmTimer;
/// use umbel::{Clock, Timer};
///
/// # async fn f() {
/// let timer = WasmTimer::new();
/// let at = timer.now() + Duration::from_millis(1);
/// timer.sleep_until(at).await;
/// assert!(timer.now() >= at);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WasmTimer(());

impl WasmTimer {
    /// The timer. There is only one event loop in a thread, so all are the same.
    pub const fn new() -> Self {
        WasmTimer(())
    }
}

impl Clock for WasmTimer {
    fn now(&self) -> Instant {
        let millis = PERFORMANCE.with(Performance::now);
        // Saturates.
        Instant::from_nanos((millis * NANOS_PER_MILLI) as u64)
    }
}

/// **Cancel safety:** Strict. Dropping the sleep clears its timeout and frees the timeout's closure.
///
/// A sleep never ends early, though a timeout may: it is set again. So is one of more than 24 days, which
/// is as far as a timeout reaches. A sleep for [`Instant::NEVER`] never ends and sets no timeout. One that
/// is not due at its first poll allocates, in Rust and in JavaScript.
impl Timer for WasmTimer {
    type Sleep = WasmSleep;

    fn sleep_until(&self, at: Instant) -> WasmSleep {
        WasmSleep { at, timeout: None }
    }
}

/// The wait of [`WasmTimer`] for one instant: `Send`, `Sync` and `Unpin`.
///
/// **Cancel safety:** Strict. Polled again after its end it is ready again.
///
/// Polled in another thread than before, it sets a timeout there; the one that it leaves behind stays until
/// it fires, and its closure is not freed.
#[must_use = "futures do nothing unless polled"]
pub struct WasmSleep {
    at: Instant,
    /// Set at the first poll; perhaps it has fired.
    timeout: Option<Home<Timeout>>,
}

impl Future for WasmSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at == Instant::NEVER {
            return Poll::Pending;
        }
        let now = WasmTimer::new().now();
        if self.at.is_due(now) {
            self.timeout = None;
            return Poll::Ready(());
        }
        let timeout = self.timeout.as_ref().and_then(Home::get);
        match timeout.filter(|timeout| !timeout.wait.fired.get()) {
            Some(timeout) => timeout.wait.wake_later(cx.waker()),
            None => {
                let nanos = (self.at - now).as_nanos() as f64;
                let delay = (nanos / NANOS_PER_MILLI).ceil().min(LONGEST);
                self.timeout = Some(Home::new(Timeout::set(delay, cx.waker().clone())));
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for WasmSleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("WasmSleep");
        s.field("at", &self.at).finish_non_exhaustive()
    }
}

/// A timeout of the platform's, cleared by its drop. (One that has fired is not harmed by that.)
struct Timeout {
    /// A number, or an object in Node.js.
    id: JsValue,
    wait: Rc<Wait>,
    _fire: Closure<dyn FnMut()>,
}

/// What a timeout and its closure share.
struct Wait {
    fired: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Wait {
    fn wake_later(&self, waker: &Waker) {
        let kept = self.waker.take();
        if kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            self.waker.set(kept);
        } else {
            self.waker.set(Some(waker.clone()));
        }
    }

    fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Timeout {
    fn set(delay: f64, waker: Waker) -> Self {
        let wait = Rc::new(Wait {
            fired: Cell::new(false),
            waker: Cell::new(Some(waker)),
        });
        // Where panics unwind, a closure must be `UnwindSafe`: nothing is half-made while it wakes.
        let fires = AssertUnwindSafe(wait.clone());
        let fire = Closure::<dyn FnMut()>::new(move || fires.fire());
        let id = member("setTimeout")
            .unchecked_into::<Function>()
            .call2(&global(), fire.as_ref(), &delay.into())
            .expect("this platform has no `setTimeout`");
        Timeout {
            id,
            wait,
            _fire: fire,
        }
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        let clear = member("clearTimeout").unchecked_into::<Function>();
        clear
            .call1(&global(), &self.id)
            .expect("who has `setTimeout` has this");
    }
}

/// What is called `name` in every context of the platform; `undefined` if there is no such thing.
fn member(name: &str) -> JsValue {
    Reflect::get(&global(), &name.into()).unwrap_or(JsValue::UNDEFINED)
}
