//! `StreamExt::take_until_cancelled`.

use futures_core::stream::{FusedStream, Stream};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use umbel_core::{
    CancelSignal, CancellationToken, DynCancelSignal, Reason, StreamExt, TakeUntilCancelled,
};
use umbel_tests::counting::{Task, allocator_calls};

/// A stream that is what its closure makes of the number of the poll, from 1.
struct Polls<F>(Rc<Cell<usize>>, F);

impl<T, F: FnMut(usize, &mut Context<'_>) -> Poll<Option<T>> + Unpin> Stream for Polls<F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.set(self.0.get() + 1);
        let n = self.0.get();
        (self.1)(n, cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (3, Some(5))
    }
}

fn next<St: Stream>(task: &Task, mut stream: Pin<&mut St>) -> Poll<Option<St::Item>> {
    task.poll(pin!(poll_fn(|cx| stream.as_mut().poll_next(cx))))
}

#[test]
fn t_19_an_always_ready_stream_ends_when_cancelled() {
    let (task, polls) = (Task::new(), Rc::new(Cell::new(0)));
    let token = CancellationToken::new();
    let endless = Polls(polls.clone(), |n, _: &mut Context<'_>| Poll::Ready(Some(n)));
    let mut stream = pin!(endless.take_until_cancelled(&token));
    for n in 1..=100 {
        assert_eq!(next(&task, stream.as_mut()), Poll::Ready(Some(n)));
    }
    token.cancel();
    assert_eq!(next(&task, stream.as_mut()), Poll::Ready(None));
    assert_eq!(polls.get(), 100, "the token comes first");
    assert_eq!(task.woken(), 0, "an item that is ready waits for nothing");
    assert_eq!(next(&task, stream), Poll::Ready(None));
    assert_eq!(polls.get(), 100);
}

#[test]
fn t_19_a_stream_under_a_cancelled_token_is_not_polled() {
    let token = CancellationToken::pre_cancelled(Reason::custom(1));
    let untouched = Polls(
        Rc::default(),
        |_, _: &mut Context<'_>| -> Poll<Option<u8>> { panic!("polled") },
    );
    let stream = pin!(untouched.take_until_cancelled(&token));
    assert_eq!(next(&Task::new(), stream), Poll::Ready(None));
}

#[test]
fn t_19_a_stream_that_cancels_itself() {
    let task = Task::new();
    // with an item: the item first, then the end
    let token = CancellationToken::new();
    let own = token.clone();
    let items = Polls(Rc::default(), move |n, _: &mut Context<'_>| {
        own.cancel();
        Poll::Ready(Some(n))
    });
    let mut stream = pin!(items.take_until_cancelled(&token));
    assert_eq!(next(&task, stream.as_mut()), Poll::Ready(Some(1)));
    assert_eq!(next(&task, stream), Poll::Ready(None));
    // without: the end, in the same poll
    let token = CancellationToken::new();
    let own = token.clone();
    let none = Polls(Rc::default(), move |_, _: &mut Context<'_>| {
        own.cancel();
        Poll::<Option<u8>>::Pending
    });
    assert_eq!(
        next(&task, pin!(none.take_until_cancelled(&token))),
        Poll::Ready(None)
    );
}

#[test]
fn an_idle_stream_is_woken_by_the_cancellation() {
    let (task, polls) = (Task::new(), Rc::new(Cell::new(0)));
    let token = CancellationToken::new();
    let idle = Polls(polls.clone(), |_, _: &mut Context<'_>| {
        Poll::<Option<u8>>::Pending
    });
    let mut stream = pin!(idle.take_until_cancelled(&token));
    for _ in 0..3 {
        assert!(next(&task, stream.as_mut()).is_pending());
    }
    assert_eq!((polls.get(), task.woken()), (3, 0));
    token.cancel();
    assert_eq!(task.woken(), 1);
    assert_eq!(next(&task, stream.as_mut()), Poll::Ready(None));
    assert_eq!(polls.get(), 3);
    assert!(stream.is_terminated());
}

#[test]
fn an_item_after_a_wait_is_given_and_the_wait_is_kept() {
    let task = Task::new();
    let token = CancellationToken::new();
    let every_other = Polls(Rc::default(), |n, _: &mut Context<'_>| {
        if n % 2 == 0 {
            Poll::Ready(Some(n))
        } else {
            Poll::Pending
        }
    });
    let mut stream = pin!(every_other.take_until_cancelled(&token));
    assert!(next(&task, stream.as_mut()).is_pending());
    let before = allocator_calls();
    for n in [2, 4, 6] {
        assert_eq!(next(&task, stream.as_mut()), Poll::Ready(Some(n)));
        assert!(next(&task, stream.as_mut()).is_pending());
    }
    assert_eq!(allocator_calls(), before);
    token.cancel();
    assert_eq!(task.woken(), 1);
    assert_eq!(next(&task, stream), Poll::Ready(None));
}

#[test]
fn the_end_is_kept_whether_the_inner_stream_keeps_it_or_not() {
    let (task, polls) = (Task::new(), Rc::new(Cell::new(0)));
    let token = CancellationToken::new();
    let restarts = Polls(polls.clone(), |n, _: &mut Context<'_>| {
        Poll::Ready((n != 2).then_some(n))
    });
    let mut stream = pin!(restarts.take_until_cancelled(&token));
    assert!(!stream.is_terminated());
    assert_eq!(next(&task, stream.as_mut()), Poll::Ready(Some(1)));
    assert!(!stream.is_terminated());
    for _ in 0..3 {
        assert_eq!(next(&task, stream.as_mut()), Poll::Ready(None));
        assert!(stream.is_terminated());
    }
    assert_eq!(polls.get(), 2);
    assert!(!token.is_cancelled(), "it ended by itself");
}

#[test]
fn the_size_hint_promises_no_item() {
    let token = CancellationToken::new();
    let stream = Polls(Rc::default(), |n, _: &mut Context<'_>| Poll::Ready(Some(n)));
    let mut stream = pin!(stream.take_until_cancelled(&token));
    assert_eq!(stream.size_hint(), (0, Some(5)));
    token.cancel();
    assert_eq!(next(&Task::new(), stream.as_mut()), Poll::Ready(None));
    assert_eq!(stream.size_hint(), (0, Some(0)));
}

#[test]
fn any_signal_cuts_a_stream_and_any_stream_is_cut() {
    /// Cancelled from the beginning; its wait is nobody's.
    struct Stopped;
    impl CancelSignal for Stopped {
        type Wait<'a> = std::future::Ready<()>;
        fn is_cancelled(&self) -> bool {
            true
        }
        fn reason(&self) -> Option<Reason> {
            Some(Reason::explicit())
        }
        fn cancelled(&self) -> Self::Wait<'_> {
            std::future::ready(())
        }
    }
    let task = Task::new();
    let mut items = Polls(Rc::default(), |n, _: &mut Context<'_>| Poll::Ready(Some(n)));
    let cut = pin!((&mut items).take_until_cancelled(&Stopped));
    assert_eq!(next(&task, cut), Poll::Ready(None));

    let token = CancellationToken::new();
    let signal: Box<dyn DynCancelSignal> = Box::new(token.clone());
    {
        let boxed: Pin<Box<dyn Stream<Item = usize> + '_>> = Box::pin(&mut items);
        let mut cut = pin!(boxed.take_until_cancelled(&*signal));
        assert_eq!(next(&task, cut.as_mut()), Poll::Ready(Some(1)));
        token.cancel();
        assert_eq!(next(&task, cut), Poll::Ready(None));
    }
    // The stream itself was only lent.
    assert_eq!(next(&task, pin!(items)), Poll::Ready(Some(2)));
}

#[test]
fn a_dropped_stream_leaves_no_waker() {
    let task = Task::new();
    let token = CancellationToken::new();
    {
        let idle = Polls(Rc::default(), |_, _: &mut Context<'_>| {
            Poll::<Option<u8>>::Pending
        });
        let stream = pin!(idle.take_until_cancelled(&token));
        assert!(next(&task, stream).is_pending());
        assert_eq!(task.wakers(), 1);
    }
    assert_eq!(task.wakers(), 0);
}

#[test]
fn a_cut_stream_is_send_when_its_parts_are() {
    fn is_send<T: Send>() {}
    is_send::<TakeUntilCancelled<'static, Pin<Box<dyn Stream<Item = u8> + Send>>, CancellationToken>>(
    );
}
