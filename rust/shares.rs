// SPDX-License-Identifier: GPL-2.0

//! What `learn.rs` is about, in the kernel: indexes and shares, which `learn.c` keeps, and what a
//! process says of itself.

use crate::{
    context::{
        Anchor,
        Ctx,
        Links, //
    },
    helpers,
    learn::{
        self,
        Member,
        Node,
        Range,
        Shares, //
    },
    trace,
    walk, //
};
use core::{
    cell::Cell,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Indexes that exist.
pub(crate) static INDEXES: Atomic<i64> = Atomic::<i64>::new(0);
/// Shares that exist.
pub(crate) static SHARES: Atomic<i64> = Atomic::<i64>::new(0);
/// Holes that were learned.
pub(crate) static HOLES: Atomic<i64> = Atomic::<i64>::new(0);

/// Memory of indexes and shares.
pub(crate) fn bytes() -> usize {
    // SAFETY: No requirements.
    unsafe {
        helpers::avl_learn_bytes(
            INDEXES.load(Relaxed) as usize,
            SHARES.load(Relaxed) as usize,
        )
    }
}

/// The beginning of `struct avl_index`, all zeroes when it is new.
#[repr(C)]
pub(crate) struct RawIndex {
    first_learned: Cell<Option<Ctx>>,
    walks: Cell<u32>,
}

/// The beginning of `struct avl_share`, with all fields set when it is new.
#[repr(C)]
pub(crate) struct RawShare {
    first: Cell<usize>,
    last: Cell<usize>,
    ctx: Cell<Ctx>,
    sibling: Cell<Option<Share>>,
}

/// An index.
///
/// # Invariants
///
/// Points to the index of a context in the family, whose lock is held.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Index(NonNull<RawIndex>);

/// A share.
///
/// # Invariants
///
/// Points to a share in the index of a context in the family, whose lock is held, for write or by a
/// walk that is inside the index or has locked it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Share(NonNull<RawShare>);

impl Share {
    fn raw(&self) -> &RawShare {
        // SAFETY: By the type invariants. Its cells are changed by who holds the family lock for
        // write, or has locked the index with nobody else inside: no data race.
        unsafe { self.0.as_ref() }
    }
}

impl Shares for Links {
    type Index = Index;
    type Share = Share;

    // With less a walk is short anyway, and better off without a lock.
    const LEARN_FROM: usize = 8;
    // 1 kB per child.
    const MAX_SHARES: u16 = 16;

    fn learner(&self, ctx: Ctx) -> &Node<Index, Share> {
        ctx.learner(self)
    }

    fn alloc_index(&self, _ctx: Ctx) -> Option<Index> {
        // SAFETY: The cache exists as long as the module is initialised.
        let index = NonNull::new(unsafe { helpers::avl_index_alloc() }.cast())?;
        INDEXES.add(1, Relaxed);
        // INVARIANT: The caller makes it that of the context.
        Some(Index(index))
    }

    fn free_index(&self, index: Index) {
        // SAFETY: By the type invariants; the context has forgotten it.
        unsafe { helpers::avl_index_free(index.0.as_ptr().cast()) };
        INDEXES.add(-1, Relaxed);
    }

    fn first_learned(&self, index: Index) -> &Cell<Option<Ctx>> {
        // SAFETY: By the type invariants, and as in `Share::raw`. It lives as long as the family
        // lock is held, which `self` stands for.
        unsafe { &(*index.0.as_ptr()).first_learned }
    }

    fn walks(&self, index: Index) -> &Cell<u32> {
        // SAFETY: By the type invariants, as above. Who uses it has locked the index.
        unsafe { &(*index.0.as_ptr()).walks }
    }

    fn locked<R>(&self, index: Index, f: impl FnOnce() -> R) -> R {
        // SAFETY: By the type invariants.
        unsafe { helpers::avl_index_lock(index.0.as_ptr().cast()) };
        let result = f();
        // SAFETY: Locked above.
        unsafe { helpers::avl_index_unlock(index.0.as_ptr().cast()) };
        result
    }

    fn learned(&self, of: Ctx, hole: Range) {
        HOLES.add(1, Relaxed);
        trace::learn(|| (of.id(), hole.first, hole.last));
    }

    fn insert(&self, index: Index, of: Ctx, range: Range) -> Option<Share> {
        // SAFETY: By the type invariants.
        let share = NonNull::new(unsafe {
            helpers::avl_share_insert(
                index.0.as_ptr().cast(),
                of.as_ptr(),
                range.first,
                range.last,
            )
        })?;
        SHARES.add(1, Relaxed);
        // INVARIANT: It is in the index now.
        Some(Share(share.cast()))
    }

    fn remove(&self, index: Index, share: Share) {
        // SAFETY: By the type invariants; the child has forgotten it.
        unsafe { helpers::avl_share_remove(index.0.as_ptr().cast(), share.0.as_ptr().cast()) };
        SHARES.add(-1, Relaxed);
    }

    fn resize(&self, index: Index, share: Share, range: Range) {
        // SAFETY: By the type invariants.
        unsafe {
            helpers::avl_share_resize(
                index.0.as_ptr().cast(),
                share.0.as_ptr().cast(),
                range.first,
                range.last,
            );
        }
    }

    fn first_share(&self, index: Index, range: Range) -> Option<Share> {
        // SAFETY: By the type invariants.
        let share =
            unsafe { helpers::avl_share_first(index.0.as_ptr().cast(), range.first, range.last) };
        // INVARIANT: It is in the index.
        NonNull::new(share.cast()).map(Share)
    }

    fn next_share(&self, share: Share, range: Range) -> Option<Share> {
        // SAFETY: By the type invariants.
        let share =
            unsafe { helpers::avl_share_next(share.0.as_ptr().cast(), range.first, range.last) };
        // INVARIANT: It is in the same index.
        NonNull::new(share.cast()).map(Share)
    }

    fn range(&self, share: Share) -> Range {
        Range {
            first: share.raw().first.get(),
            last: share.raw().last.get(),
        }
    }

    fn child(&self, share: Share) -> Ctx {
        share.raw().ctx.get()
    }

    fn set_child(&self, share: Share, ctx: Ctx) {
        share.raw().ctx.set(ctx);
    }

    fn sibling(&self, share: Share) -> Option<Share> {
        share.raw().sibling.get()
    }

    fn set_sibling(&self, share: Share, next: Option<Share>) {
        share.raw().sibling.set(next);
    }
}

/// A context that a walk is in.
///
/// # Invariants
///
/// Its member lock is held, and it is not severed.
struct Locked(Ctx);

impl Locked {
    fn mm(&self) -> *mut bindings::mm_struct {
        // SAFETY: By the type invariants.
        unsafe { (*self.0.as_ptr()).mm }
    }
}

impl Member for Locked {
    fn try_lock(&self) -> bool {
        // SAFETY: By the type invariants the mm is there.
        unsafe { bindings::mmap_read_trylock(self.mm()) }
    }

    fn unlock(&self) {
        // SAFETY: Called after `try_lock`.
        unsafe { bindings::mmap_read_unlock(self.mm()) };
    }

    fn look_up(&self, pgoff: usize) -> Option<Range> {
        // SAFETY: By the type invariants.
        unsafe { walk::unmapped(self.0.as_ptr(), pgoff) }
    }

    fn displaced(&self, range: Range) -> Option<Range> {
        // SAFETY: By the type invariants.
        unsafe { walk::first_displaced(self.0.as_ptr(), range) }
    }

    fn has_detached(&self) -> bool {
        // SAFETY: By the type invariants.
        !unsafe { (*self.0.as_ptr()).detached }.is_null()
    }
}

/// How a walk with the family lock goes from one context to another.
///
/// # Invariants
///
/// The family lock is held until the value is dropped; `walk.top` is in the family.
pub(crate) struct Path {
    links: Links,
    walk: learn::Walk<Ctx>,
}

impl Path {
    /// The way of a walk; `whole` if all of it is made with this value.
    ///
    /// # Safety
    ///
    /// The root of `anon_vma`, which is lazy and has a holder, must be locked until the value is
    /// dropped.
    #[inline(always)]
    pub(crate) unsafe fn new(anon_vma: *mut bindings::anon_vma, range: Range, whole: bool) -> Self {
        // SAFETY: By the safety requirements.
        let (links, anchor, top) = unsafe {
            (
                Links::new(),
                Anchor::from_ptr(anon_vma),
                Ctx::from_ptr((*anon_vma).__bindgen_anon_1.lazy),
            )
        };
        // INVARIANT: A holder is in the family.
        Self {
            walk: learn::Walk {
                top,
                range: learn::knows(&links, anchor).then_some(range),
                only: whole.then(|| Cell::new(None)),
            },
            links,
        }
    }

    /// What there is to learn from a member where the walk found nothing.
    ///
    /// # Safety
    ///
    /// `ctx` must be in the subtree, its member lock held.
    pub(crate) unsafe fn hole(&self, ctx: *mut bindings::anon_vma_lazy) -> Option<Range> {
        let range = self.walk.range?;
        // SAFETY: By the safety requirements.
        let (ctx, severed) = unsafe { (Ctx::from_ptr(ctx), (*ctx).mm.is_null()) };

        // INVARIANT: By the safety requirements and the test.
        (!severed && learn::can_learn(&self.links, self.walk.top, ctx))
            .then(|| learn::gap(&Locked(ctx), range))
            .flatten()
    }

    /// The context to visit after `ctx`; no member lock is held.
    ///
    /// # Safety
    ///
    /// `ctx` must be where the walk is; `hole` come from [`Path::hole`] for it.
    #[inline(always)]
    pub(crate) unsafe fn next(
        &self,
        ctx: *mut bindings::anon_vma_lazy,
        hole: Option<Range>,
    ) -> Option<*mut bindings::anon_vma_lazy> {
        // SAFETY: By the safety requirements.
        let ctx = unsafe { Ctx::from_ptr(ctx) };
        learn::next(&self.links, &self.walk, ctx, hole).map(Ctx::as_ptr)
    }

    /// Ends a walk that is in `ctx`, or about to go there, before its end.
    ///
    /// # Safety
    ///
    /// As for [`Path::next`].
    pub(crate) unsafe fn end(&self, ctx: *mut bindings::anon_vma_lazy) {
        // SAFETY: By the safety requirements.
        learn::end(&self.links, &self.walk, unsafe { Ctx::from_ptr(ctx) });
    }
}
