//! Each ordering of the core is needed: weakened, it makes a test fail.
//!
//! `orderings.txt` says for every ordering what it may be weakened to and which test fails then, or
//! why no tool can show that it is needed. All weakenings are compiled into one copy of the
//! workspace, where `UMBEL_WEAKENED` chooses among them by their numbers: a row costs one run of one
//! test, not a build. Each test that is named also runs once as it is, and passes.

use crate::step::{Cmd, Step, target_dir};
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TABLE: &str = include_str!("../orderings.txt");

/// Where the table's files are.
const SOURCES: &str = "core/src";

/// Stands for all fences of the facade: see [`Shown::Bare`].
const NO_FENCES: usize = 0;

/// Added to the facade's copy, which knows the environment under every checker.
const CHOICE: &str = r#"
/// Whether this weakening is chosen.
#[allow(dead_code)]
pub(crate) fn weakened(number: usize) -> bool {
    static CHOSEN: std::sync::OnceLock<std::vec::Vec<usize>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let text = std::env::var("UMBEL_WEAKENED").unwrap_or_default();
        text.split(',').filter_map(|number| number.parse().ok()).collect()
    });
    chosen.contains(&number)
}
"#;

/// Miri schedules at random: the rarest of the races shows under three seeds of eight.
const SEEDS: &str = "-Zmiri-many-seeds=0..16";

/// How it is shown that an ordering is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// This loom model fails.
    Loom(String),
    /// This loom model passes without the facade's fences and fails with the weakening on top. For
    /// what a `SeqCst` fence that is there for another reason would hide: it acquires and releases.
    Bare(String),
    /// This test of `it` fails under miri.
    Miri(String),
    /// No tool can show it; this is why.
    Argued(String),
}

impl Shown {
    /// The command that runs the test under the weakening of this number, or as it is. `None`: there
    /// is no test.
    fn run(&self, chosen: Option<usize>, root: &Path) -> Option<Cmd> {
        let always = match self {
            Shown::Bare(_) => Some(NO_FENCES),
            _ => None,
        };
        let numbers = always.iter().chain(&chosen).map(usize::to_string);
        let numbers = numbers.collect::<Vec<_>>().join(",");
        let manifest = root.join("Cargo.toml").display().to_string();
        let test = |line: &str| Cmd::new(line).arg("--manifest-path").arg(&manifest);
        let cmd = match self {
            Shown::Loom(model) | Shown::Bare(model) => {
                test("cargo test -p umbel-tests --test loom --profile models")
                    .target_dir("orderings/loom")
                    .env("RUSTFLAGS", "--cfg umbel_loom")
                    // A backtrace through memory that a weakened ordering has ruined may have no end.
                    .env("RUST_BACKTRACE", "0")
                    .env("UMBEL_WEAKENED", numbers)
                    .args(["--", "--exact", model].map(String::from))
            }
            Shown::Miri(name) => test("cargo +nightly miri test -p umbel-tests --test it")
                .target_dir("orderings/miri")
                // Not by the environment: there `cargo miri` prefers what was set at the build.
                .env(
                    "MIRIFLAGS",
                    format!("-Zmiri-env-set=UMBEL_WEAKENED={numbers} {SEEDS}"),
                )
                .args(["--", "--exact", name].map(String::from)),
            Shown::Argued(_) => return None,
        };
        Some(if chosen.is_some() {
            cmd.must_fail()
        } else {
            cmd
        })
    }

    fn name(&self) -> String {
        match self {
            Shown::Loom(model) => format!("loom {model}"),
            Shown::Bare(model) => format!("loom {model}, bare"),
            Shown::Miri(name) => format!("miri {name}"),
            Shown::Argued(why) => format!("argued {why}"),
        }
    }
}

#[derive(Debug, Clone)]
struct Row {
    file: String,
    /// Together with `from` it occurs once in the file; blanks do not count.
    before: String,
    from: String,
    to: String,
    shown: Shown,
}

impl Row {
    fn parse(file: &str, line: &str) -> Result<Row> {
        let mut parts = line.splitn(3, " | ").map(str::trim);
        let mut next = || {
            parts
                .next()
                .context("a row is BEFORE | FROM -> TO | SHOWN BY")
        };
        let (before, change, shown) = (next()?, next()?, next()?);
        let (from, to) = change.split_once("->").context("a change is FROM -> TO")?;
        let (by, what) = shown.split_once(' ').context("shown by TOOL TEST")?;
        let what = what.trim().to_owned();
        Ok(Row {
            file: file.to_owned(),
            before: before.to_owned(),
            from: expression(from.trim()),
            to: expression(to.trim()),
            shown: match by {
                "loom" => Shown::Loom(what),
                "bare" => Shown::Bare(what),
                "miri" => Shown::Miri(what),
                "argued" => Shown::Argued(what),
                _ => bail!("nothing is shown by {by}"),
            },
        })
    }

    fn name(&self) -> String {
        let (from, to) = (
            self.from.trim_start_matches(ENUM),
            self.to.trim_start_matches(ENUM),
        );
        format!("{}: {} {from} -> {to}", self.file, self.before)
    }

    /// Where `from` is in the file's text.
    fn find(&self, text: &str) -> Result<Range<usize>> {
        let (dense, places): (Vec<_>, Vec<_>) = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| !byte.is_ascii_whitespace())
            .map(|(place, byte)| (byte, place))
            .unzip();
        let pattern: Vec<_> = [&self.before, &self.from]
            .into_iter()
            .flat_map(|part| part.bytes())
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let ends = |&end: &usize| dense[..end].ends_with(&pattern);
        let mut found = (pattern.len()..=dense.len()).filter(ends);
        let end = found
            .next()
            .with_context(|| format!("{} is not there", self.name()))?;
        ensure!(found.next().is_none(), "{} is there twice", self.name());
        let end = places[end - 1] + 1;
        ensure!(
            text[..end].ends_with(&self.from),
            "{}: `from` is broken up",
            self.name()
        );
        Ok(end - self.from.len()..end)
    }
}

const ENUM: &str = "Ordering::";

fn expression(text: &str) -> String {
    if matches!(
        text,
        "SeqCst" | "AcqRel" | "Acquire" | "Release" | "Relaxed"
    ) {
        format!("{ENUM}{text}")
    } else {
        text.to_owned()
    }
}

/// The rows with their numbers, which begin behind [`NO_FENCES`].
fn rows(table: &str) -> Result<Vec<(usize, Row)>> {
    let mut file = "";
    let mut rows = Vec::new();
    for line in table.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            file = name.strip_suffix(']').context("a file is in brackets")?;
        } else if !line.is_empty() && !line.starts_with('#') {
            let row = Row::parse(file, line).with_context(|| line.to_owned())?;
            rows.push((rows.len() + 1, row));
        }
    }
    Ok(rows)
}

fn by_file(rows: &[(usize, Row)]) -> BTreeMap<&str, Vec<&(usize, Row)>> {
    let mut files = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        files.entry(row.1.file.as_str()).or_default().push(row);
    }
    files
}

/// Writes every weakening into a file's text, each behind its number.
fn weaken(text: &str, rows: &[&(usize, Row)]) -> Result<String> {
    let mut sites = BTreeMap::<_, Vec<_>>::new();
    for (number, row) in rows {
        let place = row.find(text)?;
        sites
            .entry((place.start, place.end))
            .or_default()
            .push((number, &row.to));
    }
    let mut text = text.to_owned();
    for ((start, end), choices) in sites.into_iter().rev() {
        let strong = &text[start..end];
        let choice: String = choices
            .iter()
            .map(|(number, to)| format!("if crate::sync::weakened({number}) {{ {to} }} else "))
            .collect();
        let choice = format!("({choice}{{ {strong} }})");
        text.replace_range(start..end, &choice);
    }
    Ok(text)
}

/// What of the facade is the same in every copy: the choice, and its fences.
fn facade(text: &str) -> Result<String> {
    let fence = "fence(Ordering::SeqCst);";
    ensure!(text.matches(fence).count() == 1, "the facade has one fence");
    let choice = format!("if !weakened({NO_FENCES}) {{ {fence} }}");
    Ok(text.replace(fence, &choice) + CHOICE)
}

/// Makes the copy; `checkout` writes the workspace's files to a folder. A piece for each test, as it
/// is, and one for each row.
pub(crate) fn pieces(checkout: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<Step>> {
    let root: PathBuf = std::path::absolute(target_dir().join("orderings/tree"))?;
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    checkout(&root)?;
    let edit = |file: &str, change: &dyn Fn(&str) -> Result<String>| -> Result<()> {
        let path = root.join(SOURCES).join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(fs::write(path, change(&text)?)?)
    };
    let rows = rows(TABLE)?;
    edit("sync.rs", &facade)?;
    for (file, rows) in by_file(&rows) {
        edit(file, &|text| weaken(text, &rows))?;
    }
    let step = |name, cmd| Step::new(name).cmd(cmd).limit(Duration::from_secs(15 * 60));
    let tests: BTreeSet<_> = rows.iter().map(|(_, row)| &row.shown).collect();
    let as_it_is = tests.into_iter().filter_map(|shown| {
        let name = format!("{} as it is", shown.name());
        Some(step(name, shown.run(None, &root)?).must_run_tests())
    });
    let weakened = rows.iter().filter_map(|(number, row)| {
        let cmd = row.shown.run(Some(*number), &root)?;
        Some(step(row.name(), cmd))
    });
    Ok(as_it_is.chain(weakened).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn table() -> Vec<(usize, Row)> {
        rows(TABLE).unwrap()
    }

    /// Offsets of what a row must cover: every ordering above `Relaxed`, every mark of the total order.
    fn sites(text: &str) -> Vec<usize> {
        let mut offset = 0;
        let mut sites = Vec::new();
        for line in text.split_inclusive('\n') {
            let code = line.split("//").next().unwrap_or(line);
            if code.trim() == "mod tests;" {
                break;
            }
            for what in ["SeqCst", "AcqRel", "Acquire", "Release"] {
                let what = format!("{ENUM}{what}");
                sites.extend(code.match_indices(&what).map(|(at, _)| offset + at));
            }
            sites.extend(code.match_indices("sc_fence()").map(|(at, _)| offset + at));
            offset += line.len();
        }
        sites
    }

    /// All of the core, but the facade, which has no data of its own, and tests.
    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if !path.ends_with("sync.rs") && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_row_fits_the_sources_and_no_ordering_is_without_one() {
        let table = table();
        let mut rows = by_file(&table);
        let core = workspace().join(SOURCES);
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        sources(&core, &mut files);
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(&core).unwrap().to_str().unwrap();
            let rows = rows.remove(file).unwrap_or_default();
            let covered: Vec<_> = rows
                .iter()
                .map(|(_, row)| row.find(&text).unwrap().start)
                .collect();
            for site in sites(&text)
                .into_iter()
                .filter(|site| !covered.contains(site))
            {
                let line = text[..site].matches('\n').count() + 1;
                missing.push(format!("{file}:{line}"));
            }
        }
        assert_eq!(missing, [""; 0], "no row in xtask/orderings.txt");
        assert_eq!(
            rows.into_keys().collect::<Vec<_>>(),
            [""; 0],
            "no such file"
        );
    }

    #[test]
    fn the_named_tests_exist() {
        for (_, row) in table() {
            let (folder, name) = match &row.shown {
                Shown::Loom(name) | Shown::Bare(name) => ("loom", name),
                Shown::Miri(name) => ("it", name),
                Shown::Argued(_) => continue,
            };
            let (module, test) = name.split_once("::").unwrap();
            let path = workspace().join(format!("tests/{folder}/{module}.rs"));
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(&format!("fn {test}()")), "no {folder} {name}");
        }
    }

    #[test]
    fn a_weakening_is_a_choice_at_the_place_named() {
        let text = "fn a() { x.swap(\n    1,\n    Ordering::SeqCst,\n) }\nfn b() { x.load(Ordering::SeqCst); sc_fence(); }";
        let table = "[f.rs]\nx.swap(1, | SeqCst -> Release | loom m::t\nx.swap(1, | SeqCst -> Acquire | argued so\nx.load(Ordering::SeqCst); | sc_fence() -> () | loom m::t";
        let rows = rows(table).unwrap();
        let weakened = weaken(text, &by_file(&rows)["f.rs"]).unwrap();
        assert_eq!(
            weakened,
            "fn a() { x.swap(\n    1,\n    (if crate::sync::weakened(1) { Ordering::Release } else \
             if crate::sync::weakened(2) { Ordering::Acquire } else { Ordering::SeqCst }),\n) }\n\
             fn b() { x.load(Ordering::SeqCst); (if crate::sync::weakened(3) { () } else { sc_fence() }); }"
        );
    }

    #[test]
    fn a_place_that_is_not_there_once_is_refused() {
        let row = |before: &str| {
            Row::parse("f.rs", &format!("{before} | SeqCst -> Relaxed | loom m::t")).unwrap()
        };
        let text = "a.load(Ordering::SeqCst); b.load(Ordering::SeqCst)";
        assert!(row("a.load(").find(text).is_ok());
        assert!(row(".load(").find(text).is_err());
        assert!(row("c.load(").find(text).is_err());
    }
}
