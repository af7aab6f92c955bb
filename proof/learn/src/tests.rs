// SPDX-License-Identifier: GPL-2.0

//! All histories of few events, many random ones, and what learning is for.

use crate::learn::Range;
use crate::number;
use crate::world::{Op, What, World, PAGES, WHATS};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::time::{SystemTime, UNIX_EPOCH};

const EVENTS: u64 = 4;
const OPERATIONS: u64 = 1_000_000;
const HISTORY: usize = 120;

/// A parent with a page at two addresses and two children.
const PREFIX: [Op; 8] = [
    (What::Map, 0, 1, 0),
    (What::Touch, 0, 1, 0),
    (What::Map, 0, 2, 0),
    (What::Touch, 0, 2, 0),
    (What::Fork, 0, 0, 0),
    (What::CopyAll, 0, 0, 0),
    (What::Fork, 0, 0, 0),
    (What::CopyAll, 0, 0, 0),
];

/// A parent with all pages and some children.
fn family<const FROM: usize>() -> World<FROM> {
    let mut world = World::new();
    for page in 0..PAGES as u8 - 1 {
        world.apply((What::Map, 0, page, 0));
        world.apply((What::Touch, 0, page, 0));
    }
    for _ in 0..FROM + 1 {
        world.apply((What::Fork, 0, 0, 0));
        world.apply((What::CopyAll, 0, 0, 0));
    }
    world
}

fn deepen(history: &mut Vec<Op>, left: u64, count: &mut u64) {
    let mut world: World<1> = World::new();
    let mut possible = false;
    for &op in history.iter() {
        possible = world.apply(op);
    }
    if !possible {
        return;
    }
    *count += 1;
    world.end();
    if left == 0 {
        return;
    }
    for what in WHATS {
        // The processes and their pages, or the walks, whichever an event is about.
        let (who, at, to) = match what {
            What::NoMemory => (1, 1, 1),
            What::Step | What::Run | What::End => (2, 1, 1),
            What::Fork | What::Exit | What::Copy | What::CopyAll | What::Fail | What::Zap => {
                (3, 1, 1)
            }
            What::Walk => (3, 1, 2),
            What::Move => (3, 3, 4),
            _ => (3, 3, 1),
        };
        for nr in 0..who {
            for a in 0..at {
                for t in 0..to {
                    history.push((what, nr, a + u8::from(at > 1), t));
                    deepen(history, left - 1, count);
                    history.pop();
                }
            }
        }
    }
}

/// All that can happen to a parent and two children of its that unmapped one page of two, and are
/// walked, or not.
#[test]
fn every_history_of_few_events() {
    let left = number("PROOF_EVENTS").unwrap_or(EVENTS);
    let unmap = |p| [(What::Unmap, p, 1, 0), (What::Zap, 0, 0, 0)];
    let walk = [(What::Walk, 0, 0, 1), (What::Run, 0, 0, 0)];
    let mut count = 0;

    for walked in [false, true] {
        let mut history = PREFIX.to_vec();
        history.extend(unmap(1).into_iter().chain(unmap(2)));
        if walked {
            history.extend(walk);
        }
        deepen(&mut history, left - 1, &mut count);
    }
    println!("{count} histories");
    assert!(count > 1000);
}

fn random<const FROM: usize>(seed: u64, operations: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: (operations / HISTORY as u64).max(1) as u32,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let what = prop_oneof![
        2 => Just(What::Map),
        2 => Just(What::Touch),
        1 => Just(What::SwapIn),
        6 => Just(What::Unmap),
        1 => Just(What::UnmapLocked),
        8 => Just(What::Zap),
        1 => Just(What::Fixed),
        3 => Just(What::Move),
        4 => Just(What::Fork),
        4 => Just(What::Copy),
        8 => Just(What::CopyAll),
        1 => Just(What::Fail),
        3 => Just(What::Exit),
        10 => Just(What::Walk),
        12 => Just(What::Step),
        16 => Just(What::Run),
        1 => Just(What::End),
        1 => Just(What::NoMemory),
    ];
    let op = (what, any::<u8>(), any::<u8>(), any::<u8>());
    let (mut events, mut learned, mut visits) = (0, 0, 0);
    let tally = std::cell::RefCell::new((&mut events, &mut learned, &mut visits));
    let result = runner.run(&prop::collection::vec(op, 1..2 * HISTORY), |history| {
        let mut world = family::<FROM>();
        for op in history {
            world.apply(op);
        }
        world.end();
        let mut tally = tally.borrow_mut();
        *tally.0 += world.events;
        *tally.1 += world.heap.learned.get();
        *tally.2 += world.visits;
        Ok(())
    });
    if let Err(error) = result {
        panic!("PROOF_SEED={seed}: {error}");
    }
    println!("seed {seed}: {events} events, {visits} visits, {learned} holes");
    assert!(
        operations < 10_000 || learned > operations / 1000,
        "too little is learned"
    );
}

fn operations() -> u64 {
    number("PROOF_OPERATIONS").unwrap_or(OPERATIONS)
}

#[test]
fn random_histories() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("PROOF_SEED").unwrap_or(now.as_nanos() as u64 >> 10);
    for seed in [1, seed] {
        random::<1>(seed, operations());
        random::<3>(seed, operations() / 4);
    }
}

/// After a round of walks, only those are visited that map the page.
#[test]
fn a_round_teaches() {
    let mut world: World<8> = World::new();
    for page in 0..PAGES as u8 {
        world.apply((What::Map, 0, page, 0));
        world.apply((What::Touch, 0, page, 0));
    }
    let anchor = world.anchor_of(0);
    for child in 1..=20 {
        world.apply((What::Fork, 0, 0, 0));
        world.apply((What::CopyAll, 0, 0, 0));
        for page in (0..PAGES as u8).filter(|p| child % PAGES as u8 != *p) {
            assert!(world.apply((What::Unmap, child, page, 0)));
            assert!(world.apply((What::Zap, 0, 0, 0)));
        }
    }
    let page = |first| Range { first, last: first };
    for round in 0..2 {
        for p in 0..PAGES {
            let visited = world.visited(anchor, page(p)).len();
            if round == 0 && p == 0 {
                assert_eq!(visited, 21);
            }
            if round == 1 {
                assert_eq!(visited, 1 + 20 / PAGES);
            }
            assert!(world.apply((What::Walk, p as u8, 0, 1)));
            assert!(world.apply((What::Run, 0, 0, 0)));
        }
    }
    // One who is new is visited, and so are his siblings still.
    world.apply((What::Fork, 0, 0, 0));
    world.apply((What::CopyAll, 0, 0, 0));
    assert_eq!(world.visited(anchor, page(0)).len(), 2 + 20 / PAGES);
    // Of the others each has one share at most: what it kept.
    assert_eq!(world.heap.nr_shares(), 20);
    world.end();
}

/// A daemon that inherited spare anchors forks and exits. What it used itself is lent to a process
/// below a child that was learned about, which faults in a page right there.
#[test]
fn a_dead_lender_knows_nothing() {
    let mut world: World<1> = World::new();
    let fork = |world: &mut World<1>, parent| {
        assert!(world.apply((What::Fork, parent, 0, 0)));
        assert!(world.apply((What::CopyAll, 0, 0, 0)));
    };
    for _ in 0..3 {
        fork(&mut world, 0);
        assert!(world.apply((What::Exit, 0, 0, 0)));
    }
    assert!(world.apply((What::Map, 0, 1, 0)));
    assert!(world.apply((What::Touch, 0, 1, 0)));
    let anchor = world.anchor_of(3);
    fork(&mut world, 0);
    fork(&mut world, 0);
    fork(&mut world, 0);
    assert!(world.apply((What::Unmap, 1, 1, 0)));
    assert!(world.apply((What::Zap, 0, 0, 0)));
    assert!(world.apply((What::Walk, 0, 0, 1)));
    assert!(world.apply((What::Run, 0, 0, 0)));
    assert_eq!(world.heap.learned.get(), 1);
    assert!(world.apply((What::Exit, 0, 0, 0)));
    fork(&mut world, 0);
    assert_eq!(world.anchor_of(7), anchor, "it is lent");
    assert!(world.apply((What::Map, 3, 1, 0)));
    assert!(world.apply((What::Touch, 3, 1, 0)));
    world.end();
}

/// A walk that is not inside the index, since it has only one child to visit, learns nothing there
/// while another one is inside, and at the same child.
#[test]
fn the_only_child_of_one_walk() {
    let mut world: World<1> = World::new();
    let unmap = |world: &mut World<1>, child, page| {
        assert!(world.apply((What::Unmap, child, page, 0)));
        assert!(world.apply((What::Zap, 0, 0, 0)));
    };
    for page in 1..=3 {
        assert!(world.apply((What::Map, 0, page, 0)));
        assert!(world.apply((What::Touch, 0, page, 0)));
    }
    for _ in 0..2 {
        assert!(world.apply((What::Fork, 0, 0, 0)));
        assert!(world.apply((What::CopyAll, 0, 0, 0)));
    }
    // Both are known to have nothing at 3, and the second one nothing at 1.
    unmap(&mut world, 1, 3);
    unmap(&mut world, 2, 3);
    unmap(&mut world, 2, 1);
    for folio in [2, 0] {
        assert!(world.apply((What::Walk, folio, 0, 1)));
        assert!(world.apply((What::Run, 0, 0, 0)));
    }
    let learned = world.heap.learned.get();
    assert_eq!(learned, 3);
    unmap(&mut world, 1, 1);
    unmap(&mut world, 1, 2);
    // One walk for page 1, the other for 0 to 2: both come to the first child.
    for (walk, to) in [(0, 1), (1, 0)] {
        assert!(world.apply((What::Walk, 0, 0, to)));
        assert!(world.apply((What::Step, walk, 0, 0)));
    }
    assert!(world.apply((What::Step, 0, 0, 0)));
    assert_eq!(world.heap.learned.get(), learned);
    assert!(world.apply((What::Run, 0, 0, 0)));
    world.end();
}
