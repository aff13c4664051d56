//! `cargo xtask size`: what a token in a `static` costs a firmware, beside the marks.

use crate::qemu::{self, Board};
use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use object::{Object, ObjectSection, SectionFlags, SectionKind, elf::SHF_ALLOC};
use std::fs;

/// Bytes of flash for a token and one waiter.
const FLASH_MARK: u64 = 6 * 1024;
/// Bytes of RAM for each child, its waiter included.
const SLOT_MARK: u64 = 16;

/// Where RAM begins on every Cortex-M; flash lies below.
const RAM: u64 = 0x2000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    flash: u64,
    ram: u64,
}

impl Size {
    fn of(elf: &[u8]) -> Result<Self> {
        let mut size = Size { flash: 0, ram: 0 };
        for section in object::File::parse(elf)?.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
                continue;
            };
            if !sh_flags.contains(SHF_ALLOC) {
                continue;
            }
            if section.address() >= RAM {
                size.ram += section.size();
            }
            // What RAM begins with lies in flash too.
            if section.address() < RAM || section.kind() == SectionKind::Data {
                size.flash += section.size();
            }
        }
        Ok(size)
    }
}

/// Fails if a mark is missed.
pub(crate) fn run() -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["board", "program", "flash", "RAM"]);
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut costs = Vec::new();
    for board in Board::ALL {
        let mut sizes = Vec::new();
        for name in ["size-without", "size-one", "size-four"] {
            let size = Size::of(&fs::read(qemu::build(board, name, false)?)?)?;
            table.add_row([
                board.name(),
                name,
                &size.flash.to_string(),
                &size.ram.to_string(),
            ]);
            sizes.push(size);
        }
        costs.push((board, cost(sizes[0], sizes[1], sizes[2])));
    }
    println!("\n{}\n", table.trim_fmt());
    for (board, (flash, slot)) in &costs {
        println!(
            "{}: a token with one waiter takes {flash} bytes of flash (mark {FLASH_MARK}), \
             a slot {slot} bytes of RAM (mark {SLOT_MARK})",
            board.name()
        );
    }
    ensure!(
        costs
            .iter()
            .all(|(_, (flash, slot))| *flash <= FLASH_MARK && *slot <= SLOT_MARK),
        "a mark is missed"
    );
    Ok(())
}

/// The flash of a token and the RAM of one slot, from programs without a token, with one slot and
/// with four.
fn cost(without: Size, one: Size, four: Size) -> (u64, u64) {
    let flash = one.flash.saturating_sub(without.flash);
    (flash, four.ram.saturating_sub(one.ram).div_ceil(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_third_of_three() {
        let size = |flash, ram| Size { flash, ram };
        let cost = cost(size(1000, 8), size(1800, 28), size(1804, 76));
        assert_eq!(cost, (800, 16));
    }
}
