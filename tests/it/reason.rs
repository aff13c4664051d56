//! Reasons: one word, kinds, codes and errors.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use umbel_core::{Cancelled, Reason, ReasonKind};

#[derive(Debug)]
struct Custom(#[allow(dead_code, reason = "its count tells when the error is dropped")] Arc<()>);

impl fmt::Display for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disk on fire")
    }
}

impl Error for Custom {}

#[test]
fn kinds_codes_and_texts() {
    let all = [
        (Reason::explicit(), ReasonKind::Explicit, "cancelled"),
        (
            Reason::deadline_exceeded(),
            ReasonKind::DeadlineExceeded,
            "deadline exceeded",
        ),
        (
            Reason::sibling_failed(),
            ReasonKind::SiblingFailed,
            "a sibling failed",
        ),
        (
            Reason::sibling_succeeded(),
            ReasonKind::SiblingSucceeded,
            "a sibling succeeded",
        ),
        (Reason::shutdown(), ReasonKind::Shutdown, "shutting down"),
        (
            Reason::dropped(),
            ReasonKind::Dropped,
            "its scope was dropped",
        ),
        (Reason::custom(0), ReasonKind::Custom, "custom reason 0"),
        (
            Reason::custom(u16::MAX),
            ReasonKind::Custom,
            "custom reason 65535",
        ),
    ];
    for (reason, kind, text) in &all {
        assert_eq!(reason.kind(), *kind);
        assert_eq!(reason.to_string(), *text);
        assert!(reason.source().is_none());
        assert_eq!(reason.code().is_some(), *kind == ReasonKind::Custom);
        assert_eq!(reason, &reason.clone());
    }
    assert_eq!(Reason::custom(u16::MAX).code(), Some(u16::MAX));
    let distinct: HashSet<Reason> = all.into_iter().map(|(reason, ..)| reason).collect();
    assert_eq!(distinct.len(), 8);
}

#[test]
fn an_error_is_dropped_with_the_last_clone() {
    let alive = Arc::new(());
    let reason = Reason::error(Custom(Arc::clone(&alive)));
    let clone = reason.clone();
    assert_eq!(clone, reason);
    assert_ne!(reason, Reason::error("disk on fire"));
    assert_eq!(reason.kind(), ReasonKind::Custom);
    assert_eq!(reason.code(), None);
    drop(reason);
    assert_eq!(Arc::strong_count(&alive), 2);
    assert_eq!(clone.to_string(), "disk on fire");
    assert!(clone.source().unwrap().is::<Custom>());
    assert!(format!("{clone:?}").contains("Custom"));
    drop(clone);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn one_word() {
    let word = size_of::<usize>();
    assert_eq!(size_of::<Reason>(), word);
    assert_eq!(size_of::<Option<Reason>>(), word);
    assert_eq!(size_of::<Cancelled>(), word);
}

#[test]
fn cancelled_becomes_an_io_error_that_callers_do_not_retry() {
    let error = std::io::Error::from(Cancelled::new(Reason::shutdown()));
    assert_eq!(error.kind(), std::io::ErrorKind::Other);
    let inner = error
        .get_ref()
        .unwrap()
        .downcast_ref::<Cancelled>()
        .unwrap();
    assert_eq!(inner.reason().kind(), ReasonKind::Shutdown);
    assert_eq!(error.to_string(), "cancelled: shutting down");
    assert_eq!(Cancelled::from(Reason::explicit()).to_string(), "cancelled");
    let caused = Cancelled::new(Reason::error(Custom(Arc::new(()))));
    assert!(Error::source(&caused).unwrap().is::<Custom>());
}
