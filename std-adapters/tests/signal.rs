//! `umbel::signal` with real signals.
//!
//! Every test runs in a process of its own: this binary again, with a mark in its environment.
//! There the test sends signals to itself with `raise`, which returns when the handler has run, or
//! says on its output that it is ready for its parent's. Nothing sleeps: what never comes is a
//! test that does not end.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::{future::Future, pin::pin, thread};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;
use umbel::signal::{self, Signals};
use umbel::{CancellationToken, ReasonKind};

const MARK: &str = "UMBEL_TEST_SIGNAL";

fn in_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// The test `name`, in a process of its own.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(MARK, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    /// Reads up to the line `> expected`; no other line of ours may come before it.
    fn expect(&mut self, expected: &str) {
        for line in &mut self.lines {
            // The test harness writes lines too, and may not have ended its last one.
            if let Some((_, said)) = line.unwrap().split_once("> ") {
                assert_eq!(said, expected);
                return;
            }
        }
        panic!("it ended before it said {expected:?}");
    }

    fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> ExitStatus {
        for line in &mut self.lines {
            let line = line.unwrap();
            assert!(!line.contains("> "), "unexpected: {line}");
        }
        self.child.wait().unwrap()
    }
}

fn say(line: &str) {
    println!("> {line}");
}

fn wait(token: &CancellationToken) -> ReasonKind {
    smol::block_on(token.cancelled());
    token.reason().unwrap().kind()
}

/// Runs the test's own part in the child; in the parent says whether it ended well.
fn alone(name: &str, test: impl FnOnce()) {
    if in_child() {
        test();
        say("end");
    } else {
        let mut process = Process::start(name);
        process.expect("end");
        assert!(process.end().success());
    }
}

/// As [`alone`], but the child must be ended by `signal` where it says "now".
fn ended_by(signal: i32, name: &str, test: impl FnOnce()) {
    if in_child() {
        test();
        say("still alive");
    } else {
        let mut process = Process::start(name);
        process.expect("now");
        assert_eq!(process.end().signal(), Some(signal));
    }
}

#[test]
fn three_signals_of_another_process() {
    if in_child() {
        let signals = signal::install().unwrap();
        assert_eq!(signals.last(), None);
        say("ready");
        assert_eq!(wait(signals.token()), ReasonKind::Shutdown);
        assert_eq!(signals.last(), Some(SIGTERM));
        assert!(!signals.forced().is_cancelled());
        say("asked");
        assert_eq!(wait(signals.forced()), ReasonKind::Shutdown);
        assert_eq!(signals.last(), Some(SIGINT));
        say("forced");
        loop {
            thread::park();
        }
    }
    let mut process = Process::start("three_signals_of_another_process");
    process.expect("ready");
    process.kill(Signal::TERM);
    process.expect("asked");
    process.kill(Signal::INT);
    process.expect("forced");
    process.kill(Signal::TERM);
    assert_eq!(process.end().signal(), Some(SIGTERM));
}

#[test]
fn the_third_has_its_default_action_at_once() {
    ended_by(SIGINT, "the_third_has_its_default_action_at_once", || {
        let signals = signal::install().unwrap();
        raise(SIGINT).unwrap();
        wait(signals.token());
        raise(SIGINT).unwrap();
        wait(signals.forced());
        say("now");
        raise(SIGINT).unwrap();
    });
}

#[test]
fn two_different_signals_at_once_count_as_two() {
    alone("two_different_signals_at_once_count_as_two", || {
        let signals = signal::install().unwrap();
        raise(SIGINT).unwrap();
        raise(SIGTERM).unwrap();
        wait(signals.token());
        wait(signals.forced());
    });
}

#[test]
fn afterwards_signals_have_their_default_action() {
    ended_by(
        SIGTERM,
        "afterwards_signals_have_their_default_action",
        || {
            let signals = signal::install().unwrap();
            let token = signals.token().clone();
            drop(signals);
            assert!(!token.is_cancelled());
            say("now");
            raise(SIGTERM).unwrap();
        },
    );
}

#[test]
fn what_was_caught_before_the_drop_is_still_told() {
    alone("what_was_caught_before_the_drop_is_still_told", || {
        let signals = signal::install().unwrap();
        let token = signals.token().clone();
        raise(SIGINT).unwrap();
        drop(signals); // waits for the thread
        assert!(token.is_cancelled());
    });
}

#[test]
fn all_installed_see_every_signal() {
    alone("all_installed_see_every_signal", || {
        let one = signal::install().unwrap();
        let two = signal::install().unwrap();
        raise(SIGINT).unwrap();
        wait(one.token());
        wait(two.token());
        drop(one);
        raise(SIGTERM).unwrap(); // `two` is left: no default action yet
        wait(two.forced());
        assert_eq!(two.last(), Some(SIGTERM));
    });
}

#[test]
fn installed_again_it_counts_anew() {
    alone("installed_again_it_counts_anew", || {
        for _ in 0..3 {
            let signals = signal::install().unwrap();
            raise(SIGINT).unwrap();
            wait(signals.token());
            raise(SIGINT).unwrap();
            wait(signals.forced());
        }
    });
}

#[test]
fn the_default_action_of_a_third_signal_goes_with_the_one_that_saw_two() {
    alone(
        "the_default_action_of_a_third_signal_goes_with_the_one_that_saw_two",
        || {
            let old = signal::install().unwrap();
            raise(SIGINT).unwrap();
            wait(old.token());
            raise(SIGINT).unwrap();
            wait(old.forced());
            let new = signal::install().unwrap();
            drop(old);
            raise(SIGINT).unwrap();
            wait(new.token());
        },
    );
}

#[test]
fn a_waker_that_panics_does_not_end_the_thread() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    alone("a_waker_that_panics_does_not_end_the_thread", || {
        let signals = signal::install().unwrap();
        let token = signals.token().clone();
        let mut cancelled = pin!(token.cancelled());
        let waker = Waker::from(Arc::new(Panics));
        let poll = cancelled.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(poll, Poll::Pending);
        raise(SIGINT).unwrap();
        wait(signals.token());
        let forced = signals.forced().clone();
        raise(SIGTERM).unwrap();
        drop(signals);
        assert!(forced.is_cancelled());
    });
}

#[test]
fn a_waker_that_hangs_does_not_take_the_third_away() {
    struct Hangs(Sender<()>);
    impl Wake for Hangs {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
            loop {
                thread::park();
            }
        }
    }
    ended_by(
        SIGTERM,
        "a_waker_that_hangs_does_not_take_the_third_away",
        || {
            let signals = signal::install().unwrap();
            let (called, is_called) = channel();
            let waker = Waker::from(Arc::new(Hangs(called)));
            let mut forced = pin!(signals.forced().cancelled());
            let poll = forced.as_mut().poll(&mut Context::from_waker(&waker));
            assert_eq!(poll, Poll::Pending);
            raise(SIGINT).unwrap();
            wait(signals.token());
            raise(SIGINT).unwrap();
            is_called.recv().unwrap();
            say("now");
            raise(SIGTERM).unwrap();
            say("still alive");
            std::process::exit(1); // dropping the signals would wait for the waker
        },
    );
}

/// A waker that drops the signals on their own thread, when it is let go.
struct Drops {
    signals: Mutex<Option<Signals>>,
    called: Sender<()>,
    let_go: Mutex<Receiver<()>>,
    dropped: Sender<()>,
}

impl Wake for Drops {
    fn wake(self: Arc<Self>) {
        self.called.send(()).unwrap();
        self.let_go.lock().unwrap().recv().unwrap();
        let signals = self.signals.lock().unwrap().take();
        drop(signals);
        self.dropped.send(()).unwrap();
    }
}

/// Takes one signal, with a waker that drops the signals; runs `during` before it does.
fn dropped_by_a_waker(during: impl FnOnce()) -> CancellationToken {
    let signals = signal::install().unwrap();
    let (token, forced) = (signals.token().clone(), signals.forced().clone());
    let (called, is_called) = channel();
    let (go, let_go) = channel();
    let (dropped, has_dropped) = channel();
    let waker = Waker::from(Arc::new(Drops {
        signals: Mutex::new(Some(signals)),
        called,
        let_go: Mutex::new(let_go),
        dropped,
    }));
    let mut cancelled = pin!(token.cancelled());
    let poll = cancelled.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(poll, Poll::Pending);
    raise(SIGINT).unwrap();
    is_called.recv().unwrap();
    during();
    go.send(()).unwrap();
    has_dropped.recv().unwrap();
    forced
}

#[test]
fn a_waker_may_drop_the_signals() {
    ended_by(SIGINT, "a_waker_may_drop_the_signals", || {
        dropped_by_a_waker(|| ());
        say("now");
        raise(SIGINT).unwrap();
    });
}

#[test]
fn what_was_caught_and_not_yet_taken_is_still_told() {
    alone("what_was_caught_and_not_yet_taken_is_still_told", || {
        let forced = dropped_by_a_waker(|| raise(SIGTERM).unwrap());
        wait(&forced);
    });
}
