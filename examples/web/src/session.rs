//! The nurseries.

use crate::Policy;
use crate::fetch::{Trouble, fetch, post};
use crate::page::{self, Teller};
use std::cell::OnceCell;
use std::fmt::Write;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;
use umbel::wasm::{WasmSpawn, WasmTimer};
use umbel::{
    Clock, FailFast, Failure, FirstSuccess, Join, KeepGoing, LocalHandle, LocalNursery, LocalRun,
    Report, Spawn,
};

/// What a session fails with. What its downloads fail with is [`Trouble`].
pub(crate) type Error = Box<dyn std::error::Error>;

/// The handle of the inner nursery, when there is one.
pub(crate) type Downloads = Rc<OnceCell<LocalHandle<'static, Trouble>>>;

/// What is done how.
pub(crate) struct Plan {
    pub(crate) limit: usize,
    pub(crate) policy: Policy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) stubborn: bool,
    pub(crate) urls: Vec<String>,
}

/// The fetches: how many bytes each had.
type Fetched = Vec<Join<f64>>;

/// For the server to open the lease, and for it to close it. It takes a fifth of a second.
const LEASE: Duration = Duration::from_secs(30);

/// Begins, and returns at once.
pub(crate) fn start(plan: Plan, downloads: Downloads) -> LocalHandle<'static, Error> {
    let timer = WasmTimer::new();
    let mut n = LocalNursery::<Error>::new()
        .name("session")
        .timer(timer)
        .ages()
        .cleanup(LEASE)
        .observer(&Teller);
    if let Some(grace) = plan.grace {
        n = n.grace(grace);
    }
    if let Some(deadline) = plan.deadline {
        n = n.deadline(timer.now() + deadline);
    }
    let (h, session) = (n.handle(), n.handle());
    let run = n.run(async move {
        // Both or neither, whatever is cancelled meanwhile.
        let lease = h.child().name("open lease").shield(LEASE, {
            let h = h.clone();
            async move {
                post("lease/open").await?;
                let close = async { Ok(post("lease/close").await?) };
                Ok(h.child().name("close lease").defer(close)?)
            }
        });
        lease.await?;
        drop(
            h.child()
                .name("journal")
                .service()
                .spawn_graceful(|cx| async move {
                    cx.token().cancelled().await;
                    Ok(post("goodbye").await?)
                }),
        );
        if plan.stubborn {
            let stubborn = h.child().name("stubborn").service();
            drop(stubborn.spawn_graceful::<(), _>(|_| pending()));
        }
        let inner = h
            .child()
            .name("downloads")
            .scope(|n| downloading(n, plan, timer, &downloads));
        Ok(inner)
    });
    let handle = session.clone();
    let spawned = WasmSpawn.spawn(async move {
        let outcome = run.await;
        let well = outcome.is_ok();
        page::over(well, &words(outcome, session.report()));
    });
    spawned.expect("it refuses nobody");
    handle
}

fn downloading(
    n: LocalNursery<'static, Trouble>,
    plan: Plan,
    timer: WasmTimer,
    handle: &Downloads,
) -> LocalRun<'static, Trouble, Fetched, impl Future<Output = Result<Fetched, Trouble>> + use<>> {
    let n = n.name("downloads").timer(timer).limit(plan.limit);
    let n = match plan.policy {
        Policy::FailFast => n.policy(FailFast),
        Policy::KeepGoing => n.policy(KeepGoing),
        Policy::FirstSuccess => n.policy(FirstSuccess),
    };
    let h = n.handle();
    // There is one inner nursery in a session.
    let _ = handle.set(h.clone());
    n.run(async move {
        let fetches = plan.urls.into_iter().enumerate().map(|(i, url)| {
            let name = format!("fetch {}", i + 1);
            let fetch = fetch(url, name.clone(), h.token().clone(), plan.timeout);
            h.child().name(name).spawn(fetch)
        });
        Ok(fetches.collect())
    })
}

/// What became of it, for people.
fn words(outcome: Result<Join<Fetched>, Failure<Error>>, report: Option<Report>) -> String {
    // A failure tells of those that were forced.
    let told = outcome.is_err();
    let mut text = match outcome {
        Ok(downloads) => match downloads.now_or_never() {
            Some(Ok(fetches)) => fetched(fetches),
            Some(Err(error)) => error.to_string(),
            None => unreachable!("the session has ended"),
        },
        Err(failure) => format!("{failure:#}"),
    };
    if let Some(report) = report {
        for child in report
            .drained
            .iter()
            .filter(|child| !(told && child.forced))
        {
            let _ = write!(text, "\n{child}");
        }
        let done = report.cleanups.done;
        let _ = write!(text, "\ncleanups: {done} of {} done", report.cleanups.begun);
    }
    text
}

fn fetched(fetches: Fetched) -> String {
    let all = fetches.len();
    let got: Vec<_> = fetches
        .into_iter()
        .filter_map(|join| join.now_or_never()?.ok())
        .collect();
    let kib = got.iter().sum::<f64>() / 1024.0;
    format!("{} of {all} fetched, {kib} KiB", got.len())
}
