//! The pool of immortal blocks, by the sets that take theirs from it: each takes two, a header for its
//! desk and a hub, out of a pool for each. A slab has two blocks here.

use crate::model;
use crate::set::{Child, all_returned};
use loom::thread;
use std::task::{Context, Waker};
use umbel_core::{FutureSet, pool_stats};

/// A set with blocks of its own.
fn taken() -> (FutureSet<Child>, impl Fn(usize)) {
    let mut set = FutureSet::new();
    let ring = set.model_desk();
    (set, ring)
}

/// Takes blocks, uses all that is in them, and gives them back.
fn take_and_give() {
    let (mut set, ring) = taken();
    ring(0);
    let begun = set.model_begin(&mut Context::from_waker(Waker::noop()));
    // A block that another one has, too, would bring his bits or lose ours, and its cells would race.
    assert_eq!(begun, (1, true));
}

/// Both may find the pool empty; each gets blocks of his own, and no slab is lost.
#[test]
fn two_takers_of_an_empty_pool() {
    model("pool: grow ∥ grow", 3, || {
        let other = thread::spawn(take_and_give);
        take_and_give();
        other.join().unwrap();
        all_returned();
        // Each slab that was made can be used up: its blocks are on the list.
        let stats = pool_stats();
        let all: Vec<_> = (0..stats.headers).map(|_| taken()).collect();
        assert_eq!(pool_stats().headers, stats.headers);
        assert_eq!(pool_stats().headers_in_use, stats.headers);
        drop(all);
        all_returned();
    });
}

/// A slab is made only while no block is free: two that take and give, twice each, and never have more
/// than one at a time, may make one each.
#[test]
fn takers_collide_and_the_pool_stays_small() {
    model("pool: get, put ∥ get, put", 2, || {
        let other = thread::spawn(|| (0..2).for_each(|_| take_and_give()));
        (0..2).for_each(|_| take_and_give());
        other.join().unwrap();
        all_returned();
        let stats = pool_stats();
        assert!(stats.headers <= 4 && stats.hubs <= 4, "{stats:?}");
    });
}

/// Who gets a block that another thread gave back has it to himself.
#[test]
fn a_block_goes_from_thread_to_thread() {
    model("pool: put ∥ get", 3, || {
        let (first, _second) = (taken().0, taken().0);
        let giver = thread::spawn(move || drop(first));
        take_and_give();
        giver.join().unwrap();
    });
}

/// Three want two free blocks, of which one is given back meanwhile: a permit always leads to a block.
#[test]
fn who_has_a_permit_finds_a_block() {
    model("pool: get ∥ get ∥ put", 2, || {
        let (first, second) = (taken().0, taken().0);
        drop(first);
        let giver = thread::spawn(move || drop(second));
        let taker = thread::spawn(take_and_give);
        take_and_give();
        giver.join().unwrap();
        taker.join().unwrap();
        all_returned();
        let stats = pool_stats();
        assert!(stats.headers <= 4 && stats.hubs <= 4, "{stats:?}");
    });
}
