//! Each route, the header with the budget, and a client that goes away.

use super::graceful;
use crate::harness::{Curl, curl};

#[test]
fn each_route_answers() {
    let server = graceful(&["--lame-duck=0s"]);
    for (args, path, status, body) in [
        (&[][..], "/healthz", 200, "yes\n"),
        (&[], "/readyz", 200, "yes\n"),
        (&[], "/fast", 200, "fast\n"),
        (&[], "/slow?ms=1", 200, "slept for 1ms\n"),
        (&["-d", "something"], "/work", 202, "accepted\n"),
        (&["-I"], "/fast", 405, ""),
        (&["-d", "something"], "/fast", 405, "not by this method\n"),
        (&[], "/stubborn", 404, "there is nothing here\n"),
        (&[], "/slow?ms=soon", 400, "write /slow?ms=N, in milliseconds\n"),
    ] {
        let got = curl(&[args, &[&server.url(path)]].concat());
        assert_eq!((got.code, got.status, &*got.body), (0, status, body), "{path}");
    }
    server.terminate();
    let ran = server.end();
    ran.assert_code(0).assert_says("requests: 9 begun, 9 answered (of them 0 by 503), 0 left by their clients, 0 cut");
}

#[test]
fn a_panic_is_the_answer_of_one_request_and_hurts_no_other() {
    let mut server = graceful(&["--stubborn", "--lame-duck=0s"]);
    let other = Curl::start(&[&server.url("/slow?ms=500")]);
    server.wait_for("GET /slow: sleeps");
    let got = curl(&[&server.url("/panic")]);
    assert_eq!((got.status, &*got.body), (500, "the handler panicked\n"));
    assert_eq!(other.end().status, 200);
    server.terminate();
    let ran = server.end();
    ran.assert_code(0).assert_says("2 begun, 2 answered");
}

#[test]
fn an_item_has_a_limit() {
    let server = graceful(&["--lame-duck=0s"]);
    let long = "x".repeat(64 * 1024 + 1);
    let got = curl(&["-d", &long, &server.url("/work")]);
    assert_eq!((got.status, &*got.body), (413, "an item has at most 64 KiB\n"));
    server.terminate();
    server.end().assert_code(0).assert_says("queue: 0 accepted");
}

#[test]
fn a_budget_that_is_long_enough_changes_nothing() {
    let server = graceful(&[]);
    for header in ["grpc-timeout: 1H", "x-budget-ms: 3600000"] {
        let got = curl(&["-H", header, &server.url("/slow?ms=1")]);
        assert_eq!((got.status, &*got.body), (200, "slept for 1ms\n"), "{header}");
    }
}

#[test]
fn a_bad_budget_is_an_error_that_says_what_is_wrong() {
    let server = graceful(&[]);
    for (header, body) in [
        ("grpc-timeout: 5", "grpc-timeout: a timeout without a unit\n"),
        ("grpc-timeout: -5S", "grpc-timeout: a timeout with '-' for a digit\n"),
        ("x-budget-ms: 99999999999999999999", "x-budget-ms: a timeout with too many digits\n"),
    ] {
        let got = curl(&["-H", header, &server.url("/fast")]);
        assert_eq!((got.status, &*got.body), (400, body), "{header}");
    }
}

#[test]
fn a_budget_that_is_spent_begins_nothing() {
    let server = graceful(&["--lame-duck=0s"]);
    for header in ["grpc-timeout: 0n", "x-budget-ms: 0"] {
        let got = curl(&["-H", header, &server.url("/slow?ms=1")]);
        let body = "the request's budget was spent before the request came\n";
        assert_eq!((got.status, &*got.body), (504, body), "{header}");
    }
    server.terminate();
    server.end().assert_code(0).assert_not("sleeps");
}

#[test]
fn a_budget_that_ends_first_cancels_the_handler() {
    let server = graceful(&["--lame-duck=0s"]);
    let got = curl(&["-H", "x-budget-ms: 1", &server.url("/slow?ms=3600000")]);
    let body = "the request's budget was spent before the answer was ready\n";
    assert_eq!((got.status, &*got.body), (504, body));
    server.terminate();
    server.end().assert_code(0);
}

#[test]
fn a_client_that_goes_away_cancels_the_scope_of_its_request() {
    let mut server = graceful(&["--lame-duck=0s"]);
    let client = Curl::start(&[&server.url("/slow?ms=3600000")]);
    server.wait_for("request 1 GET /slow: sleeps");
    client.kill();
    server.wait_for("request 1 GET /slow: left by its client");
    server.wait_for("request 1 GET /slow: cleaned up");
    server.wait_for("request 1 GET /slow: its scope was cancelled");
    server.terminate();
    let ran = server.end();
    ran.assert_code(0)
        .assert_says("1 begun, 0 answered (of them 0 by 503), 1 left by their clients, 0 cut");
}

#[test]
fn a_reader_of_events_that_goes_away_ends_them() {
    let mut server = graceful(&["--lame-duck=0s", "--tick=1ms"]);
    let client = Curl::start(&[&server.url("/events")]);
    server.wait_for("request 1 GET /events: begun");
    client.kill();
    server.wait_for("request 1 GET /events: left by its client");
    server.terminate();
    server.end().assert_code(0).assert_says("1 left by their clients");
}
