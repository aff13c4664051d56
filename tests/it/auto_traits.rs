//! n_31: which types cross threads, move when pinned, and are copied. It compiles or it does not.

use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::future::Ready;
use std::marker::PhantomPinned;
use std::rc::Rc;
use umbel_core::{
    ChildContext, FixedNursery, FixedRun, FixedSet, Handle, Join, LocalChild, LocalHandle,
    LocalNursery, LocalRun, LocalSpawnWait, Nursery, Run, SpawnWait, StaticChild,
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
