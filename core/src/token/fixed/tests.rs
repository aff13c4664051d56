//! What cannot be seen from outside, and what is to hold without `alloc` and `std` too.

use super::slot::Slot;
use super::*;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// A waker as firmware has them: a static and a table. It counts, and panics if told to.
struct Task {
    woken: AtomicUsize,
    panics: bool,
}

impl Task {
    const fn new(panics: bool) -> Task {
        Task {
            woken: AtomicUsize::new(0),
            panics,
        }
    }

    fn waker(&'static self) -> Waker {
        // SAFETY: the data is a `&'static Task` always; the table's functions keep no count.
        unsafe { Waker::from_raw(RawWaker::new(core::ptr::from_ref(self).cast(), &TABLE)) }
    }
}

fn wake(data: *const ()) {
    // SAFETY: see `Task::waker`.
    let task = unsafe { &*data.cast::<Task>() };
    task.woken.fetch_add(1, SeqCst);
    assert!(!task.panics, "a foreign waker");
}

static TABLE: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &TABLE), wake, wake, |_| ());

fn why(code: u16) -> Compact {
    Compact::new(&Reason::custom(code))
}

#[test]
fn a_slot_goes_through_its_states() {
    let slot = Slot::new();
    slot.mark(why(1));
    assert!(slot.claim(None), "an empty slot is not marked");
    assert!(!slot.claim(None));
    assert!(!slot.word.is_cancelled() && slot.take_waker().is_none());
    slot.vacate();
    assert!(slot.claim(None));
    slot.mark(why(2));
    slot.mark(why(3));
    assert_eq!(slot.word.cancel(why(4)), Err(why(2)));
    assert_eq!(slot.word.reason(), Some(Reason::custom(2)));
    assert!(slot.take_waker().is_none() && slot.word.is_cancelled());
    slot.vacate();
    assert!(slot.claim(None) && !slot.word.is_cancelled());
}

#[test]
fn a_waker_is_taken_from_the_cancelled_only_and_once() {
    static TASK: Task = Task::new(false);
    let slot = Slot::new();
    assert!(slot.claim(None));
    drop(slot.cell.replace(&TASK.waker()));
    assert!(slot.take_waker().is_none(), "it is live");
    slot.mark(why(1));
    assert!(slot.take_waker().is_some());
    assert!(slot.take_waker().is_none());
}

/// Without `std` the rest is woken while the panic unwinds.
#[test]
fn a_panicking_waker_leaves_nobody_asleep() {
    static TOKEN: StaticToken<3> = StaticToken::new();
    static BAD: Task = Task::new(true);
    static GOOD: Task = Task::new(false);
    let children = [0; 3].map(|_| TOKEN.child().unwrap());
    let mut waits = children.each_ref().map(StaticChild::cancelled);
    for (wait, task) in waits.iter_mut().zip([&GOOD, &BAD, &GOOD]) {
        let polled = pin!(wait).poll(&mut Context::from_waker(&task.waker()));
        assert_eq!(polled, Poll::Pending);
    }
    assert!(std::panic::catch_unwind(|| TOKEN.cancel()).is_err());
    assert_eq!((GOOD.woken.load(SeqCst), BAD.woken.load(SeqCst)), (2, 1));
    assert!(children.iter().all(StaticChild::is_cancelled));
}
