//! A bounded queue of work in which every item is accounted for: an [`Item`] says when it is dropped what
//! became of it, so none can be lost in silence.

use smol::channel::{self, Receiver, Sender, TrySendError};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Queue {
    put: Sender<Item>,
    take: Receiver<Item>,
    accounts: Arc<Accounts>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl Queue {
    pub(crate) fn new(size: NonZeroUsize) -> Self {
        let (put, take) = channel::bounded(size.get());
        Queue {
            put,
            take,
            accounts: Arc::default(),
        }
    }

    /// An item more, if there is room now.
    pub(crate) fn put(&self) -> Result<(), Refused> {
        let item = Item {
            fate: Fate::Left,
            accounts: Arc::clone(&self.accounts),
        };
        let refuse = |item: Item, why| {
            item.end(Fate::Refused);
            Err(why)
        };
        match self.put.try_send(item) {
            Ok(()) => {
                self.accounts.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(item)) => refuse(item, Refused::Full),
            Err(TrySendError::Closed(item)) => refuse(item, Refused::Closed),
        }
    }

    /// The next item; `None` when the queue is closed and there is none.
    pub(crate) async fn next(&self) -> Option<Item> {
        self.take.recv().await.ok()
    }

    /// Nothing comes in any more; what is in it stays.
    pub(crate) fn close(&self) {
        self.put.close();
    }

    /// All that wait are dropped, on purpose.
    pub(crate) fn drop_all(&self) {
        while let Ok(item) = self.take.try_recv() {
            item.dropped();
        }
    }

    /// What is said about it when all is over: what it still holds is left.
    pub(crate) fn accounts(&self) -> &Accounts {
        self.close();
        while self.take.try_recv().is_ok() {}
        &self.accounts
    }
}

/// A piece of work. Dropped without another word, it is left.
#[derive(Debug)]
pub(crate) struct Item {
    fate: Fate,
    accounts: Arc<Accounts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Left,
    Done,
    Dropped,
    Refused,
}

impl Item {
    pub(crate) fn done(self) {
        self.end(Fate::Done);
    }

    /// On purpose.
    pub(crate) fn dropped(self) {
        self.end(Fate::Dropped);
    }

    fn end(mut self, fate: Fate) {
        self.fate = fate;
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        let count = match self.fate {
            Fate::Left => &self.accounts.left,
            Fate::Done => &self.accounts.done,
            Fate::Dropped => &self.accounts.dropped,
            Fate::Refused => &self.accounts.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Plain counts: Relaxed is enough, nothing is published by them, and they are read when all is over.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    accepted: AtomicU64,
    refused: AtomicU64,
    done: AtomicU64,
    dropped: AtomicU64,
    left: AtomicU64,
}

impl Accounts {
    /// Accepted = done + dropped + left.
    pub(crate) fn balance(&self) -> bool {
        let [accepted, ends @ ..] = [&self.accepted, &self.done, &self.dropped, &self.left]
            .map(|count| count.load(Ordering::Relaxed));
        accepted == ends.iter().sum()
    }
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "queue: {} accepted = {} done + {} dropped + {} left; {} refused",
            of(&self.accepted),
            of(&self.done),
            of(&self.dropped),
            of(&self.left),
            of(&self.refused),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(size: usize) -> Queue {
        Queue::new(NonZeroUsize::new(size).unwrap())
    }

    #[test]
    fn each_item_has_one_fate() {
        let queue = queue(4);
        assert_eq!(
            [(); 5].map(|()| queue.put().is_ok()),
            [true, true, true, true, false]
        );
        smol::block_on(async {
            queue.next().await.unwrap().done();
            queue.next().await.unwrap().dropped();
            drop(queue.next().await);
        });
        queue.close();
        assert_eq!(queue.put(), Err(Refused::Closed));
        let accounts = queue.accounts();
        assert!(accounts.balance());
        let text = "queue: 4 accepted = 1 done + 1 dropped + 2 left; 2 refused";
        assert_eq!(accounts.to_string(), text);
    }
}
