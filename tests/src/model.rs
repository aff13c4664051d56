//! A cancellation tree that is plain, single-threaded and obviously right, and scripts that drive it
//! beside the real one.

use crate::counting::Task;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use umbel_core::{CancellationToken, Instant, Reason, WaitForCancellationFutureOwned};

/// The reference model of a forest of tokens. Nodes are never removed: an index is an identity.
#[derive(Debug, Default)]
pub struct Forest {
    nodes: Vec<Node>,
    waits: Vec<Wait>,
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    /// What the reason's `Display` says.
    reason: Option<String>,
    deadline: u64,
    never: bool,
}

#[derive(Debug)]
struct Wait {
    node: usize,
    /// The task whose waker lies in the tree.
    task: Option<usize>,
}

impl Forest {
    /// A root, perhaps cancelled from the beginning.
    pub fn root(&mut self, reason: Option<String>, never: bool) -> usize {
        self.nodes.push(Node {
            parent: None,
            reason,
            deadline: u64::MAX,
            never,
        });
        self.nodes.len() - 1
    }

    /// A child with a deadline (`u64::MAX`: none of its own).
    pub fn child(&mut self, parent: usize, deadline: u64) -> usize {
        let above = &self.nodes[parent];
        let node = Node {
            parent: Some(parent),
            reason: above.reason.clone(),
            deadline: deadline.min(above.deadline),
            never: false,
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Why `node` is cancelled.
    pub fn reason(&self, node: usize) -> Option<&str> {
        self.nodes[node].reason.as_deref()
    }

    /// The effective deadline, `u64::MAX` for none.
    pub fn deadline(&self, node: usize) -> u64 {
        self.nodes[node].deadline
    }

    /// Cancels `node` and all below. Returns whether it was the first, and the tasks that are woken,
    /// one entry a wait.
    pub fn cancel(&mut self, node: usize, reason: &str) -> (bool, Vec<usize>) {
        if self.nodes[node].never || self.nodes[node].reason.is_some() {
            return (false, Vec::new());
        }
        self.nodes[node].reason = Some(reason.to_owned());
        // Children have higher indices than their parents, so that one pass reaches all.
        for i in node + 1..self.nodes.len() {
            if self.nodes[i].reason.is_none()
                && let Some(parent) = self.nodes[i].parent
            {
                self.nodes[i].reason = self.nodes[parent].reason.clone();
            }
        }
        let mut woken = Vec::new();
        for wait in &mut self.waits {
            if self.nodes[wait.node].reason.is_some() {
                woken.extend(wait.task.take());
            }
        }
        (true, woken)
    }

    /// As `check_at`: what `cancel` returns if it cancels.
    pub fn check_at(&mut self, node: usize, now: u64) -> (bool, Vec<usize>) {
        let deadline = self.nodes[node].deadline;
        if deadline <= now && deadline != u64::MAX {
            self.cancel(node, "deadline exceeded")
        } else {
            (false, Vec::new())
        }
    }

    /// A wait that has not been polled.
    pub fn wait(&mut self, node: usize) -> usize {
        self.waits.push(Wait { node, task: None });
        self.waits.len() - 1
    }

    /// Polls a wait as `task`: whether it is over.
    pub fn poll(&mut self, wait: usize, task: usize) -> bool {
        let wait = &mut self.waits[wait];
        let node = &self.nodes[wait.node];
        if node.reason.is_none() && !node.never {
            wait.task = Some(task);
        }
        node.reason.is_some()
    }

    /// Drops a wait.
    pub fn drop_wait(&mut self, wait: usize) {
        self.waits[wait].task = None;
    }

    /// How many wakers of `task` lie in the forest.
    pub fn wakers(&self, task: usize) -> usize {
        let of_task = |wait: &&Wait| wait.task == Some(task);
        self.waits.iter().filter(of_task).count()
    }
}

const TASKS: usize = 4;
/// The most handles and waits at once: enough to cross the first segments' ends.
const MOST: usize = 80;

/// An error that says a number, and holds a count so that leaks show.
#[derive(Debug)]
struct Why(u8, #[allow(dead_code, reason = "counted")] Arc<()>);
impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error {}", self.0)
    }
}
impl std::error::Error for Why {}

type RealWait = Pin<Box<WaitForCancellationFutureOwned>>;

struct Both {
    forest: Forest,
    tokens: Vec<(CancellationToken, usize)>,
    waits: Vec<(RealWait, usize)>,
    tasks: [Task; TASKS],
    woken: [usize; TASKS],
    errors: Arc<()>,
}

/// Runs a script, two or three bytes an operation, on the real tree and on the model.
///
/// # Panics
/// They differ.
pub fn run_script(bytes: &[u8]) {
    let mut both = Both {
        forest: Forest::default(),
        tokens: Vec::new(),
        waits: Vec::new(),
        tasks: std::array::from_fn(|_| Task::new()),
        woken: [0; TASKS],
        errors: Arc::new(()),
    };
    let mut bytes = bytes.iter().copied();
    while let (Some(op), Some(a)) = (bytes.next(), bytes.next()) {
        both.step(op, a, &mut || bytes.next().unwrap_or(0));
        both.compare(a);
    }
    both.tokens.clear();
    both.waits.clear();
    for task in &both.tasks {
        assert_eq!(task.wakers(), 0, "a waker was leaked");
    }
    assert_eq!(Arc::strong_count(&both.errors), 1, "a reason was leaked");
}

impl Both {
    fn reason(&self, byte: u8) -> (Reason, String) {
        if byte.is_multiple_of(2) {
            let code = u16::from(byte);
            (Reason::custom(code), format!("custom reason {code}"))
        } else {
            let error = Why(byte, self.errors.clone());
            (Reason::error(error), format!("error {byte}"))
        }
    }

    fn woke(&mut self, tasks: Vec<usize>) {
        for task in tasks {
            self.woken[task] += 1;
        }
    }

    fn step(&mut self, op: u8, a: u8, next: &mut dyn FnMut() -> u8) {
        let op = op % 24;
        if self.tokens.is_empty() || (op == 0 && self.tokens.len() < MOST) {
            let (token, node) = match a % 8 {
                0 => (CancellationToken::never(), self.forest.root(None, true)),
                1 => {
                    let (reason, says) = self.reason(next());
                    let token = CancellationToken::pre_cancelled(reason);
                    (token, self.forest.root(Some(says), false))
                }
                _ => (CancellationToken::new(), self.forest.root(None, false)),
            };
            return self.tokens.push((token, node));
        }
        let at = usize::from(a) % self.tokens.len();
        let (token, node) = (&self.tokens[at].0, self.tokens[at].1);
        match op {
            1..=6 if self.tokens.len() < MOST => {
                let child = token.child_token();
                let node = self.forest.child(node, u64::MAX);
                self.tokens.push((child, node));
            }
            7 if self.tokens.len() < MOST => {
                let deadline = u64::from(next());
                let child = token.child_with_deadline(Instant::from_nanos(deadline));
                let node = self.forest.child(node, deadline);
                self.tokens.push((child, node));
            }
            8 if self.tokens.len() < MOST => {
                let clone = token.clone();
                self.tokens.push((clone, node));
            }
            9..=11 => drop(self.tokens.swap_remove(at)),
            12 => {
                let (reason, says) = self.reason(next());
                let won = token.cancel_with(reason);
                let (first, woken) = self.forest.cancel(node, &says);
                assert_eq!(won, first);
                self.woke(woken);
            }
            13 => {
                drop(token.clone().drop_guard());
                let (_, woken) = self.forest.cancel(node, "cancelled");
                self.woke(woken);
            }
            14 => {
                let now = u64::from(next());
                let ok = token.check_at(Instant::from_nanos(now)).is_ok();
                let (_, woken) = self.forest.check_at(node, now);
                assert_eq!(ok, self.forest.reason(node).is_none());
                self.woke(woken);
            }
            15..=17 if self.waits.len() < MOST => {
                let wait = Box::pin(token.clone().cancelled_owned());
                let model = self.forest.wait(node);
                self.waits.push((wait, model));
                self.poll(self.waits.len() - 1, next());
            }
            18..=21 if !self.waits.is_empty() => {
                self.poll(usize::from(a) % self.waits.len(), next());
            }
            22..=23 if !self.waits.is_empty() => {
                let (wait, model) = self.waits.swap_remove(usize::from(a) % self.waits.len());
                drop(wait);
                self.forest.drop_wait(model);
            }
            _ => {}
        }
    }

    fn poll(&mut self, wait: usize, task: u8) {
        let task = usize::from(task) % TASKS;
        let (real, model) = &mut self.waits[wait];
        let over = self.tasks[task].poll(real.as_mut()) == Poll::Ready(());
        assert_eq!(over, self.forest.poll(*model, task));
    }

    fn compare(&self, a: u8) {
        for (token, node) in &self.tokens {
            let reason = self.forest.reason(*node);
            assert_eq!(token.is_cancelled(), reason.is_some());
            assert_eq!(token.reason().map(|r| r.to_string()).as_deref(), reason);
            let deadline = token.deadline().map_or(u64::MAX, Instant::as_nanos);
            assert_eq!(deadline, self.forest.deadline(*node));
        }
        if let Some((one, its)) = self.tokens.get(usize::from(a)) {
            for (token, node) in &self.tokens {
                assert_eq!(one == token, its == node);
            }
        }
        for (i, task) in self.tasks.iter().enumerate() {
            assert_eq!(task.woken(), self.woken[i], "wakes of task {i}");
            assert_eq!(task.wakers(), self.forest.wakers(i), "wakers of task {i}");
        }
    }
}
