//! Who waits for whom, and what became of those whose id was asked.
//!
//! # Ids
//!
//! A child has an id from when somebody asks for it: it lies in the upper bits of its node's state, so
//! that those of whom nobody asks pay nothing. It comes from one counter of the process.
//!
//! | upper bits of the state, low to high | |
//! |---|---|
//! | 2 bits | what was known when it was asked: nothing, that it had ended well, that it had ended otherwise |
//! | the rest | the serial number, from 1 on; 0 for those who were refused in their spawner's hands |
//!
//! An id exists only when the child has been given to its nursery, so those for whom a child waits came
//! into the inbox before it, and nobody waits for one who waits for him.
//!
//! # The table
//!
//! The end of a child whose id was asked is entered. A child that waits is parked, and known to each of
//! those for whom it waits who have not ended; who ends calls those who know him, so that nothing is looked
//! through. One end that is not good is enough to skip a child.
//!
//! All of it belongs to the nursery's own future (H2), and takes no memory before it is used. The entry of
//! an end stays until the nursery is gone: the id may be used at any time.

use crate::nursery::ended::Record;
use crate::nursery::list::{Chain, Queue};
use crate::nursery::node::NurserySide;
use crate::nursery::skip::Skip;
use crate::observe::Id;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// What became of one whose id was asked.
enum Fate {
    Done,
    /// It has no output. Who it was.
    Not(Record),
}

/// Whether a child that waits may start.
pub(crate) enum Turn {
    Now,
    /// Not before this one has ended.
    After(Id),
    /// Never, because of this one.
    Never(Skip),
}

/// A child that waits, and for how many ends.
struct Parked {
    child: NurserySide,
    left: usize,
}

/// So many mentions of those who have left are not worth a sweep.
const WAITERS_LEFT: usize = 32;

#[derive(Default)]
pub(crate) struct Order {
    fates: RefCell<BTreeMap<Id, Fate>>,
    /// In the order in which they came.
    parked: RefCell<BTreeMap<u64, Parked>>,
    /// The number of the next that is parked.
    next: Cell<u64>,
    /// Who waits for whom. Some may have left since; when they are most, they are swept out.
    waiters: RefCell<BTreeMap<Id, Vec<u64>>>,
    /// How many numbers there are in `waiters`, and how many of those have left.
    mentions: Cell<usize>,
    stale: Cell<usize>,
    /// Have ended, and those who wait for them have not been called yet.
    ended: RefCell<Vec<Id>>,
}

impl Order {
    pub(crate) fn len(&self) -> usize {
        self.parked.borrow().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody has ended, and those who wait for him have not been called yet.
    pub(crate) fn has_news(&self) -> bool {
        !self.ended.borrow().is_empty()
    }

    /// Calls `act` for each that waits, in the order in which they came. It may change nothing here.
    pub(crate) fn each(&self, mut act: impl FnMut(&NurserySide)) {
        self.parked.borrow().values().for_each(|of| act(&of.child));
    }

    /// It has ended well.
    pub(crate) fn done(&self, id: Id) {
        self.fates.borrow_mut().insert(id, Fate::Done);
        self.ended.borrow_mut().push(id);
    }

    /// It has ended otherwise, or is about to. Who comes first is kept: he knew the name.
    pub(crate) fn fell(&self, id: Id, who: Record) {
        let mut fates = self.fates.borrow_mut();
        fates.entry(id).or_insert(Fate::Not(who));
        self.ended.borrow_mut().push(id);
    }

    /// Whether it may start.
    pub(crate) fn turn(&self, after: &[Id]) -> Turn {
        let fates = self.fates.borrow();
        let mut turn = Turn::Now;
        for &id in after {
            let who = match (id.end_when_asked(), fates.get(&id)) {
                (Some(true), _) | (None, Some(Fate::Done)) => continue,
                (None, None) => {
                    turn = Turn::After(id);
                    continue;
                }
                (Some(false), _) => None,
                (None, Some(Fate::Not(who))) => Some(who.clone()),
            };
            let lost = false;
            return Turn::Never(Skip { id, who, lost });
        }
        turn
    }

    /// Its turn is not now.
    pub(crate) fn park(&self, child: NurserySide) {
        let number = self.next.get();
        self.next.set(number + 1);
        let (fates, mut waiters) = (self.fates.borrow(), self.waiters.borrow_mut());
        let mut left = 0;
        for id in child.after() {
            if id.end_when_asked().is_none() && !fates.contains_key(id) {
                waiters.entry(*id).or_default().push(number);
                left += 1;
            }
        }
        self.mentions.set(self.mentions.get() + left);
        let parked = Parked { child, left };
        self.parked.borrow_mut().insert(number, parked);
    }

    /// Somebody has left who is mentioned so often.
    fn has_left(&self, mentioned: usize) {
        self.stale.set(self.stale.get() + mentioned);
        if self.stale.get() <= self.mentions.get() / 2 + WAITERS_LEFT {
            return;
        }
        let parked = self.parked.borrow();
        let mut mentions = 0;
        self.waiters.borrow_mut().retain(|_, waiters| {
            waiters.retain(|number| parked.contains_key(number));
            mentions += waiters.len();
            !waiters.is_empty()
        });
        self.mentions.set(mentions);
        self.stale.set(0);
    }

    /// The nursery is over.
    pub(crate) fn clear(&self) {
        let _gone = (self.fates.take(), self.waiters.take(), self.ended.take());
    }

    /// Takes out those whose turn has come, or never will. To be called until there is no news.
    pub(crate) fn called(&self) -> Chain {
        let called = Queue::default();
        for id in self.ended.take() {
            let is_done = matches!(self.fates.borrow().get(&id), Some(Fate::Done));
            let waiters = self.waiters.borrow_mut().remove(&id).unwrap_or_default();
            self.mentions.set(self.mentions.get() - waiters.len());
            for number in waiters {
                let mut parked = self.parked.borrow_mut();
                let Entry::Occupied(mut entry) = parked.entry(number) else {
                    self.stale.set(self.stale.get() - 1);
                    continue;
                };
                entry.get_mut().left -= 1;
                if !is_done || entry.get().left == 0 {
                    let gone = entry.remove();
                    self.stale.set(self.stale.get() + gone.left);
                    called.push(gone.child);
                }
            }
            self.has_left(0);
        }
        called.take()
    }

    /// Takes out those for which `pick` is true, the oldest first. (Foreign code that `pick` calls does not
    /// come here.)
    pub(crate) fn extract(&self, mut pick: impl FnMut(&NurserySide) -> bool) -> Chain {
        let picked = Queue::default();
        let mut mentioned = 0;
        for (number, waiting) in self.parked.take() {
            if pick(&waiting.child) {
                mentioned += waiting.left;
                picked.push(waiting.child);
            } else {
                self.parked.borrow_mut().insert(number, waiting);
            }
        }
        self.has_left(mentioned);
        picked.take()
    }
}
