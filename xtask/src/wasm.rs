//! `cargo xtask wasm`: the core's tests on wasm32, in node.
//!
//! That target has neither threads nor unwinding. What cannot run there for that reason is told from
//! what fails by the places at which the same tests panic on this machine, where they pass.

use crate::step::{Cmd, Step, target_dir};
use crate::tools::Need;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const TARGET: &str = "wasm32-wasip1";

/// The tests, as arguments of cargo.
const TESTS: [&str; 2] = ["-p umbel-core --lib", "-p umbel-tests --test it"];

pub(crate) fn step() -> Step {
    Step::new("tests on wasm32 in node")
        .need(Need::Target(TARGET))
        .need(Need::Program("node"))
        .run_line("cargo xtask wasm")
        .limit(Duration::from_secs(29 * 60))
        .must_run_tests()
}

pub(crate) fn run() -> Result<()> {
    let expected = std::path::absolute(target_dir().join("wasm-expected"))?;
    let runner = std::path::absolute("xtask/src/wasi.mjs")?;
    for tests in TESTS {
        let host = Cmd::new(&format!("cargo test {tests} -- --nocapture"));
        println!("$ {host}");
        let output = host.to_command().output().context("no cargo")?;
        ensure!(output.status.success(), "they fail here, too");
        let said = String::from_utf8_lossy(&output.stderr);
        let places = panics(&said);
        fs::write(&expected, Vec::from_iter(places).join("\n"))?;
        let cmd = Cmd::new(&format!("cargo test {tests} --target {TARGET}"))
            // Each test loads it all.
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("UMBEL_EXPECTED", expected.display().to_string())
            .env(
                "CARGO_TARGET_WASM32_WASIP1_RUNNER",
                format!("node --no-warnings {}", runner.display()),
            );
        println!("$ {cmd}");
        ensure!(cmd.to_command().status()?.success(), "they fail on wasm32");
    }
    Ok(())
}

/// Where something panicked: each `FILE:LINE:COLUMN` that the panic hook printed.
fn panics(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.split_once(" panicked at ")?.1.strip_suffix(':'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_panic_hook_prints() {
        let text = "\nthread 'a::b' (12) panicked at tests/it/set.rs:10:5:\nwhy\nnote: it panicked at \
                    tests/it/set.rs:11:5:\ntest a::b ... ok\n";
        let places = ["tests/it/set.rs:10:5", "tests/it/set.rs:11:5"];
        assert_eq!(panics(text), BTreeSet::from(places));
    }
}
