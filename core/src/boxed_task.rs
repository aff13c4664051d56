//! Futures in boxes, for executors whose type is not known.

use crate::spawn::{Spawn, SpawnError};
use alloc::boxed::Box;
use core::any::Any;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use pin_project_lite::pin_project;

/// A future of an unknown type, that can be had back as long as it was not polled.
trait Erased: Future<Output = ()> {
    /// Moves it to `into`, an `Option` of it, if it was never polled.
    fn take(self: Pin<&mut Self>, into: &mut dyn Any);
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F> {
        // Not pinned by its place.
        Fresh { future: Option<F> },
        Begun { #[pin] future: F },
    }
}

impl<F: Future<Output = ()>> Future for Stage<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let StageProjection::Fresh { future } = self.as_mut().project() {
            let Some(future) = future.take() else {
                return Poll::Ready(());
            };
            self.set(Stage::Begun { future });
        }
        match self.project() {
            StageProjection::Begun { future } => future.poll(cx),
            StageProjection::Fresh { .. } => unreachable!("it has begun"),
        }
    }
}

impl<F: Future<Output = ()> + 'static> Erased for Stage<F> {
    fn take(self: Pin<&mut Self>, into: &mut dyn Any) {
        if let StageProjection::Fresh { future } = self.project() {
            if let Some(into) = into.downcast_mut::<Option<F>>() {
                *into = future.take();
            }
        }
    }
}

macro_rules! boxes {
    (
        [$($send:tt)*];
        $(#[$task_doc:meta])*
        $Task:ident;
        $(#[$boxed_doc:meta])*
        $Boxed:ident;
    ) => {
        $(#[$task_doc])*
        #[must_use = "futures do nothing unless polled"]
        pub struct $Task(Pin<Box<dyn Erased $($send)*>>);

        impl Future for $Task {
            type Output = ();

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.0.as_mut().poll(cx)
            }
        }

        impl fmt::Debug for $Task {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Task)).finish_non_exhaustive()
            }
        }

        $(#[$boxed_doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $Boxed<S>(pub S);

        impl<S: Spawn<$Task>> $Boxed<S> {
            fn give<F>(&self, future: F) -> Result<(), SpawnError<F>>
            where
                F: Future<Output = ()> $($send)* + 'static,
            {
                let future = Some(future);
                let task = $Task(Box::pin(Stage::Fresh { future }));
                self.0.spawn(task).map_err(|refused| {
                    let mut future: Option<F> = None;
                    refused.into_inner().0.as_mut().take(&mut future);
                    match future {
                        Some(future) => SpawnError::new(future),
                        None => panic!("an executor refused a future that it had polled"),
                    }
                })
            }
        }
    };
}

boxes! {
    [+ Send];
    /// A future of whatever type, in a box: what a `dyn Spawn<BoxTask>` runs. Made by [`Boxed`].
    BoxTask;
    /// An executor of [`BoxTask`]s as one of any `Send` futures, so that its type need not be known. Each
    /// future is boxed.
    ///
    /// ```
    /// use umbel_core::{Boxed, BoxTask, Spawn};
    /// # use umbel_core::SpawnError;
    ///
    /// fn library(executor: &dyn Spawn<BoxTask>) {
    ///     Boxed(executor).spawn(async { /* … */ }).unwrap();
    /// }
    /// # struct Drops;
    /// # impl<F> Spawn<F> for Drops {
    /// #     fn spawn(&self, _: F) -> Result<(), SpawnError<F>> { Ok(()) }
    /// # }
    /// # library(&Drops);
    /// ```
    Boxed;
}

boxes! {
    [];
    /// A [`BoxTask`] that need not be `Send`. Made by [`LocalBoxed`].
    LocalBoxTask;
    /// As [`Boxed`], for executors that stay on their thread.
    LocalBoxed;
}

// Not by the macro: the compiler shows these to who has no executor.

impl<F: Future<Output = ()> + Send + 'static, S: Spawn<BoxTask>> Spawn<F> for Boxed<S> {
    /// # Panics
    ///
    /// If the executor refuses a future that it has polled: then it cannot come back.
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        self.give(future)
    }
}

impl<F: Future<Output = ()> + 'static, S: Spawn<LocalBoxTask>> Spawn<F> for LocalBoxed<S> {
    /// # Panics
    ///
    /// As that of [`Boxed`].
    fn spawn(&self, future: F) -> Result<(), SpawnError<F>> {
        self.give(future)
    }
}
