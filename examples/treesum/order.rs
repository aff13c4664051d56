//! Results in walk order, whatever ends first, in bounded memory.

use crate::output::{Broken, Output};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use umbel::{Join, JoinErrorKind};

/// How many results may wait for an earlier one. Enough for the other jobs to go on for a while
/// beside a large file; a few hundred bytes each.
const WINDOW: usize = 1024;

/// How the job of one file ended, if it did not fail.
pub(crate) enum Outcome {
    /// The line to print.
    Summed(Vec<u8>),
    /// Told to stop before the file's end.
    Stopped,
}

/// The files begun and not yet printed, in walk order.
pub(crate) struct InOrder {
    window: VecDeque<(Arc<Path>, Join<Outcome>)>,
    output: Output,
    unfinished: Vec<Arc<Path>>,
}

impl InOrder {
    pub(crate) fn new(output: Output) -> Self {
        InOrder {
            window: VecDeque::new(),
            output,
            unfinished: Vec::new(),
        }
    }

    /// Adds the next file of the walk, prints what can be printed, and waits while the window is full.
    pub(crate) async fn push(
        &mut self,
        path: Arc<Path>,
        join: Join<Outcome>,
    ) -> Result<(), Broken> {
        self.window.push_back((path, join));
        while !self.window.is_empty() {
            let full = self.window.len() >= WINDOW;
            let settled = poll_fn(|cx| match self.poll_first(cx) {
                Poll::Pending if !full => Poll::Ready(false),
                first => first.map(|()| true),
            });
            if !settled.await {
                break;
            }
            self.output.keep_up().await?;
        }
        Ok(())
    }

    /// Waits for all files in the window and prints them.
    pub(crate) async fn finish(&mut self) -> Result<(), Broken> {
        while !self.window.is_empty() {
            poll_fn(|cx| self.poll_first(cx)).await;
            self.output.keep_up().await?;
        }
        self.output.flush().await
    }

    /// For when the nursery has ended: every file has its result, printed or not.
    pub(crate) async fn settle(&mut self) {
        while !self.window.is_empty() {
            poll_fn(|cx| self.poll_first(cx)).await;
        }
    }

    /// Moves the first file's result out of the window once it has one. There is no await between
    /// taking a result and keeping it, so whoever is dropped while waiting loses none.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, join)) = self.window.front_mut() else {
            return Poll::Ready(());
        };
        let result = ready!(Pin::new(join).poll(cx));
        let path = self.window.pop_front().map(|(path, _)| path);
        match result {
            Ok(Outcome::Summed(line)) => self.output.push(&line),
            Ok(Outcome::Stopped) => self.unfinished.extend(path),
            Err(e) if e.kind() == JoinErrorKind::Forced => self.unfinished.extend(path),
            // It failed, and has been named, or it was never begun.
            Err(_) => {}
        }
        Poll::Ready(())
    }

    /// Files that were begun and not finished.
    pub(crate) fn unfinished(&self) -> &[Arc<Path>] {
        &self.unfinished
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }
}
