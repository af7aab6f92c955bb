// SPDX-License-Identifier: GPL-2.0

//! Walks: from an anchor and a range of page offsets to the VMAs that may map them.
//!
//! For each context of the holder's subtree, parents before children, under its member lock:
//!
//! * *natural* VMAs, by address, in the VMA tree of the process;
//! * *displaced* VMAs, by their chains, in the tree of the context's anchor;
//! * *detached* VMAs, which `munmap()` took out of the VMA tree before it zaps their page tables.
//!
//! A VMA is of exactly one kind while the member lock is held, so it is visited once.
//!
//! # Why a looked-up VMA can be used
//!
//! VMAs are freed without waiting for RCU readers, but their memory stays a VMA for the length of an
//! RCU read-side critical section (`SLAB_TYPESAFE_BY_RCU`). Whatever has that memory now, if its
//! `anon_vma` is the anchor of this address space, then it is a lazy VMA of this address space:
//! only such VMAs are given that pointer, and `vm_area_dup()` does not copy it. To take it away and
//! free the VMA, `unlink_anon_vmas()` needs the member lock, which the walk holds. So does whoever
//! changes its range or anon page offset.

use crate::{
    context::{
        Ctx,
        Links, //
    },
    family,
    helpers::{
        self,
        Event, //
    }, //
};
use core::ptr::{
    addr_of,
    addr_of_mut,
    null_mut, //
};
use kernel::{
    bindings,
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

/// Whether unfaulted VMAs may become lazy; the module parameter `enabled`.
#[no_mangle]
static anon_vma_lazy_enabled: Atomic<bool> = Atomic::<bool>::new(true);

/// Look-ups by address overlook the VMA at this address, if not 0; the parameter `hide_address`.
#[no_mangle]
pub(crate) static anon_vma_lazy_hide_address: Atomic<usize> = Atomic::<usize>::new(0);

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

/// Whether the anonymous pages of a VMA have the offsets of their addresses.
///
/// # Safety
///
/// `vma` must be valid, with its range stable.
pub(crate) unsafe fn is_natural(vma: Vma) -> bool {
    // SAFETY: By the safety requirements. `vma_start_anon_pgoff()` is an inline function.
    let (lo, hi) = unsafe { ((*vma).__vm_anon_pgoff_lo, (*vma).__vm_anon_pgoff_hi) };
    let pgoff = (u64::from(hi) << 32) | u64::from(lo);
    // SAFETY: As above.
    pgoff == (unsafe { start(vma) } >> PAGE_SHIFT) as u64
}

/// Whether an unfaulted VMA should become lazy.
///
/// # Context
///
/// mmap_lock held; called under RCU.
///
/// # Safety
///
/// `vma` must be a valid VMA of an address space whose mmap_lock is held.
pub(crate) unsafe extern "C" fn want(vma: *const bindings::vm_area_struct) -> bool {
    let vma = vma.cast_mut();
    // SAFETY: The mmap_lock keeps VMA, range and these flags.
    let vm_flags = unsafe { (*vma).__bindgen_anon_2.vm_flags } as u64;

    // SAFETY: As above.
    anon_vma_lazy_enabled.load(Relaxed) && vm_flags & NEVER == 0 && unsafe { is_natural(vma) }
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

/// The walk of [`bindings::anon_rmap_walk`], as methods.
///
/// # Invariants
///
/// The root of the walk's anon_vma is locked. `ctx` is in the subtree of `anon_vma->lazy`. If
/// `locked`, the member lock of `ctx` is held for read and `ctx` is not severed.
struct Walk<'a>(&'a mut bindings::anon_rmap_walk);

impl Walk<'_> {
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

        // SAFETY: The family lock keeps the context in the family, so its anchor is there.
        let contended = unsafe { helpers::lock_member_read((*ctx).anchor, walk.try_lock) };
        if contended {
            walk.contended = true;
            return false;
        }
        // INVARIANT: Locked just now; severed contexts are left below.
        walk.locked = true;
        walk.address = walk.first << PAGE_SHIFT;
        walk.avc = null_mut();
        walk.detached = null_mut();
        // SAFETY: The member lock is held, which protects `mm`.
        if unsafe { (*ctx).mm }.is_null() {
            self.exit();
            return false;
        }
        self.0.nr_contexts += 1;
        true
    }

    /// Unlocks the member.
    fn exit(&mut self) {
        // SAFETY: `locked` says that the member lock is held.
        unsafe { bindings::up_read(addr_of_mut!((*(*self.0.ctx).anchor).rwsem)) };
        self.0.locked = false;
    }

    /// Goes to the next context, and may let others run. False if there is none.
    fn advance(&mut self) -> bool {
        // SAFETY: A walk may sleep.
        unsafe { helpers::avl_cond_resched() };
        // SAFETY: By the type invariants the family lock is held, for as long as `links` lives, and
        // both contexts are in the family: `anon_vma->lazy` is a context of it.
        let next = unsafe {
            let links = Links::new();
            let top = Ctx::from_ptr((*self.0.anon_vma).__bindgen_anon_1.lazy);
            family::next(&links, top, Ctx::from_ptr(self.0.ctx))
        };
        match next {
            // INVARIANT: `next` is in the subtree, and not locked.
            Some(next) => self.0.ctx = next.as_ptr(),
            None => return false,
        }
        true
    }

    /// The addresses of the first and the last byte of interest. `None` if the page offsets are not
    /// those of addresses in user space: only displaced VMAs have such.
    fn range(&self) -> Option<(usize, usize)> {
        // No VMA ends at the end of all addresses, so a look-up always comes to its end.
        const END: usize = usize::MAX >> PAGE_SHIFT;
        let last = self.0.last.min(END - 1);

        (self.0.first <= last).then(|| {
            (
                self.0.first << PAGE_SHIFT,
                (last << PAGE_SHIFT) + (PAGE_SIZE - 1),
            )
        })
    }

    /// The next VMA found by address, by one look-up per VMA or gap in the range.
    fn natural(&mut self) -> Option<Vma> {
        let (first, last) = self.range()?;
        let walk = &mut *self.0;
        // SAFETY: The member is locked and not severed: `mm` is valid, and so is its tree, in RCU
        // mode, as it is only destroyed after the mm was severed.
        let (anchor, mm) = unsafe { ((*walk.ctx).anchor, (*walk.ctx).mm) };

        while walk.address <= last {
            // SAFETY: See above.
            let tree = unsafe { vma_tree(mm) };
            // SAFETY: The tree is there. Nobody changes the flag while walks may come.
            debug_assert_ne!(unsafe { (*tree).ma_flags } & bindings::MT_FLAGS_USE_RCU, 0);
            let mut mas = maple_state(tree, walk.address);
            let _rcu = rcu::read_lock();
            // SAFETY: The RCU read lock protects the nodes.
            let vma: Vma = unsafe { bindings::mas_walk(&mut mas) }.cast();
            walk.address = mas.last.saturating_add(1);
            if vma.is_null() {
                continue;
            }
            // SAFETY: The entry points to the memory of a VMA as long as RCU is held. Seeing the
            // anchor with acquire means seeing the range stored before it.
            let lazy = unsafe { Atomic::from_ptr(addr_of_mut!((*vma).anon_vma)) }.load(Acquire);
            // SAFETY: If it is the anchor, the VMA is stable from here on: see the module's
            // documentation.
            if lazy == anchor && unsafe { accepts(vma, mm, first, last) } {
                return Some(vma);
            }
        }
        None
    }

    /// The next VMA found by its chain.
    fn displaced(&mut self) -> Option<Vma> {
        let walk = &mut *self.0;
        if !walk.detached.is_null() {
            return None;
        }
        // SAFETY: The member lock protects the tree of chains and the VMAs in it.
        let vma = unsafe { bindings::anon_vma_lazy_walk_displaced(walk) };
        if vma.is_null() {
            // SAFETY: The context is there.
            walk.detached = unsafe { addr_of_mut!((*walk.ctx).detached) };
            return None;
        }
        Some(vma)
    }

    /// The next VMA from the list of detached ones.
    fn detached(&mut self) -> Option<Vma> {
        let (first, last) = self.range()?;
        let walk = &mut *self.0;
        // SAFETY: The context is there.
        let head = unsafe { addr_of_mut!((*walk.ctx).detached) };

        loop {
            // SAFETY: `detached` is the head or an entry of the list, which the member lock keeps.
            walk.detached = unsafe { (*walk.detached).next };
            if walk.detached == head {
                return None;
            }
            // SAFETY: Every entry is the `anon_vma_chain` of a natural VMA.
            let vma = unsafe {
                kernel::container_of!(walk.detached, bindings::vm_area_struct, anon_vma_chain)
            };
            // SAFETY: A VMA is on the list until it is unlinked, under the member lock.
            if unsafe { start(vma) <= last && end(vma) > first } {
                return Some(vma);
            }
        }
    }

    fn next(&mut self) -> Option<Vma> {
        loop {
            if self.0.locked || self.enter() {
                let vma = self
                    .natural()
                    .or_else(|| self.displaced())
                    .or_else(|| self.detached());
                if vma.is_some() {
                    self.0.nr_vmas += 1;
                    return vma;
                }
                self.exit();
            }
            if self.0.contended || !self.advance() {
                return None;
            }
        }
    }
}

/// Whether a look-up of `[first, last]` that found a VMA of `mm` with its anchor found what it
/// looked for.
///
/// # Safety
///
/// The member lock must be held, and `vma->anon_vma` the anchor that it is in.
unsafe fn accepts(vma: Vma, mm: *mut bindings::mm_struct, first: usize, last: usize) -> bool {
    let hidden = anon_vma_lazy_hide_address.load(Relaxed);
    // SAFETY: The VMA is stable.
    let (start, end) = unsafe { (start(vma), end(vma)) };
    // SAFETY: The VMA is stable; this only computes an address.
    let chain = unsafe { addr_of!((*vma).anon_vma_chain) };

    // SAFETY: As above. An empty list means neither displaced nor detached.
    let natural = unsafe { (*vma).vm_mm == mm && core::ptr::eq((*chain).next, chain) };

    natural && start <= last && end > first && !(hidden != 0 && start <= hidden && hidden < end)
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
    helpers::count(Event::Walk, 1);
    helpers::count(Event::WalkContext, walk.0.nr_contexts);
    helpers::count(Event::WalkVma, walk.0.nr_vmas);
    helpers::count(Event::WalkContended, walk.0.contended.into());
}

/// Calls `each` for the natural lazy VMAs in a range, under the member lock for write.
///
/// # Safety
///
/// `ctx` must be the context of an address space whose mmap_lock is held for write.
unsafe fn for_each_natural(
    ctx: *mut bindings::anon_vma_lazy,
    range: core::ops::Range<usize>,
    mut each: impl FnMut(*mut bindings::list_head),
) {
    // SAFETY: The context is there, and it is not severed: munmap() is at work.
    let (anchor, mm) = unsafe { ((*ctx).anchor, (*ctx).mm) };
    // SAFETY: `mm` is valid.
    let mut mas = maple_state(unsafe { vma_tree(mm) }, range.start);

    // SAFETY: The anchor is in use. The mmap_lock protects the VMA tree.
    unsafe {
        helpers::lock_member_write(anchor);
        loop {
            let vma: Vma = bindings::mas_find(&mut mas, range.end - 1).cast();
            if vma.is_null() {
                break;
            }
            if (*vma).anon_vma == anchor && is_natural(vma) {
                each(addr_of_mut!((*vma).anon_vma_chain));
            }
        }
        bindings::up_write(addr_of_mut!((*anchor).rwsem));
    }
}

/// Lists VMAs that are about to leave the VMA tree.
///
/// # Context
///
/// mmap_lock held for write, no rmap lock; may sleep.
///
/// # Safety
///
/// `ctx` must be the context of the address space; no VMA may straddle the bounds of the range.
pub(crate) unsafe extern "C" fn detach(
    ctx: *mut bindings::anon_vma_lazy,
    start: usize,
    end: usize,
) {
    let mut count = 0;
    // SAFETY: By the safety requirements. The `anon_vma_chain` of a natural VMA in the tree is
    // unused, and the list is protected by the lock held.
    unsafe {
        for_each_natural(ctx, start..end, |link| {
            bindings::list_add_tail(link, addr_of_mut!((*ctx).detached));
            count += 1;
        });
    }
    helpers::count(Event::Detach, count);
}

/// Undoes [`detach`].
///
/// # Safety
///
/// As for [`detach`], after a call of it with the same arguments.
pub(crate) unsafe extern "C" fn reattach(
    ctx: *mut bindings::anon_vma_lazy,
    start: usize,
    end: usize,
) {
    // SAFETY: `detach` put each of them on the list.
    unsafe { for_each_natural(ctx, start..end, |link| helpers::avl_list_del_init(link)) };
}
