//! `CancellationToken::drive`: who fires a deadline, when, and what is cancelled by it.

use core::time::Duration;
use std::cell::Cell;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::Poll;
use umbel_core::{CancellationToken, Clock, Instant, ManualClock, Reason, ReasonKind, Timer};
use umbel_tests::counting;
use umbel_tests::exec::Task;

const SECOND: Duration = Duration::from_secs(1);

fn kind(token: &CancellationToken) -> Option<ReasonKind> {
    token.reason().map(|reason| reason.kind())
}

/// A clock whose sleeps end at once, whatever the time.
struct Hasty {
    clock: ManualClock,
    sleeps: Rc<Cell<usize>>,
}

impl Clock for Hasty {
    fn now(&self) -> Instant {
        self.clock.now()
    }
}

impl Timer for Hasty {
    type Sleep = Ready<()>;

    fn sleep_until(&self, _: Instant) -> Ready<()> {
        self.sleeps.set(self.sleeps.get() + 1);
        ready(())
    }
}

#[test]
fn drive_fires_when_the_deadline_is_due_and_not_before() {
    let clock = ManualClock::new();
    let root = CancellationToken::new();
    let token = root.child_with_deadline(clock.now() + SECOND);
    let below = token.child_token();
    let mut drive = Task::new(token.drive(&clock));
    drive.stall();
    assert_eq!(clock.next_due(), Some(clock.now() + SECOND));
    clock.advance(SECOND - Duration::from_nanos(1));
    drive.stall();
    assert!(!token.is_cancelled() && !drive.is_woken());
    clock.advance(Duration::from_nanos(1));
    assert!(!token.is_cancelled(), "the clock cancels nothing by itself");
    assert_eq!(drive.wakes(), 1);
    assert_eq!(drive.poll(), Poll::Ready(()));
    assert_eq!(kind(&token), Some(ReasonKind::DeadlineExceeded));
    assert_eq!(kind(&below), Some(ReasonKind::DeadlineExceeded));
    assert!(!root.is_cancelled());
    assert_eq!(drive.wakes(), 1, "the driver does not wake itself");
    assert_eq!(drive.poll(), Poll::Ready(()));
}

#[test]
fn drive_fires_a_past_deadline_at_the_first_poll_and_asks_for_no_sleep() {
    let clock = ManualClock::starting_at(Instant::from_nanos(10));
    for past in [0, 9, 10] {
        let token = CancellationToken::new().child_with_deadline(Instant::from_nanos(past));
        let sleeps = Rc::new(Cell::new(0));
        let mut drive = Task::new(token.drive(Hasty {
            clock: clock.clone(),
            sleeps: sleeps.clone(),
        }));
        assert!(
            !token.is_cancelled(),
            "nothing happens before the first poll"
        );
        assert_eq!(drive.poll(), Poll::Ready(()));
        assert_eq!(kind(&token), Some(ReasonKind::DeadlineExceeded));
        assert_eq!((sleeps.get(), drive.wakes()), (0, 0));
    }
}

#[test]
fn drive_ends_when_the_token_is_cancelled_by_another() {
    let clock = ManualClock::new();
    for deadline in [clock.now() + SECOND, Instant::NEVER] {
        let root = CancellationToken::new();
        let token = root.child_with_deadline(deadline);
        let mut drive = Task::new(token.drive(&clock));
        drive.stall();
        root.cancel_with(Reason::shutdown());
        assert_eq!(drive.wakes(), 1);
        assert_eq!(drive.poll(), Poll::Ready(()));
        assert_eq!(token.reason(), Some(Reason::shutdown()));
    }
    let cancelled = CancellationToken::pre_cancelled(Reason::custom(3));
    let late = cancelled.child_with_deadline(Instant::EPOCH);
    assert_eq!(Task::new(late.drive(&clock)).poll(), Poll::Ready(()));
    assert_eq!(late.reason(), Some(Reason::custom(3)));
}

#[test]
fn drive_without_a_deadline_asks_for_no_sleep() {
    let clock = ManualClock::new();
    let token = CancellationToken::new();
    let mut drive = Task::new(token.drive(&clock));
    drive.stall();
    clock.advance_to(Instant::NEVER);
    drive.stall();
    assert_eq!(clock.entries(), 0);
    token.cancel();
    assert_eq!(drive.finish(), ());
    let never = CancellationToken::never();
    Task::new(never.drive(&clock)).stall();
}

#[test]
fn drive_of_a_child_cancels_the_child_although_the_deadline_is_its_ancestors() {
    let clock = ManualClock::new();
    let root = CancellationToken::new().child_with_deadline(clock.now() + SECOND);
    let child = root.child_with_deadline(Instant::NEVER);
    let (mut of_child, mut of_root) = (
        Task::new(child.drive(&clock)),
        Task::new(root.drive(&clock)),
    );
    of_child.stall();
    of_root.stall();
    clock.advance(SECOND);
    assert_eq!(of_child.poll(), Poll::Ready(()));
    assert!(child.is_cancelled() && !root.is_cancelled());
    assert_eq!(of_root.poll(), Poll::Ready(()));
    assert_eq!(kind(&root), Some(ReasonKind::DeadlineExceeded));
}

#[test]
fn drive_dropped_leaves_nothing_and_another_takes_over() {
    let clock = ManualClock::new();
    let token = CancellationToken::new().child_with_deadline(clock.now() + SECOND);
    let first = counting::Task::new();
    {
        let mut drive = Box::pin(token.drive(&clock));
        assert!(first.poll(drive.as_mut()).is_pending());
        assert!(first.wakers() > 0);
    }
    assert_eq!(first.wakers(), 0);
    assert!(!token.is_cancelled());
    let mut second = Task::new(token.drive(clock.clone()));
    second.stall();
    clock.advance(SECOND);
    assert_eq!(second.poll(), Poll::Ready(()));
    assert_eq!(first.woken(), 0);
}

#[test]
fn drive_sleeps_again_when_a_sleep_ends_early() {
    let (clock, sleeps) = (ManualClock::new(), Rc::new(Cell::new(0)));
    let token = CancellationToken::new().child_with_deadline(clock.now() + SECOND);
    let mut drive = Task::new(token.drive(Hasty {
        clock: clock.clone(),
        sleeps: sleeps.clone(),
    }));
    for n in 1..=3 {
        assert!(drive.poll().is_pending());
        assert!(drive.is_woken(), "it must look again");
        assert_eq!(sleeps.get(), n + 1, "one new sleep a poll");
    }
    assert!(!token.is_cancelled());
    clock.advance(SECOND);
    assert_eq!(drive.poll(), Poll::Ready(()));
    assert_eq!(kind(&token), Some(ReasonKind::DeadlineExceeded));
}

#[test]
fn drive_is_send_and_sync_when_its_timer_is() {
    fn is<T: Send + Sync>(_: &T) {}
    let token = CancellationToken::new();
    is(&token.drive(ManualClock::new()));
}

#[test]
fn debug_shows_the_deadline() {
    let root = CancellationToken::new();
    let clock = ManualClock::new();
    assert_eq!(
        format!("{:?}", root.drive(&clock)),
        "Drive { deadline: None, .. }"
    );
    let token = root.child_with_deadline(clock.now());
    assert_eq!(
        format!("{:?}", token.drive(&clock)),
        format!("Drive {{ deadline: {:?}, .. }}", Some(clock.now()))
    );
}
