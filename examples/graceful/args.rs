//! The command line.

use clap::{Parser, ValueEnum};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

const DETAILS: &str = "\
Routes:
  GET  /healthz       200 while the program lives
  GET  /readyz        200, and 503 from the first signal on
  GET  /fast          answers at once
  GET  /slow?ms=N     answers after N milliseconds
  GET  /events        server-sent events, one each --tick; the last one is `goodbye`
  POST /work          puts an item into the queue: 202, or 503 when it is full or closed
  GET  /stubborn      never answers and never stops (only with --stubborn)
  GET  /panic         panics: 500, and nobody else is hurt (only with --stubborn)

A request may say how long its client will wait: `grpc-timeout: 250m`, or `x-budget-ms: 250`. A bad \
value is answered by 400, a spent one by 504 before the handler begins, and a handler that is not \
done by then is cancelled (504). So is one whose client goes away.

SIGTERM or Ctrl-C stops it in four steps, each of which begins when the one before has ended:
  lame duck   /readyz says 503, all else is served, for --lame-duck
  ingress     the port is closed; a connection is closed with its next answer, or after --linger
  processing  what has begun is answered, streams say goodbye, the queue is treated as --queue says
  egress      the last lines are written
What has not ended within --budget is dropped and named. A second signal leaves no more time at all.

Exit status: 0: all has ended in time; 1: a part of it failed; 2: something was forced to end (3: \
both), or the command line is wrong.";

/// An HTTP server that stops without losing a request.
#[derive(Debug, Parser)]
#[command(version, after_long_help = DETAILS)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,

    /// On which port; 0 for any that is free, which the first line of the output tells
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,

    /// On which runtime it runs
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Runtime::Smol)]
    pub(crate) runtime: Runtime,

    /// How long the whole shutdown may take, for example 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    pub(crate) budget: Duration,

    /// How long all is served on after the signal, so that load balancers see that it is not ready
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5s")]
    pub(crate) lame_duck: Duration,

    /// How long idle connections are kept open after the port is closed, for requests on their way
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    pub(crate) linger: Duration,

    /// How long a connection may be idle, or take to send the head of a request
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "60s")]
    pub(crate) idle: Duration,

    /// What becomes of the items in the queue
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = AtTheEnd::Drain)]
    pub(crate) queue: AtTheEnd,

    /// How many items the queue holds
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) queue_size: NonZeroUsize,

    /// How long an item takes
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1ms")]
    pub(crate) work: Duration,

    /// How long the best effort lasts
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    pub(crate) effort: Duration,

    /// The time between two events of a stream
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    pub(crate) tick: Duration,

    /// Serve /stubborn and /panic, too
    #[arg(long)]
    pub(crate) stubborn: bool,

    /// Write a line when a request begins and when it ends
    #[arg(long)]
    pub(crate) log_requests: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    Smol,
    #[cfg(feature = "tokio")]
    Tokio,
}

/// What the worker does with the queue when it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtTheEnd {
    /// The item at hand is done, the others are dropped
    Drop,
    /// All are done, however long it takes
    Drain,
    /// What is done within --effort is done, the others are dropped
    BestEffort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
