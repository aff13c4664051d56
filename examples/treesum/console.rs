//! Standard error: the progress bar, and messages that never tear it.
//!
//! Writing to a terminal or pipe can block, so all methods but [`Console::new`] are for the blocking
//! pool. Each message is written by one call, so that messages of several threads do not mix.

use crate::args::Progress;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Redraws per second at most.
const HZ: u8 = 10;

#[derive(Debug, Clone)]
pub(crate) struct Console {
    bar: Option<ProgressBar>,
    /// Files summed. A plain count: Relaxed is enough, nothing is published by it.
    files: Arc<AtomicU64>,
    /// Output and bar are on the same screen.
    shared_screen: bool,
}

impl Console {
    pub(crate) fn new(progress: Progress) -> Self {
        let files = Arc::new(AtomicU64::new(0));
        let target = match progress {
            Progress::Auto => ProgressDrawTarget::stderr_with_hz(HZ),
            Progress::Never => ProgressDrawTarget::hidden(),
            Progress::Always => ProgressDrawTarget::term_like_with_hz(
                Box::new(console::Term::buffered_stderr()),
                HZ,
            ),
        };
        let bar = (!target.is_hidden()).then(|| {
            // No steady tick: it would need a thread, and nothing moves while no byte is read.
            ProgressBar::with_draw_target(None, target).with_style(style(files.clone()))
        });
        let shared_screen = bar.is_some() && std::io::stdout().is_terminal();
        Console {
            bar,
            files,
            shared_screen,
        }
    }

    /// `n` more bytes have been read.
    pub(crate) fn bytes(&self, n: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(n as u64);
        }
    }

    /// One more file has been summed.
    pub(crate) fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    /// How many files have been summed.
    pub(crate) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Names a path that could not be read, quoted so that it is one line and moves no cursor.
    pub(crate) fn error(&self, path: &Path, why: impl Display) {
        self.say(&format!("treesum: {path:?}: {why}\n"));
    }

    /// Writes whole lines. If standard error is gone, there is nobody to tell.
    pub(crate) fn say(&self, lines: &str) {
        let write = || drop(std::io::stderr().write_all(lines.as_bytes()));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Runs `write`, which writes to standard output, without the bar in its way.
    pub(crate) fn beside_bar<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) if self.shared_screen => bar.suspend(write),
            _ => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(files: Arc<AtomicU64>) -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {files} files, {bytes}, {bytes_per_sec}")
        .expect("the template is well formed")
        .with_key(
            "files",
            move |_: &ProgressState, w: &mut dyn std::fmt::Write| {
                // A failed write would only mean an incomplete bar.
                let _ = write!(w, "{}", HumanCount(files.load(Ordering::Relaxed)));
            },
        )
}
