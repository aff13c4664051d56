//! `--counts`: what a row's operation executes, counted by callgrind.
//!
//! Every contender of every row that [`Meter::one_thread`] measures runs once, smaller, in a process
//! of its own under `valgrind --tool=callgrind`, which counts only inside
//! [`counted_region`](crate::meter). The numbers are the same on a busy machine and an idle one. They
//! say nothing of time: an atomic operation costs as much as ten others, a miss of the cache as much
//! as a hundred. Both are counted too, the misses in a simulated first-level cache of 32 KiB.
//!
//! Rows of two threads are left out: the emulator runs one thread at a time, so nobody contends.

use crate::meter::{Meter, Reading, Size};
use crate::report::{Row, Sample, number, table};
use std::process::{Command, ExitCode};

/// What one operation does.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    instructions: f64,
    atomics: f64,
    misses: f64,
}

/// The measurement that callgrind watches; prints how many operations it did.
pub(crate) fn sample(rows: &[&Row], index: usize) -> ExitCode {
    let contenders = match rows {
        [row] => Some(row.contenders()),
        _ => None,
    };
    match contenders.as_deref().and_then(|all| all.get(index)) {
        Some((_, sample)) => {
            println!("{}", once(*sample, Size::Counts).alone);
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("not one row, or no contender {index} in it");
            ExitCode::from(2)
        }
    }
}

fn once(sample: Sample, size: Size) -> Reading {
    sample(Meter {
        size,
        counting: false,
    })
}

/// Counts the rows of one thread, and prints the table.
pub(crate) fn run(what: &str, rows: &[&Row]) -> ExitCode {
    let mut table = table(
        &[
            "row",
            "",
            "instructions",
            "umbel/it",
            "atomics",
            "L1 misses",
        ],
        2,
    );
    let counted = |row: &&&Row| once(row.umbel, Size::Quick).alone > 0;
    for row in rows.iter().filter(counted) {
        eprintln!("{} …", row.name);
        let mut ours = f64::NAN;
        for (i, (name, _)) in row.contenders().into_iter().enumerate() {
            let counts = match callgrind(what, row.name, i) {
                Ok(counts) => counts,
                Err(error) => {
                    eprintln!("{name}: {error}");
                    return ExitCode::FAILURE;
                }
            };
            let (row_name, ratio) = match i {
                0 => {
                    ours = counts.instructions;
                    (row.name, String::new())
                }
                _ => ("", format!("{:.2}", ours / counts.instructions)),
            };
            let kind = match row.floor {
                Some(_) if i == 1 => "floor: ",
                _ => "",
            };
            table.add_row([
                row_name,
                &format!("{kind}{name}"),
                &number(counts.instructions),
                &ratio,
                &number(counts.atomics),
                &number(counts.misses),
            ]);
        }
    }
    println!("{}", table.trim_fmt());
    ExitCode::SUCCESS
}

/// Runs contender `index` of the row `name` under callgrind.
fn callgrind(what: &str, name: &str, index: usize) -> Result<Counts, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args([
            "--collect-atstart=no",
            "--toggle-collect=*counted_region*",
            "--collect-bus=yes",
        ])
        // The same cache on every machine.
        .args(["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64"])
        .arg(this)
        .args([
            what,
            "--only",
            name,
            "--counts",
            "--sample",
            &index.to_string(),
        ])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {stderr}", output.status));
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    parse(&stdout, &stderr).ok_or_else(|| format!("not understood: {stdout}{stderr}"))
}

/// The sample's output and callgrind's report, for one operation.
fn parse(stdout: &str, stderr: &str) -> Option<Counts> {
    let ops: f64 = stdout.trim().parse().ok()?;
    let after = |label: &str| {
        let (_, rest) = stderr.lines().find_map(|line| line.split_once(label))?;
        Some(rest.trim_start().trim_start_matches(':'))
    };
    let names = after("Events")?;
    let values: Vec<f64> = after("Collected")?
        .split_whitespace()
        .map_while(|value| value.parse().ok())
        .collect();
    let value = |event: &str| {
        let at = names.split_whitespace().position(|name| name == event)?;
        // Zeros at the end are left out.
        Some(values.get(at).copied().unwrap_or(0.0) / ops)
    };
    let counts = Counts {
        instructions: value("Ir")?,
        atomics: value("Ge")?,
        misses: value("D1mr")? + value("D1mw")?,
    };
    (ops > 0.0 && counts.instructions > 0.0).then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STDERR: &str = "==7== Callgrind, a call-graph generating cache profiler\n\
        ==7== Events    : Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw Ge\n\
        ==7== Collected : 500 9 9 9 20 10 9 9 9 40\n";

    #[test]
    fn events_are_found_by_their_names() {
        let counts = Counts {
            instructions: 50.0,
            atomics: 4.0,
            misses: 3.0,
        };
        assert_eq!(parse("10\n", STDERR), Some(counts));
        let short = STDERR.replace(" 9 9 9 40", "");
        let counts = Counts {
            atomics: 0.0,
            ..counts
        };
        assert_eq!(parse("10\n", &short), Some(counts));
    }

    #[test]
    fn what_was_not_counted_is_not_zero() {
        assert_eq!(parse("0\n", STDERR), None);
        assert_eq!(parse("", STDERR), None);
        assert_eq!(parse("10\n", &STDERR.replace("Ge", "G")), None);
        // Nothing was in the region: callgrind gives one zero for all.
        assert_eq!(
            parse("10\n", "Events : Ir D1mr D1mw Ge\nCollected : 0\n"),
            None
        );
    }
}
