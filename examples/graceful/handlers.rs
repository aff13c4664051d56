//! What the server does. A handler runs in its request's scope, and is dropped where it waits when that is
//! cancelled: because the client went away, or its budget is over. That the server is about to stop does
//! not cancel it: what has begun is answered.

use crate::answer::Answer;
use crate::queue::Refused;
use crate::route::Route;
use crate::runtime::Net;
use crate::server::Server;
use crate::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use smol::channel::Sender;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use umbel::{CancellationToken, Handle};

/// More than any item needs.
const MOST: usize = 64 * 1024;

/// What a handler is given.
pub(crate) struct Call<N> {
    pub(crate) server: Arc<Server<N>>,
    pub(crate) route: Route,
    /// For the log.
    pub(crate) name: Arc<str>,
    pub(crate) body: Incoming,
    /// The request's own, for children and cleanups.
    pub(crate) scope: Handle<'static, io::Error>,
    /// Cancelled when what has no end of its own is to end.
    pub(crate) stop: CancellationToken,
    /// Takes one answer.
    pub(crate) answer: Sender<Answer>,
}

impl<N: Net> Call<N> {
    pub(crate) async fn run(self) -> io::Result<()> {
        let answer = match self.route {
            Route::Healthz => yes_or_no(self.server.health.is_live()),
            Route::Readyz => yes_or_no(self.server.health.is_ready()),
            Route::Fast => Answer::text(StatusCode::OK, "fast"),
            Route::Slow(time) => self.slow(time).await,
            Route::Work => work(&self.server, self.body).await,
            Route::No(status, text) => Answer::text(status, text),
            Route::Events => {
                let (ticker, events) = stream::events();
                // An error: it is too late. So below.
                let _ = self.answer.try_send(Answer::events(events));
                ticker.run(&self.server, &self.stop).await;
                return Ok(());
            }
            Route::Panic => panic!("asked for by a client"),
            Route::Stubborn => {
                // A child that is told and does not heed.
                let child = self.scope.child().name("stubborn");
                let _ = child.spawn_graceful(|_| pending::<io::Result<()>>()).await;
                return Ok(());
            }
        };
        let _ = self.answer.try_send(answer);
        Ok(())
    }

    /// Its cleanup runs whatever ends the scope, as the rollback of a transaction would.
    async fn slow(&self, time: Duration) -> Answer {
        let (log, name) = (Arc::clone(&self.server.log), Arc::clone(&self.name));
        let log_all = self.server.args.log_requests;
        let cleanup = async move {
            if log_all {
                log.say(format!("{name}: cleaned up"));
            }
            Ok(())
        };
        // An error: the scope has ended, and so have we.
        let _ = self.scope.defer(cleanup);
        if log_all {
            self.server.log.say(format!("{}: sleeps", self.name));
        }
        self.server.sleep(time).await;
        Answer::text(StatusCode::OK, format!("slept for {time:?}"))
    }
}

fn yes_or_no(is_yes: bool) -> Answer {
    match is_yes {
        true => Answer::text(StatusCode::OK, "yes"),
        false => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "no"),
    }
}

/// An item that has come whole is put into the queue.
async fn work<N: Net>(server: &Server<N>, body: Incoming) -> Answer {
    if let Err(e) = Limited::new(body, MOST).collect().await {
        return match e.is::<LengthLimitError>() {
            true => Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "an item has at most 64 KiB"),
            false => Answer::text(StatusCode::BAD_REQUEST, e.to_string()),
        };
    }
    let refused = |why| Answer::text(StatusCode::SERVICE_UNAVAILABLE, why);
    match server.queue.put() {
        Ok(()) => Answer::text(StatusCode::ACCEPTED, "accepted"),
        Err(Refused::Full) => refused("the queue is full"),
        Err(Refused::Closed) => refused("the queue is closed"),
    }
}
