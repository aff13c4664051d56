//! Umbel beside its peers and hand-written floors: `cargo xtask bench token`, `… set`, `… nursery`,
//! `… adapters`.
//!
//! Absolute times mean little on another machine, and ratios within one run mean a lot, so all
//! contenders of a row run in one process, in turns: one round to warm up, one that counts
//! allocations, then the timed rounds, whose median is shown and whose least and most are the noise.
//! Rows of one thread are timed in that thread's CPU time, rows of two threads in wall time. Where
//! two threads do the same, the time is for one operation of each. A two-thread reading during which
//! the kernel gave a processor to another program is taken again for a while. Column `noisy` counts
//! the rounds for which that did not help; only the others count, unless there are none. On a busy
//! machine that may be so for peers that put threads to sleep, and the row then says little of them.
//!
//! Marks are ratios to the floor, to one peer or to the best one. They are listed with what was
//! found, the missed ones again at the end; if one was missed, the exit code is 1, unless
//! `--report-only` is given. A wrong argument is 2.
//!
//! | file | holds |
//! |---|---|
//! | `alloc.rs` | the allocator that counts |
//! | `meter.rs` | one measurement |
//! | `report.rs` | rows, marks, rounds, tables |
//! | `counts.rs` | `--counts`: instructions instead of times |
//! | `token/contenders.rs` | umbel and its peers behind a few verbs |
//! | `token/floors.rs` | the floors |
//! | `token/workloads.rs` | what is measured, once for all contenders |
//! | `token/rows.rs` | the rows, as data |
//! | `set/…`, `nursery/…` | the same for the set and the nursery |
//! | `adapters/…` | the same for nurseries on runtimes' executors |
//! | `children.rs` | the futures that both of them poll |
//!
//! `--counts` runs the rows of one thread under callgrind and prints what no noise moves. It holds
//! nothing against the marks, which are about time.
//!
//! `cargo test` runs every row once, tiny: a benchmark that has rotted fails there.

mod adapters;
mod alloc;
mod children;
mod counts;
mod meter;
mod nursery;
mod report;
mod set;
mod token;

use clap::{Parser, ValueEnum};
use std::num::NonZeroUsize;
use std::process::ExitCode;

/// Benchmarks of umbel beside its peers.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Args {
    /// What is measured.
    what: What,
    /// Timed rounds; the median counts.
    #[arg(long, default_value = "9")]
    rounds: NonZeroUsize,
    /// Only the row of this name, or rows whose name contains this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Exit with 0 although marks are missed.
    #[arg(long)]
    report_only: bool,
    /// Everything once with next to no work: shows that it runs, the numbers mean nothing.
    #[arg(long, conflicts_with_all = ["full", "rounds"])]
    quick: bool,
    /// Ten million churned children, not one.
    #[arg(long)]
    full: bool,
    /// Instructions, atomic operations and cache misses of the rows of one thread, by callgrind.
    #[arg(long, conflicts_with_all = ["full", "rounds", "quick"])]
    counts: bool,
    /// What `--counts` runs under callgrind: one measurement of one contender of the row `only`.
    #[arg(long, hide = true, value_name = "INDEX")]
    sample: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The cancellation token.
    Token,
    /// The set of futures.
    Set,
    /// The nursery.
    Nursery,
    /// Nurseries on executors of tokio and smol.
    Adapters,
}

impl What {
    fn rows(self) -> &'static [report::Row] {
        match self {
            What::Token => token::rows::ROWS,
            What::Set => set::rows::ROWS,
            What::Nursery => nursery::rows::ROWS,
            What::Adapters => adapters::rows::ROWS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            What::Token => "token",
            What::Set => "set",
            What::Nursery => "nursery",
            What::Adapters => "adapters",
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let rows = report::chosen(args.what.rows(), &args.only);
    let (size, rounds) = match (args.quick, args.full) {
        (true, _) => (meter::Size::Quick, 1),
        (_, true) => (meter::Size::Full, args.rounds.get()),
        _ => (meter::Size::Default, args.rounds.get()),
    };
    if let Some(index) = args.sample {
        return counts::sample(&rows, index);
    }
    if cfg!(debug_assertions) {
        eprintln!("not optimised: run it with --release");
    }
    if rows.is_empty() {
        eprintln!("no row's name contains `{}`", args.only);
        return ExitCode::from(2);
    }
    if args.counts {
        return counts::run(args.what.name(), &rows);
    }
    let missed = report::run(&rows, size, rounds);
    ExitCode::from(u8::from(missed && !args.report_only && !args.quick))
}

#[cfg(test)]
mod tests {
    use crate::What;
    use crate::meter::Size;
    use crate::report;
    use clap::ValueEnum;

    #[test]
    fn every_row_runs_and_the_tables_render() {
        for what in What::value_variants() {
            let rows = what.rows();
            let measured: Vec<_> = rows
                .iter()
                .map(|row| report::measure(row, Size::Quick, 1))
                .collect();
            let text = report::render(&measured);
            let contenders: usize = rows.iter().map(|row| row.contenders().len()).sum();
            assert_eq!(text.lines().count(), 1 + contenders, "{text}");
            assert!(!text.contains("NaN"), "{text}");
            let verdicts: Vec<_> = measured
                .iter()
                .flat_map(report::Measured::verdicts)
                .collect();
            let text = report::judge(&verdicts);
            for row in rows {
                assert!(row.marks.is_empty() || text.contains(row.name), "{text}");
            }
            assert!(!text.contains("NaN"), "{text}");
        }
    }

    #[test]
    fn names_tell_rows_apart() {
        for what in What::value_variants() {
            let mut names: Vec<_> = what.rows().iter().map(|row| row.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), what.rows().len());
        }
    }
}
