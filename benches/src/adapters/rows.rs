//! The rows, as data.
//!
//! The marks are for children whose outputs are awaited. Of the allocations a child, one is the executor's,
//! and one the nursery's block.

use crate::adapters::contenders::*;
use crate::nursery::contenders::JoinSet;
use crate::nursery::workloads::{discard, join};
use crate::report::{Mark, Row};

/// Two a child, and for nursery, chunks and wakes not one in ten.
const TWO_A_CHILD: Mark = Mark::Allocations(2.1);

/// What a child costs at least of whose executor nothing is known: its output lies outside of the task.
const REMOTES: &str = "futures-util's remote_handle";

pub(crate) static ROWS: &[Row] = &[
    Row {
        name: "tokio, current thread: spawn+join 1k ready tasks",
        unit: "ns",
        umbel: join::<OnTokio>,
        floor: None,
        peers: &[
            ("tokio's JoinSet", join::<JoinSet>),
            (REMOTES, join::<RemotesOnTokio>),
        ],
        marks: &[Mark::Peer(1.15, "tokio's JoinSet"), TWO_A_CHILD],
    },
    Row {
        name: "tokio, current thread: spawn+drain 1k ready tasks",
        unit: "ns",
        umbel: discard::<OnTokio>,
        floor: None,
        peers: &[("tokio's JoinSet", discard::<JoinSet>)],
        marks: &[Mark::Peer(1.15, "tokio's JoinSet"), TWO_A_CHILD],
    },
    Row {
        name: "tokio, two threads: spawn+join 1k ready tasks",
        unit: "ns",
        umbel: join_on_threads::<OnThreads>,
        floor: None,
        peers: &[("tokio's JoinSet", join_on_threads::<JoinSetOnThreads>)],
        marks: &[Mark::Peer(1.15, "tokio's JoinSet")],
    },
    Row {
        name: "smol's executor: spawn+join 1k ready tasks",
        unit: "ns",
        umbel: join::<OnSmol>,
        floor: None,
        peers: &[
            ("bare spawn", join::<BareSmol>),
            (REMOTES, join::<RemotesOnSmol>),
        ],
        marks: &[Mark::Peer(1.3, "bare spawn"), TWO_A_CHILD],
    },
];
