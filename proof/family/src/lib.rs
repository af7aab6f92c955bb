// SPDX-License-Identifier: GPL-2.0

//! Host proof of the family tree: `rust/family.rs` as it is compiled into the module, through the
//! same interface, against a brute-force model.

#![cfg(test)]

#[path = "../../../rust/family.rs"]
#[allow(dead_code)]
mod family;

mod exhaustive;
mod heap;
mod random;
mod regressions;
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
