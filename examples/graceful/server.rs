//! What all parts of the server share.

use crate::args::Args;
use crate::counts::Counts;
use crate::log::Log;
use crate::queue::Queue;
use crate::runtime::Net;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use umbel::shutdown::Health;
use umbel::{CancellationToken, Clock, Handle, Timer};

#[derive(Debug)]
pub(crate) struct Server<N> {
    pub(crate) net: N,
    pub(crate) args: Args,
    pub(crate) log: Arc<Log>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) queue: Queue,
    pub(crate) health: Health,
    /// The port is closed: each answer from now on is its connection's last.
    pub(crate) closing: CancellationToken,
    /// A connection that has no request now will have none any more.
    pub(crate) hang_up: CancellationToken,
}

/// The nursery in which connections and requests live: that of the subsystem `requests`.
pub(crate) type Requests = Handle<'static, io::Error>;

impl<N: Net> Server<N> {
    /// By the runtime's timer.
    pub(crate) async fn sleep(&self, time: Duration) {
        let timer = self.net.timer();
        timer.sleep_until(timer.now() + time).await;
    }

    /// `None` if it takes longer; then it is dropped.
    pub(crate) async fn within<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let future = async { Some(future.await) };
        let late = async {
            self.sleep(time).await;
            None
        };
        smol::future::or(future, late).await
    }
}
