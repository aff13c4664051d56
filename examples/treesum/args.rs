//! The command line.

use clap::{Parser, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

const DETAILS: &str = "\
What is summed: every regular file below each PATH, in the order of the PATHs; within a directory \
by the bytes of the names, a directory's files in the place of its name. The order of the output \
does not depend on --jobs or on which file is finished first. A PATH that is a file is summed \
itself. Symbolic links are not followed, not even a PATH (write `link/` to mean the directory); \
links, FIFOs, sockets and devices found in a directory are skipped, and as a PATH they are an error.

Output: what `sha256sum` prints for the same files, also for names with a newline, a carriage \
return or a backslash; names are PATH joined as `find PATH` joins them. Standard output is written \
in whole lines: at once to a terminal, in blocks otherwise.

Errors (a file without permission, vanished meanwhile, with too long a path) are named on standard \
error with the system's reason, when they happen.

Ctrl-C or SIGTERM: no file is begun any more, those in flight stop at the next chunk or are given \
up when the grace is over, what is finished is printed, and standard error says what was left \
undone. A second Ctrl-C does not wait for the grace. The deadline does the same as a Ctrl-C.

Exit status:
  0    all files were summed
  1    a file or directory could not be read, or the output could not be written
  2    the command line is wrong
  124  the deadline came first
  130  Ctrl-C (SIGINT); 143: SIGTERM
  141  the reader of the output went away (as a shell reports SIGPIPE); nothing is said";

/// Prints the SHA-256 sums of all files in directory trees, as `sha256sum` does.
///
///     treesum DIR > sums && sha256sum -c sums
#[derive(Debug, Parser)]
#[command(version, after_long_help = DETAILS, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Directories to walk, or files
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// How many files are read at once [default: the number of cores]
    #[arg(short, long, value_name = "N", default_value_t = cores(), hide_default_value = true)]
    pub(crate) jobs: NonZeroUsize,

    /// Stop after this time, for example 5s or 1m30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Option<Duration>,

    /// How long files in flight may take to stop when the run is cancelled
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "2s")]
    pub(crate) grace: Duration,

    /// Stop at the first file or directory that cannot be read
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Name what cannot be read and go on (the default)
    #[arg(long, conflicts_with = "fail_fast")]
    pub(crate) keep_going: bool,

    /// A bar with files, bytes and rate on standard error; auto: only on a terminal
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,

    /// Say at the end how many files were started, done, failed, cancelled and forced, and how long
    /// those in flight took when the run was cancelled
    #[arg(long)]
    pub(crate) stats: bool,

    /// Show on standard error, once a second and at the end, which files are being read and for how long
    #[arg(long)]
    pub(crate) tree: bool,

    /// On which runtime it runs: the same program, with another timer
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Runtime::Smol)]
    pub(crate) runtime: Runtime,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Runtime {
    Smol,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "async-std")]
    AsyncStd,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Progress {
    Auto,
    Never,
    Always,
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
