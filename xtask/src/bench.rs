//! `cargo xtask bench WHAT`: builds the benchmarks as they are shipped and hands over to them.

use crate::step::Cmd;
use crate::tools::{Need, Tools};
use anyhow::{Context, Result, anyhow};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is measured (`token`, `set`, `nursery`) and options; `--help` after it lists them.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "WHAT"
    )]
    args: Vec<String>,
}

/// The exit code is that of the benchmarks.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    if args.args.iter().any(|arg| arg == "--counts") {
        let valgrind = Tools::default().provide(&Need::Program("valgrind"));
        valgrind.map_err(|lack| anyhow!("--counts needs callgrind: {lack}"))?;
    }
    let line = Cmd::new("cargo run --release -p umbel-bench --").args(args.args);
    println!("$ {line}");
    let status = line.to_command().status().context("no cargo")?;
    // Without a code a signal ended it.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[test]
    fn options_are_handed_over() {
        for words in [&["token"][..], &["token", "--only", "C1 ", "--help"]] {
            let line = ["xtask", "bench"].iter().chain(words);
            match crate::Args::parse_from(line).task {
                crate::Task::Bench(args) => assert_eq!(args.args, words),
                other => panic!("{other:?}"),
            }
        }
    }
}
