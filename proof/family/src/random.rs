// SPDX-License-Identifier: GPL-2.0

//! Random histories. One that fails is shrunk, and printed such that it can be pasted into
//! `regressions.rs`.
//!
//! `PROOF_SEED=n` repeats the run of that seed; without it, one that is always the same is followed
//! by a new one. `PROOF_OPERATIONS=n` is how many operations a run has at least.

use crate::{
    number,
    world::{Op, World, NEWEST},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};
use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

const OPERATIONS: u64 = 1_000_000;
const SEED: u64 = 1;

/// What kind of history. The weights are of forks, failed forks, exits and forks after which the
/// parent exits.
struct Kind {
    name: &'static str,
    weights: [u32; 4],
    /// Of ten, how many operations concern one of the newest processes.
    newest: u32,
    /// How many operations a history has at most, and how many processes may live.
    length: usize,
    living: usize,
    check_each: u64,
    /// Of ten, how many operations of a run.
    share: u64,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "a few processes",
        weights: [40, 5, 40, 10],
        newest: 2,
        length: 300,
        living: 8,
        check_each: 1,
        share: 4,
    },
    Kind {
        name: "chains of daemons",
        weights: [15, 5, 13, 40],
        newest: 7,
        length: 400,
        living: 5,
        check_each: 1,
        share: 3,
    },
    Kind {
        name: "tall trees",
        weights: [50, 5, 40, 5],
        newest: 8,
        length: 300,
        living: 40,
        check_each: 1,
        share: 2,
    },
    Kind {
        name: "many processes",
        weights: [52, 3, 40, 5],
        newest: 1,
        length: 4000,
        living: 240,
        check_each: 50,
        share: 1,
    },
];

fn op(kind: &Kind) -> impl Strategy<Value = Op> {
    let [fork, failed, exit, daemon] = kind.weights;
    let which = prop_oneof![
        10 - kind.newest => 0..NEWEST,
        kind.newest => NEWEST..NEWEST + 3,
    ];
    let what = prop_oneof![
        exit => Just(Op::Exit as fn(u16) -> Op),
        failed => Just(Op::FailedFork as fn(u16) -> Op),
        daemon => Just(Op::Daemon as fn(u16) -> Op),
        fork => Just(Op::Fork as fn(u16) -> Op),
    ];
    (what, which).prop_map(|(what, which)| what(which))
}

fn history(kind: &Kind, ops: &[Op]) -> u64 {
    let mut world = World::new().check_each(kind.check_each);
    for &op in ops {
        match op {
            Op::Fork(i) if world.living() >= kind.living => world.apply(Op::Exit(i)),
            op => world.apply(op),
        }
    }
    world.end();
    world.events
}

/// As many histories of a kind as it takes for `operations`.
fn run(kind: &Kind, seed: u64, operations: u64) -> u64 {
    let config = Config {
        cases: u32::MAX,
        failure_persistence: None,
        max_shrink_iters: u32::MAX,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let strategy = vec(op(kind), 1..kind.length);
    let done = Cell::new(0);

    while done.get() < operations {
        let tree = strategy.new_tree(&mut runner).expect("a history");
        let result = runner.run_one(tree, |ops| {
            done.set(done.get() + history(kind, &ops));
            Ok(())
        });
        match result {
            Ok(_) => {}
            Err(TestError::Fail(why, ops)) => {
                panic!("{}, PROOF_SEED={seed}: {why}\nshrunk to {ops:?}", kind.name)
            }
            Err(TestError::Abort(why)) => panic!("{}: {why}", kind.name),
        }
    }
    println!("  {}: {} operations", kind.name, done.get());
    done.get()
}

#[test]
fn random_histories() {
    let operations = number("PROOF_OPERATIONS").unwrap_or(OPERATIONS);
    let new = RandomState::new().hash_one(SEED);
    let seeds = number("PROOF_SEED").map_or(vec![SEED, new], |seed| vec![seed]);

    for seed in seeds {
        println!("PROOF_SEED={seed}");
        let done: u64 = KINDS
            .iter()
            .map(|kind| run(kind, seed, operations * kind.share / 10))
            .sum();
        println!("  in all: {done} operations");
        assert!(done >= operations);
    }
}
