//! SIGTERM in the middle of load: each request is answered whole, or was refused before it began.

use super::{NAME, under_load};
use crate::load::{requests, run};

fn load(options: &[&str]) {
    let all = ["--work=0s", "--tick=20ms", "--lame-duck=300ms", "--budget=5h"];
    let table = run(under_load(&[&all[..], options].concat()), requests());
    println!("{NAME} {options:?}\n{table}");
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
