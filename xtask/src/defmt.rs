//! `cargo xtask defmt`: what a firmware logs through defmt is decoded, and compared with what is to be
//! read.

use crate::embedded::{self, Board, Profile, QEMU};
use crate::step::{Cmd, Step};
use crate::tools::Need;
use anyhow::{Context, Result, bail, ensure};
use std::io::Write;
use std::process::Stdio;

const DECODER: &str = "defmt-print";

const EXPECTED: &str = "\
Explicit: cancelled
DeadlineExceeded: deadline exceeded
SiblingFailed: a sibling failed
SiblingSucceeded: a sibling succeeded
Shutdown: shutting down
Dropped: its scope was dropped
Custom: custom reason 7
cancelled (shutting down)
Instant(1500 ns), Instant(NEVER)
the executor refused the future: it is shut down or full
StaticToken(None, 1 slots), Ok(StaticChild(None))
Ok(StaticChild(Some(custom reason 1)))
Some(all slots of the token are taken)
WakePool(2, in use: false)
WakePool(2, in use: true), Ok(FixedSet(0 of 2))
Some(the wake pool serves another set)
FixedNursery(2 slots), NoSignal
Some(the nursery is closed)
all slots of the token are taken
cancelled (custom reason 2)
";

pub(crate) fn step() -> Step {
    Board::ALL
        .iter()
        .fold(Step::new("defmt is decoded"), |step, board| {
            step.need(Need::Target(board.target()))
        })
        .need(Need::Program(QEMU))
        .need(Need::CratesProgram(DECODER))
        .run_line("cargo xtask defmt")
}

pub(crate) fn run() -> Result<()> {
    for board in Board::ALL {
        let program = embedded::build(board, "log", Profile::Release, "defmt")?;
        let cmd = embedded::emulator(board, &program)
            .args(["-semihosting-config", "enable=on,target=native"].map(String::from));
        println!("$ {cmd}");
        let logged = cmd.to_command().output().context("no emulator")?;
        ensure!(logged.status.success(), "it does not run");
        let mut decoder = Cmd::new(DECODER)
            .args(["--log-format", "{s}", "-e"].map(String::from))
            .arg(program.display().to_string())
            .to_command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("no defmt-print; get it with: cargo install defmt-print")?;
        let mut pipe = decoder.stdin.take().context("no pipe")?;
        pipe.write_all(&logged.stdout)?;
        drop(pipe);
        let decoded = String::from_utf8(decoder.wait_with_output()?.stdout)?;
        if decoded != EXPECTED {
            bail!("decoded:\n{decoded}\nexpected:\n{EXPECTED}");
        }
        println!(
            "{}: {} lines, as expected",
            board.name(),
            decoded.lines().count()
        );
    }
    Ok(())
}
