// SPDX-License-Identifier: GPL-2.0

//! Host proof of what walks learn: `rust/learn.rs` and `rust/family.rs` as they are compiled into
//! the module, in a model of processes, VMAs, page table entries and walks.

#![cfg(test)]

#[path = "../../../rust/family.rs"]
#[allow(dead_code)]
mod family;
#[path = "../../../rust/learn.rs"]
mod learn;

mod heap;
mod tests;
mod world;

/// A setting from the environment.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|v| !v.is_empty())?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value}: must be a number")),
    )
}
