//! Who works the queue off, and what becomes of it when the program stops.

use crate::args::AtTheEnd;
use crate::queue::Item;
use crate::runtime::Net;
use crate::server::Server;
use smol::future::zip;
use umbel::shutdown::Context;
use umbel::Clock;

/// The subsystem.
pub(crate) async fn work<N: Net, E>(server: &Server<N>, cx: &Context<'_, E>) {
    let close = async {
        cx.token().cancelled().await;
        // At once, whatever is at hand: what comes now is refused, not accepted and dropped.
        server.queue.close();
    };
    zip(close, work_off(server, cx)).await;
}

async fn work_off<N: Net, E>(server: &Server<N>, cx: &Context<'_, E>) {
    let queue = &server.queue;
    while let Some(Some(item)) = cx.token().run_until_cancelled(queue.next()).await {
        one(server, item).await;
    }
    let timer = server.net.timer();
    let end = timer.now() + server.args.effort;
    while let Some(item) = queue.next().await {
        let is_done = match server.args.queue {
            AtTheEnd::Drop => false,
            AtTheEnd::Drain => true,
            AtTheEnd::BestEffort => timer.now() + server.args.work <= end,
        };
        match is_done {
            true => one(server, item).await,
            false => item.dropped(),
        }
    }
}

/// The work. Dropped meanwhile, the item is left.
async fn one<N: Net>(server: &Server<N>, item: Item) {
    server.sleep(server.args.work).await;
    item.done();
}
