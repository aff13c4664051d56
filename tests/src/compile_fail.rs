//! What must not compile; each snippet stands beside one that differs only in the mistake and does.
//!
//! A child may borrow what outlives the nursery:
//! ```
//! use umbel_core::Nursery;
//! let kept = 1;
//! let n = Nursery::<()>::new();
//! let h = n.handle();
//! let run = n.run(async { Ok(()) });
//! drop(h.spawn(async { assert_eq!(*&kept, 1); Ok(()) }));
//! drop(run);
//! ```
//! not what dies before it:
//! ```compile_fail,E0597
//! use umbel_core::Nursery;
//! let n = Nursery::<()>::new();
//! let h = n.handle();
//! let run = n.run(async { Ok(()) });
//! {
//!     let kept = 1;
//!     drop(h.spawn(async { assert_eq!(*&kept, 1); Ok(()) }));
//! }
//! drop(run);
//! ```
//! nor what the body owns:
//! ```compile_fail,E0597
//! use umbel_core::Nursery;
//! let n = Nursery::<()>::new();
//! let h = n.handle();
//! drop(n.run(async {
//!     let kept = 1;
//!     let borrowed = &kept;
//!     drop(h.spawn(async move { assert_eq!(*borrowed, 1); Ok(()) }));
//!     Ok(())
//! }));
//! ```
//! A handle's lifetime neither shrinks nor grows:
//! ```compile_fail
//! fn shorter<'a, 'b: 'a>(h: umbel_core::Handle<'b, ()>) -> umbel_core::Handle<'a, ()> { h }
//! ```
//! ```compile_fail
//! fn longer<'a, 'b: 'a>(h: umbel_core::Handle<'a, ()>) -> umbel_core::Handle<'b, ()> { h }
//! ```
//! A wait for room holds the child, so it must not outlive what the child borrows:
//! ```compile_fail,E0597
//! use umbel_core::Nursery;
//! let mut wait = None;
//! {
//!     let kept = 1;
//!     let n = Nursery::<()>::new();
//!     wait = Some(n.handle().spawn_wait(async { assert_eq!(*&kept, 1); Ok(()) }));
//! }
//! drop(wait);
//! ```
//! A join of a value that borrows keeps the borrow:
//! ```compile_fail,E0597
//! use umbel_core::Nursery;
//! let mut join = None;
//! {
//!     let kept = 1;
//!     let n = Nursery::<()>::new();
//!     join = Some(n.handle().spawn(async { Ok(&kept) }));
//! }
//! drop(join);
//! ```
//! Children, outputs, errors, policies and timers cross threads:
//! ```
//! use umbel_core::Nursery;
//! drop(Nursery::<()>::new().handle().spawn(async { let x = std::sync::Arc::new(1); std::future::ready(()).await; drop(x); Ok(()) }));
//! ```
//! ```compile_fail
//! use umbel_core::Nursery;
//! drop(Nursery::<()>::new().handle().spawn(async { let x = std::rc::Rc::new(1); std::future::ready(()).await; drop(x); Ok(()) }));
//! ```
//! ```compile_fail,E0277
//! use umbel_core::Nursery;
//! drop(Nursery::<()>::new().handle().spawn(async { Ok(std::rc::Rc::new(1)) }));
//! ```
//! ```compile_fail
//! drop(umbel_core::Nursery::<std::rc::Rc<()>>::new());
//! ```
//! A nursery whose body does not cross threads does not either:
//! ```compile_fail
//! use umbel_core::Nursery;
//! fn send<T: Send>(_: T) {}
//! let x = std::rc::Rc::new(1);
//! send(Nursery::<()>::new().run(async move { std::future::ready(()).await; drop(x); Ok(()) }));
//! ```
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(umbel_core::Nursery::<()>::new());
//! ```
//! A child of a static token needs a token that is never gone:
//! ```
//! use umbel_core::StaticToken;
//! static TOKEN: StaticToken<1> = StaticToken::new();
//! drop(TOKEN.child());
//! ```
//! ```compile_fail,E0597
//! use umbel_core::StaticToken;
//! let token: StaticToken<1> = StaticToken::new();
//! drop(token.child());
//! ```
//! and there is one of it, which its waits borrow:
//! ```compile_fail,E0599
//! use umbel_core::StaticToken;
//! static TOKEN: StaticToken<1> = StaticToken::new();
//! let child = TOKEN.child().unwrap();
//! drop(child.clone());
//! ```
//! ```compile_fail,E0505
//! use umbel_core::StaticToken;
//! static TOKEN: StaticToken<1> = StaticToken::new();
//! let child = TOKEN.child().unwrap();
//! let wait = child.cancelled();
//! drop(child);
//! drop(wait);
//! ```
//! A fixed set is pinned before it is filled, unless its futures may move:
//! ```
//! use umbel_core::FixedSet;
//! let mut set = std::pin::pin!(FixedSet::<_, 2>::pass_through());
//! assert!(set.as_mut().push(async {}).is_ok());
//! ```
//! ```compile_fail,E0277
//! use umbel_core::FixedSet;
//! let mut set = FixedSet::<_, 2>::pass_through();
//! assert!(std::pin::Pin::new(&mut set).push(async {}).is_ok());
//! ```
//! Its pool lives for ever:
//! ```
//! use umbel_core::{FixedSet, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! drop(FixedSet::<std::future::Ready<()>, 2>::new(&POOL));
//! ```
//! ```compile_fail,E0597
//! use umbel_core::{FixedSet, WakePool};
//! let pool: WakePool<2> = WakePool::new();
//! drop(FixedSet::<std::future::Ready<()>, 2>::new(&pool));
//! ```
//! A fixed nursery's child may borrow what was made before the nursery, and the nursery:
//! ```
//! use umbel_core::{FixedNursery, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! let kept = 1;
//! let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
//! drop(n.run(async {
//!     drop(n.try_spawn(async { drop(n.try_spawn(async { Ok(()) })); assert_eq!(*&kept, 1); Ok(()) }));
//!     Ok(())
//! }));
//! ```
//! not what the body owns:
//! ```compile_fail,E0597
//! use umbel_core::{FixedNursery, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
//! drop(n.run(async {
//!     let kept = 1;
//!     let borrowed = &kept;
//!     drop(n.try_spawn(async move { assert_eq!(*borrowed, 1); Ok(()) }));
//!     Ok(())
//! }));
//! ```
//! nor what is made between nursery and run and dies before the nursery:
//! ```compile_fail,E0597
//! use umbel_core::{FixedNursery, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
//! {
//!     let kept = 1;
//!     drop(n.run(async { drop(n.try_spawn(async { assert_eq!(*&kept, 1); Ok(()) })); Ok(()) }));
//! }
//! drop(n);
//! ```
//! It fits into a slot:
//! ```
//! use umbel_core::{FixedNursery, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
//! drop(n.try_spawn(async { let x = [0_u8; 200]; std::future::ready(()).await; drop(x); Ok(()) }));
//! ```
//! ```compile_fail,E0080
//! use umbel_core::{FixedNursery, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
//! drop(n.try_spawn(async { let x = [0_u8; 300]; std::future::ready(()).await; drop(x); Ok(()) }));
//! ```
//! Nursery and run stay on their thread:
//! ```compile_fail,E0277
//! use umbel_core::{FixedNursery, WakePool};
//! static POOL: WakePool<2> = WakePool::new();
//! fn send<T: Send>(_: T) {}
//! let n = FixedNursery::<(), 2>::new(&POOL).unwrap();
//! send(n.run(async { Ok(()) }));
//! ```
//!
//! # Local
//!
//! Children, outputs, errors and policies of a local nursery are anything:
//! ```
//! use umbel_core::LocalNursery;
//! let n = LocalNursery::<std::rc::Rc<()>>::new();
//! let h = n.handle();
//! drop(h.spawn(async { let x = std::rc::Rc::new(1); std::future::ready(()).await; Ok(x) }));
//! drop(h.spawn_wait(async { let x = std::rc::Rc::new(1); std::future::ready(()).await; Ok(x) }));
//! drop(n.run(async { Ok(()) }));
//! ```
//! so neither it nor anything that leads into it crosses threads:
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(umbel_core::LocalNursery::<()>::new());
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(umbel_core::LocalNursery::<()>::new().run(std::future::ready(Ok(()))));
//! ```
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: &T) {}
//! sync(&umbel_core::LocalNursery::<()>::new().run(std::future::ready(Ok(()))));
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(umbel_core::LocalNursery::<()>::new().handle());
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(&umbel_core::LocalNursery::<()>::new().handle());
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! let n = umbel_core::LocalNursery::<()>::new();
//! send(n.handle().child());
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! let n = umbel_core::LocalNursery::<()>::new();
//! send(n.handle().spawn_wait(std::future::ready(Ok(()))));
//! ```
//! while each of these compiles for a nursery:
//! ```
//! fn send<T: Send>(_: T) {}
//! use umbel_core::Nursery;
//! send(Nursery::<()>::new());
//! send(Nursery::<()>::new().run(std::future::ready(Ok(()))));
//! let n = Nursery::<()>::new();
//! let h = n.handle();
//! send(&h);
//! send(h.child());
//! send(h.spawn_wait(std::future::ready(Ok(()))));
//! ```
//! A join may cross threads, of a child that may not, if its value may:
//! ```
//! fn send<T: Send>(_: T) {}
//! send(umbel_core::LocalNursery::<()>::new().handle().spawn(async { let x = std::rc::Rc::new(1); std::future::ready(()).await; Ok(*x) }));
//! ```
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(umbel_core::LocalNursery::<()>::new().handle().spawn(async { Ok(std::rc::Rc::new(1)) }));
//! ```
//! A nursery's `try_spawn` demands what its `spawn` does:
//! ```compile_fail,E0277
//! drop(umbel_core::Nursery::<()>::new().handle().try_spawn(async { Ok(std::rc::Rc::new(1)) }));
//! ```
//! A local child, too, borrows only what outlives the nursery:
//! ```compile_fail,E0597
//! use umbel_core::LocalNursery;
//! let n = LocalNursery::<()>::new();
//! let h = n.handle();
//! let run = n.run(async { Ok(()) });
//! {
//!     let kept = 1;
//!     drop(h.spawn(async { assert_eq!(*&kept, 1); Ok(()) }));
//! }
//! drop(run);
//! ```
//! ```compile_fail,E0597
//! use umbel_core::LocalNursery;
//! let mut wait = None;
//! {
//!     let kept = 1;
//!     let n = LocalNursery::<()>::new();
//!     wait = Some(n.handle().spawn_wait(async { assert_eq!(*&kept, 1); Ok(()) }));
//! }
//! drop(wait);
//! ```
//! ```compile_fail
//! fn shorter<'a, 'b: 'a>(h: umbel_core::LocalHandle<'b, ()>) -> umbel_core::LocalHandle<'a, ()> { h }
//! ```
//! ```compile_fail
//! fn longer<'a, 'b: 'a>(h: umbel_core::LocalHandle<'a, ()>) -> umbel_core::LocalHandle<'b, ()> { h }
//! ```
