//! On which runtime it runs: the one place that knows. Elsewhere a runtime is a timer.

use crate::args::{Args, Runtime};
use crate::run::treesum;
use std::process::ExitCode;
use umbel::signal::Signals;
use umbel::smol::SmolTimer;

pub(crate) fn block_on(args: &Args, signals: &Signals) -> ExitCode {
    match args.runtime {
        Runtime::Smol => smol::block_on(treesum(args, signals, SmolTimer::new())),
        #[cfg(feature = "tokio")]
        Runtime::Tokio => {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().build();
            let runtime = runtime.expect("a timer needs nothing of the system");
            runtime.block_on(treesum(args, signals, umbel::tokio::TokioTimer::new()))
        }
        #[cfg(feature = "async-std")]
        Runtime::AsyncStd => {
            let timer = umbel::async_std::AsyncStdTimer::new();
            async_std::task::block_on(treesum(args, signals, timer))
        }
    }
}
