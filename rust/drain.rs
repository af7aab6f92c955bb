// SPDX-License-Identifier: GPL-2.0

//! The debugfs file `drain`: turns what is lazy into what stock would have made, process by process,
//! and tells which processes hold the module.

use crate::{
    context::{
        self,
        CONTEXTS, //
    },
    contexts,
    helpers::avl_interrupted,
    oracle::{
        answer,
        pids,
        Answer,
        Mm, //
    }, //
};
use kernel::{
    error::code::*,
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Contexts drained since the module was loaded, and VMAs.
static DRAINED: Atomic<i64> = Atomic::<i64>::new(0);
static VMAS: Atomic<i64> = Atomic::<i64>::new(0);

/// Drains all processes that it finds and that have no relatives. A signal ends it.
fn drain_all() -> Result {
    let mut result = Ok(());

    for &pid in pids()?.iter() {
        // SAFETY: No requirements.
        if unsafe { avl_interrupted() } {
            return Err(EINTR);
        }
        // It may be gone by now.
        let Some(mm) = Mm::of(pid).filter(Mm::has_context) else {
            continue;
        };
        // SAFETY: We have a reference on the address space, and the open file has one on the module.
        match mm.locked_write(|mm| unsafe { context::drain(mm) }) {
            Ok(None) => {}
            Ok(Some(vmas)) => {
                DRAINED.add(1, Relaxed);
                VMAS.add(vmas as i64, Relaxed);
            }
            // There may be enough for others.
            Err(err) if err == ENOMEM => result = Err(err),
            Err(err) => return Err(err),
        }
    }
    result
}

/// Tells what was done, and what is left.
fn show(out: &mut Answer<'_>) -> Result {
    let records = contexts::list()?.0;
    let count = |alone| {
        let of_kind = records.iter().filter(|r| !r.dead && r.alone == alone);
        of_kind.count() as i64
    };
    let (alone, related) = (count(true), count(false));

    for (name, value) in [
        ("drained", DRAINED.load(Relaxed)),
        ("vmas", VMAS.load(Relaxed)),
        ("alone", alone),
        ("related", related),
        ("others", (CONTEXTS.load(Relaxed) - alone - related).max(0)),
    ] {
        out.line(fmt!("{name} {value}"));
    }
    for r in records.iter().filter(|r| !r.dead) {
        out.line(fmt!(
            "process {} context {} {} comm {}",
            r.process.pid,
            r.id,
            if r.alone { "alone" } else { "related" },
            r.process.comm
        ));
    }
    Ok(())
}

/// Drains, then says what the file `drain` does.
///
/// # Safety
///
/// As for [`answer`].
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_drain_all(text: *mut c_char, len: *mut usize) -> c_int {
    // SAFETY: By the safety requirements.
    unsafe {
        answer(text, len, |out| {
            let result = drain_all();
            show(out).and(result)
        })
    }
}

/// Says what the file `drain` does.
///
/// # Safety
///
/// As for [`answer`].
#[no_mangle]
unsafe extern "C" fn anon_vma_lazy_drain_left(text: *mut c_char, len: *mut usize) -> c_int {
    // SAFETY: By the safety requirements.
    unsafe { answer(text, len, show) }
}
