//! Ctrl-C, SIGTERM, deadline and force: nothing new is begun, what is in flight stops at a chunk
//! boundary or is given up, what is finished is printed in whole lines, what is not is told.

use super::treesum;
use crate::harness::{Running, Tree, WATCHDOG, names, release, run};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, Read};
use std::path::PathBuf;

/// A hundred small files, two held ones, and more behind them.
struct Busy {
    tree: Tree,
    held: [PathBuf; 2],
}

fn busy() -> Busy {
    let tree = Tree::new();
    tree.files("a", 100);
    let held = [tree.held("b0"), tree.held("b1")];
    tree.files("c", 100);
    Busy { tree, held }
}

impl Busy {
    /// Started with two jobs, and seen to read both held files.
    fn start(&self, options: &[&str]) -> Running {
        let mut command = treesum();
        command.args(["--jobs=2", "--stats"]).args(options).arg(".");
        let mut running = Running::start(command.current_dir(self.tree.path()));
        running.wait_until_open(&[&self.held[0], &self.held[1]]);
        running
    }
}

#[test]
fn a_signal_stops_files_in_flight_and_begins_no_other() {
    for (signal, code, name) in [
        (Signal::SIGINT, 130, "SIGINT"),
        (Signal::SIGTERM, 143, "SIGTERM"),
    ] {
        let busy = busy();
        // The grace is no reason to wait for an hour: each file stops at its next chunk.
        let running = busy.start(&["--grace=1h", WATCHDOG]);
        running.signal(signal);
        let ran = running.end();
        ran.assert_code(code)
            .assert_says(&format!(
                "interrupted by {name}: 100 summed, 2 begun and not finished, the walk did not end"
            ))
            .assert_says("not finished: \"./b0\"")
            .assert_says("not finished: \"./b1\"")
            .assert_says("started 102, done 100, failed 0, ")
            .assert_says("forced 0");
        let finished = ran.names();
        assert_eq!(finished.len(), 100);
        assert!(finished.is_sorted() && finished.iter().all(|name| name.starts_with("./a")));
    }
}

#[test]
fn what_was_finished_behind_an_unfinished_file_is_printed() {
    let t = Tree::new();
    let first = t.held("a");
    t.files("b", 10);
    let last = t.held("c");
    let args = ["--jobs=2", WATCHDOG, "."];
    let mut running = Running::start(treesum().args(args).current_dir(t.path()));
    running.wait_until_open(&[&first, &last]);
    running.signal(Signal::SIGINT);
    let ran = running.end();
    ran.assert_code(130)
        .assert_says("10 summed, 2 begun and not finished, all files had been begun");
    let names = ran.names();
    assert_eq!(names.len(), 10);
    assert!(names.is_sorted());
}

#[test]
fn a_deadline_stops_as_a_signal_does() {
    let busy = busy();
    let mut command = treesum();
    command.args(["--jobs=2", "--grace=1h", "--deadline=1s", "."]);
    let ran = run(command.current_dir(busy.tree.path()));
    ran.assert_code(124)
        .assert_says("stopped at the deadline of 1s: ")
        .assert_says("the walk did not end");
    // However far it came.
    let names = ran.names();
    assert!(names.is_sorted() && names.iter().all(|name| name.starts_with("./a")));
}

#[test]
fn a_deadline_in_the_past_begins_nothing() {
    let t = Tree::new();
    t.file("a", "x");
    let ran = run(treesum().args(["--deadline=0s", "--stats"]).arg(t.path()));
    ran.assert_code(124)
        .assert_says("started 0, done 0, failed 0, ");
    assert!(ran.out.is_empty());
}

#[test]
fn a_deadline_beyond_the_end_of_time_never_comes() {
    let t = Tree::new();
    t.file("a", "x");
    let ran = run(treesum()
        .args(["--deadline=1000000years", "--grace=1000000years"])
        .arg(t.path()));
    ran.assert_code(0);
    assert_eq!(ran.names().len(), 1);
}

/// Stops one thread of the program in the middle of a file, as a system call stuck for ever would.
struct Stuck(Pid);

impl Stuck {
    /// Picks a thread that has read for some time: the pool's idle ones have not.
    fn make(running: &mut Running) -> Self {
        let tasks = running.proc("task");
        let busiest = || {
            let tasks = fs::read_dir(&tasks).unwrap();
            let ticks = tasks.filter_map(|task| {
                let stat = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
                let (tid, name) = stat.split_once(" (blocking-")?;
                let fields: Vec<_> = name.rsplit_once(") ")?.1.split(' ').collect();
                let ticks = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
                Some((ticks, tid.parse::<i32>().ok()?))
            });
            ticks.max().filter(|(ticks, _)| *ticks >= 10)
        };
        running.wait_until(|_| busiest().is_some());
        let tid = Pid::from_raw(busiest().unwrap().1);
        ptrace::seize(tid, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(tid).unwrap();
        waitpid(tid, Some(WaitPidFlag::__WALL)).unwrap();
        Stuck(tid)
    }

    /// Collects the thread, which the tracer must do, when the process has ended.
    fn reap(self) {
        while waitpid(self.0, Some(WaitPidFlag::__WALL)).is_ok() {}
    }
}

#[test]
fn a_file_that_does_not_stop_is_given_up_when_the_grace_ends() {
    let busy = busy();
    let mut running = busy.start(&["--grace=1s"]);
    let stuck = Stuck::make(&mut running);
    running.signal(Signal::SIGINT);
    stuck.reap();
    let ran = running.end();
    ran.assert_code(130)
        .assert_says("100 summed, 2 begun and not finished")
        .assert_says("not finished: \"./b0\"")
        .assert_says("not finished: \"./b1\"")
        .assert_says("started 102, done 100, failed 0, ");
    assert!(ran.stat("forced") >= 1);
    assert_eq!(ran.names().len(), 100);
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace() {
    let busy = busy();
    let mut running = busy.start(&["--grace=1h"]);
    let stuck = Stuck::make(&mut running);
    running.signal(Signal::SIGINT);
    // The other file has stopped: the first signal has been heard.
    running.wait_until(|me| me.open_files(&busy.tree.path()).len() <= 1);
    running.signal(Signal::SIGINT);
    stuck.reap();
    let ran = running.end();
    ran.assert_code(130)
        .assert_says("started 102, done 100, failed 0, ");
    // The other one too, if the nursery had not yet heard of its end.
    assert!(ran.stat("forced") >= 1);
    assert_eq!(ran.names().len(), 100);
}

/// Many files, so that the output is more than a pipe holds (64 KiB).
fn long_output() -> Tree {
    let t = Tree::new();
    t.files("a file with a rather long name ", 2000);
    t
}

#[test]
fn no_half_line_when_a_signal_comes_amid_the_output() {
    let t = long_output();
    let held = t.held("z");
    let mut command = treesum();
    command
        .args(["--jobs=2", WATCHDOG, "."])
        .current_dir(t.path());
    let mut running = Running::start(&mut command);
    let mut out = running.out.take().unwrap();
    let mut read = Vec::new();
    for _ in 0..50 {
        out.read_until(b'\n', &mut read).unwrap();
    }
    running.signal(Signal::SIGINT);
    out.read_to_end(&mut read).unwrap();
    running.end().assert_code(130);
    let names = names(&read);
    assert!(names.len() >= 50 && names.is_sorted());
    release(&held);
}

#[test]
fn no_half_line_when_the_reader_is_stuck() {
    let t = long_output();
    let mut command = treesum();
    command
        .args(["--jobs=2", "--grace=1h", WATCHDOG, "."])
        .current_dir(t.path());
    let mut running = Running::start(&mut command);
    // Sixteen batches of 39 lines, one a page: the pipe takes no further one.
    let out = running.out.take().unwrap();
    running.wait_until(|_| unread(out.get_ref()) > 65_000);
    running.signal(Signal::SIGINT);
    // It ends although nobody reads, and says that there was more.
    assert_eq!(running.end_unread(), 130);
    let mut read = Vec::new();
    let mut out = out;
    out.read_to_end(&mut read).unwrap();
    let names = names(&read);
    assert!(names.is_sorted() && names.len() < 2000);
    running
        .end()
        .assert_code(130)
        .assert_says("not all sums could be written");
}

/// Bytes in the pipe.
fn unread(pipe: &impl std::os::fd::AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap()
}
