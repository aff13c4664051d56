//! The coordinator: four subsystems, each with a nursery of its own, and the order in which they stop.
//!
//! | phase | subsystem | told to stop, it |
//! |---|---|---|
//! | (lame duck) | – | nothing: `/readyz` alone says that the server will go |
//! | ingress | listener | closes the port; ends when no connection will bring anything new |
//! | processing | requests | answers what has begun; its children are connections and requests |
//! | | worker | works the queue off, or drops it |
//! | egress | log | writes what was said |
//!
//! So nothing is refused that had begun, and nothing that is needed to finish it stops before it has.

use crate::args::Args;
use crate::counts::Counts;
use crate::listen;
use crate::log::Log;
use crate::queue::Queue;
use crate::report;
use crate::runtime::Net;
use crate::server::Server;
use crate::worker;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use umbel::CancellationToken;
use umbel::shutdown::{Coordinator, Phase, Subsystem};
use umbel::signal::Signals;

/// The program, on the runtime that this is.
pub(crate) async fn run<N: Net>(net: N, args: Args, signals: &Signals) -> ExitCode {
    let listener = listen::bind(&args).and_then(|l| Ok((l.local_addr()?, l)));
    let (address, listener) = match listener {
        Ok(found) => found,
        Err(e) => {
            eprintln!("graceful: {}, port {}: {e}", args.host, args.port);
            return ExitCode::FAILURE;
        }
    };
    let mut program = Coordinator::<io::Error, _>::new(net.timer(), signals.token())
        .force_on(signals.forced())
        .budget(args.budget)
        // Of the ten parts, if the port is closed in no time, requests have nine.
        .share(Phase::PROCESSING, 9)
        .lame_duck(args.lame_duck);
    let server = Arc::new(Server {
        net,
        log: Arc::new(Log::new()),
        counts: Arc::new(Counts::default()),
        queue: Queue::new(args.queue_size),
        health: program.control().health(),
        closing: CancellationToken::new(),
        hang_up: CancellationToken::new(),
        args,
    });
    server.log.say(format!("listening on http://{address}"));

    let log = Arc::clone(&server.log);
    let egress = Subsystem::new("log").phase(Phase::EGRESS);
    program.add(egress, |cx| async move {
        log.write(&cx).await;
        Ok(())
    });
    let shared = Arc::clone(&server);
    let processing = Subsystem::new("worker").phase(Phase::PROCESSING);
    program.add(processing, |cx| async move {
        worker::work(&shared, &cx).await;
        Ok(())
    });
    let mut requests = None;
    let processing = Subsystem::new("requests").phase(Phase::PROCESSING);
    program.add(processing, |cx| {
        requests = Some(cx.handle().clone());
        // Its children are spawned from outside, until it is told to stop and all of them have ended.
        async move {
            cx.token().cancelled().await;
            Ok(())
        }
    });
    let requests = requests.expect("it was made above");
    let ingress = Subsystem::new("listener").phase(Phase::INGRESS);
    let (shared, told) = (Arc::clone(&server), signals.token().clone());
    program.add(ingress, |cx| {
        let log = Arc::clone(&shared.log);
        drop(cx.handle().spawn(async move {
            told.cancelled().await;
            log.say("lame duck: not ready any more, and serving on");
            Ok(())
        }));
        listen::accept(shared, requests, listener, cx)
    });

    let report = program.run().await;
    report::print(&report, &server)
}
