//! The page's server: its files, work to fetch that is slow or endless or fails, and counts of what it
//! sees of that.
//!
//! Connections are children of a nursery on one thread; each carries one request. hyper drops what it
//! has of a request, the future of the answer or its body, as soon as the client has closed the
//! connection, also while nothing is sent. A piece of work counts as open until its last bytes are about
//! to be sent, or until it is so dropped, which is an abort. So who has read the end of one and begins
//! another never has two open.
//!
//! A browser opens six connections to one host and port, so that what it fetches and what it asks for
//! otherwise are served on two.

use anyhow::{Context, Result, bail};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use smol::Timer;
use smol::channel::{self, Receiver, Sender};
use smol::net::{TcpListener, TcpStream};
use smol::stream::{self, Stream, StreamExt};
use smol_hyper::rt::FuturesIo;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs;
use std::net::{self, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;
use umbel::{LocalHandle, LocalNursery};

/// When a connection cannot be accepted (there are too many, for instance) the next try is after that time.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a goodbye takes, and a lease: so that it can be seen.
const GOODBYE: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_millis(200);

const PIECE: &[u8] = &[b'.'; 1024];

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
    /// They are sent counts, as JSON.
    listeners: Vec<Sender<String>>,
}

/// By name.
#[derive(Debug, Default)]
struct Runs(RefCell<HashMap<String, Run>>);

impl Runs {
    fn with<T>(&self, name: &str, f: impl FnOnce(&mut Run) -> T) -> T {
        f(self.0.borrow_mut().entry(name.to_owned()).or_default())
    }

    /// Changes what is counted of a run, and tells its listeners.
    fn count(&self, name: &str, change: impl FnOnce(&mut Counts)) {
        self.with(name, |run| {
            change(&mut run.counts);
            let told = |listener: &Sender<_>| listener.try_send(run.counts.json()).is_ok();
            run.listeners.retain(told);
        });
    }

    /// The counts of a run, now and after each change. Runs that have neither listeners nor work are
    /// forgotten.
    fn listen(&self, name: &str) -> Receiver<String> {
        self.0.borrow_mut().retain(|_, run| {
            run.listeners.retain(|listener| !listener.is_closed());
            !run.listeners.is_empty() || run.counts.open > 0
        });
        let (listener, counts) = channel::unbounded();
        self.with(name, |run| run.listeners.push(listener));
        self.count(name, |_| {});
        counts
    }
}

/// A piece of work that is open, until its drop.
#[derive(Debug)]
struct Open {
    runs: Rc<Runs>,
    run: String,
    n: u32,
    /// As what it counts then: aborted, if nobody says how it ends.
    end: fn(&mut Counts) -> &mut u32,
}

impl Open {
    fn new(runs: &Rc<Runs>, run: &str, n: u32) -> Open {
        runs.count(run, |counts| {
            counts.open += 1;
            counts.peak = counts.peak.max(counts.open);
        });
        Open {
            runs: Rc::clone(runs),
            run: run.to_owned(),
            n,
            end: |counts| &mut counts.aborted,
        }
    }

    fn end(mut self, end: fn(&mut Counts) -> &mut u32) {
        self.end = end;
    }

    /// Waits so long; an error if it is to be cut.
    async fn pause(self, pace: Duration) -> Result<Open> {
        Timer::after(pace).await;
        if self.runs.with(&self.run, |run| run.to_cut.remove(&self.n)) {
            self.end(|counts| &mut counts.failed);
            bail!("cut");
        }
        Ok(self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.runs.count(&self.run, |counts| {
            counts.open -= 1;
            *(self.end)(counts) += 1;
        });
    }
}

/// A piece of work: how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    /// Pieces of [`PIECE`], one at each `pace`.
    pieces: usize,
    pace: Duration,
    /// An error is the answer, after so many.
    fails: bool,
}

impl Work {
    /// `n`: for variety.
    fn new(path: &str, n: u32) -> Option<Work> {
        let vary = n as usize * 7 % 5;
        let (pieces, pace) = match path {
            "/work/quick" => (4 + vary, 50),
            "/work/slow" => (16 + vary * 6, 100),
            "/work/endless" => (1 << 20, 100),
            "/work/failing" => (4, 100),
            // Nothing of it is ever sent.
            #[cfg(test)]
            "/work/silent" => (1, u64::from(u32::MAX)),
            _ => return None,
        };
        Some(Work {
            pieces,
            pace: Duration::from_millis(pace),
            fails: path == "/work/failing",
        })
    }

    async fn answer(self, mut open: Open) -> Result<Answer> {
        let Work { pieces, pace, .. } = self;
        if self.fails {
            for _ in 0..pieces {
                open = open.pause(pace).await?;
            }
            open.end(|counts| &mut counts.failed);
            return whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "");
        }
        let content = stream::try_unfold(Some((open, pieces)), move |left| async move {
            let Some((open, left)) = left else {
                return Ok(None);
            };
            let open = open.pause(pace).await?;
            let left = match left {
                1 => {
                    open.end(|counts| &mut counts.served);
                    None
                }
                left => Some((open, left - 1)),
            };
            Ok(Some((Bytes::from_static(PIECE), left)))
        });
        let size = Some(pieces * PIECE.len());
        answer(StatusCode::OK, "application/octet-stream", size, content)
    }
}

/// Where things are.
#[derive(Debug)]
struct Site {
    written: PathBuf,
    built: PathBuf,
    work: SocketAddr,
    runs: Rc<Runs>,
}

/// Serves the page until the program ends; returns at once, with its address.
pub(crate) fn start(written: &Path, built: &Path, port: u16) -> Result<SocketAddr> {
    let bind = |port| {
        net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(TcpListener::try_from)
            .with_context(|| format!("no port {port}"))
    };
    let (page, work) = (bind(port)?, bind(0)?);
    let (here, there) = (page.local_addr()?, work.local_addr()?);
    let (written, built) = (written.to_owned(), built.to_owned());
    thread::spawn(move || {
        let site = Site {
            written,
            built,
            work: there,
            runs: Rc::default(),
        };
        let server = LocalNursery::<Infallible>::new();
        let connections = server.handle();
        for listener in [page, work] {
            drop(connections.spawn(site.accept(listener, connections.clone())));
        }
        smol::block_on(server.run(async { Ok(()) }))
    });
    Ok(here)
}

impl Site {
    async fn accept<'a>(
        &'a self,
        listener: TcpListener,
        connections: LocalHandle<'a, Infallible>,
    ) -> Result<(), Infallible> {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(connections.spawn(self.serve(stream))),
                Err(error) => {
                    eprintln!("a connection was not accepted: {error}");
                    Timer::after(PAUSE).await;
                }
            }
        }
    }

    /// One connection. That its client is gone, or its answer cut, is no error of ours.
    async fn serve(&self, stream: TcpStream) -> Result<(), Infallible> {
        // Else what is sent in small pieces may wait.
        let _ = stream.set_nodelay(true);
        let _ = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(
                FuturesIo::new(stream),
                service_fn(|request| self.answer(request)),
            )
            .await;
        Ok(())
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer> {
        let (method, uri) = (request.method().as_str(), request.uri());
        let query = uri.query().unwrap_or_default().as_bytes();
        let query: HashMap<_, _> = form_urlencoded::parse(query).collect();
        let run = query.get("run").map_or("", |run| run);
        let n = query.get("n").and_then(|n| n.parse().ok()).unwrap_or(0);
        match (method, uri.path()) {
            ("GET", "/where") => whole(StatusCode::OK, "text/plain", self.work.to_string()),
            ("GET", "/counts") => {
                let counts = self.runs.listen(run);
                let events = counts.map(|counts| Ok(format!("data: {counts}\n\n").into()));
                answer(StatusCode::OK, "text/event-stream", None, events)
            }
            ("POST", "/cut") => {
                self.runs.with(run, |run| run.to_cut.insert(n));
                nothing()
            }
            ("POST", "/goodbye") => self.slowly(run, GOODBYE, |c| c.goodbyes += 1).await,
            ("POST", "/lease/open") => self.slowly(run, LEASE, |c| c.leases_opened += 1).await,
            ("POST", "/lease/close") => self.slowly(run, LEASE, |c| c.leases_closed += 1).await,
            ("GET", path) => match Work::new(path, n) {
                Some(work) => work.answer(Open::new(&self.runs, run, n)).await,
                None => self.file(path),
            },
            _ => not_found(),
        }
    }

    /// Answers after a while; counted before, so that who has the answer finds it counted. Who does not
    /// wait for it is not counted.
    async fn slowly(
        &self,
        run: &str,
        pause: Duration,
        change: impl FnOnce(&mut Counts),
    ) -> Result<Answer> {
        Timer::after(pause).await;
        self.runs.count(run, change);
        nothing()
    }

    fn file(&self, path: &str) -> Result<Answer> {
        let written = WRITTEN.iter().find(|(name, _)| *name == path);
        let file = match (written, BUILT.contains(&path)) {
            (Some((_, file)), _) => self.written.join(file),
            (None, true) => self.built.join(&path[1..]),
            (None, false) => return not_found(),
        };
        let kind = match file.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("wasm") => "application/wasm",
            _ => "application/octet-stream",
        };
        match fs::read(file) {
            Ok(bytes) => whole(StatusCode::OK, kind, bytes),
            Err(_) => not_found(),
        }
    }
}

type Answer = Response<StreamBody<stream::BoxedLocal<Result<Frame<Bytes>>>>>;

/// Without a size: without end.
fn answer(
    status: StatusCode,
    kind: &str,
    size: Option<usize>,
    content: impl Stream<Item = Result<Bytes>> + 'static,
) -> Result<Answer> {
    let mut answer = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    if let Some(size) = size {
        answer = answer.header(CONTENT_LENGTH, size);
    }
    let content = content.map(|bytes| bytes.map(Frame::data)).boxed_local();
    Ok(answer.body(StreamBody::new(content))?)
}

fn whole(status: StatusCode, kind: &str, content: impl Into<Bytes>) -> Result<Answer> {
    let content = content.into();
    let size = Some(content.len());
    answer(status, kind, size, stream::once(Ok(content)))
}

fn nothing() -> Result<Answer> {
    whole(StatusCode::OK, "text/plain", "")
}

fn not_found() -> Result<Answer> {
    let text = "there is no such thing here\n";
    whole(StatusCode::NOT_FOUND, "text/plain", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;

    /// For an answer to come, or to go on: only what hangs takes as long.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

    fn ask(address: SocketAddr, line: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(PATIENCE).unwrap();
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

    fn start_without_files() -> SocketAddr {
        let nowhere = Path::new("no-such-place");
        start(nowhere, nowhere, 0).unwrap()
    }

    #[test]
    fn a_port_that_is_taken_is_told() {
        let taken = start_without_files().port();
        let nowhere = Path::new("no-such-place");
        let error = start(nowhere, nowhere, taken).unwrap_err();
        assert!(error.to_string().contains(&format!("no port {taken}")));
    }

    #[test]
    fn work_is_served_elsewhere_by_the_same() {
        let address = start_without_files();
        let answer = all(ask(address, "GET /where"));
        let work: SocketAddr = answer.lines().last().unwrap().parse().unwrap();
        assert_ne!(address, work);
        let mut counts = ask(address, "GET /counts?run=r");
        assert!(all(ask(work, "GET /work/quick?run=r&n=1")).ends_with("...."));
        wait_for(&mut counts, &[r#""served":1"#]);
    }

    #[test]
    fn counts_what_is_sent_what_is_cut_and_who_leaves() {
        let address = start_without_files();
        let mut counts = ask(address, "GET /counts?run=r");
        wait_for(&mut counts, &[r#""open":0"#, r#""peak":0"#]);
        // Who has read the end of one and begins another never has two open.
        for n in 1..=2 {
            let answer = all(ask(address, &format!("GET /work/quick?run=r&n={n}")));
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.ends_with("...."), "{answer}");
        }
        wait_for(&mut counts, &[r#""open":0,"peak":1,"served":2"#]);

        let mut left = ask(address, "GET /work/endless?run=r&n=3");
        left.read_line(&mut String::new()).unwrap();
        let cut = ask(address, "GET /work/endless?run=r&n=4");
        wait_for(&mut counts, &[r#""open":2,"peak":2"#]);
        drop(left);
        wait_for(&mut counts, &[r#""open":1"#, r#""aborted":1"#]);
        let left = ask(address, "GET /work/endless?run=r&n=5");
        wait_for(&mut counts, &[r#""open":2"#]);
        all(ask(address, "POST /cut?run=r&n=4"));
        wait_for(&mut counts, &[r#""open":1"#, r#""failed":1,"aborted":1"#]);
        all(cut);
        drop(left);
        wait_for(&mut counts, &[r#""open":0"#, r#""failed":1,"aborted":2"#]);
        // What was the most stays so.
        all(ask(address, "GET /work/quick?run=r&n=6"));
        wait_for(&mut counts, &[r#""open":0,"peak":2,"served":3"#]);
        // Another run has counts of its own.
        wait_for(&mut ask(address, "GET /counts?run=s"), &[r#""peak":0"#]);
    }

    #[test]
    fn sees_who_leaves_while_nothing_is_sent() {
        let address = start_without_files();
        let mut counts = ask(address, "GET /counts?run=r");
        let left = ask(address, "GET /work/silent?run=r&n=1");
        wait_for(&mut counts, &[r#""open":1"#]);
        drop(left);
        wait_for(&mut counts, &[r#""open":0"#, r#""aborted":1"#]);
    }

    #[test]
    fn an_answer_that_is_an_error_is_a_failure_and_one_that_is_cut_is_none() {
        let address = start_without_files();
        let mut counts = ask(address, "GET /counts?run=r");
        let answer = all(ask(address, "GET /work/failing?run=r&n=1"));
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        wait_for(&mut counts, &[r#""open":0"#, r#""failed":1"#]);
        // Before it begins: so it is in time.
        all(ask(address, "POST /cut?run=r&n=2"));
        assert_eq!(all(ask(address, "GET /work/failing?run=r&n=2")), "");
        wait_for(&mut counts, &[r#""open":0"#, r#""failed":2"#]);
    }

    #[test]
    fn goodbyes_and_leases_are_counted_for_all_who_listen() {
        let address = start_without_files();
        let listen = || ask(address, "GET /counts?run=r");
        let (mut one, mut other) = (listen(), listen());
        for what in ["lease/open", "goodbye", "lease/close"] {
            let answer = all(ask(address, &format!("POST /{what}?run=r")));
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
        let expected = r#""goodbyes":1,"leasesOpened":1,"leasesClosed":1"#;
        wait_for(&mut one, &[expected]);
        wait_for(&mut other, &[expected]);
    }
}
