//! The four steps of the shutdown, and what holds it up.

use super::graceful;
use crate::client::{Client, Outcome};
use crate::harness::{Curl, curl};
use nix::sys::signal::Signal;
use std::io::ErrorKind;

const HOUR: &str = "/slow?ms=3600000";

#[test]
fn a_lame_duck_is_not_ready_and_serves_on() {
    let mut server = graceful(&["--lame-duck=1h", "--budget=5h"]);
    assert_eq!(curl(&[&server.url("/readyz")]).status, 200);
    server.terminate();
    server.wait_for("lame duck");
    for (path, status) in [("/readyz", 503), ("/healthz", 200), ("/fast", 200), ("/slow?ms=1", 200)] {
        let got = curl(&[&server.url(path)]);
        assert_eq!((got.code, got.status), (0, status), "{path}");
        // Who is told by nobody but the load balancer keeps his connection.
        assert!(!got.head.contains("connection: close"), "{}", got.head);
    }
    // Nobody wants to wait for an hour.
    server.terminate();
    server.end();
}

#[test]
fn it_ends_well_and_says_so() {
    let server = graceful(&["--lame-duck=1ms"]);
    server.terminate();
    let ran = server.end();
    ran.assert_code(0).assert_says(": clean\n");
    let steps = [
        "lame duck",
        "ingress: the port is closed",
        "processing: what has begun is answered",
        "listener (ingress) drained in",
        "log (egress) drained in",
        "requests: 0 begun",
        "queue: 0 accepted",
    ];
    let places = steps.map(|step| ran.out.find(step).expect(step));
    assert!(places.is_sorted(), "{}", ran.out);
}

#[test]
fn what_has_begun_is_answered_and_the_port_is_closed() {
    let mut server = graceful(&["--lame-duck=0s", "--linger=0s"]);
    let mut before = Client::new(server.address());
    assert_eq!(before.get("/fast"), Outcome::Whole(200));
    let slow = Curl::start(&[&server.url("/slow?ms=1500")]);
    server.wait_for("GET /slow: sleeps");
    server.terminate();
    server.wait_for("processing");
    let late = Client::new(server.address()).connect().map(drop);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Its connection has no request: it is closed, or just before that says that it is too late.
    let late = before.get("/fast");
    assert!(matches!(late, Outcome::Refused | Outcome::Whole(503)), "{late:?}");
    let got = slow.end();
    assert_eq!((got.code, got.status, &*got.body), (0, 200, "slept for 1.5s\n"));
    assert!(got.head.contains("connection: close"), "{}", got.head);
    let ran = server.end();
    ran.assert_code(0).assert_says(", 0 left by their clients, 0 cut");
}

#[test]
fn an_idle_connection_has_one_answer_more_and_knows_that_it_is_the_last() {
    let mut server = graceful(&["--lame-duck=0s", "--linger=1h", "--budget=50h"]);
    let mut idle = Client::new(server.address());
    assert_eq!(idle.get("/fast"), Outcome::Whole(200));
    // One on which nothing was said yet.
    let mut fresh = Client::new(server.address());
    fresh.connect().unwrap();
    server.terminate();
    server.wait_for("ingress: the port is closed");
    for client in [&mut idle, &mut fresh] {
        assert!(client.is_connected());
        assert_eq!(client.get("/fast"), Outcome::Whole(200));
        // The answer said that it was the last, and so it was.
        assert!(!client.is_connected());
        assert_eq!(client.get("/fast"), Outcome::Refused);
    }
    // And nobody waits for the hour.
    let ran = server.end();
    ran.assert_code(0).assert_says("3 begun, 3 answered (of them 0 by 503)");
}

#[test]
fn half_a_request_holds_up_nobody() {
    let mut server = graceful(&["--lame-duck=0s", "--linger=1ms", "--budget=5h"]);
    let mut client = Client::new(server.address());
    client.send(b"GET /fast HTTP/1.1\r\nho").unwrap();
    server.terminate();
    assert_eq!(client.read_answer(), Outcome::Refused);
    server.wait_for("processing");
    let ran = server.end();
    ran.assert_code(0).assert_says("requests: 0 begun");
}

#[test]
fn a_stream_says_goodbye() {
    let mut server = graceful(&["--lame-duck=0s", "--linger=0s"]);
    let client = Curl::start(&[&server.url("/events")]);
    server.wait_for("GET /events: begun");
    server.terminate();
    let got = client.end();
    assert_eq!((got.code, got.status), (0, 200));
    assert!(got.head.contains("content-type: text/event-stream"));
    assert!(got.body.starts_with("event: tick\ndata: 1\n\n"), "{}", got.body);
    let goodbye = "\n\nevent: goodbye\ndata: the server is shutting down\n\n";
    assert!(got.body.ends_with(goodbye), "{}", got.body);
    server.end().assert_code(0).assert_says("1 begun, 1 answered");
}

#[test]
fn who_does_not_heed_is_forced_and_named() {
    let mut server = graceful(&["--stubborn", "--lame-duck=0s", "--linger=0s", "--budget=1s"]);
    let client = Curl::start(&[&server.url("/stubborn")]);
    server.wait_for("GET /stubborn: begun");
    server.terminate();
    // No answer, and not half a one.
    let got = client.end();
    assert_eq!((got.code, got.status), (52, 0));
    let ran = server.end();
    ran.assert_code(2)
        .assert_says("requests (processing) was forced after")
        .assert_says("child \"GET /stubborn\" (spawned at examples/graceful/request.rs:")
        .assert_says("1 begun, 0 answered (of them 0 by 503), 0 left by their clients, 1 cut");
}

#[test]
fn who_does_not_heed_is_not_helped_by_a_client_that_goes_away() {
    let mut server = graceful(&["--stubborn", "--lame-duck=0s", "--linger=0s", "--budget=1s"]);
    let client = Curl::start(&[&server.url("/stubborn")]);
    server.wait_for("GET /stubborn: begun");
    client.kill();
    server.wait_for("GET /stubborn: left by its client");
    server.terminate();
    let ran = server.end();
    ran.assert_code(2)
        .assert_says("child \"GET /stubborn\"")
        .assert_not("child \"a connection\"");
}

#[test]
fn a_second_signal_leaves_no_more_time() {
    let mut server = graceful(&["--lame-duck=0s", "--linger=0s", "--budget=5h"]);
    let client = Curl::start(&[&server.url(HOUR)]);
    server.wait_for("GET /slow: sleeps");
    server.terminate();
    server.wait_for("processing");
    server.terminate();
    assert_eq!(client.end().code, 52);
    let ran = server.end();
    ran.assert_code(2)
        .assert_says("child \"GET /slow\" (spawned at ")
        .assert_says("1 begun, 0 answered (of them 0 by 503), 0 left by their clients, 1 cut");
}

#[test]
fn a_stream_that_is_cut_is_not_taken_for_a_whole_one() {
    let server = graceful(&["--tick=1h", "--lame-duck=0s"]);
    // Again, if the machine was too busy for the first event.
    let ask = || curl(&["-H", "x-budget-ms: 200", &server.url("/events")]);
    let got = loop {
        match ask() {
            late if late.status == 504 => {}
            got => break got,
        }
    };
    assert_eq!(got.status, 200);
    // Its end is missing: "transfer closed with outstanding read data remaining".
    assert_eq!((got.code, &*got.body), (18, "event: tick\ndata: 1\n\n"));
    server.terminate();
    server.end().assert_code(0).assert_says(" 0 left by their clients, 1 cut");
}

#[test]
fn the_last_answer_is_not_followed_by_a_reset() {
    let mut server = graceful(&["--lame-duck=0s", "--linger=1h", "--budget=50h"]);
    let mut client = Client::new(server.address());
    client.connect().unwrap();
    server.terminate();
    server.wait_for("ingress: the port is closed");
    // More behind it than the server reads with it.
    let request = b"GET /fast HTTP/1.1\r\nhost: test\r\n\r\n";
    client.send(&request.repeat(20_000)).unwrap();
    assert_eq!(client.read_answer(), Outcome::Whole(200));
    let ran = server.end();
    ran.assert_code(0).assert_says("1 begun, 1 answered");
}

#[test]
fn who_knocks_before_the_port_is_closed_is_let_in() {
    let server = graceful(&["--lame-duck=0s", "--linger=1h", "--budget=50h"]);
    // They are all in the kernel's queue when it hears of the signal.
    server.signal(Signal::SIGSTOP);
    let mut clients = [(); 20].map(|()| Client::new(server.address()));
    for client in &mut clients {
        client.connect().unwrap();
    }
    server.terminate();
    server.signal(Signal::SIGCONT);
    for mut client in clients {
        assert_eq!(client.get("/fast"), Outcome::Whole(200));
    }
    server.end().assert_code(0).assert_says("20 begun, 20 answered");
}
