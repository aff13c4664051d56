//! Umbel and its peers behind the few verbs that the rows need.
//!
//! Each peer is used as its documentation shows. One that has no `is_cancelled` or no children is
//! missing in those rows. Not here: `stop-token`, which has neither and is a channel inside.

use event_listener::{Event, listener};
use futures_intrusive::sync::ManualResetEvent;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Can be cancelled, and asked.
pub(crate) trait Flag: Send + Sync + 'static {
    fn new() -> Self;
    fn cancel(&self);
    fn is_cancelled(&self) -> bool;
}

/// Has a handle that is passed round.
pub(crate) trait Shared: Flag {
    type Handle: Clone + Send + Sync;
    fn handle(&self) -> Self::Handle;
}

/// Has children, which it cancels.
pub(crate) trait Tree: Flag {
    fn child(&self) -> Self;
}

/// Can be waited for.
pub(crate) trait Waits: Flag {
    fn wait(&self) -> impl Future<Output = ()>;
}

/// Runs a future until it is cancelled.
pub(crate) trait Runs: Flag {
    fn run<F: Future<Output = ()>>(&self, future: F) -> impl Future<Output: Sized>;
}

pub(crate) type Umbel = umbel_core::CancellationToken;

impl Flag for Umbel {
    fn new() -> Self {
        Umbel::new()
    }
    fn cancel(&self) {
        self.cancel();
    }
    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }
}

impl Shared for Umbel {
    type Handle = Self;
    fn handle(&self) -> Self {
        self.clone()
    }
}

impl Tree for Umbel {
    fn child(&self) -> Self {
        self.child_token()
    }
}

impl Waits for Umbel {
    fn wait(&self) -> impl Future<Output = ()> {
        self.cancelled()
    }
}

impl Runs for Umbel {
    fn run<F: Future<Output = ()>>(&self, future: F) -> impl Future<Output: Sized> {
        self.run_until_cancelled(future)
    }
}

pub(crate) type TokioUtil = tokio_util::sync::CancellationToken;

impl Flag for TokioUtil {
    fn new() -> Self {
        TokioUtil::new()
    }
    fn cancel(&self) {
        self.cancel();
    }
    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }
}

impl Shared for TokioUtil {
    type Handle = Self;
    fn handle(&self) -> Self {
        self.clone()
    }
}

impl Tree for TokioUtil {
    fn child(&self) -> Self {
        self.child_token()
    }
}

impl Waits for TokioUtil {
    fn wait(&self) -> impl Future<Output = ()> {
        self.cancelled()
    }
}

impl Runs for TokioUtil {
    fn run<F: Future<Output = ()>>(&self, future: F) -> impl Future<Output: Sized> {
        self.run_until_cancelled(future)
    }
}

/// `cancellation-token`: a source, and the token that is waited for and passed round.
pub(crate) struct CancellationToken {
    source: cancellation_token::CancellationTokenSource,
    token: cancellation_token::CancellationToken,
}

impl CancellationToken {
    fn of(source: cancellation_token::CancellationTokenSource) -> Self {
        let token = source.token();
        CancellationToken { source, token }
    }
}

impl Flag for CancellationToken {
    fn new() -> Self {
        Self::of(cancellation_token::CancellationTokenSource::new())
    }
    fn cancel(&self) {
        self.source.cancel();
    }
    fn is_cancelled(&self) -> bool {
        self.token.is_canceled()
    }
}

impl Shared for CancellationToken {
    type Handle = cancellation_token::CancellationToken;
    fn handle(&self) -> Self::Handle {
        self.token.clone()
    }
}

impl Tree for CancellationToken {
    fn child(&self) -> Self {
        Self::of(cancellation_token::CancellationTokenSource::with_parent(
            &self.token,
        ))
    }
}

impl Waits for CancellationToken {
    fn wait(&self) -> impl Future<Output = ()> {
        self.token.wait()
    }
}

impl Runs for CancellationToken {
    fn run<F: Future<Output = ()>>(&self, future: F) -> impl Future<Output: Sized> {
        self.token.run(future)
    }
}

/// `event-listener`: a flag and an event, shared, as in its own examples; it waits without a box.
pub(crate) struct EventListener(Arc<(AtomicBool, Event)>);

impl Flag for EventListener {
    fn new() -> Self {
        EventListener(Arc::new((AtomicBool::new(false), Event::new())))
    }
    fn cancel(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify(usize::MAX);
    }
    fn is_cancelled(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }
}

impl Waits for EventListener {
    async fn wait(&self) {
        let (flag, event) = &*self.0;
        while !flag.load(Ordering::Acquire) {
            listener!(event => listener);
            if flag.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }
}

/// `futures-intrusive`: a shared event that stays set.
pub(crate) struct FuturesIntrusive(Arc<ManualResetEvent>);

impl Flag for FuturesIntrusive {
    fn new() -> Self {
        FuturesIntrusive(Arc::new(ManualResetEvent::new(false)))
    }
    fn cancel(&self) {
        self.0.set();
    }
    fn is_cancelled(&self) -> bool {
        self.0.is_set()
    }
}

impl Waits for FuturesIntrusive {
    fn wait(&self) -> impl Future<Output = ()> {
        self.0.wait()
    }
}

/// `triggered`: a listener is a future, and its clones are what is passed round.
pub(crate) struct Triggered {
    trigger: triggered::Trigger,
    listener: triggered::Listener,
}

impl Flag for Triggered {
    fn new() -> Self {
        let (trigger, listener) = triggered::trigger();
        Triggered { trigger, listener }
    }
    fn cancel(&self) {
        self.trigger.trigger();
    }
    fn is_cancelled(&self) -> bool {
        self.listener.is_triggered()
    }
}

impl Shared for Triggered {
    type Handle = triggered::Listener;
    fn handle(&self) -> Self::Handle {
        self.listener.clone()
    }
}

impl Waits for Triggered {
    fn wait(&self) -> impl Future<Output = ()> {
        self.listener.clone()
    }
}
