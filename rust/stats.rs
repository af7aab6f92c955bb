// SPDX-License-Identifier: GPL-2.0

//! The debugfs file `stats`: one `name value` per line.

use crate::{
    context::{
        self,
        Context, //
    },
    helpers::{
        kernel_sum,
        sum,
        Event, //
    },
    shares, //
};
use core::mem::size_of;
use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    },
    seq_file::SeqFile,
    seq_print,
    sync::atomic::Relaxed, //
};

/// Shows the statistics.
///
/// # Safety
///
/// `m` must be a `struct seq_file` that is being shown.
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_stats_show(m: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    use kernel::bindings as b;

    // SAFETY: By the safety requirements.
    let m = unsafe { SeqFile::from_raw(m) };
    let vmas_total = kernel_sum(b::anon_vma_lazy_event_ANON_VMA_LAZY_LINK);
    let detached = kernel_sum(b::anon_vma_lazy_event_ANON_VMA_LAZY_DETACH);
    let vmas = vmas_total - kernel_sum(b::anon_vma_lazy_event_ANON_VMA_LAZY_UNLINK) - detached;
    let displaced = kernel_sum(b::anon_vma_lazy_event_ANON_VMA_LAZY_AVC_ALLOC)
        - kernel_sum(b::anon_vma_lazy_event_ANON_VMA_LAZY_AVC_FREE);
    let contexts = context::CONTEXTS.load(Relaxed);
    let anchors = context::ANCHORS.load(Relaxed);
    // Compared with an anon_vma and a chain per VMA. Stock has more chains after a fork, and fewer
    // anon_vmas where a VMA was split: see Documentation/usage.rst.
    let anon_vmas_saved = vmas - anchors;
    let chains_saved = vmas - displaced;
    let (anon_vma, chain, context) = (
        size_of::<b::anon_vma>() as i64,
        size_of::<b::anon_vma_chain>() as i64,
        size_of::<Context>() as i64,
    );
    let bytes_saved = anon_vmas_saved * anon_vma + chains_saved * chain
        - contexts * context
        - shares::bytes() as i64;

    let leaves = sum(Event::WalkLeaf);

    for (name, value) in [
        ("contexts", contexts),
        ("contexts_dead", context::DEAD.load(Relaxed)),
        ("families", context::FAMILIES.load(Relaxed)),
        ("anon_vmas", anchors),
        ("vmas_lazy", vmas),
        ("vmas_lazy_total", vmas_total),
        (
            "vmas_eager_total",
            kernel_sum(b::anon_vma_lazy_event_ANON_VMA_LAZY_EAGER),
        ),
        ("vmas_displaced", displaced),
        ("vmas_detached_total", detached),
        ("anon_vmas_saved", anon_vmas_saved),
        ("chains_saved", chains_saved),
        ("bytes_saved", bytes_saved),
        ("bytes_per_anon_vma", anon_vma),
        ("bytes_per_chain", chain),
        ("bytes_per_context", context),
        ("forks", context::FORKS.load(Relaxed)),
        ("anchors_donated", context::DONATED.load(Relaxed)),
        ("anchors_borrowed", context::BORROWED.load(Relaxed)),
        ("walks", sum(Event::Walk) + leaves),
        ("walk_contexts", sum(Event::WalkContext) + leaves),
        ("walk_vmas", sum(Event::WalkVma) + leaves),
        ("walk_contended", sum(Event::WalkContended)),
        ("indexes", shares::INDEXES.load(Relaxed)),
        ("shares", shares::SHARES.load(Relaxed)),
        ("holes_learned", shares::HOLES.load(Relaxed)),
        ("verify_mappings", sum(Event::VerifyMapping)),
        ("verify_missed", sum(Event::VerifyMissed)),
    ] {
        seq_print!(m, "{name} {value}\n");
    }
    0
}
