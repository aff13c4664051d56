//! What is bounded: files read at once, results that wait for an earlier one, memory.

use super::treesum;
use crate::harness::{Running, Tree, WATCHDOG};
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn no_more_files_are_read_at_once_than_jobs() {
    let t = Tree::new();
    for i in 0..8 {
        t.held(format!("{i}"));
    }
    let mut command = treesum();
    command.args(["--jobs=3", "--stats", "--progress=always", WATCHDOG, "."]);
    let mut running = Running::start(command.current_dir(t.path()));
    running.wait_until_open(&[&t.at("0"), &t.at("1"), &t.at("2")]);
    for _ in 0..5 {
        running.bars(1);
        assert_eq!(running.open_files(&t.path()).len(), 3);
    }
    running.signal(Signal::SIGINT);
    let ran = running.end();
    ran.assert_code(130);
    assert_eq!(ran.stat("started"), 3);
}

#[test]
fn results_that_wait_for_a_slow_file_are_bounded() {
    let t = Tree::new();
    let held = t.held("a");
    t.files("b", 3000);
    let mut command = treesum();
    command.args(["--jobs=2", "--stats", "--progress=always", WATCHDOG, "."]);
    let mut running = Running::start(command.current_dir(t.path()));
    running.wait_until_open(&[&held]);
    // Until the count stands still, although the held file moves the bar.
    loop {
        let bars = running.bars(4);
        let counts: Vec<_> = bars.iter().map(|bar| bar.rsplit(' ').nth(1)).collect();
        if counts.iter().all(|count| *count == counts[0]) && counts[0] != Some("0") {
            break;
        }
    }
    running.signal(Signal::SIGINT);
    let ran = running.end();
    ran.assert_code(130);
    let started = ran.stat("started");
    assert!(started < 2000, "{started} results were waiting");
    // They were finished, so they are printed.
    assert_eq!(ran.names().len(), ran.stat("done"));
    assert!(started - ran.stat("done") <= 2, "{}", ran.err);
}

/// The most memory it has had, in KiB, when `files` files have been summed.
fn peak(directories: usize, held_last: &str) -> u64 {
    let t = Tree::new();
    for i in 0..directories {
        t.dir(format!("{i:03}"));
        t.files(&format!("{i:03}/"), 50);
    }
    let held = t.held(held_last);
    let mut command = treesum();
    command
        .args(["--jobs=2", WATCHDOG, "."])
        .current_dir(t.path());
    let mut running = Running::start(command.stdin(std::process::Stdio::null()));
    let mut out = running.out.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        running.wait_until_open(&[&held]);
        let status = fs::read_to_string(running.proc("status")).unwrap();
        running.signal(Signal::SIGINT);
        running.end().assert_code(130);
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    })
}

#[test]
fn memory_is_flat_in_the_number_of_files() {
    let (few, many) = (peak(40, "last"), peak(400, "last"));
    // 18,000 files more: less than 100 bytes for each would already be too much.
    assert!(
        many < few + 1500,
        "{few} KiB for 2,000 files, {many} for 20,000"
    );
}
