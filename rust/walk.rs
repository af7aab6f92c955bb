// SPDX-License-Identifier: GPL-2.0

//! Walks: from an anchor and a range of page offsets to the VMAs that may map them.
//!
//! For each context of the holder's subtree, parents before children, under its member lock:
//!
//! * *natural* VMAs, by address, in the VMA tree of the process;
//! * *displaced* VMAs, by their chains, in the tree of the context's anchor;
//! * *detached* VMAs, which `munmap()` takes out of the VMA tree before it zaps their page tables, in
//!   its own tree of them.
//!
//! A VMA is of exactly one kind while the member lock is held, so it is visited once.
//!
//! # Why a looked-up VMA can be used
//!
//! VMAs are freed without waiting for RCU readers, but their memory stays a VMA for the length of an
//! RCU read-side critical section (`SLAB_TYPESAFE_BY_RCU`). Whatever has that memory now, if its
//! `anon_vma` is the anchor of this address space, then it is a lazy VMA of this address space:
//! only such VMAs are given that pointer, and `vm_area_dup()` does not copy it. To take it away and
//! free the VMA, `unlink_anon_vmas()` needs the member lock, which the walk holds; `munmap()` and exit
//! needed it before, to have no walk come to the VMA any more. So does whoever changes its range or
//! anon page offset.

use crate::{
    context::{
        is_leaf,
        set_state,
        state,
        Ctx,
        LAZY,
        LEAF, //
    },
    helpers::{
        self,
        Event, //
    },
    learn::Range,
    shares,
    trace, //
};
use core::ptr::{
    addr_of,
    addr_of_mut,
    null_mut, //
};
use kernel::{
    bindings,
    ffi::c_uint,
    mm::virt::flags,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed, //
        },
        rcu, //
    }, //
};

/// Look-ups by address overlook the VMA at this address, if not 0; the parameter `hide_address`.
#[no_mangle]
pub(crate) static anon_vma_lazy_hide_address: Atomic<usize> = Atomic::<usize>::new(0);

/// The parameter `hide_address`. In a walk each call of a function counts, such as an atomic load.
fn hidden() -> usize {
    // SAFETY: It is static; users of the parameter do not expect more than a load that is not torn.
    unsafe { anon_vma_lazy_hide_address.as_ptr().read_volatile() }
}

type Vma = *mut bindings::vm_area_struct;

/// VMAs whose page tables move without the anon_vma lock, whose callbacks need their file, or whose
/// pages no rmap knows.
const NEVER: u64 = (flags::HUGETLB | flags::PFNMAP | flags::MIXEDMAP | flags::IO) as u64;

/// The address of the first byte of a VMA.
///
/// # Safety
///
/// `vma` must point to memory of a VMA.
unsafe fn start(vma: Vma) -> usize {
    // SAFETY: By the safety requirements; the union holds the addresses as long as the VMA is not
    // free, and some number otherwise.
    unsafe { addr_of!((*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start).read_volatile() }
}

/// The address behind the last byte of a VMA.
///
/// # Safety
///
/// As for [`start`].
unsafe fn end(vma: Vma) -> usize {
    // SAFETY: As in `start`.
    unsafe { addr_of!((*vma).__bindgen_anon_1.__bindgen_anon_1.vm_end).read_volatile() }
}

/// The offset of the first anonymous page of a VMA: `vma_start_anon_pgoff()`, an inline function.
///
/// # Safety
///
/// `vma` must be valid, with its range stable.
unsafe fn anon_pgoff(vma: Vma) -> usize {
    // SAFETY: By the safety requirements.
    let (lo, hi) = unsafe { ((*vma).__vm_anon_pgoff_lo, (*vma).__vm_anon_pgoff_hi) };
    ((u64::from(hi) << 32) | u64::from(lo)) as usize
}

/// Whether the anonymous pages of a VMA have the offsets of their addresses.
///
/// # Safety
///
/// As for [`anon_pgoff`].
pub(crate) unsafe fn is_natural(vma: Vma) -> bool {
    // SAFETY: By the safety requirements.
    unsafe { anon_pgoff(vma) == start(vma) >> PAGE_SHIFT }
}

/// Why an unfaulted VMA should not become lazy.
///
/// # Context
///
/// mmap_lock held; called under RCU.
///
/// # Safety
///
/// `vma` must be a valid VMA of an address space whose mmap_lock is held; called under RCU.
pub(crate) unsafe extern "C" fn want(
    vma: *const bindings::vm_area_struct,
) -> bindings::anon_vma_eager {
    let vma = vma.cast_mut();
    // SAFETY: The mmap_lock keeps VMA, range and these flags.
    let vm_flags = unsafe { (*vma).__bindgen_anon_2.vm_flags } as u64;

    // SAFETY: As above, and we are called under RCU.
    if unsafe { !helpers::allowed(vma) } {
        bindings::anon_vma_eager_ANON_VMA_EAGER_DISABLED
    } else if vm_flags & NEVER != 0 {
        bindings::anon_vma_eager_ANON_VMA_EAGER_FLAGS
    // SAFETY: As above.
    } else if unsafe { !is_natural(vma) } {
        bindings::anon_vma_eager_ANON_VMA_EAGER_MOVED
    } else {
        bindings::anon_vma_eager_ANON_VMA_EAGER_NOT
    }
}

/// A maple state that starts at `address`.
fn maple_state(tree: *mut bindings::maple_tree, address: usize) -> bindings::ma_state {
    bindings::ma_state {
        tree,
        index: address,
        last: address,
        max: usize::MAX,
        status: bindings::maple_status_ma_start,
        ..Default::default()
    }
}

/// The VMA tree of an address space.
///
/// # Safety
///
/// `mm` must be valid.
unsafe fn vma_tree(mm: *mut bindings::mm_struct) -> *mut bindings::maple_tree {
    // SAFETY: By the safety requirements; this only computes an address.
    unsafe { addr_of_mut!((*mm).__bindgen_anon_1.mm_mt) }
}

/// [`vma_tree`] of an address space that is looked up under RCU.
///
/// # Safety
///
/// As for [`vma_tree`]; the member lock must be held, and the member not be severed.
unsafe fn walked_tree(mm: *mut bindings::mm_struct) -> *mut bindings::maple_tree {
    // SAFETY: By the safety requirements.
    let tree = unsafe { vma_tree(mm) };
    // SAFETY: The tree is there. Nobody changes the flag while walks may come.
    debug_assert_ne!(unsafe { (*tree).ma_flags } & bindings::MT_FLAGS_USE_RCU, 0);
    tree
}

/// The addresses of pages with these offsets.
fn of_pages(first: usize, last: usize) -> Range {
    Range {
        first: first << PAGE_SHIFT,
        last: (last << PAGE_SHIFT) | (PAGE_SIZE - 1),
    }
}

/// How many page offsets may be those of addresses. No VMA ends at the end of all addresses, so a
/// look-up always comes to its end.
const NR_PAGES: usize = (usize::MAX >> PAGE_SHIFT) - 1;

/// The addresses of pages with these offsets. If they are not those of addresses in user space, which
/// only displaced VMAs have: a range behind all VMAs whose last is below its first.
fn addresses(first: usize, last: usize) -> Range {
    if first < NR_PAGES {
        of_pages(first, last.min(NR_PAGES - 1))
    } else {
        Range {
            first: usize::MAX,
            last: usize::MAX - 1,
        }
    }
}

/// The walk of [`bindings::anon_rmap_walk`], as methods.
///
/// # Invariants
///
/// The walk's anon_vma is locked by `anon_vma_lock_read()`. `ctx` is in the subtree of
/// `anon_vma->lazy`. If `locked`, the member lock of `ctx` is held for read and `ctx` is not severed.
struct Walk<'a>(&'a mut bindings::anon_rmap_walk);

impl Walk<'_> {
    /// Whether what is locked is the only member.
    fn is_leaf(&self) -> bool {
        // SAFETY: By the type invariants the anon_vma is there and lazy.
        unsafe { is_leaf(self.0.anon_vma) }
    }

    /// Locks the member and starts with its natural VMAs. False if it is of no interest.
    fn enter(&mut self) -> bool {
        let walk = &mut *self.0;
        let ctx = walk.ctx;
        // SAFETY: By the type invariants the context is there. `mm` may change to NULL at any time,
        // but then it stays NULL: a first look without the lock saves taking it for nothing.
        let mm = unsafe { addr_of!((*ctx).mm).read_volatile() };
        if mm.is_null() || (!walk.mm.is_null() && walk.mm != mm) {
            return false;
        }

        let contended = !self.is_leaf()
            // SAFETY: The family lock keeps the context in the family, so its anchor is there.
            && unsafe { helpers::lock_member_read((*ctx).anchor, self.0.try_lock) };
        if contended {
            self.0.contended = true;
            return false;
        }
        // INVARIANT: Locked just now, or by the caller; severed contexts are left below.
        self.start();
        // SAFETY: The member lock is held, which protects `mm`.
        if unsafe { (*ctx).mm }.is_null() {
            self.exit();
            return false;
        }
        self.0.nr_contexts += 1;
        true
    }

    /// Starts with the natural VMAs of the member, which is locked.
    fn start(&mut self) {
        let walk = &mut *self.0;
        walk.locked = true;
        walk.address = walk.first << PAGE_SHIFT;
        walk.avc = null_mut();
        walk.detached = 0;
    }

    /// Unlocks the member, but leaves a leaf to the caller, who locked it.
    fn exit(&mut self) {
        if !self.is_leaf() {
            // SAFETY: `locked` says that the member lock is held.
            unsafe { bindings::up_read(addr_of_mut!((*(*self.0.ctx).anchor).rwsem)) };
        }
        self.0.locked = false;
    }

    /// The way through the family; to be dropped with its lock.
    fn path(&self) -> Option<shares::Path> {
        let pages = Range {
            first: self.0.first,
            last: self.0.last,
        };
        // SAFETY: By the type invariants the root is locked, and the anon_vma has a holder.
        (!self.is_leaf()).then(|| unsafe { shares::Path::new(self.0.anon_vma, pages, false) })
    }

    /// What there is to learn from the member, where the walk found nothing.
    fn hole(&self) -> Option<Range> {
        if hidden() != 0 {
            return None;
        }
        // SAFETY: By the type invariants.
        unsafe { self.path()?.hole(self.0.ctx) }
    }

    /// Goes to the next context, and may let others run. False if there is none.
    fn advance(&mut self, hole: Option<Range>) -> bool {
        let Some(path) = self.path() else {
            return false;
        };
        // SAFETY: A walk may sleep. By the type invariants `ctx` is in the subtree.
        let next = unsafe {
            helpers::cond_resched();
            path.next(self.0.ctx, hole)
        };
        // INVARIANT: `next` is in the subtree, and not locked. So is the holder, where `walk_end()`
        // has nothing to end.
        // SAFETY: By the type invariants the anon_vma has a holder.
        self.0.ctx = next.unwrap_or(unsafe { (*self.0.anon_vma).__bindgen_anon_1.lazy });
        next.is_some()
    }

    /// The next VMA found by address, by one look-up per VMA or gap in the range.
    fn natural(&mut self) -> Option<Vma> {
        let Range { first, last } = addresses(self.0.first, self.0.last);
        let walk = &mut *self.0;

        while first <= walk.address && walk.address <= last {
            // SAFETY: The member is locked and not severed.
            let (vma, end) = unsafe { look_up(walk.ctx, walk.address) };
            walk.address = end;
            if vma.is_some() {
                return vma;
            }
        }
        None
    }

    /// The next VMA found by its chain.
    fn displaced(&mut self) -> Option<Vma> {
        let walk = &mut *self.0;
        if walk.detached != 0 {
            return None;
        }
        // SAFETY: The member lock protects the tree of chains and the VMAs in it.
        unsafe {
            let anchor = (*walk.ctx).anchor;
            walk.avc = bindings::anon_vma_lazy_displaced(anchor, walk.avc, walk.first, walk.last);
            if walk.avc.is_null() {
                walk.detached = 1;
                return None;
            }
            Some((*walk.avc).vma)
        }
    }

    /// The next VMA of those that are being unmapped.
    fn detached(&mut self) -> Option<Vma> {
        let Range { first, last } = addresses(self.0.first, self.0.last);
        let walk = &mut *self.0;
        // SAFETY: The member lock keeps what is there.
        let (anchor, detached) = unsafe { ((*walk.ctx).anchor, (*walk.ctx).detached.as_ref()?) };
        if last < detached.start || detached.end <= first {
            return None;
        }
        let mut mas = maple_state(detached.tree, walk.detached - 1);

        loop {
            // SAFETY: Nobody changes this tree, and the member lock keeps it.
            let vma: Vma = unsafe { bindings::mas_find(&mut mas, usize::MAX) }.cast();
            // SAFETY: The member lock keeps the VMAs in the tree, which are in order.
            if vma.is_null() || unsafe { start(vma) } > last {
                return None;
            }
            walk.detached = mas.last + 2;
            // SAFETY: As above. Nobody faults in one, so that its anon_vma does not change either.
            if unsafe { end(vma) > first && (*vma).anon_vma == anchor && has_no_chain(vma) } {
                return Some(vma);
            }
        }
    }

    /// The next VMA in the member, which is locked.
    fn here(&mut self) -> Option<Vma> {
        self.natural()
            .or_else(|| self.displaced())
            .or_else(|| self.detached())
    }

    fn next(&mut self) -> Option<Vma> {
        loop {
            // Nothing is learned from a member where the last call found something.
            let first = !self.0.locked;
            let mut hole = None;
            if self.0.locked || self.enter() {
                let vma = self.here();
                if vma.is_some() {
                    self.0.nr_vmas += 1;
                    return vma;
                }
                if first {
                    hole = self.hole();
                }
                self.exit();
            }
            if self.0.contended || !self.advance(hole) {
                return None;
            }
        }
    }
}

/// Looks up the natural VMA at an address, and where what is there ends, VMA or gap.
///
/// # Safety
///
/// `ctx` must not be severed, and its member lock held.
unsafe fn look_up(ctx: *const bindings::anon_vma_lazy, address: usize) -> (Option<Vma>, usize) {
    // SAFETY: By the safety requirements. `mm` is valid, and so is its tree, in RCU mode, as it is
    // only destroyed after the mm was severed.
    let tree = unsafe { walked_tree((*ctx).mm) };
    let mut mas = maple_state(tree, address);
    let _rcu = rcu::read_lock();
    // SAFETY: The RCU read lock protects the nodes.
    let vma: Vma = unsafe { bindings::mas_walk(&mut mas) }.cast();
    // SAFETY: The entry points to the memory of a VMA as long as RCU is held.
    if !vma.is_null() && unsafe { accepts(ctx, vma, address) } {
        // SAFETY: It is stable.
        return (Some(vma), unsafe { end(vma) });
    }
    (None, mas.last.saturating_add(1))
}

/// As [`look_up`], in fewer instructions, but does not tell where a gap ends.
///
/// # Safety
///
/// As for [`look_up`].
unsafe fn look_up_only(ctx: *const bindings::anon_vma_lazy, address: usize) -> Option<Vma> {
    // SAFETY: As in `look_up`.
    let tree = unsafe { walked_tree((*ctx).mm) };
    let _rcu = rcu::read_lock();
    // SAFETY: As in `look_up`.
    unsafe {
        let vma: Vma = bindings::mtree_load(tree, address).cast();
        (!vma.is_null() && accepts(ctx, vma, address)).then_some(vma)
    }
}

/// What a member has for a walk.
enum Visit {
    /// Only this VMA, which has the whole range.
    One(Vma),
    /// Nothing.
    None,
    /// Several VMAs, maybe.
    Many,
}

/// The VMA that a walk found last in a member, if it has all of `[first, last]`.
///
/// Whoever takes the member lock for write to change VMAs clears it. So since it was stored, by [`find`],
/// neither the VMA nor its range have changed, and no displaced or detached one has become its like. What
/// `munmap()` unlinks without that lock was detached under it, and not stored since.
///
/// # Safety
///
/// `anchor` must be locked and lazy.
#[inline(always)]
unsafe fn hint(anchor: *mut bindings::anon_vma, bytes: Range) -> Option<Vma> {
    // SAFETY: By the safety requirements.
    let vma = (unsafe { state(anchor) } & !(LAZY | LEAF)) as Vma;
    // SAFETY: It is stable, see above.
    let covers = !vma.is_null() && unsafe { start(vma) <= bytes.first && bytes.last < end(vma) };
    (covers && hidden() == 0).then_some(vma)
}

/// Whether a member has a displaced VMA with a page of this range.
///
/// # Safety
///
/// `anchor` must be locked and lazy.
unsafe fn has_displaced(anchor: *mut bindings::anon_vma, first: usize, last: usize) -> bool {
    // SAFETY: By the safety requirements.
    unsafe { !bindings::anon_vma_lazy_displaced(anchor, null_mut(), first, last).is_null() }
}

/// Looks for the only VMA of a member that has a page of a folio, and remembers it unless it is not
/// the only one for all its range.
///
/// # Safety
///
/// The member lock must be held.
unsafe fn find(ctx: *const bindings::anon_vma_lazy, pages: Range, bytes: Range) -> Visit {
    // SAFETY: The member lock keeps the anchor, and protects the rest.
    let (anchor, severed, detached) = unsafe {
        (
            (*ctx).anchor,
            (*ctx).mm.is_null(),
            !(*ctx).detached.is_null(),
        )
    };
    if severed {
        return Visit::None;
    }
    if detached {
        return Visit::Many;
    }
    let mut found = None;
    if bytes.first <= bytes.last {
        // SAFETY: It is not severed.
        found = unsafe { look_up_only(ctx, bytes.first) };
        if found.is_none() && pages.first != pages.last {
            // SAFETY: As above.
            let (vma, end) = unsafe { look_up(ctx, bytes.first) };
            if end <= bytes.last {
                return Visit::Many;
            }
            found = vma;
        }
    }
    // SAFETY: The anchor is locked, and the VMA stable.
    unsafe {
        match found {
            Some(vma)
                if bytes.last < end(vma)
                    && !has_displaced(
                        anchor,
                        start(vma) >> PAGE_SHIFT,
                        (end(vma) - 1) >> PAGE_SHIFT,
                    ) =>
            {
                // Another walk may store its own at the same time, which is as good; the flags do
                // not change while the lock is held.
                set_state(anchor, state(anchor) & (LAZY | LEAF) | vma as usize);
                Visit::One(vma)
            }
            None if !has_displaced(anchor, pages.first, pages.last) => Visit::None,
            _ => Visit::Many,
        }
    }
}

/// Visits all VMAs of a member. Returns whether the walk shall go on, and their number.
///
/// # Safety
///
/// The member lock must be held, and `ctx` not be severed.
#[inline(never)]
unsafe fn visit_many(
    ctx: *mut bindings::anon_vma_lazy,
    pages: Range,
    visit: impl Fn(Vma, usize) -> bool,
) -> (bool, u32) {
    let mut nr = 0;
    let mut walk = bindings::anon_rmap_walk {
        first: pages.first,
        last: pages.last,
        ctx,
        ..Default::default()
    };
    // INVARIANT: By the safety requirements, as far as `start()` and `here()` rely on it.
    let mut walk = Walk(&mut walk);

    walk.start();
    while let Some(vma) = walk.here() {
        nr += 1;
        // SAFETY: A walk may sleep.
        unsafe { helpers::cond_resched() };
        // SAFETY: The member lock keeps the VMA, which has a page of the range.
        let address =
            unsafe { start(vma) + (pages.first.saturating_sub(anon_pgoff(vma)) << PAGE_SHIFT) };
        if !visit(vma, address) {
            return (false, nr);
        }
    }
    (true, nr)
}

/// `rmap_walk_anon()` for a lazy anon_vma.
///
/// # Context
///
/// The anon_vma itself is locked if `leaf`, or else its root. Takes member locks; may sleep.
///
/// # Safety
///
/// As for `rmap_walk_anon()`. `anon_vma` must have a context; `first` and `last` are the page offsets
/// of the folio.
pub(crate) unsafe extern "C" fn rmap_walk(
    anon_vma: *mut bindings::anon_vma,
    folio: *mut bindings::folio,
    rwc: *mut bindings::rmap_walk_control,
    first: usize,
    last: usize,
    leaf: bool,
) {
    // The usual walk, in as few instructions as possible. A traced one has none to save.
    if leaf && last < NR_PAGES && !trace::walk_enabled() {
        let bytes = of_pages(first, last);
        // SAFETY: The anchor of a leaf is locked, which keeps the VMA; it is the only one, so what
        // the callbacks return does not matter.
        unsafe {
            if let Some(vma) = hint(anon_vma, bytes) {
                match ((*rwc).invalid_vma, (*rwc).rmap_one) {
                    (None, Some(one)) => one(folio, vma, bytes.first, (*rwc).arg),
                    _ => visit_checked(folio, rwc, vma, bytes.first),
                };
                helpers::count(Event::WalkLeaf, 1);
                return;
            }
        }
    }
    // SAFETY: By the safety requirements.
    unsafe { rmap_walk_all(anon_vma, folio, rwc, Range { first, last }, leaf) };
}

/// Has a VMA visited. Returns false if that ends the walk, but for `rwc->done`.
///
/// # Safety
///
/// As for [`rmap_walk`], with the member lock of the VMA held.
#[inline(always)]
unsafe fn visit(
    folio: *mut bindings::folio,
    rwc: *mut bindings::rmap_walk_control,
    vma: Vma,
    address: usize,
) -> bool {
    // SAFETY: By the safety requirements; every walk has an `rmap_one`.
    unsafe {
        let arg = (*rwc).arg;
        (*rwc).invalid_vma.is_some_and(|invalid| invalid(vma, arg))
            || (*rwc).rmap_one.unwrap_unchecked()(folio, vma, address, arg)
    }
}

/// [`visit`] out of line: it needs registers that [`rmap_walk`] would have to save first.
///
/// # Safety
///
/// As for [`visit`].
#[inline(never)]
unsafe fn visit_checked(
    folio: *mut bindings::folio,
    rwc: *mut bindings::rmap_walk_control,
    vma: Vma,
    address: usize,
) -> bool {
    // SAFETY: By the safety requirements.
    unsafe { visit(folio, rwc, vma, address) }
}

/// [`rmap_walk`], whatever there is.
///
/// # Safety
///
/// As for [`rmap_walk`].
#[inline(never)]
unsafe fn rmap_walk_all(
    anon_vma: *mut bindings::anon_vma,
    folio: *mut bindings::folio,
    rwc: *mut bindings::rmap_walk_control,
    pages: Range,
    leaf: bool,
) {
    // Returns false to end the walk.
    let visit = |vma, address| {
        // SAFETY: The member lock keeps the VMA. See above.
        unsafe {
            visit(folio, rwc, vma, address) && (*rwc).done.is_none_or(|done| done(folio) == 0)
        }
    };
    let bytes = addresses(pages.first, pages.last);
    let (mut nr_contexts, mut nr_vmas, mut contended) = (0, 0, false);
    // SAFETY: By the safety requirements.
    let top = unsafe { (*anon_vma).__bindgen_anon_1.lazy };
    let mut ctx = top;
    // SAFETY: The root is locked, until the walk is over.
    let path = (!leaf).then(|| unsafe { shares::Path::new(anon_vma, pages, true) });

    loop {
        // SAFETY: The lock that is held keeps the context, so its anchor is there. `mm` may change to
        // NULL at any time, but then it stays NULL.
        let (anchor, mm) = unsafe { ((*ctx).anchor, addr_of!((*ctx).mm).read_volatile()) };
        // Somebody else may use the anchor of a dead context. Of one that is severed later, nobody
        // does before the lock is dropped.
        let mut hole = None;
        if !mm.is_null() {
            // SAFETY: As above.
            if !leaf && unsafe { helpers::lock_member_read(anchor, (*rwc).try_lock) } {
                contended = true;
                break;
            }
            nr_contexts += 1;
            // SAFETY: The member lock is held.
            let found =
                unsafe { hint(anchor, bytes).map_or_else(|| find(ctx, pages, bytes), Visit::One) };
            let go_on = match found {
                Visit::One(vma) => {
                    nr_vmas += 1;
                    visit(vma, bytes.first)
                }
                Visit::None => {
                    if let Some(path) = path.as_ref().filter(|_| hidden() == 0) {
                        // SAFETY: The member lock is held.
                        hole = unsafe { path.hole(ctx) };
                    }
                    true
                }
                Visit::Many => {
                    // SAFETY: The member lock is held, and `find()` saw that it is not severed.
                    let (go_on, nr) = unsafe { visit_many(ctx, pages, visit) };
                    nr_vmas += nr;
                    go_on
                }
            };
            if leaf {
                break;
            }
            // SAFETY: Locked above.
            unsafe { bindings::up_read(addr_of_mut!((*anchor).rwsem)) };
            if !go_on {
                break;
            }
        }
        let Some(path) = &path else { break };
        // SAFETY: A walk may sleep. The root is locked, so both contexts are in the family.
        let next = unsafe {
            helpers::cond_resched();
            path.next(ctx, hole)
        };
        // There is nothing to end where the walk began.
        ctx = next.unwrap_or(top);
        if next.is_none() {
            break;
        }
    }
    if let Some(path) = path {
        // SAFETY: `ctx` is where the walk is.
        unsafe { path.end(ctx) };
    }
    if contended {
        // SAFETY: Who has set `try_lock` looks at it, and nobody else uses it.
        unsafe { (*rwc).contended = true };
    }
    // SAFETY: The lock that is held keeps the holder.
    unsafe { count_walk(top, pages, nr_contexts, nr_vmas, contended) };
}

/// Counts and traces a walk that is over.
///
/// # Safety
///
/// `top`, the holder of the anchor where it began, must still be there.
unsafe fn count_walk(
    top: *mut bindings::anon_vma_lazy,
    pages: Range,
    visits: c_uint,
    hits: c_uint,
    contended: bool,
) {
    helpers::count_walk(visits, hits, contended);
    trace::walk(|| {
        // SAFETY: By the safety requirements.
        let holder = unsafe { Ctx::from_ptr(top) }.id();
        (holder, pages.first, pages.last, visits, hits, contended)
    });
}

/// Whether a lazy VMA is natural, as far as walks are concerned: they find others by their chain.
///
/// # Safety
///
/// `vma` must be lazy, and its member lock held.
unsafe fn has_no_chain(vma: Vma) -> bool {
    // SAFETY: By the safety requirements; this only computes an address.
    let chain = unsafe { addr_of!((*vma).anon_vma_chain) };
    // SAFETY: By the safety requirements.
    unsafe { core::ptr::eq((*chain).next, chain) }
}

/// Whether a look-up of an address in the VMA tree of a member found what it looked for. It may be a
/// VMA that came after, in the memory of the one that was found: somewhere else.
///
/// # Safety
///
/// `ctx` must not be severed, and its member lock held. `vma` must point to the memory of a VMA,
/// under RCU since it was found.
#[inline(always)]
unsafe fn accepts(ctx: *const bindings::anon_vma_lazy, vma: Vma, address: usize) -> bool {
    // SAFETY: By the safety requirements. Seeing the anchor with acquire means seeing the range
    // stored before it.
    let lazy = unsafe { Atomic::from_ptr(addr_of_mut!((*vma).anon_vma)) }.load(Acquire);
    // SAFETY: By the safety requirements.
    if lazy != unsafe { (*ctx).anchor } {
        return false;
    }
    // As it is the anchor, the VMA is stable from here on: see the module's documentation.
    let hidden = hidden();
    // SAFETY: The VMA is stable, and the member lock keeps the rest.
    let (start, end, detached) = unsafe { (start(vma), end(vma), (*ctx).detached.as_ref()) };
    // SAFETY: As above.
    let natural = unsafe { (*vma).vm_mm == (*ctx).mm && has_no_chain(vma) };

    natural
        && start <= address
        && address < end
        // It is found there, whether it is still here or not.
        && !detached.is_some_and(|d| d.start <= start && start < d.end)
        && !(hidden != 0 && start <= hidden && hidden < end)
}

/// The VMA, or the gap between two, where the page offset would be an address. `None` if that is a VMA
/// that a look-up accepts, and beyond user space.
///
/// # Safety
///
/// `ctx` must not be severed; its member lock and mmap_lock must be held.
pub(crate) unsafe fn unmapped(ctx: *mut bindings::anon_vma_lazy, pgoff: usize) -> Option<Range> {
    if pgoff >= NR_PAGES {
        return None;
    }
    // SAFETY: By the safety requirements.
    let (anchor, mut mas) = unsafe {
        (
            (*ctx).anchor,
            maple_state(vma_tree((*ctx).mm), pgoff << PAGE_SHIFT),
        )
    };
    let _rcu = rcu::read_lock();
    // SAFETY: The mmap_lock protects the tree, and whatever VMA it has there; it may become lazy.
    let natural = unsafe {
        let vma: Vma = bindings::mas_walk(&mut mas).cast();
        !vma.is_null()
            && Atomic::from_ptr(addr_of_mut!((*vma).anon_vma)).load(Relaxed) == anchor
            && is_natural(vma)
    };

    (!natural).then_some(Range {
        first: mas.index >> PAGE_SHIFT,
        last: mas.last >> PAGE_SHIFT,
    })
}

/// The page offsets of the VMA with a chain that begins first of those that overlap a range.
///
/// # Safety
///
/// The member lock must be held.
pub(crate) unsafe fn first_displaced(
    ctx: *mut bindings::anon_vma_lazy,
    range: Range,
) -> Option<Range> {
    // SAFETY: The member lock protects the tree of chains and the VMAs in it.
    unsafe {
        let avc =
            bindings::anon_vma_lazy_displaced((*ctx).anchor, null_mut(), range.first, range.last);
        (!avc.is_null()).then(|| {
            let vma = (*avc).vma;
            let first = anon_pgoff(vma);
            Range {
                first,
                last: first + ((end(vma) - start(vma)) >> PAGE_SHIFT) - 1,
            }
        })
    }
}

/// The next VMA of a walk, with the member lock of its address space held for read.
///
/// # Context
///
/// The root of `walk->anon_vma` is locked. Takes member locks; may sleep.
///
/// # Safety
///
/// `walk` must be valid, its fields set by the kernel's first or this function's last call.
pub(crate) unsafe extern "C" fn walk_next(walk: *mut bindings::anon_rmap_walk) -> Vma {
    // INVARIANT: The kernel locked the root and starts with `ctx` at `anon_vma->lazy`.
    // SAFETY: By the safety requirements; a walk belongs to one task.
    let mut walk = Walk(unsafe { &mut *walk });
    walk.next().unwrap_or(null_mut())
}

/// Ends a walk, at its end or before.
///
/// # Safety
///
/// As for [`walk_next`].
pub(crate) unsafe extern "C" fn walk_end(walk: *mut bindings::anon_rmap_walk) {
    // INVARIANT: As in `walk_next`.
    // SAFETY: As in `walk_next`.
    let mut walk = Walk(unsafe { &mut *walk });
    if walk.0.locked {
        walk.exit();
    }
    if let Some(path) = walk.path() {
        // SAFETY: By the type invariants `ctx` is where the walk is.
        unsafe { path.end(walk.0.ctx) };
    }
    let walk = walk.0;
    let pages = Range {
        first: walk.first,
        last: walk.last,
    };
    // SAFETY: By the type invariants the anon_vma has a holder, which its lock keeps.
    unsafe {
        let top = (*walk.anon_vma).__bindgen_anon_1.lazy;
        count_walk(top, pages, walk.nr_contexts, walk.nr_vmas, walk.contended);
    }
}
