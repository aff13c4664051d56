use super::codes::{ARMED, Codes, MAX_WORDS, OWNED, TAKEN};
use super::*;
use ::alloc::vec::Vec;
use std::collections::HashSet;

/// A slot that holds nothing.
#[derive(Debug)]
struct Empty;
impl Slot for Empty {
    type Owner = ();
    const FIRST: usize = 4;
    unsafe fn init(_: *mut Self, _: *const Segment<Self>, _: usize) {}
}

const FREE_CODE: usize = 0;

#[test]
fn transitions_of_a_slot() {
    for slot in [0, 1, SLOTS_PER_WORD - 1] {
        let word = |code: usize| Codes(code << (2 * slot));
        // (code, free, used, armed)
        let table = [
            (FREE_CODE, true, false, false),
            (OWNED, false, true, false),
            (TAKEN, false, true, false),
            (ARMED, false, true, true),
        ];
        let has = |set: SlotSet| set.0 >> (2 * slot) & 1 == 1;
        for (code, free, used, armed) in table {
            let codes = word(code);
            assert_eq!(has(codes.free()), free, "{code:02b}");
            assert_eq!(has(codes.used()), used, "{code:02b}");
            assert_eq!(has(codes.armed()), armed, "{code:02b}");
            let freed = codes.disarm(slot, Left::Free);
            let kept = codes.disarm(slot, Left::Owned);
            let taken = codes.take();
            if armed {
                assert_eq!(freed, Some(word(FREE_CODE)));
                assert_eq!(kept, Some(word(OWNED)));
                assert_eq!(taken, Some((word(TAKEN), SlotSet(1 << (2 * slot)))));
            } else {
                assert_eq!((freed, kept, taken), (None, None, None));
            }
        }
    }
}

#[test]
fn claims_take_the_lowest_free_slot() {
    let mut codes = Codes(0);
    for expected in 0..SLOTS_PER_WORD {
        let (after, slot) = codes.claim().unwrap();
        assert_eq!(slot, expected);
        codes = after;
    }
    assert_eq!(codes.claim(), None);
    assert_eq!(codes, Codes(SlotSet::ALL.0 * OWNED));
}

#[test]
fn sets_are_popped_in_order() {
    let mut set = SlotSet::ALL;
    let popped: Vec<_> = core::iter::from_fn(|| set.pop()).collect();
    assert_eq!(popped, (0..SLOTS_PER_WORD).collect::<Vec<_>>());
    for slot in 0..SLOTS_PER_WORD {
        let mut above = SlotSet::ALL.above(slot);
        let next = above.pop();
        assert_eq!(next, (slot + 1 < SLOTS_PER_WORD).then_some(slot + 1));
    }
}

#[test]
fn what_lies_beyond_the_end_is_owned_for_ever() {
    assert_eq!(Codes::unused(SLOTS_PER_WORD, 0), Codes(0));
    let short = Codes::unused(3, 0);
    assert_eq!(short.free().0.count_ones(), 3);
    assert_eq!(short.armed(), SlotSet::EMPTY);
    assert_eq!(Codes::unused(SLOTS_PER_WORD + 3, 1), short);
}

#[test]
fn reset_frees_what_is_taken_and_keeps_what_is_armed() {
    let (taken, armed) = (0b10, 0b11 << 2);
    assert_eq!(Codes(taken | armed).reset(SLOTS_PER_WORD, 0), Codes(armed));
    let short = Codes::unused(3, 0);
    assert_eq!(
        Codes(short.0 | taken | armed).reset(3, 0),
        Codes(short.0 | armed)
    );
}

#[test]
fn segments_grow_to_a_word_then_fourfold_up_to_a_bound() {
    let most = MAX_WORDS * SLOTS_PER_WORD;
    let mut sizes = [1; 8];
    for at in 1..sizes.len() {
        sizes[at] = Segment::<Empty>::growth(sizes[at - 1]);
    }
    let word = SLOTS_PER_WORD;
    let expected = [
        1,
        word,
        4 * word,
        16 * word,
        most.min(64 * word),
        most,
        most,
        most,
    ];
    assert_eq!(sizes, expected);
}

#[test]
fn every_claim_is_a_slot_of_its_own_and_is_found_again() {
    let slab = Slab::<Empty>::new();
    let count = if cfg!(miri) { 300 } else { 10_000 };
    let claim = || {
        // SAFETY: the owner is a formality; the slab is freed at the end.
        unsafe { slab.claim(core::ptr::null()) }
    };
    let places: Vec<_> = (0..count).map(|_| claim()).collect();
    let unique: HashSet<_> = places.iter().map(|p| (p.segment, p.index)).collect();
    assert_eq!(unique.len(), count);
    // freed slots are found again before the slab grows
    let segments = || {
        core::iter::successors(Some(slab.first()), |segment| {
            // SAFETY: segments stay until `free`.
            let next = unsafe { slab.after(*segment) };
            (!next.is_null()).then_some(next)
        })
        .count()
    };
    let before = segments();
    let mut held = unique;
    for place in places.iter().step_by(7) {
        // SAFETY: claimed above.
        unsafe { place.vacate() };
        held.remove(&(place.segment, place.index));
    }
    while held.len() < count {
        let place = claim();
        assert!(held.insert((place.segment, place.index)), "claimed twice");
    }
    assert_eq!(segments(), before);
    // SAFETY: nobody else is here, and the slots hold nothing.
    unsafe { slab.free() };
    assert!(slab.is_empty());
}

#[test]
fn shards_are_walked_one_after_the_other() {
    let slab = Slab::<Empty>::new();
    // SAFETY: as above.
    unsafe {
        let first = slab.claim(core::ptr::null()).segment.cast_mut();
        spread(first);
        spread(first);
        let table = &(&(*(*first).more.load(Ordering::Relaxed)).first);
        let more: Vec<_> = [2, 5]
            .map(|k| first_segment(&table[k - 1], SLOTS_PER_WORD, core::ptr::null(), k as u16))
            .into();
        let mut walked = Vec::new();
        let mut segment = slab.first();
        while !segment.is_null() {
            walked.push(segment.cast_mut());
            segment = slab.after(segment);
        }
        assert_eq!(walked, [first, more[0], more[1]]);
        let mut heads = Vec::new();
        slab.each_shard(|head| heads.push(head.cast_mut()));
        assert_eq!(heads, walked);
        slab.free();
    }
}

#[test]
fn claimers_leave_the_shard_in_which_they_met() {
    let slab = Slab::<Empty>::new();
    // SAFETY: as above.
    unsafe {
        let first = slab.claim(core::ptr::null());
        assert_eq!((*first.segment).shard, 0);
        spread(first.segment.cast_mut());
        first.vacate();
        let place = slab.claim(core::ptr::null());
        assert_ne!((*place.segment).shard, 0);
        slab.free();
    }
}

#[test]
fn a_word_that_was_full_is_found_again() {
    let slab = Slab::<Empty>::new();
    let claim = || {
        // SAFETY: as above.
        unsafe { slab.claim(core::ptr::null()) }
    };
    // The third segment is the first with several words.
    let small = Empty::FIRST + SLOTS_PER_WORD;
    let places: Vec<_> = (0..small + 4 * SLOTS_PER_WORD).map(|_| claim()).collect();
    let large = places[small].segment;
    // SAFETY: claimed above, and vacated once.
    unsafe {
        assert_eq!(Segment::words(large), 4);
        // Nobody has looked in vain: the last word keeps its bit although it is full.
        assert_eq!((*large).summary_now(), 0b1000);
        assert_eq!(Segment::claim(large, &mut false), None);
        assert_eq!((*large).summary_now(), 0);
        let freed = places[small + SLOTS_PER_WORD];
        freed.vacate();
        assert_eq!((*large).summary_now(), 0b0010);
        let again = claim();
        assert_eq!((again.segment, again.index), (freed.segment, freed.index));
        slab.free();
    }
}

#[test]
fn a_shard_charges_its_owner_once_and_is_closed_once() {
    let slab = Slab::<Empty>::new();
    // SAFETY: as above.
    unsafe {
        let first = slab.claim(core::ptr::null()).segment;
        assert!(!Segment::close(first), "never charged: nothing to release");
        Segment::reopen(first);
        assert!(Segment::enter(first), "the first child charges");
        assert!(!Segment::enter(first));
        assert!(
            !Segment::leave(first) && !Segment::leave(first),
            "still open"
        );
        assert!(!Segment::enter(first), "charged already");
        assert!(!Segment::close(first), "a child is left");
        assert!(
            Segment::leave(first),
            "the last child of a closed shard releases"
        );
        Segment::reopen(first);
        assert!(Segment::enter(first));
        assert!(!Segment::leave(first));
        assert!(Segment::close(first), "empty but charged");
        slab.free();
    }
}
