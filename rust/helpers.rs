// SPDX-License-Identifier: GPL-2.0

//! What the kernel offers as macros and inline functions only: `helpers.c`, `pagetable.c` and
//! `policy.c`.

use core::ptr::addr_of;
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    }, //
};

/// What a page table says of an address, see `enum avl_kind` in `pagetable.c`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or nothing anonymous.
    None,
    /// A mapped page.
    Present,
    /// A migration entry.
    Migration,
    /// A swap entry with a folio in the swap cache.
    Swap,
    /// A poisoned page.
    HwPoison,
}

impl Kind {
    /// From the number that C uses.
    pub(crate) fn from_raw(kind: c_uint) -> Self {
        match kind {
            1 => Self::Present,
            2 => Self::Migration,
            3 => Self::Swap,
            4 => Self::HwPoison,
            _ => Self::None,
        }
    }

    /// The word for it in the read-backs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Present => "present",
            Self::Migration => "migration",
            Self::Swap => "swap",
            Self::HwPoison => "hwpoison",
        }
    }
}

/// What [`count`] counts, see `enum avl_event` in `helpers.h`.
#[repr(u32)]
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// A walk of the only process, to the VMA found last: counts as context and VMA as well.
    WalkLeaf,
    /// Another walk from a lazy anon_vma.
    Walk,
    /// A context visited by a walk.
    WalkContext,
    /// A VMA visited by a walk.
    WalkVma,
    /// A walk given up for a lock.
    WalkContended,
    /// A mapping checked by the oracle.
    VerifyMapping,
    /// A mapping missed by a walk.
    VerifyMissed,
}

/// Counts an event `nr` times, on this CPU.
#[inline(always)]
pub(crate) fn count(event: Event, nr: c_uint) {
    // SAFETY: `event` is one of the enumerators; there are no other requirements.
    unsafe { avl_count(event as c_uint, nr) };
}

/// Counts a walk.
pub(crate) fn count_walk(contexts: c_uint, vmas: c_uint, contended: bool) {
    // SAFETY: No requirements.
    unsafe { avl_count_walk(contexts, vmas) };
    if contended {
        count(Event::WalkContended, 1);
    }
}

/// How often an event has been counted.
pub(crate) fn sum(event: Event) -> i64 {
    // SAFETY: As in `count`.
    (unsafe { avl_sum(event as c_uint) }) as i64
}

/// How often the kernel has counted an event of `enum anon_vma_lazy_event`.
pub(crate) fn kernel_sum(event: bindings::anon_vma_lazy_event) -> i64 {
    // SAFETY: As in `count`.
    (unsafe { avl_kernel_sum(event) }) as i64
}

/// Takes a reference on the module for a context; the kernel drops it.
///
/// The module has a reference already: the caller's or the parent context's.
pub(crate) fn get_module() {
    // SAFETY: No requirements.
    unsafe { avl_get_module() };
}

/// Drops the reference of a context that was drained.
pub(crate) fn put_module() {
    // SAFETY: The context had one, and who drains has another one.
    unsafe { avl_put_module() };
}

/// A number for an object, by which it can be told from others but not found.
pub(crate) fn hash<T>(object: *const T) -> u64 {
    // SAFETY: Any pointer will do.
    unsafe { avl_hash(object.cast()) }
}

/// Whether VMAs of this process may become lazy: the parameter `enabled` and the file `policy`.
///
/// # Safety
///
/// `vma` must be valid; called under RCU.
#[inline(always)]
pub(crate) unsafe fn allowed(vma: *const bindings::vm_area_struct) -> bool {
    // SAFETY: It is static, and stored by `WRITE_ONCE()`.
    match unsafe { addr_of!(avl_mode).read_volatile() } {
        EVERYBODY => true,
        // SAFETY: By the safety requirements.
        SOME => unsafe { avl_policy_allows(vma) },
        _ => false,
    }
}

/// See `enum avl_mode` in `helpers.h`.
const SOME: u8 = 1;
const EVERYBODY: u8 = 2;

extern "C" {
    static avl_mode: u8;
    fn avl_policy_allows(vma: *const bindings::vm_area_struct) -> bool;
    fn avl_count(event: c_uint, nr: c_uint);
    fn avl_count_walk(contexts: c_uint, vmas: c_uint);
    fn avl_sum(event: c_uint) -> usize;
    fn avl_kernel_sum(event: c_uint) -> usize;
    fn avl_get_module();
    fn avl_put_module();
    pub(crate) fn avl_init(ctx_size: c_uint) -> c_int;
    pub(crate) fn avl_exit();
    pub(crate) fn avl_register(ops: *const bindings::anon_vma_lazy_ops);
    pub(crate) fn avl_unregister();
    pub(crate) fn avl_ctx_alloc() -> *mut c_void;
    pub(crate) fn avl_ctx_free(ctx: *mut c_void);
    pub(crate) fn avl_anon_vma_get(anon_vma: *mut bindings::anon_vma);
    pub(crate) fn avl_anon_vma_put(anon_vma: *mut bindings::anon_vma);
    pub(crate) fn avl_anon_pages(mm: *mut bindings::mm_struct) -> usize;
    #[cfg(not(CONFIG_PREEMPTION))]
    fn avl_cond_resched();
    pub(crate) fn avl_learn_bytes(indexes: usize, shares: usize) -> usize;
    pub(crate) fn avl_index_alloc() -> *mut c_void;
    pub(crate) fn avl_index_free(index: *mut c_void);
    pub(crate) fn avl_index_lock(index: *mut c_void);
    pub(crate) fn avl_index_unlock(index: *mut c_void);
    pub(crate) fn avl_share_insert(
        index: *mut c_void,
        ctx: *mut bindings::anon_vma_lazy,
        first: usize,
        last: usize,
    ) -> *mut c_void;
    pub(crate) fn avl_share_remove(index: *mut c_void, share: *mut c_void);
    pub(crate) fn avl_share_resize(
        index: *mut c_void,
        share: *mut c_void,
        first: usize,
        last: usize,
    );
    pub(crate) fn avl_share_first(index: *mut c_void, first: usize, last: usize) -> *mut c_void;
    pub(crate) fn avl_share_next(share: *mut c_void, first: usize, last: usize) -> *mut c_void;
    fn avl_hash(ptr: *const c_void) -> u64;
    pub(crate) fn avl_killed() -> bool;
    pub(crate) fn avl_interrupted() -> bool;
    pub(crate) fn avl_pids(pids: *mut c_int, max: c_uint) -> c_uint;
    pub(crate) fn avl_get_mm(pid: c_int, comm: *mut c_char) -> *mut bindings::mm_struct;
    pub(crate) fn avl_mmap_read_lock_killable(mm: *mut bindings::mm_struct) -> c_int;
    pub(crate) fn avl_mmap_write_lock_killable(mm: *mut bindings::mm_struct) -> c_int;
    pub(crate) fn avl_mmap_write_unlock(mm: *mut bindings::mm_struct);
    pub(crate) fn avl_mm_owner(mm: *mut bindings::mm_struct, comm: *mut c_char) -> c_int;
    pub(crate) fn avl_get_pfn(pfn: usize) -> *mut bindings::folio;
    pub(crate) fn avl_entry(
        mm: *mut bindings::mm_struct,
        address: usize,
        kind: *mut c_uint,
        folio: *mut *mut bindings::folio,
        index: *mut usize,
    ) -> usize;
    pub(crate) fn avl_folio_lock(folio: *mut bindings::folio);
    pub(crate) fn avl_folio_unlock(folio: *mut bindings::folio);
    pub(crate) fn avl_folio_put(folio: *mut bindings::folio);
    pub(crate) fn avl_folio_flags(folio: *mut bindings::folio) -> c_uint;
    pub(crate) fn avl_folio_order(folio: *mut bindings::folio) -> c_uint;
    pub(crate) fn avl_folio_index(folio: *mut bindings::folio) -> usize;
    pub(crate) fn avl_folio_mapcount(folio: *mut bindings::folio) -> c_int;
    pub(crate) fn avl_swapped_in_place(
        folio: *mut bindings::folio,
        index: usize,
        anon_vma: *mut bindings::anon_vma,
        vma: *mut bindings::vm_area_struct,
        address: usize,
    ) -> bool;
    pub(crate) fn avl_folio_pin_anon_vma(
        folio: *mut bindings::folio,
        vma: *mut bindings::vm_area_struct,
    ) -> *mut bindings::anon_vma;
}

/// The folio is anonymous: flag of `avl_folio_flags()`.
pub(crate) const FOLIO_ANON: c_uint = 1;
/// The folio is a KSM folio.
pub(crate) const FOLIO_KSM: c_uint = 2;

/// Lets others run, where that needs to be asked for.
///
/// # Safety
///
/// The caller may sleep.
#[inline(always)]
pub(crate) unsafe fn cond_resched() {
    #[cfg(not(CONFIG_PREEMPTION))]
    // SAFETY: By the safety requirements.
    unsafe {
        avl_cond_resched()
    };
}

/// Locks a member for read, inside the family lock. Returns whether it was tried in vain.
///
/// # Safety
///
/// `anchor` must be valid until the lock is dropped.
#[inline(always)]
pub(crate) unsafe fn lock_member_read(anchor: *mut bindings::anon_vma, try_lock: bool) -> bool {
    // SAFETY: By the safety requirements.
    unsafe {
        let sem = core::ptr::addr_of_mut!((*anchor).rwsem);
        if try_lock {
            return bindings::down_read_trylock(sem) == 0;
        }
        #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
        bindings::down_read_nested(sem, bindings::SINGLE_DEPTH_NESTING as c_int);
        #[cfg(not(CONFIG_DEBUG_LOCK_ALLOC))]
        bindings::down_read(sem);
    }
    false
}
