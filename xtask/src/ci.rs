//! `cargo xtask ci`: the steps, as data, and the run over all of them.

use crate::bare;
use crate::bindgen;
use crate::deep;
use crate::defmt;
use crate::embedded;
use crate::js;
use crate::step::{self, Cmd, Row, Step};
use crate::tools::{Need, Tools};
use crate::ui;
use crate::web;
use std::time::Duration;

/// What the README tells a newcomer to type; a test compares the two.
const README_COMMANDS: &str = include_str!("../commands.txt");

/// The published crates' `rust-version`.
const MSRV: &str = "1.85.0";

/// Ten minutes from nothing on two quiet cores; CI's machine may be busy.
const README_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Half an hour on two quiet cores; CI's machine may be busy.
const MIRI_LIMIT: Duration = Duration::from_secs(50 * 60);

/// Targets of the core, and whether they have compare-and-swap.
const NO_STD: [(&str, bool); 4] = [
    ("thumbv7m-none-eabi", true),
    ("thumbv6m-none-eabi", false),
    ("riscv32imc-unknown-none-elf", false),
    ("wasm32-unknown-unknown", true),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs only steps whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Every step runs, whatever became of the others.
pub(crate) fn run(args: &Args) -> Vec<Row> {
    let mut tools = Tools::default();
    let chosen = |step: &Step| {
        args.only
            .as_ref()
            .is_none_or(|text| step.name().contains(text.as_str()))
    };
    let steps: Vec<_> = steps().into_iter().filter(chosen).collect();
    step::run_all(&steps, &mut tools)
}

fn steps() -> Vec<Step> {
    let mut steps = readme();
    steps.push(features());
    steps.extend(lints());
    steps.extend(no_std());
    steps.push(msrv());
    steps.push(ui::step(&ui::Args::default()));
    steps.extend(deep::miri().into_iter().map(|step| step.limit(MIRI_LIMIT)));
    steps.extend(models());
    steps.extend(embedded::steps(&embedded::SHORT));
    steps.push(size());
    steps.push(bare::step());
    steps.push(defmt::step());
    steps.extend(js::steps());
    steps.push(web::step());
    steps.extend(fuzz());
    steps.push(package());
    steps
}

fn readme() -> Vec<Step> {
    README_COMMANDS
        .lines()
        .map(|line| {
            let step = Step::new(format!("readme: {line}"))
                .run_line(line)
                .limit(README_LIMIT);
            if line.starts_with("cargo test") {
                step.must_run_tests()
            } else {
                step
            }
        })
        .collect()
}

/// The workspace's tests see `std` on; these see the core as it is without, without `alloc`, and on
/// portable-atomic.
fn features() -> Step {
    Step::new("core's tests by feature")
        .run_line("cargo test -p umbel-core")
        .run_line("cargo test -p umbel-core --features std,portable-atomic --lib")
        .run_line("cargo test -p umbel-core --no-default-features --lib")
        .must_run_tests()
}

fn lints() -> Vec<Step> {
    let cfg_clippy = |name: &str| {
        Cmd::new("cargo clippy -p umbel-core -p umbel-tests --lib --test")
            .arg(name)
            .target_dir(name)
            .args(["--", "-D", "warnings"].map(String::from))
            .env("RUSTFLAGS", format!("--cfg umbel_{name}"))
    };
    vec![
        Step::new("fmt")
            .need(Need::Component("rustfmt"))
            .run_line("cargo fmt --all --check")
            .run_line("cargo fmt --manifest-path fuzz/Cargo.toml --check")
            .run_line("cargo fmt --manifest-path examples/embedded/Cargo.toml --check")
            .cmd(
                Cmd::new("cargo fmt --check --manifest-path").arg(bindgen::MANIFEST),
            ),
        Step::new("clippy")
            .need(Need::Component("clippy"))
            .run_line("cargo clippy --workspace --all-targets --all-features -- -D warnings")
            .run_line("cargo clippy -p umbel-core --no-default-features -- -D warnings")
            .run_line("cargo clippy -p umbel-core -- -D warnings")
            .run_line("cargo clippy -p umbel --no-default-features -- -D warnings")
            .run_line("cargo clippy -p umbel --no-default-features --features smol -- -D warnings")
            .run_line(
                "cargo clippy -p umbel --no-default-features --features async-std -- -D warnings",
            )
            .run_line("cargo clippy -p umbel --no-default-features --features tokio -- -D warnings")
            .run_line(
                "cargo clippy -p umbel --no-default-features --features tokio-util -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features signal -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features blocking -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features process -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features process,tokio -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features shutdown -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features census -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel --no-default-features --features tracing -- -D warnings",
            )
            .run_line(
                "cargo clippy -p umbel-examples --no-default-features --all-targets -- -D warnings",
            )
            .cmd(cfg_clippy("loom"))
            .cmd(cfg_clippy("step")),
        clippy_firmware(),
        for_javascript(),
        // Who reads the source follows links between its modules too.
        Step::new("docs").cmd(docs("--workspace")).cmd(docs(
            "-p umbel-core -p umbel --document-private-items",
        )),
    ]
}

fn docs(of: &str) -> Cmd {
    Cmd::new(&format!("cargo doc {of} --no-deps --all-features")).env("RUSTDOCFLAGS", "-D warnings")
}

/// What is there on no other target: lints and docs.
fn for_javascript() -> Step {
    let target = |line: &str| Cmd::new(line).args(["--target", bindgen::TARGET].map(String::from));
    let denied = ["--", "-D", "warnings"].map(String::from);
    Step::new("clippy and docs for JavaScript")
        .need(Need::Target(bindgen::TARGET))
        .need(Need::Component("clippy"))
        .cmd(target("cargo clippy -p umbel --features wasm").args(denied.clone()))
        .cmd(target("cargo clippy -p umbel-wasm-tests").args(denied.clone()))
        .cmd(target("cargo clippy -p umbel-web").args(denied))
        .cmd(
            target("cargo doc -p umbel --no-deps --features wasm")
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
}

fn clippy_firmware() -> Step {
    let clippy = |board: &embedded::Board, features: &str| {
        Cmd::new("cargo clippy --manifest-path")
            .arg(embedded::MANIFEST)
            .args(["--target", board.target(), "--features", features].map(String::from))
            .target_dir("embedded")
            .args(["--", "-D", "warnings"].map(String::from))
    };
    embedded::Board::ALL
        .iter()
        .fold(Step::new("clippy firmware"), |step, board| {
            step.need(Need::Target(board.target()))
                .cmd(clippy(board, ""))
                .cmd(clippy(board, "broken"))
                .cmd(clippy(board, "generic-queue,defmt"))
        })
        .need(Need::Component("clippy"))
}

fn no_std() -> Vec<Step> {
    NO_STD
        .iter()
        .map(|&(target, has_cas)| {
            // Without compare-and-swap the final binary chooses a backend; here we are the binary.
            let backend = if has_cas {
                ""
            } else {
                "portable-atomic,portable-atomic/critical-section"
            };
            let build = |features: &str| {
                Cmd::new("cargo build -p umbel-core --no-default-features --target")
                    .arg(target)
                    .arg("--features")
                    .arg(features)
            };
            Step::new(format!("no_std {target}"))
                .need(Need::Target(target))
                .cmd(build(&format!("alloc,{backend}")))
                .cmd(build(backend))
        })
        .collect()
}

fn msrv() -> Step {
    let check =
        |what: &str| Cmd::new(&format!("cargo +{MSRV} check --locked {what}")).target_dir("msrv");
    Step::new(format!("msrv {MSRV}"))
        .need(Need::Toolchain(MSRV))
        .cmd(check("-p umbel-core -p umbel --all-features"))
        .cmd(check("-p umbel-core"))
        .cmd(check("-p umbel-embassy"))
        .cmd(check("-p umbel-core --no-default-features"))
        // What is for JavaScript, as docs.rs sees it: built for this machine, its examples too.
        .cmd(
            Cmd::new(&format!(
                "cargo +{MSRV} test --locked -p umbel --features wasm"
            ))
            .target_dir("msrv-docs")
            .args(["--lib", "wasm::"].map(String::from))
            .env("RUSTFLAGS", "--cfg umbel_docs"),
        )
        .cmd(
            Cmd::new(&format!(
                "cargo +{MSRV} test --locked -p umbel --features wasm"
            ))
            .target_dir("msrv-docs")
            .args(["--doc", "wasm"].map(String::from))
            .env("RUSTFLAGS", "--cfg umbel_docs")
            .env("RUSTDOCFLAGS", "--cfg umbel_docs"),
        )
        .cmd(
            Cmd::new(&format!(
                "cargo +{MSRV} test --locked -p umbel --test shapes"
            ))
            .target_dir("msrv"),
        )
        .must_run_tests()
}

fn models() -> Vec<Step> {
    vec![
        Step::new("loom models")
            .cmd(deep::loom_test())
            .must_run_tests(),
        Step::new("interrupts at every step")
            .cmd(
                Cmd::new("cargo test -p umbel-tests --test step")
                    .target_dir("step")
                    .env("RUSTFLAGS", "--cfg umbel_step"),
            )
            .must_run_tests(),
    ]
}

fn fuzz() -> Vec<Step> {
    let mut steps = vec![
        Step::new("fuzz targets compile")
            .run_line("cargo clippy --manifest-path fuzz/Cargo.toml -- -D warnings"),
    ];
    steps.extend(deep::FUZZ_TARGETS.map(|target| deep::fuzz(target, 0, 20)));
    steps
}

fn size() -> Step {
    embedded::Board::ALL
        .iter()
        .fold(
            Step::new("what a token and a nursery cost"),
            |step, board| step.need(Need::Target(board.target())),
        )
        .run_line("cargo xtask size")
}

fn package() -> Step {
    Step::new("package").run_line("cargo package -p umbel-core --allow-dirty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_the_readmes_two_commands() {
        let commands: Vec<_> = README_COMMANDS.lines().collect();
        assert_eq!(commands.len(), 2);
        let shown: Vec<_> = steps()
            .iter()
            .take(2)
            .map(|step| step.name().to_owned())
            .collect();
        assert_eq!(
            shown,
            [
                format!("readme: {}", commands[0]),
                format!("readme: {}", commands[1])
            ]
        );
        // They are split at blanks: nothing in them is for a shell.
        assert!(!README_COMMANDS.contains(['\'', '"', '|', '>', '<', '$', '&', ';', '\\', '*']));
    }
}
