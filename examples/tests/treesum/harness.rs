//! Trees to sum, and a running `treesum` to look at.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

/// Hours of reading.
const HELD: u64 = 1 << 40;

/// Ends a run whose test would otherwise wait for ever, with an exit code that no such test expects.
pub(crate) const WATCHDOG: &str = "--deadline=300s";

/// A directory that goes away with the test.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Tree(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        // As /proc names it.
        self.0.path().canonicalize().unwrap()
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `n` small files, named in walk order: `PREFIX00000`, `PREFIX00001`…
    pub(crate) fn files(&self, prefix: &str, n: usize) {
        for i in 0..n {
            self.file(format!("{prefix}{i:05}"), format!("{prefix} {i}"));
        }
    }

    pub(crate) fn sparse(&self, name: impl AsRef<Path>, size: u64) -> PathBuf {
        let path = self.at(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A file that is read until the test ends, or [`release`] is called.
    pub(crate) fn held(&self, name: impl AsRef<Path>) -> PathBuf {
        self.sparse(name, HELD)
    }
}

/// Lets a held file end: the reader is beyond its new end.
pub(crate) fn release(held: &Path) {
    let file = OpenOptions::new().write(true).open(held).unwrap();
    file.set_len(0).unwrap();
}

/// What a finished run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    /// The names of the files summed, in order. Panics at anything but whole lines.
    #[track_caller]
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.out)
    }

    /// A number from the line of `--stats`.
    #[track_caller]
    pub(crate) fn stat(&self, name: &str) -> usize {
        let (_, rest) = self.err.rsplit_once(&format!("{name} ")).expect("stats");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stderr: {}", self.err);
        self
    }

    #[track_caller]
    pub(crate) fn assert_says(&self, words: &str) -> &Self {
        assert!(self.err.contains(words), "no {words:?} in {}", self.err);
        self
    }
}

#[track_caller]
pub(crate) fn names(out: &[u8]) -> Vec<String> {
    assert!(
        out.is_empty() || out.ends_with(b"\n"),
        "half a line at the end"
    );
    let text = String::from_utf8_lossy(out);
    let name = |line: &str| {
        let (sum, name) = line.split_at_checked(66).expect("a whole line");
        assert!(sum[..64].bytes().all(|b| b.is_ascii_hexdigit()) && sum.ends_with("  "));
        name.to_owned()
    };
    text.lines().map(name).collect()
}

/// Runs to the end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: code(output.status),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn code(status: ExitStatus) -> i32 {
    assert_eq!(status.signal(), None, "treesum was killed");
    status.code().unwrap()
}

/// A `treesum` that runs beside the test. Killed with it.
pub(crate) struct Running {
    child: Child,
    pub(crate) out: Option<BufReader<ChildStdout>>,
    pub(crate) err: Option<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_as_is(command)
    }

    /// With the standard streams that the command has already.
    pub(crate) fn start_as_is(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        Running {
            out: child.stdout.take().map(BufReader::new),
            err: child.stderr.take().map(BufReader::new),
            child,
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id())).join(name)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The regular files below `root` that it has open.
    pub(crate) fn open_files(&self, root: &Path) -> Vec<PathBuf> {
        let Ok(fds) = fs::read_dir(self.proc("fd")) else {
            return Vec::new();
        };
        fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
            .filter(|path| path.starts_with(root) && path.is_file())
            .collect()
    }

    /// Waits until `condition`; panics if the program ends before.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut err = String::new();
                if let Some(stream) = &mut self.err {
                    stream.read_to_string(&mut err).unwrap();
                }
                panic!("it ended too early: {status}, {err}");
            }
            std::thread::yield_now();
        }
    }

    /// Waits until all of `files` are being read.
    #[track_caller]
    pub(crate) fn wait_until_open(&mut self, files: &[&Path]) {
        self.wait_until(|me| {
            let open = me.open_files(Path::new("/"));
            files
                .iter()
                .all(|file| open.iter().any(|path| path == file))
        });
    }

    /// Reads progress from standard error until the bar has been drawn `n` more times.
    pub(crate) fn bars(&mut self, n: usize) -> Vec<String> {
        let err = self.err.as_mut().unwrap();
        let drawn = (0..n).map(|_| {
            let mut text = Vec::new();
            err.read_until(b's', &mut text).unwrap();
            while !text.ends_with(b" files") {
                let got = err.read_until(b's', &mut text).unwrap();
                assert_ne!(got, 0, "it ended: {}", String::from_utf8_lossy(&text));
            }
            String::from_utf8(text).unwrap()
        });
        drawn.collect()
    }

    /// Waits for the end, and reads all that is left to read.
    pub(crate) fn end(mut self) -> Ran {
        // Both are small, or have been read already: neither fills a pipe while we read the other.
        let (mut out, mut err) = (Vec::new(), Vec::new());
        if let Some(stream) = &mut self.out {
            stream.read_to_end(&mut out).unwrap();
        }
        if let Some(stream) = &mut self.err {
            stream.read_to_end(&mut err).unwrap();
        }
        Ran {
            code: self.end_unread(),
            out,
            err: String::from_utf8_lossy(&err).into_owned(),
        }
    }

    /// Waits for the end, reading nothing.
    pub(crate) fn end_unread(&mut self) -> i32 {
        code(self.child.wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, except when a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
