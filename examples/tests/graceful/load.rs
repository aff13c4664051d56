//! Many clients at once, a SIGTERM in the middle, and an account of every request.

use crate::client::{Client, Outcome};
use crate::harness::{Curl, Ran, Running};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Each has one connection at a time.
const CLIENTS: u64 = 32;

/// Readers of events, each to its last.
const READERS: usize = 2;

/// How many requests have begun when the signal comes; as many clients go on until there is no server.
pub(crate) fn requests() -> u64 {
    let more = env::var("GRACEFUL_REQUESTS").ok();
    more.map_or(2000, |n| n.parse().expect("GRACEFUL_REQUESTS is a number"))
}

/// How long all goes on after the signal.
pub(crate) fn lame_duck() -> String {
    let longer = env::var("GRACEFUL_LAME_DUCK").ok();
    format!("--lame-duck={}", longer.as_deref().unwrap_or("300ms"))
}

/// What the clients saw. Plain counts: Relaxed is enough, they are read when the threads have ended.
#[derive(Debug, Default)]
struct Seen {
    begun: AtomicU64,
    whole: AtomicU64,
    accepted: AtomicU64,
    by_503: AtomicU64,
    unheard: AtomicU64,
    no_port: AtomicU64,
    lost: AtomicU64,
}

impl Seen {
    fn count(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Whole(503) => &self.by_503,
            Outcome::Whole(_) => &self.whole,
            Outcome::Refused => &self.unheard,
            Outcome::Lost => &self.lost,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Whole(202) {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Table {
    begun: u64,
    whole: u64,
    accepted: u64,
    by_503: u64,
    unheard: u64,
    no_port: u64,
    lost: u64,
    /// Of those that never end: neither of the above.
    forced: u64,
    /// `None`: the port was closed before anybody had asked.
    ready_off: Option<Duration>,
    drained: Duration,
    ran: Ran,
}

/// Runs clients against it, and ends it when so many requests have begun. One of them may be for
/// `/stubborn`; then a second signal ends it, when all others have their ends.
pub(crate) fn run(server: Running, requests: u64, stubborn: bool) -> Table {
    let seen = Seen::default();
    let address = server.address();
    let mut never = stubborn.then(|| {
        let mut never = Client::new(address);
        let request = b"GET /stubborn HTTP/1.1\r\nhost: test\r\n\r\n";
        never.send(request).expect("the server runs");
        never
    });
    let readers = [(); READERS].map(|()| Curl::start(&[&server.url("/events")]));
    let (begin, ready_off) = thread::scope(|scope| {
        let (enough, middle) = mpsc::channel();
        for _ in 0..CLIENTS {
            let (enough, seen) = (enough.clone(), &seen);
            scope.spawn(move || {
                let due = || enough.send(()).expect("the test waits for it");
                ask_on(address, seen, requests, due);
            });
        }
        middle.recv().expect("a client has sent it");
        server.terminate();
        let begin = Instant::now();
        let ready_off = until_not_ready(address, &seen).then(|| begin.elapsed());
        (begin, ready_off)
    });
    for reader in readers {
        let got = reader.end();
        seen.begun.fetch_add(1, Ordering::Relaxed);
        let said_goodbye = got.code == 0 && got.body.contains("event: goodbye\n");
        seen.count(match (got.status, said_goodbye) {
            (200, true) => Outcome::Whole(200),
            (503, _) => Outcome::Whole(503),
            (0, _) => Outcome::Refused,
            _ => Outcome::Lost,
        });
    }
    if stubborn {
        server.terminate();
    }
    let ran = server.end();
    let drained = begin.elapsed();
    let mut forced = 0;
    if let Some(never) = &mut never {
        seen.begun.fetch_add(1, Ordering::Relaxed);
        match never.read_answer() {
            Outcome::Refused => forced += 1,
            other => panic!("it was not to end: {other:?}"),
        }
    }
    let of = |count: AtomicU64| count.into_inner();
    Table {
        begun: of(seen.begun),
        whole: of(seen.whole),
        accepted: of(seen.accepted),
        by_503: of(seen.by_503),
        unheard: of(seen.unheard),
        no_port: of(seen.no_port),
        lost: of(seen.lost),
        forced,
        ready_off,
        drained,
        ran,
    }
}

/// One client: asks one thing after another until nobody listens any more.
fn ask_on(address: SocketAddr, seen: &Seen, requests: u64, due: impl Fn()) {
    let mut client = Client::new(address);
    loop {
        let number = seen.begun.fetch_add(1, Ordering::Relaxed) + 1;
        if number == requests {
            due();
        }
        if let Err(e) = client.connect() {
            match e.kind() {
                ErrorKind::ConnectionRefused => {
                    seen.no_port.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                // In the moment in which the port is closed.
                ErrorKind::ConnectionReset => seen.count(Outcome::Refused),
                _ => seen.count(Outcome::Lost),
            }
            continue;
        }
        seen.count(match number % 16 {
            0 => client.post("/work", "an item"),
            1 => client.get("/slow?ms=2"),
            _ => client.get("/fast"),
        });
    }
}

/// Asks until the answer is no; false if there is none.
fn until_not_ready(address: SocketAddr, seen: &Seen) -> bool {
    let mut client = Client::new(address);
    loop {
        seen.begun.fetch_add(1, Ordering::Relaxed);
        let outcome = client.get("/readyz");
        seen.count(outcome);
        match outcome {
            Outcome::Whole(200) => {}
            outcome => return outcome == Outcome::Whole(503),
        }
    }
}

impl Table {
    /// Each request was answered whole, or had not begun; but for those that were forced.
    pub(crate) fn assert_nobody_is_lost(&self) {
        let ends = [
            self.whole,
            self.by_503,
            self.unheard,
            self.no_port,
            self.lost,
            self.forced,
        ];
        assert_eq!(self.begun, ends.iter().sum(), "{self}");
        assert_eq!(self.lost, 0, "{self}");
        // What the clients saw refused, the server has never begun; and what it has, they saw.
        assert_eq!(
            self.ran.count(" begun, "),
            self.whole + self.by_503 + self.forced,
            "{self}"
        );
        assert_eq!(
            self.ran.count(" answered ("),
            self.whole + self.by_503,
            "{self}"
        );
        assert_eq!(self.ran.count(" by 503)"), self.by_503, "{self}");
        assert_eq!(self.ran.count(" left by their clients"), 0, "{self}");
        assert_eq!(self.ran.count(" cut\n"), self.forced, "{self}");
        // Each item that a client was told of is in the account.
        assert_eq!(self.ran.count(" accepted = "), self.accepted, "{self}");
        assert_eq!(self.ran.count(" done + "), self.accepted, "{self}");
        match self.forced {
            0 => self.ran.assert_code(0).assert_says(": clean\n"),
            _ => self
                .ran
                .assert_code(2)
                .assert_says("child \"GET /stubborn\""),
        };
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table {
            by_503,
            unheard,
            no_port,
            ..
        } = self;
        writeln!(f, "| begun | {} |", self.begun)?;
        writeln!(f, "| finished | {} |", self.whole)?;
        writeln!(
            f,
            "| refused | {} ({no_port} no connection, {unheard} closed before any byte, {by_503} by 503) |",
            no_port + unheard + by_503
        )?;
        writeln!(f, "| lost | {} |", self.lost)?;
        match self.ready_off {
            Some(time) => writeln!(f, "| time to ready-off | {time:?} |")?,
            None => writeln!(f, "| time to ready-off | nobody asked in time |")?,
        }
        writeln!(f, "| from the signal to the end | {:?} |", self.drained)?;
        writeln!(f, "| forced | {} |", self.forced)?;
        let at = self.ran.out.find("shut down (").unwrap_or(0);
        write!(f, "{}", &self.ran.out[at..])
    }
}

/// The load tool of that name, as the environment names it.
pub(crate) struct Hey(String);

impl Hey {
    pub(crate) fn wanted() -> Option<Self> {
        env::var("GRACEFUL_HEY").ok().map(Hey)
    }

    /// Until there is no server, and then for a while in vain.
    pub(crate) fn start(&self, url: &str) -> Asking {
        let mut hey = Command::new(&self.0);
        hey.args(["-z", "1h", "-c", &CLIENTS.to_string(), "-t", "0", url]);
        hey.stdin(Stdio::null()).stdout(Stdio::piped());
        Asking(hey.spawn().expect("GRACEFUL_HEY is a program"))
    }
}

/// A `hey` that runs. Killed with the test.
pub(crate) struct Asking(Child);

impl Asking {
    /// What it says when it is interrupted.
    pub(crate) fn end(mut self) -> HeySaw {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        let mut text = String::new();
        let mut out = self.0.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        let at = text.find("Status code").expect("its summary");
        HeySaw(text[at..].trim().to_owned())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The end of its summary: statuses, and errors.
pub(crate) struct HeySaw(String);

impl HeySaw {
    /// Whole answers, of whatever status.
    pub(crate) fn answers(&self) -> u64 {
        let lines = self.0.lines();
        let counts = lines.filter_map(|line| line.trim().strip_suffix(" responses"));
        counts
            .map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }
}

impl fmt::Display for HeySaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
