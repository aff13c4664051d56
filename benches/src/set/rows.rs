//! The rows, as data.
//!
//! `FutureGroup` looks at all its children in every poll, so it is left out where there are 20k or
//! more. In S6 the process is warm: what a fresh one pays for new pages is not here.

use crate::report::{Mark, Row};
use crate::set::contenders::{Bounded, Buffered, FuturesUnordered, Group, Umbel, Unicycle};
use crate::set::floors::Queue;
use crate::set::workloads::*;

const BOUNDED: &str = "futures-buffered, bounded";

/// None a child, one for each 64: a set that is drained keeps one chunk, and the next thousand children
/// need 15 more.
const CHUNKS: Mark = Mark::Allocations(1.0 / 64.0);

pub(crate) static ROWS: &[Row] = &[
    Row {
        name: "S1 add+drain ready children, N = 10",
        unit: "ns",
        umbel: ready_children::<Umbel, 10>,
        floor: Some(("one queue", ready_children::<Queue, 10>)),
        peers: &[
            ("futures-util", ready_children::<FuturesUnordered, 10>),
            ("futures-buffered", ready_children::<Buffered, 10>),
            (BOUNDED, ready_children::<Bounded, 10>),
            ("unicycle", ready_children::<Unicycle, 10>),
            ("futures-concurrency", ready_children::<Group, 10>),
        ],
        marks: &[Mark::BestPeerBut(0.55, BOUNDED), Mark::Allocations(0.0)],
    },
    Row {
        name: "S1 add+drain ready children, N = 1k",
        unit: "ns",
        umbel: ready_children::<Umbel, 1000>,
        floor: Some(("one queue", ready_children::<Queue, 1000>)),
        peers: &[
            ("futures-util", ready_children::<FuturesUnordered, 1000>),
            ("futures-buffered", ready_children::<Buffered, 1000>),
            (BOUNDED, ready_children::<Bounded, 1000>),
            ("unicycle", ready_children::<Unicycle, 1000>),
            ("futures-concurrency", ready_children::<Group, 1000>),
        ],
        marks: &[Mark::BestPeerBut(0.55, BOUNDED), CHUNKS],
    },
    Row {
        name: "S1 add+drain ready children, N = 100k",
        unit: "ns",
        umbel: ready_children::<Umbel, 100_000>,
        floor: Some(("one queue", ready_children::<Queue, 100_000>)),
        peers: &[
            ("futures-util", ready_children::<FuturesUnordered, 100_000>),
            ("futures-buffered", ready_children::<Buffered, 100_000>),
            (BOUNDED, ready_children::<Bounded, 100_000>),
            ("unicycle", ready_children::<Unicycle, 100_000>),
        ],
        marks: &[Mark::BestPeerBut(0.55, BOUNDED), CHUNKS],
    },
    Row {
        name: "S2 poll of a self-waking child, 1k",
        unit: "ns",
        umbel: self_waking::<Umbel, 1000>,
        floor: Some(("one queue", self_waking::<Queue, 1000>)),
        peers: &[
            ("futures-util", self_waking::<FuturesUnordered, 1000>),
            ("futures-buffered", self_waking::<Buffered, 1000>),
            (BOUNDED, self_waking::<Bounded, 1000>),
            ("unicycle", self_waking::<Unicycle, 1000>),
            ("futures-concurrency", self_waking::<Group, 1000>),
        ],
        marks: &[Mark::BestPeer(0.45), Mark::Allocations(0.0)],
    },
    Row {
        name: "S2 poll of a self-waking child, 100k",
        unit: "ns",
        umbel: self_waking::<Umbel, 100_000>,
        floor: Some(("one queue", self_waking::<Queue, 100_000>)),
        peers: &[
            ("futures-util", self_waking::<FuturesUnordered, 100_000>),
            ("futures-buffered", self_waking::<Buffered, 100_000>),
            (BOUNDED, self_waking::<Bounded, 100_000>),
            ("unicycle", self_waking::<Unicycle, 100_000>),
        ],
        marks: &[Mark::BestPeer(0.45)],
    },
    Row {
        name: "S3 wake 1 of 1k parked, poll",
        unit: "ns",
        umbel: wake_one::<Umbel, 1000>,
        floor: Some(("one queue", wake_one::<Queue, 1000>)),
        peers: &[
            ("futures-util", wake_one::<FuturesUnordered, 1000>),
            ("futures-buffered", wake_one::<Buffered, 1000>),
            (BOUNDED, wake_one::<Bounded, 1000>),
            ("unicycle", wake_one::<Unicycle, 1000>),
            ("futures-concurrency", wake_one::<Group, 1000>),
        ],
        marks: &[Mark::BestPeer(1.0), Mark::Allocations(0.0)],
    },
    Row {
        name: "S3 wake 1 of 100k parked, poll",
        unit: "ns",
        umbel: wake_one::<Umbel, 100_000>,
        floor: Some(("one queue", wake_one::<Queue, 100_000>)),
        peers: &[
            ("futures-util", wake_one::<FuturesUnordered, 100_000>),
            ("futures-buffered", wake_one::<Buffered, 100_000>),
            (BOUNDED, wake_one::<Bounded, 100_000>),
            ("unicycle", wake_one::<Unicycle, 100_000>),
        ],
        marks: &[Mark::BestPeer(1.0)],
    },
    Row {
        name: "S3 another thread wakes all of 1k, they end",
        unit: "ns",
        umbel: wake_across::<Umbel, 1000>,
        floor: Some(("one queue", wake_across::<Queue, 1000>)),
        peers: &[
            ("futures-util", wake_across::<FuturesUnordered, 1000>),
            ("futures-buffered", wake_across::<Buffered, 1000>),
            (BOUNDED, wake_across::<Bounded, 1000>),
            ("unicycle", wake_across::<Unicycle, 1000>),
            ("futures-concurrency", wake_across::<Group, 1000>),
        ],
        marks: &[Mark::BestPeer(1.1)],
    },
    Row {
        name: "S3 another thread wakes all of 20k, they end",
        unit: "ns",
        umbel: wake_across::<Umbel, 20_000>,
        floor: Some(("one queue", wake_across::<Queue, 20_000>)),
        peers: &[
            ("futures-util", wake_across::<FuturesUnordered, 20_000>),
            ("futures-buffered", wake_across::<Buffered, 20_000>),
            (BOUNDED, wake_across::<Bounded, 20_000>),
            ("unicycle", wake_across::<Unicycle, 20_000>),
        ],
        marks: &[Mark::BestPeer(1.1)],
    },
    Row {
        name: "S4 drop with 100k parked",
        unit: "ns",
        umbel: drop_parked::<Umbel>,
        floor: Some(("a vector of options", drop_bare)),
        peers: &[
            ("futures-util", drop_parked::<FuturesUnordered>),
            ("futures-buffered", drop_parked::<Buffered>),
            (BOUNDED, drop_parked::<Bounded>),
            ("unicycle", drop_parked::<Unicycle>),
        ],
        marks: &[Mark::Floor(2.0)],
    },
    Row {
        name: "S5 churn at 1k live",
        unit: "ns",
        umbel: churn::<Umbel>,
        floor: Some(("one queue", churn::<Queue>)),
        peers: &[
            ("futures-util", churn::<FuturesUnordered>),
            ("futures-buffered", churn::<Buffered>),
            (BOUNDED, churn::<Bounded>),
            ("unicycle", churn::<Unicycle>),
            ("futures-concurrency", churn::<Group>),
        ],
        marks: &[Mark::BestPeerBut(0.65, BOUNDED), Mark::Allocations(0.0)],
    },
    Row {
        name: "S6 1k children of 4 KiB, new set each time",
        unit: "ns",
        umbel: large_children::<Umbel>,
        floor: Some(("one queue", large_children::<Queue>)),
        peers: &[
            ("futures-util", large_children::<FuturesUnordered>),
            ("futures-buffered", large_children::<Buffered>),
            (BOUNDED, large_children::<Bounded>),
            ("unicycle", large_children::<Unicycle>),
        ],
        marks: &[Mark::BestPeer(1.1)],
    },
    Row {
        name: "S7 child's waker clone+drop, 2 threads",
        unit: "ns",
        umbel: clone_wakers::<Umbel>,
        floor: None,
        peers: &[
            ("futures-util", clone_wakers::<FuturesUnordered>),
            ("futures-buffered", clone_wakers::<Buffered>),
            ("unicycle", clone_wakers::<Unicycle>),
            ("futures-concurrency", clone_wakers::<Group>),
        ],
        marks: &[Mark::BestPeer(1.0)],
    },
    Row {
        name: "polls of an always-ready child in a poll of the set",
        unit: "polls",
        umbel: turns_of_one::<Umbel>,
        floor: None,
        peers: &[
            ("futures-util", turns_of_one::<FuturesUnordered>),
            ("futures-buffered", turns_of_one::<Buffered>),
            ("unicycle", turns_of_one::<Unicycle>),
            ("futures-concurrency", turns_of_one::<Group>),
        ],
        marks: &[Mark::AtMost(1.0)],
    },
    Row {
        name: "outer wakes while 1k children are woken",
        unit: "wakes",
        umbel: outer_wakes::<Umbel>,
        floor: None,
        peers: &[
            ("futures-util", outer_wakes::<FuturesUnordered>),
            ("futures-buffered", outer_wakes::<Buffered>),
            ("unicycle", outer_wakes::<Unicycle>),
            ("futures-concurrency", outer_wakes::<Group>),
        ],
        marks: &[Mark::AtMost(1.0)],
    },
];
