// SPDX-License-Identifier: GPL-2.0

//! Contexts: one per process that has lazy VMAs, from its first one until it exits, or until nobody
//! can map a folio of its anchor any more.
//!
//! # Lifetime
//!
//! `mm->anon_vma_lazy` refers to a context until `exit_mmap()` calls [`leave`], or until [`drain`];
//! then the family tree refers to it as long as it has children. The tree is only followed under the
//! family lock, so what [`leave`] took out of it under that lock for write can be freed at once.
//!
//! A context owns one reference on each anchor it holds, an anchor one on its root, unless it is that
//! itself: a process has no other before it forks for the first time. An anchor that
//! somebody else still refers to (KSM, migration) outlives its holder; walks from it find nothing.
//!
//! C side: [`include/linux/rmap.h`](srctree/include/linux/rmap.h).

use crate::{
    family::{
        self,
        Forest,
        Freed,
        Node, //
    },
    helpers,
    learn,
    shares::{
        Index,
        Share, //
    },
    trace, //
};
use core::ptr::{
    addr_of,
    addr_of_mut,
    null,
    null_mut,
    NonNull, //
};
use kernel::{
    bindings,
    error::{
        code::ENOMEM,
        to_result,
        Result, //
    },
    ffi::{
        c_int,
        c_uint, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    }, //
};

/// Contexts that exist.
pub(crate) static CONTEXTS: Atomic<i64> = Atomic::<i64>::new(0);
/// Anchors, roots included, that contexts hold.
pub(crate) static ANCHORS: Atomic<i64> = Atomic::<i64>::new(0);
/// Families that exist.
pub(crate) static FAMILIES: Atomic<i64> = Atomic::<i64>::new(0);
/// Contexts whose address space is gone.
pub(crate) static DEAD: Atomic<i64> = Atomic::<i64>::new(0);
/// Forks of a process with a context.
pub(crate) static FORKS: Atomic<i64> = Atomic::<i64>::new(0);
/// Anchors that a dead context handed to its only child.
pub(crate) static DONATED: Atomic<i64> = Atomic::<i64>::new(0);
/// Forks that borrowed an anchor.
pub(crate) static BORROWED: Atomic<i64> = Atomic::<i64>::new(0);

/// The next [`Ctx::id`].
static NEXT_ID: Atomic<i64> = Atomic::<i64>::new(1);

/// What there is of a process.
///
/// # Locking
///
/// `lazy` as its C documentation says; `node` by the family lock.
#[repr(C)]
pub(crate) struct Context {
    lazy: bindings::anon_vma_lazy,
    node: Node<Ctx, Anchor>,
    learner: learn::Node<Index, Share>,
}

/// A context.
///
/// # Invariants
///
/// Points to a [`Context`] that is not freed, as long as who has the handle holds the family lock,
/// or has taken it out of the family.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Ctx(NonNull<Context>);

/// It is lazy: a flag in `lazy_state`.
pub(crate) const LAZY: usize = bindings::ANON_VMA_LAZY as usize;
/// It is the anchor of a leaf: likewise.
pub(crate) const LEAF: usize = bindings::ANON_VMA_LEAF as usize;

/// `lazy_state` of an anchor: flags, and the VMA that a walk found last.
///
/// # Safety
///
/// `anon_vma` must be valid. If it is not lazy, only the flags mean something.
pub(crate) unsafe fn state(anon_vma: *const bindings::anon_vma) -> usize {
    // SAFETY: By the safety requirements; others may write it at any time, as a whole.
    unsafe { addr_of!((*anon_vma).__bindgen_anon_3.lazy_state).read_volatile() }
}

/// Sets [`state`]. Who reads the VMA there may look into it: what made it the one to be found comes
/// first, also where another CPU saw to that.
///
/// # Safety
///
/// `anon_vma` must be valid and lazy. Its lock must be held, for write if the flags change.
pub(crate) unsafe fn set_state(anon_vma: *mut bindings::anon_vma, state: usize) {
    // SAFETY: By the safety requirements, and others access it as a whole, by atomic operations.
    unsafe { Atomic::from_ptr(addr_of_mut!((*anon_vma).__bindgen_anon_3.lazy_state)) }
        .store(state, Release);
}

/// `anon_vma_is_lazy()`, an inline function.
///
/// # Safety
///
/// As for [`state`].
pub(crate) unsafe fn is_lazy(anon_vma: *const bindings::anon_vma) -> bool {
    // SAFETY: By the safety requirements.
    unsafe { state(anon_vma) & LAZY != 0 }
}

/// `anon_vma_is_leaf()`, likewise.
///
/// # Safety
///
/// As for [`state`].
pub(crate) unsafe fn is_leaf(anon_vma: *const bindings::anon_vma) -> bool {
    // SAFETY: By the safety requirements.
    unsafe { state(anon_vma) & LEAF != 0 }
}

/// A lazy anon_vma.
///
/// # Invariants
///
/// Points to a lazy `struct anon_vma` that a context holds, or held until it was taken out of the
/// family by who has the handle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor(NonNull<bindings::anon_vma>);

impl Ctx {
    /// The context that the kernel knows as `lazy`.
    ///
    /// # Safety
    ///
    /// `lazy` must come from [`Ctx::as_ptr`], and the type invariants must hold for the handle.
    pub(crate) unsafe fn from_ptr(lazy: *mut bindings::anon_vma_lazy) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: `lazy` is the first field of a `Context`, thus not null.
        Self(unsafe { NonNull::new_unchecked(lazy.cast()) })
    }

    /// The context as the kernel knows it.
    pub(crate) fn as_ptr(self) -> *mut bindings::anon_vma_lazy {
        self.0.as_ptr().cast()
    }

    /// The context of an address space.
    ///
    /// # Safety
    ///
    /// The caller must have a reference on the address space (`mm_users`) and its mmap_lock: as long
    /// as it has both, the context stays.
    pub(crate) unsafe fn of(mm: *mut bindings::mm_struct) -> Option<Self> {
        // INVARIANT: `exit_mmap()` and [`drain`], which make the address space forget it, wait for
        // the caller.
        // SAFETY: By the safety requirements. Seeing the context with acquire means seeing its
        // fields.
        NonNull::new(unsafe { slot(mm) }.load(Acquire).cast()).map(Self)
    }

    /// A number that no other context has or had. That of a parent is less.
    pub(crate) fn id(self) -> i64 {
        // SAFETY: By the type invariants the context is there; `id` never changes.
        unsafe { (*self.as_ptr()).id }
    }

    /// Calls `f` with the family lock held for read.
    ///
    /// # Context
    ///
    /// May sleep; no rmap lock held.
    ///
    /// # Safety
    ///
    /// As for [`Ctx::root`].
    pub(crate) unsafe fn with_family<R>(self, f: impl FnOnce(&Links) -> R) -> R {
        // SAFETY: By the safety requirements.
        let root = unsafe { self.root() };

        // SAFETY: The anchor of the context, which stays, is the root or has a reference on it.
        unsafe { bindings::down_read(root.rwsem()) };
        // INVARIANT: Dropped before the lock.
        let result = f(&Links(()));
        // SAFETY: Locked above.
        unsafe { bindings::up_read(root.rwsem()) };
        result
    }

    /// What it has for learning, as long as the family lock is held.
    pub(crate) fn learner(self, _: &Links) -> &learn::Node<Index, Share> {
        // SAFETY: By the type invariants the context is there. What writes to the cells holds the
        // family lock for write, or has locked the index of its parent with nobody else inside;
        // what reads them is inside, has locked it, or holds the family lock for write.
        unsafe { &(*self.0.as_ptr()).learner }
    }

    /// The root of the family.
    ///
    /// # Safety
    ///
    /// An address space must refer to the context, which is then there without the family lock. It
    /// must not fork for the first time: its mmap_lock is held, or it is being torn down.
    unsafe fn root(self) -> Anchor {
        // SAFETY: By the safety requirements.
        unsafe { self.anchor() }.root()
    }

    fn alloc() -> Option<Self> {
        // SAFETY: The cache exists as long as the module is initialised.
        let ptr = NonNull::new(unsafe { helpers::avl_ctx_alloc() }.cast::<Context>())?;
        CONTEXTS.add(1, Relaxed);
        // INVARIANT: `ptr` was just allocated.
        Some(Self(ptr))
    }

    /// The anchor that it uses.
    ///
    /// # Safety
    ///
    /// An address space must refer to the context, which is then there without the family lock.
    pub(crate) unsafe fn anchor(self) -> Anchor {
        // INVARIANT: An anchor that is in use does not go away.
        // SAFETY: By the safety requirements; `anchor` is not null and never changes.
        Anchor(unsafe { NonNull::new_unchecked((*self.as_ptr()).anchor) })
    }

    /// Sets all fields.
    ///
    /// # Safety
    ///
    /// The context must be visible to nobody else; `mm` is the address space it is for.
    unsafe fn init(self, anchor: Anchor, mm: *mut bindings::mm_struct) {
        let ptr = self.0.as_ptr();
        // SAFETY: `ptr` is valid for writes of a `Context` and exclusively ours.
        unsafe {
            addr_of_mut!((*ptr).lazy.anchor).write(anchor.as_ptr());
            addr_of_mut!((*ptr).lazy.mm).write(mm);
            addr_of_mut!((*ptr).node).write(Node::new());
            addr_of_mut!((*ptr).lazy.id).write(NEXT_ID.fetch_add(1, Relaxed));
            addr_of_mut!((*ptr).lazy.detached).write(null());
            addr_of_mut!((*ptr).learner).write(learn::Node::new());
        }
    }

    /// # Safety
    ///
    /// Nobody may refer to the context any more.
    unsafe fn free(self) {
        // SAFETY: It came from the same cache, and by the safety requirements this is its end.
        unsafe { helpers::avl_ctx_free(self.0.as_ptr().cast()) };
        CONTEXTS.add(-1, Relaxed);
    }
}

impl Anchor {
    /// The anchor that the kernel knows as `anon_vma`.
    ///
    /// # Safety
    ///
    /// The type invariants must hold for the handle.
    pub(crate) unsafe fn from_ptr(anon_vma: *mut bindings::anon_vma) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: Likewise, it is not null.
        Self(unsafe { NonNull::new_unchecked(anon_vma) })
    }

    fn alloc(root: Option<Anchor>) -> Option<Self> {
        let root = root.map_or(null_mut(), Anchor::as_ptr);
        // SAFETY: `root` is null or an anon_vma that the caller keeps alive.
        let ptr = NonNull::new(unsafe { bindings::anon_vma_lazy_alloc(root) })?;
        ANCHORS.add(1, Relaxed);
        // INVARIANT: `ptr` is lazy, and in no family yet.
        Some(Self(ptr))
    }

    pub(crate) fn as_ptr(self) -> *mut bindings::anon_vma {
        self.0.as_ptr()
    }

    /// The root of the family, itself before the first fork: then others may set it, once, under
    /// the mmap_lock held for write.
    fn root(self) -> Self {
        // INVARIANT: The root is lazy, too, and held as long as there is a family.
        // SAFETY: By the type invariants the anon_vma is there, and its `root` as long: the anon_vma
        // is that itself or has a reference on it.
        Self(unsafe { NonNull::new_unchecked(addr_of!((*self.as_ptr()).root).read_volatile()) })
    }

    fn get(self) {
        // SAFETY: By the type invariants the anon_vma has a reference.
        unsafe { helpers::avl_anon_vma_get(self.as_ptr()) };
    }

    /// Drops a reference.
    ///
    /// # Safety
    ///
    /// The caller must own it, and hold no rmap lock.
    unsafe fn put(self) {
        // SAFETY: By the safety requirements.
        unsafe { helpers::avl_anon_vma_put(self.as_ptr()) };
    }

    /// Drops the reference of the holder that is gone.
    ///
    /// # Safety
    ///
    /// As for [`Anchor::put`].
    unsafe fn release(self) {
        if self.root() == self {
            FAMILIES.add(-1, Relaxed);
        }
        // SAFETY: By the safety requirements.
        unsafe { self.free() };
    }

    /// Drops the reference of its allocation.
    ///
    /// # Safety
    ///
    /// As for [`Anchor::put`].
    unsafe fn free(self) {
        ANCHORS.add(-1, Relaxed);
        // SAFETY: By the safety requirements.
        unsafe { self.put() };
    }

    /// Marks it as the anchor of a leaf, or as one that is not: walks take the family lock then.
    ///
    /// To be called with the member lock held for write, or before others see the anchor. A walk that
    /// does without the family lock looks at the mark under the member lock: once it is removed there
    /// are no such walks any more.
    fn set_leaf(self, leaf: bool) {
        let flags = if leaf { LAZY | LEAF } else { LAZY };
        // SAFETY: By the type invariants it is lazy; see above for the lock.
        unsafe { set_state(self.as_ptr(), flags) };
    }

    fn is_marked_leaf(self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { is_leaf(self.as_ptr()) }
    }

    fn rwsem(self) -> *mut bindings::rw_semaphore {
        // SAFETY: By the type invariants the pointer is valid; this only computes an address.
        unsafe { addr_of_mut!((*self.as_ptr()).rwsem) }
    }
}

/// The lock of a member, held for write.
pub(crate) struct Member(Anchor);

impl Member {
    /// Context: may sleep; no member lock held.
    ///
    /// # Safety
    ///
    /// The anchor must stay until the lock is dropped.
    pub(crate) unsafe fn lock(anchor: Anchor) -> Self {
        // SAFETY: By the safety requirements.
        unsafe { bindings::anon_vma_lazy_lock_write(anchor.as_ptr()) };
        Self(anchor)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: Locked by `lock()`; the anchor is still there.
        unsafe { bindings::up_write(self.0.rwsem()) };
    }
}

/// Where the links are: in the context, and in the fields of `struct anon_vma` that lazy ones do not
/// use otherwise.
///
/// # Invariants
///
/// Exists only while the family lock is held, or for contexts and anchors that nobody else sees.
pub(crate) struct Links(());

impl Forest for Links {
    type Ctx = Ctx;
    type Anchor = Anchor;

    fn node(&self, ctx: Ctx) -> &Node<Ctx, Anchor> {
        // SAFETY: By the type invariants of `Ctx` the context is there. All that writes to the
        // cells holds the family lock for write, all that reads them for read. But for the order
        // of siblings in an index: see `learn.rs`. So there is no data race.
        unsafe { &(*ctx.0.as_ptr()).node }
    }

    fn anchor(&self, ctx: Ctx) -> Anchor {
        // INVARIANT: The anchor that a context in the family uses is held, by it or an ancestor.
        // SAFETY: The context is there by its type invariants; `anchor` is not null and never
        // changes.
        Anchor(unsafe { NonNull::new_unchecked((*ctx.as_ptr()).anchor) })
    }

    fn holder(&self, anchor: Anchor) -> Option<Ctx> {
        // SAFETY: By the type invariants the anon_vma is there and lazy, which makes `lazy` the
        // active field; it is protected by the family lock.
        let lazy = unsafe { (*anchor.as_ptr()).__bindgen_anon_1.lazy };
        // INVARIANT: A holder is in the family.
        NonNull::new(lazy.cast()).map(Ctx)
    }

    fn set_holder(&self, anchor: Anchor, ctx: Option<Ctx>) {
        // SAFETY: As above, with the family lock held for write.
        unsafe { (*anchor.as_ptr()).__bindgen_anon_1.lazy = ctx.map_or(null_mut(), Ctx::as_ptr) };
    }

    fn next_anchor(&self, anchor: Anchor) -> Option<Anchor> {
        // SAFETY: As in `holder`, for `lazy_next`.
        let next = unsafe { (*anchor.as_ptr()).__bindgen_anon_2.lazy_next };
        // INVARIANT: The anchors in a list have the same holder.
        NonNull::new(next).map(Anchor)
    }

    fn set_next_anchor(&self, anchor: Anchor, next: Option<Anchor>) {
        let next = next.map_or(null_mut(), Anchor::as_ptr);
        // SAFETY: As in `set_holder`, for `lazy_next`.
        unsafe { (*anchor.as_ptr()).__bindgen_anon_2.lazy_next = next };
    }

    fn replace(&self, ctx: Ctx, with: Option<Ctx>) {
        learn::replace(self, ctx, with);
    }
}

impl Links {
    /// # Safety
    ///
    /// The type invariants must hold until the value is dropped.
    pub(crate) unsafe fn new() -> Self {
        // INVARIANT: By the safety requirements.
        Self(())
    }
}

/// The family lock, held for write, with a reference on the root that it is in.
struct Family {
    root: Anchor,
    links: Links,
}

impl Family {
    /// Context: may sleep; neither this lock nor a member lock held.
    fn lock(root: Anchor) -> Self {
        root.get();
        // SAFETY: The reference keeps the rwsem alive until `drop()`.
        unsafe { bindings::down_write(root.rwsem()) };
        Self {
            root,
            // INVARIANT: Dropped with the lock.
            links: Links(()),
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // SAFETY: Locked by `lock()`, which took the reference as well; it is dropped after the
        // lock, because the last one locks the root again.
        unsafe {
            bindings::up_write(self.root.rwsem());
            self.root.put();
        }
    }
}

/// Frees what [`family::leave`] took out.
///
/// # Safety
///
/// The family lock must not be held, and all of it must be out of the family.
unsafe fn release(mut freed: Freed<Ctx, Anchor>) {
    // INVARIANT: Nobody else sees what is in `freed`.
    let links = Links(());

    while let Some(anchor) = freed.pop_anchor(&links) {
        // SAFETY: Its holder, which is gone, owned this reference.
        unsafe { anchor.release() };
    }
    while let Some(ctx) = freed.pop_ctx(&links) {
        // SAFETY: By the safety requirements.
        unsafe { ctx.free() };
    }
}

/// Makes a context in a family of its own.
///
/// # Safety
///
/// `mm` must be valid.
unsafe fn create(mm: *mut bindings::mm_struct) -> Option<Ctx> {
    let ctx = Ctx::alloc()?;
    let Some(anchor) = Anchor::alloc(None) else {
        // SAFETY: Nobody else has seen it.
        unsafe { ctx.free() };
        return None;
    };

    FAMILIES.add(1, Relaxed);
    // SAFETY: Nobody else sees the context.
    unsafe { ctx.init(anchor, mm) };
    // INVARIANT: Nobody else sees the context and its anchor.
    family::found(&Links(()), ctx);
    anchor.set_leaf(true);
    Some(ctx)
}

/// Where an address space refers to its context.
///
/// # Safety
///
/// `mm` must be valid.
unsafe fn slot<'a>(mm: *mut bindings::mm_struct) -> &'a Atomic<*mut bindings::anon_vma_lazy> {
    // SAFETY: By the safety requirements; all accesses are atomic while others see the mm.
    unsafe { Atomic::from_ptr(addr_of_mut!((*mm).__bindgen_anon_1.anon_vma_lazy)) }
}

/// The context of an address space, made unless there is one.
///
/// # Context
///
/// mmap_lock held, so that the address space is not torn down; may sleep. The caller has a
/// reference on the module.
///
/// # Safety
///
/// `mm` must be valid.
pub(crate) unsafe extern "C" fn get(mm: *mut bindings::mm_struct) -> *mut bindings::anon_vma_lazy {
    // SAFETY: By the safety requirements.
    let Some(ctx) = (unsafe { create(mm) }) else {
        return null_mut();
    };
    // SAFETY: By the safety requirements. The full barrier publishes what `create` wrote.
    match unsafe { slot(mm) }.cmpxchg(null_mut(), ctx.as_ptr(), Full) {
        Ok(_) => {
            helpers::get_module();
            trace::context_create(|| (ctx.id(),));
            ctx.as_ptr()
        }
        // Another thread was faster.
        Err(other) => {
            // INVARIANT: Nobody else has seen the context and its anchor.
            let freed = family::leave(&Links(()), ctx);
            // SAFETY: A family of one has no children: all of it is taken out; no lock is held.
            unsafe { release(freed) };
            other
        }
    }
}

/// Makes the context of a child and links it below its parent's.
///
/// # Context
///
/// Both mmap_locks held for write, so that the parent's context stays; may sleep.
///
/// # Safety
///
/// `mm` must be valid and without a context, `parent` the context of the mm being copied.
pub(crate) unsafe extern "C" fn fork(
    mm: *mut bindings::mm_struct,
    parent: *mut bindings::anon_vma_lazy,
) -> c_int {
    // SAFETY: `mm->anon_vma_lazy` of a living address space.
    let parent = unsafe { Ctx::from_ptr(parent) };
    // SAFETY: The parent's address space refers to it.
    let anchor = unsafe { parent.anchor() };
    // The mmap_lock of the only process there is keeps others from making the root.
    let first = anchor.root() == anchor;

    let root = if first {
        Anchor::alloc(None)
    } else {
        Some(anchor.root())
    };
    let own = root.and_then(|root| Anchor::alloc(Some(root)));
    let (Some(root), Some(own), Some(ctx)) = (root, own, own.and_then(|_| Ctx::alloc())) else {
        // SAFETY: Nobody else has seen what is new, and no lock is held.
        unsafe {
            if let Some(own) = own {
                own.free();
            }
            if let Some(root) = root.filter(|_| first) {
                root.free();
            }
        }
        return ENOMEM.to_errno();
    };

    // If this is the first fork, nobody knows of the root yet: the mmap_lock protects the family of
    // one, in which walks follow no links.
    debug_assert!(!first || anchor.is_marked_leaf());
    let family = Family::lock(root);
    learn::prepare(&family.links, parent);
    let borrowed = family::borrow(&family.links, parent);
    // SAFETY: Nobody else sees the context before it is linked.
    unsafe { ctx.init(borrowed.unwrap_or(own), mm) };
    if anchor.is_marked_leaf() {
        // SAFETY: It is in use.
        let _lock = unsafe { Member::lock(anchor) };
        if first {
            family::add_root(&family.links, parent, root);
            // SAFETY: Both are locked, and there.
            unsafe { bindings::anon_vma_lazy_set_root(anchor.as_ptr(), root.as_ptr()) };
        }
        anchor.set_leaf(false);
    }
    family::join(&family.links, parent, ctx);
    // Nobody else sees the child's.
    own.set_leaf(borrowed.is_none());
    trace::context_join(|| (ctx.id(), parent.id()));
    if let Some(anchor) = borrowed {
        trace::borrow(|| {
            let holder = family.links.holder(anchor);
            (ctx.id(), holder.map_or(0, Ctx::id))
        });
    }
    drop(family);

    FORKS.add(1, Relaxed);
    if borrowed.is_some() {
        BORROWED.add(1, Relaxed);
        // SAFETY: It has the reference of its allocation, and the lock is dropped.
        unsafe { own.free() };
    }
    // SAFETY: By the safety requirements. Nobody else sees the mm.
    unsafe { slot(mm) }.store(ctx.as_ptr(), Relaxed);
    helpers::get_module();
    0
}

/// Takes a reference on an anon_vma if a context or an ancestor of it holds it. It may be a stale
/// pointer: it is only compared.
///
/// # Context
///
/// mmap_lock held, so that the context stays, and no rmap lock; may sleep.
///
/// # Safety
///
/// `lazy` must be the context of an address space.
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_pin(
    lazy: *mut bindings::anon_vma_lazy,
    anon_vma: *mut bindings::anon_vma,
) -> bool {
    // SAFETY: By the safety requirements.
    let ctx = unsafe { Ctx::from_ptr(lazy) };
    // SAFETY: An address space refers to it, whose mmap_lock the caller holds.
    let root = unsafe { ctx.root() };

    let family = Family::lock(root);
    family::holds(&family.links, ctx, |anchor| {
        let found = anchor.as_ptr() == anon_vma;
        if found {
            anchor.get();
        }
        found
    })
}

/// Ends all walks in an address space, for ever.
///
/// # Context
///
/// mmap_lock held for write, no page table entries left, no VMA or node of the tree freed yet
/// without the member lock; may sleep.
///
/// # Safety
///
/// `lazy` must be the context of an address space.
pub(crate) unsafe extern "C" fn sever(lazy: *mut bindings::anon_vma_lazy) {
    // SAFETY: The context is there.
    debug_assert_eq!(unsafe { helpers::avl_anon_pages((*lazy).mm) }, 0);
    // SAFETY: By the safety requirements.
    unsafe { end_walks(lazy) };
}

/// Ends all walks in an address space: those of its lazy VMAs, of which none has entries any more.
///
/// # Safety
///
/// As for [`sever`].
unsafe fn end_walks(lazy: *mut bindings::anon_vma_lazy) {
    // SAFETY: The context is there, and its anchor in use. `mm` is written with the lock held, but
    // looked at without.
    unsafe {
        let anchor = Ctx::from_ptr(lazy).anchor();
        let _lock = Member::lock(anchor);
        addr_of_mut!((*lazy).mm).write_volatile(null_mut());
        anchor.set_leaf(false);
    }
}

/// Takes a context out of its family, or leaves it there dead if it has several children.
///
/// # Context
///
/// The VMAs of the address space are unlinked; no rmap lock held; may sleep.
///
/// # Safety
///
/// `lazy` must be the context of an address space that forgets it now.
pub(crate) unsafe extern "C" fn leave(lazy: *mut bindings::anon_vma_lazy) {
    // SAFETY: By the safety requirements it is there until it is taken out below. Only its address
    // space, which is the caller's, writes `mm`.
    let (ctx, severed) = unsafe { (Ctx::from_ptr(lazy), (*lazy).mm.is_null()) };
    if !severed {
        // The address space has no lazy VMA.
        // SAFETY: By the safety requirements.
        unsafe { end_walks(lazy) };
    }
    // SAFETY: An address space refers to it, which is torn down.
    let root = unsafe { ctx.root() };

    let family = Family::lock(root);
    let freed = family::leave(&family.links, ctx);
    if let Some(heir) = freed
        .heir
        .filter(|heir| family::is_leaf(&family.links, *heir))
    {
        let anchor = family.links.anchor(heir);
        // SAFETY: The family lock keeps both. The lock protects `mm`: a severed context may leave at
        // any time, so no walk may do without the family lock.
        unsafe {
            let _lock = Member::lock(anchor);
            anchor.set_leaf(!(*heir.as_ptr()).mm.is_null());
        }
    }
    trace::context_leave(|| (ctx.id(), freed.contexts as c_uint));
    if freed.donated != 0 {
        trace::donate(|| {
            let id = |ctx: Option<Ctx>| ctx.map_or(0, Ctx::id);
            (id(freed.ctx), id(freed.heir), freed.donated as c_uint)
        });
    }
    drop(family);

    DONATED.add(freed.donated as i64, Relaxed);
    DEAD.add(1 - freed.contexts as i64, Relaxed);
    // SAFETY: The family lock is dropped.
    unsafe { release(freed) };
}

/// Whether an address space has a context, for somebody who does not mind if that changes.
///
/// # Safety
///
/// `mm` must be valid.
pub(crate) unsafe fn is_there(mm: *mut bindings::mm_struct) -> bool {
    // SAFETY: By the safety requirements.
    !unsafe { slot(mm) }.load(Relaxed).is_null()
}

/// Turns the lazy VMAs of an address space into eager ones and ends its context, if it has one without
/// relatives. Returns the number of VMAs.
///
/// # Context
///
/// mmap_lock held for write; no rmap lock held; may sleep.
///
/// # Safety
///
/// The caller must have a reference on the address space (`mm_users`), and one on the module.
pub(crate) unsafe fn drain(mm: *mut bindings::mm_struct) -> Result<Option<usize>> {
    // SAFETY: By the safety requirements.
    let Some(ctx) = (unsafe { Ctx::of(mm) }) else {
        return Ok(None);
    };
    // SAFETY: The address space refers to it.
    let family = Family::lock(unsafe { ctx.root() });
    let family::Summary { used, spare, .. } = family::summary(&family.links, ctx);
    let Some(held) = family::gather(&family.links, ctx) else {
        return Ok(None);
    };
    drop(family);
    // Only a fork, which waits for the mmap_lock, could give it relatives. What it holds is looked at
    // by relatives, and by who has the mmap_lock.

    // SAFETY: The mmap_lock is held, and these are all anchors that the context holds.
    let vmas = unsafe { bindings::anon_vma_lazy_drain(mm, held.as_ptr()) };
    if vmas <= 0 {
        // INVARIANT: See above.
        family::part(&Links(()), ctx, held);
    }
    let vmas = to_result(vmas).map(|()| vmas as usize)?;
    if vmas == 0 {
        // SAFETY: It has no lazy VMA, and the address space forgets it below.
        unsafe { leave(ctx.as_ptr()) };
    } else {
        ANCHORS.add(-((used + spare) as i64), Relaxed);
        FAMILIES.add(-1, Relaxed);
        // INVARIANT: No walk comes to the context any more: its anchors are eager, and who looked at
        // them before had one of the locks under which they became so.
        learn::replace(&Links(()), ctx, None);
        trace::context_leave(|| (ctx.id(), 1));
        // SAFETY: Likewise, and the address space forgets it below.
        unsafe { ctx.free() };
    }
    // SAFETY: By the safety requirements.
    unsafe { slot(mm) }.store(null_mut(), Relaxed);
    helpers::put_module();
    Ok(Some(vmas))
}
