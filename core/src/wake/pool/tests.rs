use super::{Batch, Block, Immortal, PER_SLAB, Pool};
use crate::sync::{AtomicUsize, Ordering};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// As large as what lies in pools.
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
#[cfg_attr(not(target_pointer_width = "64"), repr(align(32)))]
struct Cell {
    taken: AtomicUsize,
}

// SAFETY: all of it is atomic.
unsafe impl Block for Cell {
    fn fresh() -> Self {
        Cell {
            taken: AtomicUsize::new(0),
        }
    }
}

fn addresses(blocks: &[Immortal<Cell>]) -> BTreeSet<usize> {
    blocks.iter().map(|block| block.as_ptr().addr()).collect()
}

#[test]
fn blocks_are_handed_out_once_and_reused_before_more_are_made() {
    static POOL: Pool<Cell> = Pool::new();
    let many = 5 * PER_SLAB;
    let blocks: Vec<_> = (0..many).map(|_| POOL.get()).collect();
    let all = addresses(&blocks);
    assert_eq!((all.len(), POOL.count()), (many, (many, many)));
    for step in [1, 2, 7] {
        let back: Vec<_> = blocks.iter().step_by(step).copied().collect();
        for block in &back {
            // SAFETY: each is ours, and put back once.
            unsafe { POOL.put(*block) };
        }
        assert_eq!(POOL.count(), (many, many - back.len()));
        let again: Vec<_> = back.iter().map(|_| POOL.get()).collect();
        assert_eq!(addresses(&again), addresses(&back));
    }
    assert_eq!(POOL.count(), (many, many));
    assert_ne!(POOL.get().as_ptr().addr(), blocks[0].as_ptr().addr());
    assert_eq!(POOL.count(), (many + PER_SLAB, many + 1));
}

#[test]
fn a_batch_goes_back_a_slab_at_a_time() {
    static POOL: Pool<Cell> = Pool::new();
    let many = 3 * PER_SLAB;
    let blocks: Vec<_> = (0..many).map(|_| POOL.get()).collect();
    let mut batch = Batch::new();
    let mut back = 0;
    for (given, block) in blocks.iter().enumerate() {
        // SAFETY: each is ours, and put back once.
        back += unsafe { POOL.put_later(&mut batch, *block) };
        assert_eq!(POOL.count(), (many, many - back));
        assert!(given + 1 - back <= PER_SLAB, "{back} of {given} are back");
    }
    assert!(back < many);
    back += POOL.flush(&mut batch);
    assert_eq!((back, POOL.flush(&mut batch)), (many, 0));
    let again: Vec<_> = blocks.iter().map(|_| POOL.get()).collect();
    assert_eq!(addresses(&again), addresses(&blocks));
    assert_eq!(POOL.count(), (many, many));
}

#[test]
fn the_pool_holds_the_peak_however_takers_collide() {
    static POOL: Pool<Cell> = Pool::new();
    let (threads, held, rounds) = (3, 4, if cfg!(miri) { 20 } else { 20_000 });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let blocks: Vec<_> = (0..held).map(|_| POOL.get()).collect();
                    for block in &blocks {
                        assert_eq!(
                            block.taken.swap(1, Ordering::Relaxed),
                            0,
                            "handed out twice"
                        );
                    }
                    for block in blocks {
                        assert_eq!(block.taken.swap(0, Ordering::Relaxed), 1);
                        // SAFETY: it is ours, and put back once.
                        unsafe { POOL.put(block) };
                    }
                }
            });
        }
    });
    let (made, in_use) = POOL.count();
    assert_eq!(in_use, 0);
    // A slab is made only while all blocks are in use; each thread may be about to make one.
    assert!(made <= threads * (held + PER_SLAB), "{made} blocks made");
}
