//! How nodes die.
//!
//! # Two burials
//!
//! | | ordinary: [`release`] | in a walk: [`release_in_walk`] |
//! |---|---|---|
//! | by | drop of a handle | `cancel`, perhaps in an interrupt |
//! | memory below the node | freed | stays with the slot |
//! | waiter segments | freed but for the first | stay with the slot |
//! | a reason that the node owned | dropped, when the structure is whole | parked in the slot |
//! | wakers that are still ARMED | likewise | stay ARMED in the slot, which is marked LEFT |
//! | goes on with the parent | in a loop | never: the walker holds the parent |
//!
//! A walk that lets go of a root of `any_of` may be the last to keep nodes in other trees: then it does
//! go on with parents, still without freeing, and dead roots come into a list ([`release_far`]) that
//! the walker puts where an ordinary burial will find it ([`Special::Grave`]).
//!
//! A slot's first waiter segment stays so that short-lived children that are waited on allocate
//! nothing. All that stays with slots goes with the next occupant or with the parent's arena.
//!
//! # Invariants
//!
//! - **D1** A node whose last reference was given up belongs to the one who did so: no handle, no
//!   child and no walker is left, and `upgrade` fails (a plain root, whose `strong` may stay 1,
//!   nobody upgrades). Walkers at its parent still load its atomics, and mark it if it is LIVE, until the
//!   slot is FREE.
//! - **D2** A waiter's code in a dead node is TAKEN or ARMED, and nobody owns it. ARMED is what has no
//!   registrant any more: a callback that was forgotten, or that the canceller put back; the waker of
//!   a leaked future, which nobody can poll or drop once the node is dead.
//! - **D3** In the slab of a dead node all slots are empty, but may keep slabs, reasons and ARMED
//!   waiters of dead ones.
//! - **D4** A slot in which ARMED waiters are left says so (LEFT). Its next occupant may be live, and
//!   must not have them woken by its own cancellation: who claims the slot drops them first
//!   ([`clear_left`]). Until then nobody enters, since `strong` is 0.
//! - **D5** A list through `aside` has one owner. A node in it is dead, or is a root that the owner has
//!   fired and holds.
//!
//! # Foreign code
//!
//! The drop of a pointer reason or a waker, also of one that was left in a slot, which may call anything
//! and panic: [`Burial`] hands each one out when what lies behind it is whole, and goes on afterwards.

use crate::reason::Reason;
use crate::sync::{Ordering, dealloc};
use crate::token::cursor::{Cursor, Visit};
use crate::token::join::{Joined, Link};
use crate::token::node::{ChildSlot, Node, WaitSlot, node_in};
use crate::wake::batch::drop_all;
use crate::wake::slab::{Place, Segment, SlotSet};
use core::iter::from_fn;
use core::mem::forget;
use core::ptr::null;
use core::task::{RawWaker, RawWakerVTable, Waker};

/// The last handle is gone.
///
/// # Safety
/// The caller gave up the last handle, acquiring, and has the handles' reference.
#[inline]
pub(crate) unsafe fn close(node: *const Node) {
    // SAFETY: I1 – the handles' reference keeps the node.
    unsafe {
        if !(*node).kids.is_empty() {
            close_shards(node);
        }
        release(node);
    }
}

/// No handle, hence no more children: each shard's last child may now release the node.
///
/// # Safety
/// As for [`close`].
unsafe fn close_shards(node: *const Node) {
    // SAFETY: I1 – (caller) the handles' reference keeps the node.
    unsafe {
        (*node).kids.each_shard(|first| {
            if Segment::close(first) {
                // Relaxed: the reference that is left releases what was done here.
                let before = (*node).strong().fetch_sub(1, Ordering::Relaxed);
                debug_assert!(before > 1, "the handles' reference is left");
            }
        });
    }
}

/// Gives up a reference to a node; buries it, and ancestors that only it kept alive, if it was the
/// last. Frees memory.
///
/// # Safety
/// The caller has that reference, and no `&Node` of it.
#[inline]
pub(crate) unsafe fn release(node: *const Node) {
    // SAFETY: I1 – the reference keeps the node until it is given up.
    if unsafe { give_up(node) } {
        let mut burial = Burial::of(node);
        // SAFETY: D1 – the node is ours.
        let first = unsafe {
            // Most of the dead have nothing below them, and leave nothing to drop.
            if (*node).kids.is_empty() && (*node).waits.is_empty() && !(*node).is_joined() {
                burial.bury_node().map(Remains::Reason)
            } else {
                burial.next()
            }
        };
        if first.is_some() || !burial.node.is_null() {
            drop_all(first.into_iter().chain(burial));
        }
    }
}

/// True: it was the last reference, and all that others did with theirs is seen.
///
/// # Safety
/// As for [`release`].
#[inline(always)]
unsafe fn give_up(node: *const Node) -> bool {
    // SAFETY: I1 – (caller) the reference keeps the node until it is given up.
    unsafe {
        let strong = (*node).strong();
        // Nobody upgrades a root but one of `join`: there our 1 cannot grow, and needs no
        // read-modify-write.
        let alone = (*node).is_plain_root() && strong.load(Ordering::Acquire) == 1;
        alone || strong.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Gives up a walker's reference; buries the node if it was the last, without freeing anything.
///
/// # Safety
/// The caller has that reference and one to the parent, and no `&Node` of the node.
#[inline]
pub(crate) unsafe fn release_in_walk(node: *const Node) {
    // SAFETY: I1 – the reference keeps the node until it is given up; then D1.
    unsafe {
        if (*node).strong().fetch_sub(1, Ordering::AcqRel) == 1 {
            bury_in_walk(node);
        }
    }
}

/// Gives up a walker's reference to a node whose parent may be kept by nothing else, or which is the
/// root of a `join`; what it was last to keep is buried without freeing anything. Roots that died are
/// put into the list `dead`.
///
/// # Safety
/// The caller has that reference, and no `&Node` of the node.
pub(crate) unsafe fn release_far(node: *const Node, dead: &mut *const Node) {
    // SAFETY: I1 – each reference keeps its node until it is given up; then D1, D5.
    unsafe {
        let mut dying = null();
        let give_up = |node: *const Node, dying: &mut *const Node| {
            if (*node).strong().fetch_sub(1, Ordering::AcqRel) == 1 {
                push(dying, node);
            }
        };
        give_up(node, &mut dying);
        while let Some(node) = pop(&mut dying) {
            if (*node).lies_in().is_some() {
                if let Some(parent) = bury_slot_in_walk(node) {
                    give_up(parent, &mut dying);
                }
                continue;
            }
            if let Some(joined) = Joined::of(node) {
                Joined::unlink_all(joined, |source| give_up(source, &mut dying));
            }
            push(dead, node);
        }
    }
}

/// # Safety
/// D5: the node is the caller's, or held by it and in no other list.
pub(crate) unsafe fn push(list: &mut *const Node, node: *const Node) {
    // SAFETY: (caller).
    unsafe { (*node).put_before(*list) };
    *list = node;
}

/// # Safety
/// D5: the list is the caller's.
pub(crate) unsafe fn pop(list: &mut *const Node) -> Option<*const Node> {
    let first = *list;
    (!first.is_null()).then(|| {
        // SAFETY: (caller).
        *list = unsafe { (*first).next_aside() };
        first
    })
}

/// # Safety
/// The caller brought `strong` to 0, acquiring, and holds the parent.
#[cold]
unsafe fn bury_in_walk(node: *const Node) {
    // SAFETY: (caller) the parent is held, so the shard's reference is not the last.
    unsafe {
        if let Some(parent) = bury_slot_in_walk(node) {
            // Relaxed: the walker's own reference releases what was done here.
            let before = (*parent).strong().fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 1, "the walker holds the parent");
        }
    }
}

/// Returns the parent if a reference to it is now the caller's to give up.
///
/// # Safety
/// The caller brought `strong` of a node that is not a root to 0, acquiring.
unsafe fn bury_slot_in_walk(node: *const Node) -> Option<*const Node> {
    // SAFETY: D1; I2 – the node's own shard keeps the parent until `leave`.
    unsafe {
        let Some(place) = (*node).lies_in() else {
            unreachable!("a root has no slot");
        };
        let parent = Segment::owner(place.segment);
        if (*node).waits.reset_codes() {
            (*node).set_left(true); // D4
        }
        (*node).kids.each_shard(|first| Segment::reopen(first));
        (*node).set_free_parking();
        place.vacate();
        Segment::leave(place.segment).then_some(parent)
    }
}

// ------------------------------------------------------------------ links and graves

/// What a waker of [`special`] is.
pub(crate) enum Special {
    /// A link of an `any_of` root, ARMED in the source's slot.
    Link(*const Link),
    /// A list of dead roots that a walk could not free.
    Grave(*const Node),
}

/// With the data of a special waker: it is a grave.
const GRAVE: usize = 1;

/// A waker that tells walkers and burials what it is. Walkers do not wake it; it is never cloned.
///
/// # Safety
/// A link's share, or the list, goes to the waker.
pub(crate) unsafe fn special(what: Special) -> Waker {
    let data = match what {
        Special::Link(link) => link.cast::<()>(),
        Special::Grave(dead) => dead.cast::<()>().map_addr(|a| a | GRAVE),
    };
    // SAFETY: what is behind `data` is reached through atomics only, or by its one owner.
    unsafe { Waker::from_raw(RawWaker::new(data, &SPECIAL)) }
}

/// What the waker is, if it is special: it is not to be woken then, but forgotten.
#[inline(always)]
pub(crate) fn as_special(waker: &Waker) -> Option<Special> {
    core::ptr::eq(waker.vtable(), &SPECIAL).then(|| special_data(waker.data()))
}

fn special_data(data: *const ()) -> Special {
    if data.addr() & GRAVE == 0 {
        Special::Link(data.cast())
    } else {
        Special::Grave(data.map_addr(|a| a & !GRAVE).cast())
    }
}

static SPECIAL: RawWakerVTable = RawWakerVTable::new(
    |_| unreachable!("it is not cloned"),
    |_| unreachable!("walkers do not wake it"),
    |_| unreachable!("walkers do not wake it"),
    |data| {
        // A link is ended by who has it, and not dropped: its source lives longer (J4).
        if let Special::Grave(dead) = special_data(data) {
            let mut burial = Burial::of(null());
            burial.pending = dead;
            drop_all(burial);
        }
    },
);

/// What a burial hands out.
#[allow(dead_code, reason = "made to be dropped")]
enum Remains {
    Reason(Reason),
    Waker(Waker),
}

/// An ordinary burial in progress. Yields what the dead owned; between two items the tree is whole.
struct Burial {
    /// The dead node that comes next (D1). Null: over.
    node: *const Node,
    /// Where we are in the arena below `node`; `None`: not begun.
    arena: Option<Arena>,
    /// Where we are among the waiters of `node`, or of the arena's `child`; `None`: not begun.
    armed: Option<Armed>,
    /// More dead nodes (D5).
    pending: *const Node,
}

/// A walk through a dead arena, depth first: slots may keep arenas of their own, as deep as the tree was.
struct Arena {
    at: *const Node,
    cursor: Cursor,
    /// The child of `at` whose waiters are being buried; null: none.
    child: *const Node,
}

/// A walk over the ARMED waiters of a dead node.
struct Armed {
    /// Null: over.
    segment: *const Segment<WaitSlot>,
    /// The next word; what was armed in the one before and is still to be yielded is in `taken`.
    word: usize,
    taken: SlotSet,
}

impl Armed {
    /// The next waker at `node` that nobody will wake any more. Begins, or goes on where it was; at
    /// the end, forgets where.
    ///
    /// # Safety
    /// D1 holds for the node, or D3 with us alone; it stays the same until `None`.
    unsafe fn next_at(this: &mut Option<Armed>, node: *const Node) -> Option<Waker> {
        // SAFETY: (caller) the segments are ours; D2 – nobody owns an ARMED slot, and a waker is in it.
        unsafe {
            let armed = this.get_or_insert_with(|| Armed {
                segment: (*node).waits.first(),
                word: 0,
                taken: SlotSet::EMPTY,
            });
            while !armed.segment.is_null() {
                if let Some(slot) = armed.taken.pop() {
                    let place = Place::in_word(armed.segment, armed.word - 1, slot);
                    return Some((*place.slot()).take());
                }
                if armed.word < Segment::words(armed.segment) {
                    armed.taken = Segment::take_armed(armed.segment, armed.word);
                    armed.word += 1;
                } else {
                    armed.segment = (*node).waits.after(armed.segment);
                    armed.word = 0;
                }
            }
            *this = None;
            None
        }
    }
}

impl Iterator for Burial {
    type Item = Remains;

    #[inline]
    fn next(&mut self) -> Option<Remains> {
        loop {
            // SAFETY: D1 – the node is ours; D5.
            unsafe {
                if self.node.is_null() {
                    self.node = pop(&mut self.pending)?;
                }
                if !(*self.node).kids.is_empty() {
                    if let Some(remains) = self.bury_arena() {
                        return Some(remains);
                    }
                }
                if !(*self.node).waits.is_empty() {
                    if let Some(waker) = Armed::next_at(&mut self.armed, self.node) {
                        if self.open(&waker) {
                            forget(waker);
                            continue;
                        }
                        return Some(Remains::Waker(waker));
                    }
                }
                if let Some(reason) = self.bury_node() {
                    return Some(Remains::Reason(reason));
                }
            }
        }
    }
}

impl Burial {
    #[inline]
    fn of(node: *const Node) -> Burial {
        Burial {
            node,
            arena: None,
            armed: None,
            pending: null(),
        }
    }

    /// If the waker is a grave, its dead are buried next; so a grave in a grave takes no stack.
    #[cold]
    fn open(&mut self, waker: &Waker) -> bool {
        let Some(Special::Grave(mut dead)) = as_special(waker) else {
            return false;
        };
        // SAFETY: D5 – the list was the waker's.
        unsafe {
            while let Some(node) = pop(&mut dead) {
                push(&mut self.pending, node);
            }
        }
        true
    }

    /// Frees all memory below the node; after `None` it has no slab of children.
    ///
    /// # Safety
    /// D1 holds for `self.node`, and it has a slab of children.
    #[cold]
    unsafe fn bury_arena(&mut self) -> Option<Remains> {
        // SAFETY: D1, D3 – we are alone in the arena.
        unsafe {
            let node = self.node;
            self.arena.get_or_insert_with(|| Arena {
                at: node,
                cursor: Cursor::first(node, Visit::All),
                child: null(),
            });
            while let Some(arena) = &mut self.arena {
                if arena.child.is_null() {
                    arena.child = arena.cursor.next().unwrap_or(null());
                }
                let child = arena.child;
                if child.is_null() {
                    let done = arena.at;
                    (*done).kids.free();
                    if core::ptr::eq(done, self.node) {
                        self.arena = None;
                    } else if let Some(place) = (*done).lies_in() {
                        arena.at = Segment::owner(place.segment);
                        arena.cursor = Cursor::after(place, Visit::All);
                    }
                    continue;
                }
                debug_assert_eq!((*child).strong().load(Ordering::Relaxed), 0);
                if let Some(waker) = Armed::next_at(&mut self.armed, child) {
                    if self.open(&waker) {
                        forget(waker);
                        continue;
                    }
                    return Some(Remains::Waker(waker));
                }
                (*child).waits.free();
                let parked = (*child).set_free();
                arena.child = null();
                if !(*child).kids.is_empty() {
                    arena.at = child;
                    arena.cursor = Cursor::first(child, Visit::All);
                }
                if parked.is_some() {
                    return parked.map(Remains::Reason);
                }
            }
            None
        }
    }

    /// Buries the node itself and goes on to its parent, if that one dies by it.
    ///
    /// # Safety
    /// D1 holds for `self.node`, and it has no slab of children any more.
    #[inline(always)]
    unsafe fn bury_node(&mut self) -> Option<Reason> {
        let node = self.node;
        // SAFETY: D1; its children's slab is gone.
        unsafe {
            let Some(place) = (*node).lies_in() else {
                (*node).waits.free();
                #[cfg(umbel_loom)]
                (*node).ends();
                let reason = (*node).take_reason_of_root();
                match Joined::of(node) {
                    None => dealloc(node.cast_mut().cast(), Node::LAYOUT),
                    Some(joined) => {
                        (*node).set_reason_gone();
                        self.bury_joined(joined);
                    }
                }
                self.node = null();
                return reason;
            };
            let parent = Segment::owner(place.segment);
            if !(*node).waits.is_empty() {
                tidy_waits(node);
            }
            let reason = (*node).set_free();
            place.vacate();
            self.node = null();
            if Segment::leave(place.segment)
                && (*parent).strong().fetch_sub(1, Ordering::AcqRel) == 1
            {
                self.node = parent;
            }
            reason
        }
    }
}

impl Burial {
    /// # Safety
    /// D1 holds for the node of `joined`, and only the block is left of it.
    #[cold]
    unsafe fn bury_joined(&mut self, joined: *const Joined) {
        // SAFETY: (caller); J4 – each source's reference is given up here. A source that dies by it is
        // ours (D1, D5). J2 – the node's own share is the last to be given up.
        unsafe {
            Joined::unlink_all(joined, |source| {
                if (*source).strong().fetch_sub(1, Ordering::AcqRel) == 1 {
                    push(&mut self.pending, source);
                }
            });
            if Joined::leave(joined) {
                Joined::free(joined);
            }
        }
    }
}

/// Drops the waiters that an in-walk burial left in a slot. Foreign code runs, while the slot is
/// claimed and empty; if it panics, all are dropped and the slot is given back.
///
/// # Safety
/// The caller has claimed the slot and made nothing of it, and holds the parent.
#[cold]
pub(crate) unsafe fn clear_left(place: Place<ChildSlot>) {
    struct GiveBack(Place<ChildSlot>);
    impl Drop for GiveBack {
        fn drop(&mut self) {
            // SAFETY: (caller) the slot is ours, its parent held.
            unsafe {
                tidy(self.0);
                self.0.vacate();
            }
        }
    }
    /// # Safety
    /// As for `clear_left`; nothing is ARMED any more.
    unsafe fn tidy(place: Place<ChildSlot>) {
        // SAFETY: (caller) D4 – alone with the slab.
        unsafe {
            let node = node_in(place);
            tidy_waits(node);
            (*node).set_left(false);
        }
    }
    let back = GiveBack(place);
    // SAFETY: (caller); D4 – nobody has entered the slot since the burial, nor will before it has an
    // occupant, so we are alone with the slab.
    unsafe {
        let mut armed = None;
        drop_all(from_fn(|| Armed::next_at(&mut armed, node_in(place))));
        tidy(place);
    }
    forget(back);
}

/// Leaves the slot's next occupant one empty segment for its waiters.
///
/// # Safety
/// D1 holds for the node.
#[inline(never)]
unsafe fn tidy_waits(node: *const Node) {
    // SAFETY: D1; D2 – nobody owns a slot, and nothing is ARMED any more.
    unsafe {
        (*node).waits.trim();
        let armed = (*node).waits.reset_codes();
        debug_assert!(!armed);
    }
}
