//! What is printed: the sums of the right files, in `sha256sum`'s format, in walk order.

use super::{sum, treesum};
use crate::harness::{Running, Tree, WATCHDOG, release, run};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// A tree with names and files of every awkward kind.
fn awkward() -> Tree {
    let t = Tree::new();
    t.file("plain", "plain");
    t.file("empty", "");
    t.file("two words  and\ttab", "x");
    t.file("-leading-dash", "x");
    t.file("*star", "x");
    t.file("new\nline", "x");
    t.file("\n", "x");
    t.file("return\rreturn", "x");
    t.file("back\\slash", "x");
    t.file("back\\nslash-n", "x");
    t.file("\\", "x");
    t.file("ümläut 🌼", "x");
    t.file(OsStr::from_bytes(b"invalid \xff\xfe utf-8"), "x");
    t.file(OsStr::from_bytes(b"all: \xff\\\n\r"), "x");
    t.file("x".repeat(255), "the longest name");
    t.file(".hidden", "x");
    t.dir("empty directory");
    t.dir("sub/new\ndir/deeper");
    t.file("sub/new\ndir/deeper/file", "x");
    t.file("sub/other", vec![7; 1_000_003]);
    t.file("sub.txt", "sorted between sub and its siblings");
    t
}

/// `sha256sum -c` on what was printed, from the directory where it was printed.
#[track_caller]
fn verify(sums: &[u8], dir: &Path) {
    let t = Tree::new();
    let list = t.file("sums", sums);
    let mut check = Command::new("sha256sum");
    let checked = run(check
        .args(["--check", "--strict"])
        .arg(list)
        .current_dir(dir));
    checked.assert_code(0);
    let ok = checked
        .out
        .split(|b| *b == b'\n')
        .filter(|l| l.ends_with(b": OK"));
    assert_eq!(ok.count(), sums.iter().filter(|b| **b == b'\n').count());
}

fn sorted_lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = text.split_inclusive(|b| *b == b'\n').collect();
    lines.sort_unstable();
    lines
}

#[test]
fn awkward_names_are_printed_and_verified_as_sha256sum_does() {
    let t = awkward();
    // However the directory is written, it is joined as find does.
    let absolute = t.path();
    let slashes = t.path().join("").join("sub//");
    for root in [
        Path::new("."),
        Path::new("./"),
        Path::new("sub"),
        &absolute,
        &slashes,
    ] {
        let ours = run(treesum().arg(root).current_dir(t.path()));
        ours.assert_code(0);
        assert_eq!(ours.err, "");
        verify(&ours.out, &t.path());

        let mut find = Command::new("find");
        find.arg(root)
            .args(["-type", "f", "-exec", "sha256sum", "{}", "+"]);
        let theirs = run(find.current_dir(t.path()));
        assert_eq!(
            sorted_lines(&ours.out),
            sorted_lines(&theirs.out),
            "{root:?}"
        );
    }
}

#[test]
fn only_regular_files_are_summed_and_links_are_not_followed() {
    let t = Tree::new();
    t.file("file", "x");
    t.dir("dir");
    t.file("dir/inner", "x");
    symlink("file", t.at("link")).unwrap();
    symlink("dir", t.at("link to dir")).unwrap();
    symlink("nowhere", t.at("dangling")).unwrap();
    symlink("loop", t.at("loop")).unwrap();
    symlink("..", t.at("dir/up")).unwrap();
    mkfifo(&t.at("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(t.at("socket")).unwrap();
    // Only root makes devices.
    let made = mknod(&t.at("null"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3));
    if made.is_err() {
        println!("no device made: {made:?}");
    }
    let ran = run(treesum().args([WATCHDOG, "."]).current_dir(t.path()));
    ran.assert_code(0);
    assert_eq!(ran.names(), ["./dir/inner", "./file"]);
    assert_eq!(ran.err, "");
}

#[test]
fn a_file_of_hundreds_of_megabytes_of_holes() {
    let t = Tree::new();
    t.sparse("holes", 300 << 20);
    let ran = run(treesum().arg("holes").current_dir(t.path()));
    // As `head -c 300M /dev/zero | sha256sum` says.
    let sum = "17a88af83717f68b8bd97873ffcf022c8aed703416fe9b08e0fa9e3287692bf0";
    assert_eq!(
        String::from_utf8(ran.out).unwrap(),
        format!("{sum}  holes\n")
    );
}

#[test]
fn the_order_is_depth_first_by_bytes_for_any_number_of_jobs() {
    let t = Tree::new();
    for dir in ["b", "b/z", "a", "B"] {
        t.dir(dir);
        t.files(&format!("{dir}/"), 20);
    }
    t.file("b-", "sorted after b, whose files come in its place");
    t.file("aa", vec![1; 5_000_000]);
    t.file(OsStr::from_bytes(b"\xff"), "last");

    let number = |dir: &'static str| (0..20).map(move |i| format!("./{dir}/{i:05}"));
    let mut expected: Vec<_> = number("B").chain(number("a")).collect();
    expected.push("./aa".into());
    expected.extend(number("b").chain(number("b/z")));
    expected.extend(["./b-".into(), "./\u{fffd}".into()]);

    for jobs in ["1", "2", "3", "64"] {
        let ran = run(treesum().args(["--jobs", jobs, "."]).current_dir(t.path()));
        ran.assert_code(0);
        assert_eq!(ran.names(), expected, "{jobs} jobs");
    }
}

#[test]
fn a_file_that_ends_last_is_printed_in_its_place() {
    let t = Tree::new();
    let first = t.held("a");
    t.files("b", 30);
    let last = t.held("c");
    let args = ["--jobs", "2", WATCHDOG, "."];
    let mut running = Running::start(treesum().args(args).current_dir(t.path()));
    // With two jobs, c is begun only when all the b are done. Then c ends before a.
    running.wait_until_open(&[&first, &last]);
    release(&last);
    running.wait_until(|me| !me.open_files(&t.path()).contains(&last));
    release(&first);
    let ran = running.end();
    ran.assert_code(0);
    let names = ran.names();
    assert_eq!(names.len(), 32);
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn several_paths_are_summed_in_the_order_given() {
    let t = Tree::new();
    t.dir("d");
    t.file("d/inner", "x");
    t.file("-file", "x");
    t.file("z", "x");
    let ran = run(treesum()
        .args(["--", "z", "d", "-file", "d/"])
        .current_dir(t.path()));
    ran.assert_code(0);
    assert_eq!(ran.names(), ["z", "d/inner", "-file", "d/inner"]);
    verify(&ran.out, &t.path());
}

#[test]
fn an_empty_directory_has_no_sums() {
    let t = Tree::new();
    let ran = sum([t.path()]);
    ran.assert_code(0);
    assert!(ran.out.is_empty() && ran.err.is_empty());
}

#[test]
fn a_path_that_is_a_link_is_refused_and_with_a_slash_is_its_directory() {
    let t = Tree::new();
    t.dir("dir");
    t.file("dir/inner", "x");
    symlink("dir", t.at("link")).unwrap();
    let ran = run(treesum().arg("link").current_dir(t.path()));
    ran.assert_code(1).assert_says("\"link\": a symbolic link");
    assert!(ran.out.is_empty());
    let ran = run(treesum().arg("link/").current_dir(t.path()));
    ran.assert_code(0);
    assert_eq!(ran.names(), ["link/inner"]);
}
