//! All that `umbel-core` has without `alloc`, used once, in a program without an allocator: that it
//! links is the proof, and the host looks for what is not to be in it. It also checks what it gets.
#![no_std]
#![no_main]

#[cfg(feature = "broken")]
mod broken;

use core::cell::Cell;
use core::fmt::{self, Write};
use core::future::{Future, Pending, Ready, pending, poll_fn, ready};
use core::panic::PanicInfo;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use cortex_m_rt::entry;
use futures_core::{FusedFuture, FusedStream, Stream};
use umbel_core::{
    CancelSignal, Cancelled, Clock, FixedFailure, FixedNursery, FixedSet, Full, FutureExt, InUse,
    Instant, NoSignal, Reason, ReasonKind, Spawn, SpawnError, StaticToken, StreamExt, Timer,
    TrySpawnError, WakePool,
};
use umbel_firmware::board;

#[entry]
fn main() -> ! {
    reasons();
    times();
    tokens();
    deadlines();
    signals();
    sets();
    nurseries();
    executors();
    #[cfg(feature = "broken")]
    broken::allocate();
    board::succeed()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    board::fail(info)
}

fn reasons() {
    let reasons = [
        Reason::explicit(),
        Reason::deadline_exceeded(),
        Reason::sibling_failed(),
        Reason::sibling_succeeded(),
        Reason::shutdown(),
        Reason::dropped(),
        Reason::custom(7),
    ];
    for reason in &reasons {
        assert!(reason.source().is_none());
        assert_eq!(*reason, reason.clone());
        is_printable(reason);
        is_printable(Cancelled::new(reason.clone()));
    }
    let custom = &reasons[6];
    assert_eq!(
        (custom.kind(), custom.code()),
        (ReasonKind::Custom, Some(7))
    );
    assert_eq!(Cancelled::from(custom.clone()).into_reason(), *custom);
}

/// A clock that stands still.
#[derive(Clone, Copy)]
struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }
}

impl Timer for Still {
    type Sleep = Pending<()>;

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

fn times() {
    let second = core::time::Duration::from_secs(1);
    let at = Instant::EPOCH + second;
    assert_eq!(
        (at - Instant::EPOCH, at.as_nanos()),
        (second, 1_000_000_000)
    );
    assert!(at.is_due(at) && !Instant::NEVER.is_due(at));
    let mut text = Text;
    assert!(write!(text, "{at:?} {:?}", Instant::NEVER).is_ok());
}

fn tokens() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    let child = || TOKEN.child();
    let (first, second) = (child().expect("room"), child().expect("room"));
    assert_eq!(child().err(), Some(Full));
    is_printable(Full);
    let press = || TOKEN.cancel_children(Reason::custom(1));
    let run = first.run_until_cancelled(pending::<()>());
    assert_eq!(twice(pin!(run), press), None);
    assert!(second.is_cancelled() && !second.cancel_with(Reason::shutdown()));
    // A word for C.
    assert!(!second.as_ptr().is_null());
    drop(second);

    let third = child().expect("room");
    assert!(third.check().is_ok());
    twice(pin!(third.cancelled()), || TOKEN.cancel());
    assert!(!TOKEN.cancel_with(Reason::shutdown()));
    assert!(TOKEN.is_cancelled() && TOKEN.check().is_err());
    assert_eq!(TOKEN.reason(), third.reason());
}

fn deadlines() {
    static TOKEN: StaticToken<2> = StaticToken::new();
    let at = Instant::from_nanos(5);
    let child = || TOKEN.child_with_deadline(at).expect("room");
    let (first, second) = (child(), child());
    assert_eq!(first.deadline(), Some(at));
    twice(pin!(first.drive(Still(Instant::EPOCH))), || first.cancel());
    assert!(second.check_at(Instant::EPOCH).is_ok() && second.check_at(at).is_err());
    assert_eq!(second.reason(), Some(Reason::deadline_exceeded()));
}

/// A stream that never ends.
struct Ones;

impl Stream for Ones {
    type Item = u8;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
        Poll::Ready(Some(1))
    }
}

fn signals() {
    static TOKEN: StaticToken<1> = StaticToken::new();
    let child = TOKEN.child().expect("room");
    assert_eq!(
        once(pin!(ready(1).or_cancelled(&child))),
        Poll::Ready(Ok(1))
    );
    let mut ones = pin!(Ones.take_until_cancelled(&child));
    assert_eq!(next(ones.as_mut()), Poll::Ready(Some(1)));
    let endless = pin!(pending::<()>().or_cancelled(&child));
    let error = twice(endless, || TOKEN.cancel_children(Reason::custom(2)));
    assert_eq!(
        error.map_err(Cancelled::into_reason),
        Err(Reason::custom(2))
    );
    assert_eq!(next(ones.as_mut()), Poll::Ready(None));
    assert!(ones.is_terminated());
    assert!(!NoSignal.is_cancelled() && NoSignal.reason().is_none());
    assert!(once(pin!(NoSignal.cancelled())).is_pending());
}

fn sets() {
    static POOL: WakePool<2> = WakePool::new();
    let mut set = pin!(FixedSet::<Ready<u8>, 2>::new(&POOL).expect("it is free"));
    assert!(POOL.is_in_use());
    let taken: Result<FixedSet<Ready<u8>, 2>, InUse> = FixedSet::new(&POOL);
    is_printable(taken.expect_err("it is in use"));
    assert!(set.as_mut().push(ready(1)).is_ok() && set.as_mut().push(ready(2)).is_ok());
    assert!(set.is_full() && set.as_mut().push(ready(3)).is_err());
    let sum = [(); 2].map(|()| next(set.as_mut()));
    assert_eq!(sum, [Poll::Ready(Some(1)), Poll::Ready(Some(2))]);
    assert_eq!(next(set.as_mut()), Poll::Ready(None));

    let mut set = pin!(FixedSet::<Pending<()>, 1>::pass_through());
    assert!(set.is_pass_through() && set.as_mut().push(pending()).is_ok());
    assert!(next(set.as_mut()).is_pending());
    set.as_mut().clear();
    assert!(set.is_empty());
}

fn nurseries() {
    static POOL: WakePool<2> = WakePool::new();
    let sum = Cell::new(0);
    let add = async |n| {
        sum.set(sum.get() + n);
        Ok(())
    };
    let n = FixedNursery::<u8, 2>::new(&POOL).expect("it is free");
    let run = pin!(n.run(async {
        n.try_spawn(add(1)).map_err(|_| 0)?;
        n.try_spawn(add(2)).map_err(|_| 0)?;
        assert!(matches!(n.try_spawn(add(0)), Err(TrySpawnError::Full(_))));
        for i in 3..=6 {
            n.spawn_wait(add(i)).await.map_err(|_| 0)?;
        }
        Ok(8)
    }));
    assert_eq!((to_end(run), sum.get()), (Ok(8), 21));
    let closed = n.try_spawn(add(0)).expect_err("it is over");
    assert!(!closed.is_full());
    is_printable(closed);

    static STOP: StaticToken<1> = StaticToken::new();
    static LARGE: WakePool<1> = WakePool::new();
    let stop = STOP.child().expect("room");
    let n = FixedNursery::<Full, 1, 512>::with_size(&LARGE).expect("it is free");
    let run = pin!(n.run_until_cancelled(&stop, async {
        let large = [0_u8; 400];
        n.try_spawn(async move {
            pending::<()>().await;
            if large[0] == 0 { Ok(()) } else { Err(Full) }
        })
        .map_err(|_| Full)?;
        pending::<Result<(), _>>().await
    }));
    let failure = twice(run, || STOP.cancel_children(Reason::custom(3))).expect_err("cancelled");
    assert_eq!(failure, FixedFailure::Cancelled(Reason::custom(3)));
    is_printable(failure);
}

/// An executor that refuses.
struct Busy;

impl<F> Spawn<F> for Busy {
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        Err(SpawnError::new(future))
    }
}

fn executors() {
    let refused = Busy.spawn(ready(1)).expect_err("it is busy");
    assert_eq!(once(pin!(refused.into_inner())), Poll::Ready(1));
}

// ------------------------------------------------------------------ helpers

fn once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn next<S: Stream>(mut stream: Pin<&mut S>) -> Poll<Option<S::Item>> {
    once(pin!(poll_fn(|cx| stream.as_mut().poll_next(cx))))
}

/// It is over when `then` has happened, and not before.
fn twice<F: Future>(mut future: Pin<&mut F>, then: impl FnOnce()) -> F::Output {
    assert!(once(future.as_mut()).is_pending());
    then();
    match once(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it goes on"),
    }
}

fn to_end<F: FusedFuture>(mut future: Pin<&mut F>) -> F::Output {
    loop {
        if let Poll::Ready(output) = once(future.as_mut()) {
            assert!(future.is_terminated());
            return output;
        }
    }
}

/// Text that nobody reads.
struct Text;

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        assert!(!text.contains('\0'));
        Ok(())
    }
}

fn is_printable(error: impl fmt::Debug + fmt::Display) {
    assert!(write!(Text, "{error} {error:?}").is_ok());
}
