//! Planted violations: each is found, as what it is, and its innocent twin is not.

use crate::check::{Rules, Sources, check};
use crate::read::{refuses_unsafe, unsafe_lines};
use crate::violation::Kind;

const RULES: Rules<'static> = Rules {
    ranks: &[
        ("sync", 0),
        ("wake", 1),
        ("reason", 2),
        ("time", 2),
        ("token", 4),
    ],
    facade: "sync",
    may_be_unsafe: &["wake/cell.rs"],
};

/// A small house that keeps every rule.
fn house() -> Sources {
    [
        ("lib.rs", "mod sync; mod wake; mod reason; mod time; mod token; pub use token::tree::Token;"),
        ("sync.rs", "pub(crate) use core::sync::atomic::AtomicUsize; mod step { use super::AtomicUsize; }"),
        ("wake.rs", "pub(crate) mod batch; pub(crate) mod cell; pub use cell::Cell;"),
        ("wake/batch.rs", "use core::task::Waker; use core::cell::Cell;"),
        ("wake/cell.rs", "use crate::sync::AtomicUsize; use crate::wake::batch; unsafe impl Send for Cell {}"),
        ("reason.rs", "use crate::sync::AtomicUsize; /// [x]: crate::token::Token, unsafe\n fn f() { \"crate::token\"; }"),
        ("time.rs", "mod clock; pub use clock::Clock; #[cfg(test)] mod tests;"),
        ("time/clock.rs", "use crate::wake::cell::Cell; #[cfg(test)] mod tests { use crate::token::tree; }"),
        ("time/tests.rs", "use crate::token::tree::Token; use std::sync::Mutex; fn f() { unsafe {} }"),
        ("token.rs", "pub(crate) mod tree; pub(crate) mod wait;"),
        ("token/tree.rs", "use crate::{reason::Reason, wake::{self, cell::Cell}}; pub(in crate::token) fn f() {}"),
        ("token/wait.rs", "use crate::token::tree::Token; fn f() { let _ = crate::time::Clock::<u8>::new(); }"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

/// What is found when `line` is added to `file`.
fn with(file: &str, line: &str) -> Vec<(Kind, String)> {
    let mut house = house();
    let text = house.entry(file.to_owned()).or_default();
    *text = format!("{text}\n{line}");
    check(&house, &RULES)
        .into_iter()
        .map(|violation| (violation.kind, violation.file))
        .collect()
}

#[track_caller]
fn finds(kind: Kind, file: &str, line: &str) {
    assert_eq!(
        with(file, line),
        [(kind, file.to_owned())],
        "`{line}` in {file}"
    );
}

#[track_caller]
fn allows(file: &str, line: &str) {
    assert_eq!(with(file, line), [], "`{line}` in {file}");
}

#[test]
fn the_house_without_plants_is_clean() {
    allows("reason.rs", "");
}

#[test]
fn upward() {
    finds(
        Kind::Upward,
        "wake/cell.rs",
        "use crate::token::tree::Token;",
    );
    finds(
        Kind::Upward,
        "wake.rs",
        "use crate::{sync::AtomicUsize, reason::Reason};",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "fn f() { crate::token::tree::g(); }",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "fn f(x: super::token::tree::Token) {}",
    );
    finds(
        Kind::Upward,
        "time/clock.rs",
        "use super::super::token::tree;",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "mod inner { use super::super::token::tree; }",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "use crate::wake::{super::token};",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "pub struct S(pub (crate::token::tree::Token));",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "#[derive(crate::token::Derive)] struct S;",
    );
}

#[test]
fn upward_in_a_macro() {
    finds(
        Kind::Upward,
        "reason.rs",
        "macro_rules! m { () => { crate::token::tree::Token } }",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "macro_rules! m { () => { $crate::token::tree::Token } }",
    );
    finds(
        Kind::Upward,
        "reason.rs",
        "fn f() { assert!(crate::token::tree::ok()); }",
    );
}

#[test]
fn sideways() {
    finds(Kind::Sideways, "reason.rs", "use crate::time::Clock;");
    finds(
        Kind::Sideways,
        "time/clock.rs",
        "use crate::reason::Reason;",
    );
}

#[test]
fn a_child_uses_a_later_sibling() {
    finds(
        Kind::Upward,
        "token/tree.rs",
        "use crate::token::wait::Wait;",
    );
    finds(Kind::Upward, "token/tree.rs", "use super::wait::Wait;");
    allows("token/wait.rs", "use super::tree::Token;");
}

#[test]
fn a_child_uses_its_face() {
    finds(Kind::Face, "token/wait.rs", "use super::Token;");
    finds(Kind::Face, "token/wait.rs", "use super::*;");
    finds(Kind::Face, "token/wait.rs", "use crate::token::Token;");
    finds(Kind::Face, "token/wait.rs", "use crate::token;");
    finds(
        Kind::Face,
        "token/wait.rs",
        "use crate::token::{self as face};",
    );
    finds(
        Kind::Face,
        "token/wait.rs",
        "mod inner { use super::super::Token; }",
    );
    finds(Kind::Face, "token/wait.rs", "use self::super::Token;");
    finds(Kind::Face, "token/wait.rs", "use super as face;");
    allows(
        "token/wait.rs",
        "struct Mine; mod inner { use super::Mine; use crate::token::wait::Mine as M; }",
    );
    allows(
        "token.rs",
        "use self::tree::Token; use crate::token::wait::Wait;",
    );
}

#[test]
fn through_the_root() {
    finds(Kind::Root, "reason.rs", "use crate::Token;");
    finds(Kind::Root, "reason.rs", "use crate::*;");
    finds(Kind::Root, "reason.rs", "use crate as umbel;");
    finds(Kind::Root, "reason.rs", "use super::Token;");
    finds(
        Kind::Root,
        "reason.rs",
        "macro_rules! m { ($x:ident) => { crate::$x } }",
    );
    finds(Kind::Root, "reason.rs", "use crate::{self as umbel};");
}

#[test]
fn atomics_outside_the_facade() {
    for line in [
        "use core::sync::atomic::AtomicBool;",
        "use ::core::sync::atomic::AtomicBool;",
        "use core::{fmt, sync::{atomic::AtomicBool}};",
        "use core::sync;",
        "use core::*;",
        "use core as c;",
        "extern crate core as c;",
        "use std::sync::atomic;",
        "static S: std::sync::atomic::AtomicBool = todo();",
        "use std::sync::Mutex;",
        "use alloc::sync::Arc;",
        "use portable_atomic::AtomicBool;",
        "use portable_atomic_util::Arc;",
        "fn f() { loom::thread::yield_now(); }",
        "extern crate loom;",
        "use core::cell::UnsafeCell;",
        "use core::cell::{Cell, UnsafeCell as U};",
        "use core::cell;",
        "use alloc::alloc::dealloc;",
        "use alloc::alloc;",
        "macro_rules! m { () => { core::sync::atomic::fence(o) } }",
    ] {
        let found = with("reason.rs", line);
        assert!(
            !found.is_empty() && found.iter().all(|(kind, _)| *kind == Kind::Facade),
            "`{line}`: {found:?}"
        );
        allows("sync.rs", line);
        allows("time/tests.rs", line);
    }
    allows(
        "reason.rs",
        "use core::cell::Cell; use core::alloc::Layout; use alloc::alloc::handle_alloc_error;",
    );
    allows(
        "reason.rs",
        "#[cfg(target_has_atomic = \"64\")] fn f(x: X) { x.atomic } // core::sync::atomic",
    );
}

#[test]
fn unlisted_unsafe() {
    finds(Kind::Unsafe, "reason.rs", "fn f() { unsafe { g() } }");
    finds(Kind::Unsafe, "reason.rs", "unsafe fn f() {}");
    finds(Kind::Unsafe, "reason.rs", "#[unsafe(no_mangle)] fn f() {}");
    finds(
        Kind::Unsafe,
        "reason.rs",
        "macro_rules! m { ($x:expr) => { unsafe { $x } } }",
    );
    finds(
        Kind::Unsafe,
        "reason.rs",
        "fn f() { vec![unsafe { g() }]; }",
    );
    finds(
        Kind::Unsafe,
        "reason.rs",
        "#[cfg(not(test))] mod inner { fn f() { unsafe {} } }",
    );
    finds(Kind::Unsafe, "lib.rs", "fn f() { unsafe {} }");
    allows("reason.rs", "// unsafe\n/// unsafe\nfn f() { \"unsafe\"; }");
    allows(
        "reason.rs",
        "#[cfg(all(test, feature = \"std\"))] mod tests { fn f() { unsafe {} } }",
    );
}

#[test]
fn the_list_of_unsafe_files_is_exact() {
    let mut house = house();
    house.insert(
        "wake/cell.rs".into(),
        "use crate::sync::AtomicUsize;".into(),
    );
    let found = check(&house, &RULES);
    assert_eq!((found.len(), found[0].kind), (1, Kind::Stale));

    house.remove("wake/cell.rs");
    house.insert("wake.rs".into(), "pub(crate) mod batch;".into());
    house.insert("token/tree.rs".into(), String::new());
    let found = check(&house, &RULES);
    assert_eq!((found.len(), found[0].kind), (1, Kind::Stale));
}

#[test]
fn mod_lines_out_of_rank_order() {
    for root in [
        "mod wake; mod sync; mod reason; mod time; mod token;",
        "mod sync; mod wake; mod reason; mod token; mod time;",
    ] {
        let mut house = house();
        house.insert("lib.rs".into(), root.into());
        let found = check(&house, &RULES);
        assert_eq!((found.len(), found[0].kind), (1, Kind::Rank), "{root}");
    }
    let mut house = house();
    house.get_mut("lib.rs").unwrap().push_str("mod misc;");
    house.insert("misc.rs".into(), String::new());
    let found = check(&house, &RULES);
    assert_eq!((found.len(), found[0].kind), (1, Kind::Rank));
}

#[test]
fn what_hides_code() {
    finds(
        Kind::Hidden,
        "reason.rs",
        "#[path = \"../../x.rs\"] mod x {}",
    );
    finds(
        Kind::Hidden,
        "reason.rs",
        "#[cfg_attr(unix, path = \"x.rs\")] mod x {}",
    );
    finds(Kind::Hidden, "reason.rs", "include!(\"x.rs\");");
    finds(Kind::Hidden, "reason.rs", "mod absent;");
    finds(Kind::Hidden, "reason.rs", "mod inner { mod file; }");
    finds(
        Kind::Hidden,
        "reason.rs",
        "macro_rules! m { ($x:ident) => { mod $x; } }",
    );
    finds(Kind::Hidden, "reason.rs", "fn f() { \"");
    finds(Kind::Hidden, "reason/stray.rs", "fn f() {}");
    finds(Kind::Hidden, "reason/mod.rs", "fn f() {}");
}

#[test]
fn unsafe_in_crates_that_have_none() {
    assert!(refuses_unsafe(
        "//! Docs.\n#![forbid(unsafe_code)]\nfn f() {}",
        "forbid"
    ));
    assert!(!refuses_unsafe(
        "//! #![forbid(unsafe_code)]\n#![deny(unsafe_code)] // forbid",
        "forbid"
    ));
    assert_eq!(unsafe_lines("fn f() {\n m! { unsafe {} }\n}"), [2]);
    assert_eq!(
        unsafe_lines("// unsafe\n#![forbid(unsafe_code)]"),
        [] as [usize; 0]
    );
}
