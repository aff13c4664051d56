//! The sum of one file. Blocks; for the blocking pool.

use crate::console::Console;
use crate::line::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use umbel::CancellationToken;

/// A file told to stop does so before its next chunk: a fraction of a millisecond of hashing.
const CHUNK: usize = 128 * 1024;

thread_local! {
    /// One buffer for each thread of the pool, so at most one for each job, not one for each file.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// The SHA-256 sum of the file's bytes, or `None` if `stop` was cancelled before the last chunk.
pub(crate) fn file(
    path: &Path,
    stop: &CancellationToken,
    console: &Console,
) -> io::Result<Option<Digest>> {
    if stop.is_cancelled() {
        return Ok(None);
    }
    let mut file = open(path)?;
    let mut sha = Sha256::new();
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            match file.read(buffer) {
                Ok(0) => return Ok(Some(sha.finalize().into())),
                Ok(n) => {
                    sha.update(&buffer[..n]);
                    console.bytes(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if stop.is_cancelled() {
                return Ok(None);
            }
        }
    })
}

/// Opens a regular file and nothing else, also if the walk saw one and something else is there by
/// now: a link is not followed, and `NONBLOCK` keeps the open of a FIFO from waiting for a writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(fd.into()),
        _ => Err(io::Error::other("not a regular file any more")),
    }
}
