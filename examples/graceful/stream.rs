//! Server-sent events: ticks, and a goodbye when the stream is told to stop.

use crate::runtime::Net;
use crate::server::Server;
use hyper::body::Bytes;
use smol::channel::{self, Receiver, Sender};
use smol::stream::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};
use umbel::CancellationToken;

#[derive(Debug)]
pub(crate) enum Event {
    Next(Bytes),
    Last(Bytes),
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Events(Pin<Box<Receiver<Event>>>);

impl Events {
    /// `None`: whoever made them is gone, without a last one.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The maker's end.
#[derive(Debug)]
pub(crate) struct Ticker(Sender<Event>);

/// At most one event waits to be read: a slow reader makes a slow ticker, not a long queue.
pub(crate) fn events() -> (Ticker, Events) {
    let (ticker, events) = channel::bounded(1);
    (Ticker(ticker), Events(Box::pin(events)))
}

impl Ticker {
    /// Ticks until it is told to `stop`; then says goodbye. Ends also if nobody reads any more.
    pub(crate) async fn run<N: Net>(self, server: &Server<N>, stop: &CancellationToken) {
        for n in 1_u64.. {
            let event = Event::Next(format!("event: tick\ndata: {n}\n\n").into());
            if self.0.send(event).await.is_err() {
                return;
            }
            let tick = server.sleep(server.args.tick);
            if stop.run_until_cancelled(tick).await.is_none() {
                break;
            }
        }
        let goodbye = "event: goodbye\ndata: the server is shutting down\n\n";
        // An error: the reader has gone first.
        let _ = self.0.send(Event::Last(goodbye.into())).await;
    }
}
