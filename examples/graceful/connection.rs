//! One connection, from its first request to its last answer.
//!
//! The end of a connection between two requests is a race that HTTP/1.1 leaves open: the client may send the
//! next one while we close. It then knows no better than to try again, and what is not idempotent it may not.
//! So, as the best proxies do it, an idle connection is not closed when the shutdown begins. There are
//! three steps:
//!
//! 1. `closing`: each answer from now on says `Connection: close`. The client learns with the answer that
//!    there will be no other, and has nothing on its way.
//! 2. `hang_up`: the time for that is over. A connection without a request is closed.
//! 3. A connection is never closed while there may be something to read: that would be a reset, which
//!    takes from the client what it has not read yet. Our side is shut down, and what comes is read until
//!    the client closes its own. A request that crosses our goodbye has not begun, and is seen not
//!    to have: no byte of an answer, but the end of the stream.

use crate::life::Line;
use crate::request;
use crate::runtime::Net;
use crate::server::{Requests, Server};
use hyper::rt::{Read, ReadBuf, Sleep, Timer as HttpTimer, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::channel::Sender;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use umbel::{Timer, time};

/// How long a client may take to send the rest of a head when nothing is to come any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may take to close after us.
const GOODBYE: Duration = Duration::from_secs(5);

/// Kept as long as a connection may be asked for something new.
pub(crate) type Open = Sender<Infallible>;

pub(crate) async fn serve<N: Net>(
    server: Arc<Server<N>>,
    requests: Requests,
    stream: N::Stream,
    open: Open,
) {
    let line = Arc::new(Line::default());
    let service = service_fn(|request| {
        let (server, requests) = (Arc::clone(&server), requests.clone());
        Box::pin(request::answer(
            server,
            requests,
            Arc::clone(&line),
            request,
        ))
    });
    let mut connection = http1::Builder::new()
        .timer(Clock(server.net.timer()))
        .header_read_timeout(server.args.idle)
        .serve_connection(stream, service);
    // Dropped before the connection is: if we are dropped, so that the request knows by whom.
    let mut cut = CutLine(Some(&line));

    let run = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let mut ended = server.closing.run_until_cancelled(run).await;
    if ended.is_none() && !line.is_busy() {
        let run = poll_fn(|cx| connection.poll_without_shutdown(cx));
        ended = server.hang_up.run_until_cancelled(run).await;
    }
    drop(open);
    if ended.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        let run = poll_fn(|cx| connection.poll_without_shutdown(cx));
        ended = server.within(PATIENCE, run).await;
    }
    if ended.is_none() && line.is_busy() {
        ended = Some(poll_fn(|cx| connection.poll_without_shutdown(cx)).await);
    }
    cut.0 = None;
    if ended.is_some() {
        let stream = connection.into_parts().io;
        server.within(GOODBYE, close(stream)).await;
    }
}

/// Ends our side, and reads until the client has ended its own.
async fn close(mut stream: impl Read + Write + Unpin) {
    let shutdown = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx));
    if shutdown.await.is_err() {
        return;
    }
    let mut read = async || -> io::Result<usize> {
        let mut room = [0; 1024];
        poll_fn(|cx| {
            let mut room = ReadBuf::new(&mut room);
            let read = Pin::new(&mut stream).poll_read(cx, room.unfilled());
            read.map_ok(|()| room.filled().len())
        })
        .await
    };
    while read().await.is_ok_and(|n| n > 0) {}
}

struct CutLine<'a>(Option<&'a Line>);

impl Drop for CutLine<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.0 {
            line.cut();
        }
    }
}

/// Our timer, as hyper wants it.
struct Clock<T>(T);

impl<T: Timer<Sleep: Send + Sync + 'static>> HttpTimer for Clock<T> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(Box::pin(
            self.0.sleep_until(self.0.now() + duration),
        )))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(Box::pin(
            self.0.sleep_until(time::from_std(deadline)),
        )))
    }
}

struct Sleeping<S>(Pin<Box<S>>);

impl<S: Future<Output = ()>> Future for Sleeping<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send + Sync> Sleep for Sleeping<S> {}
