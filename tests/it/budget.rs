//! Budgets of time: what is handed down never ends after what it was made of.

use proptest::prelude::*;
use std::time::Duration;
use umbel_core::{Budget, Instant};

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn nanos(n: u64) -> Duration {
    Duration::from_nanos(n)
}

/// Points and times of all sizes, the ends of the range among them.
fn any_nanos() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        0..1000_u64,
        any::<u64>()
    ]
}

fn any_count() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(usize::MAX), 0..20_usize]
}

/// Not the end of the range: such a deadline is none.
fn deadline() -> impl Strategy<Value = u64> {
    any_nanos().prop_map(|n| n.min(u64::MAX - 1))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: umbel_tests::scaled(256, 8) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_part_ends_after_the_whole(
        end in any_nanos(),
        parts in any_count(),
        width in any_count(),
        steps in prop::collection::vec((any_count(), any_nanos()), 0..12),
        time in any_nanos(),
    ) {
        let budget = Budget::until(at(end));
        let mut shares = budget.split(parts).at_once(width);
        for (parts, now) in steps {
            // The clock may even go backwards.
            let share = shares.take(parts, at(now));
            prop_assert!(share.deadline() <= budget.deadline());
            prop_assert!(share.deadline() >= at(now).min(budget.deadline()));
            prop_assert!(share.remaining(at(now)) <= budget.remaining(at(now)));
            prop_assert!(budget.at_most(at(now), nanos(time)).deadline() <= budget.deadline());
            prop_assert!(budget.at_most(at(now), nanos(time)).remaining(at(now)) <= nanos(time)
                || end == u64::MAX && now.saturating_add(time) == u64::MAX);
        }
        prop_assert!(budget.reserve(nanos(time)).deadline() <= budget.deadline());
        prop_assert!(budget.reserve(Duration::MAX).deadline() <= budget.deadline());
    }

    #[test]
    fn steps_that_use_their_shares_have_equal_ones_and_the_last_has_the_rest(
        start in 0..u64::MAX / 2, length in 0..u64::MAX / 2 - 1, parts in 1..30_usize,
    ) {
        let budget = Budget::until(at(start + length));
        let mut shares = budget.split(parts);
        let mut now = at(start);
        for step in 0..parts {
            let share = shares.step(now);
            let (time, even) = (share.remaining(now), nanos(length / parts as u64));
            prop_assert!(time == even || time == even + nanos(1), "step {step}: {time:?}");
            now = share.deadline();
        }
        prop_assert_eq!(now, budget.deadline());
    }

    #[test]
    fn what_a_step_leaves_goes_to_those_after_it(
        length in deadline(), parts in 1..20_usize, used in prop::collection::vec(0..=100_u64, 20),
    ) {
        let mut shares = Budget::until(at(length)).split(parts);
        let (mut now, mut before) = (Instant::EPOCH, Duration::ZERO);
        for (step, percent) in used.into_iter().take(parts).enumerate() {
            let share = shares.step(now).remaining(now);
            prop_assert!(share >= before, "step {step} has less");
            before = share;
            now += Duration::from_nanos((share.as_nanos() * u128::from(percent) / 100) as u64);
        }
    }

    #[test]
    fn a_step_has_as_many_parts_as_it_takes(
        length in deadline(), parts in 1..1000_usize, first in 0..1000_usize, second in 0..1000_usize,
    ) {
        let mut shares = Budget::until(at(length)).split(parts);
        let mut left = u128::from(length);
        let mut parts_left = parts as u128;
        let mut now = Instant::EPOCH;
        for taken in [first, second] {
            let share = shares.take(taken, now);
            let taken = (taken as u128).min(parts_left);
            let expected = match parts_left - taken {
                0 => left,
                _ => left * taken / parts_left,
            };
            prop_assert_eq!(share.remaining(now).as_nanos(), expected);
            left -= expected;
            parts_left -= taken;
            now = share.deadline();
        }
    }

    #[test]
    fn steps_side_by_side_have_the_time_of_their_wave(
        length in deadline(), parts in 1..40_usize, width in 1..10_usize,
    ) {
        let budget = Budget::until(at(length));
        let mut shares = budget.split(parts).at_once(width);
        let waves = parts.div_ceil(width);
        let mut now = Instant::EPOCH;
        for wave in 0..waves {
            let mut end = None;
            for _ in 0..width.min(parts - wave * width) {
                let share = shares.step(now).deadline();
                prop_assert!(end.is_none_or(|end| end == share), "one wave, one end");
                end = Some(share);
            }
            let (end, even) = (end.unwrap(), nanos(length / waves as u64));
            prop_assert!(end - now == even || end - now == even + nanos(1));
            now = end;
        }
        prop_assert_eq!(now, budget.deadline());
    }
}

#[test]
fn a_budget_without_end_has_parts_without_end() {
    let (budget, now) = (Budget::UNLIMITED, at(7));
    assert_eq!(budget, Budget::until(Instant::NEVER));
    assert_eq!(budget.split(3).step(now), budget);
    assert_eq!(budget.reserve(nanos(5)), budget);
    assert_eq!(budget.remaining(now), Duration::MAX);
    assert!(!budget.is_spent(at(u64::MAX)));
    assert_eq!(budget.at_most(now, nanos(5)).deadline(), at(12));
    assert_eq!(Budget::lasting(now, Duration::MAX), budget);
}

#[test]
fn who_comes_late_has_nothing_and_who_is_one_too_many_has_the_rest() {
    let budget = Budget::until(at(10));
    let mut shares = budget.split(2);
    assert_eq!(shares.step(at(20)), budget);
    assert!(shares.step(at(20)).is_spent(at(20)));
    assert_eq!(shares.step(at(4)).remaining(at(4)), nanos(6));
    assert_eq!(budget.split(0).step(at(4)), budget);
    assert_eq!(budget.split(2).take(0, at(4)).deadline(), at(4));
    assert_eq!(budget.reserve(nanos(20)).deadline(), Instant::EPOCH);
    // What a step took too much is borne by all that follow.
    let mut shares = Budget::until(at(100)).split(4);
    assert_eq!(shares.step(at(0)).deadline(), at(25));
    assert_eq!(shares.step(at(40)).deadline(), at(60));
    assert_eq!(shares.step(at(60)).deadline(), at(80));
}
