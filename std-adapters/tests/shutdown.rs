//! The coordinator, on virtual time: polled only when it was woken.

use std::future::{Future, pending, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use umbel::shutdown::{Control, Coordinator, End, OnFailure, Phase, ShutdownReport, Subsystem};
use umbel::{CancellationToken, Clock, Instant, ManualClock, Reason, ReasonKind, Timer};

const SECOND: Duration = s(1);

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Whether its task was woken since it was polled.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A program under test.
struct Bench<'a> {
    clock: ManualClock,
    trigger: CancellationToken,
    log: &'a Log,
    program: Option<Coordinator<'a, &'static str, ManualClock>>,
    run: Option<Pin<Box<dyn Future<Output = Report> + Send + 'a>>>,
    flag: Arc<Flag>,
}

type Report = ShutdownReport<&'static str>;

/// What happened, in order.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn say(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Says that it is dropped.
struct Dropped<'a>(&'a Log, &'static str);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.say(format!("{} dropped", self.1));
    }
}

impl<'a> Bench<'a> {
    fn new(log: &'a Log) -> Self {
        Bench::with(log, |program| program)
    }

    fn with(
        log: &'a Log,
        set: impl FnOnce(
            Coordinator<'a, &'static str, ManualClock>,
        ) -> Coordinator<'a, &'static str, ManualClock>,
    ) -> Self {
        let (clock, trigger) = (ManualClock::new(), CancellationToken::new());
        let program = set(Coordinator::new(clock.clone(), &trigger));
        Bench {
            clock,
            trigger,
            log,
            program: Some(program),
            run: None,
            flag: Arc::default(),
        }
    }

    fn program(&mut self) -> &mut Coordinator<'a, &'static str, ManualClock> {
        self.program.as_mut().expect("it is not run yet")
    }

    fn control(&mut self) -> Control {
        self.program().control()
    }

    /// A subsystem that drains for so many seconds when it is told.
    fn drains(&mut self, what: Subsystem, name: &'static str, seconds: u64) {
        let (clock, log) = (self.clock.clone(), self.log);
        self.program().add(what, move |cx| async move {
            log.say(format!("{name} starts"));
            cx.token().cancelled().await;
            log.say(format!("{name} told"));
            clock.sleep_until(clock.now() + s(seconds)).await;
            log.say(format!("{name} done"));
            Ok(())
        });
    }

    /// Polls while it is woken.
    fn go(&mut self) -> Option<Report> {
        if self.run.is_none() {
            let program = self.program.take().expect("a program");
            self.run = Some(Box::pin(program.run()));
            self.flag.0.store(true, Ordering::SeqCst);
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        for _ in 0..1000 {
            if !self.flag.0.swap(false, Ordering::SeqCst) {
                return None;
            }
            let run = self.run.as_mut().expect("it runs");
            if let Poll::Ready(report) = run.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(report);
            }
        }
        panic!("it spins");
    }

    /// One second, so often.
    fn pass(&mut self, seconds: u64) -> Option<Report> {
        (0..seconds).find_map(|_| {
            self.clock.advance(s(1));
            self.go()
        })
    }
}

fn phased(name: &'static str, phase: Phase) -> Subsystem {
    Subsystem::new(name).phase(phase)
}

fn names(report: &Report) -> Vec<&str> {
    report.subsystems.iter().map(|s| &*s.name).collect()
}

#[test]
fn they_start_in_order_and_stop_in_the_reverse() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    for name in ["store", "cache", "http"] {
        bench.drains(name.into(), name, 1);
    }
    assert!(bench.go().is_none());
    assert_eq!(log.take(), ["store starts", "cache starts", "http starts"]);
    bench.trigger.cancel_with(Reason::custom(7));
    assert!(bench.go().is_none());
    assert_eq!(log.take(), ["http told"]);
    assert!(bench.pass(1).is_none());
    assert_eq!(log.take(), ["http done", "cache told"]);
    assert!(bench.pass(1).is_none());
    let report = bench.pass(1).expect("the end");
    assert_eq!(log.take(), ["cache done", "store told", "store done"]);
    assert_eq!(names(&report), ["http", "cache", "store"]);
    assert!(report.subsystems.iter().all(|s| s.drain == Some(SECOND)));
    assert_eq!(report.reason.as_ref().and_then(Reason::code), Some(7));
    assert_eq!(report.took, s(3));
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn phases_stop_lowest_first_side_by_side_and_those_without_come_last() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    bench.drains("store".into(), "store", 0);
    bench.drains(phased("out", Phase::EGRESS), "out", 0);
    bench.drains(phased("slow", Phase::INGRESS), "slow", 2);
    bench.drains(phased("quick", Phase::INGRESS), "quick", 1);
    bench.drains(phased("between", Phase::new(150)), "between", 0);
    bench.drains("log".into(), "log", 0);
    assert!(bench.go().is_none());
    log.take();
    bench.trigger.cancel();
    assert!(bench.go().is_none());
    assert_eq!(log.take(), ["slow told", "quick told"]);
    assert!(bench.pass(1).is_none());
    assert_eq!(log.take(), ["quick done"]);
    let report = bench.pass(1).expect("the end");
    assert_eq!(
        names(&report),
        ["quick", "slow", "between", "out", "log", "store"]
    );
    assert_eq!(report.took, s(2));
}

#[test]
fn one_that_is_awaited_holds_up_those_after_it_and_readiness() {
    let log = &Log::default();
    let gate = CancellationToken::new();
    let mut bench = Bench::new(log);
    let health = bench.control().health();
    let open = gate.clone();
    bench
        .program()
        .add(Subsystem::new("store").until_started(), |cx| async move {
            open.cancelled().await;
            cx.started();
            cx.token().cancelled().await;
            Ok(())
        });
    bench.drains("http".into(), "http", 0);
    assert!(bench.go().is_none());
    assert!(log.take().is_empty() && !health.is_ready() && health.is_live());
    gate.cancel();
    assert!(bench.go().is_none());
    assert_eq!(log.take(), ["http starts"]);
    assert!(health.is_ready());
}

#[test]
fn who_never_started_is_dropped_before_the_others_drain() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    let health = bench.control().health();
    let store = Subsystem::new("store").until_started();
    bench.drains(store, "store", 0);
    let kept = Dropped(log, "http");
    bench.program().add("http", |_| async move {
        let _kept = kept;
        pending().await
    });
    assert!(bench.go().is_none());
    assert!(!health.is_ready());
    bench.trigger.cancel();
    let report = bench.go().expect("the end");
    let order = ["store starts", "http dropped", "store told", "store done"];
    assert_eq!(log.take(), order);
    assert_eq!(names(&report), ["store", "http"]);
    assert!(matches!(report.subsystems[1].end, End::NeverStarted));
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn the_lame_duck_serves_on_but_is_not_ready() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.lame_duck(s(5)).budget(s(8)));
    let health = bench.control().health();
    bench.drains(phased("http", Phase::INGRESS), "http", 9);
    assert!(!health.is_ready());
    assert!(bench.go().is_none());
    assert!(health.is_ready());
    bench.trigger.cancel();
    assert!(!health.is_ready());
    log.take();
    assert!(bench.go().is_none());
    assert!(bench.pass(4).is_none());
    assert!(log.take().is_empty());
    assert!(bench.pass(1).is_none());
    assert_eq!(log.take(), ["http told"]);
    assert!(health.is_live());
    // The delay was a part of the budget.
    let report = bench.pass(3).expect("the end");
    assert_eq!(report.took, s(8));
    assert_eq!(report.subsystems[0].drain, Some(s(3)));
    assert!(!health.is_live() && !health.is_ready());
}

#[test]
fn the_budget_is_shared_out_and_what_is_left_over_goes_on() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.budget(s(12)));
    bench.drains(phased("a", Phase::new(1)), "a", 1);
    bench.drains(phased("b", Phase::new(2)), "b", 99);
    // Its own grace is less than its share.
    bench.drains(phased("c", Phase::new(3)).grace(s(2)), "c", 99);
    bench.drains(phased("d", Phase::new(4)), "d", 99);
    bench.go();
    bench.trigger.cancel();
    bench.go();
    let report = bench.pass(99).expect("the end");
    let drains: Vec<_> = report.subsystems.iter().map(|s| s.drain).collect();
    // Of 12 s a quarter, of 11 a third; then 2 of 7⅓, and all that is left.
    let drains: Vec<_> = drains.iter().map(|d| d.unwrap().as_secs()).collect();
    assert_eq!(drains, [1, 4, 2, 5]);
    assert_eq!(report.took, s(12));
    let forced: Vec<_> = report.forced().map(|s| &*s.name).collect();
    assert_eq!(forced, ["b", "c", "d"]);
    assert_eq!(report.exit_code(), Report::FORCED);
}

#[test]
fn a_phase_may_have_more_parts_of_the_budget_than_others() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| {
        let program = program.budget(s(20)).share(Phase::PROCESSING, 2);
        program.share(Phase::PROCESSING, 8).share(Phase::EGRESS, 1)
    });
    bench.drains(phased("a", Phase::INGRESS), "a", 99);
    bench.drains(phased("b", Phase::PROCESSING), "b", 99);
    bench.drains(phased("c", Phase::PROCESSING), "c", 99);
    bench.drains(phased("d", Phase::EGRESS), "d", 99);
    bench.go();
    bench.trigger.cancel();
    bench.go();
    let report = bench.pass(99).expect("the end");
    let drains: Vec<_> = report.subsystems.iter().map(|s| s.drain.unwrap()).collect();
    // Of 20 s a tenth, of 18 eight ninths, and what is left.
    assert_eq!(drains, [s(2), s(16), s(16), s(2)]);
    assert_eq!(report.took, s(20));
    assert_eq!(report.forced().count(), 4);
}

#[test]
fn no_part_of_the_budget_is_no_time() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.budget(s(9)).share(Phase::INGRESS, 0));
    bench.drains(phased("a", Phase::INGRESS), "a", 1);
    bench.drains(phased("b", Phase::EGRESS), "b", 5);
    bench.go();
    bench.trigger.cancel();
    bench.go();
    let report = bench.pass(99).expect("the end");
    let drains: Vec<_> = report.subsystems.iter().map(|s| s.drain.unwrap()).collect();
    assert_eq!(drains, [Duration::ZERO, s(5)]);
    let forced: Vec<_> = report.forced().map(|s| &*s.name).collect();
    assert_eq!(forced, ["a"]);
}

#[test]
fn the_lame_duck_takes_no_more_than_the_budget() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.lame_duck(s(20)).budget(s(5)));
    bench.drains("http".into(), "http", 0);
    bench.go();
    bench.trigger.cancel();
    assert!(bench.go().is_none() && bench.pass(4).is_none());
    let report = bench.pass(1).expect("the end");
    assert_eq!(report.took, s(5));
}

#[test]
fn who_has_ended_before_has_no_share() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.budget(s(10)));
    bench.drains(phased("http", Phase::INGRESS), "http", 99);
    let worker = phased("worker", Phase::PROCESSING);
    bench.program().add(worker, |_| async { Ok(()) });
    bench.go();
    bench.trigger.cancel();
    bench.go();
    let report = bench.pass(10).expect("the end");
    assert_eq!(names(&report), ["worker", "http"]);
    assert_eq!(report.subsystems[0].drain, None);
    assert_eq!(report.subsystems[1].drain, Some(s(10)));
}

#[test]
fn a_timer_that_ends_early_ends_nothing_early() {
    /// Its first sleeps end at once.
    #[derive(Clone)]
    struct Hasty(ManualClock, Arc<AtomicUsize>);
    impl Clock for Hasty {
        fn now(&self) -> Instant {
            self.0.now()
        }
    }
    impl Timer for Hasty {
        type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;
        fn sleep_until(&self, at: Instant) -> Self::Sleep {
            match self.1.fetch_add(1, Ordering::SeqCst) < 3 {
                true => Box::pin(ready(())),
                false => Box::pin(self.0.sleep_until(at)),
            }
        }
    }
    let (clock, trigger) = (ManualClock::new(), CancellationToken::new());
    let timer = Hasty(clock.clone(), Arc::default());
    let mut program = Coordinator::<&str, _>::new(timer, &trigger)
        .lame_duck(s(1))
        .budget(s(3));
    program.add("stuck", |_| pending());
    let mut run = pin!(program.run());
    let mut poll = || {
        let cx = &mut Context::from_waker(Waker::noop());
        (0..9).find_map(|_| match run.as_mut().poll(cx) {
            Poll::Ready(report) => Some(report),
            Poll::Pending => None,
        })
    };
    assert!(poll().is_none());
    trigger.cancel();
    assert!(poll().is_none());
    for _ in 0..2 {
        clock.advance(s(1));
        assert!(poll().is_none());
    }
    clock.advance(s(1));
    let report = poll().expect("the end");
    assert_eq!(report.took, s(3));
    assert_eq!(report.subsystems[0].drain, Some(s(2)));
}

#[test]
fn who_does_not_end_is_forced_at_his_own_grace_and_named() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    let kept = Dropped(log, "stuck");
    let stuck = phased("stuck", Phase::INGRESS).grace(s(3));
    bench.program().add(stuck, |cx| async move {
        let _kept = kept;
        let child = cx.handle().child().name("upload");
        drop(child.spawn_graceful(|_| pending::<Result<(), _>>()));
        pending().await
    });
    bench.drains(phased("slow", Phase::INGRESS).grace(s(9)), "slow", 5);
    bench.drains(phased("store", Phase::EGRESS), "store", 0);
    bench.go();
    bench.trigger.cancel();
    bench.go();
    assert!(bench.pass(2).is_none());
    log.take();
    assert!(bench.pass(1).is_none());
    assert_eq!(log.take(), ["stuck dropped"]);
    let report = bench.pass(2).expect("the end");
    assert_eq!(log.take(), ["slow done", "store told", "store done"]);
    let stuck = &report.subsystems[0];
    assert!(matches!(stuck.end, End::Forced));
    let mut names: Vec<_> = stuck.report.forced().map(|c| c.name.as_deref()).collect();
    names.sort();
    assert_eq!(names, [Some("stuck"), Some("upload")]);
    let text = format!("{report:#}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    let first = "shut down (cancelled) in 5s: 1 of 3 subsystems was forced";
    assert_eq!(lines[0], first);
    assert_eq!(report.to_string(), first);
    assert_eq!(lines[1], "  stuck (ingress) was forced after 3s");
    assert!(lines[2].starts_with("    child \""), "{text}");
    assert!(
        lines[3].ends_with("was forced 3s after the cancellation (noticed at once)")
            || lines[3].ends_with("(never noticed)"),
        "{text}"
    );
    assert!(text.contains("child \"upload\" (spawned at "), "{text}");
    assert!(text.contains("tests/shutdown.rs"), "{text}");
    assert_eq!(lines[4], "  slow (ingress) drained in 5s");
    assert_eq!(lines[5], "  store (egress) drained in 0ns");
}

#[test]
fn it_knows_its_deadline_when_it_is_told() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.budget(s(10)));
    bench
        .program()
        .add(Subsystem::new("http").grace(s(4)), |cx| async move {
            assert_eq!(cx.deadline(), None);
            cx.token().cancelled().await;
            log.say(format!("{:?}", cx.deadline()));
            assert_eq!(
                cx.token().reason().map(|r| r.kind()),
                Some(ReasonKind::Shutdown)
            );
            Ok(())
        });
    bench.go();
    bench.clock.advance(s(2));
    bench.trigger.cancel();
    bench.go().expect("the end");
    assert_eq!(log.take(), ["Some(Instant(6s))"]);
}

#[test]
fn a_failure_stops_the_others_in_order_and_is_told() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    let fail = CancellationToken::new();
    let failing = fail.clone();
    bench.drains(phased("out", Phase::EGRESS), "out", 1);
    bench
        .program()
        .add(phased("worker", Phase::PROCESSING), |_| async move {
            failing.cancelled().await;
            Err("disk full")
        });
    bench.drains(phased("http", Phase::INGRESS), "http", 1);
    assert!(bench.go().is_none());
    log.take();
    fail.cancel();
    assert!(bench.go().is_none());
    assert_eq!(log.take(), ["http told"]);
    let report = bench.pass(2).expect("the end");
    assert_eq!(log.take(), ["http done", "out told", "out done"]);
    assert_eq!(
        report.reason.as_ref().map(Reason::kind),
        Some(ReasonKind::SiblingFailed)
    );
    assert_eq!(names(&report), ["worker", "http", "out"]);
    assert_eq!(report.subsystems[0].drain, None);
    assert_eq!(report.exit_code(), Report::FAILED);
    let text = format!("{report:#}");
    let line = text.lines().nth(2).expect("a line for the error");
    assert_eq!(text.lines().nth(1), Some("  worker (processing) failed"));
    assert!(
        line.starts_with("    child \"worker\" (spawned at "),
        "{text}"
    );
    assert!(line.ends_with(" failed: disk full"), "{text}");
    let line = report.subsystems[0].to_string();
    assert!(line.starts_with("worker (processing) failed: child \"worker\" ("));
    assert!(text.contains("1 of 3 subsystems failed"), "{text}");
}

#[test]
fn a_child_of_a_subsystem_that_fails_or_panics_is_its_failure() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    bench.drains(phased("http", Phase::INGRESS), "http", 0);
    bench.program().add("worker", |cx| async move {
        drop(cx.handle().spawn::<(), _>(async { panic!("lost count") }));
        cx.token().cancelled().await;
        log.say("worker told");
        Err("and late")
    });
    let report = bench.go().expect("the end");
    assert!(matches!(&report.subsystems[0].end, End::Panicked(text) if text == "lost count"));
    // The rest was stopped as ever.
    assert_eq!(names(&report), ["worker", "http"]);
    assert!(matches!(report.subsystems[1].end, End::Done));
    assert_eq!(report.exit_code(), Report::FAILED);
    assert!(log.take().contains(&"http told".into()));
    assert!(format!("{report:#}").contains("\n  worker panicked: lost count"));
}

#[test]
fn a_failure_that_is_ignored_is_only_told() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    let health = bench.control().health();
    let worker = Subsystem::new("metrics").on_failure(OnFailure::Ignore);
    bench
        .program()
        .add(worker, |_| async { Err("unreachable") });
    bench.drains("http".into(), "http", 0);
    assert!(bench.go().is_none());
    assert!(health.is_ready());
    bench.trigger.cancel();
    let report = bench.go().expect("the end");
    assert!(matches!(&report.subsystems[0].end, End::Failed(f) if f.errors().count() == 1));
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn an_error_while_it_drains_counts_and_a_plain_child_that_is_cut_does_not() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    bench.program().add("cut", |cx| async move {
        drop(cx.handle().spawn(pending::<Result<(), _>>()));
        cx.token().cancelled().await;
        Ok(())
    });
    bench.program().add("flush", |cx| async move {
        cx.token().cancelled().await;
        Err("connection reset")
    });
    bench.go();
    bench.trigger.cancel();
    let report = bench.go().expect("the end");
    assert_eq!(names(&report), ["flush", "cut"]);
    assert!(matches!(report.subsystems[0].end, End::Failed(_)));
    assert!(matches!(report.subsystems[1].end, End::Done));
    assert_eq!(report.exit_code(), Report::FAILED);
}

#[test]
fn a_second_call_and_the_token_of_force_leave_no_time() {
    for by_token in [false, true] {
        let log = &Log::default();
        let forced = CancellationToken::new();
        let mut bench = Bench::with(log, |program| {
            program.lame_duck(s(60)).budget(s(600)).force_on(&forced)
        });
        let control = bench.control();
        bench.drains(phased("http", Phase::INGRESS), "http", 9);
        bench.drains(phased("store", Phase::EGRESS), "store", 0);
        bench.go();
        assert!(control.stop());
        // The trigger is the first call's equal.
        bench.trigger.cancel();
        assert!(bench.go().is_none() && bench.pass(59).is_none());
        log.take();
        match by_token {
            true => forced.cancel(),
            false => assert!(!control.stop()),
        }
        let report = bench.go().expect("the end");
        assert_eq!(report.took, s(59));
        // Still in order.
        assert_eq!(names(&report), ["http", "store"]);
        assert!(report.forced().any(|s| &*s.name == "http"));
        assert_eq!(report.exit_code() & Report::FORCED, Report::FORCED);
    }
}

#[test]
fn force_in_the_middle_of_a_phase_ends_it() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    let control = bench.control();
    bench.drains(phased("http", Phase::INGRESS), "http", 99);
    bench.drains(phased("store", Phase::EGRESS), "store", 99);
    bench.go();
    control.stop();
    assert!(bench.go().is_none() && bench.pass(4).is_none());
    control.force();
    let report = bench.go().expect("the end");
    assert_eq!(report.took, s(4));
    assert_eq!(report.forced().count(), 2);
    assert_eq!(
        report.to_string(),
        "shut down (shutting down) in 4s: 2 of 2 subsystems were forced"
    );
}

#[test]
fn when_all_have_ended_by_themselves_it_ends() {
    let log = &Log::default();
    let mut bench = Bench::with(log, |program| program.lame_duck(s(60)));
    let end = CancellationToken::new();
    for name in ["a", "b"] {
        let end = end.clone();
        bench.program().add(name, |_| async move {
            end.cancelled().await;
            Ok(())
        });
    }
    assert!(bench.go().is_none());
    end.cancel();
    let report = bench.go().expect("the end");
    assert_eq!(report.reason, None);
    assert_eq!(
        report.to_string(),
        "all subsystems ended by themselves: clean"
    );
    assert!(report.subsystems.iter().all(|s| s.drain.is_none()));
}

#[test]
fn dropped_it_drops_the_youngest_first_and_is_not_alive() {
    let log = &Log::default();
    let mut bench = Bench::new(log);
    let health = bench.control().health();
    for name in ["store", "http"] {
        let kept = Dropped(log, name);
        bench.program().add(name, |_| async move {
            let _kept = kept;
            pending().await
        });
    }
    assert!(bench.go().is_none());
    assert!(health.is_live());
    bench.run = None;
    assert_eq!(log.take(), ["http dropped", "store dropped"]);
    assert!(!health.is_live() && !health.is_ready());

    // Nor one that was never run.
    let bench = Coordinator::<&str, _>::new(ManualClock::new(), &CancellationToken::new());
    let health = bench.control().health();
    drop(bench);
    assert!(!health.is_live());
}

#[test]
fn no_item_of_the_queue_is_lost() {
    let log = &Log::default();
    let (queue, done) = (&Mutex::new(Vec::new()), &Mutex::new(Vec::new()));
    let closed = &CancellationToken::new();
    let mut bench = Bench::with(log, |program| program.budget(s(100)));
    let clock = bench.clock.clone();
    bench
        .program()
        .add(phased("listener", Phase::INGRESS), |cx| async move {
            for item in 0.. {
                if cx.token().is_cancelled() {
                    break;
                }
                queue.lock().unwrap().push(item);
                let next = clock.sleep_until(clock.now() + s(1));
                let _ = cx.token().run_until_cancelled(next).await;
            }
            closed.cancel();
            Ok(())
        });
    let clock = bench.clock.clone();
    bench
        .program()
        .add(phased("worker", Phase::PROCESSING), |cx| async move {
            loop {
                let item = { queue.lock().unwrap().pop() };
                match item {
                    Some(item) => {
                        clock.sleep_until(clock.now() + s(2)).await;
                        done.lock().unwrap().push(item);
                    }
                    None if closed.is_cancelled() && cx.token().is_cancelled() => return Ok(()),
                    None => clock.sleep_until(clock.now() + s(1)).await,
                }
            }
        });
    assert!(bench.go().is_none() && bench.pass(10).is_none());
    bench.trigger.cancel();
    bench.go();
    let report = bench.pass(99).expect("the end");
    assert_eq!(report.exit_code(), 0, "{report:#}");
    let mut done = std::mem::take(&mut *done.lock().unwrap());
    done.sort_unstable();
    assert_eq!(done, (0..=10).collect::<Vec<_>>());
}

#[test]
fn a_program_may_move_between_threads() {
    fn is_send(_: impl Send) {}
    fn is_shared<T: Clone + Send + Sync>(_: T) {}
    let program = Coordinator::<&str, _>::new(ManualClock::new(), &CancellationToken::new());
    is_shared(program.control());
    is_shared(program.control().health());
    is_send(program.run());
}

#[test]
fn an_observer_sees_the_subsystems_as_scopes() {
    use umbel::{ObservedScope, Observer, Stats};
    struct Eye<'a>(&'a Log);
    impl Observer for Eye<'_> {
        fn cancelled(&self, scope: &ObservedScope<'_>, reason: &Reason) {
            self.0.say(format!("{scope} cancelled: {reason}"));
        }
        fn closed(&self, scope: &ObservedScope<'_>, _: &Stats) {
            self.0.say(format!("{scope} closed"));
        }
    }
    let (log, seen) = (&Log::default(), &Log::default());
    let eye = &Eye(seen);
    let mut bench = Bench::with(log, |program| program.observer(eye));
    bench.drains("http".into(), "http", 0);
    bench.go();
    bench.trigger.cancel();
    bench.go().expect("the end");
    assert_eq!(
        seen.take(),
        [
            "scope \"http\" cancelled: shutting down",
            "scope \"http\" closed",
            "scope \"shutdown\" closed"
        ]
    );
}
