//! Standard output: whole lines only, written on the blocking pool.
//!
//! One write is in flight at most, while further lines gather. It is kept here and not in the future
//! that waits for it, so when the nursery drops its body at a cancellation, no line is lost or
//! written twice: whoever has the `Output` afterwards goes on where it stopped.

use crate::console::Console;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use umbel::CancellationToken;
use umbel::blocking::{self, Blocking};

/// The most that one write holds, unless a single line is longer. A pipe takes this much wholly or
/// not at all (PIPE_BUF), so a reader finds no half line even if the process ends in mid-write.
const BATCH: usize = 4096;

pub(crate) struct Output {
    file: Arc<File>,
    console: Console,
    /// Lines for the next writes.
    waiting: Vec<u8>,
    writing: Option<Blocking<io::Result<()>>>,
    /// A terminal gets every line at once; anything else gets full batches, as stdio does it.
    at_once: bool,
    /// Why nothing can be written any more.
    error: Option<io::Error>,
}

/// Writing has failed; the `Output` knows why.
pub(crate) struct Broken;

impl Output {
    pub(crate) fn stdout(console: Console) -> io::Result<Self> {
        let stdout = io::stdout();
        Ok(Output {
            file: Arc::new(stdout.as_fd().try_clone_to_owned()?.into()),
            console,
            waiting: Vec::new(),
            writing: None,
            at_once: stdout.is_terminal(),
            error: None,
        })
    }

    /// Takes a line. Does not wait: a caller that is dropped later has handed it over.
    pub(crate) fn push(&mut self, line: &[u8]) {
        self.waiting.extend_from_slice(line);
    }

    /// Begins the writes that are due, and waits until less than a batch is left to be begun.
    pub(crate) async fn keep_up(&mut self) -> Result<(), Broken> {
        let kept = if self.at_once { 0 } else { BATCH };
        while self.waiting.len() > kept {
            self.begin_batch().await?;
        }
        Ok(())
    }

    /// Writes all that is there.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        while !self.waiting.is_empty() {
            self.begin_batch().await?;
        }
        self.written().await
    }

    /// Whether lines are left that are not known to be written.
    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.writing.is_some()
    }

    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    async fn begin_batch(&mut self) -> Result<(), Broken> {
        self.written().await?;
        let rest = self.waiting.split_off(batch(&self.waiting));
        let lines = std::mem::replace(&mut self.waiting, rest);
        let (file, console) = (self.file.clone(), self.console.clone());
        // What was finished is written also after a Ctrl-C: not the nursery's token.
        let write = blocking::run(&CancellationToken::never(), move |_| {
            console.beside_bar(|| (&*file).write_all(&lines))
        });
        self.writing = Some(write);
        Ok(())
    }

    /// Waits for the write in flight.
    async fn written(&mut self) -> Result<(), Broken> {
        if let Some(writing) = &mut self.writing {
            let result = writing.await;
            self.writing = None;
            self.error = result.unwrap_or_else(|c| Err(c.into())).err();
        }
        match self.error {
            Some(_) => Err(Broken),
            None => Ok(()),
        }
    }
}

/// How much of `lines` goes into the next write: as many whole lines as fit, at least one.
fn batch(lines: &[u8]) -> usize {
    let end = |newline: usize| newline + 1;
    let is_newline = |byte: &u8| *byte == b'\n';
    let head = &lines[..lines.len().min(BATCH)];
    head.iter()
        .rposition(is_newline)
        .or_else(|| lines.iter().position(is_newline))
        .map_or(lines.len(), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_whole_lines_that_a_pipe_takes_at_once() {
        let lines = "0123456789abcde\n".repeat(1000);
        assert_eq!(batch(lines.as_bytes()), BATCH);
        let lines = "0123456789abcdef\n".repeat(1000);
        assert_eq!(batch(lines.as_bytes()), BATCH / 17 * 17);
        assert_eq!(batch(b"ab\ncd\n"), 6);
    }

    #[test]
    fn a_longer_line_goes_alone() {
        let long = "x".repeat(5000) + "\n";
        assert_eq!(batch((long.clone() + "y\n").as_bytes()), long.len());
        assert_eq!(batch(("y\n".to_owned() + &long).as_bytes()), 2);
    }
}
