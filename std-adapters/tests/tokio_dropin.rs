//! Moving from tokio-util's `CancellationToken` to ours is a change of `use`: one body of tests, which
//! calls every public method of tokio-util's, compiles and passes for both. Of its `FutureExt`, the
//! methods about tokens; those about tokio's time are tokio's.

/// The tests, for what `$sync` calls a token and `$future` the methods of futures.
macro_rules! dropin {
    ($name:ident, $sync:path, $future:path) => {
        mod $name {
            use $future as future;
            use $sync as sync;

            use future::FutureExt;
            use std::collections::HashSet;
            use std::fmt::Debug;
            use std::future::{Future, pending, ready};
            use std::hash::Hash;
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::pin::{Pin, pin};
            use std::sync::Arc;
            use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
            use std::task::{Context, Poll, Wake, Waker};
            use sync::{
                CancellationToken, DropGuard, DropGuardRef, WaitForCancellationFuture,
                WaitForCancellationFutureOwned,
            };

            #[derive(Default)]
            struct Wakes(AtomicUsize);

            impl Wake for Wakes {
                fn wake(self: Arc<Self>) {
                    self.0.fetch_add(1, SeqCst);
                }
            }

            impl Wakes {
                fn count(&self) -> usize {
                    self.0.load(SeqCst)
                }
            }

            fn counted() -> (Arc<Wakes>, Waker) {
                let wakes = Arc::new(Wakes::default());
                (wakes.clone(), wakes.into())
            }

            fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
                future.poll(&mut Context::from_waker(waker))
            }

            /// Pending, then ready with the number of its polls.
            #[derive(Default)]
            struct Second(u32);

            impl Future for Second {
                type Output = u32;

                fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
                    self.0 += 1;
                    match self.0 {
                        1 => Poll::Pending,
                        n => Poll::Ready(n),
                    }
                }
            }

            /// Must not be polled.
            struct Untouched;

            impl Future for Untouched {
                type Output = u32;

                fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
                    panic!("polled")
                }
            }

            #[test]
            fn the_types_have_the_same_traits() {
                fn token<T>()
                where
                    T: Clone + Debug + Default + Eq + Hash + Send + Sync + 'static,
                    T: Unpin + UnwindSafe + RefUnwindSafe,
                {
                }
                fn guard<T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
                fn wait<T: Future<Output = ()> + Debug + Send + Sync>() {}
                fn extended<T: FutureExt + ?Sized>() {}
                token::<CancellationToken>();
                guard::<DropGuard>();
                guard::<DropGuardRef<'static>>();
                wait::<WaitForCancellationFuture<'static>>();
                wait::<WaitForCancellationFutureOwned>();
                extended::<dyn Future<Output = u8>>();
            }

            /// Both warn of a future that nobody polls: were it not so, the expectations would fail.
            #[deny(unfulfilled_lint_expectations)]
            #[test]
            fn the_futures_must_be_used() {
                let t = CancellationToken::new();
                #[expect(unused_must_use)]
                t.cancelled();
                #[expect(unused_must_use)]
                t.clone().cancelled_owned();
                #[expect(unused_must_use)]
                t.run_until_cancelled(Untouched);
                #[expect(unused_must_use)]
                t.clone().run_until_cancelled_owned(Untouched);
                #[expect(unused_must_use)]
                Untouched.with_cancellation_token(&t);
                #[expect(unused_must_use)]
                Untouched.with_cancellation_token_owned(t.clone());
            }

            #[test]
            fn all_print() {
                let t = CancellationToken::new();
                let wait = format!("{:?}", t.cancelled());
                assert!(wait.starts_with("WaitForCancellationFuture"), "{wait}");
                let wait = format!("{:?}", t.clone().cancelled_owned());
                assert!(wait.starts_with("WaitForCancellationFutureOwned"), "{wait}");
                assert!(format!("{:?}", t.drop_guard_ref()).starts_with("DropGuardRef"));
                assert!(format!("{:?}", t.drop_guard()).starts_with("DropGuard"));
            }

            #[test]
            fn the_signatures_are_the_same() {
                // Named types where tokio-util names them, and calls that infer nothing.
                let _: fn() -> CancellationToken = CancellationToken::new;
                let _: fn(&CancellationToken) -> CancellationToken = CancellationToken::child_token;
                let _: fn(&CancellationToken) = CancellationToken::cancel;
                let _: fn(&CancellationToken) -> bool = CancellationToken::is_cancelled;
                let _: for<'a> fn(&'a CancellationToken) -> WaitForCancellationFuture<'a> =
                    CancellationToken::cancelled;
                let _: fn(CancellationToken) -> WaitForCancellationFutureOwned =
                    CancellationToken::cancelled_owned;
                let _: fn(CancellationToken) -> DropGuard = CancellationToken::drop_guard;
                let _: for<'a> fn(&'a CancellationToken) -> DropGuardRef<'a> =
                    CancellationToken::drop_guard_ref;
                let _: fn(&DropGuard) -> &CancellationToken = DropGuard::token;
                let _: fn(DropGuard) -> CancellationToken = DropGuard::disarm;
                let _: for<'g> fn(&'g DropGuardRef<'static>) -> &'g CancellationToken =
                    DropGuardRef::<'static>::token;
                let _: fn(DropGuardRef<'static>) -> &'static CancellationToken =
                    DropGuardRef::<'static>::disarm;
            }

            #[test]
            fn cancel_returns_nothing_and_is_idempotent() {
                let t = CancellationToken::new();
                assert!(!t.is_cancelled());
                let () = t.cancel();
                let () = t.cancel();
                assert!(t.is_cancelled());
                assert!(!CancellationToken::default().is_cancelled());
            }

            #[test]
            fn cancellation_goes_down_and_not_up() {
                let root = CancellationToken::new();
                let middle = root.child_token();
                let low = middle.child_token();
                let other = root.child_token();
                middle.cancel();
                assert!(middle.is_cancelled() && low.is_cancelled());
                assert!(!root.is_cancelled() && !other.is_cancelled());
                root.cancel();
                assert!(other.is_cancelled());
                assert!(root.child_token().is_cancelled(), "born cancelled");
            }

            #[test]
            fn dropping_tokens_cancels_nothing_and_breaks_no_chain() {
                let root = CancellationToken::new();
                let middle = root.child_token();
                let low = middle.child_token();
                drop(middle);
                assert!(!low.is_cancelled());
                root.cancel();
                assert!(low.is_cancelled());
                let orphan = CancellationToken::new().child_token();
                assert!(!orphan.is_cancelled());
            }

            // A token's hash is its identity, which cancelling does not change: that is shown here.
            #[allow(clippy::mutable_key_type)]
            #[test]
            fn clones_are_equal_and_hash_alike_and_relatives_are_not() {
                let t = CancellationToken::new();
                let clone = t.clone();
                assert_eq!(t, clone);
                assert_ne!(t, t.child_token());
                assert_ne!(t, CancellationToken::new());
                let mut set = HashSet::from([t.clone()]);
                assert!(!set.insert(clone));
                assert!(set.insert(t.child_token()));
                t.cancel();
                assert!(set.contains(&t));
                assert!(format!("{t:?}").starts_with("CancellationToken"));
            }

            #[test]
            fn a_wait_ends_when_the_token_is_cancelled() {
                let (wakes, waker) = counted();
                let t = CancellationToken::new();
                let mut wait = pin!(t.cancelled());
                let mut owned = pin!(t.clone().cancelled_owned());
                assert!(poll(wait.as_mut(), &waker).is_pending());
                assert!(poll(owned.as_mut(), &waker).is_pending());
                t.cancel();
                assert_eq!(wakes.count(), 2);
                assert!(poll(wait, &waker).is_ready());
                assert!(poll(owned, &waker).is_ready());
                assert!(poll(pin!(t.cancelled()), &waker).is_ready());
                assert!(poll(pin!(t.clone().cancelled_owned()), &waker).is_ready());
            }

            #[test]
            fn the_last_waker_is_woken_and_a_dropped_wait_is_not() {
                let ((first, old), (second, new)) = (counted(), counted());
                let t = CancellationToken::new();
                let mut wait = pin!(t.cancelled());
                assert!(poll(wait.as_mut(), &old).is_pending());
                assert!(poll(wait.as_mut(), &new).is_pending());
                {
                    let dropped = pin!(t.cancelled());
                    assert!(poll(dropped, &old).is_pending());
                }
                t.cancel();
                assert_eq!((first.count(), second.count()), (0, 1));
            }

            #[test]
            fn guards_cancel_when_dropped_unless_disarmed() {
                let t = CancellationToken::new();
                let guard: DropGuard = t.clone().drop_guard();
                assert_eq!(guard.token(), &t);
                let back: CancellationToken = guard.disarm();
                assert_eq!(back, t);
                assert!(!t.is_cancelled());
                {
                    let guard: DropGuardRef<'_> = t.drop_guard_ref();
                    assert_eq!(guard.token(), &t);
                    let back: &CancellationToken = guard.disarm();
                    assert_eq!(back, &t);
                }
                assert!(!t.is_cancelled());
                let child = t.child_token();
                drop(child.clone().drop_guard());
                assert!(child.is_cancelled() && !t.is_cancelled());
                drop(t.drop_guard_ref());
                assert!(t.is_cancelled());
            }

            #[test]
            fn a_future_that_ends_gives_its_output() {
                let (_, waker) = counted();
                let t = CancellationToken::new();
                let some = Poll::Ready(Some(7));
                assert_eq!(poll(pin!(t.run_until_cancelled(ready(7))), &waker), some);
                let owned = t.clone().run_until_cancelled_owned(ready(7));
                assert_eq!(poll(pin!(owned), &waker), some);
                let with = ready(7).with_cancellation_token(&t);
                assert_eq!(poll(pin!(with), &waker), some);
                let with = ready(7).with_cancellation_token_owned(t.clone());
                assert_eq!(poll(pin!(with), &waker), some);
            }

            #[test]
            fn a_cancelled_future_gives_nothing() {
                let (wakes, waker) = counted();
                let t = CancellationToken::new();
                let mut run = pin!(t.run_until_cancelled(pending::<u8>()));
                let mut owned = pin!(t.clone().run_until_cancelled_owned(pending::<u8>()));
                let mut with = pin!(pending::<u8>().with_cancellation_token(&t));
                let mut with_owned = pin!(pending::<u8>().with_cancellation_token_owned(t.clone()));
                assert!(poll(run.as_mut(), &waker).is_pending());
                assert!(poll(owned.as_mut(), &waker).is_pending());
                assert!(poll(with.as_mut(), &waker).is_pending());
                assert!(poll(with_owned.as_mut(), &waker).is_pending());
                t.cancel();
                assert_eq!(wakes.count(), 4);
                assert_eq!(poll(run, &waker), Poll::Ready(None));
                assert_eq!(poll(owned, &waker), Poll::Ready(None));
                assert_eq!(poll(with, &waker), Poll::Ready(None));
                assert_eq!(poll(with_owned, &waker), Poll::Ready(None));
            }

            #[test]
            fn tie_at_the_first_poll_the_token_comes_first() {
                let (_, waker) = counted();
                let t = CancellationToken::new();
                // Also if it is cancelled after the call and before the poll.
                let run = pin!(t.run_until_cancelled(Untouched));
                let owned = pin!(t.clone().run_until_cancelled_owned(Untouched));
                t.cancel();
                assert_eq!(poll(run, &waker), Poll::Ready(None));
                assert_eq!(poll(owned, &waker), Poll::Ready(None));
                let with = Untouched.with_cancellation_token(&t);
                assert_eq!(poll(pin!(with), &waker), Poll::Ready(None));
                let with = Untouched.with_cancellation_token_owned(t.clone());
                assert_eq!(poll(pin!(with), &waker), Poll::Ready(None));
            }

            #[test]
            fn tie_at_later_polls_the_future_comes_first() {
                let (_, waker) = counted();
                let t = CancellationToken::new();
                let mut run = pin!(t.run_until_cancelled(Second::default()));
                let mut owned = pin!(t.clone().run_until_cancelled_owned(Second::default()));
                let mut with = pin!(Second::default().with_cancellation_token(&t));
                let mut with_owned =
                    pin!(Second::default().with_cancellation_token_owned(t.clone()));
                assert!(poll(run.as_mut(), &waker).is_pending());
                assert!(poll(owned.as_mut(), &waker).is_pending());
                assert!(poll(with.as_mut(), &waker).is_pending());
                assert!(poll(with_owned.as_mut(), &waker).is_pending());
                t.cancel();
                assert_eq!(poll(run, &waker), Poll::Ready(Some(2)));
                assert_eq!(poll(owned, &waker), Poll::Ready(Some(2)));
                assert_eq!(poll(with, &waker), Poll::Ready(Some(2)));
                assert_eq!(poll(with_owned, &waker), Poll::Ready(Some(2)));
            }

            #[test]
            fn a_future_that_cancels_its_own_token_and_ends_has_ended() {
                let (_, waker) = counted();
                let t = CancellationToken::new();
                let own = async {
                    t.cancel();
                    5
                };
                assert_eq!(
                    poll(pin!(t.run_until_cancelled(own)), &waker),
                    Poll::Ready(Some(5))
                );
            }

            #[test]
            fn waits_that_are_not_polled_or_dropped_cancel_nothing() {
                let (wakes, waker) = counted();
                let t = CancellationToken::new();
                drop(t.cancelled());
                drop(t.clone().cancelled_owned());
                drop(t.run_until_cancelled(Untouched));
                drop(t.clone().run_until_cancelled_owned(Untouched));
                let mut run = Box::pin(t.run_until_cancelled(pending::<u8>()));
                assert!(poll(run.as_mut(), &waker).is_pending());
                drop(run);
                assert!(!t.is_cancelled());
                t.cancel();
                assert_eq!(wakes.count(), 0);
            }

            #[test]
            fn a_wait_keeps_its_token_and_ends_with_an_ancestor() {
                let (wakes, waker) = counted();
                let root = CancellationToken::new();
                let mut wait = pin!(root.child_token().child_token().cancelled_owned());
                let run = root
                    .child_token()
                    .run_until_cancelled_owned(pending::<u8>());
                let mut run = pin!(run);
                assert!(poll(wait.as_mut(), &waker).is_pending());
                assert!(poll(run.as_mut(), &waker).is_pending());
                root.cancel();
                assert_eq!(wakes.count(), 2);
                assert!(poll(wait, &waker).is_ready());
                assert_eq!(poll(run, &waker), Poll::Ready(None));
            }

            #[test]
            fn the_futures_type_is_the_only_parameter() {
                let (_, waker) = counted();
                let t = CancellationToken::new();
                let run = t.run_until_cancelled::<std::future::Ready<u8>>(ready(7));
                assert_eq!(poll(pin!(run), &waker), Poll::Ready(Some(7)));
                let run = t.run_until_cancelled_owned::<std::future::Ready<u8>>(ready(7));
                assert_eq!(poll(pin!(run), &waker), Poll::Ready(Some(7)));
            }

            #[test]
            fn a_borrowing_future_may_be_spawned_with_what_it_borrows() {
                fn spawnable<F: Future + Send + 'static>(_: &F) {}
                let t = CancellationToken::new();
                spawnable(&async move {
                    t.cancelled().await;
                    t.run_until_cancelled(ready(1)).await;
                    ready(1).with_cancellation_token(&t).await
                });
            }

            #[test]
            fn the_owned_futures_are_static_and_may_be_spawned() {
                fn spawnable<F: Future + Send + 'static>(_: &F) {}
                let t = CancellationToken::new();
                spawnable(&t.clone().cancelled_owned());
                spawnable(&t.clone().run_until_cancelled_owned(ready(1)));
                spawnable(&ready(1).with_cancellation_token_owned(t));
            }
        }
    };
}

dropin!(of_tokio_util, tokio_util::sync, tokio_util::future);
dropin!(of_umbel, umbel, umbel);

/// What ours are and tokio-util's are not.
#[test]
fn our_waits_are_unpin_and_unwind_safe() {
    fn all<T: Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    all::<umbel::WaitForCancellationFuture<'static>>();
    all::<umbel::WaitForCancellationFutureOwned>();
}
