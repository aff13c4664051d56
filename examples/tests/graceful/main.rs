//! The real `graceful`, asked by the real `curl` and by clients that count; every test on every runtime.
//!
//! No test sleeps or measures time: they wait for lines that the server writes. What must happen "while a
//! request is being answered" is asked of a handler that takes an hour; times that must pass in the
//! server are as short as they can be, and their length is never asserted.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::duplicate_mod, reason = "the same tests run on each runtime")]

mod client;
mod harness;
mod load;

/// All tests, for each runtime by its name on the command line; in them, `super` runs that.
macro_rules! on_every_runtime {
    ($($(#[$only:meta])* $runtime:ident = $name:literal;)*) => {$(
        $(#[$only])*
        #[path = "."]
        mod $runtime {
            use crate::harness::Running;

            mod queue;
            mod routes;
            mod stop;
            mod under_load;
            mod usage;

            /// Runs on a free port, and logs its requests.
            fn graceful(options: &[&str]) -> Running {
                let all = ["--runtime", $name, "--port=0", "--log-requests"];
                Running::start(&[&all[..], options].concat())
            }

            /// Is under load: does not log its requests.
            fn under_load(options: &[&str]) -> Running {
                let all = ["--runtime", $name, "--port=0"];
                Running::start(&[&all[..], options].concat())
            }

            const NAME: &str = $name;
        }
    )*};
}

on_every_runtime! {
    smol = "smol";
    #[cfg(feature = "tokio")]
    tokio = "tokio";
}
