//! The real `treesum`, run on real trees, verified by the real `sha256sum`; every test on every runtime.
//!
//! No test sleeps or measures time. What must happen "while a file is being read" is synchronised by
//! a *held* file: sparse and so large that its end is not reached in any test, until the test
//! truncates it. That it is being read is seen in `/proc/PID/fd`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::duplicate_mod, reason = "the same tests run on each runtime")]

mod harness;

/// All tests, for each runtime by its name on the command line; in them, `super` runs that.
macro_rules! on_every_runtime {
    ($($(#[$only:meta])* $runtime:ident = $name:literal;)*) => {$(
        $(#[$only])*
        #[path = "."]
        mod $runtime {
            use crate::harness::{Ran, run};
            use std::ffi::OsStr;
            use std::process::Command;

            mod errors;
            mod limits;
            mod progress;
            mod stop;
            mod sums;
            mod usage;

            fn treesum() -> Command {
                let mut command = Command::new(env!("CARGO_BIN_EXE_treesum"));
                command.args(["--runtime", $name]);
                command
            }

            fn sum(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
                run(treesum().args(args))
            }
        }
    )*};
}

on_every_runtime! {
    smol = "smol";
    #[cfg(feature = "tokio")]
    tokio = "tokio";
    #[cfg(feature = "async-std")]
    async_std = "async-std";
}
