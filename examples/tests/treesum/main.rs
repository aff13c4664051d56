//! The real `treesum`, run on real trees, verified by the real `sha256sum`.
//!
//! No test sleeps or measures time. What must happen "while a file is being read" is synchronised by
//! a *held* file: sparse and so large that its end is not reached in any test, until the test
//! truncates it. That it is being read is seen in `/proc/PID/fd`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod harness;

mod errors;
mod limits;
mod progress;
mod stop;
mod sums;
mod usage;
