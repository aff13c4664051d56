//! The reference model: a forest of tokens that is plain, single-threaded and obviously right.
//!
//! A cancellation sets all its flags at one moment, its beginning; the wakeups that it owes come in any
//! order until its end. So what the model knows of a waiter is what **may** still happen to it and
//! what **must**:
//!
//! | a wait is | may be woken | must be woken before the cascade ends |
//! |---|---|---|
//! | not polled, or has been woken | no | no |
//! | pending, its token live | no | no: nobody has cancelled |
//! | pending, its token cancelled | its last waker, once | yes |
//! | being polled | its last waker or the new one, once | no: the poll will tell |
//! | over, or left by a poll that panicked | the same, once | no |
//! | being dropped, or dropped while a cascade comes | the same, once | no |
//! | dropped otherwise | no | no |
//!
//! A callback is called exactly once or not at all, and never after it was unregistered. Its closure
//! is dropped when it was called or unregistered, or was forgotten and its token is dead.

use crate::model::trees::{Cascade, Trees, Verdict, demand};

/// Waits and callbacks are never removed: an index is an identity.
#[derive(Debug, Default)]
pub(super) struct Forest {
    pub(super) trees: Trees,
    waits: Vec<Wait>,
    callbacks: Vec<Callback>,
}

#[derive(Debug)]
struct Wait {
    node: usize,
    /// The wakers of which one may be woken once.
    may: Vec<usize>,
    /// Exactly one waker lies in the tree, the one in `may`, and a cascade owes its wakeup.
    must: bool,
    /// What was woken last.
    woken: Option<usize>,
    dropped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    Called,
    Unregistered,
}

#[derive(Debug)]
struct Callback {
    node: usize,
    fate: Fate,
    forgotten: bool,
    /// The closure has been dropped.
    gone: bool,
}

/// How a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polled {
    Pending,
    Cancelled,
    /// With what it was to run until cancelled.
    Over,
    Panicked,
}

/// Cascades.
impl Forest {
    /// The call that cancelled returns.
    pub(super) fn end(&mut self, cascade: &Cascade) -> Verdict {
        self.trees.end(cascade);
        let by_it = |node| self.trees.is_by(node, cascade.number);
        for (i, wait) in self.waits.iter().enumerate() {
            demand(!(wait.must && by_it(wait.node)), || {
                format!("wait {i} was not woken")
            })?;
        }
        for (i, callback) in self.callbacks.iter().enumerate() {
            let waiting = callback.fate == Fate::Waiting && !callback.gone;
            demand(!(waiting && by_it(callback.node)), || {
                format!("callback {i} was not called")
            })?;
        }
        Ok(())
    }
}

/// Waits.
impl Forest {
    /// A wait that has not been polled.
    pub(super) fn wait(&mut self, node: usize) -> usize {
        self.waits.push(Wait {
            node,
            may: Vec::new(),
            must: false,
            woken: None,
            dropped: false,
        });
        self.waits.len() - 1
    }

    pub(super) fn begin_poll(&mut self, wait: usize, waker: usize) {
        let wait = &mut self.waits[wait];
        wait.must = false;
        wait.woken = None;
        if !wait.may.contains(&waker) && !self.trees.is_never(wait.node) {
            wait.may.push(waker);
        }
    }

    pub(super) fn end_poll(&mut self, wait: usize, waker: usize, polled: Polled) -> Verdict {
        if polled == Polled::Cancelled {
            self.trees.seen_cancelled(self.waits[wait].node);
        }
        let cancelled = self.trees.is_cancelled(self.waits[wait].node);
        let never = self.trees.is_never(self.waits[wait].node);
        let wait = &mut self.waits[wait];
        match polled {
            Polled::Pending if cancelled => demand(wait.woken == Some(waker), || {
                "pending, cancelled and not woken: lost".into()
            }),
            Polled::Pending => {
                if !never {
                    wait.may = vec![waker];
                    wait.must = true;
                }
                Ok(())
            }
            Polled::Cancelled => demand(cancelled, || "ready, but its token is live".into()),
            Polled::Over | Polled::Panicked => Ok(()),
        }
    }

    /// `waker` of `wait` is woken by the call `by`.
    pub(super) fn wake(&mut self, wait: usize, waker: usize, by: Option<&Cascade>) -> Verdict {
        let node = self.waits[wait].node;
        demand(self.trees.seen_woken(node), || {
            format!("waker {waker} of wait {wait} is woken, but its token is live")
        })?;
        demand(by.is_some_and(|by| self.trees.covers(by, node)), || {
            format!("waker {waker} of wait {wait} is woken by who did not cancel its token")
        })?;
        let wait = &mut self.waits[wait];
        demand(wait.may.contains(&waker), || {
            format!("waker {waker} is woken twice, or was replaced or dropped before")
        })?;
        wait.may.clear();
        wait.must = false;
        wait.woken = Some(waker);
        Ok(())
    }

    /// A call begins that drops the wait at some moment.
    pub(super) fn dropping_wait(&mut self, wait: usize) {
        self.waits[wait].must = false;
    }

    pub(super) fn drop_wait(&mut self, wait: usize) {
        let cancelled = self.trees.may_be_cancelled(self.waits[wait].node);
        let wait = &mut self.waits[wait];
        wait.must = false;
        wait.dropped = true;
        if !cancelled {
            wait.may.clear();
        }
    }

    /// Whether the tree may hold, of each waker of `wait` in turn, the number that `held` says.
    pub(super) fn may_hold(
        &self,
        wait: usize,
        held: impl Iterator<Item = (usize, usize)>,
    ) -> Verdict {
        let Wait { may, must, .. } = &self.waits[wait];
        let mut sum = 0;
        for (waker, held) in held {
            demand(held == 0 || may.contains(&waker), || {
                format!("waker {waker} of wait {wait} is kept for nothing")
            })?;
            sum += held;
        }
        let right = if *must { sum == 1 } else { sum <= 1 };
        demand(right, || {
            format!("{sum} wakers of wait {wait} lie in the tree")
        })
    }
}

/// Callbacks.
impl Forest {
    pub(super) fn callback(&mut self, node: usize) -> usize {
        self.callbacks.push(Callback {
            node,
            fate: Fate::Waiting,
            forgotten: false,
            gone: false,
        });
        self.callbacks.len() - 1
    }

    /// It is called by the call `by`; or `inline`, by its own registration.
    pub(super) fn call(&mut self, callback: usize, by: Option<&Cascade>, inline: bool) -> Verdict {
        let Callback { node, fate, .. } = self.callbacks[callback];
        demand(fate == Fate::Waiting, || {
            format!("callback {callback} is called, but was {fate:?}")
        })?;
        let cancelled = match inline {
            true => self.trees.seen_cancelled(node),
            false => self.trees.seen_woken(node),
        };
        demand(cancelled, || {
            format!("callback {callback} is called, but its token is live")
        })?;
        demand(
            inline || by.is_some_and(|by| self.trees.covers(by, node)),
            || format!("callback {callback} is called by who did not cancel its token"),
        )?;
        self.callbacks[callback].fate = Fate::Called;
        Ok(())
    }

    /// What `unregister` returns.
    pub(super) fn unregister(&mut self, callback: usize) -> bool {
        let callback = &mut self.callbacks[callback];
        let first = callback.fate == Fate::Waiting;
        if first {
            callback.fate = Fate::Unregistered;
        }
        first
    }

    pub(super) fn forget(&mut self, callback: usize) {
        self.callbacks[callback].forgotten = true;
    }

    pub(super) fn was_called(&self, callback: usize) -> bool {
        self.callbacks[callback].fate == Fate::Called
    }

    /// Its closure is dropped.
    pub(super) fn closure_dropped(&mut self, callback: usize) -> Verdict {
        let Callback {
            node,
            fate,
            forgotten,
            gone,
        } = self.callbacks[callback];
        demand(!gone, || {
            format!("the closure of callback {callback} is dropped twice")
        })?;
        let unused = forgotten && (self.trees.is_never(node) || !self.trees.living()[node]);
        demand(fate != Fate::Waiting || unused, || {
            format!("the closure of callback {callback} is dropped unused")
        })?;
        self.callbacks[callback].gone = true;
        Ok(())
    }
}

/// What holds everywhere.
impl Forest {
    /// No call is running: nothing is owed any more, and nothing is kept that nobody needs.
    pub(super) fn settle(&mut self) -> Verdict {
        for (i, wait) in self.waits.iter_mut().enumerate() {
            if self.trees.is_cancelled(wait.node) || wait.dropped {
                demand(!wait.must, || format!("wait {i} was never woken"))?;
                wait.may.clear();
            }
        }
        let living = self.trees.living();
        let buried = self.trees.buried_in_walks(&living);
        for (i, callback) in self.callbacks.iter().enumerate() {
            let Callback { node, gone, .. } = *callback;
            match callback.fate {
                Fate::Waiting if gone => {}
                Fate::Waiting => {
                    demand(!self.trees.is_cancelled(node), || {
                        format!("callback {i} was never called")
                    })?;
                    demand(living[node] || buried[node], || {
                        format!("the closure of callback {i} outlives its token")
                    })?;
                }
                Fate::Called | Fate::Unregistered => {
                    demand(gone, || format!("the closure of callback {i} is kept"))?;
                }
            }
        }
        Ok(())
    }
}
