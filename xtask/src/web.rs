//! `cargo xtask web`: builds the page of `examples/web`, says how large it is, and serves it; with
//! `--test`, it is clicked through in Chromium.

mod server;

use crate::bindgen::{self, TARGET};
use crate::step::{Cmd, Step, target_dir};
use crate::tools::{self, Need, Tools};
use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The page's files that are written by hand.
const WRITTEN: &str = "examples/web/page";

/// The name that cargo gives to the library.
const LIBRARY: &str = "umbel_web";

/// What a test needs beyond the page.
const BROWSER: [Need; 2] = [Need::Program("node"), Need::Chromium];

/// The oldest wasm-opt that is known to keep the page whole: 108 breaks the table of JavaScript's values.
const WASM_OPT: u32 = 132;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Builds it and says how large it is, no more.
    #[arg(long)]
    build_only: bool,
    /// Clicks through it in Chromium, and ends.
    #[arg(long, conflicts_with = "build_only")]
    test: bool,
    /// Runs only tests whose name contains this text.
    #[arg(long, value_name = "TEXT", requires = "test")]
    only: Option<String>,
    /// Serves it on this port, not on one that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

pub(crate) fn step() -> Step {
    BROWSER
        .into_iter()
        .fold(Step::new("a page in Chromium"), Step::need)
        .need(Need::Target(TARGET))
        .run_line("cargo xtask web --test")
        .limit(Duration::from_secs(10 * 60))
        .must_run_tests()
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut tools = Tools::default();
    let mut provide = |need| tools.provide(&need).map_err(|lack| anyhow!(lack));
    provide(Need::Target(TARGET))?;
    if args.test {
        BROWSER.into_iter().try_for_each(provide)?;
    }
    let built = build()?;
    if args.build_only {
        return Ok(());
    }
    let address = server::start(Path::new(WRITTEN), &built, args.port)?;
    if args.test {
        return click(address, args.only.clone());
    }
    println!("\nhttp://{address}/\n\nCtrl-C ends it.");
    loop {
        thread::park();
    }
}

/// Where the module and its JavaScript are.
fn build() -> Result<PathBuf> {
    // Stripped of all but what its readers need to know: what it may use.
    let cmd = Cmd::new("cargo build -p umbel-web --profile web --target")
        .arg(TARGET)
        .env("RUSTFLAGS", "-C link-arg=--keep-section=target_features");
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "it does not compile");
    let compiled = target_dir().join(TARGET).join("web").join(LIBRARY);
    let built = target_dir().join("web").join("page");
    bindgen::bind(&compiled.with_extension("wasm"), &built)?;
    let module = built.join(LIBRARY.to_owned() + "_bg.wasm");
    println!("{}", optimised(&module)?);
    println!("{}", size(&module)?);
    Ok(built)
}

/// Makes it smaller if there is the tool for it; says whether.
fn optimised(module: &Path) -> Result<String> {
    let says = tools::stdout(&Cmd::new("wasm-opt --version"));
    let Some(version) = says.as_deref().and_then(wasm_opt_version) else {
        return Ok("no wasm-opt: as the compiler made it".into());
    };
    if version < WASM_OPT {
        return Ok(format!(
            "not by wasm-opt {version}, which is older than {WASM_OPT}: as the compiler made it"
        ));
    }
    let path = module.display().to_string();
    let cmd = Cmd::new("wasm-opt -Oz").args([path.clone(), "-o".into(), path]);
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "wasm-opt has failed");
    Ok(format!("by wasm-opt {version}"))
}

/// `wasm-opt version 132 (version_132)`.
fn wasm_opt_version(says: &str) -> Option<u32> {
    let (_, after) = says.split_once(" version ")?;
    after.split_whitespace().next()?.parse().ok()
}

/// `FILE: 100.0 KiB, 40.0 KiB with gzip -9`.
fn size(module: &Path) -> Result<String> {
    let kib = |bytes: usize| format!("{:.1} KiB", bytes as f64 / 1024.0);
    let raw = fs::read(module).with_context(|| module.display().to_string())?;
    let gzip = Cmd::new("gzip -9 -c").arg(module.display().to_string());
    let packed = match gzip.to_command().output() {
        Ok(output) if output.status.success() => {
            format!("{} with gzip -9", kib(output.stdout.len()))
        }
        _ => "there is no gzip".into(),
    };
    Ok(format!(
        "{}: {}, {packed}",
        module.display(),
        kib(raw.len())
    ))
}

fn click(address: SocketAddr, only: Option<String>) -> Result<()> {
    let pictures = std::path::absolute(target_dir().join("web").join("pictures"))?;
    let cmd = Cmd::new("node --no-warnings xtask/src/web/clicks.mjs")
        .arg(format!("http://{address}/"))
        .arg(pictures.display().to_string())
        .args(only);
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "the page fails");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_wasm_opt() {
        let versions = [
            ("wasm-opt version 108", Some(108)),
            ("wasm-opt version 132 (version_132)", Some(132)),
            ("wasm-opt of another kind", None),
        ];
        for (says, version) in versions {
            assert_eq!(wasm_opt_version(says), version, "{says}");
        }
    }
}
