//! `cargo xtask size`: what a token in a `static` and a nursery cost a firmware, beside the marks.

use crate::embedded::{self, Board, Firmware, Profile};
use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use object::{Object, ObjectSection, SectionFlags, SectionKind, elf::SHF_ALLOC};
use std::fs;

/// Bytes of flash for a token with one waiter and a nursery of four.
const FLASH_MARK: u64 = 6 * 1024;
/// Bytes of RAM for each child, its waiter included.
const SLOT_MARK: u64 = 16;

/// The same firmware without a token, with one of one slot, with one of four, and with a nursery of
/// four tasks under one of one.
const PROGRAMS: [&str; 4] = ["size-without", "size-one", "size-four", "size-nursery"];

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

/// One application: on an executor of a page, under embassy in a nursery, and under embassy by hand. By
/// hand it can do with embassy's own queue of timers, so that is shown with either. And the program that
/// holds a token to its contract, with all its tables.
const APPLICATIONS: [(Firmware, &str); 5] = [
    (Firmware::Interrupts, ""),
    (Firmware::Station, ""),
    (Firmware::EmbassyNursery, "generic-queue"),
    (Firmware::EmbassySelect, "generic-queue"),
    (Firmware::EmbassySelect, "embassy"),
];

/// Fails if a mark is missed.
pub(crate) fn run() -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["board", "program", "features", "flash", "RAM"]);
    for column in [3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut costs = Vec::new();
    for board in Board::ALL {
        let mut row = |name: &str, features: &str| -> Result<Size> {
            let program = embedded::build(board, name, Profile::Release, features)?;
            let size = Size::of(&fs::read(program)?)?;
            table.add_row([
                board.name(),
                name,
                features,
                &size.flash.to_string(),
                &size.ram.to_string(),
            ]);
            Ok(size)
        };
        let mut sizes = [Size { flash: 0, ram: 0 }; PROGRAMS.len()];
        for (name, size) in PROGRAMS.iter().zip(&mut sizes) {
            *size = row(name, "")?;
        }
        for (firmware, features) in APPLICATIONS {
            row(firmware.name(), features)?;
        }
        costs.push((board, Cost::of(sizes)));
    }
    println!("\n{}\n", table.trim_fmt());
    for (board, cost) in &costs {
        let Cost {
            token,
            nursery,
            slot,
        } = cost;
        println!(
            "{}: a token with one waiter takes {token} bytes of flash, with a nursery of four \
             {nursery} (mark {FLASH_MARK}); a slot of a token {slot} bytes of RAM (mark {SLOT_MARK})",
            board.name()
        );
    }
    ensure!(
        costs.iter().all(|(_, cost)| cost.is_within_marks()),
        "a mark is missed"
    );
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    /// Flash of a token with one waiter.
    token: u64,
    /// Flash of both, and of three more tasks.
    nursery: u64,
    /// RAM of a token's slot.
    slot: u64,
}

impl Cost {
    /// From the sizes of the [`PROGRAMS`].
    fn of([without, one, four, nursery]: [Size; PROGRAMS.len()]) -> Self {
        Cost {
            token: one.flash.saturating_sub(without.flash),
            nursery: nursery.flash.saturating_sub(without.flash),
            slot: four.ram.saturating_sub(one.ram).div_ceil(3),
        }
    }

    fn is_within_marks(&self) -> bool {
        self.nursery <= FLASH_MARK && self.slot <= SLOT_MARK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_differences_and_a_slot_is_the_third_of_three() {
        let size = |flash, ram| Size { flash, ram };
        let sizes = [
            size(1000, 8),
            size(1800, 28),
            size(1804, 76),
            size(7144, 120),
        ];
        let cost = Cost::of(sizes);
        let expected = Cost {
            token: 800,
            nursery: 6144,
            slot: 16,
        };
        assert_eq!(cost, expected);
        assert!(cost.is_within_marks());
        let over = [
            Cost {
                nursery: 6145,
                ..cost
            },
            Cost { slot: 17, ..cost },
        ];
        assert!(over.iter().all(|cost| !cost.is_within_marks()));
    }
}
