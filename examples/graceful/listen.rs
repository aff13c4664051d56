//! The door: accepting, and how it is closed so that nobody is cut off.

use crate::args::Args;
use crate::connection::{self, Open};
use crate::runtime::Net;
use crate::server::{Requests, Server};
use smol::channel;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use umbel::shutdown::Context;

/// When a connection cannot be accepted (there are too many, for instance) the next try is after that time.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn bind(args: &Args) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((args.host, args.port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The subsystem: accepts until it is told to stop, and ends when no connection will bring anything new.
pub(crate) async fn accept<N: Net>(
    server: Arc<Server<N>>,
    requests: Requests,
    listener: TcpListener,
    cx: Context<'static, io::Error>,
) -> io::Result<()> {
    let (open, all_closed) = channel::bounded(1);
    let connect = |stream, open: &Open| {
        let serve = connection::serve(Arc::clone(&server), requests.clone(), stream, open.clone());
        let connection = requests.child().name("a connection");
        drop(connection.spawn_graceful(|_| async move {
            serve.await;
            Ok(())
        }));
    };

    let ours = server.net.listener(listener.try_clone()?)?;
    while let Some(accepted) = cx
        .token()
        .run_until_cancelled(server.net.accept(&ours))
        .await
    {
        match accepted {
            Ok(stream) => connect(stream, &open),
            Err(e) => {
                server
                    .log
                    .say(format!("a connection was not accepted: {e}"));
                server.sleep(PAUSE).await;
            }
        }
    }
    // Those whom the kernel has let in already: if the port were closed on them, they would be reset.
    while let Ok((stream, _)) = listener.accept() {
        if let Ok(stream) = server.net.stream(stream) {
            connect(stream, &open);
        }
    }
    drop((ours, listener));
    server.log.say("ingress: the port is closed");
    server.closing.cancel();
    drop(open);
    // An error: all senders are gone.
    let closed = async { all_closed.recv().await.is_err() };
    server.within(server.args.linger, closed).await;
    server.hang_up.cancel();
    server.log.say("processing: what has begun is answered");
    Ok(())
}
