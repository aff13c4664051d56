//! Nurseries on `WasmTimer`, in virtual time.

use crate::host::{delays, millis, timeouts};
use std::future::pending;
use umbel::wasm::WasmTimer;
use umbel::{CancellationToken, Clock, JoinErrorKind, LocalNursery, Nursery, ReasonKind, Timer};
use umbel_tests::exec::yields;

crate::list![
    a_deadline_cuts_at_its_instant,
    the_grace_is_over_at_its_instant,
    who_obeys_does_not_use_the_grace_up,
    each_child_has_a_timeout_of_its_own,
    a_nursery_that_ends_in_time_leaves_no_timeout,
    a_tokens_deadline_is_driven,
];

type E = &'static str;

const TIMER: WasmTimer = WasmTimer::new();

async fn a_deadline_cuts_at_its_instant() {
    let at = TIMER.now() + millis(50);
    // Its children are `Send`, and may sleep.
    let n = Nursery::<E>::new().timer(TIMER).deadline(at);
    let h = n.handle();
    let run = n.run::<(), _>(async {
        drop(h.spawn(async {
            TIMER.sleep_until(at + millis(1)).await;
            Ok(())
        }));
        pending().await
    });
    let failure = run.await.unwrap_err();
    let reason = failure.cancelled().unwrap();
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
    assert_eq!((TIMER.now(), timeouts()), (at, 0));
}

async fn the_grace_is_over_at_its_instant() {
    let n = LocalNursery::<E>::new().timer(TIMER).grace(millis(30));
    let h = n.handle();
    let begun = TIMER.now();
    let run = n.run::<(), _>(async {
        drop(h.spawn_graceful(|_| pending::<Result<(), E>>()));
        yields(1).await; // so that it has begun
        h.cancel();
        pending().await
    });
    let failure = run.await.unwrap_err();
    assert_eq!(failure.report.stats.forced, 1);
    assert_eq!((TIMER.now() - begun, timeouts()), (millis(30), 0));
}

async fn who_obeys_does_not_use_the_grace_up() {
    let at = TIMER.now() + millis(5);
    let n = LocalNursery::<E>::new()
        .timer(TIMER)
        .deadline(at)
        .grace(millis(100));
    let h = n.handle();
    let run = n.run::<(), _>(async {
        drop(h.spawn_graceful(|cx| async move {
            cx.token().cancelled().await;
            TIMER.sleep_until(at + millis(20)).await;
            Ok(())
        }));
        pending().await
    });
    let failure = run.await.unwrap_err();
    assert_eq!(failure.report.stats.forced, 0);
    assert_eq!((TIMER.now(), timeouts()), (at + millis(20), 0));
}

async fn each_child_has_a_timeout_of_its_own() {
    let n = LocalNursery::<E>::new().timer(TIMER);
    let h = n.handle();
    let run = n.run(async {
        let cut = h.child().timeout(millis(10));
        let cut = cut.spawn(pending::<Result<(), E>>());
        let done = h.child().timeout(millis(30)).spawn(async {
            TIMER.sleep_until(TIMER.now() + millis(20)).await;
            Ok(())
        });
        let error = cut.await.unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Cancelled);
        done.await.map_err(|_| "it was cut, too")
    });
    run.await.unwrap();
    assert_eq!(timeouts(), 0);
}

async fn a_nursery_that_ends_in_time_leaves_no_timeout() {
    let at = TIMER.now() + millis(3_600_000);
    let n = LocalNursery::<E>::new().timer(TIMER).deadline(at);
    let run = n.run(async {
        yields(1).await;
        Ok(7)
    });
    assert_eq!(run.await.unwrap(), 7);
    assert_eq!((delays().len(), timeouts()), (1, 0));
}

async fn a_tokens_deadline_is_driven() {
    let at = TIMER.now() + millis(10);
    let token = CancellationToken::new().child_with_deadline(at);
    token.drive(&TIMER).await;
    let reason = token.reason().unwrap();
    assert_eq!(reason.kind(), ReasonKind::DeadlineExceeded);
    assert_eq!(TIMER.now(), at);
}
