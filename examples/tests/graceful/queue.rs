//! What becomes of the queue: each item that was accepted is in the account.

use super::graceful;
use crate::harness::{Ran, Running, curl};

/// So many items, the first of which the worker has.
fn put(server: &mut Running, count: usize) {
    let url = server.url("/work");
    for _ in 0..count {
        assert_eq!(curl(&["-d", "x", &url]).status, 202);
    }
    server.wait_for("the worker has an item");
}

fn stopped(options: &[&str], count: usize) -> Ran {
    let all = ["--lame-duck=0s", "--linger=0s"];
    let mut server = graceful(&[&all[..], options].concat());
    put(&mut server, count);
    server.terminate();
    server.end()
}

#[test]
fn drain_does_all() {
    let ran = stopped(&["--queue=drain", "--work=20ms", "--budget=5h"], 10);
    ran.assert_code(0)
        .assert_says("queue: 10 accepted = 10 done + 0 dropped + 0 left; 0 refused");
}

#[test]
fn drain_that_takes_too_long_is_forced_and_leaves_the_rest() {
    let ran = stopped(&["--queue=drain", "--work=1h", "--budget=500ms"], 3);
    ran.assert_code(2)
        .assert_says("worker (processing) was forced after")
        .assert_says("queue: 3 accepted = 0 done + 0 dropped + 3 left; 0 refused");
}

#[test]
fn drop_does_the_one_at_hand_alone() {
    let ran = stopped(&["--queue=drop", "--work=2s", "--budget=5h"], 3);
    let done = ran.count(" done + ");
    let text = format!("queue: 3 accepted = {done} done + {} dropped + 0 left; 0 refused", 3 - done);
    ran.assert_code(0).assert_says(&text);
    // The others go at once, whatever the one at hand does.
    let mut server = graceful(&["--queue=drop", "--work=1h", "--lame-duck=0s", "--budget=50h"]);
    put(&mut server, 3);
    server.terminate();
    server.wait_for("the queue is closed");
    server.terminate();
    let ran = server.end();
    ran.assert_code(2)
        .assert_says("queue: 3 accepted = 0 done + 2 dropped + 1 left; 0 refused");
}

#[test]
fn best_effort_does_what_there_is_time_for() {
    let ran = stopped(&["--queue=best-effort", "--work=1h", "--effort=1ms", "--budget=5h"], 3);
    ran.assert_code(0)
        .assert_says("queue: 3 accepted = 0 done + 3 dropped + 0 left; 0 refused");
    let ran = stopped(&["--queue=best-effort", "--work=20ms", "--effort=1h", "--budget=5h"], 3);
    ran.assert_code(0)
        .assert_says("queue: 3 accepted = 3 done + 0 dropped + 0 left; 0 refused");
}

#[test]
fn a_full_queue_refuses() {
    let options = ["--lame-duck=0s", "--budget=500ms"];
    let mut server = graceful(&[&options[..], &["--queue-size=1", "--work=1h"]].concat());
    put(&mut server, 1);
    assert_eq!(curl(&["-d", "x", &server.url("/work")]).status, 202);
    let got = curl(&["-d", "x", &server.url("/work")]);
    assert_eq!((got.status, &*got.body), (503, "the queue is full\n"));
    server.terminate();
    let ran = server.end();
    ran.assert_says("queue: 2 accepted = 0 done + 0 dropped + 2 left; 1 refused");
}
