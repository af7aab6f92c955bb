// SPDX-License-Identifier: GPL-2.0

//! Settings of a proof.

/// A setting from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|v| !v.is_empty())?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value}: must be a number")),
    )
}
