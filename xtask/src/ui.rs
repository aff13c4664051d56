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
