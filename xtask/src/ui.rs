//! `cargo xtask ui`: what the compiler tells whoever makes a mistake with the core, beside what it is
//! known to tell.

use crate::step::{Cmd, Step};
use crate::tools::Need;

/// The compiler whose words are kept; others choose other ones.
const COMPILER: &str = "1.95.0";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Keeps what the compiler says now, to be read in `git diff`.
    #[arg(long)]
    bless: bool,
    /// Makes only the mistakes whose file names contain this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

pub(crate) fn step(args: &Args) -> Step {
    let line = format!("cargo +{COMPILER} run --locked -p umbel-ui --");
    let only = args.only.iter().map(|text| format!("trybuild={text}"));
    let answer = if args.bless { "overwrite" } else { "wip" };
    Step::new(format!("what mistakes look like ({COMPILER})"))
        .need(Need::Toolchain(COMPILER))
        .cmd(Cmd::new(&line).args(only).env("TRYBUILD", answer))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// The page on shapes names every shape that is tested, and no test and no mistake that there is not.
    #[test]
    fn shapes_and_their_page_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        let tests = read("std-adapters/tests/shapes.rs");
        let shapes: BTreeSet<_> = tests
            .split("#[test]\nfn ")
            .skip(1)
            .filter_map(|test| test.split_once("()"))
            .map(|(name, _)| name.to_owned())
            .collect();
        let mistakes: BTreeSet<_> = fs::read_dir(root.join("tests/ui/cases"))
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|file| file.strip_suffix(".rs").map(str::to_owned))
            .collect();
        // In its tables; what has a capital letter or one word is an item.
        let page = read("docs/shapes.md");
        let named: BTreeSet<_> = page
            .lines()
            .filter(|line| line.starts_with('|'))
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .filter(|name| name.matches('_').count() > 1 || mistakes.contains(*name))
            .map(str::to_owned)
            .collect();
        let known = &shapes | &mistakes;
        assert_eq!(&named - &known, BTreeSet::new());
        assert_eq!(&shapes - &named, BTreeSet::new());
        assert!(shapes.len() > 20 && mistakes.len() > 20);
    }
}
