//! The leak report.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use umbel::census::Census;
use umbel::{Failure, JoinError, Nursery};

#[derive(Debug)]
struct E;

impl From<JoinError> for E {
    fn from(_: JoinError) -> E {
        E
    }
}

impl From<Failure<E>> for E {
    fn from(_: Failure<E>) -> E {
        E
    }
}

#[test]
fn a_census_names_who_is_alive_and_where_it_came_from() {
    let census = Census::new();
    let n = Nursery::<E>::new()
        .name("server")
        .limit(2)
        .observer(&census);
    let h = n.handle();
    let (line, connection) = (line!(), h.child().name("connection"));
    drop(connection.spawn(pending::<Result<(), E>>()));
    drop(h.scope::<(), E, _>(|n| {
        let h = n.handle();
        n.run(async move {
            drop(h.spawn_graceful(|_| pending::<Result<(), E>>()));
            Ok(())
        })
    }));
    drop(h.spawn(pending::<Result<(), E>>()));
    {
        let mut run = pin!(n.run(async { Ok(()) }));
        let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        let alive = census.alive();
        let text = alive.to_string();
        assert_eq!(alive.scopes().count(), 2);
        assert_eq!(alive.children().count(), 4);
        let file = file!();
        let connection = format!("  child \"connection\" (spawned at {file}:{line}:");
        assert!(text.contains(&connection), "{text}");
        assert!(text.starts_with("scope \"server\" (run at "), "{text}");
        assert!(text.contains("  a child (spawned at"), "{text}");
        assert!(text.contains("): not started\n"), "{text}");

        h.cancel();
        assert!(matches!(poll(), Poll::Pending));
        let text = census.alive().to_string();
        assert_eq!(census.alive().children().count(), 2, "{text}");
        assert_eq!(text.matches(": draining\n").count(), 4, "{text}");
        let panic = catch_unwind(AssertUnwindSafe(|| census.assert_empty())).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("server"));
        h.force();
        // The scope is forced, and then ends by itself.
        assert!((0..3).any(|_| poll().is_ready()));
    }
    census.assert_empty();
    assert_eq!(census.alive().to_string(), "");
}
