//! Lines for standard output: said anywhere, written by one subsystem, the last to stop.
//!
//! Who says something never waits. A reader that is too slow loses lines, not requests, and is told how
//! many.

use smol::channel::{self, Receiver, Sender};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use umbel::shutdown::Context;
use umbel::{CancellationToken, blocking};

/// More than this many unwritten lines are lost.
const ROOM: usize = 4096;

#[derive(Debug)]
pub(crate) struct Log {
    lines: Sender<String>,
    unwritten: Receiver<String>,
    /// A plain count: Relaxed is enough, nothing is published by it.
    lost: AtomicU64,
}

impl Log {
    pub(crate) fn new() -> Self {
        let (lines, unwritten) = channel::bounded(ROOM);
        Log {
            lines,
            unwritten,
            lost: AtomicU64::new(0),
        }
    }

    /// One line, without its end.
    pub(crate) fn say(&self, line: impl Into<String>) {
        if self.lines.try_send(line.into()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines nobody will read.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The subsystem: writes until it is told to stop, and then all that was said before.
    pub(crate) async fn write<E>(&self, cx: &Context<'_, E>) {
        while let Some(Ok(line)) = cx.token().run_until_cancelled(self.unwritten.recv()).await {
            self.flush(line).await;
        }
        self.unwritten.close();
        while let Ok(line) = self.unwritten.recv().await {
            self.flush(line).await;
        }
    }

    /// `first`, and what has been said since. Writing blocks: it is done on a thread of the pool.
    async fn flush(&self, first: String) {
        let mut text = first + "\n";
        let mut count = 1;
        while let Ok(line) = self.unwritten.try_recv() {
            text.push_str(&line);
            text.push('\n');
            count += 1;
        }
        let write = blocking::run(&CancellationToken::never(), move |_| {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        });
        if !matches!(write.await, Ok(Ok(()))) {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}
