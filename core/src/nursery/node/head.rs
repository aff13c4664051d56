//! The head of every child's block, the table of its type's functions, and how it is freed.
//!
//! States and invariants are told in the [face](super).

use crate::nursery::ended::{Number, Origin, Site};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::second::is_second;
use crate::nursery::options::Meta;
use crate::nursery::panics::Panics;
use crate::observe::Id;
use crate::reason::Reason;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell, dealloc};
use crate::wake::cell::WakeCell;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::task::{Context, Poll};

pub(super) const DONE: usize = 1;
pub(super) const ENDED: usize = 1 << 1;
pub(super) const WAITED: usize = 1 << 2;
pub(super) const STARTED: usize = 1 << 3;
pub(super) const CLAIMED: usize = 1 << 4;
pub(super) const ABANDONED: usize = 1 << 5;
pub(super) const NURSERY_GONE: usize = 1 << 6;
pub(super) const JOIN_GONE: usize = 1 << 7;
/// How many bits the above are. In those beyond lies the child's id, if it was asked.
pub(super) const FLAGS: u32 = 8;

/// The head of every child's block.
pub(crate) struct Node {
    pub(super) vtable: &'static VTable,
    pub(super) state: AtomicUsize,
    /// Whoever awaits the child: its `Join`, or before that its `SpawnWait`.
    pub(super) joiner: WakeCell,
    /// Where it was spawned.
    pub(super) site: Site,
    /// No memory; tells loom of each touch of the reason in the payload.
    pub(super) end: UnsafeCell<()>,
    /// C4: how it ended; and before that, if its work is done elsewhere, as what it was told to end.
    pub(super) kind: Cell<JoinErrorKind>,
    /// The payload's owner: whether the future is in it (C2).
    pub(super) has_future: Cell<bool>,
    /// The join side's: it has moved the output out.
    pub(super) taken: Cell<bool>,
    /// C5: what the race for the payload gave.
    pub(super) claim: Cell<Claim>,
    /// C5: whether it has ended, and whether that was told.
    pub(super) progress: Cell<Progress>,
    /// C5: it has been polled, and there is no more to it than its future.
    pub(crate) plain: Cell<bool>,
    /// C4: its number among those that were polled.
    pub(crate) number: Cell<Number>,
    /// C5: it has a place under the limit.
    pub(crate) placed: Cell<bool>,
    /// C5: a `SpawnWait` waits for its start.
    pub(crate) awaited: Cell<bool>,
    /// C5: the next in the inbox or the queue; of a running child, the next older one.
    pub(crate) next: Cell<*mut Node>,
    /// C5: of a running child, the next younger one.
    pub(crate) younger: Cell<*mut Node>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Open,
    Ours,
    /// The spawner gave up first.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Alive,
    /// The output is in the payload, and `DONE` is to be published when the nursery lets go.
    Untold,
    /// `DONE` or `ENDED` has been published, or is about to be.
    Told,
}

impl Node {
    pub(super) fn origin(&self) -> Origin {
        Origin {
            site: self.site,
            number: self.number.get(),
        }
    }

    /// The child's id, if it was asked.
    pub(super) fn asked(&self) -> Option<Id> {
        Id::from_word(self.state.load(Ordering::Relaxed) >> FLAGS)
    }

    /// As [`origin`](Self::origin), with the id that was asked.
    pub(super) fn who(&self) -> Origin {
        let mut origin = self.origin();
        if let Some(id) = self.asked() {
            origin.number = origin.number.asked(id);
        }
        origin
    }
}

/// How a child came to its end by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    /// It was cancelled with the nursery, and has neither output nor error.
    Cut,
    /// Its poll panicked.
    Panicked,
}

pub(super) struct VTable {
    pub(super) layout: Layout,
    /// Where the payload lies.
    pub(super) payload: usize,
    /// Polls the future. `Done`: the output is in the payload. `Failed`: the error was written to the
    /// `Option<E>` behind the pointer. In all ends the future has been dropped.
    pub(super) poll: unsafe fn(NonNull<Node>, &mut Context<'_>, *mut (), &Panics) -> Poll<Exit>,
    pub(super) drop_future: unsafe fn(NonNull<Node>),
    /// `None`: there is nothing to do.
    pub(super) drop_output: Option<unsafe fn(NonNull<Node>)>,
    /// Where the `Meta` lies between head and payload, if there is one.
    pub(super) meta: Option<usize>,
    /// There is neither a `Meta` nor a `remote`.
    pub(super) is_bare: bool,
    /// `None`: its work is done here, in `poll`.
    pub(super) remote: Option<RemoteTable>,
    /// Lets go of a block with a link, of which all but link and head has been dropped. `None`: there is no
    /// link.
    pub(super) let_go: Option<unsafe fn(NonNull<Node>)>,
}

/// What a `Remote` says to being told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It will.
    Told,
    /// It has ended before, as its next poll tells.
    Ended,
    /// Nothing has begun elsewhere: it may be dropped in its place.
    Here,
}

/// See `Remote`.
pub(super) struct RemoteTable {
    pub(super) may_be_lost: bool,
    pub(super) has_begun: unsafe fn(NonNull<Node>) -> bool,
    pub(super) stop: unsafe fn(NonNull<Node>) -> Stopped,
    pub(super) poll_decided: unsafe fn(NonNull<Node>, &Context<'_>) -> Poll<bool>,
}

/// Loom sees no plain drop: it is told that who frees the block has it to himself.
#[cfg(umbel_loom)]
impl Drop for Node {
    fn drop(&mut self) {
        self.end.with_mut(|_| ());
    }
}

/// What lies between head and payload.
///
/// # Safety
/// C1: the block outlives the result.
pub(super) unsafe fn meta<'a>(node: NonNull<Node>) -> Option<&'a Meta> {
    // SAFETY: C1 – (caller).
    let at = unsafe { node.as_ref() }.vtable.meta?;
    // SAFETY: C6 – it is there; C1 – (caller); never borrowed mutably before the block is freed.
    Some(unsafe { node.byte_add(at).cast::<Meta>().as_ref() })
}

/// Touches the payload as what it is from `ENDED` on: why the child ended.
///
/// # Safety
/// The payload is the caller's (C4), and what lay in it before is gone.
pub(super) unsafe fn with_end<R>(
    node: NonNull<Node>,
    touch: impl FnOnce(*mut Option<Reason>) -> R,
) -> R {
    // SAFETY: C1 – (caller) the block lives.
    let head = unsafe { node.as_ref() };
    // SAFETY: C6 – the payload lies there, within the block.
    let end = unsafe { node.byte_add(head.vtable.payload).cast() };
    head.end.with_mut(|_| touch(end.as_ptr()))
}

/// # Safety
/// The payload is the caller's and holds the future.
pub(super) unsafe fn drop_future(node: NonNull<Node>) {
    // SAFETY: C1 – (caller) the block lives.
    let head = unsafe { node.as_ref() };
    // Cleared first: if the drop panics, nobody drops it again.
    head.has_future.set(false);
    // SAFETY: C6, C2 – (caller).
    unsafe { (head.vtable.drop_future)(node) }
}

/// Drops what is left in a block and frees it, also while a drop unwinds.
///
/// # Safety
/// C1: both sides have let go, and nobody else has seen that. `state` was the state before.
#[inline]
pub(super) unsafe fn free(node: NonNull<Node>, state: usize) {
    struct Free(NonNull<Node>);
    impl Drop for Free {
        #[inline]
        fn drop(&mut self) {
            // SAFETY: C1 – both sides have let go, and this is who saw it; the aside is dropped once, here.
            // C6 – there is a `Meta` where the table says so, and a link; C7 – this is the sides' end.
            unsafe {
                if let Some(at) = self.0.as_ref().vtable.meta {
                    ptr::drop_in_place(self.0.byte_add(at).cast::<Meta>().as_ptr());
                }
                free_emptied(self.0);
            }
        }
    }
    let rest = Free(node);
    // SAFETY: C1 – as above.
    let head = unsafe { node.as_ref() };
    debug_assert!(!head.has_future.get(), "a child's future outlived its end");
    if state & ENDED != 0 {
        // SAFETY: C4 – the join side is gone: what it has left of the reason is ours.
        drop(unsafe { with_end(node, |end| (*end).take()) });
    } else if state & DONE != 0 && !head.taken.get() {
        if let Some(drop_output) = head.vtable.drop_output {
            // SAFETY: C3 – the join side is gone and did not take the output.
            unsafe { drop_output(node) };
        }
    }
    drop(rest);
}

/// As [`free`], of a block in which nothing is to be dropped but head and link.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn free_emptied(node: NonNull<Node>) {
    // SAFETY: C1 – (caller) the block is the sides'; C6 – there is a link where the table says so; C7 – this
    // is the sides' end.
    unsafe {
        match node.as_ref().vtable.let_go {
            None => free_memory(node),
            Some(let_go) => let_go(node),
        }
    }
}

/// Drops the head and frees the block.
///
/// # Safety
/// C1, C7: the block is the caller's alone, and all else in it has been dropped.
#[inline]
pub(super) unsafe fn free_memory(node: NonNull<Node>) {
    // SAFETY: (caller).
    unsafe {
        let layout = node.as_ref().vtable.layout;
        ptr::drop_in_place(node.as_ptr());
        dealloc(node.as_ptr().cast(), layout);
    }
}

/// The last act of a side, in its drop, where what goes before may panic: a guard.
///
/// `ours` is the side's bit.
pub(super) struct LetGo {
    pub(super) node: NonNull<Node>,
    pub(super) ours: usize,
}

impl Drop for LetGo {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: C1 – our side has not let go: it makes this once, in its drop, or calls `let_go`.
        unsafe {
            let state = self.node.as_ref().state.load(Ordering::Acquire);
            let_go(self.node, self.ours, state);
        }
    }
}

/// The last act of the side whose bit is `ours`. `state` was loaded to acquire, after all that this side has
/// published.
///
/// # Safety
/// C1: the side has not let go, and has no other use of the block.
#[inline]
pub(super) unsafe fn let_go(node: NonNull<Node>, ours: usize, state: usize) {
    // SAFETY: C1 – (caller).
    let word = unsafe { &node.as_ref().state };
    if let Some(state) = is_second(word, ours, NURSERY_GONE | JOIN_GONE, state) {
        // SAFETY: C1 – the other side's bit was set: ours is the second.
        unsafe { free(node, state) };
    }
}
