//! The page's server: its files, work to fetch that is slow or endless or fails, and counts of what it
//! sees of that.
//!
//! Each connection has a thread and carries one request. A piece of work counts as open until its last
//! bytes are about to be sent, or until its client has closed the connection, which is an abort. So who
//! has read the end of one and begins another never has two open.
//!
//! A browser opens six connections to one host and port, so that what it fetches and what it asks for
//! otherwise are served on two.

use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a listener is written to when nothing changes: so that one who is gone is found.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// For a request to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a goodbye takes, and a lease: so that it can be seen.
const GOODBYE: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_millis(200);

const PIECE: usize = 1024;

/// The page's files: those written by hand, and those made by the build.
const WRITTEN: [(&str, &str); 5] = [
    ("/", "index.html"),
    ("/style.css", "style.css"),
    ("/page.js", "page.js"),
    ("/tree.js", "tree.js"),
    ("/host.js", "host.js"),
];
const BUILT: [&str; 2] = ["/umbel_web.js", "/umbel_web_bg.wasm"];

/// What the server has seen of one run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Counts {
    /// Pieces of work that are being sent.
    open: u32,
    /// The most that were at once.
    peak: u32,
    /// Sent to the end.
    served: u32,
    /// Answered with an error, or cut.
    failed: u32,
    /// Left by the client.
    aborted: u32,
    goodbyes: u32,
    leases_opened: u32,
    leases_closed: u32,
}

impl Counts {
    fn json(&self) -> String {
        let Counts {
            open,
            peak,
            served,
            failed,
            aborted,
            goodbyes,
            leases_opened,
            leases_closed,
        } = self;
        format!(
            r#"{{"open":{open},"peak":{peak},"served":{served},"failed":{failed},"aborted":{aborted},"goodbyes":{goodbyes},"leasesOpened":{leases_opened},"leasesClosed":{leases_closed}}}"#
        )
    }
}

#[derive(Debug, Default)]
struct Run {
    counts: Counts,
    /// Work that is to be cut, by its number.
    to_cut: HashSet<u32>,
    listeners: u32,
}

#[derive(Debug, Default)]
struct Runs {
    by_name: Mutex<HashMap<String, Run>>,
    changed: Condvar,
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Run>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one run, and has its listeners told.
    fn update(&self, name: &str, change: impl FnOnce(&mut Run)) {
        change(self.lock().entry(name.to_owned()).or_default());
        self.changed.notify_all();
    }

    fn count(&self, name: &str, change: impl FnOnce(&mut Counts)) {
        self.update(name, |run| change(&mut run.counts));
    }
}

/// Where things are.
#[derive(Debug)]
struct Site {
    written: PathBuf,
    built: PathBuf,
    work: SocketAddr,
    runs: Runs,
}

/// Serves the page until the program ends; returns at once, with its address.
pub(crate) fn start(written: &Path, built: &Path, port: u16) -> Result<SocketAddr> {
    let bind = |port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("no port {port}"))
    };
    let (page, work) = (bind(port)?, bind(0)?);
    let address = page.local_addr()?;
    let site = Arc::new(Site {
        written: written.to_owned(),
        built: built.to_owned(),
        work: work.local_addr()?,
        runs: Runs::default(),
    });
    for listener in [page, work] {
        let site = Arc::clone(&site);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = Arc::clone(&site);
                thread::spawn(move || {
                    // A client that is gone is no error of ours.
                    let _ = site.serve(&stream);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
    }
    Ok(address)
}

/// A request: its line, split up.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
}

impl Request {
    fn read(mut stream: &TcpStream) -> std::io::Result<Option<Request>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = Vec::new();
        let mut buffer = [0; 1024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut buffer)? {
                0 => return Ok(None),
                n => head.extend_from_slice(&buffer[..n]),
            }
            if head.len() > 64 * 1024 {
                return Ok(None);
            }
        }
        Ok(Request::parse(&String::from_utf8_lossy(&head)))
    }

    /// Nothing in our paths needs to be escaped.
    fn parse(head: &str) -> Option<Request> {
        let mut line = head.lines().next()?.split(' ');
        let (method, target) = (line.next()?, line.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Some(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        })
    }

    fn run(&self) -> &str {
        self.query.get("run").map_or("", String::as_str)
    }

    fn number(&self) -> u32 {
        self.query
            .get("n")
            .and_then(|n| n.parse().ok())
            .unwrap_or_default()
    }
}

/// A piece of work: how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    /// Pieces of [`PIECE`] bytes, one at each `pace`.
    pieces: usize,
    pace: Duration,
    /// An error is the answer, after so many.
    fails: bool,
}

impl Work {
    /// `n`: for variety.
    fn new(kind: &str, n: u32) -> Option<Work> {
        let vary = n as usize * 7 % 5;
        let (pieces, pace) = match kind {
            "quick" => (4 + vary, 50),
            "slow" => (16 + vary * 6, 100),
            "endless" => (1 << 20, 100),
            "failing" => (4, 100),
            _ => return None,
        };
        Some(Work {
            pieces,
            pace: Duration::from_millis(pace),
            fails: kind == "failing",
        })
    }
}

impl Site {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let Some(request) = Request::read(stream)? else {
            return Ok(());
        };
        let run = request.run();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/where") => answer(
                stream,
                "200 OK",
                "text/plain",
                self.work.to_string().as_bytes(),
            ),
            ("GET", "/counts") => self.tell(stream, run),
            ("GET", path) if path.starts_with("/work/") => {
                match Work::new(&path["/work/".len()..], request.number()) {
                    Some(work) => self.work(stream, run, request.number(), work),
                    None => not_found(stream),
                }
            }
            ("GET", path) => self.file(stream, path),
            ("POST", "/cut") => {
                self.runs.update(run, |run| {
                    run.to_cut.insert(request.number());
                });
                nothing(stream)
            }
            ("POST", "/goodbye") => self.slowly(stream, run, GOODBYE, |c| c.goodbyes += 1),
            ("POST", "/lease/open") => self.slowly(stream, run, LEASE, |c| c.leases_opened += 1),
            ("POST", "/lease/close") => self.slowly(stream, run, LEASE, |c| c.leases_closed += 1),
            _ => not_found(stream),
        }
    }

    fn file(&self, stream: &TcpStream, path: &str) -> std::io::Result<()> {
        let written = WRITTEN.iter().find(|(name, _)| *name == path);
        let file = match (written, BUILT.contains(&path)) {
            (Some((_, file)), _) => self.written.join(file),
            (None, true) => self.built.join(&path[1..]),
            (None, false) => return not_found(stream),
        };
        let kind = match file.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("wasm") => "application/wasm",
            _ => "application/octet-stream",
        };
        match fs::read(file) {
            Ok(bytes) => answer(stream, "200 OK", kind, &bytes),
            Err(_) => not_found(stream),
        }
    }

    /// Answers after a while; counted before, so that who has the answer finds it counted.
    fn slowly(
        &self,
        stream: &TcpStream,
        run: &str,
        pause: Duration,
        change: impl FnOnce(&mut Counts),
    ) -> std::io::Result<()> {
        thread::sleep(pause);
        self.runs.count(run, change);
        nothing(stream)
    }

    /// Sends counts, and each change of them, as server-sent events.
    fn tell(&self, mut stream: &TcpStream, run: &str) -> std::io::Result<()> {
        head(stream, "200 OK", "text/event-stream", None)?;
        {
            let mut runs = self.runs.lock();
            runs.retain(|_, run| run.listeners > 0 || run.counts.open > 0);
            runs.entry(run.to_owned()).or_default().listeners += 1;
        }
        let mut last = None;
        let told = loop {
            let counts = {
                let runs = self.runs.lock();
                let same = |runs: &mut HashMap<String, Run>| {
                    runs.get(run).map(|run| &run.counts) == last.as_ref()
                };
                let (runs, _) = self
                    .runs
                    .changed
                    .wait_timeout_while(runs, HEARTBEAT, same)
                    .unwrap_or_else(PoisonError::into_inner);
                runs.get(run)
                    .map(|run| run.counts.clone())
                    .unwrap_or_default()
            };
            let line = match last.as_ref() == Some(&counts) {
                true => ":\n\n".to_owned(),
                false => format!("data: {}\n\n", counts.json()),
            };
            last = Some(counts);
            if let Err(gone) = stream.write_all(line.as_bytes()) {
                break Err(gone);
            }
        };
        self.runs.update(run, |run| run.listeners -= 1);
        told
    }

    fn work(&self, stream: &TcpStream, run: &str, n: u32, work: Work) -> std::io::Result<()> {
        self.runs.count(run, |counts| {
            counts.open += 1;
            counts.peak = counts.peak.max(counts.open);
        });
        let ended = |how: fn(&mut Counts) -> &mut u32| {
            self.runs.count(run, |counts| {
                counts.open -= 1;
                *how(counts) += 1;
            });
        };
        let sent = self.send(stream, run, n, work, &ended);
        if sent.is_err() {
            ended(|counts| &mut counts.aborted);
        }
        sent
    }

    /// Fails if the client is gone before `ended` was called.
    fn send(
        &self,
        mut stream: &TcpStream,
        run: &str,
        n: u32,
        work: Work,
        ended: &dyn Fn(fn(&mut Counts) -> &mut u32),
    ) -> std::io::Result<()> {
        if !work.fails {
            head(
                stream,
                "200 OK",
                "application/octet-stream",
                Some(work.pieces * PIECE),
            )?;
        }
        for piece in 1..=work.pieces {
            wait(stream, work.pace)?;
            let mut runs = self.runs.lock();
            let cut = runs.get_mut(run).is_some_and(|run| run.to_cut.remove(&n));
            drop(runs);
            if cut {
                ended(|counts| &mut counts.failed);
                return Ok(());
            }
            let last = piece == work.pieces;
            if last && work.fails {
                ended(|counts| &mut counts.failed);
                let _ = answer(stream, "503 Service Unavailable", "text/plain", b"");
                return Ok(());
            }
            if last {
                ended(|counts| &mut counts.served);
                let _ = stream.write_all(&[b'.'; PIECE]);
                return Ok(());
            }
            if !work.fails {
                stream.write_all(&[b'.'; PIECE])?;
            }
        }
        Ok(())
    }
}

/// Waits for so long; an error if the client goes away meanwhile.
fn wait(mut stream: &TcpStream, pause: Duration) -> std::io::Result<()> {
    stream.set_read_timeout(Some(pause))?;
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
            // More of a request: not ours to read.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn head(
    mut stream: &TcpStream,
    status: &str,
    kind: &str,
    size: Option<usize>,
) -> std::io::Result<()> {
    let size = size.map_or_else(String::new, |size| format!("content-length: {size}\r\n"));
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{size}cache-control: no-store\r\n\
         access-control-allow-origin: *\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())
}

fn answer(mut stream: &TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    head(stream, status, kind, Some(body.len()))?;
    stream.write_all(body)
}

fn nothing(stream: &TcpStream) -> std::io::Result<()> {
    answer(stream, "200 OK", "text/plain", b"")
}

fn not_found(stream: &TcpStream) -> std::io::Result<()> {
    answer(
        stream,
        "404 Not Found",
        "text/plain",
        b"there is no such thing here\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    fn ask(address: SocketAddr, line: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
        BufReader::new(stream)
    }

    fn all(mut answer: BufReader<TcpStream>) -> String {
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        text
    }

    /// Reads counts until one line has all of `expected`.
    fn wait_for(counts: &mut BufReader<TcpStream>, expected: &[&str]) {
        let mut line = String::new();
        while !expected.iter().all(|part| line.contains(part)) {
            line.clear();
            assert!(counts.read_line(&mut line).unwrap() > 0, "no more counts");
        }
    }

    #[test]
    fn a_request_is_its_line() {
        let request =
            Request::parse("GET /work/slow?run=a-1&n=12 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/work/slow")
        );
        assert_eq!((request.run(), request.number()), ("a-1", 12));
        assert_eq!(Request::parse("nonsense"), None);
    }

    #[test]
    fn files_are_those_of_the_page_and_no_others() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/web/page");
        let address = start(&page, Path::new("no-such-place"), 0).unwrap();
        for (name, _) in WRITTEN {
            let answer = all(ask(address, &format!("GET {name}")));
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{name}: {answer}");
        }
        for name in [
            "/../Cargo.toml",
            "/umbel_web.js",
            "/Cargo.toml",
            "/work/none",
        ] {
            let answer = all(ask(address, &format!("GET {name}")));
            assert!(answer.starts_with("HTTP/1.1 404"), "{name}: {answer}");
        }
    }

    #[test]
    fn counts_what_is_sent_what_is_cut_and_who_leaves() {
        let nowhere = Path::new("no-such-place");
        let address = start(nowhere, nowhere, 0).unwrap();
        let mut counts = ask(address, "GET /counts?run=r");
        assert!(all(ask(address, "GET /work/quick?run=r&n=1")).ends_with("...."));
        wait_for(&mut counts, &[r#""open":0"#, r#""served":1"#]);

        let mut left = ask(address, "GET /work/endless?run=r&n=2");
        left.read_line(&mut String::new()).unwrap();
        let cut = ask(address, "GET /work/endless?run=r&n=3");
        wait_for(&mut counts, &[r#""open":2"#, r#""peak":2"#]);
        drop(left);
        wait_for(&mut counts, &[r#""open":1"#, r#""aborted":1"#]);
        all(ask(address, "POST /cut?run=r&n=3"));
        all(cut);
        wait_for(
            &mut counts,
            &[r#""open":0"#, r#""failed":1"#, r#""served":1"#],
        );
        // Another run has counts of its own.
        wait_for(&mut ask(address, "GET /counts?run=s"), &[r#""peak":0"#]);
    }
}
