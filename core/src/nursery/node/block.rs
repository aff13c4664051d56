//! A block of memory with everything of one child in it, and the code that knows its type.
//!
//! Invariants are told in the [face](super).

use crate::nursery::ended::{Number, Site};
use crate::nursery::join_error::JoinErrorKind;
use crate::nursery::node::head::{
    Claim, Exit, Node, Progress, RemoteTable, Stopped, VTable, drop_future,
};
use crate::nursery::node::lent::{Beside, Elsewhere, Linked, Word};
use crate::nursery::options::Aside;
use crate::nursery::panics::Panics;
use crate::reason::Reason;
use crate::sync::{AtomicUsize, UnsafeCell, alloc};
use crate::wake::cell::WakeCell;
use ::alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::cell::Cell;
use core::future::Future;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, needs_drop, offset_of};
use core::pin::Pin;
use core::ptr::{self, NonNull};
use core::task::{Context, Poll};

/// What a child's future gives.
pub(crate) trait Outcome<T, E> {
    /// `Err(None)`: it was cut. May be foreign code, as a part of the poll.
    fn split(self) -> Result<T, Option<E>>;
}

impl<T, E> Outcome<T, E> for Result<T, E> {
    #[inline]
    fn split(self) -> Result<T, Option<E>> {
        self.map_err(Some)
    }
}

/// `None`: it was cut, or lost.
impl<T, E> Outcome<T, E> for Option<Result<T, E>> {
    #[inline]
    fn split(self) -> Result<T, Option<E>> {
        self.map_or(Err(None), |result| result.map_err(Some))
    }
}

/// A future that stands for work which is done elsewhere, and which cannot be dropped in its place: it is
/// told, and has ended when the work has. (A task of an executor; or a nested nursery, whose children and
/// cleanups are its own to end.)
pub(crate) trait Remote {
    /// Whether it may end without an outcome though nobody has told it to.
    const MAY_BE_LOST: bool;

    /// Whether something has begun elsewhere.
    fn has_begun(&self) -> bool;

    /// Tells it to end.
    fn stop(self: Pin<&mut Self>) -> Stopped;

    /// Waits until it is decided whether there is a child. `Ready(false)`: there never was.
    fn poll_decided(self: Pin<&mut Self>, _cx: &Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }
}

/// `H` is a [`Node`], or begins with one.
#[repr(C)]
struct Block<H, F, T, M> {
    head: H,
    aside: M,
    payload: Payload<F, T>,
}

union Payload<F, T> {
    future: ManuallyDrop<F>,
    #[allow(
        dead_code,
        reason = "written through a pointer; here for its size and alignment"
    )]
    output: ManuallyDrop<T>,
    #[allow(dead_code, reason = "as above")]
    end: ManuallyDrop<Option<Reason>>,
}

pub(super) struct Typed<F, T, E, M, H = Node>(PhantomData<(F, T, E, M, H)>);

impl<F: Future<Output: Outcome<T, E>>, T, E, M: Aside, H> Typed<F, T, E, M, H> {
    const VTABLE: VTable = VTable {
        layout: Layout::new::<Block<H, F, T, M>>(),
        payload: offset_of!(Block<H, F, T, M>, payload),
        poll: Self::poll,
        drop_future: Self::drop_future,
        drop_output: if needs_drop::<T>() {
            Some(Self::drop_output)
        } else {
            None
        },
        meta: if M::IS_META {
            Some(offset_of!(Block<H, F, T, M>, aside))
        } else {
            assert!(!needs_drop::<M>(), "nobody would drop it");
            None
        },
        is_bare: !M::IS_META,
        remote: None,
        let_go: None,
    };

    /// `head` makes an `H` of a node, which it begins with; `make` a future, in a block without one, and what
    /// else the caller wants of it.
    #[inline]
    fn allocate_with<R>(
        vtable: &'static VTable,
        site: Site,
        aside: M,
        head: impl FnOnce(Node) -> H,
        make: impl FnOnce(NonNull<Node>) -> (F, R),
    ) -> (NonNull<Node>, R) {
        let layout = Self::VTABLE.layout;
        // SAFETY: the layout is not empty, it holds a `Node`.
        let raw = unsafe { alloc(layout) }.cast::<Block<H, F, T, M>>();
        let Some(block) = NonNull::new(raw) else {
            handle_alloc_error(layout)
        };
        let node = Node {
            vtable,
            state: AtomicUsize::new(0),
            joiner: WakeCell::new(),
            site,
            end: UnsafeCell::new(()),
            kind: Cell::new(JoinErrorKind::Closed),
            has_future: Cell::new(true),
            taken: Cell::new(false),
            claim: Cell::new(Claim::Open),
            progress: Cell::new(Progress::Alive),
            plain: Cell::new(false),
            number: Cell::new(Number::NONE),
            placed: Cell::new(false),
            awaited: Cell::new(false),
            next: Cell::new(ptr::null_mut()),
            younger: Cell::new(ptr::null_mut()),
        };
        let to = block.as_ptr();
        // SAFETY: fresh memory of this layout.
        unsafe {
            (&raw mut (*to).head).write(head(node));
            (&raw mut (*to).aside).write(aside);
        }
        let (future, rest) = make(block.cast());
        let payload = Payload {
            future: ManuallyDrop::new(future),
        };
        // SAFETY: as above; nobody has looked at it yet.
        unsafe { (&raw mut (*to).payload).write(payload) };
        (block.cast(), rest)
    }

    /// # Safety
    /// C6; the payload is the caller's.
    unsafe fn payload(node: NonNull<Node>) -> *mut Payload<F, T> {
        // SAFETY: (caller) the block is of this type, so the field lies within it.
        unsafe { &raw mut (*node.cast::<Block<H, F, T, M>>().as_ptr()).payload }
    }

    /// Takes the future out, which was never polled.
    ///
    /// # Safety
    /// C6; the payload is the caller's and holds the future.
    pub(super) unsafe fn take_future(node: NonNull<Node>) -> F {
        // SAFETY: C1 – (caller) the block lives.
        unsafe { node.as_ref() }.has_future.set(false);
        // SAFETY: C6, C2 – (caller); not polled, it may move.
        unsafe { Self::payload(node).cast::<F>().read() }
    }

    unsafe fn poll(
        node: NonNull<Node>,
        cx: &mut Context<'_>,
        error: *mut (),
        panics: &Panics,
    ) -> Poll<Exit> {
        // SAFETY: C6; C2 – the caller owns the payload and it holds the future.
        let payload = unsafe { Self::payload(node) };
        let mut outcome = None;
        let polled = panics.catch(|| {
            // Made here, not brought along: it must be gone before the future is dropped.
            // SAFETY: C2 – as above; the future is pinned, since it never moves until it is dropped here.
            let future = unsafe { Pin::new_unchecked(&mut *payload.cast::<F>()) };
            let Poll::Ready(returned) = future.poll(cx) else {
                return Poll::Pending;
            };
            // What its drop does changes nothing about what it has returned.
            outcome = Some(returned.split());
            // SAFETY: C1 – (caller) the block lives; C2 – the future is in the payload, which is the
            // caller's. As `drop_future`, which does not know the type.
            unsafe {
                node.as_ref().has_future.set(false);
                ptr::drop_in_place(payload.cast::<F>());
            }
            Poll::Ready(())
        });
        match polled {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(())) => {}
            // SAFETY: C1 – (caller) the block lives; C2 – as above.
            None => unsafe {
                if node.as_ref().has_future.get() {
                    panics.catch(|| drop_future(node));
                }
            },
        }
        let Some(outcome) = outcome else {
            return Poll::Ready(Exit::Panicked);
        };
        Poll::Ready(match outcome {
            Ok(output) => {
                // SAFETY: C3 – the future is gone; `DONE` is published by the caller.
                unsafe { payload.cast::<T>().write(output) };
                Exit::Done
            }
            Err(Some(e)) => {
                // SAFETY: (caller of `NurserySide::poll`) the pointer is to an `Option<E>`.
                unsafe { *error.cast::<Option<E>>() = Some(e) };
                Exit::Failed
            }
            Err(None) => Exit::Cut,
        })
    }

    unsafe fn drop_future(node: NonNull<Node>) {
        // SAFETY: C6, C2 – the caller owns the payload, which holds the future.
        unsafe { ptr::drop_in_place(Self::payload(node).cast::<F>()) }
    }

    unsafe fn drop_output(node: NonNull<Node>) {
        // SAFETY: C6, C3 – the caller owns the payload, which holds the output.
        unsafe { ptr::drop_in_place(Self::payload(node).cast::<T>()) }
    }
}

impl<F: Future<Output: Outcome<T, E>>, T, E, M: Aside> Typed<F, T, E, M> {
    #[inline]
    pub(super) fn allocate(site: Site, future: F, aside: M) -> NonNull<Node> {
        let vtable = const { &Self::VTABLE };
        Self::allocate_with(vtable, site, aside, |node| node, |_| (future, ())).0
    }
}

impl<F: Future<Output: Outcome<T, E>> + Remote, T, E, M: Aside> Typed<F, T, E, M> {
    pub(super) fn allocate_remote(site: Site, future: F, aside: M) -> NonNull<Node> {
        let vtable = const { &Self::REMOTE };
        Self::allocate_with(vtable, site, aside, |node| node, |_| (future, ())).0
    }
}

impl<F, T, E, M, L> Typed<F, T, E, M, Linked<L>>
where
    F: Future<Output: Outcome<T, E>> + Remote,
    M: Aside,
    L: Word,
{
    const LINKED: VTable = VTable {
        let_go: Some(Linked::<L>::let_go),
        ..Self::REMOTE
    };

    pub(super) fn allocate_linked<R>(
        site: Site,
        aside: M,
        link: L,
        make: impl FnOnce(Elsewhere<L>, Beside<L>) -> (F, R),
    ) -> (NonNull<Node>, R) {
        let vtable = const { &Self::LINKED };
        let head = |node| Linked::new(node, link);
        Self::allocate_with(vtable, site, aside, head, |node| {
            // SAFETY: C6 – the head is made above; C7 – the one worker's.
            unsafe { make(Elsewhere::new(node), Beside::new(node)) }
        })
    }
}

impl<F: Future<Output: Outcome<T, E>> + Remote, T, E, M: Aside, H> Typed<F, T, E, M, H> {
    const REMOTE: VTable = VTable {
        is_bare: false,
        remote: Some(RemoteTable {
            may_be_lost: F::MAY_BE_LOST,
            has_begun: Self::has_begun,
            stop: Self::stop,
            poll_decided: Self::poll_decided,
        }),
        ..Self::VTABLE
    };

    unsafe fn has_begun(node: NonNull<Node>) -> bool {
        // SAFETY: C6, C2 – the caller owns the payload, which holds the future; nobody is polling it.
        unsafe { &*Self::payload(node).cast::<F>() }.has_begun()
    }

    unsafe fn stop(node: NonNull<Node>) -> Stopped {
        // SAFETY: C6, C2 – as above; pinned, as in `poll`.
        unsafe { Pin::new_unchecked(&mut *Self::payload(node).cast::<F>()) }.stop()
    }

    unsafe fn poll_decided(node: NonNull<Node>, cx: &Context<'_>) -> Poll<bool> {
        // SAFETY: C6, C2 – as above.
        unsafe { Pin::new_unchecked(&mut *Self::payload(node).cast::<F>()) }.poll_decided(cx)
    }
}
