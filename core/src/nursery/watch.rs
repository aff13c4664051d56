//! The nursery's watch: its one alarm, what that is set to, and the time, read at most once a turn.
//!
//! | the alarm is set to the first of | who enters it |
//! |---|---|
//! | `due`: the nursery's deadline; while it drains, the end of the grace | the engine |
//! | the [timetable](crate::nursery::timetable) | children, and what else has a time of its own |
//!
//! The time is read in a turn only if somebody wants to know: ages are kept, the nursery drains, the alarm rang, the
//! timetable is not empty, or a child asked for it.
//!
//! # Foreign code
//!
//! The timer is. If it panics, nobody would end the grace: it is dropped, and the nursery forced.

use crate::nursery::deadline::Alarm;
use crate::nursery::mode::Mode;
use crate::nursery::shared::{Shared, bit};
use crate::reason::Reason;
use crate::time::Instant;
use crate::wake::ready::Desk;
use alloc::boxed::Box;
use core::pin::Pin;
use core::task::{Context, Poll};

pub(crate) struct Watch<'env, M: Mode> {
    alarm: Option<Pin<Box<M::Alarm<'env>>>>,
    desk: Desk,
    /// When something is to happen to the nursery itself.
    pub(crate) due: Instant,
    /// What the alarm is set to.
    set_to: Instant,
    /// It rang when it was set.
    rang: bool,
}

impl<'env, M: Mode> Watch<'env, M> {
    pub(crate) fn new(desk: Desk) -> Self {
        Watch {
            alarm: None,
            desk,
            due: Instant::NEVER,
            set_to: Instant::NEVER,
            rang: false,
        }
    }

    pub(crate) fn set_timer(&mut self, alarm: Pin<Box<M::Alarm<'env>>>) {
        self.alarm = Some(alarm);
    }

    pub(crate) fn has_timer(&self) -> bool {
        self.alarm.is_some()
    }

    /// Drops the timer.
    pub(crate) fn stop(&mut self) {
        self.alarm = None;
    }

    /// Asks the alarm, if there is one.
    fn ask<R>(
        &mut self,
        shared: &Shared,
        ask: impl FnOnce(Pin<&mut M::Alarm<'env>>) -> R,
    ) -> Option<R> {
        let alarm = self.alarm.as_mut()?;
        let answer = shared.guard(|| ask(alarm.as_mut()));
        if answer.is_none() {
            let broken = self.alarm.take();
            shared.guard(|| drop(broken));
            shared.guard(|| shared.force(Reason::sibling_failed()));
        }
        answer
    }

    /// The time at the start of this turn, or when this was first called in it.
    pub(crate) fn now(&mut self, shared: &Shared) -> Option<Instant> {
        let now = &shared.poller.now;
        if now.get().is_none() {
            now.set(self.ask(shared, |alarm| alarm.now()));
        }
        now.get()
    }

    /// Sets the alarm, if it is to be set anew.
    pub(crate) fn arm(&mut self, shared: &Shared) {
        if self.first(shared) != self.set_to {
            self.arm_anew(shared);
        }
    }

    fn first(&self, shared: &Shared) -> Instant {
        self.due.min(shared.poller.timetable.first())
    }

    /// Sets the alarm, whatever it was set to.
    pub(crate) fn arm_anew(&mut self, shared: &Shared) {
        let first = self.first(shared);
        self.set_to = first;
        self.ask(shared, |alarm| alarm.set(first));
        if self.is_ringing(shared) {
            self.rang = true;
            shared.poller.again.set(true);
        }
    }

    /// Whether what the alarm was set to has come. Registers the waker.
    fn is_ringing(&mut self, shared: &Shared) -> bool {
        let waker = self.desk.waker(bit::ALARM);
        let polled = self.ask(shared, |alarm| alarm.poll(&mut Context::from_waker(&waker)));
        matches!(polled, Some(Poll::Ready(())))
    }

    /// Start of a turn. True: `due` has come. `rang`: the alarm's bell, and that of the first turn.
    #[inline]
    pub(crate) fn look(&mut self, shared: &Shared, rang: bool) -> bool {
        let poller = &shared.poller;
        poller.now.set(None);
        let wanted = shared.aged
            || poller.wants_time.take()
            || poller.drain.get().is_some()
            || poller.told.get() > 0
            || !poller.timetable.is_empty();
        (wanted || rang || self.rang) && self.look_closely(shared, wanted, rang)
    }

    #[inline(never)]
    fn look_closely(&mut self, shared: &Shared, wanted: bool, rang: bool) -> bool {
        let fired = core::mem::take(&mut self.rang) || rang && self.is_ringing(shared);
        if !wanted && !fired {
            return false;
        }
        let Some(now) = self.now(shared) else {
            return false;
        };
        let poller = &shared.poller;
        if let Some((from, _)) = poller.drain.get() {
            poller.drain.set(Some((from, now)));
        }
        while let Some(waker) = poller.timetable.take_due(now) {
            // Who was woken looks in the next turn.
            poller.wants_time.set(true);
            shared.guard(|| waker.wake());
        }
        let due = self.due.is_due(now);
        if due {
            self.due = Instant::NEVER;
        }
        if due || fired {
            self.set_to = Instant::NEVER;
            poller.timetable.touch();
        }
        due
    }
}
