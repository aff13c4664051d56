//! What a run of a process needs of a runtime, and where it gets it.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::task::{Context, Poll};

use umbel_core::Timer;

/// A timer that says by whom processes are started, read and reaped where it is used.
///
/// It is implemented for the timers of this crate. One that wraps such a timer, or that shows a time
/// of its own, goes with one of them:
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use umbel::process::{AsyncProcess, Runtime};
/// use umbel::{Clock, Instant, Timer, smol::SmolTimer};
///
/// /// Counts in a slower time.
/// struct Slow(SmolTimer);
/// # impl Clock for Slow { fn now(&self) -> Instant { self.0.now() } }
/// # impl Timer for Slow {
/// #     type Sleep = <SmolTimer as Timer>::Sleep;
/// #     fn sleep_until(&self, at: Instant) -> Self::Sleep { self.0.sleep_until(at) }
/// # }
///
/// impl Runtime for Slow {
///     type Processes = AsyncProcess;
/// }
/// # }
/// ```
pub trait Runtime: Timer {
    /// One of those that this module has.
    type Processes: Processes;
}

/// Starts, reads and reaps; not to be implemented or called elsewhere. None of it is asked for a status before the process has ended, for
/// that would reap it.
#[allow(unreachable_pub, reason = "it seals `Runtime`")]
pub trait Processes {
    /// A handle that, dropped, has the process reaped when it ends.
    type Child: Send;
    /// Standard input; dropped, it is closed.
    type Input: Send;
    /// Standard output or error.
    type Output: Send;
    /// Tells of each SIGCHLD.
    type Changes: Send;

    /// Listens from now on.
    fn changes() -> io::Result<Self::Changes>;
    /// Ready if a process may have ended since this was last ready.
    fn poll_changed(changes: &mut Self::Changes, task: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Starts a process with these streams.
    fn start(command: Command, streams: Streams) -> io::Result<(Self::Child, Pipes<Self>)>;
    /// The id, if it is not reaped.
    fn id(child: &Self::Child) -> Option<u32>;
    /// The status of one that has ended.
    fn reap(child: &mut Self::Child) -> io::Result<Option<ExitStatus>>;
    /// How many bytes were read; 0 at the end.
    fn poll_read(
        output: &mut Self::Output,
        task: &mut Context<'_>,
        piece: &mut [u8],
    ) -> Poll<io::Result<usize>>;
    /// How many bytes were written.
    fn poll_write(
        input: &mut Self::Input,
        task: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>>;
}

/// What a process is given. They are handed on by themselves, because async-process does not take them
/// from a command of the standard library.
#[allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "part of that seal"
)]
pub struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

/// Our ends of a process's pipes.
#[allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "part of that seal"
)]
pub struct Pipes<P: Processes + ?Sized> {
    pub(crate) input: Option<P::Input>,
    pub(crate) outputs: [Option<P::Output>; 2],
}

/// The error of a run that is told of no SIGCHLD any more.
#[cfg(any(feature = "smol", feature = "async-std", feature = "tokio"))]
fn deaf() -> io::Error {
    io::Error::other("SIGCHLD cannot be listened for any more")
}

#[cfg(any(feature = "smol", feature = "async-std"))]
mod on_async_io {
    use super::{Pipes, Processes, Runtime, Streams, deaf};
    use async_process::{Child, ChildStdin};
    use async_signal::{Signal, Signals};
    use futures_core::Stream;
    use futures_io::{AsyncRead, AsyncWrite};
    use std::io;
    use std::pin::Pin;
    use std::process::{Command, ExitStatus};
    use std::task::{Context, Poll, ready};

    /// Processes by [async-process](https://docs.rs/async-process), under any executor.
    #[derive(Debug)]
    pub struct AsyncProcess(());

    impl Processes for AsyncProcess {
        type Child = Child;
        type Input = ChildStdin;
        type Output = Pin<Box<dyn AsyncRead + Send>>;
        type Changes = Signals;

        fn changes() -> io::Result<Signals> {
            Signals::new([Signal::Child])
        }

        fn poll_changed(changes: &mut Signals, task: &mut Context<'_>) -> Poll<io::Result<()>> {
            let signal = ready!(Pin::new(changes).poll_next(task)).transpose()?;
            Poll::Ready(signal.map(drop).ok_or_else(deaf))
        }

        fn start(command: Command, streams: Streams) -> io::Result<(Child, Pipes<Self>)> {
            let mut child = async_process::Command::from(command)
                .stdin(streams.stdin)
                .stdout(streams.stdout)
                .stderr(streams.stderr)
                .spawn()?;
            let outputs: [Option<Self::Output>; 2] = [
                child.stdout.take().map(|pipe| Box::pin(pipe) as _),
                child.stderr.take().map(|pipe| Box::pin(pipe) as _),
            ];
            let input = child.stdin.take();
            Ok((child, Pipes { input, outputs }))
        }

        fn id(child: &Child) -> Option<u32> {
            Some(child.id())
        }

        fn reap(child: &mut Child) -> io::Result<Option<ExitStatus>> {
            child.try_status()
        }

        fn poll_read(
            output: &mut Self::Output,
            task: &mut Context<'_>,
            piece: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            output.as_mut().poll_read(task, piece)
        }

        fn poll_write(
            input: &mut ChildStdin,
            task: &mut Context<'_>,
            piece: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(input).poll_write(task, piece)
        }
    }

    #[cfg(feature = "smol")]
    impl Runtime for crate::smol::SmolTimer {
        type Processes = AsyncProcess;
    }

    #[cfg(feature = "async-std")]
    impl Runtime for crate::async_std::AsyncStdTimer {
        type Processes = AsyncProcess;
    }
}
#[cfg(any(feature = "smol", feature = "async-std"))]
pub use on_async_io::AsyncProcess;

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::{Pipes, Processes, Runtime, Streams, deaf};
    use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use ::tokio::process::{Child, ChildStdin};
    use ::tokio::signal::unix::{Signal, SignalKind, signal};
    use std::io;
    use std::pin::Pin;
    use std::process::{Command, ExitStatus};
    use std::task::{Context, Poll, ready};

    /// Processes by [`tokio::process`], in a runtime with `enable_all`.
    #[derive(Debug)]
    pub struct TokioProcess(());

    impl Processes for TokioProcess {
        type Child = Child;
        type Input = ChildStdin;
        type Output = Pin<Box<dyn AsyncRead + Send>>;
        type Changes = Signal;

        fn changes() -> io::Result<Signal> {
            signal(SignalKind::child())
        }

        fn poll_changed(changes: &mut Signal, task: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(ready!(changes.poll_recv(task)).ok_or_else(deaf))
        }

        fn start(command: Command, streams: Streams) -> io::Result<(Child, Pipes<Self>)> {
            let mut child = ::tokio::process::Command::from(command)
                .stdin(streams.stdin)
                .stdout(streams.stdout)
                .stderr(streams.stderr)
                .spawn()?;
            let outputs: [Option<Self::Output>; 2] = [
                child.stdout.take().map(|pipe| Box::pin(pipe) as _),
                child.stderr.take().map(|pipe| Box::pin(pipe) as _),
            ];
            let input = child.stdin.take();
            Ok((child, Pipes { input, outputs }))
        }

        fn id(child: &Child) -> Option<u32> {
            child.id()
        }

        fn reap(child: &mut Child) -> io::Result<Option<ExitStatus>> {
            child.try_wait()
        }

        fn poll_read(
            output: &mut Self::Output,
            task: &mut Context<'_>,
            piece: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let mut piece = ReadBuf::new(piece);
            ready!(output.as_mut().poll_read(task, &mut piece))?;
            Poll::Ready(Ok(piece.filled().len()))
        }

        fn poll_write(
            input: &mut ChildStdin,
            task: &mut Context<'_>,
            piece: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(input).poll_write(task, piece)
        }
    }

    impl Runtime for crate::tokio::TokioTimer {
        type Processes = TokioProcess;
    }
}
#[cfg(feature = "tokio")]
pub use on_tokio::TokioProcess;
