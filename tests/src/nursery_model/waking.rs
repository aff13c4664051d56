//! The operations on the wakers of children.

use crate::nursery_model::op::Fate;
use crate::nursery_model::state::Kind;
use crate::nursery_model::world::{Done, World};
use std::task::Waker;

impl World {
    /// Wakes a child that is there, and may decide what it does then.
    pub(super) fn wake(&self, at: u8, with: u8, fate: Option<Fate>) -> Done {
        let (number, waker) = {
            let state = &mut *self.state();
            let there: Vec<_> = (0..state.works.len())
                .filter(|&number| state.turns.is_awake(number))
                .collect();
            // The first one is the body.
            let Some(&number) = there.get(usize::from(at) % there.len().max(1)) else {
                return Ok(());
            };
            let work = &mut state.works[number];
            if let Some(fate) = fate {
                work.fate = fate;
                work.spawning.verdict = with;
            }
            let Some(waker) = work.waker.take() else {
                return Ok(());
            };
            state.turns.wake(number);
            (number, waker)
        };
        match with & 0x80 {
            0 => self.wake_by_ref(number, waker),
            _ => self.call(Kind::Plain, || waker.wake()),
        }
    }

    /// Wakes it, and puts it back for the next time.
    fn wake_by_ref(&self, number: usize, waker: Waker) -> Done {
        let woken = self.call(Kind::Plain, || waker.wake_by_ref());
        let spare = {
            let slot = &mut self.state().works[number].waker;
            match slot {
                Some(_) => Some(waker),
                None => slot.replace(waker),
            }
        };
        woken.and(self.drop_it(spare))
    }

    /// Wakes a child that has ended.
    pub(super) fn wake_stale(&self, at: u8) -> Done {
        let (number, waker) = {
            let state = &mut *self.state();
            let gone: Vec<_> = (0..state.works.len())
                .filter(|&number| {
                    state.turns.is_dropped(number) && state.works[number].waker.is_some()
                })
                .collect();
            if gone.is_empty() || state.turns.pass_through {
                return Ok(());
            }
            let number = gone[usize::from(at) % gone.len()];
            let Some(waker) = state.works[number].waker.take() else {
                return Ok(());
            };
            state.turns.wake(number);
            (number, waker)
        };
        self.wake_by_ref(number, waker)
    }
}
