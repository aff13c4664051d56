//! The end of a program, in order: what takes work in is stopped first, what others need last, each part
//! gets time to drain, and what does not end is dropped and named.
//!
//! A [`Coordinator`] runs **subsystems**: futures with a name, a token, and a nursery of their own. It starts
//! them in the order in which they were added, waits for something that ends it, and stops them phase by
//! phase. It is a future like a nursery, needs no runtime but a timer, and its subsystems may borrow.
//!
//! ```
//! # #[cfg(feature = "smol")] {
//! use std::{io, process::ExitCode, time::Duration};
//! use umbel::CancellationToken;
//! use umbel::shutdown::{Coordinator, Phase, Subsystem};
//! use umbel::smol::SmolTimer;
//!
//! fn main() -> ExitCode {
//!     // A program takes `signals.token()` of `umbel::signal::install()`, and for
//!     // `force_on` its `forced()`.
//!     let trigger = CancellationToken::new();
//!     let (jobs, queue) = smol::channel::bounded::<u32>(8);
//!     let mut program = Coordinator::<io::Error, _>::new(SmolTimer::new(), &trigger)
//!         .budget(Duration::from_secs(25));
//!     let control = program.control();
//!
//!     program.add(Subsystem::new("worker").phase(Phase::PROCESSING), |cx| async move {
//!         cx.token().cancelled().await;
//!         while queue.recv().await.is_ok() {} // what was accepted is done
//!         Ok(())
//!     });
//!     program.add(Subsystem::new("listener").phase(Phase::INGRESS), |cx| async move {
//!         let _ = jobs.send(7).await; // … accepts, until it is told to stop
//!         control.stop(); // (here: by itself)
//!         cx.token().cancelled().await;
//!         Ok(())
//!     });
//!
//!     let report = smol::block_on(program.run());
//!     println!("{report:#}");
//!     assert_eq!(report.exit_code(), 0);
//!     ExitCode::from(report.exit_code())
//! }
//! # main();
//! # }
//! ```
//!
//! # Life
//!
//! ```text
//!            all have started      the trigger, Control::stop, a failure       all have ended
//! starting ──────────────────▶ ready ───────────────────────▶ lame duck ─▶ phase ─▶ … ─▶ ended
//! ready: no                    yes                            no                          no
//! live:  yes                   yes                            yes                         no
//! ```
//!
//! - **Stopping.** In the lame duck's delay all goes on as before, but [`Health::is_ready`] says no: so
//!   load balancers learn of it while requests are still served. Then come the phases, the lowest number
//!   first. Those of a phase are told by their tokens, side by side. When all have ended, the next is
//!   told. Subsystems without a phase come last, one after another, the reverse of their start.
//! - **Time.** A subsystem has its [grace](Subsystem::grace), and no more than its phase: the
//!   [budget](Coordinator::budget) is shared out among the phases as a [`Budget`](crate::Budget) is, in equal
//!   parts or as [`share`](Coordinator::share) says, so
//!   a phase leaves to all after it what it does not need, and none takes what belongs to the last. (A
//!   subsystem without a phase counts as one.)
//!   The lame duck's delay comes out of the budget, too. Without budget and grace it takes as long as it
//!   takes.
//! - **Force.** Who has not ended by then is dropped with all in its nursery, and counts as forced.
//!   [`Control::force`], a second [`Control::stop`], or the token of [`force_on`](Coordinator::force_on)
//!   leaves no time to anybody, the lame duck included; the order stays.
//! - **Failure.** An error of a subsystem, of a child in its nursery, or a panic in it, cancels its own
//!   nursery. It starts the shutdown of the others, in the same order, or is [ignored](OnFailure::Ignore).
//!   One that ends well by itself ends alone. (One that is to be started anew restarts its work in its own
//!   nursery, see [`Policy`](crate::Policy).)
//! - **Dropped**, the coordinator's future drops all subsystems, the youngest first, and nothing graceful
//!   happens.
//!
//! # On virtual time
//!
//! ```
//! use std::future::{Future, pending};
//! use std::pin::pin;
//! use std::task::{Context, Poll, Waker};
//! use std::time::Duration;
//! use umbel::shutdown::{Coordinator, Subsystem};
//! use umbel::{CancellationToken, ManualClock};
//!
//! let (clock, trigger) = (ManualClock::new(), CancellationToken::new());
//! let mut program = Coordinator::<&str, _>::new(clock.clone(), &trigger);
//! let health = program.control().health();
//! program.add("store", |cx| async move {
//!     cx.token().cancelled().await;
//!     Ok(())
//! });
//! program.add(Subsystem::new("stuck").grace(Duration::from_secs(5)), |_| pending());
//!
//! let mut run = pin!(program.run());
//! let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
//! assert!(poll().is_pending() && health.is_ready());
//! trigger.cancel();
//! assert!(!health.is_ready() && health.is_live());
//! assert!(poll().is_pending());
//! clock.advance(Duration::from_secs(5));
//! # assert!(poll().is_pending());
//! # let Poll::Ready(report) = (0..9).map(|_| poll()).find(|p| p.is_ready()).unwrap() else { panic!() };
//! // … awaited, five seconds later:
//! assert_eq!(report.to_string(), "shut down (cancelled) in 5s: 1 of 2 subsystems was forced");
//! assert_eq!(report.forced().next().unwrap().name.as_ref(), "stuck");
//! assert_eq!(report.exit_code(), 2);
//! assert!(!health.is_live());
//! ```
//!
//! # Where it comes from
//!
//! The reverse of the start is Erlang's and systemd's; the delay of a lame duck is that of services behind
//! load balancers, as in Kubernetes; that new work is refused first and what was begun is drained is
//! `http.Server.Shutdown` of Go. Subsystems with names, whose failure stops the rest, are known from the
//! crate `tokio-graceful-shutdown`.

mod health;
mod subsystem;
mod report;
mod drive;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use umbel_core::{CancellationToken, Nursery, Observer, Timer};

use drive::{Driver, Slot};
use health::State;
pub use health::{Control, Health};
pub use report::{End, ShutdownReport, SubsystemReport};
use subsystem::Stage;
pub use subsystem::{Context, OnFailure, Phase, Subsystem};

/// Runs the subsystems of a program, and stops them in order: see the [module](self).
///
/// `E` is the error of the subsystems and of their nurseries. `Send` if the timer is.
#[must_use = "nothing starts before `run` is awaited"]
pub struct Coordinator<'env, E, T> {
    driver: Driver<'env, E, T>,
    observer: Option<&'env (dyn Observer + Sync + 'env)>,
}

impl<'env, E, T> Coordinator<'env, E, T>
where
    E: Send + 'env,
    T: Timer + Clone + Send + 'env,
    T::Sleep: Send + 'env,
{
    /// A coordinator without a budget, that stops when `trigger` is cancelled: for instance by
    /// `umbel::signal`, of which it keeps the reason. All times are by `timer`. Allocates.
    pub fn new(timer: T, trigger: &CancellationToken) -> Self {
        Coordinator {
            driver: Driver::new(timer, Arc::new(State::new(trigger))),
            observer: None,
        }
    }

    /// The whole time of the shutdown, from when it begins to the last end. What is not forced by then is.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.driver.budget = Some(budget);
        self
    }

    /// How many parts of the budget the phase has, when it begins, of those that are left; each phase has
    /// one. So phases get shares of different sizes: with 8 parts for one of three, that has 8 of 9 if the
    /// one before it needed nothing, and the one after it a ninth at least. No part is no time: who does not
    /// end at once is forced.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use umbel::{CancellationToken, ManualClock};
    /// use umbel::shutdown::{Coordinator, Phase};
    ///
    /// # let (timer, trigger) = (ManualClock::new(), CancellationToken::new());
    /// let program = Coordinator::<&str, _>::new(timer, &trigger)
    ///     .budget(Duration::from_secs(30))
    ///     .share(Phase::PROCESSING, 8);
    /// # drop(program);
    /// ```
    pub fn share(mut self, phase: Phase, parts: usize) -> Self {
        self.driver.shares.retain(|&(of, _)| of != phase);
        self.driver.shares.push((phase, parts));
        self
    }

    /// How long all goes on as before when the shutdown was asked for, while
    /// [`is_ready`](Health::is_ready) says no. It ends early when all subsystems have ended.
    pub fn lame_duck(mut self, delay: Duration) -> Self {
        self.driver.lame_duck = delay;
        self
    }

    /// When `token` is cancelled, nobody has any more time, as after [`Control::force`]. By itself it
    /// starts no shutdown.
    pub fn force_on(mut self, token: &CancellationToken) -> Self {
        self.driver.force_on = token.clone();
        self
    }

    /// Tells `observer` what happens in the subsystems' nurseries, and in the one around them.
    ///
    /// # Panics
    ///
    /// If a subsystem has been added.
    #[track_caller]
    pub fn observer(mut self, observer: &'env (dyn Observer + Sync + 'env)) -> Self {
        assert!(
            self.driver.is_empty(),
            "an observer is set before the first subsystem is added"
        );
        self.observer = Some(observer);
        self
    }

    /// To stop it from elsewhere, and to look at it.
    pub fn control(&self) -> Control {
        Control::new(&self.driver.state)
    }

    /// Adds a subsystem, which starts when all before it have: `what` is its name, or a [`Subsystem`].
    ///
    /// `make` is called here; the future that it makes is a graceful child of the subsystem's nursery: polled
    /// on when it is told to stop by [`Context::token`], until it ends or is forced. Allocates.
    #[track_caller]
    pub fn add<F>(
        &mut self,
        what: impl Into<Subsystem>,
        make: impl FnOnce(Context<'env, E>) -> F,
    ) -> &mut Self
    where
        F: Future<Output = Result<(), E>> + Send + 'env,
    {
        let what = what.into();
        let token = CancellationToken::new();
        let mut nursery = Nursery::new()
            .name(what.name.clone())
            .token(&token)
            .timer(self.driver.timer.clone());
        if let Some(observer) = self.observer {
            nursery = nursery.observer(observer);
        }
        let handle = nursery.handle();
        let stage = Arc::<Stage>::default();
        let context = Context {
            handle: handle.clone(),
            stage: Arc::clone(&stage),
        };
        let child = handle.child().name(what.name.clone());
        drop(child.spawn_graceful(|_| make(context)));
        let slot = Slot::new(what, stage, token, nursery, handle);
        self.driver.add(slot);
        self
    }

    /// Runs the subsystems to their ends.
    ///
    /// **Cancel safety:** dropping the future drops all subsystems where they are, youngest first. To end
    /// them gracefully, ask by the trigger or by [`Control::stop`], and await.
    ///
    /// # Panics
    ///
    /// If the timer panics, or the drop of a subsystem that never started. Panics in subsystems are told
    /// by the report.
    pub async fn run(self) -> ShutdownReport<E> {
        let mut nursery = Nursery::new().name("shutdown");
        if let Some(observer) = self.observer {
            nursery = nursery.observer(observer);
        }
        let driver = self.driver;
        let handle = nursery.handle();
        let run = nursery.run(async move { Ok(driver.drive(handle).await) });
        match run.await {
            Ok(report) => report,
            // D2: it has no errors, and nobody cancels it.
            Err(failure) => unreachable!("{failure}"),
        }
    }
}

impl<E, T> fmt::Debug for Coordinator<'_, E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("state", &Control::new(&self.driver.state))
            .field("budget", &self.driver.budget)
            .field("lame_duck", &self.driver.lame_duck)
            .finish_non_exhaustive()
    }
}
