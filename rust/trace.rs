// SPDX-License-Identifier: GPL-2.0

//! Tracepoints, which `trace.h` describes; `kernel::declare_trace!` is for those of the kernel alone.
//!
//! One that is off costs a jump that is patched out: its arguments are worked out if it is on.

use kernel::{
    ffi::c_uint,
    macros::paste, //
};

/// Whether a tracepoint is on.
macro_rules! enabled {
    ($tracepoint:ident) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        // SAFETY: `trace.c` defines it, and it has a static key.
        let enabled = unsafe {
            kernel::jump_label::static_branch_unlikely!(
                $tracepoint,
                kernel::bindings::tracepoint,
                key
            )
        };
        #[cfg(not(CONFIG_TRACEPOINTS))]
        let enabled = false;
        enabled
    }};
}

macro_rules! tracepoints {
    ($($(#[$attr:meta])* $name:ident($($arg:ident: $typ:ty),*);)*) => { paste! {
        #[cfg(CONFIG_TRACEPOINTS)]
        extern "C" {
            $(
                static [<__tracepoint_ $name>]: kernel::bindings::tracepoint;
                fn [<rust_do_trace_ $name>]($($arg: $typ),*);
            )*
        }

        $(
            $(#[$attr])*
            #[inline(always)]
            pub(crate) fn $name(args: impl FnOnce() -> ($($typ,)*)) {
                if enabled!([<__tracepoint_ $name>]) {
                    let ($($arg,)*) = args();
                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: Always safe to call.
                    unsafe {
                        [<rust_do_trace_ $name>]($($arg),*)
                    };
                    #[cfg(not(CONFIG_TRACEPOINTS))]
                    let _ = ($($arg,)*);
                }
            }
        )*
    } };
}

tracepoints! {
    /// A process has got its first context.
    context_create(context: i64);
    /// A child was linked below its parent.
    context_join(context: i64, parent: i64);
    /// The address space of a context is gone, and so many contexts with it.
    context_leave(context: i64, freed: c_uint);
    /// A dead context handed its anchors to its only child.
    donate(context: i64, heir: i64, anchors: c_uint);
    /// A child got an anchor that a context above it holds.
    borrow(context: i64, holder: i64);
    /// A walk from an anchor is over.
    walk(holder: i64, first: usize, last: usize, visits: c_uint, hits: c_uint, contended: bool);
    /// A walk learned that a child has nothing in a range of page offsets.
    learn(context: i64, first: usize, last: usize);
}

/// Whether walks are traced.
#[inline(always)]
pub(crate) fn walk_enabled() -> bool {
    enabled!(__tracepoint_walk)
}
