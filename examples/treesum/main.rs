//! `treesum`: checksums of directory trees, in the format of `sha256sum`.
//!
//! ```sh
//! treesum DIR > sums && sha256sum -c sums
//! ```
//!
//! A program of ordinary shape on structured concurrency: all that runs at once runs under one
//! nursery, in `run.rs`, which is the file to read first. The rest is plain code:
//!
//! | file | concept |
//! |---|---|
//! | `args.rs` | the command line |
//! | `console.rs` | stderr: the progress bar, and messages that never tear it |
//! | `walk.rs` | which files there are, in which order |
//! | `hash.rs` | the sum of one file, stopping at a chunk boundary when told to |
//! | `line.rs` | one line of output, escaped as `sha256sum` does |
//! | `output.rs` | stdout: whole lines only, never waited for on the async side |
//! | `order.rs` | results in walk order, whatever ends first, in bounded memory |
//! | `run.rs` | the nursery: limit, policy, deadline, grace, signals; what it looks like |
//! | `summary.rs` | last words and the exit code |
//! | `runtime.rs` | on which runtime all of it runs |
//!
//! No thread, channel or lock is the program's own. File access and writing block, so they are done
//! through `umbel::blocking`, and the async side only decides.
#![forbid(unsafe_code)]

mod args;
mod console;
mod hash;
mod line;
mod output;
mod walk;

mod order;
mod run;
mod summary;

mod runtime;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let signals = match umbel::signal::install() {
        Ok(signals) => signals,
        Err(e) => {
            eprintln!("treesum: cannot listen for signals: {e}");
            return ExitCode::FAILURE;
        }
    };
    // Returning ends the process, whatever threads of the pool are still stuck in a system call.
    runtime::block_on(&args, &signals)
}
