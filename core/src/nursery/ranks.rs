//! Which children come first: of those that were woken, and of those that wait for room.
//!
//! Three sets and three queues, of which most nurseries use one: the sets for the other two are made when
//! a child of another priority starts. In one turn the woken children of a higher priority are polled
//! before those of a lower one, each at most once, as in one set. The other two ring the first one's desk
//! when one of theirs is woken, so that the outer task is woken at most once, as by one set.

use crate::nursery::list::{Chain, Queue};
use crate::nursery::node::NurserySide;
use crate::nursery::options::Priority;
use crate::set::growing::{Begun, FutureSet};
use crate::wake::batch::each;
use crate::wake::ready::Desk;
use alloc::boxed::Box;
use core::future::Future;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Waker};

/// Children at work.
pub(crate) struct Sets<F> {
    normal: FutureSet<F>,
    others: Option<Box<Others<F>>>,
}

struct Others<F> {
    high: FutureSet<F>,
    low: FutureSet<F>,
}

impl<F> Sets<F> {
    pub(crate) const fn new() -> Self {
        Sets {
            normal: FutureSet::new(),
            others: None,
        }
    }

    pub(crate) fn desk(&mut self) -> Desk {
        self.normal.desk()
    }

    #[inline]
    pub(crate) fn push(&mut self, future: F) {
        self.normal.push(future);
    }

    /// True if a set was made for it: it is to be begun before anything in it can wake.
    #[cold]
    #[must_use]
    pub(crate) fn push_with(&mut self, future: F, priority: Priority) -> bool {
        let mut is_new = false;
        let others = match priority {
            Priority::Normal => {
                self.normal.push(future);
                return false;
            }
            _ => self.others.get_or_insert_with(|| {
                is_new = true;
                Box::new(Others {
                    high: FutureSet::new(),
                    low: FutureSet::new(),
                })
            }),
        };
        match priority {
            Priority::High => others.high.push(future),
            _ => others.low.push(future),
        }
        is_new
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        let others = self.others.as_deref();
        self.normal.len() + others.map_or(0, |others| others.high.len() + others.low.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// See [`FutureSet::is_idle`]. `bell`: of the [desk](Self::desk), the same one each time.
    #[inline]
    pub(crate) fn is_idle(&self, cx: &Context<'_>, bell: &Waker) -> bool {
        let is_idle = |others: &Others<F>| {
            let cx = Context::from_waker(bell);
            others.high.is_idle(&cx) && others.low.is_idle(&cx)
        };
        self.normal.is_idle(cx) && self.others.as_deref().is_none_or(is_idle)
    }

    /// See [`FutureSet::begin`]. `bell`: as there.
    #[inline(always)]
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, bell: &Waker) -> Begun {
        let mut begun = self.normal.begin(cx);
        if let Some(others) = self.others.as_deref_mut() {
            let mut cx = Context::from_waker(bell);
            for set in [&mut others.high, &mut others.low] {
                begun.registered &= set.begin(&mut cx).registered;
            }
        }
        begun
    }

    /// Drops those for which `keep` is false, also if a drop panics.
    pub(crate) fn retain(&mut self, keep: impl Fn(Pin<&mut F>) -> bool) {
        self.each(|set| set.retain(&keep));
    }

    /// Drops all, also if a drop panics.
    pub(crate) fn clear(&mut self) {
        self.each(FutureSet::clear);
    }

    fn each(&mut self, act: impl Fn(&mut FutureSet<F>)) {
        let Sets { normal, others } = self;
        each(0..3, |n| match (n, others.as_deref_mut()) {
            (0, Some(others)) => act(&mut others.low),
            (1, _) => act(normal),
            (2, Some(others)) => act(&mut others.high),
            _ => {}
        });
    }
}

impl<F: Future> Sets<F> {
    /// See [`FutureSet::poll_local`].
    #[inline(always)]
    pub(crate) fn poll_local(&mut self) -> Option<F::Output> {
        match &self.others {
            None => self.normal.poll_local(),
            Some(_) => self.poll_in_order(),
        }
    }

    /// Aside: the code of a set's poll is large, and most nurseries need it once.
    #[inline(never)]
    fn poll_in_order(&mut self) -> Option<F::Output> {
        let Sets { normal, others } = self;
        let Others { high, low } = others.as_deref_mut()?;
        [high, normal, low]
            .into_iter()
            .find_map(FutureSet::poll_local)
    }
}

/// Children that wait for room: of one priority first come first served, the higher ones first.
#[derive(Default)]
pub(crate) struct Queues {
    high: Queue,
    normal: Queue,
    low: Queue,
}

impl Queues {
    fn all(&self) -> [&Queue; 3] {
        [&self.high, &self.normal, &self.low]
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.all().into_iter().all(Queue::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.all().into_iter().map(Queue::len).sum()
    }

    pub(crate) fn push(&self, child: NurserySide) {
        let queue = match child.priority() {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        };
        queue.push(child);
    }

    /// Takes out the one that comes first.
    pub(crate) fn pop(&self) -> Option<NurserySide> {
        self.all().into_iter().find_map(Queue::pop)
    }

    /// The children, in the order in which they come.
    ///
    /// # Safety
    /// None comes or goes while the iterator is used.
    pub(crate) unsafe fn iter(&self) -> impl Iterator<Item = ManuallyDrop<NurserySide>> {
        // SAFETY: (caller).
        self.all()
            .into_iter()
            .flat_map(|queue| unsafe { queue.iter() })
    }

    /// Takes all out: the oldest of a priority first.
    pub(crate) fn take(&self) -> Chain {
        self.extract(|_| true)
    }

    /// Takes out those for which `pick` is true.
    pub(crate) fn extract(&self, mut pick: impl FnMut(&NurserySide) -> bool) -> Chain {
        let picked = Queue::default();
        for queue in self.all() {
            queue
                .extract(&mut pick)
                .for_each(|child| picked.push(child));
        }
        picked.take()
    }
}
