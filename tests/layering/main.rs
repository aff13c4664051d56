//! The rules of the house, held by a machine: who may import whom, who may name an atomic, who may
//! say `unsafe`, and what the README promises.

mod violation;
mod read;
mod check;
mod planted;

use check::{Rules, Sources};
use std::fs;
use std::path::{Path, PathBuf};
use violation::Violation;

/// A module uses only lower ranks.
const RANKS: [(&str, u8); 11] = [
    ("sync", 0),
    ("wake", 1),
    ("reason", 2),
    ("time", 2),
    ("observe", 3),
    ("spawn", 3),
    ("token", 4),
    ("set", 5),
    ("budget", 5),
    ("nursery", 6),
    ("ext", 6),
];

/// The only files of the core that contain `unsafe`. The list must be exact, so that it shrinks.
const MAY_BE_UNSAFE: [&str; 23] = [
    "sync.rs",
    "wake/cell.rs",
    "wake/owner.rs",
    "wake/pool.rs",
    "wake/ready.rs",
    "wake/slab.rs",
    "wake/slab/segment.rs",
    "reason.rs",
    "time/manual.rs",
    "token/callback.rs",
    "token/cursor.rs",
    "token/death.rs",
    "token/handle.rs",
    "token/node.rs",
    "token/wait.rs",
    "token/walk.rs",
    "set.rs",
    "set/chunk.rs",
    "nursery/join.rs",
    "nursery/list.rs",
    "nursery/node.rs",
    "nursery/running.rs",
    "nursery/shared.rs",
];

const CORE: Rules<'static> = Rules {
    ranks: &RANKS,
    facade: "sync",
    may_be_unsafe: &MAY_BE_UNSAFE,
};

/// Crates without any `unsafe`, forbidden in each crate root.
const SAFE_CRATES: [&str; 3] = ["std-adapters", "examples", "xtask"];

/// What `cargo xtask ci` runs first.
const README_COMMANDS: &str = include_str!("../../xtask/commands.txt");

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below `dir`, by its path from there.
fn sources(dir: &Path) -> Sources {
    fn walk(dir: &Path, prefix: &str, into: &mut Sources) {
        for entry in fs::read_dir(dir).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() && name != "target" {
                walk(&path, &format!("{prefix}{name}/"), into);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a readable source");
                into.insert(format!("{prefix}{name}"), text);
            }
        }
    }
    let mut into = Sources::new();
    walk(dir, "", &mut into);
    into
}

fn listed(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|violation| format!("\n{violation}"))
        .collect()
}

#[test]
fn the_core_keeps_its_ranks_its_facade_and_its_list_of_unsafe_files() {
    let sources = sources(&workspace().join("core/src"));
    assert!(sources.contains_key("sync.rs"), "the core was not found");
    let violations = check::check(&sources, &CORE);
    assert!(violations.is_empty(), "{}", listed(&violations));
}

#[test]
fn the_other_crates_forbid_unsafe() {
    for name in SAFE_CRATES {
        let sources = sources(&workspace().join(name));
        let mut roots = 0;
        for (path, text) in &sources {
            assert_eq!(read::unsafe_lines(text), [], "{name}/{path} is unsafe");
            let mut way = path.rsplit('/');
            let file = way.next();
            let is_root = matches!(file, Some("lib.rs" | "main.rs")) || way.next() == Some("bin");
            if is_root {
                roots += 1;
                assert!(
                    read::forbids_unsafe(text),
                    "{name}/{path} lacks #![forbid(unsafe_code)]"
                );
            }
        }
        assert!(roots > 0, "{name} has no crate root");
    }
}

#[test]
fn ci_runs_the_readmes_commands() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("a README");
    let expected: Vec<_> = README_COMMANDS.lines().collect();
    assert_eq!(readme_commands(&readme), expected);
}

#[test]
fn the_readmes_tests_exist() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("a README");
    let mut sources = sources(&workspace().join("tests"));
    sources.extend(self::sources(&workspace().join("core/src")));
    let missing: Vec<_> = readme
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 2 && !name.contains(['*', '/', ':', '-']))
        .filter(|name| {
            let definition = format!("fn {name}()");
            !sources.values().any(|text| text.contains(&definition))
        })
        .collect();
    assert_eq!(missing, [""; 0], "named in the README, but no test");
}

/// The lines of the first block fenced as `sh`, without their comments.
fn readme_commands(readme: &str) -> Vec<&str> {
    readme
        .lines()
        .skip_while(|line| line.trim() != "```sh")
        .skip(1)
        .take_while(|line| line.trim() != "```")
        .map(|line| line.split(" #").next().unwrap_or(line).trim())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn only_the_first_shell_block_of_the_readme_counts() {
    let readme = "text\n```rust\nlet x;\n```\n```sh\ncargo run   # sums\n\ncargo test\n```\n```sh\nls\n```\n";
    assert_eq!(readme_commands(readme), ["cargo run", "cargo test"]);
}
