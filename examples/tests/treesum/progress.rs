//! The bar, the tree and the stats: only where they were asked for.

use super::treesum;
use crate::harness::{Running, Tree, WATCHDOG, release, run};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{BufRead, Read};
use std::process::Stdio;

#[test]
fn a_pipe_gets_a_bar_only_with_always() {
    let t = Tree::new();
    t.file("a", "x");
    for (when, bar) in [
        (None, false),
        (Some("auto"), false),
        (Some("never"), false),
        (Some("always"), true),
    ] {
        let mut command = treesum();
        command.args(when.map(|when| format!("--progress={when}")));
        let ran = run(command.arg("a").current_dir(t.path()));
        ran.assert_code(0);
        assert_eq!(ran.names(), ["a"]);
        assert_eq!(
            ran.err.contains(" files, 1 B"),
            bar,
            "{when:?}: {:?}",
            ran.err
        );
        assert_eq!(ran.err.is_empty(), !bar, "{when:?}: {:?}", ran.err);
    }
}

/// Standard error on a terminal: what the terminal was sent.
fn on_terminal(option: &str) -> String {
    let t = Tree::new();
    t.file("a", vec![7; 1000]);
    let pty = openpty(None, None).unwrap();
    let mut command = treesum();
    command
        .env("TERM", "xterm")
        .args([option, "a"])
        .current_dir(t.path());
    command.stdout(Stdio::null()).stderr(pty.slave);
    assert!(command.status().unwrap().success());
    drop(command);
    // A terminal without processes at its other end reads as an error after the last byte.
    let mut sent = Vec::new();
    let _ = File::from(pty.master).read_to_end(&mut sent);
    String::from_utf8(sent).unwrap()
}

#[test]
fn a_terminal_gets_a_bar_unless_never() {
    assert!(on_terminal("--progress=auto").contains(" files, "));
    assert_eq!(on_terminal("--progress=never"), "");
}

#[test]
fn stats_count_the_files() {
    let t = Tree::new();
    t.files("a", 5);
    let ran = run(treesum().args(["--stats", "."]).current_dir(t.path()));
    ran.assert_code(0);
    assert_eq!(
        ran.err,
        "treesum: started 5, done 5, failed 0, cancelled 0, forced 0\n"
    );
}

#[test]
fn a_message_is_not_torn_by_the_bar() {
    let t = Tree::new();
    let bad: Vec<_> = (0..50).map(|i| format!("/no/such/{i}")).collect();
    t.file("a", vec![7; 1_000_000]);
    let ran = run(treesum()
        .args(["--progress=always", "a"])
        .args(&bad)
        .current_dir(t.path()));
    ran.assert_code(1);
    for path in bad {
        ran.assert_says(&format!(
            "treesum: {path:?}: No such file or directory (os error 2)\n"
        ));
    }
}

#[test]
fn the_tree_shows_what_is_read_until_the_end() {
    let t = Tree::new();
    let held = t.held("held");
    t.file("small", "x");
    let mut command = treesum();
    command.args(["--tree", "--jobs=2", WATCHDOG, "."]);
    let mut running = Running::start(command.current_dir(t.path()));
    running.wait_until_open(&[&held]);
    // Twice: it is shown again and again.
    for _ in 0..2 {
        let mut line = String::new();
        while !line.starts_with("└─ \"./held\" #1, graceful: running for ") {
            line.clear();
            let err = running.err.as_mut().unwrap();
            assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended");
        }
    }
    release(&held);
    let ran = running.end();
    ran.assert_code(0);
    assert!(
        ran.err.ends_with("scope \"treesum\": ended, 2 done\n"),
        "{}",
        ran.err
    );
}

#[test]
fn stats_say_how_long_a_stop_took() {
    let t = Tree::new();
    let held = t.held("held");
    let mut command = treesum();
    command.args(["--stats", "--grace=1h", WATCHDOG, "."]);
    let mut running = Running::start(command.current_dir(t.path()));
    running.wait_until_open(&[&held]);
    running.signal(Signal::SIGINT);
    let ran = running.end();
    ran.assert_code(130)
        .assert_says("treesum: files in flight saw the stop in: 1 below ")
        .assert_says("treesum: files in flight ended in: 1 below ");
}
