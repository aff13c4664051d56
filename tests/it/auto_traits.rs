//! n_31: which types cross threads, move when pinned, and are copied. It compiles or it does not.

use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::future::Ready;
use std::marker::PhantomPinned;
use std::rc::Rc;
use umbel_core::{
    BoxTask, ChildContext, ChildTask, ExecutorHandle, ExecutorNursery, FixedNursery, FixedRun,
    FixedSet, Handle, Join, LocalBoxTask, LocalChild, LocalExecutorHandle, LocalExecutorNursery,
    LocalHandle, LocalNursery, LocalRun, LocalSpawnWait, Nursery, Run, SpawnWait, StaticChild,
};

/// Crosses threads, but is not shared by them.
type Moves = std::cell::Cell<u8>;
type Body<T> = Ready<Result<T, Moves>>;

assert_impl_all!(Nursery<'_, Moves>: Send);
assert_not_impl_any!(Nursery<'_, Moves>: Sync);
assert_impl_all!(Run<'_, Moves, u8, Body<u8>>: Send);
assert_not_impl_any!(Run<'_, Moves, Rc<u8>, Body<Rc<u8>>>: Send);
assert_impl_all!(Handle<'_, Moves>: Send, Sync);
assert_impl_all!(umbel_core::Child<'_, '_, Moves>: Send);
assert_impl_all!(SpawnWait<'_, u8, Moves>: Send, Sync);
assert_impl_all!(ChildContext: Send, Sync);
// Of children on an executor.
assert_impl_all!(ExecutorNursery<'_, Moves, ()>: Send);
assert_not_impl_any!(ExecutorNursery<'_, Moves, ()>: Sync);
assert_impl_all!(ExecutorHandle<'_, Moves, ()>: Send, Sync);
assert_not_impl_any!(ExecutorHandle<'_, Moves, Moves>: Send, Sync);
assert_impl_all!(ChildTask<Body<u8>>: Send);
assert_not_impl_any!(ChildTask<Body<Rc<u8>>>: Send);
assert_impl_all!(BoxTask: Send, Unpin);
assert_not_impl_any!(LocalBoxTask: Send);
assert_not_impl_any!(LocalExecutorNursery<'_, u8, ()>: Send, Sync);
assert_not_impl_any!(LocalExecutorHandle<'_, u8, ()>: Send, Sync);
// Of a child of either sort of nursery.
assert_impl_all!(Join<u8>: Send, Sync);
assert_not_impl_any!(Join<Rc<u8>>: Send);

assert_not_impl_any!(LocalNursery<'_, u8>: Send, Sync);
assert_not_impl_any!(LocalRun<'_, u8, u8, Body<u8>>: Send, Sync);
assert_not_impl_any!(LocalHandle<'_, u8>: Send, Sync);
assert_not_impl_any!(LocalChild<'_, '_, u8>: Send, Sync);
assert_not_impl_any!(LocalSpawnWait<'_, u8, u8>: Send, Sync);

assert_not_impl_any!(FixedNursery<u8, 2>: Send, Sync);
assert_not_impl_any!(FixedRun<'_, '_, u8, u8, Body<u8>, umbel_core::NoSignal, 2, 256>: Send, Sync);

// A set may move if its futures may.
assert_impl_all!(FixedSet<Ready<()>, 2>: Unpin);
assert_not_impl_any!(FixedSet<PhantomPinned, 2>: Unpin);

// One task's place among the children of a static token.
assert_impl_all!(StaticChild: Send, Sync);
assert_not_impl_any!(StaticChild: Clone);
