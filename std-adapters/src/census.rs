//! Who is alive: a leak report, for tests.
//!
//! A nursery leaks nothing that outlives it, but a program's nurseries are open for long, and a child that
//! should have ended keeps its connection, its memory, its shutdown waiting. A test attaches a [`Census`]
//! and asks it at the points at which nobody is to be left, or only those who are meant to.
//!
//! ```
//! use umbel::census::Census;
//! use umbel::{JoinError, Nursery};
//!
//! let census = Census::new();
//! let n = Nursery::<JoinError>::new().name("server").observer(&census);
//! let h = n.handle();
//! smol::block_on(n.run(async {
//!     let request = h.child().name("request");
//!     request.spawn(async {
//!         drop(h.child().name("audit").spawn(std::future::pending::<Result<(), _>>()));
//!         Ok(())
//!     })
//!     .await?;
//!     smol::future::yield_now().await; // let the nursery take the child up
//!
//!     // The request is over. What has it left behind?
//!     let left = census.alive();
//!     assert_eq!(left.children().count(), 1);
//!     assert!(left.to_string().contains(r#"child "audit" (spawned at "#), "{left}");
//!     h.cancel();
//!     Ok(())
//! }))
//! .unwrap_err();
//! census.assert_empty();
//! ```

use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};
use umbel_core::{Ending, Id, Mark, ObservedChild, ObservedScope, Observer, Reason, Stats};

/// An [`Observer`] that knows which scopes and children are alive, and where they came from.
///
/// One may be given to any number of nurseries. It holds a lock while it is told or asked, for
/// a moment, and allocates.
#[derive(Debug, Default)]
pub struct Census(Mutex<Alive>);

impl Census {
    /// Nobody is alive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who is alive now.
    pub fn alive(&self) -> Alive {
        self.lock().clone()
    }

    /// Asserts that nobody is alive.
    ///
    /// # Panics
    ///
    /// If somebody is: with all of them, and where they came from.
    #[track_caller]
    pub fn assert_empty(&self) {
        let alive = self.alive();
        assert!(alive.is_empty(), "still alive:\n{alive}");
    }

    fn lock(&self) -> MutexGuard<'_, Alive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a scope, if it is there.
    fn scope(&self, scope: &ObservedScope<'_>, change: impl FnOnce(&mut AliveScope)) {
        let mut alive = self.lock();
        if let Some(scope) = alive.0.iter_mut().find(|of| of.mark == scope.mark()) {
            change(scope);
        }
    }

    /// Changes a child, if it is there.
    fn child(
        &self,
        scope: &ObservedScope<'_>,
        child: &ObservedChild<'_>,
        change: impl FnOnce(&mut AliveChild),
    ) {
        self.scope(scope, |scope| {
            let mut children = scope.children.iter_mut();
            if let Some(child) = children.find(|of| of.mark == child.mark()) {
                change(child);
            }
        });
    }
}

/// The scopes and children that were alive at one moment, each with where it came from; made by
/// [`Census::alive`].
///
/// `Display` is a line for each.
#[derive(Debug, Clone, Default)]
pub struct Alive(Vec<AliveScope>);

impl Alive {
    /// Whether nobody was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes, oldest first.
    pub fn scopes(&self) -> impl Iterator<Item = &AliveScope> {
        self.0.iter()
    }

    /// The children of all scopes.
    pub fn children(&self) -> impl Iterator<Item = &AliveChild> {
        self.0.iter().flat_map(|scope| &scope.children)
    }
}

/// A scope that was open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AliveScope {
    mark: Mark,
    /// Its name.
    pub name: Option<String>,
    /// Where `run` was called.
    pub site: &'static Location<'static>,
    /// Whether it was cancelled and waited for its graceful children.
    pub cancelled: bool,
    /// Whether its body had ended.
    pub body_ended: bool,
    /// Those in it, in the order in which they came.
    pub children: Vec<AliveChild>,
}

/// A child that had not ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AliveChild {
    mark: Mark,
    /// Its name.
    pub name: Option<String>,
    /// Its number; `None` if it had not started.
    pub id: Option<Id>,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// Whether it had been told of a cancellation.
    pub told: bool,
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for scope in &self.0 {
            match &scope.name {
                Some(name) => write!(f, "scope {name:?}")?,
                None => f.write_str("a scope")?,
            }
            let state = match scope.cancelled {
                true => "draining",
                false => "open",
            };
            let body = match scope.body_ended {
                true => "",
                false => ", its body running",
            };
            writeln!(f, " (run at {}): {state}{body}", scope.site)?;
            for child in &scope.children {
                match (&child.name, child.id) {
                    (Some(name), _) => write!(f, "  child {name:?}")?,
                    (None, Some(id)) => write!(f, "  child {id}")?,
                    (None, None) => f.write_str("  a child")?,
                }
                let state = match (child.told, child.id) {
                    (true, _) => "draining",
                    (false, Some(_)) => "running",
                    (false, None) => "not started",
                };
                writeln!(f, " (spawned at {}): {state}", child.site)?;
            }
        }
        Ok(())
    }
}

impl Observer for Census {
    fn opened(&self, scope: &ObservedScope<'_>) {
        self.lock().0.push(AliveScope {
            mark: scope.mark(),
            name: scope.name().map(str::to_owned),
            site: scope.site(),
            cancelled: false,
            body_ended: false,
            children: Vec::new(),
        });
    }

    fn cancelled(&self, scope: &ObservedScope<'_>, _: &Reason) {
        self.scope(scope, |scope| scope.cancelled = true);
    }

    fn body_ended(&self, scope: &ObservedScope<'_>, _: &Ending<'_>) {
        self.scope(scope, |scope| scope.body_ended = true);
    }

    fn closed(&self, scope: &ObservedScope<'_>, _: &Stats) {
        self.lock().0.retain(|of| of.mark != scope.mark());
    }

    fn admitted(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        let who = child.who();
        self.scope(scope, |scope| {
            scope.children.push(AliveChild {
                mark: child.mark(),
                name: who.name().map(str::to_owned),
                id: who.id(),
                site: who.site(),
                told: false,
            });
        });
    }

    fn started(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>) {
        self.child(scope, child, |of| of.id = child.who().id());
    }

    fn told(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, _: &Reason) {
        self.child(scope, child, |of| of.told = true);
    }

    fn ended(&self, scope: &ObservedScope<'_>, child: &ObservedChild<'_>, _: &Ending<'_>) {
        self.scope(scope, |scope| {
            scope.children.retain(|of| of.mark != child.mark());
        });
    }
}
