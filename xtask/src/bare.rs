//! `cargo xtask bare`: a program that uses all that the core has without `alloc` links without an
//! allocator, has nothing of `alloc` and `std` in it, and runs.

use crate::embedded::{self, Board, Profile, QEMU};
use crate::step::Step;
use crate::tools::Need;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol};
use std::fs;

const PROGRAM: &str = "bare";

/// What must be in it, so that what is not there is not just out of sight.
const EXPECTED: [&str; 4] = [
    "umbel_core::token::fixed::",
    "umbel_core::set::fixed::",
    "umbel_core::fixed_nursery::",
    "umbel_core::ext::",
];

pub(crate) fn step() -> Step {
    Board::ALL
        .iter()
        .fold(Step::new("nothing of alloc or std"), |step, board| {
            step.need(Need::Target(board.target()))
        })
        .need(Need::Program(QEMU))
        .run_line("cargo xtask bare")
}

pub(crate) fn run() -> Result<()> {
    for board in Board::ALL {
        let program = embedded::build(board, PROGRAM, Profile::Dev, "")?;
        let symbols = Symbols::read(&fs::read(&program)?)?;
        ensure!(
            symbols.undefined.is_empty() && symbols.foreign.is_empty(),
            "undefined: {:?}, of alloc or std: {:?}",
            symbols.undefined,
            symbols.foreign
        );
        let missing = symbols.missing();
        ensure!(missing.is_empty(), "nothing is there of {missing:?}");
        println!(
            "{}: of {} symbols none is of alloc or std, none undefined",
            board.name(),
            symbols.names.len()
        );
        let cmd = embedded::emulator(board, &program)
            .args(["-semihosting-config", "enable=on,target=native"].map(String::from));
        println!("$ {cmd}");
        ensure!(cmd.to_command().status()?.success(), "it does not run");
    }
    // The same program with a heap.
    let broken = embedded::build(Board::M3, PROGRAM, Profile::Dev, "broken")?;
    let found = Symbols::read(&fs::read(broken)?)?.foreign;
    ensure!(!found.is_empty(), "a heap was not noticed");
    println!("a heap is noticed by {} symbols", found.len());
    Ok(())
}

#[derive(Debug, Default)]
struct Symbols {
    names: Vec<String>,
    undefined: Vec<String>,
    /// Of `alloc` or `std`.
    foreign: Vec<String>,
}

impl Symbols {
    fn read(elf: &[u8]) -> Result<Self> {
        let elf = object::File::parse(elf).context("not a program")?;
        let mut symbols = Symbols::default();
        for symbol in elf.symbols() {
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
            if name.is_empty() {
                continue;
            }
            if symbol.is_undefined() {
                symbols.undefined.push(name.clone());
            }
            if is_foreign(&name) {
                symbols.foreign.push(name.clone());
            }
            symbols.names.push(name);
        }
        Ok(symbols)
    }

    fn missing(&self) -> Vec<&str> {
        let is_there = |part: &&str| self.names.iter().any(|name| name.contains(part));
        EXPECTED
            .into_iter()
            .filter(|part| !is_there(part))
            .collect()
    }
}

/// Whether it names something of the crates `alloc` or `std`, or the allocator. (`core` has a module
/// `alloc`, too.)
fn is_foreign(name: &str) -> bool {
    let begins_path = |at: usize| {
        let before = name[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    };
    let crates = ["alloc::", "std::"];
    name.contains("__rust_alloc")
        || crates
            .iter()
            .any(|path| name.match_indices(path).any(|(at, _)| begins_path(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alloc_and_std_are_told_from_what_only_sounds_like_them() {
        for name in [
            "alloc::raw_vec::handle_error",
            "core::ptr::drop_in_place<alloc::vec::Vec<u8>>",
            "<std::io::Error as core::fmt::Debug>::fmt",
            "__rustc::__rust_alloc",
            "__rust_alloc_zeroed",
        ] {
            assert!(is_foreign(name), "{name}");
        }
        for name in [
            "core::alloc::layout::Layout::new",
            "cortex_m_semihosting::hio::hstd::out",
            "umbel_core::token::fixed::StaticToken<_>::child",
            "my_alloc::f",
        ] {
            assert!(!is_foreign(name), "{name}");
        }
    }
}
