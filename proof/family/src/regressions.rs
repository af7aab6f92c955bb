// SPDX-License-Identifier: GPL-2.0

//! Histories with a meaning of their own, and those that once failed.

use crate::{
    family::LEND_FROM,
    world::{Op::*, World, NEWEST},
};

const CHILD: u16 = NEWEST;

#[test]
fn fork_then_parent_exits_is_bounded() {
    let mut world = World::new();
    for _ in 0..500 {
        world.apply(Daemon(0));
        assert!(world.nr_anchors() <= LEND_FROM + 3);
    }
    world.end();
}

/// A supervisor waits for a chain of daemons; then it exits, and the last of the chain supervises
/// the next one. Each chain used to leave `LEND_FROM` anchors to its last process, for ever: only
/// the parent could lend, and the supervisor is not the parent.
#[test]
fn supervised_chains_are_bounded() {
    let mut world = World::new();
    for _ in 0..100 {
        world.apply(Fork(0));
        for _ in 0..2 * LEND_FROM {
            world.apply(Daemon(CHILD));
        }
        world.apply(Exit(0));
        assert!(world.nr_anchors() <= 3 * LEND_FROM);
    }
    world.end();
}

/// A borrowed anchor costs walks a visit of each sibling.
#[test]
fn a_first_worker_does_not_borrow() {
    let mut world = World::new();
    world.apply(Daemon(0));
    world.apply(Fork(0));
    assert_eq!(world.visited_from(1), [1]);
}
