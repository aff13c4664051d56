//! Last words and the exit code.

use crate::server::Server;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;
use umbel::shutdown::ShutdownReport;

struct LastWords<'a, N> {
    report: &'a ShutdownReport<io::Error>,
    server: &'a Server<N>,
}

impl<N> Display for LastWords<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, server } = self;
        writeln!(f, "{report:#}")?;
        writeln!(f, "{}", server.counts)?;
        let accounts = server.queue.accounts();
        writeln!(f, "{accounts}")?;
        if !accounts.balance() {
            writeln!(f, "the accounts of the queue do not balance")?;
        }
        match server.log.lost() {
            0 => Ok(()),
            lost => writeln!(f, "{lost} lines of the log were lost"),
        }
    }
}

/// The report, and what became of each request and each item.
pub(crate) fn print<N>(report: &ShutdownReport<io::Error>, server: &Server<N>) -> ExitCode {
    let words = LastWords { report, server }.to_string();
    // If standard output is gone, there is nobody to tell.
    let _ = io::stdout().write_all(words.as_bytes());
    ExitCode::from(report.exit_code())
}
