//! `umbel::process` with real scripts, on every runtime.
//!
//! A script says "ready" when it has done what the test is about, and is cancelled then, in the poll
//! that reads it. Whether anybody is left is seen by a pipe that all of a script's processes hold:
//! its end is read when the last of them has gone. What never comes is a test that does not end; no
//! length of time is asserted.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::fs;
use std::future::{Future, Ready, poll_fn, ready};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use umbel::async_std::AsyncStdTimer;
use umbel::process::{Ask, Command, Exit, Runtime, Source};
use umbel::smol::SmolTimer;
use umbel::tokio::TokioTimer;
use umbel::{
    CancellationToken, Cancelled, JoinError, JoinErrorKind, LocalNursery, Nursery, Reason,
};

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;

/// Longer than any test: only who waits for it without need is seen by it.
const HOUR: Duration = Duration::from_secs(3600);

/// For those who are to be killed: it does elapse.
const SHORT: Duration = Duration::from_millis(20);

/// A runtime to run the tests on.
trait On {
    type Timer: Runtime<Sleep: Send> + Copy + Send + Sync + 'static;

    fn timer() -> Self::Timer;
    fn block_on<F: Future>(future: F) -> F::Output;
}

struct Smol;

impl On for Smol {
    type Timer = SmolTimer;

    fn timer() -> SmolTimer {
        SmolTimer::new()
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }
}

struct AsyncStd;

impl On for AsyncStd {
    type Timer = AsyncStdTimer;

    fn timer() -> AsyncStdTimer {
        AsyncStdTimer::new()
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}

/// With one thread, and with several.
struct Tokio<const THREADS: usize>;

impl<const THREADS: usize> On for Tokio<THREADS> {
    type Timer = TokioTimer;

    fn timer() -> TokioTimer {
        TokioTimer::new()
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut builder = match THREADS {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        builder.enable_all().build().unwrap().block_on(future)
    }
}

macro_rules! on_every_runtime {
    ($($test:ident)*) => {
        mod smol_ {
            $(#[test] fn $test() { crate::$test::<crate::Smol>(); })*
        }
        mod async_std_ {
            $(#[test] fn $test() { crate::$test::<crate::AsyncStd>(); })*
        }
        mod tokio_one_thread {
            $(#[test] fn $test() { crate::$test::<crate::Tokio<1>>(); })*
        }
        mod tokio_threads {
            $(#[test] fn $test() { crate::$test::<crate::Tokio<2>>(); })*
        }
    };
}

on_every_runtime! {
    who_obeys_is_asked_and_not_killed
    who_does_nothing_about_it_ends_by_the_signal
    who_ignores_it_is_killed_when_the_grace_is_over
    who_is_stopped_hears_it_too
    grandchildren_are_killed_with_it
    grandchildren_that_hold_no_output_end_with_it
    who_ends_and_leaves_others_with_the_output_gives_them_the_grace
    what_others_write_after_its_end_is_read
    a_flood_arrives_whole
    what_is_written_when_asked_arrives_whole
    a_sink_that_waits_keeps_nobody_from_being_asked
    closing_the_standard_input_asks
    a_closure_asks
    the_standard_input_is_empty
    what_is_fed_is_read
    who_does_not_read_its_input_is_no_error
    who_is_fed_and_asked_by_the_end_of_it_has_it_then
    pieces_say_where_they_come_from
    the_status_is_told
    what_cannot_be_started_is_an_error_and_others_lose_nothing
    cancelled_before_it_starts_nothing_is_started
    forced_it_is_killed_and_reaped
    a_sink_that_panics_kills_it
    a_sink_may_stay_on_its_thread
    who_has_left_the_group_is_not_waited_for
    a_thousand_cancelled_runs_leave_nobody
}

/// Says "ready", and waits for a signal. A trap runs between two commands, and these are many.
const READY: &str = "echo ready; while :; do :; done";

/// A script, and how it is run.
struct Script<'a> {
    text: String,
    ask: Ask<'a>,
    grace: Option<Duration>,
    input: Option<String>,
    /// Where the standard error goes, if it is not for the sink.
    errors: Option<OwnedFd>,
}

fn script<'a>(text: impl Into<String>) -> Script<'a> {
    Script {
        text: text.into(),
        ask: Ask::Terminate,
        grace: None,
        input: None,
        errors: None,
    }
}

#[derive(Debug)]
struct Ran {
    exit: Result<Exit, JoinError>,
    said: String,
}

impl Ran {
    /// How it ended, when it has said `said`.
    #[track_caller]
    fn saying(self, said: &str) -> Exit {
        let exit = self.exit.unwrap();
        assert_eq!(self.said, said);
        assert!(!exit.cut);
        exit
    }
}

impl<'a> Script<'a> {
    fn command(self) -> Command<'a> {
        let mut command = Command::new("sh").args(["-c", &self.text]).ask(self.ask);
        if let Some(input) = self.input {
            command = command.input(input);
        }
        if let Some(grace) = self.grace {
            command = command.grace(grace);
        }
        command
    }

    /// Runs it in a nursery, which is cancelled when it says "ready".
    fn run<R: On>(self) -> Ran {
        self.run_and::<R, _>(|_, _| ready(()))
    }

    /// Gives `then` all that has been said, after each piece, and what cancels; and waits for what it
    /// gives.
    fn run_and<R: On, F>(
        mut self,
        mut then: impl FnMut(&str, &CancellationToken) -> F + Send,
    ) -> Ran
    where
        F: Future<Output = ()> + Send,
    {
        let timer = R::timer();
        let (said, stop) = (Mutex::new(String::new()), CancellationToken::new());
        let n = Nursery::<io::Error>::new()
            .timer(timer)
            .grace(HOUR)
            .token(&stop);
        let errors = self.errors.take();
        let sink = |_: Source, piece: &[u8]| {
            let mut said = said.lock().unwrap();
            said.push_str(std::str::from_utf8(piece).unwrap());
            if said.contains("ready\n") {
                stop.cancel();
            }
            then(&said, &stop)
        };
        let mut command = self.command().output(sink);
        if let Some(errors) = errors {
            command = command.stderr(errors);
        }
        let join = n.handle().spawn_graceful(|cx| command.run(cx, timer));
        // Cancelled or not, a child that ends well is no failure.
        R::block_on(n.run(async { Ok(()) })).unwrap();
        let exit = join.now_or_never().unwrap();
        let said = said.lock().unwrap().clone();
        Ran { exit, said }
    }
}

/// A pipe that scripts hold: when its end is read, none of their processes is left.
fn witness() -> (OwnedFd, fs::File) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (writer, reader.into())
}

/// Waits until nobody holds the other end.
fn until_all_are_gone(mut witness: fs::File) {
    let mut said = String::new();
    witness.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

fn who_obeys_is_asked_and_not_killed<R: On>() {
    let exit = script(format!("trap 'echo bye; exit 7' TERM; {READY}")).run::<R>();
    let exit = exit.saying("ready\nbye\n");
    assert_eq!(exit.status.code(), Some(7));
    assert_eq!(exit.asked, Some(Reason::explicit()));
    assert!(!exit.killed);
}

fn who_does_nothing_about_it_ends_by_the_signal<R: On>() {
    let exit = script("echo ready; exec sleep 3600")
        .run::<R>()
        .saying("ready\n");
    assert_eq!(exit.status.signal(), Some(SIGTERM));
    assert!(!exit.killed);
}

fn who_ignores_it_is_killed_when_the_grace_is_over<R: On>() {
    let mut stubborn = script(format!("trap '' TERM; {READY}"));
    stubborn.grace = Some(SHORT);
    let exit = stubborn.run::<R>().saying("ready\n");
    assert_eq!(exit.status.signal(), Some(SIGKILL));
    assert_eq!(exit.asked, Some(Reason::explicit()));
    assert!(exit.killed);
}

fn who_is_stopped_hears_it_too<R: On>() {
    let stopped = "trap 'echo bye; exit' TERM; echo $$; kill -STOP $$; while :; do :; done";
    let ran = script(stopped).run_and::<R, _>(|said, stop| {
        let (stat, stop) = (format!("/proc/{}/stat", said.trim()), stop.clone());
        async move {
            while !stop.is_cancelled() {
                let stat = fs::read_to_string(&stat).unwrap();
                if stat.contains(" (sh) T ") {
                    stop.cancel();
                }
                smol::future::yield_now().await;
            }
        }
    });
    assert!(ran.said.ends_with("\nbye\n"), "{ran:?}");
    ran.exit.unwrap().check().unwrap();
}

/// A child, and one of that, who ignore the signal; the script itself does too.
const FAMILY: &str = "trap '' TERM; sh -c 'sh -c \"sleep 3600; :\"; :'";

fn grandchildren_are_killed_with_it<R: On>() {
    let (errors, witness) = witness();
    let mut family = script(format!("{FAMILY} & {READY}"));
    family.grace = Some(SHORT);
    family.errors = Some(errors);
    let exit = family.run::<R>().saying("ready\n");
    assert!(exit.killed);
    until_all_are_gone(witness);
}

fn grandchildren_that_hold_no_output_end_with_it<R: On>() {
    let (errors, witness) = witness();
    let text = format!("({FAMILY}) >/dev/null & echo ready; exec sleep 3600");
    let mut family = script(text);
    family.errors = Some(errors);
    let exit = family.run::<R>().saying("ready\n");
    assert_eq!(exit.status.signal(), Some(SIGTERM));
    assert!(!exit.killed);
    until_all_are_gone(witness);
}

fn who_ends_and_leaves_others_with_the_output_gives_them_the_grace<R: On>() {
    let (errors, witness) = witness();
    let mut left = script("sleep 3600 & exit 3");
    left.grace = Some(SHORT);
    left.errors = Some(errors);
    let exit = left.run::<R>().saying("");
    assert_eq!((exit.status.code(), exit.asked), (Some(3), None));
    assert!(exit.killed);
    until_all_are_gone(witness);
}

fn what_others_write_after_its_end_is_read<R: On>() {
    // The other one writes when the first has gone: then its parent is another.
    let other = "while [ $(ps -o ppid= -p $me) = $$ ]; do :; done; echo other";
    let text = format!("(me=$(exec sh -c 'echo $PPID'); {other}) & echo first; exit 5");
    let exit = script(text).run::<R>().saying("first\nother\n");
    assert_eq!(exit.status.code(), Some(5));
    assert!(!exit.killed);
}

fn a_flood_arrives_whole<R: On>() {
    let flood = "trap 'echo end $i; exit' TERM; i=0; while :; do echo $i; i=$((i + 1)); done";
    let mut script = script(flood);
    let (heard, pieces, polls) = (AtomicU32::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    script.ask = Ask::with(|process| {
        heard.fetch_add(1, SeqCst);
        process.signal(SIGTERM).unwrap();
    });
    // More than a pipe holds.
    let (timer, polls) = (R::timer(), &polls);
    let (said, stop) = (Mutex::new(Vec::new()), CancellationToken::new());
    let n = Nursery::<io::Error>::new()
        .timer(timer)
        .grace(HOUR)
        .token(&stop);
    let command = script.command().output(|_, piece: &[u8]| {
        let mut said = said.lock().unwrap();
        said.extend(piece);
        pieces.fetch_add(1, SeqCst);
        if said.len() > 300_000 {
            stop.cancel();
        }
        ready(())
    });
    let join = n.handle().spawn_graceful(|cx| {
        let mut run = Box::pin(command.run(cx, timer));
        poll_fn(move |task| {
            polls.fetch_add(1, SeqCst);
            run.as_mut().poll(task)
        })
    });
    R::block_on(n.run(async { Ok(()) })).unwrap();
    let exit = join.now_or_never().unwrap().unwrap();
    assert!(exit.status.success() && !exit.cut);
    assert_eq!(heard.load(SeqCst), 1);
    let (pieces, polls) = (pieces.load(SeqCst), polls.load(SeqCst));
    assert!(pieces <= polls, "{pieces} pieces in {polls} turns");

    let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
    let (numbers, end) = said.trim_end().rsplit_once('\n').unwrap();
    let lines = numbers.lines().enumerate();
    let count = lines
        .inspect(|(n, line)| assert_eq!(n.to_string(), *line))
        .count();
    let end: usize = end.strip_prefix("end ").unwrap().parse().unwrap();
    assert!(count == end || count == end + 1, "{count} lines, {end}");
}

fn what_is_written_when_asked_arrives_whole<R: On>() {
    let text = format!("trap 'head -c 1000000 /dev/zero; exit' TERM; {READY}");
    let ran = script(text).run::<R>();
    assert_eq!(ran.said.len(), "ready\n".len() + 1_000_000);
    ran.exit.unwrap().check().unwrap();
}

fn a_sink_that_waits_keeps_nobody_from_being_asked<R: On>() {
    let gate = CancellationToken::new();
    let (opened, before) = (gate.clone(), AtomicUsize::new(0));
    let mut script = script(format!("trap 'echo bye; exit' TERM; {READY}"));
    script.ask = Ask::with(|process| {
        process.signal(SIGTERM).unwrap();
        opened.cancel();
    });
    let ran = script.run_and::<R, _>(|_, _| {
        before.fetch_add(usize::from(!gate.is_cancelled()), SeqCst);
        gate.clone().cancelled_owned()
    });
    ran.saying("ready\nbye\n").check().unwrap();
    assert_eq!(before.into_inner(), 1, "one piece at a time");
}

fn closing_the_standard_input_asks<R: On>() {
    let mut script = script("trap '' TERM; echo ready; cat >/dev/null; echo bye; exit 4");
    script.ask = Ask::CloseStdin;
    let exit = script.run::<R>().saying("ready\nbye\n");
    assert_eq!(exit.status.code(), Some(4));
    assert!(!exit.killed && exit.asked.is_some());
}

fn a_closure_asks<R: On>() {
    let id = AtomicU32::new(0);
    let mut script = script(format!("trap '' TERM; trap 'echo $$; exit' USR1; {READY}"));
    script.ask = Ask::with(|process| {
        let error = process.signal(12_345).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        process.signal(SIGUSR1).unwrap();
        id.store(process.id(), SeqCst);
    });
    let ran = script.run::<R>();
    ran.saying(&format!("ready\n{}\n", id.into_inner()));
}

fn the_standard_input_is_empty<R: On>() {
    script("cat; echo end")
        .run::<R>()
        .saying("end\n")
        .check()
        .unwrap();
}

fn what_is_fed_is_read<R: On>() {
    let mut cat = script("cat; echo end");
    // More than the pipes hold: it is written while the output is read.
    cat.input = Some("0123456789".repeat(100_000));
    let ran = cat.run::<R>();
    assert_eq!(ran.said.len(), 1_000_004);
    ran.exit.unwrap().check().unwrap();
}

fn who_does_not_read_its_input_is_no_error<R: On>() {
    let mut head = script("head -c 3");
    head.input = Some("0123456789".repeat(100_000));
    head.run::<R>().saying("012").check().unwrap();
}

fn who_is_fed_and_asked_by_the_end_of_it_has_it_then<R: On>() {
    let mut cat = script("trap '' TERM; cat; echo end");
    cat.input = Some("ready\n".into());
    cat.ask = Ask::CloseStdin;
    let exit = cat.run::<R>().saying("ready\nend\n");
    assert!(exit.asked.is_some() && !exit.killed);
}

fn pieces_say_where_they_come_from<R: On>() {
    let timer = R::timer();
    let said = Mutex::new([String::new(), String::new()]);
    let n = Nursery::<io::Error>::new().timer(timer);
    let command = script("echo a; echo b >&2; echo c").command();
    let command = command.output(|from, piece: &[u8]| {
        let which = usize::from(from == Source::Stderr);
        said.lock().unwrap()[which].push_str(std::str::from_utf8(piece).unwrap());
        ready(())
    });
    drop(n.handle().spawn_graceful(|cx| command.run(cx, timer)));
    R::block_on(n.run(async { Ok(()) })).unwrap();
    assert_eq!(*said.lock().unwrap(), ["a\nc\n", "b\n"]);
}

fn the_status_is_told<R: On>() {
    let exit = script("exit 3").run::<R>().saying("");
    assert_eq!(exit.status.code(), Some(3));
    assert!(exit.asked.is_none() && !exit.killed);
    let error = exit.check().unwrap_err();
    assert_eq!(error.to_string(), "the process ended with exit status: 3");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
    script("exit 0").run::<R>().saying("").check().unwrap();
}

fn what_cannot_be_started_is_an_error_and_others_lose_nothing<R: On>() {
    let timer = R::timer();
    let said = &Mutex::new(String::new());
    let n = Nursery::<io::Error>::new().timer(timer).grace(HOUR);
    let h = n.handle();
    let inner = h.clone();
    let good = script(format!("trap 'echo bye; exit' TERM; {READY}")).command();
    let good = good.output(move |_, piece: &[u8]| {
        if said.lock().unwrap().is_empty() {
            let bad = Command::new("/there/is/no/such/program");
            drop(inner.spawn_graceful(|cx| bad.run(cx, timer)));
        }
        said.lock()
            .unwrap()
            .push_str(std::str::from_utf8(piece).unwrap());
        ready(())
    });
    let join = h.spawn_graceful(|cx| good.run(cx, timer));
    let failure = R::block_on(n.run(async { Ok(()) })).unwrap_err();
    let kinds: Vec<_> = failure.errors().map(|e| e.error.kind()).collect();
    assert_eq!(kinds, [io::ErrorKind::NotFound]);
    let exit = join.now_or_never().unwrap().unwrap();
    assert_eq!(
        exit.asked.as_ref().unwrap().kind(),
        umbel::ReasonKind::SiblingFailed
    );
    assert_eq!(*said.lock().unwrap(), "ready\nbye\n");
}

fn cancelled_before_it_starts_nothing_is_started<R: On>() {
    let n = Nursery::<io::Error>::new();
    let mut given = None;
    drop(n.handle().spawn_graceful(|cx| {
        given = Some(cx);
        async { Ok(()) }
    }));
    n.handle().cancel_with(Reason::custom(3));
    // It would be `NotFound`.
    let run = Command::new("/there/is/no/such/program").run(given.unwrap(), R::timer());
    let error = R::block_on(run).unwrap_err();
    let cancelled = error
        .get_ref()
        .unwrap()
        .downcast_ref::<Cancelled>()
        .unwrap();
    assert_eq!(*cancelled.reason(), Reason::custom(3));
}

fn forced_it_is_killed_and_reaped<R: On>() {
    let timer = R::timer();
    let (errors, witness) = witness();
    let id = AtomicU32::new(0);
    let (stop, force) = (CancellationToken::new(), CancellationToken::new());
    R::block_on(async {
        let n = Nursery::<io::Error>::new()
            .timer(timer)
            .token(&stop)
            .force_on(&force);
        let mut stubborn = script(format!("{FAMILY} & {READY}"));
        stubborn.ask = Ask::with(|process| {
            id.store(process.id(), SeqCst);
            force.cancel();
        });
        let command = stubborn.command().output(|_, _: &[u8]| {
            stop.cancel();
            ready(())
        });
        let command = command.stderr(errors);
        let join = n.handle().spawn_graceful(|cx| command.run(cx, timer));
        n.run(async { Ok(()) }).await.unwrap_err();
        let error = join.now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), JoinErrorKind::Forced);
        until_all_are_gone(witness);
        // Who reaps it may need the runtime.
        while fs::exists(format!("/proc/{}", id.load(SeqCst))).unwrap() {
            smol::future::yield_now().await;
        }
    });
}

fn a_sink_that_panics_kills_it<R: On>() {
    let (errors, witness) = witness();
    let mut family = script(format!("{FAMILY} & {READY}"));
    family.errors = Some(errors);
    let run = AssertUnwindSafe(|| family.run_and::<R, _>(|_, _| -> Ready<()> { panic!("seven") }));
    let payload = catch_unwind(run).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"seven"));
    until_all_are_gone(witness);
}

fn a_sink_may_stay_on_its_thread<R: On>() {
    let (timer, said) = (R::timer(), Rc::new(RefCell::new(Vec::<u8>::new())));
    let theirs = said.clone();
    let n = LocalNursery::<io::Error>::new().timer(timer);
    let command = Command::new("echo").arg("here").output(move |_, piece| {
        theirs.borrow_mut().extend(piece);
        ready(())
    });
    drop(n.handle().spawn_graceful(|cx| command.run(cx, timer)));
    R::block_on(n.run(async { Ok(()) })).unwrap();
    assert_eq!(*said.borrow(), b"here\n");
}

fn who_has_left_the_group_is_not_waited_for<R: On>() {
    let timer = R::timer();
    let (said, stop) = (Mutex::new(String::new()), CancellationToken::new());
    let n = Nursery::<io::Error>::new().timer(timer).token(&stop);
    let text = "setsid sh -c 'echo $$ ready; exec sleep 3600' & exec sleep 3600";
    let command = script(text)
        .command()
        .grace(SHORT)
        .output(|_, piece: &[u8]| {
            let mut said = said.lock().unwrap();
            said.push_str(std::str::from_utf8(piece).unwrap());
            if said.ends_with("ready\n") {
                stop.cancel();
            }
            ready(())
        });
    let join = n.handle().spawn_graceful(|cx| command.run(cx, timer));
    R::block_on(n.run(async { Ok(()) })).unwrap();
    let exit = join.now_or_never().unwrap().unwrap();
    assert!(exit.killed && exit.cut);
    assert_eq!(exit.status.signal(), Some(SIGTERM));
    let said = said.lock().unwrap();
    let left: i32 = said.split(' ').next().unwrap().parse().unwrap();
    // It lives.
    kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
}

/// Whether this is a process that runs the test `name` alone. If not, runs it in one.
fn alone(name: &str) -> bool {
    const MARK: &str = "UMBEL_TEST_PROCESS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Whether this process has any, running or not reaped.
fn has_children() -> bool {
    let me = std::process::id().to_string();
    fs::read_dir("/proc").unwrap().any(|entry| {
        let stat = fs::read_to_string(entry.unwrap().path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: the state and the parent.
        let mut fields = stat.rsplit(") ").next().unwrap().split(' ');
        fields.nth(1) == Some(&me)
    })
}

fn a_thousand_cancelled_runs_leave_nobody<R: On>() {
    const RUNS: usize = 1000;
    const AT_ONCE: usize = 50;
    let scripts = [
        "echo ready; exec sleep 3600",
        "trap '' TERM; echo ready; exec sleep 3600",
        "sleep 3600 & echo ready; exec sleep 3600",
        "trap '' TERM; sleep 3600 >/dev/null & echo ready; sleep 3600",
    ];
    let thread = std::thread::current();
    if !alone(thread.name().unwrap()) {
        return;
    }
    let timer = R::timer();
    let (writer, witness) = witness();
    R::block_on(async {
        let mut begun = 0;
        for batch in 0..RUNS / AT_ONCE {
            let ready_ones = AtomicUsize::new(0);
            let (stop, force) = (CancellationToken::new(), CancellationToken::new());
            let n = Nursery::<io::Error>::new()
                .timer(timer)
                .token(&stop)
                .force_on(&force);
            for run in 0..AT_ONCE {
                let said = |_, _: &[u8]| {
                    // Some have not said it, in other batches all have.
                    if ready_ones.fetch_add(1, SeqCst) + 1 == AT_ONCE - batch {
                        stop.cancel();
                    }
                    ready(())
                };
                let command = Command::new("sh")
                    .args(["-c", scripts[run % scripts.len()]])
                    .grace(Duration::from_millis(1))
                    .output(said)
                    .stderr(writer.try_clone().unwrap());
                // Every other batch is dropped amid the graces.
                let command = command.ask(Ask::with(|process| {
                    let _ = process.signal(SIGTERM);
                    if batch % 2 == 1 {
                        force.cancel();
                    }
                }));
                drop(n.handle().spawn_graceful(|cx| command.run(cx, timer)));
            }
            let h = n.handle();
            let _ = n.run(async { Ok(()) }).await;
            begun += h.stats().started;
        }
        assert_eq!(begun, RUNS);
        drop(writer);
        until_all_are_gone(witness);
        while has_children() {
            smol::future::yield_now().await;
        }
    });
}
