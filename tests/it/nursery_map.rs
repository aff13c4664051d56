//! N3, N5: `map`, `parallel` and `series`.

use futures_core::{FusedStream, Stream};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use umbel_core::{JoinError, JoinErrorKind, KeepGoing, LocalNursery, Nursery};
use umbel_tests::exec::{Gate, Log, Task, yields};

#[derive(Debug, PartialEq)]
enum Bad {
    Child(usize),
    Join(JoinErrorKind),
}

impl From<JoinError> for Bad {
    fn from(error: JoinError) -> Self {
        Bad::Join(error.kind())
    }
}

type N<'env> = Nursery<'env, Bad>;

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

fn once<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

/// How many run at once.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Running {
    async fn child(&self, turns: usize, value: usize) -> Result<usize, Bad> {
        self.most
            .fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        yields(turns).await;
        self.now.fetch_sub(1, SeqCst);
        Ok(value)
    }
}

#[test]
fn map_gives_outputs_in_order_and_keeps_to_the_limit() {
    for limit in [1, 3, 20, usize::MAX] {
        let running = Running::default();
        let n = N::new().limit(limit);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            // Later items end earlier.
            let mut squares = h.map(0..10, |i| running.child(2 * (10 - i), i * i));
            let mut outputs = Vec::new();
            while let Some(output) = next(&mut squares).await {
                outputs.push(output?);
            }
            assert!(squares.is_terminated());
            assert!(next(&mut squares).await.is_none());
            Ok(outputs)
        }));
        let squares: Vec<_> = (0..10).map(|i| i * i).collect();
        assert_eq!(task.finish().unwrap(), squares);
        assert_eq!(running.most.load(SeqCst), limit.min(10));
    }
}

#[test]
fn map_unordered_gives_outputs_as_children_end() {
    let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
    let log = Log::new();
    let n = N::new().limit(3);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let mut outputs = h.map_unordered(0..4, |i| {
            let gate = gates[i].clone();
            async move {
                gate.pass().await;
                Ok(i)
            }
        });
        while let Some(output) = next(&mut outputs).await {
            log.add(format!("{}", output?));
        }
        Ok(())
    }));
    for i in [2, 3, 0, 1] {
        task.stall();
        gates[i].open();
    }
    task.finish().unwrap();
    assert_eq!(log.take(), "2 3 0 1");
}

#[test]
fn map_takes_an_item_only_when_it_may_begin() {
    // Outputs that nobody reads hold the next ones back, as do other children that take the room.
    let taken = Cell::new(0);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));
    let n = N::new().limit(2).policy(KeepGoing);
    let h = n.handle();
    let gate = Gate::new();
    let g = gate.clone();
    drop(h.spawn(async move {
        g.pass().await;
        Ok(())
    }));
    let mut outputs = h.map(items, |i: usize| async move { Ok(i) });
    assert_eq!(outputs.size_hint(), (0, None));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    assert_eq!(taken.get(), 0, "it is lazy");
    assert!(once(&mut outputs).is_pending());
    assert_eq!(taken.get(), 2, "one has begun, one waits");
    assert_eq!(outputs.size_hint().0, 2);
    gate.open();
    // The second begins while nobody reads; nothing else does.
    drop(h.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        Ok(())
    }));
    task.stall();
    task.stall();
    assert_eq!(h.stats().done, 3);
    assert_eq!(taken.get(), 2);
    assert!(matches!(once(&mut outputs), Poll::Ready(Some(Ok(0)))));
    assert_eq!(taken.get(), 2, "two had begun and were not read");
    assert!(matches!(once(&mut outputs), Poll::Ready(Some(Ok(1)))));
    assert_eq!(taken.get(), 3);
    h.cancel();
    drop(task.finish());
}

#[test]
fn map_waits_although_nothing_of_it_has_begun() {
    let gate = Gate::new();
    let g = gate.clone();
    let n = N::new().limit(1);
    let h = n.handle();
    drop(h.spawn(async move {
        g.pass().await;
        Ok(())
    }));
    let mut task = Task::new(n.run(async {
        let mut outputs = h.map([5], |i| async move { Ok(i) });
        let first = next(&mut outputs).await.expect("it has not ended")?;
        assert!(next(&mut outputs).await.is_none());
        Ok(first)
    }));
    task.stall();
    gate.open();
    assert_eq!(task.finish().unwrap(), 5);
}

#[test]
fn map_ends_with_its_nursery() {
    let n = N::new().limit(1);
    let h = n.handle();
    let mut outputs = h.map(0.., |i: usize| async move {
        if i > 0 {
            pending::<()>().await;
        }
        Ok(i)
    });
    let mut task = Task::new(n.run(pending::<Result<(), Bad>>()));
    assert!(once(&mut outputs).is_pending());
    task.stall();
    assert!(matches!(once(&mut outputs), Poll::Ready(Some(Ok(0)))));
    assert!(once(&mut outputs).is_pending());
    task.stall();
    h.cancel();
    assert!(task.finish().is_err());
    // The one in flight was cancelled, no further one is made.
    let Poll::Ready(Some(Err(error))) = once(&mut outputs) else {
        panic!("it had an output")
    };
    assert_eq!(error.kind(), JoinErrorKind::Cancelled);
    let rest: Vec<_> = std::iter::from_fn(|| match once(&mut outputs) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for ever"),
    })
    .map(|output| output.unwrap_err().kind())
    .collect();
    assert!(rest.len() <= 1, "{rest:?}");
    assert!(outputs.is_terminated());
    assert_eq!(outputs.size_hint(), (0, Some(0)));
}

#[test]
fn map_gives_a_failed_child_its_place() {
    let n = N::new().policy(KeepGoing).limit(2);
    let h = n.handle();
    let log = Log::new();
    let mut task = Task::new(n.run(async {
        let mut outputs = h.map(0..4, |i| async move {
            if i % 2 == 1 {
                return Err(Bad::Child(i));
            }
            Ok(i)
        });
        while let Some(output) = next(&mut outputs).await {
            log.add(match output {
                Ok(i) => i.to_string(),
                Err(error) => format!("{:?}", error.kind()),
            });
        }
        Ok(())
    }));
    let failure = task.finish().unwrap_err();
    let errors: Vec<_> = failure.errors().map(|e| e.error).collect();
    assert_eq!(errors, [&Bad::Child(1), &Bad::Child(3)]);
    assert_eq!(log.take(), "0 Failed 2 Failed");
}

#[test]
fn a_dropped_map_lets_what_has_begun_run_on() {
    let log = Log::new();
    let gate = Gate::new();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut outputs = h.map(0..5, |i| {
        let (gate, log, note) = (gate.clone(), log.clone(), log.on_drop(format!("-{i}")));
        async move {
            let _note = note;
            gate.pass().await;
            log.add(format!("{i}"));
            Ok(())
        }
    });
    let other = gate.clone();
    drop(h.spawn(async move {
        other.pass().await;
        Ok(())
    }));
    assert!(once(&mut outputs).is_pending());
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    drop(outputs);
    assert_eq!(log.take(), "-1", "it waited for room");
    gate.open();
    task.finish().unwrap();
    assert_eq!(log.take(), "0 -0");
}

#[test]
fn parallel_gives_outputs_in_the_order_of_its_arguments() {
    for limit in [1, 3, usize::MAX] {
        let running = Running::default();
        let n = N::new().limit(limit);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            // The first one is the slowest: it keeps no other back.
            let all = (0..7).map(|i| running.child(7 - i, i));
            Ok(h.parallel(all).await?)
        }));
        assert_eq!(task.finish().unwrap(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(running.most.load(SeqCst), limit.min(7));
    }
    // Room that the first does not need is used by all the others, read or not.
    let gate = Gate::new();
    let running = Running::default();
    let n = N::new().limit(2);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let slow = Box::pin(async {
            gate.pass().await;
            Ok(0_usize)
        }) as Pin<Box<dyn Future<Output = Result<usize, Bad>> + Send>>;
        let others = (1..6_usize).map(|i| Box::pin(running.child(1, i)) as _);
        Ok(h.parallel(std::iter::once(slow).chain(others)).await?)
    }));
    task.stall();
    assert_eq!(h.stats().done, 5);
    gate.open();
    assert_eq!(task.finish().unwrap(), [0_usize, 1, 2, 3, 4, 5]);
}

#[test]
fn series_runs_one_after_the_other() {
    let running = Running::default();
    let n = N::new();
    let h = n.handle();
    let mut task =
        Task::new(n.run(async { Ok(h.series((0..5).map(|i| running.child(i, i))).await?) }));
    assert_eq!(task.finish().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(running.most.load(SeqCst), 1);

    // The first that fails is the last that begins.
    let n = N::new().policy(KeepGoing);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        let children =
            (0..5).map(|i| async move { if i == 2 { Err(Bad::Child(i)) } else { Ok(i) } });
        Ok(h.series(children).await?)
    }));
    let failure = task.finish().unwrap_err();
    let errors: Vec<_> = failure.errors().map(|e| e.error).collect();
    assert_eq!(errors, [&Bad::Child(2), &Bad::Join(JoinErrorKind::Failed)]);
    assert_eq!(h.stats().started, 3);
}

#[test]
fn nothing_in_parallel_or_in_series_is_nothing() {
    let n = N::new();
    let h = n.handle();
    let nothing = || std::iter::empty::<std::future::Ready<Result<(), Bad>>>();
    let mut task = Task::new(n.run(async {
        assert!(h.parallel(nothing()).await?.is_empty());
        assert!(h.series(nothing()).await?.is_empty());
        assert!(
            next(&mut h.map(0..0, |_| std::future::ready(Ok(()))))
                .await
                .is_none()
        );
        Ok(())
    }));
    task.finish().unwrap();
}

#[test]
fn local_children_are_mapped_too_and_the_stream_outlives_the_handle() {
    let n = LocalNursery::<Bad>::new().limit(2);
    let h = n.handle();
    let mut outputs = h.map(0..3, |i| {
        let here = Rc::new(i);
        async move {
            yields(1).await;
            Ok(here)
        }
    });
    let mut unordered = h.map_unordered([7], |i| async move { Ok(Rc::new(i)) });
    let both = h.parallel((0..2).map(|i| async move { Ok(Rc::new(i)) }));
    let series = h.series((0..2).map(|i| async move { Ok(Rc::new(i)) }));
    drop(h);
    let mut task = Task::new(n.run(async {
        let mut sum = 0;
        while let Some(output) = next(&mut outputs).await {
            sum += *output?;
        }
        sum += *next(&mut unordered).await.expect("one")?;
        sum += both
            .await?
            .iter()
            .chain(&series.await?)
            .map(|i| **i)
            .sum::<i32>();
        Ok(sum)
    }));
    assert_eq!(task.finish().unwrap(), 3 + 7 + 1 + 1);
}

fn _crosses_threads(h: &umbel_core::Handle<'static, Bad>) {
    fn send<T: Send>(_: T) {}
    send(h.map(0..3, |_| async { Ok(()) }));
    send(h.map_unordered(0..3, |_| async { Ok(()) }));
    send(h.parallel([async { Ok(()) }]));
    send(h.series([async { Ok(()) }]));
}

/// What is told when the first output is missing is all that has begun: the one that waits for room leaves.
#[test]
fn a_parallel_that_has_failed_begins_no_more() {
    let begun = |dropped: bool| {
        let n = N::new().limit(1).policy(KeepGoing);
        let (h, begun) = (n.handle(), AtomicUsize::new(0));
        let mut task = Task::new(n.run(async {
            let child = |i| {
                let begun = &begun;
                async move {
                    begun.fetch_add(1, SeqCst);
                    match i {
                        0 => Err(Bad::Child(0)),
                        _ => Ok(i),
                    }
                }
            };
            let mut all = Box::pin(h.parallel((0..4).map(child)));
            all.as_mut().await.unwrap_err();
            let _all = (!dropped).then_some(all);
            yields(9).await;
            Ok(())
        }));
        let failure = task.finish().unwrap_err();
        assert_eq!(failure.errors().count(), 1);
        begun.load(SeqCst)
    };
    assert_eq!(begun(false), begun(true));
}
