//! Whether a nursery and its children may cross threads.
//!
//! One engine serves both. What differs: the boxes of policy and timer say `Send` or do not, and a
//! marker in every public type of a local nursery keeps it where it is. Because of the marker, the
//! parts below (nodes, queue, running children) may be `Send` without asking what the children are.

use crate::nursery::deadline::Alarm;
use crate::nursery::policy::Policy;

pub(crate) trait Mode {
    type Policy<'env, E>: Policy<E> + ?Sized;
    type Alarm<'env>: Alarm + ?Sized;
    /// To stand in a `PhantomData`.
    type Marker;
}

/// Children, errors, policy and timer are `Send`; the nursery is, too.
pub(crate) enum Threads {}

impl Mode for Threads {
    type Policy<'env, E> = dyn Policy<E> + Send + 'env;
    type Alarm<'env> = dyn Alarm + Send + 'env;
    type Marker = ();
}

/// Children are anything; the nursery and its handles stay on their thread.
pub(crate) enum Local {}

impl Mode for Local {
    type Policy<'env, E> = dyn Policy<E> + 'env;
    type Alarm<'env> = dyn Alarm + 'env;
    type Marker = *const dyn StaysOnItsThread;
}

/// A pointer to one is neither `Send` nor `Sync`; the compiler tells its name to whoever sends a local
/// nursery away.
pub(crate) trait StaysOnItsThread {}
