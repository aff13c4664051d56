//! A token with the classic mistake: a wait looks whether it is cancelled, then registers, and does
//! not look again. All else is under a critical section and right.

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use cortex_m::interrupt::{self, Mutex};
use umbel_core::Reason;

struct Slot(Mutex<RefCell<State>>);

struct State {
    taken: bool,
    reason: Option<Reason>,
    waker: Option<Waker>,
}

impl Slot {
    const fn new() -> Self {
        Slot(Mutex::new(RefCell::new(State {
            taken: false,
            reason: None,
            waker: None,
        })))
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        interrupt::free(|cs| f(&mut self.0.borrow(cs).borrow_mut()))
    }

    fn cancel(&self, reason: Reason) -> bool {
        let (first, waker) = self.mark(reason);
        if let Some(waker) = waker {
            waker.wake();
        }
        first
    }

    fn mark(&self, reason: Reason) -> (bool, Option<Waker>) {
        self.with(|state| {
            let first = state.taken && state.reason.is_none();
            if first {
                state.reason = Some(reason);
            }
            (first, state.waker.take())
        })
    }
}

pub(crate) struct StaticToken<const N: usize> {
    root: Slot,
    slots: [Slot; N],
}

impl<const N: usize> StaticToken<N> {
    pub(crate) const fn new() -> Self {
        StaticToken {
            root: Slot::new(),
            slots: [const { Slot::new() }; N],
        }
    }

    pub(crate) fn child(&'static self) -> Result<StaticChild, ()> {
        interrupt::free(|_| {
            let reason = self.reason();
            let claim = |slot: &&Slot| {
                slot.with(|state| {
                    let free = !state.taken;
                    if free {
                        state.taken = true;
                        state.reason = reason.clone();
                    }
                    free
                })
            };
            self.slots.iter().find(claim).map(StaticChild).ok_or(())
        })
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.root.with(|root| root.reason.clone())
    }

    pub(crate) fn cancel_with(&self, reason: Reason) -> bool {
        let (first, reason) = self.root.with(|root| {
            let first = root.reason.is_none();
            (first, root.reason.get_or_insert(reason).clone())
        });
        self.cancel_children(reason);
        first
    }

    pub(crate) fn cancel_children(&self, reason: Reason) {
        let wakers = interrupt::free(|_| {
            self.slots
                .each_ref()
                .map(|slot| slot.mark(reason.clone()).1)
        });
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

pub(crate) struct StaticChild(&'static Slot);

impl StaticChild {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.0.with(|state| state.reason.clone())
    }

    pub(crate) fn cancel_with(&self, reason: Reason) -> bool {
        self.0.cancel(reason)
    }

    pub(crate) fn cancelled(&self) -> Wait<'_> {
        Wait { child: self }
    }

    pub(crate) async fn run_until_cancelled<F: Future<Output = ()>>(&self, _pending: F) {
        self.cancelled().await;
    }
}

impl Drop for StaticChild {
    fn drop(&mut self) {
        let State { waker, .. } = self.0.with(|state| {
            core::mem::replace(
                state,
                State {
                    taken: false,
                    reason: None,
                    waker: None,
                },
            )
        });
        drop(waker);
    }
}

pub(crate) struct Wait<'a> {
    child: &'a StaticChild,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.child.is_cancelled() {
            return Poll::Ready(());
        }
        // Here is the mistake: what is cancelled now wakes nobody.
        let waker = cx.waker().clone();
        let older = self.child.0.with(|state| state.waker.replace(waker));
        if let Some(older) = older
            && !older.will_wake(cx.waker())
        {
            older.wake();
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        drop(self.child.0.with(|state| state.waker.take()));
    }
}
