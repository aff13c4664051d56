//! The closing table.

use crate::step::{Outcome, Row};
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;

/// Whether anything failed.
pub(crate) fn failed(rows: &[Row]) -> bool {
    rows.iter()
        .any(|row| matches!(row.outcome, Outcome::Failed(_)))
}

/// How what failed ended; then what ran, how it ended, how long it took; the last line counts.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.tail.is_empty()) {
        let _ = writeln!(text, "\nThe end of {}:", row.name);
        for line in &row.tail {
            let _ = writeln!(text, "    {line}");
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["step", "outcome", "seconds", "tests", "reason"]);
    for column in [2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for row in rows {
        let (count, outcome, reason) = match &row.outcome {
            Outcome::Passed => (&mut passed, "passed", ""),
            Outcome::Failed(why) => (&mut failed, "FAILED", why.as_str()),
            Outcome::Skipped(why) => (&mut skipped, "SKIPPED", why.as_str()),
        };
        *count += 1;
        let tests = if row.tests > 0 {
            row.tests.to_string()
        } else {
            String::new()
        };
        table.add_row([
            row.name.as_str(),
            outcome,
            &format!("{:.1}", row.time.as_secs_f64()),
            &tests,
            // One line each: the full text stands above, where the step ran.
            &reason.split_whitespace().collect::<Vec<_>>().join(" "),
        ]);
    }
    let _ = write!(text, "\n{}\n\n", table.trim_fmt());
    let total: f64 = rows.iter().map(|row| row.time.as_secs_f64()).sum();
    let _ = writeln!(text, "total {total:.0} s");
    let _ = writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn row(name: &str, outcome: Outcome) -> Row {
        Row {
            name: name.into(),
            outcome,
            time: Duration::from_millis(1500),
            tests: 3,
            tail: Vec::new(),
        }
    }

    #[test]
    fn skipped_is_not_passed_and_the_last_line_counts() {
        let rows = [
            row("a", Outcome::Passed),
            row("b", Outcome::Skipped("no miri:\n install it".into())),
        ];
        assert!(!failed(&rows));
        let text = render(&rows);
        assert!(
            text.lines()
                .any(|line| line.contains("SKIPPED") && line.contains("no miri: install it"))
        );
        assert_eq!(text.lines().last(), Some("1 passed, 0 failed, 1 skipped"));
    }

    #[test]
    fn one_failure_fails_the_run() {
        let mut rows = [
            row("a", Outcome::Failed("exit 1".into())),
            row("b", Outcome::Passed),
        ];
        rows[0].tail = vec!["error: no".into()];
        assert!(failed(&rows));
        let text = render(&rows);
        assert!(
            text.starts_with("\nThe end of a:\n    error: no\n"),
            "{text}"
        );
        assert!(text.ends_with("1 passed, 1 failed, 0 skipped\n"));
    }
}
