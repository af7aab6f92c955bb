// SPDX-License-Identifier: GPL-2.0

//! Host proof of the family tree: `rust/family.rs` as it is compiled into the module, through the
//! same interface, against a brute-force model.

#![cfg(test)]

#[path = "../../../rust/family.rs"]
#[allow(dead_code)]
mod family;
#[path = "../../setting.rs"]
mod setting;

mod exhaustive;
mod heap;
mod random;
mod regressions;
mod world;

use setting::number;
