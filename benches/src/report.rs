//! Rows, marks, and the tables that are printed.

use crate::meter::{Meter, Reading, Size};
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::{self, Write};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// One measurement of one contender.
pub(crate) type Sample = fn(Meter) -> Reading;

/// A name, and how it is measured.
pub(crate) type Contender = (&'static str, Sample);

/// One line of the specification: the same work for all.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) umbel: Sample,
    /// The hand-written least, if there is one.
    pub(crate) floor: Option<Contender>,
    pub(crate) peers: &'static [Contender],
    pub(crate) marks: &'static [Mark],
}

impl Row {
    /// Umbel, then the floor if there is one, then the peers.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        [("umbel", self.umbel)]
            .into_iter()
            .chain(self.floor)
            .chain(self.peers.iter().copied())
            .collect()
    }
}

/// What umbel's median must not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mark {
    /// So many times the floor.
    Floor(f64),
    /// So much above the floor.
    FloorPlus(f64),
    /// So many times the peer of this name.
    Peer(f64, &'static str),
    /// So many times the best of the peers.
    BestPeer(f64),
    /// So many times the best of the peers, this one left out.
    BestPeerBut(f64, &'static str),
    /// So much.
    AtMost(f64),
    /// So many allocations an operation; those for the peak, which steady state does not repeat, may
    /// come to one in a thousand operations.
    Allocations(f64),
}

/// What the rounds found of one contender.
#[derive(Debug)]
pub(crate) struct Line {
    name: &'static str,
    median: f64,
    least: f64,
    most: f64,
    allocations: f64,
    bytes: f64,
    /// Rounds that stayed disturbed. They do not count, unless there are no others.
    disturbed: usize,
}

/// A row, measured: umbel, then the floor if there is one, then the peers.
#[derive(Debug)]
pub(crate) struct Measured {
    row: &'static Row,
    lines: Vec<Line>,
}

/// A mark, held against what was measured.
#[derive(Debug)]
pub(crate) struct Verdict {
    row: &'static str,
    mark: Mark,
    /// In the mark's own terms.
    found: f64,
    missed: bool,
}

/// Measures a row: a round to warm up, one that counts allocations, then the timed ones. In each
/// round every contender has its turn, and another one begins. A reading that was disturbed is taken
/// again, for a while.
pub(crate) fn measure(row: &'static Row, size: Size, rounds: usize) -> Measured {
    let contenders = row.contenders();
    let run = |sample: Sample, counting| sample(Meter { size, counting });
    if size != Size::Quick {
        contenders.iter().for_each(|(_, sample)| {
            run(*sample, false);
        });
    }
    let counted: Vec<Reading> = contenders.iter().map(|(_, s)| run(*s, true)).collect();
    let mut readings = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let i = (round + turn) % contenders.len();
            readings[i].push(undisturbed(|| run(contenders[i].1, false), size));
        }
    }
    let lines = contenders
        .iter()
        .zip(counted)
        .zip(readings)
        .map(|((&(name, _), counted), readings)| {
            let disturbed = readings.iter().filter(|reading| reading.disturbed).count();
            let mut values: Vec<f64> = readings
                .iter()
                .filter(|reading| !reading.disturbed || disturbed == rounds)
                .map(|reading| reading.value)
                .collect();
            values.sort_by(f64::total_cmp);
            Line {
                name,
                median: median(&values),
                least: values.first().copied().unwrap_or(f64::NAN),
                most: values.last().copied().unwrap_or(f64::NAN),
                allocations: counted.allocations,
                bytes: counted.bytes,
                disturbed,
            }
        })
        .collect();
    Measured { row, lines }
}

/// The first undisturbed reading, or the last one when the patience is over.
fn undisturbed(run: impl Fn() -> Reading, size: Size) -> Reading {
    let patience = match size {
        Size::Quick | Size::Counts => Duration::ZERO,
        Size::Default | Size::Full => Duration::from_millis(150),
    };
    let start = Instant::now();
    loop {
        let reading = run();
        if !reading.disturbed || start.elapsed() >= patience {
            return reading;
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (len, mid) if len % 2 == 1 => sorted[mid],
        (_, mid) => (sorted[mid - 1] + sorted[mid]) / 2.0,
    }
}

impl Measured {
    fn umbel(&self) -> &Line {
        &self.lines[0]
    }

    fn floor(&self) -> f64 {
        match self.row.floor {
            Some(_) => self.lines[1].median,
            None => f64::NAN,
        }
    }

    fn peers(&self) -> &[Line] {
        &self.lines[1 + usize::from(self.row.floor.is_some())..]
    }

    fn best_peer_but(&self, name: &str) -> f64 {
        let peers = self.peers().iter().filter(|peer| peer.name != name);
        peers.map(|peer| peer.median).fold(f64::NAN, f64::min)
    }

    /// The row's marks. What cannot be computed is missed.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.row.marks.iter().map(|&mark| {
            let ours = self.umbel().median;
            let (found, most) = match mark {
                Mark::Floor(most) => (ours / self.floor(), most),
                Mark::FloorPlus(most) => (ours - self.floor(), most),
                Mark::Peer(most, name) => {
                    let peer = self.peers().iter().find(|peer| peer.name == name);
                    (ours / peer.map_or(f64::NAN, |peer| peer.median), most)
                }
                Mark::BestPeer(most) => (ours / self.best_peer_but(""), most),
                Mark::BestPeerBut(most, name) => (ours / self.best_peer_but(name), most),
                Mark::AtMost(most) => (ours, most),
                Mark::Allocations(most) => (self.umbel().allocations, most + 0.001),
            };
            Verdict {
                row: self.row.name,
                mark,
                found,
                missed: found.is_nan() || found > most,
            }
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Floor(most) => write!(f, "≤ {most} × floor"),
            Mark::FloorPlus(most) => write!(f, "≤ floor + {most}"),
            Mark::Peer(most, name) => write!(f, "≤ {most} × {name}"),
            Mark::BestPeer(most) => write!(f, "≤ {most} × best peer"),
            Mark::BestPeerBut(most, name) => write!(f, "≤ {most} × best peer but {name}"),
            Mark::AtMost(most) => write!(f, "≤ {most}"),
            Mark::Allocations(0.0) => f.write_str("no allocation"),
            Mark::Allocations(most) => write!(f, "≤ {} allocations", number(*most)),
        }
    }
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".into(),
        _ => format!("{value:.2}"),
    }
}

pub(crate) fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for column in left..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// What was measured, contender by contender.
pub(crate) fn render(rows: &[Measured]) -> String {
    let mut table = table(
        &[
            "row",
            "unit",
            "",
            "median",
            "min–max",
            "umbel/it",
            "allocs",
            "bytes",
        ],
        3,
    );
    for measured in rows {
        for (i, line) in measured.lines.iter().enumerate() {
            let (row, unit) = match i {
                0 => (measured.row.name, measured.row.unit),
                _ => ("", ""),
            };
            let floor = i == 1 && measured.row.floor.is_some();
            let kind = if floor { "floor: " } else { "" };
            let ratio = match i {
                0 => String::new(),
                _ if line.median < 0.005 => "–".into(),
                _ => format!("{:.2}", measured.umbel().median / line.median),
            };
            let disturbed = match line.disturbed {
                0 => String::new(),
                rounds => rounds.to_string(),
            };
            table.add_row([
                row,
                unit,
                &format!("{kind}{}", line.name),
                &number(line.median),
                &format!("{}–{}", number(line.least), number(line.most)),
                &disturbed,
                &ratio,
                &number(line.allocations),
                &number(line.bytes),
            ]);
        }
    }
    table.trim_fmt()
}

/// Every mark and what was found, then the list of those missed.
pub(crate) fn judge(verdicts: &[Verdict]) -> String {
    let mut table = table(&["mark", "", "found", ""], 2);
    for verdict in verdicts {
        table.add_row([
            verdict.row,
            &verdict.mark.to_string(),
            &format!("{:.3}", verdict.found),
            if verdict.missed { "MISSED" } else { "passed" },
        ]);
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    let missed: Vec<_> = verdicts.iter().filter(|verdict| verdict.missed).collect();
    let _ = writeln!(text, "{} of {} marks missed", missed.len(), verdicts.len());
    for Verdict {
        row, mark, found, ..
    } in missed
    {
        let _ = writeln!(text, "  {row}: {found:.3}, to be {mark}");
    }
    text
}

/// The row of this name, or those whose name contains the text.
pub(crate) fn chosen(rows: &'static [Row], only: &str) -> Vec<&'static Row> {
    let exact: Vec<_> = rows.iter().filter(|row| row.name == only).collect();
    if exact.is_empty() {
        return rows.iter().filter(|row| row.name.contains(only)).collect();
    }
    exact
}

/// Runs the rows, prints the tables, and says whether a mark was missed.
pub(crate) fn run(rows: &[&'static Row], size: Size, rounds: usize) -> bool {
    let mut measured = Vec::new();
    for row in rows {
        eprint!("{} … ", row.name);
        let _ = std::io::stderr().flush();
        let start = Instant::now();
        measured.push(measure(row, size, rounds));
        eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    }
    let verdicts: Vec<Verdict> = measured.iter().flat_map(Measured::verdicts).collect();
    println!("{}\n\n{}", render(&measured), judge(&verdicts));
    verdicts.iter().any(|verdict| verdict.missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed<const VALUE: u32>(_: Meter) -> Reading {
        Reading {
            value: f64::from(VALUE),
            ..Reading::default()
        }
    }

    static ROW: Row = Row {
        name: "row",
        unit: "ns",
        umbel: fixed::<10>,
        floor: Some(("least", fixed::<8>)),
        peers: &[("slow", fixed::<40>), ("slower", fixed::<50>)],
        marks: &[
            Mark::Floor(1.2),
            Mark::Floor(1.3),
            Mark::FloorPlus(1.0),
            Mark::FloorPlus(2.0),
            Mark::Peer(0.19, "slower"),
            Mark::Peer(0.2, "slower"),
            Mark::BestPeer(0.2),
            Mark::BestPeer(0.25),
            Mark::BestPeerBut(0.19, "slow"),
            Mark::BestPeerBut(0.2, "slow"),
            Mark::AtMost(9.0),
            Mark::AtMost(10.0),
            Mark::Allocations(0.0),
            Mark::Peer(9.0, "absent"),
        ],
    };

    #[test]
    fn marks_are_missed_by_a_little_and_met_exactly() {
        let measured = measure(&ROW, Size::Quick, 3);
        let missed: Vec<bool> = measured.verdicts().map(|verdict| verdict.missed).collect();
        let (yes, no) = (true, false);
        assert_eq!(
            missed,
            [
                yes, no, yes, no, yes, no, yes, no, yes, no, yes, no, no, yes
            ]
        );
    }

    #[test]
    fn the_list_names_what_was_missed() {
        let verdicts: Vec<_> = measure(&ROW, Size::Quick, 1).verdicts().collect();
        let text = judge(&verdicts);
        assert!(text.contains("\n7 of 14 marks missed\n"), "{text}");
        assert!(
            text.contains("\n  row: 1.250, to be ≤ 1.2 × floor\n"),
            "{text}"
        );
    }

    #[test]
    fn a_whole_name_is_that_row_only() {
        let row = |name| Row {
            name,
            unit: "ns",
            umbel: fixed::<1>,
            floor: None,
            peers: &[],
            marks: &[],
        };
        let rows: &'static [Row] = Box::leak(Box::new([row("N = 1"), row("N = 10")]));
        let names = |only| -> Vec<_> { chosen(rows, only).iter().map(|row| row.name).collect() };
        assert_eq!(names("N = 1"), ["N = 1"]);
        assert_eq!(names("N ="), ["N = 1", "N = 10"]);
        assert!(names("M").is_empty());
    }

    #[test]
    fn the_middle_of_the_rounds() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
    }
}
