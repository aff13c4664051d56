//! Children that wait for others: their turn comes, or they are skipped.
//!
//! | those for whom one waits | it |
//! |---|---|
//! | have all ended well | goes to the queue for room; a service starts |
//! | one has ended otherwise | is skipped at once |
//! | can no longer come, for nothing else is left in the nursery | is skipped |
//!
//! # Foreign code
//!
//! Who is skipped is dropped, and his joiner woken, through [`Shared::guard`], after he has left the
//! [table](crate::nursery::order).

use crate::nursery::cutting::{refuse, skip};
use crate::nursery::list::Chain;
use crate::nursery::node::NurserySide;
use crate::nursery::order::Turn;
use crate::nursery::shared::Shared;
use crate::nursery::skip::Skip;
use alloc::collections::BTreeSet;

/// A child comes in, or has waited for another: true if its turn has come, and it is in a queue.
pub(crate) fn enter(shared: &Shared, child: NurserySide) -> bool {
    let poller = &shared.poller;
    match poller.order.turn(child.after()) {
        Turn::Now if child.is_service() => poller.services.push(child),
        Turn::Now => poller.queue.push(child),
        Turn::After(_) => {
            poller.order.park(child);
            return false;
        }
        Turn::Never(_) => {
            refuse(shared, child);
            return false;
        }
    }
    true
}

/// Looks who waits for those who have ended. True: somebody has come to the queue.
#[cold]
pub(crate) fn settle(shared: &Shared) -> bool {
    let order = &shared.poller.order;
    let mut moved = false;
    while order.has_news() {
        for child in order.called() {
            moved |= enter(shared, child);
        }
    }
    moved
}

/// Nothing else is left: for whom they wait cannot come.
#[cold]
pub(crate) fn give_up(shared: &Shared) {
    let order = &shared.poller.order;
    // Those that wait for one of them are skipped because of him.
    let mut waiting = BTreeSet::new();
    drop(order.extract(|child| {
        waiting.extend(child.asked());
        false
    }));
    let is_lost = |child: &NurserySide| match order.turn(child.after()) {
        Turn::After(id) => !waiting.contains(&id),
        _ => true,
    };
    for child in order.extract(is_lost) {
        match order.turn(child.after()) {
            Turn::After(id) => {
                let (who, lost) = (None, true);
                skip(shared, child, Skip { id, who, lost });
            }
            _ => refuse(shared, child),
        }
    }
    settle(shared);
}

/// Takes all out, the nursery being cancelled or gone.
pub(crate) fn take(shared: &Shared) -> Chain {
    shared.poller.order.extract(|_| true).reversed()
}
