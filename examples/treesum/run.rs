//! The nursery: everything that runs at once, and everything that can stop it.
//!
//! The body walks and prints; each file is a child. The rules are the nursery's, set in one place:
//! how many files at once (`limit`), what an unreadable one means for the others (`policy`), and
//! when all of it ends (`token`, `deadline`, `grace`, `force_on`). A cancellation drops the body at
//! its await point, so no further file is begun; the children are graceful, so those in flight end
//! at a chunk boundary. What must outlive the body (`Walk`'s results, the output) is lent to it.

use crate::args::Args;
use crate::console::Console;
use crate::order::{InOrder, Outcome};
use crate::output::{Broken, Output};
use crate::summary::{Ending, Summary};
use crate::walk::{Found, Walk};
use crate::{hash, line};
use std::future::pending;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use umbel::signal::Signals;
use umbel::{
    CancellationToken, Cancelled, ChildContext, Ended, FailFast, Failure, Handle, JoinError,
    Nursery, Policy, Timer, Verdict, blocking,
};

/// After a Ctrl-C or deadline: how long to try to write what is finished, and then the summary, to
/// readers that may be stuck.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A timer that several nurseries share.
pub(crate) trait Alarms: Timer<Sleep: Send> + Copy + Send + 'static {}

impl<T: Timer<Sleep: Send> + Copy + Send + 'static> Alarms for T {}

/// The error of every part. It says nothing, because whoever met the error has named it.
#[derive(Debug)]
pub(crate) struct Failed;

/// Unless the first failure is to stop all: it has been named and is counted, and that is all.
struct GoOn;

impl Policy<Failed> for GoOn {
    fn failed(&mut self, _: &Ended<'_>, _: &Failed) -> Verdict {
        Verdict::Forgive
    }
}

/// The program, on the runtime whose timer this is.
pub(crate) async fn treesum(args: &Args, signals: &Signals, timer: impl Alarms) -> ExitCode {
    let console = Console::new(args.progress);
    let output = match Output::stdout(console.clone()) {
        Ok(output) => output,
        Err(e) => {
            eprintln!("treesum: standard output: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut results = InOrder::new(output);
    let mut all_begun = false;

    let nursery = nursery(args, signals, timer);
    let h = nursery.handle();
    let body = async {
        let mut walk = Walk::new(args.paths.clone(), console.clone());
        while let Some(found) = walk.next(h.token()).await? {
            match found {
                Found::File(path) => {
                    let path: Arc<Path> = path.into();
                    let (file, console) = (path.clone(), console.clone());
                    let child = h.child().name(path.display().to_string());
                    let begun = child.spawn_wait_graceful(|cx| sum(cx, file, console));
                    results.push(path, begun.await?).await?;
                }
                // A child that fails at once: what that means is the policy's business.
                Found::Unreadable => drop(h.spawn_wait(async { Err::<(), _>(Failed) }).await?),
            }
        }
        all_begun = true;
        Ok(results.finish().await?)
    };
    let run = nursery.run(async {
        // It fails only when the output cannot be written. Then no policy has a reason to go on.
        body.await.inspect_err(|Failed| {
            h.cancel();
        })
    });
    let shown = async {
        if args.tree {
            show_trees(&h, timer, &console).await;
        }
        pending().await
    };
    // Each failure has been named, and the counts are in the report.
    let (Ok(()) | Err(Failure { .. })) = smol::future::or(run, shown).await;

    results.settle().await;
    let ending = Ending::of(h.token().reason(), signals.last());
    let finish = async { Ok(results.finish().await?) };
    last_words(timer, signals, ending, finish).await;

    let stats = h.report().unwrap_or_default().stats;
    let files = console.files();
    let summary = Summary::new(ending, args, stats, files, all_begun, &results);
    let (mut text, code) = (summary.text(), summary.exit_code());
    if args.tree {
        text.insert_str(0, &h.snapshot().await.to_string());
    }
    let say = blocking::run(&CancellationToken::never(), move |_| {
        console.finish();
        console.say(&text);
    });
    last_words(timer, signals, ending, async { Ok(say.await?) }).await;
    code
}

/// The rules of the run.
fn nursery<'env>(args: &Args, signals: &Signals, timer: impl Alarms) -> Nursery<'env, Failed> {
    let nursery = Nursery::new()
        .name("treesum")
        .limit(args.jobs.get())
        .timer(timer)
        .token(signals.token())
        .grace(args.grace)
        .force_on(signals.forced());
    let nursery = match args.tree {
        true => nursery.ages(),
        false => nursery,
    };
    let nursery = match args.fail_fast {
        true => nursery.policy(FailFast),
        false => nursery.policy(GoOn),
    };
    match args.deadline {
        Some(after) => nursery.deadline(timer.now() + after),
        None => nursery,
    }
}

/// One file: hashed on the blocking pool, which looks at the child's token at each chunk.
async fn sum(cx: ChildContext, path: Arc<Path>, console: Console) -> Result<Outcome, Failed> {
    let work = blocking::run(cx.token(), move |stop| {
        match hash::file(&path, stop, &console) {
            Ok(Some(digest)) => {
                console.file();
                Ok(Outcome::Summed(line::line(&path, &digest)))
            }
            Ok(None) => Ok(Outcome::Stopped),
            Err(e) => {
                console.error(&path, e);
                Err(Failed)
            }
        }
    });
    // Cancelled before a thread was free: stopped as well.
    work.await.unwrap_or(Ok(Outcome::Stopped))
}

/// Shows what runs, once a second, beside the run: it is no part of what it shows.
async fn show_trees(h: &Handle<'_, Failed>, timer: impl Alarms, console: &Console) {
    loop {
        timer
            .sleep_until(timer.now() + Duration::from_secs(1))
            .await;
        let (tree, console) = (h.snapshot().await.to_string(), console.clone());
        let say = blocking::run(&CancellationToken::never(), move |_| console.say(&tree));
        if say.await.is_err() {
            return;
        }
    }
}

/// Waits for a last write: for as long as its reader likes if nobody is in a hurry, else a moment.
async fn last_words(
    timer: impl Alarms,
    signals: &Signals,
    ending: Ending,
    write: impl Future<Output = Result<(), Failed>>,
) {
    let nursery = Nursery::<Failed>::new().timer(timer);
    let nursery = match ending.is_interruption() {
        true => nursery.deadline(timer.now() + LAST_WORDS),
        false => nursery.token(signals.token()),
    };
    // A failed write is known to the output; one that was cut off, to its `is_behind`.
    let _ = nursery.run(write).await;
}

impl From<JoinError> for Failed {
    fn from(_: JoinError) -> Self {
        Failed
    }
}

impl From<Cancelled> for Failed {
    fn from(_: Cancelled) -> Self {
        Failed
    }
}

impl From<Broken> for Failed {
    fn from(_: Broken) -> Self {
        Failed
    }
}
