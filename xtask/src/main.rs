//! The project's tooling: `cargo xtask ci` is all that CI does, `cargo xtask deep JOB` the proofs
//! that take too long for it, `cargo xtask bench WHAT` the comparison with the peers, `cargo xtask
//! embedded` the firmware under interrupts, `cargo xtask size` what a token costs in flash, `cargo
//! xtask bare` that the core needs neither `alloc` nor `std`, `cargo xtask js` what is for JavaScript, in
//! node, `cargo xtask ui` what mistakes look like, `cargo xtask web` a page in which fetches run in
//! a nursery.
#![forbid(unsafe_code)]

mod bare;
mod bench;
mod bindgen;
mod ci;
mod coverage;
mod deep;
mod defmt;
mod embedded;
mod js;
mod orderings;
mod size;
mod step;
mod table;
mod tools;
mod ui;
mod wasm;
mod web;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

/// Checks of the umbel workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs every check of CI and closes with a table of what passed, failed and was skipped.
    Ci(ci::Args),
    /// Runs one long proof, shard by shard; a re-run goes on where it stopped.
    Deep(deep::Args),
    /// Measures us beside the peers; ends with the list of missed marks, and with 1 if there is one.
    Bench(bench::Args),
    /// Runs firmware in an emulator: tokens and tasks that interrupts cancel at any instruction.
    Embedded(embedded::Args),
    /// Says what a token and a nursery cost a firmware; fails if a mark is missed.
    Size,
    /// Compares what the compiler says about mistakes with what is kept of it.
    Ui(ui::Args),
    /// Looks for `alloc` and `std` in a program that uses all that there is without them; runs it.
    Bare,
    /// Runs the core's tests on wasm32, in node.
    Wasm,
    /// Runs the tests of `umbel::wasm`, in node or in Chromium.
    Js(js::Args),
    /// Decodes what a firmware logs through defmt.
    Defmt,
    /// Builds and serves the page of `examples/web`, or clicks through it in Chromium.
    Web(web::Args),
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace")?;
    std::env::set_current_dir(root).context("the workspace is gone")?;
    let rows = match args.task {
        Task::Ci(args) => {
            step::stop_on_ctrl_c()?;
            ci::run(&args)
        }
        Task::Deep(args) => {
            step::stop_on_ctrl_c()?;
            deep::run(&args)?
        }
        Task::Ui(args) => {
            step::stop_on_ctrl_c()?;
            step::run_all(&[ui::step(&args)], &mut tools::Tools::default())
        }
        // Ctrl-C ends it and the benchmarks alike: nothing is to be tidied up.
        Task::Bench(args) => return bench::run(args),
        Task::Defmt => return defmt::run().map(|()| ExitCode::SUCCESS),
        Task::Js(args) => return js::run(args).map(|()| ExitCode::SUCCESS),
        Task::Web(args) => return web::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Wasm => return wasm::run().map(|()| ExitCode::SUCCESS),
        Task::Bare => return bare::run().map(|()| ExitCode::SUCCESS),
        Task::Size => return size::run().map(|()| ExitCode::SUCCESS),
        Task::Embedded(args) => match args.board {
            Some(board) => return embedded::run(board, &args).map(|()| ExitCode::SUCCESS),
            None => {
                step::stop_on_ctrl_c()?;
                step::run_all(&embedded::steps(&args.form), &mut tools::Tools::default())
            }
        },
    };
    print!("{}", table::render(&rows));
    Ok(if table::failed(&rows) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
