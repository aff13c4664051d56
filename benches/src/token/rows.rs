//! The rows, as data.
//!
//! Peers without children stand in the row of depth 32 as what they are: flat.

use crate::report::{Mark, Row};
use crate::token::contenders::{
    CancellationToken, EventListener, FuturesIntrusive, TokioUtil, Triggered, Umbel,
};
use crate::token::floors::{Node, Waiters};
use crate::token::workloads::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) static ROWS: &[Row] = &[
    Row {
        name: "C1 is_cancelled, depth 32",
        unit: "ns",
        umbel: ask_deep::<Umbel>,
        floor: Some(("AtomicBool", ask_alone::<AtomicBool>)),
        peers: &[
            ("tokio-util", ask_deep::<TokioUtil>),
            ("cancellation-token", ask_deep::<CancellationToken>),
            ("futures-intrusive", ask_alone::<FuturesIntrusive>),
            ("triggered", ask_alone::<Triggered>),
        ],
        marks: &[Mark::Floor(1.1)],
    },
    Row {
        name: "C1 is_cancelled, 2 threads",
        unit: "ns",
        umbel: ask_both::<Umbel>,
        floor: Some(("AtomicBool", ask_both::<AtomicBool>)),
        peers: &[
            ("tokio-util", ask_both::<TokioUtil>),
            ("cancellation-token", ask_both::<CancellationToken>),
            ("futures-intrusive", ask_both::<FuturesIntrusive>),
            ("triggered", ask_both::<Triggered>),
        ],
        marks: &[Mark::Floor(1.2)],
    },
    Row {
        name: "C1 is_cancelled while another thread registers",
        unit: "ns",
        umbel: ask_registering::<Umbel>,
        floor: Some((
            "AtomicBool, registers elsewhere",
            ask_registering_elsewhere::<AtomicBool, Waiters<1>>,
        )),
        peers: &[
            ("tokio-util", ask_registering::<TokioUtil>),
            ("cancellation-token", ask_registering::<CancellationToken>),
            ("event-listener", ask_registering::<EventListener>),
            ("futures-intrusive", ask_registering::<FuturesIntrusive>),
            ("triggered", ask_registering::<Triggered>),
        ],
        marks: &[Mark::Floor(1.2)],
    },
    Row {
        name: "C1 is_cancelled while another thread cancels children",
        unit: "ns",
        umbel: ask_cancelling::<Umbel>,
        floor: Some((
            "AtomicBool, cancels elsewhere",
            ask_cancelling_elsewhere::<AtomicBool, Node<1>>,
        )),
        peers: &[
            ("tokio-util", ask_cancelling::<TokioUtil>),
            ("cancellation-token", ask_cancelling::<CancellationToken>),
        ],
        marks: &[Mark::Floor(1.2)],
    },
    Row {
        name: "C2 token create+drop",
        unit: "ns",
        umbel: create::<Umbel>,
        floor: Some(("Arc", create::<Arc<AtomicBool>>)),
        peers: &[
            ("tokio-util", create::<TokioUtil>),
            ("cancellation-token", create::<CancellationToken>),
            ("event-listener", create::<EventListener>),
            ("futures-intrusive", create::<FuturesIntrusive>),
            ("triggered", create::<Triggered>),
        ],
        marks: &[Mark::Floor(1.6)],
    },
    Row {
        name: "C2 clone+drop, 1 thread",
        unit: "ns",
        umbel: clone_alone::<Umbel>,
        floor: Some(("Arc", clone_alone::<Arc<AtomicBool>>)),
        peers: &[
            ("tokio-util", clone_alone::<TokioUtil>),
            ("cancellation-token", clone_alone::<CancellationToken>),
            ("triggered", clone_alone::<Triggered>),
        ],
        marks: &[Mark::Floor(1.1)],
    },
    Row {
        name: "C2 clone+drop, 2 threads",
        unit: "ns",
        umbel: clone_both::<Umbel>,
        floor: Some(("Arc", clone_both::<Arc<AtomicBool>>)),
        peers: &[
            ("tokio-util", clone_both::<TokioUtil>),
            ("cancellation-token", clone_both::<CancellationToken>),
            ("triggered", clone_both::<Triggered>),
        ],
        marks: &[Mark::Floor(1.1)],
    },
    Row {
        name: "C2 child create+drop, 1 thread",
        unit: "ns",
        umbel: child_alone::<Umbel>,
        floor: Some(("one list", child_alone::<Node<1>>)),
        peers: &[
            ("tokio-util", child_alone::<TokioUtil>),
            ("cancellation-token", child_alone::<CancellationToken>),
        ],
        marks: &[Mark::Peer(0.45, "tokio-util"), Mark::Allocations(0.0)],
    },
    Row {
        name: "C2 child create+drop, 100k siblings",
        unit: "ns",
        umbel: child_crowded::<Umbel>,
        floor: Some(("one list", child_crowded::<Node<1>>)),
        peers: &[
            ("tokio-util", child_crowded::<TokioUtil>),
            ("cancellation-token", child_crowded::<CancellationToken>),
        ],
        marks: &[Mark::Peer(0.45, "tokio-util"), Mark::Allocations(0.0)],
    },
    Row {
        name: "C2 child create+drop, 2 threads, 1 parent",
        unit: "ns",
        umbel: child_both::<Umbel>,
        floor: Some(("8 lists", child_both::<Node<8>>)),
        peers: &[
            ("tokio-util", child_both::<TokioUtil>),
            ("cancellation-token", child_both::<CancellationToken>),
        ],
        marks: &[Mark::Peer(0.08, "tokio-util")],
    },
    Row {
        name: "C3 cancelled() create+poll+drop, 1 thread",
        unit: "ns",
        umbel: wait_alone::<Umbel>,
        floor: Some(("one list", wait_alone::<Waiters<1>>)),
        peers: &[
            ("tokio-util", wait_alone::<TokioUtil>),
            ("cancellation-token", wait_alone::<CancellationToken>),
            ("event-listener", wait_alone::<EventListener>),
            ("futures-intrusive", wait_alone::<FuturesIntrusive>),
            ("triggered", wait_alone::<Triggered>),
        ],
        marks: &[Mark::Peer(0.55, "tokio-util"), Mark::Allocations(0.0)],
    },
    Row {
        name: "C3 the same, 2 threads, 1 token",
        unit: "ns",
        umbel: wait_both::<Umbel>,
        floor: Some(("8 lists", wait_both::<Waiters<8>>)),
        peers: &[
            ("tokio-util", wait_both::<TokioUtil>),
            ("cancellation-token", wait_both::<CancellationToken>),
            ("event-listener", wait_both::<EventListener>),
            ("futures-intrusive", wait_both::<FuturesIntrusive>),
            ("triggered", wait_both::<Triggered>),
        ],
        marks: &[Mark::Peer(0.05, "tokio-util")],
    },
    Row {
        name: "C3 the same, 2 threads, 1000 parked",
        unit: "ns",
        umbel: wait_crowded::<Umbel>,
        floor: Some(("8 lists", wait_crowded::<Waiters<8>>)),
        peers: &[
            ("tokio-util", wait_crowded::<TokioUtil>),
            ("cancellation-token", wait_crowded::<CancellationToken>),
            ("event-listener", wait_crowded::<EventListener>),
            ("futures-intrusive", wait_crowded::<FuturesIntrusive>),
            ("triggered", wait_crowded::<Triggered>),
        ],
        marks: &[Mark::Peer(0.05, "tokio-util")],
    },
    Row {
        name: "C3 re-poll",
        unit: "ns",
        umbel: poll_again::<Umbel>,
        floor: Some(("one list", poll_again::<Waiters<1>>)),
        peers: &[
            ("tokio-util", poll_again::<TokioUtil>),
            ("cancellation-token", poll_again::<CancellationToken>),
            ("event-listener", poll_again::<EventListener>),
            ("futures-intrusive", poll_again::<FuturesIntrusive>),
            ("triggered", poll_again::<Triggered>),
        ],
        marks: &[Mark::Peer(0.2, "tokio-util"), Mark::Allocations(0.0)],
    },
    Row {
        name: "C4 cancel, per waiter, N = 1",
        unit: "ns",
        umbel: cancel_waiters::<Umbel, 1>,
        floor: Some(("one list", cancel_waiters::<Waiters<1>, 1>)),
        peers: &[
            ("tokio-util", cancel_waiters::<TokioUtil, 1>),
            ("cancellation-token", cancel_waiters::<CancellationToken, 1>),
            ("event-listener", cancel_waiters::<EventListener, 1>),
            ("futures-intrusive", cancel_waiters::<FuturesIntrusive, 1>),
            ("triggered", cancel_waiters::<Triggered, 1>),
        ],
        marks: &[Mark::Peer(0.7, "tokio-util"), Mark::Allocations(0.0)],
    },
    Row {
        name: "C4 cancel, per waiter, N = 100",
        unit: "ns",
        umbel: cancel_waiters::<Umbel, 100>,
        floor: Some(("one list", cancel_waiters::<Waiters<1>, 100>)),
        peers: &[
            ("tokio-util", cancel_waiters::<TokioUtil, 100>),
            (
                "cancellation-token",
                cancel_waiters::<CancellationToken, 100>,
            ),
            ("event-listener", cancel_waiters::<EventListener, 100>),
            ("futures-intrusive", cancel_waiters::<FuturesIntrusive, 100>),
            ("triggered", cancel_waiters::<Triggered, 100>),
        ],
        marks: &[Mark::BestPeer(1.1), Mark::Allocations(0.0)],
    },
    Row {
        name: "C4 cancel, per waiter, N = 10k",
        unit: "ns",
        umbel: cancel_waiters::<Umbel, 10_000>,
        floor: Some(("one list", cancel_waiters::<Waiters<1>, 10_000>)),
        peers: &[
            ("tokio-util", cancel_waiters::<TokioUtil, 10_000>),
            (
                "cancellation-token",
                cancel_waiters::<CancellationToken, 10_000>,
            ),
            ("event-listener", cancel_waiters::<EventListener, 10_000>),
            (
                "futures-intrusive",
                cancel_waiters::<FuturesIntrusive, 10_000>,
            ),
            ("triggered", cancel_waiters::<Triggered, 10_000>),
        ],
        marks: &[Mark::BestPeer(1.1)],
    },
    Row {
        name: "C4 cancel, per waiter, N = 1M",
        unit: "ns",
        umbel: cancel_waiters::<Umbel, 1_000_000>,
        floor: Some(("one list", cancel_waiters::<Waiters<1>, 1_000_000>)),
        peers: &[
            ("tokio-util", cancel_waiters::<TokioUtil, 1_000_000>),
            (
                "cancellation-token",
                cancel_waiters::<CancellationToken, 1_000_000>,
            ),
            ("event-listener", cancel_waiters::<EventListener, 1_000_000>),
            (
                "futures-intrusive",
                cancel_waiters::<FuturesIntrusive, 1_000_000>,
            ),
            ("triggered", cancel_waiters::<Triggered, 1_000_000>),
        ],
        marks: &[Mark::BestPeer(1.1)],
    },
    Row {
        name: "C4 cancel, per child, flat 1M",
        unit: "ns",
        umbel: cancel_fan::<Umbel>,
        floor: Some(("one list", cancel_fan::<Node<1>>)),
        peers: &[
            ("tokio-util", cancel_fan::<TokioUtil>),
            ("cancellation-token", cancel_fan::<CancellationToken>),
        ],
        marks: &[Mark::Peer(0.25, "tokio-util")],
    },
    Row {
        name: "C4 cancel, per child, chain 1M",
        unit: "ns",
        umbel: cancel_chain::<Umbel>,
        floor: Some(("one list", cancel_chain::<Node<1>>)),
        peers: &[("tokio-util", cancel_chain::<TokioUtil>)],
        marks: &[Mark::Peer(0.9, "tokio-util")],
    },
    Row {
        name: "C5 heap, token",
        unit: "bytes",
        umbel: bytes_of_token::<Umbel>,
        floor: Some(("Arc", bytes_of_token::<Arc<AtomicBool>>)),
        peers: &[
            ("tokio-util", bytes_of_token::<TokioUtil>),
            ("cancellation-token", bytes_of_token::<CancellationToken>),
            ("event-listener", bytes_of_token::<EventListener>),
            ("futures-intrusive", bytes_of_token::<FuturesIntrusive>),
            ("triggered", bytes_of_token::<Triggered>),
        ],
        marks: &[Mark::AtMost(64.0)],
    },
    Row {
        name: "C5 heap, live child of 100k",
        unit: "bytes",
        umbel: bytes_of_child::<Umbel>,
        floor: Some(("one list", bytes_of_child::<Node<1>>)),
        peers: &[
            ("tokio-util", bytes_of_child::<TokioUtil>),
            ("cancellation-token", bytes_of_child::<CancellationToken>),
        ],
        marks: &[Mark::AtMost(72.0)],
    },
    Row {
        name: "C5 heap, parked waiter of 100k",
        unit: "bytes",
        umbel: bytes_of_wait::<Umbel>,
        floor: Some(("one list", bytes_of_wait::<Waiters<1>>)),
        peers: &[
            ("tokio-util", bytes_of_wait::<TokioUtil>),
            ("cancellation-token", bytes_of_wait::<CancellationToken>),
            ("event-listener", bytes_of_wait::<EventListener>),
            ("futures-intrusive", bytes_of_wait::<FuturesIntrusive>),
            ("triggered", bytes_of_wait::<Triggered>),
        ],
        marks: &[Mark::AtMost(24.0)],
    },
    Row {
        name: "C5 heap, token with its first waiter",
        unit: "bytes",
        umbel: bytes_of_token_and_wait::<Umbel>,
        floor: None,
        peers: &[
            ("tokio-util", bytes_of_token_and_wait::<TokioUtil>),
            (
                "cancellation-token",
                bytes_of_token_and_wait::<CancellationToken>,
            ),
            ("event-listener", bytes_of_token_and_wait::<EventListener>),
            (
                "futures-intrusive",
                bytes_of_token_and_wait::<FuturesIntrusive>,
            ),
            ("triggered", bytes_of_token_and_wait::<Triggered>),
        ],
        marks: &[Mark::AtMost(208.0)],
    },
    Row {
        name: "C6 heap's growth, churned children",
        unit: "bytes",
        umbel: churn::<Umbel>,
        floor: Some(("one list", churn::<Node<1>>)),
        peers: &[
            ("tokio-util", churn::<TokioUtil>),
            ("cancellation-token", churn::<CancellationToken>),
        ],
        marks: &[Mark::AtMost(0.0), Mark::Allocations(0.0)],
    },
    Row {
        name: "C7 run_until_cancelled over 10 yields",
        unit: "ns",
        umbel: run_yields::<Umbel>,
        floor: Some(("bare future", bare_yields)),
        peers: &[
            ("tokio-util", run_yields::<TokioUtil>),
            ("cancellation-token", run_yields::<CancellationToken>),
        ],
        marks: &[Mark::Peer(0.3, "tokio-util")],
    },
    Row {
        name: "stall of a reader, 1M children cancelled",
        unit: "µs",
        umbel: stall::<Umbel>,
        floor: Some(("second thread idle", stall_idle::<Umbel>)),
        peers: &[
            ("tokio-util", stall::<TokioUtil>),
            ("cancellation-token", stall::<CancellationToken>),
        ],
        marks: &[Mark::FloorPlus(50.0)],
    },
];
