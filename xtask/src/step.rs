//! One step: what it needs, what it runs, how it ended.

use crate::tools::{Need, Tools};
use anyhow::{Context, Result};
use process_wrap::std::{StdChildWrapper, StdCommandWrap};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Set by Ctrl-C and SIGTERM: what runs is killed, what has not begun is skipped.
static STOP: AtomicBool = AtomicBool::new(false);

pub(crate) fn stop_on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed)).context("no handler for Ctrl-C")
}

/// A command line, as it could be typed at the root of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Cmd {
    words: Vec<String>,
    env: Vec<(&'static str, String)>,
    /// It is to fail: its success is the failure.
    fails: bool,
}

impl Cmd {
    /// Splits `line` at blanks; an argument that contains some goes through [`arg`](Self::arg).
    pub(crate) fn new(line: &str) -> Self {
        Cmd {
            words: line.split_whitespace().map(str::to_owned).collect(),
            env: Vec::new(),
            fails: false,
        }
    }

    pub(crate) fn must_fail(mut self) -> Self {
        self.fails = true;
        self
    }

    pub(crate) fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    pub(crate) fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Builds into `target/NAME`: other flags there do not throw away what is built elsewhere.
    pub(crate) fn target_dir(mut self, name: &str) -> Self {
        let dir = target_dir().join(name).display().to_string();
        // What comes behind a `--` is not for cargo.
        let end = self.words.iter().position(|word| word == "--");
        let end = end.unwrap_or(self.words.len());
        self.words.splice(end..end, ["--target-dir".into(), dir]);
        self
    }

    pub(crate) fn args(mut self, words: impl IntoIterator<Item = String>) -> Self {
        self.words.extend(words);
        self
    }

    /// A process without what cargo and the caller's shell would smuggle into a check.
    ///
    /// `RUSTUP_TOOLCHAIN` stays: it is the toolchain that the caller chose, and `cargo +other`
    /// overrides it.
    pub(crate) fn to_command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null());
        for (key, _) in std::env::vars_os() {
            let Some(name) = key.to_str() else { continue };
            let from_outer_cargo = name == "CARGO"
                || name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || name.starts_with("CARGO_PROFILE_")
                || name.starts_with("MIRI");
            let chooses_flags = matches!(
                name,
                "RUSTC"
                    | "RUSTDOC"
                    | "RUSTC_BOOTSTRAP"
                    | "RUSTC_WORKSPACE_WRAPPER"
                    | "RUSTFLAGS"
                    | "RUSTDOCFLAGS"
                    | "CARGO_ENCODED_RUSTFLAGS"
                    | "CARGO_ENCODED_RUSTDOCFLAGS"
                    | "CARGO_BUILD_TARGET"
                    | "CARGO_BUILD_RUSTFLAGS"
            );
            if from_outer_cargo || chooses_flags {
                command.env_remove(&key);
            }
        }
        // A toolchain that is missing is named, not fetched behind the user's back.
        command.env("RUSTUP_AUTO_INSTALL", "0");
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// The line to type, quoted for a shell.
impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted = |word: &str| shlex::try_quote(word).map_or(word.to_owned(), Into::into);
        if self.fails {
            f.write_str("! ")?;
        }
        for (key, value) in &self.env {
            write!(f, "{key}={} ", quoted(value))?;
        }
        let words: Vec<_> = self.words.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// A check: commands that must all succeed.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    name: String,
    needs: Vec<Need>,
    cmds: Vec<Cmd>,
    limit: Duration,
    /// A run of tests: fails if no test ran (a forgotten `--cfg` compiles a model to nothing).
    tests: bool,
    /// Long, and on one core: runs at the same time as its neighbours of this kind.
    beside: bool,
}

impl Step {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Step {
            name: name.into(),
            needs: Vec::new(),
            cmds: Vec::new(),
            limit: Duration::from_secs(15 * 60),
            tests: false,
            beside: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn need(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    pub(crate) fn cmd(mut self, cmd: Cmd) -> Self {
        self.cmds.push(cmd);
        self
    }

    /// A command line without environment or blanks in arguments.
    pub(crate) fn run_line(self, line: &str) -> Self {
        self.cmd(Cmd::new(line))
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    pub(crate) fn must_run_tests(mut self) -> Self {
        self.tests = true;
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// What failed.
    Failed(String),
    /// Why it could not run.
    Skipped(String),
}

/// A line of the closing table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
    /// Tests that passed, as cargo counted them.
    pub(crate) tests: u64,
    /// The last lines that a failed step printed.
    pub(crate) tail: Vec<String>,
}

impl Row {
    /// Of a step that was not run.
    pub(crate) fn skipped(name: &str, why: &str) -> Self {
        Row {
            name: name.to_owned(),
            outcome: Outcome::Skipped(why.to_owned()),
            time: Duration::ZERO,
            tests: 0,
            tail: Vec::new(),
        }
    }
}

/// Runs the steps in their order, neighbours that may run beside each other together; their lines mix.
pub(crate) fn run_all(steps: &[Step], tools: &mut Tools) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in steps.chunk_by(|one, next| one.beside && next.beside) {
        if let [step] = group {
            rows.push(run(step, tools));
            continue;
        }
        rows.extend(thread::scope(|scope| {
            let running: Vec<_> = group
                .iter()
                .map(|step| scope.spawn(|| run(step, &mut Tools::default())))
                .collect();
            let joined = running.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|row| row.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        }));
    }
    rows
}

/// Runs `step`, its output shown as it comes.
pub(crate) fn run(step: &Step, tools: &mut Tools) -> Row {
    println!("\n==> {}", step.name);
    let begun = Instant::now();
    let heard = Mutex::default();
    let outcome = outcome(step, tools, begun + step.limit, &heard);
    match &outcome {
        Outcome::Passed => {}
        Outcome::Failed(why) => println!("FAILED {}: {why}", step.name),
        Outcome::Skipped(why) => println!("SKIPPED {}: {why}", step.name),
    }
    let Heard { tests, tail } = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed = matches!(outcome, Outcome::Failed(_));
    Row {
        name: step.name.clone(),
        outcome,
        time: begun.elapsed(),
        tests,
        tail: if failed { tail.into() } else { Vec::new() },
    }
}

fn outcome(step: &Step, tools: &mut Tools, deadline: Instant, heard: &Mutex<Heard>) -> Outcome {
    if STOP.load(Ordering::Relaxed) {
        return Outcome::Skipped("interrupted before it began".into());
    }
    for need in &step.needs {
        if let Err(lack) = tools.provide(need) {
            return Outcome::Skipped(lack);
        }
    }
    for cmd in &step.cmds {
        println!("$ {cmd}");
        match run_cmd(cmd, deadline, heard) {
            Ok(End::Exited(status)) if status.success() != cmd.fails => {}
            Ok(End::Exited(status)) => return Outcome::Failed(format!("{status}: {cmd}")),
            Ok(End::OverTime) => {
                return Outcome::Failed(format!(
                    "stopped after its limit of {} s: {cmd}",
                    step.limit.as_secs()
                ));
            }
            Ok(End::Interrupted) => return Outcome::Failed("interrupted".into()),
            Err(error) => return Outcome::Failed(format!("{error:#}: {cmd}")),
        }
    }
    if step.tests && lock(heard).tests == 0 {
        return Outcome::Failed("no test ran".into());
    }
    Outcome::Passed
}

#[derive(Debug)]
enum End {
    Exited(std::process::ExitStatus),
    OverTime,
    Interrupted,
}

/// Runs `cmd` in a process group of its own, so that the limit and Ctrl-C end its children too.
fn run_cmd(cmd: &Cmd, deadline: Instant, heard: &Mutex<Heard>) -> Result<End> {
    let mut command = cmd.to_command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut command = StdCommandWrap::from(command);
    #[cfg(unix)]
    command.wrap(process_wrap::std::ProcessGroup::leader());
    let mut child = command.spawn().context("cannot be started")?;
    let stdout = child.stdout().take().context("its output is not piped")?;
    let stderr = child.stderr().take().context("its errors are not piped")?;
    thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, std::io::stdout(), heard));
        scope.spawn(|| pass_on(stderr, std::io::stderr(), heard));
        let end = wait(&mut *child, deadline);
        // What it left behind in its group would keep the pipes open. Mostly there is nothing to kill.
        let _ = child.start_kill();
        end
    })
}

fn wait(child: &mut dyn StdChildWrapper, deadline: Instant) -> Result<End> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        let end = if STOP.load(Ordering::Relaxed) {
            End::Interrupted
        } else if Instant::now() >= deadline {
            End::OverTime
        } else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        child.start_kill()?;
        child.wait()?;
        return Ok(end);
    }
}

/// What is kept of a step's output.
#[derive(Debug, Default)]
struct Heard {
    tests: u64,
    /// The last [`TAIL`] lines, of both streams as they came.
    tail: VecDeque<String>,
}

/// Enough for a failed test's panic, or a compiler's error.
const TAIL: usize = 40;

impl Heard {
    fn line(&mut self, line: &str) {
        self.tests += tests_passed(line);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.trim_end().to_owned());
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows what a child prints, and hears it.
fn pass_on(from: impl Read, mut to: impl Write, heard: &Mutex<Heard>) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        lock(heard).line(&String::from_utf8_lossy(&line));
        // A reader who went away does not stop the checks.
        let _ = to.write_all(&line);
        line.clear();
    }
}

/// Each `N` of libtest's `test result: ok. N passed; …`. Miri runs several seeds at once, which mix
/// their lines, but not within this part.
fn tests_passed(line: &str) -> u64 {
    line.match_indices(" passed;")
        .filter_map(|(end, _)| line[..end].rsplit_once(". ")?.1.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_quietly(step: &Step) -> Row {
        run(step, &mut Tools::default())
    }

    #[test]
    fn steps_beside_each_other_keep_their_rows_and_order() {
        let names = ["alone", "left", "right", "last"];
        let step = |name: &str| Step::new(name).run_line("cargo --version");
        let steps = [
            step(names[0]),
            step(names[1]).beside(),
            Step::new(names[2])
                .run_line("cargo --no-such-flag")
                .beside(),
            step(names[3]),
        ];
        let rows = run_all(&steps, &mut Tools::default());
        assert_eq!(
            names,
            *rows.iter().map(|row| &*row.name).collect::<Vec<_>>()
        );
        let passed: Vec<_> = rows
            .iter()
            .map(|row| row.outcome == Outcome::Passed)
            .collect();
        assert_eq!(passed, [true, true, false, true]);
    }

    #[test]
    fn where_to_build_is_told_to_cargo() {
        let line = |cmd: Cmd| cmd.target_dir("there").to_string();
        let dir = target_dir().join("there").display().to_string();
        let built = line(Cmd::new("cargo test -p this"));
        assert_eq!(built, format!("cargo test -p this --target-dir {dir}"));
        let filtered = line(Cmd::new("cargo test -- --skip that"));
        assert_eq!(
            filtered,
            format!("cargo test --target-dir {dir} -- --skip that")
        );
    }

    #[test]
    fn a_step_passes_only_if_all_its_commands_succeed() {
        let good = Step::new("good").run_line("cargo --version");
        assert_eq!(run_quietly(&good).outcome, Outcome::Passed);

        let fails = Cmd::new("cargo --no-such-flag");
        let bad = good.clone().cmd(fails.clone());
        assert!(matches!(run_quietly(&bad).outcome, Outcome::Failed(_)));

        let shown = good.cmd(fails.must_fail());
        assert_eq!(run_quietly(&shown).outcome, Outcome::Passed);
        let survives = shown.cmd(Cmd::new("cargo --version").must_fail());
        assert!(matches!(run_quietly(&survives).outcome, Outcome::Failed(_)));
    }

    #[test]
    fn what_a_failed_step_printed_last_is_kept() {
        let bad = Step::new("bad")
            .run_line("cargo --version")
            .run_line("cargo --no-such-flag");
        let tail = run_quietly(&bad).tail;
        assert!(tail[0].starts_with("cargo "), "{tail:?}");
        assert!(tail[1].contains("--no-such-flag"), "{tail:?}");
        assert!(
            run_quietly(&Step::new("good").run_line("cargo --version"))
                .tail
                .is_empty()
        );

        let mut heard = Heard::default();
        (0..100).for_each(|n| heard.line(&format!("{n}\n")));
        assert_eq!(heard.tail.len(), TAIL);
        assert_eq!(heard.tail.back().map(String::as_str), Some("99"));
    }

    #[test]
    fn what_cannot_be_started_has_failed() {
        let step = Step::new("absent").run_line("no-such-program-anywhere");
        assert!(matches!(run_quietly(&step).outcome, Outcome::Failed(_)));
    }

    #[test]
    fn a_lack_is_skipped_and_says_what_to_do() {
        let step = Step::new("lacks")
            .need(Need::CargoTool("no-such-tool-anywhere"))
            .run_line("cargo --version");
        let Outcome::Skipped(why) = run_quietly(&step).outcome else {
            panic!("it ran");
        };
        assert!(
            why.contains("cargo install cargo-no-such-tool-anywhere"),
            "{why}"
        );
    }

    #[test]
    #[cfg(unix)]
    fn the_limit_ends_what_never_ends() {
        let step = Step::new("endless")
            .run_line("tail -f /dev/null")
            .limit(Duration::ZERO);
        let Outcome::Failed(why) = run_quietly(&step).outcome else {
            panic!("it ended");
        };
        assert!(why.contains("limit"), "{why}");
    }

    #[test]
    #[cfg(unix)]
    fn nothing_is_left_behind() {
        // The child of the shell holds the pipe open and never ends: `run` returns only because the
        // whole group is killed.
        let step = Step::new("daemon").cmd(Cmd::new("sh -c").arg("tail -f /dev/null &"));
        assert_eq!(run_quietly(&step).outcome, Outcome::Passed);
    }

    #[test]
    fn a_test_run_without_tests_has_failed() {
        let step = Step::new("empty")
            .run_line("cargo --version")
            .must_run_tests();
        assert_eq!(
            run_quietly(&step).outcome,
            Outcome::Failed("no test ran".into())
        );
    }

    #[test]
    fn counts_what_libtest_prints() {
        assert_eq!(
            tests_passed("test result: ok. 17 passed; 0 failed; 0 ignored;"),
            17
        );
        assert_eq!(tests_passed("test result: FAILED. 3 passed; 1 failed;"), 3);
        assert_eq!(tests_passed("test other ... ok"), 0);
        assert_eq!(
            tests_passed("test result: test result: okok. 4 passed; 0 failed. 4 passed; 0 failed"),
            8
        );
    }

    #[test]
    fn a_command_is_shown_as_it_is_typed() {
        let cmd = Cmd::new("cargo test")
            .env("RUSTFLAGS", "--cfg x")
            .arg("a b");
        assert_eq!(cmd.to_string(), "RUSTFLAGS='--cfg x' cargo test 'a b'");
    }
}
