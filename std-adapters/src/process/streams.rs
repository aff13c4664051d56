//! A process's output, read to its end and given to a sink; and its input, written as it is read.
//!
//! After each piece the others have their turn, however much there is to read or to write: the pipes
//! in turns, and whoever shares the task.

use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll};

use crate::process::runtime::Processes;

/// Where a piece of output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is read or written at once: a quarter of what a pipe holds on Linux.
const PIECE: usize = 16 * 1024;

/// The pipes that are not at their end.
pub(crate) type Outputs<P> = [Option<<P as Processes>::Output>; 2];

const SOURCES: [Source; 2] = [Source::Stdout, Source::Stderr];

/// Reads both pipes to their ends.
pub(crate) async fn deliver<P, S, Fut>(mut outputs: Outputs<P>, mut sink: S) -> io::Result<()>
where
    P: Processes,
    S: FnMut(Source, &[u8]) -> Fut,
    Fut: Future<Output = ()>,
{
    let open = outputs.iter().any(Option::is_some);
    let mut piece = vec![0; if open { PIECE } else { 0 }];
    let mut first = 0;
    while outputs.iter().any(Option::is_some) {
        let read = poll_fn(|task| poll_read::<P>(&mut outputs, first, &mut piece, task));
        let (from, len) = read.await?;
        first = 1 - from;
        if len == 0 {
            outputs[from] = None;
            continue;
        }
        sink(SOURCES[from], &piece[..len]).await;
        yield_now().await;
    }
    Ok(())
}

/// A piece from one of the pipes, `first` before the other; nothing from one that is at its end.
fn poll_read<P: Processes>(
    outputs: &mut Outputs<P>,
    first: usize,
    piece: &mut [u8],
    task: &mut Context<'_>,
) -> Poll<io::Result<(usize, usize)>> {
    for from in [first, 1 - first] {
        if let Some(output) = &mut outputs[from] {
            if let Poll::Ready(read) = P::poll_read(output, task, piece) {
                return Poll::Ready(read.map(|len| (from, len)));
            }
        }
    }
    Poll::Pending
}

/// Writes all of `bytes`, and gives the pipe back if the process has not closed it.
pub(crate) async fn feed<P: Processes>(mut pipe: P::Input, bytes: Vec<u8>) -> Option<P::Input> {
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(PIECE)];
        let written = poll_fn(|task| P::poll_write(&mut pipe, task, piece)).await;
        rest = &rest[written.ok()?..];
        yield_now().await;
    }
    Some(pipe)
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|task| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
