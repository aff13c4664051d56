//! `WasmSpawn`.

use crate::host::{millis, pass};
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use umbel::wasm::WasmSpawn;
use umbel::{
    Boxed, CancellationToken, Cause, JoinErrorKind, LocalNursery, Nursery, ReasonKind, Spawn,
};
use umbel_tests::exec::{Log, yields};

crate::list![
    a_task_is_not_polled_within_spawn,
    a_task_outlives_who_spawned_it,
    children_on_it_give_their_outputs,
    children_that_are_send_run_on_it_too,
    a_cancelled_nursery_leaves_no_child_on_it,
    a_nursery_that_is_dropped_asks_its_children_to_stop,
    an_executor_whose_type_is_not_known_is_one,
];

type E = &'static str;

async fn a_task_is_not_polled_within_spawn() {
    let (token, log) = (CancellationToken::new(), Log::new());
    let (ends, theirs) = (token.clone().drop_guard(), log.clone());
    let spawned = WasmSpawn.spawn(async move {
        theirs.add("polled");
        drop(ends);
    });
    spawned.unwrap();
    log.add("spawned");
    token.cancelled().await;
    assert_eq!(log.take(), "spawned polled");
}

async fn a_task_outlives_who_spawned_it() {
    let token = CancellationToken::new();
    let ends = token.clone().drop_guard();
    let outer = async move {
        let inner = async move {
            yields(3).await;
            drop(ends);
        };
        WasmSpawn.spawn(inner).unwrap();
    };
    WasmSpawn.spawn(outer).unwrap();
    token.cancelled().await;
}

async fn children_on_it_give_their_outputs() {
    let n = LocalNursery::<E>::new().limit(3).on(WasmSpawn);
    let h = n.handle();
    let polls = Rc::new(Cell::new(0)); // not `Send`
    let run = n.run(async {
        let squares = (1..=10u64).map(|i| {
            let polls = polls.clone();
            async move {
                polls.set(polls.get() + 1);
                yields(1).await;
                Ok(i * i)
            }
        });
        let squares = h.parallel(squares).await.map_err(|_| "one has no output")?;
        Ok(squares.into_iter().sum::<u64>())
    });
    assert_eq!(run.await.unwrap(), 385);
    assert_eq!((polls.get(), Rc::strong_count(&polls)), (10, 1));
}

async fn children_that_are_send_run_on_it_too() {
    let n = Nursery::<E>::new().on(WasmSpawn);
    let h = n.handle();
    let run = n.run(async {
        let (a, b) = (h.spawn(async { Ok(20) }), h.spawn(async { Ok(22) }));
        Ok(a.await.map_err(|_| "a")? + b.await.map_err(|_| "b")?)
    });
    assert_eq!(run.await.unwrap(), 42);
}

async fn a_cancelled_nursery_leaves_no_child_on_it() {
    let log = Log::new();
    let n = LocalNursery::<E>::new().on(WasmSpawn);
    let h = n.handle();
    let run = n.run::<(), _>(async {
        for i in 0..3 {
            let dropped = log.on_drop(i.to_string());
            drop(h.spawn(async move {
                let _dropped = dropped;
                pending::<Result<(), E>>().await
            }));
        }
        let theirs = log.clone();
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            yields(2).await;
            theirs.add("told");
            Ok(())
        }));
        yields(2).await; // so that they have begun
        Err("fails")
    });
    let failure = run.await.unwrap_err();
    log.add("ended");
    let said = log.take();
    assert!(said.ends_with("ended"), "{said}");
    assert_eq!(said.split(' ').count(), 5, "{said}");
    let stats = h.stats();
    assert_eq!((stats.cancelled, stats.lost, stats.forced), (3, 0, 0));
    assert!(matches!(failure.cause, Cause::Error("fails")));
}

async fn a_nursery_that_is_dropped_asks_its_children_to_stop() {
    let log = Log::new();
    let n = LocalNursery::<E>::new().on(WasmSpawn);
    let h = n.handle();
    let dropped = log.on_drop("stopped");
    let mut run = Box::pin(n.run::<(), _>(async {
        let child = async move {
            let _dropped = dropped;
            pending::<Result<(), E>>().await
        };
        let error = h.spawn(child).await.unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Cancelled);
        Ok(())
    }));
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let later = async move {
        yields(3).await;
        drop(guard);
    };
    WasmSpawn.spawn(later).unwrap();
    assert!(stop.run_until_cancelled(run.as_mut()).await.is_none());
    assert_eq!(log.take(), "");
    drop(run);
    pass(millis(1)).await;
    assert_eq!(log.take(), "stopped");
}

async fn an_executor_whose_type_is_not_known_is_one() {
    let stop = CancellationToken::new();
    let n = Nursery::<E>::new().token(&stop).on(Boxed(WasmSpawn));
    let h = n.handle();
    let run = n.run::<(), _>(async {
        drop(h.spawn(pending::<Result<(), E>>()));
        yields(1).await;
        stop.cancel();
        pending().await
    });
    let failure = run.await.unwrap_err();
    let reason = failure.cancelled().unwrap();
    assert_eq!(reason.kind(), ReasonKind::Explicit);
}
