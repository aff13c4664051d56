//! N12: who watches a nursery is told everything once, in order; counts tell what is going on.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;
use umbel_core::{
    Clock, Ended, Ending, Failure, Handle, JoinError, LocalNursery, ManualClock, Mark, Nursery,
    ObservedChild, ObservedScope, Observer, Reason, Stats, Timer,
};
use umbel_tests::counting::{allocator_calls, live_bytes};
use umbel_tests::exec::{Gate, Task, yields};

type N<'env> = Nursery<'env, E>;

#[derive(Debug)]
struct E;

impl From<JoinError> for E {
    fn from(_: JoinError) -> E {
        E
    }
}

impl From<Failure<E>> for E {
    fn from(_: Failure<E>) -> E {
        E
    }
}

/// Writes down what it is told, and checks that everybody comes in before and goes out once.
#[derive(Default)]
struct Tape(Mutex<State>);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Scopes that are open, and children that are in, with what they are in.
    open: Vec<Mark>,
    alive: Vec<(Mark, Mark)>,
}

impl Tape {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().lines).join("; ")
    }

    fn is_empty(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.open.is_empty() && state.alive.is_empty()
    }

    fn note(&self, scope: &ObservedScope<'_>, line: String, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().unwrap();
        state.lines.push(line);
        change(&mut state);
        assert!(scope.site().file().ends_with(".rs"));
    }
}

/// The name, or else the number.
fn name(child: &ObservedChild<'_>) -> String {
    let who = child.who();
    match (who.name(), who.id()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(id)) => id.to_string(),
        (None, None) => "?".to_owned(),
    }
}

impl Observer for Tape {
    fn opened(&self, scope: &ObservedScope<'_>) {
        self.note(scope, format!("{scope} opened"), |state| {
            assert!(!state.open.contains(&scope.mark()));
            state.open.push(scope.mark());
        });
    }

    fn cancelled(&self, scope: &ObservedScope<'_>, reason: &Reason) {
        self.note(scope, format!("{scope} cancelled: {reason}"), |state| {
            assert!(state.open.contains(&scope.mark()));
        });
    }

    fn body_ended(&self, scope: &ObservedScope<'_>, how: &Ending<'_>) {
        self.note(scope, format!("body {how}"), |state| {
            assert!(state.open.contains(&scope.mark()));
        });
    }

    fn cleaned_up(&self, scope: &ObservedScope<'_>, who: &Ended<'_>, how: &Ending<'_>) {
        self.note(scope, format!("{who} {how}"), |state| {
            assert!(state.open.contains(&scope.mark()));
        });
    }

    fn closed(&self, scope: &ObservedScope<'_>, stats: &Stats) {
        self.note(scope, format!("{scope} closed"), |state| {
            assert!(state.alive.iter().all(|(_, of)| *of != scope.mark()));
            let open = state.open.len();
            state.open.retain(|mark| *mark != scope.mark());
            assert_eq!(state.open.len() + 1, open);
        });
        assert_eq!((stats.active, stats.queued), (0, 0));
    }

    fn admitted(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        self.note(scope, format!("+{}", name(child)), |state| {
            assert!(state.open.contains(&scope.mark()));
            assert!(!state.alive.contains(&(child.mark(), scope.mark())));
            state.alive.push((child.mark(), scope.mark()));
        });
    }

    fn started(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        assert!(child.who().id().is_some());
        self.note(scope, format!("{} started", name(child)), |state| {
            assert!(state.alive.contains(&(child.mark(), scope.mark())));
        });
    }

    fn told(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, reason: &Reason) {
        assert!(child.is_graceful());
        self.note(scope, format!("{} told: {reason}", name(child)), |state| {
            assert!(state.alive.contains(&(child.mark(), scope.mark())));
        });
    }

    fn ended(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, how: &Ending<'_>) {
        let times = match (child.who().notice(), child.who().drain()) {
            (None, None) => String::new(),
            (notice, drain) => format!(" {notice:?} {drain:?}"),
        };
        self.note(scope, format!("-{} {how}{times}", name(child)), |state| {
            let alive = state.alive.len();
            state.alive.retain(|of| *of != (child.mark(), scope.mark()));
            assert_eq!(state.alive.len() + 1, alive, "it was in, once");
        });
    }
}

fn cancel_and_wait(h: &Handle<'_, E>) -> impl Future<Output = Result<(), E>> + Send {
    h.cancel_with(Reason::shutdown());
    pending()
}

#[test]
fn an_observer_is_told_all_in_order() {
    let tape = Tape::default();
    let n = N::new().name("server").observer(&tape);
    let h = n.handle();
    let mut task = Task::new(n.run(async {
        h.child().name("one").spawn(async { Ok(()) }).await?;
        Ok(())
    }));
    assert_eq!(tape.take(), "");
    task.finish().unwrap();
    assert_eq!(
        tape.take(),
        r#"scope "server" opened; +one; one started; -one ended well; body ended well; scope "server" closed"#
    );
    assert!(tape.is_empty());
}

#[test]
fn an_observer_sees_every_way_to_end() {
    let tape = Tape::default();
    let clock = ManualClock::new();
    let n = N::new()
        .timer(clock.clone())
        .grace(Duration::from_secs(5))
        .observer(&tape)
        .limit(6);
    let h = n.handle();
    let spawn = |name: &'static str| h.child().name(name);
    drop(spawn("plain").spawn(pending::<Result<(), E>>()));
    drop(spawn("good").spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        Ok(())
    }));
    drop(spawn("bad").spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        Err::<(), _>(E)
    }));
    drop(spawn("stuck").spawn_graceful(|_| pending::<Result<(), E>>()));
    let sleeper = clock.clone();
    drop(spawn("slow").spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        sleeper
            .sleep_until(sleeper.now() + Duration::from_secs(2))
            .await;
        Ok(())
    }));
    let stop = h.clone();
    drop(spawn("stopper").spawn(async move { cancel_and_wait(&stop).await }));
    drop(spawn("queued").spawn(pending::<Result<(), E>>()));
    let mut given_up = Task::new(h.child().name("given up").spawn_wait(async { Ok(()) }));
    given_up.stall();
    drop(given_up);

    let mut task = Task::new(n.run::<(), _>(pending()));
    task.stall();
    let began = "a scope opened; +plain; +good; +bad; +stuck; +slow; +stopper; +queued; +given up; \
        plain started; good started; bad started; stuck started; slow started; stopper started";
    let drains = "a scope cancelled: shutting down; \
        -given up was given up by its spawner; -queued was cancelled: shutting down; \
        -stopper was cancelled: shutting down; -plain was cancelled: shutting down; \
        body was cancelled: shutting down; \
        slow told: shutting down; stuck told: shutting down; bad told: shutting down; \
        good told: shutting down";
    let ends = "-good ended well Some(0ns) Some(0ns); -bad failed Some(0ns) Some(0ns)";
    assert_eq!(tape.take(), [began, drains, ends].join("; "));
    let stats = h.stats();
    assert_eq!((stats.active, stats.queued), (2, 0));

    clock.advance(Duration::from_secs(2));
    task.stall();
    assert_eq!(tape.take(), "-slow ended well Some(0ns) Some(2s)");
    clock.advance(Duration::from_secs(3));
    task.finish().unwrap_err();
    assert_eq!(
        tape.take(),
        "-stuck was forced: shutting down None Some(5s); a scope closed"
    );
    assert!(tape.is_empty());

    let stats = h.stats();
    assert_eq!(stats.notice.to_string(), "3 below 1µs");
    assert_eq!(
        stats.drain.to_string(),
        "2 below 1µs, 1 below 2.097152s, 1 below 8.388608s"
    );
    assert_eq!(stats.drain.count(), 4);
    assert_eq!(stats.drain.percentile(50), Some(Duration::from_micros(1)));
    assert_eq!(
        stats.drain.percentile(51),
        Some(Duration::from_micros(1 << 21))
    );
}

#[test]
fn an_observer_is_told_of_cleanups_and_sections() {
    let tape = Tape::default();
    let n = N::new().observer(&tape);
    let h = n.handle();
    let mut task = Task::new(n.run::<(), _>(async {
        h.child().name("pool").defer(async { Err(E) }).unwrap();
        h.child().name("lock").release(()).unwrap();
        h.defer(pending()).unwrap();
        h.cancel();
        pending().await
    }));
    task.stall();
    let seen = {
        let mut asked = Task::new(h.snapshot());
        asked.stall();
        task.stall();
        asked.finish()
    };
    assert_eq!(
        seen.to_string(),
        "scope: cleaning up\n├─ a cleanup: running\n\
         ├─ cleanup \"lock\": deferred\n└─ cleanup \"pool\": deferred\n"
    );
    h.force();
    task.finish().unwrap_err();
    assert_eq!(
        tape.take(),
        "a scope opened; a scope cancelled: cancelled; body was cancelled; \
         a cleanup was forced; cleanup \"lock\" ended well; cleanup \"pool\" failed; a scope closed"
    );
}

#[test]
fn a_scope_has_the_observer_of_the_nursery_around_it() {
    struct Links(Mutex<Vec<(Option<Mark>, Mark)>>);
    impl Observer for Links {
        fn opened(&self, scope: &ObservedScope<'_>) {
            self.0.lock().unwrap().push((None, scope.mark()));
        }
        fn admitted(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
            if let Some(inner) = child.scope() {
                self.0.lock().unwrap().push((Some(scope.mark()), inner));
            }
        }
    }
    let (links, tape) = (Links(Mutex::default()), Tape::default());
    let n = N::new().observer(&links);
    let h = n.handle();
    let run = n.run(async {
        h.scope::<_, E, _>(|n| n.run(async { Ok(()) })).await?;
        // One with its own keeps that.
        Ok(
            h.scope::<_, E, _>(|n| n.observer(&tape).run(async { Ok(()) }))
                .await?,
        )
    });
    Task::new(run).finish().unwrap();
    let links = links.0.into_inner().unwrap();
    let &[(None, root), (Some(a), inner), (None, opened), (Some(b), _)] = &links[..] else {
        panic!("{links:?}")
    };
    assert_eq!((a, b, inner), (root, root, opened));
    assert_eq!(
        tape.take(),
        "a scope opened; body ended well; a scope closed"
    );
}

#[test]
fn a_dropped_nursery_tells_how_all_ended() {
    let tape = Tape::default();
    let n = N::new().observer(&tape).limit(2);
    let h = n.handle();
    drop(h.child().name("a").spawn(pending::<Result<(), E>>()));
    drop(
        h.child()
            .name("b")
            .spawn_graceful(|_| pending::<Result<(), E>>()),
    );
    drop(h.child().name("c").spawn(pending::<Result<(), E>>()));
    let mut task = Task::new(n.run::<(), _>(pending()));
    task.stall();
    assert_eq!(h.stats().active, 2);
    assert_eq!(h.stats().queued, 1);
    // On its way when the nursery goes.
    drop(h.spawn(pending::<Result<(), E>>()));
    tape.take();
    drop(task);
    assert_eq!(
        tape.take(),
        "-c was dropped with its nursery; -b was dropped with its nursery; \
         -a was dropped with its nursery; body was dropped with its nursery; a scope closed"
    );
    assert!(tape.is_empty());
    assert_eq!((h.stats().active, h.stats().queued), (0, 0));

    let n = N::new().observer(&tape);
    drop(n.handle().spawn(pending::<Result<(), E>>()));
    drop(n.run::<(), _>(pending()));
    assert_eq!(tape.take(), "", "it was never polled");
}

#[test]
fn dropped_at_any_poll_a_nursery_tells_the_end_of_each() {
    for polls in 0.. {
        let tape = Tape::default();
        let n = LocalNursery::<E>::new().limit(2).observer(&tape);
        let h = n.handle();
        let mut task = Task::new(n.run(async {
            let inner = h.scope::<_, E, _>(|n| {
                let h = n.handle();
                n.run(async move {
                    drop(h.spawn(yields_ok(2)));
                    yields_ok(1).await
                })
            });
            drop(h.spawn(yields_ok(3)));
            h.spawn_wait(yields_ok(1)).await?.await?;
            drop(h.spawn_graceful(|_| yields_ok(2)));
            yields_ok(1).await?;
            h.cancel();
            inner.await?;
            Ok(())
        }));
        let ended = (0..polls).any(|_| task.poll().is_ready());
        drop(task);
        assert!(tape.is_empty(), "after {polls} polls");
        if ended {
            assert!(polls > 3);
            return;
        }
    }
}

async fn yields_ok(n: usize) -> Result<(), E> {
    yields(n).await;
    Ok(())
}

#[test]
fn an_observer_may_cancel_and_spawn() {
    let polled = AtomicUsize::new(0);
    struct Cancels<'env>(Mutex<Option<Handle<'env, E>>>);
    impl Observer for Cancels<'_> {
        fn started(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>) {
            if child.who().name() == Some("b") {
                let h = self.0.lock().unwrap().clone().unwrap();
                drop(h.spawn::<(), _>(async { panic!("it comes too late") }));
                h.cancel();
            }
        }
    }
    let observer = Cancels(Mutex::default());
    let n = N::new().observer(&observer);
    let h = n.handle();
    drop(h.child().name("b").spawn(poll_fn(|_| {
        polled.fetch_add(1, SeqCst);
        Poll::Ready(Ok(()))
    })));
    *observer.0.lock().unwrap() = Some(h.clone());
    Task::new(n.run(async { Ok(()) })).finish().unwrap_err();
    assert_eq!((h.stats().started, h.stats().cancelled), (1, 2));
    assert_eq!(polled.load(SeqCst), 0);
}

#[test]
fn a_panic_of_an_observer_is_as_one_of_a_child() {
    /// Panics at the `n`th thing that it is told.
    struct Panics(Mutex<usize>);
    impl Panics {
        fn at(&self) {
            let mut left = self.0.lock().unwrap();
            let now = *left;
            *left = now.wrapping_sub(1);
            drop(left);
            assert!(now != 0, "observer");
        }
    }
    impl Observer for Panics {
        fn opened(&self, _: &ObservedScope<'_>) {
            self.at();
        }
        fn cancelled(&self, _: &ObservedScope<'_>, _: &Reason) {
            self.at();
        }
        fn body_ended(&self, _: &ObservedScope<'_>, _: &Ending<'_>) {
            self.at();
        }
        fn closed(&self, _: &ObservedScope<'_>, _: &Stats) {
            self.at();
        }
        fn admitted(&self, _: &ObservedScope<'_>, _: &ObservedChild<'_>) {
            self.at();
        }
        fn started(&self, _: &ObservedScope<'_>, _: &ObservedChild<'_>) {
            self.at();
        }
        fn told(&self, _: &ObservedScope<'_>, _: &ObservedChild<'_>, _: &Reason) {
            self.at();
        }
        fn ended(&self, _: &ObservedScope<'_>, _: &ObservedChild<'_>, _: &Ending<'_>) {
            self.at();
        }
    }
    for n in 0.. {
        let observer = Panics(Mutex::new(n));
        let tape = Tape::default();
        let nursery = N::new().limit(3).observer(&observer);
        let h = nursery.handle();
        let spawn = || {
            let inner = h.scope::<_, E, _>(|n| n.observer(&tape).run(async { Ok(()) }));
            drop(inner);
            drop(h.spawn(async { Err::<(), _>(E) }));
            drop(h.spawn_graceful(|cx| async move {
                cx.token().cancelled().await;
                Ok(())
            }));
            drop(h.spawn(pending::<Result<(), E>>()));
        };
        spawn();
        let mut task = Task::new(nursery.run::<(), _>(pending()));
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(task.finish()))).is_err();
        assert!(tape.is_empty(), "event {n}");
        assert!(
            h.report().is_some(),
            "after event {n} it did not come to its end"
        );
        assert_eq!(h.stats().active, 0);
        if !panicked {
            assert!(n > 12, "{n} events");
            return;
        }
    }
}

#[test]
fn to_be_told_costs_no_allocation() {
    struct Counts(Mutex<usize>);
    impl Observer for Counts {
        fn started(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>) {
            *self.0.lock().unwrap() += child.who().name().map_or(0, str::len);
        }
        fn ended(&self, _: &ObservedScope<'_>, child: &ObservedChild<'_>, _: &Ending<'_>) {
            *self.0.lock().unwrap() += child.who().name().map_or(0, str::len);
        }
    }
    let calls = |observer: Option<&Counts>| {
        let mut n = N::new();
        if let Some(observer) = observer {
            n = n.observer(observer);
        }
        let (h, gate) = (n.handle(), Gate::new());
        // A name that would have to be allocated to be copied.
        drop(h.child().name("x".repeat(100)).spawn({
            let pass = gate.pass();
            async {
                pass.await;
                Ok(())
            }
        }));
        let mut task = Task::new(n.run(async { Ok(()) }));
        let before = allocator_calls();
        task.stall();
        let begun = allocator_calls() - before;
        gate.open();
        let before = allocator_calls();
        task.finish().unwrap();
        (begun, allocator_calls() - before)
    };
    let observer = Counts(Mutex::new(0));
    // Once to warm up what is made lazily.
    calls(None);
    assert_eq!(calls(Some(&observer)), calls(None));
    assert_eq!(*observer.0.lock().unwrap(), 200);
}

#[test]
fn reading_the_counts_allocates_nothing() {
    let clock = ManualClock::new();
    let n = N::new().timer(clock);
    let h = n.handle();
    drop(h.spawn_graceful(|cx| async move {
        cx.token().cancelled().await;
        Ok(())
    }));
    let mut task = Task::new(n.run(async { Ok(()) }));
    task.stall();
    let before = allocator_calls();
    let stats = h.stats();
    assert_eq!(allocator_calls(), before);
    assert_eq!(
        (stats.active, stats.started, stats.drain.count()),
        (1, 1, 0)
    );
    assert_eq!(stats.drain.percentile(50), None);
    assert_eq!(stats.drain.to_string(), "none");
    h.cancel();
    task.finish().unwrap();
    let before = allocator_calls();
    let stats = h.stats();
    assert_eq!(allocator_calls(), before);
    assert_eq!((stats.active, stats.done, stats.drain.count()), (0, 1, 1));
}

/// The block of a child that was given no option is as large as before there were any.
#[test]
fn a_plain_child_has_no_room_for_comforts() {
    let block = |n: N<'_>| {
        let h = n.handle();
        drop(h.spawn(pending::<Result<(), E>>()));
        let before = live_bytes();
        drop(h.spawn(pending::<Result<(), E>>()));
        live_bytes() - before
    };
    let tape = Tape::default();
    let plain = block(N::new());
    let (observed, aged) = (block(N::new().observer(&tape)), block(N::new().ages()));
    println!("a child's block: {plain} bytes; observed: {observed}; with ages: {aged}");
    if cfg!(target_pointer_width = "64") {
        assert_eq!(plain, 88);
    }
    assert!(plain < observed && plain < aged);
}
