//! What cannot be read or written: named with the system's reason, and the rest goes on or not.

use super::{sum, treesum};
use crate::harness::{Running, Tree, WATCHDOG, release, run};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A regular file whose reading fails for everybody: no memory is mapped at address 0.
const BROKEN: &str = "/proc/self/mem";

/// `treesum` as a user whom permissions stop; `t` is opened to that user.
fn unprivileged(t: &Tree) -> Command {
    if !Uid::effective().is_root() {
        return treesum();
    }
    const NOBODY: u32 = 65534;
    fs::set_permissions(t.path(), Permissions::from_mode(0o755)).unwrap();
    // The build folder may be closed to others.
    let (copy, treesum) = (t.at("treesum"), treesum());
    // By a process of its own: a test that forks just then would keep our copy busy.
    let cp = Command::new("cp").arg(treesum.get_program()).arg(&copy).status();
    assert!(cp.unwrap().success());
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(copy);
    command.args(treesum.get_args());
    command.uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn files_and_directories_without_permission_are_named_and_the_rest_is_summed() {
    let t = Tree::new();
    let closed = Permissions::from_mode(0o000);
    t.dir("tree/b");
    t.file("tree/a", "x");
    fs::set_permissions(t.file("tree/b/closed", "x"), closed.clone()).unwrap();
    t.file("tree/b/open", "x");
    let dir = t.dir("tree/c");
    t.file("tree/c/unseen", "x");
    fs::set_permissions(&dir, closed).unwrap();
    t.file("tree/d", "x");

    let ran = run(unprivileged(&t).arg("tree").current_dir(t.path()));
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    ran.assert_code(1)
        .assert_says("\"tree/b/closed\": Permission denied")
        .assert_says("\"tree/c\": Permission denied");
    assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
    assert_eq!(ran.names(), ["tree/a", "tree/b/open", "tree/d"]);
}

#[test]
fn a_read_that_fails_is_named_and_the_rest_is_summed() {
    let t = Tree::new();
    let good = t.file("good", "x");
    let ran = run(treesum().arg(BROKEN).arg(&good).arg("--stats"));
    ran.assert_code(1)
        .assert_says("\"/proc/self/mem\": Input/output error")
        .assert_says("started 2, done 1, failed 1, cancelled 0, forced 0");
    assert_eq!(ran.names(), [good.to_str().unwrap()]);
}

#[test]
fn files_that_vanish_or_change_their_kind_after_the_walk_saw_them() {
    let t = Tree::new();
    let held = t.held("a");
    let gone = t.file("b gone", "x");
    let fifo = t.file("c becomes a fifo", "x");
    let link = t.file("d becomes a link", "x");
    t.file("e stays", "x");
    let dir = t.dir("f gone too");
    t.file("g stays", "x");

    let args = ["--jobs=1", WATCHDOG, "."];
    let mut running = Running::start(treesum().args(args).current_dir(t.path()));
    // The names have been read before the first file is begun, and a single job begins no other.
    running.wait_until_open(&[&held]);
    fs::remove_file(gone).unwrap();
    fs::remove_file(&fifo).unwrap();
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("e stays", link).unwrap();
    fs::remove_dir(dir).unwrap();
    release(&held);

    let ran = running.end();
    ran.assert_code(1)
        .assert_says("\"./b gone\": No such file or directory")
        .assert_says("\"./c becomes a fifo\": not a regular file any more")
        .assert_says("\"./d becomes a link\": Too many levels of symbolic links")
        .assert_says("\"./f gone too\": No such file or directory");
    assert_eq!(ran.names(), ["./a", "./e stays", "./g stays"]);
}

#[test]
fn a_path_too_long_for_the_system_is_named_and_the_rest_is_summed() {
    let t = Tree::new();
    // A directory too deep for its path is made step by step.
    let steps = "for i in $(seq 25); do mkdir $0 && cd -P $0 || exit 1; done; echo x > deepest";
    let name = "d".repeat(200);
    let made = Command::new("sh")
        .args(["-c", steps, &name])
        .current_dir(t.path())
        .status();
    assert!(made.unwrap().success());
    t.file("e", "x");
    let ran = run(treesum().arg(".").current_dir(t.path()));
    ran.assert_code(1).assert_says("File name too long");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert_eq!(ran.names(), ["./e"]);
}

#[test]
fn paths_that_are_missing_or_no_files_are_named() {
    let t = Tree::new();
    let fifo = t.at("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let good = t.file("good", "x");
    let ran = run(treesum()
        .args(["/no/such", "/dev/null"])
        .arg(fifo)
        .arg(&good));
    ran.assert_code(1)
        .assert_says("\"/no/such\": No such file or directory")
        .assert_says("\"/dev/null\": neither")
        .assert_says("fifo\": neither");
    assert_eq!(ran.names(), [good.to_str().unwrap()]);
}

#[test]
fn a_name_in_a_message_stays_on_its_line() {
    let ran = sum(["/no\n\x1b[31msuch"]);
    ran.assert_code(1)
        .assert_says(r#""/no\n\u{1b}[31msuch": No such"#);
}

#[test]
fn fail_fast_stops_the_files_in_flight() {
    let t = Tree::new();
    t.held("held");
    for bad in ["/no/such", BROKEN] {
        // Without the policy, the held file is read until the watchdog comes: another exit code.
        let mut command = treesum();
        command.args(["--fail-fast", "--stats", "--jobs=2", "--grace=1h", WATCHDOG]);
        let ran = run(command.args(["held", bad]).current_dir(t.path()));
        ran.assert_code(1)
            .assert_says(bad)
            .assert_says("stopped at the first failure")
            .assert_says("not finished: \"held\"")
            .assert_says("started 2, done 0, failed 1, cancelled 1, forced 0");
        assert!(ran.out.is_empty());
    }
}

#[test]
fn keep_going_does_not_stop_the_files_in_flight() {
    let t = Tree::new();
    let held = t.held("held");
    let last = t.held("last");
    for option in [None, Some("--keep-going")] {
        let mut command = treesum();
        command.args(["--jobs=2", WATCHDOG]).args(option);
        command.args(["held", BROKEN, "last"]).current_dir(t.path());
        let mut running = Running::start(&mut command);
        // The last one is begun after the failure, while the first is still being read.
        running.wait_until_open(&[&held, &last]);
        release(&held);
        release(&last);
        let ran = running.end();
        ran.assert_code(1).assert_says("Input/output error");
        assert_eq!(ran.names(), ["held", "last"]);
        t.held("held");
        t.held("last");
    }
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let t = Tree::new();
    // More than one batch, then a file that only a cancellation ends.
    t.files("a", 200);
    t.held("b");
    // With many jobs, the last one is in flight before the pipe is found broken.
    for (stats, jobs) in [(false, "--jobs=2"), (true, "--jobs=300")] {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let mut command = treesum();
        command
            .args([jobs, "--grace=1h", WATCHDOG, "."])
            .args(stats.then_some("--stats"));
        command
            .current_dir(t.path())
            .stdout(writer)
            .stderr(Stdio::piped());
        let ran = Running::start_as_is(&mut command).end();
        ran.assert_code(141);
        // What was asked for is said.
        let asked = ["started ", "files in flight saw ", "files in flight ended "];
        let asked = if stats { &asked[..] } else { &[] };
        let said: Vec<_> = ran.err.lines().collect();
        assert_eq!(said.len(), asked.len(), "{}", ran.err);
        for (line, words) in said.iter().zip(asked) {
            assert!(
                line.starts_with(&format!("treesum: {words}")),
                "{}",
                ran.err
            );
        }
    }
}

#[test]
fn a_full_disk_is_named() {
    let t = Tree::new();
    t.file("a", "x");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = treesum();
    command.arg(t.path()).stdout(full).stderr(Stdio::piped());
    let ran = Running::start_as_is(&mut command).end();
    ran.assert_code(1)
        .assert_says("standard output: No space left on device");
}
