//! SIGINT (Ctrl-C) and SIGTERM as cancellation, through signal-hook. Unix only.
//!
//! The first signal asks the program to stop, the second to stop now, and the third ends it:
//!
//! | signal | effect |
//! |---|---|
//! | first | [`Signals::token`] is cancelled with a reason of kind [`ReasonKind::Shutdown`] |
//! | second | [`Signals::forced`] too |
//! | third and later | the signal's default action: the process ends, so that a program that hangs while it drains can always be ended from the keyboard |
//!
//! SIGINT and SIGTERM count together. Like everything about signals in POSIX, equal signals that
//! arrive before the first of them was taken count as one.
//!
//! In the same way nothing is swallowed before and after: when the last [`Signals`] of the process
//! is dropped, both signals have their default action again. This holds even if they were ignored
//! before, or if somebody else in the process listens for them; whoever wants it otherwise
//! keeps the [`Signals`] until the end of the program.
//!
//! [`ReasonKind::Shutdown`]: crate::ReasonKind::Shutdown

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::{Handle, Signals as Queue};
use signal_hook::low_level::emulate_default_handler;
use umbel_core::{CancellationToken, Reason};

/// Makes SIGINT and SIGTERM cancel tokens from now on, until the [`Signals`] are dropped.
///
/// Starts one thread, named `umbel-signal`, which sleeps until a signal comes. No runtime is
/// needed. It allocates; do not call it in a signal handler.
///
/// Each call makes tokens, a count and a thread of its own: if two parts of a program install,
/// both see every signal that arrives from then on. The default action of a third signal is then
/// taken as soon as one of them has seen two.
///
/// # Errors
/// The operating system refuses the handlers, a socket pair or the thread. Nothing has changed then.
///
/// ```
/// use umbel::signal;
///
/// let signals = signal::install()?;
/// let work = signals.token().child_token();
/// smol::block_on(work.run_until_cancelled(async { /* the program */ }));
/// assert_eq!(signals.last(), None); // `Some(2)` after Ctrl-C
/// # std::io::Result::Ok(())
/// ```
pub fn install() -> io::Result<Signals> {
    let mut process = process();
    process.register_default_action()?;
    let queue = Queue::new([SIGINT, SIGTERM])?;
    let handle = queue.handle();
    let state = Arc::new(State::default());
    let thread = thread::Builder::new().name("umbel-signal".into()).spawn({
        let state = state.clone();
        move || state.listen(queue)
    })?;
    process.installed += 1;
    process.update();
    Ok(Signals {
        state,
        handle,
        thread: Some(thread),
    })
}

/// The two tokens that signals cancel; made by [`install`], `Send` and `Sync`.
///
/// Dropping it ends its thread and waits for it, and so for wakers that the thread is running just
/// then (a waker of ours may drop it nevertheless: the thread does not wait for itself). The
/// tokens stay as they are; a signal that was caught before is still told to them.
#[must_use = "when it is dropped, signals have their default action again"]
pub struct Signals {
    state: Arc<State>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// The root token, cancelled by the first signal.
    ///
    /// Its wakers run on the thread of the [`Signals`], never in the signal handler. If one
    /// panics, the panic hook reports it and the thread goes on. One that blocks keeps that
    /// thread from taking the next signal, so a waker that never returns here is the one thing
    /// that can take the second signal away, and with it the third.
    pub fn token(&self) -> &CancellationToken {
        &self.state.token
    }

    /// Cancelled by the second signal. It is no child of [`token`](Self::token).
    ///
    /// Its wakers run as those of [`token`](Self::token) do, but even if one never returns the
    /// third signal ends the process.
    pub fn forced(&self) -> &CancellationToken {
        &self.state.forced
    }

    /// The number of the latest signal, known before the token that it cancels is cancelled.
    ///
    /// By custom a program that ends because of it exits with 128 + this number.
    pub fn last(&self) -> Option<i32> {
        Some(self.state.last.load(Ordering::Acquire)).filter(|&signal| signal != 0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        {
            // First the default action, then the end of ours: no signal falls between them.
            let mut process = process();
            process.installed -= 1;
            process.update();
        }
        self.handle.close();
        let thread = self.thread.take();
        if let Some(thread) = thread.filter(|t| t.thread().id() != thread::current().id()) {
            let _ = thread.join(); // it does not panic
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals")
            .field("token", self.token())
            .field("forced", self.forced())
            .field("last", &self.last())
            .finish_non_exhaustive()
    }
}

/// What the thread and its [`Signals`] share.
#[derive(Default)]
struct State {
    token: CancellationToken,
    forced: CancellationToken,
    /// 0 = none yet. Stored with Release by the thread only, loaded with Acquire.
    last: AtomicI32,
}

impl State {
    /// The thread: takes signals until the queue is closed, then what is left in it.
    fn listen(&self, mut queue: Queue) {
        let mut seen = 0;
        for signal in &mut queue {
            self.receive(signal, &mut seen);
        }
        for signal in queue.pending() {
            self.receive(signal, &mut seen);
        }
        if seen >= 2 {
            let mut process = process();
            process.forced -= 1;
            process.update();
        }
    }

    fn receive(&self, signal: i32, seen: &mut u32) {
        self.last.store(signal, Ordering::Release);
        *seen += 1;
        match *seen {
            1 => cancel(&self.token),
            2 => {
                // Before the wakers run: one that hangs does not take the third signal away.
                let mut process = process();
                process.forced += 1;
                process.update();
                drop(process);
                cancel(&self.forced);
            }
            // It came before the handler knew of the second.
            _ => {
                let _ = emulate_default_handler(signal); // does not fail for these two
            }
        }
    }
}

/// Cancels, and goes on after a panic of a waker, which the panic hook has reported.
fn cancel(token: &CancellationToken) {
    let _ = catch_unwind(AssertUnwindSafe(|| token.cancel_with(Reason::shutdown())));
}

/// Read by the handler of both signals: whether to take the default action. Written by
/// [`Process::update`] only, under its lock; SeqCst, as signal-hook reads it.
static DEFAULT_ACTION: AtomicBool = AtomicBool::new(true);

static PROCESS: Mutex<Process> = Mutex::new(Process {
    registered: false,
    installed: 0,
    forced: 0,
});

/// What all [`Signals`] of the process have in common. Its lock is never held while foreign code
/// runs, and never taken in a signal handler.
struct Process {
    /// The default action has been put into the handlers, where it stays.
    registered: bool,
    /// How many [`Signals`] there are.
    installed: usize,
    /// How many threads of theirs have seen two signals.
    forced: usize,
}

fn process() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// signal-hook's handlers stay when their last action is gone, and would then swallow the
    /// signal: so there is one action that stays too, and does what the signal would do by itself.
    fn register_default_action(&mut self) -> io::Result<()> {
        if !self.registered {
            for signal in [SIGINT, SIGTERM] {
                register_conditional_default(signal, &DEFAULT_ACTION)?;
            }
            self.registered = true;
        }
        Ok(())
    }

    fn update(&self) {
        DEFAULT_ACTION.store(self.installed == 0 || self.forced > 0, Ordering::SeqCst);
    }
}
