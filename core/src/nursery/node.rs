//! One child's memory: its future, later its output, shared by the nursery and one join handle.
//!
//! # Layout
//!
//! One allocation: `Node` (head) · `Meta` (only for named or graceful children) · payload. The
//! payload is the future until it ends, then the output in the same bytes. The head knows neither
//! type: a table of functions made per future type does.
//!
//! # State
//!
//! | bit | meaning | set by | never together with |
//! |---|---|---|---|
//! | `DONE` | the output stands in the payload | nursery | `ENDED` |
//! | `ENDED` | ended without output; `end` says why | nursery | `DONE` |
//! | `TAKEN` | the output was moved out | join | – |
//! | `STARTED` | it has its place under the limit | nursery | – |
//! | `CLAIMED` | the nursery wants the payload: its own if `ABANDONED` did not come first | nursery | – |
//! | `ABANDONED` | its spawner gave up: the payload is his if `CLAIMED` did not come first | join | – |
//! | `NURSERY_GONE` | the nursery has let go | nursery | – |
//! | `JOIN_GONE` | the join side has let go | join | – |
//!
//! ```text
//!            push               claim            poll → Ok          release
//!  made ────────────▶ queued ──────────▶ running ─────────▶ DONE ───────────▶ NURSERY_GONE
//!                       │ abandon            │ Err, cut                             │
//!                       ▼                    ▼                                      ▼
//!               future dropped by        ENDED ──────────────────────▶  freed with the second
//!               the spawner                                             of the two GONE bits
//! ```
//!
//! | # | bits set | who, and how | against | model |
//! |---|---|---|---|---|
//! | 1 | `CLAIMED`, `STARTED` | the nursery starts it; `fetch_or` | its spawner gives up | `start_against_giving_up` |
//! | 2 | | | its spawner waits for room | `start_against_waiting_for_room` |
//! | 3 | `CLAIMED` | the nursery refuses it | its spawner gives up | `refusal_against_giving_up` |
//! | 4 | | the nursery goes | its spawner gives up | `drop_against_giving_up` |
//! | 5 | `ABANDONED` | its spawner gives up; `fetch_or` | a sweep, others that give up | `sweep_against_giving_up` |
//! | 6 | | | the next in the queue wants the place | `n_24_giving_up_leaves_the_place_to_others` |
//! | 7 | `DONE` | it has ended; `fetch_or` | its join waits, and takes the output | `finish_against_join` |
//! | 8 | `ENDED` | it has failed | its join waits | `failure_against_join` |
//! | 9 | | it was cut | its join waits | `cut_against_join` |
//! | 10 | | it was refused | its spawner waits for room | `refusal_against_waiting_for_room` |
//! | 11 | | the nursery went | its spawner or join waits | `drop_against_waiting_for_room`, `spawn_against_drop` |
//! | 12 | `TAKEN`, `JOIN_GONE` | the join goes; `fetch_or` | `NURSERY_GONE` | `finish_against_join` |
//! | 13 | `JOIN_GONE`, not `TAKEN` | the join goes | `DONE`, `NURSERY_GONE`: who comes second drops the output | `finish_against_dropped_join` |
//!
//! # Invariants
//!
//! - **C1** The block lives until both `NURSERY_GONE` and `JOIN_GONE` are set; who sets the second
//!   frees it. A side that has not set its bit may read the head.
//! - **C2** While `has_future`, the payload holds the future. It belongs to the nursery's side; or,
//!   if `ABANDONED` came before `CLAIMED`, to the join side. It never moves.
//! - **C3** After `DONE` the payload holds the output. It belongs to the join side until that sets
//!   `JOIN_GONE`; then, unless `TAKEN`, to who frees the block.
//! - **C4** `end` is written by the payload's owner before `ENDED` is published, and only read after.
//! - **C5** The plain fields belong to the maker until the node is pushed, then to the nursery.
//! - **C6** The table's functions are those of the type with which the block was made.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | publish `DONE`/`ENDED`/`STARTED` | `fetch_or` | AcqRel | the join side's load: publishes output, `end` |
//! | look at the state | load | Acquire | the publication above |
//! | claim against abandon | `fetch_or` each | AcqRel | one another: the count of abandoned children, written before, is subtracted after |
//! | taken | `fetch_or` | AcqRel | nothing: "let go" comes later on the same side |
//! | let go | `fetch_or` | AcqRel | the other side's: the freer sees every access of the other |
//!
//! Who has the payload is decided by the atomicity of claim and abandon alone: until then only the
//! spawner has touched it, who published it with the push. No model can fail on their order: it
//! keeps a count from passing below zero, of which loom shows only the newest value.
//!
//! # Foreign code
//!
//! The future's poll and drop, the output's drop and the joiner's waker run while the head is
//! consistent: before a drop, `has_future` is cleared; a waker is taken out before it is woken or
//! dropped. A join side that goes takes its waker along. A panic in a poll goes to [`panics`];
//! elsewhere it unwinds to the caller, after what else there is to do has been done.
//!
//! [`panics`]: crate::nursery::panics

use crate::nursery::failure::{JoinError, JoinErrorKind};
use crate::nursery::options::{Aside, Meta};
use crate::nursery::panics::Panics;
use crate::reason::Reason;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell, alloc, dealloc};
use crate::wake::batch::each;
use crate::wake::cell::WakeCell;
use ::alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::cell::Cell;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, needs_drop, offset_of};
use core::pin::Pin;
use core::ptr::{self, NonNull};
use core::task::{Context, Poll, Waker};

const DONE: usize = 1;
const ENDED: usize = 1 << 1;
const TAKEN: usize = 1 << 2;
const STARTED: usize = 1 << 3;
const CLAIMED: usize = 1 << 4;
const ABANDONED: usize = 1 << 5;
const NURSERY_GONE: usize = 1 << 6;
const JOIN_GONE: usize = 1 << 7;

/// The head of every child's block.
pub(crate) struct Node {
    vtable: &'static VTable,
    state: AtomicUsize,
    /// Whoever awaits the child: its `Join`, or before that its `SpawnWait`.
    joiner: WakeCell,
    /// C4.
    end: UnsafeCell<Option<JoinError>>,
    /// The payload's owner: whether the future is in it (C2).
    has_future: Cell<bool>,
    /// The join side's: it has left a waker in `joiner` once.
    waited: Cell<bool>,
    /// C5: what the race for the payload gave.
    claim: Cell<Claim>,
    /// C5: `DONE` or `ENDED` has been published.
    ended: Cell<bool>,
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
enum Claim {
    Open,
    Ours,
    /// The spawner gave up first.
    Lost,
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

/// What a child's future gives.
pub(crate) trait Outcome<T, E> {
    /// `Err(None)`: it was cut. May be foreign code, as a part of the poll.
    fn split(self) -> Result<T, Option<E>>;
}

impl<T, E> Outcome<T, E> for Result<T, E> {
    #[inline]
    fn split(self) -> Result<T, Option<E>> {
        self.map_err(Some)
    }
}

struct VTable {
    layout: Layout,
    /// Where the payload lies.
    payload: usize,
    /// Polls the future. `Done`: the output is in the payload. `Failed`: the error was written to the
    /// `Option<E>` behind the pointer. In all ends the future has been dropped.
    poll: unsafe fn(NonNull<Node>, &mut Context<'_>, *mut (), &Panics) -> Poll<Exit>,
    drop_future: unsafe fn(NonNull<Node>),
    /// `None`: there is nothing to do.
    drop_output: Option<unsafe fn(NonNull<Node>)>,
    /// Drops what lies between head and payload.
    drop_aside: unsafe fn(NonNull<Node>),
    /// What lies between head and payload is a `Meta`, at `META`.
    has_meta: bool,
}

/// Where `Meta` lies, whatever comes behind it.
const META: usize = offset_of!(Block<(), (), Meta>, aside);

#[repr(C)]
struct Block<F, T, M> {
    node: Node,
    aside: M,
    payload: Payload<F, T>,
}

union Payload<F, T> {
    future: ManuallyDrop<F>,
    #[allow(
        dead_code,
        reason = "written through a pointer; here for its size and alignment"
    )]
    output: ManuallyDrop<T>,
}

struct Typed<F, T, E, M>(PhantomData<(F, T, E, M)>);

impl<F: Future<Output: Outcome<T, E>>, T, E, M: Aside> Typed<F, T, E, M> {
    const VTABLE: VTable = VTable {
        layout: Layout::new::<Block<F, T, M>>(),
        payload: offset_of!(Block<F, T, M>, payload),
        poll: Self::poll,
        drop_future: Self::drop_future,
        drop_output: if needs_drop::<T>() {
            Some(Self::drop_output)
        } else {
            None
        },
        drop_aside: Self::drop_aside,
        has_meta: {
            assert!(!M::IS_META || offset_of!(Block<F, T, M>, aside) == META);
            M::IS_META
        },
    };

    fn allocate(future: F, aside: M) -> NonNull<Node> {
        let layout = Self::VTABLE.layout;
        // SAFETY: the layout is not empty, it holds a `Node`.
        let raw = unsafe { alloc(layout) }.cast::<Block<F, T, M>>();
        let Some(block) = NonNull::new(raw) else {
            handle_alloc_error(layout)
        };
        let node = Node {
            vtable: const { &Self::VTABLE },
            state: AtomicUsize::new(0),
            joiner: WakeCell::new(),
            end: UnsafeCell::new(None),
            has_future: Cell::new(true),
            waited: Cell::new(false),
            claim: Cell::new(Claim::Open),
            ended: Cell::new(false),
            placed: Cell::new(false),
            awaited: Cell::new(false),
            next: Cell::new(ptr::null_mut()),
            younger: Cell::new(ptr::null_mut()),
        };
        let payload = Payload {
            future: ManuallyDrop::new(future),
        };
        // SAFETY: fresh memory of this layout.
        unsafe {
            block.write(Block {
                node,
                aside,
                payload,
            });
        }
        block.cast()
    }

    /// # Safety
    /// C6; the payload is the caller's.
    unsafe fn payload(node: NonNull<Node>) -> *mut Payload<F, T> {
        // SAFETY: (caller) the block is of this type, so the field lies within it.
        unsafe { &raw mut (*node.cast::<Block<F, T, M>>().as_ptr()).payload }
    }

    unsafe fn poll(
        node: NonNull<Node>,
        cx: &mut Context<'_>,
        error: *mut (),
        panics: &Panics,
    ) -> Poll<Exit> {
        // SAFETY: C6; C2 – the caller owns the payload and it holds the future.
        let payload = unsafe { Self::payload(node) };
        let mut outcome = None;
        let polled = panics.catch(|| {
            // Made here, not brought along: it must be gone before the future is dropped.
            // SAFETY: C2 – as above; the future is pinned, since it never moves until it is dropped here.
            let future = unsafe { Pin::new_unchecked(&mut *payload.cast::<F>()) };
            let Poll::Ready(returned) = future.poll(cx) else {
                return Poll::Pending;
            };
            // What its drop does changes nothing about what it has returned.
            outcome = Some(returned.split());
            // SAFETY: C2 – the future is in the payload, which is the caller's.
            unsafe { drop_future(node) };
            Poll::Ready(())
        });
        match polled {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(())) => {}
            // SAFETY: C1 – (caller) the block lives; C2 – as above.
            None => unsafe {
                if node.as_ref().has_future.get() {
                    panics.catch(|| drop_future(node));
                }
            },
        }
        let Some(outcome) = outcome else {
            return Poll::Ready(Exit::Panicked);
        };
        Poll::Ready(match outcome {
            Ok(output) => {
                // SAFETY: C3 – the future is gone; `DONE` is published by the caller.
                unsafe { payload.cast::<T>().write(output) };
                Exit::Done
            }
            Err(Some(e)) => {
                // SAFETY: (caller of `NurserySide::poll`) the pointer is to an `Option<E>`.
                unsafe { *error.cast::<Option<E>>() = Some(e) };
                Exit::Failed
            }
            Err(None) => Exit::Cut,
        })
    }

    unsafe fn drop_future(node: NonNull<Node>) {
        // SAFETY: C6, C2 – the caller owns the payload, which holds the future.
        unsafe { ptr::drop_in_place(Self::payload(node).cast::<F>()) }
    }

    unsafe fn drop_output(node: NonNull<Node>) {
        // SAFETY: C6, C3 – the caller owns the payload, which holds the output.
        unsafe { ptr::drop_in_place(Self::payload(node).cast::<T>()) }
    }

    unsafe fn drop_aside(node: NonNull<Node>) {
        // SAFETY: C6; C1 – the caller frees the block.
        unsafe { ptr::drop_in_place(&raw mut (*node.cast::<Block<F, T, M>>().as_ptr()).aside) }
    }
}

/// Loom sees no plain drop: it is told that who frees the block has it to himself.
#[cfg(umbel_loom)]
impl Drop for Node {
    fn drop(&mut self) {
        self.end.with_mut(|_| ());
    }
}

/// # Safety
/// The payload is the caller's and holds the future.
unsafe fn drop_future(node: NonNull<Node>) {
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
/// C1: both sides have let go, and nobody else has seen that.
unsafe fn free(node: NonNull<Node>) {
    struct Free(NonNull<Node>);
    impl Drop for Free {
        fn drop(&mut self) {
            // SAFETY: C1 – the block is ours alone; head and aside are dropped once, here.
            unsafe {
                let vtable = self.0.as_ref().vtable;
                (vtable.drop_aside)(self.0);
                ptr::drop_in_place(self.0.as_ptr());
                dealloc(self.0.as_ptr().cast(), vtable.layout);
            }
        }
    }
    let rest = Free(node);
    // SAFETY: C1 – as above.
    let head = unsafe { node.as_ref() };
    debug_assert!(!head.has_future.get(), "a child's future outlived its end");
    // Relaxed: the caller's last `fetch_or` has acquired everything.
    let state = head.state.load(Ordering::Relaxed);
    if state & DONE != 0 && state & TAKEN == 0 {
        if let Some(drop_output) = head.vtable.drop_output {
            // SAFETY: C3 – the join side is gone and did not take the output.
            unsafe { drop_output(node) };
        }
    }
    drop(rest);
}

/// The last act of a side: a guard, for what goes before may panic.
///
/// Made once by each side, in its drop, with its bit.
struct LetGo {
    node: NonNull<Node>,
    ours: usize,
}

impl Drop for LetGo {
    fn drop(&mut self) {
        // SAFETY: C1 – our side lets go only here.
        let state = unsafe { &self.node.as_ref().state };
        let old = state.fetch_or(self.ours, Ordering::AcqRel);
        if old & (NURSERY_GONE | JOIN_GONE) != 0 {
            // SAFETY: C1 – the other side's bit was set: ours was the second.
            unsafe { free(self.node) };
        }
    }
}

/// Makes a child. The two sides must both be released.
pub(crate) fn new<F, T, E, M>(future: F, aside: M) -> (NurserySide, JoinSide<T>)
where
    F: Future<Output: Outcome<T, E>>,
    M: Aside,
{
    let node = Typed::<F, T, E, M>::allocate(future, aside);
    (NurserySide(node), JoinSide(node, PhantomData))
}

/// Makes a child and gives it away. If `give` gives it back as it was, the future is taken out again.
pub(crate) fn offer<F, T, E, M>(
    future: F,
    aside: M,
    give: impl FnOnce(NurserySide) -> Result<(), NurserySide>,
) -> Result<JoinSide<T>, F>
where
    F: Future<Output: Outcome<T, E>>,
    M: Aside,
{
    let (child, join) = new(future, aside);
    let Err(child) = give(child) else {
        return Ok(join);
    };
    let head = child.head();
    assert!(child.0 == join.0 && head.claim.get() == Claim::Open && head.has_future.get());
    head.has_future.set(false);
    // SAFETY: C6, C2 – the payload is ours and holds the `F`. Not claimed, it was never polled, so it
    // may move. Without it, dropping the two sides frees the block.
    Err(unsafe { Typed::<F, T, E, M>::payload(child.0).cast::<F>().read() })
}

// ------------------------------------------------------------------ the nursery's side

/// The nursery's claim on a child. Dropping it ends the child, if it has not ended, and lets go.
pub(crate) struct NurserySide(NonNull<Node>);

impl NurserySide {
    /// Gives up the claim for a pointer, to be kept in a list; [`from_raw`](Self::from_raw) restores it.
    pub(crate) fn into_raw(self) -> *mut Node {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    /// `raw` came from [`into_raw`](Self::into_raw) and has not been restored since.
    pub(crate) unsafe fn from_raw(raw: *mut Node) -> Self {
        // SAFETY: (caller) never null.
        NurserySide(unsafe { NonNull::new_unchecked(raw) })
    }

    /// A look at a child whose claim is kept elsewhere.
    ///
    /// # Safety
    /// `raw` is the node of a claim that lives for as long as the result is used.
    pub(crate) unsafe fn peek(raw: *mut Node) -> ManuallyDrop<Self> {
        // SAFETY: (caller) never null.
        ManuallyDrop::new(NurserySide(unsafe { NonNull::new_unchecked(raw) }))
    }

    pub(crate) fn as_ptr(&self) -> *mut Node {
        self.0.as_ptr()
    }

    /// The head. Its plain fields are ours (C5).
    pub(crate) fn head(&self) -> &Node {
        // SAFETY: C1 – our side has not let go.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn meta(&self) -> Option<&Meta> {
        if !self.head().vtable.has_meta {
            return None;
        }
        // SAFETY: C6 – there is one; C1 – the block lives; it is never borrowed mutably before it is
        // freed.
        Some(unsafe { self.0.byte_add(META).cast::<Meta>().as_ref() })
    }

    pub(crate) fn is_graceful(&self) -> bool {
        self.meta().is_some_and(|meta| meta.graceful)
    }

    /// Whether its spawner gave up waiting for room, so that it must not be started.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.head().state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Takes the payload for good, and sets the bits `told`. False: the spawner gave up first.
    pub(crate) fn claim(&self, told: usize) -> bool {
        let head = self.head();
        if head.claim.get() == Claim::Open {
            // Only a spawner that waits can give up.
            let lost = head.awaited.get()
                && head.state.fetch_or(CLAIMED | told, Ordering::AcqRel) & ABANDONED != 0;
            head.claim.set(if lost { Claim::Lost } else { Claim::Ours });
        }
        head.claim.get() == Claim::Ours
    }

    /// Takes the payload for good: the child is in. False: the spawner gave up first.
    pub(crate) fn start(&self) -> bool {
        self.claim(STARTED)
    }

    /// Whoever waits for the child's start, to be woken after [`start`](Self::start).
    pub(crate) fn take_waiting(&self) -> Option<Waker> {
        if self.head().awaited.get() {
            self.head().joiner.take()
        } else {
            None
        }
    }

    /// Whether letting go may call foreign code: it has not ended, or has an output with a drop.
    #[inline]
    pub(crate) fn holds_foreign(&self) -> bool {
        !self.head().ended.get() || self.head().vtable.drop_output.is_some()
    }

    /// Whether the future is still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.head().has_future.get()
    }

    /// Polls the child and publishes its end, but for `Cut`, which [`end`](Self::end) does. `Failed`: the error is in `error`. What panics goes to
    /// `panics`.
    ///
    /// # Safety
    /// [`start`](Self::start) gave true, [`is_alive`](Self::is_alive), and `E` is the type with which the
    /// child was made.
    #[inline]
    pub(crate) unsafe fn poll<E>(
        &self,
        cx: &mut Context<'_>,
        error: &mut Option<E>,
        panics: &Panics,
    ) -> Poll<Exit> {
        let error: *mut Option<E> = error;
        // SAFETY: C6; C2 – claimed and alive (caller).
        let polled = unsafe { (self.head().vtable.poll)(self.0, cx, error.cast(), panics) };
        let Poll::Ready(exit) = polled else {
            return Poll::Pending;
        };
        let told = match exit {
            Exit::Cut => return polled,
            Exit::Done => DONE,
            Exit::Failed | Exit::Panicked => {
                let kind = match exit {
                    Exit::Panicked => JoinErrorKind::Panicked,
                    _ => JoinErrorKind::Failed,
                };
                // SAFETY: C4 – the payload is ours and `ENDED` is not published yet.
                unsafe { self.set_end(JoinError::new(kind, None)) };
                ENDED
            }
        };
        if let Some(joiner) = self.publish(told) {
            panics.catch(|| joiner.wake());
        }
        polled
    }

    /// Drops the future, if it is there and ours, and tells the joiner why, whichever of the two
    /// panics. No effect on a child that has ended.
    pub(crate) fn end(&self, kind: JoinErrorKind, reason: Option<Reason>) {
        // A lost claim: the spawner is dropping the future, perhaps now, and what lies beside it is his
        // too. (No tool shows what ignoring it does: the clash is on plain fields, in a window of a
        // few instructions that miri did not hit and loom does not see.)
        if self.head().ended.get() || !self.claim(0) {
            return;
        }
        // SAFETY: C4 – the payload is ours and `ENDED` is not published yet.
        unsafe { self.set_end(JoinError::new(kind, reason)) };
        each([false, true].into_iter(), |told| {
            if told {
                if let Some(joiner) = self.publish(ENDED) {
                    joiner.wake();
                }
            } else if self.is_alive() {
                // SAFETY: C2 – claimed, and alive.
                unsafe { drop_future(self.0) };
            }
        });
    }

    /// # Safety
    /// The payload is ours and `ENDED` has not been published.
    unsafe fn set_end(&self, error: JoinError) {
        // SAFETY: C4 – (caller).
        let old = self
            .head()
            .end
            .with_mut(|end| unsafe { (*end).replace(error) });
        drop(old);
    }

    /// Whoever waits for the child's end is to be woken.
    #[must_use]
    fn publish(&self, bit: usize) -> Option<Waker> {
        self.head().ended.set(true);
        let old = self.head().state.fetch_or(bit, Ordering::AcqRel);
        if old & JOIN_GONE == 0 {
            self.head().joiner.take()
        } else {
            None
        }
    }
}

impl Drop for NurserySide {
    fn drop(&mut self) {
        let _let_go = LetGo {
            node: self.0,
            ours: NURSERY_GONE,
        };
        self.end(JoinErrorKind::Closed, None);
    }
}

// ------------------------------------------------------------------ the join side

/// The joiner's claim on a child. Dropping it lets go: the child runs on, its output is dropped.
pub(crate) struct JoinSide<T>(NonNull<Node>, PhantomData<T>);

// SAFETY: C1–C4 – the sides meet only through `state` and `joiner`; what crosses is the output.
unsafe impl<T: Send> Send for JoinSide<T> {}
// SAFETY: nothing is reachable through a shared reference.
unsafe impl<T: Send> Sync for JoinSide<T> {}

impl<T> JoinSide<T> {
    fn head(&self) -> &Node {
        // SAFETY: C1 – our side has not let go.
        unsafe { self.0.as_ref() }
    }

    /// The state, once it has one of `bits`; else `waker` is registered.
    fn poll_state(&self, bits: usize, waker: &Waker) -> Poll<usize> {
        let head = self.head();
        let state = head.state.load(Ordering::Acquire);
        if state & bits != 0 {
            return Poll::Ready(state);
        }
        head.waited.set(true);
        head.joiner.register(waker);
        let state = head.state.load(Ordering::Acquire);
        if state & bits != 0 {
            return Poll::Ready(state);
        }
        Poll::Pending
    }

    fn end(&self) -> JoinError {
        // SAFETY: C4 – the caller saw `ENDED`.
        let end = self.head().end.with(|end| unsafe { (*end).clone() });
        end.unwrap_or(JoinError::new(JoinErrorKind::Closed, None))
    }

    /// The output, or why there is none. Not to be called again after `Ready`.
    pub(crate) fn poll_join(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let Poll::Ready(state) = self.poll_state(DONE | ENDED, cx.waker()) else {
            return Poll::Pending;
        };
        if state & ENDED != 0 || state & TAKEN != 0 {
            return Poll::Ready(Err(self.end()));
        }
        // SAFETY: C3 – `DONE`, not `TAKEN`: the output is there and ours; C6 – `T` is its type, for
        // `new` tied this side to it.
        let output = unsafe {
            let payload = self.0.cast::<u8>().add(self.head().vtable.payload);
            payload.cast::<T>().read()
        };
        self.head().state.fetch_or(TAKEN, Ordering::AcqRel);
        Poll::Ready(Ok(output))
    }

    /// Ready when the child has its place (or has already ended well); the error if it never will.
    pub(crate) fn poll_start(&self, cx: &mut Context<'_>) -> Poll<Result<(), JoinError>> {
        let Poll::Ready(state) = self.poll_state(STARTED | DONE | ENDED, cx.waker()) else {
            return Poll::Pending;
        };
        if state & (STARTED | DONE) != 0 {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(self.end()))
    }

    /// Gives up a child that waits for room: true if it will never start; its future is then dropped.
    pub(crate) fn abandon(&self) -> bool {
        let old = self.head().state.fetch_or(ABANDONED, Ordering::AcqRel);
        if old & CLAIMED != 0 {
            return false;
        }
        // SAFETY: C2 – `ABANDONED` came first: the payload is ours, and nobody else ends it.
        unsafe { drop_future(self.0) };
        true
    }
}

impl<T> Drop for JoinSide<T> {
    fn drop(&mut self) {
        let _let_go = LetGo {
            node: self.0,
            ours: JOIN_GONE,
        };
        // Who waits no more is not kept until the child ends. (It is foreign code: let go also if it
        // panics.)
        if self.head().waited.get() {
            drop(self.head().joiner.take());
        }
    }
}
