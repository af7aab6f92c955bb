// SPDX-License-Identifier: GPL-2.0

//! The oracle: what the page tables say against what an rmap walk visits.
//!
//! It reads every page table (`pagetable.c`) and asks `rmap_walk()`, as reclaim and migration do,
//! about each anonymous folio it finds. It shares nothing with the look-up.
//!
//! # Why a miss is a miss
//!
//! The mmap_lock is held for read, so no fork, `mremap()` or new `munmap()` changes the address
//! space, and the folio is locked: entries for it can go away (`MADV_DONTNEED`, the end of a
//! `munmap()`), but none can appear. An entry that is there before and after the walk was there all
//! along. A migration entry whose folio we hold locked has been forgotten by the migration, which
//! holds that lock until it has replaced all of them.

use crate::{
    context,
    helpers::{
        self as h,
        Event,
        Kind, //
    },
    walk::anon_vma_lazy_hide_address, //
};
use core::{
    fmt::Write,
    ptr::{
        addr_of_mut,
        null_mut, //
    }, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    bindings,
    error::{
        code::*,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    },
    fmt::{
        Arguments,
        Display, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::{
        BStr,
        Formatter, //
    },
    sync::atomic::Relaxed, //
};

/// Misses that are described; the others are only counted.
const SHOWN: u64 = 16;
const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// The ids of all processes that have an address space.
pub(crate) fn pids() -> Result<KVVec<c_int>> {
    // SAFETY: No room, nothing written.
    let count = unsafe { h::avl_pids(null_mut(), 0) } as usize;
    // Some room for those forked meanwhile.
    let room = count + count / 4 + 64;
    let mut pids = KVVec::from_elem(0 as c_int, room, GFP_KERNEL | __GFP_NOWARN)?;
    // SAFETY: There is room for as many.
    let found = unsafe { h::avl_pids(pids.as_mut_ptr(), pids.len() as c_uint) } as usize;
    pids.truncate(found);
    Ok(pids)
}

/// An address space that does not go away.
pub(crate) struct Mm(*mut bindings::mm_struct);

impl Mm {
    pub(crate) fn of(pid: c_int) -> Option<Self> {
        Self::of_process(pid, null_mut())
    }

    /// With the name of the process.
    pub(crate) fn named(pid: c_int) -> Option<(Self, Comm)> {
        let mut comm = [0; COMM_LEN];
        let mm = Self::of_process(pid, comm.as_mut_ptr().cast::<c_char>())?;
        Some((mm, Comm(comm)))
    }

    fn of_process(pid: c_int, comm: *mut c_char) -> Option<Self> {
        // SAFETY: `comm` is null or as long as a name.
        let mm = unsafe { h::avl_get_mm(pid, comm) };
        (!mm.is_null()).then(|| Self(mm))
    }

    /// Calls `f` with the mmap_lock held for read, unless the caller is killed while it waits.
    pub(crate) fn locked<R>(
        &self,
        f: impl FnOnce(*mut bindings::mm_struct) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: We have a reference on the address space.
        to_result(unsafe { h::avl_mmap_read_lock_killable(self.0) })?;
        let result = f(self.0);
        // SAFETY: Locked above.
        unsafe { bindings::mmap_read_unlock(self.0) };
        result
    }

    /// Likewise, held for write.
    pub(crate) fn locked_write<R>(
        &self,
        f: impl FnOnce(*mut bindings::mm_struct) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: We have a reference on the address space.
        to_result(unsafe { h::avl_mmap_write_lock_killable(self.0) })?;
        let result = f(self.0);
        // SAFETY: Locked above.
        unsafe { h::avl_mmap_write_unlock(self.0) };
        result
    }

    /// Whether it has a context, which may change.
    pub(crate) fn has_context(&self) -> bool {
        // SAFETY: We have a reference on the address space.
        unsafe { context::is_there(self.0) }
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        // SAFETY: `avl_get_mm` gave us the reference.
        unsafe { bindings::mmput(self.0) };
    }
}

/// A referenced folio.
struct Folio(*mut bindings::folio);

impl Folio {
    /// Calls `f` with the folio locked.
    fn locked<R>(&self, f: impl FnOnce(*mut bindings::folio) -> R) -> R {
        // SAFETY: We have a reference on the folio.
        unsafe { h::avl_folio_lock(self.0) };
        let result = f(self.0);
        // SAFETY: Locked above.
        unsafe { h::avl_folio_unlock(self.0) };
        result
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        // SAFETY: Who made `self` gave us the reference.
        unsafe { h::avl_folio_put(self.0) };
    }
}

/// What a page table says of one address.
struct Entry {
    kind: Kind,
    folio: Option<Folio>,
    /// Number of the page in the folio.
    index: usize,
    /// The next address worth a look.
    next: usize,
}

impl Entry {
    /// The entry, if it refers to this folio.
    fn if_of(self, folio: *mut bindings::folio) -> Option<Self> {
        let same = self.folio.as_ref().is_some_and(|found| found.0 == folio);
        same.then_some(self)
    }
}

/// # Safety
///
/// `mm` must be valid and its mmap_lock held.
unsafe fn entry(mm: *mut bindings::mm_struct, address: usize) -> Entry {
    let (mut kind, mut folio, mut index) = (0, null_mut(), 0);
    // SAFETY: By the safety requirements; the others are our own variables.
    let next = unsafe { h::avl_entry(mm, address, &mut kind, &mut folio, &mut index) };
    Entry {
        kind: Kind::from_raw(kind),
        folio: (!folio.is_null()).then(|| Folio(folio)),
        index,
        next,
    }
}

/// Calls `each` for each VMA that an rmap walk of a folio visits, with the address it computes.
/// Fails if the walk was cut short, as the caller is to die.
///
/// # Safety
///
/// `folio` must be locked and anonymous; mapped, or its anon_vma pinned.
unsafe fn walk<F: FnMut(*mut bindings::vm_area_struct, usize)>(
    folio: *mut bindings::folio,
    mut each: F,
) -> Result {
    /// The callback of the walk.
    ///
    /// # Safety
    ///
    /// `each` must point to an `F` that nothing else uses now.
    unsafe extern "C" fn one<F: FnMut(*mut bindings::vm_area_struct, usize)>(
        _folio: *mut bindings::folio,
        vma: *mut bindings::vm_area_struct,
        address: usize,
        each: *mut c_void,
    ) -> bool {
        // SAFETY: By the safety requirements.
        (unsafe { &mut *each.cast::<F>() })(vma, address);
        // SAFETY: No requirements.
        !unsafe { h::avl_killed() }
    }

    let mut control = bindings::rmap_walk_control {
        rmap_one: Some(one::<F>),
        arg: addr_of_mut!(each).cast(),
        ..Default::default()
    };
    // SAFETY: By the safety requirements; `arg` is what `one` wants, borrowed for the whole walk.
    unsafe { bindings::rmap_walk(folio, &mut control) };
    // SAFETY: No requirements.
    if unsafe { h::avl_killed() } {
        return Err(EINTR);
    }
    Ok(())
}

/// The name of a process, which is what the process says it is: shown with all that is special
/// escaped.
#[derive(Clone, Copy, Default)]
pub(crate) struct Comm([u8; COMM_LEN]);

impl Display for Comm {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        let end = self.0.iter().position(|&byte| byte == 0);
        BStr::from_bytes(&self.0[..end.unwrap_or(COMM_LEN)]).fmt(f)
    }
}

/// Whose address space it is.
struct Owner {
    pid: c_int,
    comm: Comm,
}

impl Owner {
    /// # Safety
    ///
    /// `mm` must be valid.
    unsafe fn of(mm: *mut bindings::mm_struct) -> Self {
        let mut comm = [0; COMM_LEN];
        // SAFETY: By the safety requirements, and `comm` is as long as asked for.
        let pid = unsafe { h::avl_mm_owner(mm, comm.as_mut_ptr().cast::<c_char>()) };
        Self {
            pid,
            comm: Comm(comm),
        }
    }
}

/// The result of a verification.
#[derive(Default)]
struct Tally {
    processes: u64,
    present: u64,
    /// Of present and swap, those in lazy VMAs.
    lazy: u64,
    ksm: u64,
    migration: u64,
    swap: u64,
    unchecked: u64,
    hwpoison: u64,
    missed: u64,
    ksm_missed: u64,
    surplus: u64,
}

/// Checks one entry.
///
/// # Safety
///
/// The mmap_lock of `vma->vm_mm` must be held, and `entry` be of `address` in `vma`.
unsafe fn check(
    m: &SeqFile,
    tally: &mut Tally,
    vma: *mut bindings::vm_area_struct,
    address: usize,
    entry: Entry,
) -> Result {
    if entry.kind == Kind::HwPoison {
        tally.hwpoison += 1;
        return Ok(());
    }
    let Some(folio) = entry.folio else {
        return Ok(());
    };
    // SAFETY: The VMA is valid.
    let mm = unsafe { (*vma).vm_mm };

    let missed = folio.locked(|folio| -> Result<bool> {
        // What it is while the folio is locked counts, and is true until it is zapped.
        // SAFETY: The mmap_lock is held.
        let look = || unsafe { self::entry(mm, address) }.if_of(folio);
        let Some(now) = look() else {
            return Ok(false);
        };
        // SAFETY: The folio is locked and referenced.
        let flags = unsafe { h::avl_folio_flags(folio) };
        let ksm = flags & h::FOLIO_KSM != 0;
        let mut pinned = null_mut();

        match now.kind {
            // It was a migration entry, and the migration is over: done well.
            Kind::Present if flags & h::FOLIO_ANON != 0 => {}
            Kind::Migration => {
                tally.migration += 1;
                return Ok(true);
            }
            Kind::Swap if flags & (h::FOLIO_ANON | h::FOLIO_KSM) == h::FOLIO_ANON => {
                // SAFETY: The folio is locked, the VMA has an entry for it.
                pinned = unsafe { h::avl_folio_pin_anon_vma(folio, vma) };
                if pinned.is_null() {
                    tally.unchecked += 1;
                    return Ok(false);
                }
                // SAFETY: As above, and the anon_vma is pinned.
                if !unsafe { h::avl_swapped_in_place(folio, now.index, pinned, vma, address) } {
                    // SAFETY: Pinned above; no rmap lock is held.
                    unsafe { h::avl_anon_vma_put(pinned) };
                    tally.unchecked += 1;
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }

        let (mut visits, mut found) = (0, false);
        // SAFETY: Locked and anonymous; mapped, or pinned above.
        let walked = unsafe {
            walk(folio, |visited, at| {
                visits += 1;
                // The walk computes the first address in the VMA; ours is as far from it as the
                // pages are apart.
                let range = &(*visited).__bindgen_anon_1.__bindgen_anon_1;
                let pgoff = (u64::from((*visited).__vm_anon_pgoff_hi) << 32)
                    | u64::from((*visited).__vm_anon_pgoff_lo);
                let page = (h::avl_folio_index(folio) + now.index) as u64;
                let expected = if ksm {
                    at
                } else {
                    (range.vm_start as u64).wrapping_add(page.wrapping_sub(pgoff) << PAGE_SHIFT)
                        as usize
                };
                found |= (*visited).vm_mm == mm
                    && expected == address
                    && (range.vm_start..range.vm_end).contains(&address);
            })
        };
        if !pinned.is_null() {
            // SAFETY: Pinned above; no rmap lock is held.
            unsafe { h::avl_anon_vma_put(pinned) };
        }
        walked?;
        if !pinned.is_null() {
            tally.swap += 1;
        } else if ksm {
            tally.ksm += 1;
        } else {
            tally.present += 1;
            tally.migration += u64::from(entry.kind == Kind::Migration);
            // SAFETY: Locked.
            let (order, mapped) =
                unsafe { (h::avl_folio_order(folio), h::avl_folio_mapcount(folio)) };
            if order == 0 {
                tally.surplus += (visits as u64).saturating_sub(mapped as u64);
            }
        }
        if !ksm {
            // SAFETY: What has anonymous pages has an anon_vma, which the mmap_lock keeps.
            tally.lazy += u64::from(unsafe { context::is_lazy((*vma).anon_vma) });
        }
        Ok(!found && look().is_some() && {
            // ksmd forgets a page for a moment while it goes from tree to tree.
            tally.ksm_missed += u64::from(ksm);
            !ksm
        })
    })?;

    if missed {
        tally.missed += 1;
        if tally.missed <= SHOWN {
            // SAFETY: The VMA, thus its address space, is valid.
            let owner = unsafe { Owner::of(mm) };
            seq_print!(
                m,
                "miss pid {} comm {} address {:#x} entry {}\n",
                owner.pid,
                owner.comm,
                address,
                entry.kind.name()
            );
        }
    }
    Ok(())
}

/// Checks all entries of a process.
fn check_process(m: &SeqFile, tally: &mut Tally, pid: c_int) -> Result {
    // It may be gone by now.
    let Some(mm) = Mm::of(pid) else {
        return Ok(());
    };
    tally.processes += 1;
    mm.locked(|mm| {
        let mut address = 0;
        loop {
            // SAFETY: The address space is valid and its mmap_lock held.
            let vma = unsafe { bindings::find_vma(mm, address) };
            if vma.is_null() {
                return Ok(());
            }
            // SAFETY: As above, for the VMA too.
            let range = unsafe { (*vma).__bindgen_anon_1.__bindgen_anon_1 };
            // SAFETY: As above.
            let skip = unsafe {
                (*vma).anon_vma.is_null()
                    || (*vma).__bindgen_anon_2.vm_flags & kernel::mm::virt::flags::HUGETLB != 0
            };
            address = if skip { range.vm_end } else { range.vm_start };
            while address < range.vm_end {
                // SAFETY: No requirements.
                if unsafe { h::avl_killed() } {
                    return Err(EINTR);
                }
                // SAFETY: The mmap_lock is held.
                let entry = unsafe { entry(mm, address) };
                let next = entry.next;
                // SAFETY: The mmap_lock is held, and `address` is in the VMA.
                unsafe { check(m, tally, vma, address, entry) }?;
                if next <= address {
                    return Ok(());
                }
                address = next;
            }
            address = range.vm_end;
        }
    })
}

fn verify(m: &SeqFile) -> Result {
    let pids = pids()?;
    let mut tally = Tally::default();

    let result = pids
        .iter()
        .try_for_each(|&pid| check_process(m, &mut tally, pid));
    // What is hidden on purpose says nothing of the look-up.
    if anon_vma_lazy_hide_address.load(Relaxed) == 0 {
        h::count(Event::VerifyMapping, tally.lazy as c_uint);
        h::count(Event::VerifyMissed, tally.missed as c_uint);
    }
    result?;
    for (name, value) in [
        ("processes", tally.processes),
        ("present", tally.present),
        ("ksm", tally.ksm),
        ("migration", tally.migration),
        ("swap", tally.swap),
        ("unchecked", tally.unchecked),
        ("hwpoison", tally.hwpoison),
        ("missed", tally.missed),
        ("ksm_missed", tally.ksm_missed),
        ("surplus", tally.surplus),
    ] {
        seq_print!(m, "{name} {value}\n");
    }
    Ok(())
}

/// Verifies all processes; reading the file `verify`.
///
/// # Safety
///
/// `m` must be a `struct seq_file` that is being shown.
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_verify_show(
    m: *mut bindings::seq_file,
    _: *mut c_void,
) -> c_int {
    // SAFETY: By the safety requirements.
    let m = unsafe { SeqFile::from_raw(m) };
    verify(m).map_or_else(Error::to_errno, |()| 0)
}

/// The answer to a question, in the room that there is for it.
pub(crate) struct Answer<'a>(Formatter<'a>);

impl Answer<'_> {
    /// Adds a line. The formatter counts what does not fit, and the caller makes more room.
    pub(crate) fn line(&mut self, line: Arguments<'_>) {
        let _ = self.0.write_fmt(line);
        let _ = self.0.write_str("\n");
    }
}

/// Describes who maps a folio. `vma` is one with an entry for it, or null.
///
/// # Safety
///
/// The mmap_lock of `vma->vm_mm` must be held.
unsafe fn describe(
    folio: &Folio,
    vma: *mut bindings::vm_area_struct,
    out: &mut Answer<'_>,
) -> Result {
    folio.locked(|folio| {
        // SAFETY: Locked and referenced.
        let (flags, order, index, mapped) = unsafe {
            (
                h::avl_folio_flags(folio),
                h::avl_folio_order(folio),
                h::avl_folio_index(folio),
                h::avl_folio_mapcount(folio),
            )
        };
        if flags & h::FOLIO_ANON == 0 {
            out.line(fmt!("error: not an anonymous page"));
            return Err(EINVAL);
        }
        let ksm = flags & h::FOLIO_KSM != 0;
        let pinned = if ksm {
            null_mut()
        } else {
            // SAFETY: Locked and anonymous; by the safety requirements.
            unsafe { h::avl_folio_pin_anon_vma(folio, vma) }
        };
        let anchor = match (ksm, pinned.is_null()) {
            (true, _) => "ksm",
            (_, true) => "none",
            // SAFETY: Pinned.
            _ if unsafe { context::is_lazy(pinned) } => "lazy",
            _ => "eager",
        };
        out.line(fmt!(
            "folio {} order {order} index {index:#x} anchor {anchor} mapcount {mapped}",
            if ksm { "ksm" } else { "anon" }
        ));

        let (mut visits, mut mappings) = (0, 0);
        let one = |vma: *mut bindings::vm_area_struct, address: usize| {
            visits += 1;
            // SAFETY: The walk locks what keeps the VMA.
            let (mm, range) = unsafe { ((*vma).vm_mm, (*vma).__bindgen_anon_1.__bindgen_anon_1) };
            // Maybe only a part of a large folio is mapped: where does that start?
            let end = range.vm_end.min(address + (PAGE_SIZE << order));
            let found = (address..end).step_by(PAGE_SIZE).find_map(|address| {
                // SAFETY: The walk locks what keeps the page tables.
                let entry = unsafe { entry(mm, address) }.if_of(folio)?;
                Some((address, entry.kind))
            });
            let Some((address, state)) = found else {
                return;
            };
            mappings += 1;
            // SAFETY: The VMA, thus its address space, is valid.
            let owner = unsafe { Owner::of(mm) };
            out.line(fmt!(
                "pid {} comm {} vma {:x}-{:x} address {:x} state {}",
                owner.pid,
                owner.comm,
                range.vm_start,
                range.vm_end,
                address,
                state.name()
            ));
        };
        let mut walked = Ok(());
        if ksm || !pinned.is_null() {
            // SAFETY: Locked and anonymous; a KSM folio, or pinned.
            walked = unsafe { walk(folio, one) };
        }
        if !pinned.is_null() {
            // SAFETY: Pinned above; no rmap lock is held.
            unsafe { h::avl_anon_vma_put(pinned) };
        }
        walked?;
        out.line(fmt!("mappings {mappings} visits {visits}"));
        Ok(())
    })
}

/// Runs `f` on an answer and turns its result into an errno. `len` is how long the answer may be
/// and becomes how long it is, or some larger number than it was if it did not fit.
///
/// # Safety
///
/// `text` must have room for `*len` bytes, and both be the caller's alone.
pub(crate) unsafe fn answer(
    text: *mut c_char,
    len: *mut usize,
    f: impl FnOnce(&mut Answer<'_>) -> Result,
) -> c_int {
    // SAFETY: By the safety requirements; initialised before a reference is made.
    let buffer = unsafe {
        core::ptr::write_bytes(text, 0, *len);
        core::slice::from_raw_parts_mut(text.cast::<u8>(), *len)
    };
    let mut answer = Answer(Formatter::new(buffer));
    let result = f(&mut answer);
    // SAFETY: By the safety requirements.
    unsafe { *len = answer.0.bytes_written() };
    result.map_or_else(Error::to_errno, |()| 0)
}

/// Answers `PID ADDRESS` in the file `rmap_walk`.
///
/// # Safety
///
/// As for [`answer`].
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_walk_address(
    pid: c_int,
    address: usize,
    text: *mut c_char,
    len: *mut usize,
) -> c_int {
    let explain = |out: &mut Answer<'_>| {
        let Some(mm) = Mm::of(pid) else {
            out.line(fmt!("error: no process {pid} with an address space"));
            return Err(ESRCH);
        };
        mm.locked(|mm| {
            // SAFETY: The mmap_lock is held.
            let vma = unsafe { bindings::find_vma(mm, address) };
            // SAFETY: As above. A huge page table has no place for the question.
            let mapped = !vma.is_null()
                && unsafe {
                    (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start <= address
                        && (*vma).__bindgen_anon_2.vm_flags & kernel::mm::virt::flags::HUGETLB == 0
                };
            // SAFETY: As above.
            match mapped.then(|| unsafe { entry(mm, address) }) {
                Some(Entry {
                    folio: Some(folio), ..
                }) => {
                    // SAFETY: As above; there is an entry for the folio.
                    unsafe { describe(&folio, vma, out) }
                }
                Some(entry) if entry.kind == Kind::HwPoison => {
                    out.line(fmt!("error: poisoned page at this address"));
                    Err(EHWPOISON)
                }
                _ => {
                    out.line(fmt!("error: no anonymous page at this address"));
                    Err(EFAULT)
                }
            }
        })
    };
    // SAFETY: By the safety requirements.
    unsafe { answer(text, len, explain) }
}

/// Answers `pfn N` in the file `rmap_walk`.
///
/// # Safety
///
/// As for [`answer`].
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_walk_pfn(
    pfn: usize,
    text: *mut c_char,
    len: *mut usize,
) -> c_int {
    let explain = |out: &mut Answer<'_>| {
        // SAFETY: Any number will do.
        let folio = unsafe { h::avl_get_pfn(pfn) };
        if folio.is_null() {
            out.line(fmt!("error: no page in use with this number"));
            return Err(ENXIO);
        }
        // SAFETY: No VMA.
        unsafe { describe(&Folio(folio), null_mut(), out) }
    };
    // SAFETY: By the safety requirements.
    unsafe { answer(text, len, explain) }
}
