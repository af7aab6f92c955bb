// SPDX-License-Identifier: GPL-2.0

//! The debugfs files `contexts` and `vmas`: what there is of each process.
//!
//! Contexts have no list of their own, and need none: a living one is found through its process, a
//! dead one by going up from the living ones below it. So what is shown is not of one moment: a
//! process that starts or ends meanwhile may be missing, and so may the parent that a line names.
//!
//! # Locks
//!
//! A reference on the address space (`mm_users`) keeps the context: `exit_mmap()` comes after the
//! last one. The mmap_lock, held for read, keeps the VMAs with their ranges and flags, and each
//! anon_vma that one of them has; the family lock, taken inside and held for read, keeps all other
//! contexts and what they hold. Memory is allocated under the former only: reclaim walks, and a walk
//! would wait behind a writer that waits for us.

use crate::{
    context::{
        is_lazy,
        Ctx,
        Links, //
    },
    family::{
        self,
        Forest, //
    },
    helpers::{
        avl_killed,
        hash, //
    },
    oracle::{
        answer,
        pids,
        Answer,
        Comm,
        Mm, //
    },
    walk::is_natural, //
};
use core::ptr::addr_of_mut;
use kernel::{
    alloc::flags::__GFP_NOWARN,
    bindings,
    error::code::*,
    ffi::{
        c_char,
        c_int, //
    },
    mm::virt::flags,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic, //
    }, //
};

type Vma = *mut bindings::vm_area_struct;

/// What a VMA is, in the order of [`Counts`].
#[derive(Clone, Copy)]
enum Kind {
    Natural,
    Displaced,
    Eager,
    Unfaulted,
}

impl Kind {
    const NAMES: [&'static str; 4] = ["natural", "displaced", "eager", "unfaulted"];

    /// # Safety
    ///
    /// The mmap_lock of `vma->vm_mm` must be held.
    unsafe fn of(vma: Vma) -> Self {
        // SAFETY: By the safety requirements.
        let anon_vma = unsafe { anon_vma(vma) };
        if anon_vma.is_null() {
            return Self::Unfaulted;
        }
        // SAFETY: The VMA keeps its anon_vma.
        if !unsafe { is_lazy(anon_vma) } {
            return Self::Eager;
        }
        // SAFETY: By the safety requirements.
        match unsafe { is_natural(vma) } {
            true => Self::Natural,
            false => Self::Displaced,
        }
    }
}

/// VMAs by kind.
#[derive(Clone, Copy, Default)]
struct Counts([usize; 4]);

impl core::ops::AddAssign<Kind> for Counts {
    fn add_assign(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }
}

impl kernel::fmt::Display for Counts {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        let [natural, displaced, eager, unfaulted] = self.0;
        write!(
            f,
            "natural {natural} displaced {displaced} eager {eager} unfaulted {unfaulted}"
        )
    }
}

/// The anon_vma of a VMA, which another thread may set at any time.
///
/// # Safety
///
/// `vma` must be valid.
unsafe fn anon_vma(vma: Vma) -> *mut bindings::anon_vma {
    // SAFETY: By the safety requirements; while others see the VMA all accesses are atomic.
    unsafe { Atomic::from_ptr(addr_of_mut!((*vma).anon_vma)) }.load(Acquire)
}

/// The first and the last address of a VMA.
///
/// # Safety
///
/// The mmap_lock of `vma->vm_mm` must be held.
unsafe fn range(vma: Vma) -> (usize, usize) {
    // SAFETY: By the safety requirements; the union holds the addresses.
    let range = unsafe { (*vma).__bindgen_anon_1.__bindgen_anon_1 };
    (range.vm_start, range.vm_end)
}

/// Calls `each` for all VMAs.
///
/// # Safety
///
/// The mmap_lock of `mm` must be held.
unsafe fn for_each_vma(mm: *mut bindings::mm_struct, mut each: impl FnMut(Vma)) -> Result {
    let mut address = 0;
    loop {
        // SAFETY: No requirements.
        if unsafe { avl_killed() } {
            return Err(EINTR);
        }
        // SAFETY: By the safety requirements.
        let vma = unsafe { bindings::find_vma(mm, address) };
        if vma.is_null() {
            return Ok(());
        }
        each(vma);
        // SAFETY: By the safety requirements.
        address = unsafe { range(vma) }.1;
    }
}

/// What is known of the process of a context. The default is for one that is gone.
#[derive(Clone, Copy, Default)]
pub(crate) struct Process {
    pub(crate) pid: c_int,
    pub(crate) comm: Comm,
    vmas: Counts,
}

/// A line of the file `contexts`.
pub(crate) struct Record {
    pub(crate) id: i64,
    parent: i64,
    anchor: u64,
    holder: i64,
    used: usize,
    spare: usize,
    pub(crate) dead: bool,
    pub(crate) alone: bool,
    pub(crate) process: Process,
}

/// All lines: no more than fit, as they are written where nothing can be allocated.
pub(crate) struct Records(pub(crate) KVVec<Record>);

impl Records {
    /// Adds a context, and the dead ones above it up to the next that lives. If there is no room,
    /// adds none and returns for how many it takes.
    fn add(&mut self, links: &Links, ctx: Ctx, process: &Process) -> Result<(), usize> {
        let len = self.0.len();
        let mut number = 0;
        let mut pos = Some(ctx);

        while let Some(at) = pos {
            let summary = family::summary(links, at);
            if at != ctx && !summary.dead {
                break;
            }
            // A dead context is in the family, so what it used is held, by it or above it.
            let anchor = links.anchor(at);
            let record = Record {
                id: at.id(),
                parent: summary.parent.map_or(0, Ctx::id),
                anchor: hash(anchor.as_ptr()),
                holder: links.holder(anchor).map_or(0, Ctx::id),
                used: summary.used,
                spare: summary.spare,
                dead: summary.dead,
                alone: summary.alone,
                process: if summary.dead {
                    Process::default()
                } else {
                    *process
                },
            };
            // Some may fail: they are counted.
            let _ = self.0.push_within_capacity(record);
            number += 1;
            pos = summary.parent;
        }
        if self.0.len() - len < number {
            self.0.truncate(len);
            return Err(number);
        }
        Ok(())
    }

    /// Sorts the records, parents before children, each context once.
    fn sort(&mut self) {
        // It may have been seen through several processes, and alive and dead.
        self.0
            .sort_unstable_by_key(|record| (record.id, record.dead, record.process.pid));
        let mut last = 0;
        self.0
            .retain(|record| core::mem::replace(&mut last, record.id) != record.id);
    }

    /// Makes room for so many more, and as many as there are.
    fn grow(&mut self, number: usize) -> Result {
        self.sort();
        self.0
            .reserve(self.0.len() + number, GFP_KERNEL | __GFP_NOWARN)?;
        Ok(())
    }
}

pub(crate) fn list() -> Result<Records> {
    let mut records = Records(KVVec::new());

    for &pid in pids()?.iter() {
        // SAFETY: No requirements.
        if unsafe { avl_killed() } {
            return Err(EINTR);
        }
        // It may be gone by now.
        let Some((mm, comm)) = Mm::named(pid) else {
            continue;
        };
        mm.locked(|mm| {
            // SAFETY: We have a reference on the address space, and its lock.
            let Some(ctx) = (unsafe { Ctx::of(mm) }) else {
                return Ok(());
            };
            let mut vmas = Counts::default();
            // SAFETY: The mmap_lock is held.
            unsafe { for_each_vma(mm, |vma| vmas += Kind::of(vma))? };
            let process = Process { pid, comm, vmas };
            loop {
                // SAFETY: The address space refers to it, and its mmap_lock is held.
                match unsafe { ctx.with_family(|links| records.add(links, ctx, &process)) } {
                    Ok(()) => return Ok(()),
                    Err(number) => records.grow(number)?,
                }
            }
        })?;
    }
    records.sort();
    Ok(records)
}

/// Says what the file `contexts` does.
///
/// # Safety
///
/// As for [`answer`].
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_contexts(text: *mut c_char, len: *mut usize) -> c_int {
    let show = |out: &mut Answer<'_>| {
        for r in list()?.0.iter() {
            out.line(fmt!(
                "context {} parent {} anchor {:012x} holder {} used {} spare {} {} state {} pid {} \
                 comm {}",
                r.id,
                r.parent,
                r.anchor,
                r.holder,
                r.used,
                r.spare,
                r.process.vmas,
                if r.dead { "dead" } else { "live" },
                r.process.pid,
                r.process.comm
            ));
        }
        Ok(())
    };
    // SAFETY: By the safety requirements.
    unsafe { answer(text, len, show) }
}

/// Why a VMA is eager, as far as can be told afterwards.
///
/// # Safety
///
/// The mmap_lock of `vma->vm_mm` must be held, and `vma` be eager; `before` is the VMA before it or
/// null.
unsafe fn why(vma: Vma, before: Vma) -> &'static str {
    // SAFETY: By the safety requirements.
    let ((start, end), vm_flags, own) =
        unsafe { (range(vma), (*vma).__bindgen_anon_2.vm_flags, anon_vma(vma)) };
    for (flag, name) in [
        (flags::HUGETLB, "hugetlb"),
        (flags::PFNMAP, "pfnmap"),
        (flags::MIXEDMAP, "mixedmap"),
        (flags::IO, "io"),
    ] {
        if vm_flags & flag != 0 {
            return name;
        }
    }
    // SAFETY: By the safety requirements.
    if !unsafe { is_natural(vma) } {
        return "moved";
    }
    // SAFETY: By the safety requirements: whoever adds or removes a chain holds the mmap_lock for
    // write, but for the first one. Before it is added `first` is the head, afterwards the chain,
    // which stays; its `next`, which may not be there yet, is only compared.
    let forked = unsafe {
        let head = addr_of_mut!((*vma).anon_vma_chain);
        let first = addr_of_mut!((*head).next).read_volatile();
        first != head && (*first).next != head
    };
    if forked {
        return "forked";
    }
    // SAFETY: By the safety requirements.
    let after = unsafe { bindings::find_vma((*vma).vm_mm, end) };
    let shares = |other: Vma| {
        // SAFETY: As above.
        !other.is_null() && unsafe { anon_vma(other) == own }
    };
    // SAFETY: As above.
    let beside = unsafe {
        (shares(before) && range(before).1 == start) || (shares(after) && range(after).0 == end)
    };
    if beside {
        "neighbour"
    } else {
        "stock"
    }
}

/// Describes the VMAs of an address space.
///
/// # Safety
///
/// The mmap_lock of `mm` must be held.
unsafe fn describe(mm: *mut bindings::mm_struct, out: &mut Answer<'_>) -> Result {
    let mut counts = Counts::default();
    let mut before = core::ptr::null_mut();
    let mut number = 0;

    let each = |vma: Vma| {
        // SAFETY: The mmap_lock is held.
        let (kind, (start, end), vm_flags) =
            unsafe { (Kind::of(vma), range(vma), (*vma).__bindgen_anon_2.vm_flags) };
        let flag = |flag, name| {
            if vm_flags & flag != 0 {
                name
            } else {
                '-'
            }
        };
        // SAFETY: The mmap_lock is held; `vma_start_anon_pgoff()` is an inline function.
        let (lo, hi) = unsafe { ((*vma).__vm_anon_pgoff_lo, (*vma).__vm_anon_pgoff_hi) };
        let why = match kind {
            // SAFETY: The mmap_lock is held, and `before` is the VMA before it.
            Kind::Eager => unsafe { why(vma, before) },
            _ => "-",
        };
        out.line(fmt!(
            "vma {start:x}-{end:x} flags {}{}{}{} pgoff {:x} kind {} why {why}",
            flag(flags::READ, 'r'),
            flag(flags::WRITE, 'w'),
            flag(flags::EXEC, 'x'),
            flag(flags::SHARED, 's'),
            (u64::from(hi) << 32) | u64::from(lo),
            Kind::NAMES[kind as usize]
        ));
        counts += kind;
        number += 1;
        before = vma;
    };
    // SAFETY: By the safety requirements.
    unsafe { for_each_vma(mm, each)? };
    out.line(fmt!("vmas {number} {counts}"));
    Ok(())
}

/// Answers `PID` in the file `vmas`.
///
/// # Safety
///
/// As for [`answer`].
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_vmas(pid: c_int, text: *mut c_char, len: *mut usize) -> c_int {
    let show = |out: &mut Answer<'_>| {
        let Some((mm, comm)) = Mm::named(pid) else {
            out.line(fmt!("error: no process {pid} with an address space"));
            return Err(ESRCH);
        };
        mm.locked(|mm| {
            // SAFETY: We have a reference on the address space, and its lock.
            let id = unsafe { Ctx::of(mm) }.map_or(0, Ctx::id);
            out.line(fmt!("process {pid} context {id} comm {comm}"));
            // SAFETY: The mmap_lock is held.
            unsafe { describe(mm, out) }
        })
    };
    // SAFETY: By the safety requirements.
    unsafe { answer(text, len, show) }
}
