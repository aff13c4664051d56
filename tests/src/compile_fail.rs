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
