//! The one place that knows which atomics we run on.
//!
//! Every other file takes atomics, cells, `Arc` and raw allocation from here, so that the same
//! source is compiled against
//!
//! | world | chosen by | what it is for |
//! |---|---|---|
//! | `core::sync::atomic` | default | production |
//! | `portable-atomic` | feature `portable-atomic` | targets without compare-and-swap |
//! | `loom` | `--cfg umbel_loom` | model checking: every interleaving up to a bound |
//! | stepped | `--cfg umbel_step` | tests that run an "interrupt" before any chosen atomic access |
//!
//! # Orderings and loom
//!
//! The token tree uses "set mine, then look at yours" on two words ([Dekker][1]), which needs a
//! single total order. Both sides use `SeqCst` accesses for it. loom 0.7 models `SeqCst` accesses
//! as `AcqRel` and only `SeqCst` *fences* as totally ordered, so [`sc_fence`] is a real fence under
//! loom and nothing elsewhere: it marks each spot at which the total order is relied upon.
//!
//! [1]: https://en.wikipedia.org/wiki/Dekker%27s_algorithm

#[cfg(not(any(target_has_atomic = "ptr", feature = "portable-atomic")))]
compile_error!(
    "this target has no compare-and-swap: enable umbel-core's feature `portable-atomic` \
     and choose a portable-atomic backend (for example its feature `critical-section`)"
);

#[cfg(not(any(umbel_loom, umbel_step)))]
#[allow(unused_imports, reason = "most of it needs `alloc`")]
mod imp {
    #[cfg(all(feature = "alloc", not(feature = "portable-atomic")))]
    pub(crate) use alloc::sync::Arc;
    #[cfg(not(feature = "portable-atomic"))]
    pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
    #[cfg(feature = "portable-atomic")]
    pub(crate) use portable_atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
    #[cfg(all(feature = "alloc", feature = "portable-atomic"))]
    pub(crate) use portable_atomic_util::Arc;

    #[cfg(all(
        feature = "alloc",
        target_has_atomic = "64",
        not(feature = "portable-atomic")
    ))]
    pub(crate) use core::sync::atomic::AtomicU64;
    #[cfg(all(feature = "alloc", feature = "portable-atomic"))]
    pub(crate) use portable_atomic::AtomicU64;
}

#[cfg(umbel_loom)]
mod imp {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

#[cfg(all(umbel_step, not(umbel_loom)))]
mod imp {
    pub(crate) use super::step::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use alloc::sync::Arc;
    pub(crate) use core::sync::atomic::Ordering;
}

#[allow(unused_imports, reason = "most of it needs `alloc`")]
pub(crate) use imp::*;

// ------------------------------------------------------------------ cells

#[cfg(umbel_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// `core`'s cell with loom's interface: access is a closure, so that loom can see its extent.
#[cfg(not(umbel_loom))]
#[derive(Debug, Default)]
#[repr(transparent)]
#[allow(dead_code, reason = "the token tree needs `alloc`")]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(umbel_loom))]
#[allow(dead_code, reason = "the token tree needs `alloc`")]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Shared access; the caller's `unsafe` dereference says why nobody writes meanwhile.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Exclusive access; the caller's `unsafe` dereference says why nobody else is there.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

// ------------------------------------------------------------------ memory

/// Raw allocation, tracked by loom under loom (a block that is not freed fails the model).
#[cfg(all(feature = "alloc", not(umbel_loom)))]
pub(crate) use alloc::alloc::{alloc, dealloc};
#[cfg(umbel_loom)]
pub(crate) use loom::alloc::{alloc, dealloc};

// ------------------------------------------------------------------ order and contention

/// Marks where a single total order of `SeqCst` accesses is relied upon; see the module's head.
#[inline(always)]
#[allow(dead_code, reason = "the token tree needs `alloc`")]
pub(crate) fn sc_fence() {
    #[cfg(umbel_loom)]
    fence(Ordering::SeqCst);
}

/// A number below 256 that differs between threads most of the time and needs no thread-local
/// storage: it only spreads contention, nothing depends on it.
#[cfg(not(umbel_loom))]
#[inline(always)]
#[allow(dead_code, reason = "the token tree needs `alloc`")]
pub(crate) fn thread_hint() -> usize {
    // Stacks of different threads lie on different pages. Multiplicative hashing (Knuth, TAOCP 6.4)
    // brings the page number's entropy into the top bits.
    const GOLDEN: usize = 0x9E37_79B9_7F4A_7C15_u64 as usize;
    let on_stack = 0_u8;
    let page = (&raw const on_stack).addr() >> 12;
    page.wrapping_mul(GOLDEN) >> (usize::BITS - 8)
}

/// The thread's number in this execution of the model, which must be repeatable: loom shows it by
/// `Debug` only, and an id's hash differs between executions.
#[cfg(umbel_loom)]
pub(crate) fn thread_hint() -> usize {
    let id = std::format!("{:?}", loom::thread::current().id());
    let digits = id.bytes().filter(u8::is_ascii_digit);
    let number = digits.fold(0, |number, digit| 10 * number + usize::from(digit - b'0'));
    number % 256
}

/// Takes out the bit that comes next, of at least one: the lowest. Children woken together are polled in
/// this order, on which nothing may depend: `step::shuffle` changes it.
#[cfg(not(all(umbel_step, not(umbel_loom))))]
#[inline(always)]
pub(crate) fn take_one(bits: &mut usize) -> usize {
    let lowest = bits.trailing_zeros() as usize;
    *bits &= *bits - 1;
    lowest
}

#[cfg(all(umbel_step, not(umbel_loom)))]
pub(crate) use step::take_one;

/// Stops the program when a reference count is about to overflow (only leaked clones can do that).
#[cold]
#[inline(never)]
#[allow(dead_code, reason = "the token tree needs `alloc`")]
pub(crate) fn count_overflow() -> ! {
    // A panic during unwinding aborts, with std and without.
    struct Abort;
    impl Drop for Abort {
        fn drop(&mut self) {
            panic!("umbel: reference count overflow");
        }
    }
    let _abort = Abort;
    panic!("umbel: reference count overflow");
}

/// A function that is `const`, but not under loom, whose constructors are not.
macro_rules! const_fn {
    ($(#[$attr:meta])* $vis:vis fn $($rest:tt)*) => {
        #[cfg(not(umbel_loom))]
        $(#[$attr])* $vis const fn $($rest)*
        #[cfg(umbel_loom)]
        $(#[$attr])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;

/// A `static` of a type whose constructor is not `const` under loom.
#[allow(unused_macros, reason = "the pools need `alloc`")]
macro_rules! global {
    ($(#[$doc:meta])* static $name:ident: $t:ty = $init:expr;) => {
        #[cfg(not(umbel_loom))]
        $(#[$doc])*
        static $name: $t = $init;
        #[cfg(umbel_loom)]
        loom::lazy_static! { $(#[$doc])* static ref $name: $t = $init; }
    };
}
#[allow(unused_imports, reason = "the pools need `alloc`")]
pub(crate) use global;

// ------------------------------------------------------------------ stepped atomics

/// Atomics that call a hook before every access: by it a test runs an "interrupt" at any step of
/// any operation, on one thread, repeatably.
#[cfg(all(umbel_step, not(umbel_loom)))]
pub mod step {
    use core::cell::Cell;
    use core::sync::atomic::Ordering;

    std::thread_local! {
        static HOOK: Cell<Option<*const dyn Fn()>> = const { Cell::new(None) };
    }

    /// Runs `f`; before every atomic access in it (on this thread) `hook` is called. The hook's own
    /// accesses do not call it again.
    pub fn with_hook<R>(hook: &dyn Fn(), f: impl FnOnce() -> R) -> R {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                HOOK.set(None);
            }
        }
        let _reset = Reset;
        // SAFETY: only the lifetime is erased; `_reset` takes the hook away before it ends, on unwind too.
        let hook: &'static dyn Fn() = unsafe { core::mem::transmute(hook) };
        HOOK.set(Some(hook));
        f()
    }

    fn step() {
        if let Some(hook) = HOOK.take() {
            // SAFETY: `with_hook` keeps the hook alive while it is set; it runs on the same thread.
            unsafe { (*hook)() };
            HOOK.set(Some(hook));
        }
    }

    std::thread_local! {
        static SEED: Cell<u64> = Cell::new(
            std::env::var("UMBEL_SHUFFLE").map_or(0, |seed| seed.parse().unwrap_or(1)),
        );
    }

    /// From now on, on this thread, children that were woken together are polled in an order that
    /// depends on `seed`; 0: in that of their places. Threads begin with the environment's
    /// `UMBEL_SHUFFLE`.
    pub fn shuffle(seed: u64) {
        SEED.set(seed);
    }

    /// See above.
    pub(crate) fn take_one(bits: &mut usize) -> usize {
        let mut seed = SEED.get();
        // Marsaglia's xorshift; 0 stays 0.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        SEED.set(seed);
        let skipped = seed % u64::from(bits.count_ones());
        let rest = (0..skipped).fold(*bits, |bits, _| bits & (bits - 1));
        let one = rest.trailing_zeros() as usize;
        *bits &= !(1 << one);
        one
    }

    macro_rules! stepped {
        ($name:ident $(<$t:ident>)?, $inner:ty, $value:ty) => {
            #[allow(missing_docs, reason = "mirrors core's atomic")]
            pub struct $name $(<$t>)? ($inner);
            impl $(<$t>)? core::fmt::Debug for $name $(<$t>)? {
                fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    self.0.fmt(f)
                }
            }
            #[allow(missing_docs, clippy::missing_errors_doc, dead_code, reason = "mirrors core's atomic")]
            impl $(<$t>)? $name $(<$t>)? {
                pub const fn new(v: $value) -> Self {
                    Self(<$inner>::new(v))
                }
                pub fn load(&self, o: Ordering) -> $value {
                    step();
                    self.0.load(o)
                }
                pub fn store(&self, v: $value, o: Ordering) {
                    step();
                    self.0.store(v, o)
                }
                pub fn swap(&self, v: $value, o: Ordering) -> $value {
                    step();
                    self.0.swap(v, o)
                }
                pub fn compare_exchange(&self, a: $value, b: $value, s: Ordering, f: Ordering) -> Result<$value, $value> {
                    step();
                    self.0.compare_exchange(a, b, s, f)
                }
                pub fn compare_exchange_weak(&self, a: $value, b: $value, s: Ordering, f: Ordering) -> Result<$value, $value> {
                    step();
                    self.0.compare_exchange_weak(a, b, s, f)
                }
            }
        };
    }
    macro_rules! stepped_int {
        ($name:ident, $inner:ty, $value:ty) => {
            stepped!($name, $inner, $value);
            #[allow(
                missing_docs,
                clippy::missing_errors_doc,
                dead_code,
                reason = "mirrors core's atomic"
            )]
            impl $name {
                pub fn fetch_add(&self, v: $value, o: Ordering) -> $value {
                    step();
                    self.0.fetch_add(v, o)
                }
                pub fn fetch_sub(&self, v: $value, o: Ordering) -> $value {
                    step();
                    self.0.fetch_sub(v, o)
                }
                pub fn fetch_or(&self, v: $value, o: Ordering) -> $value {
                    step();
                    self.0.fetch_or(v, o)
                }
                pub fn fetch_and(&self, v: $value, o: Ordering) -> $value {
                    step();
                    self.0.fetch_and(v, o)
                }
                pub fn fetch_max(&self, v: $value, o: Ordering) -> $value {
                    step();
                    self.0.fetch_max(v, o)
                }
            }
        };
    }
    stepped!(AtomicPtr<T>, core::sync::atomic::AtomicPtr<T>, *mut T);
    stepped_int!(AtomicU32, core::sync::atomic::AtomicU32, u32);
    impl AtomicU32 {
        pub(crate) fn as_ptr(&self) -> *mut u32 {
            self.0.as_ptr()
        }
    }
    stepped_int!(AtomicUsize, core::sync::atomic::AtomicUsize, usize);
    stepped_int!(AtomicU64, core::sync::atomic::AtomicU64, u64);
}
