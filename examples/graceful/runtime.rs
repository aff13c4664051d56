//! On which runtime it runs: the one place that knows. Elsewhere a runtime is a [`Net`].

use crate::args::{Args, Runtime};
use crate::run::run;
use hyper::rt;
use smol_hyper::rt::FuturesIo;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use umbel::Timer;
use umbel::signal::Signals;
use umbel::smol::SmolTimer;

/// What a server needs of a runtime: a timer, a listener, and streams that hyper understands.
///
/// It takes sockets of the standard library that do not block, so all that is said about sockets is
/// said once, elsewhere.
pub(crate) trait Net: Copy + Send + Sync + 'static {
    type Timer: Timer<Sleep: Send + Sync> + Copy + Send + Sync + 'static;
    type Listener: Send + Sync;
    type Stream: rt::Read + rt::Write + Unpin + Send + 'static;

    fn timer(self) -> Self::Timer;

    fn listener(self, listener: TcpListener) -> io::Result<Self::Listener>;

    fn accept(
        self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    fn stream(self, stream: TcpStream) -> io::Result<Self::Stream>;
}

pub(crate) fn block_on(args: Args, signals: &Signals) -> ExitCode {
    match args.runtime {
        Runtime::Smol => smol::block_on(run(OnSmol, args, signals)),
        #[cfg(feature = "tokio")]
        Runtime::Tokio => {
            let mut builder = ::tokio::runtime::Builder::new_current_thread();
            match builder.enable_all().build() {
                Ok(runtime) => runtime.block_on(run(tokio::OnTokio, args, signals)),
                Err(e) => {
                    eprintln!("graceful: tokio: {e}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct OnSmol;

impl Net for OnSmol {
    type Timer = SmolTimer;
    type Listener = smol::net::TcpListener;
    type Stream = FuturesIo<smol::net::TcpStream>;

    fn timer(self) -> SmolTimer {
        SmolTimer::new()
    }

    fn listener(self, listener: TcpListener) -> io::Result<Self::Listener> {
        listener.try_into()
    }

    async fn accept(self, listener: &Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(FuturesIo::new(stream))
    }

    fn stream(self, stream: TcpStream) -> io::Result<Self::Stream> {
        stream.set_nodelay(true)?;
        Ok(FuturesIo::new(stream.try_into()?))
    }
}

#[cfg(feature = "tokio")]
mod tokio {
    use super::{Net, TcpListener, TcpStream, io};
    use hyper_util::rt::TokioIo;
    use tokio::net;
    use umbel::tokio::TokioTimer;

    #[derive(Clone, Copy)]
    pub(super) struct OnTokio;

    impl Net for OnTokio {
        type Timer = TokioTimer;
        type Listener = net::TcpListener;
        type Stream = TokioIo<net::TcpStream>;

        fn timer(self) -> TokioTimer {
            TokioTimer::new()
        }

        fn listener(self, listener: TcpListener) -> io::Result<Self::Listener> {
            net::TcpListener::from_std(listener)
        }

        async fn accept(self, listener: &Self::Listener) -> io::Result<Self::Stream> {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        }

        fn stream(self, stream: TcpStream) -> io::Result<Self::Stream> {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(TokioIo::new(net::TcpStream::from_std(stream)?))
        }
    }
}
