//! Budgets across a boundary: what is said never exceeds what there is, and what is not a time is an error.

use proptest::prelude::*;
use std::time::Duration;
use umbel_core::{Budget, CancellationToken, Instant, WireError, WireTimeout};
use umbel_tests::wire::{reads, run_bytes, writes};

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

fn grpc(nanos: u64) -> String {
    Budget::lasting(NOW, Duration::from_nanos(nanos))
        .to_grpc_timeout(NOW)
        .expect("a deadline")
        .to_string()
}

#[test]
fn a_budget_takes_the_finest_unit_that_has_room_and_is_rounded_down() {
    const SECOND: u64 = 1_000_000_000;
    assert_eq!(grpc(0), "0n");
    assert_eq!(grpc(1), "1n");
    assert_eq!(grpc(99_999_999), "99999999n");
    assert_eq!(grpc(100_000_000), "100000u");
    assert_eq!(grpc(100_000_999), "100000u");
    assert_eq!(grpc(100 * SECOND - 1), "99999999u");
    assert_eq!(grpc(100 * SECOND), "100000m");
    assert_eq!(grpc(100_000 * SECOND - 1), "99999999m");
    assert_eq!(grpc(100_000 * SECOND), "100000S");
    assert_eq!(grpc(100_000_000 * SECOND - 1), "99999999S");
    assert_eq!(grpc(100_000_000 * SECOND), "1666666M");
    assert_eq!(grpc(6_000_000_000 * SECOND - 1), "99999999M");
    assert_eq!(grpc(6_000_000_000 * SECOND), "1666666H");
    assert_eq!(&*WireTimeout::grpc(Duration::MAX), "99999999H");
    assert_eq!(&*WireTimeout::millis(Duration::MAX), "359999996400000");
    assert_eq!(&*WireTimeout::millis(Duration::from_micros(1999)), "1");
}

#[test]
fn no_deadline_is_no_header_and_a_spent_one_is_no_time() {
    assert_eq!(Budget::UNLIMITED.to_grpc_timeout(NOW), None);
    assert_eq!(Budget::UNLIMITED.to_millis(NOW), None);
    let spent = Budget::until(Instant::from_nanos(7));
    assert_eq!(spent.to_grpc_timeout(NOW).as_deref(), Some("0n"));
    assert_eq!(spent.to_millis(NOW).as_deref(), Some("0"));
    assert!(Budget::from_grpc_timeout("0n", NOW).unwrap().is_spent(NOW));
    assert!(Budget::from_millis("0", NOW).unwrap().is_spent(NOW));
}

#[test]
fn what_is_no_time_is_an_error() {
    use WireError::*;
    let long = "1".repeat(1 << 16);
    for (value, error) in [
        ("", Empty),
        ("S", Empty),
        ("1", NoUnit),
        ("123456789S", TooManyDigits),
        ("000000001S", TooManyDigits),
        ("-1S", NotADigit(b'-')),
        ("+1S", NotADigit(b'+')),
        ("1.5S", NotADigit(b'.')),
        (" 1S", NotADigit(b' ')),
        ("1 S", NotADigit(b' ')),
        ("1S ", UnknownUnit(b' ')),
        ("1S\n", UnknownUnit(b'\n')),
        ("1s", UnknownUnit(b's')),
        ("1h", UnknownUnit(b'h')),
        ("1ms", UnknownUnit(b's')),
        ("1Sm", NotADigit(b'S')),
        ("0x1S", NotADigit(b'x')),
        ("1e3S", NotADigit(b'e')),
        ("١S", NotADigit(0xd9)),
        ("1µ", UnknownUnit(0xb5)),
        ("1\0S", NotADigit(0)),
        (&long, NoUnit),
        (&(long.clone() + "S"), TooManyDigits),
    ] {
        assert_eq!(WireTimeout::read_grpc(value), Err(error), "{value:?}");
        assert_eq!(
            Budget::from_grpc_timeout(value, NOW),
            Err(error),
            "{value:?}"
        );
    }
    assert_eq!(WireTimeout::read_grpc(b"1\xff"), Err(UnknownUnit(0xff)));
    for (value, error) in [
        ("", Empty),
        ("-1", NotADigit(b'-')),
        ("+1", NotADigit(b'+')),
        (" 1", NotADigit(b' ')),
        ("1 ", NotADigit(b' ')),
        ("1m", NotADigit(b'm')),
        ("1.0", NotADigit(b'.')),
        ("359999996400001", TooLong),
        ("999999999999999", TooLong),
        ("1000000000000000", TooManyDigits),
        ("18446744073709551616", TooManyDigits),
        (&long, TooManyDigits),
    ] {
        assert_eq!(WireTimeout::read_millis(value), Err(error), "{value:?}");
        assert_eq!(Budget::from_millis(value, NOW), Err(error), "{value:?}");
    }
}

#[test]
fn the_longest_time_is_taken_and_never_ends() {
    let most = Duration::from_secs(99_999_999 * 3600);
    assert_eq!(WireTimeout::read_grpc("99999999H"), Ok(most));
    assert_eq!(WireTimeout::read_millis("359999996400000"), Ok(most));
    let budget = Budget::from_grpc_timeout("99999999H", NOW).unwrap();
    assert_eq!(budget, Budget::UNLIMITED);
}

#[test]
fn a_decoded_child_ends_with_its_parent_at_the_latest() {
    let parent = CancellationToken::new().child_with_deadline(NOW + Duration::from_secs(2));
    for (value, seconds) in [("1S", 1), ("3S", 2), ("99999999H", 2)] {
        let budget = Budget::from_grpc_timeout(value, NOW).unwrap();
        let child = parent.child_with_deadline(budget.deadline());
        assert_eq!(child.deadline(), Some(NOW + Duration::from_secs(seconds)));
    }
}

#[test]
fn errors_say_what_is_wrong_in_ascii() {
    for (error, text) in [
        (WireError::Empty, "a timeout without a number"),
        (WireError::NotADigit(b'-'), "a timeout with '-' for a digit"),
        (
            WireError::NotADigit(0x1b),
            r"a timeout with '\x1b' for a digit",
        ),
        (WireError::TooManyDigits, "a timeout with too many digits"),
        (WireError::NoUnit, "a timeout without a unit"),
        (
            WireError::UnknownUnit(0xff),
            r"a timeout in the unknown unit '\xff'",
        ),
        (WireError::TooLong, "a timeout of more than 99999999 hours"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(
        format!("{:?}", WireTimeout::grpc(Duration::ZERO)),
        r#"WireTimeout("0n")"#
    );
    assert_eq!(format!("{:>4}", WireTimeout::grpc(Duration::ZERO)), "  0n");
}

/// Headers that are almost right.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let digits = prop::collection::vec(prop_oneof![20 => b'0'..=b'9', 1 => any::<u8>()], 0..18);
    let unit = prop_oneof![3 => prop::sample::select(b"HMSmun".to_vec()), 1 => any::<u8>()];
    (digits, prop::option::of(unit))
        .prop_map(|(digits, unit)| digits.into_iter().chain(unit).collect())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: umbel_tests::scaled(2000, 16) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_budget_there_and_back_is_never_longer_and_hardly_shorter(
        now in any::<u64>(),
        left in any::<u64>(),
        shift in 0..64_u32,
    ) {
        writes(now, left >> shift);
        writes(now >> shift, left);
    }

    #[test]
    fn any_header_is_what_the_model_reads(header in header(), now in any::<u64>()) {
        reads(&header, now);
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        run_bytes(&bytes);
    }
}
