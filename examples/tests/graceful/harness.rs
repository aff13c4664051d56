//! A running `graceful`, and `curl`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Ends a server or client whose test would otherwise wait for ever.
const WATCHDOG: Duration = Duration::from_secs(300);

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graceful"));
    // One that panics is told to.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// A `graceful` that runs beside the test. Killed with it.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    address: SocketAddr,
    _watchdog: Watchdog,
}

/// What it left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// What was not read before.
    pub(crate) out: String,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command().args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("its first line is {line:?}"));
        Running {
            address: address.parse().unwrap(),
            _watchdog: Watchdog::of(&child),
            child,
            out,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid(&self.child), signal).unwrap();
    }

    /// Reads lines until one has these words.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap() == 0 {
                panic!("it never says {words:?}, but:\n{all}");
            }
            if line.contains(words) {
                return line;
            }
            all += &line;
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), None, "it was killed: {out}");
        Ran {
            code: status.code().unwrap(),
            out,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, except when a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "it says: {}", self.out);
        self
    }

    #[track_caller]
    pub(crate) fn assert_says(&self, words: &str) -> &Self {
        assert!(self.out.contains(words), "no {words:?} in {}", self.out);
        self
    }

    #[track_caller]
    pub(crate) fn assert_not(&self, words: &str) -> &Self {
        assert!(!self.out.contains(words), "{words:?} in {}", self.out);
        self
    }

    /// The number before these words.
    #[track_caller]
    pub(crate) fn count(&self, words: &str) -> u64 {
        let (before, _) = self.out.split_once(words).expect("the words");
        let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse().expect("a number")
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// Kills a process that runs too long. It must go before the process is collected.
struct Watchdog(Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>);

impl Watchdog {
    fn of(child: &Child) -> Self {
        let pid = pid(child);
        let (alive, told) = mpsc::channel();
        let watch = thread::spawn(move || {
            if told.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Watchdog(Some((alive, watch)))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some((alive, watch)) = self.0.take() {
            drop(alive);
            let _ = watch.join();
        }
    }
}

/// A `curl` that runs beside the test. Killed with it.
pub(crate) struct Curl {
    child: Child,
}

/// What it got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Got {
    /// Of curl: 0 if there is a whole answer.
    pub(crate) code: i32,
    /// Of the answer: 0 if there is none.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks, and waits for the answer.
pub(crate) fn curl(args: &[&str]) -> Got {
    Curl::start(args).end()
}

impl Curl {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = Command::new("curl");
        // No proxy, whatever the environment says; each event as it comes.
        command.args(["-qsSiN", "--noproxy", "*", "--max-time"]);
        command.arg(WATCHDOG.as_secs().to_string());
        command.args(args).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().expect("curl is installed");
        Curl { child }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn end(mut self) -> Got {
        let mut text = String::new();
        let mut out = self.child.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Got {
            code: self.child.wait().unwrap().code().unwrap(),
            status: status.unwrap_or(0),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
