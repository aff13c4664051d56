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
