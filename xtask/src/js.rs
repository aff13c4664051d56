//! `cargo xtask js`: the tests of `umbel::wasm`, beside JavaScript: in node, or in a window and a
//! worker of Chromium.

use crate::bindgen;
use crate::step::{Cmd, Step};
use crate::tools::Need;
use anyhow::{Result, ensure};

const PACKAGE: &str = "umbel-wasm-tests";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs only tests whose name contains this text.
    filter: Option<String>,
    /// In Chromium: in a page that nobody sees, and in a worker of it.
    #[arg(long)]
    browser: bool,
}

pub(crate) fn steps() -> [Step; 2] {
    let step = |name: &str, line| {
        Step::new(name)
            .need(Need::Target(bindgen::TARGET))
            .need(Need::Program("node"))
            .run_line(line)
            .must_run_tests()
    };
    [
        step("umbel::wasm in node", "cargo xtask js"),
        step("umbel::wasm in Chromium", "cargo xtask js --browser").need(Need::Chromium),
    ]
}

pub(crate) fn run(args: Args) -> Result<()> {
    let module = bindgen::build(PACKAGE, "js")?;
    // The browser is driven from node.
    let cmd = if args.browser {
        Cmd::new("node --no-warnings tests/wasm/run/browser.mjs")
    } else {
        Cmd::new("node tests/wasm/run/node.mjs")
    };
    let cmd = cmd.arg(module.display().to_string()).args(args.filter);
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "they fail");
    Ok(())
}
