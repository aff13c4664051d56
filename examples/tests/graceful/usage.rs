//! What is wrong is said.

use super::{NAME, graceful};
use crate::harness::command;

fn says(args: &[&str]) -> (i32, String) {
    let mut command = command();
    let output = command.args(["--runtime", NAME]).args(args).output().unwrap();
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

#[test]
fn a_port_in_use_is_an_error() {
    let first = graceful(&[]);
    let port = first.address().port();
    let (code, text) = says(&["--port", &port.to_string()]);
    assert_eq!(code, 1);
    let start = format!("graceful: 127.0.0.1, port {port}: ");
    assert!(text.starts_with(&start) && text.contains("in use"), "{text}");
}

#[test]
fn bad_arguments_are_told() {
    for (args, words) in [
        (["--port", "70000"], "70000 is not in 0..=65535"),
        (["--budget", "soon"], "invalid value 'soon' for '--budget <TIME>'"),
        (["--queue", "keep"], "[possible values: drop, drain, best-effort]"),
        (["--queue-size", "0"], "invalid value '0' for '--queue-size <N>'"),
        (["--host", "example.org"], "invalid value 'example.org' for '--host <ADDRESS>'"),
    ] {
        let (code, text) = says(&args);
        assert_eq!(code, 2);
        assert!(text.contains(words), "{text}");
    }
}
