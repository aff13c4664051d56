//! `cargo xtask js`: the tests of `umbel::wasm`, beside JavaScript, in node.

use crate::bindgen;
use crate::step::{Cmd, Step};
use crate::tools::Need;
use anyhow::{Result, ensure};

const PACKAGE: &str = "umbel-wasm-tests";

const RUNNER: &str = "tests/wasm/run/node.mjs";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs only tests whose name contains this text.
    filter: Option<String>,
}

pub(crate) fn step() -> Step {
    Step::new("umbel::wasm in node")
        .need(Need::Target(bindgen::TARGET))
        .need(Need::Program("node"))
        .run_line("cargo xtask js")
        .must_run_tests()
}

pub(crate) fn run(args: Args) -> Result<()> {
    let module = bindgen::build(PACKAGE, "js")?;
    let cmd = Cmd::new("node")
        .arg(RUNNER)
        .arg(module.display().to_string())
        .args(args.filter);
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "they fail");
    Ok(())
}
