//! The command line: what is wrong ends with 2 and prints no sum.

use super::sum;

#[test]
fn usage_errors_end_with_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["--jobs", "0", "."],
        &["--jobs", "many", "."],
        &["--jobs=-1", "."],
        &["--deadline", "soon", "."],
        &["--grace", "", "."],
        &["--fail-fast", "--keep-going", "."],
        &["--progress", "sometimes", "."],
        &["--runtime", "none", "."],
        &["--no-such-option", "."],
        &[""],
    ];
    for args in wrong {
        let ran = sum(*args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.out.is_empty(), "{args:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
}

#[test]
fn help_tells_options_and_exit_codes() {
    let ran = sum(["--help"]);
    ran.assert_code(0);
    let help = String::from_utf8(ran.out).unwrap();
    let told = [
        "--jobs",
        "--deadline",
        "--grace",
        "--fail-fast",
        "--keep-going",
        "--progress",
        "--stats",
        "--tree",
        "--runtime",
        "124",
        "130",
        "143",
        "141",
        "sha256sum -c",
    ];
    for word in told {
        assert!(help.contains(word), "no {word} in {help}");
    }
    sum(["--version"]).assert_code(0);
}
