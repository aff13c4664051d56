//! A client that tells what became of a request: a whole answer, a clean refusal, or a loss.
//!
//! Load tools count a connection that ends as an error, whether half an answer was on it or a request that
//! the server never saw; so this is written by hand, on the standard library alone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes.
const WATCHDOG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By this status, to its last byte.
    Whole(u16),
    /// No connection, or the end of it before the first byte of an answer. (That the server had not
    /// begun it then, is for the server to say: it counts what it has begun.)
    Refused,
    /// Anything else.
    Lost,
}

/// Keeps its connection as long as it may.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Client {
            address,
            stream: None,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    pub(crate) fn get(&mut self, path: &str) -> Outcome {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Outcome {
        let len = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {len}\r\n\r\n");
        self.ask(&(head + body))
    }

    fn ask(&mut self, request: &str) -> Outcome {
        match self.send(request.as_bytes()) {
            Ok(()) => self.read_answer(),
            Err(_) => {
                self.stream = None;
                Outcome::Refused
            }
        }
    }

    pub(crate) fn connect(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(WATCHDOG))?;
            self.stream = Some(BufReader::new(stream));
        }
        Ok(self.stream.as_mut().expect("it was made above"))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connect()?.get_mut().write_all(bytes)
    }

    pub(crate) fn read_answer(&mut self) -> Outcome {
        let Some(mut stream) = self.stream.take() else {
            return Outcome::Refused;
        };
        match stream.fill_buf() {
            Ok([]) => return Outcome::Refused,
            Ok(_) => {}
            Err(e) => match e.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    return Outcome::Refused;
                }
                _ => return Outcome::Lost,
            },
        }
        match whole(&mut stream) {
            Ok((status, is_last)) => {
                // The server closes, and sends nothing more.
                if is_last && !matches!(stream.fill_buf(), Ok([])) {
                    return Outcome::Lost;
                }
                self.stream = (!is_last).then_some(stream);
                Outcome::Whole(status)
            }
            Err(_) => Outcome::Lost,
        }
    }
}

/// Reads an answer with a length or in chunks: its status, and whether it says that it is the last.
fn whole(stream: &mut impl BufRead) -> io::Result<(u16, bool)> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_ascii_lowercase()),
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    };
    let status = line()?;
    let status = status
        .strip_prefix("http/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("no status"))?;
    let (mut length, mut is_last) = (None, false);
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name {
            "content-length" => length = value.parse::<u64>().ok(),
            "connection" => is_last |= value == "close",
            _ => {}
        }
    }
    let length = length.ok_or_else(|| bad("no length"))?;
    let read = io::copy(&mut stream.take(length), &mut io::sink())?;
    match read == length {
        true => Ok((status, is_last)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
