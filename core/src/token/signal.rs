//! What a library takes instead of a token: anything that can be cancelled.

use crate::reason::Reason;
use crate::token::fixed::{StaticChild, StaticWait};
use core::future::Future;

/// Something whose cancellation can be looked at and waited for: a token of any crate, a
/// browser's abort signal, a button.
///
/// A library that takes `&impl CancelSignal` names no runtime. Works without `alloc`.
///
/// Implementors see to it that `is_cancelled` never goes back to false, that `reason` is `Some` as
/// soon as it is true, and that a wait ends, and wakes its task, once it is.
///
/// ```
/// use umbel_core::{CancelSignal, Cancelled, FutureExt};
///
/// async fn fetch(stop: &impl CancelSignal) -> Result<u32, Cancelled> {
///     async { 7 }.or_cancelled(stop).await
/// }
/// # drop(fetch(&umbel_core::CancellationToken::new()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing whose cancellation can be waited for",
    label = "not a signal",
    note = "a `CancellationToken` is a signal, and a `StaticChild`, and `umbel::tokio::TokioToken` is tokio-util's token as one"
)]
pub trait CancelSignal {
    /// The wait for the cancellation.
    type Wait<'a>: Future<Output = ()>
    where
        Self: 'a;

    /// Whether it is cancelled.
    fn is_cancelled(&self) -> bool;

    /// Why; `None` if it is not cancelled.
    fn reason(&self) -> Option<Reason>;

    /// Waits until it is cancelled; ends at the first poll if it is.
    fn cancelled(&self) -> Self::Wait<'_>;
}

impl<S: CancelSignal + ?Sized> CancelSignal for &S {
    type Wait<'a>
        = S::Wait<'a>
    where
        Self: 'a;

    #[inline]
    fn is_cancelled(&self) -> bool {
        (**self).is_cancelled()
    }

    #[inline]
    fn reason(&self) -> Option<Reason> {
        (**self).reason()
    }

    #[inline]
    fn cancelled(&self) -> Self::Wait<'_> {
        (**self).cancelled()
    }
}

impl CancelSignal for StaticChild {
    type Wait<'a> = StaticWait<'a>;

    #[inline]
    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    #[inline]
    fn reason(&self) -> Option<Reason> {
        self.reason()
    }

    #[inline]
    fn cancelled(&self) -> Self::Wait<'_> {
        self.cancelled()
    }
}

#[cfg(feature = "alloc")]
mod dynamic {
    use super::CancelSignal;
    use crate::reason::Reason;
    use crate::token::handle::CancellationToken;
    use crate::token::wait::WaitForCancellationFuture;
    use ::alloc::boxed::Box;
    use core::future::Future;
    use core::pin::Pin;

    impl CancelSignal for CancellationToken {
        type Wait<'a> = WaitForCancellationFuture<'a>;

        #[inline]
        fn is_cancelled(&self) -> bool {
            self.node().is_cancelled()
        }

        #[inline]
        fn reason(&self) -> Option<Reason> {
            self.reason_now()
        }

        #[inline]
        fn cancelled(&self) -> Self::Wait<'_> {
            WaitForCancellationFuture::new(self)
        }
    }

    impl<S: CancelSignal + ?Sized> CancelSignal for Box<S> {
        type Wait<'a>
            = S::Wait<'a>
        where
            Self: 'a;

        #[inline]
        fn is_cancelled(&self) -> bool {
            (**self).is_cancelled()
        }

        #[inline]
        fn reason(&self) -> Option<Reason> {
            (**self).reason()
        }

        #[inline]
        fn cancelled(&self) -> Self::Wait<'_> {
            (**self).cancelled()
        }
    }

    /// A [`CancelSignal`] of which `dyn` can be made; each wait is boxed.
    ///
    /// Every `'static` signal whose wait is `Send` is one. `dyn DynCancelSignal`, also with
    /// `+ Send` and `+ Send + Sync`, is a [`CancelSignal`] again, and so is a box of one. The names
    /// differ from [`CancelSignal`]'s so that both traits may be in scope.
    ///
    /// ```
    /// use umbel_core::{CancelSignal, CancellationToken, DynCancelSignal};
    ///
    /// let token = CancellationToken::new();
    /// let signals: [Box<dyn DynCancelSignal + Send + Sync>; 2] =
    ///     [Box::new(token.clone()), Box::new(CancellationToken::never())];
    /// token.cancel();
    /// assert!(signals[0].is_cancelled() && !signals[1].is_cancelled());
    /// ```
    pub trait DynCancelSignal {
        /// [`CancelSignal::is_cancelled`].
        fn dyn_is_cancelled(&self) -> bool;

        /// [`CancelSignal::reason`].
        fn dyn_reason(&self) -> Option<Reason>;

        /// [`CancelSignal::cancelled`], in a box.
        fn dyn_cancelled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    }

    impl<S> DynCancelSignal for S
    where
        S: CancelSignal + 'static,
        for<'a> S::Wait<'a>: Send,
    {
        fn dyn_is_cancelled(&self) -> bool {
            self.is_cancelled()
        }

        fn dyn_reason(&self) -> Option<Reason> {
            self.reason()
        }

        fn dyn_cancelled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(self.cancelled())
        }
    }

    macro_rules! signal_for_dyn {
        ($($bounds:tt)*) => {
            impl<'d> CancelSignal for dyn DynCancelSignal $($bounds)* + 'd {
                type Wait<'a>
                    = Pin<Box<dyn Future<Output = ()> + Send + 'a>>
                where
                    Self: 'a;

                fn is_cancelled(&self) -> bool {
                    self.dyn_is_cancelled()
                }

                fn reason(&self) -> Option<Reason> {
                    self.dyn_reason()
                }

                fn cancelled(&self) -> Self::Wait<'_> {
                    self.dyn_cancelled()
                }
            }
        };
    }
    signal_for_dyn!();
    signal_for_dyn!(+ Send);
    signal_for_dyn!(+ Send + Sync);
}
#[cfg(feature = "alloc")]
pub use dynamic::DynCancelSignal;
