// SPDX-License-Identifier: GPL-2.0

//! Host proof of what walks learn: `rust/learn.rs` and `rust/family.rs` as they are compiled into
//! the module, in a model of processes, VMAs, page table entries and walks.

#![cfg(test)]

#[path = "../../../rust/family.rs"]
#[allow(dead_code)]
mod family;
#[path = "../../../rust/learn.rs"]
mod learn;
#[path = "../../setting.rs"]
mod setting;

mod heap;
mod tests;
mod world;

use setting::number;
