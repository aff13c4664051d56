//! SIGTERM in the middle of load: each request is answered whole, or was refused before it began.

use super::{NAME, under_load};
use crate::client::{Client, Outcome};
use crate::load::{Hey, lame_duck, requests, run};

/// What the work costs is not what is tried here.
const OPTIONS: [&str; 3] = ["--work=0s", "--tick=20ms", "--budget=5h"];

fn load(options: &[&str]) {
    let lame_duck = lame_duck();
    let all = [&OPTIONS[..], &[&lame_duck], options].concat();
    let stubborn = all.contains(&"--stubborn");
    let table = run(under_load(&all), requests(), stubborn);
    println!("{NAME} {}\n{table}", all.join(" "));
    table.assert_nobody_is_lost();
}

#[test]
fn nobody_is_lost() {
    load(&["--linger=1s"]);
}

#[test]
fn nobody_is_lost_if_idle_connections_are_closed_at_once() {
    load(&["--linger=0s"]);
}

#[test]
fn nobody_else_is_lost_with_one_that_is_forced() {
    load(&["--linger=1s", "--stubborn"]);
}

/// Only if it is asked for, by GRACEFUL_HEY: not everybody has it.
#[test]
fn a_load_tool_counts_the_same() {
    let Some(hey) = Hey::wanted() else { return };
    let lame_duck = lame_duck();
    let server = under_load(&[&OPTIONS[..], &[&lame_duck, "--linger=1s"]].concat());
    let running = hey.start(&server.url("/fast"));
    let mut client = Client::new(server.address());
    let ours = requests() / 10;
    for _ in 0..ours {
        assert_eq!(client.get("/fast"), Outcome::Whole(200));
    }
    drop(client);
    server.terminate();
    let ran = server.end();
    let text = running.end();
    println!("{NAME}, beside hey:\n{}\n{text}", ran.out);
    ran.assert_code(0);
    // Whatever it calls an error, the server has not begun; and what it has, is whole.
    assert_eq!(ran.count(" begun, "), ours + text.answers(), "{text}");
    assert_eq!(ran.count(" answered ("), ours + text.answers(), "{text}");
}
