//! Which files there are, in one order that never depends on timing: depth first, and within a
//! directory by the bytes of the names.
//!
//! A directory is read whole, to be sorted, when the walk comes to it. So the memory is that of the
//! names not yet visited in the directories on the way down: at most depth times the largest
//! directory, whatever the number of files. No descriptor stays open between two steps.

use crate::console::Console;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use umbel::{CancellationToken, Cancelled, blocking};

/// What the walk came to.
pub(crate) enum Found {
    /// A regular file, as far as its directory knew.
    File(PathBuf),
    /// A directory or root that cannot be walked; it has been named on standard error.
    Unreadable,
}

/// A walk through several roots, one after the other.
pub(crate) struct Walk {
    roots: std::vec::IntoIter<PathBuf>,
    /// From the root to where the walk is.
    down: Vec<Directory>,
    console: Console,
}

struct Directory {
    path: PathBuf,
    /// Not yet visited, last first.
    names: Vec<(OsString, Kind)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Directory,
}

impl Walk {
    pub(crate) fn new(roots: Vec<PathBuf>, console: Console) -> Self {
        Walk {
            roots: roots.into_iter(),
            down: Vec::new(),
            console,
        }
    }

    /// The next file; `None` after the last.
    pub(crate) async fn next(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Option<Found>, Cancelled> {
        loop {
            let (path, kind) = match self.down.last_mut() {
                None => match self.roots.next() {
                    None => return Ok(None),
                    Some(root) => match self.read(root, stop, |root, _| kind_of(root)).await? {
                        Some(root) => root,
                        None => return Ok(Some(Found::Unreadable)),
                    },
                },
                Some(directory) => match directory.names.pop() {
                    None => {
                        self.down.pop();
                        continue;
                    }
                    Some((name, kind)) => (directory.path.join(name), kind),
                },
            };
            match kind {
                Kind::File => return Ok(Some(Found::File(path))),
                Kind::Directory => match self.read(path, stop, list).await? {
                    Some((path, names)) => self.down.push(Directory { path, names }),
                    None => return Ok(Some(Found::Unreadable)),
                },
            }
        }
    }

    /// Asks the system about `path` on the blocking pool. `None`: the error has been named.
    async fn read<T: Send + 'static>(
        &self,
        path: PathBuf,
        stop: &CancellationToken,
        ask: fn(&Path, &CancellationToken) -> io::Result<T>,
    ) -> Result<Option<(PathBuf, T)>, Cancelled> {
        let console = self.console.clone();
        blocking::run(stop, move |stop| match ask(&path, stop) {
            Ok(answer) => Some((path, answer)),
            Err(e) => {
                console.error(&path, e);
                None
            }
        })
        .await
    }
}

/// What a root is. What would be skipped in a directory is an error here: it was asked for by name.
fn kind_of(root: &Path) -> io::Result<Kind> {
    let stat = rustix::fs::lstat(root)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Kind::File),
        FileType::Directory => Ok(Kind::Directory),
        FileType::Symlink => Err(io::Error::other("a symbolic link, which is not followed")),
        _ => Err(io::Error::other("neither a directory nor a regular file")),
    }
}

/// The files and directories in a directory, last first. Stops early, with some of them, when told
/// to: nobody will visit them.
fn list(path: &Path, stop: &CancellationToken) -> io::Result<Vec<(OsString, Kind)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut dir = Dir::new(rustix::fs::open(path, flags, Mode::empty())?)?;
    let mut names = Vec::new();
    while let Some(entry) = dir.read() {
        if stop.is_cancelled() {
            break;
        }
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let file_type = match entry.file_type() {
            FileType::Unknown => look(&dir, name),
            known => known,
        };
        let kind = match file_type {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            _ => continue,
        };
        names.push((OsStr::from_bytes(name.to_bytes()).to_owned(), kind));
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    names.shrink_to_fit();
    Ok(names)
}

/// For file systems whose directories do not tell the type. What cannot be looked at is taken for a
/// file, so that the attempt to open it names the error.
fn look(dir: &Dir, name: &CStr) -> FileType {
    dir.fd()
        .and_then(|fd| rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW))
        .map_or(FileType::RegularFile, |stat| {
            FileType::from_raw_mode(stat.st_mode)
        })
}
