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
const RANKS: [(&str, u8); 15] = [
    ("sync", 0),
    ("wake", 1),
    ("reason", 2),
    ("time", 2),
    ("observe", 3),
    ("spawn", 3),
    ("boxed_task", 4),
    ("token", 4),
    ("set", 5),
    ("budget", 5),
    ("nursery", 6),
    ("fixed_nursery", 6),
    ("ext", 6),
    ("executor_nursery", 7),
    ("log", 8),
];

/// The only files of the core that contain `unsafe`. The list must be exact, so that it shrinks.
const MAY_BE_UNSAFE: &[&str] = &[
    "sync.rs",
    "wake/cell.rs",
    "wake/fixed.rs",
    "wake/immortal.rs",
    "wake/owner.rs",
    "wake/pool.rs",
    "wake/ready.rs",
    "wake/slab.rs",
    "wake/slab/segment.rs",
    "wake/taker.rs",
    "reason.rs",
    "time/manual.rs",
    "token/callback.rs",
    "token/cursor.rs",
    "token/death.rs",
    "token/handle.rs",
    "token/join.rs",
    "token/node.rs",
    "token/state.rs",
    "token/wait.rs",
    "token/walk.rs",
    "set/chunk.rs",
    "set/fixed.rs",
    "set/growing.rs",
    "set/slots.rs",
    "executor_nursery/link.rs",
    "executor_nursery/proxy.rs",
    "fixed_nursery/erased.rs",
    "fixed_nursery/gate.rs",
    "fixed_nursery/run.rs",
    "fixed_nursery/wait.rs",
    "fixed_nursery/waiters.rs",
    "nursery/cleanup.rs",
    "nursery/cutting.rs",
    "nursery/handoff.rs",
    "nursery/histogram.rs",
    "nursery/join.rs",
    "nursery/list.rs",
    "nursery/look.rs",
    "nursery/node.rs",
    "nursery/node/block.rs",
    "nursery/node/head.rs",
    "nursery/node/join_side.rs",
    "nursery/node/lent.rs",
    "nursery/node/nursery_side.rs",
    "nursery/observer.rs",
    "nursery/ranks.rs",
    "nursery/request.rs",
    "nursery/running.rs",
    "nursery/shared.rs",
    "nursery/tell.rs",
];

const CORE: Rules<'static> = Rules {
    ranks: &RANKS,
    facade: "sync",
    may_be_unsafe: MAY_BE_UNSAFE,
};

/// The one file outside of the core with `unsafe`, which calls C, and its crate root, where it is denied.
const CALLS_C: (&str, &str) = ("examples/ffi/collatz.rs", "examples/ffi/main.rs");

/// A workspace of its own, which touches registers and calls the host by traps.
const HARDWARE: &str = "examples/embedded/";

/// Crates without any other `unsafe`, forbidden in each crate root.
const SAFE_CRATES: [&str; 5] = [
    "std-adapters",
    "embassy-adapter",
    "examples",
    "tests/conformance",
    "xtask",
];

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
            let full = format!("{name}/{path}");
            if full.starts_with(HARDWARE) {
                continue;
            }
            let is_unsafe = !read::unsafe_lines(text).is_empty();
            assert_eq!(
                is_unsafe,
                full == CALLS_C.0,
                "{full} is unsafe: {is_unsafe}"
            );
            let mut way = path.rsplit('/');
            let file = way.next();
            let is_root = matches!(file, Some("lib.rs" | "main.rs")) || way.next() == Some("bin");
            if is_root {
                roots += 1;
                let level = if full == CALLS_C.1 { "deny" } else { "forbid" };
                assert!(
                    read::refuses_unsafe(text, level),
                    "{full} lacks #![{level}(unsafe_code)]"
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

/// Of what is in backquotes, the names of tests: they have two underscores at least.
fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    let word = |name: &&str| {
        name.matches('_').count() >= 2
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    text.split('`').skip(1).step_by(2).filter(word)
}

#[test]
fn the_tests_that_are_named_exist() {
    let core = sources(&workspace().join("core/src"));
    let mut all = sources(&workspace().join("tests"));
    all.extend(core.clone());
    for (of, prefix) in [
        ("std-adapters/tests", "std-adapters"),
        ("examples/tests", "examples"),
    ] {
        let more = sources(&workspace().join(of));
        all.extend(
            more.into_iter()
                .map(|(file, text)| (format!("{prefix}/{file}"), text)),
        );
    }
    let is_test = |name: &str| {
        // A property has arguments, and what runs on each runtime a parameter.
        let definitions = [format!("fn {name}("), format!("fn {name}<R: On>(")];
        all.values()
            .any(|text| definitions.iter().any(|test| text.contains(test)))
    };
    let mut missing = Vec::new();
    for page in ["README.md", "docs/proofs.md", "docs/comforts.md"] {
        let text = fs::read_to_string(workspace().join(page)).expect(page);
        let unknown = named_tests(&text).filter(|name| !is_test(name));
        missing.extend(unknown.map(|name| format!("{page}: {name}")));
    }
    // The heads of modules name functions too.
    let is_function = |name: &str| {
        let definitions = [format!("fn {name}("), format!("fn {name}<")];
        core.values()
            .any(|text| definitions.iter().any(|fun| text.contains(fun)))
    };
    for (file, text) in &core {
        let head: String = text
            .lines()
            .filter(|line| line.starts_with("//!"))
            .collect();
        let unknown = named_tests(&head).filter(|name| !is_test(name) && !is_function(name));
        missing.extend(unknown.map(|name| format!("core/src/{file}: {name}")));
    }
    assert_eq!(missing, [""; 0], "named, but no test");
}

#[test]
fn only_words_with_two_underscores_are_taken_for_tests() {
    let text = "`t_01_a` and `take_armed`, `cargo_x_y --z`, `crate::a_b_c`, `b_c_d`";
    assert_eq!(named_tests(text).collect::<Vec<_>>(), ["t_01_a", "b_c_d"]);
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
