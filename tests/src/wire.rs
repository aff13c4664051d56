//! Budgets on the wire beside a plain model of their two forms.
//!
//! The model knows them as regular grammars over text and numbers of 128 bits, and says only what comes of
//! a text, not which error.

use core::time::Duration;
use umbel_core::{Budget, CancellationToken, Instant, WireTimeout};

const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];

const MOST: u128 = 99_999_999 * 3_600_000_000_000;

/// Takes 16 bytes for two instants, and the rest for a header: what is written is read back, and what is
/// read is what the model reads.
pub fn run_bytes(bytes: &[u8]) {
    let (numbers, header) = bytes.split_at(bytes.len().min(16));
    let mut halves = [0; 16];
    halves[..numbers.len()].copy_from_slice(numbers);
    let word = u128::from_le_bytes(halves);
    // The bits of one number decide how long the other is, so that all units come.
    let (now, left) = (word as u64, (word >> 64) as u64 >> (word % 64));
    writes(now, left);
    reads(header, now);
}

/// A budget at `now` of which so many nanoseconds are left, there and back.
pub fn writes(now: u64, left: u64) {
    let (now, time) = (Instant::from_nanos(now), Duration::from_nanos(left));
    let budget = Budget::until(now + time);
    let (grpc, millis) = (budget.to_grpc_timeout(now), budget.to_millis(now));
    if budget == Budget::UNLIMITED {
        assert_eq!((grpc, millis), (None, None));
        return;
    }
    let (grpc, millis) = (grpc.expect("a header"), millis.expect("a header"));
    let (digits, unit) = grpc.split_at(grpc.len() - 1);
    let at = UNITS.iter().position(|(c, _)| unit == c.to_string());
    let at = at.expect("a unit");
    let nanos = u128::from(left);
    assert_eq!(digits, (nanos / UNITS[at].1).to_string());
    assert!(digits.len() <= 8, "{grpc}");
    assert!(
        at == 0 || nanos / UNITS[at - 1].1 >= 100_000_000,
        "{grpc}: a finer unit fits"
    );
    assert_eq!(&*millis, (nanos / 1_000_000).to_string());

    for (there, unit) in [
        (Budget::from_grpc_timeout(grpc, now), UNITS[at].1),
        (Budget::from_millis(millis, now), 1_000_000),
    ] {
        let there = there.expect("what we write we read");
        assert!(
            there.deadline() <= budget.deadline(),
            "the peer has more time"
        );
        let lost = budget.remaining(now) - there.remaining(now);
        assert!(lost.as_nanos() < unit, "{grpc}, {millis}: {lost:?} is lost");
    }
}

/// What somebody has sent.
pub fn reads(header: &[u8], now: u64) {
    let now = Instant::from_nanos(now);
    let grpc = grpc(header);
    let read = WireTimeout::read_grpc(header);
    assert_eq!(read.ok().map(|time| time.as_nanos()), grpc, "{read:?}");
    let millis = millis(header);
    let read = WireTimeout::read_millis(header);
    assert_eq!(read.ok().map(|time| time.as_nanos()), millis, "{read:?}");

    let parent = CancellationToken::new().child_with_deadline(Instant::from_nanos(1 << 40));
    for (budget, model) in [
        (Budget::from_grpc_timeout(header, now), grpc),
        (Budget::from_millis(header, now), millis),
    ] {
        let end = |nanos: u128| u128::from(now.as_nanos()).saturating_add(nanos);
        let end = model.map(|nanos| u64::try_from(end(nanos)).unwrap_or(u64::MAX));
        let deadline = budget.map(Budget::deadline);
        assert_eq!(deadline.ok().map(Instant::as_nanos), end);
        if let Ok(deadline) = deadline {
            let child = parent.child_with_deadline(deadline);
            assert_eq!(child.deadline(), parent.deadline().min(Some(deadline)));
        }
    }
    // What is read can be written again, and is the same then.
    if let Ok(time) = WireTimeout::read_grpc(header) {
        assert_eq!(WireTimeout::read_grpc(WireTimeout::grpc(time)), Ok(time));
    }
    if let Ok(time) = WireTimeout::read_millis(header) {
        assert_eq!(
            WireTimeout::read_millis(WireTimeout::millis(time)),
            Ok(time)
        );
    }
}

fn number(text: &str, digits: usize) -> Option<u128> {
    let fits = text.chars().all(|c| c.is_ascii_digit()) && text.len() <= digits;
    text.parse().ok().filter(|_| fits)
}

fn grpc(header: &[u8]) -> Option<u128> {
    let text = core::str::from_utf8(header).ok()?;
    let (unit, size) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    Some(number(text.strip_suffix(unit)?, 8)? * size)
}

fn millis(header: &[u8]) -> Option<u128> {
    let nanos = number(core::str::from_utf8(header).ok()?, 15)? * 1_000_000;
    Some(nanos).filter(|nanos| *nanos <= MOST)
}
