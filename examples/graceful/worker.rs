//! Who works the queue off, and what becomes of it when the program stops.

use crate::args::AtTheEnd;
use crate::queue::Item;
use crate::runtime::Net;
use crate::server::Server;
use smol::future::zip;
use umbel::CancellationToken;
use umbel::shutdown::Context;

/// The subsystem.
pub(crate) async fn work<N: Net, E>(server: &Server<N>, cx: &Context<'_, E>) {
    let (enough, finished) = (CancellationToken::new(), CancellationToken::new());
    let work = async {
        while let Some(item) = server.queue.next().await {
            one(server, item, &enough).await;
        }
        finished.cancel();
    };
    let stop = async {
        cx.token().cancelled().await;
        // At once, whatever is at hand: what comes now is refused, not accepted and dropped.
        server.queue.close();
        let policy = server.args.queue;
        if policy == AtTheEnd::Drop {
            server.queue.drop_all();
        }
        server.log.say("processing: the queue is closed");
        if policy == AtTheEnd::BestEffort {
            let effort = server.sleep(server.args.effort);
            finished.run_until_cancelled(effort).await;
            enough.cancel();
            server.queue.drop_all();
        }
    };
    zip(stop, work).await;
}

/// The work. It is dropped when it is `enough`; if we are dropped ourselves, it is left.
async fn one<N: Net>(server: &Server<N>, item: Item, enough: &CancellationToken) {
    if server.args.log_requests {
        server.log.say("the worker has an item");
    }
    let work = server.sleep(server.args.work);
    match enough.run_until_cancelled(work).await {
        Some(()) => item.done(),
        None => item.dropped(),
    }
}
