//! One child's memory: its future, later its output, shared by the nursery and one join handle.
//!
//! # Layout
//!
//! One allocation: `Node` (head) · a link (only if its work is done elsewhere, by who needs one) · `Meta`
//! (only if there is more to a child than its future) · payload. The payload is the future until it ends, then
//! in the same bytes the output, or the reason why there is none. The head knows neither type: a table of
//! functions made per future type does.
//!
//! The future may stand for work that is done elsewhere ([`Remote`]): then it is not dropped to end the child,
//! but told to end, and polled on until it has.
//!
//! # State
//!
//! | bit | meaning | set by | never together with |
//! |---|---|---|---|
//! | `DONE` | the output stands in the payload | nursery | `ENDED` |
//! | `ENDED` | ended without output; the payload says why | nursery | `DONE` |
//! | `WAITED` | there is, or was, a waker in `joiner` | join | – |
//! | `STARTED` | it has its place under the limit | nursery | – |
//! | `CLAIMED` | the nursery wants the payload: its own if `ABANDONED` did not come first | nursery | – |
//! | `ABANDONED` | its spawner gave up: the payload is his if `CLAIMED` did not come first | join | – |
//! | `NURSERY_GONE` | the nursery has let go | nursery | – |
//! | `JOIN_GONE` | the join side has let go | join | – |
//! | the bits above | the child's id, once it was asked; 0 before | join | – |
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
//! | 7 | `DONE`, and `NURSERY_GONE` if nobody waits | it has ended; CAS, `fetch_or` | its join waits, and takes the output | `finish_against_join`, `finish_in_one_step_against_join` |
//! | 8 | `ENDED` | it has failed | its join waits | `failure_against_join` |
//! | 9 | | it was cut | its join waits | `cut_against_join` |
//! | 10 | | it was refused | its spawner waits for room | `refusal_against_waiting_for_room` |
//! | 11 | | the nursery went | its spawner or join waits | `drop_against_waiting_for_room`, `spawn_against_drop` |
//! | 12 | `JOIN_GONE`, the output taken | the join goes; `fetch_add` | `NURSERY_GONE` | `finish_against_join` |
//! | 13 | `JOIN_GONE`, not taken | the join goes | `DONE`, `NURSERY_GONE`: who comes second drops the output | `finish_against_dropped_join` |
//! | 14 | `WAITED` | its join waits; `fetch_or` | 7, 8, 9 | `finish_against_join`, `failure_against_join`, `cut_against_join` |
//! | 15 | the id | its join is asked; CAS | 7 | `asking_against_the_end` |
//! | 16 | | | 8 | `asking_against_the_failure` |
//!
//! # Invariants
//!
//! - **C1** The block lives until both `NURSERY_GONE` and `JOIN_GONE` are set; who sets the second
//!   frees it (or lets go of it: C7). A side that has not set its bit may read the head.
//! - **C2** While `has_future`, the payload holds the future. It belongs to the nursery's side; or,
//!   if `ABANDONED` came before `CLAIMED`, to the join side. It never moves.
//! - **C3** After `DONE` the payload holds the output. It belongs to the join side until that sets
//!   `JOIN_GONE`; then, unless `taken`, to who frees the block.
//! - **C4** `kind` and `number` belong to the payload's owner until that has published `ENDED`, and then
//!   to the join side; after `DONE` they stay his, and the join side may read `number`, which is written no
//!   more. So does what is in a `Meta`, except that it never belongs to a spawner that gave up: then it
//!   stays the nursery's, as what is in `more` does but for `skip`. From `ENDED` on the payload is an
//!   `Option<Reason>` and goes the same way; who frees the block drops what is left.
//! - **C5** The plain fields belong to the maker until the node is pushed, then to the nursery; `taken`
//!   to the join side, and then to who frees the block.
//! - **C6** The table's functions are those of the type with which the block was made.
//! - **C7** A block with a link is used by two: the sides, until C1 is over, and the worker. The sides drop all
//!   but head and link before they let go of it. Who lets go second drops those and frees the block.
//!
//! # Orderings
//!
//! | site | op | order | pairs with |
//! |---|---|---|---|
//! | publish `DONE`/`ENDED`/`STARTED` | `fetch_or` | AcqRel | the join side's load: publishes output, reason |
//! | publish `DONE` and let go | load, CAS | Acquire, AcqRel / Acquire | as the one above and the last one |
//! | look at the state | load | Acquire | the publications above |
//! | `WAITED` | `fetch_or` | Relaxed | nothing: of this and a publication, both of one word, one comes first; the look after it acquires |
//! | claim against abandon | `fetch_or` each | AcqRel | one another: the count of abandoned children, written before, is subtracted after |
//! | the id | load, CAS | Relaxed | nothing: of this and the end, both of one word, one comes first |
//! | let go | load, and see [`second`] | Acquire | the other side's: the freer sees every access of the other |
//!
//! Most children end well and unawaited: then that is published and the nursery lets go in one step, and
//! if the join side went first, in none, for there is nobody to be told. A side that finds the other gone
//! is alone with the block.
//!
//! Who asks for the id before the end is published finds the nursery entering that end, since the id stands
//! in the word that the publication reads; who asks after it sees the end in the same word, and the id says
//! so.
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
//!
//! | room | what it holds |
//! |---|---|
//! | `second` | who of two lets go second |
//! | `head` | the head, and the end of a block |
//! | `lent` | the link of a block whose work is done elsewhere, and the worker's claim |
//! | `block` | the block, and the code that knows its type |
//! | `nursery_side` | what the nursery does with a child |
//! | `join_side` | what a join, or who waits for room, does with it |

// Each uses only what stands above it.
mod second;
mod head;
mod lent;
mod block;
mod nursery_side;
mod join_side;

pub(crate) use block::{Outcome, Remote};
pub(crate) use head::{Exit, Node, Stopped};
pub(crate) use join_side::JoinSide;
pub(crate) use lent::{Beside, Elsewhere, LOWEST, Word};
pub(crate) use nursery_side::NurserySide;

use crate::nursery::ended::Site;
use crate::nursery::node::block::Typed;
use crate::nursery::node::head::Claim;
use crate::nursery::node::lent::Linked;
use crate::nursery::options::Aside;
use core::future::Future;
use core::marker::PhantomData;

/// Makes a child. The two sides must both be released.
pub(crate) fn new<F, T, E, M>(site: Site, future: F, aside: M) -> (NurserySide, JoinSide<T>)
where
    F: Future<Output: Outcome<T, E>>,
    M: Aside,
{
    let node = Typed::<F, T, E, M>::allocate(site, future, aside);
    (NurserySide(node), JoinSide(node, PhantomData))
}

/// Makes a child whose work is done elsewhere. The two sides must both be released.
pub(crate) fn new_remote<F, T, E, M>(site: Site, future: F, aside: M) -> (NurserySide, JoinSide<T>)
where
    F: Future<Output: Outcome<T, E>> + Remote,
    M: Aside,
{
    let node = Typed::<F, T, E, M>::allocate_remote(site, future, aside);
    (NurserySide(node), JoinSide(node, PhantomData))
}

/// Makes a child whose work is done by who gets the claim to its link. The two sides must both be
/// released, the claim as well. `make` gives the child's future, and whatever its caller wants back; it must
/// not panic.
pub(crate) fn new_linked<F, T, E, M, L, R>(
    site: Site,
    aside: M,
    link: L,
    make: impl FnOnce(Elsewhere<L>, Beside<L>) -> (F, R),
) -> (NurserySide, JoinSide<T>, R)
where
    F: Future<Output: Outcome<T, E>> + Remote,
    M: Aside,
    L: Word,
{
    let (node, rest) = Typed::<F, T, E, M, Linked<L>>::allocate_linked(site, aside, link, make);
    (NurserySide(node), JoinSide(node, PhantomData), rest)
}

/// Makes a child and gives it away. If `give` gives it back as it was, the future is taken out again.
pub(crate) fn offer<F, T, E, M>(
    site: Site,
    future: F,
    aside: M,
    give: impl FnOnce(NurserySide) -> Result<(), NurserySide>,
) -> Result<JoinSide<T>, F>
where
    F: Future<Output: Outcome<T, E>>,
    M: Aside,
{
    let (child, join) = new(site, future, aside);
    let Err(child) = give(child) else {
        return Ok(join);
    };
    let head = child.head();
    assert!(child.0 == join.0 && head.claim.get() == Claim::Open && head.has_future.get());
    // SAFETY: C6, C2 – the payload is ours and holds the `F`; not claimed, it was never polled. Without
    // it, dropping the two sides frees the block.
    Err(unsafe { Typed::<F, T, E, M>::take_future(child.0) })
}
