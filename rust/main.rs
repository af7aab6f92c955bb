// SPDX-License-Identifier: GPL-2.0

//! Deferred anonymous reverse mapping: one anon_vma per process, VMAs found by address, children
//! found through the process tree.
//!
//! The kernel's hooks, in [`mm/rmap.c`](srctree/mm/rmap.c), call what [`OPS`] lists. Locks, in the
//! order in which they are taken:
//!
//! 1. the mmap_locks, by fork and exit;
//! 2. the folio lock, by walks;
//! 3. the family lock, the rwsem of the root: read by walks, write to join or leave;
//! 4. a member lock, the rwsem of an anchor, never two at a time: read by walks, write by whoever
//!    changes VMAs or moves page tables;
//! 5. page table locks.
//!
//! Inside the family lock but not inside a member lock there is that of an index, see `learn.rs`.

#![crate_name = "anon_vma_lazy"]
// Kernel structures that contain, somewhere, one that is empty in this configuration.
#![allow(improper_ctypes, improper_ctypes_definitions)]

use kernel::{
    bindings,
    error::to_result,
    module::this_module,
    prelude::*, //
};

mod context;
mod contexts;
mod drain;
mod family;
mod helpers;
mod learn;
mod oracle;
mod shares;
mod stats;
mod trace;
mod walk;

module! {
    type: AnonVmaLazy,
    name: "anon_vma_lazy",
    authors: ["The anon_vma_lazy developers"],
    description: "Deferred anonymous reverse mapping",
    license: "GPL",
}

/// What the kernel calls.
#[repr(transparent)]
struct Ops(bindings::anon_vma_lazy_ops);

// SAFETY: It is only read; the functions may be called by any thread.
unsafe impl Sync for Ops {}

static OPS: Ops = Ops(bindings::anon_vma_lazy_ops {
    owner: this_module::<AnonVmaLazy>().as_ptr(),
    want: Some(walk::want),
    create: Some(context::get),
    fork: Some(context::fork),
    sever: Some(context::sever),
    leave: Some(context::leave),
    rmap_walk: Some(walk::rmap_walk),
    walk_next: Some(walk::walk_next),
    walk_end: Some(walk::walk_end),
});

struct AnonVmaLazy;

impl kernel::Module for AnonVmaLazy {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: Called once, before anything else of `helpers.c`.
        to_result(unsafe { helpers::avl_init(size_of::<context::Context>() as u32) })?;
        // SAFETY: All functions in the table may be called from now on, until `drop()`.
        unsafe { helpers::avl_register(&OPS.0) };
        Ok(Self)
    }
}

impl Drop for AnonVmaLazy {
    fn drop(&mut self) {
        // SAFETY: `init()` allowed the registration. Each context has a reference on the module: there
        // is none, and afterwards no function of the table is being executed.
        unsafe {
            helpers::avl_unregister();
            helpers::avl_exit();
        }
    }
}
