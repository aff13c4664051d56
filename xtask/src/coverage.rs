//! Which instructions of a Thumb program were interrupted: what the firmware saw, beside what the
//! emulator executed and what the program contains.

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeSet;
use std::fmt;

/// A part of the program with a name.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// The address of each instruction.
    instructions: BTreeSet<u32>,
    /// Those of them that run with interrupts masked.
    masked: BTreeSet<u32>,
}

/// The operations under test of a program.
#[derive(Debug)]
pub(crate) struct Program {
    functions: Vec<Function>,
}

impl Program {
    pub(crate) fn read(elf: &[u8]) -> Result<Self> {
        let elf = object::File::parse(elf)?;
        let text = elf.section_by_name(".text").context("no .text")?;
        let (start, bytes) = (address(text.address())?, text.data()?);
        // Between `$d` and the next `$t` lie constants, not instructions.
        let mut kinds = Vec::new();
        let mut symbols = Vec::new();
        for symbol in elf.symbols() {
            let name = symbol.name()?;
            let at = address(symbol.address())?;
            if name.starts_with("$t") || name.starts_with("$d") {
                kinds.push((at, name.starts_with("$t")));
            } else if symbol.kind() == SymbolKind::Text && symbol.size() > 0 {
                symbols.push((at & !1, address(symbol.size())?, demangled(name)));
            }
        }
        kinds.sort_unstable();
        symbols.sort();
        // Functions with equal code may have become one.
        symbols.dedup_by_key(|symbol| symbol.0);
        let is_code = |at: u32| {
            let next = kinds.partition_point(|&(from, _)| from <= at);
            next > 0 && kinds[next - 1].1
        };
        let halfword = |at: u32| {
            let offset = at.checked_sub(start)? as usize;
            let pair = bytes.get(offset..offset + 2)?;
            Some(u16::from_le_bytes([pair[0], pair[1]]))
        };
        let functions = symbols
            .into_iter()
            .filter(|(_, _, name)| is_of_interest(name))
            .map(|(from, size, name)| {
                let code = instructions(from, size, halfword, is_code);
                Function {
                    name,
                    masked: masked(&code),
                    instructions: code.into_iter().map(|code| code.at).collect(),
                }
            })
            .collect();
        Ok(Program { functions })
    }
}

fn address(wide: u64) -> Result<u32> {
    u32::try_from(wide).context("not a 32-bit program")
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The operations, and what of the library is a function of its own.
fn is_of_interest(name: &str) -> bool {
    name.contains("umbel_core::") || name.contains("interrupts::ops::")
}

fn instructions(
    from: u32,
    size: u32,
    halfword: impl Fn(u32) -> Option<u16>,
    is_code: impl Fn(u32) -> bool,
) -> Vec<Instruction> {
    let mut code = Vec::new();
    let mut at = from;
    while at < from + size {
        let first = halfword(at).unwrap_or(0);
        if !is_code(at) {
            at += 2;
            continue;
        }
        // These three begin an instruction of four bytes.
        let is_long = first >> 11 >= 0b11101;
        let second = halfword(at + 2).filter(|_| is_long);
        code.push(Instruction { at, first, second });
        at += if is_long { 4 } else { 2 };
    }
    code
}

/// Those that run with interrupts masked whichever way they are reached: no interrupt comes there.
///
/// Both `cpsie i` and `msr primask` end the masking. Calls in between keep it, and critical sections
/// within critical sections, which the operations do not have, are not understood.
fn masked(code: &[Instruction]) -> BTreeSet<u32> {
    // Reached with interrupts open, and masked.
    let mut reached = [BTreeSet::new(), BTreeSet::new()];
    let at = |at: u32| code.iter().find(|instruction| instruction.at == at);
    let mut todo: Vec<_> = code
        .first()
        .map(|first| (first.at, false))
        .into_iter()
        .collect();
    while let Some((here, is_masked)) = todo.pop() {
        let Some(instruction) = at(here) else {
            continue;
        };
        if !reached[usize::from(is_masked)].insert(here) {
            continue;
        }
        let after = match instruction.masks() {
            Some(masks) => masks,
            None => is_masked,
        };
        todo.extend(
            instruction
                .next()
                .into_iter()
                .flatten()
                .map(|next| (next, after)),
        );
    }
    let [open, masked] = reached;
    &masked - &open
}

/// An instruction, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    at: u32,
    first: u16,
    /// Of an instruction of four bytes.
    second: Option<u16>,
}

impl Instruction {
    /// Whether it masks interrupts, or unmasks them.
    fn masks(self) -> Option<bool> {
        match (self.first, self.second) {
            (0xb672, _) => Some(true),  // cpsid i
            (0xb662, _) => Some(false), // cpsie i
            (first, Some(0x8810)) if first & 0xfff0 == 0xf380 => Some(false), // msr primask
            _ => None,
        }
    }

    /// Where it may go within its function; a call comes back. Of ARMv6-M only: what is left out
    /// occurs where nothing is masked.
    fn next(self) -> [Option<u32>; 2] {
        let (at, first) = (self.at, self.first);
        let behind = Some(at + if self.second.is_some() { 4 } else { 2 });
        let branch = |offset: i32| Some((at + 4).wrapping_add_signed(offset));
        match first {
            // bx; pop with pc; udf
            _ if first & 0xff80 == 0x4700
                || first & 0xff00 == 0xbd00
                || first & 0xff00 == 0xde00 =>
            {
                [None, None]
            }
            // b
            _ if first >> 11 == 0b11100 => [branch(i32::from((first << 5) as i16) >> 4), None],
            // b<cond>; svc looks the same and does not branch
            _ if first >> 12 == 0b1101 && first >> 8 & 0xf != 0xf => {
                [branch(i32::from(first as u8 as i8) * 2), behind]
            }
            _ => [behind, None],
        }
    }
}

/// A line of the report.
#[derive(Debug)]
struct Row {
    name: String,
    instructions: usize,
    masked: usize,
    /// That were executed and may be interrupted.
    open: usize,
    interrupted: usize,
    /// At which an interrupt cancelled a child that was live.
    told: usize,
    /// That are open and were not interrupted.
    missed: Vec<u32>,
}

impl Row {
    /// Whether it registers a waker, replaces it or takes it back.
    fn is_registration(&self) -> bool {
        self.name.contains("StaticWait")
    }

    fn percent(&self) -> f64 {
        if self.open == 0 {
            return 100.0;
        }
        100.0 * self.interrupted as f64 / self.open as f64
    }
}

/// What was interrupted, function by function.
#[derive(Debug)]
pub(crate) struct Coverage {
    rows: Vec<Row>,
    /// All addresses that were interrupted, in this program's order.
    seen: BTreeSet<u32>,
}

impl Coverage {
    /// From the emulator's `executed` (the log of its translator) and the firmware's rows.
    pub(crate) fn new(program: &Program, executed: &str, rows: &str) -> Result<Self> {
        let executed = executed_addresses(executed);
        ensure!(
            !executed.is_empty(),
            "the emulator logs no addresses: it has no disassembler"
        );
        ensure!(
            rows.trim_end().ends_with("end"),
            "the firmware did not come to its end"
        );
        let told = addresses("told", rows)?;
        let seen = addresses("seen", rows)?;
        let strange: Vec<_> = seen.difference(&executed).collect();
        ensure!(
            strange.is_empty(),
            "interrupted, but never executed: {strange:x?}"
        );
        for function in &program.functions {
            let wrong = &function.masked & &seen;
            ensure!(wrong.is_empty(), "interrupted, though masked: {wrong:x?}");
        }
        let rows = program
            .functions
            .iter()
            .map(|function| {
                let open: BTreeSet<u32> = &(&function.instructions & &executed) - &function.masked;
                let missed: Vec<u32> = open.difference(&seen).copied().collect();
                Row {
                    name: function.name.clone(),
                    instructions: function.instructions.len(),
                    masked: (&function.masked & &executed).len(),
                    interrupted: open.len() - missed.len(),
                    told: (&function.instructions & &told).len(),
                    open: open.len(),
                    missed,
                }
            })
            .collect();
        Ok(Coverage { rows, seen })
    }

    /// Fails if of some function a smaller part was interrupted, in percent of what could be: of
    /// `each`, and of those that are about `registration`.
    pub(crate) fn require(&self, each: u32, registration: u32) -> Result<()> {
        ensure!(
            self.rows.iter().any(|row| row.is_registration()),
            "the registration was not found in the program"
        );
        let bad: Vec<_> = self
            .rows
            .iter()
            .filter(|row| {
                let least = if row.is_registration() {
                    registration
                } else {
                    each
                };
                row.percent() < f64::from(least)
            })
            .map(|row| format!("{} {:.1} %", row.name, row.percent()))
            .collect();
        ensure!(
            bad.is_empty(),
            "too few were interrupted: {}",
            bad.join(", ")
        );
        Ok(())
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.seen.iter().copied().collect();
        writeln!(f, "\ninterrupted at {} addresses:", all.len())?;
        for line in ranges(&all).chunks(8) {
            writeln!(f, "  {}", line.join(" "))?;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "operation",
            "instructions",
            "masked",
            "executed",
            "interrupted",
            "%",
            "cancelled at",
            "missed",
        ]);
        for column in 1..7 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            table.add_row([
                row.name.clone(),
                row.instructions.to_string(),
                row.masked.to_string(),
                row.open.to_string(),
                row.interrupted.to_string(),
                format!("{:.1}", row.percent()),
                row.told.to_string(),
                ranges(&row.missed).join(" "),
            ]);
        }
        let sum = |of: fn(&Row) -> usize| self.rows.iter().map(of).sum::<usize>();
        writeln!(f, "\n{}", table.trim_fmt())?;
        writeln!(
            f,
            "\n{} of {} executed instructions that may be interrupted were, {} more are masked",
            sum(|row| row.interrupted),
            sum(|row| row.open),
            sum(|row| row.masked),
        )
    }
}

/// `FROM-TO` for instructions that may follow each other, in hexadecimal.
fn ranges(addresses: &[u32]) -> Vec<String> {
    addresses
        .chunk_by(|a, b| b - a <= 4)
        .map(|run| match run {
            [one] => format!("{one:x}"),
            [first, .., last] => format!("{first:x}-{last:x}"),
            [] => String::new(),
        })
        .collect()
}

/// The translator writes a line `0xADDRESS:  …` for each instruction before it first runs.
fn executed_addresses(log: &str) -> BTreeSet<u32> {
    log.lines()
        .filter_map(|line| line.strip_prefix("0x")?.split_once(':'))
        .filter_map(|(at, _)| u32::from_str_radix(at, 16).ok())
        .collect()
}

/// Lines `NAME ADDRESS WORD…`: a bit for each halfword from there, the lowest bit first.
fn addresses(name: &str, rows: &str) -> Result<BTreeSet<u32>> {
    let mut seen = BTreeSet::new();
    for row in rows
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    {
        let mut numbers = row.split(' ').map(|word| u32::from_str_radix(word, 16));
        let mut at = numbers.next().context("an empty row")??;
        for word in numbers {
            let word = word?;
            seen.extend(
                (0..32)
                    .filter(|bit| word >> bit & 1 == 1)
                    .map(|bit| at + 2 * bit),
            );
            at += 64;
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(halfwords: &[u16], end: u32) -> Vec<Instruction> {
        let halfword = |at: u32| halfwords.get((at - 0x400) as usize / 2).copied();
        instructions(0x400, 2 * halfwords.len() as u32, halfword, |at| at < end)
    }

    /// `push; cpsid i; ldr; cpsie i; bl; (a constant)`.
    const SHORT: [u16; 8] = [
        0xb580, 0xb672, 0x6800, 0xb662, 0xf000, 0xf879, 0x1234, 0x5678,
    ];

    fn program() -> Program {
        let code = code(&SHORT, 0x40c);
        Program {
            functions: vec![Function {
                name: "StaticWait::f".into(),
                masked: masked(&code),
                instructions: code.iter().map(|code| code.at).collect(),
            }],
        }
    }

    const LOG: &str = "IN: f\n0x00000400:  b580\n0x00000402:  b672\n\n0x00000404:  6800\n\
                       0x00000406:  b662\n0x00000408:  f000 f879\n";

    #[test]
    fn long_instructions_and_constants_are_told_apart() {
        let addresses: Vec<_> = code(&SHORT, 0x40c).iter().map(|code| code.at).collect();
        assert_eq!(addresses, [0x400, 0x402, 0x404, 0x406, 0x408]);
    }

    #[test]
    fn what_is_masked_need_not_be_interrupted() {
        assert_eq!(masked(&code(&SHORT, 0x40c)), BTreeSet::from([0x404, 0x406]));
        let coverage = Coverage::new(&program(), LOG, "seen 00000400 00000013\nend\n").unwrap();
        assert_eq!(
            (coverage.rows[0].open, coverage.rows[0].interrupted),
            (3, 3)
        );
        coverage.require(0, 100).unwrap();
    }

    #[test]
    fn masking_follows_branches() {
        // 400 cpsid i; 402 cmp; 404 beq 40e; 406 msr primask, r0; 40a movs; 40c b 414;
        // 40e str; 410 msr primask, r0; 414 pop {pc}
        let halfwords = [
            0xb672, 0x2a00, 0xd003, 0xf380, 0x8810, 0x2100, 0xe002, 0x6001, 0xf380, 0x8810, 0xbd00,
        ];
        let expected = BTreeSet::from([0x402, 0x404, 0x406, 0x40e, 0x410]);
        assert_eq!(masked(&code(&halfwords, 0x416)), expected);
        // Backwards, and reached both ways: 400 cpsid i; 402 cpsie i; 404 bne 402; 406 bx lr
        let halfwords = [0xb672, 0xb662, 0xd1fd, 0x4770];
        assert_eq!(masked(&code(&halfwords, 0x408)), BTreeSet::new());
    }

    #[test]
    fn what_was_missed_is_named() {
        let coverage = Coverage::new(&program(), LOG, "seen 00000400 00000003\nend\n").unwrap();
        assert_eq!(coverage.rows[0].missed, [0x408]);
        coverage.require(100, 66).unwrap();
        let why = coverage.require(0, 67).unwrap_err().to_string();
        assert!(why.contains("f 66.7 %"), "{why}");
    }

    #[test]
    fn a_run_that_broke_off_or_says_nonsense_is_refused() {
        assert!(Coverage::new(&program(), LOG, "seen 00000400 00000003\n").is_err());
        assert!(Coverage::new(&program(), "", "seen 00000400 00000003\nend\n").is_err());
        assert!(Coverage::new(&program(), LOG, "seen 00000800 00000001\nend\n").is_err());
        // In the critical section.
        assert!(Coverage::new(&program(), LOG, "seen 00000400 00000004\nend\n").is_err());
        let none = Program { functions: vec![] };
        let empty = Coverage::new(&none, LOG, "end\n").unwrap();
        assert!(empty.require(0, 0).is_err());
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(ranges(&[0x10, 0x12, 0x16, 0x20]), ["10-16", "20"]);
    }
}
