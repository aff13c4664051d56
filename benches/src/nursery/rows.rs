//! The rows, as data.
//!
//! A child is erased in all of them, and spawned from within the scope. The nursery's own memory (its
//! shared part, a chunk of slots for each 64 children) is in the allocations a child, as the peers' is.
//! `JoinSet` is polled by its runtime, not by the scope, so that turns and outer wakes say nothing
//! of it.

use crate::nursery::contenders::{JoinSet, Local, Moro, Umbel, UmbelLocal};
use crate::nursery::fixed;
use crate::nursery::floors::{Boxes, SetOfBoxes};
use crate::nursery::workloads::*;
use crate::report::{Mark, Row};

/// No peer: umbel's set.
const SET: &str = "umbel's set of boxes";

/// One a child, and for the nursery and its chunks not one in twenty.
const ONE_A_CHILD: Mark = Mark::Allocations(1.05);

pub(crate) static ROWS: &[Row] = &[
    Row {
        name: "spawn+drain 1k ready children, outputs dropped",
        unit: "ns",
        umbel: discard::<Umbel>,
        floor: Some(("a vector of boxes", discard::<Boxes>)),
        peers: &[
            (SET, discard::<SetOfBoxes>),
            ("moro-local", discard::<Moro>),
            ("async-executor, local", discard::<Local>),
            ("tokio's JoinSet", discard::<JoinSet>),
        ],
        marks: &[Mark::BestPeerBut(0.4, SET), ONE_A_CHILD],
    },
    Row {
        name: "LocalNursery: the same",
        unit: "ns",
        umbel: discard::<UmbelLocal>,
        floor: Some(("a vector of boxes", discard::<Boxes>)),
        peers: &[
            (SET, discard::<SetOfBoxes>),
            ("moro-local", discard::<Moro>),
            ("async-executor, local", discard::<Local>),
        ],
        marks: &[Mark::BestPeerBut(0.4, SET), ONE_A_CHILD],
    },
    Row {
        name: "spawn+drain 1k ready children, outputs awaited",
        unit: "ns",
        umbel: join::<Umbel>,
        floor: Some(("a vector of boxes", join::<Boxes>)),
        peers: &[
            (SET, join::<SetOfBoxes>),
            ("moro-local", join::<Moro>),
            ("async-executor, local", join::<Local>),
            ("tokio's JoinSet", join::<JoinSet>),
        ],
        marks: &[Mark::BestPeerBut(0.55, SET), ONE_A_CHILD],
    },
    Row {
        name: "LocalNursery: the same, outputs awaited",
        unit: "ns",
        umbel: join::<UmbelLocal>,
        floor: Some(("a vector of boxes", join::<Boxes>)),
        peers: &[
            (SET, join::<SetOfBoxes>),
            ("moro-local", join::<Moro>),
            ("async-executor, local", join::<Local>),
        ],
        marks: &[Mark::BestPeerBut(0.55, SET), ONE_A_CHILD],
    },
    Row {
        name: "poll of a child that yields, 1k",
        unit: "ns",
        umbel: yields::<Umbel>,
        floor: Some(("a vector of boxes", yields::<Boxes>)),
        peers: &[
            (SET, yields::<SetOfBoxes>),
            ("moro-local", yields::<Moro>),
            ("async-executor, local", yields::<Local>),
            ("tokio's JoinSet", yields::<JoinSet>),
        ],
        marks: &[Mark::BestPeerBut(0.35, SET)],
    },
    Row {
        name: "polls of an always-ready child in a poll of the scope",
        unit: "polls",
        umbel: turns_of_one::<Umbel>,
        floor: None,
        peers: &[
            ("moro-local", turns_of_one::<Moro>),
            ("async-executor, local", turns_of_one::<Local>),
        ],
        marks: &[Mark::AtMost(1.0)],
    },
    Row {
        name: "outer wakes while 1k children are woken",
        unit: "wakes",
        umbel: outer_wakes::<Umbel>,
        floor: None,
        peers: &[
            ("moro-local", outer_wakes::<Moro>),
            ("async-executor, local", outer_wakes::<Local>),
        ],
        marks: &[Mark::AtMost(1.0)],
    },
    Row {
        name: "FixedNursery: spawn+drain 16 ready children",
        unit: "ns",
        umbel: fixed::ready_children::<fixed::Umbel>,
        floor: Some(("an array of boxes", fixed::ready_children::<fixed::PollAll>)),
        peers: &[
            ("futures-concurrency", fixed::ready_children::<fixed::Array>),
            ("futures-util", fixed::ready_children::<fixed::JoinAll>),
        ],
        marks: &[Mark::Allocations(0.0)],
    },
    Row {
        name: "FixedNursery: wake 1 of 16 parked, poll",
        unit: "ns",
        umbel: fixed::wake_one::<fixed::Umbel>,
        floor: Some(("an array of boxes", fixed::wake_one::<fixed::PollAll>)),
        peers: &[
            ("futures-concurrency", fixed::wake_one::<fixed::Array>),
            ("futures-util", fixed::wake_one::<fixed::JoinAll>),
        ],
        marks: &[Mark::Allocations(0.0)],
    },
];
