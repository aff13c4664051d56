//! Tokens and the platform's `AbortSignal`, both ways; and futures that are given one.
//!
//! # Foreign code
//!
//! An `abort()` runs listeners, and a `cancel()` wakers and callbacks, before it returns. They may do
//! anything, the drop of the bridge that called them included: nothing is borrowed while they run, core
//! lets a callback drop its own registration, and wasm-bindgen keeps a closure that is dropped within its own
//! call until the call ends.

use std::fmt;
use std::future::IntoFuture;

use umbel_core::{CancelSignal, CancellationToken, Cancelled, FutureExt, Reason, Registration};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{AbortController, AbortSignal};

use super::home::Home;
use super::reason::{reason_from_js, reason_to_js};

fn controller() -> AbortController {
    AbortController::new().expect("its constructor does not throw")
}

fn abort(controller: &AbortController, reason: &Reason) {
    controller.abort_with_reason(&reason_to_js(reason));
}

// ------------------------------------------------------------------ from token to signal

/// An `AbortSignal` that is aborted when a token is cancelled: for what JavaScript is told to stop by.
///
/// It is aborted, and its listeners run, before the `cancel()` returns; with the token's reason, as
/// [`reason_to_js`] tells it. If the token is cancelled already, so is the signal aborted.
///
/// Dropping it lets go of the token: the signal is not aborted by that, and never will be. Making one
/// allocates. In a program with threads, a `cancel()` in another worker does not abort it: there,
/// use [`abortable`].
///
/// ```no_run
/// use umbel::wasm::AbortOnCancel;
/// use umbel::{CancellationToken, Reason};
///
/// let token = CancellationToken::new();
/// let abort = AbortOnCancel::new(&token);
/// let signal = abort.signal(); // to `fetch`, to `addEventListener`, to your own JavaScript
/// token.cancel_with(Reason::shutdown());
/// assert!(signal.aborted()); // its `reason` is an `AbortError`: "shutting down"
/// ```
#[must_use = "dropped, it lets go of the token"]
pub struct AbortOnCancel {
    signal: AbortSignal,
    registration: Registration,
}

impl AbortOnCancel {
    /// A signal that follows `token`.
    pub fn new(token: &CancellationToken) -> Self {
        let controller = controller();
        let signal = controller.signal();
        let (home, cancelled) = (Home::new(controller), token.clone());
        let registration = token.on_cancel(move || {
            if let (Some(controller), Some(reason)) = (home.get(), cancelled.reason()) {
                abort(controller, &reason);
            }
        });
        AbortOnCancel {
            signal,
            registration,
        }
    }

    /// The signal; another handle of the same object at each call.
    pub fn signal(&self) -> AbortSignal {
        self.signal.clone()
    }
}

impl fmt::Debug for AbortOnCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortOnCancel")
            .field("aborted", &self.signal.aborted())
            .field("registration", &self.registration)
            .finish()
    }
}

// ------------------------------------------------------------------ from signal to token

/// A token that is cancelled when an `AbortSignal` is aborted: for what JavaScript tells to stop.
///
/// It is cancelled before the `abort()` returns, with the signal's reason, as [`reason_from_js`] reads it.
/// If the signal is aborted already, so is the token cancelled.
///
/// Dropping it takes the listener off the signal and frees its closure: the token is not cancelled by that,
/// and lives on. Making one allocates.
///
/// ```no_run
/// use umbel::wasm::CancelOnAbort;
/// use umbel::{LocalNursery, ReasonKind};
///
/// # async fn f() {
/// let signal = web_sys::AbortSignal::timeout_with_u32(1000); // mostly it comes from a caller
/// let abort = CancelOnAbort::new(&signal);
/// let n = LocalNursery::<()>::new().token(abort.token());
/// let failure = n.run::<(), _>(std::future::pending()).await.unwrap_err();
/// assert_eq!(failure.cancelled().unwrap().kind(), ReasonKind::DeadlineExceeded);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropped, it lets go of the signal"]
pub struct CancelOnAbort {
    token: CancellationToken,
    /// `None`: there is nothing left to hear.
    _listener: Option<Listener>,
}

impl CancelOnAbort {
    /// A new token, which follows `signal`.
    pub fn new(signal: &AbortSignal) -> Self {
        Self::of(signal, &CancellationToken::new())
    }

    /// A handle of `token`, which follows `signal` from now on; what else cancels it does so as before.
    pub fn of(signal: &AbortSignal, token: &CancellationToken) -> Self {
        let token = token.clone();
        if signal.aborted() {
            token.cancel_with(reason_of(signal));
        }
        let live = !token.is_cancelled();
        let listener = live.then(|| Listener::add(signal, token.clone()));
        CancelOnAbort {
            token,
            _listener: listener,
        }
    }

    /// The token.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

fn reason_of(signal: &AbortSignal) -> Reason {
    // Without one, in engines that know no reasons yet, it is `undefined`.
    let reason = signal.reason();
    if reason.is_undefined() {
        Reason::explicit()
    } else {
        reason_from_js(&reason)
    }
}

/// A listener of a signal, taken off by its drop.
#[derive(Debug)]
struct Listener {
    signal: AbortSignal,
    call: Closure<dyn FnMut()>,
}

impl Listener {
    fn add(signal: &AbortSignal, token: CancellationToken) -> Self {
        let aborted = signal.clone();
        let call = Closure::<dyn FnMut()>::new(move || {
            token.cancel_with(reason_of(&aborted));
        });
        signal
            .add_event_listener_with_callback("abort", call.as_ref().unchecked_ref())
            .expect("a signal takes listeners");
        Listener {
            signal: signal.clone(),
            call,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.signal
            .remove_event_listener_with_callback("abort", self.call.as_ref().unchecked_ref())
            .expect("a signal takes listeners");
    }
}

// ------------------------------------------------------------------ futures with a signal

/// Runs what `start` makes, which is told to stop by an `AbortSignal`: a `fetch`, for example, is aborted at the
/// network.
///
/// `start` is called at the first poll and makes a future or a `Promise`; its output is the output. The
/// signal that it is given is aborted
///
/// - when `stop` is cancelled, with its reason: the future ends at once, it does not wait for what was
///   told to stop;
/// - when the future is dropped before its end, with the reason of `stop`, or [`Reason::dropped`];
///
/// and never after the end. So all that the signal is to abort belongs into `start`: of a `fetch` also
/// the body.
///
/// First poll, `stop` first: if it is cancelled already, `start` is not called. Later polls, the future first.
///
/// **Cancel safety:** Strict: dropping it aborts the signal. Not `Send`.
///
/// # Errors
/// `stop` was cancelled.
///
/// ```no_run
/// use umbel::wasm::abortable;
/// use umbel::{CancelSignal, Cancelled};
/// use wasm_bindgen::{JsCast, JsValue};
/// use wasm_bindgen_futures::JsFuture;
/// use web_sys::{RequestInit, Response, window};
///
/// /// The text at `url`: or what went wrong, or why it was cancelled.
/// async fn text(stop: &impl CancelSignal, url: &str) -> Result<Result<JsValue, JsValue>, Cancelled> {
///     abortable(stop, |signal| async move {
///         let options = RequestInit::new();
///         options.set_signal(Some(&signal));
///         let window = window().expect("this is no worker");
///         let response = JsFuture::from(window.fetch_with_str_and_init(url, &options)).await?;
///         JsFuture::from(response.unchecked_into::<Response>().text()?).await
///     })
///     .await
/// }
/// ```
pub async fn abortable<S, F>(
    stop: &S,
    start: impl FnOnce(AbortSignal) -> F,
) -> Result<F::Output, Cancelled>
where
    S: CancelSignal + ?Sized,
    F: IntoFuture,
{
    if let Some(reason) = stop.reason() {
        return Err(Cancelled::new(reason));
    }
    let mut aborts = AbortOnDrop {
        controller: controller(),
        stop: Some(stop),
    };
    // It is dropped before `aborts`.
    let future = start(aborts.controller.signal()).into_future();
    let output = future.or_cancelled(stop).await;
    if output.is_ok() {
        aborts.stop = None;
    }
    output
}

/// Aborts its signal when it is dropped, unless `stop` was taken.
struct AbortOnDrop<'a, S: CancelSignal + ?Sized> {
    controller: AbortController,
    stop: Option<&'a S>,
}

impl<S: CancelSignal + ?Sized> Drop for AbortOnDrop<'_, S> {
    fn drop(&mut self) {
        if let Some(stop) = self.stop {
            abort(
                &self.controller,
                &stop.reason().unwrap_or(Reason::dropped()),
            );
        }
    }
}
