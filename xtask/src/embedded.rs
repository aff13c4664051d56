//! `cargo xtask embedded [BOARD [PROGRAM]]`: firmware that cancels from real interrupts, in an emulator.
//!
//! QEMU runs it one instruction at a time, on a clock that counts instructions: an interrupt may
//! come between any two of them, and every run is the same.

use crate::coverage::{Coverage, Program};
use crate::step::{Cmd, Step, target_dir};
use crate::tools::{self, Need};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The workspace of everything that runs on a microcontroller.
pub(crate) const MANIFEST: &str = "examples/embedded/Cargo.toml";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Board {
    /// A Cortex-M3: compare-and-swap by exclusive loads and stores.
    M3,
    /// A Cortex-M0: no compare-and-swap, so atomics are critical sections.
    M0,
}

impl Board {
    pub(crate) const ALL: [Board; 2] = [Board::M3, Board::M0];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Board::M3 => "m3",
            Board::M0 => "m0",
        }
    }

    pub(crate) fn target(self) -> &'static str {
        match self {
            Board::M3 => "thumbv7m-none-eabi",
            Board::M0 => "thumbv6m-none-eabi",
        }
    }

    fn machine(self) -> &'static str {
        match self {
            Board::M3 => "-cpu cortex-m3 -machine lm3s6965evb",
            Board::M0 => "-cpu cortex-m0 -machine microbit",
        }
    }
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Firmware {
    /// A static token that interrupts cancel at every instruction of main.
    Interrupts,
    /// Four tasks in a nursery, cancelled and begun again.
    Station,
    /// The same tasks under embassy.
    EmbassyNursery,
    /// The same under embassy without a nursery.
    EmbassySelect,
    /// What is full or in use says so, and nothing is lost.
    EmbassyFaults,
}

impl Firmware {
    const ALL: [Firmware; 5] = [
        Firmware::Interrupts,
        Firmware::Station,
        Firmware::EmbassyNursery,
        Firmware::EmbassySelect,
        Firmware::EmbassyFaults,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Firmware::Interrupts => "interrupts",
            Firmware::Station => "station",
            Firmware::EmbassyNursery => "embassy-nursery",
            Firmware::EmbassySelect => "embassy-select",
            Firmware::EmbassyFaults => "embassy-faults",
        }
    }

    pub(crate) fn features(self) -> &'static str {
        match self {
            Firmware::Interrupts | Firmware::Station => "",
            Firmware::EmbassyNursery | Firmware::EmbassyFaults => "generic-queue",
            Firmware::EmbassySelect => "embassy",
        }
    }

    /// What it says when it is broken, if it can be.
    fn complaint(self) -> Option<&'static str> {
        match self {
            Firmware::Interrupts => Some("lost wake"),
            Firmware::Station => Some("nobody woke it"),
            Firmware::EmbassyNursery | Firmware::EmbassySelect | Firmware::EmbassyFaults => None,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without one: every program on each board, and the broken ones.
    pub(crate) board: Option<Board>,
    #[arg(value_enum, default_value = Firmware::Interrupts.name())]
    firmware: Firmware,
    #[command(flatten)]
    pub(crate) form: Form,
    /// Runs a token that loses wakes, tasks that are polled unwoken: passes if that is noticed.
    #[arg(long, requires = "board")]
    broken: bool,
}

/// How long, and what is to be shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Form {
    /// How many interrupts at least.
    #[arg(long, value_name = "N", default_value_t = SHORT.interrupts)]
    interrupts: u32,
    /// What part of the instructions that ran must have been interrupted, in each operation
    /// (`interrupts`).
    #[arg(long, value_name = "PERCENT", default_value_t = SHORT.each)]
    each: u32,
    /// And in those that register a waker, replace it and take it back.
    #[arg(long, value_name = "PERCENT", default_value_t = SHORT.registration)]
    registration: u32,
}

/// For CI.
pub(crate) const SHORT: Form = Form {
    interrupts: 10_000,
    each: 40,
    registration: 70,
};

/// The proof. What it leaves of an operation is, for the most part, the second try of an atomic
/// access: that is reached only if an interrupt came in the middle of the first, and missed unless
/// another one follows it by some instructions.
pub(crate) const LONG: Form = Form {
    interrupts: 100_000,
    each: 85,
    registration: 95,
};

/// All programs on both boards, and the broken ones.
pub(crate) fn steps(form: &Form) -> Vec<Step> {
    let Form {
        interrupts,
        each,
        registration,
    } = form;
    let options = format!("--interrupts {interrupts} --each {each} --registration {registration}");
    Firmware::ALL
        .into_iter()
        .flat_map(|firmware| Board::ALL.map(|board| (firmware, board)))
        .flat_map(|(firmware, board)| {
            let (program, on) = (firmware.name(), board.name());
            let line = format!("cargo xtask embedded {on} {program}");
            let run = match firmware.complaint() {
                Some(_) => step(board, format!("{program} on {on}, {interrupts} interrupts"))
                    .run_line(&format!("{line} {options}")),
                None => step(board, format!("{program} on {on}")).run_line(&line),
            };
            let control = firmware.complaint().map(|_| {
                step(board, format!("{program} on {on}, broken"))
                    .run_line(&format!("{line} --broken"))
            });
            [run].into_iter().chain(control)
        })
        .collect()
}

fn step(board: Board, name: String) -> Step {
    Step::new(name)
        .need(Need::Target(board.target()))
        .need(Need::Program(QEMU))
        // The firmware notices that main hangs; if the interrupt itself does, this ends it.
        .limit(Duration::from_secs(10 * 60))
}

pub(crate) fn run(board: Board, args: &Args) -> Result<()> {
    let features = match args.broken {
        true => "broken",
        false => args.firmware.features(),
    };
    let name = args.firmware.name();
    let program = build(board, name, Profile::Release, features)?;
    let log = target_dir().join(format!("qemu-{}.log", board.name()));
    let cmd = step_by_step(board, args, &program)?
        .args(["-d", "in_asm", "-D"].map(String::from))
        .arg(log.display().to_string());
    println!("$ {cmd}");
    let output = cmd.to_command().output().context("no emulator")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rows = said.find("seen ").unwrap_or(said.len());
    let (counts, rows) = said.split_at(rows);
    print!("{counts}");
    if args.broken {
        let complaint = args.firmware.complaint().context("it cannot be broken")?;
        ensure!(
            !output.status.success() && said.contains(complaint),
            "the broken program was not noticed"
        );
        println!("the broken program was noticed");
        return Ok(());
    }
    if !output.status.success() {
        bail!(
            "{}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    if args.firmware != Firmware::Interrupts {
        return Ok(());
    }
    let executed = fs::read_to_string(&log).context("the emulator left no log")?;
    let program = Program::read(&fs::read(&program)?)?;
    let coverage = Coverage::new(&program, &executed, rows)?;
    print!("{coverage}");
    coverage.require(args.form.each, args.form.registration)
}

/// How a program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As it is shipped.
    Release,
    /// With a symbol for each function.
    Dev,
}

/// Builds a program of the firmware.
pub(crate) fn build(board: Board, bin: &str, profile: Profile, features: &str) -> Result<PathBuf> {
    let (profile, folder) = match profile {
        Profile::Release => ("release", "release"),
        Profile::Dev => ("dev", "debug"),
    };
    let cmd = Cmd::new("cargo build --quiet --locked --manifest-path")
        .arg(MANIFEST)
        .args(["--profile", profile, "--target", board.target()].map(String::from))
        .args(["--bin", bin, "--features", features].map(String::from))
        .target_dir("embedded");
    println!("$ {cmd}");
    ensure!(cmd.to_command().status()?.success(), "it does not build");
    let program = format!("embedded/{}/{folder}/{bin}", board.target());
    Ok(target_dir().join(program))
}

pub(crate) const QEMU: &str = "qemu-system-arm";

/// One instruction at a time, on a clock that counts them.
fn step_by_step(board: Board, args: &Args, program: &Path) -> Result<Cmd> {
    let version = tools::stdout(&Cmd::new(QEMU).arg("--version"))
        .context("no qemu-system-arm; on Debian: apt-get install qemu-system-arm")?;
    // One instruction is 128 ns, which is more than a tick of either board's timer: no instruction
    // is stepped over.
    Ok(emulator(board, program)
        .args("-icount shift=7,sleep=off".split(' ').map(String::from))
        .args(one_at_a_time(&version)?.split(' ').map(String::from))
        .arg("-semihosting-config")
        .arg(format!(
            "enable=on,target=native,arg={},arg={}",
            args.firmware.name(),
            args.form.interrupts
        )))
}

/// The board with a program in it.
pub(crate) fn emulator(board: Board, program: &Path) -> Cmd {
    Cmd::new(QEMU)
        .args(board.machine().split(' ').map(String::from))
        .args(
            "-nographic -monitor none -serial null"
                .split(' ')
                .map(String::from),
        )
        .arg("-kernel")
        .arg(program.display().to_string())
}

/// The option got another name in 8.1.
fn one_at_a_time(version: &str) -> Result<&'static str> {
    let mut numbers = version
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1)
        .context("QEMU does not say which one it is")?
        .split('.')
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (8, 1) => {
            Ok("-accel tcg,one-insn-per-tb=on")
        }
        (Some(Ok(_)), Some(Ok(_))) => Ok("-singlestep"),
        _ => bail!("cannot read QEMU's version: {version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_goes_by_the_version() {
        for (version, option) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)",
                "-singlestep",
            ),
            ("QEMU emulator version 8.0.5", "-singlestep"),
            (
                "QEMU emulator version 8.1.0",
                "-accel tcg,one-insn-per-tb=on",
            ),
            (
                "QEMU emulator version 10.0.2 (v10)",
                "-accel tcg,one-insn-per-tb=on",
            ),
        ] {
            assert_eq!(one_at_a_time(version).unwrap(), option, "{version}");
        }
        assert!(one_at_a_time("no number").is_err());
    }
}
