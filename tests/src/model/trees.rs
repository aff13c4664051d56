//! The tokens of the reference model: which of them are cancelled and why, and which are alive.
//!
//! # `any_of`
//!
//! A joined root is cancelled at some moment between the cancellation of a source and the end of that
//! cascade, and what is below it at some later moment, or the same. Which, the model does not know: it
//! learns it from what is seen.
//!
//! | seen | then cancelled are |
//! |---|---|
//! | the root is cancelled | the root |
//! | somebody below it is cancelled by it; somebody at the root is woken | the root and all below it |
//! | a cascade ends that is the first to have cancelled one of its sources | likewise |
//! | `cancel` of a root that is cancelled already returns | likewise |
//!
//! Its reason is that of one of the sources that are cancelled then: if there are several, the model
//! keeps all of them until it sees which. A root that died after a walk had cancelled it may have been
//! buried by a walk, which frees nothing: then closures that it was the last to keep stay, at the
//! longest until all is dropped.

use std::collections::BTreeSet;

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

pub(super) fn demand(right: bool, wrong: impl FnOnce() -> String) -> Verdict {
    if right { Ok(()) } else { Err(wrong()) }
}

/// Nodes are never removed: an index is an identity.
#[derive(Debug, Default)]
pub(super) struct Trees {
    nodes: Vec<Node>,
    /// Of each, one is true: the model may not yet know which.
    reasons: Vec<Vec<Why>>,
    /// Whether each has ended.
    cascades: Vec<bool>,
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    /// Of a joined root, unless it was born cancelled.
    sources: Vec<usize>,
    /// It was cancelled by a source.
    fired: bool,
    /// The number of its reason, and of the cascade that cancelled it; `None`: it was born cancelled.
    why: Option<(usize, Option<usize>)>,
    /// `u64::MAX`: none.
    deadline: u64,
    never: bool,
    handles: usize,
    /// Of those, handles which a call that is running gives up at some moment.
    closing: usize,
}

/// A cancellation that was the first at its token or tokens.
#[derive(Debug, Clone)]
pub(super) struct Cascade {
    pub(super) number: usize,
    /// The highest tokens that it cancelled.
    tops: Vec<usize>,
}

/// Tokens.
impl Trees {
    /// A node with one handle.
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// A root with one handle, perhaps cancelled from the beginning.
    pub(super) fn root(&mut self, why: Option<Why>, never: bool) -> usize {
        let why = why.map(|why| (self.new_reason(vec![why]), None));
        self.add(Node {
            parent: None,
            sources: Vec::new(),
            fired: false,
            why,
            deadline: u64::MAX,
            never,
            handles: 1,
            closing: 0,
        })
    }

    /// A child with one handle and a deadline (`u64::MAX`: none of its own).
    pub(super) fn child(&mut self, parent: usize, deadline: u64) -> usize {
        let above = &self.nodes[parent];
        self.add(Node {
            parent: Some(parent),
            sources: Vec::new(),
            fired: false,
            why: above.why,
            deadline: deadline.min(above.deadline),
            never: false,
            handles: 1,
            closing: 0,
        })
    }

    /// The child has been made, and is cancelled: it was born so, if its parent was cancelled by a
    /// source while it was made.
    pub(super) fn born_cancelled(&mut self, child: usize) {
        let above = self.nodes[child].parent.and_then(|p| self.nodes[p].why);
        let why = &mut self.nodes[child].why;
        *why = why.or(above);
    }

    fn new_reason(&mut self, may_be: Vec<Why>) -> usize {
        self.reasons.push(may_be);
        self.reasons.len() - 1
    }

    pub(super) fn is_cancelled(&self, node: usize) -> bool {
        self.nodes[node].why.is_some()
    }

    /// Whether `node` is cancelled and all are woken who waited there.
    pub(super) fn is_settled(&self, node: usize) -> bool {
        let done =
            |(_, by): (usize, Option<usize>)| by.is_none_or(|cascade| self.cascades[cascade]);
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

    /// Which nodes certainly have a handle, a living child or a living joined root.
    pub(super) fn living(&self) -> Vec<bool> {
        let mut living: Vec<_> = self.nodes.iter().map(|n| n.handles > n.closing).collect();
        for (i, node) in self.nodes.iter().enumerate().rev() {
            for &kept in node.parent.iter().chain(&node.sources) {
                living[kept] |= living[i];
            }
        }
        living
    }

    /// Cancels `node` and all below. `None`: it was cancelled already, or never is.
    pub(super) fn cancel(&mut self, node: usize, why: Why) -> Option<Cascade> {
        if self.nodes[node].never || self.helps(node) {
            return None;
        }
        Some(self.cascade(vec![node], why))
    }

    /// Cancels the children of `node` and all below them. `None`: it is cancelled itself.
    pub(super) fn cancel_children(&mut self, node: usize, why: Why) -> Option<Cascade> {
        if self.helps(node) {
            return None;
        }
        let live_child = |&i: &usize| self.nodes[i].parent == Some(node) && !self.is_cancelled(i);
        let children = (0..self.nodes.len()).filter(live_child).collect();
        Some(self.cascade(children, why))
    }

    /// Whether `node` is cancelled: then who cancels it once more sets all flags below.
    fn helps(&mut self, node: usize) -> bool {
        self.spread(&[node]);
        self.is_cancelled(node)
    }

    /// Cancels live `tops` and all below them.
    fn cascade(&mut self, tops: Vec<usize>, why: Why) -> Cascade {
        let number = self.cascades.len();
        self.cascades.push(false);
        let why = self.new_reason(vec![why]);
        for &top in &tops {
            self.nodes[top].why = Some((why, Some(number)));
        }
        self.spread(&tops);
        Cascade { number, tops }
    }

    /// Cancels all below those of `tops` that are cancelled.
    fn spread(&mut self, tops: &[usize]) {
        let mut from: Vec<_> = vec![None; self.nodes.len()];
        for &top in tops {
            from[top] = self.nodes[top].why;
        }
        // Children have higher indices than their parents, so that one pass reaches all.
        for i in 0..self.nodes.len() {
            if let Some((above, by)) = self.nodes[i].parent.and_then(|parent| from[parent]) {
                // An earlier reason in between is inherited, an earlier reason of its own stays.
                let (why, _) = *self.nodes[i].why.get_or_insert((above, by));
                from[i] = Some((why, by));
            }
        }
    }

    /// Whether the walk of `cascade` comes to `node`, perhaps by links.
    pub(super) fn covers(&self, cascade: &Cascade, node: usize) -> bool {
        let mut covers = vec![false; node + 1];
        for (i, at) in self.nodes[..=node].iter().enumerate() {
            let linked = at.fired || at.why.is_none();
            let sources = at.sources.iter().filter(|_| linked);
            covers[i] =
                cascade.tops.contains(&i) || at.parent.iter().chain(sources).any(|&i| covers[i]);
        }
        covers[node]
    }

    /// The call that cancelled returns: its walk is over.
    pub(super) fn end(&mut self, cascade: &Cascade) {
        self.cascades[cascade.number] = true;
        // Sources have lower indices than those whom they cancel.
        for root in 0..self.nodes.len() {
            if self.sources_cancelled_by(root, cascade.number) {
                self.fire(root);
            }
            if self.nodes[root].fired && self.is_by(root, cascade.number) {
                self.spread(&[root]);
            }
        }
    }
}

/// What is still needed.
impl Trees {
    /// Whether a token that somebody holds is cancelled because of this error.
    pub(super) fn needs_error(&self, error: usize) -> bool {
        let needs = |n: &Node| {
            let it = [Why::Error(error)];
            n.handles > n.closing && n.why.is_some_and(|(why, _)| self.reasons[why] == it)
        };
        self.nodes.iter().any(needs)
    }
}

/// Joined roots.
impl Trees {
    /// A root with one handle that is cancelled with the first of `sources`.
    pub(super) fn any_of(&mut self, sources: &[usize]) -> usize {
        let can_be_cancelled = |&source: &usize| !self.is_never(source);
        let sources: Vec<_> = sources.iter().copied().filter(can_be_cancelled).collect();
        let Some(deadline) = sources.iter().map(|&source| self.deadline(source)).min() else {
            return self.root(None, true);
        };
        let cancelled = sources.iter().filter_map(|&source| self.nodes[source].why);
        let why = self.one_of(cancelled.map(|(why, _)| why).collect());
        let why = why.map(|why| (why, None));
        self.add(Node {
            parent: None,
            sources: why.map_or(sources, |_| Vec::new()),
            fired: false,
            why,
            deadline,
            never: false,
            handles: 1,
            closing: 0,
        })
    }

    /// A reason that is one of these.
    fn one_of(&mut self, whys: BTreeSet<usize>) -> Option<usize> {
        if whys.len() < 2 {
            return whys.first().copied();
        }
        let all = whys.iter().flat_map(|&why| self.reasons[why].clone());
        let all = all.collect();
        Some(self.new_reason(all))
    }

    /// Why `node` may be cancelled: by itself, by its root, or by a source of that one which may be
    /// cancelled itself; and the outermost of the cascades in question.
    fn may_be_cancelled_by(&self, node: usize) -> (BTreeSet<usize>, Option<usize>) {
        let mut found: Vec<(BTreeSet<usize>, Option<usize>)> = Vec::new();
        for at in &self.nodes[..=node] {
            let mut whys = BTreeSet::new();
            let mut outermost = None;
            if let Some((why, by)) = at.why {
                whys.insert(why);
                outermost = by;
            } else {
                for &above in at.parent.iter().chain(&at.sources) {
                    let (more, by) = &found[above];
                    whys.extend(more);
                    outermost = [outermost, *by].into_iter().flatten().min();
                }
            }
            found.push((whys, outermost));
        }
        found.swap_remove(node)
    }

    pub(super) fn is_by(&self, node: usize, cascade: usize) -> bool {
        let why = self.nodes[node].why;
        why.is_some_and(|(_, by)| by == Some(cascade))
    }

    fn sources_cancelled_by(&self, root: usize, cascade: usize) -> bool {
        let mut sources = self.nodes[root].sources.iter();
        sources.any(|&source| self.is_by(source, cascade))
    }

    /// Cancels a live joined root, but nothing below it, if a source may be cancelled.
    fn fire(&mut self, root: usize) {
        if self.is_cancelled(root) {
            return;
        }
        let (whys, by) = self.may_be_cancelled_by(root);
        if let Some(why) = self.one_of(whys) {
            self.nodes[root].why = Some((why, by));
            self.nodes[root].fired = true;
        }
    }

    fn root_of(&self, mut node: usize) -> usize {
        while let Some(parent) = self.nodes[node].parent {
            node = parent;
        }
        node
    }

    /// Whether `node` is cancelled, or perhaps is by a source, which has not been seen.
    pub(super) fn may_be_cancelled(&self, node: usize) -> bool {
        !self.may_be_cancelled_by(node).0.is_empty()
    }

    /// `node` is seen to be cancelled. False: it cannot be.
    pub(super) fn seen_cancelled(&mut self, node: usize) -> bool {
        if !self.is_cancelled(node) {
            let root = self.root_of(node);
            self.fire(root);
            if root != node {
                self.spread(&[root]);
            }
        }
        self.is_cancelled(node)
    }

    /// Somebody who waited at `node` is woken. False: it cannot be cancelled.
    pub(super) fn seen_woken(&mut self, node: usize) -> bool {
        let cancelled = self.seen_cancelled(node);
        self.spread(&[node]);
        cancelled
    }

    /// Somebody looks at `node` and sees that it is live, or why it is cancelled.
    pub(super) fn seen(&mut self, node: usize, seen: Option<Why>) -> Verdict {
        if seen.is_some() {
            self.seen_cancelled(node);
        }
        let expected = self.nodes[node].why.map(|(why, _)| &mut self.reasons[why]);
        let right = match (seen, &expected) {
            (Some(seen), Some(expected)) => expected.contains(&seen),
            (seen, expected) => seen.is_none() && expected.is_none(),
        };
        demand(right, || format!("reason {seen:?}, expected {expected:?}"))?;
        if let (Some(seen), Some(expected)) = (seen, expected) {
            *expected = vec![seen];
        }
        Ok(())
    }

    /// Which of the dead a walk may have buried.
    pub(super) fn buried_in_walks(&self, living: &[bool]) -> Vec<bool> {
        let mut buried = vec![false; living.len()];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if !living[i] && (buried[i] || node.fired) {
                for &kept in node.parent.iter().chain(&node.sources) {
                    buried[kept] = true;
                }
            }
        }
        buried
    }
}
