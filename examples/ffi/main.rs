//! `ffi`: a C function that runs for long, and stops when it is told to.
//!
//! ```sh
//! cargo run --release -p umbel-examples --bin ffi -- 10000000
//! ```
//!
//! The function is C's (`collatz.c`, compiled by the build script); it runs on the blocking pool and
//! polls a word, the flag of its token. The nursery sets that word: at Ctrl-C, at the deadline. What C
//! has found until then is the result. With `--deaf` C is given a word that nobody sets: then it is
//! forced when the grace is over, and the program says which thread it leaves behind.
#![deny(unsafe_code)]

#[cfg(no_c_compiler)]
compile_error!(
    "the example `ffi` calls C, and `ffi/collatz.c` could not be compiled: see the warning of the build \
     script. Install a C compiler (`cc`), or name one in the environment's `CC`."
);

mod collatz;

use clap::Parser;
use collatz::Found;
use std::process::ExitCode;
use std::time::Duration;
use umbel::signal::Signals;
use umbel::smol::SmolTimer;
use umbel::{
    CancellationToken, Cancelled, Clock, JoinError, JoinErrorKind, Nursery, ReasonKind, blocking,
};

const SIGINT: i32 = 2;

/// Finds the number below LIMIT with the longest Collatz chain, in C.
///
/// Ends with 0 if all numbers were tried, with 124 at the deadline, with 130 at Ctrl-C.
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    /// The first number that is not tried [default: so large that the search does not end]
    #[arg(default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,

    /// Stop after this time, for example 5s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,

    /// How long C may take to stop
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    grace: Duration,

    /// Do not tell C to stop
    #[arg(long)]
    deaf: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let signals = match umbel::signal::install() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("ffi: cannot listen for signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    let timer = SmolTimer::new();
    let mut nursery = Nursery::<Cancelled>::new()
        .timer(timer)
        .token(signals.token())
        .grace(args.grace)
        .force_on(signals.forced());
    if let Some(after) = args.deadline {
        nursery = nursery.deadline(timer.now() + after);
    }
    let h = nursery.handle();
    let (limit, deaf) = (args.limit, args.deaf);
    let search = h.child().name("search").spawn_graceful(|cx| async move {
        let work = blocking::run(cx.token(), move |token| search(limit, deaf, token));
        work.await // an error if it was cancelled before a thread was free
    });
    // Why it ended is in the join, and in the nursery's token.
    let _ = smol::block_on(nursery.run(async { Ok(()) }));
    let stopped = h.token().reason().map(|reason| reason.kind());
    say(search.now_or_never(), limit);
    exit_code(stopped, &signals)
    // Returning ends the process, whatever C does on a thread that was left behind.
}

/// On a thread of the pool.
fn search(limit: u64, deaf: bool, token: &CancellationToken) -> Found {
    let stop = match deaf {
        true => CancellationToken::never().flag(),
        false => token.flag(),
    };
    println!("searching");
    collatz::longest(1..limit, &stop)
}

fn say(ended: Option<Result<Found, JoinError>>, limit: u64) {
    match ended {
        Some(Ok(found)) => {
            let whole = found.tried == limit.saturating_sub(1);
            let how = if whole { "all" } else { "stopped after" };
            println!("{how} {} tried", found.tried);
            if let Some(chain) = found.longest {
                println!("{} takes {} steps", chain.start, chain.steps);
            }
        }
        Some(Err(e)) if e.kind() == JoinErrorKind::Forced => {
            println!("{e}");
            for site in blocking::left_behind() {
                println!("left behind: the thread of {site}");
            }
        }
        _ => println!("stopped before it began"),
    }
}

fn exit_code(stopped: Option<ReasonKind>, signals: &Signals) -> ExitCode {
    let code = match stopped {
        Some(ReasonKind::DeadlineExceeded) => 124,
        Some(ReasonKind::Shutdown) => 128 + signals.last().unwrap_or(SIGINT),
        _ => 0,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
