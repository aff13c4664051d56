//! `cargo xtask deep JOB`: proofs that take hours, in pieces of less than half an hour.
//!
//! A piece that has passed leaves a mark in `target/deep/JOB/TREE/`, where `TREE` is git's hash of
//! the sources: a re-run goes on where the last one stopped, and a changed source starts over.

use crate::embedded;
use crate::orderings;
use crate::step::{self, Cmd, Outcome, Row, Step, target_dir};
use crate::tools::{self, Need, Tools};
use crate::wasm;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Every target in `fuzz/fuzz_targets/`.
pub(crate) const FUZZ_TARGETS: [&str; 3] = ["nursery_script", "token_script", "wire_budget"];

/// Machines unlike ours: 32 bits wide; big-endian.
const MIRI_TARGETS: [&str; 2] = ["i686-unknown-linux-gnu", "s390x-unknown-linux-gnu"];

/// A piece that takes longer has failed.
const PIECE_LIMIT: Duration = Duration::from_secs(29 * 60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    job: Job,
    /// Takes every N-th piece of the job, from the I-th: for running it on several machines.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Begins no piece after that many minutes: those that are left are skipped.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Forgets which pieces have passed.
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Job {
    /// Miri on the core's tests with many seeds, under stacked and tree borrows.
    MiriSeeds,
    /// Miri on the core's tests and the token's as for other machines: 32 bits, and big-endian.
    MiriTargets,
    /// Each loom model with one more preemption than in CI.
    LoomWide,
    /// The tests, with children that were woken together polled in other orders.
    Shuffle,
    /// Each ordering of the token tree, weakened, makes the test fail that is said to show it.
    Orderings,
    /// cargo-mutants over the core: no change of the code goes unnoticed by the tests.
    Mutants,
    /// ThreadSanitizer over the tests.
    Tsan,
    /// AddressSanitizer and LeakSanitizer over the tests.
    Asan,
    /// Each fuzz target, three times twenty minutes.
    Fuzz,
    /// The firmware on both boards, 100,000 interrupts each.
    Embedded,
    /// The tests on wasm32, in node, and on a machine of 32 bits.
    Targets,
    /// The example `graceful` under load, 100,000 requests before a SIGTERM and as many clients after it.
    Graceful,
}

impl Job {
    fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn pieces(self, tools: &mut Tools) -> Result<Vec<Step>> {
        Ok(match self {
            Job::MiriSeeds => miri_seeds(),
            Job::MiriTargets => MIRI_TARGETS.map(miri_target).into(),
            Job::LoomWide => loom_wide()?,
            Job::Shuffle => (1..=4).map(shuffled).collect(),
            Job::Orderings => orderings::pieces(checkout)?,
            Job::Mutants => (0..64).map(|piece| mutants(piece, 64)).collect(),
            Job::Tsan => sanitizer("thread", tools)?,
            Job::Asan => sanitizer("address", tools)?,
            Job::Fuzz => (1..=3)
                .flat_map(|round| FUZZ_TARGETS.map(|target| fuzz(target, round, 20 * 60)))
                .collect(),
            Job::Embedded => embedded::steps(&embedded::LONG),
            Job::Targets => vec![wasm::step(), i686()],
            Job::Graceful => vec![graceful()],
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    /// From 1.
    index: usize,
    of: usize,
}

impl Shard {
    fn has(self, piece: usize) -> bool {
        piece % self.of == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (index, of) = text.split_once('/').context("write I/N, for example 1/4")?;
        let (index, of) = (index.parse()?, of.parse()?);
        ensure!(1 <= index && index <= of, "I is between 1 and N");
        Ok(Shard { index, of })
    }
}

pub(crate) fn run(args: &Args) -> Result<Vec<Row>> {
    let begun = Instant::now();
    let limit = args.minutes.map(|n| Duration::from_secs(60 * n));
    let mut tools = Tools::default();
    let pieces = args.job.pieces(&mut tools)?;
    let count = pieces.len();
    let marks = Marks::open(&args.job.name(), args.fresh)?;
    let mine: Vec<_> = pieces
        .iter()
        .enumerate()
        .filter(|(index, _)| args.shard.has(*index))
        .collect();
    ensure!(!mine.is_empty(), "the job has only {count} pieces");
    mine.iter()
        .map(|(_, piece)| {
            if let Some(row) = marks.find(piece.name()) {
                return Ok(row);
            }
            if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                return Ok(Row::skipped(piece.name(), "no time was left to begin it"));
            }
            let row = step::run(piece, &mut tools);
            marks.leave(&row)?;
            Ok(row)
        })
        .collect()
}

/// Which pieces have passed on the sources as they are now.
#[derive(Debug)]
struct Marks {
    dir: PathBuf,
}

impl Marks {
    fn open(job: &str, fresh: bool) -> Result<Self> {
        let dir = target_dir().join("deep").join(job);
        fs::create_dir_all(&dir)?;
        Self::at(dir.join(source_tree(&dir)?), fresh)
    }

    fn at(dir: PathBuf, fresh: bool) -> Result<Self> {
        if fresh && dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Marks { dir })
    }

    fn path(&self, piece: &str) -> PathBuf {
        self.dir
            .join(piece.replace(|c: char| !c.is_alphanumeric(), "_"))
    }

    /// The row of an earlier run in which `piece` passed.
    fn find(&self, piece: &str) -> Option<Row> {
        let text = fs::read_to_string(self.path(piece)).ok()?;
        let (seconds, tests) = text.trim().split_once(' ')?;
        println!("\n==> {piece}\npassed in an earlier run");
        Some(Row {
            name: format!("{piece} (earlier)"),
            outcome: Outcome::Passed,
            time: Duration::from_secs_f64(seconds.parse().ok()?),
            tests: tests.parse().ok()?,
            tail: Vec::new(),
        })
    }

    fn leave(&self, row: &Row) -> Result<()> {
        if row.outcome == Outcome::Passed {
            let text = format!("{} {}\n", row.time.as_secs_f64(), row.tests);
            fs::write(self.path(&row.name), text)?;
        }
        Ok(())
    }
}

/// Git's hash of all files that are not ignored, committed or not. It is built in an index of its
/// own, so the user's index stays as it is.
fn source_tree(dir: &Path) -> Result<String> {
    let index = own_index(dir)?;
    let add = Cmd::new("git add --all").env("GIT_INDEX_FILE", &index);
    tools::stdout(&add).context("`git add` into a fresh index failed; is this a git checkout?")?;
    let write = Cmd::new("git write-tree").env("GIT_INDEX_FILE", &index);
    tools::stdout(&write).context("`git write-tree` failed")
}

fn own_index(dir: &Path) -> Result<String> {
    let index = std::path::absolute(dir.join("index"))?;
    Ok(index.display().to_string())
}

/// Writes all files that are not ignored, as they are now, to a new folder.
fn checkout(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    source_tree(to)?;
    let index = own_index(to)?;
    let prefix = format!("--prefix={}/", to.display());
    let copy = Cmd::new("git checkout-index --all").arg(prefix);
    tools::stdout(&copy.env("GIT_INDEX_FILE", &index)).context("`git checkout-index` failed")?;
    Ok(fs::remove_file(index)?)
}

// ------------------------------------------------------------------ the jobs

/// Miri's two models of what references may do, and the flag for each.
const BORROWS: [(&str, &str); 2] = [("stacked", ""), ("tree", " -Zmiri-tree-borrows")];

/// What miri runs in CI under tree borrows, which allow nearly all that stacked borrows do: the tests that go
/// through each file with `unsafe` in most ways. All of them run so in [`miri_seeds`].
const UNDER_TREE_BORROWS: [&[&str]; 2] = [
    &["fixed_nursery", "set::"],
    &["executor_nursery", "nursery_attack", "token"],
];

/// Miri on the core's own tests and examples, and on the tests of its contract. Two pieces, about as long as
/// each other.
pub(crate) fn miri() -> Vec<Step> {
    let [(_, stacked), (_, tree)] = BORROWS;
    let core = |model: &str| {
        miri_test(
            "-p umbel-core --features std",
            &format!("-Zmiri-seed=0{model}"),
        )
    };
    let [one, other] = UNDER_TREE_BORROWS;
    vec![
        miri_step("miri, one half".into())
            .cmd(miri_contract(stacked, &["nursery"]))
            .cmd(miri_contract(tree, one))
            .beside(),
        miri_step("miri, the other half".into())
            .cmd(core(stacked))
            .cmd(miri_contract(stacked, &["--skip", "nursery"]))
            .cmd(core(tree))
            .cmd(miri_contract(tree, other))
            .beside(),
    ]
}

/// The parts of the tests of the contract that fit into a piece, as arguments for the test program.
const MIRI_PARTS: [(&str, &[&str]); 3] = [
    ("nurseries", &["nursery"]),
    ("sets", &["set::"]),
    ("the rest", &["--skip", "nursery", "--skip", "set::"]),
];

/// Miri on the tests of the contract with other seeds: other interleavings, addresses, weak outcomes.
fn miri_seeds() -> Vec<Step> {
    const SEEDS: u32 = 16;
    let of_a_seed = |seed: u32| {
        MIRI_PARTS.into_iter().flat_map(move |(part, args)| {
            BORROWS.map(|(name, model)| {
                let flags = format!("-Zmiri-seed={seed}{model}");
                miri_step(format!("miri {name} borrows, seed {seed}, {part}"))
                    .cmd(miri_contract(&flags, args))
            })
        })
    };
    (1..=SEEDS).flat_map(of_a_seed).collect()
}

fn miri_step(name: String) -> Step {
    Step::new(name)
        .need(Need::NightlyComponent("miri"))
        .need(Need::NightlyComponent("rust-src"))
        .limit(PIECE_LIMIT)
        .must_run_tests()
}

fn miri_test(what: &str, flags: &str) -> Cmd {
    Cmd::new(&format!("cargo +nightly miri test {what}"))
        .env("MIRIFLAGS", format!("-Zmiri-strict-provenance {flags}"))
}

/// The tests of the contract, with arguments for the test program.
fn miri_contract(flags: &str, args: &[&str]) -> Cmd {
    miri_test("-p umbel-tests --test it", flags)
        .arg("--")
        .args(args.iter().copied().map(String::from))
}

/// Miri on the core's own tests and on the tests of the token, as if on `target`.
fn miri_target(target: &str) -> Step {
    let test = |what: &str| miri_test(&format!("{what} --target {target}"), "");
    miri_step(format!("miri for {target}"))
        .cmd(test("-p umbel-core --features std --lib"))
        .cmd(test("-p umbel-tests --test it").args(["--", "token"].map(String::from)))
}

/// The tests on 32 bits, on this machine.
fn i686() -> Step {
    let target = "i686-unknown-linux-gnu";
    Step::new(format!("tests on {target}"))
        .need(Need::Target(target))
        .need(Need::Gcc32)
        .run_line(&format!("cargo test -p umbel-core --lib --target {target}"))
        .run_line(&format!(
            "cargo test -p umbel-tests --test it --target {target}"
        ))
        .limit(PIECE_LIMIT)
        .must_run_tests()
}

/// Prints what the clients saw and what the server reported, on each runtime.
fn graceful() -> Step {
    Step::new("graceful under load")
        .need(Need::Program("curl"))
        .need(Need::Program("hey"))
        .cmd(
            Cmd::new("cargo test -p umbel-examples --test graceful under_load")
                .args(["--", "--nocapture", "--test-threads=1"].map(String::from))
                .env("GRACEFUL_HEY", "hey")
                .env("GRACEFUL_LAME_DUCK", "3s")
                .env("GRACEFUL_REQUESTS", "100000"),
        )
        .must_run_tests()
}

/// All loom models. The profile is a release build that keeps assertions.
pub(crate) fn loom_test() -> Cmd {
    Cmd::new("cargo test -p umbel-tests --test loom --profile models")
        .target_dir("loom")
        .env("RUSTFLAGS", "--cfg umbel_loom")
}

fn loom_wide() -> Result<Vec<Step>> {
    let list = loom_test().args(["--", "--list", "--format", "terse"].map(String::from));
    println!("$ {list}");
    let list = tools::stdout(&list).context("the models do not compile")?;
    let models: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    ensure!(!models.is_empty(), "there is no loom model");
    Ok(models
        .iter()
        .map(|model| {
            Step::new(format!("loom {model}, one more preemption"))
                .cmd(
                    loom_test()
                        .env("UMBEL_LOOM_EXTRA", "1")
                        .args(["--", "--exact", model].map(String::from)),
                )
                .limit(PIECE_LIMIT)
                .must_run_tests()
        })
        .collect())
}

/// The order of polls within a batch is promised nowhere; no test may depend on it.
fn shuffled(seed: u64) -> Step {
    Step::new(format!("tests, shuffled by {seed}"))
        .cmd(
            Cmd::new("cargo test -p umbel-tests --test it")
                // What they compare lists children or errors in the order in which they came.
                .args(["--", "--skip", "nursery_text::"].map(String::from))
                .args(["--skip", "nursery_snapshot::"].map(String::from))
                .args(["--skip", "nursery_observer::"].map(String::from))
                .target_dir("step")
                .env("RUSTFLAGS", "--cfg umbel_step")
                .env("UMBEL_SHUFFLE", seed.to_string()),
        )
        .limit(PIECE_LIMIT)
        .must_run_tests()
}

/// Fails if a change of the core's code is noticed by no test; the list is in the output directory.
fn mutants(piece: usize, of: usize) -> Step {
    let out = target_dir().join(format!("deep/mutants/piece-{piece}"));
    Step::new(format!("mutants {}/{of}", piece + 1))
        .need(Need::CargoTool("mutants"))
        // cargo-mutants tries only the mutated package unmutated. A test of the other one that
        // fails anyway would seem to catch every mutant.
        .run_line("cargo test -p umbel-core -p umbel-tests")
        .cmd(
            Cmd::new("cargo mutants -p umbel-core --test-package umbel-core,umbel-tests")
                .args(["--baseline", "skip", "--timeout", "120"].map(String::from))
                .args(["--sharding", "round-robin", "--no-shuffle"].map(String::from))
                // Compiled for loom only; `deep orderings` shows that the models need it.
                .args(["--exclude-re", "::ends with|impl Drop for WakeCell"].map(String::from))
                .arg("--shard")
                .arg(format!("{piece}/{of}"))
                .arg("--output")
                .arg(out.display().to_string()),
        )
        .limit(PIECE_LIMIT)
}

/// The tests under a sanitizer, with a standard library built under it too.
fn sanitizer(which: &str, tools: &mut Tools) -> Result<Vec<Step>> {
    tools.provide(&Need::Nightly).map_err(anyhow::Error::msg)?;
    let host = tools::stdout(&Cmd::new("rustc +nightly --print host-tuple"))
        .context("the nightly does not say which host it runs on")?;
    let step = Step::new(format!("{which} sanitizer"))
        .need(Need::NightlyComponent("rust-src"))
        .cmd(
            Cmd::new("cargo +nightly test -Zbuild-std -p umbel-core -p umbel-tests --tests")
                .arg("--target")
                .arg(host)
                .target_dir(&format!("sanitize-{which}"))
                .env("RUSTFLAGS", format!("-Zsanitizer={which}")),
        )
        .limit(PIECE_LIMIT)
        .must_run_tests();
    Ok(vec![step])
}

/// A fuzz target for `seconds`; rounds differ in their seed and share their corpus.
pub(crate) fn fuzz(target: &str, round: u32, seconds: u32) -> Step {
    Step::new(format!("fuzz {target}, round {round}, {seconds} s"))
        .need(Need::Nightly)
        .need(Need::CargoTool("fuzz"))
        .cmd(
            Cmd::new("cargo +nightly fuzz run --fuzz-dir fuzz")
                .arg(target)
                .arg("--")
                .arg(format!("-max_total_time={seconds}"))
                // Not a line for every new path; a crash is reported all the same.
                .args(["-verbosity=0", "-print_funcs=0"].map(String::from))
                // libFuzzer takes seed 0 for "choose one".
                .arg(format!("-seed={}", round + 1)),
        )
        .limit(PIECE_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_miri_runs_under_tree_borrows_is_there() {
        for part in UNDER_TREE_BORROWS.concat() {
            let file = format!("../tests/it/{}.rs", part.trim_end_matches("::"));
            assert!(std::path::Path::new(&file).is_file(), "{file}");
        }
    }

    #[test]
    fn shards_are_disjoint_and_complete() {
        for of in 1..=5 {
            for piece in 0..12 {
                let takers = (1..=of).filter(|&index| Shard { index, of }.has(piece));
                assert_eq!(takers.count(), 1, "piece {piece} of {of} shards");
            }
        }
    }

    #[test]
    fn shards_outside_their_range_are_refused() {
        assert_eq!("2/3".parse::<Shard>().ok(), Some(Shard { index: 2, of: 3 }));
        for text in ["0/3", "4/3", "1/0", "1", "a/b", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_pass_is_remembered_until_a_fresh_start() {
        let dir = std::env::temp_dir().join(format!("umbel-xtask-marks-{}", std::process::id()));
        let marks = Marks::at(dir.clone(), true).unwrap();
        let row = |outcome| Row {
            name: "loom a::b, one more preemption".into(),
            outcome,
            time: Duration::from_millis(2500),
            tests: 7,
            tail: Vec::new(),
        };
        marks.leave(&row(Outcome::Failed("exit 1".into()))).unwrap();
        marks
            .leave(&row(Outcome::Skipped("no tool".into())))
            .unwrap();
        assert!(marks.find(&row(Outcome::Passed).name).is_none());

        marks.leave(&row(Outcome::Passed)).unwrap();
        let found = Marks::at(dir.clone(), false)
            .unwrap()
            .find(&row(Outcome::Passed).name)
            .unwrap();
        assert_eq!((found.tests, found.time), (7, Duration::from_millis(2500)));

        let fresh = Marks::at(dir.clone(), true).unwrap();
        assert!(fresh.find(&row(Outcome::Passed).name).is_none());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn every_job_has_its_name() {
        assert_eq!(Job::MiriSeeds.name(), "miri-seeds");
    }

    #[test]
    fn no_fuzz_target_is_forgotten() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect();
        files.sort();
        assert_eq!(files, FUZZ_TARGETS);
    }
}
