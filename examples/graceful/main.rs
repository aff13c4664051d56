//! `graceful`: an HTTP server that stops without losing a request.
//!
//! ```sh
//! graceful --port 8080 & curl localhost:8080/fast; kill -TERM $!
//! ```
//!
//! A server of ordinary shape on structured concurrency. `run.rs` is the file to read first: the
//! subsystems, and the order in which they stop. Then one request's way through it:
//!
//! | file | concept |
//! |---|---|
//! | `args.rs` | the command line |
//! | `runtime.rs` | on which runtime all of it runs: a timer, a listener, streams |
//! | `run.rs` | the coordinator: four subsystems, in three phases after the lame duck's delay |
//! | `listen.rs` | the door: accepting, and how it is closed so that nobody is cut off |
//! | `connection.rs` | one connection, from its first request to its last answer |
//! | `request.rs` | one request: its budget, its scope, and what becomes of it if the client goes away |
//! | `budget.rs` | the header that says how long the client will wait |
//! | `route.rs` | which handler it is for |
//! | `handlers.rs` | what the server does |
//! | `stream.rs` | server-sent events, which say goodbye |
//! | `answer.rs` | what is sent back, and that all of it was |
//! | `life.rs` | a request from its head to the end of its answer, whoever ends it |
//! | `queue.rs` | a bounded queue in which every item is accounted for |
//! | `worker.rs` | who works it off, and what becomes of it at the end |
//! | `log.rs` | lines for standard output, the last thing to stop |
//! | `counts.rs` | how many requests there were, and how they ended |
//! | `server.rs` | what all of these share |
//! | `report.rs` | last words and the exit code |
//!
//! No thread and no task is the program's own: all of it runs in the one future of the coordinator.
#![forbid(unsafe_code)]

mod args;
mod budget;
mod counts;
mod log;
mod queue;
mod route;

mod answer;
mod handlers;
mod life;
mod server;
mod stream;
mod worker;

mod connection;
mod listen;
mod request;

mod report;
mod run;
mod runtime;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let signals = match umbel::signal::install() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("graceful: cannot listen for signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    runtime::block_on(args, &signals)
}
