//! n_27: an interrupt cancels a fixed nursery, or wakes its body or one of its children, before each step
//! of its life. Neither is lost.

use crate::at_every_step;
use crate::child::{Child, Program};
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use umbel_core::{
    CancelSignal, CancellationToken, FixedFailure, FixedNursery, Reason, StaticToken, WakePool,
};

static POOL: WakePool<1> = WakePool::new();

/// The tests share the pool.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ends(child: Child) -> Result<(), ()> {
    child.await;
    Ok(())
}

/// Runs a nursery with room for one child, of which the second has to wait, for `turns` turns or to its
/// end.
fn run(
    program: &Program,
    stop: &impl CancelSignal,
    turns: usize,
) -> Option<Result<(), FixedFailure<()>>> {
    let n = FixedNursery::<(), 1>::new(&POOL).expect("the pool is free");
    let [first, second, body] = &program.children;
    let run = n.run_until_cancelled(stop, async {
        assert!(n.try_spawn(ends(first.clone())).is_ok());
        if n.spawn_wait(ends(second.clone())).await.is_err() {
            return pending().await; // it is closed
        }
        ends(body.clone()).await
    });
    program.run(run, turns)
}

fn nothing_is_left(program: Program) {
    assert!(!POOL.is_in_use());
    program.end();
}

#[test]
fn n_27_a_wake_at_every_step_of_a_fixed_nursery() {
    let _alone = alone();
    for who in 0..3 {
        let steps = at_every_step(
            || (Program::new(), CancellationToken::new()),
            |(program, stop)| run(program, stop, usize::MAX),
            |(program, _)| program.children[who].wake(),
            |(program, _), outcome| {
                assert_eq!(outcome, Some(Ok(())), "stalled");
                nothing_is_left(program);
            },
        );
        assert!(steps >= 5, "the hook does not see the atomics");
    }
}

#[test]
fn n_27_a_cancellation_at_every_step_of_a_fixed_nursery() {
    let _alone = alone();
    at_every_step(
        || (Program::new(), CancellationToken::new()),
        |(program, stop)| run(program, stop, usize::MAX),
        |(_, stop)| stop.cancel(),
        |(program, stop), outcome| {
            let outcome = outcome.expect("stalled");
            assert!(stop.is_cancelled() || outcome.is_ok());
            assert!(!matches!(outcome, Err(FixedFailure::Error(()))));
            drop(stop);
            nothing_is_left(program);
        },
    );
}

/// The same without an allocator, by a token in a static.
#[test]
fn n_27_a_static_cancellation_at_every_step_of_a_fixed_nursery() {
    static STOP: StaticToken<1> = StaticToken::new();
    let _alone = alone();
    at_every_step(
        || (Program::new(), STOP.child().expect("a free slot")),
        |(program, stop)| run(program, stop, usize::MAX),
        |_| STOP.cancel_children(Reason::custom(3)),
        |(program, stop), outcome| {
            let outcome = outcome.expect("stalled");
            if let Err(failure) = &outcome {
                let code = match failure {
                    FixedFailure::Cancelled(reason) => reason.code(),
                    FixedFailure::Error(()) => None,
                };
                assert_eq!(code, Some(3));
                assert!(stop.is_cancelled());
            }
            drop(stop);
            nothing_is_left(program);
        },
    );
}

/// Its future is dropped after some turns; the interrupt comes while it is used, or dropped.
#[test]
fn n_27_an_interrupt_at_every_step_of_a_fixed_nursery_that_is_dropped() {
    let _alone = alone();
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
                |(program, _), _| nothing_is_left(program),
            );
        }
    }
}
