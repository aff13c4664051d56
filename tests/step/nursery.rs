//! n_27: an interrupt cancels a nursery, or wakes its body or one of its children, before each step of
//! its life. Neither is lost, and neither calls the allocator.

use crate::at_every_step;
use crate::child::{Child, Program};
use std::future::pending;
use umbel_core::{CancellationToken, Cause, LocalNursery};
use umbel_tests::quiet::stale_wakes;

async fn ends(child: Child) -> Result<(), ()> {
    child.await;
    Ok(())
}

/// Runs a nursery with room for one child, of which the second has to wait, for `turns` turns or to its
/// end.
fn run(program: &Program, stop: &CancellationToken, turns: usize) -> Option<Result<(), Cause<()>>> {
    let n = LocalNursery::<()>::new().limit(1).token(stop);
    let h = n.handle();
    let [first, second, body] = &program.children;
    let run = n.run(async {
        let first = h.spawn(ends(first.clone()));
        let Ok(second) = h.spawn_wait(ends(second.clone())).await else {
            return pending().await; // it is cancelled
        };
        let _ = (first.await, second.await);
        ends(body.clone()).await
    });
    let outcome = program.run(run, turns)?;
    Some(outcome.map_err(|failure| failure.cause))
}

#[test]
fn n_27_a_wake_at_every_step_of_a_nursery() {
    let _alone = stale_wakes();
    for who in 0..3 {
        let steps = at_every_step(
            || (Program::new(), CancellationToken::new()),
            |(program, stop)| run(program, stop, usize::MAX),
            |(program, _)| program.children[who].wake(),
            |(program, _), outcome| {
                assert!(matches!(outcome, Some(Ok(()))), "stalled");
                program.end();
            },
        );
        assert!(steps >= 20, "the hook does not see the atomics");
    }
}

#[test]
fn n_27_a_cancellation_at_every_step_of_a_nursery() {
    let _alone = stale_wakes();
    at_every_step(
        || (Program::new(), CancellationToken::new()),
        |(program, stop)| run(program, stop, usize::MAX),
        |(_, stop)| stop.cancel(),
        |(program, _), outcome| {
            let outcome = outcome.expect("stalled");
            let is_cancelled = matches!(outcome, Err(Cause::Cancelled(_)));
            assert!(is_cancelled || outcome.is_ok());
            program.end();
        },
    );
}

/// Its future is dropped after some turns; the interrupt comes while it is used, or dropped.
#[test]
fn n_27_an_interrupt_at_every_step_of_a_nursery_that_is_dropped() {
    let _alone = stale_wakes();
    for turns in 0..4 {
        for who in 0..3 {
            at_every_step(
                || (Program::new(), CancellationToken::new()),
                |(program, stop)| run(program, stop, turns),
                |(program, stop)| {
                    program.children[who].wake();
                    if who == 0 {
                        stop.cancel();
                    }
                },
                |(program, _), _| program.end(),
            );
        }
    }
}
