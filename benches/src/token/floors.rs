//! The floors: the least code that does one row's work, and nothing of the rest.
//!
//! They lock, so none of them keeps umbel's guarantees; they show what the guarantees cost.

use crate::token::contenders::{Flag, Shared, Tree, Waits};
use slab::Slab;
use std::array;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, RawWakerVTable, Waker};

impl Flag for AtomicBool {
    fn new() -> Self {
        AtomicBool::new(false)
    }
    fn cancel(&self) {
        self.store(true, Ordering::Release);
    }
    fn is_cancelled(&self) -> bool {
        self.load(Ordering::Acquire)
    }
}

impl Flag for Arc<AtomicBool> {
    fn new() -> Self {
        Arc::new(AtomicBool::new(false))
    }
    fn cancel(&self) {
        self.as_ref().cancel();
    }
    fn is_cancelled(&self) -> bool {
        self.as_ref().is_cancelled()
    }
}

impl Shared for Arc<AtomicBool> {
    type Handle = Self;
    fn handle(&self) -> Self {
        self.clone()
    }
}

/// A flag and its waiters' wakers, in one locked list or in several.
pub(crate) struct Waiters<const LISTS: usize> {
    flag: AtomicBool,
    lists: [Mutex<Slab<Waker>>; LISTS],
}

impl<const LISTS: usize> Flag for Waiters<LISTS> {
    fn new() -> Self {
        Waiters {
            flag: AtomicBool::new(false),
            lists: array::from_fn(|_| Mutex::default()),
        }
    }
    fn cancel(&self) {
        self.flag.store(true, Ordering::Release);
        for list in &self.lists {
            let wakers = std::mem::take(&mut *lock(list));
            wakers.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }
    fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

impl<const LISTS: usize> Waits for Waiters<LISTS> {
    fn wait(&self) -> impl Future<Output = ()> {
        Wait {
            flag: &self.flag,
            list: &self.lists[my_list::<LISTS>()],
            place: None,
        }
    }
}

struct Wait<'a> {
    flag: &'a AtomicBool,
    list: &'a Mutex<Slab<Waker>>,
    place: Option<Place>,
}

/// Where the waker is, and what it looks like: so that another poll by the same task locks nothing.
struct Place {
    key: usize,
    data: *const (),
    vtable: &'static RawWakerVTable,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.flag.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        if let Some(place) = &self.place
            && place.data == waker.data()
            && place.vtable == waker.vtable()
        {
            return Poll::Pending;
        }
        let mut list = lock(self.list);
        if self.flag.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if let Some(place) = &self.place {
            list.remove(place.key);
        }
        let key = list.insert(waker.clone());
        drop(list);
        self.place = Some(Place {
            key,
            data: waker.data(),
            vtable: waker.vtable(),
        });
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // Not there: cancelled.
            let _ = lock(self.list).try_remove(place.key);
        }
    }
}

/// A flag and its children, in one locked list or in several. Drop children before parents: a long
/// chain would be dropped by recursion.
pub(crate) struct Node<const LISTS: usize>(Arc<Inner<LISTS>>);

struct Inner<const LISTS: usize> {
    flag: AtomicBool,
    parent: Option<Parent<LISTS>>,
    /// Made for the first child.
    children: OnceLock<Box<Children<LISTS>>>,
}

type Children<const LISTS: usize> = [Mutex<Slab<Weak<Inner<LISTS>>>>; LISTS];

struct Parent<const LISTS: usize> {
    node: Arc<Inner<LISTS>>,
    list: usize,
    key: usize,
}

impl<const LISTS: usize> Inner<LISTS> {
    fn children(&self) -> &Children<LISTS> {
        self.children
            .get_or_init(|| Box::new(array::from_fn(|_| Mutex::default())))
    }
}

impl<const LISTS: usize> Drop for Inner<LISTS> {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            lock(&parent.node.children()[parent.list]).remove(parent.key);
        }
    }
}

impl<const LISTS: usize> Flag for Node<LISTS> {
    fn new() -> Self {
        Node(Arc::new(Inner {
            flag: AtomicBool::new(false),
            parent: None,
            children: OnceLock::new(),
        }))
    }
    fn cancel(&self) {
        let mut left = vec![self.0.clone()];
        while let Some(node) = left.pop() {
            node.flag.store(true, Ordering::Release);
            for list in node.children.get().into_iter().flat_map(|lists| &**lists) {
                left.extend(lock(list).iter().filter_map(|(_, child)| child.upgrade()));
            }
        }
    }
    fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::Acquire)
    }
}

impl<const LISTS: usize> Tree for Node<LISTS> {
    fn child(&self) -> Self {
        let list = my_list::<LISTS>();
        let mut siblings = lock(&self.0.children()[list]);
        let entry = siblings.vacant_entry();
        let child = Arc::new(Inner {
            flag: AtomicBool::new(self.is_cancelled()),
            parent: Some(Parent {
                node: self.0.clone(),
                list,
                key: entry.key(),
            }),
            children: OnceLock::new(),
        });
        entry.insert(Arc::downgrade(&child));
        Node(child)
    }
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The list of this thread. Two threads in a row are half of the lists apart, so not on one line.
fn my_list<const LISTS: usize>() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static ME: Cell<Option<usize>> = const { Cell::new(None) };
    }
    if LISTS == 1 {
        return 0;
    }
    let me = ME.get().unwrap_or_else(|| {
        let me = THREADS.fetch_add(1, Ordering::Relaxed);
        ME.set(Some(me));
        me
    });
    me * (LISTS / 2) % LISTS
}
