//! The real `ffi`: C that is told to stop, and C that is not.
#![cfg(unix)]
#![forbid(unsafe_code)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running `ffi`, whose C runs.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn start(args: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ffi"))
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "searching");
    Running { child, lines }
}

impl Running {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Its exit code, and what else it said.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let said = self.lines.map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), said)
    }
}

#[test]
fn c_searches_to_the_end() {
    let (code, said) = start(&["1000"]).end();
    assert_eq!(code, Some(0));
    assert_eq!(said, ["all 999 tried", "871 takes 178 steps"]);
}

#[test]
fn a_signal_stops_c_and_what_it_found_is_told() {
    // It need not wait for the grace.
    let search = start(&["--grace=1h"]);
    search.signal(Signal::SIGINT);
    let (code, said) = search.end();
    assert_eq!(code, Some(130));
    assert!(said[0].starts_with("stopped after "), "{said:?}");
}

#[test]
fn a_deadline_stops_c() {
    let run = Command::new(env!("CARGO_BIN_EXE_ffi"))
        .args(["--deadline=100ms", "--grace=1h"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(124));
    // On a busy machine it may not even have begun.
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(
        said.lines().any(|line| line.starts_with("stopped ")),
        "{said}"
    );
}

#[test]
fn c_that_does_not_hear_is_left_behind_and_told() {
    let search = start(&["--deaf", "--grace=10ms"]);
    search.signal(Signal::SIGTERM);
    let (code, said) = search.end();
    assert_eq!(code, Some(143));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("child \"search\" "), "{said:?}");
    assert!(
        said[1].starts_with("left behind: the thread of examples/ffi/main.rs:"),
        "{said:?}"
    );
}
