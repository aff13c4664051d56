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

/// Why a node is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Explicit,
    Deadline,
    Custom(u16),
    /// The error of this number.
    Error(usize),
}

/// What is wrong.
pub(super) type Verdict = Result<(), String>;

fn demand(right: bool, wrong: impl FnOnce() -> String) -> Verdict {
    if right { Ok(()) } else { Err(wrong()) }
}

/// Nodes, waits and callbacks are never removed: an index is an identity.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    waits: Vec<Wait>,
    callbacks: Vec<Callback>,
    /// Whether each has ended.
    cascades: Vec<bool>,
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    /// And the number of the cascade that cancelled it; `None`: it was born cancelled.
    why: Option<(Why, Option<usize>)>,
    /// `u64::MAX`: none.
    deadline: u64,
    never: bool,
    handles: usize,
    /// Of those, handles which a call that is running gives up at some moment.
    closing: usize,
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

/// A cancellation that was the first at its token or tokens.
#[derive(Debug, Clone)]
pub(super) struct Cascade {
    number: usize,
    /// The highest tokens that it cancelled.
    tops: Vec<usize>,
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

/// Tokens.
impl Forest {
    /// A root with one handle, perhaps cancelled from the beginning.
    pub(super) fn root(&mut self, why: Option<Why>, never: bool) -> usize {
        self.nodes.push(Node {
            parent: None,
            why: why.map(|why| (why, None)),
            deadline: u64::MAX,
            never,
            handles: 1,
            closing: 0,
        });
        self.nodes.len() - 1
    }

    /// A child with one handle and a deadline (`u64::MAX`: none of its own).
    pub(super) fn child(&mut self, parent: usize, deadline: u64) -> usize {
        let above = &self.nodes[parent];
        let node = Node {
            parent: Some(parent),
            why: above.why,
            deadline: deadline.min(above.deadline),
            never: false,
            handles: 1,
            closing: 0,
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn why(&self, node: usize) -> Option<Why> {
        self.nodes[node].why.map(|(why, _)| why)
    }

    pub(super) fn is_cancelled(&self, node: usize) -> bool {
        self.nodes[node].why.is_some()
    }

    /// Whether `node` is cancelled and all are woken who waited there.
    pub(super) fn is_settled(&self, node: usize) -> bool {
        let done = |(_, by): (Why, Option<usize>)| by.is_none_or(|cascade| self.cascades[cascade]);
        self.nodes[node].why.is_some_and(done)
    }

    pub(super) fn is_never(&self, node: usize) -> bool {
        self.nodes[node].never
    }

    /// The effective deadline, `u64::MAX` for none.
    pub(super) fn deadline(&self, node: usize) -> u64 {
        self.nodes[node].deadline
    }

    pub(super) fn is_due(&self, node: usize, now: u64) -> bool {
        let deadline = self.deadline(node);
        deadline <= now && deadline != u64::MAX
    }

    pub(super) fn open_handle(&mut self, node: usize) {
        self.nodes[node].handles += 1;
    }

    /// A call begins that gives up a handle of `node` at some moment.
    pub(super) fn closing_handle(&mut self, node: usize) {
        self.nodes[node].closing += 1;
    }

    pub(super) fn closed_handle(&mut self, node: usize) {
        self.nodes[node].closing -= 1;
        self.nodes[node].handles -= 1;
    }

    /// Which nodes certainly have a handle or a living child.
    fn living(&self) -> Vec<bool> {
        let mut living: Vec<_> = self.nodes.iter().map(|n| n.handles > n.closing).collect();
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if let Some(parent) = node.parent {
                living[parent] |= living[i];
            }
        }
        living
    }

    /// Cancels `node` and all below. `None`: it was cancelled already, or never is.
    pub(super) fn cancel(&mut self, node: usize, why: Why) -> Option<Cascade> {
        if self.nodes[node].never || self.is_cancelled(node) {
            return None;
        }
        Some(self.cascade(vec![node], why))
    }

    /// Cancels the children of `node` and all below them. `None`: it is cancelled itself.
    pub(super) fn cancel_children(&mut self, node: usize, why: Why) -> Option<Cascade> {
        if self.is_cancelled(node) {
            return None;
        }
        let live_child = |&i: &usize| self.nodes[i].parent == Some(node) && !self.is_cancelled(i);
        let children = (0..self.nodes.len()).filter(live_child).collect();
        Some(self.cascade(children, why))
    }

    /// Cancels live `tops` and all below them.
    fn cascade(&mut self, tops: Vec<usize>, why: Why) -> Cascade {
        let number = self.cascades.len();
        self.cascades.push(false);
        for &top in &tops {
            self.nodes[top].why = Some((why, Some(number)));
        }
        // Children have higher indices than their parents, so that one pass reaches all.
        for i in 0..self.nodes.len() {
            let above = self.nodes[i].parent.and_then(|p| self.nodes[p].why);
            // An earlier reason in between is inherited, an earlier reason of its own stays.
            if let (None, Some((why, _))) = (self.nodes[i].why, above) {
                self.nodes[i].why = Some((why, Some(number)));
            }
        }
        Cascade { number, tops }
    }

    fn covers(&self, cascade: &Cascade, node: usize) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if cascade.tops.contains(&node) {
                return true;
            }
            at = self.nodes[node].parent;
        }
        false
    }

    /// The call that cancelled returns.
    pub(super) fn end(&mut self, cascade: &Cascade) -> Verdict {
        self.cascades[cascade.number] = true;
        let by_it = |node: usize| {
            let why = self.nodes[node].why;
            why.is_some_and(|(_, by)| by == Some(cascade.number))
        };
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
        if !wait.may.contains(&waker) && !self.nodes[wait.node].never {
            wait.may.push(waker);
        }
    }

    pub(super) fn end_poll(&mut self, wait: usize, waker: usize, polled: Polled) -> Verdict {
        let cancelled = self.is_cancelled(self.waits[wait].node);
        let never = self.is_never(self.waits[wait].node);
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
        demand(self.is_cancelled(node), || {
            format!("waker {waker} of wait {wait} is woken, but its token is live")
        })?;
        demand(by.is_some_and(|by| self.covers(by, node)), || {
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
        let cancelled = self.is_cancelled(self.waits[wait].node);
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
        demand(self.is_cancelled(node), || {
            format!("callback {callback} is called, but its token is live")
        })?;
        demand(inline || by.is_some_and(|by| self.covers(by, node)), || {
            format!("callback {callback} is called by who did not cancel its token")
        })?;
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
        let unused = forgotten && (self.is_never(node) || !self.living()[node]);
        demand(fate != Fate::Waiting || unused, || {
            format!("the closure of callback {callback} is dropped unused")
        })?;
        self.callbacks[callback].gone = true;
        Ok(())
    }
}

/// What holds everywhere.
impl Forest {
    /// Whether a token that somebody holds is cancelled because of this error.
    pub(super) fn needs_error(&self, error: usize) -> bool {
        let needs = |n: &Node| {
            n.handles > n.closing && n.why.is_some_and(|(why, _)| why == Why::Error(error))
        };
        self.nodes.iter().any(needs)
    }

    /// No call is running: nothing is owed any more, and nothing is kept that nobody needs.
    pub(super) fn settle(&mut self) -> Verdict {
        for (i, wait) in self.waits.iter_mut().enumerate() {
            if self.nodes[wait.node].why.is_some() || wait.dropped {
                demand(!wait.must, || format!("wait {i} was never woken"))?;
                wait.may.clear();
            }
        }
        let living = self.living();
        for (i, callback) in self.callbacks.iter().enumerate() {
            let Callback { node, gone, .. } = *callback;
            match callback.fate {
                Fate::Waiting if gone => {}
                Fate::Waiting => {
                    demand(!self.is_cancelled(node), || {
                        format!("callback {i} was never called")
                    })?;
                    demand(living[node], || {
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
